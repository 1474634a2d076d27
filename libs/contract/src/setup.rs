//! Set-up, to and from the domain: what is wanted, what is asked, and the journal.

use std::time::Duration;

use calgrant_domain::{
    Address, BadInput, Organisation, SetupAim, SetupSpec, SiteKind, SiteSpec, Step, TenantName,
    setup::{ActionEnd, HandOver, Last, ManagedBy, ManagedParts, StepRecord, StepState, spec},
};
use time::OffsetDateTime;

use crate::{
    bus::parse,
    pb::{fleet::v1 as fleet, ledger::v1 as ledger, setup::v1 as pb},
    words,
};

/// Longest request id and ticket.
const LONGEST: usize = 200;

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupRequest {
    /// Whose.
    pub tenant: TenantName,
    /// Where.
    pub site: SiteKind,
    /// What it is to bring about.
    pub aim: SetupAim,
    /// Only look.
    pub validate_only: bool,
    /// Whoever asks carries it out.
    pub by_caller: bool,
    /// Makes a repeat harmless.
    pub request_id: String,
    /// Reference to a ticket.
    pub ticket: String,
}

impl SetupRequest {
    /// What two equal requests have in common.
    pub fn canonical(&self) -> String {
        let Self {
            site,
            aim,
            validate_only,
            by_caller,
            ticket,
            ..
        } = self;
        format!("set-up {site} {aim} {validate_only} {by_caller} {ticket}")
    }
}

/// Reads a request.
///
/// # Errors
/// All its faults.
pub fn request(wire: &pb::RunSetupRequest) -> Result<SetupRequest, Vec<BadInput>> {
    let mut faults = Vec::new();
    let mut keep = |bad: BadInput| faults.push(bad);
    let tenant = parse("tenant", &wire.tenant).map_err(&mut keep).ok();
    let site = words::site_kind("site", wire.site).map_err(&mut keep).ok();
    let aim = aim(wire.aim, wire.account).map_err(&mut keep).ok();
    for (field, text) in [("request_id", &wire.request_id), ("ticket", &wire.ticket)] {
        if text.chars().count() > LONGEST {
            keep(BadInput::new(field, text, "200 characters at most"));
        }
    }
    match (tenant, site, aim) {
        (Some(tenant), Some(site), Some(aim)) if faults.is_empty() => Ok(SetupRequest {
            tenant,
            site,
            aim,
            validate_only: wire.validate_only,
            by_caller: wire.by_caller,
            request_id: wire.request_id.clone(),
            ticket: wire.ticket.clone(),
        }),
        _ => Err(faults),
    }
}

fn aim(raw: i32, account: u32) -> Result<SetupAim, BadInput> {
    let numbered = |aim: fn(u32) -> SetupAim| {
        if (1..=spec::MOST_ACCOUNTS).contains(&account) {
            Ok(aim(account))
        } else {
            Err(BadInput::new("account", account, "which account: 1 to 50"))
        }
    };
    match pb::SetupAim::try_from(raw) {
        Ok(pb::SetupAim::Unspecified | pb::SetupAim::Ensure) if account == 0 => {
            Ok(SetupAim::Ensure)
        }
        Ok(pb::SetupAim::Unspecified | pb::SetupAim::Ensure) => Err(BadInput::new(
            "account",
            account,
            "it goes with the aims remove and rotate; ensure is about all accounts",
        )),
        Ok(pb::SetupAim::Remove) => numbered(SetupAim::Remove),
        Ok(pb::SetupAim::Rotate) => numbered(SetupAim::Rotate),
        Err(_) => Err(BadInput::new("aim", raw, "not a value of the contract")),
    }
}

/// Writes an aim: which, and the account's number.
pub fn aim_to_wire(aim: SetupAim) -> (i32, u32) {
    match aim {
        SetupAim::Ensure => (pb::SetupAim::Ensure.into(), 0),
        SetupAim::Remove(number) => (pb::SetupAim::Remove.into(), number),
        SetupAim::Rotate(number) => (pb::SetupAim::Rotate.into(), number),
    }
}

/// Reads what a site is set up with. What is wrong is added to the others.
pub(crate) fn read(
    organisation: Option<&Organisation>,
    wire: Option<&fleet::SetupSpec>,
    faults: &mut Vec<BadInput>,
) -> Option<SetupSpec> {
    let (wire, mut own) = (wire?, Vec::new());
    let spec = read_spec(wire, &mut own);
    if let (Some(spec), Some(organisation)) = (&spec, organisation) {
        let site = match organisation {
            Organisation::Online(_) => SiteKind::Online,
            Organisation::Onprem(_) => SiteKind::Onprem,
        };
        own.extend(spec.faults(site));
    }
    faults.extend(own.into_iter().map(|bad| bad.within("setup")));
    spec
}

