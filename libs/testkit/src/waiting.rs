//! Waiting for something to come about, without sleeping through it.

use std::time::Duration;

/// Lets so much time pass. For what happens by the clock: a measurement that takes so long, a plan that says when. A test
/// waits for what it waits for instead: [`eventually`].
pub async fn pass(time: Duration) {
    // An interval can't be of no length.
    let mut ticks = tokio::time::interval(time.max(Duration::from_millis(1)));
    ticks.tick().await;
    ticks.tick().await;
}

/// Looks again and again until it is so.
///
/// # Panics
/// It is not so within half a minute.
pub async fn eventually(what: &str, is_so: impl AsyncFnMut() -> bool) {
    eventually_within(Duration::from_secs(30), what, is_so).await;
}

/// Looks again and again until it is so.
///
/// # Panics
/// It is not so within `limit`.
pub async fn eventually_within(limit: Duration, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        while !is_so().await {
            looks.tick().await;
        }
    };
    let found = tokio::time::timeout(limit, looking).await;
    assert!(found.is_ok(), "it never came to this: {what}");
}
