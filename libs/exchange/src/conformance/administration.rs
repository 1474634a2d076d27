//! Checks of the port to administration.
//!
//! An adapter's tests set a server up, describe it as an [`Office`] and call [`all`].

use async_trait::async_trait;
use calgrant_domain::{
    Address, GroupChange, GroupFound, GroupKind, MailboxFound, MailboxId, NewGroup, NewUser,
    Password, SkuFound, UserChange, UserFound,
};

use super::good;
use crate::{Administered, Administration, AdministrationError};

/// The server behind an adapter, as its tests have set it up.
#[async_trait]
pub trait Office: Send + Sync {
    /// The port, with a credential that may do all that set-up does.
    fn administration(&self) -> &dyn Administration;
    /// The port, with a credential that may read and change nothing.
    fn reader(&self) -> &dyn Administration;
    /// A domain that names of users and groups may have.
    fn domain(&self) -> &str;
    /// A domain that they may not have.
    fn foreign_domain(&self) -> &str;
    /// The unit that users and groups are put into, where there are units.
    fn unit(&self) -> Option<&str>;
    /// Somebody with a mailbox, who was there before.
    fn somebody(&self) -> Address;
    /// A distribution list that was there before.
    fn list(&self) -> Address;
    /// A group that is synchronised from elsewhere, where there are such.
    fn synchronised(&self) -> Option<Address>;
    /// Whether users are made without a mailbox, which a licence brings.
    fn sells_licences(&self) -> bool;
    /// Whether accounts can be switched off.
    fn switches_accounts(&self) -> bool;
    /// Lets some time pass: what was made or changed may be shown late.
    async fn wait(&self);
    /// Whether this is the user's password, by the server's own account.
    async fn is_password(&self, user: &Address, password: &Password) -> bool;
}

/// How often is looked for what was made.
const LOOKS: usize = 20;
/// How set-up knows its own again.
const MARK: &str = "calgrant-4711";

/// All of them.
pub async fn all(office: &dyn Office) {
    good(office.administration().sign_in().await);
    what_is_not_there_is_not_found(office).await;
    a_user_is_made_once_and_known_again(office).await;
    a_user_is_changed(office).await;
    a_licence_brings_a_mailbox(office).await;
    a_group_is_made_closed_and_hidden_afterwards(office).await;
    members_come_and_go(office).await;
    what_is_missing_is_named(office).await;
    other_kinds_are_told_apart(office).await;
    what_may_not_be_done_is_explained(office).await;
    what_comes_from_elsewhere_is_changed_there(office).await;
    office.administration().sign_out().await;
    office.reader().sign_out().await;
}

/// Nothing is there, and that is no error.
pub async fn what_is_not_there_is_not_found(office: &dyn Office) {
    let administration = office.administration();
    let nobody = name(office, "nobody");
    assert_eq!(good(administration.user(&nobody).await), None);
    assert_eq!(
        good(administration.mailbox(&nobody).await),
        MailboxFound::Missing
    );
    assert_eq!(good(administration.group(&nobody).await), None);
    let somebody = good(administration.user(&office.somebody()).await);
    let Some(somebody) = somebody else {
        panic!("{} isn't found", office.somebody());
    };
    assert_eq!((somebody.enabled, somebody.mark), (true, None));
    assert_eq!(
        good(administration.mailbox(&office.somebody()).await),
        MailboxFound::Ready
    );
}

