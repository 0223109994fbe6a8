//! Courses, methods and shapes, on courses whose future is known.

use super::{Invented, SECOND, at};
use crate::forecast::{Course, Method, Profile};
use crate::{TimeUs, Timestamp};

/// A call a second, of sizes by number.
fn course(calls: i64, size: impl Fn(i64) -> i64) -> Course {
    let mut course = Course::new(at(0));
    for number in 1..=calls {
        course.add(at(number), size(number));
    }
    course
}

#[track_caller]
fn near(found: f64, expected: f64, tolerance: f64) {
    let off = (found / expected - 1.0).abs();
    assert!(off <= tolerance, "{found}, not {expected}");
}

fn seconds(course: &Course, method: Method, need: i64) -> f64 {
    let found = course.time_to_by(method, at(0).after(course.elapsed()), need, None);
    found.expect("a forecast").point.0 as f64 / SECOND as f64
}

fn units(course: &Course, method: Method, left: i64) -> f64 {
    let now = at(0).after(course.elapsed());
    let found = course.total_in_by(method, now, TimeUs(left * SECOND), None);
    found.expect("a forecast").point as f64
}

#[test]
fn an_even_course_goes_on_by_every_method_but_one() {
    let even = course(40, |_| 100);
    for method in Method::ALL {
        if method == Method::Exponential {
            // 4,000 more of 4,000 is one doubling, for which it takes ln 2 of the time so far.
            near(seconds(&even, method, 4_000), 40.0 * 2f64.ln(), 1e-6);
            near(units(&even, method, 40), 4_000.0 * 1f64.exp_m1(), 1e-3);
        } else {
            near(seconds(&even, method, 4_000), 40.0, 0.001);
            near(units(&even, method, 40), 4_000.0, 0.05);
        }
    }
}

#[test]
fn growing_calls_are_seen_to_grow() {
    // Call n takes 1,000 + 50n: the next 20 of 40 take 70,500.
    let growing = course(40, |number| 1_000 + 50 * number);
    let need = (41..=60).map(|number| 1_000 + 50 * number).sum();
    near(seconds(&growing, Method::Fisc, need), 20.0, 0.08);
    near(units(&growing, Method::Fisc, 20), need as f64, 0.08);
    assert!(
        seconds(&growing, Method::Linear, need) > 30.0,
        "linear is late"
    );
}

#[test]
fn one_long_pause_does_not_set_the_pace() {
    let mut paused = Course::new(at(0));
    for number in 1..=30 {
        let pause = if number > 10 { 600 } else { 0 };
        paused.add(at(number + pause), 100);
    }
    assert!(seconds(&paused, Method::Linear, 1_000) > 200.0);
    assert!(seconds(&paused, Method::Fisc, 1_000) < 30.0);
}

#[test]
fn the_recent_rate_counts_where_it_changed() {
    let faster = course(40, |number| if number <= 20 { 100 } else { 400 });
    near(seconds(&faster, Method::Ewma, 4_000), 10.0, 0.05);
    near(seconds(&faster, Method::PredictLinear, 4_000), 10.0, 0.01);
    near(seconds(&faster, Method::Linear, 4_000), 16.0, 0.001);
}

#[test]
fn no_rate_falls_below_the_floor() {
    let stopped = course(200, |number| if number <= 100 { 100 } else { 0 });
    let floor = 0.02 * 50.0;
    near(seconds(&stopped, Method::Ewma, 100), 100.0 / floor, 0.001);
    near(
        seconds(&stopped, Method::PredictLinear, 100),
        100.0 / floor,
        0.001,
    );
}

