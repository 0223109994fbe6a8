//! Count: asks the provider how large a request's input is, where that is free.
//!
//! Bytes bound the input of a request that was never seen before three or four times too high,
//! which costs nothing while there is room. Where such a call does not fit, its exact count
//! decides before it waits or is refused. Anthropic counts for free; OpenAI does not count chat
//! completions.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use fisc_llm::Wire;
use hyper::{HeaderMap, Method};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::proxy::forward::{forward, prepare};
use crate::proxy::meter::{Whole, read_whole};
use crate::state::State;
use crate::upstream::Upstream;

/// How long a count may take; without one the bound stays what it is.
const PATIENCE: Duration = Duration::from_secs(5);

const PATH: &str = "/v1/messages/count_tokens";

/// The members of a request that its count depends on; others are refused there.
const MEMBERS: [&str; 6] = [
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
];

/// A request that may be counted.
#[derive(Clone, Copy)]
pub(crate) struct Countable<'a> {
    pub(crate) wire: Wire,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
}

#[derive(Deserialize)]
struct Counted {
    input_tokens: u64,
}

// === impl Countable ===

impl Countable<'_> {
    /// Says whether the provider counts such requests.
    pub(crate) fn is_counted(&self) -> bool {
        self.wire == Wire::AnthropicMessages
    }

    /// Asks for the exact number of input tokens; `None` when there is no answer in time.
    pub(crate) async fn count(&self, state: &State, upstream: &Upstream) -> Option<u64> {
        let members: BTreeMap<&str, &RawValue> = serde_json::from_slice(self.body).ok()?;
        let counted: BTreeMap<_, _> = members
            .into_iter()
            .filter(|(name, _)| MEMBERS.contains(name))
            .collect();
        let body = Bytes::from(serde_json::to_vec(&counted).ok()?);
        let request = prepare(upstream, &Method::POST, PATH, self.headers, body).ok()?;
        let asked = forward(state, request);
        let answer = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        let read = tokio::time::timeout(PATIENCE, read_whole(answer.into_body()));
        let Ok(Whole::Read(body)) = read.await else {
            return None;
        };
        serde_json::from_slice::<Counted>(&body)
            .ok()
            .map(|counted| counted.input_tokens)
    }
}
