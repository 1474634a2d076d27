//! NTLM version 2 (MS-NLMP), the server's side: its challenge, and whether an answer proves a password. With the server's time
//! in the challenge, an answer must have an integrity code; a channel binding must be the right one, where there is one.

use hmac::{Hmac, KeyInit, Mac};
use md4::{Digest, Md4};
use md5::Md5;

use crate::clock::Clock;
use crate::onprem::Site;

const MARK: &[u8] = b"NTLMSSP\0";

// Of NEGOTIATE (2.2.2.5).
const UNICODE: u32 = 0x1;
const REQUEST_TARGET: u32 = 0x4;
const SIGN: u32 = 0x10;
const SEAL: u32 = 0x20;
const NTLM: u32 = 0x200;
const ALWAYS_SIGN: u32 = 0x8000;
const TARGET_IS_DOMAIN: u32 = 0x1_0000;
const EXTENDED_SECURITY: u32 = 0x8_0000;
const TARGET_INFO: u32 = 0x80_0000;
const VERSION: u32 = 0x200_0000;
const KEY_128: u32 = 0x2000_0000;
const KEY_EXCHANGE: u32 = 0x4000_0000;
const KEY_56: u32 = 0x8000_0000;
/// What is agreed on if the client asks for it, and what is in any case.
const IF_ASKED: u32 =
    SIGN | SEAL | ALWAYS_SIGN | EXTENDED_SECURITY | VERSION | KEY_128 | KEY_EXCHANGE | KEY_56;
const ALWAYS: u32 = UNICODE | REQUEST_TARGET | NTLM | TARGET_IS_DOMAIN | TARGET_INFO;

// Of AV_PAIR (2.2.2.1).
const COMPUTER: u16 = 1;
const DOMAIN: u16 = 2;
const DNS_COMPUTER: u16 = 3;
const FLAGS: u16 = 6;
const TIMESTAMP: u16 = 7;
const CHANNEL_BINDINGS: u16 = 10;
const HAS_CODE: u32 = 2;

/// Where an answer has its integrity code.
const CODE: std::ops::Range<usize> = 72..88;
/// Bytes of an answer's proof before its pairs: the proof itself, and the head of what it is over.
const BEFORE_PAIRS: usize = 16 + 28;

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn text(bytes: &[u8]) -> Option<String> {
    let units = bytes.chunks_exact(2);
    let units: Vec<u16> = units
        .map(|two| u16::from_le_bytes([two[0], two[1]]))
        .collect();
    String::from_utf16(&units).ok()
}

fn keyed(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    // It takes keys of any length.
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(key) else {
        return [0; 16];
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn number(message: &[u8], at: usize) -> Option<u32> {
    let bytes = message.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes))
}

fn kind(message: &[u8]) -> Option<u32> {
    message.starts_with(MARK).then(|| number(message, 8))?
}

/// Whether a message is the one that begins.
pub(super) fn is_first(message: &[u8]) -> bool {
    kind(message) == Some(1)
}

/// A field's bytes: its head, at `at`, has the length, and where they are.
fn field(message: &[u8], at: usize) -> Option<&[u8]> {
    let length = message.get(at..at + 2)?.try_into().ok()?;
    let length = usize::from(u16::from_le_bytes(length));
    let start = usize::try_from(number(message, at + 4)?).ok()?;
    message.get(start..start.checked_add(length)?)
}

/// What the server has sent to a client.
#[derive(Debug)]
pub(super) struct Challenged {
    first: Vec<u8>,
    nonce: [u8; 8],
    pub(super) message: Vec<u8>,
}

impl Challenged {
    /// A site's challenge to whoever begins so; `None` if that isn't a beginning.
    pub(super) fn by(site: &Site, first: &[u8]) -> Option<Self> {
        let asked = number(first, 12)?;
        let random = uuid::Uuid::new_v4().into_bytes();
        let nonce: [u8; 8] = random[8..].try_into().ok()?;
        let since_1601 = Clock::utc().unix_timestamp_nanos() / 100 + 116_444_736_000_000_000;
        let time = u64::try_from(since_1601).ok()?;
        let computer = site.server.split('.').next().unwrap_or_default();
        let mut info = Vec::new();
        for (kind, value) in [
            (DOMAIN, utf16(&site.netbios)),
            (COMPUTER, utf16(computer)),
            (DNS_COMPUTER, utf16(&site.server)),
            (TIMESTAMP, time.to_le_bytes().to_vec()),
            (0, Vec::new()),
        ] {
            info.extend(kind.to_le_bytes());
            info.extend(u16::try_from(value.len()).ok()?.to_le_bytes());
            info.extend(value);
        }
        let name = utf16(&site.netbios);
        let head = |length: usize, at: usize| -> Option<Vec<u8>> {
            let length = u16::try_from(length).ok()?.to_le_bytes();
            let at = u32::try_from(at).ok()?.to_le_bytes();
            Some([&length[..], &length, &at].concat())
        };
        let mut message = MARK.to_vec();
        message.extend(2_u32.to_le_bytes());
        message.extend(head(name.len(), 56)?);
        message.extend((ALWAYS | (IF_ASKED & asked)).to_le_bytes());
        message.extend(nonce);
        message.extend([0; 8]);
        message.extend(head(info.len(), 56 + name.len())?);
        message.extend([10, 0, 0x7C, 0x4F, 0, 0, 0, 15]);
        message.extend(name);
        message.extend(info);
        Some(Self {
            first: first.to_vec(),
            nonce,
            message,
        })
    }
}

