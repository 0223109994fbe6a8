//! What settled calls teach about the next ones: prefixes, tokens per byte, output, duration.
//!
//! Everything is in memory and of bounded size; forgetting costs precision, never safety. The
//! known usage of a prefix is a bound; all else are expectations, and only they are floats. Only
//! usage that a provider reported may be taught. The owner locks; nothing here reads a clock.

mod clock_map;
mod window;

use std::hash::{BuildHasher, RandomState};

use fisc_core::TimeUs;

use self::clock_map::ClockMap;
use self::window::Window;
use crate::facts::{InputShape, Prefix};

/// Prefixes that are remembered.
const PREFIXES_MAX: usize = 65_536;
/// The latest messages of a request whose prefixes are looked up or remembered.
const PREFIXES_LOOKED: usize = 256;
/// Models, each at one upstream, whose tokens per byte are remembered.
const RATIOS_MAX: usize = 1_024;
/// Classes of calls (agent, model) whose output and duration are remembered.
const CLASSES_MAX: usize = 4_096;

/// The latest calls of a class that its quantiles look at.
const CLASS_WINDOW: usize = 500;
/// Samples below which a class has no quantiles.
pub const SAMPLES_MIN: usize = 50;

/// Samples below which nothing is said of how much output such calls need.
const SAMPLES_FEW: usize = 20;
/// Samples from which on the 99 % quantile is observed and not guessed.
const SAMPLES_MANY: usize = 300;
/// Samples from which on the largest one is about the 99 % quantile.
const SAMPLES_TAIL: f64 = 100.0;
/// How far a lognormal's 99 % quantile lies beyond its 95 %, in parts of what that lies beyond
/// the median, all as logarithms.
const LOGNORMAL_TAIL: f64 = 0.414;

/// Tokens per byte before anything was learned: a token of English has four characters.
const RATIO_PRIOR: f64 = 0.25;
/// How much the latest call weighs in the learned ratio.
const RATIO_WEIGHT: f64 = 0.1;
/// Fewer bytes than this say nothing about a ratio: the template outweighs them.
const RATIO_BYTES_MIN: u64 = 64;
/// An estimate of input counts as accurate within one part of this many.
const ACCURACY_PART: u64 = 10;

/// What is learned from settled calls.
#[derive(Debug)]
pub struct Learner {
    hasher: RandomState,
    prefixes: ClockMap<(u64, u128), Tokens>,
    ratios: ClockMap<u64, Ratio>,
    classes: ClockMap<u64, Class>,
    accuracy: Accuracy,
}

/// What tells calls apart for learning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallClass<'a> {
    /// The upstream that serves the call.
    pub upstream: &'a str,
    /// The model as requested.
    pub model: &'a str,
    /// The agent, or class of agents.
    pub agent: &'a str,
}

/// A prefix of a request whose usage is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The most tokens that the prefix has.
    pub tokens: u64,
    /// Bytes of the messages after it.
    pub bytes_after: u64,
    /// Messages after it.
    pub messages_after: u64,
    /// The tokens are those of a request that was the prefix and no more, so about as many as it
    /// has; otherwise they are those of a longer request, and say little but the bound.
    pub exact: bool,
}

/// What a settled call teaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lesson {
    /// Input tokens of all classes, as the provider reported them.
    pub input: u64,
    /// Those of them that were read from a cache.
    pub cached: u64,
    /// Output tokens of one choice, as the provider reported them.
    pub output: u64,
    /// How long the call took.
    pub time: TimeUs,
    /// The output ended at a cap that was lowered for the budget's sake, so that more was wanted.
    pub output_cut: bool,
    /// The input that was expected before the call, where it was asked.
    pub expected_input: Option<u64>,
}

/// What a call is expected to use. An estimate, not a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Input tokens.
    pub input: u64,
    /// Output tokens of one choice; `None` below [`SAMPLES_MIN`] samples.
    pub output: Option<u64>,
    /// Duration; `None` below [`SAMPLES_MIN`] samples.
    pub time: Option<TimeUs>,
}

/// Quantiles of the latest calls of a class, each erring upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantiles {
    /// Half of the calls stay below.
    pub q50: u64,
    /// 95 % of the calls stay below.
    pub q95: u64,
    /// 99 % of the calls stay below.
    pub q99: u64,
}

/// The output that calls of a class need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputNeed {
    /// 95 % of the calls need no more.
    pub q95: u64,
    /// 99 % of the calls need no more; guessed upwards while there are few samples.
    pub q99: u64,
}

/// How well input was estimated before calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accuracy {
    /// Calls whose input was estimated.
    pub calls: u64,
    /// Those whose estimate was within 10 % of what the provider reported.
    pub within: u64,
}

/// The most tokens that a prefix has.
#[derive(Debug, Clone, Copy)]
struct Tokens {
    most: u64,
    exact: bool,
}

#[derive(Debug)]
struct Class {
    output: Window,
    time: Window,
    /// Cached tokens per token of input.
    cached: Mean,
}

