//! A simulated organisation, and set-ups carried out there.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use calgrant_domain::{
    Address, Setting, SetupAim, SetupSpec, SiteKind,
    setup::{ManagedParts, SetupState},
};
use calgrant_exchange::{Administration, AdministrationError};
use calgrant_exchange_online::{Account, Endpoints, OnlineAdministration, Secret};
use calgrant_exchange_onprem::{PowerShellAdministration, Server, SignIn};
use calgrant_secrets::Key;
use calgrant_setup::{Ended, Hands, JournalError, Passwords, Run};
use calgrant_simulator::{Config, Running, Scenario, start};
use serde_json::json;
use time::OffsetDateTime;

use crate::{clocks::Clock, journal::MemoryJournal};

const DIRECTORY: &str = "11111111-2222-3333-4444-555555555555";
/// The bytes 0 to 31.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

const ONLINE: &str = r#"
seed = 7
[dials]
replication_lag_ms = 4000
creation_lag_ms = 3000
provisioning_lag_ms = 30000
[[tenant]]
id = "11111111-2222-3333-4444-555555555555"
domain = "uni.example"
[[tenant.sku]]
part_number = "EXCHANGESTANDARD"
seats = 3
[[tenant.app]]
client_id = "cccccccc-0000-0000-0000-000000000001"
secret = "hush"
roles = ["User.ReadWrite.All", "User-PasswordProfile.ReadWrite.All", "LicenseAssignment.ReadWrite.All", "Organization.Read.All", "GroupMember.Read.All", "Exchange.ManageAsApp"]
management_roles = ["Organization Management"]
[[tenant.user]]
upn = "ann@uni.example"
usage_location = "NL"
[[tenant.user]]
upn = "taken-1@uni.example"
usage_location = "NL"
licensed = false
[[tenant.group]]
name = "Students"
mail = "students@uni.example"
kind = "distribution"
"#;

const ONPREM: &str = r#"
seed = 7
[dials]
replication_lag_ms = 60000
[[tenant]]
id = "33333333-4444-5555-6666-777777777777"
domain = "uni.example"
[tenant.onprem]
domain = "UNI"
domain_controllers = ["DC01", "DC02"]
units = ["OU=Service,DC=uni,DC=example"]
[[tenant.onprem.account]]
user = "sa-set-up@uni.example"
password = "set:up"
management_roles = ["Organization Management"]
[[tenant.user]]
upn = "sa-set-up@uni.example"
kind = "none"
[[tenant.user]]
upn = "ann@uni.example"
on_premises = true
"#;

/// A simulated organisation, with a journal.
pub(crate) struct World {
    running: Running,
    clock: Clock,
    pub(crate) setting: Setting,
    pub(crate) administration: Arc<dyn Administration>,
    pub(crate) journal: MemoryJournal,
    hands: Hands,
    passwords: Passwords,
    pub(crate) aim: SetupAim,
    pub(crate) planning: bool,
}

