//! The envelope around Kerberos' tokens (RFC 4178), as much of it as one mechanism takes: Kerberos is offered alone, so there is
//! nothing to choose, and nothing that somebody on the way could make weaker. Pure.

use crate::transport::tls::tlv;

/// 1.3.6.1.5.5.2
const SPNEGO: &[u8] = &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x02];
/// 1.2.840.113554.1.2.2
const KERBEROS: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 0x01, 0x02, 0x02];

const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTETS: u8 = 0x04;
const ENUMERATED: u8 = 0x0A;
const SEQUENCE: u8 = 0x30;
/// Of a first token, of SPNEGO's and of a bare Kerberos one.
const APPLICATION: u8 = 0x60;
/// `NegTokenResp`, as one choice of what a token is.
const RESPONSE: u8 = 0xA1;
/// States of an answer that end it well; a server that leaves the state out has nothing against us either.
const COMPLETED: u8 = 0;
const INCOMPLETE: u8 = 1;

/// By which name a server takes Kerberos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Wrapped, as anything that can be negotiated.
    Negotiate,
    /// By its own name, as it is: what only servers of `WSMan` know, and some of them nothing else.
    Kerberos,
}

impl Scheme {
    /// As headers call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Negotiate => "Negotiate",
            Self::Kerberos => "Kerberos",
        }
    }

    /// The first token as it is sent.
    pub(super) fn wrapped(self, token: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Negotiate => offer(&token),
            Self::Kerberos => token,
        }
    }
}

/// The first token: Kerberos is offered, and here is its token.
fn offer(token: &[u8]) -> Vec<u8> {
    let kinds = der(0xA0, &der(SEQUENCE, &der(OBJECT_IDENTIFIER, KERBEROS)));
    let token = der(0xA2, &der(OCTETS, token));
    let init = der(0xA0, &der(SEQUENCE, &[kinds, token].concat()));
    der(
        APPLICATION,
        &[der(OBJECT_IDENTIFIER, SPNEGO), init].concat(),
    )
}

/// What the server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// It takes the offer.
    pub(super) agreed: bool,
    /// Kerberos' own token; empty if there is none.
    pub(super) token: Vec<u8>,
}

/// Reads a server's token; `None` if it is none. One that isn't wrapped is taken, too: some servers answer so.
pub(super) fn answer(raw: &[u8]) -> Option<Answer> {
    if raw.first() == Some(&APPLICATION) {
        return Some(Answer {
            agreed: true,
            token: raw.to_vec(),
        });
    }
    let (choice, _) = tlv(raw, RESPONSE)?;
    let (mut fields, _) = tlv(choice, SEQUENCE)?;
    let (mut agreed, mut token) = (true, Vec::new());
    while let Some(tag) = fields.first().copied() {
        let (field, rest) = tlv(fields, tag)?;
        match tag {
            0xA0 => {
                let (state, _) = tlv(field, ENUMERATED)?;
                agreed = matches!(state, [COMPLETED | INCOMPLETE]);
            }
            0xA2 => token = tlv(field, OCTETS)?.0.to_vec(),
            // Which mechanism it is, of one; and a checksum over what was offered, of which nothing could be taken away.
            _ => {}
        }
        fields = rest;
    }
    Some(Answer { agreed, token })
}

/// A DER value.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let from = bytes.iter().position(|byte| *byte != 0).unwrap_or(0);
            let bytes = &bytes[from..];
            // Eight at most.
            out.push(0x80 | u8::try_from(bytes.len()).unwrap_or(0));
            out.extend(bytes);
        }
    }
    out.extend(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_written_as_others_write_it() {
        let want = [
            &[0x60, 0x24, 0x06, 0x06][..],
            SPNEGO,
            &[0xA0, 0x1A, 0x30, 0x18, 0xA0, 0x0D, 0x30, 0x0B, 0x06, 0x09],
            KERBEROS,
            &[0xA2, 0x07, 0x04, 0x05],
            b"token",
        ]
        .concat();
        assert_eq!(offer(b"token"), want);
        for length in [100, 127, 128, 255, 256, 3000, 70_000] {
            let token = vec![7; length];
            let (inside, rest) = tlv(&offer(&token), APPLICATION)
                .map(|(inside, rest)| (inside.to_vec(), rest.to_vec()))
                .unwrap();
            assert!(rest.is_empty() && inside.ends_with(&token), "{length}");
        }
    }

    #[test]
    fn answers_are_read() {
        let response = |fields: &[Vec<u8>]| der(RESPONSE, &der(SEQUENCE, &fields.concat()));
        let state = |state| der(0xA0, &der(ENUMERATED, &[state]));
        let mechanism = der(0xA1, &der(OBJECT_IDENTIFIER, KERBEROS));
        let token = der(0xA2, &der(OCTETS, b"reply"));
        let some = |agreed: bool, token: &'static [u8]| Some((agreed, token));
        let checksum = der(0xA3, &der(OCTETS, b"mic"));
        let whole = [state(0), mechanism.clone(), token.clone(), checksum];
        for (raw, want) in [
            (response(&whole), some(true, b"reply")),
            (response(&[state(1), token.clone()]), some(true, b"reply")),
            (response(&[token]), some(true, b"reply")),
            (response(&[state(2)]), some(false, b"")),
            (response(&[state(3), mechanism]), some(false, b"")),
            (b"\x60\x03bare".to_vec(), some(true, b"\x60\x03bare")),
            (Vec::new(), None),
            (b"NTLMSSP\0".to_vec(), None),
            (vec![0xA1, 0x05, 0x30], None),
        ] {
            let read = answer(&raw);
            let read = read
                .as_ref()
                .map(|answer| (answer.agreed, answer.token.as_slice()));
            assert_eq!(read, want, "{raw:02x?}");
        }
        let good = response(&whole);
        for cut in 0..good.len() {
            let _ = answer(&good[..cut]);
        }
    }
}
