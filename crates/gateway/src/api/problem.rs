//! Why the budget API did not do what it was asked, as RFC 9457 problems.
//!
//! One table says for each kind which status and title go with it; the kind's name ends the
//! `type` and is stable. Figures and names are told only of budgets that the caller sees.

use bytes::Bytes;
use fisc::{Error, Fisc, Refusal, Resource, Shortfall};
use fisc_core::{Money, TreeError};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::caller::Caller;
use crate::body::AnswerBody;
use crate::proxy::identify::IdentifyError;
use crate::proxy::read::ReadError;

/// What every problem's `type` begins with.
const TYPE_PREFIX: &str = "urn:fisc:problem:";

/// A request that was not carried out; nothing was changed.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    kind: Kind,
    detail: String,
    members: Map<String, Value>,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Unauthorized,
    WebPage,
    ForeignHost,
    OwnRoot,
    UnknownBudget,
    UnknownHold,
    UnknownQuestion,
    UnknownPath,
    MethodNotAllowed,
    BadRequest,
    TooLarge,
    BadTerms,
    NameTaken,
    IdReused,
    DoesNotFit,
    Released,
    CallsRunning,
    HoldEnded,
    LoanImpossible,
    BudgetExhausted,
    BudgetReserved,
    BudgetThrottled,
    CallLimit,
    TimeOver,
    Frozen,
    FrozenAbove,
    TooManyBirths,
    StoreUnavailable,
    Internal,
}

/// A request that was not carried out, as the wire has it (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// `urn:fisc:problem:` and a stable name.
    r#type: String,
    /// What the type means.
    title: String,
    /// The status code.
    status: u16,
    /// What happened here.
    detail: String,
    /// The budget that binds: its path, or `an outer budget` above the caller's root, of which
    /// no figures are told.
    budget: Option<String>,
    /// `tokens`, `cost` or `active_time`.
    resource: Option<String>,
    /// What the figures count: `tokens`, `usd` or `us`.
    unit: Option<String>,
    /// Its limit: a decimal string of dollars, else an integer; dollars also as
    /// `limit_nanousd`.
    #[schema(value_type = Option<Value>)]
    limit: Option<Value>,
    /// What is spent, in the same form.
    #[schema(value_type = Option<Value>)]
    spent: Option<Value>,
    /// What calls in flight hold, in the same form.
    #[schema(value_type = Option<Value>)]
    held: Option<Value>,
    /// What was needed, in the same form.
    #[schema(value_type = Option<Value>)]
    needed: Option<Value>,
    /// How many calls still run.
    running: Option<u32>,
}

