//! What an app or a tenant may do at once and per window, judged by the moment a call arrives.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The limits of one app or tenant; nothing set means no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Calls that may be under way together.
    pub max_in_flight: Option<u32>,
    /// Sliding windows: so many calls in so many seconds.
    pub windows: Vec<(u32, u64)>,
}

/// Why a call was turned away.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) limit: String,
    pub(crate) retry_after: u64,
}

#[derive(Debug)]
pub(crate) struct Limiter {
    /// What its limits are called in the verdict, such as `app` or `tenant`.
    scope: &'static str,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    limits: Limits,
    in_flight: u32,
    peak: u32,
    /// The arrivals of each window, oldest first.
    arrivals: Vec<VecDeque<Duration>>,
}

impl Limiter {
    pub(crate) fn new(scope: &'static str, limits: Limits) -> Self {
        let arrivals = limits.windows.iter().map(|_| VecDeque::new()).collect();
        Self {
            scope,
            inner: Mutex::new(Inner {
                limits,
                in_flight: 0,
                peak: 0,
                arrivals,
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a call that arrives now; give it back with [`Limiter::release`].
    fn admit(&self, now: Duration) -> Result<(), Refusal> {
        let mut guard = self.inner();
        let inner = &mut *guard;
        let scope = self.scope;
        if let Some(most) = inner.limits.max_in_flight
            && inner.in_flight >= most
        {
            return Err(Refusal {
                limit: format!("{scope}: {most} in flight"),
                retry_after: 1,
            });
        }
        for ((calls, seconds), arrivals) in inner.limits.windows.iter().zip(&mut inner.arrivals) {
            let window = Duration::from_secs(*seconds);
            while arrivals
                .front()
                .is_some_and(|first| now.saturating_sub(*first) >= window)
            {
                arrivals.pop_front();
            }
            if u32::try_from(arrivals.len()).unwrap_or(u32::MAX) >= *calls {
                let free_at = arrivals
                    .front()
                    .map_or(now + window, |first| *first + window);
                return Err(Refusal {
                    limit: format!("{scope}: {calls} in {seconds} s"),
                    retry_after: free_at.saturating_sub(now).as_secs() + 1,
                });
            }
        }
        for arrivals in &mut inner.arrivals {
            arrivals.push_back(now);
        }
        inner.in_flight += 1;
        inner.peak = inner.peak.max(inner.in_flight);
        Ok(())
    }

    fn release(&self) {
        let mut inner = self.inner();
        inner.in_flight = inner.in_flight.saturating_sub(1);
    }

    /// As if the call that was admitted last had not come.
    fn withdraw(&self) {
        self.release();
        for arrivals in &mut self.inner().arrivals {
            arrivals.pop_back();
        }
    }

    pub(crate) fn replace(&self, limits: Limits) {
        let mut inner = self.inner();
        inner.arrivals = limits.windows.iter().map(|_| VecDeque::new()).collect();
        inner.limits = limits;
    }

    /// The most calls that were under way together since this was last reset.
    pub(crate) fn peak(&self) -> u32 {
        self.inner().peak
    }

    pub(crate) fn reset_peak(&self) {
        let mut inner = self.inner();
        inner.peak = inner.in_flight;
    }

    /// Of the first window: its calls, how many of them are left, and the seconds until it is empty.
    pub(crate) fn window(&self, now: Duration) -> Option<(u32, u32, u64)> {
        let inner = self.inner();
        let (calls, seconds) = *inner.limits.windows.first()?;
        let arrivals = inner.arrivals.first()?;
        let window = Duration::from_secs(seconds);
        let live = |arrival: &&Duration| now.saturating_sub(**arrival) < window;
        let used = u32::try_from(arrivals.iter().rev().take_while(live).count());
        let reset = arrivals
            .back()
            .map_or(Duration::ZERO, |last| (*last + window).saturating_sub(now));
        Some((
            calls,
            calls.saturating_sub(used.unwrap_or(u32::MAX)),
            reset.as_secs() + 1,
        ))
    }
}

/// A call that has been let in; it counts as under way until this goes.
#[derive(Debug)]
pub(crate) struct Flight(Vec<Arc<Limiter>>);

impl Flight {
    /// Lets a call in when every limiter has a place for it.
    pub(crate) fn start(now: Duration, limiters: [&Arc<Limiter>; 2]) -> Result<Self, Refusal> {
        let mut taken = Vec::with_capacity(limiters.len());
        for limiter in limiters {
            if let Err(refusal) = limiter.admit(now) {
                taken
                    .iter()
                    .for_each(|taken: &Arc<Limiter>| taken.withdraw());
                return Err(refusal);
            }
            taken.push(Arc::clone(limiter));
        }
        Ok(Self(taken))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.iter().for_each(|limiter| limiter.release());
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, Duration, Flight, Limiter, Limits};

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn windows_slide_and_flights_end() {
        let limiter = Limiter::new(
            "app",
            Limits {
                max_in_flight: Some(2),
                windows: vec![(3, 10)],
            },
        );
        assert!(limiter.admit(at(0)).is_ok());
        assert!(limiter.admit(at(1)).is_ok());
        assert!(limiter.admit(at(1)).is_err());
        limiter.release();
        assert!(limiter.admit(at(2)).is_ok());
        limiter.release();
        assert_eq!(
            limiter.admit(at(3)).map_err(|refusal| refusal.retry_after),
            Err(8)
        );
        assert_eq!(limiter.window(at(3)), Some((3, 0, 10)));
        assert!(limiter.admit(at(10)).is_ok());
        assert_eq!(limiter.peak(), 2);
    }

    #[test]
    fn a_call_the_tenant_refuses_costs_the_app_nothing() {
        let limits = |calls| Limits {
            max_in_flight: None,
            windows: vec![(calls, 10)],
        };
        let app = Arc::new(Limiter::new("app", limits(2)));
        let tenant = Arc::new(Limiter::new("tenant", limits(1)));
        let start = |now| Flight::start(at(now), [&app, &tenant]);
        assert!(start(0).is_ok());
        assert_eq!(
            start(1).map(drop).map_err(|refusal| refusal.limit),
            Err("tenant: 1 in 10 s".to_owned())
        );
        assert_eq!(app.window(at(1)), Some((2, 1, 10)));
        assert!(start(10).is_ok());
    }
}
