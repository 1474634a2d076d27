//! EWS, the SOAP service of Exchange servers on premises: requests in, and answers out.
//!
//! A request is checked against the schema as Exchange's own, in every order of elements; then each of its folders, items
//! or changes is worked on by itself and has its own answer. The budget is looked at after each of them.

mod access;
mod call;
mod envelope;
mod error;
mod folder;
mod ids;
mod item;
mod names;
mod operation;
mod permission;
mod schema;
mod shapes;
mod update;

pub(crate) use call::{get, handle, page};

/// Namespace of SOAP 1.1.
const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// Namespace of operations.
const MESSAGES: &str = "http://schemas.microsoft.com/exchange/services/2006/messages";
/// Namespace of everything in them.
const TYPES: &str = "http://schemas.microsoft.com/exchange/services/2006/types";
/// Namespace of the details of faults.
const ERRORS: &str = "http://schemas.microsoft.com/exchange/services/2006/errors";
