//! A set-up as PowerShell: for a person who wants to read what would be done, and perhaps to do it by hand. Nothing here is run by
//! Calgrant, and no password is in it: whoever runs it is asked for one.

use std::fmt::Write;

use crate::{
    Address, GroupChange, SiteKind, UserChange,
    setup::{Action, Setting, Step},
};

/// A text as PowerShell takes it literally. It takes typographic quotes for quotes, too.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("'");
    for c in text.chars() {
        if matches!(c, '\'' | '‘' | '’' | '‚' | '‛') {
            quoted.push(c);
        }
        quoted.push(c);
    }
    quoted.push('\'');
    quoted
}

fn list(addresses: &[Address]) -> String {
    let all: Vec<_> = addresses.iter().map(|one| quoted(one.as_str())).collect();
    all.join(", ")
}

/// A text as a comment, on one line.
fn comment(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!("# {line}\n")
}

/// What a script begins with: whom it is for, and how to sign in.
pub fn preamble(setting: &Setting) -> String {
    let mut text = comment(&format!(
        "Set-up of {} ({}), as Calgrant would do it. Read it before you run it.",
        setting.tenant, setting.site
    ));
    text.push_str("$ErrorActionPreference = 'Stop'\n");
    match setting.site {
        SiteKind::Online => text.push_str(
            "# Modules Microsoft.Graph and ExchangeOnlineManagement\n\
             Connect-MgGraph -Scopes 'User.ReadWrite.All', 'Organization.Read.All'\n\
             Connect-ExchangeOnline\n",
        ),
        SiteKind::Onprem => text.push_str(
            "# In the Exchange Management Shell. One domain controller, so that what was just made is seen:\n\
             $dc = (Get-ADDomainController -Discover -Writable).HostName[0]\n",
        ),
    }
    text
}

/// A step as a script: what it is about, and what would be done.
pub fn step(setting: &Setting, step: Step, action: &Action) -> String {
    let mut text = comment(&step.to_string());
    text.push_str(&match setting.site {
        SiteKind::Online => online(setting, step, action),
        SiteKind::Onprem => onprem(setting, step, action),
    });
    text
}

fn online(setting: &Setting, step: Step, action: &Action) -> String {
    let spec = &setting.spec;
    let user = quoted(spec.name.of(step.number().unwrap_or_default()).as_str());
    match action {
        Action::CreateUser(number) => {
            let name = spec.name.of(*number);
            let nickname = name
                .as_str()
                .split('@')
                .next()
                .unwrap_or_default()
                .to_owned();
            format!(
                "$password = Read-Host -AsSecureString -Prompt {prompt}\n\
                 $signIn = @{{ Password = [System.Net.NetworkCredential]::new('', $password).Password; ForceChangePasswordNextSignIn = $false }}\n\
                 New-MgUser -AccountEnabled -DisplayName {display} -MailNickname {nickname} -UserPrincipalName {name} -UsageLocation {location} -EmployeeId {mark} -PasswordPolicies 'DisablePasswordExpiration' -PasswordProfile $signIn\n",
                prompt = quoted(&format!("A password for {name}")),
                display = quoted(&spec.display_name(*number)),
                nickname = quoted(&nickname),
                name = quoted(name.as_str()),
                location = quoted(spec.usage_location.as_deref().unwrap_or_default()),
                mark = quoted(&setting.mark()),
            )
        }
        Action::ChangeUser(_, change) => {
            let mut text = format!("Update-MgUser -UserId {user}");
            if let Some(location) = &change.usage_location {
                let _ = write!(text, " -UsageLocation {}", quoted(location));
            }
            if let Some(mark) = &change.mark {
                let _ = write!(text, " -EmployeeId {}", quoted(mark));
            }
            if change.password_never_expires == Some(true) {
                text.push_str(" -PasswordPolicies 'DisablePasswordExpiration'");
            }
            if let Some(enabled) = change.enabled {
                let _ = write!(text, " -AccountEnabled:${enabled}");
            }
            text + "\n"
        }
        Action::SetPassword(number, _) => format!(
            "$password = Read-Host -AsSecureString -Prompt {}\n\
             Update-MgUser -UserId {user} -PasswordProfile @{{ Password = [System.Net.NetworkCredential]::new('', $password).Password; ForceChangePasswordNextSignIn = $false }}\n",
            quoted(&format!("A new password for {}", spec.name.of(*number))),
        ),
        Action::AssignLicence {
            sku_id,
            disabled_plans,
            ..
        } => {
            let plans: Vec<_> = disabled_plans.iter().map(|plan| quoted(plan)).collect();
            format!(
                "Set-MgUserLicense -UserId {user} -AddLicenses @(@{{ SkuId = {}; DisabledPlans = @({}) }}) -RemoveLicenses @()\n",
                quoted(sku_id),
                plans.join(", ")
            )
        }
        Action::RemoveLicence { sku_id, .. } => format!(
            "Set-MgUserLicense -UserId {user} -AddLicenses @() -RemoveLicenses @({})\n",
            quoted(sku_id)
        ),
        group => of_group(setting, group, ""),
    }
}

