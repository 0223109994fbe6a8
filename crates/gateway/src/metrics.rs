//! What the gateway says of itself to whoever scrapes `/metrics`, in the text of `OpenMetrics`.
//!
//! Gathered anew for each scrape from counters that are kept anyway: calls pay nothing for it.
//! Whoever may see the whole tree may scrape.

use std::fmt;

use fisc::{Histogram, Resource, TimeUs};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::http::request;
use hyper::{Method, Response};
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::api::{Kind, Problem};
use crate::body::AnswerBody;
use crate::proxy::identify::path_without_secret;
use crate::state::State;

/// Where they lie.
const PATH: &str = "/metrics";

/// The type of the text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Says whether a request asks for them.
pub(crate) fn is_for(head: &request::Parts) -> bool {
    path_without_secret(&head.uri) == Some(PATH)
}

/// Answers a scrape.
pub(crate) fn serve(state: &State, head: &request::Parts) -> Response<AnswerBody> {
    match scrape(state, head) {
        Ok(text) => {
            let mut response = Response::new(AnswerBody::from(bytes::Bytes::from(text)));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(problem) => problem.into_response(),
    }
}

fn scrape(state: &State, head: &request::Parts) -> Result<String, Problem> {
    let grant = state.callers.grant(&head.uri, &head.headers)?;
    if head.method != Method::GET {
        return Err(Problem::new(Kind::MethodNotAllowed, "only GET"));
    }
    let root = state.fisc.root();
    if root.is_none_or(|root| root.path() != grant.root) {
        let detail = "metrics tell of the whole tree; your credential stands for a part of it";
        return Err(Problem::new(Kind::OwnRoot, detail));
    }
    let mut text = String::new();
    text::encode(&mut text, &gather(state)).expect("text takes all that is written");
    Ok(text)
}

fn gather(state: &State) -> Registry {
    let mut all = Registry::with_prefix("fisc");
    let traffic = &state.traffic;
    let mut count = |name: &str, help: &str, value: u64| {
        all.register(name, help, ConstCounter::new(value));
    };
    count(
        "calls_admitted",
        "Calls that got a hold",
        traffic.admitted(),
    );
    count(
        "calls_refused",
        "Calls that no waiting would have helped",
        traffic.refused(),
    );
    count(
        "estimator_breach",
        "Calls that used more than was held for them",
        traffic.breaches(),
    );
    let accuracy = state.learned().accuracy();
    count(
        "input_estimates",
        "Calls whose input was estimated",
        accuracy.calls,
    );
    count(
        "input_estimates_within",
        "Those whose estimate was within a tenth of what was reported",
        accuracy.within,
    );
    let waiting = i64::from(traffic.waiting());
    all.register(
        "calls_waiting",
        "Calls that wait for room",
        ConstGauge::new(waiting),
    );
    let open = i64::try_from(state.fisc.open_holds()).unwrap_or(i64::MAX);
    all.register(
        "holds_open",
        "Holds that have not ended",
        ConstGauge::new(open),
    );
    let time = state
        .fisc
        .root()
        .map(|root| root.status().spent.get(Resource::Time));
    all.register_with_unit(
        "call_duration",
        "Time in calls, added up",
        Unit::Seconds,
        ConstCounter::new(seconds(TimeUs(time.unwrap_or(0)))),
    );
    all.register_with_unit(
        "level_action",
        "From the crossing of a level until it was acted upon",
        Unit::Seconds,
        Durations::of(state.fisc.responsiveness()),
    );
    all
}

/// A histogram as it stood when it was gathered.
#[derive(Debug)]
struct Durations {
    sum: f64,
    count: u64,
    buckets: Vec<(f64, u64)>,
}

// === impl Durations ===

impl Durations {
    fn of(histogram: &Histogram) -> Durations {
        let bound = |bound: Option<TimeUs>| bound.map_or(f64::INFINITY, seconds);
        let buckets = histogram
            .buckets()
            .map(|(most, count)| (bound(most), count));
        let buckets: Vec<(f64, u64)> = buckets.collect();
        Durations {
            sum: seconds(histogram.sum()),
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
        }
    }
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_histogram::<NoLabelSet>(self.sum, self.count, &self.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

fn seconds(TimeUs(micros): TimeUs) -> f64 {
    micros as f64 / 1e6
}
