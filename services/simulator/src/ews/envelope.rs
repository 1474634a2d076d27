//! The envelope: what a request asks for, as whom, and what an answer is wrapped in.

use crate::ews::error::{EwsError, schema_fault};
use crate::ews::operation::{Operation, UNSERVED};
use crate::ews::schema::{Violation, check};
use crate::ews::shapes::{IMPERSONATION, REQUEST_VERSION, VERSIONS};
use crate::ews::{MESSAGES, SOAP, TYPES};
use crate::xml::{self, Element};

/// A request that is as the schema wants it.
pub(crate) struct Request {
    pub(crate) operation: &'static Operation,
    pub(crate) body: Element,
    /// Whom it asks to act as: the sort of name, and the name.
    pub(crate) acting_as: Option<(String, String)>,
}

/// Why a text is no request; the fault to answer with.
pub(crate) struct Refused {
    pub(crate) reason: &'static str,
    pub(crate) fault: String,
}

/// Reads a request.
pub(crate) fn read(text: &str) -> Result<Request, Refused> {
    let schema = |violation: Violation| Refused {
        reason: "ErrorSchemaValidation",
        fault: schema_fault(&violation.text, xml::line_and_column(text, violation.at)),
    };
    let root = xml::parse(text).map_err(|wrong| {
        schema(Violation {
            text: wrong.reason,
            at: wrong.at,
        })
    })?;
    let wrong = |text: &str, at: usize| {
        schema(Violation {
            text: text.to_owned(),
            at,
        })
    };
    if !root.is(SOAP, "Envelope") {
        return Err(wrong("The request isn't a SOAP 1.1 envelope.", root.at));
    }
    let mut header = None;
    let mut body = None;
    for child in root.children {
        if child.is(SOAP, "Header") && header.is_none() && body.is_none() {
            header = Some(child);
        } else if child.is(SOAP, "Body") && body.is_none() {
            body = Some(child);
        } else {
            let text = "The envelope holds a header, if need be, and a body, and nothing else.";
            return Err(wrong(text, child.at));
        }
    }
    let mut acting_as = None;
    for part in header.iter().flat_map(|header| &header.children) {
        if part.is(TYPES, "RequestServerVersion") {
            check(part, &REQUEST_VERSION).map_err(schema)?;
            let version = part.attribute("Version").unwrap_or("Exchange2007");
            if !VERSIONS.contains(&version) {
                let error = EwsError::new(
                    "ErrorInvalidServerVersion",
                    "The specified server version is invalid.",
                );
                return Err(Refused {
                    reason: error.code,
                    fault: error.fault(),
                });
            }
        } else if part.is(TYPES, "ExchangeImpersonation") {
            check(part, &IMPERSONATION).map_err(schema)?;
            let name = part
                .at_path(&["ConnectingSID"])
                .and_then(|sid| sid.children.first());
            acting_as = name.map(|name| (name.name.clone(), name.text.trim().to_owned()));
        }
    }
    let body = body.ok_or_else(|| wrong("The envelope has no body.", root.at))?;
    let at = body.at;
    let mut children = body.children.into_iter();
    let (Some(request), None) = (children.next(), children.next()) else {
        return Err(wrong("The body holds exactly one operation.", at));
    };
    let found = Operation::find(&request.name).filter(|_| *request.ns == *MESSAGES);
    let Some(operation) = found else {
        if *request.ns == *MESSAGES && UNSERVED.contains(&request.name.as_str()) {
            let text = format!("The simulator doesn't serve {}.", request.name);
            let error = EwsError::new("ErrorInvalidOperation", text);
            return Err(Refused {
                reason: error.code,
                fault: error.fault(),
            });
        }
        let text = format!(
            "The element 'Body' in namespace '{SOAP}' has invalid child element '{}' in namespace '{}'.",
            request.name, request.ns
        );
        return Err(wrong(&text, request.at));
    };
    check(&request, operation.shape).map_err(schema)?;
    Ok(Request {
        operation,
        body: request,
        acting_as,
    })
}

const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
const XSD: &str = "http://www.w3.org/2001/XMLSchema";

/// An answer, with the version of the server in its header.
pub(crate) fn answer(operation: &Operation, messages: &str) -> String {
    let name = operation.name;
    envelope(&format!(
        "<m:{name}Response xmlns:m=\"{MESSAGES}\" xmlns:t=\"{TYPES}\"><m:ResponseMessages>{messages}</m:ResponseMessages></m:{name}Response>"
    ))
}

/// An answer around this body.
fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:s=\"{SOAP}\"><s:Header>\
         <h:ServerVersionInfo MajorVersion=\"15\" MinorVersion=\"2\" MajorBuildNumber=\"1544\" MinorBuildNumber=\"4\" \
         Version=\"V2017_07_11\" xmlns:h=\"{TYPES}\" xmlns=\"{TYPES}\" xmlns:xsd=\"{XSD}\" xmlns:xsi=\"{XSI}\"/>\
         </s:Header><s:Body xmlns:xsi=\"{XSI}\" xmlns:xsd=\"{XSD}\">{body}</s:Body></s:Envelope>"
    )
}

/// A fault, which has no header.
pub(crate) fn faulted(fault: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:s=\"{SOAP}\"><s:Body>{fault}</s:Body></s:Envelope>"
    )
}
