//! A disk that fails: the journal stops at the first error, admits nothing more, and after
//! reopening holds all it ever acknowledged, whichever operation it was.

use fisc_ledger::{Durability, Error, Journal, Options, verify, verify_on};

use crate::power_loss::vfs::{Disk, VFS};
use crate::support::program::Program;
use crate::support::{NOON, Random, Scratch, amount, hold, root};

fn options(scratch: &Scratch) -> Options {
    Options {
        vfs: Some(VFS.to_owned()),
        checkpoint_commits: 5,
        tail_entries: 9,
        ..Options::new(scratch.journal(), Durability::Full, NOON)
    }
}

/// What one life with a failing disk came to.
struct Life {
    acknowledged: u64,
    appended: u64,
    told: bool,
}

/// Opens and appends until something fails or 40 entries are done.
fn live(scratch: &Scratch, program: &mut Program, random: &mut Random) -> Life {
    let mut life = Life {
        acknowledged: 0,
        appended: 0,
        told: true,
    };
    let Ok((journal, _)) = Journal::open(options(scratch)) else {
        return life;
    };
    while life.appended < 40 {
        let (at, entry) = program.step(random.next());
        life.appended += 1;
        if journal.append(at, entry).wait().is_err() {
            assert!(journal.poisoned().is_some());
            let later = journal.append(NOON, root()).wait();
            assert!(later.is_err(), "a poisoned journal accepts nothing");
            assert!(matches!(journal.close(), Err(Error::Poisoned(_))));
            return life;
        }
        life.acknowledged += 1;
    }
    life.told = journal.close().is_err();
    life
}

/// For every n: the n-th operation fails once, the journal is dropped, and reopened on a disk that
/// works again; then the power fails, so that what a failed sync left unwritten shows.
#[test]
fn every_failing_operation_is_survived() {
    for n in 1.. {
        let scratch = Scratch::new("poison");
        let disk = Disk::at(scratch.path());
        let (mut program, mut random) = (Program::default(), Random::new(n));
        disk.fail_after(n);
        let life = live(&scratch, &mut program, &mut random);
        if !disk.failed() {
            assert_eq!(life.acknowledged, 40);
            assert!(n > 150, "the workload has only {n} operations");
            break;
        }
        assert!(
            life.told || disk.failed_to_tidy(),
            "operation {n} failed and nobody was told"
        );

        let (journal, recovered) = Journal::open(options(&scratch)).unwrap();
        let known = life.acknowledged..=life.appended;
        assert!(
            known.contains(&recovered.entries),
            "operation {n}: {}",
            recovered.entries
        );
        verify_moment(&disk, &mut random, n, recovered.entries);

        // What the next life acknowledges must survive although the last one left a gap.
        let entries = recovered.entries;
        let more = if entries == 0 {
            root()
        } else {
            hold(1 << 80, amount(0, 0, 0))
        };
        journal.append(NOON, more).wait().unwrap();
        verify_moment(&disk, &mut random, n, entries + 1);
        journal.close().unwrap();
        assert_eq!(
            verify_on(&scratch.journal(), VFS).unwrap().entries,
            entries + 1
        );
    }
}

/// For every n: the n-th operation fails once while nobody waits, and the journal that is opened
/// after that takes over. Whether or not the failed commit is in the file, nothing is missing and
/// nothing is there twice.
#[test]
fn what_a_stopped_journal_was_given_is_taken_over() {
    let mut taken_over = 0;
    for n in 1.. {
        let scratch = Scratch::new("take-over");
        let disk = Disk::at(scratch.path());
        let (mut program, mut random) = (Program::default(), Random::new(n));
        let mut steps = |journal: &Journal, count: u64| {
            let mut last = None;
            for _ in 0..count {
                let (at, entry) = program.step(random.next());
                last = Some(journal.append(at, entry));
            }
            last.expect("a step").wait()
        };
        let (mut journal, _) = Journal::open(options(&scratch)).unwrap();
        disk.fail_after(n);
        for group in [1, 7, 3, 12, 1, 16] {
            if steps(&journal, group).is_ok() {
                continue;
            }
            // What comes after the end of the writer is kept, too.
            assert!(steps(&journal, 2).is_err());
            let acknowledged = journal.set_meta("last", "words");
            assert!(acknowledged.wait().is_err());
            let (next, recovered) = Journal::open(options(&scratch)).unwrap();
            next.take_over(&recovered, &journal).unwrap();
            journal = next;
            steps(&journal, 1).unwrap();
            assert_eq!(journal.meta("last").as_deref(), Some("words"));
            taken_over += 1;
        }
        let closed = journal.close();
        let verified = verify_on(&scratch.journal(), VFS).unwrap();
        assert_eq!(verified.entries, program.done.len() as u64, "operation {n}");
        if closed.is_ok() && !disk.failed() {
            break;
        }
    }
    assert!(taken_over > 20, "{taken_over}");
}

