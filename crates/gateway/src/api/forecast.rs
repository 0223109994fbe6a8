//! Where the spending of a budget leads, as the API tells it: an estimate, with its method, its
//! interval, and what it rests on. Nothing here decides.

use fisc::core::{Estimate, Method, Shape};
use fisc::{BudgetId, ForecastView, Resource, TimeUs};
use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{Kind, Problem};
use super::{Call, Reply};

/// The fewest settled calls that say anything.
const CALLS_MIN: u64 = 4;

/// Where a budget's spending leads. An estimate.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Outlook {
    /// How it was made: `fisc`, `linear`, `predict_linear`, `ewma` or `exponential`.
    method: &'static str,
    /// The time until the deadline or the end of the window; `null` without either.
    horizon_ms: Option<i64>,
    tokens: ResourceOutlook,
    cost: ResourceOutlook,
    active_time: ResourceOutlook,
}

/// Where the spending of one resource leads, in tokens, nano-dollars or microseconds.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct ResourceOutlook {
    /// What counts against the limit now.
    spent: i64,
    /// The limit, with what is borrowed and carried over; `null` without one.
    limit: Option<i64>,
    /// What will be spent at the horizon, or when such an agent stops by itself if that comes
    /// first; `null` where nobody knows.
    at_horizon: Option<i64>,
    /// Between what that lies nine times in ten; `null` with fewer than 19 earlier runs.
    at_horizon_interval: Option<[i64; 2]>,
    /// The time until the limit is spent; `null` without a limit, or while nothing is spent.
    limit_in_ms: Option<i64>,
    /// Between what that lies nine times in ten; `null` with fewer than 19 earlier runs.
    limit_in_interval_ms: Option<[i64; 2]>,
    /// What the course looks like; `null` after fewer than eight calls.
    profile: Option<ProfileView>,
    /// Settled calls that it rests on.
    calls: u64,
    /// Earlier runs of the class that are known.
    earlier_runs: usize,
    /// Whether the budget's level acts one step early because of it.
    acts_early: bool,
}

/// What a course of spending looks like, and what speaks for it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProfileView {
    /// `linear`, `bursty`, `exponential` or `step`.
    name: &'static str,
    /// The last call by the first one, on the fitted slope.
    growth: f64,
    /// Calls after the best step by those before it.
    step: f64,
    /// After how many calls that step was.
    step_after: u64,
    /// The standard deviation of the logarithm of the size, after what the profile explains.
    variation: f64,
}

/// A forecast by any method.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Foretold {
    /// The budget's path.
    path: String,
    /// An estimate; `null` after fewer than four settled calls.
    forecast: Option<Outlook>,
}

/// Tells where a budget's spending leads, by the method that the query names.
pub(super) fn forecast(call: &Call, shown: &str) -> Result<Reply, Problem> {
    let path = call.caller.path(shown)?;
    let budget = call.state.fisc.budget(&path);
    let budget = budget.map_err(|error| call.problem(&error))?;
    let foretold = Foretold {
        path: call.caller.name(&path),
        forecast: Outlook::of(call, budget.id(), method(call)?),
    };
    Ok(Reply::new(StatusCode::OK, &foretold))
}

/// Reads the method from the query; without one it is the one that acts.
fn method(call: &Call) -> Result<Method, Problem> {
    let Some(query) = call.query.as_deref().filter(|query| !query.is_empty()) else {
        return Ok(Method::default());
    };
    let named = query.strip_prefix("method=").and_then(Method::by_name);
    named.ok_or_else(|| {
        let names = Method::ALL.map(Method::name).join(", ");
        let detail = format!("the query is method= and one of {names}");
        Problem::new(Kind::BadRequest, detail)
    })
}

fn millis(time: TimeUs) -> i64 {
    time.0 / 1000
}

// === impl Outlook ===

impl Outlook {
    /// Forecasts a budget in sight; `None` while its calls are too few.
    pub(super) fn of(call: &Call, id: BudgetId, method: Method) -> Option<Outlook> {
        let root = call.caller.root();
        let views = call.state.fisc.forecast_within(id, root, method);
        if views.iter().all(|view| view.calls < CALLS_MIN) {
            return None;
        }
        let of = |resource: Resource| {
            let found = views.iter().find(|view| view.resource == resource);
            found.map(ResourceOutlook::of).unwrap_or_default()
        };
        Some(Outlook {
            method: method.name(),
            horizon_ms: views.iter().find_map(|view| view.horizon).map(millis),
            tokens: of(Resource::Tokens),
            cost: of(Resource::Cost),
            active_time: of(Resource::Time),
        })
    }
}

// === impl ResourceOutlook ===

impl ResourceOutlook {
    fn of(view: &ForecastView) -> ResourceOutlook {
        let total = view.at_horizon;
        let limit_in = view.limit_in;
        let ends = |(low, high)| [low, high];
        let time = |(low, high)| [millis(low), millis(high)];
        let interval = |estimate: Estimate<TimeUs>| estimate.interval.map(time);
        ResourceOutlook {
            spent: view.spent,
            limit: view.limit,
            at_horizon: total.map(|total| total.point),
            at_horizon_interval: total.and_then(|total| total.interval).map(ends),
            limit_in_ms: limit_in.map(|time| millis(time.point)),
            limit_in_interval_ms: limit_in.and_then(interval),
            profile: view.shape.as_ref().map(ProfileView::of),
            calls: view.calls,
            earlier_runs: view.runs,
            acts_early: view.raised,
        }
    }
}

// === impl ProfileView ===

impl ProfileView {
    fn of(shape: &Shape) -> ProfileView {
        let round = |value: f64| (value * 100.0).round() / 100.0;
        ProfileView {
            name: shape.profile.name(),
            growth: round(shape.growth),
            step: round(shape.step),
            step_after: shape.step_after,
            variation: round(shape.variation),
        }
    }
}
