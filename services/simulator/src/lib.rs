//! A strict, stateful stand-in for Exchange, online and on premises, and Graph that also judges every run against it.
//!
//! One address serves all fronts: `POST /{tenant}/oauth2/v2.0/token` issues tokens (and
//! `GET /{tenant}/v2.0/.well-known/openid-configuration` says so), `/v1.0/…` is Graph, `/adminapi/…` is Exchange,
//! `/_simulator/…` is the simulator's own API. A request finds its app by the token, takes its place under every limit as
//! it arrives ([`Limits`]), waits for the latency, may meet a fault ([`FAULTS`]), and then reads or changes the tenant's
//! state. It is carried out to its end, and holds its place until then, when its client has hung up meanwhile. Written
//! from the wire reference alone, so that a client's mistake isn't made twice.
//!
//! `/EWS/Exchange.asmx` is EWS and `/PowerShell/` is PowerShell remoting, both of a tenant's site on premises
//! ([`OnPremSpec`]) and over the same mailboxes, lists and groups; see below. With [`Scenario::https`] everything is served
//! over TLS as well.
//!
//! What it holds comes from a scenario file ([`Scenario::from_toml`]; an example is `deploy/examples/scenario.toml`).
//!
//! # Setting up
//!
//! What a set-up needs can be made while it serves. **Graph** takes `POST` and `PATCH /users`, `assignLicense` (all or
//! nothing: seats, usage locations, mailbox plans that exclude each other, licences that come from groups) and
//! `POST /groups/{id}/members/$ref` of groups without mail; each call needs its application permission. **Exchange** takes
//! `New-`, `Set-` and `Get-DistributionGroup`, the cmdlets of its members, `Get-Recipient`, `Set-Mailbox`,
//! `Test-ServicePrincipalAuthorization` and `Get-ManagementScope` (of what apps have as applications; Graph's
//! `servicePrincipals` tell what they have consent for), and on premises `New-Mailbox`, whose password comes as a `SecureString` under the session's key. A mailbox is there some time after its
//! licence (`provisioning_lag_ms`); what is written shows elsewhere later: between Exchange and Graph, and between domain
//! controllers (`replication_lag_ms`; `-DomainController` says whose), and in the cloud what was written on premises
//! (`sync_lag_ms`). `management_roles` give cmdlets by role; cmdlets and parameters of other roles don't exist. A password
//! is proved by `grant_type=password` at the token endpoint, by signing in on premises, or by the simulator's own API.
//! Nothing can be deleted; who tries is counted.
//!
//! # On premises
//!
//! A tenant with `[tenant.onprem]` has servers of its own; the mailboxes of users with `on_premises = true` lie there, and
//! are found there alone. Accounts sign in with Basic authentication, as `DOMAIN\alias` or by user principal name; which
//! tenant it is follows from the account. Ten wrong passwords in a row lock an account. EWS takes NTLM version 2 as well, once
//! for each connection, with its integrity code and bound to its TLS where the client says so. With [`Scenario::keytab`] both
//! take Kerberos by Negotiate, once for each connection ([`OnPremSpec::kerberos_each_request`] changes that for TLS), and
//! PowerShell's bodies must then be sealed where the connection isn't; with [`OnPremSpec::without_basic`] nothing but these, as
//! PowerShell's directory is on an unmodified server.
//!
//! **EWS** takes `GetFolder`, `UpdateFolder` (of `folder:PermissionSet`), `FindFolder`, `FindItem`, `GetItem`, `CreateItem`
//! and `DeleteItem` (of events), `ResolveNames`, `ExpandDL` and `ConvertId`. A request is checked against the schema: what is
//! in another order, or isn't in it, is `ErrorSchemaValidation`. A written list replaces the whole one; an entry that EWS
//! can't tell from the one there was keeps its stored mask. A change needs the folder's current change key, unless the dial
//! `change_keys_ignored` says otherwise. An account reaches a mailbox by Full Access, by `ExchangeImpersonation` within its
//! scope, or by the rights it has in a folder: its own entry's, else those of its groups together, else everybody's.
//!
//! **PowerShell** takes sessions of `Microsoft.Exchange` without a language: pipelines of commands with named parameters.
//! The cmdlets are those of the cloud's fronts, without the parameters that exist there only. `Remove-` asks for
//! `-Confirm:$false`. The codes of the two quota faults (2150859173 shells, 2150859174 load) are the likely ones; nobody
//! has confirmed them.
//!
//! **LDAP** ([`Scenario::ldap`], [`Scenario::ldaps`]) shows the site's directory as Active Directory does: users, groups,
//! contacts and units of what is on premises or synchronised, mailboxes in the cloud as remote ones. It is read by the
//! same accounts, with simple binds; a password over an unsealed connection is refused unless `ldap_signing_required` says
//! otherwise. There are filters with all rules of Active Directory's but `DN_WITH_DATA`, pages, ranges of values, and
//! referrals to what lies elsewhere. It shows what cmdlets make, and nothing can be changed by it.
//!
//! Calls pay from budgets as in Exchange's throttling policies ([`PolicySpec`]): a balance of server time that is recharged
//! all the time, and pays for each request with its own duration. Below nothing, answers are held back; below the cutoff,
//! and above the concurrency, calls are refused, which is a violation. `time_scale` lets hours pass in seconds.
//!
//! # The simulator's own API
//!
//! Bodies and answers are JSON. A mistake is answered with 400 and names the field; what isn't known with 404.
//!
//! | Call | What it does |
//! |---|---|
//! | `GET /_simulator/healthz` | `ok` |
//! | `GET /_simulator/report` | the verdict: counts since the last mark (and `since_start`), and what differs from the start |
//! | `GET /_simulator/changes?foreign=&offset=&limit=` | the entries that differ from the start, page by page, foreign ones first |
//! | `POST /_simulator/mark` | starts the counts anew |
//! | `POST /_simulator/clock` `{advance_ms}` | puts the simulator's clock forward: tokens, links, lag, windows, provisioning |
//! | `GET`, `PUT /_simulator/dials` | [`Dials`]; those that are named change. A fault is a rate or [`Fault`] |
//! | `PUT /_simulator/outage` `{on, mode, secs, retry_after}` | everything is down, for so long when `secs` is given: `mode` is `503` (default), `abort`, or `429`, a storm that says `retry_after` when it is given |
//! | `PUT /_simulator/apps/{client_id}` | `secret`, `secret_expired`, `certificate`, `roles`, `cmdlets` and `management_roles` (together), `assignments` (as in the scenario), `limits`, `graph_limits` |
//! | `POST /_simulator/device_codes/{user_code}` `{user, approve}` | a person enters the code that a device shows, and signs in or declines |
//! | `PUT /_simulator/accounts/{name}` | of an account on premises: `password`, `disabled`, `remote_powershell`, `policy`, `cmdlets` and `management_roles` (together), `full_access`, `impersonation` |
//! | `PUT /_simulator/tenants/{tenant}` | `admin_api`, `limits`, `graph_limits`, `mailbox_limits`, `graph_mailbox_limits` |
//! | `PUT /_simulator/mailboxes/{address}` | `provisioned` (now, or gone), `provision_in_secs`, `licensed`, `licence_expired`, `deleted` |
//! | `PUT /_simulator/groups/{address}` | `add`, `remove` (direct members), `clear` (all go first), `owners`, `join` (`closed`, `approval_required`, `open`) |
//! | `GET /_simulator/mailboxes/{address}/permissions` | every calendar's true list, whatever reads show |
//! | `GET /_simulator/permissions?mailbox=` | the true list of the default calendar; with `shown=true` what reads show now |
//! | `GET /_simulator/created?tenant=` | the users and groups that were made since the start, with licences and members, as they are in truth |
//! | `POST /_simulator/sign-in` `{user, password}` | whether that password is right, and why not |
//! | `GET /_simulator/certificate` | the certificate it serves TLS with, PEM |
//! | `GET /_simulator/proof?group=&trustee=` | how many mailboxes of a group have at least, or exactly, Author |
//! | `GET /_simulator/expectation?group=…&trustee=…&offset=&limit=` | each member: state, and the trustee's entry at the start and now. `unit=`, `ou=` or `all=true` instead of `group=` |
//!
//! # The report
//!
//! Counts are since the last mark. `calls` by kind, `calls_by_app`, `fronts`, `round_trips` to Exchange,
//! `graph_round_trips`, `token_requests`, `writes`, `writes_by_app`, `refused` by reason, `injected` by fault;
//! `limit_violations` (calls that were refused because a limit was used up), `violations_by_app` by limit, and the latest
//! thousand `violations`; `foreign_entries_changed` and `managed_entries_changed` against the start, with the first
//! thousand `changes`. An injected fault or an outage is no violation. `setup` counts what was made and changed besides:
//! `accounts_created`, `accounts_enabled`, `accounts_disabled`, `accounts_changed`, `passwords_set`, `licences_assigned`,
//! `licences_removed`, `groups_created`, `groups_changed`, `members_added`, `members_removed`, `deletions_tried`.
//!
//! `accounts.{client_id}.exchange` and `.graph`, and `tenants.{id}.exchange` and `.graph`, tell of each key:
//!
//! | Field | Meaning |
//! |---|---|
//! | `calls` | calls that arrived: `admitted` plus `refused` |
//! | `refused`, `refused_by` | those that were turned away, by whose limit. A call that one key has no room for counts as refused under all its keys, and uses up none of them |
//! | `early_calls` | calls that came more than a second after a `Retry-After`, and before it was over |
//! | `allowed_calls` | what a perfect client could have made under this key's limits since the mark, the tightest one counting; `null` without limits. Of a window: as many as fit when each call is made as soon as there is room, earlier arrivals considered. Of calls in flight: place-time divided by what a call took on average. Across a change of limits, what each time allowed is added up |
//! | `elapsed_ms` | since the mark |
//! | `busy_ms`, `available_ms` | place-time used, and place-time there was under the limit on calls in flight (0 without one) |
//! | `in_flight`, `peak_in_flight` | calls under way now, and most at once |
//! | `per_second` | calls a second over the last 10, 60 and 900 whole seconds, the `peak_second`, and the `latest` sixty |
//! | `limits` | the [`Limits`] in force |
//!
//! `onprem.{tenant}.accounts.{name}.ews` and `.powershell` tell of budgets of server time, all in the site's own
//! milliseconds: `worked_ms`, what was paid; `free_ms`, burst and recharge since the mark, which is what costs no delay;
//! `balance_ms`, and the lowest; `micro_delays` and their time; `refused_by` `connections` or `busy`; `early_calls`, made
//! more than a second after a back-off, and before it was over. `.shells` are the open sessions, `.runspaces` and
//! `.cmdlets` the windows of the policy. Accounts stand in `calls_by_app`, `writes_by_app` and `violations_by_app` too, by
//! user principal name.
//!
//! Utilisation is `admitted / allowed_calls`. `tenants.{id}.mailboxes` and `.graph_mailboxes` count what limits of single
//! mailboxes refused.

