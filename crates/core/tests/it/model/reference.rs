//! A naive tree of budgets: a list of facts, and R6 and R16 as they are written.
//!
//! It shares no sum with the engine. Nothing is kept up to date: every question goes through all
//! facts again, in 128 bits. Only levels have a memory, since hysteresis has one.

use fisc_core::{Amount, BudgetId, Claim, HoldId, Level, Resource, Terms, TimeUs, Timestamp};

/// One budget as its owner decided.
pub(super) struct Budget {
    pub(super) parent: Option<usize>,
    pub(super) terms: Terms,
    pub(super) allocated: Timestamp,
    pub(super) levels: [Level; 3],
    pub(super) elapsed_level: Level,
    pub(super) spent_before_red: bool,
    pub(super) finalized: bool,
    pub(super) overrun: [i128; 3],
}

/// One thing that a call did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fact {
    pub(super) id: HoldId,
    pub(super) budget: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Open { amount: Amount, metered: Amount },
    Settled { amount: Amount, actual: Amount },
    Voided { amount: Amount },
    Correction { by: Amount },
}

/// Why a hold does not fit: as the engine's `Shortfall`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Short {
    pub(super) budget: usize,
    pub(super) resource: Resource,
    pub(super) limit: i128,
    pub(super) spent: i128,
    pub(super) held: i128,
    pub(super) needed: i128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Granted,
    NotNow(Short),
    Never(Short),
    PerCall(usize, Resource),
    Deadline(usize),
}

/// Which world a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum World {
    /// As it is.
    Real,
    /// As if every open hold were voided; what they metered stays spent.
    Idle,
}

#[derive(Default)]
pub(super) struct Reference {
    pub(super) budgets: Vec<Budget>,
    pub(super) facts: Vec<Fact>,
}

// === impl Reference ===

impl Reference {
    pub(super) fn path(&self, budget: usize) -> Vec<usize> {
        let mut path = vec![budget];
        while let Some(parent) = self.budgets[*path.last().expect("not empty")].parent {
            path.push(parent);
        }
        path
    }

    pub(super) fn children(&self, budget: usize) -> impl Iterator<Item = usize> {
        let is_child = move |child: &usize| self.budgets[*child].parent == Some(budget);
        (0..self.budgets.len()).filter(is_child)
    }

    pub(super) fn own_spent(&self, budget: usize, resource: Resource) -> i128 {
        let spent = |fact: &Fact| match fact.kind {
            Kind::Open { metered, .. } => metered.get(resource),
            Kind::Settled { actual, .. } => actual.get(resource),
            Kind::Voided { .. } => 0,
            Kind::Correction { by } => by.get(resource),
        };
        let own = self.facts.iter().filter(|fact| fact.budget == budget);
        own.map(|fact| i128::from(spent(fact))).sum()
    }

    pub(super) fn own_held(&self, budget: usize, resource: Resource) -> i128 {
        let own = self.facts.iter().filter(|fact| fact.budget == budget);
        own.map(|fact| match fact.kind {
            Kind::Open { amount, metered } => {
                i128::from(amount.get(resource)) - i128::from(metered.get(resource))
            }
            _ => 0,
        })
        .sum()
    }

    pub(super) fn own_metered(&self, budget: usize, resource: Resource) -> i128 {
        let own = self.facts.iter().filter(|fact| fact.budget == budget);
        own.map(|fact| match fact.kind {
            Kind::Open { metered, .. } => i128::from(metered.get(resource)),
            _ => 0,
        })
        .sum()
    }

    pub(super) fn spent(&self, budget: usize, resource: Resource) -> i128 {
        let below = self.children(budget).map(|c| self.spent(c, resource));
        self.own_spent(budget, resource) + below.sum::<i128>()
    }

    pub(super) fn held(&self, budget: usize, resource: Resource) -> i128 {
        let below = self.children(budget).map(|c| self.held(c, resource));
        self.own_held(budget, resource) + below.sum::<i128>()
    }

    pub(super) fn open(&self, budget: usize) -> u32 {
        let is_open = |f: &&Fact| f.budget == budget && matches!(f.kind, Kind::Open { .. });
        let own = self.facts.iter().filter(is_open).count() as u32;
        own + self.children(budget).map(|c| self.open(c)).sum::<u32>()
    }

    fn committed(&self, budget: usize, resource: Resource, world: World) -> i128 {
        match world {
            World::Real => self.spent(budget, resource) + self.held(budget, resource),
            World::Idle => self.spent(budget, resource),
        }
    }

    /// The left side of R6: `committed(p) + Σ max(0, claim_c − committed_c)`, where what a child
    /// keeps for its own children is as good as committed.
    pub(super) fn needed(&self, budget: usize, resource: Resource, world: World) -> i128 {
        self.committed(budget, resource, world) + self.kept(budget, resource, world)
    }

