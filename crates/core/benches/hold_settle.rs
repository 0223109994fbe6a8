//! What admission costs: a hold and its settlement at depth 1, 5 and 8 with three resources
//! limited, beside what anybody would compare it with, in the same run.
//!
//! `bare_mutex` locks a `std` mutex and adds; `flat_charge` looks an agent up in a map behind a
//! mutex and charges it, which is all that a per-agent counter does.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;

use criterion::{Criterion, criterion_group, criterion_main};
use fisc_core::{Amount, HoldId, Resource, Timestamp};

#[path = "support/chain.rs"]
mod chain;

fn hold_settle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hold_settle");
    for depth in [1, 5, 8] {
        group.bench_function(format!("depth_{depth}"), |bencher| {
            let mut bench = chain::Bench::new(depth);
            bencher.iter(|| bench.hold_and_settle());
        });
    }
    group.bench_function("depth_5_mutex", |bencher| {
        let bench = Mutex::new(chain::Bench::new(5));
        bencher.iter(|| bench.lock().expect("no thread panics").hold_and_settle());
    });
    group.bench_function("depth_5_refused", |bencher| {
        let mut bench = chain::Bench::new(5);
        let mut more = Amount::ZERO;
        more.set(Resource::Tokens, chain::ROOM - 1);
        bencher.iter(|| bench.hold(more).expect_err("it does not fit"));
    });
    group.bench_function("depth_5_headroom", |bencher| {
        let bench = chain::Bench::new(5);
        bencher.iter(|| bench.tree.headroom(black_box(bench.leaf), false));
    });
    group.bench_function("depth_5_beside_1000_open", |bencher| {
        let mut bench = chain::Bench::new(5);
        for open in 0..1000 {
            let id = HoldId(u128::MAX - open);
            let (at, leaf) = (Timestamp(0), bench.leaf);
            bench
                .tree
                .hold(at, id, leaf, chain::call(), false, &mut Vec::new())
                .expect("the id is new")
                .expect("it fits");
        }
        bencher.iter(|| bench.hold_and_settle());
    });
    group.finish();
}

fn anchors(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("anchor");
    group.bench_function("bare_mutex", |bencher| {
        let spent = Mutex::new(0i64);
        bencher.iter(|| {
            let mut spent = spent.lock().expect("no thread panics");
            *spent = black_box(*spent + 1);
        });
    });
    group.bench_function("flat_charge", |bencher| {
        let names: Vec<String> = (0..100)
            .map(|agent| format!("org/team/agent-{agent}"))
            .collect();
        let spent: HashMap<String, (i64, i64)> = names
            .iter()
            .map(|name| (name.clone(), (i64::MAX, 0)))
            .collect();
        let (spent, mut turn) = (Mutex::new(spent), 0);
        bencher.iter(|| {
            turn = (turn + 1) % names.len();
            let mut spent = spent.lock().expect("no thread panics");
            let (limit, charged) = spent.get_mut(&names[turn]).expect("every agent is there");
            let fits = *charged < *limit;
            *charged += i64::from(fits);
            black_box(fits)
        });
    });
    group.finish();
}

criterion_group!(benches, hold_settle, anchors);
criterion_main!(benches);
