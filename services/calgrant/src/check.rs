//! Preflight: signs in with the credentials that this process can read, and says what each account may do, may not, and may beyond what
//! it is for. Nothing is written anywhere.

use std::{collections::BTreeSet, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail};
use calgrant_budget::message::Lane;
use calgrant_contract::pb::{
    ledger::v1::{
        GetFleetRequest, lease_service_client::LeaseServiceClient,
        ledger_service_client::LedgerServiceClient,
    },
    provisioning::v1::{ListDelegationsRequest, SiteKind as PbSiteKind},
};
use calgrant_domain::{
    AccountSpec, Address, Finding, Held, MailboxType, Organisation, Purpose, Reason, SiteKind,
    SiteSpec, TenantName,
    assumed::{assumed, compared},
    expiry,
    preflight::{app_roles, set_up},
};
use calgrant_exchange::secret;
use calgrant_exchange::{
    AdministrationError, Answer, AppRoles, Ask, CalendarCall, Calendars, CallError, Directory,
    ListingError, Meaning, Selection,
};
use calgrant_exchange_ad::connect as active_directory;
use calgrant_exchange_online::connect as online;
use calgrant_exchange_onprem::connect as onprem;
use calgrant_leases::{Account, Budgets, Renewing, keys, wire};
use calgrant_runtime::{clock, grpc, tls};
use clap::Args;

use crate::{
    cli::OutputArgs,
    exit,
    front::{Front, tenant_spec},
    output::{Output, Rows},
};

/// Whom to check.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Name of the tenant.
    #[arg(long)]
    tenant: String,
    /// Only this account, by its name.
    #[arg(long)]
    account: Option<String>,
    /// A mailbox to look at; the first that the site's reader lists by default.
    #[arg(long)]
    mailbox: Option<Address>,
    /// Address of status, which grants the calls that this takes from the accounts' budgets.
    #[arg(long, env = "CALGRANT_STATUS", default_value = "http://127.0.0.1:7102")]
    status: String,
    #[command(flatten)]
    output: OutputArgs,
}

const COLUMNS: &[(&str, usize)] = &[
    ("site", 7),
    ("account", 14),
    ("capability", 34),
    ("held", 8),
    ("why", 60),
    ("todo", 40),
];
/// Nobody's address, by which it is tried whether entries may be changed: there is no entry of it to change.
const NOBODY: &str = "calgrant-preflight-nobody";
/// What to do where a credential isn't at hand.
const ELSEWHERE: &str = "run this where the account is used, with the same environment and files";
/// Longest wait for a permit.
const PATIENCE: Duration = Duration::from_secs(20);

/// Prints a row for each capability of each account. The exit code says whether something needed is missing.
pub(crate) async fn run(front: Front, args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut rows = Rows::new(args.output.output, COLUMNS);
    let mut missing = false;
    let told = |site: SiteKind, account: &AccountSpec, finding: Finding| {
        missing |= finding.held == Held::No;
        rows.print(vec![
            site.to_string().into(),
            account.name.to_string().into(),
            finding.capability.into(),
            finding.held.to_string().into(),
            finding.why.into(),
            finding.todo.into(),
        ])
    };
    look(&front, args, told).await?;
    Ok(if missing {
        ExitCode::from(exit::SOME_FAILED)
    } else {
        ExitCode::SUCCESS
    })
}

/// The same for a tenant that was just applied: says on stderr what is missing, what is too much, and what can't be told from here.
pub(crate) async fn after_apply(front: &Front, tenant: &str, status: &str) {
    let args = CheckArgs {
        tenant: tenant.to_owned(),
        account: None,
        mailbox: None,
        status: status.to_owned(),
        output: OutputArgs {
            output: Output::Table,
        },
    };
    let mut unread = 0;
    let told = |site: SiteKind, account: &AccountSpec, finding: Finding| {
        if finding.todo == ELSEWHERE {
            unread += 1;
        } else if matches!(finding.held, Held::No | Held::Beyond) {
            let (name, held) = (&account.name, finding.held);
            eprintln!(
                "{site}/{name}: {}: {held}: {}; {}",
                finding.capability, finding.why, finding.todo
            );
        }
        Ok(())
    };
    let looked = look(front, &args, told).await;
    if let Err(cause) = looked {
        eprintln!("what the accounts may do was not looked at: {cause}");
    } else if unread > 0 {
        eprintln!(
            "{unread} credentials can't be read here: run `calgrant check --tenant {tenant}` where they are used"
        );
    }
}

