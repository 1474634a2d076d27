//! A set-up that is carried out here, with a credential that is given for this run: read from stdin, or of somebody who signs in now. It is
//! kept in memory alone.

use std::{
    io::{BufRead, stdin},
    path::Path,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use calgrant_domain::{
    AccountName, AccountSpec, Credential, Limits, OnlineSite, Organisation, Purpose, SecretRef,
    Setting, SetupId, SiteKind, SiteSpec, TenantSpec,
};
use calgrant_exchange::secret;
use calgrant_exchange_online::connect as online;
use calgrant_exchange_onprem::connect as onprem;
use calgrant_runtime::{clock, tls};
use calgrant_secrets::{Key, Sink};
use calgrant_setup::{Hands, JournalError, Passwords, Run, wire};
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::front::Front;

/// The variable that holds the key that passwords are sealed with.
const KEY: &str = "CALGRANT_SECRETS_KEY";
/// How often it is looked whether the set-up can go on.
const LOOK: Duration = Duration::from_secs(1);

/// Whose credential is lent for one run. Nothing of it is kept longer, or anywhere but in memory.
#[derive(Debug, Default, Args)]
#[group(id = "own", multiple = false)]
pub(crate) struct OwnArgs {
    /// Use a credential of your own instead of the site's account, on stdin: a line with a token for Microsoft Graph and one with a token
    /// for Exchange Online; on premises a line with a user's name and one with its password. It is kept in memory alone.
    #[arg(long)]
    token_stdin: bool,
    /// Sign in yourself in a browser instead, with a code that is shown: the client id of an app registration that allows public client
    /// flows. Online alone. The tokens are kept in memory alone.
    #[arg(long, value_name = "CLIENT_ID")]
    device_code: Option<Uuid>,
}

/// A credential that is lent for one run. It is shown nowhere.
pub(crate) struct Lent {
    /// A token for Microsoft Graph; on premises the user's name.
    first: SecretString,
    /// A token for Exchange Online; on premises the password.
    second: SecretString,
}

/// What a run is carried out with.
pub(crate) struct Given {
    lent: Lent,
    key: Key,
}

impl OwnArgs {
    /// Whether one is lent.
    pub(crate) fn is_given(&self) -> bool {
        self.token_stdin || self.device_code.is_some()
    }

    /// Reads it, or waits until somebody has signed in; `None` where none is lent.
    ///
    /// # Errors
    /// A line is missing, or the sign-in failed: says what to do.
    pub(crate) async fn lent(&self, site: &SiteSpec) -> anyhow::Result<Option<Lent>> {
        match (self.device_code, &site.organisation) {
            (Some(client_id), Organisation::Online(online)) => {
                Lent::by_device(online, client_id).await.map(Some)
            }
            (Some(_), Organisation::Onprem(_)) => bail!(
                "--device-code: servers on premises know no such sign-in; give a name and a password with --token-stdin"
            ),
            (None, _) if self.token_stdin => Lent::read(site.kind()).map(Some),
            (None, _) => Ok(None),
        }
    }
}

impl Lent {
    /// Reads one from stdin.
    fn read(site: SiteKind) -> anyhow::Result<Self> {
        let mut lines = stdin().lock().lines();
        let mut line = |what: &str| -> anyhow::Result<SecretString> {
            let line = lines.next().transpose()?.unwrap_or_default();
            let line = line.trim().to_owned();
            if line.is_empty() {
                bail!("--token-stdin: a line with {what} is needed on stdin");
            }
            Ok(line.into())
        };
        let (first, second) = match site {
            SiteKind::Online => ("a token for Microsoft Graph", "a token for Exchange Online"),
            SiteKind::Onprem => ("a user name such as UNI\\admin", "its password"),
        };
        Ok(Self {
            first: line(first)?,
            second: line(second)?,
        })
    }

    /// Shows a code, and waits until somebody has signed in with it.
    async fn by_device(site: &OnlineSite, client_id: Uuid) -> anyhow::Result<Self> {
        tls::install_crypto();
        let device = online::device(site, &client_id.to_string(), clock::now);
        let device = device.map_err(|why| anyhow!(why))?;
        let waiting = device.begin().await.context("--device-code")?;
        eprintln!("{}", waiting.message());
        let (first, second) = waiting.tokens().await.context("--device-code")?;
        eprintln!("signed in");
        Ok(Self { first, second })
    }

    /// One for Graph and one for Exchange, as it was lent online.
    pub(crate) fn tokens(self) -> (SecretString, SecretString) {
        (self.first, self.second)
    }
}

/// The key that passwords are sealed with, for a run with a credential of one's own.
///
/// # Errors
/// It is missing: says what to give.
pub(crate) fn key(file: Option<&Path>) -> anyhow::Result<Key> {
    let at = match file {
        Some(path) => SecretRef::File(path.display().to_string()),
        None => SecretRef::Env(KEY.to_owned()),
    };
    let key = secret::read(&at).map_err(|why| {
        anyhow!("passwords are sealed with a key, and there is none: {why}; or give --secrets-key-file. Use the key that api has")
    })?;
    Ok(Key::parse(&key)?)
}

impl Given {
    /// A credential, and the key.
    pub(crate) fn new(lent: Lent, key: Key) -> Self {
        Self { lent, key }
    }
}

/// With what it is carried out.
fn prepare(
    tenant: &TenantSpec,
    kind: SiteKind,
    given: Given,
) -> anyhow::Result<(Hands, Passwords, Setting)> {
    let Given { lent, key } = given;
    let site = tenant.site(kind).context("the tenant has no such site")?;
    let spec = site.setup.clone().context("the site has no setup")?;
    let administration = match &site.organisation {
        Organisation::Online(site) => {
            let (graph, exchange) = lent.tokens();
            online::administration_with_tokens(site, graph, exchange, clock::now)
        }
        Organisation::Onprem(site) => {
            let account = account(lent.first.expose_secret().to_owned())?;
            onprem::administration_as(site, &account, &lent.second, clock::now)
        }
    };
    let administration = administration.map_err(|why| anyhow!(why))?;
    let sink = spec.hand_over.as_ref().map(Sink::of).transpose();
    let sink = sink.map_err(|why| anyhow!(why))?;
    let setting = Setting {
        tenant: tenant.name.clone(),
        site: kind,
        spec,
    };
    Ok((
        Hands::new(kind, administration, None, None),
        Passwords::new(Some(key), sink),
        setting,
    ))
}

/// An account that nobody has registered.
fn account(user: String) -> anyhow::Result<AccountSpec> {
    Ok(AccountSpec {
        name: "one-run".parse::<AccountName>()?,
        purposes: vec![Purpose::Setup],
        client_id: String::new(),
        user,
        credential: Credential::Secret(SecretRef::Env(String::new())),
        limits: Limits {
            in_flight: 1,
            windows: Vec::new(),
            server_time: None,
        },
        workers: 1,
        expires: None,
    })
}

/// Carries a set-up out as long as it is there to be. Ends with an error only.
///
/// # Errors
/// It can't be begun, or the journal can't be kept.
pub(crate) async fn carry_out(
    front: &Front,
    tenant: &TenantSpec,
    kind: SiteKind,
    id: &str,
    given: Given,
) -> anyhow::Result<()> {
    let id: SetupId = id.parse()?;
    let (hands, passwords, setting) = prepare(tenant, kind, given)?;
    loop {
        if let Some(claimed) = wire::claim(front.journal.clone(), Some(id)).await? {
            let run = Run {
                setting: setting.clone(),
                aim: claimed.aim,
                planning: claimed.planning,
                hands: &hands,
                journal: &claimed.journal,
                passwords: &passwords,
                now: clock::now,
            };
            match run.run(claimed.known.clone()).await {
                Ok(ended) => claimed.journal.release(&ended).await?,
                // It was cancelled, or another has it.
                Err(JournalError::Lost) => {}
                Err(away) => return Err(away.into()),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}
