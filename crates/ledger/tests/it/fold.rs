//! Over random valid programs: tables = fold of the entries, by three definitions (the writer's,
//! `verify`'s, and the plain sums of `support::program`), across commits, restarts and crashes.

use fisc_ledger::{Durability, Journal, Reader, verify};
use proptest::prelude::*;

use crate::support::program::{Program, check};
use crate::support::{Random, Scratch};

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn balances_are_the_fold(
        choices in prop::collection::vec(any::<u64>(), 1..160),
        pauses in any::<u64>(),
    ) {
        let scratch = Scratch::new("fold");
        let mut pauses = Random::new(pauses);
        let mut program = Program::default();
        let (mut journal, _) = Journal::open(scratch.options(Durability::Process)).unwrap();
        for choice in choices {
            let (at, entry) = program.step(choice);
            let ticket = journal.append(at, entry);
            match pauses.below(24) {
                // A commit here, so that batches are cut everywhere.
                0..6 => ticket.wait().unwrap(),
                6 => {
                    journal.close().unwrap();
                    let (again, recovered) =
                        Journal::open(scratch.options(Durability::Async)).unwrap();
                    prop_assert_eq!(recovered.entries, program.done.len() as u64);
                    journal = again;
                }
                _ => {}
            }
        }
        journal.close().unwrap();
        let verified = verify(&scratch.journal()).unwrap();
        prop_assert_eq!(verified.entries, program.done.len() as u64);
        check(&program.done, &Reader::open(&scratch.journal()).unwrap());
    }
}
