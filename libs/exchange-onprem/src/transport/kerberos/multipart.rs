//! Sealed bodies as they are written (MS-WSMV 2.2.9.1): one part that says what was sealed, one that holds it. Pure.

use super::spnego::Scheme;

const BOUNDARY: &str = "Encrypted Boundary";
/// What is sealed is a request of `WSMan`'s.
const SEALED_TYPE: &str = "application/soap+xml;charset=UTF-8";

/// Which way a body is sealed: in a context that was agreed on so. Servers refuse the wrong name.
fn protocol(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::Negotiate => "application/HTTP-SPNEGO-session-encrypted",
        Scheme::Kerberos => "application/HTTP-Kerberos-session-encrypted",
    }
}

/// The `Content-Type` of a sealed body.
pub(super) fn content_type(scheme: Scheme) -> String {
    let protocol = protocol(scheme);
    format!("multipart/encrypted;protocol=\"{protocol}\";boundary=\"{BOUNDARY}\"")
}

/// A sealed body. `length` is that of what was sealed, its padding included.
pub(super) fn write(scheme: Scheme, length: usize, signature: &[u8], sealed: &[u8]) -> Vec<u8> {
    let protocol = protocol(scheme);
    let head = format!(
        "--{BOUNDARY}\r\n\tContent-Type: {protocol}\r\n\tOriginalContent: type={SEALED_TYPE};Length={length}\r\n\
         --{BOUNDARY}\r\n\tContent-Type: application/octet-stream\r\n"
    );
    // A signature has some sixty bytes.
    let signed = u32::try_from(signature.len()).unwrap_or(0).to_le_bytes();
    let end = format!("--{BOUNDARY}--\r\n");
    [head.as_bytes(), &signed, signature, sealed, end.as_bytes()].concat()
}

/// What a sealed body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    /// The length of what was sealed, its padding included.
    pub(super) length: usize,
    pub(super) signature: &'a [u8],
    pub(super) sealed: &'a [u8],
}

/// Whether a `Content-Type` says that a body is sealed.
pub(super) fn is_sealed(content_type: &str) -> bool {
    content_type
        .trim_start()
        .to_ascii_lowercase()
        .starts_with("multipart/encrypted")
}

/// Reads a sealed body; `Err` says what is wrong with it.
pub(super) fn read(body: &[u8]) -> Result<Parts<'_>, &'static str> {
    let mut rest = after_boundary(body).ok_or("it doesn't begin with a boundary")?;
    let mut length = None;
    // What was sealed; a server's own lines beside are passed over.
    rest = loop {
        if let Some(second) = after_boundary(rest) {
            break second;
        }
        let (line, more) = line(rest).ok_or("it has no second part")?;
        if let Some((_, number)) = line.split_once("Length=") {
            length = number.trim().parse().ok();
        }
        rest = more;
    };
    let (kind, rest) = line(rest).ok_or("its second part says nothing of itself")?;
    if !kind
        .trim()
        .eq_ignore_ascii_case("Content-Type: application/octet-stream")
    {
        return Err("its second part is of another kind");
    }
    let payload = before_end(rest).ok_or("it doesn't end with a boundary")?;
    let (signed, payload) = payload
        .split_first_chunk::<4>()
        .ok_or("it is too short for a signature")?;
    let signed = usize::try_from(u32::from_le_bytes(*signed)).unwrap_or(usize::MAX);
    let (signature, sealed) = payload
        .split_at_checked(signed)
        .ok_or("its signature is longer than itself")?;
    Ok(Parts {
        length: length.ok_or("it doesn't say how long it was")?,
        signature,
        sealed,
    })
}

/// What follows a line with a boundary. Servers write `-- Encrypted Boundary`.
fn after_boundary(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_prefix(b"--")?;
    let text = text.strip_prefix(b" ").unwrap_or(text);
    text.strip_prefix(BOUNDARY.as_bytes())?
        .strip_prefix(b"\r\n")
}

/// What stands before the last boundary.
fn before_end(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_suffix(b"\r\n").unwrap_or(text);
    let text = text
        .strip_suffix(b"--")?
        .strip_suffix(BOUNDARY.as_bytes())?;
    text.strip_suffix(b"-- ")
        .or_else(|| text.strip_suffix(b"--"))
}

/// One line of text, and what follows it.
fn line(text: &[u8]) -> Option<(&str, &[u8])> {
    let end = text.windows(2).position(|two| two == b"\r\n")?;
    let line = str::from_utf8(&text[..end]).ok()?;
    Some((line, &text[end + 2..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for sealed in [
            &b"sealed"[..],
            b"",
            b"\r\n--Encrypted Boundary--\r\n",
            b"--",
        ] {
            let body = write(Scheme::Negotiate, 6, b"signature", sealed);
            let want = Parts {
                length: 6,
                signature: b"signature",
                sealed,
            };
            assert_eq!(read(&body), Ok(want));
        }
        assert!(is_sealed(&content_type(Scheme::Negotiate)));
        assert!(is_sealed("Multipart/Encrypted; protocol=x"));
        assert!(!is_sealed("application/soap+xml;charset=UTF-8"));
    }

    #[test]
    fn a_servers_own_way_of_writing_is_read() {
        let body = b"-- Encrypted Boundary\r\nContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n\
            OriginalContent: type=application/soap+xml;charset=UTF-8;Length=1716\r\n-- Encrypted Boundary\r\n\
            Content-Type: application/octet-stream\r\n\x02\0\0\0abc-- Encrypted Boundary--\r\n";
        let want = Parts {
            length: 1716,
            signature: b"ab",
            sealed: b"c",
        };
        assert_eq!(read(body), Ok(want));
    }

    #[test]
    fn what_is_none_is_said_to_be() {
        let good = write(Scheme::Kerberos, 6, b"signature", b"sealed");
        for cut in 0..good.len() - 2 {
            assert!(read(&good[..cut]).is_err(), "{cut}");
        }
        let longer = [
            &b"--Encrypted Boundary\r\n\tOriginalContent: Length=1\r\n--Encrypted Boundary\r\n"[..],
            b"\tContent-Type: application/octet-stream\r\n\xff\0\0\0ab--Encrypted Boundary--\r\n",
        ]
        .concat();
        assert_eq!(read(&longer), Err("its signature is longer than itself"));
    }
}
