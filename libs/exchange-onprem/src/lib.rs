//! The adapter for Exchange Server: the calendars' port of `calgrant-exchange` over EWS, or over remote PowerShell.
//!
//! * [`EwsCalendars`]: reads a calendar's whole permission list and writes it back with one entry changed. What it
//!   can't write back as it was, it refuses, and names.
//! * [`PowerShellCalendars`]: changes one entry alone; slower, in sessions that it keeps.
//! * [`EitherCalendars`]: EWS, and PowerShell for the lists that EWS can't rebuild.
//! * [`EwsMember`]: an account of the calendar product, which shows what it can do in a calendar by doing it.
//!
//! [`connect`] makes them from a site and an account as they are registered.
//!
//! They sign in for themselves (Basic, NTLM bound to its TLS connection, or a token) and stop at once where the
//! directory might lock the account out. What a failure means is said in one place for each: `ews/catalogue.rs` and
//! `powershell/classify.rs`. The process installs rustls' ring provider before it makes any.

pub mod connect;
mod either;
mod ews;
mod powershell;
mod tally;
mod transport;
mod xml;

pub use either::EitherCalendars;
pub use ews::{Access, EwsCalendars, EwsMember};
pub use powershell::PowerShellCalendars;
pub use transport::sign_in::SignIn;

/// The clock, handed in.
pub type Now = fn() -> time::OffsetDateTime;

/// Where a server's interface is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its URL: `https://mail.uni.example/EWS/Exchange.asmx` or `https://mail.uni.example/PowerShell/`.
    pub url: String,
    /// Authorities to trust beside the system's, PEM.
    pub ca_pem: Option<String>,
}

/// Why an adapter can't be made: a setting is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// A URL isn't one, or isn't safe.
    #[error("{field}: {value:?} can't be used: {why}; write it as https://mail.uni.example/…")]
    Url {
        /// Which setting.
        field: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// The authorities to trust can't be read.
    #[error("the certificates of the authorities to trust can't be used: {0}")]
    Ca(String),
}
