//! Preflight: signs in with the credentials that this process can read, and says what each account may do, may not, and may beyond what
//! it is for; or looks at an application that needs no accounts. Nothing is written anywhere.

mod accounts;
mod application;
mod asking;

use std::{collections::BTreeSet, process::ExitCode};

use anyhow::{Context, anyhow, bail};
use calgrant_contract::pb::{
    ledger::v1::{
        GetFleetRequest, lease_service_client::LeaseServiceClient,
        ledger_service_client::LedgerServiceClient,
    },
    provisioning::v1::{ListDelegationsRequest, SiteKind as PbSiteKind},
};
use calgrant_domain::{
    AccountSpec, Address, Finding, Held, Organisation, Purpose, SiteKind, TenantSpec,
};
use calgrant_exchange_online::connect as online;
use calgrant_leases::{Budgets, Renewing, keys, wire};
use calgrant_runtime::{clock, grpc, tls};
use clap::Args;
use uuid::Uuid;

use self::{
    accounts::Check,
    application::{Charged, Looking},
    asking::ELSEWHERE,
};
use crate::{
    cli::OutputArgs,
    exit,
    front::{Front, tenant_spec},
    output::{Output, Rows},
    setup_by_token::OwnArgs,
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
    /// A mailbox to look at; the first that the site's reader lists by default. With --application: whether it is in its scope.
    #[arg(long)]
    mailbox: Option<Address>,
    /// Instead of the accounts: an application that works in Exchange Online without them, by RBAC for Applications; its client id. It is
    /// looked at with the site's account of the purpose setup.
    #[arg(long, value_name = "CLIENT_ID", conflicts_with = "account")]
    application: Option<Uuid>,
    /// With --application.
    #[command(flatten)]
    own: OwnArgs,
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

/// Prints a row for each capability of each account. The exit code says whether something needed is missing.
pub(crate) async fn run(front: Front, args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let mut rows = Rows::new(args.output.output, COLUMNS);
    let mut missing = false;
    let mut told = |site: SiteKind, account: &str, finding: Finding| {
        missing |= finding.held == Held::No;
        rows.print(vec![
            site.to_string().into(),
            account.into(),
            finding.capability.into(),
            finding.held.to_string().into(),
            finding.why.into(),
            finding.todo.into(),
        ])
    };
    match args.application {
        None if args.own.is_given() => {
            bail!(
                "a credential of your own is for --application; accounts are looked at with theirs"
            )
        }
        None => look(&front, args, told).await?,
        Some(application) => {
            for finding in look_at_application(args, application).await? {
                told(SiteKind::Online, &application.to_string(), finding)?;
            }
        }
    }
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
        application: None,
        own: OwnArgs::default(),
        status: status.to_owned(),
        output: OutputArgs {
            output: Output::Table,
        },
    };
    let mut unread = 0;
    let told = |site: SiteKind, account: &str, finding: Finding| {
        if finding.todo == ELSEWHERE {
            unread += 1;
        } else if matches!(finding.held, Held::No | Held::Beyond) {
            let Finding {
                capability,
                held,
                why,
                todo,
            } = finding;
            eprintln!("{site}/{account}: {capability}: {held}: {why}; {todo}");
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
    mut told: impl FnMut(SiteKind, &str, Finding) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    let (tenant, budgets, held) = begin(args).await?;
    let is_meant = |account: &AccountSpec| {
        let wanted = args.account.as_ref();
        wanted.is_none_or(|name| account.name.as_str() == name)
    };
    let mut accounts = tenant.sites.iter().flat_map(|site| &site.accounts);
    if let Some(name) = args.account.as_ref().filter(|_| !accounts.any(is_meant)) {
        bail!("--account {name:?}: the tenant has no such account");
    }
    let trustees = trustees(front, &args.tenant).await?;
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
                    told(site.kind(), account.name.as_str(), finding)?;
                }
            }
        }
    }
    held.give_back().await;
    Ok(())
}

/// Looks at an application that needs no accounts.
async fn look_at_application(args: &CheckArgs, application: Uuid) -> anyhow::Result<Vec<Finding>> {
    let (tenant, budgets, held) = begin(args).await?;
    let site = tenant.site(SiteKind::Online);
    let (site, online) = site
        .and_then(|site| match &site.organisation {
            Organisation::Online(online) => Some((site, online)),
            Organisation::Onprem(_) => None,
        })
        .with_context(|| {
            format!(
                "--application: {} has no site online, and Exchange on premises has no such roles",
                tenant.name
            )
        })?;
    let (hand, charged) = if let Some(lent) = args.own.lent(site).await? {
        let (graph, exchange) = lent.tokens();
        let hand = online::applications_with_tokens(online, graph, exchange, clock::now);
        (hand, Charged::Nobody)
    } else {
        let mut accounts = site.accounts.iter();
        let account = accounts.find(|account| account.is(Purpose::Setup)).with_context(|| {
            format!("--application: no account of {}'s site online has the purpose setup; sign in yourself with --device-code, or give tokens with --token-stdin", tenant.name)
        })?;
        let budget =
            |family| budgets.account(&keys::of_account(&tenant.name, site, account, family));
        let charged = Charged::Account {
            exchange: budget(keys::EXCHANGE),
            directory: budget(keys::directory(SiteKind::Online)),
        };
        (online::applications(online, account, clock::now), charged)
    };
    let hand = hand.map_err(|why| anyhow!(why))?;
    let looking = Looking { hand, charged };
    let findings = looking.at(application, args.mailbox.as_ref()).await;
    held.give_back().await;
    Ok(findings)
}

/// The tenant as it is applied, and the budgets of its accounts, which are given back by the last.
async fn begin(args: &CheckArgs) -> anyhow::Result<(TenantSpec, Budgets, Renewing)> {
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
    let mut tenants = fleet.tenants.into_iter();
    let found = tenants.find(|one| one.name == args.tenant);
    let found =
        found.with_context(|| format!("--tenant {:?}: there is none of this name", args.tenant))?;
    let tenant = tenant_spec(found)?;
    let process = Uuid::new_v4().simple().to_string();
    let budgets = Budgets::new(&process, terms, clock::instant);
    let held = Renewing::begin(budgets.clone(), LeaseServiceClient::new(channel));
    Ok((tenant, budgets, held))
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
