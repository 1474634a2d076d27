//! Where a message begins and ends on a connection, and that it keeps to what RFC 4511 (5.1) allows of BER.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest message that is taken, in bytes: what Active Directory calls `MaxReceiveBuffer`.
const LONGEST: u64 = 10_485_760;
/// The tag of a message: a sequence.
const SEQUENCE: u8 = 0x30;
/// How many bytes the length of anything may be written with.
const LENGTH_BYTES: usize = 4;

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The bytes of one message.
    Message(Vec<u8>),
    /// The client has gone.
    Closed,
    /// What can't be the beginning of a message, or isn't one.
    Malformed,
}

/// Reads one message. No more memory is taken than bytes have come.
///
/// # Errors
/// The connection broke.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let mut message = Vec::new();
    for at in 0..2 {
        if stream.take(1).read_to_end(&mut message).await? == 0 {
            return Ok(Frame::Closed);
        }
        if at == 0 && message != [SEQUENCE] {
            return Ok(Frame::Malformed);
        }
    }
    let length = match message[1] {
        short if short < 0x80 => u64::from(short),
        long => {
            let bytes = long & 0x7f;
            if bytes == 0 || usize::from(bytes) > LENGTH_BYTES {
                return Ok(Frame::Malformed);
            }
            if stream
                .take(u64::from(bytes))
                .read_to_end(&mut message)
                .await?
                < usize::from(bytes)
            {
                return Ok(Frame::Closed);
            }
            let digits = message[2..].iter();
            digits.fold(0, |length, byte| length << 8 | u64::from(*byte))
        }
    };
    if length > LONGEST {
        return Ok(Frame::Malformed);
    }
    let came = stream.take(length).read_to_end(&mut message).await?;
    if u64::try_from(came).unwrap_or(u64::MAX) < length {
        return Ok(Frame::Closed);
    }
    Ok(if is_definite(&message) {
        Frame::Message(message)
    } else {
        Frame::Malformed
    })
}

/// Whether every length in it is a definite one, and no longer than what is left.
fn is_definite(mut rest: &[u8]) -> bool {
    while let [tag, after @ ..] = rest {
        let mut after = after;
        if tag & 0x1f == 0x1f {
            // the number of the tag goes on in further bytes
            let Some(last) = after.iter().position(|byte| byte & 0x80 == 0) else {
                return false;
            };
            after = &after[last + 1..];
        }
        let Some((content, length)) = content(after) else {
            return false;
        };
        // what is in a constructed value is looked at next, and what comes behind it after that
        rest = if tag & 0x20 == 0 {
            &content[length..]
        } else {
            content
        };
    }
    true
}

/// What follows a length, and the length.
fn content(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (first, after) = bytes.split_first()?;
    let (content, length) = match first {
        short if *short < 0x80 => (after, usize::from(*short)),
        long => {
            let count = usize::from(long & 0x7f);
            if count == 0 || count > LENGTH_BYTES {
                return None;
            }
            let (digits, content) = after.split_at_checked(count)?;
            let length = digits
                .iter()
                .fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
            (content, length)
        }
    };
    (length <= content.len()).then_some((content, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn framed(mut bytes: &[u8]) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = read(&mut bytes).await.unwrap();
            let goes_on = matches!(frame, Frame::Message(_));
            frames.push(frame);
            if !goes_on {
                return frames;
            }
        }
    }

    #[tokio::test]
    async fn messages_end_where_they_say() {
        let unbind = [0x30, 5, 2, 1, 3, 0x42, 0];
        let long = [0x30, 0x84, 0, 0, 0, 5, 2, 1, 3, 0x42, 0];
        let both = [&unbind[..], &long].concat();
        let messages = [unbind.to_vec(), long.to_vec()].map(Frame::Message);
        let frames = framed(&both).await;
        assert_eq!(frames[..2], messages);
        assert_eq!(frames[2], Frame::Closed);
        assert_eq!(framed(&both[..9]).await[1], Frame::Closed);
    }

    #[tokio::test]
    async fn what_is_no_message_is_refused_unread() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            // without an end, with an end too far away, and longer than is taken
            &[0x30, 0x80, 2, 1, 3, 0x42, 0, 0, 0],
            &[0x30, 0x85, 0, 0, 0, 0, 5],
            &[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 2],
            // inside: without an end, and beyond the end
            &[0x30, 4, 0x30, 0x80, 0, 0],
            &[0x30, 3, 2, 2, 3],
        ] {
            assert_eq!(framed(bytes).await, [Frame::Malformed], "{bytes:02x?}");
        }
    }
}
