//! Bad input, and what it gets: an error that names the field, the value and what to do. Nothing is stored.

use calgrant_contract::pb::{
    fleet::v1::{
        AccountSpec, ApplyTenantRequest, SecretRef, account_spec::Credential, secret_ref::At,
    },
    provisioning::v1::{
        DelegationSpec, GetOperationRequest, ListOperationsRequest, OperationState, Policy,
        RunDelegationRequest, SiteKind, Trustee, UploadMailboxListRequest, selector::By,
    },
    status::v1::{BatchGetMailboxAccessRequest, ListOperationMailboxesRequest},
};
use calgrant_e2e::{House, Refused, Setup, TENANT, group, run, wish};
use calgrant_simulator::EVERYONE;
use tonic::Code;

async fn refused(house: &House, request: RunDelegationRequest) -> Refused {
    house
        .provisioning
        .clone()
        .run_delegation(request)
        .await
        .expect_err("refused")
        .into()
}

fn staff() -> DelegationSpec {
    wish(By::Group("staff@uni.example".to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_what_is_wrong_with_it() {
    let house = House::start(Setup::mailboxes(20)).await;
    let everything_wrong = RunDelegationRequest {
        request_id: String::new(),
        ..run(DelegationSpec {
            tenant: "Uni!".to_owned(),
            selector: None,
            exclude_mailboxes: vec!["nobody".to_owned()],
            role: "Boss".to_owned(),
            trustees: vec![Trustee {
                site: 9,
                address: "delegates".to_owned(),
            }],
            ..staff()
        })
    };
    let all = refused(&house, everything_wrong).await;
    assert_eq!(
        (all.code, all.reason.as_str()),
        (Code::InvalidArgument, "BAD_INPUT")
    );
    for field in [
        "request_id",
        "spec.tenant",
        "spec.selector",
        "spec.exclude_mailboxes[0]",
        "spec.role",
    ] {
        assert!(
            all.fields.iter().any(|(name, _)| name == field),
            "{field}: {all:?}"
        );
    }
    assert!(all.says("spec.role", "Boss"), "{all:?}");
    assert!(
        all.fields
            .iter()
            .any(|(name, _)| name.starts_with("spec.trustees[0]")),
        "{all:?}"
    );

    let unknown_tenant = DelegationSpec {
        tenant: "elsewhere".to_owned(),
        ..staff()
    };
    let refusal = refused(&house, run(unknown_tenant)).await;
    assert_eq!(refusal.code, Code::NotFound);
    assert!(refusal.says("spec.tenant", "elsewhere"), "{refusal:?}");

    let no_such_site = DelegationSpec {
        trustees: vec![Trustee {
            site: SiteKind::Onprem.into(),
            ..staff().trustees[0].clone()
        }],
        ..staff()
    };
    let refusal = refused(&house, run(no_such_site)).await;
    assert!(refusal.says("spec.trustees.site", "onprem"), "{refusal:?}");

    let unknown_policy = DelegationSpec {
        policy: 77,
        ..staff()
    };
    let refusal = refused(&house, run(unknown_policy)).await;
    assert!(refusal.says("spec.policy", "77"), "{refusal:?}");
    assert_eq!(i32::from(Policy::Once), 1);

    let no_list = wish(By::MailboxList(
        "list_00000000000000000000000000000000".to_owned(),
    ));
    let refusal = refused(&house, run(no_list)).await;
    assert!(
        refusal
            .fields
            .iter()
            .any(|(name, _)| name == "spec.selector.mailbox_list"),
        "{refusal:?}"
    );

    let nothing = house
        .provisioning
        .clone()
        .list_operations(ListOperationsRequest::default())
        .await
        .unwrap();
    assert!(
        nothing.into_inner().operations.is_empty(),
        "nothing was accepted"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_is_for_one_request() {
    let house = House::start(Setup::mailboxes(20)).await;
    let request = group("staff@uni.example");
    let first = house.submit(request.clone()).await;
    assert_eq!(house.submit(request.clone()).await.id, first.id);
    let other = RunDelegationRequest {
        ticket: "CHG-1".to_owned(),
        ..request.clone()
    };
    let refusal = refused(&house, other).await;
    assert_eq!(
        (refusal.code, refusal.reason.as_str()),
        (Code::AlreadyExists, "REQUEST_ID_REUSED")
    );
    assert!(refusal.says("request_id", &first.id), "{refusal:?}");
    house.ended(&first.id).await;
    assert_eq!(
        house.submit(request).await.id,
        first.id,
        "and after its end"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_directory_does_not_know_fails_the_operation() {
    let house = House::start(Setup::mailboxes(20)).await;
    let trustee = |address: &str| DelegationSpec {
        trustees: vec![Trustee {
            site: SiteKind::Online.into(),
            address: address.to_owned(),
        }],
        ..staff()
    };
    let excluding_all = DelegationSpec {
        exclude_groups: vec![EVERYONE.to_owned()],
        ..staff()
    };
    for (spec, failure, named) in [
        (
            wish(By::Group("no-such@uni.example".to_owned())),
            "group_not_found",
            "no-such@uni.example",
        ),
        (
            wish(By::OrganizationalUnit(
                "OU=Nowhere,DC=uni,DC=example".to_owned(),
            )),
            "ou_not_found",
            "OU=Nowhere,DC=uni,DC=example",
        ),
        (
            wish(By::AdministrativeUnit("Nowhere".to_owned())),
            "administrative_unit_not_found",
            "Nowhere",
        ),
        (
            trustee("nobody@uni.example"),
            "trustee_not_found",
            "nobody@uni.example",
        ),
        (
            trustee("news@uni.example"),
            "trustee_not_security_principal",
            "news@uni.example",
        ),
        (excluding_all, "empty_selection", ""),
    ] {
        let operation = house.submit(run(spec)).await;
        let ended = house.ended(&operation.id).await;
        assert_eq!(ended.state(), OperationState::Failed, "{ended:?}");
        assert_eq!(ended.failure, failure, "{ended:?}");
        assert!(ended.failure_text.contains(named), "{ended:?}");
    }
    assert_eq!(house.school.get("report").await["writes"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_list_with_faults_names_their_lines_and_stores_nothing() {
    let house = House::start(Setup::mailboxes(20)).await;
    let mut lines: Vec<String> = (0..100_000)
        .map(|n| format!("u{n:06}@uni.example"))
        .collect();
    lines[41_999] = "not an address".to_owned();
    lines[99_999] = "neither@".to_owned();
    let parts = |lines: &[String]| {
        let parts: Vec<_> = lines
            .chunks(5000)
            .map(|lines| UploadMailboxListRequest {
                tenant: TENANT.to_owned(),
                lines: lines.to_vec(),
            })
            .collect();
        tokio_stream::iter(parts)
    };
    let faults: Refused = house
        .provisioning
        .clone()
        .upload_mailbox_list(parts(&lines))
        .await
        .expect_err("two faults")
        .into();
    assert_eq!(faults.code, Code::InvalidArgument);
    assert!(faults.says("lines[42000]", "not an address"), "{faults:?}");
    assert!(faults.says("lines[100000]", "neither@"), "{faults:?}");
    let stored = house.database.client().await;
    let lists: i64 = stored
        .query_one("SELECT count(*) FROM mailbox_list", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(lists, 0);

    // So many faults that no answer could hold them all: the first ones are named, and how many there are.
    let hopeless: Vec<String> = (0..20_000).map(|n| format!("{n} is no address")).collect();
    let faults: Refused = house
        .provisioning
        .clone()
        .upload_mailbox_list(parts(&hopeless))
        .await
        .expect_err("all faulty")
        .into();
    assert!(faults.says("lines[1]", "0 is no address"), "{faults:?}");
    assert!(
        faults.says("lines", "further"),
        "{:?}",
        faults.fields.last()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_belong_to_their_query() {
    let house = House::start(Setup::mailboxes(20)).await;
    let one = house.done(group("staff@uni.example")).await;
    let two = house.done(group("staff@uni.example")).await;
    let ask = |operation: &str, page_token: &str, page_size| ListOperationMailboxesRequest {
        operation_id: operation.to_owned(),
        page_token: page_token.to_owned(),
        page_size,
        ..ListOperationMailboxesRequest::default()
    };
    let mut status = house.status.clone();
    let page = status
        .list_operation_mailboxes(ask(&one.id, "", 2))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(page.mailboxes.len(), 2);
    for (operation, token, size, field) in [
        (&two.id, page.next_page_token.as_str(), 2, "page_token"),
        (&one.id, "rubbish", 2, "page_token"),
        (&one.id, "", -1, "page_size"),
        (&"op_1".to_owned(), "", 2, "operation_id"),
    ] {
        let refusal: Refused = status
            .list_operation_mailboxes(ask(operation, token, size))
            .await
            .expect_err("refused")
            .into();
        assert_eq!(refusal.code, Code::InvalidArgument, "{refusal:?}");
        assert!(
            refusal.fields.iter().any(|(name, _)| name == field),
            "{refusal:?}"
        );
    }
    let unknown = "op_00000000000000000000000000000000";
    let refusal: Refused = status
        .list_operation_mailboxes(ask(unknown, "", 2))
        .await
        .expect_err("refused")
        .into();
    assert_eq!(refusal.code, Code::NotFound);
    let refusal: Refused = house
        .provisioning
        .clone()
        .get_operation(GetOperationRequest {
            id: unknown.to_owned(),
        })
        .await
        .expect_err("refused")
        .into();
    assert_eq!(refusal.code, Code::NotFound);
    for names in [Vec::new(), vec!["a@uni.example".to_owned(); 1001]] {
        let refusal: Refused = status
            .batch_get_mailbox_access(BatchGetMailboxAccessRequest {
                tenant: TENANT.to_owned(),
                names,
            })
            .await
            .expect_err("refused")
            .into();
        assert!(
            refusal.fields.iter().any(|(name, _)| name == "names"),
            "{refusal:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_with_five_mistakes_has_all_five_named() {
    let house = House::empty(Setup::mailboxes(20)).await;
    let mut tenant = house.tenant();
    let site = &mut tenant.sites[0];
    site.directory_id = String::new();
    site.admin_url = "outlook".to_owned();
    site.accounts[1].client_id = String::new();
    site.accounts[2].windows = vec![calgrant_contract::pb::fleet::v1::CallWindow {
        calls: 0,
        millis: 1000,
    }];
    site.accounts.push(AccountSpec {
        name: site.accounts[0].name.clone(),
        credential: Some(Credential::Secret(SecretRef {
            at: Some(At::Env("X".to_owned())),
        })),
        ..site.accounts[0].clone()
    });
    let request = ApplyTenantRequest {
        spec: Some(tenant),
        ..ApplyTenantRequest::default()
    };
    let refusal: Refused = loop {
        match house.fleet.clone().apply_tenant(request.clone()).await {
            Err(status) if status.code() == Code::Unavailable => tokio::task::yield_now().await,
            other => break other.expect_err("refused").into(),
        }
    };
    assert_eq!(refusal.code, Code::InvalidArgument);
    let fields: Vec<_> = refusal
        .fields
        .iter()
        .map(|(field, _)| field.as_str())
        .collect();
    let expected = [
        "site[0].directory_id",
        "site[0].admin_url",
        "site[0].account[3].name",
        "site[0].account[1].client_id",
        "site[0].account[2].window[0]",
    ];
    assert_eq!(fields, expected, "{refusal:#?}");
}
