//! One request, from the gRPC call to the proven permission.

use calgrant_contract::pb::{
    fleet::v1::WritePath,
    provisioning::v1::{
        Outcome, RunDelegationRequest, UploadMailboxListRequest, run_delegation_request::What,
        selector::By,
    },
    status::v1::{AccessState, BatchGetMailboxAccessRequest},
};
use calgrant_e2e::{House, Setup, TENANT, group, list, run, wish};
use calgrant_simulator::{EVERYONE, TRUSTEE};
use serde_json::json;

/// Calls about mailboxes since the last mark: those of Exchange's cmdlets.
async fn mailbox_calls(house: &House) -> u64 {
    let report = house.school.get("report").await;
    let calls = report["calls"].as_object().cloned().unwrap_or_default();
    let of_mailboxes = calls
        .iter()
        .filter(|(kind, _)| kind.contains("-MailboxFolder"));
    of_mailboxes.filter_map(|(_, calls)| calls.as_u64()).sum()
}

/// Two runs of the same delegation: the second has nothing to do.
async fn twice(house: &House, by: By, selected: &str) {
    let first = house.done(run(wish(by.clone()))).await;
    house.assert_true(&first.id, selected).await;
    house.school.post("mark").await;
    let second = house.done(run(wish(by))).await;
    let counts = House::counts(&second);
    let writes = house.school.get("report").await["writes"].clone();
    assert_eq!(writes, 0, "{counts:?}");
    assert_eq!(
        House::counts(&first).get("left_higher"),
        counts.get("left_higher")
    );
}

