//! What an object of the directory is to Exchange: a mailbox of this organisation, one in the cloud, or neither. Pure.

use calgrant_domain::{Address, DisabledAccounts, Listed, Mailbox, MailboxId, MailboxType, Reason};
use uuid::Uuid;

use crate::{entry::Entry, filter::DISABLED};

/// The attributes that decide it.
pub(crate) const ATTRIBUTES: &[&str] = &[
    "objectClass",
    "objectGUID",
    "objectSid",
    "displayName",
    "userPrincipalName",
    "mail",
    "proxyAddresses",
    "userAccountControl",
    "groupType",
    "msExchMailboxGuid",
    "msExchRecipientTypeDetails",
];

/// What a recipient is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A mailbox of this organisation.
    Here(MailboxType),
    /// A mailbox of this organisation whose owner signs in with an account of another forest; its own account is
    /// disabled by design.
    Linked,
    /// A mailbox in Exchange Online.
    Online(MailboxType),
    /// Neither.
    Other,
}

/// What a value of `msExchRecipientTypeDetails` says. An allow-list: system mailboxes of all sorts have others.
pub(crate) fn kind(details: Option<i64>) -> Kind {
    match details {
        Some(1) => Kind::Here(MailboxType::User),
        Some(2) => Kind::Linked,
        Some(4) => Kind::Here(MailboxType::Shared),
        Some(16) => Kind::Here(MailboxType::Room),
        Some(32) => Kind::Here(MailboxType::Equipment),
        Some(0x8000_0000) => Kind::Online(MailboxType::User),
        Some(0x2_0000_0000) => Kind::Online(MailboxType::Room),
        Some(0x4_0000_0000) => Kind::Online(MailboxType::Equipment),
        Some(0x8_0000_0000) => Kind::Online(MailboxType::Shared),
        _ => Kind::Other,
    }
}

impl Entry {
    /// What it is to Exchange.
    pub(crate) fn kind(&self) -> Kind {
        kind(self.number("msExchRecipientTypeDetails"))
    }

    /// Whether it is a group.
    pub(crate) fn is_group(&self) -> bool {
        self.texts("objectClass")
            .any(|class| class.eq_ignore_ascii_case("group"))
    }

    /// Whether its account is disabled.
    pub(crate) fn is_disabled(&self) -> bool {
        self.number("userAccountControl")
            .is_some_and(|bits| bits & DISABLED != 0)
    }

    /// Its id in the directory, which never changes.
    pub(crate) fn object_guid(&self) -> Option<Uuid> {
        self.guid("objectGUID")
    }

    /// What it is keyed by: a mailbox by the mailbox's own GUID, so that a person's next mailbox is another one; all
    /// else by the object's.
    pub(crate) fn key(&self, site: &str) -> MailboxId {
        self.guid("msExchMailboxGuid")
            .or_else(|| self.object_guid())
            .map_or_else(
                || MailboxId::of_unknown(site, &self.dn),
                MailboxId::from_uuid,
            )
    }

    /// Its mail addresses, primary first.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        let mut found: Vec<(bool, Address)> = self
            .texts("proxyAddresses")
            .filter_map(|raw| {
                let (scheme, address) = raw.split_once(':')?;
                let fits = scheme.eq_ignore_ascii_case("smtp");
                Some((
                    scheme != "SMTP",
                    fits.then(|| address.parse().ok()).flatten()?,
                ))
            })
            .collect();
        found.sort_by_key(|(secondary, _)| *secondary);
        let mut all: Vec<Address> = Vec::new();
        for (_, address) in found {
            if !all.contains(&address) {
                all.push(address);
            }
        }
        all
    }

    /// Its user principal name, where that can be an address.
    pub(crate) fn upn(&self) -> Option<Address> {
        self.text("userPrincipalName")?.parse().ok()
    }

    /// Its `mail`, where that is an address.
    pub(crate) fn mail(&self) -> Option<Address> {
        self.text("mail")?.parse().ok()
    }

    /// The address that Exchange works with: the primary one.
    pub(crate) fn primary(&self) -> Option<Address> {
        self.addresses()
            .into_iter()
            .next()
            .or_else(|| self.mail())
            .or_else(|| self.upn())
    }

    /// It as a recipient of a listing.
    pub(crate) fn listed(&self, site: &str, disabled: DisabledAccounts) -> Listed {
        let name = self
            .primary()
            .map(|address| address.to_string())
            .or_else(|| self.text("displayName").map(str::to_owned))
            .unwrap_or_else(|| self.dn.clone());
        Listed {
            id: self.key(site),
            name,
            what: self.mailbox(site, disabled),
            lines: Vec::new(),
        }
    }

    fn mailbox(&self, site: &str, disabled: DisabledAccounts) -> Result<Mailbox, Reason> {
        let kind = match self.kind() {
            _ if self.is_group() => return Err(Reason::NotAMailbox),
            Kind::Here(kind) => kind,
            Kind::Linked => MailboxType::User,
            Kind::Online(_) => return Err(Reason::OtherSite),
            Kind::Other => return Err(Reason::NotAMailbox),
        };
        // Accounts of shared mailboxes, rooms and equipment are disabled by design.
        if self.kind() == Kind::Here(MailboxType::User)
            && self.is_disabled()
            && disabled == DisabledAccounts::Refuse
        {
            return Err(Reason::AccountDisabled);
        }
        let address = self.primary().ok_or(Reason::NotAMailbox)?;
        let mut aliases = self.addresses();
        for name in [self.mail(), self.upn()].into_iter().flatten() {
            if !aliases.contains(&name) {
                aliases.push(name);
            }
        }
        aliases.retain(|alias| *alias != address);
        Ok(Mailbox {
            id: self.key(site),
            address,
            aliases,
            kind: Some(kind),
            licensed: None,
        })
    }
}

#[cfg(test)]
#[path = "recipient_tests.rs"]
pub(crate) mod tests;
