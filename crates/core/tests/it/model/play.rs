//! Plays one program on the engine and on the reference, side by side.

use fisc_core::{
    Amount, BudgetId, Claim, Event, HoldId, Level, Limits, Refusal, Resource, Shortfall, Terms,
    Timestamp, Tree, TreeError, invariants,
};

use super::reference::{Budget, Fact, Kind, Reference, Short, Verdict, World, index};
use crate::script::restarted;

/// One operation; numbers choose among what there is at that moment.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Allocate {
        parent: u16,
        deep: bool,
        terms: Terms,
    },
    SetTerms {
        budget: u16,
        terms: Terms,
    },
    Hold {
        budget: u16,
        amount: Amount,
        finalize: bool,
    },
    /// Holds all that the headroom says, or one unit more of one resource.
    HoldAll {
        budget: u16,
        more: Option<Resource>,
        finalize: bool,
    },
    HoldAgain {
        hold: u16,
    },
    Extend {
        hold: u16,
        by: Amount,
    },
    Meter {
        hold: u16,
        so_far: Amount,
    },
    /// Settles with what is given, else with half of the hold.
    Settle {
        hold: u16,
        actual: Option<Amount>,
    },
    SettleAgain {
        hold: u16,
    },
    Void {
        hold: u16,
    },
    Correct {
        budget: u16,
        by: Amount,
        back: bool,
    },
    Tick {
        passed: i64,
    },
    Restart,
}

/// Both trees, and what the engine reported since the last step.
pub(super) struct Play {
    tree: Tree,
    reference: Reference,
    now: Timestamp,
    events: Vec<Event>,
    next_hold: u128,
    next_name: u32,
}

// === impl Play ===

impl Play {
    pub(super) fn new(root: Terms) -> Play {
        let mut play = Play {
            tree: Tree::default(),
            reference: Reference::default(),
            now: Timestamp(1000),
            events: Vec::new(),
            next_hold: 0,
            next_name: 0,
        };
        let terms = Terms {
            claim: Claim::Nothing,
            ..root
        };
        play.allocate(None, terms);
        play.compare();
        play
    }

    pub(super) fn step(&mut self, op: &Op) {
        match *op {
            Op::Allocate {
                parent,
                deep,
                terms,
            } => {
                let last = self.reference.budgets.len() - 1;
                let parent = if deep { last } else { self.budget(parent) };
                self.allocate(Some(parent), terms);
            }
            Op::SetTerms { budget, terms } => self.set_terms(budget, terms),
            Op::Hold {
                budget,
                amount,
                finalize,
            } => {
                let budget = self.budget(budget);
                self.hold(budget, amount, finalize);
            }
            Op::HoldAll {
                budget,
                more,
                finalize,
            } => {
                let budget = self.budget(budget);
                let amount = self.all_that_fits(budget, more, finalize);
                self.hold(budget, amount, finalize);
            }
            Op::HoldAgain { hold } => self.hold_again(hold),
            Op::Extend { hold, by } => self.extend(hold, by),
            Op::Meter { hold, so_far } => self.meter(hold, so_far),
            Op::Settle { hold, actual } => self.settle(hold, actual),
            Op::SettleAgain { hold } => self.settle_again(hold),
            Op::Void { hold } => self.void(hold),
            Op::Correct { budget, by, back } => self.correct(budget, by, back),
            Op::Tick { passed } => {
                self.now = Timestamp(self.now.0 + passed);
                self.tree.tick(self.now, &mut self.events);
                self.reference.move_elapsed_levels(self.now);
            }
            Op::Restart => self.restart(),
        }
        self.compare();
    }

    fn allocate(&mut self, parent: Option<usize>, terms: Terms) {
        let name = format!("b{}", self.next_name);
        self.next_name += 1;
        let id = parent.map(|parent| BudgetId(parent as u32));
        let result = self
            .tree
            .allocate(self.now, id, &name, terms, &mut self.events);
        let budget = Budget {
            parent,
            terms,
            allocated: self.now,
            levels: [Level::Green; 3],
            elapsed_level: Level::Green,
            spent_before_red: false,
            finalized: false,
            overrun: [0; 3],
        };
        let sound = sound(&terms);
        let deep = parent.is_some_and(|parent| self.reference.path(parent).len() == 8);
        let fits = match parent {
            // What a claim needs of its parent is what a wrap-up call of that size would.
            Some(parent) if sound && !deep => {
                let claim = claim(&terms);
                let short = self.reference.shortfall(parent, claim, true, World::Real);
                short.is_none()
            }
            _ => true,
        };
        assert_eq!(result.is_ok(), sound && !deep && fits, "{result:?}");
        if result.is_ok() {
            self.reference.budgets.push(budget);
        }
    }

