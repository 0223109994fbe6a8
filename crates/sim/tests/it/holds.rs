//! Holds as they are scored: nothing is overspent, and lower caps buy what waits would cost.

use fisc_sim::{HoldPolicy, HoldScore, HoldsError, HoldsScore, HoldsSettings, Requests};
use fisc_sim::{score_holds, synthetic};

fn requests() -> Requests {
    Requests::of_scripts(&synthetic(1, 60))
}

fn scored(budget_calls: u64) -> HoldsScore {
    let settings = HoldsSettings {
        workers: 8,
        budget_calls,
        offsets: 12,
    };
    score_holds(&requests(), settings).expect("valid settings")
}

#[track_caller]
fn of(scores: &[HoldScore], policy: HoldPolicy) -> HoldScore {
    let found = scores.iter().find(|score| score.policy == policy);
    *found.expect("every policy is scored")
}

#[test]
fn a_budget_is_used_up_and_never_overspent_unless_nothing_is_held() {
    for (budget_calls, least) in [(20, 0.9), (100, 0.98), (400, 0.995)] {
        let score = scored(budget_calls);
        let two_tier = of(&score.known, HoldPolicy::TwoTier);
        assert!(two_tier.utilization >= least, "{two_tier:?}");
        for scores in [&score.known, &score.worst] {
            assert!(of(scores, HoldPolicy::TwoTier).overspend <= 0.0);
            assert!(of(scores, HoldPolicy::MaxTokens).overspend <= 0.0);
            assert!(of(scores, HoldPolicy::NoHold).overspend > 0.0);
        }
    }
}

#[test]
fn two_tiers_keep_more_calls_running_and_cut_few() {
    let score = scored(400);
    for (scores, cut_most) in [(&score.known, 0.005), (&score.worst, 0.01)] {
        let two_tier = of(scores, HoldPolicy::TwoTier);
        let whole = of(scores, HoldPolicy::MaxTokens);
        assert!(two_tier.concurrency > whole.concurrency + 0.03, "{score}");
        assert!(two_tier.utilization > whole.utilization);
        assert!(two_tier.truncated > 0.0 && two_tier.truncated < cut_most);
        assert!(whole.truncated <= 0.0);
        let none = of(scores, HoldPolicy::NoHold);
        assert_eq!((none.concurrency, none.truncated), (1.0, 0.0));
    }
}

#[test]
fn a_known_prefix_narrows_the_bound_of_input() {
    let input = scored(400).input;
    let ratio = |loose: Option<f64>| loose.expect("there are such calls");
    assert!(ratio(input.bytes.ratio()) > 3.9, "four bytes a token");
    assert!(ratio(input.prefix.ratio()) < ratio(input.bytes.ratio()) - 0.5);
    assert!(input.with_prefix() > 0.1);
}

#[test]
fn the_same_calls_give_the_same_score_and_both_forms_show_it() {
    let score = scored(50);
    assert_eq!(score, scored(50));
    let json = score.to_json();
    let shown = |policies: &serde_json::Value, policy: &str| {
        let part = |name: &str| policies[policy][name].as_f64();
        ["utilization", "overspend", "concurrency", "truncated"].map(part)
    };
    for policy in HoldPolicy::ALL {
        assert!(
            shown(&json["policies"], policy.name())
                .iter()
                .all(Option::is_some)
        );
        let worst = of(&score.worst, policy);
        let worst = [
            worst.utilization,
            worst.overspend,
            worst.concurrency,
            worst.truncated,
        ];
        assert_eq!(
            shown(&json["worst"]["policies"], policy.name()),
            worst.map(Some)
        );
    }
    let text = score.to_string();
    for part in ["cache: known", "cache: worst", "the gap of two-tier"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn what_cannot_be_scored_is_said() {
    let score = |requests: &Requests, workers, budget_calls| {
        let settings = HoldsSettings {
            workers,
            budget_calls,
            ..HoldsSettings::default()
        };
        score_holds(requests, settings).expect_err("nothing to score")
    };
    let none = Requests::new(Vec::new(), 4_096);
    assert_eq!(score(&none, 8, 100), HoldsError::NoCalls);
    assert_eq!(score(&requests(), 0, 100), HoldsError::NoWorkers);
    assert_eq!(score(&requests(), 8, 0), HoldsError::Budget);
    assert_eq!(score(&requests(), 8, u64::MAX), HoldsError::Budget);
}
