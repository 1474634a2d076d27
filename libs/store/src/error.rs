//! What may go wrong, and what of it passes by itself.

use std::{error::Error, io};

/// How often a transaction is tried that Postgres chose to give way.
const TRIES: u32 = 5;

/// Why the store couldn't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Postgres is away, or the connection broke: try again.
    #[error("Postgres: {0}")]
    Away(String),
    /// Another transaction was in the way, each time: try again.
    #[error("Postgres is contended: {0}")]
    Contended(String),
    /// Postgres refused: a fault of ours.
    #[error("Postgres refused: {0}")]
    Refused(String),
    /// The database's schema is not one that this version may work with: a person must look at it.
    #[error("the database's schema doesn't fit this version of Calgrant: {0}")]
    WrongSchema(String),
    /// What is stored can't be read.
    #[error("what is stored can't be read: {0}")]
    Unreadable(#[from] calgrant_domain::BadInput),
    /// There is nothing of this name.
    #[error("there is no {0}")]
    NotFound(&'static str),
    /// The claim on a listing is not the caller's any more, or the operation was cancelled.
    #[error("the listing is not the caller's any more")]
    ClaimLost,
    /// The `request_id` was used for another request, which became this operation.
    #[error("the request_id was used for {0}")]
    RequestIdReused(calgrant_domain::OperationId),
    /// The `request_id` was used for another set-up: this one.
    #[error("the request_id was used for {0}")]
    SetupRequestIdReused(calgrant_domain::SetupId),
    /// The site has an unfinished set-up with another aim: this one.
    #[error("{0} is not finished")]
    SetupUnderWay(calgrant_domain::SetupId),
    /// Nothing has stopped the operation.
    #[error("the operation is not held")]
    NotHeld,
    /// What was read before has changed meanwhile.
    #[error("changed meanwhile")]
    Changed,
    /// The number to resume from has been pruned.
    #[error("pruned")]
    Pruned,
}

/// Classes of SQLSTATE that pass: connection trouble, lack of resources, shutting down, an idle transaction that was ended,
/// a server that is read-only because another one leads now, and tables and columns that a migration is still to make.
const PASSING: &[&str] = &["08", "53", "57P", "25P03", "25006", "42P01", "42703"];

/// A lock that wasn't to be had in the time that was given for it.
const NO_LOCK: &str = "55P03";

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::of(&error)
    }
}

impl StoreError {
    /// What it means that a migration failed.
    pub(crate) fn of_migration(failed: &refinery::Error) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(failed);
        while let Some(inner) = cause {
            if let Some(refusal) = inner.downcast_ref::<tokio_postgres::Error>() {
                return Self::of(refusal);
            }
            cause = inner.source();
        }
        Self::Refused(failed.to_string())
    }

    fn of(error: &tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            // Without a word from the server: a broken connection, or what we couldn't encode or decode.
            let broken =
                error.is_closed() || error.source().is_some_and(<dyn Error>::is::<io::Error>);
            return if broken {
                Self::Away(told(error))
            } else {
                Self::Refused(told(error))
            };
        };
        let code = refusal.code().code();
        if code.starts_with("40") || code == NO_LOCK {
            Self::Contended(refusal.to_string())
        } else if PASSING.iter().any(|class| code.starts_with(class)) {
            Self::Away(refusal.to_string())
        } else {
            Self::Refused(format!("{refusal} ({code})"))
        }
    }
}

impl From<deadpool_postgres::PoolError> for StoreError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        Self::Away(told(&error))
    }
}

/// An error with its causes.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// Does a transaction again that Postgres chose to give way to another: it left no trace.
pub(crate) async fn retrying<T, F>(mut transaction: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut tries = 1;
    loop {
        match transaction().await {
            Err(StoreError::Contended(_)) if tries < TRIES => tries += 1,
            answer => return answer,
        }
    }
}
