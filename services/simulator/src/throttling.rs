//! Throttling policies as cmdlets show them, on premises.

use serde_json::{Value, json};

use crate::cmdlet::{Command, Output};
use crate::onprem::{Amount, DEFAULT_POLICY, PolicySpec, Site};
use crate::parameters::Parameters;
use crate::reply::CmdletError;

/// The name that the policy of everybody who is given none is shown by.
const GLOBAL: &str = "GlobalThrottlingPolicy_1dc1d5a5-9b2c-4b7e-9c0c-4f6f2a8f0a11";

fn name(policy: &PolicySpec) -> &str {
    if policy.name.eq_ignore_ascii_case(DEFAULT_POLICY) {
        GLOBAL
    } else {
        &policy.name
    }
}

/// `Get-ThrottlingPolicyAssociation`: of an account, whatever kind of one.
pub(crate) fn association(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    parameters.only(&["Identity", "DomainController"])?;
    let identity = parameters.required("Identity")?;
    let account = command.tenant.site.as_ref().and_then(|site| {
        let of_user = || site.of_user(command.tenant.user(identity)?);
        site.account(identity).or_else(of_user)
    });
    let account = account.ok_or_else(|| CmdletError::not_found(identity))?;
    let rights = account.rights();
    let policy = name(&rights.policy);
    // Who has none of its own is shown with none.
    let id = (policy != GLOBAL).then_some(policy);
    Ok(Output::of(vec![json!({
        "Name": account.name, "Identity": account.name, "ObjectId": account.name, "ThrottlingPolicyId": id,
    })]))
}

/// `Get-ThrottlingPolicy`: one of them, or all.
pub(crate) fn policy(
    command: &Command<'_>,
    parameters: &Parameters<'_>,
) -> Result<Output, CmdletError> {
    parameters.only(&["Identity", "ThrottlingPolicyScope", "DomainController"])?;
    let identity = parameters.text("Identity");
    let scope = parameters.text("ThrottlingPolicyScope");
    let site = command.tenant.site.iter();
    let policies = site.flat_map(Site::policies).filter(|policy| {
        identity.is_none_or(|wanted| name(policy).eq_ignore_ascii_case(wanted))
            && scope.is_none_or(|wanted| scope_of(policy).eq_ignore_ascii_case(wanted))
    });
    let shown: Vec<_> = policies.map(shown).collect();
    match identity {
        Some(wanted) if shown.is_empty() => Err(CmdletError::not_found(wanted)),
        _ => Ok(Output::of(shown)),
    }
}

fn scope_of(policy: &PolicySpec) -> &'static str {
    if name(policy) == GLOBAL {
        "Global"
    } else {
        "Regular"
    }
}

/// Numbers are texts there, for they may be without limit.
fn shown(policy: &PolicySpec) -> Value {
    let told = |amount: Amount| match amount.0 {
        Some(amount) => amount.to_string(),
        None => "Unlimited".to_owned(),
    };
    json!({
        "Name": name(policy), "Identity": name(policy), "ThrottlingPolicyScope": scope_of(policy),
        "EwsMaxConcurrency": told(policy.ews_max_concurrency),
        "EwsMaxBurst": told(policy.ews_max_burst),
        "EwsRechargeRate": told(policy.ews_recharge_rate),
        "EwsCutoffBalance": told(policy.ews_cutoff_balance),
        "PowerShellMaxConcurrency": told(policy.powershell_max_concurrency),
        "PowerShellMaxBurst": told(policy.powershell_max_burst),
        "PowerShellRechargeRate": told(policy.powershell_recharge_rate),
        "PowerShellCutoffBalance": told(policy.powershell_cutoff_balance),
        "PowerShellMaxRunspaces": told(policy.powershell_max_runspaces),
        "PowerShellMaxCmdlets": told(policy.powershell_max_cmdlets),
    })
}