    fn set_terms(&mut self, budget: u16, terms: Terms) {
        let budget = self.budget(budget);
        let id = BudgetId(budget as u32);
        let result = self.tree.set_terms(id, terms, &mut self.events);
        let needs = |reference: &Reference| -> Vec<[i128; 3]> {
            let of = |b: usize| Resource::ALL.map(|r| reference.needed(b, r, World::Real));
            reference.path(budget).into_iter().map(of).collect()
        };
        let before = needs(&self.reference);
        let old = std::mem::replace(&mut self.reference.budgets[budget].terms, terms);
        let after = needs(&self.reference);
        // A larger claim has to fit wherever it makes the need grow; the own limit may be
        // anything.
        let above = self.reference.path(budget).into_iter().enumerate().skip(1);
        let fits = above.into_iter().all(|(step, above)| {
            Resource::ALL.into_iter().all(|resource| {
                let i = resource.index();
                let grown = before[step][i] < after[step][i];
                !grown || self.reference.over(above, resource) == 0
            })
        });
        let fits = fits && self.claim_fits_committed(budget, &old, &terms);
        assert_eq!(result.is_ok(), sound(&terms) && fits, "{result:?}");
        if result.is_err() {
            self.reference.budgets[budget].terms = old;
        }
    }

    /// What a claim grows by must be there beside what is committed at every ancestor.
    fn claim_fits_committed(&self, budget: usize, old: &Terms, new: &Terms) -> bool {
        let reference = &self.reference;
        let above = reference.path(budget).into_iter().skip(1);
        above.into_iter().all(|above| {
            Resource::ALL.into_iter().all(|resource| {
                let need = reference.needed(budget, resource, World::Real);
                let of = |terms: &Terms| need.max(i128::from(claim(terms).get(resource)));
                let growth = of(new) - of(old);
                let spent = reference.spent(above, resource);
                let committed = spent + reference.held(above, resource);
                let limit = reference.budgets[above].terms.limits.get(resource);
                let limit = limit.map_or(i128::MAX, i128::from);
                growth <= 0 || committed + growth <= limit
            })
        })
    }

    fn hold(&mut self, budget: usize, amount: Amount, finalize: bool) {
        let id = HoldId(self.next_hold);
        self.next_hold += 1;
        let (now, at) = (self.now, BudgetId(budget as u32));
        let ordinary = self
            .reference
            .shortfall(budget, amount, finalize, World::Real);
        let usual = self.reference.shortfall(budget, amount, false, World::Real);
        let expected = self.reference.judge(now, budget, amount, finalize);
        let events = &mut self.events;
        let result = self.tree.hold(now, id, at, amount, finalize, events);
        let result = result.expect("a new id and an amount in range");
        assert_eq!(said(result), expected);
        if expected != Verdict::Granted {
            return;
        }
        let notice = Event::Finalize { budget: at };
        assert_eq!(self.events.contains(&notice), usual.is_some());
        // Granted although it did not fit as asked: this was the one automatic wrap-up call.
        if ordinary.is_some() {
            let once = &mut self.reference.budgets[budget].finalized;
            assert!(!*once, "a wrap-up call is granted once");
            *once = true;
        }
        self.reference.facts.push(Fact {
            id,
            budget,
            kind: Kind::Open {
                amount,
                metered: Amount::ZERO,
            },
        });
    }

    fn all_that_fits(&self, budget: usize, more: Option<Resource>, finalize: bool) -> Amount {
        let room = self.tree.headroom(BudgetId(budget as u32), finalize).now;
        let mut amount = Amount::from_raw(room.raw().map(|units| units.min(50)));
        if let Some(resource) = more {
            amount.set(resource, amount.get(resource) + 1);
        }
        amount
    }

    /// Sends a hold that is open or ended once more, as it was and with other terms.
    fn hold_again(&mut self, hold: u16) {
        let Some(Fact { id, budget, kind }) = self.hold_of(hold, |_| true) else {
            return;
        };
        let (now, at) = (self.now, BudgetId(budget as u32));
        let (amount, open) = match kind {
            Kind::Open { amount, .. } => (amount, true),
            Kind::Settled { amount, .. } | Kind::Voided { amount } => (amount, false),
            Kind::Correction { .. } => panic!("a correction is no hold"),
        };
        let events = &mut self.events;
        let again = self.tree.hold(now, id, at, amount, false, events);
        assert_eq!(
            again,
            if open {
                Ok(Ok(()))
            } else {
                Err(TreeError::Conflict(id))
            }
        );
        let other = amount.saturating_add(Amount::from_raw([1; 3]));
        let other = self.tree.hold(now, id, at, other, false, events);
        assert_eq!(other, Err(TreeError::Conflict(id)));
    }

