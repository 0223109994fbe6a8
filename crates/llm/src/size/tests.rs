//! Tiers and waits by example, and as properties: a hold is free, and bounds every charge.

use std::sync::{Arc, LazyLock};

use fisc_core::{TokenClass, Usage};
use proptest::prelude::*;

use super::*;
use crate::bound::How;
use crate::prices::PriceBook;

/// 2026-11-01T00:00:00Z.
const AT: fisc_core::Timestamp = fisc_core::Timestamp(1_793_491_200_000_000);
const UNLIMITED: Amount = Amount::from_raw([i64::MAX; 3]);

fn ask<'a>() -> Ask<'a> {
    Ask {
        price: None,
        counting: TokenCounting::Fresh,
        input: InputBound {
            tokens: 1_000,
            bounded: true,
            how: How::Bytes,
        },
        call: CallBound {
            choices: 1,
            ..CallBound::default()
        },
        asked_output: None,
        model_output: Maximum::Known(4_096),
        output_q95: None,
        output_q99: None,
        output_floor: OUTPUT_FLOOR,
        time_limit: TimeUs(60_000_000),
        time_q99: None,
        time_floor: TimeUs(1_000_000),
        time_likely: None,
        per_call: UNLIMITED,
        running: 0,
        siblings: 0,
        sibling_room: Amount::ZERO,
    }
}

fn sampled<'a>() -> Ask<'a> {
    Ask {
        output_q95: Some(200),
        output_q99: Some(500),
        ..ask()
    }
}

fn tokens(tokens: i64) -> Amount {
    let mut amount = UNLIMITED;
    amount.set(Resource::Tokens, tokens);
    amount
}

fn time(time: i64) -> Amount {
    let mut amount = UNLIMITED;
    amount.set(Resource::Time, time);
    amount
}

/// Returns the tokens held and the cap written.
#[track_caller]
fn held(sizing: Sizing) -> (i64, Option<u64>) {
    match sizing {
        Sizing::Hold {
            amount, output_cap, ..
        } => (amount.tokens().0, output_cap),
        other => panic!("{other:?}"),
    }
}

fn is_wait(sizing: Sizing) -> bool {
    matches!(sizing, Sizing::Wait { .. })
}

fn is_hold(sizing: Sizing) -> bool {
    matches!(sizing, Sizing::Hold { .. })
}

fn is_never(sizing: Sizing) -> bool {
    matches!(sizing, Sizing::Never { .. })
}

#[test]
fn with_room_the_request_keeps_its_own_cap() {
    assert_eq!(held(size(&ask(), &UNLIMITED, &UNLIMITED)), (5_096, None));
    let asked = Ask {
        asked_output: Some(300),
        ..ask()
    };
    assert_eq!(held(size(&asked, &UNLIMITED, &UNLIMITED)), (1_300, None));
    let guessed = Ask {
        model_output: Maximum::Assumed(4_096),
        ..ask()
    };
    assert_eq!(
        held(size(&guessed, &UNLIMITED, &UNLIMITED)),
        (5_096, Some(4_096))
    );
    let absurd = Ask {
        asked_output: Some(u64::MAX),
        ..ask()
    };
    assert_eq!(
        held(size(&absurd, &UNLIMITED, &UNLIMITED)).1,
        Some(OUTPUT_MAX)
    );
}

#[test]
fn without_room_beside_the_siblings_the_cap_is_lowered_to_q99() {
    let siblings = 4;
    let ask = Ask {
        siblings,
        sibling_room: tokens(1_500).min(tokens(1_500)),
        ..sampled()
    };
    assert_eq!(
        held(size(&ask, &tokens(5_096 + 6_000), &UNLIMITED)),
        (5_096, None)
    );
    assert_eq!(
        held(size(&ask, &tokens(5_096 + 5_999), &UNLIMITED)),
        (5_095, Some(4_095)),
        "all that is beside them"
    );
    assert_eq!(
        held(size(&ask, &tokens(7_500), &UNLIMITED)),
        (1_500, Some(500)),
        "what such calls need, and as much for each of them"
    );
    assert_eq!(
        held(size(&ask, &tokens(7_499), &UNLIMITED)),
        (2_999, Some(1_999)),
        "one of them has to wait, and leaves its room"
    );
    assert_eq!(
        held(size(&ask, &tokens(1_600), &UNLIMITED)),
        (1_600, Some(600)),
        "all of them"
    );
    let small = Ask {
        asked_output: Some(100),
        ..ask
    };
    assert_eq!(
        held(size(&small, &tokens(1_200), &UNLIMITED)),
        (1_100, None),
        "never above asked"
    );
}

