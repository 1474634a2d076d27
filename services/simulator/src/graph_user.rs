//! Users as Graph takes them: what a new one needs, what of one can be changed, and what is refused of both.

use serde_json::{Map, Value};

use crate::user::Password;

/// A user that is to be made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewUser {
    pub(crate) enabled: bool,
    pub(crate) display_name: String,
    pub(crate) nickname: String,
    pub(crate) upn: String,
    pub(crate) password: Password,
    pub(crate) change: Change,
}

/// What is to be another: an inner `None` takes a value away.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) enabled: Option<bool>,
    pub(crate) usage_location: Option<Option<String>>,
    pub(crate) password_policies: Option<Option<String>>,
    pub(crate) employee_id: Option<Option<String>>,
    pub(crate) password: Option<Password>,
}

/// What a new user may have besides, and nobody looks at here.
const IGNORED: [&str; 10] = [
    "givenName",
    "surname",
    "jobTitle",
    "department",
    "companyName",
    "officeLocation",
    "preferredLanguage",
    "mobilePhone",
    "businessPhones",
    "userType",
];
const CHANGED: [&str; 5] = [
    "accountEnabled",
    "usageLocation",
    "passwordPolicies",
    "employeeId",
    "passwordProfile",
];
const NEEDED: [&str; 5] = [
    "accountEnabled",
    "displayName",
    "mailNickname",
    "userPrincipalName",
    "passwordProfile",
];

type Body = Map<String, Value>;

fn wrong(name: &str) -> String {
    format!("Invalid value specified for property '{name}' of resource 'User'.")
}

/// Refuses properties users don't have, or that can't be written here.
fn only(body: &Body, known: &[&[&str]]) -> Result<(), String> {
    let is_known = |name: &str| {
        let annotation = name.starts_with("@odata.");
        annotation || known.iter().any(|names| names.contains(&name))
    };
    match body.keys().find(|name| !is_known(name)) {
        Some(name) => Err(format!("Invalid property '{name}'.")),
        None => Ok(()),
    }
}

fn text(body: &Body, name: &str) -> Result<Option<Option<String>>, String> {
    match body.get(name) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(Value::String(text)) => Ok(Some(Some(text.clone()))),
        Some(_) => Err(wrong(name)),
    }
}

/// Reads the body of `POST /users`; `owns` knows the tenant's domains.
///
/// # Errors
/// What Graph says.
pub(crate) fn new(body: &Body, owns: impl Fn(&str) -> bool) -> Result<NewUser, String> {
    only(body, &[&IGNORED, &CHANGED, &NEEDED])?;
    for name in NEEDED {
        if body.get(name).is_none_or(Value::is_null) {
            return Err(format!(
                "A value is required for property '{name}' of resource 'User'."
            ));
        }
    }
    let needed = |name: &str| {
        let text = body[name].as_str().map(str::to_owned);
        text.filter(|text| !text.is_empty())
            .ok_or_else(|| wrong(name))
    };
    let mut change = change(body)?;
    let display_name = needed("displayName")?;
    if display_name.chars().count() > 256 {
        return Err(wrong("displayName"));
    }
    let nickname = needed("mailNickname")?;
    let fine = |c: char| c.is_ascii_graphic() && !"@()\\[]\";:<>,".contains(c);
    if nickname.len() > 64 || !nickname.chars().all(fine) {
        return Err(wrong("mailNickname"));
    }
    let upn = needed("userPrincipalName")?;
    check_principal_name(&upn, owns)?;
    Ok(NewUser {
        enabled: change.enabled.unwrap_or_default(),
        display_name,
        nickname,
        upn,
        password: change
            .password
            .take()
            .ok_or_else(|| wrong("passwordProfile"))?,
        change,
    })
}

/// Reads the body of `PATCH /users/{id}`.
///
/// # Errors
/// What Graph says.
pub(crate) fn changed(body: &Body) -> Result<Change, String> {
    only(body, &[&CHANGED])?;
    if body.is_empty() {
        return Err("One or more properties to update must be given.".to_owned());
    }
    change(body)
}

fn change(body: &Body) -> Result<Change, String> {
    let enabled = match body.get("accountEnabled") {
        None => None,
        Some(value) => Some(value.as_bool().ok_or_else(|| wrong("accountEnabled"))?),
    };
    let usage_location = text(body, "usageLocation")?;
    if let Some(Some(country)) = &usage_location {
        let letters = country.len() == 2 && country.chars().all(|c| c.is_ascii_uppercase());
        if !letters {
            return Err(wrong("usageLocation"));
        }
    }
    let password_policies = text(body, "passwordPolicies")?;
    if let Some(Some(policies)) = &password_policies {
        let known = ["None", "DisableStrongPassword", "DisablePasswordExpiration"];
        let mut each = policies.split(',').map(str::trim);
        if !each.all(|policy| known.contains(&policy)) {
            return Err(wrong("passwordPolicies"));
        }
    }
    let employee_id = text(body, "employeeId")?;
    if let Some(Some(id)) = &employee_id
        && (id.is_empty() || id.chars().count() > 16)
    {
        return Err(wrong("employeeId"));
    }
    let weak = password_policies
        .iter()
        .flatten()
        .any(|policies| policies.contains("DisableStrongPassword"));
    let password = match body.get("passwordProfile") {
        None => None,
        Some(profile) => Some(password(profile, weak)?),
    };
    Ok(Change {
        enabled,
        usage_location,
        password_policies,
        employee_id,
        password,
    })
}

