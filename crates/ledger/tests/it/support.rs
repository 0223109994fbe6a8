//! What the tests share: scratch directories, short ways to make entries, a random number source.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use fisc_core::{Amount, BudgetId, HoldId, Money, TimeUs, Timestamp, TokenClass, Tokens, Usage};
use fisc_ledger::{CallLabel, Durability, Entry, EntryRow, Facts, Options, Outcome, Reader};

pub(crate) mod program;

/// Half past the hour 20 000 since 1970.
pub(crate) const NOON: Timestamp = Timestamp(20_000 * 3_600_000_000 + 1_800_000_000);

/// A directory of its own, removed with everything in it when dropped.
pub(crate) struct Scratch(PathBuf);

/// `SplitMix64`: enough randomness for tests, and the same everywhere for the same seed.
pub(crate) struct Random(u64);

// === impl Scratch ===

impl Scratch {
    pub(crate) fn new(name: &str) -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ledger-{name}-{}-{number}", process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.0.join("ledger.db")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Copies the journal and its log to a directory of their own, as a crash now would leave them.
    pub(crate) fn copy(&self, name: &str) -> Scratch {
        let copy = Scratch::new(name);
        for suffix in ["", "-wal"] {
            let name = format!("ledger.db{suffix}");
            fs::copy(self.0.join(&name), copy.0.join(&name)).unwrap();
        }
        copy
    }

    pub(crate) fn options(&self, durability: Durability) -> Options {
        Options::new(self.journal(), durability, NOON)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

// === impl Random ===

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Reads a number that makes a campaign longer or shorter.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

pub(crate) fn amount(tokens: i64, cost: i64, time: i64) -> Amount {
    Amount::new(Tokens(tokens), Money::from_nanos(cost), TimeUs(time))
}

pub(crate) fn id(number: u128) -> HoldId {
    HoldId(0x0197_0000_0000_7000_8000_0000_0000_0000 | number)
}

pub(crate) fn label(operation: &str, attempt: u32) -> CallLabel {
    CallLabel {
        operation: operation.into(),
        model: "gpt-5.2".into(),
        provider: "openai".into(),
        price_version: "2026-11-20".into(),
        attempt,
        bounded: true,
    }
}

pub(crate) fn facts(call: CallLabel, input: u64, output: u64) -> Facts {
    let usage = Usage::default()
        .with(TokenClass::UncachedInput, input)
        .with(TokenClass::Output, output);
    let (outcome, duration) = (Outcome::Completed, TimeUs(1_500_000));
    Facts {
        call,
        usage,
        estimated: false,
        outcome,
        duration,
        tags: Vec::new(),
    }
}

pub(crate) fn root() -> Entry {
    allocate(0, None, "root")
}

pub(crate) fn allocate(budget: u32, parent: Option<u32>, name: &str) -> Entry {
    let terms = "cost=5000000000".to_owned();
    let (budget, parent) = (BudgetId(budget), parent.map(BudgetId));
    Entry::Allocate {
        budget,
        parent,
        name: name.to_owned(),
        terms,
    }
}

pub(crate) fn hold(number: u128, amount: Amount) -> Entry {
    Entry::Hold {
        id: id(number),
        budget: BudgetId(0),
        amount,
        call: label("plan", 1),
    }
}

pub(crate) fn settle(number: u128, amount: Amount) -> Entry {
    let facts = Box::new(facts(label("plan", 1), 10, 5));
    Entry::Settle {
        id: id(number),
        amount,
        overrun: Amount::ZERO,
        facts,
    }
}

pub(crate) fn all_entries(path: &Path) -> Vec<EntryRow> {
    Reader::open(path).unwrap().entries(0, usize::MAX).unwrap()
}
