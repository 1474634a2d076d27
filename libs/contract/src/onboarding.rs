//! The events of onboarding: somebody joined, moved or left. Described with examples in `deploy/events/`.

use calgrant_domain::{
    Address, BadInput, DelegationId, EventKind, EventMoment, MailboxId, TenantName, event::AHEAD,
};
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::cloud_event::{CloudEvent, EventFault};

/// What the types of our events begin with.
pub const FAMILY: &str = "nl.calgrant.mailbox.";
/// The version of the events that are understood here.
const VERSION: &str = "v1";

/// The type of an event of this kind.
pub fn event_type(kind: EventKind) -> String {
    format!("{FAMILY}{kind}.{VERSION}")
}

/// An onboarding event, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnboardingEvent {
    /// Which, what and when.
    pub moment: EventMoment,
    /// Whose.
    pub tenant: TenantName,
    /// An address of the mailbox.
    pub address: Option<Address>,
    /// Its immutable key.
    pub mailbox: Option<MailboxId>,
    /// The delegation that is meant; all that concern the mailbox if none is named.
    pub delegation: Option<DelegationId>,
}

#[derive(Deserialize)]
struct Data {
    tenant: Option<String>,
    mailbox: Option<Named>,
    delegation: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    address: Option<String>,
    id: Option<String>,
}

fn parsed<T: std::str::FromStr<Err = BadInput>>(
    field: &str,
    raw: Option<String>,
) -> Result<Option<T>, EventFault> {
    let parsed = raw.map(|raw| raw.parse::<T>()).transpose();
    parsed.map_err(|bad| EventFault::Malformed(bad.within(field).to_string()))
}

/// A mailbox's key: a GUID, or as it is printed here.
fn key(raw: &str) -> Result<MailboxId, EventFault> {
    let guid = Uuid::try_parse(raw.trim()).ok().map(MailboxId::from_uuid);
    guid.map_or_else(
        || {
            let read = raw.parse::<MailboxId>();
            read.map_err(|_| {
                EventFault::Malformed(format!(
                    "data.mailbox.id: {raw:?} is neither a GUID nor mbx_…"
                ))
            })
        },
        Ok,
    )
}

