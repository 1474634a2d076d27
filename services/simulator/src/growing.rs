//! A list that grows while others read it: what is in it stays where it is.

use std::ops::Index;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Places of the first block that is added; each further block has twice as many.
const FIRST: usize = 64;
const BLOCKS: usize = 20;

type Block<T> = Box<[OnceLock<T>]>;

/// What was there at the start, and blocks of what came later.
#[derive(Debug)]
pub(crate) struct Growing<T> {
    seed: Vec<T>,
    added: [OnceLock<Block<T>>; BLOCKS],
    len: AtomicUsize,
    growing: Mutex<()>,
}

impl<T> Growing<T> {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            seed: Vec::with_capacity(capacity),
            added: std::array::from_fn(|_| OnceLock::new()),
            len: AtomicUsize::new(0),
            growing: Mutex::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// One of those that are there at the start.
    pub(crate) fn seed(&mut self, item: T) {
        self.seed.push(item);
        *self.len.get_mut() = self.seed.len();
    }

    /// One that comes later: says its place.
    pub(crate) fn push(&self, item: T) -> usize {
        let _alone = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let at = self.len();
        let (number, place) = place(at - self.seed.len());
        let block = self.added[number].get_or_init(|| {
            let places = (0..FIRST << number).map(|_| OnceLock::new());
            places.collect()
        });
        if block[place].set(item).is_ok() {
            self.len.store(at + 1, Ordering::Release);
        }
        at
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        let Some(later) = at.checked_sub(self.seed.len()) else {
            return self.seed.get(at);
        };
        let (number, place) = place(later);
        self.added.get(number)?.get()?.get(place)?.get()
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.seed.get_mut(at)
    }

    /// Those from a place on, each with its own.
    pub(crate) fn starting_at(&self, from: usize) -> impl Iterator<Item = (usize, &T)> {
        (from..self.len()).filter_map(|at| Some((at, self.get(at)?)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.starting_at(0).map(|(_, item)| item)
    }

    /// How many were there at the start.
    pub(crate) fn seeds(&self) -> usize {
        self.seed.len()
    }
}

impl<T> Index<usize> for Growing<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        match self.get(at) {
            Some(item) => item,
            None => panic!("there is nothing at {at} of {}", self.len()),
        }
    }
}

/// The block of what came later, and the place in it.
fn place(later: usize) -> (usize, usize) {
    let counted = later + FIRST;
    let number = counted.ilog2() - FIRST.ilog2();
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    (number, counted - (FIRST << number))
}

#[cfg(test)]
mod tests {
    use super::Growing;

    #[test]
    fn what_is_in_stays_where_it_is() {
        let mut list = Growing::with_capacity(2);
        list.seed(0);
        list.seed(1);
        let first = std::ptr::from_ref(&list[0]);
        for number in 2..1000 {
            assert_eq!(list.push(number), number);
        }
        assert!(std::ptr::eq(first, &list[0]));
        assert_eq!((list.len(), list.seeds(), list.get(1000)), (1000, 2, None));
        assert!(list.iter().copied().eq(0..1000));
        assert_eq!(list.starting_at(998).count(), 2);
    }
}