/// Looks at each account in turn.
async fn look(
    front: &Front,
    args: &CheckArgs,
    mut told: impl FnMut(SiteKind, &AccountSpec, Finding) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    tls::install_crypto();
    let channel = grpc::channel(&args.status).map_err(|fault| anyhow!("--status: {fault}"))?;
    let fleet = LedgerServiceClient::new(channel.clone())
        .get_fleet(GetFleetRequest::default())
        .await
        .with_context(|| {
            format!(
                "no status answers at {}; name its address by --status",
                args.status
            )
        })?
        .into_inner();
    let terms = wire::terms(&fleet);
    let found = fleet
        .tenants
        .into_iter()
        .find(|one| one.name == args.tenant);
    let found =
        found.with_context(|| format!("--tenant {:?}: there is none of this name", args.tenant))?;
    let tenant = tenant_spec(found)?;
    let is_meant = |account: &AccountSpec| {
        let wanted = args.account.as_ref();
        wanted.is_none_or(|name| account.name.as_str() == name)
    };
    let mut accounts = tenant.sites.iter().flat_map(|site| &site.accounts);
    if let Some(name) = args.account.as_ref().filter(|_| !accounts.any(is_meant)) {
        bail!("--account {name:?}: the tenant has no such account");
    }
    let trustees = trustees(front, &args.tenant).await?;
    let process = uuid::Uuid::new_v4().simple().to_string();
    let budgets = Budgets::new(&process, terms, clock::instant);
    let held = Renewing::begin(budgets.clone(), LeaseServiceClient::new(channel));
    for site in &tenant.sites {
        let here = trustees.iter().filter(|(kind, _)| *kind == site.kind());
        let mut check = Check {
            tenant: &tenant.name,
            site,
            budgets: &budgets,
            trustees: here.map(|(_, address)| address.clone()).collect(),
            mailbox: args.mailbox.clone(),
        };
        // Readers first: one finds the mailbox that grantors look at.
        let mut accounts: Vec<_> = site.accounts.iter().collect();
        accounts.sort_by_key(|account| !account.is(Purpose::Reader));
        for account in accounts {
            if !is_meant(account) && !account.is(Purpose::Reader) {
                continue;
            }
            for finding in check.account(account).await {
                if is_meant(account) {
                    told(site.kind(), account, finding)?;
                }
            }
        }
    }
    held.give_back().await;
    Ok(())
}

/// To whom the tenant's delegations give rights, by site.
async fn trustees(front: &Front, tenant: &str) -> anyhow::Result<BTreeSet<(SiteKind, Address)>> {
    let request = ListDelegationsRequest {
        tenant: tenant.to_owned(),
        page_size: 1000,
        ..ListDelegationsRequest::default()
    };
    let listed = front.provisioning.clone().list_delegations(request).await?;
    let delegations = listed.into_inner().delegations.into_iter();
    let all = delegations.flat_map(|one| one.spec.unwrap_or_default().trustees);
    let known = all.filter_map(|trustee| {
        let kind = match trustee.site() {
            PbSiteKind::Onprem => SiteKind::Onprem,
            _ => SiteKind::Online,
        };
        Some((kind, trustee.address.parse().ok()?))
    });
    Ok(known.collect())
}

/// A site that is checked.
struct Check<'a> {
    tenant: &'a TenantName,
    site: &'a SiteSpec,
    budgets: &'a Budgets,
    trustees: Vec<Address>,
    /// A mailbox there, once one is known.
    mailbox: Option<Address>,
}

