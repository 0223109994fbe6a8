//! Who waits, who is refused, and when.

use std::time::Duration;

use fisc::{Error, Fisc, Patience, Refusal, Tokens};

use crate::{limit, tokens};

const PATIENT: Patience = Patience(Duration::from_mins(1));

#[tokio::test]
async fn what_does_not_fit_now_waits_until_a_call_ends() {
    let fisc = Fisc::in_memory();
    let root = fisc.allocate("root", limit(100)).await.expect("allocate");
    let first = root
        .hold("call", tokens(80), PATIENT)
        .await
        .expect("it fits");
    let second = tokio::spawn({
        let root = root.clone();
        async move { root.hold("call", tokens(50), PATIENT).await }
    });
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    let _settled = first.settle_amount(tokens(10)).expect("settle");
    let second = second.await.expect("no panic").expect("there is room now");
    assert_eq!(second.amount().tokens(), Tokens(50));
}

#[tokio::test]
async fn what_could_never_fit_is_refused_at_once() {
    let fisc = Fisc::in_memory();
    let root = fisc.allocate("root", limit(100)).await.expect("allocate");
    let _first = root
        .hold("call", tokens(80), PATIENT)
        .await
        .expect("it fits");
    let refused = root
        .hold("call", tokens(101), PATIENT)
        .await
        .err()
        .expect("too large");
    let Error::Refused {
        path,
        refusal: Refusal::Never(short),
    } = &refused
    else {
        panic!("{refused}");
    };
    assert_eq!(
        (path.as_str(), short.limit, short.needed),
        ("root", 100, 101)
    );
}

#[tokio::test]
async fn a_wait_ends_in_a_refusal_when_what_was_held_is_spent() {
    let fisc = Fisc::in_memory();
    let root = fisc.allocate("root", limit(100)).await.expect("allocate");
    let first = root
        .hold("call", tokens(80), PATIENT)
        .await
        .expect("it fits");
    let second = tokio::spawn({
        let root = root.clone();
        async move { root.hold("call", tokens(50), PATIENT).await.map(|_| ()) }
    });
    tokio::task::yield_now().await;
    let _settled = first.settle_amount(tokens(80)).expect("settle");
    let refused = second
        .await
        .expect("no panic")
        .expect_err("nothing is left for it");
    assert!(
        matches!(refused.refusal(), Some(Refusal::Never(_))),
        "{refused}"
    );
}

#[tokio::test]
async fn agents_are_made_as_they_come_and_once() {
    let fisc = Fisc::in_memory();
    let root = fisc.allocate("root", limit(100)).await.expect("allocate");
    let makers = (0..64).map(|_| {
        let fisc = fisc.clone();
        tokio::spawn(async move { fisc.resolve_agent(root_id(&fisc), &["team", "agent"]) })
    });
    for maker in makers.collect::<Vec<_>>() {
        let budget = maker.await.expect("no panic").expect("it is made");
        assert_eq!(budget.path(), "root/team/agent");
    }
    assert_eq!(fisc.statuses().len(), 3);
    drop(root);
}

fn root_id(fisc: &Fisc) -> fisc::BudgetId {
    fisc.root().expect("it was allocated").id()
}
