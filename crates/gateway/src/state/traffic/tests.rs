//! Who is cut off, when nothing else goes on, and which budget is said to have stopped whom.

use fisc::core::Shortfall;
use fisc::{Acting, Amount, BudgetId, Headroom, Level, Refusal as TreeRefusal, Resource, TimeUs};

use super::{Final, Limiting, RanOut, STILL_CALLS, Traffic};
use crate::refusal::Refusal;

const RUNAWAY: BudgetId = BudgetId(1);
const WORKER: BudgetId = BudgetId(2);
const MAX: u64 = 3;

fn traffic() -> Traffic {
    Traffic::new(Some(MAX))
}

fn room(units: i64) -> Headroom {
    Headroom {
        now: Amount::from_raw([units; Resource::COUNT]),
        idle: Amount::from_raw([units; Resource::COUNT]),
        per_call: Amount::from_raw([i64::MAX; Resource::COUNT]),
        deadline: None,
        may_finalize: false,
        wrap_up: false,
        acting: Acting {
            level: Level::Green,
            budget: BudgetId(0),
            resource: None,
        },
        open: 0,
    }
}

fn limiting(budget: &str) -> Limiting {
    Limiting {
        budget: budget.to_owned(),
        resource: Some(Resource::Cost),
    }
}

fn refusal() -> Refusal {
    let short = Shortfall {
        budget: RUNAWAY,
        resource: Resource::Cost,
        limit: 10,
        spent: 8,
        held: 0,
        needed: 5,
    };
    Refusal::of_tree(&TreeRefusal::Never(short), Some("run/runaway".to_owned()))
}

fn ran_out(budget: &str) -> Final {
    Final::RanOut(Box::new(RanOut {
        limiting: limiting(budget),
        root: (budget == "run").then(|| limiting(budget)),
        room: room(2),
        refusal: refusal(),
    }))
}

/// Refuses an agent so often because of a budget.
fn refuse(traffic: &Traffic, agent: BudgetId, times: u64, budget: &str) {
    for _ in 0..times {
        traffic.count_refused(agent, TimeUs(0), ran_out(budget));
    }
}

fn call(traffic: &Traffic, agent: BudgetId, from: TimeUs, to: TimeUs) {
    traffic.count_admitted(agent, from);
    traffic.count_ended(agent, to);
}

// === who goes on ===

#[test]
fn one_agent_that_goes_on_after_refusals_is_all_there_is() {
    let traffic = traffic();
    assert!(!traffic.only_refuses(TimeUs(0)), "nobody called");
    refuse(&traffic, RUNAWAY, MAX - 1, "run/runaway");
    assert!(!traffic.only_refuses(TimeUs(0)));
    refuse(&traffic, RUNAWAY, 1, "run/runaway");
    assert!(traffic.only_refuses(TimeUs(0)));
    assert_eq!((traffic.admitted(), traffic.refused()), (0, MAX));
}

#[test]
fn a_stubborn_agent_does_not_end_one_that_still_calls() {
    let traffic = traffic();
    call(&traffic, WORKER, TimeUs(0), TimeUs(0));
    refuse(&traffic, RUNAWAY, 100, "run/runaway");
    assert!(!traffic.only_refuses(TimeUs(0)), "the worker thinks");
    traffic.count_admitted(WORKER, TimeUs(1));
    traffic.count_refused(RUNAWAY, STILL_CALLS, ran_out("run/runaway"));
    let later = TimeUs(STILL_CALLS.0 + 1);
    assert!(!traffic.only_refuses(later), "the worker's call runs");
    traffic.count_ended(WORKER, later);
    assert!(!traffic.only_refuses(later));
    // The worker is done; the runaway is not.
    let quiet = TimeUs(later.0 + STILL_CALLS.0);
    traffic.count_refused(RUNAWAY, quiet, ran_out("run/runaway"));
    assert!(traffic.only_refuses(quiet));
}

#[test]
fn an_agent_that_gave_up_is_not_stubborn() {
    let traffic = traffic();
    refuse(&traffic, RUNAWAY, MAX, "run/runaway");
    assert!(!traffic.only_refuses(STILL_CALLS));
}

#[test]
fn refusals_are_counted_for_each_agent() {
    let traffic = traffic();
    // The worker's admissions are none of the runaway's.
    for _ in 0..MAX {
        refuse(&traffic, RUNAWAY, 1, "run/runaway");
        call(&traffic, WORKER, TimeUs(0), TimeUs(0));
    }
    assert!(traffic.cut_off(RUNAWAY, || room(2)).is_some());
    assert!(traffic.cut_off(WORKER, || room(2)).is_none());
    // Its own one is.
    call(&traffic, RUNAWAY, TimeUs(0), TimeUs(0));
    refuse(&traffic, RUNAWAY, MAX - 1, "run/runaway");
    assert!(traffic.cut_off(RUNAWAY, || room(2)).is_none());
    // Two agents, both stubborn.
    refuse(&traffic, RUNAWAY, 1, "run/runaway");
    refuse(&traffic, WORKER, MAX, "run/worker");
    assert!(traffic.only_refuses(TimeUs(0)));
}

