//! The messages of MS-NLMP 2.2.1, as bytes.

use std::ops::Range;

use super::crypto::{md5, utf16};

const SIGNATURE: &[u8] = b"NTLMSSP\0";
const UNICODE: u32 = 0x1;
const REQUEST_TARGET: u32 = 0x4;
const NTLM: u32 = 0x200;
const ALWAYS_SIGN: u32 = 0x8000;
const EXTENDED_SESSION_SECURITY: u32 = 0x8_0000;
const TARGET_INFO: u32 = 0x80_0000;
const VERSION: u32 = 0x200_0000;
const KEY_128: u32 = 0x2000_0000;
const KEY_56: u32 = 0x8000_0000;
const SPOKEN: u32 = UNICODE
    | REQUEST_TARGET
    | NTLM
    | ALWAYS_SIGN
    | EXTENDED_SESSION_SECURITY
    | TARGET_INFO
    | VERSION
    | KEY_128
    | KEY_56;
/// 10.0, revision 15: what present clients say.
const OUR_VERSION: [u8; 8] = [10, 0, 0, 0, 0, 0, 0, 15];

/// Kinds of what a server says of itself.
const END: u16 = 0;
const FLAGS: u16 = 6;
const TIMESTAMP: u16 = 7;
const TARGET_NAME: u16 = 9;
const CHANNEL_BINDINGS: u16 = 10;
/// Of `FLAGS`: the message has an integrity code.
const HAS_MIC: u32 = 2;

/// Where the integrity code is in the last message.
pub(crate) const MIC: Range<usize> = 72..88;

/// The first message.
pub(crate) fn negotiate() -> Vec<u8> {
    [
        SIGNATURE,
        &1u32.to_le_bytes(),
        &SPOKEN.to_le_bytes(),
        &[0; 16],
        &OUR_VERSION,
    ]
    .concat()
}

/// The server's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// What both speak.
    pub(crate) flags: u32,
    /// Random, the server's.
    pub(crate) nonce: [u8; 8],
    /// What the server says of itself.
    info: Vec<(u16, Vec<u8>)>,
    /// The whole message.
    pub(crate) raw: Vec<u8>,
}

impl Challenge {
    /// Reads the server's message; `None` if it isn't one.
    pub(crate) fn parse(raw: &[u8]) -> Option<Self> {
        if raw.get(..8)? != SIGNATURE || u32_at(raw, 8)? != 2 {
            return None;
        }
        let info = raw.get(field(raw, 40)?)?;
        Some(Self {
            flags: u32_at(raw, 20)?,
            nonce: raw.get(24..32)?.try_into().ok()?,
            info: pairs(info)?,
            raw: raw.to_vec(),
        })
    }

    fn value(&self, kind: u16) -> Option<&[u8]> {
        let found = self.info.iter().find(|(known, _)| *known == kind);
        found.map(|(_, value)| value.as_slice())
    }

    /// The server's time, if it names one.
    pub(crate) fn timestamp(&self) -> Option<u64> {
        let value = self.value(TIMESTAMP)?;
        value.try_into().ok().map(u64::from_le_bytes)
    }

    /// What the server said of itself, and what we add: that there is an integrity code, which connection this is,
    /// and whom it is for.
    pub(crate) fn bound_info(&self, binding: Option<&[u8]>, target: &str) -> Vec<u8> {
        let flags = self.value(FLAGS).and_then(|value| value.try_into().ok());
        let flags = flags.map_or(0, u32::from_le_bytes) | HAS_MIC;
        let ours = [
            (FLAGS, flags.to_le_bytes().to_vec()),
            (CHANNEL_BINDINGS, binding.map_or([0; 16], bindings).to_vec()),
            (TARGET_NAME, utf16(target)),
        ];
        let theirs = self
            .info
            .iter()
            .filter(|(kind, _)| !ours.iter().any(|(own, _)| own == kind));
        let mut out = Vec::new();
        for (kind, value) in theirs.chain(&ours) {
            let length = u16::try_from(value.len()).unwrap_or(0);
            out.extend(kind.to_le_bytes());
            out.extend(length.to_le_bytes());
            out.extend(&value[..usize::from(length)]);
        }
        out.extend([0; 4]);
        out
    }
}

/// The MD5 of `gss_channel_bindings_struct` without addresses (RFC 2744 3.11, MS-NLMP 3.1.5.1.2).
fn bindings(data: &[u8]) -> [u8; 16] {
    let length = u32::try_from(data.len()).unwrap_or(0);
    md5(&[&[0; 16][..], &length.to_le_bytes(), data].concat())
}

/// The last message, with zeros for the integrity code.
pub(crate) fn authenticate(lm: &[u8], nt: &[u8], domain: &str, user: &str, agreed: u32) -> Vec<u8> {
    let (domain, user) = (utf16(domain), utf16(user));
    let mut message = [SIGNATURE, &3u32.to_le_bytes()].concat();
    let mut at = MIC.end;
    // Workstation and session key are empty.
    for part in [lm, nt, &domain, &user, &[], &[]] {
        let length = u16::try_from(part.len()).unwrap_or(0).to_le_bytes();
        message.extend(length);
        message.extend(length);
        message.extend(u32::try_from(at).unwrap_or(0).to_le_bytes());
        at += part.len();
    }
    message.extend((SPOKEN & (agreed | VERSION)).to_le_bytes());
    message.extend(OUR_VERSION);
    message.extend([0; 16]);
    for part in [lm, nt, &domain, &user] {
        message.extend(part);
    }
    message
}

/// Where a field's payload is.
pub(super) fn field(raw: &[u8], at: usize) -> Option<Range<usize>> {
    let length = usize::from(u16::from_le_bytes(raw.get(at..at + 2)?.try_into().ok()?));
    let start = usize::try_from(u32_at(raw, at + 4)?).ok()?;
    let end = start.checked_add(length)?;
    (end <= raw.len()).then_some(start..end)
}

pub(super) fn u32_at(raw: &[u8], at: usize) -> Option<u32> {
    raw.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

/// Reads pairs of kind and value, up to the end mark.
pub(super) fn pairs(mut info: &[u8]) -> Option<Vec<(u16, Vec<u8>)>> {
    let mut pairs = Vec::new();
    while let Some((head, rest)) = info.split_first_chunk::<4>() {
        let kind = u16::from_le_bytes([head[0], head[1]]);
        let length = u16::from_le_bytes([head[2], head[3]]);
        if kind == END {
            break;
        }
        let (value, rest) = rest.split_at_checked(usize::from(length))?;
        pairs.push((kind, value.to_vec()));
        info = rest;
    }
    Some(pairs)
}
