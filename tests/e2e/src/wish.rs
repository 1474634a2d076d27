//! Requests, as a client writes them.

use calgrant_contract::pb::provisioning::v1::{
    DelegationSpec, RunDelegationRequest, Selector, SiteKind, Trustee,
    run_delegation_request::What, selector::By,
};
use calgrant_simulator::TRUSTEE;

use crate::TENANT;

/// `Author` for the school's delegation group on what `by` selects, in Exchange Online.
#[must_use]
pub fn wish(by: By) -> DelegationSpec {
    wish_at(&[SiteKind::Online], by)
}

/// The same, at these sites.
#[must_use]
pub fn wish_at(sites: &[SiteKind], by: By) -> DelegationSpec {
    let trustees = sites.iter().map(|site| Trustee {
        site: (*site).into(),
        address: TRUSTEE.to_owned(),
    });
    DelegationSpec {
        tenant: TENANT.to_owned(),
        selector: Some(Selector { by: Some(by) }),
        trustees: trustees.collect(),
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
