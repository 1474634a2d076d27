//! Servers learn of each other's writes late: what was written shows at once where it was written, and elsewhere later.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::user::Side;

/// Where something is written, and from where it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Exchange Online.
    Exchange,
    /// Entra's directory, by Graph.
    Graph,
    /// A domain controller of the site, by its number.
    Controller(usize),
}

impl Place {
    fn side(self) -> Side {
        match self {
            Self::Exchange | Self::Graph => Side::Online,
            Self::Controller(_) => Side::OnPremises,
        }
    }
}

/// From when on something shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shows {
    /// Where it was written; `None` for what was everywhere from the start.
    place: Option<Place>,
    /// There.
    here: Duration,
    /// At the other places of the same side.
    near: Duration,
    /// On the other side.
    far: Duration,
}

impl Shows {
    /// Everywhere, from the start.
    pub(crate) const ALWAYS: Self = Self {
        place: None,
        here: Duration::ZERO,
        near: Duration::ZERO,
        far: Duration::ZERO,
    };

    /// What is written now: `near` later at the other places of its side, `far` later on the other side, or never.
    pub(crate) fn written(
        place: Place,
        now: Duration,
        near: Duration,
        far: Option<Duration>,
    ) -> Self {
        Self {
            place: Some(place),
            here: now,
            near: now + near,
            far: far.map_or(Duration::MAX, |far| now + far),
        }
    }

    /// From when on it shows to one that looks from here.
    pub(crate) fn since(&self, looks: Place) -> Duration {
        match self.place {
            Some(place) if place == looks => self.here,
            Some(place) if place.side() == looks.side() => self.near,
            Some(_) => self.far,
            None => Duration::ZERO,
        }
    }

    pub(crate) fn is_seen(&self, looks: Place, now: Duration) -> bool {
        now >= self.since(looks)
    }
}

/// A value, and what it was before for those who don't know of the latest writes yet.
#[derive(Debug)]
pub(crate) struct Replicated<T>(RwLock<Vec<(Shows, Arc<T>)>>);

impl<T> Replicated<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(RwLock::new(vec![(Shows::ALWAYS, Arc::new(value))]))
    }

    /// What it is in truth: the latest write.
    pub(crate) fn truth(&self) -> Arc<T> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&held[held.len() - 1].1)
    }

    /// What it is for one who looks from here.
    pub(crate) fn seen(&self, looks: Place, now: Duration) -> Arc<T> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let known = held.iter().rev().find(|(from, _)| from.is_seen(looks, now));
        Arc::clone(&known.unwrap_or(&held[0]).1)
    }

    pub(crate) fn write(&self, value: T, shows: Shows) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if shows == Shows::ALWAYS {
            held.clear();
        }
        held.push((shows, Arc::new(value)));
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Place, Replicated, Shows};

    #[test]
    fn a_write_shows_at_once_where_it_was_written_and_elsewhere_later() {
        let at = Duration::from_secs;
        let value = Replicated::new(0);
        value.write(1, Shows::written(Place::Exchange, at(10), at(5), None));
        for (looks, seen) in [
            (Place::Exchange, [1, 1]),
            (Place::Graph, [0, 1]),
            (Place::Controller(0), [0, 0]),
        ] {
            let shown = [10, 15].map(|now| *value.seen(looks, at(now)));
            assert_eq!(shown, seen, "{looks:?}");
        }
        assert_eq!(*value.truth(), 1);
        value.write(2, Shows::ALWAYS);
        assert_eq!(*value.seen(Place::Controller(1), at(0)), 2);
        let synchronised = Shows::written(Place::Controller(0), at(1), at(2), Some(at(30)));
        let from = [Place::Controller(0), Place::Controller(1), Place::Graph];
        assert_eq!(
            from.map(|looks| synchronised.since(looks)),
            [at(1), at(3), at(31)]
        );
    }
}
