//! What the simulator knows to be true, against what Calgrant says.

use std::collections::BTreeMap;

use calgrant_contract::pb::{provisioning::v1::Outcome, status::v1::OperationMailbox};
use calgrant_simulator::TRUSTEE;
use serde_json::Value;

use crate::School;

/// Rights that hold all that `Author` does, and more.
const HIGHER: [&str; 4] = ["Owner", "PublishingEditor", "Editor", "PublishingAuthor"];

impl School {
    /// Holds the mailboxes of a finished run for `Author` against the simulator's own state: `selected` is a query such
    /// as `group=staff@uni.example`. Nothing of others may have changed.
    ///
    /// # Panics
    /// Calgrant says or did something else than is true.
    pub async fn assert_true(&self, mailboxes: Vec<OperationMailbox>, selected: &str) {
        let jobs: BTreeMap<_, _> = mailboxes
            .into_iter()
            .map(|job| (job.mailbox_id.trim_start_matches("mbx_").to_owned(), job))
            .collect();
        for member in self.members(selected).await {
            // Exchange Online keys mailboxes by the user, servers on premises by the mailbox where there is one.
            let keys = ["object_id", "mailbox_guid"];
            let its: Vec<_> = keys
                .iter()
                .filter_map(|key| jobs.get(&member[key].as_str()?.replace('-', "")))
                .collect();
            match its[..] {
                [job] => assert_outcome(&member, job),
                [] => panic!("no job for {member}"),
                _ => panic!("worked on at both sites: {member} {its:?}"),
            }
        }
        self.assert_nothing_foreign().await;
    }

    /// Holds the mailboxes of an operation that took away, put back or verified against the simulator's own state.
    /// Nothing of others may have changed.
    ///
    /// # Panics
    /// Calgrant says or did something else than is true.
    pub async fn assert_true_back(&self, mailboxes: Vec<OperationMailbox>, selected: &str) {
        let mut members: BTreeMap<_, _> = self
            .members(selected)
            .await
            .into_iter()
            .map(|member| {
                let key = member["object_id"].as_str().unwrap_or_default();
                (key.replace('-', ""), member)
            })
            .collect();
        for job in mailboxes {
            let key = job.mailbox_id.trim_start_matches("mbx_");
            let member = members
                .remove(key)
                .unwrap_or_else(|| panic!("no member for {job:?}"));
            assert_back(&member, &job);
        }
        self.assert_nothing_foreign().await;
    }

    /// No limit was broken.
    ///
    /// # Panics
    /// One was.
    pub async fn assert_within_limits(&self) {
        let report = self.get("report").await;
        assert_eq!(
            report["limit_violations"], 0,
            "{}",
            report["violations_by_app"]
        );
    }

    /// Nothing of others changed.
    ///
    /// # Panics
    /// Something did.
    pub async fn assert_nothing_foreign(&self) {
        let report = self.get("report").await;
        assert_eq!(
            report["foreign_entries_changed"], 0,
            "see /_simulator/changes?foreign=true"
        );
    }

    /// What the simulator knows of every member of a selection.
    ///
    /// # Panics
    /// The query is refused.
    pub async fn members(&self, selected: &str) -> Vec<Value> {
        let mut members = Vec::new();
        let mut offset = Some(0);
        while let Some(from) = offset {
            let page = self
                .get(&format!(
                    "expectation?{selected}&trustee={TRUSTEE}&offset={from}"
                ))
                .await;
            members.extend(page["members"].as_array().cloned().unwrap_or_default());
            offset = page["next_offset"].as_u64();
        }
        members
    }
}

/// Whether what is said of a mailbox that held `before` at the start, and holds `now`, is true.
fn assert_back(member: &Value, job: &OperationMailbox) {
    assert_eq!(member["others_unchanged"], true, "{member}");
    let (before, now) = (rights(&member["before"]), rights(&member["now"]));
    let true_now = match job.outcome() {
        Outcome::Removed => now.is_none(),
        Outcome::Restored => now == before,
        Outcome::KeptBy | Outcome::Repaired | Outcome::Verified => now.is_some(),
        // Somebody else's doing.
        Outcome::LeftChangedSince | Outcome::Drifted => true,
        Outcome::Unchanged => now.is_none() || now == before,
        _ => !job.reason.is_empty(),
    };
    assert!(true_now, "{member} {job:?}");
}

fn rights(entry: &Value) -> Option<String> {
    entry["rights"][0].as_str().map(str::to_owned)
}

/// The only true outcome for a mailbox that held `before` and holds `now`.
fn assert_outcome(member: &Value, job: &OperationMailbox) {
    if member["state"] != "mailbox" || member["calendar"].is_null() {
        let bad = [Outcome::Refused, Outcome::Failed];
        assert!(bad.contains(&job.outcome()), "{member} {job:?}");
        assert_ne!(job.reason, "", "{member} {job:?}");
        return;
    }
    assert_eq!(member["others_unchanged"], true, "{member}");
    let (before, now) = (rights(&member["before"]), rights(&member["now"]));
    let wanted = match before.as_deref() {
        None => Outcome::Added,
        Some("Author") => Outcome::Unchanged,
        Some(role) if HIGHER.contains(&role) => Outcome::LeftHigher,
        Some(_) => Outcome::Updated,
    };
    assert_eq!(job.outcome(), wanted, "{member} {job:?}");
    if wanted == Outcome::LeftHigher {
        assert_eq!(now, before, "{member}");
    } else {
        assert_eq!(now.as_deref(), Some("Author"), "{member}");
    }
}
