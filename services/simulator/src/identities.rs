//! Finds the object behind any of its names in one step, in a few bytes a name.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use crate::tenant::Object;

/// Names, whatever their case, to objects.
///
/// Holds a hash in the place of each name: with ten million of them, a name that is nobody's passes for somebody's once
/// in a billion tenants.
#[derive(Debug)]
pub(crate) struct Identities(RwLock<Names>);

type Names = HashMap<u64, u32, BuildHasherDefault<AsItIs>>;

impl Identities {
    pub(crate) fn with_capacity(names: usize) -> Self {
        let names = Names::with_capacity_and_hasher(names, BuildHasherDefault::default());
        Self(RwLock::new(names))
    }

    pub(crate) fn get(&self, name: &str) -> Option<Object> {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        names.get(&hash(name)).map(|packed| unpack(*packed))
    }

    fn write(&self) -> RwLockWriteGuard<'_, Names> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name means this object from now on.
    pub(crate) fn insert(&self, name: &str, object: Object) {
        self.write().insert(hash(name), pack(object));
    }

    /// The name means this object unless it is taken.
    pub(crate) fn insert_if_free(&self, name: &str, object: Object) {
        let mut names = self.write();
        names.entry(hash(name)).or_insert_with(|| pack(object));
    }
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    if name.is_ascii() {
        for byte in name.bytes() {
            hasher.write_u8(byte.to_ascii_lowercase());
        }
        hasher.write_u8(0xFF); // as a string is hashed
    } else {
        name.to_lowercase().hash(&mut hasher);
    }
    hasher.finish()
}

/// The sort in the two highest bits, the place in the others.
fn pack(object: Object) -> u32 {
    let (sort, at) = match object {
        Object::User(at) => (0, at),
        Object::Group(at) => (1, at),
        Object::Contact(at) => (2, at),
        Object::Device(at) => (3, at),
    };
    sort << 30 | u32::try_from(at).unwrap_or(u32::MAX) & PLACE
}

const PLACE: u32 = (1 << 30) - 1;

fn unpack(packed: u32) -> Object {
    let at = usize::try_from(packed & PLACE).unwrap_or(usize::MAX);
    match packed >> 30 {
        0 => Object::User(at),
        1 => Object::Group(at),
        2 => Object::Contact(at),
        _ => Object::Device(at),
    }
}

/// What is a hash already needn't be hashed again.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Identities, Object};

    #[test]
    fn names_are_found_in_any_case() {
        let names = Identities::with_capacity(4);
        names.insert("Ada@Uni.example", Object::User(3));
        names.insert("ÉMILIE", Object::Device(1));
        names.insert_if_free("ada@uni.example", Object::Group(9));
        assert_eq!(names.get("ADA@uni.EXAMPLE"), Some(Object::User(3)));
        assert_eq!(names.get("émilie"), Some(Object::Device(1)));
        assert_eq!(names.get("ada"), None);
    }
}
