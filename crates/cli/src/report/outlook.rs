//! The forecast in a report: where each budget's spending leads, while it goes on.

use fisc::{ForecastView, Foresight};
use fisc_core::{BudgetId, Estimate, Method, Resource, Shape, TimeUs, Timestamp, Tree};
use fisc_ledger::Reader;
use serde::Serialize;

use super::gather::Names;
use super::life::{Life, State};
use crate::failure::Failure;
use crate::home::Home;

/// The fewest settled calls that say anything.
const CALLS_MIN: u64 = 4;

/// Where spending leads. An estimate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ForecastRow {
    /// How it was made.
    pub method: &'static str,
    /// Always: a forecast is an estimate.
    pub estimated: bool,
    /// The budgets of which there is something to say.
    pub budgets: Vec<BudgetForecast>,
}

/// Where the spending of one budget leads.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct ResourceForecast {
    /// What counts against the limit now.
    pub spent: i64,
    /// The limit; `None` without one.
    pub limit: Option<i64>,
    /// What will be spent at the horizon, or when such an agent stops by itself if that comes
    /// first; `None` where nobody knows.
    pub at_horizon: Option<i64>,
    /// Between what that lies nine times in ten; `None` with fewer than 19 earlier runs.
    pub at_horizon_interval: Option<(i64, i64)>,
    /// How long until the limit is spent; `None` without a limit, or while nothing is spent.
    pub limit_in_ms: Option<i64>,
    /// Between what that lies nine times in ten; `None` with fewer than 19 earlier runs.
    pub limit_in_interval_ms: Option<(i64, i64)>,
    /// What the course looks like; `None` after fewer than eight calls.
    pub profile: Option<ProfileRow>,
    /// Settled calls that it rests on.
    pub calls: u64,
    /// Earlier runs of the class that are known.
    pub earlier_runs: usize,
}

/// What a course of spending looks like, and what speaks for it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ProfileRow {
    /// Its name.
    pub name: &'static str,
    /// The last call by the first one, on the fitted slope.
    pub growth: f64,
    /// Calls after the best step by those before it.
    pub step: f64,
    /// After how many calls that step was.
    pub step_after: u64,
    /// The standard deviation of the logarithm of the size, after what the profile explains.
    pub variation: f64,
}

/// Says whether a ledger is of something that goes on, so that there is something to forecast.
pub(crate) fn goes_on(life: &Life) -> bool {
    life.state == State::Runs
}

/// Reads where the budgets of a ledger lead, knowing what earlier runs of its command taught.
pub(crate) fn foresight(reader: &Reader, tree: &Tree) -> Result<Foresight, Failure> {
    let mut foresight = Foresight::read(reader, tree)?;
    if let Some(command) = reader.meta(Names::COMMAND)?
        && let Ok(home) = Home::find()
    {
        for past in home.known(&command) {
            foresight.recall(&past);
        }
    }
    Ok(foresight)
}

fn millis(time: TimeUs) -> i64 {
    time.0 / 1000
}

// === impl ForecastRow ===

impl ForecastRow {
    /// Makes the forecast of a ledger whose calls go on.
    pub(super) fn read(
        reader: &Reader,
        tree: &Tree,
        at: Timestamp,
    ) -> Result<ForecastRow, Failure> {
        let foresight = foresight(reader, tree)?;
        let all = tree.budgets().map(|view| view.id);
        Ok(ForecastRow::of(&foresight, tree, at, Method::Fisc, all))
    }

    /// Makes the forecast of some budgets by some method.
    pub(crate) fn of(
        foresight: &Foresight,
        tree: &Tree,
        at: Timestamp,
        method: Method,
        budgets: impl Iterator<Item = BudgetId>,
    ) -> ForecastRow {
        let of = |id| BudgetForecast::of(tree.path(id), &foresight.forecast(tree, at, id, method));
        ForecastRow {
            method: method.name(),
            estimated: true,
            budgets: budgets.filter_map(of).collect(),
        }
    }
}

// === impl BudgetForecast ===

impl BudgetForecast {
    fn of(path: String, views: &[ForecastView]) -> Option<BudgetForecast> {
        if views.iter().all(|view| view.calls < CALLS_MIN) {
            return None;
        }
        let of = |resource: Resource| {
            let found = views.iter().find(|view| view.resource == resource);
            found.map(ResourceForecast::of).unwrap_or_default()
        };
        Some(BudgetForecast {
            path,
            horizon_ms: views.iter().find_map(|view| view.horizon).map(millis),
            tokens: of(Resource::Tokens),
            cost: of(Resource::Cost),
            active_time: of(Resource::Time),
        })
    }
}

// === impl ResourceForecast ===

impl ResourceForecast {
    fn of(view: &ForecastView) -> ResourceForecast {
        let total = view.at_horizon;
        let limit_in = view.limit_in;
        let time = |(low, high)| (millis(low), millis(high));
        let interval = |estimate: Estimate<TimeUs>| estimate.interval.map(time);
        ResourceForecast {
            spent: view.spent,
            limit: view.limit,
            at_horizon: total.map(|total| total.point),
            at_horizon_interval: total.and_then(|total| total.interval),
            limit_in_ms: limit_in.map(|time| millis(time.point)),
            limit_in_interval_ms: limit_in.and_then(interval),
            profile: view.shape.as_ref().map(ProfileRow::of),
            calls: view.calls,
            earlier_runs: view.runs,
        }
    }
}

// === impl ProfileRow ===

impl ProfileRow {
    fn of(shape: &Shape) -> ProfileRow {
        let round = |value: f64| (value * 100.0).round() / 100.0;
        ProfileRow {
            name: shape.profile.name(),
            growth: round(shape.growth),
            step: round(shape.step),
            step_after: shape.step_after,
            variation: round(shape.variation),
        }
    }
}
