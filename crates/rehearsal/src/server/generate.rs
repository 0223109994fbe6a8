//! One call from its body to its answer: read, plan, record, wait, write.

use std::sync::PoisonError;
use std::time::Duration;

use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Arrival, Shared, reply};
use crate::body::Player;
use crate::directions::Directions;
use crate::draw::{self, Draw};
use crate::plan::Plan;
use crate::report;
use crate::request::{Reject, Request};
use crate::sse::{self, Events};
use crate::truth::{self, Call, Canonical, State, TruthRecord, Wire};
use crate::{anthropic, openai};

/// What was decided about a call.
struct Script {
    request: Request,
    directions: Directions,
    plan: Plan,
    usage: Value,
    canonical: Canonical,
    request_id: String,
}

/// Answers a call.
pub(super) async fn answer(shared: &Shared, arrival: &Arrival) -> Response<Player> {
    let request = match read(shared, arrival) {
        Ok(request) => request,
        Err(reject) => return refuse(shared, arrival, &reject),
    };
    if arrival.path.ends_with("/count_tokens") {
        return count(shared, arrival, &request);
    }
    let script = Script::new(shared, arrival, request);
    let call = shared.log.begin(script.record(arrival));
    let wait = script.directions.delay(latency(shared, call.seq()));
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    if script.directions.hang {
        // Ends when the client leaves: this future is dropped, and the call with it.
        std::future::pending::<()>().await;
    }
    script.play(shared, arrival, call)
}

/// Answers a call that is wrong in itself, or that has nowhere to go.
pub(super) fn refuse(shared: &Shared, arrival: &Arrival, reject: &Reject) -> Response<Player> {
    let mut record = blank(arrival, "", shared.request_id(arrival.wire));
    record.status = reject.status;
    let id = record.request_id.clone();
    let call = shared.log.begin(record);
    reply::error(arrival.wire, &id, reject, Some(call))
}

fn read(shared: &Shared, arrival: &Arrival) -> Result<Request, Reject> {
    check_key(shared, arrival)?;
    let seed = shared.settings.seed;
    let body: Value = serde_json::from_slice(&arrival.body).map_err(|error| {
        Reject::invalid(format!(
            "We could not parse the JSON body of your request: {error}"
        ))
    })?;
    if arrival.wire == Wire::OpenAi {
        return openai::parse::request(seed, &body);
    }
    if !arrival.headers.contains_key("anthropic-version") {
        return Err(Reject::invalid("anthropic-version: header is required"));
    }
    if arrival.path.ends_with("/count_tokens") {
        return anthropic::parse::counted(seed, &body);
    }
    anthropic::parse::request(seed, &body)
}

fn check_key(shared: &Shared, arrival: &Arrival) -> Result<(), Reject> {
    let required = shared.settings.require_key.as_deref();
    let message = match (&arrival.key, required) {
        (Some(key), Some(required)) if key == required => return Ok(()),
        (Some(_), None) => return Ok(()),
        (Some(_), Some(_)) => "Incorrect API key provided.",
        (None, _) => "You didn't provide an API key.",
    };
    let (kind, message, code) = match arrival.wire {
        Wire::OpenAi => ("invalid_request_error", message, Some("invalid_api_key")),
        Wire::Anthropic if arrival.key.is_none() => {
            ("authentication_error", "x-api-key header is required", None)
        }
        Wire::Anthropic => ("authentication_error", "invalid x-api-key", None),
    };
    let message = message.to_owned();
    Err(Reject {
        status: 401,
        kind,
        message,
        param: None,
        code,
    })
}

fn count(shared: &Shared, arrival: &Arrival, request: &Request) -> Response<Player> {
    let usage = json!({ "input_tokens": request.input_tokens() });
    let id = shared.request_id(arrival.wire);
    let mut record = blank(arrival, &request.model, id.clone());
    record.label.clone_from(&request.label);
    record.status = 200;
    record.usage = usage.clone();
    let call = shared.log.begin(record);
    let body = Player::full(usage.to_string(), Some(call));
    reply::generated(arrival.wire, &id, false, body)
}

fn latency(shared: &Shared, seq: u64) -> Duration {
    let (min, max) = (shared.settings.latency.min, shared.settings.latency.max);
    let span = max.saturating_sub(min).as_micros() as u64;
    let mut draw = Draw::new(draw::mix(shared.settings.seed, seq));
    min + Duration::from_micros(draw.between(0, span))
}

/// Returns a record of a call of which nothing more is known.
fn blank(arrival: &Arrival, model: &str, request_id: String) -> TruthRecord {
    let key_end = arrival.key.as_ref().map(|key| {
        let skipped = key.chars().count().saturating_sub(4);
        key.chars().skip(skipped).collect()
    });
    let answered = match arrival.wire {
        Wire::OpenAi => openai::snapshot(model),
        Wire::Anthropic => anthropic::snapshot(model),
    };
    TruthRecord {
        seq: 0,
        state: State::Started,
        wire: arrival.wire,
        path: arrival.path.clone(),
        model: model.to_owned(),
        answered_model: answered.to_owned(),
        stream: false,
        label: None,
        key_end,
        request_id,
        status: 0,
        fault: None,
        usage: Value::Null,
        canonical: Canonical::default(),
        written_output_tokens: 0,
        complete: false,
        max_tokens: None,
        finish: None,
        service_tier: None,
        started_ms: truth::now_ms(),
        ended_ms: None,
    }
}

