//! The cmdlets: what may run, and those that read mailboxes and folders.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::application;
use crate::calendar::Mailbox;
use crate::exchange::Front;
use crate::filter;
use crate::folder_permission;
use crate::group_change;
use crate::mailbox_change;
use crate::mailbox_object::mailbox_object;
use crate::parameters::Parameters;
use crate::powershell::SessionKey;
use crate::query::{BadPage, Params, page_token, read_page_token};
use crate::recipients;
use crate::replica::{Place, Shows};
use crate::reply::{CmdletError, Reply};
use crate::scenario::Kind;
use crate::tenant::{Object, Tenant};
use crate::throttling;
use crate::user::Side;
use crate::world::World;

/// One cmdlet about to run.
pub(crate) struct Command<'a> {
    pub(crate) world: &'a World,
    pub(crate) tenant: &'a Arc<Tenant>,
    pub(crate) app: &'a Arc<App>,
    pub(crate) front: Front,
    pub(crate) url: &'a str,
    pub(crate) query: &'a Params,
    pub(crate) page: usize,
    pub(crate) body: &'a Value,
    /// What it reads, and where it writes.
    pub(crate) place: Place,
    /// What secrets of this session are sealed with, once a key was exchanged.
    pub(crate) key: Option<&'a SessionKey>,
}

impl Command<'_> {
    pub(crate) fn now(&self) -> Duration {
        self.world.clock.now()
    }

    /// Whether what it reads tells of this object.
    pub(crate) fn knows(&self, object: Object) -> bool {
        self.tenant.knows(object, self.place, self.now())
    }

    /// The domain controller that it asks, on premises: what it shows comes from there.
    pub(crate) fn controller(&self) -> Option<String> {
        let Place::Controller(at) = self.place else {
            return None;
        };
        let site = self.tenant.site.as_ref()?;
        let name = site.controllers.get(at)?;
        Some(format!("{name}.{}", self.tenant.domain))
    }

    /// From when on what it writes now shows: what the cloud has made never comes down.
    pub(crate) fn shows(&self) -> Shows {
        let dials = self.world.dials();
        let near = Duration::from_millis(dials.replication_lag_ms);
        let far = Duration::from_millis(dials.sync_lag_ms);
        let far = (self.front.side() == Side::OnPremises).then_some(far);
        Shows::written(self.place, self.now(), near, far)
    }
}

/// What a cmdlet printed.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) value: Vec<Value>,
    pub(crate) warning: Option<String>,
    pub(crate) next: Option<String>,
}

impl Output {
    /// These objects, and nothing besides.
    pub(crate) fn of(value: Vec<Value>) -> Self {
        Self {
            value,
            ..Self::default()
        }
    }
}

/// Every cmdlet there is in the cloud. Of `New-ManagementRoleAssignment` no more is simulated than that it is there.
const CMDLETS: [&str; 20] = [
    "Add-DistributionGroupMember",
    "Get-AcceptedDomain",
    "Get-DistributionGroup",
    "Get-DistributionGroupMember",
    "Get-DynamicDistributionGroupMember",
    "Get-Mailbox",
    "Get-MailboxFolderPermission",
    "Get-MailboxFolderStatistics",
    "Get-ManagementScope",
    "Get-OrganizationConfig",
    "Get-Recipient",
    "New-DistributionGroup",
    "New-ManagementRoleAssignment",
    "Remove-DistributionGroupMember",
    "Set-DistributionGroup",
    "Set-Mailbox",
    "Test-ServicePrincipalAuthorization",
    "Add-MailboxFolderPermission",
    "Remove-MailboxFolderPermission",
    "Set-MailboxFolderPermission",
];

/// What is simulated in the cloud alone.
const CLOUD: [&str; 2] = ["Get-ManagementScope", "Test-ServicePrincipalAuthorization"];

/// What there is on premises alone.
const ON_PREMISES: [&str; 3] = [
    "Get-ThrottlingPolicy",
    "Get-ThrottlingPolicyAssociation",
    "New-Mailbox",
];

/// The cmdlets that exist in the cloud, of those that are allowed (in lower case), as they are written.
pub(crate) fn exported(allowed: &[String]) -> Vec<&'static str> {
    among(CMDLETS, allowed)
}

/// The same on premises.
pub(crate) fn existing(allowed: &[String]) -> Vec<&'static str> {
    let shared = CMDLETS.into_iter().filter(|name| !CLOUD.contains(name));
    among(shared.chain(ON_PREMISES), allowed)
}