/// It can sign in, is found with the mark that it was given, and its name is taken from then on.
pub async fn a_user_is_made_once_and_known_again(office: &dyn Office) {
    let administration = office.administration();
    let user = new_user(office, "svc-made");
    let made = good(administration.create_user(&user).await);
    assert_eq!(made.user_name, user.user_name);
    assert_eq!(made.mark.as_deref(), Some(MARK));
    let found = user_shown(office, &user.user_name, |_| true).await;
    assert_eq!(found.id, made.id);
    assert_eq!(found.user_name, user.user_name);
    assert_eq!(found.display_name, user.display_name);
    assert_eq!(found.mark.as_deref(), Some(MARK));
    assert!(found.enabled && !found.synchronised);
    assert_eq!(found.usage_location, user.usage_location);
    assert!(found.licences.is_empty());
    if office.sells_licences() {
        assert!(found.password_never_expires);
    }
    assert!(office.is_password(&user.user_name, &user.password).await);
    let mailbox = if office.sells_licences() {
        MailboxFound::Missing
    } else {
        MailboxFound::Ready
    };
    assert_eq!(good(administration.mailbox(&user.user_name).await), mailbox);

    let again = NewUser {
        display_name: "Another".to_owned(),
        ..user.clone()
    };
    taken(
        administration.create_user(&again).await,
        user.user_name.as_str(),
    );
    // Another name in the same place is free.
    good(
        administration
            .create_user(&new_user(office, "svc-made-2"))
            .await,
    );

    let foreign = NewUser {
        user_name: good(format!("svc-made@{}", office.foreign_domain()).parse()),
        ..user
    };
    if office.sells_licences() {
        let why = refused(administration.create_user(&foreign).await);
        assert!(why.contains(office.foreign_domain()), "{why}");
    }
}

/// Each change does what it says and nothing else; a change of nothing is none.
pub async fn a_user_is_changed(office: &dyn Office) {
    let administration = office.administration();
    let user = new_user(office, "svc-changed");
    let made = good(administration.create_user(&user).await);
    user_shown(office, &user.user_name, |_| true).await;
    let none = UserChange::default();
    good(administration.change_user(&made.id, &none).await);

    let password = Password::new("An0ther-Pass phrase & <more>");
    let change = UserChange {
        password: Some(password.clone()),
        ..none.clone()
    };
    good(administration.change_user(&made.id, &change).await);
    assert!(office.is_password(&user.user_name, &password).await);
    assert!(!office.is_password(&user.user_name, &user.password).await);

    for enabled in [false, true] {
        let change = UserChange {
            enabled: Some(enabled),
            ..none.clone()
        };
        let changed = administration.change_user(&made.id, &change).await;
        if office.switches_accounts() {
            good(changed);
            let shown = user_shown(office, &user.user_name, |it| it.enabled == enabled).await;
            assert_eq!(shown.mark.as_deref(), Some(MARK));
        } else if !enabled {
            // It isn't said to be done where it isn't done.
            refused(changed);
        }
    }
    if office.sells_licences() {
        let change = UserChange {
            usage_location: Some("NL".to_owned()),
            password_never_expires: Some(false),
            ..none.clone()
        };
        good(administration.change_user(&made.id, &change).await);
        user_shown(office, &user.user_name, |it| {
            it.usage_location.as_deref() == Some("NL") && !it.password_never_expires
        })
        .await;
    }
    assert!(office.is_password(&user.user_name, &password).await);
    missing(
        administration
            .change_user(&no_id(), &change_of_password())
            .await,
        &no_id().as_uuid().to_string(),
    );
}

/// Seats are counted, plans switched off, and the mailbox comes with the licence and goes with it.
pub async fn a_licence_brings_a_mailbox(office: &dyn Office) {
    let administration = office.administration();
    let skus = good(administration.skus().await);
    if !office.sells_licences() {
        assert!(skus.is_empty());
        return;
    }
    let Some(sku) = skus.iter().find(|sku| free_plan(sku).is_some()) else {
        panic!("there is no product with a plan that can be switched off: {skus:?}");
    };
    assert!(sku.used_seats < sku.enabled_seats, "{sku:?}");
    let user = new_user(office, "svc-licensed");
    let made = good(administration.create_user(&user).await);
    user_shown(office, &user.user_name, |_| true).await;

    let plan = free_plan(sku).unwrap_or_default();
    for disabled in [vec![plan.clone()], Vec::new()] {
        let assigned = administration.assign_licence(&made.id, &sku.sku_id, &disabled);
        good(assigned.await);
        // Once more: these plans instead of those it had.
        user_shown(office, &user.user_name, |it| {
            let [licence] = it.licences.as_slice() else {
                return false;
            };
            licence.sku_id.eq_ignore_ascii_case(&sku.sku_id)
                && licence.disabled_plans == disabled
                && licence.through_groups.is_empty()
        })
        .await;
    }
    let now = good(administration.skus().await);
    let same = now.iter().find(|one| one.sku_id == sku.sku_id);
    assert_eq!(same.map(|one| one.used_seats), Some(sku.used_seats + 1));
    shown(office, "the mailbox", async || {
        good(administration.mailbox(&user.user_name).await) == MailboxFound::Ready
    })
    .await;
    for _ in 0..2 {
        good(administration.remove_licence(&made.id, &sku.sku_id).await);
    }
    user_shown(office, &user.user_name, |it| it.licences.is_empty()).await;

    let nowhere = NewUser {
        usage_location: None,
        ..new_user(office, "svc-nowhere")
    };
    let made = good(administration.create_user(&nowhere).await);
    user_shown(office, &nowhere.user_name, |_| true).await;
    let why = refused(
        administration
            .assign_licence(&made.id, &sku.sku_id, &[])
            .await,
    );
    assert!(why.contains("usage location"), "{why}");
    missing(
        administration
            .assign_licence(&no_id(), &sku.sku_id, &[])
            .await,
        &no_id().as_uuid().to_string(),
    );
}

