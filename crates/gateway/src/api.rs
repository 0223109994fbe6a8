//! The budget API, `/v1/budgets…`: what programs ask of budgets beside their calls.
//!
//! The same secrets authorize as for calls, each for its own subtree. What is read is typed and
//! refuses what it does not know; what goes wrong is a problem of one table (`problem`). A
//! request that changes something runs in a task of its own: its client may leave, what it
//! began is finished and remembered.

mod budgets;
mod caller;
mod forecast;
mod holds;
mod leases;
mod once;
mod openapi;
mod problem;
mod questions;
mod report;
mod terms;
mod view;
mod wire;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use fisc::{Error, Fisc};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::http::request;
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::caller::Caller;
use self::holds::Held;
use self::leases::Leases;
use self::once::Once;
pub(crate) use self::problem::{Kind, Problem};
use crate::body::AnswerBody;
use crate::proxy::identify::{DelegateNumber, path_without_secret, percent_decode};
use crate::proxy::read;
use crate::state::State;

/// Where the API lies.
const ROOT: &str = "/v1/budgets";
/// Where the questions to owners lie.
const QUESTIONS: &str = "/v1/questions";
/// Where its document lies.
const DOCUMENT: &str = "/v1/openapi.json";

/// The largest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The header by which a client makes a request idempotent.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What the API remembers between requests.
#[derive(Default)]
pub(crate) struct Api {
    once: Once,
    held: Held,
    leases: Leases,
}

/// One request.
struct Call {
    state: Arc<State>,
    caller: Caller,
    method: Method,
    /// The path without a secret.
    path: String,
    query: Option<String>,
    idempotency_key: Option<String>,
    body: Bytes,
}

/// An answer, but for a token that comes with it.
#[derive(Debug, Clone)]
struct Reply {
    status: StatusCode,
    body: Value,
    token: Option<DelegateNumber>,
}

