//! The calls that benchmarks journal: what a busy gateway's look like.

use fisc_core::{Amount, BudgetId, HoldId, Money, TimeUs, Timestamp, TokenClass, Tokens, Usage};
use fisc_ledger::{CallLabel, Entry, Facts, Outcome};

pub(crate) const NOW: Timestamp = Timestamp(1_795_460_221_000_000);
/// Calls open at a time, as in a busy gateway: a hold is settled this many calls later.
pub(crate) const OPEN: u64 = 256;

const BUDGETS: u32 = 64;

/// Returns the entry of this number: every other one takes a hold, every other one settles.
pub(crate) fn entry(number: u64) -> Entry {
    let call = number / 2;
    if number.is_multiple_of(2) {
        hold(OPEN + call)
    } else {
        settle(call)
    }
}

pub(crate) fn budgets() -> Vec<Entry> {
    let allocate = |budget: u32| Entry::Allocate {
        budget: BudgetId(budget),
        parent: (budget > 0).then_some(BudgetId(0)),
        name: format!("agent-{budget}"),
        terms: "cost=5000000000".to_owned(),
    };
    (0..BUDGETS).map(allocate).collect()
}

fn amount(call: u64) -> Amount {
    let units = i64::try_from(call % 1_000).expect("three digits");
    Amount::new(Tokens(units), Money::from_nanos(units * 2_000), TimeUs(0))
}

fn id(call: u64) -> HoldId {
    // Ordered by time, as UUIDv7 are, and scattered below that.
    let random = u128::from(call.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    HoldId(u128::from(call / 8) << 80 | random)
}

fn label() -> CallLabel {
    CallLabel {
        operation: "plan".into(),
        model: "gpt-5.2-2026-10-01".into(),
        provider: "openai".into(),
        price_version: "2026-11-20".into(),
        attempt: 1,
        bounded: true,
    }
}

pub(crate) fn hold(call: u64) -> Entry {
    let budget = BudgetId(u32::try_from(call % u64::from(BUDGETS)).expect("below BUDGETS"));
    Entry::Hold {
        id: id(call),
        budget,
        amount: amount(call),
        call: label(),
    }
}

fn settle(call: u64) -> Entry {
    let usage = Usage::default()
        .with(TokenClass::UncachedInput, 1_200)
        .with(TokenClass::CacheRead, 9_000)
        .with(TokenClass::Output, 350);
    let (outcome, duration) = (Outcome::Completed, TimeUs(2_300_000));
    let facts = Facts {
        call: label(),
        usage,
        estimated: false,
        outcome,
        duration,
        tags: Vec::new(),
    };
    let (id, amount, overrun) = (id(call), amount(call), Amount::ZERO);
    Entry::Settle {
        id,
        amount,
        overrun,
        facts: Box::new(facts),
    }
}
