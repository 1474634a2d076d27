//! What an error means for whoever sets up: each is classed here, once. Pure.

use calgrant_domain::Address;
use calgrant_exchange::{AdministrationError, CallError, Meaning, Scope, one_line};

use super::attempt::Attempt;

/// What a person must change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Because {
    NoSeat,
    ForbiddenThere,
    UsageLocation,
    PlansExclude,
    PlanNeedsAnother,
    ThroughGroup,
    FederatedDomain,
    UnverifiedDomain,
    Password,
    Synchronised,
    NamingPolicy,
}

/// Words of servers, in lower case, and what they are about. The first that is found counts.
const WORDS: &[(&str, Because)] = &[
    ("prohibitedinusagelocation", Because::ForbiddenThere),
    ("usage location", Because::UsageLocation),
    ("countviolation", Because::NoSeat),
    ("any available licenses", Because::NoSeat),
    ("not have enough licenses", Because::NoSeat),
    ("mutuallyexclusiveviolation", Because::PlansExclude),
    ("conflicting service plans", Because::PlansExclude),
    ("conflicting licenses", Because::PlansExclude),
    ("dependencyviolation", Because::PlanNeedsAnother),
    ("depends on the service plan", Because::PlanNeedsAnother),
    ("dependent service plan", Because::PlanNeedsAnother),
    ("inherited from a group", Because::ThroughGroup),
    ("immutableid", Because::FederatedDomain),
    ("federated", Because::FederatedDomain),
    ("verified domain", Because::UnverifiedDomain),
    ("accepted domain", Because::UnverifiedDomain),
    ("password does not comply", Because::Password),
    ("password complexity", Because::Password),
    ("password policy", Because::Password),
    ("mastered directory sync", Because::Synchronised),
    ("being synchronized from", Because::Synchronised),
    ("in your on-premises organization", Because::Synchronised),
    ("naming policy", Because::NamingPolicy),
    ("allowed in group names", Because::NamingPolicy),
    ("blocked word", Because::NamingPolicy),
];

/// Exceptions and codes that say so by name.
const NAMES: &[(&str, Because)] = &[
    ("NotAcceptedDomainException", Because::UnverifiedDomain),
    ("PasswordPolicyException", Because::Password),
];

/// Exceptions and codes of a name that is taken, and words of servers, in lower case, for the same.
const TAKEN: &[&str] = &[
    "ADObjectAlreadyExistsException",
    "ObjectConflict",
    "PropertyValueExistsException",
    "ProxyAddressExistsException",
    "RecipientAlreadyExistsException",
];
const TAKEN_WORDS: &[&str] = &[
    "already exists",
    "already being used",
    "already in use",
    "is used by another recipient",
    "another object with the same value",
];

/// Exceptions and codes of what isn't there.
const MISSING: &[&str] = &[
    "ManagementObjectNotFoundException",
    "Request_ResourceNotFound",
    "ResourceNotFound",
];

/// Classes an error of a call that was answered.
pub(super) fn classed(mut error: CallError, attempt: &Attempt<'_>) -> AdministrationError {
    if let Some(password) = attempt.password().filter(|password| !password.is_empty()) {
        error.detail.server_text = error.detail.server_text.replace(password, "…");
    }
    let code = error.detail.server_code.as_str();
    let text = error.detail.server_text.to_lowercase();
    // Of its troubles, as opposed to ours, a server may speak after it made something.
    let troubled = matches!(
        error.meaning,
        Meaning::Retry
            | Meaning::WaitUntil {
                scope: Scope::Site,
                ..
            }
    );
    let passes = matches!(
        error.meaning,
        Meaning::WaitUntil { .. } | Meaning::TooManyAtOnce { .. } | Meaning::SignInAgain
    );
    if passes {
        error.unanswered |= troubled && attempt.makes().is_some();
        return error.into();
    }
    if attempt.makes().is_some()
        && (TAKEN.contains(&code) || TAKEN_WORDS.iter().any(|words| text.contains(words)))
    {
        return AdministrationError::Taken {
            name: attempt.taken(&text),
        };
    }
    if troubled {
        // To be looked for before it is made again.
        error.unanswered |= attempt.makes().is_some();
        return error.into();
    }
    if let Some(because) = because(code, &text) {
        return AdministrationError::Refused {
            why: because.why(attempt),
        };
    }
    if is_missing(&error) {
        return AdministrationError::Missing {
            what: missing(attempt, &text),
        };
    }
    if error.meaning == Meaning::PauseAccount || is_outside_the_role(code, &text) {
        return AdministrationError::Forbidden {
            what: attempt.what().to_owned(),
            grant: said(&attempt.grant(), &error),
        };
    }
    AdministrationError::Refused {
        why: said(&format!("the server refuses to {}", attempt.deed()), &error),
    }
}