/// A client's answer.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    whole: &'a [u8],
    proof: &'a [u8],
    user: String,
    domain: String,
    session_key: &'a [u8],
    flags: u32,
}

impl<'a> Answer<'a> {
    /// Reads one; `None` if it is none, or of version 1.
    pub(super) fn read(whole: &'a [u8]) -> Option<Self> {
        let proof = field(whole, 20)?;
        let is_one = kind(whole) == Some(3) && proof.len() > BEFORE_PAIRS;
        is_one.then_some(())?;
        Some(Self {
            whole,
            proof,
            domain: text(field(whole, 28)?)?,
            user: text(field(whole, 36)?)?,
            session_key: field(whole, 52)?,
            flags: number(whole, 60)?,
        })
    }

    /// The name that it signs in with.
    pub(super) fn login(&self) -> String {
        if self.domain.is_empty() {
            self.user.clone()
        } else {
            format!("{}\\{}", self.domain, self.user)
        }
    }

    /// Whether it proves this password, to whoever sent the challenge on this connection.
    ///
    /// # Errors
    /// Why it doesn't.
    pub(super) fn check(
        &self,
        challenged: &Challenged,
        password: &str,
        binding: Option<&[u8]>,
    ) -> Result<(), &'static str> {
        let hash: [u8; 16] = Md4::digest(utf16(password)).into();
        let name = utf16(&format!("{}{}", self.user.to_uppercase(), self.domain));
        let key = keyed(&hash, &[&name]);
        let (proof, over) = self.proof.split_at(16);
        if keyed(&key, &[&challenged.nonce, over]) != proof {
            return Err("a wrong password");
        }
        let base = keyed(&key, &[proof]);
        let exported = if self.flags & KEY_EXCHANGE == 0 {
            base.to_vec()
        } else {
            rc4(&base, self.session_key)
        };
        let pairs = pairs(&over[28..]).ok_or("pairs that can't be read")?;
        let value = |kind| {
            pairs
                .iter()
                .find(|(known, _)| *known == kind)
                .map(|(_, value)| *value)
        };
        let flags = value(FLAGS).and_then(|flags| number(flags, 0));
        if flags.unwrap_or(0) & HAS_CODE == 0 {
            return Err("no integrity code");
        }
        let mut bare = self.whole.to_vec();
        let place = bare.get_mut(CODE).ok_or("no integrity code")?;
        place.fill(0);
        let code = keyed(&exported, &[&challenged.first, &challenged.message, &bare]);
        if self.whole.get(CODE) != Some(&code[..]) {
            return Err("an integrity code over something else");
        }
        // Zeros say that the client knows of none.
        let bound = value(CHANNEL_BINDINGS).filter(|bound| bound.iter().any(|byte| *byte != 0));
        match bound {
            Some(bound) if binding.map(bindings).is_none_or(|own| own != bound) => {
                Err("bound to another connection")
            }
            _ => Ok(()),
        }
    }
}

/// The hash of `gss_channel_bindings_struct`, without addresses.
fn bindings(data: &[u8]) -> [u8; 16] {
    let length = u32::try_from(data.len()).unwrap_or(0).to_le_bytes();
    Md5::digest([&[0; 16][..], &length, data].concat()).into()
}

fn pairs(mut info: &[u8]) -> Option<Vec<(u16, &[u8])>> {
    let mut pairs = Vec::new();
    loop {
        let (head, rest) = info.split_first_chunk::<4>()?;
        let kind = u16::from_le_bytes([head[0], head[1]]);
        if kind == 0 {
            return Some(pairs);
        }
        let length = u16::from_le_bytes([head[2], head[3]]);
        let (value, rest) = rest.split_at_checked(length.into())?;
        pairs.push((kind, value));
        info = rest;
    }
}

/// The cipher that a session's key is exchanged with.
fn rc4(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut state: [u8; 256] = std::array::from_fn(|at| u8::try_from(at).unwrap_or(0));
    let mut other = 0_u8;
    for at in 0..256 {
        let step = key[at % key.len()];
        other = other.wrapping_add(state[at]).wrapping_add(step);
        state.swap(at, other.into());
    }
    let (mut one, mut other) = (0_u8, 0_u8);
    let mut next = || {
        one = one.wrapping_add(1);
        other = other.wrapping_add(state[usize::from(one)]);
        state.swap(one.into(), other.into());
        let sum = state[usize::from(one)].wrapping_add(state[usize::from(other)]);
        state[usize::from(sum)]
    };
    bytes.iter().map(|byte| byte ^ next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6229 has streams; this one is Wikipedia's, short: "Plaintext" under the key "Key".
    #[test]
    fn a_known_cipher_text() {
        let sealed = [0xBB, 0xF3, 0x16, 0xE8, 0xD9, 0x40, 0xAF, 0x0A, 0xD3];
        assert_eq!(rc4(b"Key", b"Plaintext"), sealed);
    }

    #[test]
    fn what_is_no_message_is_not_taken_for_one() {
        for message in [
            &b""[..],
            b"NTLMSSP\0",
            b"NTLMSSP\0\x01\0\0\0",
            b"NTLMSSP\0\x03\0\0\0",
        ] {
            assert!(Answer::read(message).is_none());
        }
        assert!(is_first(b"NTLMSSP\0\x01\0\0\0\0\0\0\0"));
    }
}
