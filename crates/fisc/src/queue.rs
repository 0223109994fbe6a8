//! In what order calls that wait for room are served: by the service that each child of the
//! contended budget has had, the least first; first come only among the calls of one child.
//!
//! This is the virtual token counter of Sheng et al. (Fairness in Serving Large Language Models,
//! OSDI 2024), with holds for tokens: a counter per child rises by what its calls hold, in parts
//! of the contended limit and by weight, while others wait. Who comes back after a pause is
//! lifted to the least of those who wait, so that idle time earns no credit.
//!
//! Nobody overtakes who stands behind: so that a large call is not starved by small ones. What a
//! child's own guarantee covers stands in nobody's way and passes.

use std::collections::HashMap;
use std::sync::Arc;

use fisc_core::{Amount, BudgetId, Resource, Tree};
use tokio::sync::Notify;

/// The whole of a contended limit, as counters see it.
const WHOLE: u128 = 1 << 64;

/// Calls that wait, and what has been served while some did.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Vec<Waiting>,
    served: HashMap<BudgetId, u128>,
    next: u64,
}

/// One call that waits.
struct Waiting {
    number: u64,
    /// The budget that has no room for it.
    contended: BudgetId,
    /// The child of that budget on the call's path; itself, if the call is its own.
    child: BudgetId,
    wake: Arc<Notify>,
}

// === impl Queue ===

impl Queue {
    /// Says whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Lets a call of `budget` wait for room at `contended`, and returns its number. Who waits
    /// already keeps its number and may wait elsewhere now.
    pub(crate) fn join(
        &mut self,
        tree: &Tree,
        number: Option<u64>,
        budget: BudgetId,
        contended: BudgetId,
        wake: &Arc<Notify>,
    ) -> u64 {
        let child = child_of(tree, budget, contended);
        let known = |waiting: &&mut Waiting| Some(waiting.number) == number;
        if let Some(waiting) = self.waiting.iter_mut().find(known) {
            (waiting.contended, waiting.child) = (contended, child);
            return waiting.number;
        }
        let lifted = self.lifted(contended, child);
        self.served.insert(child, lifted);
        self.next += 1;
        self.waiting.push(Waiting {
            number: self.next,
            contended,
            child,
            wake: Arc::clone(wake),
        });
        self.next
    }

    /// Takes a call out: it was served, refused, or gave up.
    pub(crate) fn leave(&mut self, number: u64) {
        self.waiting.retain(|waiting| waiting.number != number);
    }

    /// Returns the budget at which a call of `budget` has to let another go first, if any.
    pub(crate) fn stands_behind(
        &self,
        tree: &Tree,
        number: Option<u64>,
        budget: BudgetId,
        amount: Amount,
    ) -> Option<BudgetId> {
        let goes_first = |waiting: &&Waiting| {
            if Some(waiting.number) == number || !tree.is_within(budget, waiting.contended) {
                return false;
            }
            let child = child_of(tree, budget, waiting.contended);
            let mine = self.lifted(waiting.contended, child);
            let mine = (mine, number.unwrap_or(u64::MAX));
            let first = (self.served(waiting.child), waiting.number) < mine;
            first && !is_covered(tree, child, waiting.contended, amount)
        };
        let first = self.waiting.iter().find(goes_first)?;
        Some(first.contended)
    }

    /// Counts what a call of `budget` was granted, wherever on its path others wait.
    pub(crate) fn count(&mut self, tree: &Tree, budget: BudgetId, amount: Amount) {
        let mut contended: Vec<BudgetId> = (self.waiting.iter())
            .map(|waiting| waiting.contended)
            .filter(|at| tree.is_within(budget, *at))
            .collect();
        contended.sort_unstable();
        contended.dedup();
        for at in contended {
            let child = child_of(tree, budget, at);
            let weight = (tree.budget(child)).map_or(1, |view| view.terms.weight.0.max(1));
            let before = self.lifted(at, child);
            let after = before.saturating_add(part(tree, at, amount) / u128::from(weight));
            self.served.insert(child, after);
        }
    }