    fn extend(&mut self, hold: u16, by: Amount) {
        let Some(index) = self.open_hold(hold) else {
            return;
        };
        let expected = self.reference.judge_extension(self.now, index, by);
        let fact = &mut self.reference.facts[index];
        let result = self.tree.extend(self.now, fact.id, by);
        assert_eq!(said(result.expect("it is open and in range")), expected);
        if let (Verdict::Granted, Kind::Open { amount, .. }) = (expected, &mut fact.kind) {
            *amount = amount.saturating_add(by);
        }
    }

    fn meter(&mut self, hold: u16, so_far: Amount) {
        let Some(index) = self.open_hold(hold) else {
            return;
        };
        let Fact { id, kind, .. } = &mut self.reference.facts[index];
        if let Kind::Open { amount, metered } = kind {
            *metered = metered.max(so_far.min(*amount));
        }
        let result = self.tree.meter(*id, so_far, &mut self.events);
        assert_eq!(result, Ok(()));
    }

    fn settle(&mut self, hold: u16, actual: Option<Amount>) {
        let Some(index) = self.open_hold(hold) else {
            return;
        };
        let Fact { id, budget, kind } = self.reference.facts[index];
        let Kind::Open { amount, .. } = kind else {
            return;
        };
        let half = Amount::from_raw(amount.raw().map(|units| units / 2));
        let actual = actual.unwrap_or(half);
        let early = self.reference.binding_level(budget) < Level::Red;
        let before = self.overs(budget);
        self.reference.facts[index].kind = Kind::Settled { amount, actual };
        let most = self.book_overrun(budget, &before);
        self.reference.budgets[budget].spent_before_red |= early;
        let receipt = self.tree.settle(id, actual, &mut self.events);
        let receipt = receipt.expect("it is open and in range");
        assert_eq!((receipt.held, receipt.charged), (amount, actual));
        assert_eq!(receipt.overrun.raw().map(i128::from), most);
        assert!(!receipt.voided);
    }

    fn settle_again(&mut self, hold: u16) {
        let ended = |kind: Kind| !matches!(kind, Kind::Open { .. });
        let Some(Fact { id, kind, .. }) = self.hold_of(hold, ended) else {
            return;
        };
        let events = &mut self.events;
        let conflict = Err(TreeError::Conflict(id));
        if let Kind::Settled { actual, .. } = kind {
            let again = self.tree.settle(id, actual, events);
            assert_eq!(again.map(|receipt| receipt.charged), Ok(actual));
            let more = actual.saturating_add(Amount::from_raw([1, 0, 0]));
            assert_eq!(self.tree.settle(id, more, events), conflict);
            assert_eq!(self.tree.void(id, events), conflict);
        } else {
            let again = self.tree.void(id, events);
            assert_eq!(again.map(|receipt| receipt.voided), Ok(true));
            assert_eq!(self.tree.settle(id, Amount::ZERO, events), conflict);
        }
        assert!(self.events.is_empty(), "nothing happens twice");
    }

    fn void(&mut self, hold: u16) {
        let Some(index) = self.open_hold(hold) else {
            return;
        };
        let fact = &mut self.reference.facts[index];
        let Kind::Open { amount, .. } = fact.kind else {
            return;
        };
        fact.kind = Kind::Voided { amount };
        let receipt = self.tree.void(fact.id, &mut self.events);
        let receipt = receipt.expect("it is open");
        assert_eq!((receipt.held, receipt.voided), (amount, true));
    }

    fn correct(&mut self, budget: u16, by: Amount, back: bool) {
        let budget = self.budget(budget);
        let sign = if back { -1 } else { 1 };
        let by = Amount::from_raw(by.raw().map(|units| sign * units));
        let allowed = Resource::ALL.into_iter().all(|resource| {
            let running = self.reference.own_metered(budget, resource);
            let ended = self.reference.own_spent(budget, resource) - running;
            0 <= ended + i128::from(by.get(resource))
        });
        let id = BudgetId(budget as u32);
        let result = self.tree.correct(self.now, id, by, &mut self.events);
        assert_eq!(result.is_ok(), allowed, "{result:?}");
        if allowed {
            let before = self.overs(budget);
            self.reference.facts.push(Fact {
                id: HoldId(u128::MAX),
                budget,
                kind: Kind::Correction { by },
            });
            self.book_overrun(budget, &before);
        }
    }

