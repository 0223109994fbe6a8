//! Counts instructions instead of time, for machines whose clock cannot be trusted:
//!
//! ```text
//! bench=$(cargo bench -p fisc-core --bench instructions --no-run 2>&1 |
//!     sed -n 's/.*Executable.*(\(.*\))/\1/p')
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*measured*' \
//!     $bench 5 10000 2>&1 | grep Collected
//! ```
//!
//! The count divided by the number of calls is the instructions of one hold and its settlement.
//! A third number is a count of agents at depth 5 who call in turn; what their tree takes of memory
//! is told then.
#![forbid(unsafe_code)]

#[path = "support/chain.rs"]
mod chain;

fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse::<usize>().ok());
    let depth = numbers.next().unwrap_or(5);
    let calls = numbers.next().unwrap_or(10_000);
    let mut bench = match numbers.next() {
        Some(agents) => crowd(agents),
        None => chain::Bench::new(depth),
    };
    // The memory of ended holds has grown to its full size before anything is counted.
    for _ in 0..70_000 {
        bench.hold_and_settle();
    }
    measured(&mut bench, calls);
    let root = bench.tree.root().and_then(|root| bench.tree.budget(root));
    let spent = root.expect("the root").spent.tokens().0;
    assert_eq!(spent, 70_000 + calls as i64, "every call is booked");
}

fn crowd(agents: usize) -> chain::Bench {
    let before = resident();
    let bench = chain::Bench::crowd(agents);
    let bytes = resident().saturating_sub(before);
    println!("{agents} agents: {} bytes each", bytes / agents.max(1));
    bench
}

/// The memory that is in use, in bytes, where the system tells.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split_whitespace().nth(1);
    pages.and_then(|pages| pages.parse().ok()).unwrap_or(0) * 4096
}

#[inline(never)]
fn measured(bench: &mut chain::Bench, calls: usize) {
    for _ in 0..calls {
        bench.hold_and_settle();
    }
}
