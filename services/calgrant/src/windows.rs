//! Windows of calls and points in time, as they are typed.

use calgrant_contract::pb::{Timestamp, fleet::v1::CallWindow};
use time::{Date, Duration, OffsetDateTime, Weekday, format_description::well_known::Rfc3339};

/// Reads `100/10`: so many calls in any so many seconds.
pub(crate) fn window(raw: &str) -> Result<CallWindow, String> {
    let why = || format!("{raw:?} is no window: write CALLS/SECONDS, such as 100/10");
    let (calls, seconds) = raw.split_once('/').ok_or_else(why)?;
    let calls = calls.trim().parse().map_err(|_| why())?;
    let seconds: f64 = seconds.trim().parse().map_err(|_| why())?;
    if calls == 0 || !(0.001..=86_400.0).contains(&seconds) {
        return Err(format!(
            "{raw:?}: at least 1 call, in more than 0 and up to 86400 seconds, are needed; to stop an account, pause it"
        ));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be a sensible number of seconds"
    )]
    let millis = (seconds * 1000.0).round() as u64;
    Ok(CallWindow { calls, millis })
}

/// Reads when something should be done: `2026-11-30T08:00:00Z`, `2026-11-30` (its beginning, UTC), `monday` (the next one's beginning) or
/// `36h` and `2d` from now.
pub(crate) fn by(raw: &str, now: OffsetDateTime) -> Result<Timestamp, String> {
    let text = raw.trim().to_lowercase();
    let at = OffsetDateTime::parse(raw.trim(), &Rfc3339)
        .ok()
        .or_else(|| date(&text))
        .or_else(|| next(&text, now))
        .or_else(|| span(&text, now));
    let at = at.ok_or_else(|| {
        format!(
            "--by {raw:?} is no time: write 2026-11-30, 2026-11-30T08:00:00Z, monday, 36h or 2d"
        )
    })?;
    Ok(Timestamp {
        seconds: at.unix_timestamp(),
        nanos: 0,
    })
}

fn date(text: &str) -> Option<OffsetDateTime> {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    Some(Date::parse(text, format).ok()?.midnight().assume_utc())
}

fn next(text: &str, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let mut capital = text.to_owned();
    capital.get_mut(..1)?.make_ascii_uppercase();
    let day: Weekday = capital.parse().ok()?;
    Some(now.date().next_occurrence(day).midnight().assume_utc())
}

fn span(text: &str, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: i64 = number
        .parse()
        .ok()
        .filter(|number| (1..100_000).contains(number))?;
    let span = match unit {
        "m" => Duration::minutes(number),
        "h" => Duration::hours(number),
        "d" => Duration::days(number),
        _ => return None,
    };
    now.checked_add(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_or_refused_with_what_to_write() {
        assert_eq!(
            window("100/10").unwrap(),
            CallWindow {
                calls: 100,
                millis: 10_000
            }
        );
        assert_eq!(window(" 5 / 0.5 ").unwrap().millis, 500);
        for raw in ["", "100", "a/1", "0/1", "1/0", "1/-3", "1/86401", "-1/5"] {
            assert!(
                window(raw).unwrap_err().contains(&format!("{raw:?}")),
                "{raw}"
            );
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        // A Tuesday.
        let now = OffsetDateTime::parse("2026-11-24T15:00:00Z", &Rfc3339).unwrap();
        for (raw, want) in [
            ("2026-11-30", "2026-11-30T00:00:00Z"),
            ("2026-11-30T08:00:00Z", "2026-11-30T08:00:00Z"),
            ("Monday", "2026-11-30T00:00:00Z"),
            ("tuesday", "2026-12-01T00:00:00Z"),
            ("36h", "2026-11-26T03:00:00Z"),
            ("2d", "2026-11-26T15:00:00Z"),
        ] {
            let want = OffsetDateTime::parse(want, &Rfc3339).unwrap();
            assert_eq!(
                by(raw, now).unwrap().seconds,
                want.unix_timestamp(),
                "{raw}"
            );
        }
        for raw in ["", "soon", "h", "0h", "5x", "2026-13-01", "é"] {
            assert!(by(raw, now).is_err(), "{raw}");
        }
    }
}
