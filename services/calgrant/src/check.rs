//! Preflight: signs in with the credentials that this process can read, and says what each account may do, may not, and may beyond what
//! it is for. Nothing is written anywhere.

use std::{process::ExitCode, sync::Arc};

use anyhow::anyhow;
use calgrant_contract::{
    fleet,
    pb::{
        fleet::v1::GetTenantRequest,
        provisioning::v1::{ListDelegationsRequest, SiteKind as PbSiteKind},
    },
};
use calgrant_domain::{
    AccountSpec, Address, Finding, Held, MailboxType, Organisation, Purpose, SiteKind, SiteSpec,
    TenantSpec, preflight::app_roles,
};
use calgrant_exchange::{
    Answer, Ask, CalendarCall, Calendars, CallError, Directory, ListingError, Meaning, Selection,
};
use calgrant_exchange_ad::connect as active_directory;
use calgrant_exchange_online::connect as online;
use calgrant_exchange_onprem::connect as onprem;
use calgrant_runtime::{clock, tls};
use clap::Args;

use crate::{cli::OutputArgs, exit, front::Front, output::Rows};

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

/// Prints a row for each capability of each account. The exit code says whether something needed is missing.
pub(crate) async fn run(front: Front, args: &CheckArgs) -> anyhow::Result<ExitCode> {
    tls::install_crypto();
    let tenant = tenant(&front, &args.tenant).await?;
    let is_meant = |account: &AccountSpec| {
        let wanted = args.account.as_ref();
        wanted.is_none_or(|name| account.name.as_str() == name)
    };
    let mut accounts = tenant.sites.iter().flat_map(|site| &site.accounts);
    if let Some(name) = args.account.as_ref().filter(|_| !accounts.any(is_meant)) {
        return Err(anyhow!(
            "--account {name:?}: the tenant has no such account"
        ));
    }
    let trustees = trustees(&front, &args.tenant).await?;
    let mut rows = Rows::new(args.output.output, COLUMNS);
    let mut missing = false;
    for site in &tenant.sites {
        let here = trustees.iter().filter(|(kind, _)| *kind == site.kind());
        let mut check = Check {
            site,
            trustees: here.map(|(_, address)| address.clone()).collect(),
            mailbox: args.mailbox.clone(),
        };
        // Readers first: one finds the mailbox that grantors look at.
        let mut accounts: Vec<_> = site.accounts.iter().collect();
        accounts.sort_by_key(|account| !account.is(Purpose::Reader));
        for account in accounts {
            let findings = check.account(account).await;
            if !is_meant(account) {
                continue;
            }
            for finding in findings {
                missing |= finding.held == Held::No;
                rows.print(vec![
                    site.kind().to_string().into(),
                    account.name.to_string().into(),
                    finding.capability.into(),
                    finding.held.to_string().into(),
                    finding.why.into(),
                    finding.todo.into(),
                ])?;
            }
        }
    }
    Ok(if missing {
        ExitCode::from(exit::SOME_FAILED)
    } else {
        ExitCode::SUCCESS
    })
}

/// The tenant as it was applied.
pub(crate) async fn tenant(front: &Front, name: &str) -> anyhow::Result<TenantSpec> {
    let request = GetTenantRequest {
        name: name.to_owned(),
    };
    let tenant = front.fleet.clone().get_tenant(request).await?.into_inner();
    fleet::tenant(tenant.spec.unwrap_or_default())
        .map_err(|_| anyhow!("the tenant can't be read: is this calgrant older than its api?"))
}

