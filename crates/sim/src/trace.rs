//! Recorded calls, as CSV, plain or compressed: of agents, one row a call, or of a service, one row
//! a request. The header tells them apart.

mod columns;
mod service;

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};

use fisc_core::{Money, TimeUs, Timestamp, Tokens};
use flate2::bufread::GzDecoder;

use self::columns::Columns;
use crate::request::{Request, Requests};
use crate::script::{Call, Script};

/// What tokens cost where a row does not say what its call did: nano-dollars per token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Input that was not cached.
    pub input: i64,
    /// Input that was cached.
    pub cached: i64,
    /// Output, reasoning included.
    pub output: i64,
}

/// Why a trace cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read, or is no valid gzip.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is no CSV.
    #[error("is no CSV: {0}")]
    Csv(#[from] csv::Error),
    /// A column is missing.
    #[error(
        "has no column {0:?}; needed are session, call, t_unix, prompt_tokens, cached_tokens, \
         completion_tokens and cost_usd, or TIMESTAMP, ContextTokens and GeneratedTokens"
    )]
    NoColumn(&'static str),
    /// A value is not what its column holds.
    #[error("line {line}: {column} is {text:?}")]
    Value {
        /// The line in the file, from 1.
        line: u64,
        /// The column.
        column: &'static str,
        /// What stands there.
        text: String,
    },
}

/// The columns of agents that are needed; others may be there.
const COLUMNS: [&str; 7] = [
    "session",
    "call",
    "t_unix",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "cost_usd",
];
/// The column that tells how long a prompt was, where there is one.
const PROMPT_CHARS: &str = "prompt_chars";

/// The output cap that agents are taken to send, which a trace does not say: the common default.
const OUTPUT_MAX: u64 = 16_384;

/// One row, before the pauses between calls are known.
#[derive(Clone)]
struct Row {
    number: i64,
    at: TimeUs,
    call: Call,
    bytes: Option<u64>,
}

/// A trace of agents or of a service, by session in the order in which they appear.
struct Recorded {
    sessions: Vec<(String, Vec<Row>)>,
    service: bool,
}

/// How long a call is taken to run: so long, and so much longer per token of output, but not
/// beyond the next call of its agent. Traces tell only when calls began.
const CALL_BASE: TimeUs = TimeUs(500_000);
const CALL_PER_TOKEN: TimeUs = TimeUs(20_000);

/// Reads a trace, compressed or not. Agents that cost nothing are left out: nothing limits them.
/// A service has no agents: each ten minutes of its requests are taken for a run, one every 90
/// seconds.
pub fn read_trace(file: impl Read, rates: Rates) -> Result<Vec<Script>, TraceError> {
    let recorded = read(file, rates)?;
    let sessions = if recorded.service {
        let rows = recorded.sessions.into_iter().flat_map(|(_, rows)| rows);
        service::windows(&rows.collect::<Vec<Row>>())
    } else {
        recorded.sessions
    };
    let scripts = sessions.into_iter().map(|(name, rows)| script(name, rows));
    Ok(scripts
        .filter(|script| script.need() > Money::ZERO)
        .collect())
}

/// Reads a trace, compressed or not, as single calls in the order in which they were made.
pub fn read_requests(file: impl Read, rates: Rates) -> Result<Requests, TraceError> {
    let recorded = read(file, rates)?;
    let mut requests = Vec::new();
    for (session, (_, mut rows)) in recorded.sessions.into_iter().enumerate() {
        rows.sort_by_key(|row| (row.number, row.at));
        requests.extend(rows.into_iter().map(|row| Request {
            session,
            at: Timestamp(row.at.0),
            call: row.call,
            bytes: row.bytes,
        }));
    }
    let output_max = if recorded.service {
        service::OUTPUT_MAX
    } else {
        OUTPUT_MAX
    };
    Ok(Requests::new(requests, output_max))
}

