//! The catalogue's own calculator is the oracle: every rate that was derived from it is put back
//! together and compared.

use fisc_core::{TimeUs, Usage as CoreUsage};
use proptest::prelude::*;

use super::*;
use crate::prices::name::candidates;

/// 2026-11-01T00:00:00Z.
const AT: Timestamp = Timestamp(1_793_491_200_000_000);

fn found(provider: Option<&str>, model: &str) -> Option<Found> {
    find(provider, &candidates(model), AT)
}

fn price(provider: &str, model: &str) -> ModelPrice {
    found(Some(provider), model)
        .and_then(|found| found.price)
        .expect(model)
}

fn pico(price: &ModelPrice, input: u64, class: TokenClass) -> i64 {
    price.schedules[0].rates(input).get(class).pico()
}

#[test]
fn rates_are_exact_integers() {
    let mini = price("openai", "gpt-4o-mini");
    assert_eq!(pico(&mini, 1, TokenClass::UncachedInput), 150_000);
    assert_eq!(pico(&mini, 1, TokenClass::CacheRead), 75_000);
    assert_eq!(pico(&mini, 1, TokenClass::Output), 600_000);
    assert_eq!(mini.schedules[0].tiers.len(), 1);
}

#[test]
fn one_hour_cache_writes_are_not_five_minute_ones() {
    for (provider, model) in [
        ("anthropic", "claude-haiku-4-5"),
        ("openrouter", "anthropic/claude-sonnet-5"),
    ] {
        let claude = price(provider, model);
        let input = pico(&claude, 1, TokenClass::UncachedInput);
        assert_eq!(pico(&claude, 1, TokenClass::CacheWrite5m), input * 5 / 4);
        assert_eq!(pico(&claude, 1, TokenClass::CacheWrite1h), input * 2);
        assert!(!claude.caches_unasked);
    }
}

#[test]
fn context_tiers_and_service_tiers_are_found() {
    let sonnet = price("anthropic", "claude-sonnet-4-5");
    let above: Vec<u64> = sonnet.schedules[0]
        .tiers
        .iter()
        .map(|tier| tier.above)
        .collect();
    assert_eq!(above, [0, 200_000]);
    assert_eq!(pico(&sonnet, 200_000, TokenClass::UncachedInput), 3_000_000);
    assert_eq!(pico(&sonnet, 200_001, TokenClass::UncachedInput), 6_000_000);
    let names: Vec<&str> = sonnet
        .schedules
        .iter()
        .map(|schedule| schedule.name)
        .collect();
    assert_eq!(names, ["standard", "batch"]);

    let sol = price("openai", "gpt-6-sol");
    let above: Vec<u64> = sol.schedules[0]
        .tiers
        .iter()
        .map(|tier| tier.above)
        .collect();
    assert_eq!(above, [0, 272_000]);
    assert!(
        sol.schedules
            .iter()
            .any(|schedule| schedule.name == "priority")
    );
    assert!(sol.schedules.iter().any(|schedule| schedule.name == "flex"));
    assert_eq!(sol.per_search, Money::from_nanos(10_000_000));
}

#[test]
fn names_are_found_however_they_are_written() {
    let direct = found(Some("openai"), "gpt-4o-mini").expect("known");
    for (provider, model) in [
        (None, "gpt-4o-mini"),
        (None, "GPT-4o-Mini"),
        (None, "openai/gpt-4o-mini"),
        (Some("openai"), "openai/gpt-4o-mini"),
        (Some("openai"), "gpt-4o-mini-2024-07-18"),
        (Some("openai"), "gpt-4o-mini-2031-01-01"),
        (Some("my-gateway"), "gpt-4o-mini"),
    ] {
        assert_eq!(
            found(provider, model),
            Some(direct.clone()),
            "{provider:?} {model}"
        );
    }
    assert_eq!(direct.context_window, Some(128_000));
    assert_eq!(found(Some("openai"), "gpt-4o-mini-of-mine"), None);
}

#[test]
fn a_model_without_a_price_per_token_is_no_free_model() {
    let spoken = found(Some("openai"), "tts-1").expect("known");
    assert_eq!(spoken.price, None);
    assert!(
        found(Some("openai"), "omni-moderation-latest").is_none_or(|found| found.price.is_none())
    );
}

#[test]
fn prices_follow_their_dates() {
    let before = Timestamp(AT.0 - 3 * 365 * 86_400 * 1_000_000);
    let at = |at| {
        find(Some("openai"), &candidates("o3"), at)
            .expect("known")
            .price
            .expect("priced")
    };
    assert_eq!(pico(&at(before), 1, TokenClass::UncachedInput), 10_000_000);
    assert_eq!(pico(&at(AT), 1, TokenClass::UncachedInput), 2_000_000);
}

fn all_models() -> Vec<(String, String)> {
    let of = |provider: genai_prices::ProviderInfo<'static>| {
        provider
            .models()
            .map(move |model| (provider.id().to_owned(), model.id().to_owned()))
    };
    Calculator::bundled().providers().flat_map(of).collect()
}

