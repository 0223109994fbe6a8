//! What a process that died leaves behind, and how it is put right.

use std::time::Duration;

use fisc::{Fisc, Options, Patience, Terms};
use fisc_testkit::temp;

use crate::{limit, tokens};

const NO_PATIENCE: Patience = Patience(Duration::ZERO);

#[tokio::test]
async fn spent_amounts_and_terms_survive() {
    let directory = temp::Dir::new();
    let path = directory.path().join("ledger.db");
    let fisc = Fisc::open(Options::at(&path)).expect("open");
    fisc.allocate("root", limit(100)).await.expect("allocate");
    let agent = fisc
        .allocate("root/agent", Terms::default())
        .await
        .expect("allocate");
    let mut hold = agent
        .hold("call", tokens(60), NO_PATIENCE)
        .await
        .expect("it fits");
    hold.begin();
    hold.settle_amount(tokens(45))
        .expect("settle")
        .durable()
        .await
        .expect("written");
    fisc.close().await.expect("close");

    let fisc = Fisc::open(Options::at(&path)).expect("open again");
    let status = fisc.budget("root/agent").expect("it is there").status();
    assert_eq!(status.spent, tokens(45));
    let root = fisc.budget("root").expect("it is there").status();
    assert_eq!((root.spent, root.terms), (tokens(45), limit(100)));
    assert!(fisc.in_doubt().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_open_hold_is_charged_in_doubt_and_can_be_resolved() {
    let directory = temp::Dir::new();
    let path = directory.path().join("ledger.db");
    let fisc = Fisc::open(Options::at(&path)).expect("open");
    let root = fisc.allocate("root", limit(100)).await.expect("allocate");
    let hold = root
        .hold("call", tokens(60), NO_PATIENCE)
        .await
        .expect("it fits");
    let id = hold.id();
    // As a crash does: the hold never ends.
    std::mem::forget(hold);
    fisc.close().await.expect("close");

    let fisc = Fisc::open(Options::at(&path)).expect("open again");
    let doubts = fisc.in_doubt();
    assert_eq!(
        (doubts.len(), doubts[0].id, doubts[0].charged),
        (1, id, tokens(60))
    );
    let root = fisc.budget("root").expect("it is there");
    assert_eq!((root.status().spent, fisc.open_holds()), (tokens(60), 0));
    fisc.resolve_doubt(id, tokens(20), "the provider's invoice")
        .await
        .expect("resolve");
    assert_eq!(root.status().spent, tokens(20));
    fisc.close().await.expect("close");

    let fisc = Fisc::open(Options::at(&path)).expect("open a third time");
    assert!(fisc.in_doubt().is_empty());
    assert_eq!(
        fisc.budget("root").expect("it is there").status().spent,
        tokens(20)
    );
    fisc.close().await.expect("close");
    fisc_ledger::verify(&path).expect("chain and balances agree");
}

#[tokio::test]
async fn a_ledger_keeps_its_way_of_counting_tokens() {
    let directory = temp::Dir::new();
    let path = directory.path().join("ledger.db");
    let fisc = Fisc::open(Options::at(&path)).expect("open");
    fisc.close().await.expect("close");
    let counting = fisc::TokenCounting::Total;
    let other = Fisc::open(Options {
        counting,
        ..Options::at(&path)
    })
    .err()
    .expect("refused");
    assert!(other.to_string().contains("counts fresh tokens"), "{other}");
}

#[tokio::test]
async fn nothing_is_admitted_on_a_closed_ledger() {
    let directory = temp::Dir::new();
    let fisc = Fisc::open(Options::at(directory.path().join("ledger.db"))).expect("open");
    let root = fisc.allocate("root", limit(100)).await.expect("allocate");
    fisc.clone().close().await.expect("close");
    let refused = root.hold("call", tokens(1), NO_PATIENCE).await.err();
    let refused = refused.expect("a hold that nobody writes down is not granted");
    assert!(refused.to_string().contains("closed"), "{refused}");
    assert_eq!(fisc.open_holds(), 0);
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_calls_that_run() {
    let directory = temp::Dir::new();
    let path = directory.path().join("ledger.db");
    let fisc = Fisc::open(Options::at(&path)).expect("open");
    let root = fisc.allocate("root", limit(100)).await.expect("allocate");
    let mut hold = root
        .hold("call", tokens(60), NO_PATIENCE)
        .await
        .expect("it fits");
    hold.begin();
    let closing = tokio::spawn(fisc.clone().close());
    tokio::task::yield_now().await;
    assert!(!closing.is_finished());
    let refused = root.hold("late", tokens(1), NO_PATIENCE).await.err();
    assert!(refused.expect("nothing new").to_string().contains("closed"));
    let settled = hold.settle_amount(tokens(20)).expect("settle");
    settled.durable().await.expect("it is written");
    closing.await.expect("no panic").expect("close");

    let fisc = Fisc::open(Options::at(&path)).expect("open again");
    assert!(fisc.in_doubt().is_empty());
    assert_eq!(
        fisc.budget("root").expect("it is there").status().spent,
        tokens(20)
    );
}