impl Check<'_> {
    async fn account(&mut self, account: &AccountSpec) -> Vec<Finding> {
        let mut findings = Vec::new();
        let (mut directory_roles, mut exchange_roles) = (None, None);
        if account.is(Purpose::Reader) {
            match self.directory(account) {
                Ok(directory) => {
                    let budget = self.budget(account, keys::directory(self.site.kind()));
                    findings.extend(self.reader(&*directory, &budget).await);
                    directory_roles = directory.app_roles().await.ok().flatten();
                }
                Err(why) => findings.push(unreadable("read the directory", &why)),
            }
        }
        if account.is(Purpose::Grantor) {
            match self.calendars(account) {
                Ok(calendars) => {
                    let budget = self.budget(account, keys::EXCHANGE);
                    findings.extend(self.grantor(&*calendars, &budget).await);
                    exchange_roles = calendars.app_roles().await.ok().flatten();
                    calendars.sign_out().await;
                }
                Err(why) => findings.push(unreadable("change permissions", &why)),
            }
        }
        if account.is(Purpose::Member) {
            findings.push(self.member(account).await);
        }
        if account.is(Purpose::Setup) {
            let (more, roles) = self.set_up(account).await;
            findings.extend(more);
            if let Some(roles) = roles {
                (directory_roles, exchange_roles) = (Some(roles.directory), Some(roles.exchange));
            }
        }
        // The directory on premises has no throttling policies: its readers are held to our own limits alone.
        let is_online = self.site.kind() == SiteKind::Online;
        if account.is(Purpose::Grantor) || (is_online && account.is(Purpose::Reader)) {
            findings.push(self.limits(account).await);
        }
        let certificate = secret::certificate_expires(account);
        let expires = expiry::expires_at(account.expires, certificate);
        findings.push(expiry::found(expires, clock::now()));
        findings.extend(app_roles(
            &account.purposes,
            directory_roles.as_deref(),
            exchange_roles.as_deref(),
        ));
        findings
    }

    /// What the account's calls are charged to.
    fn budget(&self, account: &AccountSpec, family: &str) -> Option<Account> {
        let keys = keys::of_account(self.tenant, self.site, account, family);
        self.budgets.account(&keys)
    }

    fn directory(&self, account: &AccountSpec) -> Result<Arc<dyn Directory>, String> {
        match &self.site.organisation {
            Organisation::Online(site) => online::directory(site, account, clock::now),
            Organisation::Onprem(site) => active_directory::directory(site, account, clock::now),
        }
    }

    fn calendars(&self, account: &AccountSpec) -> Result<Arc<dyn Calendars>, String> {
        match &self.site.organisation {
            Organisation::Online(site) => online::calendars(site, account, clock::now),
            Organisation::Onprem(site) => onprem::calendars(site, account, clock::now),
        }
    }

    async fn reader(
        &mut self,
        directory: &dyn Directory,
        budget: &Option<Account>,
    ) -> Vec<Finding> {
        if let Err(error) = directory.sign_in().await {
            return vec![refused("sign in", &error)];
        }
        let mut findings = vec![Finding::yes("sign in", "")];
        let everybody = Selection::All {
            types: vec![MailboxType::User],
        };
        let page = permitted(budget, directory.page(&everybody, None), of_listing).await;
        findings.push(match page.unwrap_or_else(|| Err(not_permitted().into())) {
            Ok(page) => {
                let mut there = page.listed.iter().filter_map(|one| one.what.as_ref().ok());
                let first = there.next().map(|mailbox| mailbox.address.clone());
                self.mailbox = self.mailbox.take().or(first);
                Finding::yes(
                    "list mailboxes",
                    format!("{} on the first page", page.listed.len()),
                )
            }
            Err(error) => unlisted("list mailboxes", &error),
        });
        for trustee in &self.trustees {
            let capability = format!("find {trustee}");
            let found = permitted(budget, directory.trustee(trustee), of_listing).await;
            findings.push(match found.unwrap_or_else(|| Err(not_permitted().into())) {
                Ok(found) => Finding::yes(capability, format!("{:?}", found.kind)),
                Err(error) => unlisted(&capability, &error),
            });
        }
        findings
    }

    async fn grantor(&self, calendars: &dyn Calendars, budget: &Option<Account>) -> Vec<Finding> {
        let ask = |mailbox, what| ask(calendars, budget, mailbox, what);
        if let Err(error) = calendars.sign_in().await {
            return vec![refused("sign in", &error)];
        }
        let mut findings = vec![Finding::yes("sign in", "")];
        let Some(mailbox) = &self.mailbox else {
            let why = "no mailbox is known to try it on: give one by --mailbox";
            findings.push(Finding::unknown("work in calendars", why));
            return findings;
        };
        let calendar = match ask(mailbox, Ask::FindCalendar).await {
            Ok(Answer::Calendar(calendar)) => {
                findings.push(Finding::yes("find calendars", mailbox.as_str()));
                calendar
            }
            Ok(_) => return findings,
            Err(error) => {
                findings.push(refused("find calendars", &error));
                return findings;
            }
        };
        let domain = mailbox.as_str().rsplit_once('@').map(|(_, domain)| domain);
        let Some(nobody) = domain.and_then(|domain| format!("{NOBODY}@{domain}").parse().ok())
        else {
            return findings;
        };
        let nobody: Address = nobody;
        let read = Ask::Read {
            calendar: calendar.clone(),
            trustee: self.trustees.first().unwrap_or(mailbox).clone(),
        };
        findings.push(tried("read permissions", ask(mailbox, read).await));
        let remove = Ask::Remove {
            calendar,
            trustee: nobody,
        };
        let removed = ask(mailbox, remove).await;
        findings.push(match removed {
            // Lists are written whole: where there is nothing to change, nothing was asked of the server.
            Err(error) if error.detail.server_code == "no_entry" => Finding::unknown(
                "change permissions",
                "lists are written whole here, so it shows with the first change",
            ),
            other => tried("change permissions", other),
        });
        findings
    }

    /// Looks what a set-up credential may do, by what there is for it: nothing is tried.
    async fn set_up(&self, account: &AccountSpec) -> (Vec<Finding>, Option<AppRoles>) {
        let hand = match &self.site.organisation {
            Organisation::Online(site) => online::administration(site, account, clock::now),
            Organisation::Onprem(site) => onprem::administration(site, account, clock::now),
        };
        let hand = match hand {
            Ok(hand) => hand,
            Err(why) => return (vec![unreadable("set the site up", &why)], None),
        };
        if let Err(error) = hand.sign_in().await {
            return (vec![refused("sign in", &error)], None);
        }
        let mut findings = vec![Finding::yes("sign in", "")];
        let budget = self.budget(account, keys::EXCHANGE);
        let asked = permitted(&budget, hand.cmdlets(), call_of);
        let managed = self.site.setup.as_ref().map(|setup| setup.managed);
        let kind = self.site.kind();
        match asked.await.unwrap_or_else(|| Err(not_permitted().into())) {
            Ok(cmdlets) => findings.extend(set_up(kind, &managed.unwrap_or_default(), &cmdlets)),
            Err(AdministrationError::Call(error)) => {
                findings.push(refused("set the site up", &error));
            }
            Err(AdministrationError::Forbidden { what, grant }) => {
                findings.push(Finding::no(
                    "set the site up",
                    format!("it may not {what}"),
                    grant,
                ));
            }
            Err(error) => findings.push(Finding::unknown("set the site up", error.to_string())),
        }
        let roles = hand.app_roles().await.ok().flatten();
        hand.sign_out().await;
        (findings, roles)
    }

    /// To which limits the account is held; on premises beside what the server's policy says, if the site's set-up account may read it.
    async fn limits(&self, account: &AccountSpec) -> Finding {
        let kind = self.site.kind();
        let by_default = || assumed(kind, account);
        let Organisation::Onprem(site) = &self.site.organisation else {
            return by_default();
        };
        let mut accounts = self.site.accounts.iter();
        let Some(reads) = accounts.find(|one| one.is(Purpose::Setup)) else {
            return by_default();
        };
        let Ok(hand) = onprem::administration(site, reads, clock::now) else {
            return by_default();
        };
        let budget = self.budget(reads, keys::EXCHANGE);
        let asked = permitted(&budget, hand.throttling_policy(&account.user), call_of);
        let read = asked.await;
        hand.sign_out().await;
        match read {
            Some(Ok(Some(policy))) => compared(site, account, &policy),
            Some(Err(AdministrationError::Forbidden { grant, .. })) => {
                let found = by_default();
                Finding {
                    todo: format!("{}; or {grant}: then it is compared here", found.todo),
                    ..found
                }
            }
            _ => by_default(),
        }
    }

    async fn member(&self, account: &AccountSpec) -> Finding {
        let Organisation::Onprem(site) = &self.site.organisation else {
            let why = "members sign in here as people do: try it with the calendar product itself";
            return Finding::unknown("work in calendars", why);
        };
        match onprem::member(site, account, clock::now) {
            Err(why) => unreadable("work in calendars", &why),
            Ok(member) => match member.sign_in().await {
                Ok(()) => Finding::unknown(
                    "work in calendars",
                    "`calgrant try` shows it, by an event that is made and deleted",
                ),
                Err(error) => refused("sign in", &error),
            },
        }
    }
}

