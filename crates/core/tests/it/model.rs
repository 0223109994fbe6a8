//! Random programs on random trees: the engine and a naive reference must agree on every verdict
//! and on everything that can be seen, and no invariant may break.
//!
//! `FISC_CASES` sets how many programs run (each up to 60 operations); the default takes seconds.

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

mod play;
mod reference;

use fisc_core::{Amount, Claim, Limits, Permille, Resource, Terms, TimeUs};
use play::{Op, Play};

const CASES_DEFAULT: u32 = 800;
const OPERATIONS_MAX: usize = 60;

#[test]
fn the_engine_does_what_the_reference_says() {
    let cases = std::env::var("FISC_CASES").ok();
    let cases = cases.map_or(CASES_DEFAULT, |text| text.parse().expect("a number"));
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "proptest-regressions/model.txt",
        ))),
        ..Config::default()
    });
    let programs = (terms(), prop::collection::vec(op(), 1..OPERATIONS_MAX));
    let result = runner.run(&programs, |(root, program)| {
        let mut play = Play::new(root);
        for op in &program {
            play.step(op);
        }
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

fn op() -> impl Strategy<Value = Op> {
    let (some, by) = (any::<u16>, amount);
    prop_oneof![
        3 => (some(), any::<bool>(), terms())
            .prop_map(|(parent, deep, terms)| Op::Allocate { parent, deep, terms }),
        1 => (some(), terms()).prop_map(|(budget, terms)| Op::SetTerms { budget, terms }),
        8 => (some(), by(), prop::bool::weighted(0.2))
            .prop_map(|(budget, amount, finalize)| Op::Hold { budget, amount, finalize }),
        2 => (some(), prop::option::of(prop::sample::select(&Resource::ALL[..])), any::<bool>())
            .prop_map(|(budget, more, finalize)| Op::HoldAll { budget, more, finalize }),
        1 => some().prop_map(|hold| Op::HoldAgain { hold }),
        2 => (some(), by()).prop_map(|(hold, by)| Op::Extend { hold, by }),
        2 => (some(), by()).prop_map(|(hold, so_far)| Op::Meter { hold, so_far }),
        5 => (some(), prop::option::weighted(0.3, by()))
            .prop_map(|(hold, actual)| Op::Settle { hold, actual }),
        1 => some().prop_map(|hold| Op::SettleAgain { hold }),
        2 => some().prop_map(|hold| Op::Void { hold }),
        1 => (some(), by(), any::<bool>())
            .prop_map(|(budget, by, back)| Op::Correct { budget, by, back }),
        1 => (0..40i64).prop_map(|passed| Op::Tick { passed }),
        1 => Just(Op::Restart),
    ]
}

fn amount() -> impl Strategy<Value = Amount> {
    let units = || prop_oneof![2 => Just(0i64), 5 => 0..12i64];
    [units(), units(), units()].prop_map(Amount::from_raw)
}

fn limits(largest: i64, given: f64) -> impl Strategy<Value = Limits> {
    let limit = move || prop::option::weighted(given, 0..=largest);
    [limit(), limit(), limit()].prop_map(|limits| {
        let with = |all: Limits, resource: Resource| all.with(resource, limits[resource.index()]);
        Resource::ALL.into_iter().fold(Limits::NONE, with)
    })
}

fn terms() -> impl Strategy<Value = Terms> {
    let claim = prop_oneof![
        4 => Just(Claim::Nothing),
        2 => Just(Claim::Limit),
        2 => amount().prop_map(Claim::Guarantee),
    ];
    let elapsed = prop::option::weighted(0.15, 0..200i64);
    let reserve = prop_oneof![3 => Just(0u16), 2 => 0..400u16];
    (limits(40, 0.6), elapsed, claim, reserve, limits(10, 0.05)).prop_map(
        |(limits, elapsed, claim, reserve, per_call)| Terms {
            limits,
            elapsed: elapsed.map(TimeUs),
            claim,
            reserve: Permille(reserve),
            per_call,
            ..Terms::default()
        },
    )
}
