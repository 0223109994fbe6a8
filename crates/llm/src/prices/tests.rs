//! The price book as a whole: charges, dearest charges, overlay on catalogue, unpriced models.
//! Whether the catalogue is read right is tested beside it.

use fisc_core::{Money, OutOfRange, TimeUs, TokenClass, Usage};
use proptest::prelude::*;

use super::*;

/// 2026-11-01T00:00:00Z.
const AT: Timestamp = Timestamp(1_793_491_200_000_000);
const OWN: &str = "[[model]]\nmatch = \"own-*\"\n";

fn book(overlay: &str) -> PriceBook {
    PriceBook::with_overlay(overlay).unwrap_or_else(|error| panic!("{error}"))
}

fn known(book: &PriceBook, model: &str) -> Arc<ModelPrice> {
    book.price(None, model, AT)
        .known()
        .cloned()
        .unwrap_or_else(|| panic!("{model} is unpriced"))
}

fn own(lines: &str) -> Arc<ModelPrice> {
    known(&book(&format!("{OWN}{lines}")), "own-1")
}

fn usage(input: u64, output: u64) -> Usage {
    Usage::default()
        .with(TokenClass::UncachedInput, input)
        .with(TokenClass::Output, output)
}

fn charge(price: &ModelPrice, usage: &Usage) -> i64 {
    price
        .charge(usage, None, TimeUs(0), 1)
        .expect("in range")
        .nanos()
}

fn pico(price: &ModelPrice, class: TokenClass) -> i64 {
    price.schedules[0].tiers[0].rates.get(class).pico()
}

#[test]
fn unknown_model_is_unpriced_never_free() {
    let builtin = PriceBook::builtin();
    assert_eq!(
        builtin.price(None, "nobody-sells-this", AT),
        Price::Unpriced
    );
    assert_eq!(
        builtin.price(Some("openai"), "nobody-sells-this", AT),
        Price::Unpriced
    );
    assert_eq!(builtin.price(None, "", AT), Price::Unpriced);
    assert_eq!(
        builtin.price(None, &"gpt-4o".repeat(1_000), AT),
        Price::Unpriced
    );
    // Known, but sold by the character: no price per token is no price of zero.
    assert_eq!(builtin.price(Some("openai"), "tts-1", AT), Price::Unpriced);
    // An entry that does not say what both directions cost says nothing that bounds a call.
    for half in [
        "input = \"1\"",
        "multiplier = \"0.5\"",
        "per_search = \"1\"",
        "max_output = 9",
    ] {
        let book = book(&format!("{OWN}{half}"));
        assert_eq!(book.price(None, "own-1", AT), Price::Unpriced, "{half}");
    }
    assert!(own("free = true").is_free());
}

#[test]
fn the_overlay_wins_and_the_catalogue_fills_in() {
    let book = book("[[model]]\nmatch = \"gpt-4o-mini\"\noutput = \"1\"\n");
    let price = known(&book, "gpt-4o-mini");
    assert_eq!(price.source(), Source::Overlay);
    assert_eq!(pico(&price, TokenClass::UncachedInput), 150_000);
    assert_eq!(pico(&price, TokenClass::Output), 1_000_000);
    assert_eq!(pico(&price, TokenClass::AudioOutput), 1_000_000);
    for schedule in price.schedules() {
        assert_eq!(schedule.rates(1).get(TokenClass::Output).pico(), 1_000_000);
    }
    assert_eq!(known(&book, "gpt-4o").source(), Source::Builtin);
}

#[test]
fn classes_not_priced_apart_follow_their_parents() {
    let price = own("input = \"1\"\noutput = \"2\"\ncache_write_5m = \"1.25\"");
    for (class, rate) in [
        (TokenClass::CacheRead, 1_000_000),
        (TokenClass::CacheWrite5m, 1_250_000),
        (TokenClass::CacheWrite1h, 1_250_000),
        (TokenClass::AudioInput, 1_000_000),
        (TokenClass::AudioOutput, 2_000_000),
    ] {
        assert_eq!(pico(&price, class), rate, "{class:?}");
    }
}

#[test]
fn every_kind_of_price_is_charged() {
    let price = own(
        "input = \"1\"\noutput = \"2\"\nper_call = \"0.01\"\nper_second = \"0.001\"\n\
         per_search = \"0.02\"\nmultiplier = \"0.5\"",
    );
    let mut usage = usage(1_000_000, 1_000_000);
    usage.units.searches = 3;
    let charged = price
        .charge(&usage, None, TimeUs(1_500_000), 2)
        .expect("in range");
    assert_eq!(charged, "1.54075".parse().expect("money"));
    assert_eq!(price.multiplier().as_deref(), Some("0.50"));
}

