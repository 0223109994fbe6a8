//! `kill -9`, again and again, of a process that writes: everything acknowledged is there, once.
//!
//! The child is this test binary itself. `FISC_KILLS=1000` makes a campaign of it.

use std::collections::HashSet;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use fisc_core::HoldId;
use fisc_ledger::{Durability, Entry, Journal, Kind, Options, Reader, verify};

use crate::support::{NOON, Random, Scratch, amount, hold, id, root, setting, settle};

const DIRECTORY: &str = "FISC_KILL_CHILD";
const CALLERS: u128 = 6;

#[test]
fn nothing_acknowledged_is_lost_to_kill_9() {
    let scratch = Scratch::new("kill");
    let mut random = Random::new(9);
    let (mut acknowledged, mut unclean) = (0, 0);
    let kills = setting("FISC_KILLS", 30);
    for life in 0..kills {
        let durability = if life % 2 == 0 {
            Durability::Full
        } else {
            Durability::Process
        };
        let (mut child, ready) = start(scratch.path(), life, durability);
        unclean += u64::from(ready.contains("unclean"));
        kill_after(
            &mut child,
            Duration::from_micros(500 + random.below(40_000)),
        );
        acknowledged += check(&scratch, life);
        if life % 10 == 9 || life + 1 == kills {
            verify(&scratch.journal()).unwrap();
        }
    }
    println!("{kills} kills, {acknowledged} acknowledged entries, {unclean} unclean openings");
    assert!(
        acknowledged > 10 * kills,
        "the children acknowledged too little"
    );
    // The first life finds no journal; every other one finds one that was killed.
    assert_eq!(unclean, kills - 1);
    check_all_once(&scratch.journal());
}

/// Not a test of its own: the process that is killed.
#[test]
fn child() {
    let Some(directory) = env::var_os(DIRECTORY) else {
        return;
    };
    let life: u128 = env::var("FISC_KILL_LIFE").unwrap().parse().unwrap();
    let durability = Durability::parse(&env::var("FISC_KILL_DURABILITY").unwrap()).unwrap();
    let directory = PathBuf::from(directory);
    let options = Options::new(directory.join("ledger.db"), durability, NOON);
    let (journal, recovered) = Journal::open(options).unwrap();
    if recovered.entries == 0 {
        journal.append(NOON, root()).wait().unwrap();
    }
    for hold in &recovered.open {
        let _ = journal.append(
            NOON,
            Entry::Doubt {
                id: hold.id,
                charged: hold.amount,
            },
        );
    }
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log(&directory, life as u64));
    let log = Mutex::new(log.unwrap());
    let acknowledge = |what: &str, id: HoldId| {
        // One write each: a line is there as a whole or not at all.
        log.lock()
            .unwrap()
            .write_all(format!("{what} {id}\n").as_bytes())
            .unwrap();
    };
    println!(
        "ready {}",
        if recovered.clean { "clean" } else { "unclean" }
    );
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (journal, acknowledge) = (&journal, &acknowledge);
            scope.spawn(move || {
                for call in 0.. {
                    let number = life << 64 | caller << 48 | call;
                    journal
                        .append(NOON, hold(number, amount(3, 3, 3)))
                        .wait()
                        .unwrap();
                    acknowledge("hold", id(number));
                    if call % 5 != 0 {
                        journal
                            .append(NOON, settle(number, amount(2, 2, 2)))
                            .wait()
                            .unwrap();
                        acknowledge("settle", id(number));
                    }
                }
            });
        }
    });
}

/// Starts a child and waits until it writes.
fn start(directory: &Path, life: u64, durability: Durability) -> (Child, String) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["kill::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env("FISC_KILL_LIFE", life.to_string())
        .env("FISC_KILL_DURABILITY", durability.name())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map(Result::unwrap);
    let ready = lines
        .find(|line| line.contains("ready "))
        .expect("the child gets to work");
    (child, ready)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the kill must fall on no event in particular"
)]
fn kill_after(child: &mut Child, delay: Duration) {
    thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Checks one life: what it acknowledged is there, and what has no end is listed.
fn check(scratch: &Scratch, life: u64) -> u64 {
    let path = log(scratch.path(), life);
    let text = fs::read_to_string(path).unwrap_or_default();
    let reader = Reader::open(&scratch.journal()).unwrap();
    let open: HashSet<_> = reader
        .holds()
        .unwrap()
        .0
        .iter()
        .map(|hold| hold.id)
        .collect();
    let mut acknowledged = 0;
    let mut kinds = std::collections::HashMap::<HoldId, Vec<Kind>>::new();
    for line in text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
    {
        let (what, id) = line.trim_end().split_once(' ').unwrap();
        let kind = Kind::parse(what).unwrap();
        kinds
            .entry(HoldId::parse(id).unwrap())
            .or_default()
            .push(kind);
        acknowledged += 1;
    }
    for (id, kinds) in kinds {
        let stored: Vec<_> = reader
            .history(id)
            .unwrap()
            .iter()
            .map(|row| row.entry.kind())
            .collect();
        assert!(
            stored.starts_with(&kinds),
            "{id}: {kinds:?} were acknowledged, {stored:?} there"
        );
        assert_eq!(
            open.contains(&id),
            stored == [Kind::Hold],
            "{id} has no end and is listed"
        );
    }
    acknowledged
}

/// No hold begins or ends twice, in all lives together.
fn check_all_once(path: &Path) {
    let reader = Reader::open(path).unwrap();
    let (mut begun, mut ended, mut seq) = (HashSet::new(), HashSet::new(), 0);
    loop {
        let page = reader.entries(seq, 10_000).unwrap();
        let Some(last) = page.last() else { break };
        seq = last.seq;
        for row in page {
            match row.entry {
                Entry::Hold { id, .. } => assert!(begun.insert(id), "{id} begins twice"),
                Entry::Settle { id, .. } | Entry::Doubt { id, .. } => {
                    assert!(ended.insert(id), "{id} ends twice");
                }
                _ => {}
            }
        }
    }
    assert!(ended.is_subset(&begun));
}

fn log(directory: &Path, life: u64) -> PathBuf {
    directory.join(format!("acknowledged-{life}"))
}
