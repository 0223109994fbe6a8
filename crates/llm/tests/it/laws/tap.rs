//! The law of the tap: however a stream is cut, the events, their bytes and their places are the
//! same, and they are those of the standard's own algorithm.

use fisc_llm::{EVENT_BYTES_MAX, Event, Tap};

/// Stands in a stream for more bytes than half an event may have.
const BIG: &[u8] = b"{big}";
const BIG_BYTES: usize = EVENT_BYTES_MAX as usize / 2 + 7;
/// More of them would say no more.
const BIG_MAX: usize = 5;

/// An event as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    name: Vec<u8>,
    data: Vec<u8>,
    start: u64,
    end: u64,
    data_at: Option<u64>,
    oversized: bool,
}

/// What one reading of a stream saw: its events, and where the last one was open.
type Reading = (Vec<Seen>, Option<u64>);

/// Checks the law for a stream.
pub(crate) fn hold(bytes: &[u8]) {
    let stream = expand(bytes);
    let whole = read(&stream, [&stream[..]]);
    let finished = whole.0.len();
    check_places(&stream, &whole.0);
    if !whole.0.iter().any(|event| event.oversized) {
        let seen = whole.0.iter().map(|event| (&event.name, &event.data));
        let plain = plain_reading(&stream);
        assert!(
            seen.eq(plain.iter().map(|(name, data)| (name, data))),
            "not what the standard reads: {:?}, but {plain:?}",
            whole.0
        );
    }
    for (how, chunks) in cuts(&stream) {
        let parts = read(&stream, chunks);
        assert!(parts == whole, "{how}, {finished} events: {parts:?}, not {whole:?}");
    }
}

/// Reads a stream cut into `chunks`.
fn read<'s>(stream: &[u8], chunks: impl IntoIterator<Item = &'s [u8]>) -> Reading {
    let mut seen = Vec::new();
    let mut sink = |event: Event<'_>| seen.push(see(stream, &event));
    let mut tap = Tap::new();
    let mut fed = 0;
    for chunk in chunks {
        tap.feed(chunk, &mut sink);
        fed += chunk.len() as u64;
        assert_eq!(tap.offset(), fed);
        assert!(tap.open_event().is_none_or(|start| start < fed), "open before it came");
    }
    let open = tap.open_event();
    tap.finish(&mut sink);
    (seen, open)
}

fn see(stream: &[u8], event: &Event<'_>) -> Seen {
    // Of CR LF that ends an event, a cut may leave the LF out.
    let ends_within_crlf = stream[..event.end as usize].last() == Some(&b'\r')
        && stream.get(event.end as usize) == Some(&b'\n');
    Seen {
        name: event.name.to_vec(),
        data: event.data.to_vec(),
        start: event.start,
        end: event.end + u64::from(ends_within_crlf),
        data_at: event.data_at,
        oversized: event.oversized,
    }
}

/// Events follow one another, lie in the stream, and are no larger than they may be.
fn check_places(stream: &[u8], events: &[Seen]) {
    let mut before = 0;
    for event in events {
        assert!(before <= event.start, "one event begins within another");
        assert!(event.start < event.end && event.end <= stream.len() as u64);
        assert_eq!(event.oversized, event.end - event.start > EVENT_BYTES_MAX);
        assert!((event.data.len() + event.name.len()) as u64 <= EVENT_BYTES_MAX);
        if let Some(at) = event.data_at {
            let there = &stream[at as usize..][..event.data.len()];
            assert!(there == event.data, "the data is not where it is said to be");
            assert!(event.start < at && at < event.end);
        }
        before = event.end;
    }
}

/// Cuts a stream byte by byte, in two, and twice at places that depend on its bytes.
fn cuts(stream: &[u8]) -> Vec<(&'static str, Vec<&[u8]>)> {
    let small = stream.len() < 64 << 10;
    let seed = stream.iter().take(4096).fold(0x9e37_79b9_7f4a_7c15, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    let (left, right) = stream.split_at((seed >> 8) as usize % (stream.len() + 1));
    let mut cuts = vec![("in two", vec![left, &[], right])];
    if small {
        cuts.push(("byte by byte", stream.chunks(1).collect()));
        cuts.push(("in small parts", random(stream, seed, 9)));
    }
    cuts.push(("in large parts", random(stream, !seed, stream.len() / 3 + 2)));
    cuts
}

fn random(mut stream: &[u8], mut seed: u64, size_max: usize) -> Vec<&[u8]> {
    let mut chunks = Vec::new();
    while !stream.is_empty() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (chunk, rest) = stream.split_at(((seed >> 33) as usize % size_max).min(stream.len()));
        chunks.push(chunk);
        stream = rest;
    }
    chunks
}

/// Puts so many bytes where the marks stand that events grow too large.
fn expand(bytes: &[u8]) -> Vec<u8> {
    let mut expanded = Vec::new();
    let (mut rest, mut left) = (bytes, BIG_MAX);
    while let Some(at) = rest.windows(BIG.len()).position(|word| word == BIG) {
        if left == 0 {
            break;
        }
        left -= 1;
        expanded.extend_from_slice(&rest[..at]);
        expanded.resize(expanded.len() + BIG_BYTES, b'y');
        rest = &rest[at + BIG.len()..];
    }
    expanded.extend_from_slice(rest);
    expanded
}

/// Reads events as the standard's algorithm is written, all at once and by copies; but an event
/// that the stream's end cuts counts too.
pub(crate) fn plain_reading(stream: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut text = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let (mut events, mut name, mut data) = (Vec::new(), Vec::new(), None::<Vec<u8>>);
    while !text.is_empty() {
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let end = text.iter().position(is_end).unwrap_or(text.len());
        let line = &text[..end];
        let crlf = text[end..].starts_with(b"\r\n");
        text = text.get(end + 1 + usize::from(crlf)..).unwrap_or_default();
        if line.is_empty() {
            let name = std::mem::take(&mut name);
            events.extend(data.take().map(|data| (name, data)));
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"event" => name = value.to_vec(),
            b"data" => {
                let before = data.take().map(|mut data| {
                    data.push(b'\n');
                    data
                });
                data = Some([before.unwrap_or_default(), value.to_vec()].concat());
            }
            _ => {}
        }
    }
    events.extend(data.map(|data| (name, data)));
    events
}