fn onprem(setting: &Setting, step: Step, action: &Action) -> String {
    let spec = &setting.spec;
    let user = quoted(spec.name.of(step.number().unwrap_or_default()).as_str());
    let user = format!("(Get-Mailbox -Identity {user} -DomainController $dc).SamAccountName");
    match action {
        Action::CreateUser(number) => {
            let name = spec.name.of(*number);
            let alias = name
                .as_str()
                .split('@')
                .next()
                .unwrap_or_default()
                .to_owned();
            format!(
                "New-Mailbox -Name {alias} -Alias {alias} -DisplayName {display} -UserPrincipalName {name} -PrimarySmtpAddress {name} -OrganizationalUnit {unit} -ResetPasswordOnNextLogon $false -Password (Read-Host -AsSecureString -Prompt {prompt}) -DomainController $dc\n\
                 Set-Mailbox -Identity {name} -CustomAttribute15 {mark} -DomainController $dc\n",
                alias = quoted(&alias),
                display = quoted(&spec.display_name(*number)),
                name = quoted(name.as_str()),
                unit = quoted(spec.organizational_unit.as_deref().unwrap_or_default()),
                prompt = quoted(&format!("A password for {name}")),
                mark = quoted(&setting.mark()),
            )
        }
        Action::ChangeUser(
            _,
            UserChange {
                mark: Some(mark), ..
            },
        ) => {
            let name = quoted(spec.name.of(step.number().unwrap_or_default()).as_str());
            let mark = quoted(mark);
            format!(
                "Set-Mailbox -Identity {name} -CustomAttribute15 {mark} -DomainController $dc\n"
            )
        }
        Action::ChangeUser(_, change) => {
            let mut text = format!("Set-ADUser -Identity {user} -Server $dc");
            if let Some(never) = change.password_never_expires {
                let _ = write!(text, " -PasswordNeverExpires ${never}");
            }
            if let Some(enabled) = change.enabled {
                let _ = write!(text, " -Enabled ${enabled}");
            }
            text + "\n"
        }
        Action::SetPassword(number, _) => format!(
            "Set-ADAccountPassword -Identity {user} -Reset -NewPassword (Read-Host -AsSecureString -Prompt {}) -Server $dc\n",
            quoted(&format!("A new password for {}", spec.name.of(*number)))
        ),
        Action::AssignLicence { .. } | Action::RemoveLicence { .. } => {
            comment("no licences on premises")
        }
        group => of_group(setting, group, " -DomainController $dc"),
    }
}

/// What is the same in both worlds. `end` names the domain controller.
fn of_group(setting: &Setting, action: &Action, end: &str) -> String {
    let spec = &setting.spec;
    let group = quoted(spec.group.as_str());
    match action {
        Action::CreateGroup(new) => {
            let unit = new.organizational_unit.as_deref();
            let unit = unit.map_or(String::new(), |unit| {
                format!(" -OrganizationalUnit {}", quoted(unit))
            });
            format!(
                "New-DistributionGroup -Name {name} -Type Security -PrimarySmtpAddress {address} -ManagedBy {owners} -CopyOwnerToMember:$false -MemberJoinRestriction Closed -MemberDepartRestriction Closed{unit}{end}\n\
                 Set-DistributionGroup -Identity {address} -HiddenFromAddressListsEnabled $true -BypassSecurityGroupManagerCheck{end}\n",
                name = quoted(&new.name),
                address = quoted(new.address.as_str()),
                owners = list(&new.owners),
            )
        }
        Action::ChangeGroup(change) => format!(
            "Set-DistributionGroup -Identity {group}{}{end} -BypassSecurityGroupManagerCheck\n",
            changed(change)
        ),
        Action::AddMember(member) => format!(
            "Add-DistributionGroupMember -Identity {group} -Member {} -BypassSecurityGroupManagerCheck{end}\n",
            quoted(member.as_str())
        ),
        Action::RemoveMember(member) => format!(
            "Remove-DistributionGroupMember -Identity {group} -Member {} -BypassSecurityGroupManagerCheck -Confirm:$false{end}\n",
            quoted(member.as_str())
        ),
        _ => String::new(),
    }
}

