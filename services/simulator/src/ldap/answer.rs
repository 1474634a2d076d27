//! Answers, as bytes.

use yasna::tags::TAG_SET;
use yasna::{DERWriter, DERWriterSeq, Tag};

use crate::ldap::outcome::Outcome;
use crate::ldap::root::PAGES;
use crate::ldap::search::{Entry, Found};

/// Which answer it is, by the number of its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Bind = 1,
    Entry = 4,
    Done = 5,
    Reference = 19,
    Extended = 24,
}

/// The name of the message that ends a connection.
const DISCONNECTION: &str = "1.3.6.1.4.1.1466.20036";

fn message(
    id: i32,
    tag: u64,
    inside: impl FnOnce(&mut DERWriterSeq<'_>),
    control: Option<(&str, Vec<u8>)>,
) -> Vec<u8> {
    yasna::construct_der(|writer| {
        writer.write_sequence(|parts| {
            parts.next().write_i32(id);
            let operation = |writer: DERWriter<'_>| writer.write_sequence(inside);
            parts
                .next()
                .write_tagged_implicit(Tag::application(tag), operation);
            if let Some((number, value)) = control {
                parts
                    .next()
                    .write_tagged_implicit(Tag::context(0), |writer| {
                        writer.write_sequence_of(|controls| {
                            controls.next().write_sequence(|parts| {
                                parts.next().write_bytes(number.as_bytes());
                                parts.next().write_bytes(&value);
                            });
                        });
                    });
            }
        });
    })
}

fn outcome(parts: &mut DERWriterSeq<'_>, outcome: &Outcome) {
    parts.next().write_enum(i64::from(outcome.code));
    parts.next().write_bytes(outcome.matched.as_bytes());
    parts.next().write_bytes(outcome.text.as_bytes());
    if !outcome.referrals.is_empty() {
        parts
            .next()
            .write_tagged_implicit(Tag::context(3), |writer| {
                writer.write_sequence_of(|all| {
                    for referral in &outcome.referrals {
                        all.next().write_bytes(referral.as_bytes());
                    }
                });
            });
    }
}

/// How an operation ended; `tag` is that of its answer.
pub(crate) fn ended(id: i32, tag: u64, said: &Outcome) -> Vec<u8> {
    message(id, tag, |parts| outcome(parts, said), None)
}

/// How an extended operation ended, with its name and what it gives.
pub(crate) fn extended(id: i32, said: &Outcome, name: &str, value: Option<&str>) -> Vec<u8> {
    let inside = |parts: &mut DERWriterSeq<'_>| {
        outcome(parts, said);
        let mut write = |number, text: &str| {
            parts
                .next()
                .write_tagged_implicit(Tag::context(number), |writer| {
                    writer.write_bytes(text.as_bytes());
                });
        };
        if !name.is_empty() {
            write(10, name);
        }
        if let Some(value) = value {
            write(11, value);
        }
    };
    message(id, Answer::Extended as u64, inside, None)
}

/// The connection is about to be closed.
pub(crate) fn disconnection(why: &Outcome) -> Vec<u8> {
    extended(0, why, DISCONNECTION, None)
}

/// Everything a search found.
pub(crate) fn found(id: i32, found: &Found) -> Vec<u8> {
    let mut bytes = Vec::new();
    for one in &found.entries {
        bytes.extend(entry(id, one));
    }
    for reference in &found.references {
        let inside = |parts: &mut DERWriterSeq<'_>| {
            parts.next().write_bytes(reference.as_bytes());
        };
        bytes.extend(message(id, Answer::Reference as u64, inside, None));
    }
    let control = found.cookie.as_ref().map(|cookie| {
        let value = yasna::construct_der(|writer| {
            writer.write_sequence(|parts| {
                // how many there are is never said
                parts.next().write_i32(0);
                parts.next().write_bytes(cookie);
            });
        });
        (PAGES, value)
    });
    let done = |parts: &mut DERWriterSeq<'_>| outcome(parts, &found.outcome);
    bytes.extend(message(id, Answer::Done as u64, done, control));
    bytes
}

fn entry(id: i32, (name, attributes): &Entry) -> Vec<u8> {
    let inside = |parts: &mut DERWriterSeq<'_>| {
        parts.next().write_bytes(name.as_bytes());
        parts.next().write_sequence_of(|all| {
            for (description, values) in attributes {
                all.next().write_sequence(|parts| {
                    parts.next().write_bytes(description.as_bytes());
                    // as a sequence, so that values stay in their order
                    parts.next().write_tagged_implicit(TAG_SET, |writer| {
                        writer.write_sequence_of(|set| {
                            for value in values {
                                set.next().write_bytes(value);
                            }
                        });
                    });
                });
            }
        });
    };
    message(id, Answer::Entry as u64, inside, None)
}
