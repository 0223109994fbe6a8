//! The reader against the general library, and its own promises.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Reads a whole text by passing over it.
fn accepts(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    reader.skip().and_then(|_| reader.end()).is_ok()
}

/// Reads a whole text member by member, and adds up the decoded bytes of its strings.
fn walk(reader: &mut Reader<'_>) -> Result<u64, Fault> {
    let mut first = true;
    let mut bytes = 0;
    match reader.kind()? {
        Kind::Object => {
            reader.open_object()?;
            while let Some(key) = reader.key(&mut first)? {
                bytes += key.text.decoded_bytes() + walk(reader)?;
            }
        }
        Kind::Array => {
            reader.open_array()?;
            while reader.element(&mut first)? {
                bytes += walk(reader)?;
            }
        }
        Kind::String => bytes = reader.text()?.decoded_bytes(),
        Kind::Number => reader.number().map(drop)?,
        Kind::Bool => reader.boolean().map(drop)?,
        Kind::Null => reader.pass()?,
    }
    Ok(bytes)
}

fn string_bytes(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(values) => values.iter().map(string_bytes).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| name.len() as u64 + string_bytes(value))
            .sum(),
        _ => 0,
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a\\\\\"\n\u{e9}\u{1f600}]{0,60}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\\\\]{0,4}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn reads_what_the_library_writes(value in json(), pretty: bool) {
        let text = if pretty {
            serde_json::to_string_pretty(&value)
        } else {
            serde_json::to_string(&value)
        }.expect("a value can be written");
        prop_assert!(accepts(text.as_bytes()));
        let mut reader = Reader::new(text.as_bytes());
        prop_assert_eq!(walk(&mut reader), Ok(string_bytes(&value)));
        prop_assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn agrees_with_the_library_on_damaged_text(
        value in json(), at in any::<prop::sample::Index>(), byte in 0x20u8..0x7f, cut: bool,
    ) {
        let mut text = serde_json::to_vec(&value).expect("a value can be written");
        let at = at.index(text.len());
        if cut { text.truncate(at) } else { text[at] = byte }
        // `IgnoredAny` reads numbers and surrogates by their grammar alone, as this reader does.
        let library = serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok();
        prop_assert_eq!(accepts(&text), library, "{}", String::from_utf8_lossy(&text));
        let mut reader = Reader::new(&text);
        let walked = walk(&mut reader).and_then(|_| reader.end()).is_ok();
        prop_assert_eq!(walked, library);
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        accepts(&bytes);
        let _ = walk(&mut Reader::new(&bytes));
    }

    #[test]
    fn a_string_says_what_the_library_says(text: String) {
        let mut written = serde_json::to_string(&text).expect("text can be written");
        if text.len() % 2 == 0 {
            written = escape_all(&text);
        }
        let mut reader = Reader::new(written.as_bytes());
        let read = reader.text().expect("a string");
        prop_assert_eq!(read.decode().unwrap_or_default(), text.as_str());
        prop_assert_eq!(read.decoded_bytes(), text.len() as u64);
    }
}

fn escape_all(text: &str) -> String {
    use std::fmt::Write as _;
    let mut written = String::from("\"");
    for unit in text.encode_utf16() {
        write!(written, "\\u{unit:04X}").expect("memory is writable");
    }
    written + "\""
}

#[test]
fn depth_is_limited_wherever_it_is_met() {
    let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    assert!(accepts(nested(128).as_bytes()));
    assert_eq!(
        Reader::new(nested(129).as_bytes()).skip(),
        Err(Fault::TooDeep(129))
    );
    assert!(!accepts(nested(100_000).as_bytes()));
    assert!(walk(&mut Reader::new(nested(128).as_bytes())).is_ok());
    assert!(walk(&mut Reader::new(nested(129).as_bytes())).is_err());
    let outside = format!("{{\"a\":{}}}", nested(128));
    let mut reader = Reader::new(outside.as_bytes());
    reader.open_object().expect("an object");
    reader.key(&mut true).expect("a name");
    assert!(matches!(reader.skip(), Err(Fault::TooDeep(_))));
}

#[test]
fn a_control_character_far_into_a_string_is_refused() {
    for length in [0, 5, 31, 32, 33, 500] {
        let text = format!("\"{}\u{1}\"", "x".repeat(length));
        assert!(!accepts(text.as_bytes()), "{length}");
    }
}

#[test]
fn only_plain_digits_below_two_to_the_63_are_counts() {
    for (text, count) in [
        ("0", Ok(0)),
        ("1000000000000", Ok(1_000_000_000_000)),
        ("9223372036854775807", Ok(9_223_372_036_854_775_807)),
        ("9223372036854775808", Err(NotWhole::TooLarge)),
        ("18446744073709551616", Err(NotWhole::TooLarge)),
        ("-1", Err(NotWhole::Negative)),
        ("-0", Err(NotWhole::Negative)),
        ("12.5", Err(NotWhole::Fraction)),
        ("12.0", Err(NotWhole::Fraction)),
        ("1e400", Err(NotWhole::Fraction)),
    ] {
        assert_eq!(whole(text.as_bytes()), count, "{text}");
    }
}

#[test]
fn a_lone_surrogate_is_no_text() {
    for text in [r#""\ud800""#, r#""\udc00x""#, r#""\ud800\u0041""#] {
        let read = Reader::new(text.as_bytes()).text().expect("a string");
        assert_eq!(read.decode(), None, "{text}");
    }
}

#[test]
fn a_member_is_cut_with_one_comma() {
    for (text, left) in [
        (r#"{"x":1}"#, "{}"),
        (r#"{"x":1 , "a":2}"#, r#"{ "a":2}"#),
        (r#"{"a":2, "x" : 1}"#, r#"{"a":2}"#),
        (r#"{"a":2,"x":1,"b":3}"#, r#"{"a":2,"b":3}"#),
    ] {
        let mut reader = Reader::new(text.as_bytes());
        reader.open_object().expect("an object");
        let mut first = true;
        let mut cut = None;
        while let Some(key) = reader.key(&mut first).expect("valid") {
            reader.skip().expect("valid");
            if key.text.raw() == b"x" {
                cut = Some(reader.member(&key));
            }
        }
        let mut text = text.to_owned();
        text.replace_range(cut.expect("x is there"), "");
        assert_eq!(text, left);
    }
}
