//! The tree of budgets: an arena of nodes with plain integers, and the open holds.
//!
//! Every change names the budget it starts at and moves up to the root. What moves is the
//! *load*: `load(b) = own committed(b) + Σ_child max(claim(child), load(child))`, so that a child
//! uses up its own claim first and its parent's load moves only by what exceeds it. Admission is
//! `load + hold <= limit - reserve` wherever the load would grow, and `committed + hold <= limit`
//! everywhere. The same sum without holds, the *floor*, tells what could never fit, even if every
//! open hold were voided.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::amount::{Amount, Timestamp};
use crate::id::{BudgetId, HoldId};
use crate::level::Thresholds;

mod admit;
mod ended;
mod grow;
mod levels;
mod loan;
mod node;
mod settle;
mod share;
mod view;
mod window;

pub use grow::{Kept, Restored};
pub use levels::Acting;
pub use loan::Loan;
pub use settle::Receipt;
pub use share::IDLE;
pub use view::{BudgetView, Headroom, HoldView};

pub(crate) use node::Node;

use ended::Ended;

/// How deep a tree may become; the root is at depth 1.
pub const MAX_DEPTH: usize = 8;

/// How many children a budget may have.
pub const MAX_CHILDREN: usize = 1000;

/// A tree of budgets and the holds open in it.
#[derive(Debug, Clone)]
pub struct Tree {
    pub(crate) nodes: Vec<Node>,
    pub(crate) holds: HashMap<HoldId, Hold, IdHash>,
    ended: Ended,
    /// Budgets with an elapsed limit of their own, whose levels move by the clock.
    timed: Vec<BudgetId>,
    /// Budgets with windows, in order.
    windowed: Vec<BudgetId>,
    /// When the next window ends.
    next_roll: Timestamp,
    /// When the last window began: a hold never begins earlier, should the clock be set back.
    latest_window: Timestamp,
    /// Budgets whose children's shares or guarantees are divided, in order.
    shared: Vec<BudgetId>,
    loans: Vec<Loan>,
    /// Budgets of which the tree changed by itself what a journal must remember.
    touched: Vec<BudgetId>,
    thresholds: Thresholds,
}

/// A hold that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) budget: BudgetId,
    pub(crate) amount: Amount,
    /// The part of `amount` that a running call has metered: counted as spent already.
    pub(crate) metered: Amount,
    pub(crate) opened: Timestamp,
}

/// Hash ids are random in their low half, so folding them is enough.
type IdHash = BuildHasherDefault<IdHasher>;

/// Hashes a [`HoldId`] by folding its two halves; ids are random, so no more is needed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct IdHasher(u64);

// === impl Tree ===

impl Tree {
    /// Makes an empty tree with the given level thresholds.
    pub fn new(thresholds: Thresholds) -> Tree {
        Tree {
            nodes: Vec::new(),
            holds: HashMap::default(),
            ended: Ended::default(),
            timed: Vec::new(),
            windowed: Vec::new(),
            next_roll: Timestamp(i64::MAX),
            latest_window: Timestamp(i64::MIN),
            shared: Vec::new(),
            loans: Vec::new(),
            touched: Vec::new(),
            thresholds,
        }
    }

    /// Returns where levels begin.
    pub fn thresholds(&self) -> Thresholds {
        self.thresholds
    }

    /// Returns the root, or `None` while nothing has been allocated.
    pub fn root(&self) -> Option<BudgetId> {
        (!self.nodes.is_empty()).then_some(BudgetId(0))
    }

    /// Returns how many budgets there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Says whether nothing has been allocated.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Returns how many holds are open in the whole tree.
    pub fn open_holds(&self) -> usize {
        self.holds.len()
    }

    fn node(&self, id: BudgetId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    fn node_mut(&mut self, id: BudgetId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }
}

impl Default for Tree {
    fn default() -> Self {
        Tree::new(Thresholds::default())
    }
}

// === impl IdHasher ===

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, id: u128) {
        // An odd constant spreads ids that were counted instead of drawn.
        let folded = (id as u64) ^ ((id >> 64) as u64);
        self.0 = folded.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