fn among(cmdlets: impl IntoIterator<Item = &'static str>, allowed: &[String]) -> Vec<&'static str> {
    let is_allowed = |name: &&str| allowed.contains(&name.to_lowercase());
    cmdlets.into_iter().filter(is_allowed).collect()
}

/// What would take something away for good; none of it is there, and who tries is counted.
const DELETING: [&str; 4] = [
    "Disable-DistributionGroup",
    "Disable-Mailbox",
    "Remove-DistributionGroup",
    "Remove-Mailbox",
];

/// Counts who tries to delete something.
pub(crate) fn note_deletion(world: &World, name: &str) {
    if DELETING.iter().any(|it| it.eq_ignore_ascii_case(name)) {
        world.judge.did("deletions_tried", 1);
    }
}

/// Runs the cmdlet the body names.
pub(crate) fn run(command: &Command<'_>) -> Reply {
    let input = &command.body["CmdletInput"];
    let Some(name) = input["CmdletName"].as_str() else {
        return Reply::error(400, "BadRequest", "CmdletInput.CmdletName is missing.");
    };
    note_deletion(command.world, name);
    if !command.app.may_run(name) {
        return Reply::forbidden(&format!(
            "The cmdlet {name} isn't available to this principal."
        ));
    }
    let none = Map::new();
    let parameters = match &input["Parameters"] {
        Value::Null => &none,
        Value::Object(parameters) => parameters,
        _ => return Reply::error(400, "BadRequest", "CmdletInput.Parameters isn't an object."),
    };
    let parameters = Parameters(parameters);
    match perform(command, name, &parameters) {
        Some(Ok(output)) => print(command, output),
        Some(Err(error)) => error.into(),
        None => Reply::forbidden(&format!("The cmdlet {name} isn't known.")),
    }
}

/// Carries a cmdlet out, whichever front it came by; `None` when there is none of this name.
pub(crate) fn perform(
    command: &Command<'_>,
    name: &str,
    parameters: &Parameters<'_>,
) -> Option<Result<Output, CmdletError>> {
    if let Err(refused) = command.app.check(name, parameters) {
        return Some(Err(refused));
    }
    Some(match name.to_lowercase().as_str() {
        "get-mailbox" => get_mailbox(command, parameters),
        "get-mailboxfolderstatistics" => folder_statistics(command, parameters),
        "get-mailboxfolderpermission" => folder_permission::get(command, parameters),
        "add-mailboxfolderpermission" => folder_permission::add(command, parameters),
        "set-mailboxfolderpermission" => folder_permission::set(command, parameters),
        "remove-mailboxfolderpermission" => folder_permission::remove(command, parameters),
        "new-mailbox" if command.front == Front::Shell => {
            mailbox_change::create(command, parameters)
        }
        "set-mailbox" => mailbox_change::set(command, parameters),
        "new-distributiongroup" => group_change::create(command, parameters),
        "set-distributiongroup" => group_change::set(command, parameters),
        "add-distributiongroupmember" => group_change::add(command, parameters),
        "remove-distributiongroupmember" => group_change::remove(command, parameters),
        "get-throttlingpolicyassociation" if command.front == Front::Shell => {
            throttling::association(command, parameters)
        }
        "get-throttlingpolicy" if command.front == Front::Shell => {
            throttling::policy(command, parameters)
        }
        "get-recipient" => recipients::recipient(command, parameters),
        "test-serviceprincipalauthorization" if command.front == Front::Invoke => {
            application::authorization(command, parameters)
        }
        "get-managementscope" if command.front == Front::Invoke => {
            application::scope(command, parameters)
        }
        "get-distributiongroup" => recipients::group(command, parameters),
        "get-distributiongroupmember" => recipients::group_members(command, parameters),
        "get-dynamicdistributiongroupmember" => recipients::dynamic_members(parameters),
        "get-organizationconfig" => recipients::organization(command, parameters),
        "get-accepteddomain" => recipients::accepted_domains(command, parameters),
        _ => return None,
    })
}

fn print(command: &Command<'_>, mut output: Output) -> Reply {
    if let Some(select) = command.query.get("$select") {
        let kept: Vec<&str> = select.split(',').map(str::trim).collect();
        for object in output.value.iter_mut().filter_map(Value::as_object_mut) {
            object.retain(|name, _| {
                kept.iter()
                    .any(|kept| kept.eq_ignore_ascii_case(name.split('@').next().unwrap_or(name)))
            });
        }
    }
    let root = command
        .url
        .rsplit_once('/')
        .map_or(command.url, |(root, _)| root);
    let mut body = json!({
        "@odata.context": format!("{root}/$metadata#Collection(Exchange.GenericHashTable)"),
        "adminapi.warnings@odata.type": "#Collection(String)",
        "@adminapi.warnings": output.warning.iter().collect::<Vec<_>>(),
        "value": output.value,
    });
    if let Some(next) = output.next {
        body["@odata.nextLink"] = next.into();
    }
    let reply = Reply::json(200, body);
    match output.warning {
        Some(warning) => reply.with("x-warnings", warning),
        None => reply,
    }
}

pub(crate) fn type_details(kind: Kind) -> &'static str {
    match kind {
        Kind::User | Kind::None => "UserMailbox",
        Kind::Shared => "SharedMailbox",
        Kind::Room => "RoomMailbox",
        Kind::Equipment => "EquipmentMailbox",
    }
}

