//! The power-loss model: at every write, sync and truncation the power may fail, and whatever was
//! not synced is then lost, kept or torn. Nothing that was acknowledged may be missing.
//!
//! `FISC_CRASH_POINTS=20000` (or more) makes a campaign of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fisc_ledger::{Durability, Error, Hash, Journal, Options, VerifyError, verify_on};

use crate::support::program::Program;
use crate::support::{NOON, Random, Scratch, setting};

pub(crate) mod vfs;

use vfs::{Disk, Moment, VFS};

/// How many entries one run of the workload appends.
const ENTRIES: u64 = 120;
/// Few commits between checkpoints, so that most moments see one near.
const CHECKPOINT_COMMITS: u32 = 7;
/// So few entries between two writings of the tables that most moments see one near, too.
const TAIL_ENTRIES: usize = 11;

/// At every how many points the recovery itself is crashed everywhere, too.
const RECOVERY_EVERY: u64 = 97;

#[derive(Default)]
struct Tally {
    points: u64,
    lost: u64,
    acknowledged: u64,
}

#[test]
fn power_loss_loses_nothing_acknowledged() {
    let points = setting("FISC_CRASH_POINTS", 4_000);
    let tally = campaign(Durability::Full, points);
    println!(
        "{} crash points, {} acknowledged entries",
        tally.points, tally.acknowledged
    );
    assert!(tally.points >= points);
    assert!(
        tally.acknowledged > 10 * points,
        "the workload acknowledged too little"
    );
    assert_eq!(tally.lost, 0, "acknowledged entries were lost");
}

/// The negative control: without a sync before the answer the model must find losses, else it
/// models nothing.
#[test]
fn power_loss_loses_acknowledged_entries_without_sync() {
    let tally = campaign(Durability::Process, 600);
    println!(
        "{} of {} crash points lost acknowledged entries",
        tally.lost, tally.points
    );
    assert!(
        tally.lost * 10 > tally.points,
        "{} of {}",
        tally.lost,
        tally.points
    );
}

/// Runs workloads, each on a new disk, and crashes them everywhere, until there were enough points.
fn campaign(durability: Durability, points: u64) -> Tally {
    let scratch = Scratch::new("power-loss");
    let [live, crashed, again] = ["live", "crashed", "again"].map(|name| {
        let directory = scratch.path().join(name);
        std::fs::create_dir(&directory).unwrap();
        directory
    });
    let options = |directory: &std::path::Path| Options {
        vfs: Some(VFS.to_owned()),
        checkpoint_commits: CHECKPOINT_COMMITS,
        tail_entries: TAIL_ENTRIES,
        ..Options::new(directory.join("ledger.db"), durability, NOON)
    };
    let mut tally = Tally::default();
    for seed in 0.. {
        if tally.points >= points {
            break;
        }
        let mut random = Random::new(seed);
        let disk = Disk::at(&live);
        let (moments, heads) = workload(options(&live), &disk, &mut random);
        let disk = Disk::at(&crashed);
        let second = Disk::at(&again);
        for moment in moments {
            disk.lose_power(&moment, &mut random);
            if tally.points % RECOVERY_EVERY == 0 {
                disk.count_with(Arc::new(AtomicU64::new(moment.count)));
            }
            tally.check(options(&crashed), &moment, &heads);
            // The power may fail again while the first failure is being mended.
            for moment in disk.take_moments() {
                second.lose_power(&moment, &mut random);
                tally.check(options(&again), &moment, &heads);
            }
        }
    }
    tally
}

impl Tally {
    fn check(&mut self, options: Options, moment: &Moment, heads: &[Hash]) {
        self.points += 1;
        self.acknowledged += moment.count;
        self.lost += u64::from(!recovers(options, moment, heads, self.points));
    }
}

/// Appends entries in groups of one to eight, waiting for each group. Returns every moment at which
/// the power might have failed, and the state of the journal after each entry.
fn workload(options: Options, disk: &Disk, random: &mut Random) -> (Vec<Moment>, Vec<Hash>) {
    let acknowledged = Arc::new(AtomicU64::new(0));
    disk.count_with(acknowledged.clone());
    let path = options.path.clone();
    let (journal, recovered) = Journal::open(options).unwrap();
    let mut heads = vec![recovered.head];
    let mut program = Program::default();
    while acknowledged.load(Ordering::SeqCst) < ENTRIES {
        let group = 1 + random.below(8);
        let tickets: Vec<_> = (0..group)
            .map(|_| {
                let (at, entry) = program.step(random.next());
                journal.append(at, entry)
            })
            .collect();
        for ticket in tickets {
            ticket.wait().unwrap();
        }
        acknowledged.fetch_add(group, Ordering::SeqCst);
    }
    journal.close().unwrap();
    let moments = disk.take_moments();
    heads.extend(hashes(&path));
    (moments, heads)
}

/// Says whether the journal opens, verifies, and holds everything acknowledged and nothing else.
fn recovers(options: Options, moment: &Moment, heads: &[Hash], point: u64) -> bool {
    let path = options.path.clone();
    // Either may be the first to recover the log.
    let verify_first = point.is_multiple_of(2);
    if verify_first {
        check_verifies(&path);
    }
    let (journal, recovered) = Journal::open(options).expect("a journal opens after a power loss");
    let entries = usize::try_from(recovered.entries).unwrap();
    if entries > 0 {
        assert_eq!(
            recovered.head, heads[entries],
            "entries are a prefix of what was appended"
        );
    }
    journal
        .close()
        .expect("a journal closes after a power loss");
    if !verify_first {
        check_verifies(&path);
    }
    recovered.entries >= moment.count
}

fn check_verifies(path: &std::path::Path) {
    match verify_on(path, VFS) {
        Ok(_) => {}
        // The file may not be made yet. Where it should be, opening it will count the loss.
        Err(VerifyError::Unreadable(error)) if matches!(*error, Error::NotALedger(_)) => {}
        Err(error) => panic!("after a power loss: {error}"),
    }
}

fn hashes(path: &std::path::Path) -> Vec<Hash> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = rusqlite::Connection::open_with_flags_and_vfs(path, flags, VFS).unwrap();
    connection
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE")
        .unwrap();
    let mut statement = connection
        .prepare("SELECT hash FROM entries ORDER BY seq")
        .unwrap();
    let rows = statement
        .query_map([], |row| Ok(Hash(row.get(0)?)))
        .unwrap();
    rows.map(Result::unwrap).collect()
}
