//! Directions to one call: what a test writes into the prompt, or what a drawn fault means.
//!
//! The language is documented in the crate's root. Directions say what to play; how each wire
//! plays it is the wire's own affair.

use std::time::Duration;

use crate::draw::Draw;
use crate::faults::Fault;

const OPEN: &str = "[[rehearsal ";
const CLOSE: &str = "]]";
const SLOW_DELAY: Duration = Duration::from_millis(1_500);
const SLOW_GAP: Duration = Duration::from_millis(20);
/// The most tokens that `tokens=` may ask for.
const TOKENS_MAX: u64 = 1_000_000;

/// What the answer says about its usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Report {
    /// The truth.
    #[default]
    Honest,
    /// Nothing: the field is absent.
    Absent,
    /// `null`.
    Null,
    /// Zeros.
    Zero,
    /// Negative numbers.
    Negative,
    /// Numbers beyond belief.
    Huge,
    /// Numbers in quotes.
    Quoted,
    /// Numbers with a fraction.
    Fraction,
}

/// What is particular about one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "flags of a small language, freely combined"
)]
pub(crate) struct Directions {
    /// Cut the connection after so many deltas.
    pub(crate) cut: Option<u64>,
    /// The pause between writes.
    pub(crate) gap: Option<Duration>,
    /// The pause before the first byte.
    pub(crate) delay: Option<Duration>,
    /// The exact number of output tokens, before the cap.
    pub(crate) tokens: Option<u64>,
    /// The exact number of reasoning tokens, before the cap.
    pub(crate) reasoning: Option<u64>,
    /// Whether to call a tool.
    pub(crate) tool: Option<bool>,
    /// What to report.
    pub(crate) report: Report,
    /// Ignore the cap.
    pub(crate) over_max: bool,
    /// Answer with this error.
    pub(crate) status: Option<u16>,
    /// Never answer.
    pub(crate) hang: bool,
    /// Answer HTML.
    pub(crate) html: bool,
    /// Send an error event in the middle.
    pub(crate) error_event: bool,
    /// End the lines of the stream with CR LF.
    pub(crate) crlf: bool,
    slow: bool,
}

// === impl Report ===

impl Report {
    const ALL: [(Report, &'static str, &'static str); 7] = [
        (Report::Absent, "none", "no_usage"),
        (Report::Null, "null", "usage_null"),
        (Report::Zero, "zero", "usage_zero"),
        (Report::Negative, "negative", "usage_negative"),
        (Report::Huge, "huge", "usage_huge"),
        (Report::Quoted, "string", "usage_string"),
        (Report::Fraction, "fraction", "usage_fraction"),
    ];
}

// === impl Directions ===

impl Directions {
    /// Reads the directions in a prompt, if it holds any.
    pub(crate) fn find(prompt: &str) -> Result<Option<Directions>, String> {
        let Some(start) = prompt.find(OPEN) else {
            return Ok(None);
        };
        let text = &prompt[start + OPEN.len()..];
        let end = text
            .find(CLOSE)
            .ok_or("rehearsal directive without its ]]")?;
        let mut directions = Directions::default();
        for word in text[..end].split_whitespace() {
            directions.read(word)?;
        }
        Ok(Some(directions))
    }

    /// Returns what a drawn fault means for a call.
    pub(crate) fn of(fault: Fault, draw: &mut Draw) -> Directions {
        let mut directions = Directions::default();
        match fault {
            Fault::Slow => directions.slow = true,
            Fault::Cut => directions.cut = Some(draw.between(0, 20)),
            Fault::NoUsage => directions.report = Report::Absent,
            Fault::OverMax => directions.over_max = true,
            Fault::TooManyRequests => directions.status = Some(429),
            Fault::ServerError => directions.status = Some(500),
            Fault::Overloaded => directions.status = Some(529),
            Fault::ErrorEvent => directions.error_event = true,
            Fault::Html => directions.html = true,
            Fault::Hang => directions.hang = true,
        }
        directions
    }

    /// Drops or changes what cannot befall this call: an answer that does not stream has no
    /// events, and one without a cap cannot exceed it.
    pub(crate) fn fit(&mut self, stream: bool, max_tokens: Option<u64>) {
        self.over_max &= max_tokens.is_some();
        if self.error_event && !stream {
            self.error_event = false;
            self.status = Some(500);
        }
    }

