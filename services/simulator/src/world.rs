//! Everything the fronts share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use calgrant_gssapi::Credential;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::clock::Clock;
use crate::device::Devices;
use crate::dials::Dials;
use crate::dice::Dice;
use crate::faults::About;
use crate::judge::Judge;
use crate::reply::Reply;
use crate::scenario::Scenario;
use crate::tenant::Tenant;

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    Graph,
    Exchange,
}

/// How an outage looks from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outage {
    /// Every call is answered with 503.
    Unavailable,
    /// Every connection breaks.
    Cut,
    /// Every call is throttled; a client may be told to come back after so many seconds.
    Throttled(Option<u64>),
}

#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) app: Arc<App>,
    audience: Audience,
    expires: Duration,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) dice: Dice,
    pub(crate) judge: Judge,
    pub(crate) tasks: TaskTracker,
    pub(crate) tenants: Vec<Arc<Tenant>>,
    /// What it serves TLS with, PEM.
    pub(crate) certificate: Option<String>,
    /// What it takes Kerberos with.
    pub(crate) keys: Option<Arc<Credential>>,
    by_name: HashMap<String, Arc<Tenant>>,
    dials: RwLock<Arc<Dials>>,
    /// How often each fault happened since the dials were turned.
    pub(crate) happened: Mutex<HashMap<String, u64>>,
    tokens: Mutex<HashMap<String, Token>>,
    /// Assertion ids that were used already, and when they stop mattering (Unix time).
    assertions: Mutex<HashMap<String, i64>>,
    /// People who sign in with other devices.
    pub(crate) devices: Devices,
    /// The outage there is, and until when.
    outage: Mutex<Option<(Outage, Duration)>>,
}

/// Whether a table has become so large that what is over should go; rarely, as a look at all of it takes its time.
fn is_time_to_sweep(len: usize) -> bool {
    len >= 4096 && len.is_power_of_two()
}

