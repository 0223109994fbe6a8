//! The report: the same for the same seed, in the shape that scripts read.

use fisc_core::TimeUs;
use fisc_sim::{Policy, Report, Settings, run, synthetic};

fn small(seed: u64) -> Settings {
    Settings {
        seed,
        sizes: vec![3, 6],
        scarcities: vec![0.7],
        teams: 8,
        ..Settings::default()
    }
}

/// Runs under a stopwatch that shows something else every time.
fn report(settings: &Settings, ticks: i64) -> Report {
    let mut shown = 0;
    let mut stopwatch = || {
        shown += ticks;
        TimeUs(shown)
    };
    run(settings, &synthetic(7, 40), &mut stopwatch).expect("valid settings")
}

#[test]
fn the_same_seed_gives_the_same_bytes_whatever_the_machine() {
    let json = |seed, ticks| report(&small(seed), ticks).to_json().to_string();
    assert_eq!(json(1, 5), json(1, 9_000));
    assert_ne!(json(1, 5), json(2, 5));
}

#[test]
fn json_has_the_shape_that_scripts_read() {
    let json = report(&small(1), 1).to_json();
    assert_eq!(json.as_object().expect("an object").len(), 1);
    let policies = json["policies"].as_object().expect("an object");
    assert_eq!(policies.len(), Policy::ALL.len());
    for name in [
        "dynamic",
        "fair",
        "equal",
        "priority",
        "proportional",
        "pool",
        "auction",
    ] {
        let measures = policies[name].as_object().expect("an object");
        let keys: Vec<&str> = measures.keys().map(String::as_str).collect();
        let mut wanted = [
            "utilization",
            "completed_vs_clairvoyant",
            "jain",
            "starved",
            "stranded",
            "overspend",
        ];
        wanted.sort_unstable();
        assert_eq!(keys, wanted, "{name}");
        assert!(measures.values().all(serde_json::Value::is_number));
    }
}

#[test]
fn the_table_has_a_line_a_policy() {
    let settings = Settings {
        policies: vec![Policy::Fair, Policy::Auction],
        ..small(1)
    };
    let text = report(&settings, 1).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(lines[0], "8 teams, 36 agents");
    assert!(lines[2].starts_with("fair ") && lines[3].starts_with("auction "));
    // 4.5 agents on average: 0.45 + 1 for tracking, 2 for dividing, 5 for the auction.
    assert!(
        lines[2].contains(" 3.45 ") && lines[3].contains(" 8.45 "),
        "{text}"
    );
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    let refused = |settings: Settings| {
        let mut stopwatch = || TimeUs(0);
        run(&settings, &synthetic(7, 40), &mut stopwatch)
            .expect_err("nothing to simulate")
            .to_string()
    };
    let no_team = Settings {
        sizes: vec![0],
        ..small(1)
    };
    assert_eq!(refused(no_team), "a team needs between 1 and 1000 agents");
    let nothing_scarce = Settings {
        scarcities: vec![f64::NAN],
        ..small(1)
    };
    assert!(refused(nothing_scarce).starts_with("a scarcity is a part of the need"));
}