// === impl Script ===

impl Script {
    fn new(shared: &Shared, arrival: &Arrival, request: Request) -> Script {
        let seed = shared.settings.seed;
        let repeats = shared.repeats(request.hash);
        let mut draw = Draw::new(draw::mix(draw::mix(seed, request.hash), repeats));
        let mut directions = request.directions.clone().unwrap_or_else(|| {
            let fault = shared.settings.faults.draw(&mut draw);
            fault.map_or_else(Directions::default, |fault| {
                Directions::of(fault, &mut draw)
            })
        });
        directions.fit(request.stream, request.max_tokens);
        let preface = arrival.wire == Wire::Anthropic;
        let plan = Plan::new(seed, &request, &directions, preface);
        let request_id = shared.request_id(arrival.wire);
        let mut script = Script {
            request,
            directions,
            plan,
            usage: Value::Null,
            canonical: Canonical::default(),
            request_id,
        };
        if script.generates() {
            script.meter(shared, arrival.wire);
        }
        script
    }

    /// Says whether anything is generated, and so billed.
    fn generates(&self) -> bool {
        self.directions.status.is_none() && !self.directions.html
    }

    fn meter(&mut self, shared: &Shared, wire: Wire) {
        let request = &self.request;
        let mut cache = shared.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        (self.usage, self.canonical) = match wire {
            Wire::OpenAi => {
                let cached = cache.automatic(&request.model, &request.blocks, now);
                openai::usage(request, &self.plan, cached)
            }
            Wire::Anthropic => {
                let cached = cache.marked(&request.model, &request.blocks, now);
                anthropic::usage(request, &self.plan, cached)
            }
        };
    }

    fn record(&self, arrival: &Arrival) -> TruthRecord {
        let request = &self.request;
        let finish = self.plan.choices.first().map(|choice| match arrival.wire {
            Wire::OpenAi => openai::answer::finish_reason(&choice.finish),
            Wire::Anthropic => anthropic::answer::stop_reason(&choice.finish),
        });
        let generates = self.generates();
        TruthRecord {
            stream: request.stream,
            label: request.label.clone(),
            fault: self.directions.name(),
            usage: self.usage.clone(),
            canonical: self.canonical,
            max_tokens: request.max_tokens,
            finish: finish.filter(|_| generates).map(str::to_owned),
            service_tier: generates.then(|| request.tier.clone()),
            ..blank(arrival, &request.model, self.request_id.clone())
        }
    }

    fn play(&self, shared: &Shared, arrival: &Arrival, call: Call) -> Response<Player> {
        if let Some(status) = self.directions.status {
            call.answer(status);
            let reject = match arrival.wire {
                Wire::OpenAi => openai::failure(status),
                Wire::Anthropic => anthropic::failure(status),
            };
            return reply::error(arrival.wire, &self.request_id, &reject, Some(call));
        }
        call.answer(StatusCode::OK.as_u16());
        if self.directions.html {
            return reply::html(call);
        }
        let body = if self.request.stream {
            self.stream(shared, arrival.wire, call)
        } else {
            self.whole(arrival.wire, call)
        };
        reply::generated(arrival.wire, &self.request_id, self.request.stream, body)
    }

    fn whole(&self, wire: Wire, call: Call) -> Player {
        let body = match wire {
            Wire::OpenAi => self.openai(&call).whole(),
            Wire::Anthropic => self.anthropic(&call).whole(),
        };
        let length = body.len() as u64;
        let cut = self.directions.cut.is_some();
        Player::new(
            sse::whole(body, self.plan.visible(), cut),
            Some(length),
            Some(call),
        )
    }

    fn stream(&self, shared: &Shared, wire: Wire, mut call: Call) -> Player {
        let gap = self.directions.gap(shared.settings.gap);
        let draw = Draw::new(draw::mix(self.request.hash, 7));
        let mut events = Events::new(draw, gap, self.directions.crlf, self.directions.cut);
        let failing = self.directions.error_event;
        if failing {
            call.partial();
        }
        match wire {
            Wire::OpenAi => self.openai(&call).stream(&mut events, failing),
            Wire::Anthropic => self.anthropic(&call).stream(&mut events, failing),
        }
        Player::new(events.into_steps(), None, Some(call))
    }

    fn openai(&self, call: &Call) -> openai::answer::Answer<'_> {
        openai::answer::Answer {
            request: &self.request,
            plan: &self.plan,
            usage: report::reported(self.directions.report, &self.usage),
            created: truth::now_ms() / 1_000,
            nonce: draw::mix(self.request.hash, call.seq()),
        }
    }

    fn anthropic(&self, call: &Call) -> anthropic::answer::Answer<'_> {
        anthropic::answer::Answer {
            request: &self.request,
            plan: &self.plan,
            usage: report::reported(self.directions.report, &self.usage),
            nonce: draw::mix(self.request.hash, call.seq()),
            request_id: &self.request_id,
        }
    }
}
