//! A client of a gateway's budget API, for the commands that change what is served, and for runs
//! inside of runs.
//!
//! Where the gateway is and what to show it comes from the environment or from a file, never
//! from a flag: a command line can be read by everybody on the machine.

use std::fmt::Write;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use fisc_gateway::Secret;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::exit;
use crate::failure::Failure;
use crate::home::Home;

/// The gateway's address.
pub(crate) const URL: &str = "FISC_URL";
/// What to show it: the token of a budget, or a key of the gateway.
pub(crate) const TOKEN: &str = "FISC_TOKEN";
/// A file that holds it instead.
const TOKEN_FILE: &str = "FISC_TOKEN_FILE";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer that is read: some thousand budgets.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// A gateway and a credential for it.
pub(crate) struct Remote {
    url: String,
    token: Secret,
    client: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// How one budget stands; paths begin with the name of the credential's own root.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Budget {
    pub(crate) path: String,
    pub(crate) state: String,
    pub(crate) level: String,
    pub(crate) levels: Levels,
    pub(crate) sharing: String,
    pub(crate) limit: Figures,
    pub(crate) spent: Figures,
    pub(crate) held: Figures,
    pub(crate) free: Figures,
    pub(crate) running: u32,
    pub(crate) deadline_at_us: Option<i64>,
}

/// The level of each resource.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Levels {
    pub(crate) tokens: String,
    pub(crate) cost: String,
    pub(crate) active_time: String,
    pub(crate) time: String,
}

/// An amount of each resource; `None` is no limit, or no such figure.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Figures {
    pub(crate) tokens: Option<i64>,
    pub(crate) cost_nanousd: Option<i64>,
    pub(crate) time_us: Option<i64>,
}

#[derive(Deserialize)]
struct List {
    budgets: Vec<Budget>,
}

/// What a run answers who asks to be let in.
#[derive(Deserialize)]
#[serde(untagged)]
enum Key {
    /// Where its gateway is, and the owner's credential.
    Key { url: String, token: String },
    /// Why not.
    Refused { refused: String },
}

/// Why a request came to nothing.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Nobody answers, or not as a gateway does.
    Gone(String),
    /// The gateway refuses.
    Problem(Box<Problem>),
}

/// A refusal (RFC 9457).
#[derive(Debug, Deserialize)]
pub(crate) struct Problem {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    budget: Option<String>,
    #[serde(default)]
    resource: Option<String>,
    #[serde(default)]
    limit: Value,
    #[serde(default)]
    spent: Value,
    #[serde(default)]
    held: Value,
    #[serde(default)]
    needed: Value,
}

// === impl Remote ===

impl Remote {
    /// Takes the gateway and the credential from the environment.
    pub(crate) fn from_environment() -> Result<Remote, Failure> {
        let url = set(URL).ok_or_else(|| {
            Failure::configuration(format!("{URL} is not set, so no gateway is known"))
                .hint(format!("set {URL} to the address that fisc serve printed"))
        })?;
        let token = match (set(TOKEN), set(TOKEN_FILE)) {
            (Some(token), _) => Secret::new(token),
            (None, Some(file)) => read_token(Path::new(&file))?,
            (None, None) => {
                return Err(Failure::configuration(format!("{TOKEN} is not set")).hint(format!(
                    "set {TOKEN} to a key of the gateway, or {TOKEN_FILE} to a file that holds it"
                )));
            }
        };
        Remote::new(&url, token)
    }

    /// Takes the gateway from the environment, or where that names none, that of a run that lets
    /// its owner in: the one named, or the last.
    pub(crate) fn connect(run: Option<&str>) -> Result<Remote, Failure> {
        if run.is_none() && set(URL).is_some() {
            return Remote::from_environment();
        }
        let mut shut = None;
        for door in Home::find()?.doors(run)? {
            let why = match knock(&door) {
                Ok(Key::Key { url, token }) => return Remote::new(&url, Secret::new(token)),
                Ok(Key::Refused { refused }) => refused,
                Err(error) => error.to_string(),
            };
            let failure = Failure::configuration(format!("{}: {why}", door.display()));
            let failure =
                failure.hint("set FISC_URL and FISC_TOKEN, or ask from outside of the run");
            shut = shut.or(Some(failure));
        }
        match shut {
            Some(failure) => Err(failure),
            None => Remote::from_environment(),
        }
    }

