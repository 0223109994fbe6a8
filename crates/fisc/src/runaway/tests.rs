//! Which ways of calling look like running away, and which do not.

use super::*;

const SECOND: i64 = 1_000_000;
const AGENT: BudgetId = BudgetId(1);

/// Calls of one agent: gaps in microseconds, prompts, stems, lengths.
fn signs(calls: impl IntoIterator<Item = (i64, u128, Option<u128>, u64)>) -> Vec<(usize, Sign)> {
    let (mut runaways, mut at) = (Runaways::default(), 0);
    let mut signs = Vec::new();
    for (index, (gap, prompt, stem, bytes)) in calls.into_iter().enumerate() {
        at += gap;
        let call = Asked {
            at: TimeUs(at),
            prompt,
            stem,
            bytes,
        };
        signs.extend(runaways.observe(AGENT, call).map(|sign| (index + 1, sign)));
    }
    signs
}

/// Gaps of an agent whose calls take between two and four seconds.
fn gap(index: u128) -> i64 {
    2 * SECOND + (index as i64 * 7_919 % 2_000) * 1_000
}

#[test]
fn an_ordinary_agent_shows_no_sign() {
    // A conversation that grows by some hundred bytes a call, and begins anew now and then.
    let calls = (0..200).map(|index| {
        let turn = index % 25;
        let bytes = 2_000 + turn as u64 * 700 + (index as u64 * 131) % 300;
        (gap(index), index, Some(index / 25 * 1_000 + turn), bytes)
    });
    assert_eq!(signs(calls), []);
}

#[test]
fn the_same_prompt_ten_times_is_a_loop_and_is_told_again_only_after_a_while() {
    let calls = (0..31).map(|index| (gap(index), 5, None, 900));
    let expected = [(10, Sign::Repeats), (30, Sign::Repeats)];
    assert_eq!(signs(calls), expected);
    // Nine are none, and neither are ten among many others.
    assert_eq!(signs((0..9).map(|index| (gap(index), 5, None, 900))), []);
    let rare = (0..60).map(|index| {
        (
            gap(index),
            if index % 4 == 0 { 5 } else { index + 9 },
            None,
            900,
        )
    });
    assert_eq!(signs(rare), []);
}

#[test]
fn a_loop_of_two_prompts_is_one_too() {
    let calls = (0..20).map(|index| (gap(index), index % 2, None, 900));
    assert_eq!(signs(calls), [(19, Sign::Repeats)]);
}

#[test]
fn prompts_that_differ_in_their_last_message_only_are_alike_when_as_long() {
    let alike = (0..10).map(|index| (gap(index), index, Some(7), 9_000 + index as u64));
    assert_eq!(signs(alike), [(10, Sign::Repeats)]);
    let other_lengths =
        (0..15).map(|index| (gap(index), index, Some(7), 1_000 + index as u64 * 400));
    assert_eq!(signs(other_lengths), []);
    // Tasks that begin alike have no stem of their own.
    let tasks = (0..40).map(|index| (gap(index), index, None, 9_000 + index as u64));
    assert_eq!(signs(tasks), []);
}

#[test]
fn prompts_that_grow_far_more_than_before_are_a_sign_and_one_document_is_none() {
    let lengths = |jump_from: u64| {
        move |index: u128| {
            let index = index as u64;
            let usual = 5_000 + index * 500 + index % 3 * 50;
            let doubled = if index >= jump_from {
                8_000 << (index - jump_from).min(12)
            } else {
                0
            };
            (gap(index.into()), u128::from(index), None, usual + doubled)
        }
    };
    assert_eq!(signs((0..27).map(lengths(20))), [(25, Sign::Growth)]);
    let document = (0..40).map(|index: u128| {
        let read = if index >= 25 { 200_000 } else { 0 };
        (gap(index), index, None, 5_000 + index as u64 * 500 + read)
    });
    assert_eq!(signs(document), []);
}

#[test]
fn calls_that_come_far_faster_than_before_are_a_sign() {
    let calls = (0..30).map(|index| {
        let gap = if index < 24 { gap(index) } else { 100_000 };
        (gap, index, None, 900)
    });
    assert_eq!(signs(calls), [(29, Sign::Rate)]);
    // Too little is known of an agent that raced from the start, or since its tenth call.
    assert_eq!(signs((0..60).map(|index| (100_000, index, None, 900))), []);
    let young = (0..15).map(|index| {
        (
            if index < 10 { gap(index) } else { 50_000 },
            index,
            None,
            900,
        )
    });
    assert_eq!(signs(young), []);
}

#[test]
fn agents_are_told_apart_and_only_so_many_are_watched() {
    let mut runaways = Runaways::default();
    let call = |at| Asked {
        at: TimeUs(at),
        prompt: 5,
        stem: None,
        bytes: 900,
    };
    // Nine times each: nobody shows a sign.
    for at in 0..9 {
        for id in 0..AGENTS_MAX as u32 {
            assert_eq!(runaways.observe(BudgetId(id), call(at)), None);
        }
    }
    // One more, and who called least recently is forgotten.
    let newcomer = BudgetId(AGENTS_MAX as u32);
    for at in 10..12 {
        for id in 1..AGENTS_MAX as u32 {
            let sign = runaways.observe(BudgetId(id), call(at));
            assert_eq!(sign.is_some(), at == 10);
        }
    }
    assert_eq!(runaways.observe(newcomer, call(13)), None);
    assert_eq!(runaways.agents.len(), AGENTS_MAX);
    assert!(!runaways.agents.contains_key(&BudgetId(0)));
}

#[test]
fn a_sign_lifts_by_one_level_and_never_to_black() {
    let raised = Raised {
        why: Sign::Rate,
        until: Timestamp(0),
    };
    let lifted = Level::ALL.map(|level| raised.lift(level).name());
    assert_eq!(lifted, ["yellow", "orange", "red", "red", "black"]);
}
