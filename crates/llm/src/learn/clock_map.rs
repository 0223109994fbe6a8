//! A map of bounded size that forgets what was not used lately.
//!
//! The clock algorithm: each entry has a mark that a use sets; the hand clears marks until it
//! meets an entry without one, and replaces that. Inserting is O(1) amortized. A library's cache
//! would bring threads, time and weights that nothing here needs.

use std::collections::HashMap;
use std::hash::Hash;

/// At most `capacity` entries; the least lately used go first, roughly.
#[derive(Debug)]
pub(crate) struct ClockMap<K, V> {
    capacity: usize,
    slots: Vec<Slot<K, V>>,
    places: HashMap<K, usize>,
    hand: usize,
}

#[derive(Debug)]
struct Slot<K, V> {
    key: K,
    value: V,
    used: bool,
}

// === impl ClockMap ===

impl<K: Copy + Eq + Hash, V> ClockMap<K, V> {
    pub(crate) fn new(capacity: usize) -> ClockMap<K, V> {
        assert!(capacity > 0, "a map without room");
        ClockMap {
            capacity,
            slots: Vec::new(),
            places: HashMap::new(),
            hand: 0,
        }
    }

    pub(crate) fn peek(&self, key: K) -> Option<&V> {
        self.places.get(&key).map(|place| &self.slots[*place].value)
    }

    pub(crate) fn get(&mut self, key: K) -> Option<&mut V> {
        let slot = &mut self.slots[*self.places.get(&key)?];
        slot.used = true;
        Some(&mut slot.value)
    }

    pub(crate) fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let place = match self.places.get(&key) {
            Some(place) => {
                self.slots[*place].used = true;
                *place
            }
            None => self.insert(key, make()),
        };
        &mut self.slots[place].value
    }

    fn insert(&mut self, key: K, value: V) -> usize {
        // Not marked yet, so that what is only ever written once goes before what is used.
        let slot = Slot {
            key,
            value,
            used: false,
        };
        let place = if self.slots.len() < self.capacity {
            self.slots.push(slot);
            self.slots.len() - 1
        } else {
            let place = self.evict();
            self.slots[place] = slot;
            place
        };
        self.places.insert(key, place);
        place
    }

    /// Turns the hand to an entry that was not used since it last passed, and forgets it.
    fn evict(&mut self) -> usize {
        while std::mem::take(&mut self.slots[self.hand].used) {
            self.hand = (self.hand + 1) % self.slots.len();
        }
        let place = self.hand;
        self.hand = (self.hand + 1) % self.slots.len();
        self.places.remove(&self.slots[place].key);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_used_and_never_outgrows_its_bound() {
        let mut map = ClockMap::new(4);
        for key in 0..100_u32 {
            map.get_or_insert_with(key, || key);
            assert_eq!(
                map.get(0),
                Some(&mut 0),
                "used at every turn, forgotten at {key}"
            );
            assert!(map.slots.len() <= 4 && map.places.len() <= 4);
        }
        assert_eq!(map.peek(50), None);
        assert_eq!(map.peek(99), Some(&99));
        *map.get_or_insert_with(99, || 0) += 1;
        assert_eq!(map.peek(99), Some(&100));
    }
}
