//! Counts the instructions of the journal's commits instead of time, for machines whose clock
//! cannot be trusted; the kernel's part is not in it, so count its calls as well:
//!
//! ```text
//! bench=$(cargo bench -p fisc-ledger --bench instructions --no-run 2>&1 |
//!     sed -n 's/.*Executable.*(\(.*\))/\1/p')
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*write_batch*' \
//!     $bench 8 20000 2>&1 | grep Collected
//! strace --follow-forks --summary-only $bench 8 20000
//! ```
//!
//! The first number is how many entries share a commit, the second how many there are.
#![forbid(unsafe_code)]

use fisc_ledger::{Durability, Journal, Options};

use crate::calls::{NOW, OPEN};

#[path = "support/calls.rs"]
mod calls;

fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse::<u64>().ok());
    let group = numbers.next().unwrap_or(8);
    let entries = numbers.next().unwrap_or(2_000);
    let path = std::env::temp_dir().join(format!("instructions-{}.db", std::process::id()));
    let options = Options::new(&path, Durability::Process, NOW);
    let (journal, _) = Journal::open(options).expect("a new file");
    for entry in calls::budgets() {
        let _ = journal.append(NOW, entry);
    }
    for call in 0..OPEN {
        let _ = journal.append(NOW, calls::hold(call));
    }
    for number in 0..entries {
        let ticket = journal.append(NOW, calls::entry(number));
        if (number + 1).is_multiple_of(group) {
            ticket.wait().expect("a disk that works");
        }
    }
    journal.close().expect("a disk that works");
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
}
