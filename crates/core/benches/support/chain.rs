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
    /// The budget whose call is next.
    pub(crate) leaf: BudgetId,
    /// The budgets that call in turn.
    leaves: Vec<BudgetId>,
    events: Vec<Event>,
    next: u128,
}

/// Every resource limited to this much.
fn limited(limit: i64) -> Terms {
    let all = |limits: Limits, resource| limits.with(resource, Some(limit));
    Terms {
        limits: Resource::ALL.into_iter().fold(Limits::NONE, all),
        ..Terms::default()
    }
}

/// Returns what one call holds.
pub(crate) fn call() -> Amount {
    Amount::new(Tokens(900), Money::from_nanos(12_345), TimeUs(2_000_000))
}

// === impl Bench ===

impl Bench {
    /// Makes a chain of `depth` budgets; the root's limit is a little tighter than the others'.
    pub(crate) fn new(depth: usize) -> Bench {
        let mut bench = Bench::with_root();
        for level in 2..=depth {
            bench.leaf = bench.allocate(bench.leaf, &format!("b{level}"));
        }
        bench.leaves = vec![bench.leaf];
        bench
    }

    /// Makes a tree of so many agents at depth 5, at most 500 in a group, who call in turn.
    #[allow(
        dead_code,
        reason = "only one of the two benches that include this calls it"
    )]
    pub(crate) fn crowd(agents: usize) -> Bench {
        let mut bench = Bench::with_root();
        let (root, mut group) = (bench.leaf, bench.leaf);
        for agent in 0..agents {
            if agent % 500 == 0 {
                let department = bench.allocate(root, &format!("department-{agent}"));
                let team = bench.allocate(department, "team");
                group = bench.allocate(team, "group");
            }
            let leaf = bench.allocate(group, &format!("agent-{agent}"));
            bench.leaves.push(leaf);
        }
        bench
    }

    fn with_root() -> Bench {
        let (mut tree, mut events) = (Tree::default(), Vec::new());
        let root = tree.allocate(Timestamp(0), None, "b1", limited(ROOM - 1000), &mut events);
        Bench {
            tree,
            leaf: root.expect("a root"),
            leaves: Vec::new(),
            events,
            next: 0,
        }
    }

    fn allocate(&mut self, parent: BudgetId, name: &str) -> BudgetId {
        let at = Timestamp(0);
        self.tree
            .allocate(at, Some(parent), name, limited(ROOM), &mut self.events)
            .expect("at most eight deep")
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
        self.leaf = self.leaves[self.next as usize % self.leaves.len()];
        let random = (self.next as u64).wrapping_mul(0xD134_2543_DE82_EF95);
        let id = HoldId(self.next << 80 | u128::from(random));
        self.tree
            .hold(Timestamp(0), id, self.leaf, amount, false, &mut self.events)
            .expect("the id is new and the amount in range")
            .map(|()| id)
    }
}
