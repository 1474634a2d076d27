//! Whatever comes, it is read or refused: no panic, no hang, and no more memory than in proportion to its length.

use calgrant_domain::permission_list::{
    Entry, Extent, Flags, Identity, Level, PermissionList, ReadExtent, Sid,
};
use proptest::prelude::*;

use super::{
    classify::{Asked, classify},
    request,
    response::{Expected, Operation, list, read},
};
use crate::xml::{Element, escaped};

/// Inputs to a test: few, so that it is quick, unless the environment says how many.
pub(crate) fn cases() -> ProptestConfig {
    let asked = std::env::var("CALGRANT_FUZZ_CASES").ok();
    ProptestConfig {
        cases: asked.and_then(|cases| cases.parse().ok()).unwrap_or(256),
        max_shrink_iters: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

const ANSWER: &str = r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><m:GetFolderResponse xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"><m:ResponseMessages><m:GetFolderResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:Folders><t:CalendarFolder><t:FolderId Id="AAMk" ChangeKey="AgAA"/><t:PermissionSet><t:CalendarPermissions><t:CalendarPermission><t:UserId><t:SID>S-1-5-21-1-2-3-4</t:SID></t:UserId><t:CanCreateItems>true</t:CanCreateItems><t:CanCreateSubFolders>false</t:CanCreateSubFolders><t:IsFolderOwner>false</t:IsFolderOwner><t:IsFolderVisible>true</t:IsFolderVisible><t:IsFolderContact>false</t:IsFolderContact><t:EditItems>Owned</t:EditItems><t:DeleteItems>Owned</t:DeleteItems><t:ReadItems>FullDetails</t:ReadItems><t:CalendarPermissionLevel>Author</t:CalendarPermissionLevel></t:CalendarPermission></t:CalendarPermissions></t:PermissionSet></t:CalendarFolder></m:Folders></m:GetFolderResponseMessage></m:ResponseMessages></m:GetFolderResponse></s:Body></s:Envelope>"#;

/// Bytes: any, pieces of XML in any order, or a good text with pieces cut out, doubled and overwritten.
pub(crate) fn hostile(good: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&str] = &[
        "<",
        ">",
        "/>",
        "</",
        "<a>",
        "</a>",
        "<a",
        " b='",
        "'",
        "\"",
        "&",
        "&amp;",
        "&#x41;",
        "&#xFFFFFFFF;",
        "&#0;",
        "&x;",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
        "<?xml version='1.0'?>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]>",
        "xmlns:a='u'",
        "xmlns='u'",
        "\0",
        "\u{FEFF}",
        "é",
        "_x000A_",
        "<Obj RefId='0'>",
        "</Obj>",
        "<MS>",
        "</MS>",
        "<S N='x'>",
        "</S>",
        "<Ref RefId='0'/>",
        "<I32>",
        "99999999999999999999",
        "</I32>",
        "<LST>",
        "</LST>",
    ];
    let edits = proptest::collection::vec(
        (
            any::<proptest::sample::Index>(),
            any::<proptest::sample::Index>(),
            0u8..4,
            any::<u8>(),
        ),
        0..6,
    );
    prop_oneof![
        2 => proptest::collection::vec(any::<u8>(), 0..256),
        3 => proptest::collection::vec(proptest::sample::select(PIECES), 0..48).prop_map(|pieces| pieces.concat().into_bytes()),
        5 => (proptest::sample::select(good), edits).prop_map(|(good, edits)| {
            let mut bytes = good.as_bytes().to_vec();
            for (from, to, what, byte) in edits {
                if bytes.is_empty() {
                    break;
                }
                let (a, b) = (from.index(bytes.len()), to.index(bytes.len()));
                let range = a.min(b)..a.max(b);
                match what {
                    0 => bytes[a] = byte,
                    1 => drop(bytes.drain(range)),
                    2 => bytes.insert(a, byte),
                    _ => {
                        let piece = bytes[range].to_vec();
                        if bytes.len() < 16 << 10 {
                            bytes.splice(b..b, piece);
                        }
                    }
                }
            }
            bytes
        }),
    ]
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn answers(bytes in hostile(&[ANSWER]), count in 0usize..3) {
        for operation in [Operation::GetFolder, Operation::UpdateFolder] {
            match read(&bytes, Expected::folders(operation, count)) {
                Ok(items) => {
                    prop_assert_eq!(items.len(), count);
                    for fault in items.iter().filter_map(|item| item.as_ref().err()) {
                        let error = classify(fault, Asked::Folder, true, "id");
                        prop_assert!(!error.detail.server_code.is_empty());
                    }
                }
                Err(fault) => {
                    let error = classify(&fault, Asked::Several, false, "id");
                    prop_assert!(!error.detail.server_code.is_empty());
                    prop_assert!(error.detail.server_text.chars().count() <= 301);
                }
            }
        }
    }

    /// Read, changed, written, stored and read again: everybody else's entry is the same.
    #[test]
    fn lists_survive(before in arb_list()) {
        let set = Element::parse(served(&before).as_bytes()).expect("well-formed");
        let read_back = list(&set).expect("readable");
        prop_assert_eq!(&read_back, &before);
        let trustee = "group@uni.example".parse().expect("an address");
        let change = calgrant_domain::Change::Give(calgrant_domain::AccessRole::AUTHOR.rights());
        if let Ok(rebuilt) = before.changed(&trustee, change) {
            let written = request::permission_set(&rebuilt.entries);
            let wrapped = format!("<x xmlns:t=\"{TYPES}\">{written}</x>");
            let written = Element::parse(wrapped.as_bytes()).expect("well-formed");
            let after = stored(&before, &written.children[0]);
            prop_assert_eq!(before.lost_in(&after, &trustee), Vec::<&Identity>::new());
            prop_assert!(after.holds(&trustee, change));
        }
    }
}

const TYPES: &str = "http://schemas.microsoft.com/exchange/services/2006/types";

fn arb_list() -> impl Strategy<Value = PermissionList> {
    let name = "[ -~éß<&\\]]{0,12}".prop_map(|name: String| name.trim().to_owned());
    let extent = || proptest::sample::select(Extent::ALL);
    let named: Vec<Flags> = Level::all().filter_map(Level::flags).collect();
    let custom = (
        any::<[bool; 5]>(),
        extent(),
        extent(),
        proptest::sample::select(ReadExtent::ALL),
    )
        .prop_map(
            |([create_items, create_subfolders, owner, visible, contact], edit, delete, read)| {
                Flags {
                    create_items,
                    create_subfolders,
                    owner,
                    visible,
                    contact,
                    edit,
                    delete,
                    read,
                }
            },
        );
    let identity = (0u8..9, any::<bool>(), name).prop_map(|(n, by_sid, name)| match n {
        0 => Identity::Default,
        1 => Identity::Anonymous,
        2 => Identity::External {
            identity: format!("x&{name}{n}"),
            address: by_sid.then(|| "x@else.example".to_owned()),
            name,
        },
        3 => Identity::Principal {
            sid: None,
            address: Some("Group@uni.example".into()),
            name,
        },
        n => Identity::Principal {
            sid: by_sid.then(|| format!("S-1-5-21-9-{n}").parse().expect("an identifier")),
            address: (!by_sid || n > 6).then(|| format!("P{n}@uni.example")),
            name,
        },
    });
    let entry = (
        identity,
        prop_oneof![proptest::sample::select(named), custom],
    )
        .prop_map(|(identity, flags)| Entry { identity, flags });
    (
        proptest::collection::vec(entry, 0..7),
        prop_oneof![4 => Just(Vec::new()), 1 => Just(vec!["NT:S-1-5-21-9".to_owned()])],
    )
        .prop_map(|(entries, unknown)| PermissionList { entries, unknown })
}

/// As a server writes it: everything it knows of each.
fn served(list: &PermissionList) -> String {
    let optional = |name: &str, text: Option<&str>| {
        text.map_or_else(String::new, |text| {
            format!("<t:{name}>{}</t:{name}>", escaped(text))
        })
    };
    let entries: String = list.entries.iter().map(|Entry { identity, flags }| {
        let user = match identity {
            Identity::Default => optional("DistinguishedUser", Some("Default")),
            Identity::Anonymous => optional("DistinguishedUser", Some("Anonymous")),
            Identity::Unnamed => String::new(),
            Identity::Principal { sid, address, name } => [
                optional("SID", sid.as_ref().map(Sid::as_str)),
                optional("PrimarySmtpAddress", address.as_deref()),
                optional("DisplayName", Some(name)),
            ].concat(),
            Identity::External { identity, address, name } => [
                optional("PrimarySmtpAddress", address.as_deref()),
                optional("DisplayName", Some(name)),
                optional("ExternalUserIdentity", Some(identity)),
            ].concat(),
        };
        format!(
            "<t:CalendarPermission><t:UserId>{user}</t:UserId><t:CanCreateItems>{}</t:CanCreateItems><t:CanCreateSubFolders>{}</t:CanCreateSubFolders><t:IsFolderOwner>{}</t:IsFolderOwner><t:IsFolderVisible>{}</t:IsFolderVisible><t:IsFolderContact>{}</t:IsFolderContact><t:EditItems>{}</t:EditItems><t:DeleteItems>{}</t:DeleteItems><t:ReadItems>{}</t:ReadItems><t:CalendarPermissionLevel>{}</t:CalendarPermissionLevel></t:CalendarPermission>",
            flags.create_items, flags.create_subfolders, flags.owner, flags.visible, flags.contact,
            flags.edit.name(), flags.delete.name(), flags.read.name(), flags.level().name()
        )
    }).collect();
    let unknown: String = list
        .unknown
        .iter()
        .map(|who| format!("<t:UnknownEntry>{who}</t:UnknownEntry>"))
        .collect();
    format!(
        "<t:PermissionSet xmlns:t=\"{TYPES}\"><t:CalendarPermissions>{entries}</t:CalendarPermissions><t:UnknownEntries>{unknown}</t:UnknownEntries></t:PermissionSet>"
    )
}

/// What a server that goes by the documentation makes of a list that is written: it refuses flags beside a name.
fn stored(before: &PermissionList, set: &Element) -> PermissionList {
    use crate::xml::Ns::Types;
    let written = set
        .child(Types, "CalendarPermissions")
        .expect("calendar permissions");
    let entries = written.children.iter().map(|one| {
        let level = Level::from_name(
            one.child_text(Types, "CalendarPermissionLevel")
                .expect("a level"),
        )
        .expect("a known one");
        let flag = |name: &str| one.child_text(Types, name).map(|text| text == "true");
        let extent = |name: &str| one.child_text(Types, name).and_then(Extent::from_name);
        let flags = match level.flags() {
            Some(flags) => {
                assert_eq!(one.children.len(), 2, "flags beside a name");
                flags
            }
            None => Flags {
                create_items: flag("CanCreateItems").expect("a flag"),
                create_subfolders: flag("CanCreateSubFolders").expect("a flag"),
                owner: flag("IsFolderOwner").expect("a flag"),
                visible: flag("IsFolderVisible").expect("a flag"),
                contact: flag("IsFolderContact").expect("a flag"),
                edit: extent("EditItems").expect("an extent"),
                delete: extent("DeleteItems").expect("an extent"),
                read: one
                    .child_text(Types, "ReadItems")
                    .and_then(ReadExtent::from_name)
                    .expect("an extent"),
            },
        };
        let user = one.child(Types, "UserId").expect("a user");
        let text = |name: &str| user.child_text(Types, name);
        let known = before
            .entries
            .iter()
            .map(|one| &one.identity)
            .find(|known| match known {
                Identity::Default => text("DistinguishedUser") == Some("Default"),
                Identity::Anonymous => text("DistinguishedUser") == Some("Anonymous"),
                Identity::Principal { sid: Some(sid), .. } if text("SID").is_some() => {
                    text("SID") == Some(sid.as_str())
                }
                Identity::Principal {
                    address: Some(address),
                    ..
                } => {
                    text("ExternalUserIdentity").is_none()
                        && text("PrimarySmtpAddress") == Some(address)
                }
                Identity::External { identity, .. } => {
                    text("ExternalUserIdentity") == Some(identity.trim())
                }
                _ => false,
            });
        Entry {
            identity: known.cloned().unwrap_or_else(|| Identity::Principal {
                sid: None,
                address: text("PrimarySmtpAddress").map(str::to_owned),
                name: String::new(),
            }),
            flags,
        }
    });
    PermissionList {
        entries: entries.collect(),
        unknown: Vec::new(),
    }
}
