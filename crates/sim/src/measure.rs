//! How well a team's budget was shared.

use fisc_core::sharing::{Member, Sharing, Standing, divide};
use fisc_core::{Amount, Limits, Resource, Timestamp};

use crate::engine::Outcome;
use crate::team::Team;

/// How one team fared under one policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measures {
    /// Agents.
    pub agents: usize,
    /// Calls made.
    pub calls: u64,
    /// Spent, as a part of what could be: the smaller of budget and need.
    pub utilization: f64,
    /// Agents that finished, as a part of those that would have, had it been known from the
    /// start what everybody needs, and the smallest been served first. `None` where even then
    /// nobody would.
    pub completed: Option<f64>,
    /// Jain's index of what each got over what it was entitled to: the smaller of its need and
    /// its max-min share.
    pub jain: f64,
    /// The part of the agents that got less than half of the smaller of their need and an equal
    /// share.
    pub starved: f64,
    /// The part of the budget that is left while somebody could not finish.
    pub stranded: f64,
    /// The part of the budget that was spent beyond it.
    pub overspend: f64,
    /// The part of the budget that is lent and not repaid.
    pub on_loan: f64,
}

/// Measures an outcome.
pub(crate) fn measure(team: &Team, outcome: &Outcome) -> Measures {
    let needs: Vec<i64> = team.agents.iter().map(|agent| agent.need.nanos()).collect();
    let granted: Vec<i64> = outcome.granted.iter().map(|money| money.nanos()).collect();
    let budget = team.budget.nanos();
    let need = needs
        .iter()
        .fold(0i64, |sum, need| sum.saturating_add(*need));
    let spent = outcome.spent.nanos();
    let unfinished = outcome.finished.contains(&false);
    let best = clairvoyant(budget, &needs);
    let finished = outcome.finished.iter().filter(|done| **done).count();
    let entitled = entitlements(budget, &needs);
    let parts: Vec<f64> = granted
        .iter()
        .zip(&entitled)
        .map(|(granted, entitled)| ratio(*granted, *entitled))
        .collect();
    Measures {
        agents: needs.len(),
        calls: outcome.calls,
        utilization: ratio(spent, budget.min(need)),
        completed: (best > 0).then(|| finished as f64 / best as f64),
        jain: jain(&parts),
        starved: starved(budget, &needs, &granted),
        stranded: if unfinished {
            ratio((budget - spent).max(0), budget)
        } else {
            0.0
        },
        overspend: ratio((spent - budget).max(0), budget),
        on_loan: ratio(outcome.on_loan.nanos(), budget),
    }
}

/// Returns Jain's index of fairness, `(Σx)² / (n Σx²)`: 1 when all are equal, `k/n` when `k` of
/// `n` have everything. Of nothing it is 1.
pub fn jain(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    if squares > 0.0 {
        sum * sum / (values.len() as f64 * squares)
    } else {
        1.0
    }
}

/// How many agents finish when the smallest needs are served first.
fn clairvoyant(budget: i64, needs: &[i64]) -> usize {
    let mut sorted = needs.to_vec();
    sorted.sort_unstable();
    let mut left = budget;
    let fits = |need: &&i64| {
        left = left.saturating_sub(**need);
        left >= 0
    };
    sorted.iter().take_while(fits).count()
}

/// The max-min share of everybody, never beyond its need.
fn entitlements(budget: i64, needs: &[i64]) -> Vec<i64> {
    let member = |need: &i64| Member {
        standing: Standing::Active,
        weight: 1,
        need: Limits::NONE.with(Resource::Cost, Some(*need)),
        committed: Amount::ZERO,
        waiting: Amount::ZERO,
        guarantee: Amount::ZERO,
        limit: Limits::NONE.or(i64::MAX),
        share: None,
        since: Timestamp(0),
    };
    let total = Limits::NONE.with(Resource::Cost, Some(budget)).or(i64::MAX);
    let members: Vec<Member> = needs.iter().map(member).collect();
    let shares = divide(Sharing::Fair, total, &members);
    shares
        .iter()
        .zip(needs)
        .map(|(share, need)| share.get(Resource::Cost).min(*need))
        .collect()
}

fn starved(budget: i64, needs: &[i64], granted: &[i64]) -> f64 {
    let equal = budget / needs.len().max(1) as i64;
    let starves = |(need, granted): &(&i64, &i64)| {
        i128::from(**granted) * 2 < i128::from(**need.min(&&equal))
    };
    let count = needs.iter().zip(granted).filter(starves).count();
    ratio(count as i64, needs.len() as i64)
}

fn ratio(part: i64, whole: i64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// Returns the mean of the values, 0 where there are none.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    if count == 0 {
        0.0
    } else {
        sum / f64::from(count)
    }
}

#[cfg(test)]
mod tests {
    use fisc_core::Money;

    use super::*;

    fn near(is: f64, should: f64) -> bool {
        (is - should).abs() < 1e-9
    }

    #[test]
    fn jain_is_one_for_equals_and_a_part_for_the_served() {
        assert!(near(jain(&[0.3, 0.3, 0.3]), 1.0));
        assert!(near(jain(&[1.0, 1.0, 0.0, 0.0]), 0.5));
        assert!(near(jain(&[]), 1.0) && near(jain(&[0.0]), 1.0));
    }

    #[test]
    fn the_clairvoyant_serves_the_smallest_first() {
        assert_eq!(clairvoyant(100, &[60, 10, 50, 30]), 3);
        assert_eq!(clairvoyant(5, &[60, 10]), 0);
    }

    #[test]
    fn an_entitlement_is_the_need_or_the_max_min_share() {
        assert_eq!(entitlements(120, &[1000, 50, 10]), [60, 50, 10]);
        assert_eq!(entitlements(120, &[20, 50, 10]), [20, 50, 10]);
    }

    #[test]
    fn starved_is_less_than_half_of_need_or_equal_share() {
        // Equal shares are 40: half of that is 20, half of the needs 500 and 10.
        let part = starved(120, &[1000, 1000, 20], &[19, 20, 9]);
        assert!(near(part, 2.0 / 3.0), "{part}");
    }

    #[test]
    fn what_is_left_counts_as_stranded_only_while_somebody_waits() {
        let agent = crate::team::Agent {
            calls: Vec::new(),
            need: Money::from_nanos(100),
            estimate: Money::from_nanos(100),
            weight: 1,
            start: Timestamp(0),
        };
        let team = Team {
            budget: Money::from_nanos(80),
            agents: vec![agent],
        };
        let outcome = Outcome {
            granted: vec![Money::from_nanos(60)],
            finished: vec![false],
            spent: Money::from_nanos(60),
            on_loan: Money::ZERO,
            calls: 6,
        };
        let measures = measure(&team, &outcome);
        assert!(near(measures.stranded, 0.25) && near(measures.utilization, 0.75));
        let roomy = Team {
            budget: Money::from_nanos(400),
            ..team
        };
        let done = Outcome {
            finished: vec![true],
            granted: vec![Money::from_nanos(100)],
            spent: Money::from_nanos(100),
            ..outcome
        };
        let measures = measure(&roomy, &done);
        assert!(near(measures.stranded, 0.0) && near(measures.utilization, 1.0));
    }
}
