//! Questions to the owners of budgets that have run out: they are listed, approved and denied.
//!
//! Whoever may change a budget may decide about it. A program's own credential cannot raise the
//! budget that it stands for, so it cannot approve of it either.

use fisc::{Amount, Answer};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::budgets::refused_raise;
use super::caller::Caller;
use super::problem::{Kind, Problem};
use super::wire::{AmountText, Figures};
use super::{Call, Reply};
use crate::state::questions::{Question, number};
use crate::state::{NotApproved, State};

/// Every question in sight.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct QuestionList {
    /// The oldest first.
    questions: Vec<QuestionView>,
}

/// A budget has run out, and calls wait until its owner decides whether they may go on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Question)]
pub(super) struct QuestionView {
    /// What it is called.
    #[schema(example = "q-1")]
    id: String,
    /// The budget, beginning with the name of your own root.
    budget: String,
    /// `tokens`, `cost` or `time`.
    resource: &'static str,
    /// How many calls wait.
    waiting: u32,
    /// What they lack together.
    lacks: Figures,
    /// What is added when it is approved and no amount is named.
    offer: Figures,
    /// When it was asked, in microseconds since 1970.
    since_us: i64,
    /// When it ends as if it were denied, in microseconds since 1970.
    until_us: i64,
}

/// How much more a budget may spend.
#[derive(Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ApproveRequest {
    /// So many dollars more.
    cost: Option<super::wire::CostText>,
    /// So many tokens more.
    tokens: Option<super::wire::TokensText>,
    /// So much time more.
    active_time: Option<super::wire::TimeText>,
}

/// How a question was decided.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Decided {
    /// What it is called.
    id: String,
    /// The budget.
    budget: String,
    /// `approved` or `denied`.
    answer: &'static str,
    /// What was added to its limits.
    added: Option<Figures>,
}

/// Lists the questions in sight.
pub(super) fn list(call: &Call) -> Reply {
    let Call { state, caller, .. } = call;
    let open = state.questions.open();
    let seen = |asked: &Question| QuestionView::of(asked, state, caller);
    let questions = open.iter().filter_map(seen).collect();
    Reply::new(StatusCode::OK, &QuestionList { questions })
}

/// Raises the limits of a budget that has run out, and lets its calls go on.
pub(super) async fn approve(call: &Call, id: &str) -> Result<Reply, Problem> {
    let (asked, shown) = decidable(call, id)?;
    let request: ApproveRequest = call.read_or_default()?;
    let is_offer = request == ApproveRequest::default();
    let given = AmountText {
        cost: request.cost,
        tokens: request.tokens,
        active_time: request.active_time,
    };
    let State {
        fisc, questions, ..
    } = &*call.state;
    let more = given.amount(fisc.counting())?;
    let approved = questions.approve(fisc, asked.number, (!is_offer).then_some(more));
    let more = approved.await.map_err(|why| match &why {
        NotApproved::NotOpen => unknown(id),
        NotApproved::Books(error) => call.problem(error),
        NotApproved::Unlimited(_) | NotApproved::Nothing => refused_raise(&why),
    })?;
    Ok(decided(id, shown, Answer::Approved, Some(more)))
}

/// Refuses the calls that wait.
pub(super) fn deny(call: &Call, id: &str) -> Result<Reply, Problem> {
    let (asked, shown) = decidable(call, id)?;
    call.read_nothing()?;
    let state = &call.state;
    if !state
        .questions
        .answer(&state.fisc, asked.number, Answer::Denied)
    {
        return Err(unknown(id));
    }
    Ok(decided(id, shown, Answer::Denied, None))
}

fn decided(id: &str, budget: String, answer: Answer, added: Option<Amount>) -> Reply {
    let view = Decided {
        id: id.to_owned(),
        budget,
        answer: answer.name(),
        added: added.map(Figures::from),
    };
    Reply::new(StatusCode::OK, &view)
}

/// Finds a question that the caller may decide, and the path of its budget as it sees it.
fn decidable(call: &Call, id: &str) -> Result<(Question, String), Problem> {
    let Call { state, caller, .. } = call;
    let number = number(id).ok_or_else(|| unknown(id))?;
    let open = state.questions.open();
    let asked = open.into_iter().find(|asked| asked.number == number);
    let asked = asked.ok_or_else(|| unknown(id))?;
    let shown = caller.show(&state.fisc.path(asked.budget));
    let shown = shown.ok_or_else(|| unknown(id))?;
    caller.path_to_change(&shown)?;
    Ok((asked, shown))
}

fn unknown(id: &str) -> Problem {
    let detail = format!("no question {id} is open; it was decided, or ran out of time");
    Problem::new(Kind::UnknownQuestion, detail)
}

// === impl QuestionView ===

impl QuestionView {
    fn of(asked: &Question, state: &State, caller: &Caller) -> Option<QuestionView> {
        let budget = caller.show(&state.fisc.path(asked.budget))?;
        let mut lacks = Amount::ZERO;
        lacks.set(asked.resource, asked.lacks);
        Some(QuestionView {
            id: asked.name(),
            budget,
            resource: asked.resource.name(),
            waiting: asked.waiting,
            lacks: lacks.into(),
            offer: asked.offer(&state.fisc).into(),
            since_us: asked.since.0,
            until_us: asked.until.0,
        })
    }
}