#[test]
fn a_root_that_ran_out_needs_one_stubborn_agent() {
    let traffic = traffic();
    call(&traffic, WORKER, TimeUs(0), TimeUs(0));
    refuse(&traffic, RUNAWAY, MAX, "run");
    assert_eq!(traffic.root_ran_out(), Some(limiting("run")));
    assert!(traffic.only_refuses(TimeUs(0)));
    // A call that fits after all shows that it has not.
    traffic.count_admitted(WORKER, TimeUs(0));
    assert_eq!(traffic.root_ran_out(), None);
    traffic.count_ended(WORKER, TimeUs(0));
    assert!(!traffic.only_refuses(TimeUs(0)));
}

#[test]
fn nobody_is_ended_while_a_call_runs_or_waits() {
    let traffic = traffic();
    traffic.count_admitted(RUNAWAY, TimeUs(0));
    refuse(&traffic, RUNAWAY, MAX, "run");
    assert!(!traffic.only_refuses(TimeUs(0)));
    traffic.count_ended(RUNAWAY, TimeUs(0));
    traffic.waiting.store(1, super::Ordering::Relaxed);
    assert!(!traffic.only_refuses(TimeUs(0)));
    traffic.waiting.store(0, super::Ordering::Relaxed);
    assert!(traffic.only_refuses(TimeUs(0)));
}

#[test]
fn what_nobody_meters_is_refused_as_often() {
    let traffic = traffic();
    for _ in 0..MAX {
        traffic.count_refused(RUNAWAY, TimeUs(0), Final::Unacceptable);
    }
    assert!(traffic.only_refuses(TimeUs(0)));
    assert_eq!(traffic.limiting(), None);
    // What it asks next may be another thing, so that is judged.
    assert!(traffic.cut_off(RUNAWAY, || room(2)).is_none());
}

#[test]
fn without_a_limit_nobody_is_stubborn() {
    let traffic = Traffic::new(None);
    refuse(&traffic, RUNAWAY, 1000, "run");
    assert!(!traffic.only_refuses(TimeUs(0)));
    assert!(traffic.cut_off(RUNAWAY, || room(2)).is_none());
}

#[test]
fn more_room_ends_a_cut() {
    let traffic = traffic();
    refuse(&traffic, RUNAWAY, MAX, "run/runaway");
    let cut = |units| traffic.cut_off(RUNAWAY, || room(units)).is_some();
    assert!(cut(2));
    assert!(cut(1));
    assert!(!cut(3), "a limit was raised");
    let told = traffic.cut_off(RUNAWAY, || room(2)).expect("it is cut off");
    assert_eq!(told.refusal, refusal());
}

// === what stopped it ===

#[test]
fn a_later_admission_of_the_agent_clears_what_stopped_it() {
    let traffic = traffic();
    refuse(&traffic, RUNAWAY, 1, "run/runaway");
    assert_eq!(traffic.limiting(), Some(limiting("run/runaway")));
    call(&traffic, WORKER, TimeUs(0), TimeUs(0));
    assert_eq!(traffic.limiting(), Some(limiting("run/runaway")));
    refuse(&traffic, WORKER, 1, "run/worker");
    assert_eq!(traffic.limiting(), Some(limiting("run/worker")), "the last");
    call(&traffic, WORKER, TimeUs(0), TimeUs(0));
    assert_eq!(traffic.limiting(), Some(limiting("run/runaway")));
    call(&traffic, RUNAWAY, TimeUs(0), TimeUs(0));
    assert_eq!(traffic.limiting(), None);
}

#[test]
fn a_call_too_large_stops_only_whom_nothing_ever_fitted() {
    let traffic = traffic();
    let too_large = || Final::TooLarge(limiting("run"));
    traffic.count_refused(RUNAWAY, TimeUs(0), too_large());
    assert_eq!(traffic.limiting(), Some(limiting("run")));
    assert_eq!(traffic.root_ran_out(), None, "others may fit");
    call(&traffic, RUNAWAY, TimeUs(0), TimeUs(0));
    traffic.count_refused(RUNAWAY, TimeUs(0), too_large());
    assert_eq!(traffic.limiting(), None, "others did fit");
}

#[test]
fn a_refusal_of_the_call_itself_stops_nobody() {
    let traffic = traffic();
    traffic.count_refused(RUNAWAY, TimeUs(0), Final::Unacceptable);
    assert_eq!(traffic.limiting(), None);
    // Nor does it hide what did.
    refuse(&traffic, RUNAWAY, 1, "run/runaway");
    traffic.count_refused(RUNAWAY, TimeUs(0), Final::Unacceptable);
    assert_eq!(traffic.limiting(), Some(limiting("run/runaway")));
}
