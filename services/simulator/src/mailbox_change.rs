//! The cmdlets that make mailboxes on premises, and set them.

use serde_json::Value;

use crate::cmdlet::{Command, Output, find_mailbox};
use crate::exchange::Front;
use crate::graph_user::is_strong;
use crate::ldap::{Name, escaped};
use crate::mailbox_object::mailbox_object;
use crate::names;
use crate::onprem::Site;
use crate::parameters::Parameters;
use crate::powershell::SECRET;
use crate::reply::CmdletError;
use crate::scenario::{Kind, UserSpec};
use crate::tenant::Tenant;
use crate::user::{Made, Password};

/// The longest name of an account before Windows 2000.
const LONGEST_SAM: usize = 20;

const NEW: [&str; 18] = [
    "Name",
    "UserPrincipalName",
    "Password",
    "OrganizationalUnit",
    "Database",
    "SamAccountName",
    "Alias",
    "DisplayName",
    "FirstName",
    "LastName",
    "PrimarySmtpAddress",
    "ResetPasswordOnNextLogon",
    "ThrottlingPolicy",
    "DomainController",
    "AccountDisabled",
    "Shared",
    "Room",
    "Confirm",
];

fn invalid(text: impl Into<String>) -> CmdletError {
    CmdletError::new("Microsoft.Exchange.Data.DataValidationException", text)
}

fn site<'a>(command: &'a Command<'_>) -> Result<&'a Site, CmdletError> {
    let site = command.tenant.site.as_ref();
    site.ok_or_else(|| CmdletError::not_found(&command.tenant.domain))
}

