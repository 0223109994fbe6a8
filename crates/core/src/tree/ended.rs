//! The holds that ended lately, so that ending one twice is recognised.
//!
//! Two generations: ends are noted in the young one; when it is full, the old one is forgotten
//! as a whole and the two change places. Forgetting the oldest one by one would cost each
//! settlement two more cache misses, half of its time.

use std::collections::HashMap;

use super::{IdHash, Receipt};
use crate::id::HoldId;

/// How many ends fill a generation: so many are remembered at least, and twice as many at most.
const GENERATION: usize = 32_768;

/// The ends that are remembered.
#[derive(Debug, Clone, Default)]
pub(super) struct Ended {
    young: Generation,
    old: Generation,
}

/// Receipts in the order in which holds ended, and where to find each.
#[derive(Debug, Clone, Default)]
struct Generation {
    places: HashMap<HoldId, u32, IdHash>,
    receipts: Vec<Receipt>,
}

// === impl Ended ===

impl Ended {
    /// Returns how a hold ended, or `None` when it did not, or too long ago.
    pub(super) fn get(&self, id: HoldId) -> Option<&Receipt> {
        self.young.get(id).or_else(|| self.old.get(id))
    }

    /// Notes how a hold ended, which it does once.
    pub(super) fn remember(&mut self, id: HoldId, receipt: Receipt) {
        if self.young.receipts.len() == GENERATION {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.places.clear();
            self.young.receipts.clear();
        }
        let place = self.young.receipts.len() as u32;
        self.young.places.insert(id, place);
        self.young.receipts.push(receipt);
    }
}

// === impl Generation ===

impl Generation {
    fn get(&self, id: HoldId) -> Option<&Receipt> {
        let place = *self.places.get(&id)?;
        self.receipts.get(place as usize)
    }
}