    fn kept(&self, budget: usize, resource: Resource, world: World) -> i128 {
        self.children(budget)
            .map(|child| {
                let committed = self.committed(child, resource, world);
                let rest_of_claim = self.claim(child, resource) - committed;
                rest_of_claim.max(self.kept(child, resource, world))
            })
            .sum()
    }

    pub(super) fn claim(&self, budget: usize, resource: Resource) -> i128 {
        let terms = &self.budgets[budget].terms;
        i128::from(match terms.claim {
            Claim::Nothing | Claim::Automatic => 0,
            Claim::Guarantee(amount) => amount.get(resource),
            Claim::Limit => terms.limits.get(resource).unwrap_or(0),
        })
    }

    fn limit(&self, budget: usize, resource: Resource, finalize: bool) -> Option<i128> {
        let terms = &self.budgets[budget].terms;
        let limit = i128::from(terms.limits.get(resource)?);
        let reserve = limit * i128::from(terms.reserve.0) / 1000;
        Some(if finalize { limit } else { limit - reserve })
    }

    pub(super) fn deadline(&self, budget: usize) -> Option<Timestamp> {
        let own = |b: usize| {
            let Budget {
                terms, allocated, ..
            } = &self.budgets[b];
            terms
                .elapsed
                .map(|TimeUs(span)| Timestamp(allocated.0 + span))
        };
        self.path(budget).into_iter().filter_map(own).min()
    }

    pub(super) fn per_call(&self, budget: usize, resource: Resource) -> Option<i64> {
        let of = |b: usize| self.budgets[b].terms.per_call.get(resource);
        self.path(budget).into_iter().filter_map(of).min()
    }

