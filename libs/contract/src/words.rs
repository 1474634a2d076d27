//! Enumerations of the contracts, to and from the domain.

use calgrant_domain::{
    AccessChange, BadInput, BudgetKey, DisabledAccounts, Drift, EventKind, EventVerdict, Hold,
    Joiners, Lane, Leavers, MailboxAccess, MailboxType, OnpremWritePath, OperationKind,
    OperationState, Outcome, Purpose, SignInKind, SiteKind, WritePath,
    setup::{ManagedBy, SetupState, StepState},
};

use crate::pb::{
    fleet::v1 as fleet, ledger::v1 as ledger, provisioning::v1 as provisioning, setup::v1 as setup,
    status::v1 as status,
};

macro_rules! words {
    (
        $(#[$doc:meta])* $read:ident, $write:ident: $domain:ident = $wire:path { $($variant:ident),+ $(,)? }
        $(not { $($other:ident),+ } $why:literal)?
    ) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// The number is none of the contract's; the field is named.
        pub fn $read(field: &str, raw: i32) -> Result<$domain, BadInput> {
            use $wire as Wire;
            match Wire::try_from(raw) {
                $(Ok(Wire::$variant) => Ok($domain::$variant),)+
                Ok(Wire::Unspecified) => Err(BadInput::missing(field, "say which")),
                $($(Ok(Wire::$other))|+ => Err(BadInput::new(field, raw, $why)),)?
                Err(_) => Err(BadInput::new(field, raw, "not a value of the contract")),
            }
        }

        /// The other way.
        pub fn $write(value: $domain) -> i32 {
            use $wire as Wire;
            match value {
                $($domain::$variant => Wire::$variant as i32),+
            }
        }
    };
}

words!(
    /// Reads a kind of site.
    site_kind, site_kind_to_wire: SiteKind = provisioning::SiteKind { Online, Onprem }
);
words!(
    /// Reads a lane.
    lane, lane_to_wire: Lane = provisioning::Lane { Interactive, Bulk }
);
words!(
    /// Reads a type of mailboxes.
    mailbox_type, mailbox_type_to_wire: MailboxType = provisioning::MailboxType { User, Shared, Room, Equipment }
);
words!(
    /// Reads an outcome.
    outcome, outcome_to_wire: Outcome = provisioning::Outcome { Added, Updated, Unchanged, LeftHigher, Refused, Failed, Cancelled, Unconfirmed, Removed, Restored, LeftChangedSince, KeptBy, Verified, Drifted, Repaired }
);
words!(
    /// Reads an operation's state.
    operation_state, operation_state_to_wire: OperationState = provisioning::OperationState { Accepted, Listing, Running, Cancelling, Done, Failed, Cancelled, Held }
);
words!(
    /// Reads what an operation does.
    operation_kind, operation_kind_to_wire: OperationKind = provisioning::OperationKind { Delegate, Revoke, Undo, Verify }
);
words!(
    /// Reads why an operation waits for a person.
    hold, hold_to_wire: Hold = provisioning::Hold { RevokesMany, FailsAlike, Canary }
);
words!(
    /// Reads a purpose.
    purpose, purpose_to_wire: Purpose = fleet::Purpose { Reader, Grantor, Member, Setup }
);
words!(
    /// Reads a write path of Exchange Online.
    write_path, write_path_to_wire: WritePath = fleet::WritePath { Auto, AdminApi, InvokeCommand }
    not { Powershell, Ews } "online it is one of auto, admin_api, invoke_command"
);
words!(
    /// Reads a write path on premises.
    onprem_write_path, onprem_write_path_to_wire: OnpremWritePath = fleet::WritePath { Powershell, Ews }
    not { Auto, AdminApi, InvokeCommand } "on premises it is powershell or ews"
);
words!(
    /// Reads how accounts sign in on premises.
    sign_in, sign_in_to_wire: SignInKind = fleet::SignIn { Basic, Ntlm, Bearer }
);
words!(
    /// Reads how accounts reach calendars over EWS.
    mailbox_access, mailbox_access_to_wire: MailboxAccess = fleet::MailboxAccess { Impersonation, FullAccess }
);
words!(
    /// Reads whose server time calls are charged to.
    budget_key, budget_key_to_wire: BudgetKey = fleet::BudgetKey { Caller, Target, Nobody }
);
words!(
    /// Reads what becomes of disabled accounts.
    disabled_accounts, disabled_accounts_to_wire: DisabledAccounts = fleet::DisabledAccounts { Refuse, Include }
);
words!(
    /// Reads what is done about differences.
    drift, drift_to_wire: Drift = fleet::Drift { Report, Repair }
);
words!(
    /// Reads what is done about joiners.
    joiners, joiners_to_wire: Joiners = fleet::Joiners { Add, Ignore }
);
words!(
    /// Reads what is done about leavers.
    leavers, leavers_to_wire: Leavers = fleet::Leavers { Revoke, Report, Ignore }
);
words!(
    /// Reads what an event is about.
    event_kind, event_kind_to_wire: EventKind = ledger::EventKind { Joined, Moved, Left }
);
words!(
    /// Reads what to do about an event.
    event_verdict, event_verdict_to_wire: EventVerdict = ledger::EventVerdict { Act, Repeat, Older, Wait, Brake }
);
words!(
    /// Reads who makes a part of a set-up.
    managed_by, managed_by_to_wire: ManagedBy = fleet::ManagedBy { Calgrant, External }
);
words!(
    /// Reads where a set-up stands.
    setup_state, setup_state_to_wire: SetupState = setup::SetupState { Running, Waiting, Blocked, Done, Planned, Cancelled }
);
words!(
    /// Reads where a step of one stands.
    step_state, step_state_to_wire: StepState = setup::StepState { Due, Doing, Waiting, Refused, Done, Planned }
);
words!(
    /// Reads what became of a right.
    access_change, access_change_to_wire: AccessChange = status::AccessChangeKind { Granted, Revoked, Failed }
);
