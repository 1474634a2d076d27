//! Values that tests of the ledger begin with: a tenant, mailboxes by number, an operation that is accepted and listed.

use std::time::Duration;

use calgrant_domain::{
    AccessRole, AccountSpec, Address, Credential, DelegationId, DelegationSpec, Keeping, Lane,
    Limits, Listed, Mailbox, MailboxId, MailboxType, OnlineSite, OperationId, Organisation, Policy,
    Purpose, SecretRef, Selector, SharedLimits, SiteKind, SiteSpec, TenantName, TenantSpec,
    Trustee, WritePath,
};
use calgrant_store::{NewOperation, Page, Store, StoredDelegation};
use time::OffsetDateTime;
use uuid::Uuid;

/// Who lists in these tests.
pub const PLANNER: &str = "planner-1";
/// Who receives the right.
pub const TRUSTEE: &str = "timetable@example.org";
/// For how long a claim on a listing holds.
pub const HOLD: Duration = Duration::from_secs(15);

fn valid<T>(raw: &str) -> T
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    raw.parse().unwrap_or_else(|bad| panic!("{raw}: {bad}"))
}

/// A tenant with one online site and one account.
///
/// # Panics
/// `name` is no tenant's name.
#[must_use]
pub fn tenant(name: &str) -> TenantSpec {
    let account = AccountSpec {
        name: valid("sa-1"),
        purposes: vec![Purpose::Reader, Purpose::Grantor],
        client_id: "00000000-0000-0000-0000-000000000001".to_owned(),
        user: String::new(),
        credential: Credential::Secret(SecretRef::Env("SECRET".to_owned())),
        limits: Limits {
            in_flight: 10,
            windows: Vec::new(),
            server_time: None,
        },
        workers: 4,
        expires: None,
    };
    TenantSpec {
        name: valid(name),
        display_name: format!("University of {name}"),
        sites: vec![SiteSpec {
            organisation: Organisation::Online(OnlineSite {
                directory_id: "00000000-0000-0000-0000-000000000002".to_owned(),
                login_url: "http://127.0.0.1:1".to_owned(),
                graph_url: "http://127.0.0.1:1".to_owned(),
                admin_url: "http://127.0.0.1:1".to_owned(),
                write_path: WritePath::Auto,
            }),
            park_first: Duration::from_secs(300),
            park_limit: Duration::from_secs(86_400),
            shared: SharedLimits::default(),
            accounts: vec![account],
            setup: None,
        }],
        keeping: Keeping::default(),
    }
}

/// The id of the mailbox of this number.
#[must_use]
pub fn mailbox_id(number: u32) -> MailboxId {
    MailboxId::from_uuid(Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes()))
}

/// The mailbox of this number, as a listing shows it.
///
/// # Panics
/// Never.
#[must_use]
pub fn listed(number: u32) -> Listed {
    let address: Address = valid(&format!("person-{number}@example.org"));
    Listed {
        id: mailbox_id(number),
        name: address.to_string(),
        what: Ok(Mailbox {
            kind: None,
            id: mailbox_id(number),
            address,
            aliases: vec![valid(&format!("p{number}@alias.example.org"))],
            licensed: Some(true),
        }),
        lines: Vec::new(),
    }
}

/// A page of the online site.
#[must_use]
pub fn page(listed: Vec<Listed>) -> Page {
    Page {
        site: SiteKind::Online,
        trustee: TRUSTEE.to_owned(),
        listed,
    }
}

/// An operation to accept, with a delegation of `Author` of its own.
///
/// # Panics
/// `tenant` is no tenant's name.
#[must_use]
pub fn operation(tenant: &str, lane: Lane, at: OffsetDateTime) -> NewOperation {
    let tenant: TenantName = valid(tenant);
    let spec = DelegationSpec {
        tenant: tenant.clone(),
        selector: Selector::All,
        exclude_groups: Vec::new(),
        exclude_mailboxes: Vec::new(),
        mailbox_types: vec![MailboxType::User],
        trustees: vec![Trustee {
            site: SiteKind::Online,
            address: valid(TRUSTEE),
        }],
        role: AccessRole::AUTHOR,
        lower_higher: false,
        policy: Policy::Once,
    };
    let delegation = DelegationId::new(at, Uuid::new_v4());
    NewOperation {
        id: OperationId::new(at, Uuid::new_v4()),
        tenant,
        delegation,
        new_delegation: Some(StoredDelegation {
            id: delegation,
            spec,
            created_by: "tests".to_owned(),
            created_at: at,
        }),
        lane,
        validate_only: false,
        caller: "tests".to_owned(),
        request_id: Uuid::new_v4().to_string(),
        canonical: "all of it".to_owned(),
        ticket: String::new(),
        confined: None,
        traceparent: String::new(),
        canary: 0,
        at,
    }
}

/// Accepts an operation and lists these mailboxes completely, in pages of 1,000. No other may be waiting to be listed.
///
/// # Panics
/// The store refuses.
pub async fn listed_operation(
    store: &Store,
    new: &NewOperation,
    mailboxes: std::ops::Range<u32>,
) -> OperationId {
    let done = async {
        store.accept(new).await?;
        let claim = store.claim_listing(PLANNER, HOLD, new.at).await?;
        assert_eq!(claim.map(|claim| claim.operation), Some(new.id));
        for from in mailboxes.clone().step_by(1000) {
            let to = mailboxes.end.min(from + 1000);
            let page = page((from..to).map(listed).collect());
            store
                .record_jobs(new.id, PLANNER, HOLD, &page, new.at)
                .await?;
        }
        store.finish_listing(new.id, PLANNER, None, new.at).await
    };
    done.await
        .unwrap_or_else(|cause: calgrant_store::StoreError| panic!("listing {}: {cause}", new.id));
    new.id
}
