//! The part of `Get-Mailbox -Filter` that the simulator understands.

use crate::reply::CmdletError;
use crate::tenant::{Object, Tenant};

/// Comparisons that all must hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mailboxes(Vec<(Property, String)>);

#[derive(Debug, Clone, Copy)]
enum Property {
    TypeDetails,
    Upn,
    PrimaryAddress,
    ObjectId,
    Hidden,
    Custom15,
    /// By the group's distinguished name; direct members alone.
    MemberOfGroup,
}

impl Mailboxes {
    /// Reads `Property -eq 'value'`, several of them joined by `-and`.
    pub(crate) fn parse(filter: Option<&str>) -> Result<Self, CmdletError> {
        let Some(filter) = filter else {
            return Ok(Self::default());
        };
        filter
            .split(" -and ")
            .map(|clause| test(clause).ok_or_else(|| refused(clause)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(crate) fn holds(&self, tenant: &Tenant, at: usize, type_details: &str) -> bool {
        let user = &tenant.users[at];
        self.0.iter().all(|(property, wanted)| {
            let id = user.spec.id.to_string();
            let account = user.account_now();
            let actual = match property {
                Property::TypeDetails => type_details,
                Property::Upn => &user.spec.upn,
                Property::PrimaryAddress => &user.mail,
                Property::ObjectId => &id,
                Property::Hidden if account.hidden => "true",
                Property::Hidden => "false",
                Property::Custom15 => account.custom_15.as_deref().unwrap_or_default(),
                Property::MemberOfGroup => return is_member(tenant, at, wanted),
            };
            actual.eq_ignore_ascii_case(wanted)
        })
    }
}

fn is_member(tenant: &Tenant, user: usize, group: &str) -> bool {
    let found = tenant.recipient(group);
    let found = found.or_else(|| tenant.group_by_directory_name(group).map(Object::Group));
    let Some(Object::Group(at)) = found else {
        return false;
    };
    tenant.groups[at].members().contains(&Object::User(user))
}

fn refused(clause: &str) -> CmdletError {
    CmdletError::parameter(format!(
        "Cannot bind parameter 'Filter' to the target. Exception setting \"Filter\": \"Invalid filter syntax: {clause}\"."
    ))
}

fn test(clause: &str) -> Option<(Property, String)> {
    let clause = clause.trim();
    let clause = clause
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
        .unwrap_or(clause);
    let (name, value) = clause.split_once(" -eq ")?;
    let property = match name.trim().to_lowercase().as_str() {
        "recipienttypedetails" => Property::TypeDetails,
        "userprincipalname" => Property::Upn,
        "primarysmtpaddress" => Property::PrimaryAddress,
        "externaldirectoryobjectid" => Property::ObjectId,
        "hiddenfromaddresslistsenabled" => Property::Hidden,
        "customattribute15" => Property::Custom15,
        "memberofgroup" => Property::MemberOfGroup,
        _ => return None,
    };
    let value = value.trim();
    let plain = match property {
        Property::Hidden => value.strip_prefix('$').unwrap_or(value),
        _ => value.strip_prefix('\'')?.strip_suffix('\'')?,
    };
    Some((property, plain.replace("''", "'")))
}

#[cfg(test)]
mod tests {
    use super::Mailboxes;

    #[test]
    fn only_known_comparisons_are_read() {
        for (filter, good) in [
            ("RecipientTypeDetails -eq 'UserMailbox'", true),
            (
                "(UserPrincipalName -eq 'o''b@x') -and HiddenFromAddressListsEnabled -eq $false",
                true,
            ),
            ("RecipientTypeDetails -eq UserMailbox", false),
            ("MemberOfGroup -eq 'CN=staff,DC=x'", true),
            ("Alias -like 'a*'", false),
        ] {
            assert_eq!(Mailboxes::parse(Some(filter)).is_ok(), good, "{filter}");
        }
    }
}