/// What a request is about.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    All,
    Budget(String),
    Report(String),
    Forecast(String),
    Act(String, Act),
    Hold(String, String, HoldAct),
    Questions,
    Approve(String),
    Deny(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Release,
    TopUp,
    Lend,
    Hold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HoldAct {
    Settle,
    Extend,
    Void,
}

/// Says whether a request is for the API, and not a call.
pub(crate) fn is_for(head: &request::Parts) -> bool {
    path_without_secret(&head.uri).is_some_and(|path| {
        let below = |root| {
            let rest = path.strip_prefix(root);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        below(ROOT) || below(QUESTIONS) || path == DOCUMENT
    })
}

/// Serves one request.
pub(crate) async fn serve(
    state: &Arc<State>,
    head: &request::Parts,
    body: Incoming,
) -> Response<AnswerBody> {
    match answer(state, head, body).await {
        Ok(answer) => answer,
        Err(problem) => problem.into_response(),
    }
}

async fn answer(
    state: &Arc<State>,
    head: &request::Parts,
    body: Incoming,
) -> Result<Response<AnswerBody>, Problem> {
    let path = path_without_secret(&head.uri).unwrap_or_default();
    if path == DOCUMENT {
        state.callers.check_host(&head.uri, &head.headers)?;
        return match head.method {
            Method::GET => Ok(json(openapi::document().into())),
            _ => Err(Problem::new(Kind::MethodNotAllowed, "only GET")),
        };
    }
    let grant = state.callers.grant(&head.uri, &head.headers)?;
    state.api.touch(&grant.root, state);
    let body = read::read(&head.headers, body).await?;
    if body.len() > BODY_BYTES_MAX {
        return Err(Problem::new(Kind::TooLarge, "the body is too large"));
    }
    let key = head.headers.get(IDEMPOTENCY_KEY);
    let key = key.map(|key| key.to_str().map(str::to_owned)).transpose();
    let call = Call {
        state: Arc::clone(state),
        caller: Caller::new(grant),
        method: head.method.clone(),
        path: path.to_owned(),
        query: head.uri.query().map(str::to_owned),
        idempotency_key: key.map_err(|_| bad_id())?,
        body,
    };
    let done = tokio::spawn(async move {
        let reply = call.carry_out().await?;
        Ok(reply.into_response(&call))
    });
    let failed = |_| Err(Problem::new(Kind::Internal, "the request was not finished"));
    done.await.unwrap_or_else(failed)
}

// === impl Api ===

impl Api {
    /// Takes up what the ledger keeps of an earlier life. Holds are not among it: those that were
    /// open are in doubt.
    pub(crate) fn restore(&self, fisc: &Fisc) -> Result<(), Error> {
        self.once.restore(fisc)?;
        self.leases.restore(fisc)
    }

    /// Notes a sign of life of whoever stands for the budget `root`.
    pub(crate) fn touch(&self, root: &str, state: &State) {
        self.leases.touch(root, state.fisc.ticks());
    }

    /// Ends what is over by the clock: holds that nobody ended, budgets that nobody uses.
    pub(crate) async fn tick(&self, state: &State) {
        self.held.expire(&state.fisc);
        self.leases.expire(&state.fisc).await;
    }

    /// Ends the holds that are open, in full: nobody can end them any more.
    pub(crate) fn stop(&self) {
        self.held.end_all();
    }
}

// === impl Call ===

impl Call {
    async fn carry_out(&self) -> Result<Reply, Problem> {
        let held = &self.state.api.held;
        let not_with = || {
            let detail = format!("{} is not possible here", self.method);
            Err(Problem::new(Kind::MethodNotAllowed, detail))
        };
        match (self.target()?, self.method.as_str()) {
            (Target::All, "GET") => Ok(budgets::list(self)),
            (Target::All, "POST") => budgets::allocate(self).await,
            (Target::Budget(path), "GET") => report::check(self, &path),
            (Target::Forecast(path), "GET") => forecast::forecast(self, &path),
            (Target::Report(path), "GET") => report::report(self, &path).await,
            (Target::Budget(path), "PATCH") => budgets::change(self, &path).await,
            (Target::Act(path, act), "POST") => match act {
                Act::Release => budgets::release(self, &path).await,
                Act::TopUp => budgets::top_up(self, &path).await,
                Act::Lend => budgets::lend(self, &path).await,
                Act::Hold => held.hold(self, &path).await,
            },
            (Target::Hold(path, id, act), "POST") => match act {
                HoldAct::Settle => held.settle(self, &path, &id).await,
                HoldAct::Void => held.void(self, &path, &id).await,
                HoldAct::Extend => {
                    let request: holds::ExtendRequest = self.read()?;
                    let extended = held.extend(self, &path, &id, &request);
                    let once = &self.state.api.once;
                    once.run(self, request.id.as_deref(), |_| extended).await
                }
            },
            (Target::Questions, "GET") => Ok(questions::list(self)),
            (Target::Approve(id), "POST") => questions::approve(self, &id).await,
            (Target::Deny(id), "POST") => questions::deny(self, &id),
            _ => not_with(),
        }
    }

    /// Finds out what the request is about. What is done stands at the end of the path of a
    /// POST, so that budgets may have any name.
    fn target(&self) -> Result<Target, Problem> {
        let unknown = || {
            let detail = format!("{} {} is nothing to ask", self.method, self.path);
            Problem::new(Kind::UnknownPath, detail)
        };
        if let Some(below) = self.path.strip_prefix(QUESTIONS) {
            let parts: Vec<_> = below.split('/').collect();
            return match parts.as_slice() {
                [""] => Ok(Target::Questions),
                ["", id, "approve"] => Ok(Target::Approve((*id).to_owned())),
                ["", id, "deny"] => Ok(Target::Deny((*id).to_owned())),
                _ => Err(unknown()),
            };
        }
        let below = self.path.strip_prefix(ROOT).ok_or_else(unknown)?;
        let Some(below) = below.strip_prefix('/') else {
            return Ok(Target::All);
        };
        let names = below.split('/').map(percent_decode);
        let names: Option<Vec<_>> = names.collect();
        let names = names.ok_or_else(unknown)?;
        if names
            .iter()
            .any(|name| name.is_empty() || name.contains('/'))
        {
            return Err(unknown());
        }
        if self.method != Method::POST {
            return Ok(self.read_target(&names));
        }
        if let [path @ .., holds, id, act] = names.as_slice()
            && holds == "holds"
            && !path.is_empty()
            && let Some(act) = HoldAct::named(act)
        {
            return Ok(Target::Hold(path.join("/"), id.to_string(), act));
        }
        match names.as_slice() {
            [path @ .., act] if !path.is_empty() => {
                let act = Act::named(act).ok_or_else(unknown)?;
                Ok(Target::Act(path.join("/"), act))
            }
            _ => Err(unknown()),
        }
    }

    /// Finds out what is to be read. A budget that is called `report` or `forecast` goes before
    /// that of its parent.
    fn read_target(&self, names: &[Cow<'_, str>]) -> Target {
        let whole = names.join("/");
        if let [path @ .., what] = names
            && (what == "report" || what == "forecast")
            && !path.is_empty()
            && self.method == Method::GET
        {
            let found = self.caller.path(&whole);
            let exists = found.is_ok_and(|path| self.state.fisc.budget(&path).is_ok());
            if !exists {
                let path = path.join("/");
                return match what.as_ref() {
                    "report" => Target::Report(path),
                    _ => Target::Forecast(path),
                };
            }
        }
        Target::Budget(whole)
    }

    /// Reads the body.
    fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Problem::new(Kind::BadRequest, error.to_string()))
    }

    /// Reads a body that may be left out.
    fn read_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.body.is_empty() {
            return Ok(T::default());
        }
        self.read()
    }

    /// Refuses a body that says something.
    fn read_nothing(&self) -> Result<(), Problem> {
        #[derive(Default, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        self.read_or_default::<Nothing>().map(|Nothing {}| ())
    }

    /// Returns the id by which the request is carried out once: of the header or of the body.
    fn client_id(&self, in_body: Option<&str>) -> Result<Option<String>, Problem> {
        let in_header = self.idempotency_key.as_deref();
        if let (Some(one), Some(other)) = (in_header, in_body)
            && one != other
        {
            let detail = "the header Idempotency-Key and the body have different ids";
            return Err(Problem::new(Kind::BadRequest, detail));
        }
        match in_header.or(in_body) {
            Some(id) if !once::is_id(id) => Err(bad_id()),
            id => Ok(id.map(str::to_owned)),
        }
    }

    /// Makes the answer to an error of the books.
    fn problem(&self, error: &Error) -> Problem {
        Problem::of(error, &self.caller, &self.state.fisc)
    }
}

