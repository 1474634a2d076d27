//! Waiting for a server that is not there yet, without filling the log.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use crate::clock;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);
/// How often an unchanged cause is told again.
const REMIND: Duration = Duration::from_secs(30);

/// Tries until it works, more and more slowly. The cause is logged when it first shows, when it changes, and every
/// 30 seconds. None when stopped first.
pub async fn until_ok<T, E, F, Fut>(
    what: &str,
    stop: &CancellationToken,
    mut attempt: F,
) -> Option<T>
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let mut pause = FIRST;
    let mut told: Option<(String, Instant)> = None;
    loop {
        let outcome = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            outcome = attempt() => outcome,
        };
        let cause = match outcome {
            Ok(value) => {
                if told.is_some() {
                    tracing::info!("{what}: works now");
                }
                return Some(value);
            }
            Err(cause) => cause.to_string(),
        };
        let now = clock::instant();
        if told
            .as_ref()
            .is_none_or(|(before, at)| *before != cause || now.duration_since(*at) >= REMIND)
        {
            tracing::warn!(%cause, "{what}: not yet; trying again");
            told = Some((cause, now));
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(pause.mul_f64(0.5 + clock::roll() / 2.0)) => {}
        }
        pause = (pause * 2).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tries_until_it_works() {
        let mut tries = 0;
        let stop = CancellationToken::new();
        let value = until_ok("a server", &stop, || {
            tries += 1;
            std::future::ready(if tries < 3 { Err("away") } else { Ok(tries) })
        });
        assert_eq!(value.await, Some(3));
    }

    #[tokio::test]
    async fn stops_when_told() {
        let stop = CancellationToken::new();
        let waits = until_ok(
            "a server",
            &stop,
            std::future::pending::<Result<(), String>>,
        );
        let (outcome, ()) = tokio::join!(waits, async { stop.cancel() });
        assert_eq!(outcome, None);
    }
}
