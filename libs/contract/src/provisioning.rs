//! Delegations and requests to run them, to and from the domain. All faults at once.

use std::fmt;

use calgrant_domain::{
    Address, BadInput, Confined, DelegationId, DelegationSpec, Lane, MailboxType, Policy, Selector,
    Trustee,
};

use crate::{bus::parse, pb::provisioning::v1 as pb, words};

/// A request to run something, parsed. Its canonical form tells whether two requests are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// What to run.
    pub what: What,
    /// Makes a repeat harmless.
    pub request_id: String,
    /// The lane.
    pub lane: Lane,
    /// Only find out.
    pub validate_only: bool,
    /// Reference to a ticket; may be empty.
    pub ticket: String,
    /// The mailboxes it is confined to, if it is.
    pub confined: Option<Confined>,
    /// So many mailboxes first; 0: all at once.
    pub canary: u32,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A stored delegation.
    Stored(DelegationId),
    /// A new one.
    New(DelegationSpec),
}

impl Submission {
    /// Text that is equal for equal submissions, whatever the order of their groups.
    pub fn canonical(&self) -> String {
        let mut submission = self.clone();
        if let What::New(spec) = &mut submission.what {
            spec.exclude_groups.sort();
            spec.exclude_mailboxes.sort();
            spec.mailbox_types.sort_unstable();
            spec.trustees.sort_by_key(|trustee| trustee.site);
        }
        if let Some(confined) = &mut submission.confined {
            confined.mailboxes.sort();
        }
        let text = fmt::from_fn(|f| {
            let mut text = f.debug_struct("Submission");
            text.field("what", &submission.what)
                .field("request_id", &submission.request_id)
                .field("lane", &submission.lane)
                .field("validate_only", &submission.validate_only)
                .field("ticket", &submission.ticket);
            // Fields that came later are named where they are set: requests from before are compared, too.
            if let Some(confined) = &submission.confined {
                text.field("confined", &Some(confined));
            }
            if submission.canary > 0 {
                text.field("canary", &submission.canary);
            }
            text.finish()
        });
        format!("{text:?}")
    }
}

/// Collects faults instead of stopping at the first.
struct Reader {
    faults: Vec<BadInput>,
}

impl Reader {
    fn keep<T>(&mut self, read: Result<T, BadInput>) -> Option<T> {
        read.map_err(|bad| self.faults.push(bad)).ok()
    }
}

/// Reads a delegation.
///
/// # Errors
/// All its faults.
pub fn delegation_spec(spec: pb::DelegationSpec) -> Result<DelegationSpec, Vec<BadInput>> {
    let mut reader = Reader { faults: Vec::new() };
    let tenant = reader.keep(parse("tenant", &spec.tenant));
    let selector = reader.keep(selector(spec.selector));
    let mut addresses = |field: &str, raw: &[String]| -> Vec<Address> {
        raw.iter()
            .enumerate()
            .filter_map(|(at, raw)| reader.keep(parse(&format!("{field}[{at}]"), raw)))
            .collect()
    };
    let exclude_groups = addresses("exclude_groups", &spec.exclude_groups);
    let exclude_mailboxes = addresses("exclude_mailboxes", &spec.exclude_mailboxes);
    let mut mailbox_types: Vec<_> = spec
        .mailbox_types
        .iter()
        .enumerate()
        .filter_map(|(at, raw)| {
            reader.keep(words::mailbox_type(&format!("mailbox_types[{at}]"), *raw))
        })
        .collect();
    if mailbox_types.is_empty() {
        mailbox_types.push(MailboxType::User);
    }
    let mut trustees: Vec<Trustee> = Vec::new();
    for (at, trustee) in spec.trustees.iter().enumerate() {
        let site = reader.keep(words::site_kind(
            &format!("trustees[{at}].site"),
            trustee.site,
        ));
        let address = reader.keep(parse(&format!("trustees[{at}].address"), &trustee.address));
        if let (Some(site), Some(address)) = (site, address) {
            if trustees.iter().any(|other| other.site == site) {
                reader.faults.push(BadInput::new(
                    format!("trustees[{at}].site"),
                    site,
                    "one trustee for each site",
                ));
            }
            trustees.push(Trustee { site, address });
        }
    }
    if spec.trustees.is_empty() {
        reader.faults.push(BadInput::missing("trustees", "name who receives the right: a mail-enabled security group or a mailbox, for each site"));
    }
    let role = if spec.role.is_empty() {
        Some(calgrant_domain::AccessRole::AUTHOR)
    } else {
        reader.keep(parse("role", &spec.role))
    };
    let policy = reader.keep(match pb::Policy::try_from(spec.policy) {
        Ok(pb::Policy::Unspecified | pb::Policy::Once) => Ok(Policy::Once),
        Ok(pb::Policy::Keep) => Ok(Policy::Keep),
        Err(_) => Err(BadInput::new(
            "policy",
            spec.policy,
            "not a value of the contract; use POLICY_ONCE or POLICY_KEEP",
        )),
    });
    match (tenant, selector, role, policy) {
        (Some(tenant), Some(selector), Some(role), Some(policy)) if reader.faults.is_empty() => {
            Ok(DelegationSpec {
                tenant,
                selector,
                exclude_groups,
                exclude_mailboxes,
                mailbox_types,
                trustees,
                role,
                lower_higher: spec.lower_higher,
                policy,
            })
        }
        _ => Err(reader.faults),
    }
}