/// A password that came sealed, where one is given.
fn password(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Option<Password>, CmdletError> {
    let sealed = match parameters.value("Password") {
        None => return Ok(None),
        Some(Value::Object(sealed)) => sealed.get(SECRET).and_then(Value::as_str),
        Some(_) => None,
    };
    let sealed = sealed.ok_or_else(|| {
        CmdletError::parameter(
            "Cannot bind parameter 'Password'. Cannot convert the value to type \"System.Security.SecureString\".",
        )
    })?;
    let secret = command.key.and_then(|key| key.open(sealed)).ok_or_else(|| {
        CmdletError::parameter(
            "Cannot bind parameter 'Password'. The SecureString can't be decrypted with the key of this session.",
        )
    })?;
    if !is_strong(&secret, false) {
        return Err(CmdletError::new(
            "Microsoft.Exchange.Data.Directory.ADInvalidPasswordException",
            "The password does not meet the password policy requirements. Check the minimum password length, password \
             complexity and password history requirements.",
        ));
    }
    Ok(Some(Password {
        secret,
        must_change: parameters.is_on("ResetPasswordOnNextLogon"),
    }))
}

/// `New-Mailbox`, on premises.
pub(crate) fn create(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    parameters.only(&NEW)?;
    let (tenant, site) = (command.tenant, site(command)?);
    let name = parameters.required("Name")?.trim();
    if name.chars().count() > 64 {
        return Err(invalid(format!(
            "Property Name can't be longer than 64 characters; it has {}.",
            name.chars().count()
        )));
    }
    let kind = match (parameters.is_on("Shared"), parameters.is_on("Room")) {
        (false, false) => Kind::User,
        (true, false) => Kind::Shared,
        (false, true) => Kind::Room,
        (true, true) => {
            let text = "Parameter set cannot be resolved using the specified named parameters.";
            return Err(CmdletError::parameter(text));
        }
    };
    let upn = parameters.required("UserPrincipalName")?;
    let password = password(command, parameters)?;
    if password.is_none() && kind == Kind::User {
        return Err(CmdletError::parameter(
            "Cannot process command because of one or more missing mandatory parameters: Password.",
        ));
    }
    let (local, domain) = upn.split_once('@').unwrap_or((upn, ""));
    if local.is_empty() || !tenant.owns_domain(domain) {
        return Err(invalid(format!(
            "The user principal name \"{upn}\" isn't valid: its suffix isn't one of this forest."
        )));
    }
    let alias = match parameters.text("Alias") {
        Some(alias) => names::alias(alias)?.to_owned(),
        None => names::alias_from(local),
    };
    let mail = match parameters.text("PrimarySmtpAddress") {
        Some(address) => address.to_owned(),
        None => format!("{alias}@{}", tenant.domain),
    };
    names::address(tenant, &mail)?;
    let sam = match parameters.text("SamAccountName") {
        Some(sam) => sam.to_owned(),
        None => alias.chars().take(LONGEST_SAM).collect(),
    };
    check_sam(&sam)?;
    if let Some(database) = parameters.text("Database")
        && !database.eq_ignore_ascii_case("DB01")
    {
        return Err(CmdletError::not_found(database));
    }
    let policy = match parameters.text("ThrottlingPolicy") {
        None => None,
        Some(name) => Some(
            site.policy(name)
                .ok_or_else(|| CmdletError::not_found(name))?,
        ),
    };
    let unit = names::unit(tenant, parameters.text("OrganizationalUnit"))?;
    let dn = format!("CN={},{unit}", escaped(name));
    let enabled = kind == Kind::User && !parameters.is_on("AccountDisabled");
    let spec = UserSpec {
        name: parameters.text("DisplayName").unwrap_or(name).to_owned(),
        upn: upn.to_owned(),
        mail: Some(mail.clone()),
        alias: Some(alias.clone()),
        enabled,
        licensed: false,
        dn: Some(dn.clone()),
        kind,
        // the mailbox is there as soon as somebody knows of the user
        provisioned_after_secs: 0,
        on_premises: true,
        ..UserSpec::default()
    };
    let made = Made {
        common_name: name.to_owned(),
        sam: sam.clone(),
        shows: command.shows(),
        by: command.app.client_id.clone(),
    };
    let at = {
        let _alone = tenant.alone();
        free(tenant, upn, &sam, &dn)?;
        names::free_address(tenant, &mail, &alias)?;
        let at = tenant.make_user(spec, made, &command.world.dice);
        if let Some(password) = password.as_ref().filter(|_| kind == Kind::User) {
            let mut rights = site.fresh(password.secret.clone(), policy);
            rights.must_change = password.must_change;
            rights.revoked = !enabled;
            site.admit(tenant, at, rights, (&[], &[]));
        }
        at
    };
    let judge = &command.world.judge;
    judge.did("accounts_created", 1);
    if let Some(password) = password {
        tenant.users[at].set_password(password);
        judge.did("passwords_set", 1);
    }
    let shown = tenant.users[at].mailbox.as_ref();
    let shown = shown.map(|mailbox| mailbox_object(command, at, mailbox));
    Ok(Output {
        value: shown.into_iter().collect(),
        ..Output::default()
    })
}

fn check_sam(sam: &str) -> Result<(), CmdletError> {
    if sam.chars().count() > LONGEST_SAM {
        return Err(invalid(format!(
            "Property SamAccountName can't be longer than {LONGEST_SAM} characters; \"{sam}\" has {}.",
            sam.chars().count()
        )));
    }
    let wrong = |c: char| c.is_control() || "\"/\\[]:;|=,+*?<>@".contains(c);
    if sam.is_empty() || sam.ends_with('.') || sam.chars().any(wrong) {
        return Err(invalid(format!(
            "The value \"{sam}\" isn't a valid SamAccountName."
        )));
    }
    Ok(())
}

/// Refuses names that somebody in the directory has. The global catalogue is asked, which knows of everybody.
fn free(tenant: &Tenant, upn: &str, sam: &str, dn: &str) -> Result<(), CmdletError> {
    let wanted = Name::parse(dn);
    let has_name = |name: &str| Name::parse(name) == wanted;
    for (at, user) in tenant.users.starting_at(0) {
        if user.spec.upn.eq_ignore_ascii_case(upn) {
            return Err(names::exists(upn));
        }
        if user.sam().eq_ignore_ascii_case(sam) {
            return Err(names::exists(sam));
        }
        if user.spec.dn.is_some() && has_name(&tenant.directory_name(at)) {
            return Err(names::exists(dn));
        }
    }
    for (at, group) in tenant.groups.starting_at(0) {
        if group.sam.eq_ignore_ascii_case(sam) {
            return Err(names::exists(sam));
        }
        if has_name(&tenant.group_directory_name(at)) {
            return Err(names::exists(dn));
        }
    }
    Ok(())
}

const SET: [&str; 5] = [
    "Identity",
    "CustomAttribute15",
    "HiddenFromAddressListsEnabled",
    "AccountDisabled",
    "Confirm",
];
const SET_ON_PREMISES: [&str; 4] = [
    "Password",
    "ResetPasswordOnNextLogon",
    "ThrottlingPolicy",
    "DomainController",
];

/// `Set-Mailbox`.
pub(crate) fn set(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    match command.front {
        Front::Admin | Front::Invoke => parameters.only(&SET)?,
        Front::Shell => parameters.only(&[&SET[..], &SET_ON_PREMISES].concat())?,
    }
    let tenant = command.tenant;
    let (at, _) = find_mailbox(command, parameters.required("Identity")?)?;
    let user = &tenant.users[at];
    let on_premises = command.front == Front::Shell;
    let synchronised = !on_premises && user.spec.dn.is_some();
    if user.spec.outside_write_scope || synchronised {
        return Err(CmdletError::new(
            "Microsoft.Exchange.Configuration.Tasks.OperationRequiresWriteScopeException",
            format!(
                "The operation couldn't be performed because object '{}' is out of the current user's write scope.",
                user.alias
            ),
        ));
    }
    let password = password(command, parameters)?;
    let before = user.account_now();
    let mut account = before.as_ref().clone();
    if let Some(value) = parameters.value("CustomAttribute15") {
        let text = value.as_str().filter(|text| !text.is_empty());
        account.custom_15 = text.map(str::to_owned);
    }
    if let Some(hidden) = parameters.yes_or_no("HiddenFromAddressListsEnabled")? {
        account.hidden = hidden;
    }
    if let Some(disabled) = parameters.yes_or_no("AccountDisabled")? {
        if on_premises && !command.world.dials().disables_accounts_on_premises {
            return Err(CmdletError::parameter(
                "The parameter AccountDisabled is functional only in the cloud-based service.",
            ));
        }
        account.enabled = !disabled;
    }
    let policy = match parameters.text("ThrottlingPolicy") {
        None => None,
        Some(name) if site(command)?.policy(name).is_some() => Some(name),
        Some(name) => return Err(CmdletError::not_found(name)),
    };
    let judge = &command.world.judge;
    let signs_in = tenant.site.as_ref().and_then(|site| site.of_user(at));
    if account.enabled != before.enabled {
        let deed = if account.enabled {
            "accounts_enabled"
        } else {
            "accounts_disabled"
        };
        judge.did(deed, 1);
        if let Some(signs_in) = &signs_in {
            let revoked = !account.enabled;
            signs_in.change(|rights| rights.revoked = revoked);
        }
    }
    if account != *before {
        let shows = command.shows();
        judge.did("accounts_changed", 1);
        user.change(account, shows);
        tenant.happens(shows);
    }
    if let (Some(name), Some(signs_in)) = (policy, &signs_in) {
        let set = site(command)?.set_policy(command.world, signs_in, name);
        let set = set.map_err(CmdletError::parameter)?;
        signs_in.change(|rights| rights.policy = set);
    }
    if let Some(password) = password {
        if let Some(signs_in) = &signs_in {
            let Password {
                secret,
                must_change,
            } = password.clone();
            signs_in.change(|rights| {
                rights.password = secret;
                rights.must_change = must_change;
            });
        }
        user.set_password(password);
        judge.did("passwords_set", 1);
    }
    Ok(Output::default())
}
