//! Random commands on random trees: every invariant after each of them, whatever is shared, lent,
//! sold, windowed, frozen or released meanwhile.
//!
//! `FISC_OPERATIONS` sets how many; a million take about two minutes.

use fisc_core::sharing::Sharing;
use fisc_core::{
    Amount, BudgetId, Calendar, Claim, Event, HoldId, Lendable, Levels, Limits, MAX_DEPTH, Period,
    Permille, Resource, Span, State, Terms, Thresholds, TimeUs, Timestamp, Tree, TreeError, Weight,
    Window, Zone, invariants,
};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// How many commands one tree takes before the next one is made.
const COMMANDS_A_TREE: u64 = 2_000;

/// How many budgets a tree may come to have.
const BUDGETS: u64 = 40;

struct Days;

struct Dice(u64);

struct World {
    tree: Tree,
    dice: Dice,
    now: Timestamp,
    open: Vec<HoldId>,
    next: u128,
    /// How often each command did what it was asked.
    done: [u64; 16],
    events: Vec<Event>,
}

// === impl Calendar for Days ===

impl Calendar for Days {
    fn span(&self, period: Period, _zone: Zone, now: Timestamp) -> Span {
        let length = match period {
            Period::Daily => DAY,
            Period::Weekly => 7 * DAY,
            Period::Monthly => 30 * DAY,
        };
        let start = Timestamp(now.0 - now.0.rem_euclid(length));
        let end = start.after(TimeUs(length));
        Span { start, end }
    }
}

// === impl Dice ===

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn units(&mut self, most: u64) -> i64 {
        self.roll(most + 1) as i64
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    fn amount(&mut self, most: u64) -> Amount {
        Amount::from_raw(std::array::from_fn(|_| self.units(most)))
    }

    fn limits(&mut self, most: u64, some: u64) -> Limits {
        Resource::ALL
            .into_iter()
            .fold(Limits::NONE, |limits, resource| {
                let limit = self.one_in(some).then(|| self.units(most));
                limits.with(resource, limit)
            })
    }

    /// Levels of its own for one resource, now and then.
    fn levels(&mut self) -> Levels {
        let mut begins = [0; 4].map(|_: u16| Permille(self.roll(1001) as u16));
        begins.sort_unstable();
        let of = Resource::ALL.get(self.roll(4) as usize).copied();
        let own = self.one_in(4).then_some(Thresholds(begins));
        Levels::default().with(of, own)
    }

    fn terms(&mut self, most: u64) -> Terms {
        let limits = self.limits(most, 2);
        let claim = match self.roll(6) {
            0 => Claim::Limit,
            1 => Claim::Guarantee(self.amount(most / 10)),
            2 => Claim::Automatic,
            _ => Claim::Nothing,
        };
        let window = match self.roll(8) {
            0 => Window::Rolling(TimeUs(self.units(DAY as u64) + 1)),
            1..=3 => Window::Calendar {
                period: Period::ALL[self.roll(2) as usize],
                zone: Zone::UTC,
                roll_over: Permille(self.roll(1001) as u16),
            },
            _ => Window::None,
        };
        Terms {
            limits,
            claim,
            window,
            elapsed: (window.is_none() && self.one_in(20)).then(|| TimeUs(self.units(DAY as u64))),
            reserve: Permille(self.roll(100) as u16),
            per_call: self.limits(most / 2, 10),
            state: if self.one_in(12) {
                State::Frozen
            } else {
                State::Open
            },
            frozen_by: None,
            sharing: Sharing::ALL[self.roll(7) as usize],
            weight: Weight(self.roll(5) as u16),
            need: self.limits(most, 2),
            lendable: Lendable(Permille(self.roll(1001) as u16)),
            levels: self.levels(),
            rate: Limits::NONE,
            observed: self.one_in(10),
        }
    }
}

// === impl World ===

impl World {
    fn new(seed: u64) -> World {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let (mut tree, mut events) = (Tree::default(), Vec::new());
        let terms = Terms {
            claim: Claim::Nothing,
            state: State::Open,
            ..dice.terms(10_000)
        };
        tree.allocate(Timestamp(0), None, "root", terms, &mut events)
            .expect("a root");
        World {
            tree,
            dice,
            now: Timestamp(0),
            open: Vec::new(),
            next: 0,
            done: [0; 16],
            events,
        }
    }

    fn budget(&mut self) -> BudgetId {
        BudgetId(self.dice.roll(self.tree.len() as u64) as u32)
    }

