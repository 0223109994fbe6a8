//! What earlier runs teach, on invented classes of agents.

use super::{Invented, SECOND, at};
use crate::TimeUs;
use crate::forecast::{Course, History};

/// Runs whose second half spends four times as much a call as the first: no course alone can know.
fn stepping(invented: &mut Invented) -> (Vec<i64>, Vec<i64>) {
    let calls = 24 + invented.below(16);
    let mut now = 0;
    let times = (0..calls).map(|_| {
        now += SECOND / 2 + invented.below(SECOND);
        now
    });
    let times: Vec<i64> = times.collect();
    let sizes = (0..calls).map(|number| {
        let size = if number * 2 < calls { 1_000 } else { 4_000 };
        size + invented.below(300)
    });
    (times, sizes.collect())
}

fn course((times, sizes): &(Vec<i64>, Vec<i64>), calls: usize) -> Course {
    let mut course = Course::new(at(0));
    for (time, size) in times.iter().zip(sizes).take(calls) {
        course.add(at(0).after(TimeUs(*time)), *size);
    }
    course
}

fn history(seed: u64, runs: usize) -> History {
    let mut invented = Invented(seed);
    let courses: Vec<Course> = (0..runs)
        .map(|_| course(&stepping(&mut invented), usize::MAX))
        .collect();
    History::of_runs(&courses)
}

/// Asks new runs at a quarter of 0.8 of their totals; returns the median of the error, and how
/// many intervals held, of how many.
fn ask(history: Option<&History>) -> (f64, u32, u32) {
    let mut invented = Invented(99);
    let (mut errors, mut held, mut of) = (Vec::new(), 0, 0);
    for _ in 0..200 {
        let run = stepping(&mut invented);
        let sum = |calls: usize| run.1[..calls].iter().sum::<i64>();
        let limit = sum(run.1.len()) * 4 / 5;
        let after = |units: i64| {
            (1..=run.1.len())
                .find(|calls| sum(*calls) >= units)
                .expect("reached")
        };
        let (now, end) = (after(limit / 4), after(limit));
        let truth = run.0[end - 1] - run.0[now - 1];
        let course = course(&run, now);
        let found = course
            .time_to(at(0).after(course.elapsed()), limit - sum(now), history)
            .expect("a forecast");
        errors.push((found.point.0 as f64 / truth as f64 - 1.0).abs());
        if let Some((low, high)) = found.interval {
            assert!(low <= found.point && found.point <= high);
            of += 1;
            held += u32::from((low.0..=high.0).contains(&truth));
        }
    }
    errors.sort_by(f64::total_cmp);
    (errors[100], held, of)
}

#[test]
fn earlier_runs_correct_what_a_course_cannot_know() {
    let (alone, ..) = ask(None);
    let (taught, held, of) = ask(Some(&history(1, 60)));
    assert!(alone > 0.5 && taught < 0.15, "{alone} {taught}");
    assert_eq!(of, 200);
    assert!(
        (168..=192).contains(&held),
        "{held} of 200 intervals of 90 % held"
    );
}

#[test]
fn four_runs_correct_nothing_and_eighteen_have_no_interval() {
    assert_eq!(ask(Some(&history(1, 4))), ask(None));
    let (five, _, of) = ask(Some(&history(1, 5)));
    assert!(five < 0.4 && of == 0, "{five} {of}");
    assert_eq!(ask(Some(&history(1, 18))).2, 0);
    assert_eq!(ask(Some(&history(1, 19))).2, 200);
}

#[test]
fn adding_one_by_one_is_the_same_and_old_runs_go() {
    let mut invented = Invented(5);
    let runs: Vec<Course> = (0..130)
        .map(|_| course(&stepping(&mut invented), usize::MAX))
        .collect();
    let mut grown = History::new();
    for run in &runs {
        grown.add_run(run);
    }
    assert_eq!(grown.runs(), 100);
    assert_eq!(grown, History::of_runs(&runs));
    assert_eq!(grown, History::of_runs(&runs[30..]));
}

#[test]
fn parts_come_back_whole_or_not_at_all() {
    let known = history(2, 25);
    let parts = known.to_parts();
    assert_eq!(History::from_parts(&parts), Some(known));
    assert_eq!(History::from_parts(&[]), Some(History::new()));
    let broken = |change: fn(&mut Vec<f64>)| {
        let mut parts = parts.clone();
        change(&mut parts[3]);
        History::from_parts(&parts)
    };
    assert_eq!(broken(|run| run[0] = 2.0), None, "another layout");
    assert_eq!(broken(|run| run[2] = -1.0), None);
    assert_eq!(broken(|run| run[4] = 1e18), None);
    assert_eq!(broken(|run| run[9] = f64::NAN), None);
    assert_eq!(broken(|run| run.truncate(run.len() - 1)), None);
    assert_eq!(broken(Vec::clear), None);
}

/// Runs of 10, 20, 30, … calls of 100 units each.
fn lengths(runs: i64) -> History {
    let runs: Vec<Course> = (1..=runs)
        .map(|run| {
            let calls = run * 10;
            let times = (1..=calls).map(|number| number * SECOND).collect();
            course(&(times, vec![100; calls as usize]), usize::MAX)
        })
        .collect();
    History::of_runs(&runs)
}

#[test]
fn what_a_run_will_spend_is_known_before_it_starts() {
    assert_eq!(History::new().before_start(), None);
    let found = lengths(3).before_start().expect("runs are known");
    assert_eq!((found.point, found.interval), (2_000, None));
    let found = lengths(19).before_start().expect("runs are known");
    assert_eq!(
        (found.point, found.interval),
        (10_000, Some((1_000, 19_000)))
    );
}

#[test]
fn a_run_that_lives_is_expected_to_end_as_those_that_came_as_far() {
    let here = |calls: usize| {
        let times = (1..=calls as i64).map(|number| number * SECOND).collect();
        course(&(times, vec![200; calls]), usize::MAX)
    };
    // Of 19 runs, ten came to 100 calls; they still spent 0, 1,000, … 9,000.
    let found = here(100)
        .total_by_history(&lengths(19))
        .expect("ten came so far");
    assert_eq!((found.point, found.interval), (20_000 + 4_500, None));
    let found = here(5)
        .total_by_history(&lengths(19))
        .expect("all came so far");
    assert_eq!(found.point, 1_000 + 9_500);
    assert_eq!(found.interval, Some((1_000 + 500, 1_000 + 18_500)));
    assert_eq!(
        here(151).total_by_history(&lengths(19)),
        None,
        "four came so far"
    );
}

#[test]
fn runs_that_taught_nothing_are_no_runs() {
    let mut history = History::new();
    history.add_run(&Course::new(at(0)));
    assert_eq!(history.runs(), 0);
}
