//! A site is set up: planned, run, gone on with after a stop, changed.

#![expect(clippy::unwrap_used, reason = "a test that can't ask has failed")]

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use calgrant_contract::pb::{
    fleet::v1::{
        AccountSpec, Purpose, SecretRef, SetupSpec, TenantSpec, account_spec::Credential,
        secret_ref::At,
    },
    ledger::v1::{GetSealedSecretRequest, setup_journal_service_client::SetupJournalServiceClient},
    provisioning::v1::SiteKind,
    setup::v1::{
        GetSetupRequest, RunSetupRequest, Setup, SetupAim, SetupState, StepState,
        setup_service_client::SetupServiceClient,
    },
};
use calgrant_e2e::{House, SECRETS_KEY, Service, Setup as HouseSetup, TENANT};
use calgrant_runtime::grpc;
use calgrant_secrets::Key;
use calgrant_simulator::{Config, Running, Scenario, start};
use calgrant_testkit::eventually_within;
use tonic::{Code, transport::Channel};

const SCENARIO: &str = r#"
seed = 7
[dials]
replication_lag_ms = 300
creation_lag_ms = 200
provisioning_lag_ms = 1000
[[tenant]]
id = "11111111-2222-3333-4444-555555555555"
domain = "uni.example"
[[tenant.sku]]
part_number = "EXCHANGESTANDARD"
seats = 4
[[tenant.app]]
client_id = "aaaaaaaa-0000-0000-0000-000000000000"
secret = "reader-secret"
roles = ["User.Read.All", "GroupMember.Read.All", "Exchange.ManageAsApp"]
cmdlets = ["Get-Mailbox"]
[[tenant.app]]
client_id = "cccccccc-0000-0000-0000-000000000001"
secret = "hush"
roles = ["User.ReadWrite.All", "User-PasswordProfile.ReadWrite.All", "LicenseAssignment.ReadWrite.All", "Organization.Read.All", "GroupMember.Read.All", "Exchange.ManageAsApp"]
management_roles = ["Organization Management"]
[[tenant.user]]
upn = "ann@uni.example"
usage_location = "NL"
"#;

/// Where a stop cut off the making of a user before anybody heard of it, two minutes pass before it is begun again.
const LONGEST: Duration = Duration::from_secs(400);

/// A house whose tenant lives in an organisation of its own.
struct Site {
    house: House,
    setups: SetupServiceClient<Channel>,
    journal: SetupJournalServiceClient<Channel>,
    tenant: TenantSpec,
    _running: Running,
}

impl Site {
    async fn new() -> Self {
        let house = House::empty(HouseSetup::default()).await;
        let scenario = Scenario::from_toml(SCENARIO).unwrap();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let running = start(Config { listen, scenario }).await.unwrap();
        let secret = house.folder().join("set-up");
        std::fs::write(&secret, "hush").unwrap();
        let passwords = house.folder().join("passwords");
        std::fs::create_dir(&passwords).unwrap();
        let mut tenant = house.setup.online_at(&running.url(), house.folder());
        tenant.sites[0].accounts.push(AccountSpec {
            name: "set-up".to_owned(),
            purposes: vec![Purpose::Setup.into()],
            client_id: "cccccccc-0000-0000-0000-000000000001".to_owned(),
            credential: Some(Credential::Secret(SecretRef {
                at: Some(At::File(secret.display().to_string())),
            })),
            ..AccountSpec::default()
        });
        tenant.sites[0].setup = Some(SetupSpec {
            count: 2,
            name: "sa-mytt-exch-{n}@uni.example".to_owned(),
            usage_location: "NL".to_owned(),
            sku: "EXCHANGESTANDARD".to_owned(),
            group: "mytt-delegates@uni.example".to_owned(),
            group_owners: vec!["ann@uni.example".to_owned()],
            password_folder: passwords.display().to_string(),
            ..SetupSpec::default()
        });
        house.apply(tenant.clone()).await;
        let channel = grpc::channel(&house.api_url).unwrap();
        Self {
            house,
            setups: SetupServiceClient::new(channel.clone()),
            journal: SetupJournalServiceClient::new(channel),
            tenant,
            _running: running,
        }
    }

    fn request(aim: SetupAim, account: u32) -> RunSetupRequest {
        RunSetupRequest {
            tenant: TENANT.to_owned(),
            site: SiteKind::Online.into(),
            aim: aim.into(),
            account,
            ..RunSetupRequest::default()
        }
    }

    async fn run(&self, request: RunSetupRequest) -> Setup {
        self.setups
            .clone()
            .run_setup(request)
            .await
            .unwrap()
            .into_inner()
    }