#[test]
fn an_entry_that_cannot_follow_is_left_out_of_what_is_taken_over() {
    let scratch = Scratch::new("left-out");
    let some = amount(1, 1, 1);
    let (journal, _) = Journal::open(scratch.options(Durability::Process)).unwrap();
    for entry in [root(), hold(1, some), hold(1, some), hold(2, some)] {
        let _ = journal.append(NOON, entry);
    }
    while journal.poisoned().is_none() {
        std::thread::yield_now();
    }
    let (next, recovered) = Journal::open(scratch.options(Durability::Process)).unwrap();
    next.take_over(&recovered, &journal).unwrap();
    next.append(NOON, hold(3, some)).wait().unwrap();
    next.close().unwrap();
    let verified = verify(&scratch.journal()).unwrap();
    assert_eq!((verified.entries, verified.open_holds), (4, 3));
}

/// Copies the disk as a power loss now would leave it, and verifies the copy.
#[track_caller]
fn verify_moment(disk: &Disk, random: &mut Random, n: u64, acknowledged: u64) {
    let scratch = Scratch::new("poison-copy");
    let copy = Disk::at(scratch.path());
    copy.lose_power(&disk.now(), random);
    let verified = verify_on(&scratch.journal(), VFS).unwrap();
    assert!(
        verified.entries >= acknowledged,
        "operation {n}: {} of {acknowledged}",
        verified.entries
    );
}

#[test]
fn a_poisoned_journal_fails_every_waiting_ticket() {
    let scratch = Scratch::new("waiting");
    let disk = Disk::at(scratch.path());
    let (journal, _) = Journal::open(options(&scratch)).unwrap();
    journal.append(NOON, root()).wait().unwrap();
    disk.fail_after(1);
    let tickets: Vec<_> = (1..3_000)
        .map(|number| journal.append(NOON, hold(number, amount(1, 1, 1))))
        .collect();
    for ticket in tickets {
        assert!(ticket.wait().is_err());
    }
    let reason = journal.poisoned().unwrap();
    assert!(
        reason.contains("disk I/O error") || reason.contains("full"),
        "{reason}"
    );
    drop(journal);

    let (journal, recovered) = Journal::open(options(&scratch)).unwrap();
    assert_eq!(recovered.stopped, Some(reason), "the next life is told why");
    assert!(!recovered.clean);
    assert_eq!(recovered.entries, 1);
    journal.close().unwrap();
    let (_, recovered) = Journal::open(options(&scratch)).unwrap();
    assert_eq!((recovered.stopped, recovered.clean), (None, true));
}

/// After a storage error a damaged journal is not served, even where the cheap checks see nothing.
#[test]
fn a_journal_that_stopped_at_an_error_is_verified_before_it_is_served() {
    let scratch = Scratch::new("damaged");
    let (journal, _) = Journal::open(scratch.options(Durability::Process)).unwrap();
    for entry in [root(), hold(1, amount(1, 1, 1)), hold(1, amount(1, 1, 1))] {
        let _ = journal.append(NOON, entry);
    }
    assert!(
        journal.close().is_err(),
        "a second hold of an id stops the journal"
    );
    let connection = rusqlite::Connection::open(scratch.journal()).unwrap();
    connection
        .execute_batch(
            "DROP TRIGGER entries_are_never_changed;
             UPDATE entries SET tokens = 2 WHERE seq = 2;",
        )
        .unwrap();
    drop(connection);
    let refused = Journal::open(scratch.options(Durability::Process))
        .err()
        .unwrap();
    assert!(matches!(refused, Error::Damaged(_)), "{refused}");
    assert!(refused.to_string().contains("entry 2"), "{refused}");
    // And it stays so: the note of the error is not lost by failing to open.
    assert!(Journal::open(scratch.options(Durability::Process)).is_err());
}
