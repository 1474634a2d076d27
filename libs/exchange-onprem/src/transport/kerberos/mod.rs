//! Kerberos by HTTP's Negotiate (RFC 4559): an account's tickets, one context for each connection, and bodies sealed in it where
//! the connection isn't TLS (MS-WSMV 2.2.9.1).
//!
//! * `tickets`: got for the account's password, kept in memory, got again when they run out. `spnego`: how tokens are wrapped.
//! * `seal`: bodies sealed and opened. `multipart`: how they are written.
//! * `failure`: what goes wrong, and what to do about it.
//! * `without`: in place of all that, in a build without the feature `kerberos`.

#[cfg(feature = "kerberos")]
mod failure;
#[cfg(feature = "kerberos")]
mod multipart;
#[cfg(feature = "kerberos")]
mod seal;
#[cfg(feature = "kerberos")]
mod spnego;
#[cfg(feature = "kerberos")]
mod tickets;
#[cfg(not(feature = "kerberos"))]
mod without;

#[cfg(feature = "kerberos")]
pub(crate) use seal::Seal;
#[cfg(feature = "kerberos")]
pub(crate) use tickets::{Begun, Tickets};
#[cfg(not(feature = "kerberos"))]
pub(crate) use without::{Begun, Seal, Tickets};
