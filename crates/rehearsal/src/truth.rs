//! What was truly generated, call by call: the record that everything else is compared with.
//!
//! A record exists from the moment a call is understood, so that a gateway that is killed, or
//! that forgets, still leaves the truth behind. It is finalised when the answer is written, or
//! when the connection is gone, whichever comes first.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Records beyond this many push out the oldest, to bound the memory of a long load test.
const RECORDS_MAX: usize = 1_000_000;

/// The truth about one call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TruthRecord {
    /// The call's number, from 1, in the order of arrival.
    pub seq: u64,
    /// Whether the record is final.
    pub state: State,
    /// The wire that was spoken.
    pub wire: Wire,
    /// The path that was asked for, without its query.
    pub path: String,
    /// The model as the request names it; empty when it names none.
    pub model: String,
    /// The model as the answer names it.
    pub answered_model: String,
    /// Whether the answer streams.
    pub stream: bool,
    /// Who called, as the request's own fields tell: `user` or `metadata.label` (`OpenAI`),
    /// `metadata.user_id` (Anthropic).
    pub label: Option<String>,
    /// The last four characters of the key that came with the call.
    pub key_end: Option<String>,
    /// The id of the answer's `x-request-id` or `request-id`.
    pub request_id: String,
    /// The status that was answered; 0 while nothing was.
    pub status: u16,
    /// What went wrong on purpose, several joined by `+`.
    pub fault: Option<String>,
    /// The true usage of the whole generation as the wire spells it, whatever a fault made the
    /// answer report. Null when nothing was generated.
    pub usage: Value,
    /// The same usage in disjoint classes.
    pub canonical: Canonical,
    /// Visible output tokens that were handed to the connection before the answer ended, the
    /// client left or the cut came.
    pub written_output_tokens: u64,
    /// Whether the whole answer was handed to the connection.
    pub complete: bool,
    /// The cap on output tokens that the call asked for.
    pub max_tokens: Option<u64>,
    /// Why the generation ended, in the wire's words; the first choice's, when there are several.
    pub finish: Option<String>,
    /// The service tier that the answer names.
    pub service_tier: Option<String>,
    /// When the call was understood, in milliseconds since 1970.
    pub started_ms: u64,
    /// When the record became final, in milliseconds since 1970.
    pub ended_ms: Option<u64>,
}

/// Tokens in classes of which none is part of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Canonical {
    /// Input that was neither read from a cache nor written to one.
    pub input: u64,
    /// Input read from a cache.
    pub cache_read: u64,
    /// Input written to a cache that lives five minutes.
    pub cache_write_5m: u64,
    /// Input written to a cache that lives an hour.
    pub cache_write_1h: u64,
    /// Output without `reasoning`.
    pub output: u64,
    /// Reasoning and thinking; billed as output.
    pub reasoning: u64,
}

/// Whether a record is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The call runs.
    Started,
    /// The call is over.
    Ended,
}

/// A wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// `OpenAI` chat completions.
    OpenAi,
    /// Anthropic messages.
    Anthropic,
}

/// All records, in memory and in the file.
#[derive(Debug)]
pub(crate) struct TruthLog {
    inner: Mutex<Inner>,
}

/// A running call; finalises its record when it is dropped.
#[derive(Debug)]
pub(crate) struct Call {
    log: Arc<TruthLog>,
    seq: u64,
    written: u64,
    complete: bool,
    /// Whether the answer is to end early, so that all of its bytes are not all of it.
    partial: bool,
}

#[derive(Debug)]
struct Inner {
    records: Vec<TruthRecord>,
    /// The seq of `records[0]`, or of the next record when there is none.
    first: u64,
    next: u64,
    file: Option<File>,
}

// === impl Canonical ===

impl Canonical {
    /// Sums all input.
    pub fn input_total(&self) -> u64 {
        self.input + self.cache_read + self.cache_write_5m + self.cache_write_1h
    }

    /// Sums all output, reasoning included: what a provider bills as output.
    pub fn output_total(&self) -> u64 {
        self.output + self.reasoning
    }
}

// === impl TruthLog ===

impl TruthLog {
    /// Makes an empty log that appends to `path`, if one is given.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<TruthLog> {
        let open = |path| OpenOptions::new().create(true).append(true).open(path);
        let file = path.map(open).transpose()?;
        let inner = Inner {
            records: Vec::new(),
            first: 1,
            next: 1,
            file,
        };
        Ok(TruthLog {
            inner: Mutex::new(inner),
        })
    }

    /// Returns copies of all records after `since`.
    pub(crate) fn after(&self, since: u64) -> Vec<TruthRecord> {
        let inner = self.lock();
        let skipped = since.saturating_add(1).saturating_sub(inner.first);
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        inner.records.get(skipped..).unwrap_or_default().to_vec()
    }

    /// Forgets all records; the numbers go on, so that late ends find nothing to change.
    pub(crate) fn reset(&self) {
        let mut inner = self.lock();
        inner.records.clear();
        inner.first = inner.next;
    }

    /// Opens a record and numbers it.
    pub(crate) fn begin(self: &Arc<TruthLog>, mut record: TruthRecord) -> Call {
        let mut inner = self.lock();
        let seq = inner.next;
        inner.next += 1;
        record.seq = seq;
        inner.append(&record);
        if inner.records.len() >= RECORDS_MAX {
            let dropped = RECORDS_MAX / 4;
            inner.records.drain(..dropped);
            inner.first += dropped as u64;
        }
        inner.records.push(record);
        Call {
            log: Arc::clone(self),
            seq,
            written: 0,
            complete: false,
            partial: false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere cannot leave a record half written.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inner ===

impl Inner {
    fn get(&mut self, seq: u64) -> Option<&mut TruthRecord> {
        let index = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        self.records.get_mut(index)
    }

    fn append(&mut self, record: &TruthRecord) {
        let Some(file) = &mut self.file else { return };
        let mut line = serde_json::to_vec(record).expect("records have no fallible parts");
        line.push(b'\n');
        // One write per line: a killed process leaves whole lines.
        if let Err(error) = file.write_all(&line).and_then(|()| file.flush()) {
            tracing::warn!(%error, "a record of the rehearsal was not written to its file");
        }
    }
}

// === impl Call ===

impl Call {
    /// Returns the call's number.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Sets the status that is being answered.
    pub(crate) fn answer(&self, status: u16) {
        if let Some(record) = self.log.lock().get(self.seq) {
            record.status = status;
        }
    }

    /// Counts visible output tokens that were handed to the connection.
    pub(crate) fn wrote(&mut self, tokens: u64) {
        self.written += tokens;
    }

    /// Notes that the answer is to end early.
    pub(crate) fn partial(&mut self) {
        self.partial = true;
    }

    /// Notes that all bytes of the answer were handed to the connection.
    pub(crate) fn completed(&mut self) {
        self.complete = !self.partial;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut inner = self.log.lock();
        let Some(record) = inner.get(self.seq) else {
            return;
        };
        record.state = State::Ended;
        record.written_output_tokens = self.written;
        record.complete = self.complete;
        record.ended_ms = Some(now_ms());
        let record = record.clone();
        inner.append(&record);
    }
}

/// Returns the time in milliseconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the rehearsal stands outside of the accounting: it is the world, not the product"
)]
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
