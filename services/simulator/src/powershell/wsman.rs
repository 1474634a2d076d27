//! The envelopes of WS-Management: requests read, and answers and faults written.

use std::time::Duration;

use uuid::Uuid;

use crate::reply::Reply;
use crate::xml::{self, Element, escaped, leaf, tag, with};

const SOAP: &str = "http://www.w3.org/2003/05/soap-envelope";
const ADDRESSING: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
const ANONYMOUS: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous";
pub(super) const TRANSFER: &str = "http://schemas.xmlsoap.org/ws/2004/09/transfer";
const WSMAN: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd";
pub(super) const SHELL: &str = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell";
pub(super) const POWERSHELL: &str = "http://schemas.microsoft.com/powershell";
const FAULT: &str = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault";
pub(super) const CONFIG: &str = "http://schemas.microsoft.com/wbem/wsman/1/config";
pub(super) const EXCHANGE: &str = "http://schemas.microsoft.com/powershell/Microsoft.Exchange";
pub(super) const KIND: &str = "application/soap+xml;charset=UTF-8";

/// The most a client may ask an answer to hold, in bytes, and what it is when it asks for nothing.
pub(super) const LARGEST_ENVELOPE: usize = 512_000;
const ENVELOPE: usize = 153_600;

/// The codes of faults.
pub(super) mod code {
    pub(in crate::powershell) const ACCESS_DENIED: u64 = 5;
    pub(in crate::powershell) const SCHEMA: u64 = 2_150_858_817;
    pub(in crate::powershell) const TIMED_OUT: u64 = 2_150_858_793;
    pub(in crate::powershell) const NO_RESOURCE: u64 = 2_150_858_811;
    pub(in crate::powershell) const NO_SHELL: u64 = 2_150_858_843;
    pub(in crate::powershell) const TOO_MANY_SHELLS: u64 = 2_150_859_173;
    pub(in crate::powershell) const LOAD_QUOTA: u64 = 2_150_859_174;
}

/// A request's header, as far as it counts.
pub(super) struct Ask {
    pub(super) action: String,
    pub(super) message: String,
    pub(super) resource: String,
    pub(super) shell: Option<Uuid>,
    pub(super) room: usize,
    pub(super) wait: Duration,
    pub(super) options: Vec<(String, String)>,
    pub(super) body: Element,
}

/// What is answered with a fault.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: u64,
    pub(super) sub: &'static str,
    pub(super) text: String,
}

pub(super) fn fault(code: u64, sub: &'static str, text: impl Into<String>) -> Fault {
    Fault {
        code,
        sub,
        text: text.into(),
    }
}

pub(super) fn schema(text: impl Into<String>) -> Fault {
    fault(code::SCHEMA, "w:SchemaValidationError", text)
}

