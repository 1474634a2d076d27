//! Secrets stay where they belong: a whole run, set-up included, emits none of those it used: not in logs, not in the database, not in
//! messages, not on command lines.

use calgrant_simulator::{EVERYONE, SchoolOptions, TRUSTEE};
use lapin::{Connection, ConnectionProperties, options::BasicGetOptions};

use crate::set::{LICENSED, SECRETS_KEY, Set, said, wanted};

/// Every row of every table, as text.
async fn database(set: &Set) -> String {
    let client = set.database.client().await;
    let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    let mut all = String::new();
    for table in client.query(tables, &[]).await.unwrap() {
        let table: String = table.get(0);
        let rows = format!("SELECT row_to_json(one)::text FROM {table} AS one");
        for row in client.query(&rows, &[]).await.unwrap() {
            all.push_str(&row.get::<_, String>(0));
            all.push('\n');
        }
    }
    all
}

/// What waits in a queue. It is taken out.
async fn messages(set: &Set, queue: &str) -> String {
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(set.vhost.url(), properties)
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut all = String::new();
    let options = BasicGetOptions { no_ack: true };
    while let Some(message) = channel.basic_get(queue.into(), options).await.unwrap() {
        let (body, headers) = (&message.data, message.properties.headers());
        all.push_str(&format!("{} {headers:?}\n", String::from_utf8_lossy(body)));
    }
    connection.close(200, "read".into()).await.unwrap();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_run_emits_none_of_the_secrets_it_used() {
    let school = SchoolOptions {
        mailboxes: 20,
        grantors: 2,
        provision_delay_secs: 1,
        read_lag_max_secs: 1,
        unprepared: true,
        ..SchoolOptions::default()
    };
    let mut set = Set::start_logging(&school, "debug").await;
    let passwords = set.folder("passwords");
    let folder = format!("{LICENSED}\npassword_folder = {passwords:?}");
    let wanted = set.tenant_with_setup() + &wanted(&folder);
    let file = set.write("set-up.toml", &wanted);
    let mut printed = String::new();
    let mut run = |arguments: &[&str]| {
        let output = set.command::<0>([]).args(arguments).output().unwrap();
        printed.push_str(&String::from_utf8_lossy(&output.stdout));
        printed.push_str(&said(&output));
        output.status.code()
    };
    assert_eq!(run(&["apply", "-f", &file]), Some(0));
    assert_eq!(run(&["setup", "run", "--tenant", "uni", "--wait"]), Some(0));
    assert_eq!(run(&["check", "--tenant", "uni"]), Some(0));
    let delegate = [
        "delegate",
        "--tenant",
        "uni",
        "--group",
        EVERYONE,
        "--trustee",
        TRUSTEE,
    ];
    let ended = run(&[&delegate[..], &["--wait"]].concat());
    assert!([Some(0), Some(3)].contains(&ended), "{ended:?}");
    // Once more, with nobody to take the jobs.
    set.stop("worker").await;
    let id = set.submit(["--group", EVERYONE]);
    set.until(&id, |operation| {
        let counts = operation.counts.clone().unwrap_or_default();
        counts.outstanding > 0
    })
    .await;
    let mut jobs = String::new();
    calgrant_testkit::eventually("jobs are published", async || {
        jobs = messages(&set, "jobs.uni.bulk").await;
        !jobs.is_empty()
    })
    .await;

    let mut secrets = vec![
        SECRETS_KEY.to_owned(),
        "reader-secret".to_owned(),
        "grantor-secret-2".to_owned(),
        "setup-secret".to_owned(),
    ];
    for file in std::fs::read_dir(&passwords).unwrap() {
        secrets.push(std::fs::read_to_string(file.unwrap().path()).unwrap());
    }
    assert_eq!(secrets.len(), 6, "each account's password is handed over");
    let emitted = [
        ("a log or a command line", set.emitted()),
        ("what commands printed", printed),
        ("the database", database(&set).await),
        ("a message", jobs),
    ];
    for (place, text) in &emitted {
        assert!(!text.is_empty(), "{place}: nothing to look through");
        for secret in &secrets {
            assert!(!text.contains(secret.trim()), "{place} holds a secret");
        }
    }
}
