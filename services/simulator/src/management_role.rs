//! Exchange's management roles: the cmdlets and parameters that exist for who has them.

use std::collections::HashSet;

use crate::parameters::Parameters;
use crate::reply::CmdletError;

const RECIPIENTS: &str = "Mail Recipients";
const SECURITY_GROUPS: &str = "Security Group Creation and Membership";
const RESET_PASSWORD: &str = "Reset Password";
const CREATION: &str = "Mail Recipient Creation";
const GROUPS: &str = "Distribution Groups";
const VIEW_RECIPIENTS: &str = "View-Only Recipients";
const VIEW_CONFIGURATION: &str = "View-Only Configuration";
const APPLICATIONS: &str = "Role Management";

const READ: [&str; 7] = [
    "Get-Mailbox",
    "Get-Recipient",
    "Get-DistributionGroup",
    "Get-DistributionGroupMember",
    "Get-MailboxFolderStatistics",
    "Get-MailboxFolderPermission",
    "Get-AcceptedDomain",
];
const OF_GROUPS: [&str; 9] = [
    "New-DistributionGroup",
    "Set-DistributionGroup",
    "Get-DistributionGroup",
    "Add-DistributionGroupMember",
    "Remove-DistributionGroupMember",
    "Get-DistributionGroupMember",
    "Get-DynamicDistributionGroupMember",
    "Get-Recipient",
    "Get-AcceptedDomain",
];

/// Roles, each with its cmdlets.
static ROLES: [(&str, &[&str]); 8] = [
    (
        RECIPIENTS,
        &[
            "Get-Mailbox",
            "Set-Mailbox",
            "Get-Recipient",
            "Get-DistributionGroup",
            "Get-DistributionGroupMember",
            "Get-MailboxFolderStatistics",
            "Get-MailboxFolderPermission",
            "Add-MailboxFolderPermission",
            "Set-MailboxFolderPermission",
            "Remove-MailboxFolderPermission",
            "Get-AcceptedDomain",
        ],
    ),
    (
        CREATION,
        &[
            "New-Mailbox",
            "Get-Mailbox",
            "Get-Recipient",
            "Get-AcceptedDomain",
        ],
    ),
    (GROUPS, &OF_GROUPS),
    (SECURITY_GROUPS, &OF_GROUPS),
    (RESET_PASSWORD, &["Set-Mailbox", "Get-Mailbox"]),
    (VIEW_RECIPIENTS, &READ),
    (
        VIEW_CONFIGURATION,
        &[
            "Get-AcceptedDomain",
            "Get-OrganizationConfig",
            "Get-ThrottlingPolicy",
            "Get-ThrottlingPolicyAssociation",
        ],
    ),
    (
        APPLICATIONS,
        &[
            "Get-ManagementScope",
            "Test-ServicePrincipalAuthorization",
            "New-ManagementRoleAssignment",
        ],
    ),
];

/// Role groups, each with its roles.
static ROLE_GROUPS: [(&str, &[&str]); 2] = [
    (
        "Organization Management",
        &[
            RECIPIENTS,
            CREATION,
            GROUPS,
            SECURITY_GROUPS,
            RESET_PASSWORD,
            VIEW_RECIPIENTS,
            VIEW_CONFIGURATION,
            APPLICATIONS,
        ],
    ),
    (
        "Recipient Management",
        &[RECIPIENTS, CREATION, GROUPS, RESET_PASSWORD],
    ),
];

/// The roles somebody has; nobody's parameters are held back who was given cmdlets alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roles(Option<HashSet<&'static str>>);

impl Roles {
    /// Reads names of roles and role groups, whatever their case; names that aren't known are those of roles without a
    /// cmdlet here.
    pub(crate) fn named(names: &[String]) -> Self {
        if names.is_empty() {
            return Self(None);
        }
        let mut roles = HashSet::new();
        for name in names {
            let is = |known: &&str| known.eq_ignore_ascii_case(name);
            roles.extend(ROLES.iter().map(|(role, _)| *role).filter(is));
            let groups = ROLE_GROUPS.iter().filter(|(group, _)| is(group));
            roles.extend(groups.flat_map(|(_, roles)| roles.iter().copied()));
        }
        Self(Some(roles))
    }