#[derive(Debug, Default)]
struct Ratio {
    /// Of whole bodies.
    whole: Mean,
    /// Of what was new after a known prefix.
    added: Mean,
}

/// A mean ratio in which old calls fade.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    tokens: f64,
    bytes: f64,
}

// === impl Learner ===

impl Default for Learner {
    fn default() -> Learner {
        Learner::new()
    }
}

impl Learner {
    /// Returns a learner that knows nothing.
    pub fn new() -> Learner {
        Learner {
            hasher: RandomState::new(),
            prefixes: ClockMap::new(PREFIXES_MAX),
            ratios: ClockMap::new(RATIOS_MAX),
            classes: ClockMap::new(CLASSES_MAX),
            accuracy: Accuracy::default(),
        }
    }

    /// Returns the known prefix that bounds a request's input most tightly.
    pub fn known(&mut self, call: &CallClass<'_>, shape: &InputShape) -> Option<Known> {
        let upstream = self.hasher.hash_one(call.upstream);
        let mut best: Option<Known> = None;
        for (after, prefix) in shape
            .prefixes
            .iter()
            .rev()
            .take(PREFIXES_LOOKED)
            .enumerate()
        {
            let Some(Tokens { most, exact }) = self.prefixes.get((upstream, prefix.hash)).copied()
            else {
                continue;
            };
            let Prefix { bytes_after, .. } = *prefix;
            let known = Known {
                tokens: most,
                bytes_after,
                messages_after: after as u64,
                exact,
            };
            let bound = |known: &Known| known.tokens.saturating_add(known.bytes_after);
            if best.as_ref().is_none_or(|best| bound(&known) < bound(best)) {
                best = Some(known);
            }
        }
        best
    }

    /// Returns what a call is expected to use, given the known prefix of its request.
    pub fn expected(
        &self,
        call: &CallClass<'_>,
        shape: &InputShape,
        known: Option<Known>,
    ) -> Expected {
        let ratio = self.ratios.peek(self.ratio_key(call));
        let whole = ratio
            .and_then(|ratio| ratio.whole.get())
            .unwrap_or(RATIO_PRIOR);
        let added = ratio.and_then(|ratio| ratio.added.get()).unwrap_or(whole);
        let input = match known.filter(|known| known.exact) {
            Some(known) => known.tokens as f64 + known.bytes_after as f64 * added,
            None => shape.body_bytes as f64 * whole,
        };
        Expected {
            input: input.round() as u64,
            output: self.output(call).map(|output| output.q50),
            time: self.time(call).map(|time| TimeUs(time.q50 as i64)),
        }
    }

    /// Returns the quantiles of a class's output tokens; `None` below [`SAMPLES_MIN`] samples.
    pub fn output(&self, call: &CallClass<'_>) -> Option<Quantiles> {
        quantiles(&self.classes.peek(self.class_key(call))?.output)
    }

    /// Returns how much output calls of a class need, from few samples on: with less than three
    /// samples beyond it the 99 % quantile is guessed from the largest and from the spread.
    pub fn output_need(&self, call: &CallClass<'_>) -> Option<OutputNeed> {
        let samples = &self.classes.peek(self.class_key(call))?.output;
        if samples.len() < SAMPLES_FEW {
            return None;
        }
        let [q50, q95, q99] = [500, 950, 990].map(|per_mille| samples.quantile(per_mille));
        let (q50, q95, mut q99) = (q50?, q95?, q99?);
        if samples.len() < SAMPLES_MANY {
            q99 = q95.max(tail(samples.len(), [q50, q95, q99]));
        }
        Some(OutputNeed { q95, q99 })
    }

    /// Returns the quantiles of a class's durations in microseconds; `None` below
    /// [`SAMPLES_MIN`] samples.
    pub fn time(&self, call: &CallClass<'_>) -> Option<Quantiles> {
        quantiles(&self.classes.peek(self.class_key(call))?.time)
    }

    /// Returns which part of a class's input is read from a cache, from 0 to 1; 0 of a class that
    /// is not known, whose prompts nobody has cached yet.
    pub fn cached_part(&self, call: &CallClass<'_>) -> f64 {
        let class = self.classes.peek(self.class_key(call));
        let part = class.and_then(|class| class.cached.get()).unwrap_or(0.0);
        part.clamp(0.0, 1.0)
    }

    /// Learns the input of a request that its provider counted without serving it.
    pub fn count(&mut self, call: &CallClass<'_>, shape: &InputShape, input: u64) {
        self.learn_prefixes(call, shape, input);
    }

    /// Learns from a settled call whose usage the provider reported.
    pub fn settle(&mut self, call: &CallClass<'_>, shape: &InputShape, lesson: &Lesson) {
        if let Some(expected) = lesson.expected_input {
            self.accuracy.add(expected, lesson.input);
        }
        self.learn_ratio(call, shape, lesson.input);
        self.learn_prefixes(call, shape, lesson.input);
        self.learn_class(call, lesson);
    }

