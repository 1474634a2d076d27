//! The arithmetic of MS-NLMP 3.3.2.

use hmac::{Hmac, KeyInit, Mac};
use md4::{Digest, Md4};
use md5::Md5;
use time::OffsetDateTime;

/// A proof of the password, and the key both sides have after it.
pub(crate) struct Proof {
    /// `NtChallengeResponse`.
    pub(crate) response: Vec<u8>,
    /// `SessionBaseKey`, which is the exported one where no key is exchanged.
    pub(crate) session_key: [u8; 16],
}

/// UTF-16, little endian.
pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

pub(crate) fn hmac_md5(key: &[u8], data: &[u8]) -> [u8; 16] {
    // HMAC takes keys of any length.
    let Ok(mac) = Hmac::<Md5>::new_from_slice(key) else {
        return [0; 16];
    };
    mac.chain_update(data).finalize().into_bytes().into()
}

pub(crate) fn md5(data: &[u8]) -> [u8; 16] {
    Md5::digest(data).into()
}

/// `NTOWFv2`.
pub(crate) fn owf_v2(password: &str, user: &str, domain: &str) -> [u8; 16] {
    let hash: [u8; 16] = Md4::digest(utf16(password)).into();
    hmac_md5(&hash, &utf16(&format!("{}{domain}", user.to_uppercase())))
}

/// `NtChallengeResponse` and what follows from it.
pub(crate) fn prove(
    key: &[u8; 16],
    server: [u8; 8],
    client: [u8; 8],
    time: u64,
    info: &[u8],
) -> Proof {
    let blob = [
        &[1, 1, 0, 0, 0, 0, 0, 0][..],
        &time.to_le_bytes(),
        &client,
        &[0; 4],
        info,
        &[0; 4],
    ]
    .concat();
    let proof = hmac_md5(key, &[&server[..], &blob].concat());
    Proof {
        session_key: hmac_md5(key, &proof),
        response: [&proof[..], &blob].concat(),
    }
}

/// `LmChallengeResponse`.
pub(crate) fn lm_v2(key: &[u8; 16], server: [u8; 8], client: [u8; 8]) -> [u8; 24] {
    let mut out = [0; 24];
    out[..16].copy_from_slice(&hmac_md5(key, &[server, client].concat()));
    out[16..].copy_from_slice(&client);
    out
}

/// Hundreds of nanoseconds since 1601.
pub(crate) fn file_time(at: OffsetDateTime) -> u64 {
    const UNIX_EPOCH: i128 = 116_444_736_000_000_000;
    u64::try_from(at.unix_timestamp_nanos() / 100 + UNIX_EPOCH).unwrap_or(0)
}