/// With the server's own words behind it, if it had any.
fn said(what: &str, error: &CallError) -> String {
    let detail = &error.detail;
    let words = match (detail.server_code.is_empty(), detail.server_text.is_empty()) {
        (_, true) => detail.server_code.clone(),
        (true, false) => detail.server_text.clone(),
        (false, false) => format!("{}: {}", detail.server_code, detail.server_text),
    };
    if words.is_empty() {
        what.to_owned()
    } else {
        format!("{what} (the server says {})", one_line(&words))
    }
}

fn because(code: &str, text: &str) -> Option<Because> {
    let named = NAMES.iter().find(|(name, _)| *name == code);
    let named = named.or_else(|| WORDS.iter().find(|(words, _)| text.contains(words)));
    named.map(|(_, because)| *because)
}

/// Whether a cmdlet is in the credential's role, and what it was asked isn't: a parameter, or this object.
fn is_outside_the_role(code: &str, text: &str) -> bool {
    text.contains("write scope")
        || text.contains("sufficient permissions")
        || code == "OperationRequiresWriteScopeException"
        || (code == "ParameterBindingException" && text.contains("matches parameter name"))
}

/// What isn't there: servers name it in their text.
fn missing(attempt: &Attempt<'_>, text: &str) -> String {
    let named = |address: &&Address| text.contains(address.as_str());
    match (attempt, attempt.others().iter().find(named)) {
        (Attempt::CreateGroup(_) | Attempt::ChangeGroup(..), Some(owner)) => {
            format!("the owner {owner}")
        }
        (Attempt::Authorizations(..), Some(mailbox)) => format!("the mailbox {mailbox}"),
        (Attempt::AddMember(group, _), Some(member)) if !text.contains(group.as_str()) => {
            format!("the member {member}")
        }
        (Attempt::AddMember(group, member), None) if !text.contains(group.as_str()) => {
            format!("the group {group} or its member {member}")
        }
        _ => attempt.about(),
    }
}

/// Whether what it is about isn't there.
pub(super) fn is_missing(error: &CallError) -> bool {
    MISSING.contains(&error.detail.server_code.as_str())
}

/// Whether it was the member that isn't there, and so is no member: the group was found.
pub(super) fn is_no_member(error: &CallError, group: &Address, member: &Address) -> bool {
    let text = error.detail.server_text.to_lowercase();
    match error.detail.server_code.as_str() {
        "MemberNotFoundException" => true,
        "ManagementObjectNotFoundException" => {
            text.contains(member.as_str()) && !text.contains(group.as_str())
        }
        _ => false,
    }
}

/// Whether a product can't be taken away since the user hasn't got it.
pub(super) fn has_no_such_licence(error: &CallError) -> bool {
    let text = error.detail.server_text.to_lowercase();
    text.contains("does not have a corresponding license")
}

impl Because {
    /// What is wrong and what to do.
    fn why(self, attempt: &Attempt<'_>) -> String {
        let about = attempt.about();
        let sku = match attempt {
            Attempt::AssignLicence(_, sku) | Attempt::RemoveLicence(_, sku) => *sku,
            _ => "of the licence",
        };
        let domain = attempt
            .makes()
            .and_then(|name| name.as_str().rsplit_once('@'))
            .map_or("of the name", |(_, domain)| domain);
        match self {
            Self::NoSeat => format!(
                "no seat of the product {sku} is free for {about}: buy one, or take one from somebody"
            ),
            Self::ForbiddenThere => format!(
                "the product {sku} may not be used where {about} is: give it another usage location, or choose another product"
            ),
            Self::UsageLocation => format!(
                "{about} has no usage location, or not one that is taken: set it to the country, two letters, then assign the licence"
            ),
            Self::PlansExclude => format!(
                "the product {sku} has plans that exclude some which {about} has: switch them off, or take the other product away"
            ),
            Self::PlanNeedsAnother => format!(
                "a plan of the product {sku} needs another one that is switched off for {about}: leave that on, or switch both off"
            ),
            Self::ThroughGroup => format!(
                "{about} has the product {sku} through a group: take it out of that group, or the product from the group"
            ),
            Self::FederatedDomain => format!(
                "the domain {domain} of {about} is federated, users are made where it signs in: choose a name in a managed domain, such as one that ends in onmicrosoft.com"
            ),
            Self::UnverifiedDomain => format!(
                "the domain {domain} of {about} is none of the organisation's verified domains: verify it, or choose another one"
            ),
            Self::Password => format!(
                "the password of {about} doesn't keep to the organisation's password policy: give a longer one with more kinds of characters"
            ),
            Self::Synchronised => format!(
                "{about} is synchronised from Active Directory: make the change there, or name another one"
            ),
            Self::NamingPolicy => format!(
                "the organisation's naming policy for groups refuses the name of {about}: choose a name that it allows"
            ),
        }
    }
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;
