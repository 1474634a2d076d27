//! Security identifiers, as a text and as bytes (MS-DTYP, 2.4.2).

/// The bytes of a text such as `S-1-5-21-1-2-3-500`.
pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.strip_prefix("S-1-")?.split('-');
    let authority: u64 = parts.next()?.parse().ok()?;
    let numbers: Vec<u32> = parts.map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let count = u8::try_from(numbers.len())
        .ok()
        .filter(|count| *count <= 15)?;
    let mut bytes = vec![1, count];
    // six bytes, the highest first; the numbers after it the other way round
    bytes.extend_from_slice(authority.to_be_bytes().get(2..)?);
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_are_the_same() {
        let bytes = bytes("S-1-5-21-1-2-3-1100").unwrap();
        let head = [1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 0, 0, 0];
        assert_eq!(bytes[..16], head);
        assert_eq!(bytes[24..], 1100_u32.to_le_bytes());
        for wrong in ["", "S-1-", "S-1-5-x", "S-2-5-21", "S-1-5-4294967296"] {
            assert_eq!(super::bytes(wrong), None, "{wrong}");
        }
    }
}
