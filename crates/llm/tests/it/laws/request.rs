//! The law of requests: whatever is accepted, another parser understands in the same way, and an
//! edit does what was asked and nothing else.

use fisc_llm::{CHOICES_MAX, CapField, Edits, RequestFacts, Wire};
use serde::Deserialize;

use super::members::members;

/// A model whose name has to be escaped.
const OTHER_MODEL: &str = "a \"cheap\"\\ one\u{1}";
const CAP: u64 = 77;

/// What may change by an edit.
const EDITABLE: [&str; 4] = [
    "model",
    "max_tokens",
    "max_completion_tokens",
    "stream_options",
];

/// The facts as another parser reads them, which refuses names that come twice.
#[derive(Debug, Deserialize)]
struct Said {
    model: String,
    stream: Option<bool>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    n: Option<u64>,
    service_tier: Option<String>,
    stream_options: Option<Options>,
}

#[derive(Debug, Deserialize)]
struct Options {
    include_usage: Option<bool>,
}

/// Checks the law for a body.
pub(crate) fn hold(body: &[u8]) {
    for wire in [Wire::OpenAiChat, Wire::AnthropicMessages] {
        match RequestFacts::read(wire, body) {
            Ok(facts) => accepted(wire, body, &facts),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn accepted(wire: Wire, body: &[u8], facts: &RequestFacts<'_>) {
    // A lone surrogate in a name or in text that we pass over is no error to us.
    let comparable = !has_surrogate(body);
    if comparable {
        agrees(body, facts);
    }
    check_input(body, facts);
    for edits in edits() {
        let edited = facts.edit(body, &edits);
        let again = RequestFacts::read(wire, &edited).unwrap_or_else(|error| {
            panic!(
                "{error} after {edits:?}: {}",
                String::from_utf8_lossy(&edited)
            )
        });
        check_facts(facts, &again, &edits);
        if comparable {
            agrees(&edited, &again);
            assert_eq!(untouched(body), untouched(&edited), "{edits:?}");
        }
        check_bytes(body, &edited, facts, &edits);
    }
}

/// What we took out of the body is what another parser takes out of it.
#[track_caller]
fn agrees(body: &[u8], facts: &RequestFacts<'_>) {
    let said: Said = serde_json::from_slice(body).expect("accepted, so JSON and unambiguous");
    assert_eq!(said.model, facts.model);
    assert_eq!(said.stream.unwrap_or(false), facts.stream);
    assert_eq!(
        said.max_tokens.max(said.max_completion_tokens),
        facts.output_cap
    );
    assert_eq!(said.n.unwrap_or(1), facts.choices);
    assert_eq!(said.service_tier.as_deref(), facts.service_tier.as_deref());
    let usage = said
        .stream_options
        .and_then(|options| options.include_usage);
    assert_eq!(usage, facts.include_usage);
}

fn check_input(body: &[u8], facts: &RequestFacts<'_>) {
    let input = &facts.input;
    assert_eq!(input.body_bytes, body.len() as u64);
    assert!((1..=CHOICES_MAX).contains(&facts.choices));
    let before = u64::from(input.messages > 0 && input.head_bytes > 0);
    assert_eq!(before + input.messages, input.prefixes.len() as u64);
    let after = input.prefixes.iter().map(|prefix| prefix.bytes_after);
    assert!(
        after.clone().is_sorted_by(|a, b| a > b),
        "later messages have less after them"
    );
    let first = after.max().unwrap_or(0);
    assert!(input.head_bytes + first <= input.body_bytes);
}

fn edits() -> Vec<Edits<'static>> {
    let none = Edits::default();
    let all = Edits {
        output_cap: Some(CAP),
        cap_field: CapField::MaxTokens,
        include_usage: true,
        model: Some(OTHER_MODEL),
        ..Edits::default()
    };
    let second = CapField::MaxCompletionTokens;
    vec![
        none,
        all,
        Edits {
            cap_field: second,
            ..all
        },
        Edits {
            output_cap: Some(CAP),
            ..none
        },
        Edits {
            output_cap: Some(u64::MAX >> 1),
            cap_field: second,
            ..none
        },
        Edits {
            include_usage: true,
            ..none
        },
        Edits {
            model: Some(OTHER_MODEL),
            ..none
        },
    ]
}

/// The facts of the edited body are as asked, and else as they were.
fn check_facts(before: &RequestFacts<'_>, after: &RequestFacts<'_>, edits: &Edits<'_>) {
    assert_eq!(after.model, edits.model.unwrap_or(&before.model));
    assert_eq!(after.output_cap, edits.output_cap.or(before.output_cap));
    assert_eq!(after.stream, before.stream);
    assert_eq!(after.choices, before.choices);
    assert_eq!(after.thinking, before.thinking);
    assert_eq!(after.service_tier, before.service_tier);
    let asked = edits.include_usage && before.stream && before.wire == Wire::OpenAiChat;
    let usage = if asked {
        Some(true)
    } else {
        before.include_usage
    };
    assert_eq!(after.include_usage, usage);
    // The model's name is part of every prefix, and some names mean that the model searches.
    if edits.model.is_none() {
        let mut input = after.input.clone();
        input.body_bytes = before.input.body_bytes;
        assert_eq!(input, before.input);
    }
}

/// An edit of one place leaves all the bytes before and after it as they are.
fn check_bytes(body: &[u8], edited: &[u8], facts: &RequestFacts<'_>, edits: &Edits<'_>) {
    if *edits == Edits::default() {
        assert_eq!(edited, body);
        return;
    }
    let places = [
        edits.output_cap.is_some(),
        edits.include_usage,
        edits.model.is_some(),
    ];
    if places.into_iter().filter(|edited| *edited).count() > 1 {
        return;
    }
    let same = |(a, b): &(&u8, &u8)| a == b;
    let head = body.iter().zip(edited).take_while(same).count();
    let tails = body[head..].iter().rev().zip(edited[head..].iter().rev());
    let tail = tails.take_while(same).count();
    let gone = std::str::from_utf8(&body[head..body.len() - tail]).unwrap_or("part of a name");
    if edits.include_usage {
        assert!(
            ["", "null", "false", "fals"].contains(&gone),
            "{gone} is gone"
        );
    } else if edits.output_cap.is_some() && facts.output_cap.is_none() {
        assert!(["", "null"].contains(&gone), "{gone} is gone");
    } else if edits.model.is_some() {
        assert!(
            body.len() - tail - head <= 6 * facts.model.len() + 2,
            "{gone} is gone"
        );
    }
}

/// Lists what no edit may touch, with its very bytes.
fn untouched(body: &[u8]) -> Vec<(String, &str)> {
    let members_of = |object| members(object).expect("accepted, so an object");
    let mut kept = Vec::new();
    for (name, value) in members_of(body) {
        if name == "stream_options" && value.starts_with('{') {
            let inner = members_of(value.as_bytes()).into_iter();
            let other = inner.filter(|(name, _)| name != "include_usage");
            kept.extend(other.map(|(name, value)| (format!("stream_options.{name}"), value)));
        } else if !EDITABLE.contains(&name.as_str()) {
            kept.push((name, value));
        }
    }
    kept
}

/// Says whether an escape of a surrogate stands in the text, in a pair or alone.
fn has_surrogate(body: &[u8]) -> bool {
    body.windows(3)
        .any(|word| word[..2] == *b"\\u" && matches!(word[2], b'd' | b'D'))
}
