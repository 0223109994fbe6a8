//! A scripted LLM provider that speaks the real wires and records the truth.
//!
//! It exists for people who want to see how their agents behave under a budget without paying,
//! and for tests, which need to know what was *truly* generated. It depends on nothing that it
//! is compared with: its tokens, caches and ends are its own inventions.
//!
//! ```no_run
//! use fisc_rehearsal::{Rehearsal, Settings};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let rehearsal = Rehearsal::start(Settings {
//!     faults: "slow=0.1,cut=0.05".parse().expect("two known faults"),
//!     ..Settings::default()
//! })?;
//! println!("OPENAI_BASE_URL={}/v1", rehearsal.url());
//! println!("ANTHROPIC_BASE_URL={}", rehearsal.url());
//! // ... run the program ...
//! for record in rehearsal.truth() {
//!     println!("{} {}", record.model, record.canonical.output_total());
//! }
//! rehearsal.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it speaks
//! - `POST /v1/chat/completions`, also without `/v1`: streams and not, `n`, stop sequences,
//!   tools, hidden reasoning (`o1*`, `o3*`, `o4*`, `gpt-5*`), an automatic prompt cache,
//!   `stream_options`, service tiers.
//! - `POST /v1/messages` and `/v1/messages/count_tokens`, also without `/v1`: streams and not,
//!   tools, thinking, `cache_control` with both lifetimes.
//! - `GET /v1/models`, `GET /v1/models/{id}`, `HEAD /`, `GET /`.
//! - Its control plane: `GET /rehearsal/truth` (one JSON record a line; `?since=N` only those
//!   after number N) and `POST /rehearsal/reset` (forgets records and caches).
//!
//! A key must be sent, any key, unless [`Settings::require_key`] names one. Wrong requests get
//! the provider's own errors. Answers name the dated model behind the model that was asked for.
//!
//! # What it invents
//! Everything follows from the seed and the request; fields that a proxy may edit (the caps,
//! `stream`, `stream_options`) do not change what is said, only where it ends. A text has a
//! ratio of tokens to bytes of its own, 0.15 to 0.6, so never more tokens than bytes. A prompt
//! is 3 tokens, plus 4 and its text for each message, tool and system prompt; an image or file
//! is 85. An answer is around 150 tokens long, at most 1,200, before the cap.
//!
//! # Directions
//! The last message of the user may direct the answer: `[[rehearsal cut=3 gap_ms=20]]`. A
//! directed call draws no fault. Flags may be written `name` or `name=1`.
//!
//! | direction | meaning |
//! |---|---|
//! | `tokens=N` | the output is exactly N tokens of text before the cap, with no reasoning |
//! | `reasoning=N` | exactly N tokens of reasoning or thinking before the cap |
//! | `tool=1`, `tool=0` | call a tool, or do not, where the request leaves that open |
//! | `delay_ms=N` | wait N ms before the first byte instead of the usual latency |
//! | `gap_ms=N` | pause N ms between writes |
//! | `slow` | 1.5 s more before the first byte, 20 ms more between writes |
//! | `cut=K` | break the connection after K deltas; a body that does not stream, in its middle |
//! | `usage=none\|null\|zero\|negative\|huge\|string\|fraction` | what the answer reports |
//! | `over_max` | exceed the cap by a quarter and 16 tokens, or go on to the N of `tokens=N` |
//! | `status=S` | answer the error S (400-599), in the provider's form |
//! | `error_event` | an error event half-way through a stream; without a stream, status 500 |
//! | `html` | status 200 and a page of HTML |
//! | `hang` | no answer at all until the client leaves |
//! | `crlf` | lines of the stream end with CR LF |
//!
//! # The truth
//! A [`TruthRecord`] exists from the moment a call is understood and is final when its answer
//! is written, the client has left or the cut has come. `usage` and `canonical` tell the whole
//! generation, `written_output_tokens` the visible part that was handed to the connection. A
//! call that is answered with an error or a page has generated nothing. Calls that are refused
//! (400, 401, 404) are recorded too, so that attempts can be counted.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod anthropic;
mod body;
mod cache;
mod directions;
mod draw;
mod faults;
mod openai;
mod plan;
mod report;
mod request;
mod server;
mod settings;
mod speech;
mod sse;
pub mod team;
mod tokens;
mod truth;

pub use faults::{Fault, Faults, FaultsError};
pub use server::Rehearsal;
pub use settings::{Latency, LatencyError, Settings};
pub use truth::{Canonical, State, TruthRecord, Wire};