fn selector(selector: Option<pb::Selector>) -> Result<Selector, BadInput> {
    use pb::selector::By;
    let missing = || {
        BadInput::missing(
            "selector",
            "say which mailboxes: a group, an organizational_unit, an administrative_unit, all, or a mailbox_list",
        )
    };
    match selector
        .and_then(|selector| selector.by)
        .ok_or_else(missing)?
    {
        By::Group(group) => parse("selector.group", &group).map(Selector::Group),
        By::OrganizationalUnit(dn) => {
            unit("selector.organizational_unit", &dn).map(Selector::OrganizationalUnit)
        }
        By::OrganizationalUnitOneLevel(dn) => unit("selector.organizational_unit_one_level", &dn)
            .map(Selector::OrganizationalUnitOneLevel),
        By::AdministrativeUnit(name) if !name.trim().is_empty() => {
            Ok(Selector::AdministrativeUnit(name.trim().to_owned()))
        }
        By::AdministrativeUnit(_) => Err(BadInput::missing(
            "selector.administrative_unit",
            "its display name is needed",
        )),
        By::All(true) => Ok(Selector::All),
        By::All(false) => Err(missing()),
        By::MailboxList(list) => parse("selector.mailbox_list", &list).map(Selector::List),
    }
}

fn unit(field: &str, dn: &str) -> Result<String, BadInput> {
    if dn.contains('=') {
        return Ok(dn.trim().to_owned());
    }
    Err(BadInput::new(
        field,
        dn,
        "a distinguished name is needed, such as OU=Students,DC=uni,DC=example",
    ))
}

/// Writes a delegation.
pub fn delegation_spec_to_wire(spec: &DelegationSpec) -> pb::DelegationSpec {
    use pb::selector::By;
    let by = match &spec.selector {
        Selector::Group(group) => By::Group(group.to_string()),
        Selector::OrganizationalUnit(dn) => By::OrganizationalUnit(dn.clone()),
        Selector::OrganizationalUnitOneLevel(dn) => By::OrganizationalUnitOneLevel(dn.clone()),
        Selector::AdministrativeUnit(name) => By::AdministrativeUnit(name.clone()),
        Selector::All => By::All(true),
        Selector::List(list) => By::MailboxList(list.to_string()),
    };
    pb::DelegationSpec {
        tenant: spec.tenant.to_string(),
        selector: Some(pb::Selector { by: Some(by) }),
        exclude_groups: spec
            .exclude_groups
            .iter()
            .map(ToString::to_string)
            .collect(),
        exclude_mailboxes: spec
            .exclude_mailboxes
            .iter()
            .map(ToString::to_string)
            .collect(),
        mailbox_types: spec
            .mailbox_types
            .iter()
            .map(|kind| words::mailbox_type_to_wire(*kind))
            .collect(),
        trustees: spec
            .trustees
            .iter()
            .map(|trustee| pb::Trustee {
                site: words::site_kind_to_wire(trustee.site),
                address: trustee.address.to_string(),
            })
            .collect(),
        role: spec.role.to_string(),
        lower_higher: spec.lower_higher,
        policy: match spec.policy {
            Policy::Once => pb::Policy::Once,
            Policy::Keep => pb::Policy::Keep,
        }
        .into(),
    }
}

