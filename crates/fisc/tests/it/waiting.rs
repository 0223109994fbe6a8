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
        tokio::spawn(async move {
            fisc.resolve_agent(root_id(&fisc), &["team", "agent"], |_| {
                Some(fisc::Terms::default())
            })
        })
    });
    for maker in makers.collect::<Vec<_>>() {
        let budget = maker.await.expect("no panic").expect("it is made");
        assert_eq!(budget.path(), "root/team/agent");
    }
    assert_eq!(fisc.statuses().len(), 3);
    drop(root);
}

/// Waits for room, notes who got it, and gives it back at once.
async fn queue_up(budget: fisc::Budget, order: std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    let hold = budget
        .hold("call", tokens(10), PATIENT)
        .await
        .expect("it is served in the end");
    order.lock().expect("no panic").push(budget.path());
    tokio::task::yield_now().await;
    let _settled = hold.settle_amount(tokens(0)).expect("settle");
}

#[tokio::test]
async fn who_asks_most_is_not_served_most() {
    let fisc = Fisc::in_memory();
    let root = fisc.allocate("root", limit(10)).await.expect("allocate");
    let busy = fisc
        .allocate("root/busy", fisc::Terms::default())
        .await
        .expect("allocate");
    let calm = fisc
        .allocate("root/calm", fisc::Terms::default())
        .await
        .expect("allocate");
    let all = root
        .hold("call", tokens(10), PATIENT)
        .await
        .expect("it fits");
    let order = std::sync::Arc::default();
    let mut calls = Vec::new();
    for budget in std::iter::repeat_n(&busy, 6).chain([&calm, &calm, &calm]) {
        calls.push(tokio::spawn(queue_up(
            budget.clone(),
            std::sync::Arc::clone(&order),
        )));
        tokio::task::yield_now().await;
    }
    let _settled = all.settle_amount(tokens(0)).expect("settle");
    for call in calls {
        call.await.expect("no panic");
    }
    let order = order.lock().expect("no panic").clone();
    let (b, c) = ("root/busy", "root/calm");
    assert_eq!(order, [b, c, b, c, b, c, b, b, b]);
}

#[tokio::test]
async fn who_gives_up_waiting_is_in_nobodys_way() {
    let fisc = Fisc::in_memory();
    let root = fisc.allocate("root", limit(100)).await.expect("allocate");
    let a = fisc
        .allocate("root/a", fisc::Terms::default())
        .await
        .expect("allocate");
    let b = fisc
        .allocate("root/b", fisc::Terms::default())
        .await
        .expect("allocate");
    let running = root
        .hold("call", tokens(60), PATIENT)
        .await
        .expect("it fits");
    let large = tokio::spawn(async move { a.hold("call", tokens(90), PATIENT).await.map(|_| ()) });
    tokio::task::yield_now().await;
    // A small call would fit, but the large one was first: overtaken for ever, it would starve.
    let small = tokio::spawn(async move { b.hold("call", tokens(10), PATIENT).await.map(|_| ()) });
    tokio::task::yield_now().await;
    assert!(!small.is_finished());
    large.abort();
    small.await.expect("no panic").expect("nobody is before it");
    assert_eq!(fisc.open_holds(), 1);
    let _settled = running.settle_amount(tokens(1)).expect("settle");
}

#[tokio::test]
async fn who_waited_in_vain_does_not_hold_others_back_again() {
    let fisc = Fisc::in_memory();
    let root = fisc.allocate("root", limit(100)).await.expect("allocate");
    let child = |name: &'static str| fisc.allocate(name, fisc::Terms::default());
    let a = child("root/a").await.expect("allocate");
    let b = child("root/b").await.expect("allocate");
    let running = root
        .hold("call", tokens(60), PATIENT)
        .await
        .expect("it fits");
    let large = |a: fisc::Budget| {
        let wait = async move { a.hold("call", tokens(90), PATIENT).await.map(drop) };
        tokio::spawn(wait)
    };
    let first = large(a.clone());
    tokio::task::yield_now().await;
    let at_once = Patience(Duration::ZERO);
    assert!(b.hold("call", tokens(10), at_once).await.is_err());
    // As a client does whose time is up.
    first.abort();
    first.await.expect_err("it was aborted");
    let again = large(a.clone());
    tokio::task::yield_now().await;
    let small = b.hold("call", tokens(10), at_once).await;
    let small = small.expect("it was held back long enough");
    let _settled = small.settle_amount(tokens(0)).expect("settle");
    // What it waits for it gets all the same, and then waits as others do.
    let _settled = running.settle_amount(tokens(1)).expect("settle");
    again.await.expect("no panic").expect("there is room");
    let running = root
        .hold("call", tokens(60), PATIENT)
        .await
        .expect("it fits");
    let third = large(a);
    tokio::task::yield_now().await;
    assert!(b.hold("call", tokens(10), at_once).await.is_err());
    third.abort();
    drop(running);
}

#[tokio::test]
async fn who_is_throttled_waits_whatever_is_left() {
    let fisc = Fisc::in_memory();
    let root = fisc.allocate("root", limit(1_000)).await.expect("allocate");
    let rate = fisc::Limits::NONE.with(fisc::Resource::Tokens, Some(60));
    fisc.throttle(root.id(), rate).await.expect("it is there");
    let call = root.hold("call", tokens(30), PATIENT).await;
    let _settled = call.expect("room").settle_amount(tokens(30));
    let at_once = Patience(Duration::ZERO);
    let Err(Error::Refused { refusal, .. }) = root.hold("call", tokens(1), at_once).await else {
        panic!("it is not due for half a minute")
    };
    let Refusal::Throttled(at, Some(due)) = refusal else {
        panic!("{refusal:?}")
    };
    let wait = due.since(fisc.now()).0;
    assert!(
        at == root.id() && (25_000_000..=30_000_000).contains(&wait),
        "{wait}"
    );
    fisc.throttle(root.id(), fisc::Limits::NONE)
        .await
        .expect("it is there");
    let free = root.hold("call", tokens(1), at_once).await;
    drop(free.expect("at once"));
}

fn root_id(fisc: &Fisc) -> fisc::BudgetId {
    fisc.root().expect("it was allocated").id()
}