async fn a_whole_school(write_path: WritePath) {
    let house = House::start(Setup {
        write_path,
        ..Setup::default()
    })
    .await;
    let by = By::Group(EVERYONE.to_owned());
    twice(&house, by, &format!("group={EVERYONE}")).await;
    if write_path == WritePath::InvokeCommand {
        let report = house.school.get("report").await["since_start"].clone();
        let number = |name: &str| report[name].as_u64().unwrap_or_default();
        let (round_trips, calls) = (number("round_trips"), number("calls_total"));
        assert!(2 * round_trips < calls, "{round_trips} for {calls} calls");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nested_group_by_the_admin_api() {
    a_whole_school(WritePath::AdminApi).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nested_group_by_invoke_command() {
    a_whole_school(WritePath::InvokeCommand).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_write_path_is_found_where_there_is_no_admin_api() {
    let house = House::start(Setup::default()).await;
    house
        .school
        .turn(&json!({"admin_api_available": false}))
        .await;
    let by = By::Group(EVERYONE.to_owned());
    twice(&house, by, &format!("group={EVERYONE}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organisational_unit() {
    let house = House::start(Setup::default()).await;
    let ou = "OU=Students,DC=uni,DC=example";
    let by = By::OrganizationalUnit(ou.to_owned());
    let query = ou.replace(',', "%2C").replace('=', "%3D");
    twice(&house, by, &format!("ou={query}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrative_unit() {
    let house = House::start(Setup::default()).await;
    let by = By::AdministrativeUnit("Faculty of Science".to_owned());
    twice(&house, by, "unit=Faculty%20of%20Science").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mailbox() {
    let house = House::start(Setup::mailboxes(210)).await;
    let all = house.done(run(wish(By::All(true)))).await;
    let listed = house.mailboxes(&all.id).await;
    let known: Vec<_> = listed
        .iter()
        .map(|mailbox| mailbox.mailbox_id.as_str())
        .collect();
    let members = house.members("all=true").await;
    let granted = members.iter().filter(|member| {
        let key = member["object_id"]
            .as_str()
            .unwrap_or_default()
            .replace('-', "");
        known.contains(&format!("mbx_{key}").as_str())
    });
    let (mut users, mut without) = (0, 0);
    for member in granted {
        users += 1;
        without += u64::from(member["now"].is_null());
    }
    assert!(users > 200, "{users} of {}", members.len());
    let counts = House::counts(&all);
    let bad: u64 = ["refused", "failed"]
        .iter()
        .filter_map(|word| counts.get(*word))
        .sum();
    assert_eq!(without, bad, "{counts:?}");
    house.assert_harmless().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uploaded_list_with_two_names_of_one_mailbox() {
    let house = House::start(Setup::mailboxes(20)).await;
    let part = |lines: &[&str]| UploadMailboxListRequest {
        tenant: TENANT.to_owned(),
        lines: lines.iter().map(ToString::to_string).collect(),
    };
    let parts = vec![
        part(&["# the first", "u000001@uni.example", "person.2@uni.example"]),
        part(&[
            "p1@mail.uni.example",
            "nobody@uni.example",
            "U000001@uni.example",
        ]),
    ];
    let stored = house
        .provisioning
        .clone()
        .upload_mailbox_list(tokio_stream::iter(parts))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(stored.names, 4);
    assert_eq!(
        (
            stored.repeated_lines[0].line,
            stored.repeated_lines[0].first_line
        ),
        (6, 2)
    );
    let done = house.done(list(&stored.id)).await;
    let mailboxes = house.mailboxes(&done.id).await;
    let lines: Vec<_> = mailboxes
        .iter()
        .map(|mailbox| mailbox.lines.as_slice())
        .collect();
    assert!(lines.contains(&[2, 4, 6].as_slice()), "{lines:?}");
    assert_eq!(mailboxes.len(), 3, "{mailboxes:?}");
    assert_eq!(
        done.merged_lines, 2,
        "lines 4 and 6 name the mailbox of line 2"
    );
    let missing = mailboxes
        .iter()
        .find(|mailbox| mailbox.lines == [5])
        .unwrap();
    assert_eq!(
        (missing.outcome(), missing.reason.as_str()),
        (Outcome::Refused, "not_found")
    );
    let rights = house.school.rights("u000001@uni.example", TRUSTEE).await;
    assert_eq!(rights.as_deref(), Some("Author"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exclusions_win_and_a_plan_writes_nothing() {
    let house = House::start(Setup::mailboxes(120)).await;
    let mut spec = wish(By::Group(EVERYONE.to_owned()));
    spec.exclude_groups = vec!["no-timetable@uni.example".to_owned()];
    spec.exclude_mailboxes = vec!["person.4@uni.example".to_owned()];
    let plan = house
        .done(RunDelegationRequest {
            validate_only: true,
            ..run(spec.clone())
        })
        .await;
    assert_eq!(house.school.get("report").await["writes"], 0);
    let planned = House::counts(&plan);
    let operation = house.done(run(spec)).await;
    assert_eq!(
        House::counts(&operation),
        planned,
        "it comes as it was planned"
    );
    let left_out: Vec<_> = house
        .members("group=no-timetable@uni.example")
        .await
        .into_iter()
        .chain(
            house
                .members(&format!("group={EVERYONE}"))
                .await
                .into_iter()
                .filter(|member| member["address"] == "person.4@uni.example"),
        )
        .collect();
    assert!(left_out.len() >= 2, "{left_out:?}");
    assert!(
        left_out
            .iter()
            .all(|member| member["before"] == member["now"]),
        "{left_out:?}"
    );
    assert_eq!(operation.excluded, left_out.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_few_and_known_by_any_name_afterwards() {
    let mut setup = Setup {
        write_path: WritePath::InvokeCommand,
        ..Setup::mailboxes(60)
    };
    setup.school.read_lag_max_secs = 0;
    let house = House::start(setup).await;
    house.school.post("mark").await;
    let done = house.done(group("staff@uni.example")).await;
    let counts = House::counts(&done);
    // Four for a changed one (services/worker/tests/round.rs holds that exactly), and one more where a busy machine took
    // so long to begin that the entry is read again before it is written.
    let calls = mailbox_calls(&house).await;
    let changed: u64 = ["added", "updated"]
        .iter()
        .filter_map(|word| counts.get(*word))
        .sum();
    let all: u64 = counts.values().sum();
    assert!(
        calls <= 5 * changed + 2 * (all - changed),
        "{calls} for {counts:?}"
    );
    house.school.post("mark").await;
    house.done(group("staff@uni.example")).await;
    let calls = mailbox_calls(&house).await;
    assert!(
        calls <= all,
        "one each, the folder is known: {calls} for {all}"
    );

    let request = BatchGetMailboxAccessRequest {
        tenant: TENANT.to_owned(),
        names: [
            "P5@mail.uni.example",
            "u000005@uni.example",
            "nobody@uni.example",
        ]
        .map(str::to_owned)
        .to_vec(),
    };
    let known = house
        .status
        .clone()
        .batch_get_mailbox_access(request)
        .await
        .unwrap();
    let known = known.into_inner().access;
    let states: Vec<_> = known
        .iter()
        .map(calgrant_contract::pb::status::v1::MailboxAccess::state)
        .collect();
    assert_eq!(
        states,
        [
            AccessState::Granted,
            AccessState::Granted,
            AccessState::Unknown
        ]
    );
    assert_eq!(known[0].mailbox_id, known[1].mailbox_id);
    assert_eq!(
        (known[0].role.as_str(), known[0].trustee.as_str()),
        ("Author", TRUSTEE)
    );
    assert!(known[0].verify_time.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_delegation_is_run_in_the_interactive_lane() {
    let house = House::start(Setup::mailboxes(20)).await;
    let stored = house
        .provisioning
        .clone()
        .create_delegation(
            calgrant_contract::pb::provisioning::v1::CreateDelegationRequest {
                spec: Some(wish(By::Group("staff@uni.example".to_owned()))),
            },
        )
        .await
        .unwrap()
        .into_inner();
    let done = house
        .done(RunDelegationRequest {
            what: Some(What::DelegationId(stored.id.clone())),
            lane: calgrant_contract::pb::provisioning::v1::Lane::Interactive.into(),
            ..run(wish(By::All(true)))
        })
        .await;
    assert_eq!(done.delegation_id, stored.id);
    house.assert_true(&done.id, "group=staff@uni.example").await;
}