/// Nobody joins or leaves by themselves, owners are no members, and hiding comes afterwards.
pub async fn a_group_is_made_closed_and_hidden_afterwards(office: &dyn Office) {
    let administration = office.administration();
    let group = new_group(office, "cal-access");
    let made = good(administration.create_group(&group).await);
    assert_eq!(
        (&made.address, made.kind),
        (&group.address, GroupKind::MailEnabledSecurity)
    );
    let found = group_shown(office, &group.address, |_| true).await;
    assert_eq!((found.id, &found.address), (made.id, &group.address));
    assert_eq!(found.name, group.name);
    assert_eq!(found.kind, GroupKind::MailEnabledSecurity);
    assert!(found.join_closed && found.depart_closed && !found.hidden && !found.synchronised);
    assert_eq!(found.owners.len(), 1, "{:?}", found.owners);
    assert!(good(administration.members(&group.address).await).is_empty());

    let again = NewGroup {
        name: "Another".to_owned(),
        ..group.clone()
    };
    taken(
        administration.create_group(&again).await,
        group.address.as_str(),
    );
    let same_name = NewGroup {
        address: name(office, "cal-access-2"),
        ..group.clone()
    };
    taken(administration.create_group(&same_name).await, &group.name);

    let none = GroupChange::default();
    good(administration.change_group(&group.address, &none).await);
    for hidden in [true, true, false, true] {
        let change = GroupChange {
            hidden: Some(hidden),
            ..none.clone()
        };
        good(administration.change_group(&group.address, &change).await);
        let shown = group_shown(office, &group.address, |it| it.hidden == hidden).await;
        assert!(shown.join_closed && shown.depart_closed);
    }
    for closed in [false, true] {
        let change = GroupChange {
            join_closed: Some(closed),
            depart_closed: Some(closed),
            ..none.clone()
        };
        good(administration.change_group(&group.address, &change).await);
        group_shown(office, &group.address, |it| {
            it.join_closed == closed && it.depart_closed == closed && it.hidden
        })
        .await;
    }
}

/// Twice is as good as once, and all of them are listed.
pub async fn members_come_and_go(office: &dyn Office) {
    let administration = office.administration();
    let group = new_group(office, "cal-members");
    good(administration.create_group(&group).await);
    group_shown(office, &group.address, |_| true).await;
    let member = office.somebody();
    for _ in 0..2 {
        good(administration.add_member(&group.address, &member).await);
        let listed = async || good(administration.members(&group.address).await).len() == 1;
        shown(office, "the member", listed).await;
    }
    let members = good(administration.members(&group.address).await);
    let somebody = good(administration.user(&member).await);
    assert_eq!(somebody.map(|user| user.id), Some(members[0].id));
    assert!(members[0].address.is_some());
    for _ in 0..2 {
        good(administration.remove_member(&group.address, &member).await);
        let empty = async || good(administration.members(&group.address).await).is_empty();
        shown(office, "the group without the member", empty).await;
    }
    // Nobody is no member already.
    let nobody = name(office, "nobody");
    good(administration.remove_member(&group.address, &nobody).await);
}