mod admin;
mod admission;
mod allowed;
mod anchor;
mod app;
mod application;
mod calendar;
mod clock;
mod cmdlet;
mod created;
mod device;
mod dials;
mod dice;
mod directory;
mod directory_filter;
mod directory_names;
mod door;
mod ews;
mod exchange;
mod exchange_batch;
mod faults;
mod filter;
mod folder_permission;
mod graph;
mod graph_ask;
mod graph_batch;
mod graph_calendar;
mod graph_change;
mod graph_user;
mod group;
mod group_change;
mod growing;
mod identities;
mod identity;
mod judge;
mod ldap;
mod licences;
mod limiter;
mod limits;
mod mailbox_change;
mod mailbox_object;
mod making;
mod management_role;
mod meter;
mod names;
mod onprem;
mod parameters;
mod password;
mod place;
mod powershell;
mod proof;
mod query;
mod rate;
mod recipients;
mod replica;
mod reply;
mod rights;
mod scenario;
mod scenario_file;
mod school;
mod school_people;
mod school_premises;
mod sealed;
mod service_principal;
mod sku;
mod tally;
mod tenant;
mod throttling;
mod token;
mod user;
mod wire;
mod world;
mod writer;
mod xml;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{any, get, post};
use axum::serve::{IncomingStream, Listener};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use dials::{Dials, FAULTS, Fault};
pub use identity::{DEMO_CERTIFICATE_PEM, DEMO_KEY_PEM};
pub use limits::Limits;
pub use onprem::{AccountSpec, Amount, BudgetOf, OnPremSpec, PolicySpec};
pub use scenario::{
    AppSpec, AssignmentSpec, CalendarSpec, EntrySpec, GroupKind, GroupSpec, JoinRestriction, Kind,
    Scenario, ScopeSpec, TenantSpec, UnitSpec, UserSpec,
};
pub use school::{EVERYONE, SETUP_APP, SchoolOptions, TENANT_ID, TRUSTEE};
pub use sku::{PlanSpec, SkuSpec};