// === impl Problem ===

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        Problem {
            kind,
            detail: detail.into(),
            members: Map::new(),
        }
    }

    /// Says that no budget in sight has a path, whatever there is out of sight.
    pub(super) fn unknown_budget(shown: &str) -> Problem {
        let detail = format!("no budget that you see has the path {shown:?}");
        Problem::new(Kind::UnknownBudget, detail)
    }

    /// Makes the answer to an error of the books, as far as the caller may know.
    pub(super) fn of(error: &Error, caller: &Caller, fisc: &Fisc) -> Problem {
        match error {
            Error::Refused { path, refusal } => {
                Problem::of_refusal(refusal, &caller.name(path), caller.show(path).is_some())
            }
            Error::Tree(error) => Problem::of_tree(*error, caller, fisc),
            Error::UnknownPath(path) => Problem::unknown_budget(&caller.name(path)),
            Error::Behind(_) => {
                Problem::new(Kind::StoreUnavailable, "the ledger is behind; try again")
            }
            other => {
                tracing::warn!(error = %other, "the budget API cannot use the ledger");
                Problem::new(Kind::StoreUnavailable, "the ledger cannot be written now")
            }
        }
    }

    fn of_refusal(refusal: &Refusal, name: &str, seen: bool) -> Problem {
        let (kind, what) = match refusal {
            Refusal::NotNow(_) => (
                Kind::BudgetReserved,
                "has not enough left while calls run that hold it",
            ),
            Refusal::Never(_) => (Kind::BudgetExhausted, "has not enough left"),
            Refusal::PerCall(_) => (Kind::CallLimit, "allows no single call as large"),
            Refusal::Throttled(..) => (
                Kind::BudgetThrottled,
                "slows its calls to make what is left last",
            ),
            Refusal::Deadline(_) => (Kind::TimeOver, "has no time left"),
            Refusal::Frozen(_) => (Kind::Frozen, "is frozen by its owner"),
            Refusal::Released(_) => (Kind::Released, "was released"),
        };
        let problem = Problem::new(kind, format!("{name} {what}")).with("budget", name);
        match refusal {
            Refusal::NotNow(short) | Refusal::Never(short) | Refusal::PerCall(short) => {
                problem.with_shortfall(short, seen)
            }
            Refusal::Deadline(_)
            | Refusal::Throttled(..)
            | Refusal::Frozen(_)
            | Refusal::Released(_) => problem,
        }
    }

    fn of_tree(error: TreeError, caller: &Caller, fisc: &Fisc) -> Problem {
        let kind = match error {
            TreeError::UnknownBudget(_) => Kind::UnknownBudget,
            TreeError::UnknownHold(_) => Kind::UnknownHold,
            TreeError::Conflict(_) => Kind::HoldEnded,
            TreeError::NameTaken(_) => Kind::NameTaken,
            TreeError::DoesNotFit(short) => {
                let path = fisc.path(short.budget);
                let name = caller.name(&path);
                let problem = Problem::new(Kind::DoesNotFit, format!("{name} cannot keep as much"));
                return problem
                    .with("budget", name.as_str())
                    .with_shortfall(&short, caller.show(&path).is_some());
            }
            TreeError::Released(id) => {
                let name = caller.name(&fisc.path(id));
                let problem = Problem::new(Kind::Released, format!("{name} was released"));
                return problem.with("budget", name.as_str());
            }
            TreeError::CallsRunning(running) => {
                let problem = Problem::new(Kind::CallsRunning, error.to_string());
                return problem.with("running", running);
            }
            TreeError::NotSiblings
            | TreeError::UnlikeTerms
            | TreeError::LoanCycle
            | TreeError::NothingToLend => Kind::LoanImpossible,
            _ => Kind::BadTerms,
        };
        Problem::new(kind, error.to_string())
    }

    /// Adds a member.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    fn with_shortfall(self, short: &Shortfall, seen: bool) -> Problem {
        let problem = self.with("resource", short.resource.name());
        if !seen {
            return problem;
        }
        // A plan without a figure of its own shows no limit at all.
        let limit = (short.limit < i64::MAX).then_some(short.limit);
        problem
            .with("unit", unit(short.resource))
            .with_figure("limit", short.resource, limit)
            .with_figure("spent", short.resource, Some(short.spent))
            .with_figure("held", short.resource, Some(short.held))
            .with_figure("needed", short.resource, Some(short.needed))
    }

    fn with_figure(self, name: &str, resource: Resource, units: Option<i64>) -> Problem {
        let Some(units) = units else { return self };
        match resource {
            Resource::Cost => self
                .with(name, Money::from_nanos(units).to_decimal())
                .with(&format!("{name}_nanousd"), units),
            Resource::Tokens | Resource::Time => self.with(name, units),
        }
    }

    /// Writes the answer.
    pub(crate) fn into_response(self) -> Response<AnswerBody> {
        let (status, title) = self.kind.says();
        let mut body = self.members;
        let kind = format!("{TYPE_PREFIX}{}", self.kind.name());
        body.insert("type".to_owned(), kind.into());
        body.insert("title".to_owned(), title.into());
        body.insert("status".to_owned(), status.as_u16().into());
        body.insert("detail".to_owned(), self.detail.into());
        let bytes = Bytes::from(Value::Object(body).to_string());
        let mut response = Response::new(AnswerBody::from(bytes));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value: &'static str| {
            headers.insert(name, HeaderValue::from_static(value));
        };
        set(CONTENT_TYPE, "application/problem+json");
        set(CACHE_CONTROL, "no-store");
        match self.kind {
            Kind::Unauthorized => set(WWW_AUTHENTICATE, "Bearer"),
            Kind::MethodNotAllowed => set(ALLOW, "GET, POST, PATCH"),
            Kind::BudgetReserved | Kind::BudgetThrottled => set(RETRY_AFTER, "5"),
            Kind::StoreUnavailable => set(RETRY_AFTER, "2"),
            Kind::TooManyBirths => set(RETRY_AFTER, "1"),
            _ => {}
        }
        response
    }
}

