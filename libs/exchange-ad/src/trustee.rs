//! Which of the objects that a name finds is meant, and whether it can hold rights on a folder. Pure.

use std::collections::HashSet;

use calgrant_domain::{
    Address, DisabledAccounts, Listed, MailboxId, MailboxType, OperationFailure, Reason,
};
use calgrant_exchange::{ListingError, PrincipalKind, TrusteeFound};

use crate::{entry::Entry, recipient::Kind};

/// The bit of `groupType` that security groups have.
const SECURITY: i64 = 0x8000_0000;
/// The bit of `groupType` that universal groups have.
const UNIVERSAL: i64 = 0x8;

/// Those of the objects that the name means: by a mail address before a user principal name, and by `mail`, which
/// anybody may write anything into, last.
pub(crate) fn meant<'a>(name: &Address, found: &'a [Entry]) -> Vec<&'a Entry> {
    let tiers: [fn(&Entry, &Address) -> bool; 3] = [
        |entry, name| entry.addresses().contains(name),
        |entry, name| entry.upn().as_ref() == Some(name),
        |entry, name| entry.mail().as_ref() == Some(name),
    ];
    for fits in tiers {
        let mut seen = HashSet::new();
        let these: Vec<&Entry> = found
            .iter()
            .filter(|entry| fits(entry, name) && seen.insert(entry.dn.as_str()))
            .collect();
        if !these.is_empty() {
            return these;
        }
    }
    Vec::new()
}

/// A name of a list, looked up among what was found.
pub(crate) fn looked_up(
    name: &Address,
    found: &[Entry],
    site: &str,
    disabled: DisabledAccounts,
) -> Listed {
    let unsuitable = |why| Listed {
        id: MailboxId::of_unknown(site, name.as_str()),
        name: name.to_string(),
        what: Err(why),
        lines: Vec::new(),
    };
    match meant(name, found).as_slice() {
        [one] => one.listed(site, disabled),
        [] => unsuitable(Reason::NotFound),
        _ => unsuitable(Reason::Ambiguous),
    }
}

/// Judges a trustee.
pub(crate) fn judge(
    address: &Address,
    found: &[Entry],
    site: &str,
) -> Result<TrusteeFound, ListingError> {
    let refused = |failure, why| Err(ListingError::Refused { failure, why });
    let object = match meant(address, found).as_slice() {
        [one] => *one,
        [] => {
            return refused(
                OperationFailure::TrusteeNotFound,
                format!(
                    "the directory knows no trustee with the address {address}: check its spelling"
                ),
            );
        }
        several => {
            let names: Vec<&str> = several.iter().map(|one| one.dn.as_str()).collect();
            return refused(
                OperationFailure::TrusteeNotFound,
                format!(
                    "several objects have the address {address}: take it away from all but one of {}",
                    names.join("; ")
                ),
            );
        }
    };
    let kind = match principal(object) {
        Ok(kind) => kind,
        Err(what) => {
            return refused(
                OperationFailure::TrusteeNotSecurityPrincipal,
                format!(
                    "the trustee {address} is {what}; use a mail-enabled universal security group or a mailbox of this organisation"
                ),
            );
        }
    };
    Ok(TrusteeFound {
        id: object.key(site),
        address: object.primary().unwrap_or_else(|| address.clone()),
        kind,
    })
}

