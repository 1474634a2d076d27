//! How messages travel: cut into fragments, several of which may come together. Pure.

use super::Nonsense;

/// Number of the object, number of the fragment, flags, length.
const HEAD: usize = 21;
const START: u8 = 1;
const END: u8 = 2;
/// Longest message that is put together: rows of all calendar folders of one mailbox have some hundred kilobytes.
const LONGEST: usize = 8 << 20;
/// Longest fragment that is sent: in Base64 it stays below the smallest envelope a server takes.
const OUR_LONGEST: usize = 32 << 10;

/// Cuts a message up.
pub(super) fn cut(object: u64, message: &[u8]) -> Vec<Vec<u8>> {
    let count = message.len().div_ceil(OUR_LONGEST).max(1);
    let piece = |at: usize| {
        let from = at * OUR_LONGEST;
        let piece = &message[from..message.len().min(from + OUR_LONGEST)];
        let flags = if at == 0 { START } else { 0 } | if at + 1 == count { END } else { 0 };
        let length = u32::try_from(piece.len()).unwrap_or(0);
        let mut out = Vec::with_capacity(HEAD + piece.len());
        out.extend(object.to_be_bytes());
        out.extend((at as u64).to_be_bytes());
        out.push(flags);
        out.extend(length.to_be_bytes());
        out.extend(piece);
        out
    };
    (0..count).map(piece).collect()
}

/// Puts messages together. They come one after the other, never mixed.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    rest: Vec<u8>,
    /// The object under way, the number of its next fragment, and what there is of it.
    open: Option<(u64, u64, Vec<u8>)>,
}

impl Joiner {
    /// Takes what came, and gives the messages it completes.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Nonsense> {
        self.rest.extend_from_slice(bytes);
        let (mut whole, mut at) = (Vec::new(), 0);
        while let Some((object, number, flags, piece)) = next(&self.rest[at..])? {
            at += HEAD + piece.len();
            let (_, _, mut message) = match (self.open.take(), flags & START != 0) {
                (None, true) if number == 0 => (object, 0, Vec::new()),
                (Some(open), false) if open.0 == object && open.1 == number => open,
                _ => return Err(Nonsense::new("fragments out of order")),
            };
            if message.len() + piece.len() > LONGEST {
                return Err(Nonsense::new("a message that is too long"));
            }
            message.extend_from_slice(piece);
            if flags & END != 0 {
                whole.push(message);
            } else {
                self.open = Some((object, number + 1, message));
            }
        }
        self.rest.drain(..at);
        Ok(whole)
    }

    /// Whether nothing is left that is not whole.
    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty() && self.open.is_none()
    }
}

type Fragment<'a> = (u64, u64, u8, &'a [u8]);

/// The first fragment, if it is all there.
fn next(bytes: &[u8]) -> Result<Option<Fragment<'_>>, Nonsense> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let number = |range: std::ops::Range<usize>| {
        head[range]
            .iter()
            .fold(0u64, |all, byte| all << 8 | u64::from(*byte))
    };
    let length = usize::try_from(number(17..21)).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(Nonsense::new("a fragment that is too long"));
    }
    let number_of_it = number(8..16);
    if number_of_it == u64::MAX {
        return Err(Nonsense::new("a fragment with an impossible number"));
    }
    Ok(rest
        .get(..length)
        .map(|piece| (number(0..8), number_of_it, head[16], piece)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_joined_however_it_comes() {
        for length in [0, 1, OUR_LONGEST, OUR_LONGEST + 1, 3 * OUR_LONGEST + 5] {
            let message: Vec<u8> = (0..length).map(|n| n.to_le_bytes()[0]).collect();
            let all = [cut(1, &message).concat(), cut(2, b"second").concat()].concat();
            for step in [1000, 20_000, all.len()] {
                let mut joiner = Joiner::default();
                let mut got = Vec::new();
                for part in all.chunks(step) {
                    got.extend(joiner.take(part).unwrap());
                }
                assert_eq!(got, [message.clone(), b"second".to_vec()]);
                assert!(joiner.is_done());
            }
        }
    }

    #[test]
    fn what_does_not_follow_is_refused() {
        let fragments = cut(1, &[7; 3 * OUR_LONGEST]);
        for wrong in [vec![1], vec![0, 2], vec![0, 0], vec![2]] {
            let bytes: Vec<u8> = wrong.iter().flat_map(|at| fragments[*at].clone()).collect();
            assert!(Joiner::default().take(&bytes).is_err(), "{wrong:?}");
        }
        let mut long = vec![0; HEAD];
        long[16] = START;
        long[17..21].fill(0xFF);
        assert!(Joiner::default().take(&long).is_err());
    }
}
