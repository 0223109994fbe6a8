//! Prefixes, names in disguise, and limits; fixtures show the rest.

use super::*;

fn read(body: &str) -> Result<RequestFacts<'_>, FactsError> {
    RequestFacts::read(Wire::AnthropicMessages, body.as_bytes())
}

fn hashes(body: &str) -> Vec<u128> {
    let facts = read(body).expect("a valid body");
    facts
        .input
        .prefixes
        .iter()
        .map(|prefix| prefix.hash)
        .collect()
}

#[test]
fn a_longer_conversation_has_the_prefixes_of_a_shorter_one() {
    let first = hashes(r#"{"model":"m","system":"s","messages":[{"content":"a"}]}"#);
    let next = hashes(
        r#"{"model":"m","temperature":1,"max_tokens":9,"system":"s",
            "messages":[{"content":"a"}, {"content":"b"},{"content":"c"}]}"#,
    );
    // The system prompt is a prefix of its own: conversations share it from the first call on.
    assert_eq!((first.len(), next.len()), (2, 4));
    assert_eq!(first[..2], next[..2]);
    assert!(next.is_sorted_by(|one, other| one != other));
    let headless = hashes(r#"{"model":"m","messages":[{"content":"a"}]}"#);
    assert_eq!(headless.len(), 1);
}

#[test]
fn what_is_set_aside_for_thinking_is_read() {
    for (thinking, expected) in [
        (r#"{"type":"enabled","budget_tokens":2048}"#, 2048),
        (r#"{"type":"adaptive"}"#, 0),
        (r#"{"budget_tokens":-1}"#, 0),
        (r#"{"budget_tokens":{"a":[1]}}"#, 0),
        ("null", 0),
    ] {
        let body = format!(r#"{{"model":"m","thinking":{thinking},"messages":[]}}"#);
        assert_eq!(read(&body).expect("valid").thinking, expected, "{thinking}");
    }
    let twice = r#"{"model":"m","thinking":{"budget_tokens":1,"budget_tokens":9},"messages":[]}"#;
    assert!(read(twice).is_err());
}

#[test]
fn whatever_adds_to_the_prompt_makes_another_prefix() {
    let bodies = [
        r#"{"model":"m","messages":[{"content":"a"}]}"#,
        r#"{"model":"n","messages":[{"content":"a"}]}"#,
        r#"{"model":"m","messages":[{"content":"b"}]}"#,
        r#"{"model":"m","system":"s","messages":[{"content":"a"}]}"#,
        r#"{"model":"m","messages":[{"content":"a"}],"system":"t"}"#,
        r#"{"model":"m","messages":[{"content":"a"}],"tools":[]}"#,
        r#"{"model":"m","messages":[{"content":"a"}],"tool_choice":{"type":"any"}}"#,
        r#"{"model":"m","messages":[{"content":"a"}],"nobody_knows":1}"#,
        r#"{"model":"m","messages":[{"content":"a","name":"x"}]}"#,
    ];
    let mut seen = std::collections::HashSet::new();
    for body in bodies {
        assert!(seen.insert(hashes(body)[0]), "{body}");
    }
    let other = RequestFacts::read(Wire::OpenAiChat, bodies[0].as_bytes()).expect("valid");
    assert!(seen.insert(other.input.prefixes[0].hash), "another wire");
}

#[test]
fn parts_do_not_run_into_one_another() {
    let one = hashes(r#"{"model":"m","messages":[{"a":1},{"b":2}]}"#);
    let other = hashes(r#"{"model":"m","b":{"a":1},"messages":[{"b":2}]}"#);
    assert!(!one.contains(&other[0]));
}

#[test]
fn a_cache_mark_that_moves_on_leaves_the_prefix_as_it_was() {
    let first = hashes(
        r#"{"model":"m","messages":[{"content":[{"type":"text","text":"a"},
           {"type":"text","text":"b","cache_control":{"type":"ephemeral"}}]}]}"#,
    );
    let next = hashes(
        r#"{"model":"m","messages":[{"content":[{"type":"text","text":"a"},
           {"type":"text","text":"b"}]},{"content":[{"cache_control":{"type":"ephemeral"},
           "type":"text","text":"c"}]}]}"#,
    );
    assert_eq!(first[0], next[0]);
    let unmarked = hashes(
        r#"{"model":"m","messages":[{"content":[{"type":"text","text":"a"},
           {"type":"text","text":"b"}]},{"content":[{
           "type":"text","text":"c"}]}]}"#,
    );
    assert_eq!(next, unmarked);
}

#[test]
fn names_that_bill_are_refused_twice_or_in_disguise() {
    const VALID: [(&str, &str); 9] = [
        ("model", "\"m\""),
        ("max_tokens", "1"),
        ("max_completion_tokens", "1"),
        ("messages", "[]"),
        ("stream", "true"),
        ("n", "2"),
        ("service_tier", "\"x\""),
        ("system", "\"x\""),
        ("thinking", "{}"),
    ];
    let place = "the body";
    for (name, value) in VALID {
        let twice = format!("{{\"{name}\":{value}, \"x\":1,\"{name}\":{value}}}");
        assert_eq!(
            read(&twice).err(),
            Some(FactsError::Duplicate { name, place })
        );
        let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        let mut capital = name.to_owned();
        capital[..1].make_ascii_uppercase();
        let long_s = name.replace('s', "\u{17f}");
        for disguise in [escaped, capital, long_s]
            .iter()
            .filter(|disguise| *disguise != name)
        {
            let text = format!("{{\"{disguise}\":{value}}}");
            assert_eq!(
                read(&text).err(),
                Some(FactsError::Disguised { name, place }),
                "{text}"
            );
        }
    }
}

#[test]
fn duplicates_that_do_not_bill_are_let_through() {
    let body = r#"{"model":"m","temperature":1,"temperature":2,"metadata":{"model":1,"model":2},
        "messages":[{"role":"user","content":[{"type":"tool_use","input":{"type":1,"type":2}}]}]}"#;
    assert!(read(body).is_ok());
}

#[test]
fn a_search_tool_counts_however_its_type_is_spelt() {
    let body = r#"{"model":"m","tools":[{"type":"web\u005fsearch_20250305","max_uses":4}]}"#;
    let input = read(body).expect("valid").input;
    assert_eq!((input.searches_max, input.opaque), (4, true));
}

#[test]
fn prefixes_cost_no_more_than_the_body_is_long() {
    // Quadratic work would take minutes here.
    let message = r#"{"role":"user","content":"a"}"#;
    let body = format!(
        "{{\"model\":\"m\",\"messages\":[{}]}}",
        vec![message; 50_000].join(",")
    );
    assert_eq!(hashes(&body).len(), 50_000);
    let keys: Vec<String> = (0..100_000).map(|key| format!("\"k{key}\":1")).collect();
    assert!(read(&format!("{{{},\"model\":\"m\"}}", keys.join(","))).is_ok());
    let marks = r#"{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}"#;
    let marked = vec![format!("{{\"content\":[{marks}]}}"); 20_000].join(",");
    assert_eq!(
        hashes(&format!("{{\"model\":\"m\",\"messages\":[{marked}]}}")).len(),
        20_000
    );
}

#[test]
#[should_panic(expected = "not the body that was read")]
fn another_body_cannot_be_edited() {
    let facts = read(r#"{"model":"m"}"#).expect("valid");
    facts.edit(b"{}", &Edits::default());
}
