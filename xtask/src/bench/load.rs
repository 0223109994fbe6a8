//! The load: many connections that call as fast as they are answered, or at a fixed rate.
//!
//! At a fixed rate a call's latency counts from the moment at which it was due, whether or not a
//! connection was free then, so that a stall is not hidden by the calls that it held up. One
//! blocking thread a connection, as in `upstream`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::time::{now, pause_until};

const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// No call may take longer; else the run fails.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// What to do for one measurement.
pub(super) struct Load<'a> {
    pub(super) addr: SocketAddr,
    pub(super) request: &'a [u8],
    pub(super) connections: usize,
    /// How many calls a second, or as many as are answered.
    pub(super) rate: Option<f64>,
    /// Runs this long before anything counts.
    pub(super) warm_up: Duration,
    pub(super) window: Duration,
}

/// What one measurement gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    /// Calls that ended in the window.
    pub(super) calls: u64,
    pub(super) window: Duration,
    /// From when a call was due to its first byte, and to its last.
    pub(super) first: Quantiles,
    pub(super) whole: Quantiles,
}

/// Quantiles of latencies.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Quantiles {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

/// One answered call.
struct Sample {
    due: Instant,
    first: Instant,
    end: Instant,
}

/// What the threads of one measurement share.
struct Shared<'a> {
    load: &'a Load<'a>,
    start: Instant,
    next: AtomicU64,
    calls: AtomicU64,
    stop: AtomicBool,
}

/// How the end of a body is found.
#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
}

// === impl Load ===

impl Load<'_> {
    /// Runs it. `at_edge` is called as the window opens and as it closes.
    pub(super) fn run(&self, mut at_edge: impl FnMut()) -> io::Result<Measured> {
        let shared = Shared {
            load: self,
            start: now(),
            next: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        };
        let open = shared.start + self.warm_up;
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.connections)
                .map(|_| scope.spawn(|| shared.call_until_stopped()))
                .collect();
            pause_until(open);
            let calls = shared.calls.load(Ordering::Relaxed);
            let opened = now();
            at_edge();
            pause_until(open + self.window);
            let calls = shared.calls.load(Ordering::Relaxed) - calls;
            let window = opened.elapsed();
            at_edge();
            shared.stop.store(true, Ordering::Relaxed);
            let mut samples = Vec::new();
            for thread in threads {
                samples.extend(thread.join().expect("a caller does not panic")?);
            }
            samples.retain(|sample| sample.due >= open && sample.due < open + self.window);
            Ok(Measured {
                calls,
                window,
                first: Quantiles::of(samples.iter().map(|sample| sample.first - sample.due)),
                whole: Quantiles::of(samples.iter().map(|sample| sample.end - sample.due)),
            })
        })
    }
}

// === impl Shared ===

impl Shared<'_> {
    fn call_until_stopped(&self) -> io::Result<Vec<Sample>> {
        let mut connection = TcpStream::connect(self.load.addr)?;
        connection.set_nodelay(true)?;
        connection.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        let mut buffer = vec![0; ANSWER_BYTES_MAX];
        let mut samples = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let due = self.due();
            connection.write_all(self.load.request)?;
            let first = read_answer(&mut connection, &mut buffer)?;
            let end = now();
            self.calls.fetch_add(1, Ordering::Relaxed);
            samples.push(Sample { due, first, end });
        }
        Ok(samples)
    }

    /// Waits until the next call is due and returns when that was.
    fn due(&self) -> Instant {
        let Some(rate) = self.load.rate else {
            return now();
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = self.start + Duration::from_secs_f64(number as f64 / rate);
        pause_until(due);
        due
    }
}

/// Reads one whole answer; returns when its first byte came. Anything but a success with a body
/// that says what was used is an error: a benchmark of refusals would look splendid.
fn read_answer(connection: &mut TcpStream, buffer: &mut [u8]) -> io::Result<Instant> {
    let (mut filled, mut first, mut framing) = (0, None, None);
    loop {
        let read = connection.read(&mut buffer[filled..])?;
        first = first.or_else(|| Some(now()));
        filled += read;
        let bytes = &buffer[..filled];
        if read == 0 {
            return Err(failed("the connection was closed", bytes));
        }
        if framing.is_none() {
            framing = framing_of(bytes)?;
        }
        let ended = match framing {
            None => false,
            Some((head, Framing::Length(length))) => filled >= head + length,
            Some((_, Framing::Chunked)) => bytes.ends_with(b"\r\n0\r\n\r\n"),
        };
        if ended {
            return first.ok_or_else(|| failed("no answer", bytes));
        }
    }
}

/// Returns where the body begins and how it ends, once the head is there.
fn framing_of(bytes: &[u8]) -> io::Result<Option<(usize, Framing)>> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = head + 4;
    if !bytes.starts_with(b"HTTP/1.1 200 ") {
        return Err(failed("not a success", bytes));
    }
    let length = header(&bytes[..head], "content-length").and_then(|text| text.parse().ok());
    let framing = length.map_or(Framing::Chunked, Framing::Length);
    Ok(Some((head, framing)))
}

/// Returns a header's value; `name` is in lower case.
pub(super) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = head.split(|byte| *byte == b'\n');
    let value = lines.into_iter().find_map(|line| {
        let (start, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        start.eq_ignore_ascii_case(name.as_bytes()).then_some(value)
    })?;
    std::str::from_utf8(value).ok().map(str::trim)
}

fn failed(what: &str, bytes: &[u8]) -> io::Error {
    const SHOWN_BYTES_MAX: usize = 600;

    let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    io::Error::other(format!("{what}: {}", String::from_utf8_lossy(shown)))
}

// === impl Quantiles ===

impl Quantiles {
    fn of(latencies: impl Iterator<Item = Duration>) -> Quantiles {
        let mut sorted: Vec<Duration> = latencies.collect();
        sorted.sort_unstable();
        let at = |share: f64| {
            let index = (sorted.len() as f64 * share) as usize;
            sorted
                .get(index.min(sorted.len().saturating_sub(1)))
                .copied()
                .unwrap_or_default()
        };
        Quantiles {
            p50: at(0.50),
            p99: at(0.99),
        }
    }
}