#[test]
fn calls_that_share_a_room_get_at_most_an_equal_part_of_it_down_to_q99() {
    let room = tokens(12_000);
    let shared = |running, free| {
        let ask = Ask {
            running,
            ..sampled()
        };
        size(&ask, &tokens(free), &room)
    };
    assert_eq!(held(shared(0, 12_000)), (5_096, None), "nobody shares it");
    assert_eq!(
        held(shared(1, 12_000)),
        (2_900, Some(1_900)),
        "of a part of 5,000 of output, ten times what such calls need"
    );
    assert_eq!(
        held(shared(3, 12_000)),
        (2_117, Some(1_117)),
        "of 2,000, four times as much"
    );
    assert_eq!(
        held(shared(3, 2_000)),
        (2_000, Some(1_000)),
        "others took a little more"
    );
    assert_eq!(
        held(shared(7, 12_000)),
        (1_500, Some(500)),
        "its whole part"
    );
    assert_eq!(
        held(shared(9, 12_000)),
        (1_500, Some(500)),
        "more than its part"
    );
    assert!(is_wait(shared(9, 1_499)));
    let cold = Ask {
        running: 9,
        ..ask()
    };
    assert_eq!(
        held(size(&cold, &tokens(12_000), &room)),
        (1_000 + OUTPUT_DECENT as i64, Some(OUTPUT_DECENT)),
        "and not all there is"
    );
}

#[test]
fn what_is_left_is_used_up_by_the_last_and_not_before() {
    let ask = sampled();
    let (open, left) = (tokens(10_000), tokens(1_499));
    assert!(is_wait(size(&ask, &left, &open)), "others may give back");
    assert_eq!(held(size(&ask, &left, &left)), (1_499, Some(499)));
    assert_eq!(
        held(size(&ask, &tokens(1_200), &tokens(1_200))),
        (1_200, Some(200))
    );
    assert!(
        is_never(size(&ask, &tokens(1_199), &tokens(1_199))),
        "one in twenty would be cut"
    );
}

#[test]
fn a_cold_start_takes_what_is_left_but_not_scraps() {
    let left = tokens(1_000 + 2_000);
    assert_eq!(held(size(&ask(), &left, &left)), (3_000, Some(2_000)));
    assert_eq!(held(size(&ask(), &left, &UNLIMITED)), (3_000, Some(2_000)));
    let scraps = tokens(1_000 + 100);
    assert!(is_wait(size(&ask(), &scraps, &left)), "waiting gives more");
    assert_eq!(held(size(&ask(), &scraps, &scraps)), (1_100, Some(100)));
    let least = tokens(1_000 + OUTPUT_FLOOR as i64);
    assert_eq!(held(size(&ask(), &least, &least)), (1_064, Some(64)));
    let below = tokens(1_000 + OUTPUT_FLOOR as i64 - 1);
    assert!(is_never(size(&ask(), &below, &below)));
    let modest = Ask {
        asked_output: Some(10),
        ..ask()
    };
    assert_eq!(
        held(size(&modest, &below, &below)),
        (1_010, None),
        "its own cap is its floor"
    );
}

