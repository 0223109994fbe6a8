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
//!
//! A call that waited in vain and is asked again would hold the others back again. So a child that
//! gave up waits without that right, for calls that are not much smaller, until one of them is
//! served: it takes its turn as before, but others need not let it go first.

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
    /// What the last call that gave up would have held, by contended budget and child, in parts
    /// of the contended limit.
    given_up: HashMap<(BudgetId, BudgetId), u128>,
    next: u64,
}

/// One call that waits.
struct Waiting {
    number: u64,
    /// The budget that has no room for it.
    contended: BudgetId,
    /// The child of that budget on the call's path; itself, if the call is its own.
    child: BudgetId,
    /// What it would hold.
    amount: Amount,
    /// Whether others need not let it go first.
    yields: bool,
    wake: Arc<Notify>,
}

// === impl Queue ===

impl Queue {
    /// Says whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Says whether nobody waits or gave up, so that nothing has to be counted.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.given_up.is_empty()
    }

    /// Lets a call of `budget` wait for room at `contended`, and returns its number. Who waits
    /// already keeps its number and may wait elsewhere now.
    pub(crate) fn join(
        &mut self,
        tree: &Tree,
        number: Option<u64>,
        (budget, amount): (BudgetId, Amount),
        contended: BudgetId,
        wake: &Arc<Notify>,
    ) -> u64 {
        let child = child_of(tree, budget, contended);
        let yields = (self.given_up.get(&(contended, child)))
            .is_some_and(|former| is_like(part(tree, contended, amount), *former));
        let known = |waiting: &&mut Waiting| Some(waiting.number) == number;
        if let Some(waiting) = self.waiting.iter_mut().find(known) {
            (waiting.contended, waiting.child) = (contended, child);
            (waiting.amount, waiting.yields) = (amount, yields);
            return waiting.number;
        }
        let lifted = self.lifted(contended, child);
        self.served.insert(child, lifted);
        self.next += 1;
        self.waiting.push(Waiting {
            number: self.next,
            contended,
            child,
            amount,
            yields,
            wake: Arc::clone(wake),
        });
        self.next
    }

    /// Takes a call out: it was served or refused.
    pub(crate) fn leave(&mut self, number: u64) {
        self.waiting.retain(|waiting| waiting.number != number);
    }

    /// Takes a call out that waited in vain.
    pub(crate) fn give_up(&mut self, tree: &Tree, number: u64) {
        let own = |waiting: &&Waiting| waiting.number == number;
        if let Some(waiting) = self.waiting.iter().find(own) {
            let wanted = part(tree, waiting.contended, waiting.amount);
            let place = (waiting.contended, waiting.child);
            self.given_up.insert(place, wanted);
        }
        self.leave(number);
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
            let own = Some(waiting.number) == number;
            if own || waiting.yields || !tree.is_within(budget, waiting.contended) {
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
        self.given_up.retain(|(at, child), former| {
            let served = tree.is_within(budget, *child);
            !(served && is_like(part(tree, *at, amount), *former))
        });
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

    /// Returns whom to wake when room was made: for each contended budget who is first there,
    /// and who may go although others are.
    pub(crate) fn firsts(&self) -> Vec<Arc<Notify>> {
        let mut firsts: HashMap<BudgetId, &Waiting> = HashMap::new();
        let (yielding, others): (Vec<&Waiting>, Vec<&Waiting>) =
            self.waiting.iter().partition(|waiting| waiting.yields);
        for waiting in others {
            let first = firsts.entry(waiting.contended).or_insert(waiting);
            let key = |waiting: &Waiting| (self.served(waiting.child), waiting.number);
            if key(waiting) < key(first) {
                *first = waiting;
            }
        }
        let woken = firsts.into_values().chain(yielding);
        woken.map(|waiting| Arc::clone(&waiting.wake)).collect()
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

/// Says whether a call is not much smaller than one that gave up.
fn is_like(part: u128, former: u128) -> bool {
    part >= former / 2
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
        let (units, limit) = (units.unsigned_abs(), limit.unsigned_abs());
        Some(u128::from(units) * WHOLE / u128::from(limit))
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
        let of_a = queue.join(&tree, None, (a, tokens(1)), root, &wake());
        let of_b = queue.join(&tree, None, (b, tokens(1)), root, &wake());
        assert_eq!(queue.stands_behind(&tree, Some(of_a), a, tokens(1)), None);
        assert_eq!(
            queue.stands_behind(&tree, Some(of_b), b, tokens(1)),
            Some(root)
        );
        // a is served and comes again: now b goes first, and a newcomer stands behind both.
        queue.count(&tree, a, tokens(20));
        queue.leave(of_a);
        let again = queue.join(&tree, None, (a, tokens(1)), root, &wake());
        assert_eq!(queue.stands_behind(&tree, Some(of_b), b, tokens(1)), None);
        assert_eq!(
            queue.stands_behind(&tree, Some(again), a, tokens(1)),
            Some(root)
        );
        queue.count(&tree, b, tokens(50));
        let of_c = queue.join(&tree, None, (c, tokens(1)), root, &wake());
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
        let of_a = queue.join(&tree, None, (a, tokens(1)), root, &wake());
        queue.count(&tree, a, tokens(60));
        // b has never been served and c neither: that they come late earns them nothing.
        assert_eq!(queue.stands_behind(&tree, None, b, tokens(1)), Some(root));
        let of_b = queue.join(&tree, None, (b, tokens(1)), root, &wake());
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
        queue.join(&tree, None, (a, tokens(1)), root, &wake());
        queue.count(&tree, d, tokens(90));
        assert_eq!(queue.stands_behind(&tree, None, d, tokens(10)), None);
        assert_eq!(queue.stands_behind(&tree, None, d, tokens(11)), Some(root));
    }

    #[test]
    fn a_call_that_waits_at_its_own_budget_is_in_nobodys_way() {
        let (tree, ids) = tree();
        let (root, a, b) = (ids[0], ids[1], ids[2]);
        let mut queue = Queue::default();
        let own = queue.join(&tree, None, (a, tokens(1)), a, &wake());
        assert_eq!(queue.stands_behind(&tree, None, b, tokens(1)), None);
        assert_eq!(queue.stands_behind(&tree, None, a, tokens(1)), Some(a));
        // It finds that the root has no room either, and keeps its place.
        assert_eq!(
            queue.join(&tree, Some(own), (a, tokens(1)), root, &wake()),
            own
        );
        assert_eq!(queue.stands_behind(&tree, None, b, tokens(1)), Some(root));
        assert_eq!(queue.firsts().len(), 1);
        queue.leave(own);
        assert!(queue.is_empty());
    }

    #[test]
    fn who_waited_in_vain_holds_nobody_back_until_it_was_served() {
        let (tree, ids) = tree();
        let (root, a, b) = (ids[0], ids[1], ids[2]);
        let mut queue = Queue::default();
        let large = tokens(80);
        let first = queue.join(&tree, None, (a, large), root, &wake());
        assert_eq!(queue.stands_behind(&tree, None, b, tokens(1)), Some(root));
        queue.give_up(&tree, first);
        assert!(queue.is_empty() && !queue.is_idle());
        // The same again, and one a little smaller: b goes by.
        for amount in [large, tokens(70)] {
            let again = queue.join(&tree, None, (a, amount), root, &wake());
            assert_eq!(queue.stands_behind(&tree, None, b, tokens(1)), None);
            queue.give_up(&tree, again);
        }
        // A small call of a's has its full right, and gives the large one nothing back.
        let small = queue.join(&tree, None, (a, tokens(5)), root, &wake());
        assert_eq!(queue.stands_behind(&tree, None, b, tokens(1)), Some(root));
        queue.leave(small);
        queue.count(&tree, a, tokens(5));
        let again = queue.join(&tree, None, (a, large), root, &wake());
        let of_b = queue.join(&tree, None, (b, tokens(1)), root, &wake());
        assert_eq!(queue.stands_behind(&tree, Some(of_b), b, tokens(1)), None);
        assert_eq!(queue.firsts().len(), 2, "both may go");
        // Once it was served, it waits as others do.
        queue.leave(again);
        queue.leave(of_b);
        queue.count(&tree, a, large);
        assert!(queue.is_idle());
        queue.join(&tree, None, (a, large), root, &wake());
        assert_eq!(queue.stands_behind(&tree, None, b, tokens(1)), Some(root));
    }
}