    /// A journal knows amounts and terms, and neither spent wrap-up calls nor hysteresis.
    fn restart(&mut self) {
        self.tree = restarted(&self.tree).expect("the rebuilt tree is the same");
        for fact in &mut self.reference.facts {
            // Ended holds are forgotten: what they charged stays as a fact without an id.
            fact.kind = match fact.kind {
                Kind::Settled { actual, .. } => Kind::Correction { by: actual },
                Kind::Voided { .. } => Kind::Correction { by: Amount::ZERO },
                other => other,
            };
        }
        for budget in 0..self.reference.budgets.len() {
            let spent = Resource::ALL.map(|resource| {
                let running = self.reference.own_metered(budget, resource);
                self.reference.own_spent(budget, resource) - running
            });
            let budget = &mut self.reference.budgets[budget];
            budget.levels = [Level::Green; 3];
            budget.elapsed_level = Level::Green;
            budget.spent_before_red = spent != [0; 3];
        }
        self.events.clear();
        // The engine's clock levels come back with the next tick, as they do in production.
        self.tree.tick(self.now, &mut Vec::new());
        self.reference.move_elapsed_levels(self.now);
        self.reference.move_levels();
    }

    fn overs(&self, leaf: usize) -> Vec<[i128; 3]> {
        let of = |budget| Resource::ALL.map(|resource| self.reference.over(budget, resource));
        self.reference.path(leaf).into_iter().map(of).collect()
    }

    /// Books by how much each budget of the path went further over its limit.
    fn book_overrun(&mut self, leaf: usize, before: &[[i128; 3]]) -> [i128; 3] {
        let (after, mut most) = (self.overs(leaf), [0; 3]);
        for (step, budget) in self.reference.path(leaf).into_iter().enumerate() {
            for i in 0..3 {
                let by = (after[step][i] - before[step][i]).max(0);
                self.reference.budgets[budget].overrun[i] += by;
                most[i] = most[i].max(by);
            }
        }
        most
    }

    /// Compares everything that can be seen, and checks the invariants.
    fn compare(&mut self) {
        if let Err(violation) = invariants::check(&self.tree) {
            panic!("{violation}");
        }
        self.follow_level_events();
        self.reference.move_levels();
        for view in self.tree.budgets() {
            let (budget, reference) = (index(view.id), &self.reference);
            let each = |of: &dyn Fn(Resource) -> i128| Resource::ALL.map(of);
            let raw = |amount: Amount| amount.raw().map(i128::from);
            assert_eq!(raw(view.spent), each(&|r| reference.spent(budget, r)));
            assert_eq!(raw(view.held), each(&|r| reference.held(budget, r)));
            assert_eq!(
                raw(view.own_spent),
                each(&|r| reference.own_spent(budget, r))
            );
            assert_eq!(raw(view.own_held), each(&|r| reference.own_held(budget, r)));
            assert_eq!(raw(view.overrun), reference.budgets[budget].overrun);
            assert_eq!(view.open, reference.open(budget));
            assert_eq!(view.deadline, reference.deadline(budget));
            let above = view
                .parent
                .and_then(|parent| reference.deadline(index(parent)));
            if let (Some(own), Some(above)) = (view.deadline, above) {
                assert!(own <= above, "a child's deadline is never later");
            }
            assert_eq!(view.levels, reference.budgets[budget].levels);
            assert_eq!(view.elapsed_level, reference.budgets[budget].elapsed_level);
            let (level, ..) = self.tree.binding_level(view.id);
            assert_eq!(level, reference.binding_level(budget));
        }
        let ids: Vec<BudgetId> = self.tree.budgets().map(|view| view.id).collect();
        for id in ids {
            for finalize in [false, true] {
                self.compare_headroom(id, finalize);
            }
        }
    }

    /// Headroom is exactly the largest hold: as much is admitted, one unit more is not.
    fn compare_headroom(&mut self, id: BudgetId, finalize: bool) {
        let headroom = self.tree.headroom(id, finalize);
        for (room, world) in [(headroom.now, World::Real), (headroom.idle, World::Idle)] {
            let mut bounded = Amount::ZERO;
            for resource in Resource::ALL {
                let units = room.get(resource);
                let limited = self.reference.path(index(id)).into_iter().any(|budget| {
                    let limits: Limits = self.reference.budgets[budget].terms.limits;
                    limits.get(resource).is_some()
                });
                assert_eq!(limited, units != i64::MAX);
                if !limited {
                    continue;
                }
                bounded.set(resource, units);
                let mut more = Amount::ZERO;
                more.set(resource, units + 1);
                let short = self.reference.shortfall(index(id), more, finalize, world);
                assert!(short.is_some(), "{more:?} fits {id:?} above {room:?}");
            }
            let short = self
                .reference
                .shortfall(index(id), bounded, finalize, world);
            assert_eq!(short, None, "all of {bounded:?} at once at {id:?}");
        }
        for resource in Resource::ALL {
            assert_eq!(
                headroom.per_call.get(resource),
                self.reference
                    .per_call(index(id), resource)
                    .unwrap_or(i64::MAX)
            );
        }
    }

