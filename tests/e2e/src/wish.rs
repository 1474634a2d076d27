//! Requests, as a client writes them.

use calgrant_contract::pb::provisioning::v1::{
    DelegationSpec, RunDelegationRequest, Selector, SiteKind, Trustee,
    run_delegation_request::What, selector::By,
};
use calgrant_simulator::TRUSTEE;

use crate::TENANT;

/// `Author` for the school's delegation group on what `by` selects.
#[must_use]
pub fn wish(by: By) -> DelegationSpec {
    DelegationSpec {
        tenant: TENANT.to_owned(),
        selector: Some(Selector { by: Some(by) }),
        trustees: vec![Trustee {
            site: SiteKind::Online.into(),
            address: TRUSTEE.to_owned(),
        }],
        role: "Author".to_owned(),
        ..DelegationSpec::default()
    }
}

/// A run for a group.
#[must_use]
pub fn group(address: &str) -> RunDelegationRequest {
    run(wish(By::Group(address.to_owned())))
}

/// A run for an uploaded list.
#[must_use]
pub fn list(id: &str) -> RunDelegationRequest {
    run(wish(By::MailboxList(id.to_owned())))
}

/// A run of a wish, under a `request_id` of its own.
#[must_use]
pub fn run(spec: DelegationSpec) -> RunDelegationRequest {
    RunDelegationRequest {
        what: Some(What::Spec(spec)),
        request_id: uuid::Uuid::new_v4().to_string(),
        ..RunDelegationRequest::default()
    }
}