    fn step(&mut self) {
        self.events.clear();
        if self.tree.is_due(self.now) {
            self.tree.roll(self.now, &Days, &mut self.events);
        }
        let command = self.dice.roll(40);
        let (kind, done) = match command {
            0..=13 => (0, self.hold()),
            14..=23 => (1, self.end()),
            24 | 25 => (2, self.allocate()),
            26 | 27 => (3, self.set_terms()),
            28 => (4, self.extend()),
            29 | 30 => (5, self.meter()),
            31 => (6, self.correct()),
            32 | 33 => (7, self.divide()),
            34 => (8, self.expect()),
            35 | 37 | 38 => (9, self.lend()),
            36 => (10, self.dice.one_in(4) && self.release()),
            _ => (11, self.pass_time()),
        };
        self.done[kind] += u64::from(done);
    }

    fn hold(&mut self) -> bool {
        let budget = self.budget();
        let most = [3, 50, 500][self.dice.roll(3) as usize];
        let (amount, finalize) = (self.dice.amount(most), self.dice.one_in(8));
        let id = HoldId(self.next);
        self.next += 1;
        let room = self.tree.headroom(budget, finalize);
        let held = self
            .tree
            .hold(self.now, id, budget, amount, finalize, &mut self.events)
            .expect("the amounts are small");
        if held.is_ok() {
            assert!(amount.fits(&room.per_call), "larger than one call may be");
            self.open.push(id);
        }
        held.is_ok()
    }

    fn end(&mut self) -> bool {
        if self.open.is_empty() {
            return false;
        }
        let at = self.dice.roll(self.open.len() as u64) as usize;
        let id = self.open.swap_remove(at);
        let held = self.tree.open_hold(id).expect("it is open").amount;
        let receipt = if self.dice.one_in(4) {
            self.tree.void(id, &mut self.events)
        } else {
            let parts = held.raw().map(|units| self.dice.units(units as u64));
            let mut actual = Amount::from_raw(parts);
            if self.dice.one_in(20) {
                actual = held.saturating_add(self.dice.amount(20));
            }
            self.tree.settle(id, actual, &mut self.events)
        };
        receipt.expect("every hold ends once");
        true
    }

    fn allocate(&mut self) -> bool {
        if self.tree.len() as u64 >= BUDGETS {
            return false;
        }
        // Half of the time below the youngest, so that trees become deep too.
        let parent = if self.dice.one_in(2) {
            BudgetId(self.tree.len() as u32 - 1)
        } else {
            self.budget()
        };
        // Few names, so that those of released budgets are used again, and others refused.
        let (name, terms) = (format!("b{}", self.dice.roll(6)), self.dice.terms(3_000));
        let made = self
            .tree
            .allocate(self.now, Some(parent), &name, terms, &mut self.events);
        made.is_ok()
    }

    fn set_terms(&mut self) -> bool {
        let (budget, terms) = (self.budget(), self.dice.terms(3_000));
        let mut terms = terms;
        if budget == BudgetId(0) {
            // A root that may never be used again would end all that follows.
            terms.state = State::Open;
            terms.limits = self.dice.limits(10_000, 3);
            terms.claim = Claim::Nothing;
        }
        let set = self.tree.set_terms(budget, terms, &mut self.events);
        set.is_ok()
    }

    fn extend(&mut self) -> bool {
        let Some(id) = self.open.last().copied() else {
            return false;
        };
        let by = self.dice.amount(20);
        let extended = self.tree.extend(self.now, id, by);
        extended.expect("the amounts are small").is_ok()
    }

    fn meter(&mut self) -> bool {
        let Some(id) = self.open.first().copied() else {
            return false;
        };
        let so_far = self.dice.amount(100);
        self.tree
            .meter(id, so_far, &mut self.events)
            .expect("it is open");
        true
    }

    fn correct(&mut self) -> bool {
        let (budget, back) = (self.budget(), self.dice.one_in(2));
        let opened = Timestamp(self.now.0 - self.dice.units(2 * DAY as u64));
        let mut by = self.dice.amount(10);
        if back {
            by = Amount::ZERO.checked_sub(by).expect("small");
        }
        let corrected = self.tree.correct(opened, budget, by, &mut self.events);
        corrected.is_ok()
    }

    fn divide(&mut self) -> bool {
        let budget = self.budget();
        self.tree
            .rebalance(self.now, budget, &mut self.events)
            .expect("there is such a budget");
        self.shares_fit(budget);
        true
    }

