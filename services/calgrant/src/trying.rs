//! What was granted, tried by who it was granted to.

use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use calgrant_contract::pb::{
    provisioning::v1::{Outcome, SiteKind},
    status::v1::{ListOperationMailboxesRequest, OperationMailbox},
};
use calgrant_domain::{AccountSpec, Address, Organisation, Purpose, TenantSpec};
use calgrant_exchange_onprem::{EwsMember, connect};
use calgrant_runtime::{clock, tls};
use clap::Args;

use crate::{cli::OutputArgs, exit, front::Front, output::Rows};

/// Where, by whom.
#[derive(Debug, Args)]
pub(crate) struct TryArgs {
    /// Addresses of the mailboxes.
    #[arg(required_unless_present = "operation")]
    mailboxes: Vec<String>,
    /// Name of the tenant.
    #[arg(long)]
    tenant: String,
    /// Instead of addresses: mailboxes on premises to which this operation gave the right, op_….
    #[arg(long, conflicts_with = "mailboxes")]
    operation: Option<String>,
    /// With --operation: so many of them, spread over all.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    sample: u16,
    /// The member account; the site's first one by default. Its secret is read by this command.
    #[arg(long)]
    account: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

const COLUMNS: &[(&str, usize)] = &[
    ("name", 36),
    ("works", 6),
    ("server_code", 24),
    ("server_text", 60),
    ("request_id", 36),
];
/// After them the trustee has at least the right.
const GIVEN: [Outcome; 4] = [
    Outcome::Added,
    Outcome::Updated,
    Outcome::Unchanged,
    Outcome::LeftHigher,
];

/// Makes an event in each calendar and deletes it, one after the other, and prints how that went.
pub(crate) async fn run(front: Front, args: &TryArgs) -> anyhow::Result<ExitCode> {
    tls::install_crypto();
    let tenant = front.tenant(&args.tenant).await?;
    let member = member(&tenant, args.account.as_deref())?;
    let mailboxes = match &args.operation {
        Some(operation) => sample(granted(&front, operation).await?, args.sample.into()),
        None => args.mailboxes.clone(),
    };
    let mut rows = Rows::new(args.output.output, COLUMNS);
    let mut failed = false;
    for name in mailboxes {
        let address: Address = name.parse().map_err(|bad| anyhow!("{bad}"))?;
        let tried = member.works_in(&address).await;
        failed |= tried.is_err();
        let detail = tried.as_ref().err().map(|error| error.detail.clone());
        let detail = detail.unwrap_or_default();
        rows.print(vec![
            name.into(),
            tried.is_ok().into(),
            detail.server_code.into(),
            detail.server_text.into(),
            detail.request_id.into(),
        ])?;
    }
    Ok(if failed {
        ExitCode::from(exit::SOME_FAILED)
    } else {
        ExitCode::SUCCESS
    })
}

/// The account, connected.
fn member(tenant: &TenantSpec, wanted: Option<&str>) -> anyhow::Result<EwsMember> {
    let site = tenant.site(calgrant_domain::SiteKind::Onprem);
    let Some((site, Organisation::Onprem(onprem))) = site.map(|site| (site, &site.organisation))
    else {
        bail!(
            "{} has no site on premises: in Exchange Online members sign in as people do, so try there with the calendar product itself",
            tenant.name
        );
    };
    let is_wanted = |account: &&AccountSpec| match wanted {
        Some(name) => account.name.as_str() == name,
        None => account.purposes.contains(&Purpose::Member),
    };
    let account = site.accounts.iter().find(is_wanted).with_context(|| match wanted {
        Some(name) => format!("--account {name:?}: the site on premises has no such account"),
        None => "the site on premises has no account with the purpose member: add it to the tenant's file, or name one by --account".to_owned(),
    })?;
    connect::member(onprem, account, clock::now)
        .map_err(|why| anyhow!("account {}: {why}", account.name))
}

/// Names of the mailboxes on premises to which an operation gave the right.
async fn granted(front: &Front, operation: &str) -> anyhow::Result<Vec<String>> {
    let request = ListOperationMailboxesRequest {
        operation_id: operation.to_owned(),
        outcomes: GIVEN.map(Into::into).to_vec(),
        ..ListOperationMailboxesRequest::default()
    };
    let mut names = Vec::new();
    let told = |mailbox: OperationMailbox| {
        if mailbox.site() == SiteKind::Onprem {
            names.push(mailbox.name);
        }
        Ok(())
    };
    front.mailboxes(request, told).await?;
    Ok(names)
}

/// So many, spread over all.
fn sample(all: Vec<String>, size: usize) -> Vec<String> {
    let step = all.len().div_ceil(size).max(1);
    all.into_iter().step_by(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_all() {
        let all = |count: u32| {
            (0..count)
                .map(|number| number.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(sample(all(0), 3), Vec::<String>::new());
        assert_eq!(sample(all(2), 3), ["0", "1"]);
        assert_eq!(sample(all(9), 3), ["0", "3", "6"]);
        assert_eq!(sample(all(10), 3), ["0", "4", "8"]);
    }
}
