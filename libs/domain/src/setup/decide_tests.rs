use uuid::Uuid;

use super::*;
use crate::{
    MailboxId, SiteKind,
    setup::{licence::tests::product, spec::tests::setting},
};

fn id(number: u128) -> MailboxId {
    MailboxId::from_uuid(Uuid::from_u128(number))
}

fn user(setting: &Setting) -> UserFound {
    UserFound {
        id: id(1),
        user_name: setting.spec.name.of(1),
        display_name: "MyTimetable 1".into(),
        enabled: true,
        usage_location: setting.spec.usage_location.clone(),
        password_never_expires: true,
        synchronised: false,
        mark: Some(setting.mark()),
        licences: Vec::new(),
    }
}

fn group(setting: &Setting) -> GroupFound {
    GroupFound {
        id: id(9),
        address: setting.spec.group.clone(),
        name: setting.spec.group_name.clone(),
        kind: GroupKind::MailEnabledSecurity,
        join_closed: true,
        depart_closed: true,
        hidden: true,
        synchronised: false,
        owners: vec!["Ann@uni.example".into()],
    }
}

fn standard() -> Vec<SkuFound> {
    let plans = [
        ("EXCHANGE_S_STANDARD", true),
        ("TEAMS1", true),
        ("INTUNE_O365", false),
    ];
    vec![product("EXCHANGESTANDARD", 5, &plans)]
}

/// A decision in a word or two.
fn short(decision: &Decision) -> String {
    match decision {
        Decision::Done(_) => "done".into(),
        Decision::Do(action) => action.word().into(),
        Decision::Wait { .. } => "wait".into(),
        Decision::Refuse(why) => format!("refuse: {why}"),
    }
}

fn check(setting: &Setting, step: Step, found: &Found, past: &Past, want: &str) {
    let decision = short(&decide(setting, step, found, past));
    let fits = match want.strip_prefix("refuse ") {
        Some(part) => decision.starts_with("refuse") && decision.contains(part),
        None => decision == want,
    };
    assert!(fits, "{step} {found:?} {past:?}: {decision}, not {want}");
}

fn after(action: &str, end: ActionEnd, secs: u64) -> Past {
    Past {
        last: Some((action.to_owned(), end, Duration::from_secs(secs))),
        waited: Duration::from_secs(secs),
    }
}

#[test]
fn a_user_is_made_once_and_never_adopted() {
    let setting = setting(SiteKind::Online);
    let fresh = Past::default();
    let with = |change: fn(&mut UserFound)| {
        let mut user = user(&setting);
        change(&mut user);
        Some(user)
    };
    for (user, password, past, want) in [
        (None, PasswordKept::No, fresh.clone(), "create_user"),
        (
            None,
            PasswordKept::Pending,
            after("create_user", ActionEnd::Done, 5),
            "wait",
        ),
        (
            None,
            PasswordKept::Pending,
            after("create_user", ActionEnd::Done, 4000),
            "refuse made",
        ),
        (
            None,
            PasswordKept::Pending,
            after("create_user", ActionEnd::Unknown, 5),
            "wait",
        ),
        (
            None,
            PasswordKept::Pending,
            after("create_user", ActionEnd::Unknown, 500),
            "create_user",
        ),
        (
            None,
            PasswordKept::Pending,
            after("create_user", ActionEnd::Taken, 5),
            "wait",
        ),
        (
            None,
            PasswordKept::Pending,
            after("create_user", ActionEnd::Taken, 500),
            "refuse taken",
        ),
        (with(|_| {}), PasswordKept::InEffect, fresh.clone(), "done"),
        (
            with(|_| {}),
            PasswordKept::No,
            fresh.clone(),
            "set_password",
        ),
        (
            with(|_| {}),
            PasswordKept::Pending,
            fresh.clone(),
            "set_password",
        ),
        (
            with(|user| user.mark = None),
            PasswordKept::InEffect,
            fresh.clone(),
            "refuse was there before",
        ),
        (
            with(|user| user.mark = None),
            PasswordKept::Pending,
            after("create_user", ActionEnd::Unknown, 5),
            "change_user",
        ),
        (
            with(|user| user.mark = None),
            PasswordKept::Pending,
            after("create_user", ActionEnd::Taken, 5),
            "refuse was there before",
        ),
        (
            with(|user| user.mark = Some("cg-else".into())),
            PasswordKept::No,
            fresh.clone(),
            "refuse was there before",
        ),
        (
            with(|user| user.synchronised = true),
            PasswordKept::No,
            fresh.clone(),
            "refuse synchronisation",
        ),
        (
            with(|user| user.enabled = false),
            PasswordKept::InEffect,
            fresh.clone(),
            "refuse disabled",
        ),
        (
            with(|user| user.usage_location = None),
            PasswordKept::InEffect,
            fresh.clone(),
            "change_user",
        ),
        (
            with(|user| user.usage_location = None),
            PasswordKept::InEffect,
            after("change_user", ActionEnd::Done, 5),
            "wait",
        ),
        (
            with(|user| user.usage_location = None),
            PasswordKept::InEffect,
            after("change_user", ActionEnd::Done, 500),
            "change_user",
        ),
        (
            with(|user| user.password_never_expires = false),
            PasswordKept::InEffect,
            fresh.clone(),
            "change_user",
        ),
    ] {
        check(
            &setting,
            Step::User(1),
            &Found::User { user, password },
            &past,
            want,
        );
    }
}