use reply::Hangup;
use sealed::{Seal, SealedWires};
use wire::{Cutter, Wires};
use world::World;

/// How long a stop waits for calls that are still under way.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// Where to listen and what to simulate.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What the tenants hold.
    pub scenario: Scenario,
}

/// The same under a name that reads well from outside.
pub type SimulatorConfig = Config;

/// A simulator that is serving.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it listens for TLS, when the scenario says so.
    pub https: Option<SocketAddr>,
    /// Where it listens for LDAP, when the scenario says so.
    pub ldap: Option<SocketAddr>,
    /// Where it listens for LDAP over TLS, when the scenario says so.
    pub ldaps: Option<SocketAddr>,
    stop: CancellationToken,
    world: Arc<World>,
}

impl Running {
    /// The base URL of every front.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The certificate it serves TLS with, PEM, when it serves any.
    pub fn certificate(&self) -> Option<&str> {
        self.world.certificate.as_deref()
    }

    /// Stops serving, and waits a little for calls under way.
    pub async fn stop(self) {
        self.stop.cancel();
        self.world.tasks.close();
        if tokio::time::timeout(STOP_WAIT, self.world.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("calls were still under way when the simulator stopped");
        }
    }
}

/// Builds the tenants and starts to serve.
///
/// # Errors
/// When the scenario is wrong, or an address can't be listened on.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    let mistakes = config.scenario.mistakes();
    if !mistakes.is_empty() {
        bail!("the scenario is wrong: {}", mistakes.join("; "));
    }
    let https = config.scenario.https;
    let doors = ldap::Doors {
        open: config.scenario.ldap,
        sealed: config.scenario.ldaps,
    };
    let keytab = config.scenario.keytab.clone();
    let mut world = World::build(config.scenario)?;
    world.keys = keytab.map(|path| door::keys(&path)).transpose()?;
    let seal = (https.is_some() || !doors.is_none())
        .then(Seal::make)
        .transpose()?;
    world.certificate = seal.as_ref().map(|seal| seal.certificate.clone());
    let sealed = match (&seal, https) {
        (Some(seal), Some(address)) => {
            Some(SealedWires::listen(address, seal, &world.tasks).await?)
        }
        _ => None,
    };
    let world = Arc::new(world);
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("can't listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    serve(&world, Wires(listener), &stop);
    let doors = match &seal {
        Some(seal) => ldap::serve(&world, doors, &seal.acceptor, &stop).await?,
        None => doors,
    };
    let https = sealed.map(|sealed| {
        let address = sealed.address;
        serve(&world, sealed, &stop);
        address
    });
    tracing::info!(%address, "simulator is listening");
    Ok(Running {
        address,
        https,
        ldap: doors.open,
        ldaps: doors.sealed,
        stop,
        world,
    })
}

