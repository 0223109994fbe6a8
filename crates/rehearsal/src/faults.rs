//! Faults by rate: which of a provider's bad days the rehearsal plays, and how often.
//!
//! At most one fault befalls a call. Which one is drawn from the seed, the body and how often
//! that body came before, so that a retry of the same body may fare better.

use std::fmt;
use std::str::FromStr;

use crate::draw::Draw;

/// Something that goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The answer is late by 1.5 s and its chunks by 20 ms each.
    Slow,
    /// The connection is cut in the middle of the answer.
    Cut,
    /// The answer reports no usage at all.
    NoUsage,
    /// The answer exceeds the call's cap on output tokens (only calls that have one).
    OverMax,
    /// Status 429 with `retry-after: 1`.
    TooManyRequests,
    /// Status 500.
    ServerError,
    /// Status 529.
    Overloaded,
    /// An error event in the middle of a stream; status 500 when the call does not stream.
    ErrorEvent,
    /// Status 200 and a page of HTML.
    Html,
    /// No answer at all until the client leaves.
    Hang,
}

/// How often each fault happens, each a part of all calls.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Faults {
    rates: Vec<(Fault, f64)>,
}

/// Why a specification of faults was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultsError {
    /// A part is not of the form `name=rate`.
    #[error("`{0}` is not of the form name=rate, as in `slow=0.1,cut=0.05`")]
    Form(String),
    /// There is no fault of this name.
    #[error("there is no fault `{name}`; there are {known}", known = Fault::names())]
    Unknown {
        /// The name as it was given.
        name: String,
    },
    /// A rate is not a number from 0 to 1.
    #[error("the rate `{rate}` of `{name}` is not a number from 0 to 1")]
    Rate {
        /// The fault's name.
        name: String,
        /// The rate as it was given.
        rate: String,
    },
    /// A fault is named twice.
    #[error("`{0}` is given twice")]
    Twice(String),
    /// The rates add up to more than every call.
    #[error("the rates add up to more than 1")]
    Sum,
}

// === impl Fault ===

impl Fault {
    /// Every fault.
    pub const ALL: [Fault; 10] = [
        Fault::Slow,
        Fault::Cut,
        Fault::NoUsage,
        Fault::OverMax,
        Fault::TooManyRequests,
        Fault::ServerError,
        Fault::Overloaded,
        Fault::ErrorEvent,
        Fault::Html,
        Fault::Hang,
    ];

    /// Returns the fault's name in specifications and records.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::Slow => "slow",
            Fault::Cut => "cut",
            Fault::NoUsage => "no_usage",
            Fault::OverMax => "over_max",
            Fault::TooManyRequests => "429",
            Fault::ServerError => "500",
            Fault::Overloaded => "529",
            Fault::ErrorEvent => "error_event",
            Fault::Html => "html",
            Fault::Hang => "hang",
        }
    }

    fn names() -> String {
        Fault::ALL.map(Fault::name).join(", ")
    }
}

// === impl Faults ===

impl Faults {
    /// No faults at all.
    pub const NONE: Faults = Faults { rates: Vec::new() };

    /// Returns the same faults with the rate of one set.
    #[must_use]
    pub fn with(mut self, fault: Fault, rate: f64) -> Faults {
        self.rates.retain(|(known, _)| *known != fault);
        self.rates.push((fault, rate));
        self
    }

    /// Says whether nothing can go wrong.
    pub fn is_empty(&self) -> bool {
        self.rates.iter().all(|(_, rate)| *rate <= 0.0)
    }

    /// Draws the fault of one call, if any.
    pub(crate) fn draw(&self, draw: &mut Draw) -> Option<Fault> {
        const PARTS: u64 = 1 << 52;

        let mut point = draw.below(PARTS) as f64 / PARTS as f64;
        for (fault, rate) in &self.rates {
            if point < *rate {
                return Some(*fault);
            }
            point -= rate;
        }
        None
    }
}

impl FromStr for Faults {
    type Err = FaultsError;

    /// Reads `slow=0.1,cut=0.05`; an empty text is no faults.
    fn from_str(text: &str) -> Result<Faults, FaultsError> {
        let mut faults = Faults::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let form = || FaultsError::Form(part.to_owned());
            let (name, rate) = part.split_once('=').ok_or_else(form)?;
            let (name, rate) = (name.trim(), rate.trim());
            let fault = Fault::ALL.into_iter().find(|fault| fault.name() == name);
            let fault = fault.ok_or_else(|| FaultsError::Unknown {
                name: name.to_owned(),
            })?;
            let wrong = || FaultsError::Rate {
                name: name.to_owned(),
                rate: rate.to_owned(),
            };
            let rate = rate.parse::<f64>().map_err(|_| wrong())?;
            if !(0.0..=1.0).contains(&rate) {
                return Err(wrong());
            }
            if faults.rates.iter().any(|(known, _)| *known == fault) {
                return Err(FaultsError::Twice(name.to_owned()));
            }
            faults.rates.push((fault, rate));
        }
        // Tolerates the last bit of sums such as 0.1 + 0.2 + 0.7.
        if faults.rates.iter().map(|(_, rate)| rate).sum::<f64>() > 1.0 + 1e-9 {
            return Err(FaultsError::Sum);
        }
        Ok(faults)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (fault, rate)) in self.rates.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(out, "{comma}{}={rate}", fault.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = text.parse::<Faults>().expect_err("must be refused");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_specification_is_read_and_printed() {
        let text =
            "slow=0.1,cut=0.05,no_usage=0.05,over_max=0.02,429=0.05,500=0.02,error_event=1e-2";
        let faults: Faults = text.parse().expect("well formed");
        assert_eq!(faults.to_string(), text.replace("1e-2", "0.01"));
        assert!("".parse::<Faults>().expect("nothing is fine").is_empty());
        assert!("cut=0".parse::<Faults>().expect("well formed").is_empty());
    }

    #[test]
    fn what_is_wrong_is_said() {
        refused(
            "slow",
            "`slow` is not of the form name=rate, as in `slow=0.1,cut=0.05`",
        );
        refused("cut=2", "the rate `2` of `cut` is not a number from 0 to 1");
        refused(
            "cut=NaN",
            "the rate `NaN` of `cut` is not a number from 0 to 1",
        );
        refused("cut=0.1,cut=0.2", "`cut` is given twice");
        refused("cut=0.6,slow=0.6", "the rates add up to more than 1");
        let error = "oops=0.1"
            .parse::<Faults>()
            .expect_err("unknown")
            .to_string();
        assert!(
            error.starts_with("there is no fault `oops`; there are slow, cut,"),
            "{error}"
        );
    }

    #[test]
    fn rates_are_kept() {
        let faults: Faults = "cut=0.3,429=0.2".parse().expect("well formed");
        let mut draw = Draw::new(1);
        let drawn: Vec<_> = (0..10_000).map(|_| faults.draw(&mut draw)).collect();
        let count = |fault| drawn.iter().filter(|drawn| **drawn == fault).count();
        assert!((2_850..3_150).contains(&count(Some(Fault::Cut))));
        assert!((1_850..2_150).contains(&count(Some(Fault::TooManyRequests))));
    }
}