    /// Books the hold for a moment and looks at every budget on the path: nowhere may the need
    /// grow beyond what such a call may use, nor the committed beyond the limit.
    pub(super) fn shortfall(
        &mut self,
        leaf: usize,
        amount: Amount,
        finalize: bool,
        world: World,
    ) -> Option<Short> {
        let path = self.path(leaf);
        let needs = |reference: &Reference| -> Vec<[i128; 3]> {
            let of = |b: &usize| Resource::ALL.map(|r| reference.needed(*b, r, world));
            path.iter().map(of).collect()
        };
        let before = needs(self);
        // In the idle world holds do not count, so the trial is booked as spent there.
        let kind = match world {
            World::Real => Kind::Open {
                amount,
                metered: Amount::ZERO,
            },
            World::Idle => Kind::Correction { by: amount },
        };
        let trial = Fact {
            id: HoldId(u128::MAX),
            budget: leaf,
            kind,
        };
        self.facts.push(trial);
        let after = needs(self);
        let mut found = None;
        'path: for (step, budget) in path.iter().copied().enumerate() {
            for resource in Resource::ALL {
                let i = resource.index();
                if amount.get(resource) == 0 {
                    continue;
                }
                let grown = before[step][i] < after[step][i];
                let usable = self.limit(budget, resource, finalize);
                let whole = self.limit(budget, resource, true);
                let committed = self.committed(budget, resource, world);
                let over_usable = usable.filter(|usable| grown && *usable < after[step][i]);
                let over_whole = whole.filter(|whole| *whole < committed);
                if let Some(limit) = over_usable.or(over_whole) {
                    found = Some((budget, resource, limit));
                    break 'path;
                }
            }
        }
        self.facts.pop();
        let (budget, resource, limit) = found?;
        Some(Short {
            budget,
            resource,
            limit,
            spent: self.spent(budget, resource),
            held: self.held(budget, resource),
            needed: i128::from(amount.get(resource)),
        })
    }

    /// R5: a limit of 0 denies everything below it.
    fn denial(&self, budget: usize, resource: Resource, amount: Amount) -> Short {
        Short {
            budget,
            resource,
            limit: 0,
            spent: self.spent(budget, resource),
            held: self.held(budget, resource),
            needed: i128::from(amount.get(resource)),
        }
    }

    pub(super) fn judge(
        &mut self,
        now: Timestamp,
        budget: usize,
        amount: Amount,
        finalize: bool,
    ) -> Verdict {
        if self
            .deadline(budget)
            .is_some_and(|deadline| deadline <= now)
        {
            return Verdict::Deadline(budget);
        }
        for ancestor in self.path(budget) {
            let zero = |r: &Resource| self.budgets[ancestor].terms.limits.get(*r) == Some(0);
            if let Some(resource) = Resource::ALL.into_iter().find(zero) {
                return Verdict::Never(self.denial(ancestor, resource, amount));
            }
        }
        for resource in Resource::ALL {
            let limit = self.per_call(budget, resource);
            if limit.is_some_and(|limit| limit < amount.get(resource)) {
                return Verdict::PerCall(budget, resource);
            }
        }
        let Some(short) = self.shortfall(budget, amount, finalize, World::Real) else {
            return Verdict::Granted;
        };
        let Some(never) = self.shortfall(budget, amount, finalize, World::Idle) else {
            return Verdict::NotNow(short);
        };
        let Budget {
            spent_before_red,
            finalized,
            ..
        } = self.budgets[budget];
        if finalize || !spent_before_red || finalized {
            return Verdict::Never(never);
        }
        self.judge(now, budget, amount, true)
    }

    pub(super) fn judge_extension(&mut self, now: Timestamp, index: usize, by: Amount) -> Verdict {
        let Fact { budget, kind, .. } = self.facts[index];
        let Kind::Open { amount, metered } = kind else {
            panic!("only an open hold is extended")
        };
        if self
            .deadline(budget)
            .is_some_and(|deadline| deadline <= now)
        {
            return Verdict::Deadline(budget);
        }
        let asked = |r: &Resource| 0 < by.get(*r);
        for resource in Resource::ALL.into_iter().filter(asked) {
            let limit = self.per_call(budget, resource);
            if limit.is_some_and(|limit| limit < amount.get(resource) + by.get(resource)) {
                return Verdict::PerCall(budget, resource);
            }
        }
        let Some(short) = self.shortfall(budget, by, true, World::Real) else {
            return Verdict::Granted;
        };
        let mut anew = Amount::ZERO;
        for resource in Resource::ALL.into_iter().filter(asked) {
            let rest = amount.get(resource) - metered.get(resource);
            anew.set(resource, rest + by.get(resource));
        }
        match self.shortfall(budget, anew, true, World::Idle) {
            None => Verdict::NotNow(short),
            Some(never) => Verdict::Never(never),
        }
    }

    /// By how much the need of a budget exceeds its limit.
    pub(super) fn over(&self, budget: usize, resource: Resource) -> i128 {
        match self.limit(budget, resource, true) {
            Some(limit) => (self.needed(budget, resource, World::Real) - limit).max(0),
            None => 0,
        }
    }

    /// The worst level that binds calls of `leaf`: R14's exception applied per resource.
    pub(super) fn binding_level(&self, leaf: usize) -> Level {
        let mut worst = Level::Green;
        let mut covered = [false; 3];
        for budget in self.path(leaf) {
            worst = worst.max(self.budgets[budget].elapsed_level);
            for resource in Resource::ALL {
                if !covered[resource.index()] {
                    worst = worst.max(self.budgets[budget].levels[resource.index()]);
                }
                let need = self.needed(budget, resource, World::Real);
                covered[resource.index()] |= need < self.claim(budget, resource);
            }
        }
        worst
    }

    /// Moves the level of every budget and resource to where its spent amount stands.
    pub(super) fn move_levels(&mut self) {
        for budget in 0..self.budgets.len() {
            for resource in Resource::ALL {
                let was = self.budgets[budget].levels[resource.index()];
                let level = match self.limit(budget, resource, true) {
                    None => Level::Green,
                    Some(0) => Level::Black,
                    Some(limit) => level_of(was, self.spent(budget, resource), limit),
                };
                self.budgets[budget].levels[resource.index()] = level;
            }
        }
    }

    pub(super) fn move_elapsed_levels(&mut self, now: Timestamp) {
        for budget in &mut self.budgets {
            let passed = i128::from(now.0 - budget.allocated.0);
            budget.elapsed_level = match budget.terms.elapsed {
                None => Level::Green,
                Some(TimeUs(0)) => Level::Black,
                Some(TimeUs(span)) => level_of(budget.elapsed_level, passed, i128::from(span)),
            };
        }
    }
}

/// R14 with its two points of hysteresis.
fn level_of(was: Level, spent: i128, limit: i128) -> Level {
    const BEGINS: [i128; 5] = [i128::MIN, 50, 75, 90, 95];
    let reached = |level: &&Level| match **level {
        Level::Green => true,
        level => BEGINS[level as usize] * limit <= spent * 100,
    };
    let reached = *Level::ALL.iter().rev().find(reached).expect("Green is");
    let kept = |level: &&Level| match **level {
        Level::Green => true,
        level => (BEGINS[level as usize] - 2) * limit <= spent * 100,
    };
    let kept = *Level::ALL.iter().rev().find(kept).expect("Green is");
    reached.max(kept.min(was))
}

pub(super) fn index(id: BudgetId) -> usize {
    id.0 as usize
}
