//! Slices of attributes with very many values: `member;range=0-1499`. Pure.
//!
//! A server gives no more than some 1,500 values at a time, says in the attribute's name which, and marks the last slice
//! with a star. How many it gives is for it to say, whatever was asked for.

/// Which values an attribute's description stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slice {
    /// The first, from 0.
    pub(crate) from: u32,
    /// The last; `None` where there are no more behind it.
    pub(crate) to: Option<u32>,
}

/// A description that can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server calls values {0:?}, which is no range of them")]
pub(crate) struct BadRange(String);

/// What to ask for: `wanted` values from `from` on.
pub(crate) fn ask(attribute: &str, from: u32, wanted: u32) -> String {
    let to = from.saturating_add(wanted.saturating_sub(1));
    format!("{attribute};range={from}-{to}")
}

/// Reads a description; `None` if it isn't one of `attribute`.
pub(crate) fn parse(description: &[u8], attribute: &str) -> Result<Option<Slice>, BadRange> {
    let bad = || {
        BadRange(
            String::from_utf8_lossy(description)
                .chars()
                .take(80)
                .collect(),
        )
    };
    let Ok(text) = std::str::from_utf8(description) else {
        return Ok(None);
    };
    let mut options = text.split(';');
    if !options
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case(attribute))
    {
        return Ok(None);
    }
    let mut found = None;
    for option in options {
        let Some((name, range)) = option.split_once('=') else {
            continue;
        };
        if !name.eq_ignore_ascii_case("range") {
            continue;
        }
        if found.is_some() {
            return Err(bad());
        }
        let (from, to) = range.split_once('-').ok_or_else(bad)?;
        let number = |text: &str| -> Result<u32, BadRange> {
            if text.is_empty() || !text.bytes().all(|digit| digit.is_ascii_digit()) {
                return Err(bad());
            }
            text.parse().map_err(|_| bad())
        };
        let from = number(from)?;
        let to = match to {
            "*" => None,
            other => Some(number(other)?),
        };
        if to.is_some_and(|to| to < from) {
            return Err(bad());
        }
        found = Some(Slice { from, to });
    }
    // Without a range it is all of them.
    Ok(Some(found.unwrap_or(Slice { from: 0, to: None })))
}

/// What a server gave when it was asked for values from `asked` on: the values, and where to go on.
pub(crate) fn read<'a, T>(
    attributes: impl IntoIterator<Item = (&'a str, &'a Vec<T>)>,
    attribute: &str,
    asked: u32,
) -> Result<(&'a [T], Option<u32>), BadRange> {
    let mut answer: (&[T], Option<u32>) = (&[], None);
    for (description, values) in attributes {
        let Some(slice) = parse(description.as_bytes(), attribute)? else {
            continue;
        };
        // Beside a slice, the whole attribute is shown empty.
        if values.is_empty() {
            continue;
        }
        if slice.from != asked {
            return Err(BadRange(description.to_owned()));
        }
        let next = match slice.to {
            Some(u32::MAX) => return Err(BadRange(description.to_owned())),
            to => to.map(|to| to + 1),
        };
        answer = (values, next);
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn descriptions() {
        let slice = |from, to| Ok(Some(Slice { from, to }));
        for (raw, want) in [
            ("member", slice(0, None)),
            ("member;range=0-1499", slice(0, Some(1499))),
            ("MEMBER;Range=1500-*", slice(1500, None)),
            ("member;binary;range=7-7", slice(7, Some(7))),
            ("memberOf;range=0-1", Ok(None)),
            ("", Ok(None)),
        ] {
            assert_eq!(parse(raw.as_bytes(), "member"), want, "{raw}");
        }
        for bad in [
            "member;range=",
            "member;range=1",
            "member;range=-",
            "member;range=5-4",
            "member;range=+1-2",
            "member;range=0-4294967296",
            "member;range=*-*",
            "member;range=0-1;range=2-3",
            "member;range=0-1 ",
        ] {
            assert!(parse(bad.as_bytes(), "member").is_err(), "{bad}");
        }
    }

    #[test]
    fn answers() {
        let (none, some): (Vec<u8>, Vec<u8>) = (vec![], vec![1, 2]);
        for (attributes, asked, want) in [
            (vec![("member", &some)], 0, Ok((&some[..], None))),
            (
                vec![("member", &none), ("member;range=0-1", &some)],
                0,
                Ok((&some[..], Some(2))),
            ),
            (
                vec![("member;range=0-1", &some), ("cn", &some)],
                0,
                Ok((&some[..], Some(2))),
            ),
            (vec![("member;range=2-*", &some)], 2, Ok((&some[..], None))),
            (vec![("member;range=2-*", &none)], 2, Ok((&none[..], None))),
            (vec![], 0, Ok((&none[..], None))),
            // Not what was asked for: it would leave people out, or go round in circles.
            (vec![("member;range=0-1", &some)], 2, Err(())),
            (vec![("member;range=4-*", &some)], 2, Err(())),
        ] {
            let read = read(attributes.clone(), "member", asked).map_err(|_| ());
            assert_eq!(read, want, "{attributes:?} from {asked}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes(raw in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&raw, "member");
        }

        /// Bytes that look much like a range.
        #[test]
        fn nearly_ranges(tail in "[-0-9*;=range \u{0}\u{ff}]{0,24}") {
            if let Ok(Some(slice)) = parse(format!("member;range={tail}").as_bytes(), "member") {
                prop_assert!(slice.to.is_none_or(|to| to >= slice.from));
            }
        }

        #[test]
        fn asking_and_reading(from in 0..u32::MAX / 2, wanted in 1u32..5000) {
            let asked = ask("member", from, wanted);
            prop_assert_eq!(
                parse(asked.as_bytes(), "member"),
                Ok(Some(Slice { from, to: Some(from + wanted - 1) }))
            );
        }

        /// Whatever slices a server chooses, every value is read once.
        #[test]
        fn every_value_once(total in 0u32..4000, limits in prop::collection::vec(1u32..1500, 1..6)) {
            let (mut from, mut seen, mut turn) = (0, Vec::new(), 0);
            loop {
                let limit = limits[turn % limits.len()];
                turn += 1;
                let to = (from + limit - 1).min(total.saturating_sub(1));
                let values: Vec<u32> = if from < total { (from..=to).collect() } else { Vec::new() };
                let name = if to + 1 >= total { format!("member;range={from}-*") } else { format!("member;range={from}-{to}") };
                let (got, next) = read([(name.as_str(), &values)], "member", from).unwrap();
                seen.extend_from_slice(got);
                match next {
                    Some(next) => { prop_assert!(next > from); from = next; }
                    None => break,
                }
            }
            prop_assert_eq!(seen, (0..total).collect::<Vec<_>>());
        }
    }
}
