//! The tree behind a mutex, as it is used: whatever order threads come in, nothing is overspent,
//! nothing is lost, and every hold ends once.

use std::sync::Mutex;
use std::thread;

use fisc_core::{
    Amount, BudgetId, Claim, HoldId, Limits, Money, Resource, Terms, TimeUs, Timestamp, Tokens,
    Tree, invariants,
};

const NOW: Timestamp = Timestamp(0);

/// A small generator, so that every run of a thread is the same but for its turns.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn cost(nanos: i64) -> Amount {
    Amount::new(Tokens(0), Money::from_nanos(nanos), TimeUs(0))
}

fn limit(nanos: i64) -> Terms {
    Terms {
        limits: Limits::NONE.with(Resource::Cost, Some(nanos)),
        ..Terms::default()
    }
}

fn allocate(tree: &mut Tree, parent: Option<BudgetId>, name: &str, terms: Terms) -> BudgetId {
    tree.allocate(NOW, parent, name, terms, &mut Vec::new())
        .expect("it fits")
}

#[test]
fn two_thousand_concurrent_calls_never_overspend_a_budget_of_twenty() {
    let mut tree = Tree::default();
    let root = allocate(&mut tree, None, "root", limit(20));
    let agents: Vec<BudgetId> = (0..4)
        .map(|agent| {
            let team = allocate(&mut tree, Some(root), &format!("t{agent}"), limit(20));
            allocate(&mut tree, Some(team), "agent", Terms::default())
        })
        .collect();
    let tree = Mutex::new(tree);
    let (tree_of_all, agents) = (&tree, &agents);
    let charged: i64 = thread::scope(|scope| {
        let call_from = |thread: usize| {
            let agent = agents[thread % agents.len()];
            scope.spawn(move || call_repeatedly(tree_of_all, thread as u128, agent))
        };
        let threads: Vec<_> = (0..8).map(call_from).collect();
        threads
            .into_iter()
            .map(|t| t.join().expect("no panic"))
            .sum()
    });
    assert_eq!(charged, 20);
    let tree = tree.into_inner().expect("no thread panicked");
    let view = tree.budget(root).expect("the root");
    assert_eq!((view.spent, view.overrun), (cost(20), Amount::ZERO));
    invariants::check(&tree).expect("nothing is broken");
}

/// Makes 250 calls of one unit and returns what was charged.
fn call_repeatedly(tree: &Mutex<Tree>, thread: u128, agent: BudgetId) -> i64 {
    let mut charged = 0;
    for number in 0..250 {
        let id = HoldId(thread << 64 | number);
        let granted = {
            let mut tree = tree.lock().expect("no thread panics");
            tree.hold(NOW, id, agent, cost(1), false, &mut Vec::new())
                .expect("the id is new")
        };
        if granted.is_err() {
            continue;
        }
        thread::yield_now();
        let mut tree = tree.lock().expect("no thread panics");
        let receipt = tree.settle(id, cost(1), &mut Vec::new());
        charged += receipt.expect("it is open").charged.cost().nanos();
    }
    charged
}

#[test]
fn a_thousand_threads_settle_one_hold_once() {
    let mut tree = Tree::default();
    let root = allocate(&mut tree, None, "root", limit(100));
    let id = HoldId(7);
    tree.hold(NOW, id, root, cost(10), false, &mut Vec::new())
        .expect("the id is new")
        .expect("it fits");
    let tree = Mutex::new(tree);
    let receipts: Vec<_> = thread::scope(|scope| {
        let settle = || {
            let mut tree = tree.lock().expect("no thread panics");
            tree.settle(id, cost(3), &mut Vec::new())
        };
        let threads: Vec<_> = (0..1000).map(|_| scope.spawn(settle)).collect();
        threads
            .into_iter()
            .map(|t| t.join().expect("no panic"))
            .collect()
    });
    let first = receipts[0].expect("a receipt");
    assert!(receipts.iter().all(|receipt| *receipt == Ok(first)));
    let tree = tree.into_inner().expect("no thread panicked");
    assert_eq!(tree.budget(root).expect("the root").spent, cost(3));
    assert_eq!(tree.open_holds(), 0);
}

#[test]
fn random_work_of_many_threads_is_conserved() {
    let mut tree = Tree::default();
    let root = allocate(&mut tree, None, "root", limit(1000));
    for branch in 0..3 {
        let mut parent = root;
        for depth in 0..4 {
            let claim = match (branch + depth) % 3 {
                0 => Claim::Limit,
                1 => Claim::Guarantee(cost(50)),
                _ => Claim::Nothing,
            };
            let terms = Terms {
                claim,
                ..limit(300 - 50 * depth)
            };
            parent = allocate(&mut tree, Some(parent), &format!("b{branch}"), terms);
        }
    }
    let budgets = tree.len() as u64;
    let tree = Mutex::new(tree);
    let charged: i64 = thread::scope(|scope| {
        let tree = &tree;
        let threads: Vec<_> = (1..=6)
            .map(|seed| scope.spawn(move || random_work(tree, seed, budgets)))
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().expect("no panic"))
            .sum()
    });
    let tree = tree.into_inner().expect("no thread panicked");
    let view = tree.budget(root).expect("the root");
    assert_eq!(view.spent, cost(charged));
    assert_eq!((view.held, view.open), (Amount::ZERO, 0));
    assert!(view.spent.fits(&cost(1000)), "holds bound what is settled");
}

/// Takes, meters and ends holds at random, never above them, and returns what was charged.
fn random_work(tree: &Mutex<Tree>, seed: u64, budgets: u64) -> i64 {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let (mut charged, mut open, events) = (0, Vec::new(), &mut Vec::new());
    for number in 0..400 {
        let mut tree = tree.lock().expect("no thread panics");
        let id = HoldId(u128::from(seed) << 64 | number);
        let (budget, units) = (BudgetId(dice.roll(budgets) as u32), dice.roll(40) as i64);
        let granted = tree
            .hold(NOW, id, budget, cost(units), false, events)
            .expect("the id is new");
        if granted.is_ok() {
            open.push((id, units));
        }
        if dice.roll(3) != 0 && !open.is_empty() {
            let (id, units) = open.swap_remove(dice.roll(open.len() as u64) as usize);
            charged += end(&mut tree, id, units, &mut dice);
        }
        invariants::check(&tree).expect("nothing is broken");
    }
    for (id, units) in open {
        let mut tree = tree.lock().expect("no thread panics");
        charged += end(&mut tree, id, units, &mut dice);
    }
    charged
}

fn end(tree: &mut Tree, id: HoldId, units: i64, dice: &mut Dice) -> i64 {
    let events = &mut Vec::new();
    let part = dice.roll(units as u64 + 1) as i64;
    if dice.roll(2) == 0 {
        tree.meter(id, cost(part), events).expect("it is open");
    }
    if dice.roll(4) == 0 {
        tree.void(id, events).expect("it is open");
        return 0;
    }
    tree.settle(id, cost(part), events).expect("it is open");
    part
}