fn serve<L>(world: &Arc<World>, listener: L, stop: &CancellationToken)
where
    L: Listener<Addr = SocketAddr>,
    Cutter: for<'a> Connected<IncomingStream<'a, L>>,
{
    let service = router(Arc::clone(world)).into_make_service_with_connect_info::<Cutter>();
    let server =
        axum::serve(listener, service).with_graceful_shutdown(stop.clone().cancelled_owned());
    let cut = stop.clone();
    world.tasks.spawn(async move {
        let late = async {
            cut.cancelled().await;
            // idle connections that clients keep open don't hold a stop up
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        tokio::select! {
            served = server.into_future() => if let Err(error) = served {
                tracing::error!(%error, "the simulator stopped serving");
            },
            () = late => {}
        }
    });
}

/// Serves until told to stop.
///
/// # Errors
/// As [`start`].
pub async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let running = start(config).await?;
    stop.cancelled().await;
    running.stop().await;
    Ok(())
}

fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(token::handle))
        .route("/{tenant}/oauth2/v2.0/devicecode", post(device::begin))
        .route(
            "/{tenant}/v2.0/.well-known/openid-configuration",
            get(token::discovery),
        )
        .route("/v1.0/{*path}", any(graph::handle))
        .route(
            "/adminapi/{version}/{tenant}/{endpoint}",
            post(exchange::handle).get(exchange::module_file),
        )
        .merge(on_premises(&world))
        .merge(admin::router())
        .layer(from_fn(request_id))
        .layer(DefaultBodyLimit::max(4 * 1024 * 1024))
        .with_state(world)
}

/// What servers on premises serve, behind their door.
fn on_premises(world: &Arc<World>) -> Router<Arc<World>> {
    Router::new()
        .route("/EWS/Exchange.asmx", post(ews::handle).get(ews::get))
        .route("/ews/exchange.asmx", post(ews::handle).get(ews::get))
        .route("/PowerShell", post(powershell::handle))
        .route("/PowerShell/", post(powershell::handle))
        .route("/powershell", post(powershell::handle))
        .route("/powershell/", post(powershell::handle))
        .layer(from_fn_with_state(Arc::clone(world), door::pass))
}

/// Puts a `Request-Id` on every answer, and the client's own beside it, and cuts the connection where there must be none.
async fn request_id(
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    request: Request,
    next: Next,
) -> Response {
    let own = request.headers().get("client-request-id").cloned();
    let mut response = next.run(request).await;
    if let Some(own) = own {
        let name = HeaderName::from_static("client-request-id");
        response.headers_mut().insert(name, own);
    }
    if response.extensions().get::<Hangup>().is_some() {
        cutter.cut();
    }
    if let Ok(id) = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()) {
        let headers = response.headers_mut();
        headers
            .entry(HeaderName::from_static("request-id"))
            .or_insert(id);
    }
    response
}
