//! Throttling: calls are slowed before their room runs out, so that what is left lasts.
//!
//! Two ways. Fewer at once: at most half of the calls that were in flight before. And pacing, a
//! rate limiter after the generic cell rate algorithm (GCRA, ITU-T I.371) with debt: what a call
//! costs is known only afterwards, so each settlement moves the time at which the next call is
//! due by what it did cost, and no call starts before it is due. The rate is one that an owner
//! set, or what is left over the time that is left; it is computed anew at every settlement.
//! Whoever throttles says so call by call; nothing here decides when.

use std::collections::HashMap;

use fisc_core::{Amount, BudgetId, BudgetView, Refusal, Resource, TimeUs, Timestamp, Tree};

use crate::foresight::horizon;

/// How a call is slowed at a budget on its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restraint {
    /// The budget.
    pub at: BudgetId,
    /// Whether only half as many calls may be in flight there as there were before.
    pub halve: bool,
    /// The resource of which what is left has to last until the budget's horizon: its deadline
    /// or the end of its window. Without a horizon nothing is paced.
    pub pace: Option<Resource>,
}

/// In which time a budget's own rate is counted.
const MINUTE: TimeUs = TimeUs(60_000_000);

/// How long a budget is paced after the last call that was to be.
const PACED_FOR: TimeUs = TimeUs(60_000_000);

/// When calls are due, wherever they are slowed.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    by_budget: HashMap<BudgetId, Pace>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    /// When the next call is due by the rate that the owner set, for each resource.
    rated: [Timestamp; Resource::COUNT],
    /// When it is due so that what is left lasts.
    due: [Timestamp; Resource::COUNT],
    /// Until when what is left is to be paced.
    until: [Timestamp; Resource::COUNT],
}

// === impl Throttle ===

impl Throttle {
    /// Says whether a call of `budget` has to wait at `now`, and where.
    pub(crate) fn judge(
        &mut self,
        tree: &Tree,
        now: Timestamp,
        budget: BudgetId,
        restraint: Option<Restraint>,
    ) -> Result<(), Refusal> {
        self.judge_rates(tree, now, budget)?;
        let Some(Restraint { at, halve, pace }) = restraint else {
            return Ok(());
        };
        let Some(view) = tree.budget(at) else {
            return Ok(());
        };
        if halve && view.open >= (view.most_open / 2).max(1) {
            return Err(Refusal::Throttled(at, None));
        }
        if let Some(resource) = pace {
            let pace = self.by_budget.entry(at).or_default();
            let i = resource.index();
            if pace.until[i] < now {
                pace.due[i] = now;
            }
            pace.until[i] = now.after(PACED_FOR);
            if pace.due[i] > now && horizon(&view, view.deadline).is_some() {
                return Err(Refusal::Throttled(at, Some(pace.due[i])));
            }
        }
        Ok(())
    }

    /// Counts what a call of `budget` that began at `opened` did cost.
    pub(crate) fn spent(
        &mut self,
        tree: &Tree,
        now: Timestamp,
        budget: BudgetId,
        opened: Timestamp,
        amount: Amount,
    ) {
        let rated = tree.budget(budget).is_some_and(|view| view.rated);
        if self.by_budget.is_empty() && !rated {
            return;
        }
        let mut next = tree.budget(budget);
        while let Some(view) = next {
            next = view.parent.and_then(|parent| tree.budget(parent));
            let rates = view.terms.rate;
            if rates.is_none() && !self.by_budget.contains_key(&view.id) {
                continue;
            }
            let pace = self.by_budget.entry(view.id).or_default();
            for resource in Resource::ALL {
                let (i, units) = (resource.index(), amount.get(resource));
                if let Some(rate) = rates.get(resource) {
                    let more = interval(units, MINUTE, rate);
                    pace.rated[i] = pace.rated[i].max(opened).after(more);
                }
                if pace.until[i] >= now
                    && let Some(end) = horizon(&view, view.deadline)
                    && let Some(left) = left(&view, resource)
                {
                    let more = interval(units, TimeUs(end.since(now).0.max(0)), left);
                    pace.due[i] = pace.due[i].max(opened).after(more);
                }
            }
        }
    }