fn get_mailbox(command: &Command<'_>, parameters: &Parameters<'_>) -> Result<Output, CmdletError> {
    match command.front {
        Front::Admin => parameters.only(&[
            "Identity",
            "ResultSize",
            "IncludeGrantSendOnBehalfToWithDisplayNames",
        ])?,
        Front::Invoke => {
            parameters.only(&["Identity", "ResultSize", "RecipientTypeDetails", "Filter"])?;
        }
        Front::Shell => parameters.only(&[
            "Identity",
            "ResultSize",
            "RecipientTypeDetails",
            "Filter",
            "OrganizationalUnit",
            "DomainController",
            "IgnoreDefaultScope",
            "ReadFromDomainController",
        ])?,
    }
    let (tenant, now) = (command.tenant, command.world.clock.now());
    if let Some(identity) = parameters.text("Identity") {
        let (at, mailbox) = find_mailbox(command, identity)?;
        return Ok(Output {
            value: vec![mailbox_object(command, at, mailbox)],
            ..Output::default()
        });
    }
    let unit = parameters.text("OrganizationalUnit").map(str::to_lowercase);
    let in_unit = |at: usize| match &unit {
        None => true,
        Some(unit) if unit.contains('=') => tenant
            .directory_name(at)
            .to_lowercase()
            .ends_with(&format!(",{unit}")),
        Some(unit) => tenant
            .canonical_name(at)
            .to_lowercase()
            .starts_with(&format!("{unit}/")),
    };
    let kinds = parameters.list("RecipientTypeDetails")?;
    let filter = filter::Mailboxes::parse(parameters.text("Filter"))?;
    pages(command, parameters, |from| {
        let users = tenant.users.starting_at(from);
        users.filter_map(|(at, user)| {
            let mailbox = user.mailbox_at(command.front.side())?;
            if !command.knows(Object::User(at)) {
                return None;
            }
            let sort = type_details(mailbox.kind);
            let wanted =
                kinds.is_empty() || kinds.iter().any(|kind| kind.eq_ignore_ascii_case(sort));
            (wanted && mailbox.is_there(now) && in_unit(at) && filter.holds(tenant, at, sort))
                .then(|| (at, mailbox_object(command, at, mailbox)))
        })
    })
}

/// One page of `rows`, which begin at the place they are asked for; each has its own place with it.
pub(crate) fn pages<I: Iterator<Item = (usize, Value)>>(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
    rows: impl FnOnce(usize) -> I,
) -> Result<Output, CmdletError> {
    let now = command.world.clock.now();
    let most = parameters.result_size()?;
    let fingerprint = command
        .query
        .fingerprint(&format!("{}{}", command.tenant.id, command.body));
    let (from, before) = match command.query.get("$skiptoken") {
        None => (0, 0),
        Some(token) => {
            let life = Duration::from_secs(command.world.dials().next_link_life_secs);
            read_page_token(token, now, life, fingerprint).map_err(|reason| {
                let text = match reason {
                    BadPage::Foreign => "The page link isn't one of this request.",
                    BadPage::Expired => "The page link has expired.",
                };
                CmdletError::new(
                    "Microsoft.Exchange.Admin.OData.Core.ODataServiceException",
                    text,
                )
            })?
        }
    };
    let mut output = Output::default();
    for (at, object) in rows(from) {
        let shown = before + output.value.len();
        if shown == most {
            output.warning = Some("There are more results available than are currently displayed. To view them, increase the value for the ResultSize parameter.".to_owned());
            break;
        }
        if output.value.len() == command.page {
            let token = page_token((at, shown), now, fingerprint);
            let query = command.query.with_token(&token);
            output.next = Some(format!("{}?{query}", command.url));
            break;
        }
        output.value.push(object);
    }
    Ok(output)
}