    /// Returns whom to wake when room was made: for each contended budget who is first there.
    pub(crate) fn firsts(&self) -> Vec<Arc<Notify>> {
        let mut firsts: HashMap<BudgetId, &Waiting> = HashMap::new();
        for waiting in &self.waiting {
            let first = firsts.entry(waiting.contended).or_insert(waiting);
            let key = |waiting: &Waiting| (self.served(waiting.child), waiting.number);
            if key(waiting) < key(first) {
                *first = waiting;
            }
        }
        let wakes = firsts.into_values().map(|first| Arc::clone(&first.wake));
        wakes.collect()
    }

    fn served(&self, child: BudgetId) -> u128 {
        self.served.get(&child).copied().unwrap_or(0)
    }

    /// The counter of a child: of one none of whose calls waits at `contended`, at least the
    /// least of those who wait there.
    fn lifted(&self, contended: BudgetId, child: BudgetId) -> u128 {
        let own = self.served(child);
        let mut there = self.waiting.iter().filter(|w| w.contended == contended);
        if there.clone().any(|waiting| waiting.child == child) {
            return own;
        }
        let least = there
            .by_ref()
            .map(|waiting| self.served(waiting.child))
            .min();
        own.max(least.unwrap_or(0))
    }
}

/// Returns the child of `contended` on the path of `budget`, or itself when it is that budget.
fn child_of(tree: &Tree, budget: BudgetId, contended: BudgetId) -> BudgetId {
    let mut child = budget;
    while child != contended {
        match tree.budget(child).and_then(|view| view.parent) {
            Some(parent) if parent != contended => child = parent,
            _ => return child,
        }
    }
    child
}

/// Says whether what is kept for a child covers a call, so that it takes nothing from others.
fn is_covered(tree: &Tree, child: BudgetId, contended: BudgetId, amount: Amount) -> bool {
    let Some(view) = tree.budget(child).filter(|_| child != contended) else {
        return false;
    };
    let covers = |resource: &Resource| {
        let needed = amount.get(*resource);
        let after = view.load.get(*resource).saturating_add(needed);
        needed == 0 || after <= view.claim.get(*resource)
    };
    Resource::ALL.iter().all(covers)
}

