//! A ledger that cannot be written for a while: nothing that the process knows is lost to it.

use std::path::Path;
use std::time::Duration;

use fisc::{Durability, Fisc, Options, Patience, Terms};
use fisc_testkit::temp;

use crate::{limit, tokens};

const NO_PATIENCE: Patience = Patience(Duration::ZERO);

/// Keeps the ledger's writer waiting; once that is committed, every entry is refused.
fn break_slowly(path: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).expect("open");
    let sql = "BEGIN IMMEDIATE; CREATE TRIGGER broken BEFORE INSERT ON entries
         BEGIN SELECT raise(ABORT, 'disk I/O error'); END";
    connection.execute_batch(sql).expect("a trigger");
    connection
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Where nobody waits, the error comes late: what was granted and what ended since then is in the
/// tree alone.
#[tokio::test]
async fn what_ran_and_what_ended_unwritten_is_in_the_ledger_after_it() {
    let directory = temp::Dir::new();
    let path = directory.path().join("ledger.db");
    let options = || Options {
        durability: Durability::Async,
        ..Options::at(&path)
    };
    let fisc = Fisc::open(options()).expect("open");
    let root = fisc.allocate("root", limit(1_000)).await.expect("root");
    let mut early = root
        .hold("early", tokens(60), NO_PATIENCE)
        .await
        .expect("it fits");
    until(|| fisc.with_journal(fisc_ledger::Journal::backlog) == Some(0)).await;
    let broken = break_slowly(&path);

    let late = fisc.allocate("root/late", Terms::default()).await;
    let late = late.expect("nobody waits");
    let hold = |name: &'static str, count| late.hold(name, tokens(count), NO_PATIENCE);
    let running = hold("running", 100).await;
    let ended = hold("ended", 200).await;
    let mut running = running.expect("the error is not known yet");
    let ended = ended.expect("nor now");
    let _settled = ended.settle_amount(tokens(30)).expect("settle");
    broken.execute_batch("COMMIT").expect("a trigger");
    until(|| fisc.trouble().is_some()).await;

    // It is known now: nothing new is admitted, and what runs goes on.
    let refused = hold("refused", 1).await.err().expect("nothing new");
    assert!(refused.to_string().contains("disk I/O error"), "{refused}");
    early.begin();
    drop(early);
    let before = fisc.statuses();
    let failed = fisc
        .reopen()
        .await
        .expect_err("a schema with a trigger of others");
    assert!(failed.to_string().contains("trigger broken"), "{failed}");

    broken.execute_batch("DROP TRIGGER broken").expect("gone");
    assert!(fisc.reopen().await.expect("it works again"));
    assert!(!fisc.reopen().await.expect("there is no trouble"));
    assert_eq!(fisc.statuses(), before, "the tree knew all along");
    assert_eq!((fisc.open_holds(), root.status().spent), (1, tokens(90)));
    running.extend(tokens(5)).await.expect("it fits");
    let _settled = running.settle_amount(tokens(7)).expect("settle");
    fisc.close().await.expect("close");

    fisc_ledger::verify(&path).expect("chain and balances agree");
    let again = Fisc::open(options()).expect("open again");
    assert!(again.in_doubt().is_empty());
    let spent = |path: &str| again.budget(path).expect("it is there").status().spent;
    assert_eq!(
        (spent("root"), spent("root/late")),
        (tokens(97), tokens(37))
    );
}