/// Finds a mailbox that is there by any name Exchange knows it by.
pub(crate) fn find_mailbox<'a>(
    command: &'a Command<'_>,
    identity: &str,
) -> Result<(usize, &'a Mailbox), CmdletError> {
    let (tenant, now) = (command.tenant, command.world.clock.now());
    let here = match command.front.side() {
        Side::Online => None,
        Side::OnPremises => tenant.by_directory_name(identity).map(Object::User),
    };
    if let Some(Object::User(at)) = here.or_else(|| tenant.recipient(identity))
        && let Some(mailbox) = tenant.users[at].mailbox_at(command.front.side())
    {
        let there = mailbox.is_there(now) && command.knows(Object::User(at));
        let found = there.then_some((at, mailbox));
        return found.ok_or_else(|| CmdletError::not_found(identity));
    }
    let mut named = tenant.named(identity).into_iter().filter_map(|object| {
        let Object::User(at) = object else {
            return None;
        };
        let mailbox = tenant.users[at].mailbox_at(command.front.side());
        mailbox
            .filter(|mailbox| mailbox.is_there(now) && command.knows(object))
            .map(|mailbox| (at, mailbox))
    });
    match (named.next(), named.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(CmdletError::ambiguous(identity)),
        (None, _) => Err(CmdletError::not_found(identity)),
    }
}

/// Stands for the number of the birthday calendar, which every mailbox has below its main one.
pub(crate) const BIRTHDAYS: usize = 0xB1_27;

pub(crate) fn birthdays(calendar: &str) -> String {
    format!("{calendar}\\Birthdays")
}

/// The id of a folder: stable, and unlike its name.
pub(crate) fn folder_id(mailbox: &Mailbox, number: usize) -> String {
    let mut bytes = b"LgAAAAB".to_vec();
    bytes.extend_from_slice(mailbox.guid.as_bytes());
    bytes.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
    STANDARD.encode(bytes)
}

fn folder_statistics(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    match command.front {
        Front::Admin | Front::Invoke => parameters.only(&[
            "Identity",
            "FolderScope",
            "ResultSize",
            "SkipCount",
            "UseCustomRouting",
        ])?,
        Front::Shell => parameters.only(&["Identity", "FolderScope", "DomainController"])?,
    }
    let identity = parameters.required("Identity")?;
    if !parameters
        .text("FolderScope")
        .is_some_and(|scope| scope.eq_ignore_ascii_case("Calendar"))
    {
        return Err(CmdletError::parameter(
            "This simulator knows FolderScope Calendar only.",
        ));
    }
    let tenant = command.tenant;
    let (at, mailbox) = find_mailbox(command, identity)?;
    let alias = &tenant.users[at].alias;
    let folders = mailbox.folders();
    let birthdays = folders
        .first()
        .filter(|folder| !folder.is_root())
        .map(|folder| birthdays(&folder.path));
    let value = folders
        .iter()
        .enumerate()
        .filter(|(_, folder)| !folder.is_root())
        .map(|(number, folder)| {
            json!({
                "Name": folder.name(),
                "FolderPath": format!("/{}", folder.path.replace('\\', "/")),
                "FolderId": folder_id(mailbox, number),
                "FolderType": if number == 0 { "Calendar" } else { "User Created" },
                "Identity": format!("{alias}\\{}", folder.path),
                "ContainerClass": "IPF.Appointment",
                "ItemsInFolder": 12,
                "ItemsInFolder@data.type": "System.Int32",
                "FolderSize": "104.2 KB (106,701 bytes)",
            })
        })
        .chain(birthdays.map(|path| {
            json!({
                "Name": "Birthdays",
                "FolderPath": format!("/{}", path.replace('\\', "/")),
                "FolderId": folder_id(mailbox, BIRTHDAYS),
                "FolderType": "BirthdayCalendar",
                "Identity": format!("{alias}\\{path}"),
                "ContainerClass": "IPF.Appointment.Birthday",
                "ItemsInFolder": 0,
                "ItemsInFolder@data.type": "System.Int32",
                "FolderSize": "0 B (0 bytes)",
            })
        }))
        .collect::<Vec<_>>()
        .into_iter()
        .rev() // nothing promises that the default folder comes first
        .collect();
    Ok(Output {
        value,
        ..Output::default()
    })
}