    /// Right after a division the shares sum up to no more than there is, but for what is
    /// committed or kept beyond it.
    fn shares_fit(&self, parent: BudgetId) {
        let whole = self.tree.budget(parent).expect("it is there");
        for resource in Resource::ALL {
            let Some(limit) = whole.terms.limits.get(resource) else {
                continue;
            };
            let limit = limit + whole.loaned.get(resource) + whole.carried.get(resource);
            let (mut shares, mut floors) = (0, 0);
            for child in self
                .tree
                .budgets()
                .filter(|view| view.parent == Some(parent))
            {
                shares += child.share.get(resource).unwrap_or(0);
                floors += child.load.get(resource).max(child.claim.get(resource));
            }
            let most = limit.max(floors);
            assert!(shares <= most, "{resource}: shares {shares} of {limit}");
        }
    }

    fn expect(&mut self) -> bool {
        let (budget, need) = (self.budget(), self.dice.limits(3_000, 2));
        self.tree.expect(budget, need).is_ok()
    }

    fn lend(&mut self) -> bool {
        let limits_before = self.limits();
        let lender = self.budget();
        let parent = self.tree.budget(lender).expect("it is there").parent;
        let siblings: Vec<BudgetId> = (self.tree.budgets())
            .filter(|view| view.parent == parent)
            .map(|view| view.id)
            .collect();
        let borrower = siblings[self.dice.roll(siblings.len() as u64) as usize];
        let amount = self.dice.amount(500);
        let lent = self.tree.lend(lender, borrower, amount, &mut self.events);
        assert_eq!(self.limits(), limits_before, "a loan made or lost limits");
        if let Ok(lent) = lent {
            let view = self.tree.budget(lender).expect("it is there");
            for resource in Resource::ALL {
                let cap = view.terms.limits.get(resource).unwrap_or(i64::MAX);
                let left = cap
                    .saturating_add(view.loaned.get(resource))
                    .saturating_add(view.carried.get(resource));
                let used = view.window_spent.get(resource);
                assert!(
                    lent.get(resource) == 0 || used <= left,
                    "what was spent was lent"
                );
            }
        }
        lent.is_ok()
    }

    /// The sum of all limits, with what is lent and borrowed.
    fn limits(&self) -> Vec<i128> {
        let of = |resource: Resource| {
            self.tree.budgets().fold(0i128, |sum, view| {
                let limit = view.terms.limits.get(resource).unwrap_or(0);
                sum + i128::from(limit) + i128::from(view.loaned.get(resource))
            })
        };
        Resource::ALL.into_iter().map(of).collect()
    }

    fn release(&mut self) -> bool {
        let budget = self.budget();
        if budget == BudgetId(0) {
            return false;
        }
        let open = self.tree.budget(budget).expect("it is there").open;
        let released = self.tree.release(self.now, budget, &mut self.events);
        match released {
            Ok(()) => {
                let room = self.tree.judge(self.now, budget, Amount::ZERO, true);
                assert!(room.is_err(), "a released budget admits");
                assert_eq!(
                    self.tree.budget(budget).expect("it is there").claim,
                    Amount::ZERO
                );
                true
            }
            Err(error) => {
                assert!(
                    matches!(error, TreeError::CallsRunning(n) if n == open),
                    "{error}"
                );
                false
            }
        }
    }

    fn pass_time(&mut self) -> bool {
        let most = [SECOND, 200 * SECOND, DAY][self.dice.roll(3) as usize];
        self.now = self.now.after(TimeUs(self.dice.units(most as u64)));
        self.tree.tick(self.now, &mut self.events);
        true
    }
}

fn operations() -> u64 {
    let set = std::env::var("FISC_OPERATIONS");
    set.map_or(100_000, |count| count.parse().expect("a number"))
}

#[test]
fn random_commands_break_no_invariant() {
    let (mut depth, mut done, mut played, mut seed) = (0, [0u64; 16], 0, 0);
    while played < operations() {
        seed += 1;
        let mut world = World::new(seed);
        for command in 0..COMMANDS_A_TREE {
            world.step();
            played += 1;
            if let Err(violation) = invariants::check(&world.tree) {
                panic!("seed {seed}, command {command}: {violation}");
            }
        }
        let deepest = world.tree.budgets().map(|view| view.depth).max();
        depth = depth.max(deepest.unwrap_or(0));
        for (sum, count) in done.iter_mut().zip(world.done) {
            *sum += count;
        }
    }
    assert_eq!(depth, MAX_DEPTH, "the trees stay shallow");
    let rare = done[..12].iter().position(|count| *count < played / 5_000);
    assert_eq!(rare, None, "a command hardly ever succeeds: {done:?}");
}