#[test]
fn seats_are_counted_before_anything_is_given() {
    let mut setting = setting(SiteKind::Online);
    let fresh = Past::default();
    for (sku, lacking, want) in [
        ("EXCHANGESTANDARD", 5, "done"),
        ("EXCHANGESTANDARD", 6, "refuse 6 seats"),
        ("EXCHANGEENTERPRISE", 1, "refuse EXCHANGESTANDARD (5 free)"),
        ("TEAMS", 1, "refuse no mailbox"),
    ] {
        setting.spec.sku = Some(sku.into());
        let mut skus = standard();
        skus.push(product("TEAMS", 5, &[("TEAMS1", true)]));
        check(
            &setting,
            Step::Seats,
            &Found::Seats { skus, lacking },
            &fresh,
            want,
        );
    }
}

#[test]
fn a_licence_has_the_mailbox_alone() {
    let setting = setting(SiteKind::Online);
    let fresh = Past::default();
    let held = |disabled: &[&str], groups: &[&str]| LicenceFound {
        sku_id: "ID-OF-EXCHANGESTANDARD".into(),
        disabled_plans: disabled.iter().map(|plan| (*plan).to_owned()).collect(),
        through_groups: groups.iter().map(|name| (*name).to_owned()).collect(),
    };
    for (licences, want) in [
        (vec![], "assign_licence"),
        (vec![held(&["id-teams1"], &[])], "done"),
        (vec![held(&[], &[])], "assign_licence"),
        (vec![held(&[], &["all staff"])], "done"),
        (
            vec![held(&["ID-EXCHANGE_S_STANDARD"], &["all staff"])],
            "assign_licence",
        ),
    ] {
        let user = Some(UserFound {
            licences,
            ..user(&setting)
        });
        let found = Found::Licence {
            user,
            skus: standard(),
        };
        check(&setting, Step::Licence(1), &found, &fresh, want);
    }
    let Decision::Do(Action::AssignLicence { disabled_plans, .. }) = decide(
        &setting,
        Step::Licence(1),
        &Found::Licence {
            user: Some(user(&setting)),
            skus: standard(),
        },
        &fresh,
    ) else {
        panic!("nothing is given");
    };
    assert_eq!(disabled_plans, ["id-teams1"]);
}

#[test]
fn a_group_is_closed_hidden_and_owned() {
    let setting = setting(SiteKind::Online);
    let fresh = Past::default();
    let with = |change: fn(&mut GroupFound)| {
        let mut group = group(&setting);
        change(&mut group);
        Some(group)
    };
    for (group, past, want) in [
        (None, fresh.clone(), "create_group"),
        (None, after("create_group", ActionEnd::Unknown, 1), "wait"),
        (with(|_| {}), fresh.clone(), "done"),
        (
            with(|group| group.hidden = false),
            after("create_group", ActionEnd::Done, 1),
            "change_group",
        ),
        (
            with(|group| group.join_closed = false),
            fresh.clone(),
            "change_group",
        ),
        (
            with(|group| group.owners = vec!["eve".into()]),
            fresh.clone(),
            "change_group",
        ),
        (
            with(|group| group.owners = vec!["Ann Other".into()]),
            after("change_group", ActionEnd::Done, 1),
            "done",
        ),
        (
            with(|group| group.name = "GRP MyTimetable".into()),
            fresh.clone(),
            "done",
        ),
        (
            with(|group| group.kind = GroupKind::Distribution),
            fresh.clone(),
            "refuse distribution list",
        ),
        (
            with(|group| group.kind = GroupKind::Microsoft365),
            fresh.clone(),
            "refuse Microsoft 365",
        ),
        (
            with(|group| {
                group.synchronised = true;
                group.join_closed = false;
            }),
            fresh.clone(),
            "done",
        ),
    ] {
        check(&setting, Step::Group, &Found::Group(group), &past, want);
    }
}

