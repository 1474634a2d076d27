//! What a house is set up with.

use std::path::{Path, PathBuf};

use calgrant_contract::pb::{
    fleet::v1::{
        AccountSpec, CallWindow, CertificateRef, Keeping, OnpremSite, Purpose, SecretRef, SignIn,
        SiteSpec, TenantSpec, WritePath, account_spec::Credential, secret_ref::At,
    },
    provisioning::v1::SiteKind,
};
use calgrant_simulator::{DEMO_CERTIFICATE_PEM, DEMO_KEY_PEM, SchoolOptions, TENANT_ID};
use calgrant_testkit::School;
use calgrant_worker::only::Only;

/// The tenant of a house.
pub const TENANT: &str = "uni";
/// Grantor accounts of a house, unless it is set up otherwise.
pub const GRANTORS: usize = 2;

/// What passwords are sealed with in a house: the bytes 0 to 31.
pub const SECRETS_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The Exchange organisations of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sites {
    /// Exchange Online alone.
    Online,
    /// Servers on premises alone.
    Onprem(WritePath),
    /// Both: half of the mailboxes lie on premises.
    Hybrid(WritePath),
}

impl Sites {
    /// Which there are.
    #[must_use]
    pub fn kinds(self) -> Vec<SiteKind> {
        match self {
            Self::Online => vec![SiteKind::Online],
            Self::Onprem(_) => vec![SiteKind::Onprem],
            Self::Hybrid(_) => vec![SiteKind::Online, SiteKind::Onprem],
        }
    }
}

/// What a house is set up with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The school.
    pub school: SchoolOptions,
    /// The tenant's sites.
    pub sites: Sites,
    /// The interface of Exchange Online that changes permissions.
    pub write_path: WritePath,
    /// What Calgrant is told an account may do.
    pub max_in_flight: u32,
    /// What Calgrant is told an account may do in windows of so many milliseconds.
    pub windows: Vec<(u32, u64)>,
    /// First wait for a mailbox that isn't ready.
    pub park_first_millis: u64,
    /// What the worker serves.
    pub only: Only,
    /// Whether Postgres and RabbitMQ are away at the start.
    pub servers_away: bool,
    /// Whether onboarding runs, and it is announced who becomes ready.
    pub onboarding: bool,
    /// What is done by itself for delegations that are kept.
    pub keeping: Option<Keeping>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            school: SchoolOptions {
                mailboxes: 60,
                grantors: GRANTORS,
                read_lag_max_secs: 1,
                provision_delay_secs: 1,
                ..SchoolOptions::default()
            },
            sites: Sites::Online,
            write_path: WritePath::Auto,
            max_in_flight: 8,
            windows: Vec::new(),
            park_first_millis: 500,
            only: Only::default(),
            servers_away: false,
            onboarding: false,
            keeping: None,
        }
    }
}

impl Setup {
    /// So many members of the group everyone is in.
    #[must_use]
    pub fn mailboxes(mailboxes: usize) -> Self {
        let mut setup = Self::default();
        setup.school.mailboxes = mailboxes;
        setup
    }

    /// So many, at these sites.
    #[must_use]
    pub fn at(sites: Sites, mailboxes: usize) -> Self {
        let mut setup = Self::mailboxes(mailboxes);
        setup.sites = sites;
        setup.school.on_premises_share = match sites {
            Sites::Online => 0.0,
            Sites::Onprem(_) => 1.0,
            Sites::Hybrid(_) => 0.5,
        };
        // Active Directory shows no mailbox before it is there, so a listing that comes too early refuses its owner.
        setup.school.provision_delay_secs = 0;
        setup
    }

    /// The same with onboarding.
    #[must_use]
    pub fn onboarding(mailboxes: usize) -> Self {
        Self {
            onboarding: true,
            ..Self::mailboxes(mailboxes)
        }
    }

    /// The tenant as it is applied; secrets are files in `folder`.
    #[must_use]
    pub fn tenant(&self, school: &School, folder: &Path) -> TenantSpec {
        let sites = match self.sites {
            Sites::Online => vec![self.online(&school.url(), folder)],
            Sites::Onprem(path) => vec![self.onprem(path, school, folder)],
            Sites::Hybrid(path) => vec![
                self.online(&school.url(), folder),
                self.onprem(path, school, folder),
            ],
        };
        self.of_sites(sites)
    }

    /// A tenant in Exchange Online, whose servers are at `url`, whatever sites this is for.
    #[must_use]
    pub fn online_at(&self, url: &str, folder: &Path) -> TenantSpec {
        self.of_sites(vec![self.online(url, folder)])
    }

    fn of_sites(&self, sites: Vec<SiteSpec>) -> TenantSpec {
        TenantSpec {
            name: TENANT.to_owned(),
            display_name: "University of the Tests".to_owned(),
            sites,
            keeping: self.keeping.clone(),
        }
    }

