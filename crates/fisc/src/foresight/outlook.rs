//! One forecast: what it is made of, and what is said.
//!
//! The horizon is a deadline or the end of a window, or what earlier runs of the class still
//! spent when they had come as far, whichever is reached first; without any, nothing is said of a
//! total.

use std::sync::Arc;

use fisc_core::{
    BudgetId, BudgetView, Course, Estimate, History, Method, Permille, Resource, Shape, TimeUs,
    Timestamp, Window,
};

use super::courses::{Leads, Said, Trail};

/// From this part of its limit on a total is beyond it, and below this one it is not any more.
const BEYOND: Permille = Permille(950);
const WITHIN: Permille = Permille(900);

/// Where the spending of one resource of one budget leads. An estimate.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastView {
    /// The resource.
    pub resource: Resource,
    /// How it was made.
    pub method: Method,
    /// What counts against the limit now.
    pub spent: i64,
    /// The limit, with what is borrowed and carried over.
    pub limit: Option<i64>,
    /// The time until the deadline or the end of the window.
    pub horizon: Option<TimeUs>,
    /// What will be spent at the horizon, or when such an agent stops by itself if that comes
    /// first; `None` while nothing can be said.
    pub at_horizon: Option<Estimate<i64>>,
    /// How long until the limit is spent; `None` without one, or after fewer than four calls.
    pub limit_in: Option<Estimate<TimeUs>>,
    /// By how many settled calls.
    pub calls: u64,
    /// What the course looks like.
    pub shape: Option<Shape>,
    /// Earlier runs of the class that are known.
    pub runs: usize,
    /// Whether the level acts one step early because of it.
    pub raised: bool,
}

/// What one forecast is made of, apart from the tree.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) budget: BudgetId,
    pub(super) since: Timestamp,
    pub(super) resource: Resource,
    pub(super) method: Method,
    course: Course,
    spent: i64,
    limit: Option<i64>,
    horizon: Option<TimeUs>,
    /// Whether what is spent counts for good, so that the total of a run is one against the limit.
    for_good: bool,
    history: Option<Arc<History>>,
    leads: Leads,
    /// Whether the budget only watches.
    observed: bool,
    /// What its owner expects it to need.
    declared: Option<i64>,
    /// Whether its siblings share by what they need.
    shares: bool,
}

/// What came of a question that was asked to act.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) budget: BudgetId,
    pub(super) since: Timestamp,
    pub(super) resource: Resource,
    pub(super) leads: Leads,
    pub(super) limit: i64,
    pub(super) at_horizon: i64,
    pub(super) said: Said,
    pub(super) need: Option<i64>,
}

/// Returns what a budget may spend of a resource in its present window, or ever.
fn limit(view: &BudgetView<'_>, resource: Resource) -> Option<i64> {
    let more = view.loaned.saturating_add(view.carried).get(resource);
    let limit = view.terms.limits.get(resource)?;
    Some(limit.saturating_add(more).max(0))
}

/// Returns until when a budget's spending is foreseen: its deadline, or the end of its window.
pub(crate) fn horizon(view: &BudgetView<'_>, deadline: Option<Timestamp>) -> Option<Timestamp> {
    // A rolling window has no end at which anything begins anew.
    let calendar = matches!(view.terms.window, Window::Calendar { .. });
    let window = view.window.map(|span| span.end).filter(|_| calendar);
    deadline.into_iter().chain(window).min()
}

/// Predicts what a budget will have spent when it is done. An estimate says least near its end:
/// who has not ended by then may need much more. So nobody is taken to be nearer to its end than
/// half of the estimate, and who is far beyond it than half of what it is beyond.
fn need(spent: i64, estimate: i64) -> i64 {
    let missing = estimate.saturating_sub(spent);
    let remaining = missing.max(estimate / 2).max(-(missing / 2)).max(1);
    spent.saturating_add(remaining)
}

// === impl Question ===

