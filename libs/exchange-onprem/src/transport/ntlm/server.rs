//! The server's side, for tests: a challenge, and whether an answer proves the password.

use super::{crypto, message};

/// A server that knows one password.
pub(crate) struct Server<'a> {
    /// Its challenge.
    pub(crate) nonce: [u8; 8],
    /// Its user's password.
    pub(crate) password: &'a str,
    /// Its time, if it names one.
    pub(crate) timestamp: Option<u64>,
    /// What binds a proof to its TLS connection.
    pub(crate) binding: Option<&'a [u8]>,
}

/// Who proved to be who.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Proven {
    pub(crate) user: String,
    pub(crate) domain: String,
}

impl Server<'_> {
    /// The challenge message.
    pub(crate) fn challenge(&self) -> Vec<u8> {
        let mut info = Vec::new();
        let mut pair = |kind: u16, value: &[u8]| {
            info.extend(kind.to_le_bytes());
            info.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
            info.extend(value);
        };
        pair(2, &crypto::utf16("Domain"));
        pair(1, &crypto::utf16("Server"));
        if let Some(time) = self.timestamp {
            pair(7, &time.to_le_bytes());
        }
        info.extend([0; 4]);
        let name = crypto::utf16("Server");
        let mut out = b"NTLMSSP\0\x02\0\0\0".to_vec();
        let field = |length: usize, at: usize| {
            let length = u16::try_from(length).unwrap().to_le_bytes();
            [
                &length[..],
                &length,
                &u32::try_from(at).unwrap().to_le_bytes(),
            ]
            .concat()
        };
        let (name_field, info_field) = (field(name.len(), 56), field(info.len(), 56 + name.len()));
        out.extend(name_field);
        out.extend(0xE28A_8233u32.to_le_bytes());
        out.extend(self.nonce);
        out.extend([0; 8]);
        out.extend(info_field);
        out.extend([6, 0, 0x70, 0x17, 0, 0, 0, 15]);
        out.extend(name);
        out.extend(info);
        out
    }

    /// Who the answer proves to be; `Err` says what is wrong with it.
    pub(crate) fn verify(&self, negotiated: &[u8], answer: &[u8]) -> Result<Proven, String> {
        let part = |at| {
            message::field(answer, at)
                .map(|range| &answer[range])
                .ok_or("a field is outside")
        };
        if answer.get(..12) != Some(b"NTLMSSP\0\x03\0\0\0") {
            return Err("not an answer".into());
        }
        let text = |bytes: &[u8]| {
            let units: Vec<u16> = bytes
                .chunks_exact(2)
                .map(|two| u16::from_le_bytes([two[0], two[1]]))
                .collect();
            String::from_utf16(&units).unwrap()
        };
        let (nt, domain, user) = (part(20)?, text(part(28)?), text(part(36)?));
        let key = crypto::owf_v2(self.password, &user, &domain);
        let (proof, blob) = nt.split_at_checked(16).ok_or("too short")?;
        if crypto::hmac_md5(&key, &[&self.nonce[..], blob].concat()) != proof {
            return Err("wrong password".into());
        }
        let info = message::pairs(blob.get(28..).ok_or("too short")?).ok_or("bad pairs")?;
        let value = |kind| {
            info.iter()
                .find(|(known, _)| *known == kind)
                .map(|(_, value)| value.clone())
        };
        let expected = self.binding.map_or(vec![0; 16], |data| {
            let length = u32::try_from(data.len()).unwrap();
            crypto::md5(&[&[0; 16][..], &length.to_le_bytes(), data].concat()).to_vec()
        });
        if value(10) != Some(expected) {
            return Err("bound to another connection".into());
        }
        if value(6) != Some(2u32.to_le_bytes().to_vec()) {
            return Err("no integrity code announced".into());
        }
        if self.timestamp.is_some() && part(12)? != [0; 24] {
            return Err("an old answer beside the new one".into());
        }
        let session_key = crypto::hmac_md5(&key, proof);
        let mut bare = answer.to_vec();
        bare[message::MIC].fill(0);
        let whole = [negotiated, &self.challenge(), &bare].concat();
        if crypto::hmac_md5(&session_key, &whole) != answer[message::MIC] {
            return Err("changed on the way".into());
        }
        Ok(Proven { user, domain })
    }
}
