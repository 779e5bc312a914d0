//! Tables of which a copy costs little, and an edit of a copy little more: what is the same in both, both share. A snapshot
//! is made of them, so one more VSI among thousands costs no more than among few.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hash, Hasher},
    iter,
    sync::Arc,
};

/// Rows by number.
#[derive(Clone, Debug)]
pub(crate) struct Pages<T>(Vec<Arc<Page<T>>>);

type Page<T> = [Option<Arc<T>>; PAGE];

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Pages<T> {
    pub(crate) fn get(&self, at: usize) -> Option<&Arc<T>> {
        self.0.get(at / PAGE)?.get(at % PAGE)?.as_ref()
    }

    /// Puts `row` in the place of what is there.
    pub(crate) fn set(&mut self, at: usize, row: Option<Arc<T>>) {
        let missing = (at / PAGE + 1).saturating_sub(self.0.len());
        if missing > 0 {
            // One empty page does for all that are skipped.
            let empty = Arc::new([const { None }; PAGE]);
            self.0.extend(iter::repeat_n(empty, missing));
        }
        if let Some(slot) = self.0.get_mut(at / PAGE).and_then(|page| Arc::make_mut(page).get_mut(at % PAGE))
        {
            *slot = row;
        }
    }

    /// The numbers of rows that `old` has not, has no more, or has others of, ascending.
    pub(crate) fn changed<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = usize> + 'a {
        let same = |at: &usize| match (self.0.get(*at), old.0.get(*at)) {
            (Some(new), Some(old)) => Arc::ptr_eq(new, old),
            _ => false,
        };
        let pages = (0..self.0.len().max(old.0.len())).filter(move |page| !same(page));
        pages.flat_map(|page| page * PAGE..(page + 1) * PAGE).filter(|at| {
            match (self.get(*at), old.get(*at)) {
                (Some(new), Some(old)) => !Arc::ptr_eq(new, old),
                (new, old) => new.is_some() || old.is_some(),
            }
        })
    }
}

/// Values by key.
#[derive(Clone, Debug)]
pub(crate) struct Shards<K, V> {
    shards: Box<[Arc<Shard<K, V>>]>,
    /// Does for all that hold nothing.
    empty: Arc<Shard<K, V>>,
}

type Shard<K, V> = HashMap<K, V, BuildHasherDefault<KeyHasher>>;

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        let empty = Arc::new(Shard::default());
        Self { shards: iter::repeat_n(Arc::clone(&empty), SHARDS).collect(), empty }
    }
}

impl<K: Copy + Eq + Hash, V: Copy> Shards<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.shards.get(shard(key))?.get(key).copied()
    }

    /// Puts `value` in the place of what is there.
    pub(crate) fn set(&mut self, key: K, value: Option<V>) {
        let Some(slot) = self.shards.get_mut(shard(&key)) else { return };
        let shard = Arc::make_mut(slot);
        match value {
            Some(value) => drop(shard.insert(key, value)),
            None => drop(shard.remove(&key)),
        }
        if shard.is_empty() {
            *slot = Arc::clone(&self.empty);
        }
    }

    /// All there are, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// The keys `old` has not, in no order.
    pub(crate) fn new_keys<'a>(&'a self, old: &'a Self) -> impl Iterator<Item = K> + 'a {
        let shards = self.shards.iter().zip(&old.shards).filter(|(new, old)| !Arc::ptr_eq(new, old));
        shards.flat_map(|(new, old)| new.keys().filter(|key| !old.contains_key(*key)).copied())
    }
}

fn shard(key: &impl Hash) -> usize {
    let mut hasher = KeyHasher::default();
    key.hash(&mut hasher);
    // Bits that do not say where in the shard.
    usize::from(hasher.finish().to_be_bytes()[2])
}

/// One multiplication; the keys are not an attacker's to choose.
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        let product = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }
}

/// Rows that are copied when one of them changes.
const PAGE: usize = 64;
/// As many as an octet has values.
const SHARDS: usize = 256;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Steps = Vec<(u16, Option<u8>)>;

    fn steps() -> impl Strategy<Value = Steps> {
        proptest::collection::vec((0_u16..700, any::<Option<u8>>()), 0..60)
    }

    fn apply<'a>(model: &mut BTreeMap<u16, u8>, steps: impl IntoIterator<Item = &'a (u16, Option<u8>)>) {
        for (key, value) in steps {
            match value {
                Some(value) => drop(model.insert(*key, *value)),
                None => drop(model.remove(key)),
            }
        }
    }

    proptest! {
        #[test]
        fn pages_are_a_map_and_know_what_changed(before in steps(), after in steps()) {
            let (mut pages, mut model) = (Pages::default(), BTreeMap::new());
            for (at, row) in &before {
                pages.set(usize::from(*at), row.map(Arc::new));
            }
            apply(&mut model, &before);
            let (old, was) = (pages.clone(), model.clone());
            for (at, row) in &after {
                pages.set(usize::from(*at), row.map(Arc::new));
            }
            apply(&mut model, &after);
            for at in 0_u16..800 {
                prop_assert_eq!(pages.get(at.into()).map(|row| **row), model.get(&at).copied());
                prop_assert_eq!(old.get(at.into()).map(|row| **row), was.get(&at).copied());
            }
            let changed: Vec<usize> = pages.changed(&old).collect();
            for at in 0_u16..800 {
                let says = changed.contains(&at.into());
                prop_assert!(says || was.get(&at) == model.get(&at), "{} changed", at);
                prop_assert!(!says || after.iter().any(|(touched, _)| *touched == at), "{} did not", at);
            }
        }

        #[test]
        fn shards_are_a_map_and_know_what_is_new(before in steps(), after in steps()) {
            let (mut shards, mut model) = (Shards::default(), BTreeMap::new());
            before.iter().for_each(|(key, value)| shards.set(*key, *value));
            apply(&mut model, &before);
            let (old, was) = (shards.clone(), model.clone());
            after.iter().for_each(|(key, value)| shards.set(*key, *value));
            apply(&mut model, &after);
            for key in 0_u16..800 {
                prop_assert_eq!(shards.get(&key), model.get(&key).copied());
                prop_assert_eq!(old.get(&key), was.get(&key).copied());
            }
            prop_assert_eq!(shards.iter().map(|(key, value)| (*key, *value)).collect::<BTreeMap<_, _>>(), model.clone());
            let mut new: Vec<u16> = shards.new_keys(&old).collect();
            new.sort_unstable();
            prop_assert!(new.iter().eq(model.keys().filter(|key| !was.contains_key(key))));
        }
    }

    #[test]
    fn addresses_in_sequence_fill_all_shards() {
        let mut shards = Shards::default();
        (0..10_000_u64).for_each(|n| shards.set(0x0200_0000_0000_u64 << 12 | n << 12 | 100, Some(n)));
        let most = shards.shards.iter().map(|shard| shard.len()).max();
        assert!(most < Some(80), "{most:?} in one shard of 39 on average");
    }
}
