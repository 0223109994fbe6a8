//! The framing traps one by one; `tests/it/properties.rs` compares with the standard's algorithm.

use super::*;

/// Feeds chunks and the end; shows events as `name|data@start..end`.
fn events(chunks: &[&str]) -> Vec<String> {
    let mut shown = Vec::new();
    let mut tap = Tap::new();
    let mut sink = |event: Event<'_>| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (name, data) = (text(event.name), text(event.data));
        shown.push(format!("{name}|{data}@{}..{}", event.start, event.end));
    };
    for chunk in chunks {
        tap.feed(chunk.as_bytes(), &mut sink);
    }
    tap.finish(&mut sink);
    shown
}

#[test]
fn lines_end_in_three_ways_wherever_chunks_are_cut() {
    for (chunks, expected) in [
        (
            &["data: a\n\ndata: b\n\n"][..],
            &["|a@0..9", "|b@9..18"][..],
        ),
        (
            &["data: a\r\n\r\ndata: b\r\n\r\n"],
            &["|a@0..11", "|b@11..22"],
        ),
        (&["data: a\r\rdata: b\r\r"], &["|a@0..9", "|b@9..18"]),
        (
            &["data: a\r", "\n\r", "\ndata: b\r\n", "\r\n"],
            &["|a@0..10", "|b@11..22"],
        ),
        (&["da", "ta", ": ", "a", "\n", "\n"], &["|a@0..9"]),
        (&["data:a\n\n", "data\n\n"], &["|a@0..8", "|@8..14"]),
        (&["data: a\ndata: b\ndata:\n\n"], &["|a\nb\n@0..23"]),
        (&["data: a\nda", "ta: b\n\n"], &["|a\nb@0..17"]),
    ] {
        assert_eq!(events(chunks), expected, "{chunks:?}");
    }
}

#[test]
fn comments_and_other_fields_pass() {
    assert_eq!(
        events(&[": ping\n\n:\n: x\nevent: e\nid: 1\ndata: a\nretry: 3\n\n"]),
        ["e|a@14..47"]
    );
    assert_eq!(events(&["event: lost\n\ndata: a\n\n"]), ["|a@13..22"]);
    assert_eq!(events(&["\n\n\n", "\r\n\r\n"]), [""; 0]);
}

#[test]
fn a_byte_order_mark_passes_once_however_it_is_cut() {
    let mark = "\u{feff}data: a\n\n".as_bytes();
    for cut in 0..4 {
        let mut found = Vec::new();
        let mut tap = Tap::new();
        for chunk in [
            &mark[..cut],
            &[],
            &mark[cut..],
            "\u{feff}data: b\n\n".as_bytes(),
        ] {
            tap.feed(chunk, &mut |event| found.push(event.data.to_vec()));
        }
        assert_eq!(
            found,
            [b"a"],
            "the second mark makes another field of it, cut at {cut}"
        );
    }
    // Two bytes of a mark, then something else: a field that nobody knows.
    let mut tap = Tap::new();
    let mut found = 0;
    for chunk in [&b"\xef\xbb"[..], b"data: a\n\ndata: b\n\n"] {
        tap.feed(chunk, &mut |_| found += 1);
    }
    assert_eq!(found, 1);
}

#[test]
fn what_the_end_cuts_is_tried() {
    assert_eq!(events(&["data: a\n\ndata: b"]), ["|a@0..9", "|b@9..16"]);
    assert_eq!(events(&["data: b\n"]), ["|b@0..8"]);
    assert_eq!(events(&["data: b\ndat"]), ["|b@0..11"]);
    assert_eq!(events(&["event: x\n"]), [""; 0]);
}

#[test]
fn an_open_event_is_told_from_its_first_byte() {
    let mut tap = Tap::new();
    let mut open = |chunk: &str| {
        tap.feed(chunk.as_bytes(), &mut |_| {});
        tap.open_event()
    };
    assert_eq!(open(": comment"), None);
    assert_eq!(open(" still\n"), None);
    assert_eq!(open("d"), Some(16));
    assert_eq!(open("ata: a\n"), Some(16));
    assert_eq!(open("\n"), None);
    assert_eq!(open("\n\n"), None);
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let filler = vec![b'x'; 1 << 20];
    for start in ["data: ", "event: ", "", ": "] {
        let mut tap = Tap::new();
        let mut sizes = Vec::new();
        tap.feed(start.as_bytes(), &mut |_| {});
        for _ in 0..32 {
            tap.feed(&filler, &mut |_| {});
            let kept = tap.line.capacity() + tap.event.data.capacity() + tap.event.name.capacity();
            assert!(kept <= 10 << 20, "{kept} bytes are kept after {start:?}");
        }
        tap.feed(b"\n\ndata: small\n\n", &mut |event| {
            sizes.push((event.oversized, event.data.len()));
        });
        let expected = if start == ": " {
            &[(false, 5)][..]
        } else {
            &[(true, 0), (false, 5)]
        };
        assert_eq!(sizes, expected, "{start:?}");
        assert!(tap.line.capacity() + tap.event.data.capacity() <= 128 << 10);
    }
    let mut tap = Tap::new();
    let line = b"data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n";
    for _ in 0..200_000 {
        tap.feed(line, &mut |_| {});
    }
    assert!(tap.event.oversized && tap.event.data.capacity() == 0);
}

#[test]
fn the_limit_does_not_depend_on_chunks() {
    for line_end in ["\n", "\r\n", "\r"] {
        // The blank line does not count: a cut may hide the LF of its CR LF.
        let at_limit = (EVENT_BYTES_MAX as usize) - "data: ".len() - line_end.len();
        for (length, oversized) in [(at_limit, false), (at_limit + 1, true)] {
            let data = "x".repeat(length);
            let stream = format!("data: {data}{line_end}{line_end}").into_bytes();
            for size in [stream.len(), stream.len() - 1, 1 << 16, 4099] {
                let mut tap = Tap::new();
                let mut seen = Vec::new();
                for chunk in stream.chunks(size) {
                    tap.feed(chunk, &mut |event| seen.push(event.oversized));
                }
                assert_eq!(seen, [oversized], "{length} bytes by {size}");
            }
        }
    }
}

#[test]
fn a_million_empty_events_cost_nothing() {
    let mut tap = Tap::new();
    let mut count = 0;
    for _ in 0..1_000 {
        tap.feed(&b"\n".repeat(1_000), &mut |_| count += 1);
    }
    assert_eq!((count, tap.open_event()), (0, None));
}
