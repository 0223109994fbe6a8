//! Group commit: everyone is answered, in order, by few commits; nobody waits where nobody should.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use fisc_ledger::{Durability, Filter, Journal, Options, Reader};

use crate::power_loss::vfs::{Disk, VFS};
use crate::support::{NOON, Scratch, all_entries, amount, hold, root, settle};

#[test]
fn many_callers_share_few_commits() {
    let scratch = Scratch::new("group");
    let disk = Disk::at(scratch.path());
    let options = Options {
        vfs: Some(VFS.to_owned()),
        ..Options::new(scratch.journal(), Durability::Full, NOON)
    };
    let (journal, _) = Journal::open(options).unwrap();
    journal.append(NOON, root()).wait().unwrap();
    let before = disk.syncs();
    let tickets: Vec<_> = (1..=2_000)
        .map(|number| journal.append(NOON, hold(number, amount(1, 1, 1))))
        .collect();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    let syncs = disk.syncs() - before;
    assert!((4..=400).contains(&syncs), "2 000 holds in {syncs} syncs");
    assert_eq!(journal.backlog(), 0);
}

#[test]
fn concurrent_callers_are_all_answered_and_keep_their_own_order() {
    let scratch = Scratch::new("callers");
    let (journal, _) = Journal::open(scratch.options(Durability::Full)).unwrap();
    journal.append(NOON, root()).wait().unwrap();
    thread::scope(|scope| {
        for caller in 0..8 {
            let journal = &journal;
            scope.spawn(move || {
                for call in 0..50 {
                    let number = 1 + caller * 50 + call;
                    journal
                        .append(NOON, hold(number, amount(2, 2, 2)))
                        .wait()
                        .unwrap();
                    journal
                        .append(NOON, settle(number, amount(1, 1, 1)))
                        .wait()
                        .unwrap();
                }
            });
        }
    });
    journal.close().unwrap();
    assert_eq!(all_entries(&scratch.journal()).len(), 1 + 8 * 50 * 2);
    let spent = Reader::open(&scratch.journal()).unwrap().budgets().unwrap()[0].spent;
    assert_eq!(spent, amount(400, 400, 400));
}

#[test]
fn a_dropped_ticket_loses_nothing() {
    let scratch = Scratch::new("dropped");
    let (journal, _) = Journal::open(scratch.options(Durability::Full)).unwrap();
    drop(journal.append(NOON, root()));
    for number in 1..100 {
        drop(journal.append(NOON, hold(number, amount(1, 1, 1))));
    }
    drop(journal);
    assert_eq!(all_entries(&scratch.journal()).len(), 100);
}

#[test]
fn nobody_waits_when_async() {
    let scratch = Scratch::new("async");
    let (journal, _) = Journal::open(scratch.options(Durability::Async)).unwrap();
    let mut ticket = pin!(journal.append(NOON, root()).durable());
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(ticket.as_mut().poll(&mut context), Poll::Ready(Ok(())));
    journal.close().unwrap();
    assert_eq!(all_entries(&scratch.journal()).len(), 1);
}

/// A future that is polled by many hands registers each of them once, and wakes the last.
#[test]
fn a_waiting_future_is_woken() {
    struct Count(AtomicUsize, thread::Thread);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
            self.1.unpark();
        }
    }
    let scratch = Scratch::new("woken");
    let (journal, _) = Journal::open(scratch.options(Durability::Full)).unwrap();
    let woken = Arc::new(Count(AtomicUsize::new(0), thread::current()));
    let waker = Waker::from(woken.clone());
    let mut ticket = pin!(journal.append(NOON, root()).durable());
    let mut pending = 0;
    while ticket
        .as_mut()
        .poll(&mut Context::from_waker(&waker))
        .is_pending()
    {
        pending += 1;
        // Polled again with the same waker, it registers nothing new.
        if ticket
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            break;
        }
        thread::park();
    }
    assert!(woken.0.load(Ordering::SeqCst) <= 1, "woken more than once");
    assert!(pending <= 2);
}

#[test]
fn refusals_reach_the_reports_without_an_entry() {
    let scratch = Scratch::new("refusals");
    let (journal, _) = Journal::open(scratch.options(Durability::Process)).unwrap();
    journal.append(NOON, root()).wait().unwrap();
    let sent = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    journal.refuse(NOON, fisc_core::BudgetId(0), "plan", "m", "over_limit");
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    journal.close().unwrap();
    let rows = Reader::open(&scratch.journal())
        .unwrap()
        .refusals(&Filter::default())
        .unwrap();
    assert_eq!(
        rows.iter().map(|row| row.refused).sum::<u64>(),
        sent.into_inner()
    );
    assert_eq!(all_entries(&scratch.journal()).len(), 1);
}

/// Futures of requests move between threads, and many of them share one journal.
#[test]
fn journals_and_waiting_futures_cross_threads() {
    fn crosses<T: Send + Sync>(_: &T) {}
    fn moves<T: Send>(_: &T) {}
    let scratch = Scratch::new("threads");
    let (journal, _) = Journal::open(scratch.options(Durability::Async)).unwrap();
    crosses(&journal);
    moves(&journal.append(NOON, root()).durable());
}
