//! The law of the tap: however a stream is cut, the events, their bytes and their places are the
//! same, and they are those of the standard's own algorithm.

use fisc_llm::{EVENT_BYTES_MAX, Event, Tap};

use super::plain::plain_reading;

/// Limits of an event's size: none of consequence, and one that most events pass.
const LIMITS: [u64; 2] = [EVENT_BYTES_MAX, 24];

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
pub(crate) fn hold(stream: &[u8]) {
    let plain = plain_reading(stream);
    for limit in LIMITS {
        let whole = read(limit, stream, [stream]);
        check_places(limit, stream, &whole.0);
        if !whole.0.iter().any(|event| event.oversized) {
            let seen = whole.0.iter().map(|event| (&event.name, &event.data));
            assert!(
                seen.eq(plain.iter().map(|(name, data)| (name, data))),
                "not what the standard reads: {:?}, but {plain:?}",
                whole.0
            );
        }
        for (how, chunks) in cuts(stream) {
            let parts = read(limit, stream, chunks);
            assert!(parts == whole, "{how}: {parts:?}, not {whole:?}");
        }
    }
}

/// Reads a stream cut into `chunks`.
fn read<'s>(limit: u64, stream: &[u8], chunks: impl IntoIterator<Item = &'s [u8]>) -> Reading {
    let mut seen = Vec::new();
    let mut sink = |event: Event<'_>| seen.push(see(stream, &event));
    let mut tap = Tap::with_event_bytes_max(limit);
    let mut fed = 0;
    for chunk in chunks {
        tap.feed(chunk, &mut sink);
        fed += chunk.len() as u64;
        assert_eq!(tap.offset(), fed);
        assert!(
            tap.open_event().is_none_or(|start| start < fed),
            "open before it came"
        );
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
fn check_places(limit: u64, stream: &[u8], events: &[Seen]) {
    let mut before = 0;
    for event in events {
        assert!(before <= event.start, "one event begins within another");
        assert!(event.start < event.end && event.end <= stream.len() as u64);
        // The blank line does not count, and may be CR LF.
        let size = event.end - event.start;
        assert!(if event.oversized {
            size > limit
        } else {
            size <= limit + 2
        });
        assert!((event.data.len() + event.name.len()) as u64 <= limit);
        if let Some(at) = event.data_at {
            let there = &stream[at as usize..][..event.data.len()];
            assert!(
                there == event.data,
                "the data is not where it is said to be"
            );
            assert!(event.start < at && at <= event.end);
        }
        before = event.end;
    }
}

/// Cuts a stream byte by byte, in two, and at places that depend on its bytes.
fn cuts(stream: &[u8]) -> [(&'static str, Vec<&[u8]>); 4] {
    let seed = stream
        .iter()
        .fold(0x9e37_79b9_7f4a_7c15, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
    let (left, right) = stream.split_at((seed >> 8) as usize % (stream.len() + 1));
    [
        ("in two", vec![left, &[], right]),
        ("byte by byte", stream.chunks(1).collect()),
        ("in small parts", random(stream, seed, 9)),
        (
            "in large parts",
            random(stream, !seed, stream.len() / 3 + 2),
        ),
    ]
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
