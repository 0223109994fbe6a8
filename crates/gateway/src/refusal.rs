//! What a caller is told when it is not served, in the words of its own wire.
//!
//! One table says for each kind which status, code and retry advice go with it. A refusal that
//! waiting cannot mend is a 402 or 4xx with `x-should-retry: false` and no `Retry-After`, which
//! every SDK takes as final; one that waiting mends names at most 30 s, because some SDKs sleep
//! for whatever they are told. Figures are shown only of budgets at or below the caller's root.

mod body;
mod headers;
mod message;

use std::time::Duration;

use bytes::Bytes;
use fisc_core::{Limits, Resource, Shortfall, TimeUs};
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
};
use hyper::{HeaderMap, Response, StatusCode};

use crate::routes::Provider;

pub(crate) use self::headers::BudgetHeaders;

/// How long to wait for room: such a call has waited here already, so calls in flight are long.
const ROOM_RETRY_AFTER: Duration = Duration::from_secs(5);
/// The longest wait that is named: some clients sleep for whatever they are told.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// How long to wait for the ledger, which reopens by itself.
const STORE_RETRY_AFTER: Duration = Duration::from_secs(2);

/// A request that is not served, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    kind: RefusalKind,
    budget: Option<BudgetFacts>,
    detail: Option<String>,
    /// How long to wait, where that is known better than the table knows it.
    wait: Option<Duration>,
}

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RefusalKind {
    /// The budget has not enough left, whatever calls in flight turn out to cost.
    BudgetExhausted,
    /// The time of the budget is over.
    TimeOver,
    /// Its owner stopped the budget for now.
    BudgetFrozen,
    /// The budget's work was declared done.
    BudgetReleased,
    /// The call is larger than the whole budget.
    RequestExceedsBudget,
    /// The call is larger than the budget allows a single call.
    RequestExceedsCallLimit,
    /// There is no room now, and will be when calls in flight end.
    BudgetReserved,
    /// Calls are slowed, and this one would have to wait longer than it may.
    BudgetThrottled,
    /// The call is marked optional, and its budget is scarce.
    OptionalDeclined,
    /// The model has no known price and a cost budget applies.
    ModelUnpriced,
    /// The ledger cannot record a hold.
    StoreUnavailable,
    /// No valid secret.
    Unauthorized,
    /// A web page sent it.
    OriginRefused,
    /// It was sent to a name that is not this gateway's.
    HostRefused,
    /// A name of an agent, operation or task cannot be one.
    BadName,
    /// The request is malformed, or its cost cannot be told from its body.
    BadRequest,
    /// Nothing is known of what the path costs.
    UnmeteredPath,
    /// The body is too large.
    TooLarge,
    /// The body is encoded (compressed).
    ContentEncoding,
    /// The body came too slowly.
    SlowBody,
    /// The upstream could not be reached; nothing was sent to it.
    UpstreamUnreachable,
    /// The upstream broke off before its answer was whole; what it may bill is charged.
    UpstreamBroken,
    /// The upstream did not answer within the time of a call.
    UpstreamTimeout,
    /// The gateway ends.
    ShuttingDown,
}

/// Which budget refused, and the figures of it that the caller may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BudgetFacts {
    /// A budget at or below the caller's root.
    Own {
        /// Its path.
        path: String,
        /// What was short; `None` when no amount was.
        short: Option<Figures>,
    },
    /// A budget above the caller's root: no name and no figures.
    Outer {
        /// What was short; `None` when no amount was.
        resource: Option<Resource>,
    },
}

/// The figures of one resource, in its raw units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figures {
    /// What was short.
    pub(crate) resource: Resource,
    /// Its limit.
    pub(crate) limit: i64,
    /// What of the limit is kept for wrapping up.
    pub(crate) kept: i64,
    /// What is spent.
    pub(crate) spent: i64,
    /// What calls in flight hold.
    pub(crate) held: i64,
    /// What the call needed.
    pub(crate) needed: i64,
}

/// What the table says about one kind.
struct Row {
    status: StatusCode,
    code: &'static str,
    openai: &'static str,
    anthropic: &'static str,
    retry: Retry,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Retry {
    Never,
    /// After this time.
    After(Duration),
    /// As the client's own back-off has it.
    Freely,
}

// === impl Refusal ===

impl Refusal {
    /// Makes a refusal without particulars.
    pub(crate) fn new(kind: RefusalKind) -> Refusal {
        Refusal {
            kind,
            budget: None,
            detail: None,
            wait: None,
        }
    }

