//! Measures the journal: entries a second, and CPU of the writer thread for each entry, by
//! durability and by how many callers share a commit.
//!
//! `cargo run --release -p fisc-ledger --example throughput [DIRECTORY]`; the directory decides
//! which disk is measured.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use fisc_core::{Amount, BudgetId, HoldId, Money, TimeUs, Timestamp, TokenClass, Tokens, Usage};
use fisc_ledger::{CallLabel, Durability, Entry, Facts, Journal, Options, Outcome};

const NOW: Timestamp = Timestamp(1_795_460_221_000_000);
const BUDGETS: u32 = 64;
/// Calls open at a time, as in a busy gateway: a hold is settled this many calls later.
const OPEN: u64 = 256;

fn main() {
    let directory = env::args().nth(1).map_or_else(env::temp_dir, PathBuf::from);
    println!("durability  group   entries/s   us/group   writer CPU us/entry   bytes/entry");
    for durability in [Durability::Full, Durability::Process] {
        for group in [1, 2, 8, 64, 512] {
            measure(&directory, durability, group);
        }
    }
}

/// Appends groups of `group` entries and waits for each group.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures the real clock"
)]
fn measure(directory: &Path, durability: Durability, group: u64) {
    let path = directory.join(format!("throughput-{}.db", std::process::id()));
    let (journal, _) = Journal::open(Options::new(&path, durability, NOW)).expect("a new file");
    for entry in budgets() {
        let _ = journal.append(NOW, entry);
    }
    for call in 0..OPEN {
        let _ = journal.append(NOW, hold(call));
    }
    journal
        .set_meta("ready", "yes")
        .wait()
        .expect("a disk that works");

    let (begin, cpu, size) = (Instant::now(), writer_cpu(), size(&path));
    let (mut entries, mut groups, mut call) = (0, 0, OPEN);
    while begin.elapsed() < Duration::from_secs(2) {
        let mut last = None;
        for _ in 0..group {
            let entry = if entries % 2 == 0 {
                hold(call)
            } else {
                settle(call - OPEN)
            };
            call += entries % 2;
            entries += 1;
            last = Some(journal.append(NOW, entry));
        }
        last.expect("a group has a member")
            .wait()
            .expect("a disk that works");
        groups += 1;
    }
    let (elapsed, cpu) = (begin.elapsed(), writer_cpu().saturating_sub(cpu));
    journal.close().expect("a disk that works");
    let grown = self::size(&path) - size;
    println!(
        "{:<10} {group:>6} {:>11.0} {:>10.1} {:>21.2} {:>13}",
        durability.name(),
        entries as f64 / elapsed.as_secs_f64(),
        elapsed.as_secs_f64() * 1e6 / f64::from(groups),
        cpu.as_secs_f64() * 1e6 / entries as f64,
        grown / entries,
    );
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let _ = fs::remove_file(format!("{}{suffix}", path.display()));
    }
}

fn budgets() -> Vec<Entry> {
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

fn hold(call: u64) -> Entry {
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

/// CPU time of the writer thread so far, as the scheduler counts it; zero where it does not tell.
fn writer_cpu() -> Duration {
    let read = |thread: &Path, file: &str| fs::read_to_string(thread.join(file)).ok();
    let threads = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let writer = threads
        .map(|thread| thread.path())
        .find(|thread| read(thread, "comm").is_some_and(|name| name.trim() == "fisc-journal"));
    let nanos = writer
        .and_then(|thread| read(&thread, "schedstat"))
        .and_then(|text| text.split(' ').next().and_then(|nanos| nanos.parse().ok()));
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Size of the database with its log.
fn size(path: &Path) -> u64 {
    let of = |path: String| fs::metadata(path).map_or(0, |data| data.len());
    of(path.display().to_string())
}
