//! Secrets and certificates that expire: whom that concerns, and when it is said.

use std::time::Duration;

use time::{Date, OffsetDateTime, Time};

use crate::Finding;

/// A person is told so long before something expires.
pub const WARNED_AHEAD: Duration = Duration::from_secs(30 * 86_400);

/// When a credential expires: on the day that the tenant file tells, or when its certificate does, whichever is first.
pub fn expires_at(
    told: Option<Date>,
    certificate: Option<OffsetDateTime>,
) -> Option<OffsetDateTime> {
    let told = told.map(|day| day.with_time(Time::MIDNIGHT).assume_utc());
    told.into_iter().chain(certificate).min()
}

/// Whether a person should know by now.
pub fn is_soon(expires: OffsetDateTime, now: OffsetDateTime) -> bool {
    now + WARNED_AHEAD >= expires
}

/// What a preflight says of it.
pub fn found(expires: Option<OffsetDateTime>, now: OffsetDateTime) -> Finding {
    const CAPABILITY: &str = "credential in date";
    let renew = "renew it, and put the new one where the old one is";
    match expires {
        None => Finding {
            todo: "write expires = \"…\" beside it in the tenant file, and an alert is raised 30 days before".to_owned(),
            ..Finding::unknown(CAPABILITY, "neither the tenant file nor a certificate that can be read here tells when it expires")
        },
        Some(at) if at <= now => Finding::no(CAPABILITY, format!("it expired on {}", at.date()), renew),
        Some(at) if is_soon(at, now) => Finding {
            todo: renew.to_owned(),
            ..Finding::yes(CAPABILITY, format!("it expires on {}, which is soon", at.date()))
        },
        Some(at) => Finding::yes(CAPABILITY, format!("until {}", at.date())),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;
    use crate::Held;

    #[test]
    fn whichever_is_first_counts_and_is_told_thirty_days_before() {
        let certificate = datetime!(2027-03-01 12:00 UTC);
        let told = date!(2027 - 02 - 01);
        assert_eq!(expires_at(None, None), None);
        assert_eq!(expires_at(None, Some(certificate)), Some(certificate));
        let first = expires_at(Some(told), Some(certificate));
        assert_eq!(first, Some(datetime!(2027-02-01 0:00 UTC)));
        for (now, soon, held) in [
            (datetime!(2027-01-01 0:00 UTC), false, Held::Yes),
            (datetime!(2027-01-02 0:00 UTC), true, Held::Yes),
            (datetime!(2027-02-01 0:00 UTC), true, Held::No),
        ] {
            let at = first.unwrap();
            let finding = found(first, now);
            assert_eq!((is_soon(at, now), finding.held), (soon, held), "{now}");
            assert_eq!(!finding.todo.is_empty(), soon, "{now}");
        }
        assert_eq!(found(None, certificate).held, Held::Unknown);
    }
}