fn read_spec(wire: &fleet::SetupSpec, faults: &mut Vec<BadInput>) -> Option<SetupSpec> {
    let before = faults.len();
    let name = parse("name", &wire.name)
        .map_err(|bad| faults.push(bad))
        .ok();
    let group: Option<Address> = parse("group", &wire.group)
        .map_err(|bad| faults.push(bad))
        .ok();
    let mut group_owners = Vec::with_capacity(wire.group_owners.len());
    for (at, raw) in wire.group_owners.iter().enumerate() {
        match parse(&format!("group_owners[{at}]"), raw) {
            Ok(owner) => group_owners.push(owner),
            Err(bad) => faults.push(bad),
        }
    }
    let parts = wire.managed.unwrap_or_default();
    let mut by = |field: &str, raw: i32| match raw {
        0 => ManagedBy::Calgrant,
        raw => words::managed_by(&format!("managed.{field}"), raw).unwrap_or_else(|bad| {
            faults.push(bad);
            ManagedBy::Calgrant
        }),
    };
    let managed = ManagedParts {
        accounts: by("accounts", parts.accounts),
        licences: by("licences", parts.licences),
        group: by("group", parts.group),
        members: by("members", parts.members),
    };
    let hand_over = hand_over(wire, faults);
    let text = |raw: &str| Some(raw.trim().to_owned()).filter(|text| !text.is_empty());
    let (name, group) = (name?, group?);
    if faults.len() > before {
        return None;
    }
    let local = group.as_str().split('@').next().unwrap_or_default();
    Some(SetupSpec {
        count: wire.count,
        without: wire.without.clone(),
        name,
        display_name: text(&wire.display_name).unwrap_or_else(|| "Service account {n}".into()),
        usage_location: text(&wire.usage_location),
        sku: text(&wire.sku),
        organizational_unit: text(&wire.organizational_unit),
        group_name: text(&wire.group_name).unwrap_or_else(|| local.to_owned()),
        group,
        group_owners,
        managed,
        hand_over,
        password_days: (wire.password_days > 0).then_some(wire.password_days),
    })
}

fn hand_over(wire: &fleet::SetupSpec, faults: &mut Vec<BadInput>) -> Option<HandOver> {
    let (folder, secret) = (wire.password_folder.trim(), wire.kubernetes_secret.trim());
    match (folder.is_empty(), secret.is_empty()) {
        (true, true) => None,
        (false, true) => Some(HandOver::Folder(folder.to_owned())),
        (true, false) => parse("kubernetes_secret", secret)
            .map_err(|bad| faults.push(bad))
            .ok()
            .map(HandOver::Kubernetes),
        (false, false) => {
            let why = "password_folder is given too: take one of the two away";
            faults.push(BadInput::new("kubernetes_secret", secret, why));
            None
        }
    }
}

/// Faults that no single site shows: the accounts of two sites would have the same names.
pub(crate) fn between_sites(sites: &[SiteSpec], faults: &mut Vec<BadInput>) {
    for (at, site) in sites.iter().enumerate() {
        let Some(setup) = &site.setup else { continue };
        let same = |other: &SiteSpec| {
            other
                .setup
                .as_ref()
                .is_some_and(|other| other.name == setup.name)
        };
        if sites[..at].iter().any(same) {
            faults.push(BadInput::new(
                format!("site[{at}].setup.name"),
                &setup.name,
                "the tenant's other site has the same names: synchronisation would make one account of two",
            ));
        }
    }
}

/// Writes what a site is set up with.
pub(crate) fn write(spec: &SetupSpec) -> fleet::SetupSpec {
    let (password_folder, kubernetes_secret) = match &spec.hand_over {
        None => (String::new(), String::new()),
        Some(HandOver::Folder(path)) => (path.clone(), String::new()),
        Some(HandOver::Kubernetes(object)) => (String::new(), object.to_string()),
    };
    fleet::SetupSpec {
        count: spec.count,
        without: spec.without.clone(),
        name: spec.name.to_string(),
        display_name: spec.display_name.clone(),
        usage_location: spec.usage_location.clone().unwrap_or_default(),
        sku: spec.sku.clone().unwrap_or_default(),
        organizational_unit: spec.organizational_unit.clone().unwrap_or_default(),
        group: spec.group.to_string(),
        group_name: spec.group_name.clone(),
        group_owners: spec.group_owners.iter().map(ToString::to_string).collect(),
        managed: Some(fleet::ManagedParts {
            accounts: words::managed_by_to_wire(spec.managed.accounts),
            licences: words::managed_by_to_wire(spec.managed.licences),
            group: words::managed_by_to_wire(spec.managed.group),
            members: words::managed_by_to_wire(spec.managed.members),
        }),
        password_folder,
        kubernetes_secret,
        password_days: spec.password_days.unwrap_or_default(),
    }
}

/// A moment as microseconds since 1970; 0 for none.
pub fn micros(at: Option<OffsetDateTime>) -> i64 {
    at.map_or(0, |at| {
        i64::try_from(at.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX)
    })
}

/// The other way.
pub fn moment(micros: i64) -> Option<OffsetDateTime> {
    let since = u64::try_from(micros).ok().filter(|micros| *micros > 0)?;
    Some(OffsetDateTime::UNIX_EPOCH + Duration::from_micros(since))
}

