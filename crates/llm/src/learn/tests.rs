//! What one call teaches about the next, and what is forgotten. Quantiles and the bounded map
//! have their own tests beside them.

use super::*;

const CALL: CallClass<'static> = CallClass {
    upstream: "openai",
    model: "gpt-4o-mini",
    agent: "team/a",
};

/// A request of messages of these sizes; the hash of a prefix is made of its sizes.
fn shape(messages: &[u64]) -> InputShape {
    let total: u64 = messages.iter().sum();
    let mut before = 0;
    let prefixes = messages.iter().map(|bytes| {
        before += bytes;
        Prefix {
            hash: u128::from(before) << 64 | u128::from(*bytes),
            bytes_after: total - before,
        }
    });
    InputShape {
        prefixes: prefixes.collect(),
        messages: messages.len() as u64,
        body_bytes: total + 100,
        ..InputShape::default()
    }
}

fn lesson(input: u64, output: u64) -> Lesson {
    let time = TimeUs(output as i64 * 10);
    Lesson {
        cached: 0,
        input,
        output,
        time,
        output_cut: false,
        expected_input: None,
    }
}

#[test]
fn the_usage_of_a_conversation_bounds_its_next_turn() {
    let mut learner = Learner::new();
    assert_eq!(learner.known(&CALL, &shape(&[400])), None);
    learner.settle(&CALL, &shape(&[400]), &lesson(90, 10));
    let known = learner.known(&CALL, &shape(&[400, 60, 70])).expect("known");
    assert_eq!(
        known,
        Known {
            tokens: 90,
            bytes_after: 130,
            messages_after: 2,
            exact: true
        }
    );
    let elsewhere = CallClass {
        upstream: "azure",
        ..CALL
    };
    assert_eq!(learner.known(&elsewhere, &shape(&[400, 60, 70])), None);
}

#[test]
fn a_prefix_has_at_most_the_tokens_of_what_starts_with_it() {
    let mut learner = Learner::new();
    learner.settle(&CALL, &shape(&[400, 500]), &lesson(200, 10));
    learner.settle(&CALL, &shape(&[400, 300]), &lesson(150, 10));
    learner.settle(&CALL, &shape(&[400, 700]), &lesson(300, 10));
    let known = learner.known(&CALL, &shape(&[400, 5])).expect("known");
    assert_eq!((known.tokens, known.exact), (150, false));
    // The request itself is known better than its prefixes.
    learner.settle(&CALL, &shape(&[400]), &lesson(90, 10));
    learner.settle(&CALL, &shape(&[400, 1]), &lesson(80, 10));
    let known = learner.known(&CALL, &shape(&[400, 5])).expect("known");
    assert_eq!((known.tokens, known.exact), (90, true));
}

#[test]
fn quantiles_need_samples_and_roll() {
    let mut learner = Learner::new();
    for output in 1..SAMPLES_MIN as u64 {
        learner.settle(&CALL, &shape(&[400]), &lesson(90, output));
        assert_eq!(learner.output(&CALL), None);
    }
    for output in 1..=CLASS_WINDOW as u64 {
        learner.settle(&CALL, &shape(&[400]), &lesson(90, output));
    }
    let output = learner.output(&CALL).expect("enough samples");
    assert_eq!(
        output,
        Quantiles {
            q50: 251,
            q95: 476,
            q99: 496
        }
    );
    assert_eq!(learner.time(&CALL).expect("enough samples").q99, 4_960);
    let other = CallClass {
        agent: "team/b",
        ..CALL
    };
    assert_eq!(learner.output(&other), None);
    for _ in 0..CLASS_WINDOW {
        learner.settle(&CALL, &shape(&[400]), &lesson(90, 7));
    }
    assert_eq!(
        learner.output(&CALL),
        Some(Quantiles {
            q50: 7,
            q95: 7,
            q99: 7
        })
    );
}

#[test]
fn few_samples_say_what_calls_need_and_err_upwards() {
    let mut learner = Learner::new();
    for output in 1..20 {
        learner.settle(&CALL, &shape(&[400]), &lesson(90, output * 10));
        assert_eq!(learner.output_need(&CALL), None);
    }
    learner.settle(&CALL, &shape(&[400]), &lesson(90, 200));
    let few = learner.output_need(&CALL).expect("enough samples");
    assert_eq!(few.q95, 200);
    assert!((240..500).contains(&few.q99), "{few:?}");
    for _ in 0..14 {
        for output in 1..=20 {
            learner.settle(&CALL, &shape(&[400]), &lesson(90, output * 10));
        }
    }
    let many = OutputNeed { q95: 200, q99: 200 };
    assert_eq!(learner.output_need(&CALL), Some(many));
}

#[test]
fn outputs_that_were_cut_do_not_lower_the_cap() {
    let mut learner = Learner::new();
    for _ in 0..SAMPLES_MIN {
        learner.settle(&CALL, &shape(&[400]), &lesson(90, 1_000));
    }
    for _ in 0..CLASS_WINDOW * 2 {
        let cut = Lesson {
            output_cut: true,
            ..lesson(90, 64)
        };
        learner.settle(&CALL, &shape(&[400]), &cut);
    }
    assert_eq!(learner.output(&CALL).map(|output| output.q99), Some(1_000));
}

#[test]
fn expectations_get_accurate_on_a_growing_conversation() {
    let mut learner = Learner::new();
    let tokens = |bytes: u64| 20 + bytes * 3 / 10;
    let mut messages = vec![2_000];
    let mut late = Accuracy::default();
    for turn in 0..100 {
        let shape = shape(&messages);
        let known = learner.known(&CALL, &shape);
        let expected = learner.expected(&CALL, &shape, known).input;
        let input = tokens(messages.iter().sum());
        let lesson = Lesson {
            expected_input: Some(expected),
            ..lesson(input, 10)
        };
        learner.settle(&CALL, &shape, &lesson);
        if turn >= 2 {
            late.add(expected, input);
        }
        messages.push(150 + turn % 7 * 40);
    }
    assert_eq!(learner.accuracy().calls, 100);
    assert_eq!(late.within, late.calls, "{:?}", learner.accuracy());
}

#[test]
fn what_is_no_text_teaches_no_ratio() {
    let mut learner = Learner::new();
    for _ in 0..100 {
        let image = InputShape {
            images: 1,
            ..shape(&[400])
        };
        learner.settle(&CALL, &image, &lesson(50_000, 10));
    }
    let text = shape(&[400]);
    let expected = learner.expected(&CALL, &text, None).input;
    let before = Learner::new().expected(&CALL, &text, None).input;
    assert_eq!(expected, before);
}
