//! PSRP's messages (MS-PSRP 2.2.1). Pure.

use uuid::Uuid;

use super::Nonsense;

/// To the server.
const SERVER: u32 = 2;
const HEAD: usize = 40;

/// Kinds of messages.
pub(super) mod kind {
    pub(crate) const SESSION_CAPABILITY: u32 = 0x0001_0002;
    pub(crate) const INIT_RUNSPACEPOOL: u32 = 0x0001_0004;
    pub(crate) const PUBLIC_KEY: u32 = 0x0001_0005;
    pub(crate) const ENCRYPTED_SESSION_KEY: u32 = 0x0001_0006;
    pub(crate) const RUNSPACEPOOL_STATE: u32 = 0x0002_1005;
    pub(crate) const CREATE_PIPELINE: u32 = 0x0002_1006;
    pub(crate) const PIPELINE_OUTPUT: u32 = 0x0004_1004;
    pub(crate) const ERROR_RECORD: u32 = 0x0004_1005;
    pub(crate) const PIPELINE_STATE: u32 = 0x0004_1006;
    pub(crate) const WARNING_RECORD: u32 = 0x0004_1009;
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// What it is.
    pub(super) kind: u32,
    /// The pipeline it is about; nil for the session.
    pub(super) pipeline: Uuid,
    /// Serialised objects.
    pub(super) data: Vec<u8>,
}

impl Message {
    /// As bytes, for the session of this id.
    pub(super) fn bytes(&self, session: Uuid) -> Vec<u8> {
        [
            &SERVER.to_le_bytes()[..],
            &self.kind.to_le_bytes(),
            &session.to_bytes_le(),
            &self.pipeline.to_bytes_le(),
            &self.data,
        ]
        .concat()
    }

    /// Reads what the server sends.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Nonsense> {
        let (head, data) = bytes
            .split_first_chunk::<HEAD>()
            .ok_or_else(|| Nonsense::new("a message that is too short"))?;
        let mut pipeline = [0; 16];
        pipeline.copy_from_slice(&head[24..40]);
        Ok(Self {
            kind: u32::from_le_bytes([head[4], head[5], head[6], head[7]]),
            pipeline: Uuid::from_bytes_le(pipeline),
            data: data.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(data).to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_mixed_order() {
        let message = Message {
            kind: kind::CREATE_PIPELINE,
            pipeline: Uuid::from_u128(0x0011_2233_4455_6677_8899_AABB_CCDD_EEFF),
            data: b"<Obj/>".to_vec(),
        };
        let bytes = message.bytes(Uuid::nil());
        assert_eq!(bytes[..8], [2, 0, 0, 0, 6, 0x10, 2, 0]);
        assert_eq!(
            bytes[24..32],
            [0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66]
        );
        assert_eq!(Message::parse(&bytes), Ok(message));
        assert!(Message::parse(&bytes[..39]).is_err());
    }
}