    /// Returns how long to wait beyond the usual latency, or instead of it when directed.
    pub(crate) fn delay(&self, latency: Duration) -> Duration {
        let delay = self.delay.unwrap_or(latency);
        if self.slow { delay + SLOW_DELAY } else { delay }
    }

    /// Returns the pause between writes, given the usual one.
    pub(crate) fn gap(&self, usual: Duration) -> Duration {
        let gap = self.gap.unwrap_or(usual);
        if self.slow { gap + SLOW_GAP } else { gap }
    }

    /// Names what goes wrong, joined by `+`; nothing when nothing does.
    pub(crate) fn name(&self) -> Option<String> {
        let status = self.status.map(|status| status.to_string());
        let report = Report::ALL
            .iter()
            .find(|(report, ..)| *report == self.report);
        let names = [
            self.slow.then_some("slow"),
            self.cut.map(|_| "cut"),
            report.map(|(_, _, name)| *name),
            self.over_max.then_some("over_max"),
            status.as_deref(),
            self.error_event.then_some("error_event"),
            self.html.then_some("html"),
            self.hang.then_some("hang"),
            self.crlf.then_some("crlf"),
        ];
        let names: Vec<&str> = names.into_iter().flatten().collect();
        (!names.is_empty()).then(|| names.join("+"))
    }

    fn read(&mut self, word: &str) -> Result<(), String> {
        let (name, value) = word
            .split_once('=')
            .map_or((word, None), |(n, v)| (n, Some(v)));
        let flag = match value {
            None | Some("1" | "true") => Ok(true),
            Some("0" | "false") => Ok(false),
            Some(_) => Err(format!("rehearsal directive `{word}`: not a flag")),
        };
        let number = || -> Result<u64, String> {
            let number = value.and_then(|value| value.parse().ok());
            number.ok_or_else(|| format!("rehearsal directive `{word}`: a number is missing"))
        };
        match name {
            "cut" => self.cut = Some(number()?),
            "gap_ms" => self.gap = Some(Duration::from_millis(number()?)),
            "delay_ms" => self.delay = Some(Duration::from_millis(number()?)),
            "tokens" => self.tokens = Some(number()?.min(TOKENS_MAX)),
            "reasoning" => self.reasoning = Some(number()?.min(TOKENS_MAX)),
            "status" => self.status = Some(status(number()?)?),
            "usage" => self.report = report(word, value)?,
            "tool" => self.tool = Some(flag?),
            "over_max" => self.over_max = flag?,
            "hang" => self.hang = flag?,
            "html" => self.html = flag?,
            "error_event" => self.error_event = flag?,
            "crlf" => self.crlf = flag?,
            "slow" => self.slow = flag?,
            _ => return Err(format!("rehearsal directive `{word}`: unknown")),
        }
        Ok(())
    }
}

fn status(number: u64) -> Result<u16, String> {
    match u16::try_from(number) {
        Ok(status) if (400..600).contains(&status) => Ok(status),
        _ => Err(format!(
            "rehearsal directive `status={number}`: not an error"
        )),
    }
}

fn report(word: &str, value: Option<&str>) -> Result<Report, String> {
    let known = Report::ALL.iter().find(|(_, name, _)| Some(*name) == value);
    known
        .map(|(report, ..)| *report)
        .ok_or_else(|| format!("rehearsal directive `{word}`: no such usage"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_found_in_a_prompt() {
        let prompt = "Say hi [[rehearsal cut=3 gap_ms=20 tokens=500 usage=huge crlf]] now";
        let found = Directions::find(prompt)
            .expect("well formed")
            .expect("present");
        assert_eq!(found.cut, Some(3));
        assert_eq!(found.gap(Duration::ZERO), Duration::from_millis(20));
        assert_eq!(found.tokens, Some(500));
        assert_eq!(found.name().as_deref(), Some("cut+usage_huge+crlf"));
        assert_eq!(Directions::find("[[rehearsa]] no"), Ok(None));
    }

    #[test]
    fn a_wrong_direction_is_an_error() {
        for (prompt, complaint) in [
            ("[[rehearsal cut=3", "without its ]]"),
            ("[[rehearsal cut]]", "a number is missing"),
            ("[[rehearsal status=200]]", "not an error"),
            ("[[rehearsal usage=odd]]", "no such usage"),
            ("[[rehearsal hang=maybe]]", "not a flag"),
            ("[[rehearsal dance]]", "unknown"),
        ] {
            let error = Directions::find(prompt).expect_err(prompt);
            assert!(error.contains(complaint), "{error}");
        }
    }
}