#[test]
fn time_follows_the_same_tiers() {
    let cap = |ask: &Ask<'_>, free: &Amount, idle: &Amount| match size(ask, free, idle) {
        Sizing::Hold {
            time_cap, amount, ..
        } => {
            assert_eq!(amount.time(), time_cap);
            Some(time_cap.0)
        }
        _ => None,
    };
    let usual = Ask {
        time_q99: Some(TimeUs(2_000_000)),
        ..ask()
    };
    assert_eq!(cap(&usual, &time(60_000_000), &UNLIMITED), Some(60_000_000));
    assert_eq!(cap(&usual, &time(59_999_999), &UNLIMITED), Some(2_500_000));
    assert_eq!(cap(&usual, &time(2_400_000), &UNLIMITED), None);
    assert_eq!(
        cap(&usual, &time(2_400_000), &time(2_400_000)),
        Some(2_400_000)
    );
    assert_eq!(
        cap(&usual, &time(1_000_000), &time(1_000_000)),
        Some(1_000_000)
    );
    assert!(is_never(size(&usual, &time(999_999), &time(999_999))));
    assert_eq!(
        cap(&ask(), &time(20_000_000), &UNLIMITED),
        Some(20_000_000),
        "cold"
    );
    assert_eq!(
        cap(&ask(), &time(10_000_000), &UNLIMITED),
        None,
        "cold, and scraps"
    );
    assert_eq!(
        cap(&ask(), &time(10_000_000), &time(10_000_000)),
        Some(10_000_000)
    );
}

#[test]
fn choices_multiply_and_counting_decides_what_counts() {
    let two = Ask {
        call: CallBound {
            choices: 2,
            ..CallBound::default()
        },
        ..ask()
    };
    assert_eq!(
        held(size(&two, &UNLIMITED, &UNLIMITED)),
        (1_000 + 2 * 4_096, None)
    );
    for (counting, tokens) in [
        (TokenCounting::Total, 5_096),
        (TokenCounting::Input, 1_000),
        (TokenCounting::Output, 4_096),
    ] {
        let ask = Ask { counting, ..ask() };
        assert_eq!(
            held(size(&ask, &UNLIMITED, &UNLIMITED)).0,
            tokens,
            "{counting:?}"
        );
    }
}

#[test]
fn what_cannot_be_counted_can_never_be_held() {
    let call = CallBound {
        choices: u64::MAX,
        ..CallBound::default()
    };
    assert!(is_never(size(
        &Ask { call, ..ask() },
        &UNLIMITED,
        &UNLIMITED
    )));
    let input = InputBound {
        tokens: u64::MAX,
        bounded: true,
        how: How::Bytes,
    };
    assert!(is_never(size(
        &Ask { input, ..ask() },
        &UNLIMITED,
        &UNLIMITED
    )));
}

#[test]
fn a_budget_is_used_up_by_many_calls_without_overspending() {
    for (calls, least) in [(20_i64, 90), (200, 98)] {
        let (input, output) = (100_u64, 200_u64);
        let limit = calls * (input + output) as i64;
        let bound = InputBound {
            tokens: 300,
            bounded: true,
            how: How::Bytes,
        };
        let (mut spent, mut done) = (0, 0);
        loop {
            let warm = done >= 50;
            let samples = Some(output).filter(|_| warm);
            let ask = Ask {
                input: bound,
                output_q95: samples,
                output_q99: samples,
                ..ask()
            };
            let left = tokens(limit - spent);
            let Sizing::Hold {
                amount, output_cap, ..
            } = size(&ask, &left, &left)
            else {
                break;
            };
            let used = (input + output.min(output_cap.unwrap_or(u64::MAX))) as i64;
            assert!(used <= amount.tokens().0);
            spent += used;
            done += 1;
        }
        assert!(
            spent <= limit && spent * 100 >= limit * least,
            "{spent} of {limit}"
        );
    }
}

static PRICES: LazyLock<Vec<Arc<ModelPrice>>> = LazyLock::new(|| {
    let book = PriceBook::with_overlay(
        "[[model]]\nmatch = \"own\"\ninput = \"0.333333\"\noutput = \"1.777777\"\n\
         per_call = \"0.000001\"\nper_second = \"0.0001\"\nper_search = \"0.01\"\n\
         multiplier = \"1.07\"\n",
    )
    .expect("valid");
    let known = |model| book.price(None, model, AT).known().cloned().expect(model);
    [
        "gpt-4o-mini",
        "claude-sonnet-4-5",
        "gpt-6-sol",
        "gpt-audio",
        "own",
    ]
    .map(known)
    .to_vec()
});