// === impl Reply ===

impl Reply {
    fn new(status: StatusCode, body: &impl Serialize) -> Reply {
        Reply {
            status,
            body: serde_json::to_value(body).expect("views have string keys alone"),
            token: None,
        }
    }

    fn with_token(mut self, token: DelegateNumber) -> Reply {
        self.token = Some(token);
        self
    }

    /// Writes the answer. Its token is made of the credential of whoever asked; somebody else gets
    /// none, should they ask the same.
    fn into_response(self, call: &Call) -> Response<AnswerBody> {
        let mut body = self.body;
        if let (Some(number), Some(members)) = (self.token, body.as_object_mut()) {
            let delegates = &call.state.callers.delegates;
            let token = delegates.token(number, call.caller.credential());
            let token = token.map(|token| token.expose().to_owned());
            members.insert("token".to_owned(), token.into());
        }
        let mut response = json(body.to_string().into());
        *response.status_mut() = self.status;
        response
    }
}

// === impl Act and HoldAct ===

impl Act {
    fn named(name: &str) -> Option<Act> {
        match name {
            "release" => Some(Act::Release),
            "topup" => Some(Act::TopUp),
            "loans" => Some(Act::Lend),
            "holds" => Some(Act::Hold),
            _ => None,
        }
    }
}

impl HoldAct {
    fn named(name: &str) -> Option<HoldAct> {
        match name {
            "settle" => Some(HoldAct::Settle),
            "extend" => Some(HoldAct::Extend),
            "void" => Some(HoldAct::Void),
            _ => None,
        }
    }
}

fn json(bytes: Bytes) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::from(bytes));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn bad_id() -> Problem {
    let detail = "an id is at most 128 printable characters without white space";
    Problem::new(Kind::BadRequest, detail)
}