impl From<IdentifyError> for Problem {
    fn from(error: IdentifyError) -> Problem {
        let kind = match error {
            IdentifyError::NoSecret => Kind::Unauthorized,
            IdentifyError::Origin => Kind::WebPage,
            IdentifyError::ForeignHost => Kind::ForeignHost,
            _ => Kind::BadRequest,
        };
        Problem::new(kind, error.to_string())
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Problem {
        match error {
            ReadError::TooLarge => Problem::new(Kind::TooLarge, "the body is too large"),
            ReadError::Encoded => Problem::new(Kind::BadRequest, "the body is compressed"),
            ReadError::TooSlow | ReadError::Gone => {
                Problem::new(Kind::BadRequest, "the body did not come whole")
            }
        }
    }
}

// === impl Kind ===

impl Kind {
    /// The table: status and title of each kind.
    fn says(self) -> (StatusCode, &'static str) {
        let (status, title) = match self {
            Kind::Unauthorized => (401, "No valid credential"),
            Kind::WebPage => (403, "Web pages are not served"),
            Kind::ForeignHost => (403, "Not a name of this gateway"),
            Kind::OwnRoot => (403, "A delegate cannot change its own root"),
            Kind::UnknownBudget => (404, "No such budget"),
            Kind::UnknownHold => (404, "No such hold"),
            Kind::UnknownQuestion => (404, "No such question"),
            Kind::UnknownPath => (404, "No such operation"),
            Kind::MethodNotAllowed => (405, "Not with this method"),
            Kind::BadRequest => (400, "The request cannot be read"),
            Kind::TooLarge => (413, "The request is too large"),
            Kind::BadTerms => (422, "A budget cannot have such terms"),
            Kind::NameTaken => (409, "The name is taken"),
            Kind::IdReused => (409, "The id was used for another request"),
            Kind::DoesNotFit => (409, "It does not fit what a parent has left"),
            Kind::Released => (409, "The budget was released"),
            Kind::CallsRunning => (409, "Calls are still running"),
            Kind::HoldEnded => (409, "The hold has ended otherwise"),
            Kind::LoanImpossible => (409, "The loan cannot be made"),
            Kind::BudgetExhausted => (402, "Not enough left"),
            Kind::BudgetReserved => (429, "Not enough left while calls run"),
            Kind::BudgetThrottled => (429, "Calls are slowed"),
            Kind::CallLimit => (402, "Larger than a single call may be"),
            Kind::TimeOver => (402, "The time of the budget is over"),
            Kind::Frozen => (409, "The budget is frozen"),
            Kind::FrozenAbove => (403, "Somebody above froze the budget"),
            Kind::TooManyBirths => (429, "Budgets are allocated too fast"),
            Kind::StoreUnavailable => (503, "The ledger cannot be written now"),
            Kind::Internal => (500, "Internal error"),
        };
        let status = StatusCode::from_u16(status).expect("the table holds valid codes");
        (status, title)
    }

    /// The stable name.
    fn name(self) -> &'static str {
        match self {
            Kind::Unauthorized => "unauthorized",
            Kind::WebPage => "origin_refused",
            Kind::ForeignHost => "host_refused",
            Kind::OwnRoot => "own_root",
            Kind::UnknownBudget => "unknown_budget",
            Kind::UnknownHold => "unknown_hold",
            Kind::UnknownQuestion => "unknown_question",
            Kind::UnknownPath => "unknown_path",
            Kind::MethodNotAllowed => "method_not_allowed",
            Kind::BadRequest => "bad_request",
            Kind::TooLarge => "request_too_large",
            Kind::BadTerms => "bad_terms",
            Kind::NameTaken => "name_taken",
            Kind::IdReused => "id_reused",
            Kind::DoesNotFit => "does_not_fit",
            Kind::Released => "budget_released",
            Kind::CallsRunning => "calls_running",
            Kind::HoldEnded => "hold_ended",
            Kind::LoanImpossible => "loan_impossible",
            Kind::BudgetExhausted => "budget_exhausted",
            Kind::BudgetReserved => "budget_reserved",
            Kind::BudgetThrottled => "budget_throttled",
            Kind::CallLimit => "request_exceeds_call_limit",
            Kind::TimeOver => "budget_time_over",
            Kind::Frozen => "budget_frozen",
            Kind::FrozenAbove => "frozen_above",
            Kind::TooManyBirths => "too_many_budgets",
            Kind::StoreUnavailable => "budget_store_unavailable",
            Kind::Internal => "internal",
        }
    }
}

fn unit(resource: Resource) -> &'static str {
    match resource {
        Resource::Tokens => "tokens",
        Resource::Cost => "usd",
        Resource::Time => "us",
    }
}
