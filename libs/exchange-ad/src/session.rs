//! One connection to a domain controller, signed in. Every call on it has an end.

use std::{panic::AssertUnwindSafe, time::Duration};

use calgrant_exchange::{CallError, Meaning};
use futures::{
    FutureExt,
    future::{BoxFuture, Fuse, FusedFuture},
};
use ldap3::{
    Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Scope, SearchOptions,
    controls::{Control, ControlType, PagedResults, RawControl},
};
use secrecy::ExposeSecret;
use tokio::time::timeout;

use crate::{classify::Verdict, entry::Entry, settings::Checked, tls};

/// Objects on one page; what a domain controller gives at most unless it was told otherwise.
pub(crate) const PAGE: i32 = 1000;
/// Tells the server not to send us elsewhere.
const DOMAIN_SCOPE: &str = "1.2.840.113556.1.4.1339";

/// Why a call came to nothing.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// The server said no; the connection is as good as before.
    Refused(Verdict),
    /// The connection can't be used any more.
    Broken(CallError),
}

impl From<Trouble> for CallError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(verdict) => verdict.error(),
            Trouble::Broken(error) => error,
        }
    }
}

/// What to search.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    pub(crate) base: String,
    pub(crate) scope: Scope,
    pub(crate) filter: String,
}

/// A page of what was found.
pub(crate) struct Found {
    pub(crate) entries: Vec<Entry>,
    /// Where to go on; empty on the last page. Means something to this connection alone.
    pub(crate) cookie: Vec<u8>,
}

/// A connection, signed in.
pub(crate) struct Session {
    ldap: Ldap,
    /// Moves bytes while a call awaits; no task of its own, so that nothing outlives the session.
    driver: Fuse<BoxFuture<'static, Result<(), LdapError>>>,
    limit: Duration,
    /// The part of the directory that is searched.
    pub(crate) base: String,
}

impl Session {
    /// Connects, protects the connection, signs in.
    pub(crate) async fn open(settings: &Checked) -> Result<Self, CallError> {
        let mut session = Self::connect(settings).await?;
        let password = settings.password.expose_secret();
        let mut ldap = session.ldap.clone();
        let bind = async { ldap.simple_bind(&settings.bind_name, password).await };
        let answer = session.run(bind).await?;
        success(answer)?;
        session.base = match &settings.base {
            Some(base) => base.clone(),
            None => session.default_base().await?,
        };
        Ok(session)
    }

    async fn connect(settings: &Checked) -> Result<Self, CallError> {
        let connection = LdapConnSettings::new()
            .set_config(settings.tls.clone())
            .set_starttls(true);
        let connect = LdapConnAsync::with_settings(connection, &settings.url);
        // What a broken server sends may be more than the library copes with.
        let (driver, ldap) =
            match timeout(settings.limit, AssertUnwindSafe(connect).catch_unwind()).await {
                Err(_) => return Err(no_answer(settings.limit, false)),
                Ok(Err(_)) => return Err(garbled()),
                Ok(Ok(Err(error))) => return Err(not_connected(error, &settings.host)),
                Ok(Ok(Ok(pair))) => pair,
            };
        Ok(Self {
            ldap,
            driver: driver.drive().boxed().fuse(),
            limit: settings.limit,
            base: String::new(),
        })
    }

    /// The naming context of the controller's own domain.
    async fn default_base(&mut self) -> Result<String, CallError> {
        let root = Search {
            base: String::new(),
            scope: Scope::Base,
            filter: "(objectClass=*)".to_owned(),
        };
        let found = self.search(&root, &["defaultNamingContext"], &[]).await?;
        let name = found
            .entries
            .first()
            .and_then(|entry| entry.text("defaultNamingContext"));
        name.map(str::to_owned).ok_or_else(|| {
            CallError::new(
                Meaning::PauseAccount,
                "no_active_directory",
                "the server names no naming context of its own, so it is no domain controller: correct its address",
            )
        })
    }

    /// Whether the connection can still be used, as far as can be seen without asking.
    pub(crate) fn is_alive(&mut self) -> bool {
        !self.driver.is_terminated()
            && AssertUnwindSafe(&mut self.driver)
                .catch_unwind()
                .now_or_never()
                .is_none()
    }

