//! What can be asked of budgets: allocate, check, change, release, top up, lend.

use fisc::{Amount, Budget as Handle, BudgetId, Freezer, Level, Limits, TimeUs};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::once::{Done, Mark};
use super::problem::{Kind, Problem};
use super::terms::{AllocateRequest, ChangeRequest};
use super::view::{Budget, BudgetList};
use super::wire::{AmountText, CostText, Figures, TimeText, TokensText};
use super::{Call, Reply};
use crate::proxy::identify::DelegateNumber;
use crate::state::{NotApproved, questions};

/// What to add to a budget's limits.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TopUpRequest {
    /// Makes the request idempotent, as the header `Idempotency-Key` does.
    id: Option<String>,
    /// So many dollars more.
    cost: Option<CostText>,
    /// So many tokens more.
    tokens: Option<TokensText>,
    /// So much active time more.
    active_time: Option<TimeText>,
}

/// What to lend to a sibling.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LoanRequest {
    /// Makes the request idempotent, as the header `Idempotency-Key` does.
    id: Option<String>,
    /// The path of the sibling that borrows.
    borrower: String,
    /// At most so many dollars.
    cost: Option<CostText>,
    /// At most so many tokens.
    tokens: Option<TokensText>,
    /// At most so much active time.
    active_time: Option<TimeText>,
}

/// What was lent.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LoanMade {
    /// Whose limit fell.
    lender: String,
    /// Whose limit rose.
    borrower: String,
    /// By how much: at most what was asked for.
    lent: Figures,
}

/// A budget that was allocated.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Allocated {
    /// How it stands.
    budget: Budget,
    /// Stands for the budget and everything below it: as an API key, as `/r/<token>/…` in a base
    /// URL, and as the bearer of this API. It is shown here alone; `null`
    /// where a request is repeated with another credential than the first time.
    #[schema(example = "sk-fisc-@0.3f0e…")]
    token: Option<String>,
}

/// Lists every budget in sight.
pub(super) fn list(call: &Call) -> Reply {
    Reply::new(
        StatusCode::OK,
        &BudgetList::of(&call.state.fisc, &call.caller),
    )
}

/// Allocates a budget and issues its token.
pub(super) async fn allocate(call: &Call) -> Result<Reply, Problem> {
    let request: AllocateRequest = call.read()?;
    let id = request.id.clone();
    let once = &call.state.api.once;
    let allocated = |mark| allocate_once(call, request, mark);
    once.run(call, id.as_deref(), allocated).await
}

/// Answers again to a request that allocated a budget.
pub(super) fn allocated_again(
    call: &Call,
    id: BudgetId,
    delegate: DelegateNumber,
) -> Result<Reply, Problem> {
    let body = serde_json::json!({ "budget": shown(call, id)? });
    Ok(Reply::new(StatusCode::CREATED, &body).with_token(delegate))
}

async fn allocate_once(
    call: &Call,
    request: AllocateRequest,
    mark: Mark,
) -> Result<Reply, Problem> {
    let state = &call.state;
    let path = call.caller.path(&request.path)?;
    let terms = request.terms(&state.fisc)?;
    let silence = request.keep_alive.map(|TimeText(time)| time);
    if silence.is_some_and(|TimeUs(time)| time == 0) {
        return Err(Problem::new(Kind::BadTerms, "keep_alive is no time at all"));
    }
    if path == call.caller.root() {
        return Err(Problem::new(Kind::NameTaken, "it is your own root"));
    }
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    if let Ok(parent) = state.fisc.budget(parent)
        && parent.level() >= Level::Red
    {
        let detail = "nothing new is begun below it: it is nearly used up";
        let shown = call.caller.show(&parent.path());
        let problem = Problem::new(Kind::DoesNotFit, detail);
        return Err(problem.with("budget", shown.unwrap_or_else(|| path.clone())));
    }
    let now = state.fisc.ticks();
    if !state.births.may_come(call.caller.root(), now) {
        let detail = "budgets are allocated too fast; wait a second";
        return Err(Problem::new(Kind::TooManyBirths, detail));
    }
    let delegates = &state.callers.delegates;
    let draft = delegates.draft(call.caller.credential());
    let draft = draft.map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    let notes = |id: BudgetId| {
        let (budget, delegate) = (id.0, draft.number());
        let mut notes = mark.note(Done::Allocated { budget, delegate });
        notes.extend(delegates.issue(&draft, &path, id));
        let lease = silence.map(|silence| state.api.leases.watch(id, &path, silence, now));
        notes.extend(lease);
        notes
    };
    let allocated = state.fisc.allocate_noted(&path, terms, notes).await;
    let budget = allocated.map_err(|error| call.problem(&error))?;
    allocated_again(call, budget.id(), draft.number())
}