    /// Makes the refusal that a tree's decision means. `path` is the refusing budget's path, or
    /// `None` when it lies above the caller's root.
    pub(crate) fn of_tree(refusal: &fisc_core::Refusal, path: Option<String>) -> Refusal {
        let (kind, short) = match refusal {
            fisc_core::Refusal::NotNow(short) => (RefusalKind::BudgetReserved, Some(short)),
            fisc_core::Refusal::PerCall(short) => {
                (RefusalKind::RequestExceedsCallLimit, Some(short))
            }
            fisc_core::Refusal::Never(short) if short.limit > 0 && short.needed > short.limit => {
                (RefusalKind::RequestExceedsBudget, Some(short))
            }
            fisc_core::Refusal::Never(short) => (RefusalKind::BudgetExhausted, Some(short)),
            fisc_core::Refusal::Deadline(_) => (RefusalKind::TimeOver, None),
            fisc_core::Refusal::Throttled(..) => (RefusalKind::BudgetThrottled, None),
            fisc_core::Refusal::Frozen(_) => (RefusalKind::BudgetFrozen, None),
            fisc_core::Refusal::Released(_) => (RefusalKind::BudgetReleased, None),
        };
        let budget = match path {
            Some(path) => BudgetFacts::Own {
                path,
                short: short.map(Figures::from),
            },
            None => BudgetFacts::Outer {
                resource: short.map(|short| short.resource),
            },
        };
        Refusal::new(kind).with_budget(budget)
    }

    /// Shows a budget's whole limit, not only what ordinary calls may use of it.
    #[must_use]
    pub(crate) fn with_whole_limit(mut self, limits: &Limits) -> Refusal {
        let of_one_call = self.kind == RefusalKind::RequestExceedsCallLimit;
        if let Some(BudgetFacts::Own {
            short: Some(short), ..
        }) = &mut self.budget
            && !of_one_call
            && let Some(whole) = limits.get(short.resource)
        {
            short.kept = whole.saturating_sub(short.limit).max(0);
            short.limit = short.limit.max(whole);
        }
        self
    }

    /// Makes a refusal for want of room final.
    #[must_use]
    pub(crate) fn for_good(mut self) -> Refusal {
        if self.kind == RefusalKind::BudgetReserved {
            self.kind = RefusalKind::BudgetExhausted;
        }
        self
    }

    /// Says which budget refused.
    #[must_use]
    pub(crate) fn with_budget(mut self, budget: BudgetFacts) -> Refusal {
        self.budget = Some(budget);
        self
    }

    /// Adds what only this request's refusal has to say: a model, a path, a parser's complaint.
    #[must_use]
    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Refusal {
        self.detail = Some(detail.into());
        self
    }

    /// Says after which time a call is due.
    #[must_use]
    pub(crate) fn until(mut self, due: TimeUs) -> Refusal {
        let seconds = due.0.max(0).unsigned_abs().div_ceil(1_000_000);
        let wait = Duration::from_secs(seconds.max(1));
        self.wait = Some(wait.min(RETRY_AFTER_MAX));
        self
    }

    /// Returns why the request is not served.
    pub(crate) fn kind(&self) -> RefusalKind {
        self.kind
    }

    /// Returns the stable code, the same in body, headers, logs and metrics.
    pub(crate) fn code(&self) -> &'static str {
        self.kind.row().code
    }

    /// Makes the answer in the shape of the caller's wire.
    pub(crate) fn into_response(self, provider: Provider, request_id: &str) -> Response<Bytes> {
        let row = self.kind.row();
        let body = body::write(&self, provider, request_id);
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = row.status;
        self.write_headers(response.headers_mut(), request_id);
        response
    }

    /// Returns how long the caller shall wait, when waiting helps and a time is to be named.
    fn wait(&self) -> Option<Duration> {
        match self.kind.row().retry {
            Retry::After(wait) => Some(self.wait.unwrap_or(wait)),
            Retry::Never | Retry::Freely => None,
        }
    }

