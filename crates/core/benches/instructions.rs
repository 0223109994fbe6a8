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
#![forbid(unsafe_code)]

#[path = "support/chain.rs"]
mod chain;

fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse::<usize>().ok());
    let depth = numbers.next().unwrap_or(5);
    let calls = numbers.next().unwrap_or(10_000);
    let mut bench = chain::Bench::new(depth);
    // The memory of ended holds has grown to its full size before anything is counted.
    for _ in 0..70_000 {
        bench.hold_and_settle();
    }
    measured(&mut bench, calls);
    let leaf = bench.tree.budget(bench.leaf).expect("the leaf");
    let room_left = chain::ROOM - leaf.spent.tokens().0;
    assert_eq!(room_left, chain::ROOM - 70_000 - calls as i64);
}

#[inline(never)]
fn measured(bench: &mut chain::Bench, calls: usize) {
    for _ in 0..calls {
        bench.hold_and_settle();
    }
}