/// Reads what is on record of a step.
///
/// # Errors
/// A word is none; the field is named.
pub fn record(wire: &ledger::StepRecord) -> Result<(Step, StepRecord), BadInput> {
    let last = match wire.action.as_str() {
        "" => None,
        action => Some(Last {
            action: action.to_owned(),
            end: parse::<ActionEnd>("action_end", &wire.action_end)?,
            at: moment(wire.action_micros).unwrap_or(OffsetDateTime::UNIX_EPOCH),
        }),
    };
    let record = StepRecord {
        state: parse::<StepState>("state", &wire.state)?,
        says: wire.says.clone(),
        script: wire.script.clone(),
        did: wire.did.clone(),
        last,
        since: moment(wire.since_micros),
        not_before: moment(wire.not_before_micros),
    };
    Ok((parse("step", &wire.step)?, record))
}

/// The other way.
pub fn record_to_wire(step: Step, record: &StepRecord) -> ledger::StepRecord {
    let last = record.last.as_ref();
    ledger::StepRecord {
        step: step.to_string(),
        state: record.state.to_string(),
        says: record.says.clone(),
        script: record.script.clone(),
        action: last.map(|last| last.action.clone()).unwrap_or_default(),
        action_end: last.map(|last| last.end.to_string()).unwrap_or_default(),
        action_micros: micros(last.map(|last| last.at)),
        since_micros: micros(record.since),
        not_before_micros: micros(record.not_before),
        did: record.did.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn online() -> Organisation {
        Organisation::Online(calgrant_domain::OnlineSite {
            directory_id: String::new(),
            login_url: String::new(),
            graph_url: String::new(),
            admin_url: String::new(),
            write_path: calgrant_domain::WritePath::Auto,
        })
    }

    fn wire() -> fleet::SetupSpec {
        fleet::SetupSpec {
            count: 2,
            name: "sa-{n}@uni.example".into(),
            usage_location: "NL".into(),
            sku: "EXCHANGESTANDARD".into(),
            group: "delegates@uni.example".into(),
            group_owners: vec!["ann@uni.example".into()],
            kubernetes_secret: "timetable/passwords".into(),
            ..fleet::SetupSpec::default()
        }
    }

    #[test]
    fn what_a_site_is_set_up_with_round_trips_with_its_defaults() {
        let mut faults = Vec::new();
        let spec = read(Some(&online()), Some(&wire()), &mut faults);
        assert_eq!(faults, []);
        let spec = spec.unwrap();
        assert_eq!(spec.group_name, "delegates");
        assert_eq!(spec.managed, ManagedParts::default());
        let again = read(Some(&online()), Some(&write(&spec)), &mut faults);
        assert_eq!(again, Some(spec));
    }

    #[test]
    fn its_faults_are_named_where_they_are() {
        let mut faults = Vec::new();
        let bad = fleet::SetupSpec {
            name: "sa@uni.example".into(),
            group: "delegates".into(),
            managed: Some(fleet::ManagedParts {
                licences: 9,
                ..fleet::ManagedParts::default()
            }),
            password_folder: "/run".into(),
            ..wire()
        };
        read(Some(&online()), Some(&bad), &mut faults);
        let bad = fleet::SetupSpec { count: 0, ..wire() };
        read(Some(&online()), Some(&bad), &mut faults);
        let fields: Vec<_> = faults.iter().map(|bad| bad.field.as_str()).collect();
        let want = [
            "setup.name",
            "setup.group",
            "setup.managed.licences",
            "setup.kubernetes_secret",
            "setup.count",
        ];
        assert_eq!(fields, want);
    }

    #[test]
    fn requests_are_read_whole() {
        let good = pb::RunSetupRequest {
            tenant: "uni".into(),
            site: 1,
            aim: pb::SetupAim::Rotate.into(),
            account: 2,
            ..pb::RunSetupRequest::default()
        };
        let read = request(&good).unwrap();
        assert_eq!(read.aim, SetupAim::Rotate(2));
        assert_eq!(aim_to_wire(read.aim), (good.aim, 2));
        let bad = pb::RunSetupRequest {
            tenant: "Uni".into(),
            account: 51,
            request_id: "x".repeat(201),
            ..good
        };
        let fields: Vec<_> = request(&bad).unwrap_err();
        let fields: Vec<_> = fields.iter().map(|bad| bad.field.as_str()).collect();
        assert_eq!(fields, ["tenant", "account", "request_id"]);
    }

    #[test]
    fn the_journal_round_trips() {
        let at = OffsetDateTime::UNIX_EPOCH + Duration::from_micros(1_800_000_000_123_456);
        let record_of_a_step = StepRecord {
            state: StepState::Doing,
            says: "says".into(),
            script: "script".into(),
            did: vec!["make it".into()],
            last: Some(Last {
                action: "create_user".into(),
                end: ActionEnd::Unknown,
                at,
            }),
            since: Some(at),
            not_before: None,
        };
        for record_of_a_step in [record_of_a_step, StepRecord::due()] {
            let wire = record_to_wire(Step::User(3), &record_of_a_step);
            assert_eq!(record(&wire), Ok((Step::User(3), record_of_a_step)));
        }
    }
}