    async fn get(&self, id: &str) -> Option<Setup> {
        let request = GetSetupRequest { id: id.to_owned() };
        match self.setups.clone().get_setup(request).await {
            Ok(setup) => Some(setup.into_inner()),
            Err(status) if status.code() == Code::Unavailable => None,
            Err(status) => panic!("{status:?}"),
        }
    }

    /// Waits until it stands so.
    async fn until(&self, id: &str, wanted: SetupState) -> Setup {
        eventually_within(LONGEST, "the set-up ends", async || {
            self.get(id)
                .await
                .is_some_and(|setup| setup.state() == wanted)
        })
        .await;
        self.get(id).await.unwrap()
    }

    fn file(&self, account: u32) -> PathBuf {
        let folder = self.house.folder().join("passwords");
        folder.join(format!("sa-mytt-exch-{account}@uni.example"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_is_planned_and_set_up_once() {
    let site = Site::new().await;
    let plan = RunSetupRequest {
        validate_only: true,
        ..Site::request(SetupAim::Ensure, 0)
    };
    let plan = site.run(plan).await;
    let plan = site.until(&plan.id, SetupState::Planned).await;
    let script = |name: &str| {
        let step = plan.steps.iter().find(|step| step.name == name).unwrap();
        step.script.clone()
    };
    assert!(script("user/1").contains("New-MgUser"), "{plan:?}");
    assert!(script("group").contains("New-DistributionGroup"));
    assert!(!site.file(1).exists());

    let request = RunSetupRequest {
        request_id: "once".to_owned(),
        ..Site::request(SetupAim::Ensure, 0)
    };
    let (one, two) = tokio::join!(site.run(request.clone()), site.run(request));
    assert_eq!(one.id, two.id, "asked for twice at once");
    let done = site.until(&one.id, SetupState::Done).await;
    assert!(
        done.steps
            .iter()
            .all(|step| step.state() == StepState::Done)
    );
    let password = std::fs::read_to_string(site.file(1)).unwrap();

    let name = "uni/online/sa-mytt-exch-1@uni.example";
    let secret = GetSealedSecretRequest {
        name: name.to_owned(),
    };
    let secret = site
        .journal
        .clone()
        .get_sealed_secret(secret)
        .await
        .unwrap();
    let opened = Key::parse(SECRETS_KEY)
        .unwrap()
        .open(name, &secret.get_ref().sealed);
    assert_eq!(opened.unwrap().reveal(), password);

    // Adding one later: the others are left as they are.
    let mut tenant = site.tenant.clone();
    tenant.sites[0].setup.as_mut().unwrap().count = 3;
    site.house.apply(tenant.clone()).await;
    let more = site.run(Site::request(SetupAim::Ensure, 0)).await;
    let more = site.until(&more.id, SetupState::Done).await;
    let made: Vec<_> = more
        .steps
        .iter()
        .filter(|step| step.did.iter().any(|did| did.contains("make sa-mytt")))
        .map(|step| step.name.as_str())
        .collect();
    assert_eq!(made, ["user/3"]);
    assert_eq!(std::fs::read_to_string(site.file(1)).unwrap(), password);

    let rotated = site.run(Site::request(SetupAim::Rotate, 1)).await;
    site.until(&rotated.id, SetupState::Done).await;
    assert_ne!(std::fs::read_to_string(site.file(1)).unwrap(), password);

    let early = Site::request(SetupAim::Remove, 3);
    let early = site.setups.clone().run_setup(early).await;
    assert_eq!(early.unwrap_err().code(), Code::FailedPrecondition);
    tenant.sites[0].setup.as_mut().unwrap().without = vec![3];
    site.house.apply(tenant).await;
    let removed = site.run(Site::request(SetupAim::Remove, 3)).await;
    site.until(&removed.id, SetupState::Done).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_goes_on() {
    let mut site = Site::new().await;
    let setup = site.run(Site::request(SetupAim::Ensure, 0)).await;
    for _ in 0..3 {
        eventually_within(LONGEST, "it is begun", async || {
            let begun = |setup: Setup| {
                let mut steps = setup.steps.iter();
                steps.any(|step| step.state() != StepState::Due)
            };
            site.get(&setup.id).await.is_some_and(begun)
        })
        .await;
        site.house.stop(Service::Api).await;
        site.house.restart(Service::Api).await;
    }
    let done = site.until(&setup.id, SetupState::Done).await;
    assert!(
        done.steps
            .iter()
            .all(|step| step.state() == StepState::Done)
    );
    let again = site.run(Site::request(SetupAim::Ensure, 0)).await;
    let again = site.until(&again.id, SetupState::Done).await;
    let changed: Vec<_> = again
        .steps
        .iter()
        .filter(|step| !step.did.is_empty())
        .collect();
    assert!(changed.is_empty(), "{changed:?}");
}
