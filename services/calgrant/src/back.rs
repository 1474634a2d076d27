//! Taking away, putting back, looking whether it is still there.

use std::process::ExitCode;

use anyhow::bail;
use calgrant_contract::pb::provisioning::v1::{
    Lane, ListDelegationsRequest, Operation, RevokeDelegationRequest, RevokeTrusteeRequest,
    UndoOperationRequest, VerifyDelegationRequest,
};
use clap::Args;

use crate::{
    front::{Front, patiently},
    how::How,
};

/// What every one of these commands takes.
#[derive(Debug, Args)]
struct Asked {
    /// Goes before bulk work, as it does by default where one mailbox is named.
    #[arg(long)]
    interactive: bool,
    #[command(flatten)]
    how: How,
}

/// What is taken away.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    of: RevokeOf,
    /// Name of the tenant; with --trustee.
    #[arg(long, requires = "trustee", default_value = "")]
    tenant: String,
    /// Only this mailbox: an address it had when it was listed, or its key, mbx_… or a GUID. May be repeated.
    #[arg(long)]
    mailbox: Vec<String>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct RevokeOf {
    /// The delegation, dlg_…
    #[arg(long)]
    delegation: Option<String>,
    /// What any delegation of the tenant gave this trustee: its primary address.
    #[arg(long, requires = "tenant")]
    trustee: Option<String>,
}

/// What is put back.
#[derive(Debug, Args)]
pub(crate) struct UndoArgs {
    /// The operation, op_…
    operation: String,
    #[command(flatten)]
    asked: Asked,
}

/// What is looked at.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    of: VerifyOf,
    /// Name of the tenant; with --all.
    #[arg(long, requires = "all", default_value = "")]
    tenant: String,
    /// Only this mailbox: an address it had when it was listed, or its key, mbx_… or a GUID. May be repeated.
    #[arg(long, conflicts_with = "all")]
    mailbox: Vec<String>,
    /// Gives the right again where it was taken away or lowered.
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct VerifyOf {
    /// The delegation, dlg_…
    #[arg(long)]
    delegation: Option<String>,
    /// All delegations of the tenant, one after the other: brings what is on record back in line with what is there, after the database was
    /// restored.
    #[arg(long, requires = "tenant")]
    all: bool,
}

impl Asked {
    fn lane(&self) -> i32 {
        if self.interactive {
            Lane::Interactive.into()
        } else {
            Lane::Unspecified.into()
        }
    }
}

/// Takes away.
pub(crate) async fn revoke(front: Front, args: &RevokeArgs) -> anyhow::Result<ExitCode> {
    let how = &args.asked.how;
    let (mailboxes, request_id) = (args.mailbox.clone(), how.request_id());
    let (lane, validate_only, ticket) = (args.asked.lane(), how.plan, how.ticket.clone());
    // The request_id makes a repeat harmless, here and below.
    let accepted = match &args.of.trustee {
        Some(trustee) => {
            let request = RevokeTrusteeRequest {
                tenant: args.tenant.clone(),
                trustee: trustee.clone(),
                mailboxes,
                request_id,
                lane,
                validate_only,
                ticket,
            };
            patiently(|| {
                let (mut api, request) = (front.provisioning.clone(), request.clone());
                async move { api.revoke_trustee(request).await }
            })
            .await
        }
        None => {
            let request = RevokeDelegationRequest {
                delegation: args.of.delegation.clone().unwrap_or_default(),
                mailboxes,
                request_id,
                lane,
                validate_only,
                ticket,
            };
            patiently(|| {
                let (mut api, request) = (front.provisioning.clone(), request.clone());
                async move { api.revoke_delegation(request).await }
            })
            .await
        }
    };
    how.follow(&front, accepted?).await
}

/// Puts back.
pub(crate) async fn undo(front: Front, args: &UndoArgs) -> anyhow::Result<ExitCode> {
    let how = &args.asked.how;
    let request = UndoOperationRequest {
        operation: args.operation.clone(),
        request_id: how.request_id(),
        lane: args.asked.lane(),
        validate_only: how.plan,
        ticket: how.ticket.clone(),
    };
    let accepted = patiently(|| {
        let (mut api, request) = (front.provisioning.clone(), request.clone());
        async move { api.undo_operation(request).await }
    });
    how.follow(&front, accepted.await?).await
}

/// Looks.
pub(crate) async fn verify(front: Front, args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let how = &args.asked.how;
    let request_id = how.request_id();
    let Some(delegation) = &args.of.delegation else {
        // All are accepted before the first is waited for: together they are done sooner.
        let mut accepted = Vec::new();
        let all = delegations(&front, &args.tenant).await?;
        if all.is_empty() {
            bail!(
                "there is no delegation of a tenant {:?}: look at its name",
                args.tenant
            );
        }
        for delegation in all {
            let request_id = format!("{request_id}-{delegation}");
            accepted.push(verify_one(&front, args, delegation, request_id).await?);
        }
        return how.follow_all(&front, accepted).await;
    };
    let accepted = verify_one(&front, args, delegation.clone(), request_id).await?;
    how.follow(&front, accepted).await
}

async fn verify_one(
    front: &Front,
    args: &VerifyArgs,
    delegation: String,
    request_id: String,
) -> anyhow::Result<Operation> {
    let how = &args.asked.how;
    let request = VerifyDelegationRequest {
        delegation,
        mailboxes: args.mailbox.clone(),
        repair: args.repair,
        request_id,
        lane: args.asked.lane(),
        validate_only: how.plan,
        ticket: how.ticket.clone(),
    };
    let accepted = patiently(|| {
        let (mut api, request) = (front.provisioning.clone(), request.clone());
        async move { api.verify_delegation(request).await }
    });
    Ok(accepted.await?)
}

/// The ids of a tenant's delegations.
async fn delegations(front: &Front, tenant: &str) -> anyhow::Result<Vec<String>> {
    let (mut ids, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListDelegationsRequest {
            tenant: tenant.to_owned(),
            page_size: 1000,
            page_token,
        };
        let answer = patiently(|| {
            let (mut api, request) = (front.provisioning.clone(), request.clone());
            async move { api.list_delegations(request).await }
        });
        let page = answer.await?;
        let found = page.delegations.into_iter();
        ids.extend(found.map(|delegation| delegation.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(ids);
        }
    }
}
