//! What LLM APIs say and cost: request facts, usage, the event tap, bounds and prices.
//!
//! Bytes in, facts out: no network, no clock, no decision about money.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod bound;
mod facts;
mod json;
mod learn;
mod models;
mod prices;
mod report;
mod size;
mod splice;
mod sse;
mod stream;
mod wire;

pub use bound::{How, InputBound, TEMPLATE_PER_CALL, TEMPLATE_PER_MESSAGE, TOOLS_PROMPT};
pub use facts::{
    CHOICES_MAX, CapField, Edits, FactsError, InputShape, Prefix, RequestFacts, SEARCHES_DEFAULT,
    TaskBudget,
};
pub use learn::SAMPLES_MIN;
pub use learn::{Accuracy, CallClass, Expected, Known, Learner, Lesson, OutputNeed, Quantiles};
pub use models::{Maximum, ModelLimits};
pub use prices::{
    CallBound, ContextTier, DecimalError, ListedModel, ModelPrice, OverlayError, PicoUsdPerToken,
    Price, PriceBook, Rates, Schedule, Source,
};
pub use report::{Flaw, FlawKind, Flaws, Reported, read_response};
pub use size::{Ask, OUTPUT_FLOOR, Sizing, size};
pub use sse::{EVENT_BYTES_MAX, Event, Tap};
pub use stream::{Progress, StreamMeter};
pub use wire::Wire;
