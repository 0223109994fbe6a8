//! Every hold ends exactly once, whoever forgets it.

use std::time::Duration;

use fisc::{Fisc, Level, Patience, Refusal, Tokens};

use crate::{limit, tokens};

const NO_PATIENCE: Patience = Patience(Duration::ZERO);

#[tokio::test]
async fn a_hold_dropped_before_it_began_returns_everything() {
    let fisc = Fisc::in_memory();
    let root = fisc.allocate("root", limit(100)).await.expect("allocate");
    let hold = root
        .hold("call", tokens(60), NO_PATIENCE)
        .await
        .expect("it fits");
    assert_eq!(root.status().held.tokens(), Tokens(60));
    drop(hold);
    let status = root.status();
    assert_eq!((status.held, status.spent), (tokens(0), tokens(0)));
}

#[tokio::test]
async fn a_hold_dropped_after_it_began_is_charged_what_it_held() {
    let fisc = Fisc::in_memory();
    let root = fisc.allocate("root", limit(100)).await.expect("allocate");
    let mut hold = root
        .hold("call", tokens(60), NO_PATIENCE)
        .await
        .expect("it fits");
    hold.begin();
    drop(hold);
    let status = root.status();
    assert_eq!((status.held, status.spent), (tokens(0), tokens(60)));
}

#[tokio::test]
async fn a_dropped_wait_holds_nothing() {
    let fisc = Fisc::in_memory();
    let root = fisc.allocate("root", limit(100)).await.expect("allocate");
    let first = root
        .hold("call", tokens(80), NO_PATIENCE)
        .await
        .expect("it fits");
    let patient = Patience(Duration::from_mins(1));
    let waiting = root.hold("call", tokens(50), patient);
    let timed_out = tokio::time::timeout(Duration::from_millis(20), waiting).await;
    assert!(timed_out.is_err(), "it had to wait");
    drop(first);
    assert_eq!(root.status().held, tokens(0));
    assert_eq!(fisc.open_holds(), 0);
}

#[tokio::test]
async fn what_was_metered_moves_the_level_and_the_settlement_replaces_it() {
    let fisc = Fisc::in_memory();
    let root = fisc.allocate("root", limit(100)).await.expect("allocate");
    let mut hold = root
        .hold("call", tokens(100), NO_PATIENCE)
        .await
        .expect("it fits");
    hold.begin();
    hold.meter(tokens(80));
    assert_eq!(root.level(), Level::Orange);
    assert_eq!(root.status().spent, tokens(80));
    let receipt = hold
        .settle_amount(tokens(30))
        .expect("settle")
        .durable()
        .await
        .expect("written");
    assert_eq!(
        (receipt.charged, root.status().spent),
        (tokens(30), tokens(30))
    );
    assert_eq!(root.level(), Level::Green);
}

#[tokio::test]
async fn an_extension_that_does_not_fit_leaves_the_hold_as_it_is() {
    let fisc = Fisc::in_memory();
    let root = fisc.allocate("root", limit(100)).await.expect("allocate");
    let mut hold = root
        .hold("call", tokens(60), NO_PATIENCE)
        .await
        .expect("it fits");
    hold.extend(tokens(40)).await.expect("it fits");
    let refused = hold.extend(tokens(1)).await.expect_err("nothing is left");
    assert!(
        matches!(refused.refusal(), Some(Refusal::Never(_))),
        "{refused}"
    );
    assert_eq!(hold.amount(), tokens(100));
    let _settled = hold.settle_amount(tokens(100)).expect("settle");
    assert_eq!(root.status().spent, tokens(100));
}
