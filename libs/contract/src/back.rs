//! Requests to take away, to put back and to verify, to the domain. All faults at once.

use calgrant_domain::{
    Address, BadInput, DelegationId, Lane, MailboxId, OperationId, OperationKind, TenantName,
};
use uuid::Uuid;

use crate::{
    bus::parse,
    pb::{ledger::v1::accept_back_request::Request, provisioning::v1 as pb},
    provisioning::{check_request_id, check_ticket, lane_or},
};

/// Most mailboxes that a request may name.
const MOST_NAMES: usize = 10_000;

/// A request, parsed. Its canonical form tells whether two requests are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackSubmission {
    /// Whose entries.
    pub of: Of,
    /// Only these mailboxes; all if empty. Sorted, each once.
    pub mailboxes: Vec<MailboxName>,
    /// Makes a repeat harmless.
    pub request_id: String,
    /// The lane.
    pub lane: Lane,
    /// Only find out.
    pub validate_only: bool,
    /// Reference to a ticket; may be empty.
    pub ticket: String,
}

/// Whose entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// What a delegation gave is taken away.
    Delegation(DelegationId),
    /// What any delegation gave this trustee is taken away.
    Trustee(TenantName, Address),
    /// What an operation changed is put back.
    Operation(OperationId),
    /// What a delegation gave is looked at, and given again if so wished.
    Verified(DelegationId, bool),
}

/// How a request names a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum MailboxName {
    /// By its key.
    Id(Uuid),
    /// By an address it had.
    Address(Address),
}

impl std::fmt::Display for MailboxName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => MailboxId::from_uuid(*id).fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl BackSubmission {
    /// What the operation does.
    pub fn kind(&self) -> OperationKind {
        match self.of {
            Of::Delegation(_) | Of::Trustee(..) => OperationKind::Revoke,
            Of::Operation(_) => OperationKind::Undo,
            Of::Verified(..) => OperationKind::Verify,
        }
    }

    /// Text that is equal for equal submissions, whatever the order of their mailboxes.
    pub fn canonical(&self) -> String {
        format!("{self:?}")
    }
}

fn mailbox(field: &str, raw: &str) -> Result<MailboxName, BadInput> {
    let raw = raw.trim();
    if let Ok(id) = raw.parse::<MailboxId>() {
        return Ok(MailboxName::Id(id.as_uuid()));
    }
    if let Ok(id) = Uuid::try_parse(raw) {
        return Ok(MailboxName::Id(id));
    }
    parse(field, raw).map(MailboxName::Address)
}

/// Reads a request.
///
/// # Errors
/// All its faults.
pub fn back_submission(request: Request) -> Result<BackSubmission, Vec<BadInput>> {
    let mut faults = Vec::new();
    let mut keep = |of: Result<Of, BadInput>| of.map_err(|bad| faults.push(bad)).ok();
    let (of, names, request_id, lane, validate_only, ticket) = match request {
        Request::RevokeDelegation(pb::RevokeDelegationRequest {
            delegation,
            mailboxes,
            request_id,
            lane,
            validate_only,
            ticket,
        }) => {
            let of = keep(parse("delegation", &delegation).map(Of::Delegation));
            (of, mailboxes, request_id, lane, validate_only, ticket)
        }
        Request::RevokeTrustee(pb::RevokeTrusteeRequest {
            tenant,
            trustee,
            mailboxes,
            request_id,
            lane,
            validate_only,
            ticket,
        }) => {
            let tenant = parse("tenant", &tenant);
            let trustee = parse("trustee", &trustee);
            let of = match (tenant, trustee) {
                (Ok(tenant), Ok(trustee)) => Some(Of::Trustee(tenant, trustee)),
                (tenant, trustee) => {
                    faults.extend(tenant.err().into_iter().chain(trustee.err()));
                    None
                }
            };
            (of, mailboxes, request_id, lane, validate_only, ticket)
        }
        Request::Undo(pb::UndoOperationRequest {
            operation,
            request_id,
            lane,
            validate_only,
            ticket,
        }) => {
            let of = keep(parse("operation", &operation).map(Of::Operation));
            (of, Vec::new(), request_id, lane, validate_only, ticket)
        }
        Request::Verify(pb::VerifyDelegationRequest {
            delegation,
            mailboxes,
            repair,
            request_id,
            lane,
            validate_only,
            ticket,
        }) => {
            let of = parse("delegation", &delegation).map(|id| Of::Verified(id, repair));
            let of = keep(of);
            (of, mailboxes, request_id, lane, validate_only, ticket)
        }
    };
    if names.len() > MOST_NAMES {
        faults.push(BadInput::new(
            "mailboxes",
            names.len(),
            "at most 10,000 in one request: send several, or revoke the whole delegation",
        ));
    }
    let mut mailboxes = Vec::with_capacity(names.len().min(MOST_NAMES));
    for (at, raw) in names.iter().enumerate().take(MOST_NAMES) {
        match mailbox(&format!("mailboxes[{at}]"), raw) {
            Ok(name) => mailboxes.push(name),
            Err(bad) => faults.push(bad),
        }
    }
    mailboxes.sort();
    mailboxes.dedup();
    faults.extend(check_request_id(&request_id));
    faults.extend(check_ticket(&ticket));
    // Somebody waits for one.
    let usual = if mailboxes.len() == 1 {
        Lane::Interactive
    } else {
        Lane::Bulk
    };
    let lane = lane_or(usual, lane, &mut faults);
    match (of, lane) {
        (Some(of), Some(lane)) if faults.is_empty() => Ok(BackSubmission {
            of,
            mailboxes,
            request_id,
            lane,
            validate_only,
            ticket,
        }),
        _ => Err(faults),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revoke(mailboxes: &[&str]) -> pb::RevokeDelegationRequest {
        pb::RevokeDelegationRequest {
            delegation: format!("dlg_{}", Uuid::from_u128(1).simple()),
            mailboxes: mailboxes.iter().map(ToString::to_string).collect(),
            request_id: "r-1".into(),
            ..Default::default()
        }
    }

    #[test]
    fn one_leaver_goes_first_and_names_are_compared_without_their_order() {
        let read =
            |names: &[&str]| back_submission(Request::RevokeDelegation(revoke(names))).unwrap();
        assert_eq!(read(&["Ada@uni.example"]).lane, Lane::Interactive);
        assert_eq!(read(&[]).lane, Lane::Bulk);
        let guid = Uuid::from_u128(7);
        let one = read(&["ada@uni.example", &guid.to_string()]);
        let other = read(&[
            &format!("mbx_{}", guid.simple()),
            "ADA@uni.example",
            "ada@uni.example",
        ]);
        assert_eq!(one.canonical(), other.canonical());
        assert_eq!((one.mailboxes.len(), one.lane), (2, Lane::Bulk));
        assert_eq!(one.kind(), OperationKind::Revoke);
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let bad = pb::RevokeDelegationRequest {
            delegation: "dlg".into(),
            request_id: String::new(),
            ticket: "x".repeat(201),
            ..revoke(&["ada"])
        };
        let fields: Vec<_> = back_submission(Request::RevokeDelegation(bad))
            .unwrap_err()
            .into_iter()
            .map(|bad| bad.field)
            .collect();
        assert_eq!(
            fields,
            ["delegation", "mailboxes[0]", "request_id", "ticket"]
        );
    }
}
