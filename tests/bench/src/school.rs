//! The school that is delegated, and its tenant.

use calgrant_contract::pb::{
    fleet::v1::{
        AccountSpec, CallWindow, Purpose, SecretRef, SiteSpec, TenantSpec, WritePath,
        account_spec::Credential, secret_ref::At,
    },
    provisioning::v1::{
        DelegationSpec, Policy, RunDelegationRequest, Selector, SiteKind, Trustee,
        run_delegation_request::What, selector::By,
    },
};
use calgrant_testkit::School;
use serde_json::Value;

use crate::processes::Processes;

pub(crate) const TENANT: &str = "uni";
pub(crate) const EVERYONE: &str = "staff-and-students@uni.example";
pub(crate) const TRUSTEE: &str = "timetable-delegates@uni.example";

/// Grantor accounts, all alike.
pub(crate) struct Accounts {
    pub(crate) count: usize,
    pub(crate) max_in_flight: u32,
    /// Mailboxes worked on at the same moment, by each.
    pub(crate) workers: u32,
    /// Calls in so many seconds.
    pub(crate) windows: &'static [(u32, u64)],
    pub(crate) write_path: WritePath,
}

impl Accounts {
    /// Client ids. The first grantor of a generated school has no secret.
    pub(crate) fn client_ids(&self) -> impl Iterator<Item = (usize, String)> {
        (2..self.count + 2).map(|number| (number, format!("bbbbbbbb-0000-0000-0000-{number:012}")))
    }
}

/// The simulator's scenario: it enforces just what Calgrant is told.
pub(crate) fn scenario(mailboxes: usize, accounts: &Accounts, dials: &str) -> String {
    scenario_with(mailboxes, accounts, "", dials)
}

/// The same, with more options of the school, a line each.
pub(crate) fn scenario_with(
    mailboxes: usize,
    accounts: &Accounts,
    school: &str,
    dials: &str,
) -> String {
    let windows: Vec<_> = accounts
        .windows
        .iter()
        .map(|(calls, seconds)| format!("[{calls}, {seconds}]"))
        .collect();
    format!(
        "seed = 1\n[school]\nseed = 1\nmailboxes = {mailboxes}\ngrantors = {}\nmax_in_flight = {}\nwindows = [{}]\n\
         read_lag_max_secs = 0\nprovision_delay_secs = 1\n{school}[dials]\n{dials}",
        accounts.count + 1,
        accounts.max_in_flight,
        windows.join(", "),
    )
}

/// Members of the group who have a mailbox with a calendar, as the simulator tells of them, in the order in which they are listed.
pub(crate) async fn with_calendars(set: &Processes) -> Vec<Value> {
    let school = School::at(set.url("simulator"));
    let mut members = school.members(&format!("group={EVERYONE}")).await;
    members.retain(|member| member["state"] == "mailbox" && !member["calendar"].is_null());
    members
}

/// A delegation of what `by` selects.
pub(crate) fn wish(by: By) -> DelegationSpec {
    DelegationSpec {
        tenant: TENANT.to_owned(),
        selector: Some(Selector { by: Some(by) }),
        trustees: vec![Trustee {
            site: SiteKind::Online.into(),
            address: TRUSTEE.to_owned(),
        }],
        ..DelegationSpec::default()
    }
}

/// The same, kept.
pub(crate) fn kept(by: By) -> DelegationSpec {
    DelegationSpec {
        policy: Policy::Keep.into(),
        ..wish(by)
    }
}

/// A run for what `by` selects.
pub(crate) fn request(by: By) -> RunDelegationRequest {
    run(What::Spec(wish(by)))
}

/// A run.
pub(crate) fn run(what: What) -> RunDelegationRequest {
    RunDelegationRequest {
        what: Some(what),
        request_id: uuid::Uuid::new_v4().to_string(),
        ..RunDelegationRequest::default()
    }
}

/// The tenant as it is applied; secrets are files of the set.
pub(crate) fn tenant(set: &Processes, accounts: &Accounts) -> anyhow::Result<TenantSpec> {
    let account = |name: String, purpose: Purpose, client_id: String, secret: String| AccountSpec {
        name,
        purposes: vec![purpose.into()],
        client_id,
        credential: Some(Credential::Secret(SecretRef {
            at: Some(At::File(secret)),
        })),
        max_in_flight: accounts.max_in_flight,
        windows: accounts
            .windows
            .iter()
            .map(|(calls, seconds)| CallWindow {
                calls: *calls,
                millis: 1000 * seconds,
            })
            .collect(),
        workers: accounts.workers,
        ..AccountSpec::default()
    };
    let reader = account(
        "reader".to_owned(),
        Purpose::Reader,
        "aaaaaaaa-0000-0000-0000-000000000000".to_owned(),
        set.write("reader", "reader-secret")?,
    );
    let mut all = vec![reader];
    for (number, client_id) in accounts.client_ids() {
        let secret = set.write(&format!("sa-{number}"), &format!("grantor-secret-{number}"))?;
        all.push(account(
            format!("sa-{number}"),
            Purpose::Grantor,
            client_id,
            secret,
        ));
    }
    let url = set.url("simulator");
    Ok(TenantSpec {
        name: TENANT.to_owned(),
        sites: vec![SiteSpec {
            kind: SiteKind::Online.into(),
            directory_id: "11111111-2222-3333-4444-555555555555".to_owned(),
            login_url: url.clone(),
            graph_url: url.clone(),
            admin_url: url,
            write_path: accounts.write_path.into(),
            park_first_millis: 1000,
            accounts: all,
            ..SiteSpec::default()
        }],
        ..TenantSpec::default()
    })
}
