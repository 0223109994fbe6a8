//! The forecast in a report: where each budget's spending leads, while it goes on.

use std::collections::HashMap;

use fisc_core::{
    Amount, BudgetId, BudgetView, Forecast, Past, Resource, TimeUs, Timestamp, Tree, Window,
};
use fisc_ledger::RollupRow;
use serde::Serialize;

/// Where spending leads. An estimate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForecastRow {
    /// How it was made.
    pub method: &'static str,
    /// Always: a forecast is an estimate.
    pub estimated: bool,
    /// The budgets of which there is something to say.
    pub budgets: Vec<BudgetForecast>,
}

/// Where the spending of one budget leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BudgetForecast {
    /// Its path.
    pub path: String,
    /// How far ahead `at_horizon` is: until the deadline or the end of the window;
    /// `None` where there is neither.
    pub horizon_ms: Option<i64>,
    /// Its tokens.
    pub tokens: ResourceForecast,
    /// Its cost, in nano-dollars.
    pub cost: ResourceForecast,
    /// Its active time, in microseconds.
    pub active_time: ResourceForecast,
}

/// Where the spending of one resource leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ResourceForecast {
    /// What will be spent at the horizon; `None` where there is none.
    pub at_horizon: Option<i64>,
    /// How long until the limit is spent; `None` without a limit, or while nothing is spent.
    pub limit_in_ms: Option<i64>,
}

/// What counts against a budget's limits, since when, and until when.
struct Counted {
    spent: Amount,
    since: Timestamp,
    until: Option<Timestamp>,
}

/// Makes the forecast of a tree whose calls go on. `by_budget` is what each budget's own calls
/// came to.
pub(super) fn forecast(tree: &Tree, at: Timestamp, by_budget: &[RollupRow]) -> ForecastRow {
    let attempts = attempts(tree, by_budget);
    let of = |view: BudgetView<'_>| {
        let attempts = attempts.get(&view.id).copied().unwrap_or(0);
        budget_forecast(tree, &view, at, attempts)
    };
    ForecastRow {
        method: Forecast::LINEAR,
        estimated: true,
        budgets: tree.budgets().filter_map(of).collect(),
    }
}

/// Counts the charged attempts of each budget and of all below it.
fn attempts(tree: &Tree, by_budget: &[RollupRow]) -> HashMap<BudgetId, u64> {
    let mut sums = HashMap::new();
    for row in by_budget {
        let mut at = row.budget;
        while let Some(id) = at {
            *sums.entry(id).or_default() += row.totals.attempts;
            at = tree.budget(id).and_then(|view| view.parent);
        }
    }
    sums
}

fn budget_forecast(
    tree: &Tree,
    view: &BudgetView<'_>,
    at: Timestamp,
    attempts: u64,
) -> Option<BudgetForecast> {
    let Counted {
        spent,
        since,
        until,
    } = counted(view)?;
    let left = until.map(|until| until.since(at));
    let of = |resource: Resource| {
        let past = Past {
            spent: spent.get(resource),
            attempts,
            elapsed: at.since(since),
        };
        let found = Forecast::linear(&past, view.terms.limits.get(resource), left)?;
        Some(ResourceForecast {
            at_horizon: found.at_horizon,
            limit_in_ms: found.limit_in.map(millis),
        })
    };
    Some(BudgetForecast {
        path: tree.path(view.id),
        horizon_ms: left.map(millis),
        tokens: of(Resource::Tokens)?,
        cost: of(Resource::Cost)?,
        active_time: of(Resource::Time)?,
    })
}

/// Returns what counts against the limits now: all of it, or that of the present window, which is
/// a horizon too. A rolling window ends at no time, so that nothing can be said of it.
fn counted(view: &BudgetView<'_>) -> Option<Counted> {
    match (view.terms.window, view.window) {
        (Window::None, _) => Some(Counted {
            spent: view.spent,
            since: view.allocated,
            until: view.deadline,
        }),
        (Window::Calendar { .. }, Some(span)) => Some(Counted {
            spent: view.window_spent,
            since: span.start.max(view.allocated),
            until: view.deadline.into_iter().chain([span.end]).min(),
        }),
        (Window::Calendar { .. } | Window::Rolling(_), _) => None,
    }
}

fn millis(time: TimeUs) -> i64 {
    time.0 / 1000
}
