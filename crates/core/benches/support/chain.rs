//! The tree that the benches measure: a chain of budgets with three resources limited in each.

use fisc_core::{
    Amount, BudgetId, Event, HoldId, Limits, Money, Refusal, Resource, Terms, TimeUs, Timestamp,
    Tokens, Tree,
};

/// What the leaf is limited to; the root has a thousand less.
pub(crate) const ROOM: i64 = 1 << 60;

/// A chain of budgets and the ids of the calls made at its leaf.
pub(crate) struct Bench {
    /// The tree.
    pub(crate) tree: Tree,
    /// The deepest budget.
    pub(crate) leaf: BudgetId,
    events: Vec<Event>,
    next: u128,
}

/// Returns what one call holds.
pub(crate) fn call() -> Amount {
    Amount::new(Tokens(900), Money::from_nanos(12_345), TimeUs(2_000_000))
}

// === impl Bench ===

impl Bench {
    /// Makes a chain of `depth` budgets; the root's limit is a little tighter than the others'.
    pub(crate) fn new(depth: usize) -> Bench {
        let (mut tree, mut events) = (Tree::default(), Vec::new());
        let mut leaf = None;
        for level in 1..=depth {
            let limit = ROOM - if level == 1 { 1000 } else { 0 };
            let limited = |all: Limits, resource| all.with(resource, Some(limit));
            let terms = Terms {
                limits: Resource::ALL.into_iter().fold(Limits::NONE, limited),
                ..Terms::default()
            };
            let at = Timestamp(0);
            let id = tree.allocate(at, leaf, &format!("b{level}"), terms, &mut events);
            leaf = Some(id.expect("a chain of at most eight"));
        }
        Bench {
            tree,
            leaf: leaf.expect("at least one budget"),
            events,
            next: 0,
        }
    }

    /// Takes a hold of one call and settles it with a little less.
    pub(crate) fn hold_and_settle(&mut self) {
        let id = self.hold(call()).expect("it fits");
        let actual = Amount::new(Tokens(1), Money::from_nanos(7), TimeUs(1000));
        self.tree
            .settle(id, actual, &mut self.events)
            .expect("it is open");
    }

    /// Takes a hold under a new id, spread like a time-ordered random one.
    pub(crate) fn hold(&mut self, amount: Amount) -> Result<HoldId, Refusal> {
        self.next += 1;
        let random = (self.next as u64).wrapping_mul(0xD134_2543_DE82_EF95);
        let id = HoldId(self.next << 80 | u128::from(random));
        self.tree
            .hold(Timestamp(0), id, self.leaf, amount, false, &mut self.events)
            .expect("the id is new and the amount in range")
            .map(|()| id)
    }
}