/// Changes what a budget is allowed, freezes or thaws it.
pub(super) async fn change(call: &Call, shown: &str) -> Result<Reply, Problem> {
    let path = call.caller.path_to_change(shown)?;
    let request: ChangeRequest = call.read()?;
    let budget = find(call, &path)?;
    let fisc = &call.state.fisc;
    let change = request.change(fisc)?;
    let freezer = Freezer {
        root: find(call, call.caller.root())?.id(),
        delegate: !call.caller.is_owner(),
    };
    let mut frozen_above = false;
    let changed = fisc.change_terms(budget.id(), |terms| {
        frozen_above = !change.apply(terms, freezer);
    });
    changed.await.map_err(|error| call.problem(&error))?;
    if frozen_above {
        let detail = "it was frozen by somebody who stands above you, and is thawed by them alone";
        return Err(Problem::new(Kind::FrozenAbove, detail).with("budget", shown));
    }
    Ok(reply(call, StatusCode::OK, &budget))
}

/// Ends a budget; what it did not use is its parent's.
pub(super) async fn release(call: &Call, shown: &str) -> Result<Reply, Problem> {
    let path = call.caller.path_to_change(shown)?;
    call.read_nothing()?;
    let budget = find(call, &path)?;
    let released = call.state.fisc.release(budget.id()).await;
    released.map_err(|error| call.problem(&error))?;
    Ok(reply(call, StatusCode::OK, &budget))
}

/// Raises a budget's limits.
pub(super) async fn top_up(call: &Call, shown: &str) -> Result<Reply, Problem> {
    let path = call.caller.path_to_change(shown)?;
    let request: TopUpRequest = call.read()?;
    let budget = find(call, &path)?;
    let given = AmountText {
        cost: request.cost,
        tokens: request.tokens,
        active_time: request.active_time,
    };
    let more = given.amount(call.state.fisc.counting())?;
    let once = &call.state.api.once;
    let raised = |mark: Mark| async move {
        let budget = &budget;
        check_raise(&budget.status().terms.limits, &more)?;
        let id = budget.id();
        let notes = || mark.note(Done::ToppedUp { budget: id.0 });
        let raised = call.state.fisc.top_up_noted(id, more, notes).await;
        raised.map_err(|error| call.problem(&error))?;
        topped_up_again(call, id)
    };
    once.run(call, request.id.as_deref(), raised).await
}

/// Refuses to add nothing, or to a limit that is not there.
fn check_raise(limits: &Limits, more: &Amount) -> Result<(), Problem> {
    questions::check_raise(limits, more).map_err(|why| refused_raise(&why))
}

/// Makes the answer to a raise that cannot be made.
pub(super) fn refused_raise(why: &NotApproved) -> Problem {
    let kind = match why {
        NotApproved::Unlimited(_) => Kind::BadTerms,
        _ => Kind::BadRequest,
    };
    Problem::new(kind, why.to_string())
}

/// Answers again to a request that topped a budget up.
pub(super) fn topped_up_again(call: &Call, id: BudgetId) -> Result<Reply, Problem> {
    Ok(Reply::new(StatusCode::OK, &shown(call, id)?))
}

/// Lends from one budget's unheld surplus to its sibling.
pub(super) async fn lend(call: &Call, shown: &str) -> Result<Reply, Problem> {
    let lender_path = call.caller.path_to_change(shown)?;
    let request: LoanRequest = call.read()?;
    let borrower_path = call.caller.path_to_change(&request.borrower)?;
    let given = AmountText {
        cost: request.cost,
        tokens: request.tokens,
        active_time: request.active_time,
    };
    let amount = given.amount(call.state.fisc.counting())?;
    let (lender, borrower) = (find(call, &lender_path)?, find(call, &borrower_path)?);
    let once = &call.state.api.once;
    let borrower_shown = request.borrower.as_str();
    let lent = |mark: Mark| async move {
        let notes = |lent: Amount| {
            mark.note(Done::Lent {
                lender: shown.to_owned(),
                borrower: borrower_shown.to_owned(),
                lent: lent.raw(),
            })
        };
        let fisc = &call.state.fisc;
        let lent = fisc.lend_noted(lender.id(), borrower.id(), amount, notes);
        let lent = lent.await.map_err(|error| call.problem(&error))?;
        Ok(lent_again(shown, borrower_shown, lent))
    };
    once.run(call, request.id.as_deref(), lent).await
}

/// Answers again to a request that lent so much.
pub(super) fn lent_again(lender: &str, borrower: &str, lent: Amount) -> Reply {
    let view = LoanMade {
        lender: lender.to_owned(),
        borrower: borrower.to_owned(),
        lent: lent.into(),
    };
    Reply::new(StatusCode::OK, &view)
}

/// Shows a budget by its id, for a caller who sees it.
fn shown(call: &Call, id: BudgetId) -> Result<Budget, Problem> {
    let fisc = &call.state.fisc;
    let status = fisc.status(id);
    let status = status.ok_or_else(|| Problem::new(Kind::UnknownBudget, "it is not there"))?;
    Ok(Budget::of(&status, fisc, &call.caller))
}

fn find(call: &Call, path: &str) -> Result<Handle, Problem> {
    call.state
        .fisc
        .budget(path)
        .map_err(|error| call.problem(&error))
}

fn reply(call: &Call, status: StatusCode, budget: &Handle) -> Reply {
    let view = Budget::of(&budget.status(), &call.state.fisc, &call.caller);
    Reply::new(status, &view)
}
