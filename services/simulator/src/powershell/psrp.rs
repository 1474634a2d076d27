//! PSRP's framing: messages, and the fragments they travel in.

use std::collections::HashMap;

use uuid::Uuid;

/// Where a message is for.
const TO_CLIENT: u32 = 1;
const TO_SERVER: u32 = 2;
const FRAGMENT_HEAD: usize = 21;
/// The most bytes of a message one fragment takes.
const FRAGMENT: usize = 32_768 - FRAGMENT_HEAD;
/// How large a message may be that comes in pieces.
const LARGEST: usize = 4 * 1024 * 1024;

/// The sorts of messages that are known here.
pub(crate) mod kind {
    pub(crate) const SESSION_CAPABILITY: u32 = 0x0001_0002;
    pub(crate) const INIT_RUNSPACEPOOL: u32 = 0x0001_0004;
    pub(crate) const PUBLIC_KEY: u32 = 0x0001_0005;
    pub(crate) const ENCRYPTED_SESSION_KEY: u32 = 0x0001_0006;
    pub(crate) const RUNSPACEPOOL_STATE: u32 = 0x0002_1005;
    pub(crate) const CREATE_PIPELINE: u32 = 0x0002_1006;
    pub(crate) const APPLICATION_PRIVATE_DATA: u32 = 0x0002_1009;
    pub(crate) const PIPELINE_INPUT: u32 = 0x0004_1002;
    pub(crate) const END_OF_PIPELINE_INPUT: u32 = 0x0004_1003;
    pub(crate) const PIPELINE_OUTPUT: u32 = 0x0004_1004;
    pub(crate) const ERROR_RECORD: u32 = 0x0004_1005;
    pub(crate) const PIPELINE_STATE: u32 = 0x0004_1006;
    pub(crate) const WARNING_RECORD: u32 = 0x0004_1009;
}

/// One message from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u32,
    pub(crate) pool: Uuid,
    pub(crate) pipeline: Uuid,
    pub(crate) text: String,
}

/// Puts messages together out of their fragments.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    open: HashMap<u64, (u64, Vec<u8>)>,
}

impl Incoming {
    /// Takes some fragments; the messages that are complete with them.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<Vec<Message>, &'static str> {
        let mut messages = Vec::new();
        while !bytes.is_empty() {
            let (head, rest) = bytes
                .split_first_chunk::<FRAGMENT_HEAD>()
                .ok_or("a fragment is shorter than its head")?;
            let [object, fragment] = [0, 8]
                .map(|at| u64::from_be_bytes(head[at..at + 8].try_into().unwrap_or_default()));
            let length = u32::from_be_bytes(head[17..].try_into().unwrap_or_default());
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let data = rest.get(..length).ok_or("a fragment is cut off")?;
            bytes = &rest[length..];
            let (starts, ends) = (head[16] & 1 != 0, head[16] & 2 != 0);
            if starts != (fragment == 0) {
                return Err("the first fragment of a message has the number 0, and no other");
            }
            let (next, held) = self.open.entry(object).or_default();
            if *next != fragment {
                return Err("a fragment is missing");
            }
            *next += 1;
            held.extend_from_slice(data);
            if held.len() > LARGEST {
                return Err("a message is too large");
            }
            if ends && let Some((_, whole)) = self.open.remove(&object) {
                messages.push(message(&whole)?);
            }
        }
        Ok(messages)
    }
}

fn message(bytes: &[u8]) -> Result<Message, &'static str> {
    let (head, text) = bytes
        .split_first_chunk::<40>()
        .ok_or("a message is shorter than its head")?;
    let number = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap_or_default());
    let guid = |at: usize| Uuid::from_bytes_le(head[at..at + 16].try_into().unwrap_or_default());
    if number(0) != TO_SERVER {
        return Err("a message isn't for the server");
    }
    let text = str::from_utf8(text).map_err(|_| "a message isn't UTF-8")?;
    Ok(Message {
        kind: number(4),
        pool: guid(8),
        pipeline: guid(24),
        text: text.trim_start_matches('\u{feff}').to_owned(),
    })
}

/// A message to the client, as fragments; `object` is its number.
pub(crate) fn fragments(
    object: u64,
    kind: u32,
    pool: Uuid,
    pipeline: Uuid,
    text: &str,
) -> Vec<Vec<u8>> {
    let mut whole = Vec::with_capacity(43 + text.len());
    whole.extend_from_slice(&TO_CLIENT.to_le_bytes());
    whole.extend_from_slice(&kind.to_le_bytes());
    whole.extend_from_slice(&pool.to_bytes_le());
    whole.extend_from_slice(&pipeline.to_bytes_le());
    whole.extend_from_slice(b"\xEF\xBB\xBF");
    whole.extend_from_slice(text.as_bytes());
    let count = whole.len().div_ceil(FRAGMENT);
    let chunks = whole.chunks(FRAGMENT).zip(0_u64..);
    chunks
        .map(|(data, number)| {
            let last = usize::try_from(number).is_ok_and(|number| number + 1 == count);
            let mut fragment = Vec::with_capacity(FRAGMENT_HEAD + data.len());
            fragment.extend_from_slice(&object.to_be_bytes());
            fragment.extend_from_slice(&number.to_be_bytes());
            fragment.push(u8::from(number == 0) | u8::from(last) << 1);
            let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
            fragment.extend_from_slice(&length.to_be_bytes());
            fragment.extend_from_slice(data);
            fragment
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{FRAGMENT, Incoming, Uuid, fragments, kind};

    /// What a server sends, as if a client had.
    fn sent(text: &str) -> Vec<Vec<u8>> {
        let id = Uuid::from_u128(7);
        let mut sent = fragments(3, kind::CREATE_PIPELINE, id, Uuid::nil(), text);
        sent[0][21] = 2;
        sent
    }

    #[test]
    fn long_messages_come_in_pieces() {
        let text = "x".repeat(2 * FRAGMENT);
        let pieces = sent(&text);
        assert_eq!(pieces.len(), 3);
        let mut incoming = Incoming::default();
        assert_eq!(incoming.take(&pieces[..2].concat()), Ok(Vec::new()));
        let whole = incoming.take(&pieces[2]).unwrap();
        assert_eq!(
            (whole[0].text.len(), whole[0].pool),
            (text.len(), Uuid::from_u128(7))
        );
        let two = [sent("a").concat(), sent("b").concat()].concat();
        assert_eq!(incoming.take(&two).unwrap().len(), 2);
    }

    #[test]
    fn broken_fragments_are_refused() {
        let piece = sent("abc").concat();
        for wrong in [&piece[..20], &piece[..30]] {
            assert!(Incoming::default().take(wrong).is_err());
        }
        let pieces = sent(&"x".repeat(2 * FRAGMENT));
        assert!(Incoming::default().take(&pieces[1]).is_err());
    }
}
