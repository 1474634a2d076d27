//! HTTP/1.1 over connections of our own, so that a session can belong to one and nothing is read that wasn't asked for.

pub(crate) mod connection;
pub(crate) mod cookies;
pub(crate) mod http;
pub(crate) mod kerberos;
pub(crate) mod ntlm;
mod proof;
pub(crate) mod sign_in;
pub(crate) mod tls;
pub(crate) mod token;
