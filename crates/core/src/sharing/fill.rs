//! Exact water-filling: one level for all, below which nobody stays who may have more.

use std::cmp::Ordering;

/// Between which bounds a member's share lies, and how fast it rises with the level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// What it has in any case, at least 0.
    pub(super) floor: i64,
    /// What it takes at most, at least the floor.
    pub(super) ceiling: i64,
    /// Its share at a level is the level times this, between the bounds; at least 1.
    pub(super) weight: i64,
}

/// Where a member starts or stops rising, in order of the level.
#[derive(Debug, Clone, Copy)]
struct Turn {
    units: i64,
    weight: i64,
    rises: bool,
}

/// The sum of all weights stays below this, so that products with units fit 127 bits.
const WEIGHTS_MAX: i128 = 1 << 60;

/// Divides `capacity`: `share = level × weight`, between floor and ceiling, at the one level at
/// which the shares add up to the capacity, or everybody is at its ceiling. Units that remain
/// by rounding go to the first members. Floors that exceed the capacity are what everybody gets.
pub(super) fn fill(capacity: i64, spans: &[Span]) -> Vec<i64> {
    let weights = scaled_weights(spans);
    let mut fixed: i128 = spans.iter().map(|span| i128::from(span.floor)).sum();
    let capacity = i128::from(capacity);
    if fixed >= capacity {
        return spans.iter().map(|span| span.floor).collect();
    }
    let mut rising: i128 = 0;
    for turn in turns(spans, &weights) {
        let (units, weight) = (i128::from(turn.units), i128::from(turn.weight));
        // The level of this turn is units / weight; what all have there is fixed + rising × it.
        if rising * units > (capacity - fixed) * weight {
            break;
        }
        if turn.rises {
            fixed -= units;
            rising += weight;
        } else {
            fixed += units;
            rising -= weight;
        }
    }
    at_level(spans, &weights, capacity, capacity - fixed, rising)
}

/// Takes everybody's share at the level `units / rising`, and hands out what rounding left.
fn at_level(
    spans: &[Span],
    weights: &[i64],
    capacity: i128,
    units: i128,
    rising: i128,
) -> Vec<i64> {
    if rising == 0 {
        return spans.iter().map(|span| span.ceiling).collect();
    }
    let reached = |weight: i64| units * i128::from(weight) / rising;
    let share = |(span, weight): (&Span, &i64)| {
        let bounds = (i128::from(span.floor), i128::from(span.ceiling));
        reached(*weight).clamp(bounds.0, bounds.1) as i64
    };
    let mut shares: Vec<i64> = spans.iter().zip(weights).map(share).collect();
    let mut left = capacity - shares.iter().map(|share| i128::from(*share)).sum::<i128>();
    for ((share, span), weight) in shares.iter_mut().zip(spans).zip(weights) {
        let rises = reached(*weight) >= i128::from(span.floor) && *share < span.ceiling;
        if left > 0 && rises {
            *share += 1;
            left -= 1;
        }
    }
    shares
}

fn turns(spans: &[Span], weights: &[i64]) -> Vec<Turn> {
    let mut turns = Vec::with_capacity(spans.len() * 2);
    for (span, weight) in spans.iter().zip(weights) {
        if span.ceiling > span.floor {
            let turn = |units, rises| Turn {
                units,
                weight: *weight,
                rises,
            };
            turns.push(turn(span.floor, true));
            turns.push(turn(span.ceiling, false));
        }
    }
    turns.sort_by(by_level);
    turns
}

fn by_level(left: &Turn, right: &Turn) -> Ordering {
    let product = |a: &Turn, b: &Turn| i128::from(a.units) * i128::from(b.weight);
    product(left, right).cmp(&product(right, left))
}

fn scaled_weights(spans: &[Span]) -> Vec<i64> {
    let sum: i128 = spans.iter().map(|span| i128::from(span.weight)).sum();
    let mut shift = 0;
    while sum >> shift >= WEIGHTS_MAX {
        shift += 1;
    }
    spans
        .iter()
        .map(|span| (span.weight >> shift).max(1))
        .collect()
}