/// Mailboxes that a request may name.
const MAILBOXES: usize = 100;

/// Reads to which mailboxes a run is confined.
fn confined(request: &pb::RunDelegationRequest) -> Result<Option<Confined>, Vec<BadInput>> {
    let (mut faults, mut mailboxes) = (Vec::new(), Vec::<Address>::new());
    for (at, raw) in request.mailboxes.iter().enumerate() {
        match parse(&format!("mailboxes[{at}]"), raw) {
            Ok(address) if mailboxes.contains(&address) => {}
            Ok(address) => mailboxes.push(address),
            Err(bad) => faults.push(bad),
        }
    }
    if request.mailboxes.len() > MAILBOXES {
        let why = "at most 100; upload a list for more";
        faults.push(BadInput::new("mailboxes", request.mailboxes.len(), why));
    }
    if mailboxes.is_empty() && faults.is_empty() {
        for (field, set) in [
            ("beyond_selector", request.beyond_selector),
            ("await_mailboxes", request.await_mailboxes),
        ] {
            if set {
                faults.push(BadInput::new(field, set, "goes with mailboxes: name them"));
            }
        }
    }
    match (faults.is_empty(), mailboxes.is_empty()) {
        (false, _) => Err(faults),
        (true, true) => Ok(None),
        (true, false) => Ok(Some(Confined {
            mailboxes,
            beyond_selector: request.beyond_selector,
            awaits: request.await_mailboxes,
        })),
    }
}

/// Reads a request to run.
///
/// # Errors
/// All its faults.
pub fn submission(request: pb::RunDelegationRequest) -> Result<Submission, Vec<BadInput>> {
    use pb::run_delegation_request::What as Wire;
    let mut faults = Vec::new();
    let confined = confined(&request).unwrap_or_else(|bad| {
        faults.extend(bad);
        None
    });
    let what = match request.what {
        None => {
            faults.push(BadInput::missing(
                "what",
                "name a stored delegation by delegation_id, or send a new one as spec",
            ));
            None
        }
        Some(Wire::DelegationId(id)) => parse("delegation_id", &id)
            .map_err(|bad| faults.push(bad))
            .ok()
            .map(What::Stored),
        Some(Wire::Spec(spec)) => delegation_spec(spec)
            .map_err(|bad| faults.extend(bad.into_iter().map(|bad| bad.within("spec"))))
            .ok()
            .map(What::New),
    };
    faults.extend(check_request_id(&request.request_id));
    faults.extend(check_ticket(&request.ticket));
    if request.canary > MOST_FIRST {
        faults.push(BadInput::new(
            "canary",
            request.canary,
            "at most 10,000 mailboxes are tried first",
        ));
    }
    let lane = lane_or(Lane::Bulk, request.lane, &mut faults);
    match (what, lane) {
        (Some(what), Some(lane)) if faults.is_empty() => Ok(Submission {
            what,
            request_id: request.request_id,
            lane,
            validate_only: request.validate_only,
            ticket: request.ticket,
            confined,
            canary: request.canary,
        }),
        _ => Err(faults),
    }
}

/// The lane that a request names; this one if it names none.
pub(crate) fn lane_or(default: Lane, raw: i32, faults: &mut Vec<BadInput>) -> Option<Lane> {
    if raw == 0 {
        return Some(default);
    }
    words::lane("lane", raw)
        .map_err(|bad| faults.push(bad))
        .ok()
}

