//! `kill -9` of the process that sets a site up, after every single step, in both worlds: whoever comes next makes nothing twice.

use calgrant_simulator::{EVERYONE, SchoolOptions};
use calgrant_testkit::eventually_within;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::{
    checking::{check, held},
    set::{LICENSED, LIMIT, Set, rows, said, wanted},
};

/// What a dead process had claimed is free three minutes later, and what it may have begun is begun again after two: these pass here at once.
const TIME_PASSES: [&str; 2] = [
    "UPDATE set_up SET claimed_until = claimed_until - interval '3 minutes', not_before = not_before - interval '3 minutes' WHERE ended_at IS NULL",
    "UPDATE set_up_step SET not_before = not_before - interval '3 minutes', action_at = action_at - interval '3 minutes',
        since = since - interval '3 minutes' WHERE state <> 'done'",
];

fn school(on_premises_share: f64) -> SchoolOptions {
    SchoolOptions {
        mailboxes: 20,
        grantors: 2,
        provision_delay_secs: 1,
        read_lag_max_secs: 1,
        unprepared: true,
        on_premises_share,
        ..SchoolOptions::default()
    }
}

async fn counted(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get("count")
}

async fn setups_done(client: &Client) -> i64 {
    let sql = "SELECT count(*) AS count FROM set_up WHERE state = 'done'";
    counted(client, sql).await
}

async fn steps_done(client: &Client) -> i64 {
    let sql = "SELECT count(*) AS count FROM set_up_step WHERE state = 'done'";
    counted(client, sql).await
}

impl Set {
    /// Sets the site up; the api is killed whenever one step more is done. Answers how often.
    async fn set_up_by_the_dying(&mut self, site: &str) -> i64 {
        // Long enough that each step is seen to end before the next one does.
        self.school.turn(&json!({"latency_ms": 150})).await;
        let run = [
            "setup", "run", "--tenant", "uni", "--site", site, "--output", "json",
        ];
        let begun = self.command(run).output().unwrap();
        assert!(begun.status.success(), "{}", said(&begun));
        let client = self.database.client().await;
        let (mut done, mut kills) = (0, 0);
        loop {
            let mut is_over = false;
            eventually_within(LIMIT, "one step more is done", async || {
                is_over = setups_done(&client).await > 0;
                is_over || steps_done(&client).await > done
            })
            .await;
            if is_over {
                return kills;
            }
            self.kill_and_run("api");
            kills += 1;
            done = steps_done(&client).await;
            for passes in TIME_PASSES {
                client.execute(passes, &[]).await.unwrap();
            }
        }
    }

    /// Everything is there once, by the simulator's own state.
    async fn is_whole(&self, licences: u64) {
        let made = self.school.get("created").await;
        let users = made["users"].as_array().unwrap();
        let names: Vec<_> = users.iter().map(|user| &user["address"]).collect();
        assert_eq!(
            names,
            ["sa-mytt-exch-1@uni.example", "sa-mytt-exch-2@uni.example"]
        );
        assert!(users.iter().all(|user| user["enabled"] == true));
        let groups = made["groups"].as_array().unwrap();
        assert_eq!(groups.len(), 1, "{groups:?}");
        let mut members: Vec<_> = groups[0]["members"].as_array().unwrap().clone();
        members.sort_by_key(Value::to_string);
        assert_eq!(members.iter().collect::<Vec<_>>(), names);
        let report = self.school.get("report").await;
        for (what, wanted) in [
            ("accounts_created", 2),
            ("groups_created", 1),
            ("licences_assigned", licences),
            ("members_added", 2),
            ("members_removed", 0),
            ("deletions_tried", 0),
        ] {
            assert_eq!(report["setup"][what], wanted, "{what}: {report}");
        }
        assert_eq!(report["foreign_entries_changed"], 0);
        assert_eq!(report["writes"], 0, "of permissions");
        let members = format!("group={EVERYONE}");
        assert!(!self.school.members(&members).await.is_empty());
    }

    /// The same once more changes nothing.
    fn set_up_again(&self, site: &str) {
        let run = [
            "setup", "run", "--tenant", "uni", "--site", site, "--wait", "--output", "json",
        ];
        let again = self.command(run).output().unwrap();
        assert_eq!(again.status.code(), Some(0), "{}", said(&again));
        assert_eq!(rows(&again)[0]["state"], "done");
    }
}

async fn survives(mut set: Set, tenant: &str, site: &str, steps: i64, licences: u64) {
    set.apply(tenant);
    let (rights, code) = check(&set, "set-up");
    assert_eq!(code, Some(0), "{rights:?}");
    assert_eq!(held(&rights, "create and change groups"), "yes");
    let kills = set.set_up_by_the_dying(site).await;
    // The last step ends the set-up, which may be heard of first.
    let seen = steps_done(&set.database.client().await).await;
    assert!(seen == steps && kills >= steps - 1, "{kills} of {seen}");
    set.is_whole(licences).await;
    set.set_up_again(site);
    set.is_whole(licences).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn online_after_every_step() {
    let set = Set::start(&school(0.0)).await;
    let wanted = wanted(LICENSED);
    let tenant = format!("{}{wanted}", set.tenant_with_setup());
    survives(set, &tenant, "online", 11, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_premises_after_every_step() {
    let set = Set::start(&school(1.0)).await;
    let wanted = wanted("organizational_unit = \"OU=Service Accounts,DC=uni,DC=example\"");
    let tenant = format!("{}{wanted}", set.onprem_tenant(""));
    survives(set, &tenant, "onprem", 8, 0).await;
}