    /// The cmdlets of all of them, in lower case.
    pub(crate) fn cmdlets(&self) -> impl Iterator<Item = String> {
        let held = |role: &str| self.0.as_ref().is_some_and(|roles| roles.contains(role));
        let held = ROLES.iter().filter(move |(role, _)| held(role));
        held.flat_map(|(_, cmdlets)| cmdlets.iter().map(|name| name.to_lowercase()))
    }

    /// Whether what needs this role is there.
    pub(crate) fn hold(&self, role: &str) -> bool {
        self.0.as_ref().is_none_or(|roles| roles.contains(role))
    }

    /// Refuses parameters of roles that aren't held: they don't exist then.
    pub(crate) fn check(
        &self,
        cmdlet: &str,
        parameters: &Parameters<'_>,
    ) -> Result<(), CmdletError> {
        let unknown = |name: &str| {
            CmdletError::parameter(format!(
                "A parameter cannot be found that matches parameter name '{name}'."
            ))
        };
        let given = |name: &&str| parameters.value(name).is_some();
        let own = ["BypassSecurityGroupManagerCheck"];
        if let Some(name) = own.iter().find(|name| given(name))
            && !self.hold(SECURITY_GROUPS)
        {
            return Err(unknown(name));
        }
        let security = |text: &str| text.eq_ignore_ascii_case("Security");
        if cmdlet.eq_ignore_ascii_case("New-DistributionGroup")
            && parameters.text("Type").is_some_and(security)
            && !self.hold(SECURITY_GROUPS)
        {
            return Err(unknown("Type"));
        }
        if cmdlet.eq_ignore_ascii_case("Set-Mailbox") {
            if given(&"Password") && !self.hold(RESET_PASSWORD) {
                return Err(unknown("Password"));
            }
            let of_password = [
                "Identity",
                "Password",
                "ResetPasswordOnNextLogon",
                "DomainController",
            ];
            let mut names = parameters.0.keys();
            let other = names.find(|name| {
                let mut known = of_password.iter();
                !known.any(|known| known.eq_ignore_ascii_case(name))
            });
            if let Some(other) = other
                && !self.hold(RECIPIENTS)
            {
                return Err(unknown(other));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Parameters, Roles};

    fn refused(roles: &[&str], cmdlet: &str, parameters: &Value) -> bool {
        let names: Vec<String> = roles.iter().map(ToString::to_string).collect();
        let map = parameters.as_object().unwrap().clone();
        let roles = Roles::named(&names);
        roles.check(cmdlet, &Parameters(&map)).is_err()
    }

    #[test]
    fn a_role_that_is_missing_takes_its_parameters_away() {
        let security = json!({"Name": "x", "Type": "Security"});
        let bypass = json!({"Identity": "x", "BypassSecurityGroupManagerCheck": true});
        let password = json!({"Identity": "x", "Password": {"SecureString": ""}});
        for (roles, cmdlet, parameters, wrong) in [
            (&[][..], "New-DistributionGroup", &security, false),
            (
                &["Distribution Groups"][..],
                "New-DistributionGroup",
                &security,
                true,
            ),
            (
                &["Organization Management"][..],
                "New-DistributionGroup",
                &security,
                false,
            ),
            (
                &["distribution groups"][..],
                "Set-DistributionGroup",
                &bypass,
                true,
            ),
            (&["Mail Recipients"][..], "Set-Mailbox", &password, true),
            (&["Reset Password"][..], "Set-Mailbox", &password, false),
        ] {
            let found = refused(roles, cmdlet, parameters);
            assert_eq!(found, wrong, "{roles:?} {cmdlet}");
        }
        let hidden = json!({"Identity": "x", "HiddenFromAddressListsEnabled": true});
        assert!(refused(&["Reset Password"][..], "Set-Mailbox", &hidden));
        let roles = Roles::named(&["Mail Recipient Creation".to_owned()]);
        assert!(roles.cmdlets().any(|name| name == "new-mailbox"));
        assert!(!roles.cmdlets().any(|name| name == "set-mailbox"));
    }
}
