//! Over random valid programs: tables and the entries since = fold of all entries, by three
//! definitions (the writer's, `verify`'s, and the plain sums of `support::program`), across
//! commits, restarts and crashes, however often the tables are written.

use fisc_ledger::{Durability, Journal, Options, Reader, verify};
use proptest::prelude::*;

use crate::support::program::{Program, check};
use crate::support::{Random, Scratch};

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn balances_are_the_fold(
        choices in prop::collection::vec(any::<u64>(), 1..160),
        pauses in any::<u64>(),
        tail_entries in prop::sample::select(vec![1, 3, 20, usize::MAX]),
    ) {
        let scratch = Scratch::new("fold");
        let mut pauses = Random::new(pauses);
        let mut program = Program::default();
        let options = |scratch: &Scratch, durability| Options {
            tail_entries,
            ..scratch.options(durability)
        };
        let (mut journal, _) = Journal::open(options(&scratch, Durability::Process)).unwrap();
        for choice in choices {
            let (at, entry) = program.step(choice);
            let ticket = journal.append(at, entry);
            match pauses.below(24) {
                // A commit here, so that batches are cut everywhere.
                0..6 => ticket.wait().unwrap(),
                6 => {
                    journal.close().unwrap();
                    let (again, recovered) =
                        Journal::open(options(&scratch, Durability::Async)).unwrap();
                    prop_assert_eq!(recovered.entries, program.done.len() as u64);
                    journal = again;
                }
                _ => {}
            }
        }
        journal.set_meta("all", "written").wait().unwrap();
        while journal.backlog() > 0 {
            std::thread::yield_now();
        }
        // Beside the writer, which has not written all of it to the tables.
        let beside = Reader::open(&scratch.journal()).unwrap();
        check(&program.done, &beside);
        verify(&scratch.journal()).unwrap();
        // And by who opens what a crash of that writer leaves.
        let crashed = scratch.copy("crashed");
        let (again, recovered) = Journal::open(options(&crashed, Durability::Process)).unwrap();
        prop_assert_eq!(recovered.budgets, beside.budgets().unwrap());
        prop_assert_eq!((recovered.open, recovered.in_doubt), beside.holds().unwrap());
        again.close().unwrap();
        verify(&crashed.journal()).unwrap();
        check(&program.done, &Reader::open(&crashed.journal()).unwrap());

        journal.close().unwrap();
        let verified = verify(&scratch.journal()).unwrap();
        prop_assert_eq!(verified.entries, program.done.len() as u64);
        check(&program.done, &Reader::open(&scratch.journal()).unwrap());
    }
}