#[test]
fn too_little_says_nothing_and_nothing_needed_takes_no_time() {
    let now = at(100);
    for method in Method::ALL {
        let few = course(3, |_| 100);
        assert_eq!(few.time_to_by(method, now, 1, None), None);
        assert_eq!(few.total_in_by(method, now, TimeUs(1), None), None);
        let free = course(9, |_| 0);
        assert_eq!(free.time_to_by(method, now, 1, None), None);
        let even = course(9, |_| 100);
        let found = even.time_to_by(method, now, -5, None).expect("a forecast");
        assert_eq!((found.point, found.interval), (TimeUs(0), None));
        let found = even.total_in_by(method, now, TimeUs(0), None);
        assert_eq!(found.expect("a forecast").point, 0);
    }
    let mut at_once = Course::new(at(0));
    (0..9).for_each(|_| at_once.add(at(0), 100));
    assert_eq!(at_once.time_to(at(0), 1, None), None);
}

#[test]
fn any_course_is_answered_in_range_or_not_at_all() {
    let mut invented = Invented(7);
    for _ in 0..2_000 {
        let mut course = Course::new(at(0));
        let mut now = 0i64;
        for _ in 0..invented.below(200) {
            let huge = invented.below(10) == 0;
            let units = if huge {
                i64::MAX / 2
            } else {
                invented.below(1_000)
            };
            now += invented.below(3) * invented.below(1_000_000_000_000);
            course.add(Timestamp(now), units - 3);
        }
        for method in Method::ALL {
            let later = Timestamp(now + invented.below(1_000));
            for ahead in [1, 1_000, i64::MAX] {
                let time = course.time_to_by(method, later, ahead, None);
                assert!(time.is_none_or(|time| time.point.0 >= 0));
                let units = course.total_in_by(method, later, TimeUs(ahead), None);
                assert!(units.is_none_or(|units| units.point >= 0));
            }
        }
    }
}

#[test]
fn a_long_course_stays_small_and_exact() {
    let long = course(100_001, |number| number % 7);
    let seen = long.seen(at(100_001));
    assert!(seen.points.len() <= 64, "{}", seen.points.len());
    let last = seen.last();
    assert_eq!((last.calls, last.spent), (100_001.0, long.spent() as f64));
    assert_eq!(
        long.spent(),
        (1..=100_001).map(|number| number % 7).sum::<i64>()
    );
    near(seconds(&long, Method::Fisc, 3_000), 1_000.0, 0.05);
}

#[test]
fn corrections_are_no_calls() {
    let mut corrected = course(9, |_| 100);
    corrected.add(at(10), -150);
    assert_eq!((corrected.calls(), corrected.spent()), (9, 750));
    corrected.add(at(10), -10_000);
    assert_eq!(corrected.spent(), 0);
}

#[test]
fn names_lead_back_to_their_methods() {
    for method in Method::ALL {
        assert_eq!(Method::by_name(method.name()), Some(method));
    }
    assert_eq!(Method::by_name("oracle"), None);
}

#[test]
fn shapes_are_told_apart() {
    let mut invented = Invented(3);
    let noise: Vec<i64> = (0..=40).map(|_| invented.below(100)).collect();
    let noisy = |number: i64| noise[number as usize];
    let shape = |size: &dyn Fn(i64) -> i64| course(40, size).shape().expect("a shape");
    assert_eq!(shape(&|n| 1_000 + noisy(n)).profile, Profile::Linear);
    let growing = shape(&|n| 1_000 + 100 * n + noisy(n));
    assert_eq!(growing.profile, Profile::Exponential);
    assert!(growing.growth > 3.0, "{growing:?}");
    let step = shape(&|n| if n <= 17 { 1_000 } else { 4_000 } + noisy(n));
    assert_eq!((step.profile, step.step_after), (Profile::Step, 17));
    assert!((3.5..4.2).contains(&step.step), "{step:?}");
    let bursty = shape(&|n| if n % 10 < 2 { 5_000 } else { 300 } + noisy(n));
    assert_eq!(bursty.profile, Profile::Bursty);
    assert!(course(7, |_| 100).shape().is_none() && course(9, |_| 0).shape().is_none());
}
