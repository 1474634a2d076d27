//! `ResolveNames`, `ExpandDL` and `ConvertId`.

use crate::ews::access::Session;
use crate::ews::error::EwsError;
use crate::scenario::Kind;
use crate::tenant::{Object, Tenant};
use crate::xml::{Element, leaf, tag, with};

/// How many names one answer holds at most.
const MOST: usize = 100;

/// An object as a recipient, when it is one.
fn mailbox(tenant: &Tenant, object: Object) -> Option<String> {
    let (name, address, sort) = match object {
        Object::User(at) => {
            let user = &tenant.users[at];
            if user.spec.kind == Kind::None {
                return None;
            }
            (user.spec.name.as_str(), user.mail.as_str(), "Mailbox")
        }
        Object::Group(at) => {
            let spec = &tenant.groups[at].spec;
            (spec.name.as_str(), spec.mail.as_deref()?, "PublicDL")
        }
        Object::Contact(at) => {
            let mail = tenant.contacts[at].1.as_str();
            (mail, mail, "Contact")
        }
        Object::Device(_) => return None,
    };
    Some(format!(
        "{}{}{}{}",
        leaf("t:Name", name),
        leaf("t:EmailAddress", address),
        leaf("t:RoutingType", "SMTP"),
        leaf("t:MailboxType", sort),
    ))
}

fn candidates(tenant: &Tenant, entry: &str) -> Vec<Object> {
    let lower = entry.to_lowercase();
    if let Some(address) = lower.strip_prefix("smtp:") {
        return tenant.by_address(address).into_iter().collect();
    }
    let begins = |text: &str| text.to_lowercase().starts_with(&lower);
    let users = tenant.users.iter().enumerate().filter(|(_, user)| {
        let names = [&user.spec.name, &user.mail, &user.alias];
        names.iter().any(|name| begins(name))
    });
    let groups = tenant.groups.iter().enumerate().filter(|(_, group)| {
        begins(&group.spec.name) || group.spec.mail.as_deref().is_some_and(begins)
    });
    users
        .map(|(at, _)| Object::User(at))
        .chain(groups.map(|(at, _)| Object::Group(at)))
        .collect()
}

/// What `ResolveNames` found; a warning goes with several.
pub(crate) fn resolve(
    session: &Session<'_>,
    _: &Element,
    entry: &Element,
) -> Result<(String, Option<EwsError>), EwsError> {
    if session.mailbox(session.acting).is_none() {
        return Err(EwsError::new(
            "ErrorNameResolutionNoMailbox",
            "A mailbox is needed to resolve names.",
        ));
    }
    let tenant = session.tenant;
    let found = candidates(tenant, entry.text.trim());
    let shown: Vec<String> = found
        .into_iter()
        .filter_map(|object| mailbox(tenant, object))
        .take(MOST)
        .map(|mailbox| tag("t:Resolution", &tag("t:Mailbox", &mailbox)))
        .collect();
    let warning = match shown.len() {
        0 => {
            return Err(EwsError::new(
                "ErrorNameResolutionNoResults",
                "No results were found.",
            ));
        }
        1 => None,
        _ => Some(EwsError::new(
            "ErrorNameResolutionMultipleResults",
            "Multiple results were found.",
        )),
    };
    let set = with(
        "m:ResolutionSet",
        &[
            ("TotalItemsInView", &shown.len().to_string()),
            (
                "IncludesLastItemInRange",
                if shown.len() < MOST { "true" } else { "false" },
            ),
        ],
        &shown.concat(),
    );
    Ok((set, warning))
}

/// The direct members of a group.
pub(crate) fn expand(
    session: &Session<'_>,
    _: &Element,
    group: &Element,
) -> Result<String, EwsError> {
    let address = group.child_text("EmailAddress").unwrap_or_default();
    let tenant = session.tenant;
    let Some(Object::Group(at)) = tenant.by_address(address) else {
        return Err(EwsError::new(
            "ErrorNameResolutionNoResults",
            "No results were found.",
        ));
    };
    let members = tenant.groups[at].members();
    let shown: Vec<String> = members
        .iter()
        .filter_map(|member| mailbox(tenant, *member))
        .map(|mailbox| tag("t:Mailbox", &mailbox))
        .collect();
    Ok(with(
        "m:DLExpansion",
        &[
            ("TotalItemsInView", &shown.len().to_string()),
            ("IncludesLastItemInRange", "true"),
        ],
        &shown.concat(),
    ))
}

/// Ids of other formats than EWS's own aren't known here.
pub(crate) fn convert(
    _: &Session<'_>,
    request: &Element,
    id: &Element,
) -> Result<String, EwsError> {
    let ews = |format: Option<&str>| format == Some("EwsId");
    let text = id.attribute("Id").unwrap_or_default();
    if !ews(id.attribute("Format")) || !ews(request.attribute("DestinationFormat")) {
        return Err(EwsError::bad_id());
    }
    crate::ews::ids::read_folder(text)?;
    Ok(with(
        "m:AlternateId",
        &[
            ("xsi:type", "t:AlternateIdType"),
            ("Format", "EwsId"),
            ("Id", text),
            ("Mailbox", id.attribute("Mailbox").unwrap_or_default()),
        ],
        "",
    ))
}