impl World {
    pub(crate) async fn new(site: SiteKind) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let online = site == SiteKind::Online;
        let scenario = Scenario::from_toml(if online { ONLINE } else { ONPREM }).unwrap();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let running = start(Config { listen, scenario }).await.unwrap();
        let url = running.url();
        let clock = Clock::new();
        let now = clock.function();
        let administration: Arc<dyn Administration> = if online {
            let endpoints = Endpoints {
                login_url: url.clone(),
                graph_url: url.clone(),
                admin_url: url,
                directory_id: DIRECTORY.to_owned(),
            };
            let account = Account {
                client_id: "cccccccc-0000-0000-0000-000000000001".to_owned(),
                secret: Secret::Client("hush".into()),
            };
            Arc::new(OnlineAdministration::new(endpoints, account, now).unwrap())
        } else {
            let server = Server {
                url: format!("{url}/PowerShell/"),
                ca_pem: None,
            };
            let sign_in = SignIn::Basic {
                user: "UNI\\sa-set-up".to_owned(),
                password: "set:up".into(),
            };
            Arc::new(PowerShellAdministration::new(&server, sign_in, now).unwrap())
        };
        let spec = SetupSpec {
            count: 2,
            without: Vec::new(),
            name: "sa-mytt-exch-{n}@uni.example".parse().unwrap(),
            display_name: "MyTimetable {n}".to_owned(),
            usage_location: online.then(|| "NL".to_owned()),
            sku: online.then(|| "EXCHANGESTANDARD".to_owned()),
            organizational_unit: (!online).then(|| "OU=Service,DC=uni,DC=example".to_owned()),
            group: "mytt-delegates@uni.example".parse().unwrap(),
            group_name: "MyTimetable delegates".to_owned(),
            group_owners: vec!["ann@uni.example".parse().unwrap()],
            managed: ManagedParts::default(),
            hand_over: None,
            password_days: None,
        };
        Self {
            running,
            clock,
            setting: Setting {
                tenant: "uni".parse().unwrap(),
                site,
                spec,
            },
            hands: Hands::new(site, Arc::clone(&administration), None, None),
            administration,
            journal: MemoryJournal::default(),
            passwords: Passwords::new(Some(Key::parse(KEY).unwrap()), None),
            aim: SetupAim::Ensure,
            planning: false,
        }
    }

    /// Goes on once, as far as it goes.
    pub(crate) async fn go_on(&self) -> Result<Ended, JournalError> {
        let run = Run {
            setting: self.setting.clone(),
            aim: self.aim,
            planning: self.planning,
            hands: &self.hands,
            journal: &self.journal,
            passwords: &self.passwords,
            now: self.clock.function(),
        };
        run.run(self.journal.known()).await
    }

    /// Goes on until it has ended, or something waits for a person. Time passes as fast as it is waited for.
    pub(crate) async fn finish(&self) -> SetupState {
        let mut blocked = 0;
        for _ in 0..200 {
            let Ok(ended) = self.go_on().await else {
                self.journal.mend();
                continue;
            };
            // Other steps go on.
            blocked += u32::from(ended.state == SetupState::Blocked);
            match ended.not_before {
                Some(until) if blocked < 20 => self.wait_until(until).await,
                _ => return ended.state,
            }
        }
        panic!("it never ends: {:?}", self.journal.known());
    }

    async fn wait_until(&self, until: OffsetDateTime) {
        let millis = (until - self.clock.now())
            .whole_milliseconds()
            .clamp(1, 3_600_000);
        let millis = i64::try_from(millis).unwrap();
        self.clock.advance(millis);
        let url = format!("{}/_simulator/clock", self.running.url());
        let body = json!({ "advance_ms": millis });
        let answer = reqwest::Client::new().post(url).json(&body).send().await;
        assert!(answer.unwrap().status().is_success());
    }

    /// What the organisation says, once whatever lags has passed: everything is there, once.
    pub(crate) async fn is_whole(&self) {
        self.wait_until(self.clock.now() + Duration::from_secs(300))
            .await;
        let hand = &self.administration;
        signed_in(hand).await;
        let spec = &self.setting.spec;
        let group = hand.group(&spec.group).await.unwrap().unwrap();
        assert!(group.join_closed && group.depart_closed && group.hidden);
        let members = hand.members(&spec.group).await.unwrap();
        assert_eq!(members.len(), 2, "{members:?}");
        let key = Key::parse(KEY).unwrap();
        for number in spec.numbers() {
            let name = spec.name.of(number);
            let user = hand.user(&name).await.unwrap().unwrap();
            assert_eq!(user.mark, Some(self.setting.mark()));
            assert!(user.enabled);
            assert!(members.iter().any(|member| member.id == user.id));
            let secret = self.setting.secret_name(number);
            let sealed = self.journal.sealed(&secret).unwrap();
            assert!(key.open(&secret, &sealed).unwrap().reveal().len() > 40);
        }
        if self.setting.site == SiteKind::Online {
            let used: Vec<_> = hand.skus().await.unwrap();
            assert_eq!(used[0].used_seats, 3, "Ann's and two more");
        }
    }

    /// Whether a user is there, at this moment.
    pub(crate) async fn has_user(&self, name: &str) -> bool {
        signed_in(&self.administration).await;
        let name: Address = name.parse().unwrap();
        match self.administration.user(&name).await {
            Ok(found) => found.is_some(),
            Err(AdministrationError::Missing { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn signed_in(hand: &Arc<dyn Administration>) {
    hand.sign_in().await.unwrap();
}