#[test]
fn hold_rounds_up_settle_rounds_half_even() {
    // 0.0005 dollars per million tokens: half a nano-dollar a token.
    let price = own("input = \"0.0005\"\noutput = \"0.0005\"");
    for (tokens, settled, held) in [(1, 0, 1), (2, 1, 1), (3, 2, 2), (5, 2, 3), (7, 4, 4)] {
        assert_eq!(charge(&price, &usage(tokens, 0)), settled, "{tokens}");
        let bound = CallBound {
            input: tokens,
            ..CallBound::default()
        };
        assert_eq!(
            price.dearest(&bound),
            Ok(Money::from_nanos(held)),
            "{tokens}"
        );
    }
    // Rounded once, on the sum: two halves are one.
    assert_eq!(charge(&price, &usage(1, 1)), 1);
}

#[test]
fn hold_assumes_no_cache_hit() {
    let book = PriceBook::builtin();
    let price = known(&book, "gpt-4o-mini");
    let bound = CallBound {
        input: 1_000,
        output: 10,
        service_tier: Some("default"),
        ..CallBound::default()
    };
    let fresh = charge(&price, &usage(1_000, 10));
    let cached = usage(0, 10).with(TokenClass::CacheRead, 1_000);
    assert!(charge(&price, &cached) < fresh);
    assert_eq!(price.dearest(&bound), Ok(Money::from_nanos(fresh)));
}

#[test]
fn hold_covers_cache_writes_where_they_can_happen() {
    let book = PriceBook::builtin();
    let claude = known(&book, "claude-haiku-4-5");
    let plain = CallBound {
        input: 1_000_000,
        ..CallBound::default()
    };
    let dollars = |bound| claude.dearest(&bound).expect("in range").to_decimal();
    assert_eq!(dollars(plain), "1.00");
    assert_eq!(
        dollars(CallBound {
            cache_writes: true,
            ..plain
        }),
        "1.25"
    );
    assert_eq!(
        dollars(CallBound {
            cache_writes: true,
            cache_ttl_1h: true,
            ..plain
        }),
        "2.00"
    );
    // Newer models of OpenAI write to their cache unasked, and bill it.
    let sol = known(&book, "gpt-6-sol");
    let bound = CallBound {
        input: 100_000,
        service_tier: Some("default"),
        ..CallBound::default()
    };
    let written = Usage::default().with(TokenClass::CacheWrite5m, 100_000);
    assert_eq!(
        sol.dearest(&bound).map(Money::nanos),
        Ok(charge(&sol, &written))
    );
}

#[test]
fn long_context_tier_is_held_at_the_dearest_reachable_rate() {
    let price = known(&PriceBook::builtin(), "claude-sonnet-4-5");
    let held = |input| {
        let bound = CallBound {
            input,
            output: 1_000,
            ..CallBound::default()
        };
        price.dearest(&bound).expect("in range").nanos()
    };
    assert_eq!(held(200_000), charge(&price, &usage(200_000, 1_000)));
    assert_eq!(held(200_001), charge(&price, &usage(200_001, 1_000)));
    // The whole call switches rates: 6 and 22.50 dollars per million, not 3 and 15.
    assert_eq!(held(200_001), 200_001 * 6_000 + 1_000 * 22_500);
    assert_eq!(held(200_000), 200_000 * 3_000 + 1_000 * 15_000);
    // A tier that is cheaper above its threshold may not be reached.
    assert!(held(200_001) > held(200_000));
}

#[test]
fn service_tiers_are_charged_as_served_and_held_at_the_dearer() {
    let price = known(&PriceBook::builtin(), "gpt-6-sol");
    let used = usage(1_000, 1_000);
    let charged = |tier| price.charge(&used, tier, TimeUs(0), 1).expect("in range");
    let standard = charged(None);
    assert_eq!(charged(Some("default")), standard);
    assert!(charged(Some("flex")) < standard && charged(Some("priority")) > standard);
    // The input may be written to the cache, which is dearer than reading it afresh.
    let written = usage(0, 1_000).with(TokenClass::CacheWrite5m, 1_000);
    let most = |tier| {
        price
            .charge(&written, tier, TimeUs(0), 1)
            .expect("in range")
    };
    let held = |service_tier| {
        let bound = CallBound {
            input: 1_000,
            output: 1_000,
            service_tier,
            ..CallBound::default()
        };
        price.dearest(&bound).expect("in range")
    };
    let dearest = price
        .schedules()
        .iter()
        .map(|schedule| most(Some(schedule.name)))
        .max();
    assert_eq!(held(Some("default")), most(None));
    assert_eq!(held(Some("flex")), most(None), "the provider may fall back");
    assert_eq!(held(Some("priority")), most(Some("priority")));
    for unsure in [None, Some("auto"), Some("unheard-of")] {
        assert_eq!(Some(held(unsure)), dearest, "the provider chooses");
    }
    let untold = |asked| {
        let charged = price.charge_untold(&used, asked, TimeUs(0), 1);
        charged.expect("in range")
    };
    assert_eq!(untold(Some("default")), standard);
    assert_eq!(untold(Some("flex")), standard);
    assert_eq!(untold(Some("priority")), charged(Some("priority")));
    assert_eq!(untold(None), charged(Some("priority")));
}