/// To whom the tenant's delegations give rights, by site.
async fn trustees(front: &Front, tenant: &str) -> anyhow::Result<Vec<(SiteKind, Address)>> {
    let request = ListDelegationsRequest {
        tenant: tenant.to_owned(),
        page_size: 1000,
        ..ListDelegationsRequest::default()
    };
    let listed = front.provisioning.clone().list_delegations(request).await?;
    let delegations = listed.into_inner().delegations.into_iter();
    let all = delegations.flat_map(|one| one.spec.unwrap_or_default().trustees);
    let mut known = Vec::new();
    for trustee in all {
        let kind = match trustee.site() {
            PbSiteKind::Onprem => SiteKind::Onprem,
            _ => SiteKind::Online,
        };
        if let Ok(address) = trustee.address.parse()
            && !known.contains(&(kind, address))
        {
            known.push((
                kind,
                trustee.address.parse().map_err(|bad| anyhow!("{bad}"))?,
            ));
        }
    }
    Ok(known)
}

/// A site that is checked.
struct Check<'a> {
    site: &'a SiteSpec,
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
                    findings.extend(self.reader(&*directory).await);
                    directory_roles = directory.app_roles().await.ok().flatten();
                }
                Err(why) => findings.push(unreadable("read the directory", &why)),
            }
        }
        if account.is(Purpose::Grantor) {
            match self.calendars(account) {
                Ok(calendars) => {
                    findings.extend(self.grantor(&*calendars).await);
                    exchange_roles = calendars.app_roles().await.ok().flatten();
                    calendars.sign_out().await;
                }
                Err(why) => findings.push(unreadable("change permissions", &why)),
            }
        }
        if account.is(Purpose::Member) {
            findings.push(self.member(account).await);
        }
        findings.extend(app_roles(
            &account.purposes,
            directory_roles.as_deref(),
            exchange_roles.as_deref(),
        ));
        findings
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

    async fn reader(&mut self, directory: &dyn Directory) -> Vec<Finding> {
        if let Err(error) = directory.sign_in().await {
            return vec![refused("sign in", &error)];
        }
        let mut findings = vec![Finding::yes("sign in", "")];
        let everybody = Selection::All {
            types: vec![MailboxType::User],
        };
        findings.push(match directory.page(&everybody, None).await {
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
            findings.push(match directory.trustee(trustee).await {
                Ok(found) => Finding::yes(capability, format!("{:?}", found.kind)),
                Err(error) => unlisted(&capability, &error),
            });
        }
        findings
    }

    async fn grantor(&self, calendars: &dyn Calendars) -> Vec<Finding> {
        if let Err(error) = calendars.sign_in().await {
            return vec![refused("sign in", &error)];
        }
        let mut findings = vec![Finding::yes("sign in", "")];
        let Some(mailbox) = &self.mailbox else {
            let why = "no mailbox is known to try it on: give one by --mailbox";
            findings.push(Finding::unknown("work in calendars", why));
            return findings;
        };
        let calendar = match ask(calendars, mailbox, Ask::FindCalendar).await {
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
        findings.push(tried(
            "read permissions",
            ask(calendars, mailbox, read).await,
        ));
        let remove = Ask::Remove {
            calendar,
            trustee: nobody,
        };
        let removed = ask(calendars, mailbox, remove).await;
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
async fn ask(calendars: &dyn Calendars, mailbox: &Address, ask: Ask) -> Result<Answer, CallError> {
    let call = CalendarCall {
        mailbox: mailbox.clone(),
        ask,
    };
    let answer = calendars.perform(vec![call]).await.answers.pop();
    answer.unwrap_or_else(|| {
        Err(CallError::new(
            Meaning::Retry,
            "no_answer",
            "no answer came",
        ))
    })
}

/// What an answer says of a right: whoever is told that there is no such entry, or nobody of that name, was let in.
fn tried(capability: &str, answer: Result<Answer, CallError>) -> Finding {
    match answer {
        Ok(_) => Finding::yes(capability, ""),
        Err(error) => match &error.meaning {
            Meaning::NoEntry | Meaning::EntryExists => Finding::yes(capability, ""),
            Meaning::GiveUp(calgrant_domain::Reason::TrusteeRefused) => {
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
        todo: "run this where the account is used, with the same environment and files".to_owned(),
        ..Finding::unknown(capability, why)
    }
}
