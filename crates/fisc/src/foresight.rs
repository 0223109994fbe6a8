//! Foresight: where the spending of each budget leads, and what follows from it.
//!
//! Every settlement is added to the courses of its path; once a second those that changed are
//! judged, outside of the engine's lock. A total beyond 95 % of the limit warns, once a crossing;
//! where even the lower end of its interval is beyond, the level of that budget acts one step
//! early, but never at Black. Nothing is refused and nothing booked because of a forecast.

mod ask;
mod courses;
mod learned;
mod outlook;

use std::collections::VecDeque;

use fisc_core::sharing::Sharing;
use fisc_core::{
    Acting, Amount, BudgetId, BudgetView, Estimate, Event, Level, Limits, Method, Money, Resource,
    TimeUs, Timestamp, Tree,
};
use fisc_ledger::{Entry, Reader};

use self::courses::{Courses, Leads, Said};
use self::learned::{Learned, Lesson};
use self::outlook::{Judged, Question};
use crate::engine::Engine;
use crate::error::Error;

pub(crate) use self::learned::NOTES;
pub use self::learned::PastRuns;
pub use self::outlook::ForecastView;
pub(crate) use self::outlook::horizon;

/// The most forecasts that are judged a second.
const JUDGED_MAX: usize = 256;

/// What was said longer ago is told to nobody.
const STALE: TimeUs = TimeUs(10_000_000);

/// How many entries a reader looks back at most.
const READ_MAX: u64 = 200_000;

/// How many entries are read at a time.
const PAGE: usize = 1_000;

/// Where the spending of the budgets of one tree leads.
#[derive(Debug)]
pub struct Foresight {
    courses: Courses,
    learned: Learned,
    /// Runs that finished and were not learned from yet.
    finished: VecDeque<Lesson>,
    /// How many levels act one step early.
    raised: usize,
    /// The budget to begin with when the next ones are judged.
    next: usize,
}

/// What is foreseen for the calls of one budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Foreseen {
    /// What the nearest budget of which something can be said will have spent at its horizon.
    pub cost: Option<Money>,
    /// How long until the first limit on the path is spent.
    pub limit_in: Option<TimeUs>,
}

// === impl Foresight ===

impl Foresight {
    /// Follows what is spent from some time on.
    pub(crate) fn new(begun: Timestamp) -> Foresight {
        Foresight {
            courses: Courses::new(begun),
            learned: Learned::default(),
            finished: VecDeque::new(),
            raised: 0,
            next: 0,
        }
    }

