//! `CloudEvents` 1.0 over AMQP 0-9-1: the JSON format in structured mode, and binary mode with attributes as headers.
//!
//! The specification maps them to AMQP 1.0, where attributes are application properties named `cloudEvents:…`. RabbitMQ shows these to
//! 0-9-1 as headers. `cloudEvents_…` is what JMS clients send instead, whose names hold no colon. Both are read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The content type of an event as a whole, in structured mode.
pub const STRUCTURED: &str = "application/cloudevents+json";
/// What attributes begin with in binary mode.
const PREFIXES: [&str; 2] = ["cloudEvents:", "cloudEvents_"];
/// The version that is spoken here.
const SPEC_VERSION: &str = "1.0";
/// Longest `source` and longest `id`, in characters.
const LONGEST: usize = 500;

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct CloudEvent {
    /// Who says so; a URI reference.
    pub source: String,
    /// Unique within its source.
    pub id: String,
    /// What kind of event, such as `nl.calgrant.mailbox.joined.v1`.
    pub kind: String,
    /// What it is about, within its source.
    pub subject: Option<String>,
    /// When it happened.
    pub time: Option<OffsetDateTime>,
    /// Further attributes.
    pub extensions: BTreeMap<String, String>,
    /// What happened.
    pub data: Value,
}

/// Why an event can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventFault {
    /// It is wrong in itself.
    #[error("{0}")]
    Malformed(String),
    /// A later version may understand it.
    #[error("{0}")]
    Newer(String),
    /// It is a proper event of a type that nobody here asked for.
    #[error("an event of type {0:?}")]
    Foreign(String),
}

fn malformed(why: impl Into<String>) -> EventFault {
    EventFault::Malformed(why.into())
}

/// The JSON format.
#[derive(Serialize, Deserialize)]
struct Json {
    specversion: Option<String>,
    id: Option<String>,
    source: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<String>,
    #[serde(flatten)]
    extensions: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    data: Value,
}

impl CloudEvent {
    /// Reads an event from a message: its content type, its headers as text, its body.
    ///
    /// # Errors
    /// It is malformed, or of a later version.
    pub fn read(
        content_type: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Self, EventFault> {
        let kind = content_type.split(';').next().unwrap_or_default();
        let kind = kind.trim().to_ascii_lowercase();
        if kind == STRUCTURED {
            structured(body)
        } else if kind.starts_with("application/cloudevents") {
            Err(malformed(format!(
                "content type {content_type:?}: single events in JSON are taken, {STRUCTURED}"
            )))
        } else {
            binary(&kind, headers, body)
        }
    }

    /// The event in the JSON format.
    ///
    /// # Errors
    /// Never: it holds nothing that JSON can't say.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Json {
            specversion: Some(SPEC_VERSION.to_owned()),
            id: Some(self.id.clone()),
            source: Some(self.source.clone()),
            kind: Some(self.kind.clone()),
            subject: self.subject.clone(),
            time: self.time.and_then(|time| time.format(&Rfc3339).ok()),
            datacontenttype: Some("application/json".to_owned()),
            extensions: self
                .extensions
                .iter()
                .map(|(name, text)| (name.clone(), Value::String(text.clone())))
                .collect(),
            data_base64: None,
            data: self.data.clone(),
        })
    }
}

fn structured(body: &[u8]) -> Result<CloudEvent, EventFault> {
    let json: Json = serde_json::from_slice(body)
        .map_err(|cause| malformed(format!("not an event in JSON: {cause}")))?;
    if json.data_base64.is_some() {
        return Err(malformed(
            "data_base64: the data is JSON here; send it as `data`",
        ));
    }
    let attributes = Attributes {
        specversion: json.specversion,
        id: json.id,
        source: json.source,
        kind: json.kind,
        subject: json.subject,
        time: json.time,
    };
    let extensions = json
        .extensions
        .into_iter()
        .map(|(name, value)| match value {
            Value::String(text) => (name, text),
            other => (name, other.to_string()),
        });
    attributes.event(extensions.collect(), json.data)
}

fn binary(
    content_type: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> Result<CloudEvent, EventFault> {
    let mut named: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, value) in headers {
        if let Some(attribute) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
            named.insert(attribute, value);
        }
    }
    if named.is_empty() {
        return Err(malformed(format!(
            "no CloudEvent: its content type is not {STRUCTURED}, and it has no headers that begin with cloudEvents: or cloudEvents_"
        )));
    }
    let is_json = content_type.is_empty()
        || content_type == "application/json"
        || content_type.ends_with("+json");
    if !is_json {
        return Err(malformed(format!(
            "content type {content_type:?}: the data is JSON here"
        )));
    }
    let data = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(body)
            .map_err(|cause| malformed(format!("data: not JSON: {cause}")))?
    };
    let mut take = |name: &str| named.remove(name).map(str::to_owned);
    let attributes = Attributes {
        specversion: take("specversion"),
        id: take("id"),
        source: take("source"),
        kind: take("type"),
        subject: take("subject"),
        time: take("time"),
    };
    let extensions = named
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    attributes.event(extensions.collect(), data)
}

