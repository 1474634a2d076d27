//! The servers on premises of a hybrid university, and the accounts that work on them.

use crate::dice::Dice;
use crate::onprem::{AccountSpec, OnPremSpec, PolicySpec};
use crate::scenario::{Kind, UserSpec};
use crate::school::{FOLDER_CMDLETS, SchoolOptions};

/// The account that works in calendars as a member of the delegation group.
pub(crate) const MEMBER: &str = "sa-member@uni.example";
/// The name of the grantors' throttling policy.
const POLICY: &str = "grantors";

/// Accounts with one purpose each: some write permissions, one reads mailboxes, one is the timetable's.
pub(crate) fn premises(options: &SchoolOptions) -> OnPremSpec {
    let account = |name: &str| AccountSpec {
        user: format!("{name}@uni.example"),
        password: format!("{name}-secret"),
        ..AccountSpec::default()
    };
    let cmdlets = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let grantors = (1..=options.grantors).map(|number| AccountSpec {
        policy: POLICY.to_owned(),
        impersonation: vec!["*".to_owned()],
        cmdlets: cmdlets(&[&FOLDER_CMDLETS[..], &["Get-Mailbox"]].concat()),
        ..account(&format!("sa-onprem-{number}"))
    });
    let reader = AccountSpec {
        cmdlets: cmdlets(&[
            "Get-Mailbox",
            "Get-DistributionGroup",
            "Get-DistributionGroupMember",
        ]),
        ..account("sa-reader")
    };
    let setup = AccountSpec {
        management_roles: [
            "Mail Recipients",
            "Mail Recipient Creation",
            "Distribution Groups",
            "Security Group Creation and Membership",
            "Reset Password",
            "View-Only Recipients",
        ]
        .map(str::to_owned)
        .to_vec(),
        ..account("sa-setup")
    };
    let last = if options.unprepared {
        setup
    } else {
        account("sa-member")
    };
    OnPremSpec {
        domain: "UNI".to_owned(),
        units: vec!["OU=Service Accounts,DC=uni,DC=example".to_owned()],
        impersonation_budget: options.impersonation_budget,
        time_scale: options.time_scale,
        policies: vec![PolicySpec {
            name: POLICY.to_owned(),
            ..options.policy.clone()
        }],
        accounts: grantors.chain([reader, last]).collect(),
        ..OnPremSpec::default()
    }
}

/// The user behind such an account: the timetable's has a mailbox, and the others have none.
pub(crate) fn service(account: &AccountSpec, dice: &Dice) -> UserSpec {
    let name = account.user.split('@').next().unwrap_or_default();
    let member = account.user == MEMBER;
    UserSpec {
        id: dice.uuid(),
        name: format!("Service {name}"),
        upn: account.user.clone(),
        kind: if member { Kind::User } else { Kind::None },
        on_premises: true,
        dn: Some(format!("CN={name},OU=Service Accounts,DC=uni,DC=example")),
        ..UserSpec::default()
    }
}