    fn new(url: &str, token: Secret) -> Result<Remote, Failure> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(Failure::configuration(format!("{URL} is no URL: {url}"))
                .hint("write it as http://127.0.0.1:4141"));
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(PATIENCE));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::aws_lc_rs::default_provider())
            .expect("the provider supports the default protocol versions")
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Remote {
            url: url.trim_end_matches('/').to_owned(),
            token,
            client: legacy::Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// The same gateway with another credential.
    pub(crate) fn with_token(&self, token: Secret) -> Remote {
        Remote {
            url: self.url.clone(),
            token,
            client: self.client.clone(),
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn token(&self) -> &Secret {
        &self.token
    }

    /// Returns every budget in sight, the credential's own root first.
    pub(crate) async fn budgets(&self) -> Result<Vec<Budget>, Trouble> {
        let list: List = self.get("/v1/budgets").await?;
        Ok(list.budgets)
    }

    /// Returns how one budget stands.
    pub(crate) async fn budget(&self, path: &str) -> Result<Budget, Trouble> {
        self.get(&at(path)).await
    }

    /// Gets what stands at a path of the API.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Trouble> {
        self.ask(Method::GET, path, None).await
    }

    /// Asks for something to be done.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<T, Trouble> {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Asks for a change.
    pub(crate) async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<T, Trouble> {
        self.ask(Method::PATCH, path, Some(body)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Trouble> {
        let request = self.request(method, path, body)?;
        let answer = tokio::time::timeout(PATIENCE, self.send(request)).await;
        let (status, bytes) = answer.map_err(|_| self.gone("no answer came in time"))??;
        if status.is_success() {
            return serde_json::from_slice(&bytes)
                .map_err(|error| self.gone(format!("its answer is not a gateway's: {error}")));
        }
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) if problem.is_one() => Err(Trouble::Problem(Box::new(problem))),
            _ => Err(self.gone(format!("it answers {status}"))),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, Trouble> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(AUTHORIZATION, format!("Bearer {}", self.token.expose()));
        let body = body.map(Value::to_string);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::from(body.unwrap_or_default()));
        // The reason may show the credential.
        request.map_err(|_| self.gone("the address or the credential has no such form"))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), Trouble> {
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| self.gone(innermost(&error)))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await;
        let body = body.map_err(|error| self.gone(error.to_string()))?;
        Ok((status, body.to_bytes()))
    }

    fn gone(&self, why: impl Into<String>) -> Trouble {
        Trouble::Gone(format!("the gateway at {}: {}", self.url, why.into()))
    }
}

/// Returns where the API keeps a budget.
pub(crate) fn at(path: &str) -> String {
    let mut place = "/v1/budgets/".to_owned();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@:+/".contains(&byte) {
            place.push(char::from(byte));
        } else {
            write!(place, "%{byte:02X}").expect("a String takes everything");
        }
    }
    place
}

/// Asks a run to be let in.
fn knock(door: &Path) -> io::Result<Key> {
    let mut door = UnixStream::connect(door)?;
    door.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    door.read_to_string(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

/// Returns a variable that is set and not blank.
pub(crate) fn set(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?.trim().to_owned();
    (!value.is_empty()).then_some(value)
}

fn read_token(file: &Path) -> Result<Secret, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        let file = file.display();
        Failure::configuration(format!("{TOKEN_FILE}: cannot read {file}: {error}"))
    })?;
    Ok(Secret::new(text.trim()))
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

// === impl Trouble ===

impl Trouble {
    /// Says whether this is the refusal of that kind, the end of its `type`.
    pub(crate) fn is(&self, kind: &str) -> bool {
        match self {
            Trouble::Gone(_) => false,
            Trouble::Problem(problem) => problem.r#type.rsplit(':').next() == Some(kind),
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Gone(why) => {
                Failure::internal(why).hint(format!("is it running, and is {URL} its address?"))
            }
            Trouble::Problem(problem) => problem.failure(),
        }
    }
}

// === impl Problem ===

impl Problem {
    fn is_one(&self) -> bool {
        !self.title.is_empty() || !self.detail.is_empty()
    }

    fn failure(&self) -> Failure {
        let text = match self.detail.as_str() {
            "" => self.title.clone(),
            detail => detail.to_owned(),
        };
        let failure = match self.status {
            401 | 403 => Failure::configuration(text),
            500.. => Failure::internal(text),
            402 => Failure::usage(text).with_code(exit::EXHAUSTED),
            _ => Failure::usage(text),
        };
        match self.figures() {
            Some(figures) => failure.hint(figures),
            None if self.status == 401 => failure.hint(format!(
                "{TOKEN} is a key of the gateway, or the token of a budget of it"
            )),
            None => failure,
        }
    }

    fn figures(&self) -> Option<String> {
        let resource = self.resource.as_ref()?;
        let budget = self.budget.as_deref().unwrap_or("the budget");
        let figures = [
            ("limit", &self.limit),
            ("spent", &self.spent),
            ("held", &self.held),
            ("needed", &self.needed),
        ];
        let shown = figures.iter().filter_map(|(name, value)| match value {
            Value::Null => None,
            Value::String(text) => Some(format!("{name} {text}")),
            other => Some(format!("{name} {other}")),
        });
        let shown: Vec<String> = shown.collect();
        Some(format!("{resource} of {budget}: {}", shown.join(", ")))
    }
}
