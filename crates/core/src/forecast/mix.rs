//! The mix of methods: each counts as it would have done at earlier points of the same course.

use super::method::{Question, members};
use super::state::State;

/// What the methods count before they are tried: linear, recent, growing. The last one is linear
/// too where calls do not grow, at a pace that long pauses do not distort.
const PRIOR: [f64; 3] = [1.0, 1.0, 6.0];

/// At how many earlier points they are tried, at most; and the first of them.
const TRIALS_MAX: usize = 10;
const TRIAL_FIRST: usize = 3;

/// An error beyond this factor, as a logarithm, is no worse than at it.
const LOSS_MOST: f64 = 1.5;

/// How much less a trial counts than the next later one; how sharply losses are told apart; how
/// many trials it takes to believe them.
const DECAY: f64 = 0.95;
const SHARPNESS: f64 = 1.5;
const TRIALS_ENOUGH: f64 = 4.0;

/// Units in a time that is left are taken lower by so many squares of the expected loss. Long
/// pauses, which a pace leaves out, take their part of that time, and errors upwards are the larger
/// ones.
const LOWER: f64 = 0.3;
const LOWER_LOSS_MOST: f64 = 0.5;

/// The loss that is expected without a trial.
const LOSS_UNTRIED: f64 = 0.3;

/// Answers at the last state. There is one.
pub(super) fn mix(states: &[State], question: Question) -> f64 {
    let Some(last) = states.last() else {
        return f64::NAN;
    };
    let (weights, loss) = weights(states);
    let answers = members(last, question);
    let sum: f64 = weights.iter().sum();
    let log: f64 = weights
        .iter()
        .zip(answers)
        .map(|(weight, answer)| weight * answer.max(1e-9).ln())
        .sum();
    let lower = match question {
        Question::Time(_) => 0.0,
        Question::Units(_) => LOWER * loss.min(LOWER_LOSS_MOST).powi(2),
    };
    (log / sum - lower).exp()
}

/// Lets each method predict, from earlier points, when later points would be reached. Returns what
/// each counts, and the mean loss of the whole.
fn weights(states: &[State]) -> ([f64; 3], f64) {
    let last = states.len() - 1;
    let candidates = last.saturating_sub(TRIAL_FIRST);
    let trials = candidates.min(TRIALS_MAX);
    let (mut losses, mut sum, mut count, mut weight) = ([0.0; 3], 0.0, 0.0_f64, 1.0);
    for trial in (0..trials).rev() {
        let nth = if candidates > TRIALS_MAX {
            (trial * (candidates - 1) + (TRIALS_MAX - 1) / 2) / (TRIALS_MAX - 1)
        } else {
            trial
        };
        let from = TRIAL_FIRST + nth;
        let to = last.min(from + (from + 1).div_euclid(2).max(2));
        let time = states[to].at.at - states[from].at.at;
        let need = states[to].at.spent - states[from].at.spent;
        if time <= 0.0 || need <= 0.0 || states[from].rate() <= 0.0 {
            continue;
        }
        for (loss, answer) in losses
            .iter_mut()
            .zip(members(&states[from], Question::Time(need)))
        {
            *loss += weight * (answer.max(1e-9) / time).ln().abs().min(LOSS_MOST);
        }
        sum += weight;
        count += 1.0;
        weight *= DECAY;
    }
    if count == 0.0 {
        return (PRIOR, LOSS_UNTRIED);
    }
    let sharpness = SHARPNESS * count.min(TRIALS_ENOUGH);
    let losses = losses.map(|loss| loss / sum);
    let weights: [f64; 3] = std::array::from_fn(|i| PRIOR[i] * (-sharpness * losses[i]).exp());
    let loss: f64 = weights
        .iter()
        .zip(losses)
        .map(|(weight, loss)| weight * loss)
        .sum();
    (weights, loss / weights.iter().sum::<f64>())
}
