//! Sealed bodies, as MS-WSMV 2.2.9.1 has clients write them, and as Exchange's servers write them.

use calgrant_gssapi::{Context, Failure};

/// What Negotiate makes, and what Kerberos does by its own name: the name, and the type of a sealed answer. `WinRM` answers 400 to a
/// body that is called otherwise than its context was made.
const NEGOTIATE: (&str, &str) = (
    "application/HTTP-SPNEGO-session-encrypted",
    "multipart/encrypted;protocol=\"application/HTTP-SPNEGO-session-encrypted\";boundary=\"Encrypted Boundary\"",
);
const KERBEROS: (&str, &str) = (
    "application/HTTP-Kerberos-session-encrypted",
    "multipart/encrypted;protocol=\"application/HTTP-Kerberos-session-encrypted\";boundary=\"Encrypted Boundary\"",
);
const BOUNDARY: &str = "--Encrypted Boundary";
const END: &[u8] = b"--Encrypted Boundary--\r\n";
const PROTOCOL: &str = "\tContent-Type: ";
const ORIGINAL: &str = "\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=";
const OCTETS: &[u8] = b"\tContent-Type: application/octet-stream\r\n";
/// The most that a kind of encryption pads by, in bytes.
const MOST_PADDING: usize = 16;

/// What both sides have agreed on, and by which name.
#[derive(Debug)]
pub(super) struct Agreed {
    pub(super) context: Context,
    /// As headers call it.
    pub(super) scheme: &'static str,
}

impl Agreed {
    fn names(&self) -> (&'static str, &'static str) {
        if self.scheme == "Kerberos" {
            KERBEROS
        } else {
            NEGOTIATE
        }
    }

    /// Opens a client's body.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn open(&mut self, kind: &str, body: &[u8]) -> Result<Vec<u8>, &'static str> {
        let at = body
            .windows(OCTETS.len())
            .position(|window| window == OCTETS)
            .ok_or("it has no part with sealed bytes")?;
        let head = str::from_utf8(&body[..at]).map_err(|_| "its head isn't text")?;
        let lines: Vec<&str> = head.split("\r\n").collect();
        let [BOUNDARY, protocol, original, BOUNDARY, ""] = lines[..] else {
            return Err("its parts aren't as they should be");
        };
        let protocol = protocol.strip_prefix(PROTOCOL).unwrap_or_default();
        if protocol != self.names().0 || !kind.contains(protocol) {
            return Err(
                "it is called otherwise than its context was made, or its type says another",
            );
        }
        let length: usize = original
            .strip_prefix(ORIGINAL)
            .and_then(|length| length.parse().ok())
            .ok_or("it doesn't say what was sealed")?;
        let payload = body[at + OCTETS.len()..]
            .strip_suffix(END)
            .ok_or("it doesn't end as it should")?;
        let (size, payload) = payload
            .split_first_chunk::<4>()
            .ok_or("it has no signature")?;
        let size =
            usize::try_from(i32::from_le_bytes(*size)).map_err(|_| "a signature below nothing")?;
        let (signature, sealed) = payload
            .split_at_checked(size)
            .ok_or("its signature is cut off")?;
        let plain = self.context.unseal(signature, sealed).map_err(|failure| {
            tracing::debug!(%failure, "a sealed body can't be opened");
            "it can't be opened"
        })?;
        if !(plain.len()..=plain.len() + MOST_PADDING).contains(&length) {
            return Err("it isn't as long as it says");
        }
        Ok(plain)
    }

    /// A sealed answer, and its type. Servers write a space before the boundary's name.
    ///
    /// # Errors
    /// The context has run out.
    pub(super) fn write(&mut self, plain: &[u8]) -> Result<(&'static str, Vec<u8>), Failure> {
        let (protocol, kind) = self.names();
        let sealed = self.context.seal(plain)?;
        let length = plain.len() + sealed.padding;
        let head = format!(
            "-- Encrypted Boundary\r\n{PROTOCOL}{protocol}\r\n{ORIGINAL}{length}\r\n-- Encrypted Boundary\r\n"
        );
        let size = i32::try_from(sealed.signature.len()).unwrap_or(0);
        let body = [
            head.as_bytes(),
            OCTETS,
            &size.to_le_bytes(),
            &sealed.signature,
            &sealed.bytes,
            b"-- Encrypted Boundary--\r\n",
        ]
        .concat();
        Ok((kind, body))
    }
}