/// What can hold rights on a folder, or what it is that can't.
fn principal(object: &Entry) -> Result<PrincipalKind, &'static str> {
    if object.is_group() {
        // As 32 bits with a sign; looked at as bits.
        let bits = object.number("groupType").unwrap_or_default();
        if bits & SECURITY == 0 {
            return Err("a distribution group, which can hold no rights on folders");
        }
        if object.addresses().is_empty() {
            return Err(
                "a security group that is not mail-enabled, which Exchange can't put on a folder (Enable-DistributionGroup makes it one)",
            );
        }
        if bits & UNIVERSAL == 0 {
            return Err(
                "a security group that is not universal, which Exchange won't resolve everywhere (Set-ADGroup -GroupScope Universal makes it one)",
            );
        }
        return Ok(PrincipalKind::SecurityGroup);
    }
    match object.kind() {
        Kind::Here(MailboxType::User) if object.is_disabled() => {
            Err("a mailbox whose account is disabled, so that nobody could use the rights")
        }
        Kind::Here(_) | Kind::Linked => Ok(PrincipalKind::Mailbox),
        Kind::Online(_) => Err("a mailbox of Exchange Online, not of this organisation"),
        Kind::Other => Err("neither a group nor a mailbox, and can hold no rights on folders"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipient::tests::entry;

    const NAME: &str = "team@uni.example";

    fn judged(found: &[Entry]) -> Result<PrincipalKind, OperationFailure> {
        match judge(&NAME.parse().unwrap(), found, "site") {
            Ok(found) => Ok(found.kind),
            Err(ListingError::Refused { failure, why }) => {
                assert!(why.contains(NAME), "{why}");
                Err(failure)
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn trustees() {
        use OperationFailure::{TrusteeNotFound, TrusteeNotSecurityPrincipal as Unsuitable};
        let group = |kind: &str| {
            entry(&[
                ("objectClass", "top"),
                ("objectClass", "group"),
                ("groupType", kind),
                ("proxyAddresses", "SMTP:Team@uni.example"),
                ("mail", NAME),
            ])
        };
        let person = |details: &str, bits: &str| {
            entry(&[
                ("objectClass", "user"),
                ("msExchRecipientTypeDetails", details),
                ("userAccountControl", bits),
                ("proxyAddresses", "SMTP:team@uni.example"),
            ])
        };
        let bare = entry(&[
            ("objectClass", "group"),
            ("groupType", "-2147483640"),
            ("mail", NAME),
        ]);
        for (what, found, want) in [
            (
                "universal security",
                vec![group("-2147483640")],
                Ok(PrincipalKind::SecurityGroup),
            ),
            ("distribution", vec![group("8")], Err(Unsuitable)),
            ("global distribution", vec![group("2")], Err(Unsuitable)),
            (
                "global security",
                vec![group("-2147483646")],
                Err(Unsuitable),
            ),
            (
                "local security",
                vec![group("-2147483644")],
                Err(Unsuitable),
            ),
            ("not mail-enabled", vec![bare], Err(Unsuitable)),
            (
                "mailbox",
                vec![person("1", "512")],
                Ok(PrincipalKind::Mailbox),
            ),
            ("disabled", vec![person("1", "514")], Err(Unsuitable)),
            (
                "linked",
                vec![person("2", "514")],
                Ok(PrincipalKind::Mailbox),
            ),
            (
                "shared",
                vec![person("4", "514")],
                Ok(PrincipalKind::Mailbox),
            ),
            ("remote", vec![person("2147483648", "512")], Err(Unsuitable)),
            ("mail user", vec![person("128", "512")], Err(Unsuitable)),
            ("nobody", vec![], Err(TrusteeNotFound)),
        ] {
            assert_eq!(judged(&found), want, "{what}");
        }
        let mut other = person("1", "512");
        other.dn = "CN=other".into();
        assert_eq!(judged(&[person("1", "512"), other]), Err(TrusteeNotFound));
    }

    #[test]
    fn which_one_is_meant() {
        let named = |dn: &str, attribute: &str, value: &str| {
            let mut entry = entry(&[(attribute, value)]);
            entry.dn = dn.into();
            entry
        };
        let found = [
            named("CN=mail", "mail", NAME),
            named("CN=upn", "userPrincipalName", "Team@uni.example"),
            named("CN=proxy", "proxyAddresses", "smtp:TEAM@uni.example"),
            named("CN=sip", "proxyAddresses", "sip:team@uni.example"),
        ];
        for (from, want) in [(0, "CN=proxy"), (1, "CN=proxy")] {
            let these = meant(&NAME.parse().unwrap(), &found[from..]);
            assert_eq!(these.len(), 1);
            assert_eq!(these[0].dn, want);
        }
        assert_eq!(meant(&NAME.parse().unwrap(), &found[..2])[0].dn, "CN=upn");
        assert_eq!(meant(&NAME.parse().unwrap(), &found[..1])[0].dn, "CN=mail");
        assert!(meant(&NAME.parse().unwrap(), &found[3..]).is_empty());
        let what = |found: &[Entry]| {
            looked_up(
                &NAME.parse().unwrap(),
                found,
                "site",
                DisabledAccounts::Refuse,
            )
            .what
        };
        assert_eq!(what(&[]), Err(Reason::NotFound));
        let twice = [named("CN=a", "mail", NAME), named("CN=b", "mail", NAME)];
        assert_eq!(what(&twice), Err(Reason::Ambiguous));
        let mut group = entry(&[("objectClass", "group"), ("mail", NAME)]);
        group.dn = "CN=g".into();
        assert_eq!(what(&[group]), Err(Reason::NotAMailbox));
    }
}