/// Whatever isn't there is said by its name.
pub async fn what_is_missing_is_named(office: &dyn Office) {
    let administration = office.administration();
    let nobody = name(office, "nobody");
    let somebody = office.somebody();
    missing(administration.members(&nobody).await, nobody.as_str());
    missing(
        administration.add_member(&nobody, &somebody).await,
        nobody.as_str(),
    );
    missing(
        administration.remove_member(&nobody, &somebody).await,
        nobody.as_str(),
    );
    let hidden = GroupChange {
        hidden: Some(true),
        ..GroupChange::default()
    };
    missing(
        administration.change_group(&nobody, &hidden).await,
        nobody.as_str(),
    );
    let group = new_group(office, "cal-missing");
    good(administration.create_group(&group).await);
    group_shown(office, &group.address, |_| true).await;
    missing(
        administration.add_member(&group.address, &nobody).await,
        nobody.as_str(),
    );
    let unowned = NewGroup {
        owners: vec![nobody.clone()],
        ..new_group(office, "cal-unowned")
    };
    missing(administration.create_group(&unowned).await, nobody.as_str());
    if let Some(unit) = office.unit() {
        let elsewhere = format!("OU=Nowhere,{unit}");
        let user = NewUser {
            organizational_unit: Some(elsewhere.clone()),
            ..new_user(office, "svc-elsewhere")
        };
        missing(administration.create_user(&user).await, &elsewhere);
        let group = NewGroup {
            organizational_unit: Some(elsewhere.clone()),
            ..new_group(office, "cal-elsewhere")
        };
        missing(administration.create_group(&group).await, &elsewhere);
    }
}

/// A distribution list is found, is told to be one, and keeps its name.
pub async fn other_kinds_are_told_apart(office: &dyn Office) {
    let administration = office.administration();
    let list = office.list();
    let Some(found) = good(administration.group(&list).await) else {
        panic!("{list} isn't found");
    };
    assert_eq!(
        (found.kind, &found.address),
        (GroupKind::Distribution, &list)
    );
    let group = NewGroup {
        address: list.clone(),
        ..new_group(office, "cal-list")
    };
    taken(administration.create_group(&group).await, list.as_str());
}

/// A credential that may only read reads, and is told what it lacks for the rest.
pub async fn what_may_not_be_done_is_explained(office: &dyn Office) {
    let (reader, somebody) = (office.reader(), office.somebody());
    good(reader.sign_in().await);
    let Some(user) = good(reader.user(&somebody).await) else {
        panic!("{somebody} isn't found");
    };
    forbidden(
        reader.create_user(&new_user(office, "svc-forbidden")).await,
        "create users",
    );
    forbidden(
        reader.change_user(&user.id, &change_of_password()).await,
        "reset passwords",
    );
    forbidden(
        reader
            .create_group(&new_group(office, "cal-forbidden"))
            .await,
        "create mail-enabled security groups",
    );
    let hidden = GroupChange {
        hidden: Some(true),
        ..GroupChange::default()
    };
    let list = office.list();
    forbidden(reader.change_group(&list, &hidden).await, "change groups");
    for changed in [
        reader.add_member(&list, &somebody).await,
        reader.remove_member(&list, &somebody).await,
    ] {
        forbidden(changed, "change the members of groups");
    }
    if office.sells_licences() {
        let sku_id = no_id().as_uuid().to_string();
        let assigned = reader.assign_licence(&user.id, &sku_id, &[]).await;
        forbidden(assigned, "assign licences");
    }
    assert_eq!(
        good(reader.user(&name(office, "svc-forbidden")).await),
        None
    );
}