    /// Learns what a call of an earlier process needed. Its request is not known any more, so that
    /// nothing is learned of its prompt.
    pub fn recall(&mut self, call: &CallClass<'_>, lesson: &Lesson) {
        self.learn_class(call, lesson);
    }

    /// Returns how well input was estimated so far.
    pub fn accuracy(&self) -> Accuracy {
        self.accuracy
    }

    fn learn_ratio(&mut self, call: &CallClass<'_>, shape: &InputShape, input: u64) {
        let unlike_text = shape.opaque || shape.images + shape.files + shape.audio > 0;
        let known = self.known(call, shape).filter(|known| known.exact);
        let (base, bytes) = match known {
            Some(known) => (known.tokens, known.bytes_after),
            None => (0, shape.body_bytes),
        };
        if unlike_text || bytes < RATIO_BYTES_MIN {
            return;
        }
        let tokens = input.saturating_sub(base);
        let key = self.ratio_key(call);
        let ratio = self.ratios.get_or_insert_with(key, Ratio::default);
        let mean = if known.is_some() {
            &mut ratio.added
        } else {
            &mut ratio.whole
        };
        mean.add(tokens, bytes);
    }

    /// A prefix never has more tokens than any request that starts with it. The usage of a
    /// request that was the prefix itself is kept against that of longer ones all the same: some
    /// providers drop old reasoning from longer ones.
    fn learn_prefixes(&mut self, call: &CallClass<'_>, shape: &InputShape, input: u64) {
        let upstream = self.hasher.hash_one(call.upstream);
        for prefix in shape.prefixes.iter().rev().take(PREFIXES_LOOKED) {
            let taught = Tokens {
                most: input,
                exact: prefix.bytes_after == 0,
            };
            let known = self
                .prefixes
                .get_or_insert_with((upstream, prefix.hash), || taught);
            *known = known.learn(taught);
        }
    }

    fn learn_class(&mut self, call: &CallClass<'_>, lesson: &Lesson) {
        let key = self.class_key(call);
        let class = self.classes.get_or_insert_with(key, Class::new);
        // A cut output says only that it would have been longer; learning it as it is would
        // lower the next cap, and that one the next.
        let at_least = if lesson.output_cut {
            class.output.quantile(990)
        } else {
            None
        };
        class.output.add(lesson.output.max(at_least.unwrap_or(0)));
        class.time.add(u64::try_from(lesson.time.0).unwrap_or(0));
        class.cached.add(lesson.cached, lesson.input);
    }

    fn ratio_key(&self, call: &CallClass<'_>) -> u64 {
        self.hasher.hash_one((call.upstream, call.model))
    }

    fn class_key(&self, call: &CallClass<'_>) -> u64 {
        self.hasher.hash_one((call.agent, call.model))
    }
}

// === impl Accuracy ===

impl Accuracy {
    fn add(&mut self, expected: u64, actual: u64) {
        self.calls += 1;
        let error = expected.abs_diff(actual);
        self.within += u64::from(error.saturating_mul(ACCURACY_PART) <= actual);
    }
}

// === impl Tokens ===

impl Tokens {
    fn learn(self, taught: Tokens) -> Tokens {
        match (self.exact, taught.exact) {
            (true, false) => self,
            (false, true) => taught,
            (true, true) => Tokens {
                most: self.most.max(taught.most),
                exact: true,
            },
            (false, false) => Tokens {
                most: self.most.min(taught.most),
                exact: false,
            },
        }
    }
}

// === impl Class ===

impl Class {
    fn new() -> Class {
        Class {
            output: Window::new(CLASS_WINDOW),
            time: Window::new(CLASS_WINDOW),
            cached: Mean::default(),
        }
    }
}

// === impl Mean ===

impl Mean {
    fn add(&mut self, tokens: u64, bytes: u64) {
        self.tokens = self.tokens * (1.0 - RATIO_WEIGHT) + tokens as f64;
        self.bytes = self.bytes * (1.0 - RATIO_WEIGHT) + bytes as f64;
    }

    fn get(&self) -> Option<f64> {
        (self.bytes > 0.0).then(|| self.tokens / self.bytes)
    }
}

/// Guesses a 99 % quantile: between that of a lognormal, which few samples tell well, and the
/// largest sample, raised as if large outputs got rarer with the square of their size.
fn tail(samples: usize, [q50, q95, largest]: [u64; 3]) -> u64 {
    let q95 = q95.max(1) as f64;
    let spread = q95 / q50.max(1) as f64;
    let lognormal = q95 * spread.powf(LOGNORMAL_TAIL);
    let fewer = (SAMPLES_TAIL / samples as f64).max(1.0).sqrt();
    (lognormal * largest as f64 * fewer).sqrt().round() as u64
}

fn quantiles(window: &Window) -> Option<Quantiles> {
    if window.len() < SAMPLES_MIN {
        return None;
    }
    Some(Quantiles {
        q50: window.quantile(500)?,
        q95: window.quantile(950)?,
        q99: window.quantile(990)?,
    })
}

#[cfg(test)]
mod tests;
