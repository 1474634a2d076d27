//! From what the store says to what a caller is told: one map.

use std::time::Duration;

use calgrant_contract::refusal;
use calgrant_domain::BadInput;
use calgrant_store::StoreError;
use tonic::Status;
use tracing::{error, warn};

/// The status for an error of the store.
pub(crate) fn store(error: StoreError) -> Status {
    match error {
        StoreError::Away(cause) => {
            warn!(error = cause, "the database is away");
            refusal::unavailable("the database is away; try again", Duration::from_secs(1))
        }
        StoreError::Contended(cause) => {
            warn!(error = cause, "other transactions were in the way");
            refusal::unavailable("the database is busy; try again", Duration::from_secs(1))
        }
        StoreError::NotFound(what) => {
            refusal::not_found(what, "", &format!("there is no such {what}"))
        }
        StoreError::ClaimLost => {
            refusal::precondition("CLAIM_LOST", "the listing is not the caller's any more")
        }
        StoreError::NotHeld => refusal::precondition(
            "NOT_HELD",
            "nothing has stopped this operation, so there is nothing to release",
        ),
        StoreError::Changed => refusal::aborted(
            "the tenant has changed meanwhile; look at the difference again, then apply",
        ),
        StoreError::Pruned => refusal::out_of_range(
            "after_sequence",
            "that change is not kept any more; begin again with 0",
        ),
        StoreError::RequestIdReused(operation) => {
            refusal::reused_request_id("", &operation.to_string())
        }
        StoreError::SetupRequestIdReused(setup) => {
            refusal::reused_request_id("", &setup.to_string())
        }
        StoreError::SetupUnderWay(setup) => refusal::precondition(
            "SET_UP_UNDER_WAY",
            &format!(
                "{setup} of this site is about something else and isn't finished: wait for it, or cancel it"
            ),
        ),
        cause @ (StoreError::Refused(_)
        | StoreError::WrongSchema(_)
        | StoreError::Unreadable(_)) => {
            error!(error = %cause, "a request failed");
            Status::internal("internal error; see the log")
        }
    }
}

/// The status for one fault of `field`.
pub(crate) fn field(field: &str) -> impl Fn(BadInput) -> Status + '_ {
    move |bad| {
        refusal::bad_input(&[if bad.field.is_empty() {
            bad.within(field)
        } else {
            bad
        }])
    }
}