impl Question {
    /// Asks about a resource of a budget until a deadline; `None` where nothing was spent of it.
    pub(super) fn new(
        view: &BudgetView<'_>,
        resource: Resource,
        trail: &Trail,
        (now, deadline): (Timestamp, Option<Timestamp>),
        history: Option<&Arc<History>>,
    ) -> Option<Question> {
        let course = trail.courses[resource.index()].clone()?;
        // What leaves a rolling window while more is spent, nobody foresees here.
        let rolling = matches!(view.terms.window, Window::Rolling(_));
        Some(Question {
            budget: view.id,
            since: trail.since,
            resource,
            method: Method::Fisc,
            course,
            spent: view.window_spent.get(resource),
            limit: limit(view, resource).filter(|_| !rolling),
            horizon: horizon(view, deadline)
                .filter(|_| !rolling)
                .map(|end| end.since(now)),
            for_good: view.terms.window.is_none(),
            history: history.cloned(),
            leads: trail.leads[resource.index()],
            observed: view.terms.observed,
            declared: view.terms.need.get(resource),
            shares: false,
        })
    }

    /// Asks also what the budget will need, for the sharing with its siblings.
    pub(super) fn sharing(self, shares: bool) -> Question {
        Question { shares, ..self }
    }

    pub(super) fn by(self, method: Method) -> Question {
        Question { method, ..self }
    }

    /// Says whether anything could follow from the answer.
    pub(super) fn matters(&self) -> bool {
        self.limit.is_some() || self.leads > Leads::Within || self.shares
    }

    /// Answers in full.
    pub(super) fn answer(&self, now: Timestamp) -> ForecastView {
        ForecastView {
            resource: self.resource,
            method: self.method,
            spent: self.spent,
            limit: self.limit,
            horizon: self.horizon,
            at_horizon: self.at_horizon(now),
            limit_in: self.limit_in(now),
            calls: self.course.calls(),
            shape: self.course.shape(),
            runs: self.history.as_deref().map_or(0, History::runs),
            raised: self.leads == Leads::Raised && !self.observed,
        }
    }

    /// Answers as far as something acts on it.
    pub(super) fn judge(&self, now: Timestamp) -> Judged {
        let total = self.at_horizon(now);
        let limit = self.limit.unwrap_or(0);
        let beyond = |total: i64, holds: bool| {
            let begins = if holds { WITHIN } else { BEYOND };
            limit > 0 && total > begins.of(limit)
        };
        let low = total.and_then(|total| total.interval).map(|(low, _)| low);
        let point = total.map(|total| total.point);
        let leads = if low.is_some_and(|low| beyond(low, self.leads == Leads::Raised)) {
            Leads::Raised
        } else if point.is_some_and(|point| beyond(point, self.leads > Leads::Within)) {
            Leads::Beyond
        } else {
            Leads::Within
        };
        Judged {
            budget: self.budget,
            since: self.since,
            resource: self.resource,
            leads,
            limit,
            at_horizon: point.unwrap_or(self.spent),
            said: Said {
                at: now,
                at_horizon: point,
                limit_in: self.limit_in(now).map(|time| time.point),
            },
            need: self.shares.then(|| self.need()).flatten(),
        }
    }

    /// The total at the horizon: that of the time that is left, or that of such runs if less.
    fn at_horizon(&self, now: Timestamp) -> Option<Estimate<i64>> {
        let history = self.history.as_deref();
        let timed = self.horizon.and_then(|left| {
            let more = self.course.total_in_by(self.method, now, left, history)?;
            Some(raised_by(more, self.spent))
        });
        let alone = history
            .filter(|_| self.for_good && self.method == Method::Fisc)
            .and_then(|history| self.course.total_by_history(history))
            .map(|total| raised_by(total, self.spent - self.course.spent()));
        match (timed, alone) {
            (Some(timed), Some(alone)) if alone.point < timed.point => Some(alone),
            (Some(timed), _) => Some(timed),
            (None, alone) => alone,
        }
    }

    fn limit_in(&self, now: Timestamp) -> Option<Estimate<TimeUs>> {
        let need = self.limit?.saturating_sub(self.spent).max(0);
        let history = self.history.as_deref();
        self.course.time_to_by(self.method, now, need, history)
    }

    fn need(&self) -> Option<i64> {
        let history = self.history.as_deref();
        let learned = history.and_then(|history| {
            let far = self.course.total_by_history(history);
            far.or_else(|| super::learned::before_start(history))
        });
        let estimate = learned.map(|total| total.point).or(self.declared)?;
        Some(need(self.spent, estimate))
    }
}

fn raised_by(estimate: Estimate<i64>, by: i64) -> Estimate<i64> {
    let add = |units: i64| units.saturating_add(by);
    Estimate {
        point: add(estimate.point),
        interval: estimate.interval.map(|(low, high)| (add(low), add(high))),
    }
}
