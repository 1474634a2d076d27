//! A generated school with both sides: each mailbox lies on one of them, and both see the same lists.

mod premises;
mod rig;

use calgrant_simulator::{SchoolOptions, TRUSTEE};
use premises::{Login, by_address, everybody, strangers};
use rig::{Rig, mailbox};
use serde_json::{Value, json};

const GRANTOR: Login = ("UNI\\sa-onprem-1", "sa-onprem-1-secret");
const MEMBER: Login = ("sa-member@uni.example", "sa-member-secret");

async fn school() -> Rig {
    Rig::new(&SchoolOptions {
        mailboxes: 40,
        grantors: 2,
        read_lag_max_secs: 0,
        on_premises_share: 0.5,
        ..SchoolOptions::default()
    })
    .await
}

fn act_as(address: &str) -> String {
    format!(
        "<t:ExchangeImpersonation><t:ConnectingSID><t:SmtpAddress>{address}</t:SmtpAddress></t:ConnectingSID></t:ExchangeImpersonation>"
    )
}

const OWN: &str = "<t:DistinguishedFolderId Id=\"calendar\"/>";

#[tokio::test]
async fn every_mailbox_is_found_on_one_side_only() {
    let rig = school().await;
    let token = rig.grantor().await;
    let mut online = 0;
    let mut on_premises = 0;
    for number in 0..40 {
        let address = mailbox(number);
        let ask = json!({"Identity": address, "FolderScope": "Calendar"});
        let there = rig
            .invoke(&token, "Get-MailboxFolderStatistics", ask)
            .await
            .status()
            == 200;
        let body = premises::get_folder(&[OWN]);
        let answer = rig.ews_with(GRANTOR, &act_as(&address), &body).await;
        let here = answer.codes() == ["NoError"];
        assert!(!(there && here), "{address}");
        online += u32::from(there);
        on_premises += u32::from(here);
    }
    assert!(
        online > 10 && on_premises > 10,
        "{online} online, {on_premises} on premises"
    );
}

#[tokio::test]
async fn the_member_works_in_what_was_granted_over_ews() {
    let rig = school().await;
    let address = (0..40).map(mailbox);
    let mut found = None;
    for address in address {
        let body = premises::get_folder(&[OWN]);
        let read = rig.ews_with(GRANTOR, &act_as(&address), &body).await;
        // one that can be written without losing anybody
        if read.codes() == ["NoError"] && read.all("t:CalendarPermissionLevel").len() == 2 {
            found = Some((address, read.folder_id()));
            break;
        }
    }
    let (address, id) = found.unwrap();
    let list = everybody("FreeBusyTimeOnly") + &strangers("None") + &by_address(TRUSTEE, "Author");
    let body = premises::update_folder(&[(&id, &list)]);
    let answer = rig.ews_with(GRANTOR, &act_as(&address), &body).await;
    assert_eq!(answer.codes(), ["NoError"], "{}", answer.text);
    let seen = rig.calendar(MEMBER, &address).await;
    assert!(
        seen.text
            .contains("<t:CreateContents>true</t:CreateContents>"),
        "{}",
        seen.text
    );
    let report: Value = rig.get("/_simulator/report").await;
    assert_eq!(report["managed_entries_changed"], 1);
    assert_eq!(report["writes_by_app"]["sa-onprem-1@uni.example"], 1);
}