impl OnboardingEvent {
    /// Reads what an event says, at `now`.
    ///
    /// # Errors
    /// It is malformed, of a later version, or none of ours.
    pub fn read(event: &CloudEvent, now: OffsetDateTime) -> Result<Self, EventFault> {
        let missing = |what: &str| EventFault::Malformed(what.to_owned());
        let Some(rest) = event.kind.strip_prefix(FAMILY) else {
            return Err(EventFault::Foreign(event.kind.clone()));
        };
        let kind = rest
            .strip_suffix(VERSION)
            .and_then(|word| word.strip_suffix('.'))
            .and_then(|word| {
                EventKind::ALL
                    .iter()
                    .copied()
                    .find(|kind| kind.as_str() == word)
            });
        let kind = kind
            .ok_or_else(|| EventFault::Newer(format!("type {:?} is not known here", event.kind)))?;
        let at = event.time.ok_or_else(|| {
            missing("time: is missing, and events of a mailbox are ordered by it")
        })?;
        if at > now + AHEAD {
            return Err(missing(
                "time: lies more than 5 minutes ahead; everything until then would look old. Set the sender's clock",
            ));
        }
        if !matches!(event.data, Value::Object(_)) {
            return Err(missing(
                "data: is missing; an object with tenant and mailbox is needed",
            ));
        }
        let data = Data::deserialize(&event.data)
            .map_err(|cause| EventFault::Malformed(format!("data: {cause}")))?;
        let tenant = parsed("data.tenant", data.tenant)?
            .ok_or_else(|| missing("data.tenant: is missing; name the tenant"))?;
        let named = data.mailbox.ok_or_else(|| {
            missing("data.mailbox: is missing; an object with address, id, or both is needed")
        })?;
        let address = parsed("data.mailbox.address", named.address)?;
        let mailbox = named.id.as_deref().map(key).transpose()?;
        if address.is_none() && mailbox.is_none() {
            return Err(missing("data.mailbox: address, id, or both are needed"));
        }
        Ok(Self {
            moment: EventMoment {
                at,
                kind,
                source: event.source.clone(),
                id: event.id.clone(),
            },
            tenant,
            address,
            mailbox,
            delegation: parsed("data.delegation", data.delegation)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(kind: &str, data: Value) -> CloudEvent {
        CloudEvent {
            source: "/identity".into(),
            id: "A-1".into(),
            kind: kind.into(),
            subject: None,
            time: Some(at(0)),
            extensions: Default::default(),
            data,
        }
    }

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).unwrap()
    }

    fn data() -> Value {
        json!({"tenant": "uni", "mailbox": {"address": "Ada@Uni.Example", "id": "6f9619ff-8b86-d011-b42d-00c04fc964ff"}, "more": 1})
    }

    #[test]
    fn all_kinds_are_read() {
        for kind in EventKind::ALL {
            let read = OnboardingEvent::read(&event(&event_type(*kind), data()), at(0)).unwrap();
            assert_eq!(read.moment.kind, *kind);
            assert_eq!(read.address.unwrap().as_str(), "ada@uni.example");
            assert!(read.mailbox.is_some() && read.delegation.is_none());
        }
        let printed = json!({"tenant": "uni", "mailbox": {"id": "mbx_6f9619ff8b86d011b42d00c04fc964ff"},
            "delegation": "dlg_6f9619ff8b86d011b42d00c04fc964ff"});
        let read =
            OnboardingEvent::read(&event(&event_type(EventKind::Left), printed), at(0)).unwrap();
        assert!(read.address.is_none() && read.delegation.is_some());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let joined = event_type(EventKind::Joined);
        for (data, named) in [
            (Value::Null, "data"),
            (json!([]), "data"),
            (
                json!({"mailbox": {"address": "ada@uni.example"}}),
                "data.tenant",
            ),
            (
                json!({"tenant": "No!", "mailbox": {"address": "ada@uni.example"}}),
                "data.tenant",
            ),
            (json!({"tenant": "uni"}), "data.mailbox"),
            (json!({"tenant": "uni", "mailbox": {}}), "data.mailbox"),
            (
                json!({"tenant": "uni", "mailbox": {"address": "ada"}}),
                "data.mailbox.address",
            ),
            (
                json!({"tenant": "uni", "mailbox": {"id": "7"}}),
                "data.mailbox.id",
            ),
            (
                json!({"tenant": "uni", "mailbox": {"address": "ada@uni.example"}, "delegation": "x"}),
                "data.delegation",
            ),
        ] {
            let fault = OnboardingEvent::read(&event(&joined, data.clone()), at(0)).unwrap_err();
            assert!(
                matches!(&fault, EventFault::Malformed(why) if why.starts_with(named)),
                "{data}: {fault}"
            );
        }
        let timeless = CloudEvent {
            time: None,
            ..event(&joined, data())
        };
        assert!(matches!(
            OnboardingEvent::read(&timeless, at(0)),
            Err(EventFault::Malformed(_))
        ));
        let early = OnboardingEvent::read(&event(&joined, data()), at(-301));
        assert!(matches!(early, Err(EventFault::Malformed(_))), "{early:?}");
    }

    /// What `deploy/events` shows is what is taken, and the one that is told reads as an event too.
    #[test]
    fn the_examples_are_events() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/events");
        let example = |name: &str| {
            let text = std::fs::read(format!("{folder}/{name}.json")).unwrap();
            CloudEvent::read(crate::cloud_event::STRUCTURED, &[], &text).unwrap()
        };
        for kind in EventKind::ALL {
            let read = OnboardingEvent::read(&example(kind.as_str()), at(0)).unwrap();
            assert_eq!(read.moment.kind, *kind);
        }
        let told = example("granted");
        assert!(told.kind.starts_with(FAMILY) && told.extensions.contains_key("sequence"));
    }

    #[test]
    fn later_versions_and_others_are_told_apart() {
        for (kind, newer) in [
            ("nl.calgrant.mailbox.joined.v2", true),
            ("nl.calgrant.mailbox.renamed.v1", true),
            ("com.example.payroll.v1", false),
        ] {
            let fault = OnboardingEvent::read(&event(kind, data()), at(0)).unwrap_err();
            assert_eq!(matches!(fault, EventFault::Newer(_)), newer, "{kind}");
            assert_eq!(matches!(fault, EventFault::Foreign(_)), !newer, "{kind}");
        }
    }
}