#[test]
fn lookups_are_remembered_and_bounded() {
    let book = PriceBook::builtin();
    let first = known(&book, "gpt-4o");
    assert!(Arc::ptr_eq(&first, &known(&book, "gpt-4o")));
    for index in 0..(MAX_CACHED + 10) {
        book.price(Some("nobody"), &format!("x{index}"), AT);
    }
    assert!(book.cache.read().expect("not poisoned").models <= MAX_CACHED);
}

#[test]
fn versions_tell_overlays_apart() {
    let of = |text: &str| book(text).version().to_owned();
    let free = format!("{OWN}free = true");
    assert_eq!(PriceBook::builtin().version(), "genai-prices-0.2.1");
    assert_eq!(of(&free), of(&free));
    assert_ne!(
        of(&free),
        of(&format!("{OWN}input = \"1\"\noutput = \"1\""))
    );
    assert!(of(&free).starts_with("genai-prices-0.2.1+overlay-"));
}

#[test]
fn limits_come_from_the_overlay_the_catalogue_and_the_table() {
    use crate::models::Maximum;
    let book = book("[[model]]\nmatch = \"gpt-4o\"\nmax_output = 100\ncontext_window = 1000\n");
    let limits = |model| book.limits(None, model, AT);
    assert_eq!(limits("gpt-4o").output, Maximum::Known(100));
    assert_eq!(limits("openai/gpt-4o").window, Maximum::Known(1_000));
    assert_eq!(limits("openai/gpt-4o-mini").output, Maximum::Known(16_384));
    assert_eq!(limits("gpt-6-sol").window, Maximum::Known(1_050_000));
    assert!(!limits("nobody-sells-this").output.is_known());
}

#[test]
fn charges_out_of_range_are_errors() {
    let price = own("input = \"9000000\"\noutput = \"1\"");
    let huge = usage(u64::MAX, 0);
    assert_eq!(price.charge(&huge, None, TimeUs(0), 1), Err(OutOfRange));
    let bound = CallBound {
        input: u64::MAX,
        ..CallBound::default()
    };
    assert_eq!(price.dearest(&bound), Err(OutOfRange));
    assert_eq!(
        price.output_within(&CallBound { input: 1, ..bound }, Money::ZERO),
        None
    );
}

proptest! {
    #[test]
    fn the_largest_output_within_some_money_fits_and_one_more_does_not(
        input in 0_u64..300_000,
        choices in 1_u64..5,
        beyond in 0_u64..100,
        money in 0_i64..5_000_000_000,
        model in prop::sample::select(
            vec!["gpt-4o-mini", "claude-sonnet-4-5", "gpt-6-sol", "own-1"],
        ),
    ) {
        let lines = "input = \"0.123457\"\noutput = \"0.777777\"\nmultiplier = \"1.1\"";
        let price = known(&book(&format!("{OWN}{lines}\nper_call = \"0.000000001\"")), model);
        let bound =
            CallBound { input, choices, output_beyond: beyond, ..CallBound::default() };
        let money = Money::from_nanos(money);
        let cost = |output| price.dearest(&CallBound { output, ..bound }).expect("in range");
        match price.output_within(&bound, money) {
            Some(output) => {
                prop_assert!(cost(output) <= money);
                prop_assert!(cost(output + 1) > money);
            }
            None => prop_assert!(cost(0) > money),
        }
    }
}

#[test]
fn what_is_listed_is_the_owners_and_the_catalogues() {
    let toml = "[[model]]\nmatch = \"in-house-*\"\nprovider = \"vllm\"\nfree = true\n";
    let book = PriceBook::with_overlay(toml).expect("a price file");
    let listed = book.models();
    let named = |provider: &str, model: &str| ListedModel {
        provider: Some(provider.to_owned()),
        model: model.to_owned(),
    };
    assert_eq!(listed[0], named("vllm", "in-house-*"));
    assert!(listed.contains(&named("openai", "gpt-4o-mini")));
    assert_eq!(listed[1..], PriceBook::builtin().models());
}
