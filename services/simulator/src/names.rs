//! What new objects may be called, and what is taken already.

use crate::parameters::Parameters;
use crate::reply::CmdletError;
use crate::tenant::{Object, Tenant};

fn invalid(text: impl Into<String>) -> CmdletError {
    CmdletError::new("Microsoft.Exchange.Data.DataValidationException", text)
}

/// An alias as Exchange takes it.
///
/// # Errors
/// It has characters that no alias has, or too many.
pub(crate) fn alias(alias: &str) -> Result<&str, CmdletError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let dots = alias.starts_with('.') || alias.ends_with('.') || alias.contains("..");
    if alias.is_empty() || alias.len() > 64 || dots || !alias.chars().all(fine) {
        return Err(invalid(format!(
            "The value \"{alias}\" isn't a valid alias: 1 to 64 of the characters that local parts of addresses have."
        )));
    }
    Ok(alias)
}

/// The alias Exchange makes of a name.
pub(crate) fn alias_from(name: &str) -> String {
    let kept: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c))
        .take(64)
        .collect();
    let kept = kept.trim_matches('.');
    if kept.is_empty() {
        "group".to_owned()
    } else {
        kept.to_owned()
    }
}

/// Refuses what isn't an address in one of the tenant's domains.
pub(crate) fn address(tenant: &Tenant, address: &str) -> Result<(), CmdletError> {
    let (local, domain) = address.split_once('@').unwrap_or((address, ""));
    alias(local)?;
    if !tenant.owns_domain(domain) {
        return Err(CmdletError::new(
            "Microsoft.Exchange.Management.Common.NotAcceptedDomainException",
            format!(
                "You can't use the domain because it's not an accepted domain for your organization. Domain: {domain}"
            ),
        ));
    }
    Ok(())
}

/// The distinguished name of the unit that is asked for, or of the one new objects are in.
pub(crate) fn unit(tenant: &Tenant, name: Option<&str>) -> Result<String, CmdletError> {
    let Some(name) = name else {
        return Ok(format!("CN=Users,{}", tenant.domain_name()));
    };
    tenant.directory_unit(name).ok_or_else(|| {
        let mut missing = CmdletError::not_found(name);
        missing.text = format!(
            "Organizational unit \"{name}\" was not found. Please make sure you have typed it correctly."
        );
        missing
    })
}

/// Refuses the name of a group that there is.
pub(crate) fn free_group_name(tenant: &Tenant, name: &str) -> Result<(), CmdletError> {
    let taken = tenant.named(name).into_iter().any(|object| match object {
        Object::Group(at) => tenant.groups[at].common_name.eq_ignore_ascii_case(name),
        _ => false,
    });
    if taken {
        return Err(exists(name));
    }
    Ok(())
}

/// An object of this name is there.
pub(crate) fn exists(name: &str) -> CmdletError {
    CmdletError::new(
        "Microsoft.Exchange.Data.Directory.ADObjectAlreadyExistsException",
        format!(
            "The name \"{name}\" is already being used. Please try another name: object '{name}' already exists."
        ),
    )
}

/// Refuses an address or an alias that somebody has.
pub(crate) fn free_address(tenant: &Tenant, mail: &str, alias: &str) -> Result<(), CmdletError> {
    let has_alias = |object: Object| match object {
        Object::User(at) => tenant.users[at].alias.eq_ignore_ascii_case(alias),
        Object::Group(at) => tenant.groups[at].alias.eq_ignore_ascii_case(alias),
        Object::Contact(_) | Object::Device(_) => false,
    };
    let taken = if tenant.object(mail).is_some() {
        mail
    } else if tenant.object(alias).is_some_and(has_alias) {
        alias
    } else {
        return Ok(());
    };
    Err(CmdletError::new(
        "Microsoft.Exchange.Data.Directory.ProxyAddressExistsException",
        format!(
            "The proxy address \"SMTP:{taken}\" is already being used by the proxy addresses or LegacyExchangeDN of \
             another recipient. Please choose another proxy address."
        ),
    ))
}

impl Parameters<'_> {
    /// Whether a switch is given, and not with `false`.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.value(name).and_then(serde_json::Value::as_bool) == Some(true)
    }

    /// `$true` or `$false`, where it is given.
    pub(crate) fn yes_or_no(&self, name: &str) -> Result<Option<bool>, CmdletError> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => value.as_bool().map(Some).ok_or_else(|| {
                CmdletError::parameter(format!(
                    "Cannot process argument transformation on parameter '{name}'. Cannot convert value to type Boolean."
                ))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{alias, alias_from};

    #[test]
    fn aliases_have_few_characters() {
        for (text, good) in [
            ("calgrant-delegates", true),
            ("O'Brien", true),
            ("two words", false),
            ("Müller", false),
            (".a", false),
            ("a..b", false),
            ("", false),
        ] {
            assert_eq!(alias(text).is_ok(), good, "{text}");
        }
        assert_eq!(
            alias_from("Calendar Delegates (Test)."),
            "CalendarDelegatesTest"
        );
        assert_eq!(alias_from("Überall"), "berall");
        assert_eq!(alias_from("日本"), "group");
    }
}
