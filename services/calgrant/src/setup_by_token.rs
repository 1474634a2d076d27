//! A set-up that is carried out here, with a credential that is given for this run: it is read from stdin and kept in memory alone.

use std::{
    io::{BufRead, stdin},
    path::Path,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use calgrant_domain::{
    AccountName, AccountSpec, Credential, Limits, Organisation, Purpose, SecretRef, Setting,
    SetupId, SiteKind, TenantSpec,
};
use calgrant_exchange::secret;
use calgrant_exchange_online::connect as online;
use calgrant_exchange_onprem::connect as onprem;
use calgrant_runtime::clock;
use calgrant_secrets::{Key, Sink};
use calgrant_setup::{Hands, JournalError, Passwords, Run, wire};
use secrecy::SecretString;

use crate::front::Front;

/// The variable that holds the key that passwords are sealed with.
const KEY: &str = "CALGRANT_SECRETS_KEY";
/// How often it is looked whether the set-up can go on.
const LOOK: Duration = Duration::from_secs(1);

/// A credential that is lent for one run. It is shown nowhere.
pub(crate) struct Lent {
    /// A token for Microsoft Graph; on premises the user's name.
    first: String,
    /// A token for Exchange Online; on premises the password.
    second: String,
}

/// What a run is carried out with.
pub(crate) struct Given {
    lent: Lent,
    key: Key,
}

impl Lent {
    /// Reads one from stdin.
    ///
    /// # Errors
    /// A line is missing: says what to give.
    pub(crate) fn read(site: SiteKind) -> anyhow::Result<Self> {
        let mut lines = stdin().lock().lines();
        let mut line = |what: &str| -> anyhow::Result<String> {
            let line = lines.next().transpose()?.unwrap_or_default();
            let line = line.trim().to_owned();
            if line.is_empty() {
                bail!("--token-stdin: a line with {what} is needed on stdin");
            }
            Ok(line)
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

    /// One for Graph and one for Exchange, as it was lent online.
    pub(crate) fn tokens(self) -> (SecretString, SecretString) {
        (self.first.into(), self.second.into())
    }
}

/// Reads a credential from stdin, and the key.
///
/// # Errors
/// Something is missing: says what to give.
pub(crate) fn read(site: SiteKind, key_file: Option<&Path>) -> anyhow::Result<Given> {
    let at = match key_file {
        Some(path) => SecretRef::File(path.display().to_string()),
        None => SecretRef::Env(KEY.to_owned()),
    };
    let key = secret::read(&at).map_err(|why| {
        anyhow!("passwords are sealed with a key, and there is none: {why}; or give --secrets-key-file. Use the key that api has")
    })?;
    Ok(Given {
        key: Key::parse(&key)?,
        lent: Lent::read(site)?,
    })
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
            let account = account(lent.first)?;
            onprem::administration_as(site, &account, &lent.second.into(), clock::now)
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
