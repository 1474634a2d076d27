//! One request: a right on many calendars.

use std::{io::Read, path::PathBuf, process::ExitCode};

use calgrant_contract::{
    pb::{
        fleet::v1::GetTenantRequest,
        provisioning::v1::{
            DelegationSpec, Lane, Policy, RunDelegationRequest, Selector, Trustee,
            UploadMailboxListRequest, run_delegation_request::What, selector::By,
        },
    },
    words,
};
use calgrant_domain::{Address, BadInput, SiteKind};
use clap::Args;

use crate::{
    front::{Front, patiently},
    how::How,
    tenant_file::Faults,
};

/// Whose calendars, for whom.
#[derive(Debug, Args)]
pub(crate) struct DelegateArgs {
    /// Name of the tenant.
    #[arg(long)]
    tenant: String,
    #[command(flatten)]
    selector: SelectorArgs,
    /// Members of this group are left out. May be repeated.
    #[arg(long)]
    exclude_group: Vec<String>,
    /// This mailbox is left out. May be repeated.
    #[arg(long)]
    exclude: Vec<String>,
    /// With --all: types of mailboxes (user, shared, room, equipment); user by default. May be repeated.
    #[arg(long = "type")]
    types: Vec<calgrant_domain::MailboxType>,
    /// Who receives the right: a mail-enabled security group, or a mailbox. At every site of the tenant, or at one with
    /// online= or onprem= before it; then it may be repeated.
    #[arg(long, required = true, value_name = "[SITE=]ADDRESS")]
    trustee: Vec<String>,
    /// The right.
    #[arg(long, default_value = "Author")]
    role: String,
    /// Lowers entries that allow more.
    #[arg(long)]
    lower_higher: bool,
    /// From now on also for those whom onboarding events tell of; looked at again and listed anew by itself, as `keep` in the tenant's file says.
    #[arg(long)]
    keep: bool,
    /// Goes before bulk work.
    #[arg(long)]
    interactive: bool,
    /// So many mailboxes first; then it waits for `calgrant operations release`.
    #[arg(long, default_value_t = 0, value_name = "MAILBOXES")]
    canary: u32,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct SelectorArgs {
    /// Members of this group, nested ones included.
    #[arg(long)]
    group: Option<String>,
    /// Everything below this organisational unit.
    #[arg(long)]
    ou: Option<String>,
    /// What lies in this organisational unit itself, not in units inside it.
    #[arg(long)]
    ou_one_level: Option<String>,
    /// Members of this administrative unit.
    #[arg(long)]
    administrative_unit: Option<String>,
    /// Every mailbox.
    #[arg(long)]
    all: bool,
    /// A file with one address a line; - for standard input.
    #[arg(long)]
    mailboxes: Option<PathBuf>,
}

/// Lines of one part of an upload.
const PART: usize = 5000;

/// Submits it, and waits if asked to.
pub(crate) async fn run(front: Front, args: &DelegateArgs) -> anyhow::Result<ExitCode> {
    let by = match &args.selector {
        SelectorArgs {
            group: Some(group), ..
        } => By::Group(group.clone()),
        SelectorArgs { ou: Some(ou), .. } => By::OrganizationalUnit(ou.clone()),
        SelectorArgs {
            ou_one_level: Some(ou),
            ..
        } => By::OrganizationalUnitOneLevel(ou.clone()),
        SelectorArgs {
            administrative_unit: Some(unit),
            ..
        } => By::AdministrativeUnit(unit.clone()),
        SelectorArgs {
            mailboxes: Some(path),
            ..
        } => By::MailboxList(upload(&front, &args.tenant, path).await?),
        _ => By::All(true),
    };
    let spec = DelegationSpec {
        tenant: args.tenant.clone(),
        selector: Some(Selector { by: Some(by) }),
        exclude_groups: args.exclude_group.clone(),
        exclude_mailboxes: args.exclude.clone(),
        mailbox_types: args
            .types
            .iter()
            .map(|kind| words::mailbox_type_to_wire(*kind))
            .collect(),
        trustees: trustees(&front, &args.tenant, &args.trustee).await?,
        role: args.role.clone(),
        lower_higher: args.lower_higher,
        policy: if args.keep {
            Policy::Keep
        } else {
            Policy::Once
        }
        .into(),
    };
    let request = RunDelegationRequest {
        what: Some(What::Spec(spec)),
        request_id: args.how.request_id(),
        lane: if args.interactive {
            Lane::Interactive
        } else {
            Lane::Bulk
        } as i32,
        validate_only: args.how.plan,
        ticket: args.how.ticket.clone(),
        canary: args.canary,
        ..Default::default()
    };
    // Its request_id makes a repeat harmless.
    let operation = patiently(|| {
        let (mut api, request) = (front.provisioning.clone(), request.clone());
        async move { api.run_delegation(request).await }
    })
    .await?;
    args.how.follow(&front, operation).await
}

/// Who receives the right, site by site. Only where none is named, the tenant's sites are asked for.
async fn trustees(front: &Front, tenant: &str, written: &[String]) -> anyhow::Result<Vec<Trustee>> {
    let mut trustees = Vec::new();
    for written in written {
        let (sites, address) = match written.split_once('=') {
            Some((site, address)) => {
                let site: SiteKind = site
                    .parse()
                    .map_err(|bad: BadInput| bad.within("--trustee"))?;
                (vec![words::site_kind_to_wire(site)], address)
            }
            None => {
                let stored = patiently(|| {
                    let (mut api, name) = (front.fleet.clone(), tenant.to_owned());
                    async move { api.get_tenant(GetTenantRequest { name }).await }
                })
                .await?;
                let sites = stored.spec.unwrap_or_default().sites;
                (
                    sites.iter().map(|site| site.kind).collect(),
                    written.as_str(),
                )
            }
        };
        trustees.extend(sites.into_iter().map(|site| Trustee {
            site,
            address: address.to_owned(),
        }));
    }
    Ok(trustees)
}

/// Every line that names no mailbox. The api looks too, but its answer has no room for many.
fn faulty_lines(text: &str) -> Vec<BadInput> {
    let lines = text.lines().map(str::trim).zip(1..);
    lines
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|(line, number)| {
            let bad = line.parse::<Address>().err()?;
            Some(bad.within(&format!("lines[{number}]")))
        })
        .collect()
}

async fn upload(front: &Front, tenant: &str, path: &PathBuf) -> anyhow::Result<String> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = std::fs::read_to_string(path)
            .map_err(|cause| anyhow::anyhow!("{}: {cause}", path.display()))?;
    }
    let faults = faulty_lines(&text);
    if !faults.is_empty() {
        return Err(Faults::new("the list", faults).into());
    }
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let parts: Vec<_> = lines
        .chunks(PART)
        .map(|lines| UploadMailboxListRequest {
            tenant: tenant.to_owned(),
            lines: lines.to_vec(),
        })
        .collect();
    let stored = front
        .provisioning
        .clone()
        .upload_mailbox_list(tokio_stream::iter(parts))
        .await?
        .into_inner();
    for repeated in &stored.repeated_lines {
        eprintln!(
            "line {} repeats line {}: one job for both",
            repeated.line, repeated.first_line
        );
    }
    eprintln!("{} mailboxes are listed as {}", stored.names, stored.id);
    Ok(stored.id)
}