/// One call.
async fn ask(
    calendars: &dyn Calendars,
    budget: &Option<Account>,
    mailbox: &Address,
    ask: Ask,
) -> Result<Answer, CallError> {
    let call = CalendarCall {
        mailbox: mailbox.clone(),
        ask,
    };
    let asked = async {
        let answer = calendars.perform(vec![call]).await.answers.pop();
        answer.unwrap_or_else(|| Err(no_answer()))
    };
    let answer = permitted(budget, asked, |error| Some(error)).await;
    answer.unwrap_or_else(|| Err(not_permitted()))
}

/// What is asked under the account's budget; `None` if it may not be asked now. `failed` says which call it was that failed.
async fn permitted<T, E>(
    budget: &Option<Account>,
    ask: impl Future<Output = Result<T, E>>,
    failed: impl FnOnce(&E) -> Option<&CallError>,
) -> Option<Result<T, E>> {
    let permits = budget.as_ref()?.permits(Lane::Interactive, 1);
    let permits = tokio::time::timeout(PATIENCE, permits).await.ok()?;
    let answer = ask.await;
    match answer.as_ref().err().and_then(failed) {
        // The server may go on with it: it keeps its place for a while.
        Some(error) if error.unanswered => drop(permits),
        Some(error) => permits.done(!matches!(error.meaning, Meaning::WaitUntil { .. })),
        None => permits.done(true),
    }
    Some(answer)
}