    fn judge_rates(&self, tree: &Tree, now: Timestamp, budget: BudgetId) -> Result<(), Refusal> {
        let mut next = tree.budget(budget).filter(|view| view.rated);
        while let Some(view) = next {
            next = view.parent.and_then(|parent| tree.budget(parent));
            let pace = self.by_budget.get(&view.id);
            for resource in Resource::ALL {
                match view.terms.rate.get(resource) {
                    Some(0) => return Err(Refusal::Throttled(view.id, None)),
                    Some(_) if let Some(pace) = pace => {
                        let due = pace.rated[resource.index()];
                        if due > now {
                            return Err(Refusal::Throttled(view.id, Some(due)));
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// What ordinary calls may still spend of a budget's own limit, or of its share.
fn left(view: &BudgetView<'_>, resource: Resource) -> Option<i64> {
    let limit = view.terms.limits.get(resource).map(|limit| {
        let cap = limit
            .saturating_add(view.loaned.get(resource))
            .saturating_add(view.carried.get(resource));
        cap - view.terms.reserve.of(cap)
    });
    let least = limit.into_iter().chain(view.share.get(resource)).min()?;
    Some(least.saturating_sub(view.window_spent.get(resource)).max(1))
}

/// How long `units` last at a rate of `rate` units in `time`.
fn interval(units: i64, time: TimeUs, rate: i64) -> TimeUs {
    let long = i128::from(units.max(0)) * i128::from(time.0) / i128::from(rate.max(1));
    TimeUs(i64::try_from(long).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use fisc_core::{HoldId, Limits, Terms};

    use super::*;

    const SECOND: i64 = 1_000_000;

    /// A tree of one budget of 1000 tokens that ends after 100 seconds, and plays calls on it.
    struct Play {
        tree: Tree,
        throttle: Throttle,
        root: BudgetId,
        holds: u128,
    }

    impl Play {
        fn new(rate: Limits) -> Play {
            let mut tree = Tree::default();
            let terms = Terms {
                limits: Limits::NONE.with(Resource::Tokens, Some(1000)),
                elapsed: Some(TimeUs(100 * SECOND)),
                rate,
                ..Terms::default()
            };
            let root = tree
                .allocate(Timestamp(0), None, "root", terms, &mut Vec::new())
                .expect("a good root");
            Play {
                tree,
                throttle: Throttle::default(),
                root,
                holds: 0,
            }
        }

        fn begin(&mut self, seconds: i64, tokens: i64) -> HoldId {
            self.holds += 1;
            let (id, amount) = (HoldId(self.holds), Amount::from_raw([tokens, 0, 0]));
            let at = Timestamp(seconds * SECOND);
            let held = self
                .tree
                .hold(at, id, self.root, amount, false, &mut Vec::new());
            held.expect("a good hold").expect("room");
            id
        }

        fn end(&mut self, seconds: i64, id: HoldId) {
            let hold = self.tree.open_hold(id).expect("it is open");
            self.tree
                .settle(id, hold.amount, &mut Vec::new())
                .expect("a good settlement");
            let now = Timestamp(seconds * SECOND);
            let Play {
                tree,
                throttle,
                root,
                ..
            } = self;
            throttle.spent(tree, now, *root, hold.opened, hold.amount);
        }

        /// Says from which second on a call is due, of those that may be asked.
        #[track_caller]
        fn check(&mut self, seconds: i64, pace: bool, due: Option<i64>) {
            self.check_micros(seconds, pace, due.map(|due| due * SECOND));
        }

        #[track_caller]
        fn check_micros(&mut self, seconds: i64, pace: bool, due: Option<i64>) {
            let restraint = Restraint {
                at: self.root,
                halve: !pace,
                pace: pace.then_some(Resource::Tokens),
            };
            let now = Timestamp(seconds * SECOND);
            let judged = self
                .throttle
                .judge(&self.tree, now, self.root, Some(restraint));
            let at = due.map(Timestamp);
            let expected = match due {
                Some(0) => Err(Refusal::Throttled(self.root, None)),
                Some(_) => Err(Refusal::Throttled(self.root, at)),
                None => Ok(()),
            };
            assert_eq!(judged, expected);
        }
    }

    #[test]
    fn what_is_left_lasts_until_the_deadline() {
        let mut play = Play::new(Limits::NONE);
        let call = play.begin(0, 500);
        play.end(20, call);
        play.check(20, true, None);
        // Of 500 tokens 100 went; 400 are left for 75 seconds, and 100 last a quarter of them.
        let call = play.begin(20, 100);
        play.end(25, call);
        play.check_micros(25, true, Some((20 * 4 + 75) * SECOND / 4));
        play.check(39, true, None);
        // Who comes late has saved up nothing.
        let call = play.begin(60, 80);
        play.end(60, call);
        play.check(60, true, Some(60 + 10));
    }

    #[test]
    fn a_rate_holds_whatever_is_left() {
        let mut play = Play::new(Limits::NONE.with(Resource::Tokens, Some(60)));
        play.check(0, true, None);
        let call = play.begin(0, 30);
        play.end(1, call);
        play.check(2, false, Some(30));
        play.check(30, false, None);
    }

    #[test]
    fn half_of_what_was_in_flight_may_be() {
        let mut play = Play::new(Limits::NONE);
        let first: Vec<HoldId> = (0..4).map(|_| play.begin(0, 200)).collect();
        for id in &first[..3] {
            play.end(1, *id);
        }
        // 600 of 1000 are spent: the level is Yellow, and four calls were in flight.
        let more = play.begin(2, 1);
        play.check(2, false, Some(0));
        play.end(2, more);
        play.check(2, false, None);
    }
}