/// A token as it looks from outside, for clients that peep into theirs. Nobody checks its signature, which is random.
fn bearer(
    tenant: &Tenant,
    app: &App,
    audience: Audience,
    life: u64,
    person: Option<&str>,
) -> String {
    let issued = Clock::utc().unix_timestamp();
    let (audience, exchange) = match audience {
        Audience::Graph => ("https://graph.microsoft.com", false),
        Audience::Exchange => ("https://outlook.office365.com", true),
    };
    let roles = app.registration().roles;
    let roles: Vec<&String> = roles
        .iter()
        .filter(|role| role.starts_with("Exchange.") == exchange)
        .collect();
    let mut claims = json!({
        "aud": audience, "iss": format!("https://sts.windows.net/{}/", tenant.id), "tid": tenant.id,
        "appid": app.client_id, "idtyp": "app", "roles": roles, "ver": "1.0",
        "iat": issued, "nbf": issued, "exp": issued.saturating_add_unsigned(life),
    });
    if let (Some(person), Some(claims)) = (person, claims.as_object_mut()) {
        claims.remove("roles");
        let scopes: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
        claims.insert("scp".to_owned(), scopes.join(" ").into());
        claims.insert("idtyp".to_owned(), "user".into());
        claims.insert("upn".to_owned(), person.into());
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signature: [[u8; 16]; 2] =
        [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(uuid::Uuid::into_bytes);
    format!(
        "{}.{}.{}",
        part(&json!({"typ": "JWT", "alg": "RS256"})),
        part(&claims),
        URL_SAFE_NO_PAD.encode(signature.concat())
    )
}

impl World {
    /// Carries a call out to its end, though its client may hang up meanwhile. `None` if it failed.
    pub(crate) async fn to_its_end(
        &self,
        work: impl Future<Output = Reply> + Send + 'static,
    ) -> Option<Reply> {
        self.tasks.spawn(work).await.ok()
    }

    pub(crate) fn build(scenario: Scenario) -> anyhow::Result<Self> {
        let dice = Dice::new(scenario.seed ^ 0x5117);
        let mut tenants = Vec::new();
        let mut by_name = HashMap::new();
        for (number, spec) in scenario.tenants.into_iter().enumerate() {
            let tenant = Arc::new(Tenant::build(spec, number, &dice)?);
            by_name.insert(tenant.id.clone(), Arc::clone(&tenant));
            by_name.insert(tenant.domain.clone(), Arc::clone(&tenant));
            tenants.push(tenant);
        }
        Ok(Self {
            clock: Clock::start(),
            dice,
            judge: Judge::default(),
            tasks: TaskTracker::new(),
            tenants,
            certificate: None,
            keys: None,
            by_name,
            dials: RwLock::new(Arc::new(scenario.dials)),
            tokens: Mutex::default(),
            assertions: Mutex::default(),
            devices: Devices::default(),
            happened: Mutex::default(),
            outage: Mutex::default(),
        })
    }

    pub(crate) fn tenant(&self, name: &str) -> Option<&Arc<Tenant>> {
        self.by_name.get(&name.to_lowercase())
    }

    pub(crate) fn dials(&self) -> Arc<Dials> {
        Arc::clone(&self.dials.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn turn(&self, dials: Dials) {
        *self.dials.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(dials);
        self.happened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// What every call is answered with during an outage.
    pub(crate) fn outage(&self) -> Option<Reply> {
        Some(match self.outage_now()? {
            Outage::Unavailable => Reply::unavailable(),
            Outage::Cut => Reply::broken(),
            Outage::Throttled(retry_after) => Reply::throttled(retry_after),
        })
    }

    /// The outage there is now; the call that asks is counted as one that met it.
    pub(crate) fn outage_now(&self) -> Option<Outage> {
        let outage = *self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let (outage, _) = outage.filter(|(_, until)| *until > self.clock.now())?;
        self.judge.injected(match outage {
            Outage::Unavailable => "outage_503",
            Outage::Cut => "outage_abort",
            Outage::Throttled(_) => "outage_429",
        });
        Some(outage)
    }

    /// Starts an outage that ends by itself, or ends the one there is.
    pub(crate) fn set_outage(&self, outage: Option<(Outage, Duration)>) {
        *self.outage.lock().unwrap_or_else(PoisonError::into_inner) = outage;
    }

    /// How long reads of a mailbox go on showing what was before a write of now.
    pub(crate) fn lag(&self, own: Option<Duration>) -> Duration {
        let Some(own) = own else {
            return Duration::ZERO;
        };
        if !own.is_zero() {
            let own = u64::try_from(own.as_millis()).unwrap_or(u64::MAX);
            return Duration::from_millis(own / 2 + self.dice.below(own / 2 + 1));
        }
        let dials = self.dials();
        let (least, most) = dials.read_lag_ms;
        if most == 0 || !self.dice.happens(dials.read_lag_share) {
            return Duration::ZERO;
        }
        Duration::from_millis(least + self.dice.below(most - least + 1))
    }

    /// Waits as long as such a call takes.
    pub(crate) async fn work(&self, call: About<'_>) {
        let dials = self.dials();
        let jitter = match dials.latency_jitter_ms {
            0 => 0,
            most => self.dice.below(most + 1),
        };
        let slow = if self.fault("slow_call", call) {
            dials.slow_call_ms
        } else {
            0
        };
        let latency = Duration::from_millis(dials.latency_ms + jitter + slow);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await; // one of nothing still takes up to a millisecond
        }
    }

    /// Issues a token, to an app or to a person by it, and says how many seconds it lives.
    pub(crate) fn issue(
        &self,
        tenant: &Arc<Tenant>,
        app: &Arc<App>,
        audience: Audience,
        person: Option<&str>,
    ) -> (String, u64) {
        let life = self.dials().token_life_secs;
        let now = self.clock.now();
        let text = bearer(tenant, app, audience, life, person);
        let token = Token {
            tenant: Arc::clone(tenant),
            app: Arc::clone(app),
            audience,
            expires: now + Duration::from_secs(life),
        };
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if is_time_to_sweep(tokens.len()) {
            tokens.retain(|_, token| token.expires > now);
        }
        tokens.insert(text.clone(), token);
        (text, life)
    }

    /// The token of an `Authorization` header, when it's good for this audience now.
    pub(crate) fn authorise(
        &self,
        header: Option<&str>,
        audience: Audience,
    ) -> Result<Token, &'static str> {
        let header = header.ok_or("Access token is empty.")?;
        let text = header
            .strip_prefix("Bearer ")
            .ok_or("CompactToken parsing failed.")?;
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.get(text).ok_or("CompactToken parsing failed.")?;
        if token.audience != audience {
            return Err("Access token validation failure. Invalid audience.");
        }
        if token.expires <= self.clock.now() {
            return Err("Lifetime validation failed, the token is expired.");
        }
        Ok(token.clone())
    }

    /// Takes note of an assertion id; false when it was used before.
    pub(crate) fn first_use(&self, id: &str, expires: i64, now: i64) -> bool {
        let mut assertions = self
            .assertions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if is_time_to_sweep(assertions.len()) {
            assertions.retain(|_, until| *until > now);
        }
        assertions.insert(id.to_owned(), expires).is_none()
    }
}
