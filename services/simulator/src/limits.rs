//! What one app may do at once and per window, judged by the moment a call arrives.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The limits of one app; nothing set means no limit.
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
pub(crate) struct Limiter(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    in_flight: u32,
    /// The arrivals of each window, oldest first.
    arrivals: Vec<VecDeque<Duration>>,
}

impl Limiter {
    pub(crate) fn new(limits: Limits) -> Self {
        let arrivals = limits.windows.iter().map(|_| VecDeque::new()).collect();
        Self(Mutex::new(Inner {
            limits,
            in_flight: 0,
            arrivals,
        }))
    }

    /// Takes a place for a call that arrives now; give it back with [`Limiter::release`].
    pub(crate) fn admit(&self, now: Duration) -> Result<(), Refusal> {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *guard;
        if let Some(most) = inner.limits.max_in_flight
            && inner.in_flight >= most
        {
            return Err(Refusal {
                limit: format!("{most} in flight"),
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
                    limit: format!("{calls} in {seconds} s"),
                    retry_after: free_at.saturating_sub(now).as_secs() + 1,
                });
            }
        }
        for arrivals in &mut inner.arrivals {
            arrivals.push_back(now);
        }
        inner.in_flight += 1;
        Ok(())
    }

    pub(crate) fn release(&self) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.in_flight = inner.in_flight.saturating_sub(1);
    }

    pub(crate) fn replace(&self, limits: Limits) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.arrivals = limits.windows.iter().map(|_| VecDeque::new()).collect();
        inner.limits = limits;
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Limiter, Limits};

    #[test]
    fn windows_slide_and_flights_end() {
        let limiter = Limiter::new(Limits {
            max_in_flight: Some(2),
            windows: vec![(3, 10)],
        });
        let at = Duration::from_secs;
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
        assert!(limiter.admit(at(10)).is_ok());
    }
}