    /// Follows what the last entries of a ledger say was spent, for whoever reads it beside its
    /// writer.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn read(reader: &Reader, tree: &Tree) -> Result<Foresight, Error> {
        let mut seq = last_entry(reader)?.saturating_sub(READ_MAX);
        let first = reader.entries(seq, 1)?;
        let begun = first.first().filter(|row| row.seq > 1).map(|row| row.at);
        let mut foresight = Foresight::new(begun.unwrap_or(Timestamp(i64::MIN)));
        let notes = reader.notes(NOTES)?;
        foresight.learned.restore(&notes);
        loop {
            let page = reader.entries(seq, PAGE)?;
            for row in &page {
                if let Entry::Settle { amount, .. } = &row.entry {
                    foresight.courses.add(tree, row.at, row.budget, *amount);
                }
            }
            match page.last() {
                Some(last) => seq = last.seq,
                None => return Ok(foresight),
            }
        }
    }

    /// Takes what finished runs taught earlier, instead of what is known; says whether it could
    /// be read.
    pub fn recall(&mut self, past: &PastRuns) -> bool {
        self.learned.recall(past)
    }

    /// Forecasts each resource of a budget of which something was spent.
    pub fn forecast(
        &self,
        tree: &Tree,
        now: Timestamp,
        id: BudgetId,
        method: Method,
    ) -> Vec<ForecastView> {
        let deadline = tree.budget(id).and_then(|view| view.deadline);
        let questions = self.questions(tree, (now, deadline), id, method);
        questions.iter().map(|asked| asked.answer(now)).collect()
    }

    /// Returns what a run of a class is expected to spend before it starts.
    pub(crate) fn expected(&self, class: &str, resource: Resource) -> Option<Estimate<i64>> {
        learned::before_start(self.learned.of(class, resource)?)
    }

    pub(crate) fn restore(&mut self, notes: &[(String, String)]) {
        self.learned.restore(notes);
    }

    /// Adds a settled call.
    pub(crate) fn spent(&mut self, tree: &Tree, now: Timestamp, budget: BudgetId, amount: Amount) {
        self.courses.add(tree, now, budget, amount);
    }

    /// Returns the level that acts where some act one step early.
    pub(crate) fn raise(&self, tree: &Tree, leaf: BudgetId, acting: Acting) -> Acting {
        if self.raised == 0 {
            return acting;
        }
        let mut worst = acting;
        let mut covered = [false; Resource::COUNT];
        let mut next = tree.budget(leaf);
        while let Some(view) = next {
            next = view.parent.and_then(|parent| tree.budget(parent));
            if view.terms.observed {
                continue;
            }
            let trail = self.courses.get(view.id);
            for resource in Resource::ALL {
                let i = resource.index();
                let raised = trail.is_some_and(|trail| trail.leads[i] == Leads::Raised);
                let level = view.levels[i].up().unwrap_or(Level::Red).min(Level::Red);
                if raised && !covered[i] && level > worst.level {
                    worst = Acting {
                        level,
                        budget: view.id,
                        resource: Some(resource),
                    };
                }
                covered[i] |= view.load.get(resource) < view.claim.get(resource);
            }
        }
        worst
    }

    fn foreseen(&self, tree: &Tree, now: Timestamp, (id, root): (BudgetId, BudgetId)) -> Foreseen {
        let mut foreseen = Foreseen::default();
        let mut next = Some(id).filter(|id| tree.is_within(*id, root));
        while let Some(id) = next {
            let Some(view) = tree.budget(id) else { break };
            next = view.parent.filter(|_| id != root);
            let said = self.courses.get(id).map(|trail| trail.said);
            let said = said.unwrap_or_default();
            let recent = |said: Option<Said>| said.filter(|said| now.since(said.at) <= STALE);
            let said = said.map(recent);
            for said in said.iter().flatten() {
                foreseen.limit_in = foreseen.limit_in.into_iter().chain(said.limit_in).min();
            }
            // One that rests on a deadline out of sight would tell of it.
            let in_sight = view.deadline == deadline_within(tree, id, root);
            let total = said[Resource::Cost.index()].and_then(|said| said.at_horizon);
            if in_sight && foreseen.cost.is_none() {
                foreseen.cost = total.map(Money::from_nanos);
            }
        }
        foreseen
    }

    /// Learns later from a budget that ended, and from all below it, unless one could not go on.
    fn finish(&mut self, tree: &Tree, top: BudgetId, teaches: bool) {
        let below: Vec<BudgetId> = (self.courses.from(0))
            .filter(|id| tree.is_within(*id, top))
            .collect();
        for id in below {
            let Some(trail) = self.courses.take(id) else {
                continue;
            };
            self.raised -= trail.raised();
            let Some(view) = tree.budget(id) else {
                continue;
            };
            // Who was stopped at a limit would teach that its kind needs less than it does.
            let stopped = tree.binding_level(id).0 == Level::Black;
            if stopped || !teaches || !view.terms.window.is_none() {
                continue;
            }
            // What a kind takes in active time nothing rests on.
            let taught = [Resource::Tokens, Resource::Cost].into_iter();
            for (resource, course) in taught.zip(trail.courses) {
                let all = view.spent.get(resource);
                let whole = |course: &fisc_core::Course| course.spent() >= all - all / 20;
                if let Some(course) = course.filter(whole) {
                    let class = learned::class(tree, id);
                    self.finished
                        .push_back(Lesson::new(class, resource, course));
                }
            }
        }
    }

    fn questions(
        &self,
        tree: &Tree,
        until: (Timestamp, Option<Timestamp>),
        id: BudgetId,
        method: Method,
    ) -> Vec<Question> {
        let Some(view) = tree.budget(id) else {
            return Vec::new();
        };
        let present = |since| {
            self.courses
                .get(id)
                .is_some_and(|trail| trail.since == since)
        };
        if !(tree.counts_since(id)).is_some_and(|(since, _)| present(since)) {
            // The window that these courses are of is over.
            return Vec::new();
        }
        let asked = |resource| {
            let asked = self.question(tree, &view, resource, until)?;
            Some(asked.by(method))
        };
        Resource::ALL.into_iter().filter_map(asked).collect()
    }

    fn question(
        &self,
        tree: &Tree,
        view: &BudgetView<'_>,
        resource: Resource,
        until: (Timestamp, Option<Timestamp>),
    ) -> Option<Question> {
        let trail = self.courses.get(view.id)?;
        let class = learned::class(tree, view.id);
        let history = self.learned.of(&class, resource);
        Question::new(view, resource, trail, until, history)
    }

    /// Returns what is to be judged anew: where something was spent since, or something acts.
    fn due(&mut self, tree: &Tree, now: Timestamp) -> Vec<Question> {
        let mut due = Vec::new();
        let ids: Vec<BudgetId> = self.courses.from(self.next).collect();
        for id in ids {
            if due.len() >= JUDGED_MAX {
                self.next = id.0 as usize;
                return due;
            }
            let (Some(view), Some((since, _))) = (tree.budget(id), tree.counts_since(id)) else {
                continue;
            };
            // Who is answered next is told of a limit by now.
            if !self.is_due(id, since) && view.open == 0 {
                continue;
            }
            let shares = is_shared_by_need(tree, &view);
            for resource in [Resource::Tokens, Resource::Cost] {
                let asked = self.question(tree, &view, resource, (now, view.deadline));
                let asked = asked.map(|asked| asked.sharing(shares));
                due.extend(asked.filter(Question::matters));
            }
        }
        due
    }

    fn is_due(&mut self, id: BudgetId, since: Timestamp) -> bool {
        let Some(trail) = self.courses.get_mut(id) else {
            return false;
        };
        if trail.since != since {
            // Its window is over, and with it whatever was foreseen in it.
            self.raised -= trail.raised();
            trail.leads = [Leads::default(); Resource::COUNT];
            trail.restart(since);
        }
        std::mem::take(&mut trail.is_new) || trail.is_alarming()
    }

    /// Lets what was judged act; returns what budgets are found to need.
    fn act(
        &mut self,
        tree: &Tree,
        judged: Vec<Judged>,
        events: &mut Vec<Event>,
    ) -> Vec<(BudgetId, Resource, i64)> {
        let mut needs = Vec::new();
        for judged in judged {
            let Judged {
                budget,
                resource,
                leads,
                ..
            } = judged;
            let trail = self.courses.get_mut(budget);
            let Some(trail) = trail.filter(|trail| trail.since == judged.since) else {
                continue;
            };
            trail.said[resource.index()] = Some(judged.said);
            needs.extend(judged.need.map(|need| (budget, resource, need)));
            let before = std::mem::replace(&mut trail.leads[resource.index()], leads);
            self.raised += usize::from(leads == Leads::Raised);
            self.raised -= usize::from(before == Leads::Raised);
            let observed = tree.budget(budget).is_some_and(|view| view.terms.observed);
            if leads > before && !(observed && before == Leads::Beyond) {
                events.push(Event::Forecast {
                    budget,
                    resource,
                    total: judged.at_horizon,
                    limit: judged.limit,
                    raised: leads == Leads::Raised && !observed,
                });
            }
        }
        needs
    }
}