fn changed(change: &GroupChange) -> String {
    let mut text = String::new();
    for (closed, parameter) in [
        (change.join_closed, "MemberJoinRestriction"),
        (change.depart_closed, "MemberDepartRestriction"),
    ] {
        if let Some(closed) = closed {
            let word = if closed { "Closed" } else { "Open" };
            let _ = write!(text, " -{parameter} {word}");
        }
    }
    if let Some(hidden) = change.hidden {
        let _ = write!(text, " -HiddenFromAddressListsEnabled ${hidden}");
    }
    if let Some(owners) = &change.owners {
        let _ = write!(text, " -ManagedBy {}", list(owners));
    }
    text
}

/// A relaxed throttling policy for the accounts of a site on premises. It is for whoever runs the servers to decide: Calgrant never
/// applies it.
pub fn throttling(setting: &Setting) -> String {
    let mut text = comment(
        "A relaxed throttling policy for the accounts. Calgrant never runs this: whoever answers for the servers decides.",
    );
    text.push_str(
        "New-ThrottlingPolicy -Name 'CalgrantAccounts' -ThrottlingPolicyScope Regular -EwsMaxConcurrency 40 -EwsMaxBurst 1200000 -EwsRechargeRate 3600000 -EwsCutoffBalance 6000000 -PowerShellMaxConcurrency 18\n",
    );
    for number in setting.spec.numbers() {
        let name = quoted(setting.spec.name.of(number).as_str());
        let _ = writeln!(
            text,
            "Set-ThrottlingPolicyAssociation -Identity {name} -ThrottlingPolicy 'CalgrantAccounts'"
        );
    }
    text
}

/// The alternative online: the calendar product's app may read and write the calendars of a scope by RBAC for Applications, and no
/// group, account or delegation is needed. Never run by Calgrant either.
pub fn application_rbac(setting: &Setting) -> String {
    let mut text = comment(&format!(
        "Instead of accounts and a group: RBAC for Applications, for {}. Calgrant never runs this.",
        setting.tenant
    ));
    text.push_str(
        "$app = Read-Host -Prompt 'Client id of the calendar product''s app'\n\
         $object = Read-Host -Prompt 'Object id of its enterprise application'\n\
         $filter = Read-Host -Prompt 'Whose calendars, as a recipient filter such as CustomAttribute1 -eq ''timetable'''\n\
         New-ServicePrincipal -AppId $app -ObjectId $object -DisplayName 'Calendar product'\n\
         New-ManagementScope -Name 'Calendar product' -RecipientRestrictionFilter $filter\n\
         New-ManagementRoleAssignment -App $object -Role 'Application Calendars.ReadWrite' -CustomResourceScope 'Calendar product'\n\
         # What then counts, and what undoes the scope: calgrant check --tenant … --application <client id> --mailbox <address>\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{MailboxId, NewGroup, setup::spec::tests::setting};

    #[test]
    fn quotes_end_nothing() {
        for (raw, want) in [
            ("plain", "'plain'"),
            ("o'neil", "'o''neil'"),
            ("x’; Remove-Item", "'x’’; Remove-Item'"),
        ] {
            assert_eq!(quoted(raw), want);
        }
        assert_eq!(comment("a\nRemove-Item"), "# a Remove-Item\n");
    }

    #[test]
    fn every_action_has_its_commands() {
        let id = MailboxId::from_uuid(Uuid::nil());
        let of = |site, action: &Action| step(&setting(site), Step::User(1), action);
        let create = of(SiteKind::Online, &Action::CreateUser(1));
        assert!(create.contains("New-MgUser") && create.contains("'sa-mytt-exch-1@uni.example'"));
        assert!(create.contains("Read-Host -AsSecureString"));
        let create = of(SiteKind::Onprem, &Action::CreateUser(1));
        assert!(create.contains("New-Mailbox") && create.contains("-DomainController $dc"));
        let licence = Action::AssignLicence {
            user: id,
            sku_id: "s".into(),
            disabled_plans: vec!["p".into(), "q".into()],
        };
        let licence = of(SiteKind::Online, &licence);
        assert!(licence.contains("DisabledPlans = @('p', 'q')"), "{licence}");
        let new = Action::CreateGroup(NewGroup {
            address: "g@uni.example".parse().unwrap(),
            name: "G".into(),
            owners: vec!["ann@uni.example".parse().unwrap()],
            organizational_unit: None,
        });
        for site in [SiteKind::Online, SiteKind::Onprem] {
            let text = of(site, &new);
            assert!(
                text.contains("-Type Security") && text.contains("HiddenFromAddressListsEnabled")
            );
        }
    }
}
