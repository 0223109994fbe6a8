//! How well holds are sized: a budget used up by workers in a closed loop, again and again.
//!
//! Sizing, learning and booking are those of the product; only time is simulated. What is left
//! out: retries, streams that break off, and that an agent may behave otherwise when it is cut.

mod measure;
mod run;
mod show;

use fisc_core::Money;

pub use self::measure::{HoldScore, InputHeld, Loose};
use self::run::Run;
use self::run::price::Prices;
use crate::request::Requests;

/// How a hold is sized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldPolicy {
    /// The request's own cap while that fits beside the others, else what such calls need.
    TwoTier,
    /// Always the request's own cap.
    MaxTokens,
    /// Nothing is held: calls start until the budget is spent.
    NoHold,
}

/// What is known of the input before a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheMode {
    /// How large it is, and how much of it is cached.
    Known,
    /// What its bytes and the usage of its known prefix bound, and no cache hit: what the gateway
    /// holds.
    Worst,
}

/// What is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldsSettings {
    /// How many calls are made at a time, at most.
    pub workers: usize,
    /// The budget, in mean calls.
    pub budget_calls: u64,
    /// From how many places of the trace the budget is used up anew.
    pub offsets: usize,
}

/// Why holds cannot be scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HoldsError {
    /// There are no calls, or they cost nothing.
    #[error("there are no calls that cost anything")]
    NoCalls,
    /// Nobody works.
    #[error("at least one worker is needed")]
    NoWorkers,
    /// The budget is nothing, or beyond all money.
    #[error("a budget is at least one call, and at most what a trace could ever cost")]
    Budget,
}

/// How well holds are sized, by policy and by what is known of the input.
#[derive(Debug, Clone, PartialEq)]
pub struct HoldsScore {
    /// What was scored.
    pub settings: HoldsSettings,
    /// What each run may spend.
    pub budget: Money,
    /// By policy, in the order of [`HoldPolicy::ALL`], with the input known.
    pub known: Vec<HoldScore>,
    /// Likewise with the input bounded.
    pub worst: Vec<HoldScore>,
    /// How far the bound of the input lies above it, under two-tier sizing.
    pub input: InputHeld,
}

/// Uses up a budget under every policy, from many places of the trace.
pub fn score_holds(requests: &Requests, settings: HoldsSettings) -> Result<HoldsScore, HoldsError> {
    if settings.workers == 0 {
        return Err(HoldsError::NoWorkers);
    }
    let prices = Prices::new();
    let mean = prices.mean(requests).ok_or(HoldsError::NoCalls)?;
    let budget = i64::try_from(settings.budget_calls)
        .ok()
        .and_then(|calls| mean.nanos().checked_mul(calls))
        .filter(|nanos| (1..=i64::MAX / 4).contains(nanos))
        .map(Money::from_nanos)
        .ok_or(HoldsError::Budget)?;
    let offsets = settings.offsets.clamp(1, requests.len());
    let mut input = InputHeld::default();
    let mut score = |mode: CacheMode, policy: HoldPolicy| {
        let outcomes = (0..offsets).map(|number| {
            let start = requests.len() * number / offsets;
            let run = Run::new(requests, &prices, policy, mode, budget, settings.workers);
            run.run(start)
        });
        let outcomes: Vec<measure::Outcome> = outcomes.collect();
        if (mode, policy) == (CacheMode::Worst, HoldPolicy::TwoTier) {
            input = InputHeld::of(&outcomes);
        }
        HoldScore::of(policy, &outcomes, budget, settings.workers)
    };
    let known = HoldPolicy::ALL.map(|policy| score(CacheMode::Known, policy));
    let worst = HoldPolicy::ALL.map(|policy| score(CacheMode::Worst, policy));
    Ok(HoldsScore {
        settings,
        budget,
        known: known.to_vec(),
        worst: worst.to_vec(),
        input,
    })
}

// === impl HoldPolicy ===

impl HoldPolicy {
    /// Every policy.
    pub const ALL: [HoldPolicy; 3] = [
        HoldPolicy::TwoTier,
        HoldPolicy::MaxTokens,
        HoldPolicy::NoHold,
    ];

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            HoldPolicy::TwoTier => "two-tier",
            HoldPolicy::MaxTokens => "max-tokens",
            HoldPolicy::NoHold => "no-hold",
        }
    }
}

// === impl HoldsSettings ===

impl Default for HoldsSettings {
    fn default() -> HoldsSettings {
        HoldsSettings {
            workers: 8,
            budget_calls: 100,
            offsets: 100,
        }
    }
}