/// Reads `PT20S` and its like.
fn seconds(text: &str) -> Option<Duration> {
    let seconds = text
        .trim()
        .strip_prefix("PT")?
        .strip_suffix('S')?
        .parse::<f64>()
        .ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

pub(super) fn guid(text: &str) -> Option<Uuid> {
    Uuid::parse_str(text.trim().trim_start_matches("uuid:")).ok()
}

pub(super) fn read(text: &str) -> Result<Ask, Fault> {
    let root = xml::parse(text).map_err(|wrong| schema(wrong.reason))?;
    if !root.is(SOAP, "Envelope") {
        return Err(schema("The request isn't a SOAP 1.2 envelope."));
    }
    let mut parts = root.children.into_iter();
    let (Some(head), Some(body), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(schema("The envelope holds a header and a body."));
    };
    if !head.is(SOAP, "Header") || !body.is(SOAP, "Body") {
        return Err(schema("The envelope holds a header and a body."));
    }
    let find = |ns: &str, name: &str| head.children.iter().find(|part| part.is(ns, name));
    let needed = |ns: &str, name: &str| {
        find(ns, name)
            .map(|part| part.text.trim().to_owned())
            .filter(|text| !text.is_empty())
            .ok_or_else(|| schema(format!("The header {name} is missing.")))
    };
    needed(ADDRESSING, "To")?;
    let reply_to = find(ADDRESSING, "ReplyTo").and_then(|reply| reply.child_text("Address"));
    if reply_to != Some(ANONYMOUS) {
        return Err(schema("The header ReplyTo isn't the anonymous address."));
    }
    let message = needed(ADDRESSING, "MessageID")?;
    if guid(&message).is_none() {
        return Err(schema("The header MessageID isn't uuid: and a GUID."));
    }
    let selectors = find(WSMAN, "SelectorSet").map_or(&[][..], |set| &set.children);
    let shell = selectors
        .iter()
        .find(|selector| selector.attribute("Name") == Some("ShellId"))
        .and_then(|selector| guid(&selector.text));
    let options = find(WSMAN, "OptionSet").map_or(&[][..], |set| &set.children);
    let options = options.iter().map(|option| {
        let name = option.attribute("Name").unwrap_or_default();
        (name.to_owned(), option.text.trim().to_owned())
    });
    let room = find(WSMAN, "MaxEnvelopeSize").and_then(|size| size.text.trim().parse().ok());
    let wait = find(WSMAN, "OperationTimeout").and_then(|wait| seconds(&wait.text));
    Ok(Ask {
        action: needed(ADDRESSING, "Action")?,
        message,
        resource: needed(WSMAN, "ResourceURI")?,
        shell,
        room: room.unwrap_or(ENVELOPE).clamp(8192, LARGEST_ENVELOPE),
        wait: wait.unwrap_or(Duration::from_secs(60)),
        options: options.collect(),
        body,
    })
}

pub(super) fn envelope(action: &str, relates_to: &str, body: &str) -> String {
    format!(
        "<s:Envelope xml:lang=\"en-US\" xmlns:s=\"{SOAP}\" xmlns:a=\"{ADDRESSING}\" xmlns:x=\"{TRANSFER}\" \
         xmlns:w=\"{WSMAN}\" xmlns:rsp=\"{SHELL}\"><s:Header>{}{}{}{}</s:Header><s:Body>{body}</s:Body></s:Envelope>",
        leaf("a:Action", action),
        leaf(
            "a:MessageID",
            &format!("uuid:{}", Uuid::new_v4().to_string().to_uppercase())
        ),
        leaf("a:To", ANONYMOUS),
        leaf("a:RelatesTo", relates_to),
    )
}

pub(super) fn faulted(server: &str, relates_to: &str, fault: &Fault) -> Reply {
    let side = match fault.sub {
        "w:TimedOut" | "w:QuotaLimit" | "w:InternalError" => "s:Receiver",
        _ => "s:Sender",
    };
    let text = escaped(&fault.text);
    let detail = with(
        "f:WSManFault",
        &[
            ("xmlns:f", FAULT),
            ("Code", &fault.code.to_string()),
            ("Machine", server),
        ],
        &tag("f:Message", &text),
    );
    let code = format!(
        "{}{}",
        leaf("s:Value", side),
        tag("s:Subcode", &leaf("s:Value", fault.sub))
    );
    let body = tag(
        "s:Fault",
        &format!(
            "{}{}{}",
            tag("s:Code", &code),
            tag("s:Reason", &with("s:Text", &[("xml:lang", "en-US")], &text)),
            tag("s:Detail", &detail),
        ),
    );
    let action = "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault";
    Reply::text(500, KIND, envelope(action, relates_to, &body))
}

#[cfg(test)]
mod tests {
    use super::{Duration, seconds};

    #[test]
    fn waits_are_read() {
        for (text, wait) in [
            ("PT20S", Some(20_000)),
            ("PT0.5S", Some(500)),
            ("20", None),
            ("PT1M", None),
        ] {
            assert_eq!(seconds(text), wait.map(Duration::from_millis), "{text}");
        }
    }
}
