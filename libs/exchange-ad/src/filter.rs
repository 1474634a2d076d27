//! Search filters: values that can't break out of them, and the filters we ask with. Pure.

use calgrant_domain::{Address, MailboxType};

/// The rule that walks links to their end, on the server.
const IN_CHAIN: &str = "1.2.840.113556.1.4.1941";
/// The rule that wants all bits of a mask.
const ALL_BITS: &str = "1.2.840.113556.1.4.803";
/// The bit of `userAccountControl` that a disabled account has.
pub(crate) const DISABLED: i64 = 2;

/// A text as part of a filter.
pub(crate) fn text(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '*' | '(' | ')' | '\\' | '\0' => out.push_str(&format!("\\{:02x}", u32::from(c))),
            other => out.push(other),
        }
    }
    out
}

/// Bytes as part of a filter.
pub(crate) fn bytes(value: &[u8]) -> String {
    value.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// Everything with this mail address, user principal name or `mail`.
pub(crate) fn named(names: &[Address]) -> String {
    let terms: String = names
        .iter()
        .map(|name| {
            let name = text(name.as_str());
            format!("(proxyAddresses=smtp:{name})(userPrincipalName={name})(mail={name})")
        })
        .collect();
    format!("(|{terms})")
}

/// Groups of this mail address; where its domain is the directory's own, of this account name, too: security groups
/// need no mail address.
pub(crate) fn group(address: &Address, domain: &str) -> String {
    let name = text(address.as_str());
    let by_account = match address.as_str().rsplit_once('@') {
        Some((account, of)) if of == domain => format!("(sAMAccountName={})", text(account)),
        _ => String::new(),
    };
    format!("(&(objectClass=group)(|(proxyAddresses=smtp:{name})(mail={name}){by_account}))")
}

/// Who is in a group, at whatever depth; not the groups in between.
pub(crate) fn members(group_dn: &str) -> String {
    format!("(&(!(objectClass=group)){})", chain(group_dn))
}

/// Groups in a group, at whatever depth.
pub(crate) fn nested_groups(group_dn: &str) -> String {
    format!("(&(objectClass=group){})", chain(group_dn))
}

/// Whose primary group is one of these. Those who are members of `group_dn` besides are left out.
pub(crate) fn primary_members(rids: &[u32], group_dn: Option<&str>) -> String {
    let others = group_dn.map_or_else(String::new, |dn| format!("(!{})", chain(dn)));
    format!("(&(|{}){others})", primary(rids))
}

/// Those of the objects or mailboxes of these ids that are in a group at whatever depth, or whose primary group is one of `rids`.
pub(crate) fn members_with_id<'a>(
    guids: impl IntoIterator<Item = &'a [u8; 16]>,
    group_dn: &str,
    rids: &[u32],
) -> String {
    let ids: String = guids.into_iter().map(|guid| with_id(guid)).collect();
    format!("(&(|{ids})(|{}{}))", chain(group_dn), primary(rids))
}

/// A term for each of these as the primary group.
fn primary(rids: &[u32]) -> String {
    let terms = rids.iter().map(|rid| format!("(primaryGroupID={rid})"));
    terms.collect()
}

/// The objects of these names.
pub(crate) fn with_dn<'a>(dns: impl IntoIterator<Item = &'a str>) -> String {
    let terms: String = dns
        .into_iter()
        .map(|dn| format!("(distinguishedName={})", text(dn)))
        .collect();
    format!("(|{terms})")
}

/// People that Exchange knows in whatever way.
pub(crate) fn recipients() -> String {
    "(&(objectCategory=person)(objectClass=user)(msExchRecipientTypeDetails=*))".to_owned()
}

/// Mailboxes of this organisation, of these types.
pub(crate) fn mailboxes(types: &[MailboxType], with_disabled: bool) -> String {
    let terms: String = types
        .iter()
        .map(|kind| match kind {
            MailboxType::User if with_disabled => "(msExchRecipientTypeDetails=1)(msExchRecipientTypeDetails=2)".to_owned(),
            // The account of a linked mailbox is disabled by design: its owner signs in elsewhere.
            MailboxType::User => format!(
                "(&(msExchRecipientTypeDetails=1)(!(userAccountControl:{ALL_BITS}:={DISABLED})))(msExchRecipientTypeDetails=2)"
            ),
            MailboxType::Shared => "(msExchRecipientTypeDetails=4)".to_owned(),
            MailboxType::Room => "(msExchRecipientTypeDetails=16)".to_owned(),
            MailboxType::Equipment => "(msExchRecipientTypeDetails=32)".to_owned(),
        })
        .collect();
    format!("(&(objectCategory=person)(objectClass=user)(msExchMailboxGuid=*)(|{terms}))")
}

/// The object or mailbox of this id.
pub(crate) fn with_id(guid: &[u8]) -> String {
    let guid = bytes(guid);
    format!("(|(msExchMailboxGuid={guid})(objectGUID={guid}))")
}

fn chain(group_dn: &str) -> String {
    format!("(memberOf:{IN_CHAIN}:={})", text(group_dn))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_stay_values() {
        for (raw, want) in [
            ("a*b", "a\\2ab"),
            (
                "CN=Grüne\\, Große (A*B)",
                "CN=Grüne\\5c, Große \\28A\\2aB\\29",
            ),
            ("x)(objectClass=*", "x\\29\\28objectClass=\\2a"),
            ("nul\0", "nul\\00"),
        ] {
            assert_eq!(text(raw), want);
        }
        assert_eq!(bytes(&[0, 0x2a, 0xff]), "\\00\\2a\\ff");
        let group = group(&"staff@uni.example".parse().unwrap(), "uni.example");
        assert!(group.contains("(sAMAccountName=staff)"), "{group}");
    }

    proptest! {
        /// No value holds a character that means something to a filter, and none is changed.
        #[test]
        fn escaping_can_be_undone(value in any::<String>()) {
            let escaped = text(&value);
            prop_assert!(!escaped.contains(['*', '(', ')', '\0']));
            let mut back = String::new();
            let mut rest = escaped.as_str();
            while let Some((before, after)) = rest.split_once('\\') {
                back.push_str(before);
                back.push(char::from(u8::from_str_radix(&after[..2], 16).unwrap()));
                rest = &after[2..];
            }
            back.push_str(rest);
            prop_assert_eq!(back, value.clone());
            let filter = ["(cn=", &escaped, ")"].concat();
            prop_assert!(ldap3::parse_filter(filter).is_ok());
        }
    }
}