fn oracle_usage(usage: &CoreUsage) -> Usage {
    let get = |class| usage.get(class) as f64;
    let writes = get(TokenClass::CacheWrite5m) + get(TokenClass::CacheWrite1h);
    Usage::from([
        (UsageKey::INPUT_TOKENS, usage.input() as f64),
        (UsageKey::CACHE_READ_TOKENS, get(TokenClass::CacheRead)),
        (UsageKey::CACHE_WRITE_TOKENS, writes),
        (
            UsageKey::CACHE_WRITE_5M_TOKENS,
            get(TokenClass::CacheWrite5m),
        ),
        (
            UsageKey::CACHE_WRITE_1H_TOKENS,
            get(TokenClass::CacheWrite1h),
        ),
        (UsageKey::INPUT_AUDIO_TOKENS, get(TokenClass::AudioInput)),
        (UsageKey::INPUT_IMAGE_TOKENS, get(TokenClass::ImageInput)),
        (UsageKey::OUTPUT_TOKENS, usage.output() as f64),
        (UsageKey::OUTPUT_AUDIO_TOKENS, get(TokenClass::AudioOutput)),
        (UsageKey::OUTPUT_IMAGE_TOKENS, get(TokenClass::ImageOutput)),
        (UsageKey::WEB_SEARCHES, usage.units.searches as f64),
        (UsageKey::CACHE_AUDIO_READ_TOKENS, 0.0),
        (UsageKey::CACHE_IMAGE_READ_TOKENS, 0.0),
        (UsageKey::CACHE_AUDIO_WRITE_TOKENS, 0.0),
        (UsageKey::CACHE_IMAGE_WRITE_TOKENS, 0.0),
    ])
}

#[track_caller]
fn agrees_with_the_oracle(provider: &str, model: &str, tier: Option<usize>, usage: &CoreUsage) {
    let Some(price) = found(Some(provider), model).and_then(|found| found.price) else {
        return;
    };
    let rates = price.schedules[0].rates(usage.input());
    let twice = rates.get(TokenClass::UncachedInput).pico() * 2;
    let mut usage = *usage;
    if model.contains("claude") && rates.get(TokenClass::CacheWrite1h).pico() == twice {
        // Where the catalogue leaves the hour out, it is not the oracle.
        usage.set(TokenClass::CacheWrite1h, 0);
    }
    let oracle_usage = oracle_usage(&usage);
    let context = tier.map(|tier| (VARIANTS[tier].1, VARIANTS[tier].2));
    let at = UNIX_EPOCH + Duration::from_micros(AT.0 as u64);
    let probe = Probe {
        provider: Some(provider),
        model: &model.to_lowercase(),
        at,
        context,
    };
    if probe.ask(&Usage::new()).is_none() {
        // Some entries do not match their own name; another entry sells the model.
        return;
    }
    let expected = probe.ask(&oracle_usage).expect("priced").total_price * NANOS_PER_USD;
    let charged = price
        .charge(&usage, tier.map(|tier| VARIANTS[tier].0), TimeUs(0), 1)
        .expect("in range")
        .nanos() as f64;
    // One nano for the rounding, and half a pico-dollar a token for prices finer than that.
    let tokens = (usage.input() + usage.output()) as f64;
    let tolerance =
        1.0 + tokens / 2_000.0 * f64::from(u8::from(is_noisy(&price))) + expected * 1e-9;
    assert!(
        (charged - expected).abs() <= tolerance,
        "{provider}/{model} {tier:?} {usage:?}: charged {charged}, oracle {expected}"
    );
}

/// Says whether some rate has the last decimal set, as rounded ones do.
fn is_noisy(price: &ModelPrice) -> bool {
    let rates = price
        .schedules
        .iter()
        .flat_map(|schedule| &schedule.tiers)
        .map(|tier| tier.rates);
    rates.into_iter().any(|rates| {
        TokenClass::ALL
            .iter()
            .any(|class| rates.get(*class).pico() % 10 != 0)
    })
}

#[test]
fn every_model_agrees_with_the_oracle() {
    let usage = TokenClass::ALL
        .iter()
        .fold(CoreUsage::default(), |usage, class| {
            usage.with(*class, 1_000_003)
        });
    for (provider, model) in all_models() {
        agrees_with_the_oracle(&provider, &model, None, &usage);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn any_usage_agrees_with_the_oracle(
        pick in any::<prop::sample::Index>(),
        tier in prop::option::of(0..VARIANTS.len()),
        counts in prop::array::uniform9(prop_oneof![Just(0_u64), 1_u64..400_000]),
        searches in 0_u64..5,
    ) {
        let models = all_models();
        let (provider, model) = &models[pick.index(models.len())];
        let mut usage = CoreUsage::default();
        for class in TokenClass::ALL {
            usage.set(class, counts[class.index()]);
        }
        usage.units.searches = searches;
        agrees_with_the_oracle(provider, model, tier, &usage);
    }
}