    fn account(&self, name: String, purpose: Purpose, credential: Credential) -> AccountSpec {
        AccountSpec {
            name,
            purposes: vec![purpose.into()],
            credential: Some(credential),
            max_in_flight: self.max_in_flight,
            windows: self
                .windows
                .iter()
                .map(|(calls, millis)| CallWindow {
                    calls: *calls,
                    millis: *millis,
                })
                .collect(),
            workers: self.max_in_flight,
            ..AccountSpec::default()
        }
    }

    /// The first grantor signs in by certificate.
    fn online(&self, url: &str, folder: &Path) -> SiteSpec {
        let account = |name: String, purpose: Purpose, client_id: String, credential| AccountSpec {
            client_id,
            ..self.account(name, purpose, credential)
        };
        let reader = account(
            "reader".to_owned(),
            Purpose::Reader,
            "aaaaaaaa-0000-0000-0000-000000000000".to_owned(),
            secret(&folder.join("reader")),
        );
        let grantors = (1..=self.school.grantors).map(|number| {
            let credential = if number == 1 {
                Credential::Certificate(CertificateRef {
                    key: Some(file(&folder.join("key.pem"))),
                    certificate: Some(file(&folder.join("certificate.pem"))),
                })
            } else {
                secret(&grantor_secret(folder, number))
            };
            account(
                format!("sa-{number}"),
                Purpose::Grantor,
                format!("bbbbbbbb-0000-0000-0000-{number:012}"),
                credential,
            )
        });
        let url = url.to_owned();
        SiteSpec {
            kind: SiteKind::Online.into(),
            directory_id: TENANT_ID.to_string(),
            login_url: url.clone(),
            graph_url: url.clone(),
            admin_url: url,
            write_path: self.write_path.into(),
            park_first_millis: self.park_first_millis,
            park_limit_millis: 120_000,
            accounts: std::iter::once(reader).chain(grantors).collect(),
            ..SiteSpec::default()
        }
    }

    /// Both interfaces are there: over EWS, what can't be written whole is changed entry by entry.
    fn onprem(&self, write_path: WritePath, school: &School, folder: &Path) -> SiteSpec {
        let account = |name: String, user: String, purpose| {
            let secret = secret(&folder.join(&user));
            AccountSpec {
                user: format!("UNI\\{user}"),
                ..self.account(name, purpose, secret)
            }
        };
        let grantors = (1..=self.school.grantors).map(|number| {
            account(
                format!("sa-{number}"),
                format!("sa-onprem-{number}"),
                Purpose::Grantor,
            )
        });
        let reader = account("reader".to_owned(), "sa-reader".to_owned(), Purpose::Reader);
        let url = school.url();
        SiteSpec {
            kind: SiteKind::Onprem.into(),
            write_path: write_path.into(),
            onprem: Some(OnpremSite {
                ews_url: format!("{url}/EWS/Exchange.asmx"),
                ews_sign_in: SignIn::Basic.into(),
                powershell_url: format!("{url}/PowerShell/"),
                ldap_url: school.ldaps(),
                ca_file: folder.join("ca.pem").display().to_string(),
                ..OnpremSite::default()
            }),
            park_first_millis: self.park_first_millis,
            park_limit_millis: 120_000,
            accounts: std::iter::once(reader).chain(grantors).collect(),
            ..SiteSpec::default()
        }
    }

    /// Writes every secret where [`Self::tenant`] says it is.
    ///
    /// # Panics
    /// The folder can't be written.
    pub fn write_secrets(&self, school: &School, folder: &Path) {
        let write = |path: &Path, text: &str| {
            std::fs::write(path, text)
                .unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
        };
        write(&folder.join("reader"), "reader-secret");
        write(&secrets_key(folder), SECRETS_KEY);
        write(&folder.join("key.pem"), DEMO_KEY_PEM);
        write(&folder.join("certificate.pem"), DEMO_CERTIFICATE_PEM);
        for number in 2..=self.school.grantors {
            write(
                &grantor_secret(folder, number),
                &format!("grantor-secret-{number}"),
            );
        }
        if let Some(authority) = school.certificate() {
            write(&folder.join("ca.pem"), authority);
        }
        let premises = (1..=self.school.grantors).map(|number| format!("sa-onprem-{number}"));
        for user in premises.chain(["sa-reader".to_owned()]) {
            write(&folder.join(&user), &format!("{user}-secret"));
        }
    }
}

/// Where the secret of a grantor is; the first one has a certificate.
#[must_use]
pub fn grantor_secret(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("grantor-{number}"))
}

/// Where the key is that passwords are sealed with.
pub(crate) fn secrets_key(folder: &Path) -> PathBuf {
    folder.join("secrets-key")
}

fn secret(path: &Path) -> Credential {
    Credential::Secret(file(path))
}

fn file(path: &Path) -> SecretRef {
    SecretRef {
        at: Some(At::File(path.display().to_string())),
    }
}