    /// One page of a search, from `cookie` on.
    pub(crate) async fn search(
        &mut self,
        search: &Search,
        attributes: &[&str],
        cookie: &[u8],
    ) -> Result<Found, Trouble> {
        let mut page: RawControl = PagedResults {
            size: PAGE,
            cookie: cookie.to_vec(),
        }
        .into();
        // A server that can't page must say so, not cut.
        page.crit = search.scope != Scope::Base;
        let here = RawControl {
            ctype: DOMAIN_SCOPE.to_owned(),
            crit: false,
            val: None,
        };
        let seconds = i32::try_from(self.limit.as_secs().max(1)).unwrap_or(i32::MAX);
        let mut ldap = self.ldap.clone();
        ldap.with_controls(vec![page, here]);
        ldap.with_search_options(SearchOptions::new().timelimit(seconds));
        let call = async {
            let attributes = attributes.to_vec();
            let mut stream = ldap
                .streaming_search(&search.base, search.scope, &search.filter, attributes)
                .await?;
            let mut entries = Vec::new();
            while let Some(entry) = stream.next().await? {
                if !entry.is_ref() && !entry.is_intermediate() {
                    entries.push(Entry::of(entry));
                }
            }
            let result = stream.finish().await;
            let cookie = cookie_of(&result);
            Ok((entries, cookie, result))
        };
        let (entries, cookie, result) = self.run(call).await.map_err(Trouble::Broken)?;
        success(result)?;
        Ok(Found { entries, cookie })
    }

    /// Every page of a search that can't find much.
    pub(crate) async fn search_all(
        &mut self,
        search: &Search,
        attributes: &[&str],
    ) -> Result<Vec<Entry>, Trouble> {
        let (mut all, mut cookie) = (Vec::new(), Vec::new());
        loop {
            let found = self.search(search, attributes, &cookie).await?;
            all.extend(found.entries);
            cookie = found.cookie;
            if cookie.is_empty() {
                return Ok(all);
            }
        }
    }

    /// Awaits a call while the connection is driven, no longer than the limit.
    async fn run<T>(
        &mut self,
        call: impl Future<Output = Result<T, LdapError>>,
    ) -> Result<T, CallError> {
        if self.driver.is_terminated() {
            return Err(lost("it was closed before", false));
        }
        let driver = &mut self.driver;
        let both = async {
            tokio::pin!(call);
            tokio::select! {
                biased;
                done = &mut call => done,
                ended = driver => match (call.await, ended) {
                    (Err(_), Err(cause)) => Err(cause),
                    (done, _) => done,
                },
            }
        };
        match timeout(self.limit, AssertUnwindSafe(both).catch_unwind()).await {
            Err(_) => Err(no_answer(self.limit, true)),
            Ok(Err(_)) => Err(garbled()),
            Ok(Ok(Err(cause))) => Err(lost(&cause.to_string(), true)),
            Ok(Ok(Ok(value))) => Ok(value),
        }
    }
}

fn success(result: LdapResult) -> Result<(), Trouble> {
    if result.rc == 0 {
        return Ok(());
    }
    Err(Trouble::Refused(Verdict {
        code: result.rc,
        matched: result.matched,
        text: result.text,
        referrals: result.refs,
    }))
}

fn cookie_of(result: &LdapResult) -> Vec<u8> {
    let control = result.ctrls.iter().find_map(|control| match control {
        Control(Some(ControlType::PagedResults), raw) => Some(raw.parse::<PagedResults>().cookie),
        _ => None,
    });
    control.unwrap_or_default()
}

fn no_answer(limit: Duration, unanswered: bool) -> CallError {
    let text = format!(
        "the domain controller didn't answer within {} s",
        limit.as_secs_f32()
    );
    CallError {
        unanswered,
        ..CallError::new(Meaning::Retry, "no_answer", text)
    }
}

fn lost(cause: &str, unanswered: bool) -> CallError {
    let text = format!("the connection to the domain controller was lost: {cause}");
    CallError {
        unanswered,
        ..CallError::new(Meaning::Retry, "connection_lost", text)
    }
}

fn garbled() -> CallError {
    CallError::new(
        Meaning::Retry,
        "unexpected_answer",
        "the domain controller's answer is not LDAP as we know it",
    )
}

fn not_connected(error: LdapError, host: &str) -> CallError {
    match error {
        LdapError::Io { source } => {
            let tls = source
                .get_ref()
                .and_then(|cause| cause.downcast_ref::<rustls::Error>());
            match tls {
                Some(cause) => tls::explain(cause, host),
                None => CallError::new(
                    Meaning::Retry,
                    "not_reached",
                    format!("the domain controller {host} can't be reached: {source}"),
                ),
            }
        }
        LdapError::Rustls { source } => tls::explain(&source, host),
        LdapError::LdapResult { result } => CallError::new(
            Meaning::PauseAccount,
            "starttls_refused",
            format!(
                "the domain controller {host} doesn't take StartTLS, mostly because it has no certificate: give it one, or write ldaps:// (the server: {} {})",
                result.rc, result.text
            ),
        ),
        other => CallError::new(
            Meaning::Retry,
            "not_reached",
            format!("no connection to the domain controller {host}: {other}"),
        ),
    }
}
