//! Commands that take away, put back and verify: what they print, and how they exit.

use calgrant_simulator::{EVERYONE, SchoolOptions, TRUSTEE};

use crate::set::{Set, rows, said};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_is_verified_taken_away_and_put_back() {
    let set = Set::start(&SchoolOptions {
        mailboxes: 90,
        grantors: 2,
        provision_delay_secs: 1,
        read_lag_max_secs: 1,
        ..SchoolOptions::default()
    })
    .await;
    let run = |line: &str| {
        let arguments = line.split_whitespace();
        set.command::<0>([]).args(arguments).output().unwrap()
    };
    let given = run(&format!(
        "delegate --tenant uni --group {EVERYONE} --trustee {TRUSTEE} --wait --output json"
    ));
    let given = rows(&given)[0].clone();
    let delegation = given["delegation"].as_str().unwrap().to_owned();
    let verified = run(&format!(
        "verify --delegation {delegation} --wait --output json"
    ));
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
    assert_eq!(rows(&verified)[0]["kind"], "verify");

    let id = given["id"].as_str().unwrap();
    let added = rows(&run(&format!(
        "mailboxes --operation {id} --outcome added --output json"
    )));
    let who = added[0]["name"].as_str().unwrap();
    let leaver = format!("revoke --delegation {delegation} --mailbox {who} --wait --output json");
    let gone = run(&leaver);
    assert_eq!(gone.status.code(), Some(0), "{}", said(&gone));
    let gone = &rows(&gone)[0];
    assert_eq!(
        (&gone["outcomes"]["removed"], &gone["lane"]),
        (&1.into(), &"interactive".into())
    );
    assert_eq!(set.school.rights(who, TRUSTEE).await, None);
    let nothing = run(&leaver);
    assert_eq!(nothing.status.code(), Some(3), "{}", said(&nothing));
    let back = run(&format!(
        "undo {} --wait --output json",
        gone["id"].as_str().unwrap()
    ));
    assert_eq!(back.status.code(), Some(0), "{}", said(&back));
    assert_eq!(
        set.school.rights(who, TRUSTEE).await.as_deref(),
        Some("Author")
    );

    let whole = run(&format!(
        "revoke --delegation {delegation} --wait --output json"
    ));
    assert_eq!(whole.status.code(), Some(6), "{}", said(&whole));
    assert!(
        said(&whole).contains("calgrant operations release"),
        "{}",
        said(&whole)
    );
    let whole = rows(&whole)[0].clone();
    assert_eq!(
        (&whole["state"], &whole["hold"]),
        (&"held".into(), &"revokes_many".into())
    );
    let id = whole["id"].as_str().unwrap();
    let released = run(&format!(
        "operations release {id} --ticket CHG-1 --output json"
    ));
    assert_eq!(released.status.code(), Some(0), "{}", said(&released));
    run(&format!("operations watch {id}"));
    assert_eq!(set.school.rights(who, TRUSTEE).await, None);
    let again = run(&format!("operations release {id}"));
    assert_eq!(again.status.code(), Some(2), "{}", said(&again));
    let neither = run("revoke --mailbox ada@uni.example");
    assert_eq!(neither.status.code(), Some(2), "{}", said(&neither));
    set.school.assert_nothing_foreign().await;
}