#[test]
fn members_are_put_in_and_taken_out() {
    let setting = setting(SiteKind::Online);
    let fresh = Past::default();
    let ours = GroupMemberFound {
        id: id(1),
        address: None,
    };
    let found = |members: &[GroupMemberFound], synchronised: bool| Found::Member {
        group: Some(GroupFound {
            synchronised,
            ..group(&setting)
        }),
        members: members.to_vec(),
        user: Some(user(&setting)),
    };
    for (step, found, want) in [
        (Step::Member(1), found(&[], false), "add_member"),
        (
            Step::Member(1),
            found(std::slice::from_ref(&ours), false),
            "done",
        ),
        (Step::Member(1), found(&[], true), "refuse on premises"),
        (Step::Outside(1), found(&[], false), "done"),
        (
            Step::Outside(1),
            found(std::slice::from_ref(&ours), false),
            "remove_member",
        ),
    ] {
        check(&setting, step, &found, &fresh, want);
    }
}

#[test]
fn what_is_managed_elsewhere_is_looked_at_and_never_changed() {
    let mut setting = setting(SiteKind::Online);
    setting.spec.managed = crate::setup::ManagedParts {
        accounts: ManagedBy::External,
        licences: ManagedBy::External,
        group: ManagedBy::External,
        members: ManagedBy::External,
    };
    let strange = UserFound {
        mark: None,
        usage_location: None,
        ..user(&setting)
    };
    let open = GroupFound {
        join_closed: false,
        ..group(&setting)
    };
    let fresh = Past::default();
    for (step, found, want) in [
        (
            Step::User(1),
            Found::User {
                user: None,
                password: PasswordKept::No,
            },
            "refuse elsewhere",
        ),
        (
            Step::User(1),
            Found::User {
                user: Some(strange.clone()),
                password: PasswordKept::No,
            },
            "done",
        ),
        (
            Step::Licence(1),
            Found::Licence {
                user: Some(strange.clone()),
                skus: standard(),
            },
            "refuse elsewhere",
        ),
        (Step::Group, Found::Group(None), "refuse elsewhere"),
        (
            Step::Group,
            Found::Group(Some(open)),
            "refuse open for joining",
        ),
        (
            Step::Member(1),
            Found::Member {
                group: Some(group(&setting)),
                members: vec![],
                user: Some(strange),
            },
            "refuse elsewhere",
        ),
    ] {
        check(&setting, step, &found, &fresh, want);
    }
}

#[test]
fn an_account_is_taken_out_of_use_and_not_deleted() {
    let setting = setting(SiteKind::Online);
    let fresh = Past::default();
    let direct = LicenceFound {
        sku_id: "id-of-EXCHANGESTANDARD".into(),
        disabled_plans: vec![],
        through_groups: vec![],
    };
    let licensed = UserFound {
        licences: vec![direct],
        ..user(&setting)
    };
    let off = UserFound {
        enabled: false,
        ..user(&setting)
    };
    let foreign = UserFound {
        mark: None,
        ..licensed.clone()
    };
    let licence = |user: Option<UserFound>| Found::Licence {
        user,
        skus: standard(),
    };
    for (step, found, want) in [
        (
            Step::Unlicensed(1),
            licence(Some(licensed)),
            "remove_licence",
        ),
        (
            Step::Unlicensed(1),
            licence(Some(foreign.clone())),
            "refuse was there before",
        ),
        (Step::Unlicensed(1), licence(Some(user(&setting))), "done"),
        (Step::Unlicensed(1), licence(None), "done"),
        (
            Step::Disabled(1),
            Found::Account(Some(user(&setting))),
            "change_user",
        ),
        (
            Step::Disabled(1),
            Found::Account(Some(foreign)),
            "refuse was there before",
        ),
        (Step::Disabled(1), Found::Account(Some(off)), "done"),
        (
            Step::Rotated(1),
            Found::Rotation {
                user: Some(user(&setting)),
                renewed: false,
            },
            "set_password",
        ),
        (
            Step::Rotated(1),
            Found::Rotation {
                user: Some(user(&setting)),
                renewed: true,
            },
            "done",
        ),
        (
            Step::Rotated(1),
            Found::Rotation {
                user: None,
                renewed: false,
            },
            "refuse there is no",
        ),
    ] {
        check(&setting, step, &found, &fresh, want);
    }
}

#[test]
fn on_premises_the_domain_says_whether_passwords_expire() {
    let setting = setting(SiteKind::Onprem);
    let user = Some(UserFound {
        password_never_expires: false,
        ..user(&setting)
    });
    let found = Found::User {
        user,
        password: PasswordKept::InEffect,
    };
    let Decision::Done(says) = decide(&setting, Step::User(1), &found, &Past::default()) else {
        panic!("it is as it should be");
    };
    assert!(says.contains("rotate it before"), "{says}");
}