/// What is synchronised is refused, with the place to change it.
pub async fn what_comes_from_elsewhere_is_changed_there(office: &dyn Office) {
    let administration = office.administration();
    let Some(group) = office.synchronised() else {
        return;
    };
    let found = good(administration.group(&group).await);
    assert!(found.is_some_and(|group| group.synchronised), "{group}");
    let hidden = GroupChange {
        hidden: Some(true),
        ..GroupChange::default()
    };
    for changed in [
        administration.change_group(&group, &hidden).await,
        administration.add_member(&group, &office.somebody()).await,
    ] {
        let why = refused(changed);
        assert!(
            why.contains(group.as_str()) && why.contains("Active Directory"),
            "{why}"
        );
    }
}

fn name(office: &dyn Office, local: &str) -> Address {
    good(format!("{local}@{}", office.domain()).parse())
}

fn new_user(office: &dyn Office, local: &str) -> NewUser {
    NewUser {
        user_name: name(office, local),
        display_name: format!("Calendar Service {local}"),
        password: Password::new("A-first pass_w0rd_x005F_ <&>"),
        usage_location: office.sells_licences().then(|| "DE".to_owned()),
        organizational_unit: office.unit().map(str::to_owned),
        mark: MARK.to_owned(),
    }
}

fn new_group(office: &dyn Office, local: &str) -> NewGroup {
    NewGroup {
        address: name(office, local),
        name: format!("Calendar Access {local}"),
        owners: vec![office.somebody()],
        organizational_unit: office.unit().map(str::to_owned),
    }
}

/// Nobody's.
fn no_id() -> MailboxId {
    let text = "mbx_00000000000040008000000000000bad";
    good(text.parse())
}

fn change_of_password() -> UserChange {
    UserChange {
        password: Some(Password::new("A-third pass_w0rd")),
        ..UserChange::default()
    }
}

/// A plan that can be switched off without the mailbox.
fn free_plan(sku: &SkuFound) -> Option<String> {
    let plan = sku
        .plans
        .iter()
        .find(|plan| plan.for_users && !plan.name.starts_with("EXCHANGE_S_"));
    plan.map(|plan| plan.id.clone())
}

/// Looks until it is so.
async fn shown(office: &dyn Office, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..LOOKS {
        if is_so().await {
            return;
        }
        office.wait().await;
    }
    panic!("{what} isn't shown");
}

async fn user_shown(
    office: &dyn Office,
    user: &Address,
    is_so: impl Fn(&UserFound) -> bool,
) -> UserFound {
    let mut seen = None;
    for _ in 0..LOOKS {
        seen = good(office.administration().user(user).await);
        match seen {
            Some(found) if is_so(&found) => return found,
            _ => office.wait().await,
        }
    }
    panic!("{user} isn't shown as wanted: {seen:?}");
}

async fn group_shown(
    office: &dyn Office,
    group: &Address,
    is_so: impl Fn(&GroupFound) -> bool,
) -> GroupFound {
    let mut seen = None;
    for _ in 0..LOOKS {
        seen = good(office.administration().group(group).await);
        match seen {
            Some(found) if is_so(&found) => return found,
            _ => office.wait().await,
        }
    }
    panic!("{group} isn't shown as wanted: {seen:?}");
}

fn failed<T>(done: Administered<T>) -> AdministrationError {
    match done {
        Ok(_) => panic!("it was done"),
        Err(error) => error,
    }
}

fn taken<T>(done: Administered<T>, wanted: &str) {
    match failed(done) {
        AdministrationError::Taken { name } => assert_eq!(name, wanted),
        other => panic!("{wanted}: {other:?}"),
    }
}

fn missing<T>(done: Administered<T>, wanted: &str) {
    match failed(done) {
        AdministrationError::Missing { what } => {
            assert!(what.contains(wanted), "{what} lacks {wanted}");
        }
        other => panic!("{wanted}: {other:?}"),
    }
}

fn refused<T>(done: Administered<T>) -> String {
    match failed(done) {
        AdministrationError::Refused { why } => why,
        other => panic!("{other:?}"),
    }
}

fn forbidden<T>(done: Administered<T>, wanted: &str) {
    match failed(done) {
        AdministrationError::Forbidden { what, grant } => {
            assert!(what.starts_with(wanted), "{what}");
            assert!(!grant.is_empty());
        }
        other => panic!("{wanted}: {other:?}"),
    }
}