fn password(profile: &Value, weak: bool) -> Result<Password, String> {
    let profile = profile
        .as_object()
        .ok_or_else(|| wrong("passwordProfile"))?;
    let known = [
        "password",
        "forceChangePasswordNextSignIn",
        "forceChangePasswordNextSignInWithMfa",
    ];
    only(profile, &[&known])?;
    let secret = profile.get("password").and_then(Value::as_str);
    let secret = secret.ok_or_else(|| {
        "A value is required for property 'password' of resource 'PasswordProfile'.".to_owned()
    })?;
    if !is_strong(secret, weak) {
        return Err(
            "The specified password does not comply with password complexity requirements. Please provide a different password."
                .to_owned(),
        );
    }
    let must_change = match profile.get("forceChangePasswordNextSignIn") {
        // as Entra does when nothing is said
        None => true,
        Some(value) => value
            .as_bool()
            .ok_or_else(|| wrong("forceChangePasswordNextSignIn"))?,
    };
    Ok(Password {
        secret: secret.to_owned(),
        must_change,
    })
}

/// Whether a password has 8 to 256 characters of three sorts of the four.
pub(crate) fn is_strong(password: &str, weak: bool) -> bool {
    let sorts = [
        password.chars().any(char::is_lowercase),
        password.chars().any(char::is_uppercase),
        password.chars().any(|c| c.is_ascii_digit()),
        password.chars().any(|c| !c.is_alphanumeric()),
    ];
    let length = password.chars().count();
    let count = sorts.iter().filter(|has| **has).count();
    (8..=256).contains(&length) && (weak || count >= 3)
}

fn check_principal_name(upn: &str, owns: impl Fn(&str) -> bool) -> Result<(), String> {
    let (local, domain) = upn
        .split_once('@')
        .ok_or_else(|| wrong("userPrincipalName"))?;
    let fine = |c: char| c.is_ascii_alphanumeric() || "'.-_!#^~".contains(c);
    let length = (1..=64).contains(&local.len()) && upn.len() <= 113;
    let dots = local.starts_with('.') || local.ends_with('.') || local.contains("..");
    if !length || dots || !local.chars().all(fine) {
        return Err(wrong("userPrincipalName"));
    }
    if !owns(domain) {
        return Err(
            "The domain portion of the userPrincipalName property is invalid. You must use one of the verified domain names in your organization."
                .to_owned(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body() -> Value {
        json!({
            "accountEnabled": true, "displayName": "Grant 1", "mailNickname": "grant-1",
            "userPrincipalName": "grant-1@uni.example", "usageLocation": "DE",
            "passwordPolicies": "DisablePasswordExpiration",
            "passwordProfile": {"password": "Long-enough-1", "forceChangePasswordNextSignIn": false},
        })
    }

    fn read(body: &Value) -> Result<NewUser, String> {
        new(body.as_object().unwrap(), |domain| domain == "uni.example")
    }

    #[test]
    fn a_user_with_everything_is_taken() {
        let user = read(&body()).unwrap();
        assert_eq!(user.change.usage_location, Some(Some("DE".to_owned())));
        assert!(user.enabled && !user.password.must_change);
        assert!(!format!("{user:?}").contains("Long-enough"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (pointer, value, said) in [
            (
                "/accountEnabled",
                Value::Null,
                "required for property 'accountEnabled'",
            ),
            ("/displayName", Value::Null, "'displayName'"),
            ("/mailNickname", json!("two words"), "'mailNickname'"),
            (
                "/userPrincipalName",
                json!("größe@uni.example"),
                "Invalid value",
            ),
            (
                "/userPrincipalName",
                json!("a+b@uni.example"),
                "Invalid value",
            ),
            (
                "/userPrincipalName",
                json!("a@other.example"),
                "verified domain",
            ),
            ("/usageLocation", json!("Germany"), "'usageLocation'"),
            ("/usageLocation", json!("de"), "'usageLocation'"),
            ("/passwordPolicies", json!("Never"), "'passwordPolicies'"),
            ("/passwordProfile/password", json!("short-1A"), ""),
            (
                "/passwordProfile/password",
                json!("alllowercase"),
                "complexity",
            ),
            ("/passwordProfile", json!("x"), "'passwordProfile'"),
        ] {
            let mut body = body();
            *body.pointer_mut(pointer).unwrap() = value;
            let read = read(&body);
            if said.is_empty() {
                assert!(read.is_ok(), "{pointer}");
            } else {
                let told = read.unwrap_err();
                assert!(told.contains(said), "{pointer}: {told}");
            }
        }
        let mut more = body();
        more["favouriteColour"] = json!("red");
        assert!(read(&more).unwrap_err().contains("favouriteColour"));
    }

    #[test]
    fn a_change_holds_what_is_named_alone() {
        let read = |body: Value| changed(body.as_object().unwrap());
        let change = read(json!({"accountEnabled": false, "employeeId": null})).unwrap();
        assert_eq!(change.enabled, Some(false));
        assert_eq!(change.employee_id, Some(None));
        assert_eq!(change.usage_location, None);
        for wrong in [
            json!({}),
            json!({"displayName": "x"}),
            json!({"employeeId": "12345678901234567"}),
            json!({"accountEnabled": "no"}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