prop_compose! {
    fn any_room()(
        raw in prop::array::uniform3(prop_oneof![0_i64..100_000_000, 0_i64..20_000, Just(i64::MAX)])
    ) -> Amount {
        Amount::from_raw(raw)
    }
}

prop_compose! {
    fn any_ask()(
        input in 0_u64..300_000,
        flags in prop::array::uniform5(any::<bool>()),
        (choices, searches, output_beyond) in (0_u64..4, 0_u64..3, 0_u64..50),
        service_tier in prop::sample::select(
            vec![None, Some("auto"), Some("flex"), Some("priority")],
        ),
        asked_output in prop::option::of(0_u64..20_000),
        output in prop::option::of((0_u64..2_000, 0_u64..2_000)),
        time_q99 in prop::option::of(0_i64..100_000_000),
        (time_limit, time_floor) in (1_i64..100_000_000, 0_i64..2_000_000),
        (running, siblings, room) in (0_u64..50, 0_u64..50, 0_i64..1_000),
        counting in prop::sample::select(vec![
            TokenCounting::Fresh, TokenCounting::Total, TokenCounting::Input, TokenCounting::Output,
        ]),
    ) -> Ask<'static> {
        let [cache_writes, cache_ttl_1h, audio_in, images_in, audio_out] = flags;
        let q99 = output.map(|(one, other)| one.max(other));
        Ask {
            counting,
            input: InputBound { tokens: input, bounded: true, how: How::Bytes },
            call: CallBound {
                output_beyond, choices, searches, cache_writes, cache_ttl_1h, audio_in, images_in,
                audio_out, service_tier, ..CallBound::default()
            },
            asked_output,
            output_q95: output.map(|(one, other)| one.min(other)),
            output_q99: q99,
            time_limit: TimeUs(time_limit),
            time_q99: time_q99.map(TimeUs),
            time_floor: TimeUs(time_floor),
            running,
            siblings,
            sibling_room: Amount::from_raw([room; 3]),
            ..ask()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_hold_is_free_and_bounds_every_charge(
        mut ask in any_ask(),
        free in any_room(),
        which in 0_usize..6,
        shares in prop::array::uniform9(0_u64..1_000),
        (elapsed, served) in (0_i64..1_000, any::<prop::sample::Index>()),
    ) {
        ask.price = PRICES.get(which).map(|price| &**price);
        let Sizing::Hold { amount, output_cap, time_cap, .. } = size(&ask, &free, &free) else {
            return Ok(());
        };
        prop_assert!(amount.fits(&free));
        let cap = output_cap.or(ask.asked_output).unwrap_or(ask.model_output.tokens());
        prop_assert!(ask.asked_output.is_none_or(|asked| cap <= asked));
        prop_assert!(cap >= ask.floor());
        let time = TimeUs(time_cap.0 / 1_000 * elapsed);
        let usage = usage_within(&ask, cap, shares);
        prop_assert!(usage.count(ask.counting) <= amount.tokens());
        prop_assert!(time <= amount.time());
        if let Some(price) = ask.price {
            // Who names no tier leaves it to the provider, which otherwise may fall back.
            let schedules = price.schedules();
            let served = match ask.call.service_tier {
                None | Some("auto") => served.get(schedules).name,
                Some(tier) => served.get(&[tier, "default"]),
            };
            let charged = price.charge(&usage, Some(served), time, 1).expect("in range");
            prop_assert!(charged <= amount.cost(), "{} > {}", charged, amount.cost());
        }
    }

    #[test]
    fn more_room_never_turns_a_hold_into_a_refusal(
        mut ask in any_ask(),
        free in any_room(),
        more in any_room(),
        which in 0_usize..6,
    ) {
        ask.price = PRICES.get(which).map(|price| &**price);
        let more = free.max(more);
        let (small, large) = (size(&ask, &free, &free), size(&ask, &more, &more));
        let time_costs = ask.price.is_some_and(|price| price.per_second() > Money::ZERO);
        if let (Sizing::Hold { amount: small, .. }, Sizing::Hold { amount: large, .. }) =
            (small, large)
        {
            // Where time costs money, more time may leave less of it for output.
            prop_assert!(time_costs || small.fits(&large), "{:?} > {:?}", small, large);
        }
        prop_assert!(!is_hold(small) || is_hold(large));
        // With nothing else open there is nothing to wait for.
        prop_assert!(!is_wait(small) && !is_wait(large));
        // With others open, what fits alone may wait but is never refused for good.
        let beside = size(&ask, &free, &more);
        prop_assert!(!is_never(beside) || is_never(large));
        if let Sizing::Wait { least, wanted } = beside {
            prop_assert!(least.fits(&wanted) && !wanted.fits(&free), "{:?} {:?}", least, wanted);
        }
    }
}

/// Makes the usage of a call that keeps within its bound, as dear as the shares say.
fn usage_within(ask: &Ask<'_>, cap: u64, shares: [u64; TokenClass::COUNT]) -> Usage {
    let call = &ask.call;
    let possible = |class: TokenClass| match class {
        TokenClass::CacheWrite5m => call.cache_writes,
        TokenClass::CacheWrite1h => call.cache_ttl_1h,
        TokenClass::AudioInput => call.audio_in,
        TokenClass::ImageInput => call.images_in,
        TokenClass::AudioOutput => call.audio_out,
        _ => true,
    };
    let mut usage = Usage::default();
    usage.units.searches = call.searches;
    for output in [false, true] {
        let most = if output {
            cap * call.choices.max(1) + call.output_beyond
        } else {
            ask.input.tokens
        };
        let classes: Vec<TokenClass> = TokenClass::ALL
            .into_iter()
            .filter(|class| class.is_output() == output && possible(*class))
            .collect();
        let total: u64 = classes.iter().map(|class| shares[class.index()]).sum();
        for class in classes {
            usage.set(class, most * shares[class.index()] / total.max(1));
        }
    }
    usage
}

#[test]
fn a_limit_of_a_single_call_caps_its_output_whatever_such_calls_use() {
    for ask in [ask(), sampled()] {
        let limited = |per_call| Ask {
            per_call: tokens(per_call),
            // Other calls that wait take from what is free, not from what a single one may hold.
            siblings: 9,
            sibling_room: Amount::new(Tokens(1_200), Money::ZERO, TimeUs(0)),
            ..ask.clone()
        };
        let free = tokens(1_000_000);
        let sized = |per_call| size(&limited(per_call), &free, &free);
        assert_eq!(held(sized(9_000)), (5_096, None));
        assert_eq!(held(sized(2_000)), (2_000, Some(1_000)));
        assert_eq!(held(sized(1_100)), (1_100, Some(100)));
        let least = 1_000 + OUTPUT_FLOOR as i64;
        assert_eq!(held(sized(least)), (least, Some(OUTPUT_FLOOR)));
        assert!(is_never(sized(least - 1)));
    }
}

#[test]
fn a_limit_of_a_single_calls_time_ends_it_whatever_such_calls_take() {
    let limited = |per_call| Ask {
        per_call: time(per_call),
        time_q99: Some(TimeUs(8_000_000)),
        time_likely: Some(TimeUs(5_000_000)),
        ..ask()
    };
    let cap = |ask: &Ask<'_>, free| match size(ask, &time(free), &time(i64::MAX)) {
        Sizing::Hold { time_cap, .. } => Some(time_cap.0),
        Sizing::Wait { .. } | Sizing::Never { .. } => None,
    };
    assert_eq!(cap(&limited(3_000_000), i64::MAX), Some(3_000_000));
    assert_eq!(cap(&limited(3_000_000), 2_000_000), None, "it waits");
    assert_eq!(cap(&limited(i64::MAX), 10_000_000), Some(10_000_000));
    let unlikely = size(&limited(i64::MAX), &time(4_000_000), &time(4_000_000));
    assert!(is_never(unlikely), "too little left to be of use");
    let short = limited(999_999);
    assert!(is_never(size(&short, &time(i64::MAX), &time(i64::MAX))));
}