/// Returns the earliest deadline on a path from `top` down; `None` also where `top` is not on it.
fn deadline_within(tree: &Tree, id: BudgetId, top: BudgetId) -> Option<Timestamp> {
    let (mut deadline, mut next) = (None, Some(id));
    while let Some(at) = next {
        let view = tree.budget(at)?;
        let own = view.terms.elapsed.map(|span| view.allocated.after(span));
        deadline = deadline.into_iter().chain(own).min();
        if at == top {
            return deadline;
        }
        next = view.parent;
    }
    None
}

/// Finds the number of the last entry.
fn last_entry(reader: &Reader) -> Result<u64, Error> {
    let (mut before, mut after) = (0u64, 1u64 << 48);
    while after - before > 1 {
        let middle = u64::midpoint(before, after);
        if reader.entries(middle - 1, 1)?.is_empty() {
            after = middle;
        } else {
            before = middle;
        }
    }
    Ok(before)
}

/// Says whether a budget's siblings get more or less by what it needs.
fn is_shared_by_need(tree: &Tree, view: &BudgetView<'_>) -> bool {
    let parent = view.parent.and_then(|parent| tree.budget(parent));
    let by_need = parent
        .is_some_and(|parent| matches!(parent.terms.sharing, Sharing::Dynamic | Sharing::Auction));
    let lends = || {
        let own = |loan: &fisc_core::Loan| loan.lender == view.id || loan.borrower == view.id;
        tree.loans().iter().any(own)
    };
    by_need || lends()
}

// === impl Engine ===

impl Engine {
    /// Predicts the need of a newcomer whose siblings share by need, as its kind is known.
    pub(crate) fn expect_newcomer(&mut self, id: BudgetId) {
        let Some(view) = self.tree.budget(id) else {
            return;
        };
        if !is_shared_by_need(&self.tree, &view) {
            return;
        }
        let class = learned::class(&self.tree, id);
        let mut need = view.need;
        for resource in [Resource::Tokens, Resource::Cost] {
            let declared = view.terms.need.get(resource);
            let expected = self.foresight.expected(&class, resource);
            if let (None, Some(expected)) = (declared, expected) {
                need = need.with(resource, Some(expected.point.max(1)));
            }
        }
        self.expect(id, need);
    }

    /// Says that a budget is about to end, and whether by itself.
    pub(crate) fn finish(&mut self, id: BudgetId, teaches: bool) {
        self.foresight.finish(&self.tree, id, teaches);
    }

    fn foresaw(&mut self, judged: Vec<Judged>) {
        let needs = self.foresight.act(&self.tree, judged, &mut self.events);
        for (id, resource, need) in needs {
            if let Some(view) = self.tree.budget(id) {
                let need = view.need.with(resource, Some(need));
                self.expect(id, need);
            }
        }
    }

    fn expect(&mut self, id: BudgetId, need: Limits) {
        let expected = self.tree.expect(id, need);
        debug_assert!(expected.is_ok(), "no need is predicted below 0");
    }
}
