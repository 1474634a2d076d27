//! The few filters of Graph's directory that are understood here, answered from the index.

use crate::directory::Sort;
use crate::reply::Reply;
use crate::tenant::{Object, Tenant};

/// How many values `in` takes.
const IN_MOST: usize = 15;

/// One comparison of a filter.
#[derive(Debug, PartialEq, Eq)]
enum Test {
    Mail(String),
    Upn(String),
    Name(String),
    Proxy(String),
}

/// Runs a filter over users or groups by the index; anything but the known clauses is refused.
pub(crate) fn filter(
    tenant: &Tenant,
    sort: Sort,
    text: &str,
    advanced: bool,
) -> Result<Vec<Object>, Reply> {
    let unsupported = |clause: &str| {
        let text = format!(
            "Unsupported or invalid query filter clause specified for property '{clause}'."
        );
        Reply::error(400, "Request_UnsupportedQuery", &text)
    };
    if sort == Sort::User
        && let Some(names) = text.strip_prefix("userPrincipalName in ")
    {
        let names = listed(names).ok_or_else(|| unsupported(text))?;
        if names.len() > IN_MOST {
            return Err(unsupported("userPrincipalName"));
        }
        let users = names
            .iter()
            .flat_map(|name| candidates(tenant, sort, &Test::Upn(name.clone())));
        return Ok(users.collect());
    }
    let clauses = split_or(text);
    if clauses.len() > 1 && !advanced {
        return Err(unsupported(text));
    }
    let mut found = Vec::new();
    for clause in clauses {
        let test = parse(clause, sort).ok_or_else(|| unsupported(clause))?;
        for object in candidates(tenant, sort, &test) {
            if !found.contains(&object) {
                found.push(object);
            }
        }
    }
    Ok(found)
}

fn candidates(tenant: &Tenant, sort: Sort, test: &Test) -> Vec<Object> {
    let right_sort = |object: &Object| match sort {
        Sort::User => matches!(object, Object::User(_)),
        _ => matches!(object, Object::Group(_)),
    };
    let holds = |object: &Object| match (test, *object) {
        (Test::Mail(text), Object::User(at)) => tenant.users[at].mail.eq_ignore_ascii_case(text),
        (Test::Upn(text), Object::User(at)) => tenant.users[at].spec.upn.eq_ignore_ascii_case(text),
        (Test::Proxy(text), Object::User(at)) => {
            let user = &tenant.users[at];
            user.spec
                .addresses
                .iter()
                .chain([&user.mail])
                .any(|address| address.eq_ignore_ascii_case(text))
        }
        (Test::Mail(text) | Test::Proxy(text), Object::Group(at)) => tenant.groups[at]
            .spec
            .mail
            .as_deref()
            .is_some_and(|mail| mail.eq_ignore_ascii_case(text)),
        _ => false,
    };
    match test {
        Test::Name(name) => tenant.named(name).into_iter().filter(right_sort).collect(),
        Test::Mail(text) | Test::Upn(text) | Test::Proxy(text) => tenant
            .object(text)
            .into_iter()
            .filter(right_sort)
            .filter(holds)
            .collect(),
    }
}

/// Whether a filter asks for holders of an Exchange licence.
pub(crate) fn is_licence_filter(text: &str) -> bool {
    let plain: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((variable, test)) = plain
        .strip_prefix("assignedPlans/any(")
        .and_then(|rest| rest.strip_suffix(')'))
        .and_then(|rest| rest.split_once(':'))
    else {
        return false;
    };
    let service = format!("{variable}/service eq 'exchange'");
    let enabled = format!("{variable}/capabilityStatus eq 'Enabled'");
    let test = test.trim();
    test == format!("{service} and {enabled}") || test == format!("{enabled} and {service}")
}

/// Reads `('a', 'b')`.
fn listed(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
    inner
        .split(',')
        .map(|value| quoted(&format!("eq {}", value.trim())))
        .collect()
}

/// Splits at ` or ` outside of quotes.
fn split_or(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        if byte == b'\'' {
            quoted = !quoted;
        }
        if !quoted
            && text
                .get(at..at + 4)
                .is_some_and(|word| word.eq_ignore_ascii_case(" or "))
        {
            parts.push(text[start..at].trim());
            start = at + 4;
        }
    }
    parts.push(text[start..].trim());
    parts
}

fn parse(clause: &str, sort: Sort) -> Option<Test> {
    if let Some(inner) = clause
        .strip_prefix("proxyAddresses/any(")
        .and_then(|rest| rest.strip_suffix(')'))
    {
        let (variable, test) = inner.split_once(':')?;
        let value = quoted(test.trim().strip_prefix(variable.trim())?)?;
        let scheme = value.get(..5)?;
        return scheme
            .eq_ignore_ascii_case("smtp:")
            .then(|| Test::Proxy(value[5..].to_owned()));
    }
    let (property, rest) = clause.split_once(' ')?;
    let value = quoted(&format!(" {rest}"))?;
    match (property, sort) {
        ("mail", Sort::User | Sort::Group) => Some(Test::Mail(value)),
        ("userPrincipalName", Sort::User) => Some(Test::Upn(value)),
        ("displayName", Sort::Group) => Some(Test::Name(value)),
        _ => None,
    }
}

/// Reads ` eq 'value'` to its end.
pub(crate) fn quoted(text: &str) -> Option<String> {
    let value = text
        .trim_start()
        .strip_prefix("eq ")?
        .trim()
        .strip_prefix('\'')?
        .strip_suffix('\'')?;
    let bare = value.replace("''", "\u{0}");
    (!bare.contains('\'')).then(|| bare.replace('\u{0}', "'"))
}

#[cfg(test)]
mod tests {
    use super::{Sort, Test, parse, split_or};

    #[test]
    fn only_the_known_clauses_are_read() {
        let both = split_or("mail eq 'a or b@x' or userPrincipalName eq 'o''b@x'");
        assert_eq!(both.len(), 2);
        assert_eq!(
            parse(both[1], Sort::User),
            Some(Test::Upn("o'b@x".to_owned()))
        );
        assert_eq!(
            parse("proxyAddresses/any(p:p eq 'SMTP:A@x')", Sort::User),
            Some(Test::Proxy("A@x".to_owned()))
        );
        for refused in [
            "displayName eq 'x'",
            "mail eq 'x' and mail eq 'y'",
            "startswith(mail,'x')",
        ] {
            assert_eq!(parse(refused, Sort::User), None, "{refused}");
        }
    }
}