    /// Every event must lead from the level that was to one beside it, and all of them together
    /// to the level that is.
    fn follow_level_events(&mut self) {
        let mut levels: Vec<([Level; 3], Level)> = self.known_levels();
        for event in self.events.drain(..) {
            let Event::LevelChanged {
                budget,
                resource,
                from,
                to,
            } = event
            else {
                continue;
            };
            let (resources, elapsed) = &mut levels[index(budget)];
            let level = match resource {
                Some(resource) => &mut resources[resource.index()],
                None => elapsed,
            };
            assert_eq!(*level, from);
            assert!(from.up() == Some(to) || from.down() == Some(to));
            *level = to;
        }
        for view in self.tree.budgets() {
            assert_eq!(view.levels, levels[index(view.id)].0);
        }
    }

    /// The levels before this step; those of elapsed time moved with the reference's tick.
    fn known_levels(&self) -> Vec<([Level; 3], Level)> {
        let before = self.reference.budgets.iter().map(|b| b.levels);
        let mut elapsed: Vec<Level> = self.tree.budgets().map(|v| v.elapsed_level).collect();
        for event in self.events.iter().rev() {
            if let Event::LevelChanged {
                budget,
                resource: None,
                from,
                ..
            } = event
            {
                elapsed[index(*budget)] = *from;
            }
        }
        before.zip(elapsed).collect()
    }

    fn budget(&self, choice: u16) -> usize {
        usize::from(choice) % self.reference.budgets.len()
    }

    fn open_hold(&self, choice: u16) -> Option<usize> {
        let facts = self.reference.facts.iter().enumerate();
        let open: Vec<usize> = facts
            .filter(|(_, fact)| matches!(fact.kind, Kind::Open { .. }))
            .map(|(index, _)| index)
            .collect();
        let index = usize::from(choice).checked_rem(open.len())?;
        Some(open[index])
    }

    fn hold_of(&self, choice: u16, wanted: impl Fn(Kind) -> bool) -> Option<Fact> {
        let is_hold =
            |fact: &&Fact| !matches!(fact.kind, Kind::Correction { .. }) && wanted(fact.kind);
        let holds: Vec<&Fact> = self.reference.facts.iter().filter(is_hold).collect();
        let index = usize::from(choice).checked_rem(holds.len())?;
        Some(*holds[index])
    }
}

fn said(result: Result<(), Refusal>) -> Verdict {
    let short = |short: Shortfall| Short {
        budget: index(short.budget),
        resource: short.resource,
        limit: short.limit.into(),
        spent: short.spent.into(),
        held: short.held.into(),
        needed: short.needed.into(),
    };
    match result {
        Ok(()) => Verdict::Granted,
        Err(Refusal::NotNow(s)) => Verdict::NotNow(short(s)),
        Err(Refusal::Never(s)) => Verdict::Never(short(s)),
        Err(Refusal::PerCall(s)) => Verdict::PerCall(index(s.budget), s.resource),
        Err(Refusal::Deadline(budget)) => Verdict::Deadline(index(budget)),
        Err(Refusal::Frozen(_) | Refusal::Released(_) | Refusal::Throttled(..)) => {
            panic!("nothing was shut or slowed")
        }
    }
}

/// What owners may write at all.
fn sound(terms: &Terms) -> bool {
    match terms.claim {
        Claim::Nothing | Claim::Automatic => true,
        Claim::Limit => !terms.limits.is_none(),
        Claim::Guarantee(amount) => Resource::ALL.into_iter().all(|resource| {
            let limit = terms.limits.get(resource);
            limit.is_none_or(|limit| amount.get(resource) <= limit)
        }),
    }
}

fn claim(terms: &Terms) -> Amount {
    match terms.claim {
        Claim::Nothing | Claim::Automatic => Amount::ZERO,
        Claim::Guarantee(amount) => amount,
        Claim::Limit => terms.limits.or(0),
    }
}