/// Most mailboxes that are tried first.
const MOST_FIRST: u32 = 10_000;

fn printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// What is wrong with a `request_id`, if something is.
pub(crate) fn check_request_id(raw: &str) -> Option<BadInput> {
    let good = !raw.is_empty() && raw.chars().count() <= 128 && printable(raw);
    (!good).then(|| {
        BadInput::new("request_id", raw, "1 to 128 printable characters, new for every new request, so that a repeat is harmless")
    })
}

/// What is wrong with a reference to a ticket, if something is.
pub fn check_ticket(raw: &str) -> Option<BadInput> {
    let good = raw.chars().count() <= 200 && printable(raw);
    (!good).then(|| BadInput::new("ticket", raw, "at most 200 printable characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> pb::DelegationSpec {
        pb::DelegationSpec {
            tenant: "uni".into(),
            selector: Some(pb::Selector {
                by: Some(pb::selector::By::Group("Staff@uni.example".into())),
            }),
            trustees: vec![pb::Trustee {
                site: pb::SiteKind::Online as i32,
                address: "delegates@uni.example".into(),
            }],
            ..pb::DelegationSpec::default()
        }
    }

    #[test]
    fn defaults_and_round_trip() {
        let read = delegation_spec(spec()).unwrap();
        assert_eq!(read.role, calgrant_domain::AccessRole::AUTHOR);
        assert_eq!(
            delegation_spec(delegation_spec_to_wire(&read)).unwrap(),
            read
        );
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let bad = pb::DelegationSpec {
            tenant: "Uni!".into(),
            role: "Autor".into(),
            selector: None,
            exclude_groups: vec!["x".into()],
            trustees: Vec::new(),
            ..spec()
        };
        let fields: Vec<_> = delegation_spec(bad)
            .unwrap_err()
            .into_iter()
            .map(|bad| bad.field)
            .collect();
        assert_eq!(
            fields,
            [
                "tenant",
                "selector",
                "exclude_groups[0]",
                "trustees",
                "role"
            ]
        );
    }

    #[test]
    fn a_run_may_be_confined_to_mailboxes() {
        let request = |mailboxes: &[&str], beyond_selector| pb::RunDelegationRequest {
            what: Some(pb::run_delegation_request::What::Spec(spec())),
            request_id: "r-1".into(),
            mailboxes: mailboxes.iter().map(ToString::to_string).collect(),
            beyond_selector,
            ..Default::default()
        };
        let read = submission(request(
            &["Ada@uni.example", "bob@uni.example", "ada@uni.example"],
            true,
        ));
        let read = read.unwrap();
        let confined = read.confined.as_ref().unwrap();
        assert_eq!(confined.mailboxes.len(), 2);
        assert!(confined.beyond_selector && !confined.awaits);
        // What is set is compared as it always was; what isn't is as if there were no such field.
        assert!(
            read.canonical()
                .ends_with(&format!(", confined: Some({confined:?}) }}"))
        );
        let all = submission(request(&[], false)).unwrap();
        assert!(all.canonical().ends_with(", ticket: \"\" }"));
        let turned = submission(request(&["bob@uni.example", "ada@uni.example"], true)).unwrap();
        assert_eq!(turned.canonical(), read.canonical());
        assert_eq!(submission(request(&[], false)).unwrap().confined, None);
        for (request, field) in [
            (request(&["ada"], false), "mailboxes[0]"),
            (request(&["a@uni.example"; 101], false), "mailboxes"),
            (request(&[], true), "beyond_selector"),
        ] {
            assert_eq!(submission(request).unwrap_err()[0].field, field);
        }
    }

    #[test]
    fn a_submission_needs_a_request_id() {
        let request = pb::RunDelegationRequest {
            what: Some(pb::run_delegation_request::What::Spec(spec())),
            ..Default::default()
        };
        assert_eq!(
            submission(request.clone()).unwrap_err()[0].field,
            "request_id"
        );
        assert!(
            submission(pb::RunDelegationRequest {
                request_id: "r-1".into(),
                ..request
            })
            .is_ok()
        );
    }
}