    fn write_headers(&self, headers: &mut HeaderMap, request_id: &str) {
        let row = self.kind.row();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let retry = if row.retry == Retry::Never {
            "false"
        } else {
            "true"
        };
        headers.insert("x-should-retry", HeaderValue::from_static(retry));
        headers.insert("fisc-reason", HeaderValue::from_static(row.code));
        if let Ok(id) = HeaderValue::from_str(request_id) {
            headers.insert("request-id", id.clone());
            headers.insert("x-request-id", id);
        }
        if let Some(wait) = self.wait() {
            let seconds = wait.as_secs();
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
            let millis = HeaderValue::from(wait.as_millis() as u64);
            headers.insert(HeaderName::from_static("retry-after-ms"), millis);
        }
        match &self.budget {
            Some(BudgetFacts::Own { path, .. }) => {
                headers::insert_text(headers, "fisc-budget", path);
            }
            Some(BudgetFacts::Outer { .. }) => {
                headers::insert_text(headers, "fisc-budget", "outer");
            }
            None => {}
        }
        if self.kind.leaves_body_unread() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

// === impl RefusalKind ===

impl RefusalKind {
    /// Says whether the client may still be sending a body that nobody will read.
    fn leaves_body_unread(self) -> bool {
        matches!(self, RefusalKind::TooLarge | RefusalKind::SlowBody)
    }

    /// The table.
    fn row(self) -> Row {
        const BAD: &str = "invalid_request_error";
        const QUOTA: &str = "insufficient_quota";
        const BILLING: &str = "billing_error";
        use RefusalKind as Kind;
        use Retry::{After, Freely, Never};
        let row = |status, code, openai, anthropic, retry| {
            let status = StatusCode::from_u16(status).expect("the table holds valid statuses");
            Row {
                status,
                code,
                openai,
                anthropic,
                retry,
            }
        };
        let (soon, store) = (After(ROOM_RETRY_AFTER), After(STORE_RETRY_AFTER));
        let rate = |code| row(429, code, "rate_limit_error", "rate_limit_error", soon);
        match self {
            Kind::BudgetExhausted => row(402, "budget_exhausted", QUOTA, BILLING, Never),
            Kind::TimeOver => row(402, "budget_time_over", QUOTA, BILLING, Never),
            Kind::BudgetFrozen => row(402, "budget_frozen", QUOTA, BILLING, Never),
            Kind::BudgetReleased => row(402, "budget_released", QUOTA, BILLING, Never),
            Kind::RequestExceedsBudget => row(402, "request_exceeds_budget", QUOTA, BILLING, Never),
            Kind::RequestExceedsCallLimit => {
                row(402, "request_exceeds_call_limit", QUOTA, BILLING, Never)
            }
            Kind::BudgetReserved => rate("budget_reserved"),
            Kind::BudgetThrottled => rate("budget_throttled"),
            Kind::OptionalDeclined => row(402, "optional_declined", QUOTA, BILLING, Never),
            Kind::ModelUnpriced => row(402, "model_unpriced", QUOTA, BILLING, Never),
            Kind::StoreUnavailable => row(
                503,
                "budget_store_unavailable",
                "server_error",
                "api_error",
                store,
            ),
            Kind::Unauthorized => row(401, "invalid_api_key", BAD, "authentication_error", Never),
            Kind::OriginRefused => row(403, "origin_refused", BAD, "permission_error", Never),
            Kind::HostRefused => row(403, "host_refused", BAD, "permission_error", Never),
            Kind::BadName => row(400, "bad_name", BAD, BAD, Never),
            Kind::BadRequest => row(400, "bad_request", BAD, BAD, Never),
            Kind::UnmeteredPath => row(404, "unmetered_path", BAD, "not_found_error", Never),
            Kind::TooLarge => row(413, "request_too_large", BAD, "request_too_large", Never),
            Kind::ContentEncoding => row(415, "content_encoding", BAD, BAD, Never),
            Kind::SlowBody => row(408, "slow_body", BAD, "timeout_error", Never),
            Kind::UpstreamUnreachable => row(
                502,
                "upstream_unreachable",
                "server_error",
                "api_error",
                Freely,
            ),
            Kind::UpstreamBroken => {
                row(502, "upstream_broken", "server_error", "api_error", Freely)
            }
            Kind::ShuttingDown => row(503, "shutting_down", "server_error", "api_error", store),
            Kind::UpstreamTimeout => row(
                504,
                "upstream_timeout",
                "server_error",
                "timeout_error",
                Never,
            ),
        }
    }
}

// === impl Figures ===

impl From<&Shortfall> for Figures {
    fn from(short: &Shortfall) -> Figures {
        let Shortfall {
            resource,
            limit,
            spent,
            held,
            needed,
            ..
        } = *short;
        Figures {
            resource,
            limit,
            kept: 0,
            spent,
            held,
            needed,
        }
    }
}

#[cfg(test)]
mod tests;