/// The call that failed, if it was one.
fn call_of(error: &AdministrationError) -> Option<&CallError> {
    match error {
        AdministrationError::Call(error) => Some(error),
        _ => None,
    }
}

/// The call of a listing that failed, if it was one.
fn of_listing(error: &ListingError) -> Option<&CallError> {
    match error {
        ListingError::Call(error) => Some(error),
        ListingError::Expired | ListingError::Refused { .. } => None,
    }
}

fn no_answer() -> CallError {
    CallError::new(Meaning::Retry, "no_answer", "no answer came")
}

fn not_permitted() -> CallError {
    let why = "the account may not be used now: it is paused or drained, or its budget is spent";
    CallError::new(Meaning::Retry, "no_permit", why)
}

/// What an answer says of a right: whoever is told that there is no such entry, or nobody of that name, was let in.
fn tried(capability: &str, answer: Result<Answer, CallError>) -> Finding {
    match answer {
        Ok(_) => Finding::yes(capability, ""),
        Err(error) => match &error.meaning {
            Meaning::NoEntry | Meaning::EntryExists | Meaning::GiveUp(Reason::TrusteeRefused) => {
                Finding::yes(capability, "")
            }
            _ => refused(capability, &error),
        },
    }
}

/// What a failed call says of a right.
fn refused(capability: &str, error: &CallError) -> Finding {
    let why = error.to_string();
    match &error.meaning {
        Meaning::PauseAccount | Meaning::SignInAgain => Finding::no(
            capability,
            why,
            "give the account this right, or correct its credential; README says which rights each purpose needs",
        ),
        Meaning::GiveUp(reason) => Finding::no(capability, why, reason.advice()),
        Meaning::FolderGone | Meaning::Park => Finding::unknown(
            capability,
            format!("the mailbox isn't ready: give another by --mailbox ({why})"),
        ),
        _ => Finding::unknown(capability, format!("{why}: try again later")),
    }
}

fn unlisted(capability: &str, error: &ListingError) -> Finding {
    match error {
        ListingError::Call(error) => refused(capability, error),
        ListingError::Expired => Finding::unknown(capability, "it took too long: try again"),
        ListingError::Refused { why, .. } => Finding::no(capability, why, ""),
    }
}

/// The credential isn't here: it may be where the account is used.
fn unreadable(capability: &str, why: &str) -> Finding {
    Finding {
        todo: ELSEWHERE.to_owned(),
        ..Finding::unknown(capability, why)
    }
}
