//! Invented agents of five kinds, for when there is no trace.

use fisc_core::{Money, TimeUs, Tokens};

use crate::draw::Draw;
use crate::script::{Call, Script};

/// How an agent's calls cost over its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// All calls alike.
    Linear,
    /// Mostly small ones; now and then several large ones in a row.
    Bursty,
    /// Each a little dearer than the one before, as a context grows.
    Exponential,
    /// Small ones until the middle, then four times as large.
    Step,
    /// A few calls are most of it.
    HeavyTailed,
}

/// One token of output costs so many nano-dollars here.
const NANOS_PER_TOKEN: i64 = 10_000;

/// The median part of a call's tokens that is output, and how far its logarithm deviates.
const OUTPUT_PART: f64 = 0.1;
const OUTPUT_SIGMA: f64 = 0.9;

// === impl Profile ===

impl Profile {
    /// Every profile.
    pub const ALL: [Profile; 5] = [
        Profile::Linear,
        Profile::Bursty,
        Profile::Exponential,
        Profile::Step,
        Profile::HeavyTailed,
    ];

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Linear => "linear",
            Profile::Bursty => "bursty",
            Profile::Exponential => "exponential",
            Profile::Step => "step",
            Profile::HeavyTailed => "heavy-tailed",
        }
    }

    /// How many ordinary calls a call costs.
    fn factor(self, number: usize, of: usize, draw: &mut Draw) -> f64 {
        match self {
            Profile::Linear => draw.between(0.9, 1.1),
            Profile::Bursty if number % 10 < 2 => draw.between(3.0, 5.0),
            Profile::Bursty => draw.between(0.3, 0.5),
            Profile::Exponential => 0.4 * 1.05_f64.powi(number as i32) * draw.between(0.9, 1.1),
            Profile::Step if number * 2 < of => draw.between(0.4, 0.5),
            Profile::Step => draw.between(1.6, 2.0),
            // Pareto with a tail exponent of 1.8, cut at 12 times its least.
            Profile::HeavyTailed => 0.45 * (1.0 - draw.unit()).powf(-1.0 / 1.8).min(12.0),
        }
    }
}

/// Invents `count` agents, as many of each profile.
pub fn synthetic(seed: u64, count: usize) -> Vec<Script> {
    (0..count)
        .map(|number| {
            let profile = Profile::ALL[number % Profile::ALL.len()];
            let mut draw = Draw::new(seed, &[0x5C71, number as u64]);
            let mut calls = calls(profile, &mut draw);
            // Apart, so that what a call costs does not depend on how it is split.
            split(&mut calls, &mut Draw::new(seed, &[0x0D7F, number as u64]));
            Script {
                name: format!("{}-{number}", profile.name()),
                calls,
            }
        })
        .collect()
}

fn calls(profile: Profile, draw: &mut Draw) -> Vec<Call> {
    let count = (30.0 * draw.lognormal(0.4)).round().clamp(8.0, 120.0) as usize;
    let dollars = 0.01 * draw.lognormal(0.3);
    (0..count)
        .map(|number| {
            let nanos = dollars * 1e9 * profile.factor(number, count, draw);
            let cost = Money::from_nanos((nanos.round() as i64).max(1));
            Call {
                pause: seconds(4.0 * draw.lognormal(0.9)),
                duration: seconds(3.0 * draw.lognormal(0.5)),
                tokens: Tokens(cost.nanos() / NANOS_PER_TOKEN),
                input: Tokens(0),
                cached: Tokens(0),
                output: Tokens(0),
                cost,
            }
        })
        .collect()
}

/// Splits tokens into input, of which most is cached after the first call, and output.
fn split(calls: &mut [Call], draw: &mut Draw) {
    let mut seen = 0;
    for call in calls {
        let part = (OUTPUT_PART * draw.lognormal(OUTPUT_SIGMA)).min(0.9);
        let output = ((call.tokens.0 as f64 * part).round() as i64).min(call.tokens.0);
        let input = call.tokens.0 - output;
        (call.input, call.output) = (Tokens(input), Tokens(output));
        call.cached = Tokens(input.min(seen) * 4 / 5);
        seen = input;
    }
}

fn seconds(span: f64) -> TimeUs {
    TimeUs((span * 1e6) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_what_their_names_say() {
        let costs = |profile: Profile| -> Vec<f64> {
            let mut draw = Draw::new(3, &[]);
            let factor = |number| profile.factor(number, 40, &mut draw);
            (0..40).map(factor).collect()
        };
        let half =
            |costs: &[f64]| costs[20..].iter().sum::<f64>() / costs[..20].iter().sum::<f64>();
        assert!((half(&costs(Profile::Linear)) - 1.0).abs() < 0.1);
        assert!(half(&costs(Profile::Step)) > 3.0);
        assert!(half(&costs(Profile::Exponential)) > 2.0);
        let bursty = costs(Profile::Bursty);
        assert!(bursty[0] > 5.0 * bursty[5]);
        let mut heavy = costs(Profile::HeavyTailed);
        heavy.sort_by(f64::total_cmp);
        assert!(heavy[39] > 3.0 * heavy[20]);
    }

    #[test]
    fn agents_repeat_by_seed() {
        assert_eq!(synthetic(5, 10), synthetic(5, 10));
        assert_ne!(synthetic(5, 10), synthetic(6, 10));
    }
}
