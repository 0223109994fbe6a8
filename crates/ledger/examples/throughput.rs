//! Measures the journal: entries a second, and CPU of the writer thread for each entry, by
//! durability and by how many callers share a commit.
//!
//! `cargo run --release -p fisc-ledger --example throughput [DIRECTORY [GROUP]]`; the directory
//! decides which disk is measured.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use fisc_ledger::{Durability, Journal, Options};

use crate::calls::{NOW, OPEN};

#[path = "../benches/support/calls.rs"]
mod calls;

fn main() {
    let directory = env::args().nth(1).map_or_else(env::temp_dir, PathBuf::from);
    let only = env::args().nth(2).and_then(|group| group.parse().ok());
    println!("durability  group   entries/s   us/group   writer CPU us/entry   bytes/entry");
    for durability in [Durability::Full, Durability::Process] {
        let groups = [1, 2, 8, 64, 512];
        for group in groups
            .into_iter()
            .filter(|group| only.is_none_or(|only: u64| only == *group))
        {
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
    for entry in calls::budgets() {
        let _ = journal.append(NOW, entry);
    }
    for call in 0..OPEN {
        let _ = journal.append(NOW, calls::hold(call));
    }
    journal
        .set_meta("ready", "yes")
        .wait()
        .expect("a disk that works");

    let (begin, cpu, size) = (Instant::now(), writer_cpu(), size(&path));
    let (mut entries, mut groups) = (0, 0);
    while begin.elapsed() < Duration::from_secs(2) {
        let mut last = None;
        for _ in 0..group {
            last = Some(journal.append(NOW, calls::entry(entries)));
            entries += 1;
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
