//! What an error of a cmdlet means for whoever sets up: each is classed here, once. Pure.

use calgrant_domain::{Address, MailboxId, UserChange};
use calgrant_exchange::{AdministrationError, Meaning, one_line};

use super::attempt::Attempt;
use crate::powershell::{
    classify::{self, Asked},
    pipeline::ErrorRecord,
};

/// Exceptions of a name that is taken, and words of servers, in lower case, for the same.
const TAKEN: &[&str] = &[
    "ADObjectAlreadyExistsException",
    "PropertyValueExistsException",
    "ProxyAddressExistsException",
    "RecipientAlreadyExistsException",
];
const TAKEN_WORDS: &[&str] = &[
    "already exists",
    "already being used",
    "already in use",
    "is used by another recipient",
];

/// Whether the account's roles don't hold the cmdlet, or a parameter of it.
fn is_outside_the_role(reason: &str, text: &str) -> bool {
    match reason {
        "CommandNotFoundException" | "CmdletAccessDeniedException" => true,
        "ParameterBindingException" => text.contains("matches parameter name"),
        _ => text.contains("sufficient permissions"),
    }
}

/// Whether what it is about isn't there.
pub(super) fn is_missing(record: &ErrorRecord) -> bool {
    record.reason == "ManagementObjectNotFoundException"
}

/// Whether somebody is a member already.
pub(super) fn is_member(record: &ErrorRecord) -> bool {
    record.reason == "MemberAlreadyExistsException"
}

/// Whether somebody is no member, or isn't there at all: then the group was found.
pub(super) fn is_no_member(record: &ErrorRecord, group: &Address, member: &Address) -> bool {
    let text = record.text.to_lowercase();
    record.reason == "MemberNotFoundException"
        || (is_missing(record) && text.contains(member.as_str()) && !text.contains(group.as_str()))
}

/// Classes an error.
pub(super) fn classed(mut record: ErrorRecord, attempt: &Attempt<'_>) -> AdministrationError {
    if let Some(password) = attempt.password().filter(|password| !password.is_empty()) {
        record.text = record.text.replace(password, "…");
    }
    let text = record.text.to_lowercase();
    let reason = record.reason.as_str();
    if attempt.makes().is_some()
        && (TAKEN.contains(&reason) || TAKEN_WORDS.iter().any(|words| text.contains(words)))
    {
        return AdministrationError::Taken {
            name: attempt.taken(&text),
        };
    }
    if let Some(why) = known(reason, &text, attempt) {
        return AdministrationError::Refused { why };
    }
    if is_missing(&record) {
        return AdministrationError::Missing {
            what: missing(attempt, &text),
        };
    }
    if is_outside_the_role(reason, &text) {
        return forbidden(&record, attempt, "assign it the management roles");
    }
    if text.contains("write scope") || reason == "OperationRequiresWriteScopeException" {
        let what =
            "widen the recipient write scope to where this object lies, of its management roles";
        return forbidden(&record, attempt, what);
    }
    let mut error = classify::record(&record, Asked::Mailbox);
    match error.meaning {
        Meaning::Retry => {
            // The server may have made it before it stumbled: to be looked for before it is made again.
            error.unanswered |= attempt.makes().is_some();
            error.into()
        }
        Meaning::WaitUntil { .. }
        | Meaning::TooManyAtOnce { .. }
        | Meaning::SignInAgain
        | Meaning::PauseAccount => error.into(),
        _ => AdministrationError::Refused {
            why: format!(
                "the server refuses to {} (it says {})",
                attempt.deed(),
                one_line(&format!("{reason}: {}", record.text))
            ),
        },
    }
}

fn forbidden(record: &ErrorRecord, attempt: &Attempt<'_>, what: &str) -> AdministrationError {
    AdministrationError::Forbidden {
        what: attempt.what().to_owned(),
        grant: format!(
            "{what} {} ({}: {})",
            attempt.roles(),
            attempt.cmdlet(),
            one_line(&record.text)
        ),
    }
}

/// What a person must change, where the server says it in words that are known.
fn known(reason: &str, text: &str, attempt: &Attempt<'_>) -> Option<String> {
    let about = attempt.about();
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    let domain = attempt
        .makes()
        .and_then(|name| name.as_str().rsplit_once('@'))
        .map_or("of its name", |(_, domain)| domain);
    if reason == "PasswordPolicyException"
        || says(&[
            "password complexity",
            "password policy",
            "complexity requirements",
        ])
    {
        return Some(format!(
            "the password of {about} doesn't keep to the domain's password policy: give a longer one with more kinds of characters"
        ));
    }
    if reason == "NotAcceptedDomainException" || says(&["accepted domain"]) {
        return Some(format!(
            "the domain {domain} of {about} is none of the organisation's accepted domains: add it, or choose another one"
        ));
    }
    if let Attempt::Enable(id, enabled) = attempt
        && says(&["cloud-based service"])
    {
        return Some(not_switched(*id, *enabled));
    }
    if says(&["naming policy", "allowed in group names", "blocked word"]) {
        return Some(format!(
            "the organisation's naming policy for groups refuses the name of {about}: choose a name that it allows"
        ));
    }
    None
}

/// What isn't there: servers name it in their text.
fn missing(attempt: &Attempt<'_>, text: &str) -> String {
    if let Some(unit) = attempt.unit()
        && (text.contains("organizational unit") || text.contains(&unit.to_lowercase()))
    {
        return format!("the unit {unit}");
    }
    let named = |address: &&Address| text.contains(address.as_str());
    match (attempt, attempt.others().iter().find(named)) {
        (Attempt::CreateGroup(_) | Attempt::ChangeGroup(..), Some(owner)) => {
            format!("the owner {owner}")
        }
        (Attempt::AddMember(group, _), Some(member)) if !text.contains(group.as_str()) => {
            format!("the member {member}")
        }
        (Attempt::AddMember(group, member), None) if !text.contains(group.as_str()) => {
            format!("the group {group} or its member {member}")
        }
        _ => attempt.about(),
    }
}

/// Whether Exchange's cmdlets can change this of a user.
///
/// # Errors
/// They can't: where it is changed.
pub(super) fn possible(id: MailboxId, change: &UserChange) -> Result<(), AdministrationError> {
    let refused = |why: String| Err(AdministrationError::Refused { why });
    if change.password_never_expires.is_some() {
        return refused(format!(
            "Exchange's cmdlets don't change whether the password of the user {} expires: change the account in Active Directory",
            id.as_uuid()
        ));
    }
    if change.usage_location.is_some() {
        return refused(format!(
            "the user {} is on premises, where there are no usage locations: leave it out",
            id.as_uuid()
        ));
    }
    Ok(())
}

/// Servers on premises know the parameter, and most do nothing about it.
pub(super) fn not_switched(id: MailboxId, enabled: bool) -> String {
    let word = if enabled { "enable" } else { "disable" };
    format!(
        "this Exchange doesn't {word} accounts: {word} that of the user {} in Active Directory",
        id.as_uuid()
    )
}

/// There are none on premises.
pub(super) fn no_licences(user: MailboxId, sku_id: &str) -> AdministrationError {
    AdministrationError::Refused {
        why: format!(
            "the user {} is on premises, where there are no licences such as {sku_id}: leave it out",
            user.as_uuid()
        ),
    }
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;