/// What every event has, as it came.
struct Attributes {
    specversion: Option<String>,
    id: Option<String>,
    source: Option<String>,
    kind: Option<String>,
    subject: Option<String>,
    time: Option<String>,
}

impl Attributes {
    fn event(
        self,
        extensions: BTreeMap<String, String>,
        data: Value,
    ) -> Result<CloudEvent, EventFault> {
        let needed = |name: &str, value: Option<String>| match value {
            Some(text) if text.is_empty() || text.chars().count() > LONGEST => {
                Err(malformed(format!("{name}: 1 to {LONGEST} characters")))
            }
            Some(text) => Ok(text),
            None => Err(malformed(format!("{name}: is missing"))),
        };
        let version = needed("specversion", self.specversion)?;
        if version != SPEC_VERSION {
            return Err(EventFault::Newer(format!(
                "specversion {version:?}: {SPEC_VERSION} is spoken here"
            )));
        }
        Ok(CloudEvent {
            id: needed("id", self.id)?,
            source: needed("source", self.source)?,
            kind: needed("type", self.kind)?,
            subject: self.subject,
            time: self.time.as_deref().map(moment).transpose()?,
            extensions,
            data,
        })
    }
}

/// A time as text; or as AMQP's own, in seconds since 1970.
fn moment(raw: &str) -> Result<OffsetDateTime, EventFault> {
    let as_text = OffsetDateTime::parse(raw, &Rfc3339).ok();
    let as_seconds = || OffsetDateTime::from_unix_timestamp(raw.parse().ok()?).ok();
    as_text.or_else(as_seconds).ok_or_else(|| {
        malformed(format!(
            "time: {raw:?} is no time; write it as 2026-11-24T17:00:00Z"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn header(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    fn whole() -> Value {
        json!({
            "specversion": "1.0", "type": "nl.calgrant.mailbox.joined.v1", "source": "/identity", "id": "A-1",
            "time": "2026-11-24T17:00:00Z", "subject": "ada@uni.example", "partition": 7, "data": {"tenant": "uni"}
        })
    }

    fn read(event: &Value) -> Result<CloudEvent, EventFault> {
        CloudEvent::read(
            "application/cloudevents+json; charset=utf-8",
            &[],
            event.to_string().as_bytes(),
        )
    }

    #[test]
    fn both_modes_say_the_same() {
        let structured = read(&whole()).unwrap();
        assert_eq!(structured.extensions["partition"], "7");
        for prefix in PREFIXES {
            let headers = [
                ("specversion", "1.0"),
                ("type", "nl.calgrant.mailbox.joined.v1"),
                ("source", "/identity"),
                ("id", "A-1"),
                ("time", "2026-11-24T17:00:00Z"),
                ("subject", "ada@uni.example"),
                ("partition", "7"),
            ];
            let mut headers: Vec<_> = headers
                .iter()
                .map(|(name, value)| header(&format!("{prefix}{name}"), value))
                .collect();
            headers.push(header("traceparent", "00-…"));
            let binary = CloudEvent::read("application/json", &headers, br#"{"tenant":"uni"}"#);
            assert_eq!(binary.unwrap(), structured);
            // AMQP's own type for times.
            headers[4].1 = "1795539600".to_owned();
            let binary = CloudEvent::read("", &headers, br#"{"tenant":"uni"}"#).unwrap();
            assert_eq!(binary.time, structured.time);
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let event = read(&whole()).unwrap();
        let json: Value = serde_json::from_slice(&event.to_json().unwrap()).unwrap();
        assert_eq!(read(&json).unwrap(), event);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let without = |name: &str| {
            let mut event = whole();
            event.as_object_mut().unwrap().remove(name);
            event
        };
        let with = |name: &str, value: Value| {
            let mut event = whole();
            event[name] = value;
            event
        };
        for (event, named) in [
            (without("id"), "id"),
            (without("source"), "source"),
            (without("type"), "type"),
            (without("specversion"), "specversion"),
            (with("id", json!("")), "id"),
            (with("id", json!(7)), "not an event"),
            (with("time", json!("yesterday")), "time"),
            (with("data_base64", json!("eA==")), "data_base64"),
            (json!([whole()]), "not an event"),
        ] {
            let fault = read(&event).unwrap_err();
            assert!(
                matches!(&fault, EventFault::Malformed(why) if why.contains(named)),
                "{event}: {fault}"
            );
        }
        assert!(matches!(
            read(&with("specversion", json!("2.0"))),
            Err(EventFault::Newer(_))
        ));
        for (content_type, headers, body) in [
            ("application/cloudevents-batch+json", vec![], "[]"),
            ("application/cloudevents+avro", vec![], ""),
            ("application/json", vec![], "{}"),
            ("text/plain", vec![header("cloudEvents:id", "1")], "x"),
            ("application/json", vec![header("cloudEvents:id", "1")], "{"),
        ] {
            let fault = CloudEvent::read(content_type, &headers, body.as_bytes()).unwrap_err();
            assert!(
                matches!(fault, EventFault::Malformed(_)),
                "{content_type}: {fault}"
            );
        }
    }
}