/// The dominant part of a contended limit that an amount is.
fn part(tree: &Tree, contended: BudgetId, amount: Amount) -> u128 {
    let limits = tree.budget(contended).map(|view| view.terms.limits);
    let of = |resource: Resource| {
        let limit = limits?.get(resource)?.max(1);
        let units = amount.get(resource).max(0);
        Some(units.unsigned_abs() as u128 * WHOLE / limit.unsigned_abs() as u128)
    };
    Resource::ALL.into_iter().filter_map(of).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use fisc_core::{Claim, Limits, Terms, Timestamp, Weight};

    use super::*;

    fn tokens(units: i64) -> Amount {
        Amount::from_raw([units, 0, 0])
    }

    /// A root of 100 tokens with four children; the last weighs double and is kept 10.
    fn tree() -> (Tree, Vec<BudgetId>) {
        let (mut tree, mut events) = (Tree::default(), Vec::new());
        let mut make = |parent, name: &str, terms| {
            tree.allocate(Timestamp(0), parent, name, terms, &mut events)
                .expect("it fits")
        };
        let limits = Limits::NONE.with(Resource::Tokens, Some(100));
        let root = make(
            None,
            "root",
            Terms {
                limits,
                ..Terms::default()
            },
        );
        let mut ids = vec![root];
        for name in ["a", "b", "c"] {
            ids.push(make(Some(root), name, Terms::default()));
        }
        let heavy = Terms {
            weight: Weight(2),
            claim: Claim::Guarantee(tokens(10)),
            ..Terms::default()
        };
        ids.push(make(Some(root), "d", heavy));
        (tree, ids)
    }

    fn wake() -> Arc<Notify> {
        Arc::new(Notify::new())
    }

    #[test]
    fn who_had_least_goes_first_and_who_comes_back_is_lifted() {
        let (tree, ids) = tree();
        let (root, a, b, c, d) = (ids[0], ids[1], ids[2], ids[3], ids[4]);
        let mut queue = Queue::default();
        let of_a = queue.join(&tree, None, a, root, &wake());
        let of_b = queue.join(&tree, None, b, root, &wake());
        assert_eq!(queue.stands_behind(&tree, Some(of_a), a, tokens(1)), None);
        assert_eq!(
            queue.stands_behind(&tree, Some(of_b), b, tokens(1)),
            Some(root)
        );
        // a is served and comes again: now b goes first, and a newcomer stands behind both.
        queue.count(&tree, a, tokens(20));
        queue.leave(of_a);
        let again = queue.join(&tree, None, a, root, &wake());
        assert_eq!(queue.stands_behind(&tree, Some(of_b), b, tokens(1)), None);
        assert_eq!(
            queue.stands_behind(&tree, Some(again), a, tokens(1)),
            Some(root)
        );
        queue.count(&tree, b, tokens(50));
        let of_c = queue.join(&tree, None, c, root, &wake());
        assert_eq!(
            queue.served(c),
            queue.served(a),
            "lifted to the least of them"
        );
        assert_eq!(
            queue.stands_behind(&tree, Some(of_c), c, tokens(1)),
            Some(root)
        );
        assert_eq!(queue.stands_behind(&tree, Some(again), a, tokens(1)), None);
        // Double weight: the same service counts half.
        queue.count(&tree, d, tokens(20));
        let half = queue.served(a) / 2;
        assert_eq!(queue.served(d) - queue.served(a), half);
    }

    #[test]
    fn a_new_name_overtakes_nobody() {
        let (tree, ids) = tree();
        let (root, a, b, c) = (ids[0], ids[1], ids[2], ids[3]);
        let mut queue = Queue::default();
        let of_a = queue.join(&tree, None, a, root, &wake());
        queue.count(&tree, a, tokens(60));
        // b has never been served and c neither: that they come late earns them nothing.
        assert_eq!(queue.stands_behind(&tree, None, b, tokens(1)), Some(root));
        let of_b = queue.join(&tree, None, b, root, &wake());
        queue.leave(of_a);
        queue.count(&tree, c, tokens(10));
        assert!(queue.served(c) > queue.served(b));
        assert_eq!(queue.stands_behind(&tree, Some(of_b), b, tokens(1)), None);
    }

    #[test]
    fn what_is_kept_for_a_child_passes() {
        let (tree, ids) = tree();
        let (root, a, d) = (ids[0], ids[1], ids[4]);
        let mut queue = Queue::default();
        queue.join(&tree, None, a, root, &wake());
        queue.count(&tree, d, tokens(90));
        assert_eq!(queue.stands_behind(&tree, None, d, tokens(10)), None);
        assert_eq!(queue.stands_behind(&tree, None, d, tokens(11)), Some(root));
    }

    #[test]
    fn a_call_that_waits_at_its_own_budget_is_in_nobodys_way() {
        let (tree, ids) = tree();
        let (root, a, b) = (ids[0], ids[1], ids[2]);
        let mut queue = Queue::default();
        let own = queue.join(&tree, None, a, a, &wake());
        assert_eq!(queue.stands_behind(&tree, None, b, tokens(1)), None);
        assert_eq!(queue.stands_behind(&tree, None, a, tokens(1)), Some(a));
        // It finds that the root has no room either, and keeps its place.
        assert_eq!(queue.join(&tree, Some(own), a, root, &wake()), own);
        assert_eq!(queue.stands_behind(&tree, None, b, tokens(1)), Some(root));
        assert_eq!(queue.firsts().len(), 1);
        queue.leave(own);
        assert!(queue.is_empty());
    }
}
