//! Who spent what, and where it leads: what the ledger of a budget's subtree says.
//!
//! Where no ledger is kept there is nothing to say but how budgets stand.

use std::collections::HashMap;

use fisc::core::Method;
use fisc::{BudgetId, Filter, GroupBy, Reader, RollupRow};
use hyper::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::forecast::Outlook;
use super::problem::{Kind, Problem};
use super::view::{Budget, subtree};
use super::wire::Figures;
use super::{Call, Reply};

/// How one budget stands, and where its spending leads.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Check {
    #[serde(flatten)]
    budget: Budget,
    /// An estimate; `null` after fewer than four settled calls.
    forecast: Option<Outlook>,
}

/// What the calls of a budget and of those below it came to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Report {
    /// When, in microseconds since 1970.
    at_us: i64,
    /// The budget and those below it.
    budgets: Vec<Budget>,
    /// By the budget that called; `null` where no ledger is kept, as below.
    agents: Option<Vec<Use>>,
    /// By the name of the operation.
    operations: Option<Vec<Use>>,
    /// By model.
    models: Option<Vec<Use>>,
    /// An estimate; `null` after fewer than four settled calls.
    forecast: Option<Outlook>,
}

/// What some calls came to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Use {
    /// The budget's path, the operation or the model.
    name: String,
    /// Calls that ended, however.
    calls: u64,
    /// Attempts that were charged.
    attempts: u64,
    /// Attempts that the provider answered in full.
    completed: u64,
    /// Attempts charged by an estimate.
    estimated: u64,
    /// What was charged.
    spent: Figures,
}

/// The sums of a subtree's calls.
struct Sums {
    agents: Vec<RollupRow>,
    operations: Vec<RollupRow>,
    models: Vec<RollupRow>,
}

/// Tells how one budget stands.
pub(super) fn check(call: &Call, shown: &str) -> Result<Reply, Problem> {
    let path = call.caller.path(shown)?;
    let fisc = &call.state.fisc;
    let budget = fisc.budget(&path).map_err(|error| call.problem(&error))?;
    let status = budget.status();
    let view = Budget::of(&status, fisc, &call.caller);
    let check = Check {
        forecast: Outlook::of(call, budget.id(), Method::Fisc),
        budget: view,
    };
    Ok(Reply::new(StatusCode::OK, &check))
}

/// Tells what the calls of a budget and of those below it came to.
pub(super) async fn report(call: &Call, shown: &str) -> Result<Reply, Problem> {
    let path = call.caller.path(shown)?;
    let fisc = &call.state.fisc;
    let budget = fisc.budget(&path).map_err(|error| call.problem(&error))?;
    let sums = sums(call, &path).await?;
    let forecast = Outlook::of(call, budget.id(), Method::Fisc);
    let statuses = fisc.statuses();
    let names: HashMap<BudgetId, &str> = statuses
        .iter()
        .map(|status| (status.id, status.path.as_str()))
        .collect();
    let agent = |row: &RollupRow| {
        let path = row.budget.and_then(|id| names.get(&id).copied());
        call.caller.name(path.unwrap_or_default())
    };
    let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
    let uses = |rows: Option<&Vec<RollupRow>>, name: &dyn Fn(&RollupRow) -> String| {
        rows.map(|rows| rows.iter().map(|row| Use::of(row, name(row))).collect())
    };
    let sums = sums.as_ref();
    let report = Report {
        at_us: fisc.now().0,
        budgets: subtree(fisc, &statuses, &path)
            .into_iter()
            .map(|status| Budget::of(status, fisc, &call.caller))
            .collect(),
        agents: uses(sums.map(|sums| &sums.agents), &agent),
        operations: uses(sums.map(|sums| &sums.operations), &|row| {
            text(&row.operation)
        }),
        models: uses(sums.map(|sums| &sums.models), &|row| text(&row.model)),
        forecast,
    };
    Ok(Reply::new(StatusCode::OK, &report))
}

/// Sums the calls of a subtree; `None` where no ledger is kept. Reads beside the writer, on a
/// thread of its own.
async fn sums(call: &Call, path: &str) -> Result<Option<Sums>, Problem> {
    let fisc = &call.state.fisc;
    let Some(file) = fisc.ledger() else {
        return Ok(None);
    };
    let file = file.to_owned();
    let statuses = fisc.statuses();
    let budgets = subtree(fisc, &statuses, path);
    let filter = Filter {
        budgets: Some(budgets.iter().map(|status| status.id).collect()),
        ..Filter::default()
    };
    let read = move || {
        let reader = Reader::open(&file)?;
        let _moment = reader.snapshot()?;
        let by = |budget, operation, model| GroupBy {
            budget,
            operation,
            model,
            ..GroupBy::default()
        };
        let rows = |by: GroupBy| reader.rollups(&filter, by);
        Ok::<_, fisc::Error>(Sums {
            agents: rows(by(true, false, false))?,
            operations: rows(by(false, true, false))?,
            models: rows(by(false, false, true))?,
        })
    };
    let read = tokio::task::spawn_blocking(read).await;
    match read {
        Ok(Ok(sums)) => Ok(Some(sums)),
        Ok(Err(error)) => Err(call.problem(&error)),
        Err(_) => Err(Problem::new(Kind::Internal, "the ledger was not read")),
    }
}

// === impl Use ===

impl Use {
    fn of(row: &RollupRow, name: String) -> Use {
        let totals = &row.totals;
        Use {
            name,
            calls: totals.calls,
            attempts: totals.attempts,
            completed: totals.completed,
            estimated: totals.estimated,
            spent: totals.amount.into(),
        }
    }
}
