//! Rows of cmdlets as the port shows them. Pure.

use std::time::Duration;

use calgrant_domain::{
    Address, GroupFound, GroupKind, GroupMemberFound, MailboxId, ThrottlingPolicy, UserFound,
};
use uuid::Uuid;

use crate::powershell::clixml::Value;

/// Things without a GUID are keyed by their names, as things of this kind of site.
const SITE: &str = "onprem";

fn said<'a>(row: &'a Value, name: &str) -> Option<&'a str> {
    row.member_text(name)
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

fn is(row: &Value, name: &str) -> bool {
    said(row, name).is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// Whether a member is one word, or has it among its words.
fn has(row: &Value, name: &str, word: &str) -> bool {
    let texts = row.member(name).map(Value::texts).unwrap_or_default();
    let mut words = texts.iter().flat_map(|text| text.split(','));
    words.any(|one| one.trim().eq_ignore_ascii_case(word))
}

fn id(row: &Value, name: &str) -> MailboxId {
    said(row, "Guid")
        .and_then(|guid| Uuid::try_parse(guid).ok())
        .map_or_else(|| MailboxId::of_unknown(SITE, name), MailboxId::from_uuid)
}

/// The domain controller that the first row that tells it came from.
pub(super) fn controller(rows: &[Value]) -> Option<String> {
    rows.iter()
        .find_map(|row| said(row, "OriginatingServer"))
        .map(str::to_owned)
}

/// What something is called.
pub(super) fn name(row: &Value) -> Option<String> {
    said(row, "Name").map(str::to_owned)
}

/// The throttling policy of an account that has one of its own.
pub(super) fn policy_of(row: &Value) -> Option<String> {
    said(row, "ThrottlingPolicyId").map(str::to_owned)
}

/// The policy that counts, of one that was named, or of those that others have by default: the organisation's, else everybody's.
pub(super) fn policy(rows: &[Value]) -> Option<ThrottlingPolicy> {
    let scope = |wanted: &str| {
        let mut rows = rows.iter();
        rows.find(|row| has(row, "ThrottlingPolicyScope", wanted))
    };
    let row = match rows {
        [one] => Some(one),
        _ => scope("Organization").or_else(|| scope("Global")),
    }?;
    let amount = |name: &str| said(row, name).and_then(|text| text.parse::<u64>().ok());
    let millis = |name: &str| amount(name).map(Duration::from_millis);
    Some(ThrottlingPolicy {
        name: name(row).unwrap_or_default(),
        ews_connections: amount("EwsMaxConcurrency"),
        ews_burst: millis("EwsMaxBurst"),
        ews_recharge_per_hour: millis("EwsRechargeRate"),
        powershell_sessions: amount("PowerShellMaxConcurrency"),
    })
}

/// A mailbox's user; `None` if the row has no user principal name, or no GUID to change it by.
pub(super) fn user(row: &Value) -> Option<UserFound> {
    let name = said(row, "UserPrincipalName")?;
    Some(UserFound {
        id: MailboxId::from_uuid(Uuid::try_parse(said(row, "Guid")?).ok()?),
        user_name: name.parse().ok()?,
        display_name: said(row, "DisplayName").unwrap_or_default().to_owned(),
        enabled: !is(row, "AccountDisabled")
            && !has(row, "ExchangeUserAccountControl", "AccountDisabled"),
        usage_location: None,
        // Exchange doesn't show it of mailboxes, as a rule.
        password_never_expires: has(row, "UserAccountControl", "DoNotExpirePassword"),
        synchronised: false,
        mark: said(row, "CustomAttribute15").map(str::to_owned),
        licences: Vec::new(),
    })
}

/// A group that was asked for by this address.
pub(super) fn group(row: &Value, asked: &Address) -> GroupFound {
    let address = said(row, "PrimarySmtpAddress").and_then(|text| text.parse().ok());
    let name = said(row, "Name").or_else(|| said(row, "DisplayName"));
    let owners = row.member("ManagedBy").map(Value::texts);
    GroupFound {
        id: id(row, asked.as_str()),
        address: address.unwrap_or_else(|| asked.clone()),
        name: name.unwrap_or_default().to_owned(),
        kind: kind(row),
        join_closed: has(row, "MemberJoinRestriction", "Closed"),
        depart_closed: has(row, "MemberDepartRestriction", "Closed"),
        hidden: is(row, "HiddenFromAddressListsEnabled"),
        synchronised: false,
        owners: owners
            .unwrap_or_default()
            .into_iter()
            .filter(|owner| !owner.is_empty())
            .map(str::to_owned)
            .collect(),
    }
}

fn kind(row: &Value) -> GroupKind {
    let details = said(row, "RecipientTypeDetails").unwrap_or_default();
    match details.to_ascii_lowercase().as_str() {
        "mailuniversalsecuritygroup" => GroupKind::MailEnabledSecurity,
        "dynamicdistributiongroup" => GroupKind::Dynamic,
        "" if has(row, "GroupType", "SecurityEnabled") => GroupKind::MailEnabledSecurity,
        // One that isn't universal can't hold rights on folders, though it may elsewhere.
        _ => GroupKind::Distribution,
    }
}

/// A member.
pub(super) fn member(row: &Value) -> GroupMemberFound {
    let address = said(row, "PrimarySmtpAddress");
    let name = address.or_else(|| said(row, "Name")).unwrap_or_default();
    GroupMemberFound {
        id: id(row, name),
        address: address.and_then(|address| address.parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "6f1c2d3e-0000-4000-8000-000000000001";

    fn row(members: &str) -> Value {
        let xml = format!("<Obj RefId=\"0\"><ToString>x</ToString><Props>{members}</Props></Obj>");
        Value::parse(xml.as_bytes()).unwrap()
    }

    #[test]
    fn a_user_as_a_mailbox_shows_it() {
        let shown = user(&row(&format!(
            "<G N=\"Guid\">{ID}</G><S N=\"UserPrincipalName\">svc@uni.example</S><S N=\"DisplayName\">Calendar 01</S>\
             <B N=\"AccountDisabled\">false</B><S N=\"CustomAttribute15\">m-1</S><S N=\"OriginatingServer\">dc1.uni.example</S>"
        )))
        .unwrap();
        assert_eq!(shown.id.as_uuid().to_string(), ID);
        assert_eq!(shown.user_name.as_str(), "svc@uni.example");
        assert!(shown.enabled && !shown.password_never_expires);
        assert_eq!(shown.mark.as_deref(), Some("m-1"));
        for disabled in [
            "<B N=\"AccountDisabled\">true</B>",
            "<Obj N=\"ExchangeUserAccountControl\" RefId=\"1\"><ToString>AccountDisabled, NormalAccount</ToString><I32>514</I32></Obj>",
        ] {
            let shown = user(&row(&format!(
                "<G N=\"Guid\">{ID}</G><S N=\"UserPrincipalName\">svc@uni.example</S><S N=\"CustomAttribute15\"></S>{disabled}"
            )))
            .unwrap();
            assert!(!shown.enabled, "{disabled}");
            assert_eq!(shown.mark, None);
        }
        assert_eq!(
            user(&row("<S N=\"UserPrincipalName\">svc@uni.example</S>")),
            None
        );
        assert_eq!(user(&row(&format!("<G N=\"Guid\">{ID}</G>"))), None);
    }

    #[test]
    fn the_controller_is_the_one_that_a_row_came_from() {
        let silent = row("<S N=\"Name\">x</S><S N=\"OriginatingServer\"></S>");
        let telling = row("<S N=\"OriginatingServer\">dc1.uni.example</S>");
        assert_eq!(controller(std::slice::from_ref(&silent)), None);
        assert_eq!(
            controller(&[silent, telling]).as_deref(),
            Some("dc1.uni.example")
        );
    }

    #[test]
    fn a_group_as_it_is_shown() {
        let asked: Address = "cal@uni.example".parse().unwrap();
        let shown = group(
            &row(&format!(
                "<G N=\"Guid\">{ID}</G><S N=\"Name\">Calendar access</S>\
                 <Obj N=\"RecipientTypeDetails\" RefId=\"1\"><ToString>MailUniversalSecurityGroup</ToString><I64>1</I64></Obj>\
                 <Obj N=\"MemberJoinRestriction\" RefId=\"2\"><ToString>Closed</ToString><I32>1</I32></Obj>\
                 <S N=\"MemberDepartRestriction\">Open</S><B N=\"HiddenFromAddressListsEnabled\">true</B>\
                 <Obj N=\"ManagedBy\" RefId=\"3\"><LST><S>uni.example/Users/Admin</S></LST></Obj>"
            )),
            &asked,
        );
        assert_eq!(
            shown,
            GroupFound {
                id: MailboxId::from_uuid(ID.parse().unwrap()),
                address: asked.clone(),
                name: "Calendar access".into(),
                kind: GroupKind::MailEnabledSecurity,
                join_closed: true,
                depart_closed: false,
                hidden: true,
                synchronised: false,
                owners: vec!["uni.example/Users/Admin".into()],
            }
        );
        for (members, want) in [
            (
                "<S N=\"RecipientTypeDetails\">MailUniversalDistributionGroup</S>",
                GroupKind::Distribution,
            ),
            (
                "<S N=\"RecipientTypeDetails\">MailNonUniversalGroup</S><S N=\"GroupType\">Global, SecurityEnabled</S>",
                GroupKind::Distribution,
            ),
            (
                "<S N=\"GroupType\">Universal, SecurityEnabled</S>",
                GroupKind::MailEnabledSecurity,
            ),
        ] {
            assert_eq!(group(&row(members), &asked).kind, want, "{members}");
        }
    }

    #[test]
    fn a_member_has_an_id_and_most_have_an_address() {
        let shown = member(&row(&format!(
            "<G N=\"Guid\">{ID}</G><S N=\"PrimarySmtpAddress\">SVC@uni.example</S>"
        )));
        assert_eq!(shown.id.as_uuid().to_string(), ID);
        assert_eq!(shown.address, "svc@uni.example".parse().ok());
        let contact = member(&row("<S N=\"Name\">Pat</S>"));
        assert_eq!(contact.id, MailboxId::of_unknown(SITE, "Pat"));
        assert_eq!(contact.address, None);
    }
}