fn read(file: impl Read, rates: Rates) -> Result<Recorded, TraceError> {
    let mut file = BufReader::new(file);
    let compressed = file.fill_buf()?.starts_with(&[0x1F, 0x8B]);
    let text: Box<dyn Read> = if compressed {
        Box::new(GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut reader = csv::Reader::from_reader(text);
    let headers = reader.headers()?.clone();
    if service::is_service(&headers) {
        let rows = service::rows(&mut reader, &headers, rates)?;
        let sessions = rows.into_iter().map(|row| (String::new(), vec![row]));
        let sessions = sessions.collect();
        return Ok(Recorded {
            sessions,
            service: true,
        });
    }
    let columns = Columns::find(&headers, COLUMNS)?;
    let chars = columns::place(&headers, PROMPT_CHARS);
    let mut sessions: Vec<(String, Vec<Row>)> = Vec::new();
    let mut places = HashMap::new();
    for record in reader.records() {
        let record = record?;
        let name = columns.text(&record, 0);
        let place = *places.entry(name.to_owned()).or_insert_with(|| {
            sessions.push((name.to_owned(), Vec::new()));
            sessions.len() - 1
        });
        let chars = chars.and_then(|place| record.get(place)?.trim().parse().ok());
        sessions[place]
            .1
            .push(row(&columns, &record, rates, chars)?);
    }
    Ok(Recorded {
        sessions,
        service: false,
    })
}

fn row(
    columns: &Columns<7>,
    record: &csv::StringRecord,
    rates: Rates,
    bytes: Option<u64>,
) -> Result<Row, TraceError> {
    let whole = |column| columns.whole(record, column);
    let [prompt, cached, output] = [whole(3)?, whole(4)?, whole(5)?];
    let cost = match columns.number(record, 6)? {
        Some(dollars) => (dollars * 1e9).round() as i64,
        None => rates.cost(prompt, cached, output),
    };
    Ok(Row {
        number: whole(1)?,
        at: TimeUs((columns.number(record, 2)?.unwrap_or(0.0) * 1e6) as i64),
        call: call(prompt, cached, output, cost),
        bytes,
    })
}

fn call(prompt: i64, cached: i64, output: i64, cost: i64) -> Call {
    Call {
        pause: TimeUs(0),
        duration: duration(output),
        tokens: Tokens(prompt.saturating_add(output)),
        input: Tokens(prompt),
        cached: Tokens(cached.min(prompt)),
        output: Tokens(output),
        cost: Money::from_nanos(cost),
    }
}

/// Returns how long a call with so much output is taken to run.
pub(crate) fn duration(output: i64) -> TimeUs {
    TimeUs(CALL_BASE.0 + CALL_PER_TOKEN.0.saturating_mul(output))
}

/// Puts the calls of one session in order; what lies between the starts of two of them is the
/// first one's duration and the second one's pause.
fn script(name: String, mut rows: Vec<Row>) -> Script {
    rows.sort_by_key(|row| (row.number, row.at));
    let starts: Vec<TimeUs> = rows.iter().map(|row| row.at).collect();
    let mut calls: Vec<Call> = rows.into_iter().map(|row| row.call).collect();
    for i in 1..calls.len() {
        let gap = (starts[i].0 - starts[i - 1].0).max(0);
        let duration = calls[i - 1].duration.0.min(gap);
        calls[i - 1].duration = TimeUs(duration);
        calls[i].pause = TimeUs(gap - duration);
    }
    Script { name, calls }
}

// === impl Rates ===

impl Default for Rates {
    /// Dollars per million: 2 for input, 0.20 where it was cached, 12 for output.
    fn default() -> Self {
        Rates {
            input: 2_000,
            cached: 200,
            output: 12_000,
        }
    }
}

impl Rates {
    fn cost(self, prompt: i64, cached: i64, output: i64) -> i64 {
        let cached = cached.min(prompt);
        let parts = [
            (prompt - cached, self.input),
            (cached, self.cached),
            (output, self.output),
        ];
        parts.iter().fold(0i64, |sum, (tokens, rate)| {
            sum.saturating_add(tokens.saturating_mul(*rate))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TRACE: &str = "\
session,call,t_unix,prompt_tokens,cached_tokens,completion_tokens,reasoning_tokens,cost_usd
b,1,112,1000,400,100,0,
a,0,50,10,0,1,0,0.25
b,0,100,500,0,10,0,0.004596
free,0,100,0,0,0,0,null
";

    #[test]
    fn reads_calls_with_their_times_and_costs() {
        let scripts = read_trace(TRACE.as_bytes(), Rates::default()).expect("a valid trace");
        let names: Vec<&str> = scripts.iter().map(|script| &*script.name).collect();
        assert_eq!(names, ["b", "a"], "what costs nothing is left out");
        let [first, second] = scripts[0].calls[..] else {
            panic!("two calls");
        };
        assert_eq!(first.cost.nanos(), 4_596_000);
        assert_eq!(second.cost.nanos(), 600 * 2_000 + 400 * 200 + 100 * 12_000);
        assert_eq!((first.duration.0, second.pause.0), (700_000, 11_300_000));
        assert_eq!(second.tokens, Tokens(1_100));
    }

    #[test]
    fn compressed_is_the_same() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(TRACE.as_bytes()).expect("memory");
        let compressed = gzip.finish().expect("memory");
        let plain = read_trace(TRACE.as_bytes(), Rates::default()).expect("a valid trace");
        let same = read_trace(&*compressed, Rates::default()).expect("a valid trace");
        assert_eq!(plain, same);
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let error = |text: &str| {
            let read = read_trace(text.as_bytes(), Rates::default());
            read.expect_err("a broken trace").to_string()
        };
        assert!(error("session,call\n").starts_with("has no column \"t_unix\""));
        let negative = TRACE.replace(",1000,", ",-1,");
        assert_eq!(error(&negative), "line 2: prompt_tokens is \"-1\"");
    }
}
