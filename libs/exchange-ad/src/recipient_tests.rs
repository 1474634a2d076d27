use super::*;

/// An entry of text attributes: `name=value`, several of one name where need be.
pub(crate) fn entry(attributes: &[(&str, &str)]) -> Entry {
    let attributes = attributes
        .iter()
        .map(|(name, value)| ((*name).to_owned(), vec![value.as_bytes().to_vec()]));
    Entry::with("CN=x,DC=uni,DC=example".to_owned(), attributes)
}

fn what(attributes: &[(&str, &str)], disabled: DisabledAccounts) -> Result<Mailbox, Reason> {
    entry(attributes).listed("site", disabled).what
}

#[test]
fn types_and_sites() {
    use MailboxType::{Equipment, Room, Shared, User};
    for (details, want) in [
        (1, Kind::Here(User)),
        (2, Kind::Linked),
        (4, Kind::Here(Shared)),
        (16, Kind::Here(Room)),
        (32, Kind::Here(Equipment)),
        (2_147_483_648, Kind::Online(User)),
        (8_589_934_592, Kind::Online(Room)),
        (17_179_869_184, Kind::Online(Equipment)),
        (34_359_738_368, Kind::Online(Shared)),
        // Contacts, mail users, groups, arbitration, discovery and monitoring mailboxes.
        (64, Kind::Other),
        (128, Kind::Other),
        (1024, Kind::Other),
        (8_388_608, Kind::Other),
        (536_870_912, Kind::Other),
        (549_755_813_888, Kind::Other),
        (-2_147_483_648, Kind::Other),
    ] {
        assert_eq!(kind(Some(details)), want, "{details}");
    }
    assert_eq!(kind(None), Kind::Other);
}

#[test]
fn a_mailbox_and_its_names() {
    let ada = what(
        &[
            ("msExchRecipientTypeDetails", "1"),
            ("userPrincipalName", "Ada@uni.example"),
            ("mail", "ada.l@uni.example"),
            ("proxyAddresses", "smtp:al@uni.example"),
            ("proxyAddresses", "SMTP:Ada.L@uni.example"),
            ("proxyAddresses", "X500:/o=x"),
            ("proxyAddresses", "smtp:not an address"),
        ],
        DisabledAccounts::Refuse,
    )
    .unwrap();
    assert_eq!(ada.address.as_str(), "ada.l@uni.example");
    let aliases: Vec<_> = ada.aliases.iter().map(Address::as_str).collect();
    assert_eq!(aliases, ["al@uni.example", "ada@uni.example"]);
    assert_eq!(ada.kind, Some(MailboxType::User));
}

#[test]
fn who_does_not_suit() {
    use DisabledAccounts::{Include, Refuse};
    let person = |details: &str, bits: &str, choice| {
        what(
            &[
                ("msExchRecipientTypeDetails", details),
                ("userAccountControl", bits),
                ("mail", "a@uni.example"),
            ],
            choice,
        )
        .map(|mailbox| mailbox.kind)
    };
    for (details, bits, choice, want) in [
        ("1", "512", Refuse, Ok(Some(MailboxType::User))),
        ("1", "514", Refuse, Err(Reason::AccountDisabled)),
        ("1", "514", Include, Ok(Some(MailboxType::User))),
        ("2", "514", Refuse, Ok(Some(MailboxType::User))),
        ("4", "514", Refuse, Ok(Some(MailboxType::Shared))),
        ("16", "514", Refuse, Ok(Some(MailboxType::Room))),
        ("2147483648", "512", Refuse, Err(Reason::OtherSite)),
        ("64", "", Refuse, Err(Reason::NotAMailbox)),
        ("", "512", Refuse, Err(Reason::NotAMailbox)),
    ] {
        assert_eq!(person(details, bits, choice), want, "{details} {bits}");
    }
    let nameless = what(&[("msExchRecipientTypeDetails", "1")], Refuse);
    assert_eq!(nameless, Err(Reason::NotAMailbox));
}

#[test]
fn keys() {
    let (object, mailbox) = ([1; 16], [2; 16]);
    let key = |attributes: &[(&str, [u8; 16])]| {
        let attributes = attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), vec![value.to_vec()]));
        Entry::with("CN=x".to_owned(), attributes).key("site")
    };
    let of = |bytes| MailboxId::from_uuid(Uuid::from_bytes_le(bytes));
    let both = key(&[("objectGUID", object), ("msExchMailboxGuid", mailbox)]);
    assert_eq!(both, of(mailbox));
    let zeros = key(&[("objectGUID", object), ("msExchMailboxGuid", [0; 16])]);
    assert_eq!(zeros, of(object));
    assert_eq!(key(&[]), MailboxId::of_unknown("site", "cn=x"));
}
