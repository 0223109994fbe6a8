//! What each way of sharing promises, held over many teams.

use fisc_core::TimeUs;
use fisc_sim::{Policy, PolicyReport, Settings, run, synthetic};

fn simulate(settings: &Settings) -> impl Fn(Policy) -> PolicyReport + use<> {
    let mut stopwatch = || TimeUs(0);
    let report = run(settings, &synthetic(11, 250), &mut stopwatch).expect("valid settings");
    move |policy| {
        let mut lines = report.policies.iter();
        *lines
            .find(|line| line.policy == policy)
            .expect("every policy was run")
    }
}

fn settings(late_starters: bool, runaway: bool, policies: &[Policy]) -> Settings {
    Settings {
        seed: 11,
        teams: 120,
        policies: policies.to_vec(),
        late_starters,
        runaway,
        ..Settings::default()
    }
}

#[test]
fn nothing_is_overspent_and_little_is_stranded() {
    for (late, runaway) in [(false, false), (true, false), (false, true), (true, true)] {
        let of = simulate(&Settings {
            teams: 48,
            ..settings(late, runaway, &Policy::ALL)
        });
        for policy in Policy::ALL {
            let line = of(policy);
            assert!(line.overspend.abs() < f64::EPSILON, "{line}");
            let fixed = matches!(policy, Policy::Static | Policy::Loans);
            assert!(fixed || line.stranded <= 0.02, "{line}");
            assert!(fixed || line.utilization >= 0.98, "{line}");
        }
    }
}

#[test]
fn fair_sharing_is_fair_and_starves_nobody_whoever_comes_late_or_runs_away() {
    for (late, runaway) in [(false, false), (true, false), (false, true), (true, true)] {
        let fair = simulate(&settings(late, runaway, &[Policy::Fair]))(Policy::Fair);
        assert!(fair.jain >= 0.99, "{fair}");
        assert!(fair.starved <= 0.005, "{fair}");
    }
}

#[test]
fn dynamic_sharing_finishes_more_than_fair_and_nearly_as_fairly() {
    let of = simulate(&settings(false, false, &[Policy::Dynamic, Policy::Fair]));
    let (dynamic, fair) = (of(Policy::Dynamic), of(Policy::Fair));
    assert!(
        dynamic.completed_vs_clairvoyant >= fair.completed_vs_clairvoyant + 0.08,
        "{dynamic}\n{fair}"
    );
    assert!(dynamic.completed_vs_clairvoyant >= 0.72, "{dynamic}");
    assert!(dynamic.jain >= 0.97, "{dynamic}");
    assert!(dynamic.starved <= 0.005, "{dynamic}");
}

#[test]
fn a_fixed_split_strands_what_loans_put_to_use() {
    let of = simulate(&settings(false, false, &[Policy::Static, Policy::Loans]));
    let (fixed, loans) = (of(Policy::Static), of(Policy::Loans));
    assert!(fixed.stranded > 0.05, "{fixed}");
    assert!(loans.stranded < fixed.stranded / 2.0, "{loans}");
    assert!(loans.on_loan > 0.01 && fixed.on_loan == 0.0, "{loans}");
}

#[test]
fn the_free_pool_starves_late_starters_and_fair_sharing_does_not() {
    let of = simulate(&settings(true, false, &[Policy::Pool, Policy::Fair]));
    assert!(of(Policy::Pool).starved > 0.02, "{}", of(Policy::Pool));
    assert!(of(Policy::Fair).starved <= 0.005, "{}", of(Policy::Fair));
}

#[test]
fn weights_count_and_only_under_priority() {
    let compared = [Policy::Priority, Policy::Fair, Policy::Equal];
    let of = simulate(&settings(false, false, &compared));
    assert!(of(Policy::Priority).jain < of(Policy::Fair).jain - 0.02);
    let (equal, fair) = (of(Policy::Equal), of(Policy::Fair));
    assert!(
        (equal.jain - fair.jain).abs() < 1e-9,
        "needs are unknown to both"
    );
}

#[test]
fn with_enough_for_all_everybody_finishes() {
    let policies = [Policy::Pool, Policy::Fair, Policy::Dynamic, Policy::Auction];
    let roomy = Settings {
        scarcities: vec![1.0],
        ..settings(false, false, &policies)
    };
    let of = simulate(&roomy);
    for policy in policies {
        let line = of(policy);
        assert!(line.completed_vs_clairvoyant > 0.999, "{line}");
        assert!(line.starved.abs() < f64::EPSILON, "{line}");
    }
}
