//! What the scripted provider says: text cut into tokens, made from a seed.
//!
//! Every speech has its own length of token in bytes, and holds quotes, line ends and letters
//! of several bytes, because those are what breaks readers of streams.

use crate::draw::Draw;
use crate::tokens;

const WORDS: &[&str] = &[
    "the",
    "plan",
    "of",
    "a",
    "budget",
    "is",
    "to",
    "hold",
    "what",
    "may",
    "come",
    "and",
    "settle",
    "what",
    "came",
    "agents",
    "search",
    "results",
    "show",
    "that",
    "most",
    "calls",
    "end",
    "early",
    "in",
    "summary",
    "we",
    "found",
    "three",
    "sources",
    "which",
    "agree",
    "on",
    "figures",
    "for",
    "next",
    "step",
    "review",
    "draft",
    "section",
    "before",
    "it",
    "goes",
    "out",
    "however",
    "some",
    "numbers",
    "remain",
    "uncertain",
    "because",
    "evidence",
    "was",
    "thin",
    "consider",
    "cost",
    "against",
    "benefit",
    "then",
    "decide",
    "quickly",
    "measure",
    "twice",
    "write",
    "once",
    "café",
    "Größe",
    "naïve",
    "東京",
    "→",
    "🙂",
    "Rīga",
    "\"quoted\"",
    "C:\\temp",
    "x<y>z",
    "100%",
];

/// A text and where each of its tokens ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Speech {
    text: String,
    ends: Vec<usize>,
}

/// A piece of a speech as one event carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delta {
    /// The piece's text; empty only when the whole speech shows nothing.
    pub(crate) text: String,
    /// The piece's tokens, at least 1.
    pub(crate) tokens: u64,
}

// === impl Speech ===

impl Speech {
    /// Says something of exactly `tokens` tokens.
    pub(crate) fn say(draw: &mut Draw, tokens: u64) -> Speech {
        let ratio = tokens::ratio(draw.any());
        let mut speech = Speech {
            text: String::new(),
            ends: Vec::new(),
        };
        let mut end = 0;
        for token in 1..=tokens {
            let target = (token * tokens::RATIO_UNIT / ratio) as usize;
            while speech.text.len() < target.max(end) + 8 {
                speech.add_word(draw);
            }
            end = speech.boundary(end, target);
            speech.ends.push(end);
        }
        speech.text.truncate(end);
        speech
    }

    /// Cuts a given text into tokens.
    pub(crate) fn of(draw: &mut Draw, text: String) -> Speech {
        let ratio = tokens::ratio(draw.any());
        let mut speech = Speech {
            text,
            ends: Vec::new(),
        };
        let mut end = 0;
        while end < speech.text.len() {
            let token = speech.ends.len() as u64 + 1;
            end = speech.boundary(end, (token * tokens::RATIO_UNIT / ratio) as usize);
            speech.ends.push(end);
        }
        speech
    }

    /// Returns the text that is shown.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns how many tokens were generated, those of a stop sequence included.
    pub(crate) fn tokens(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Cuts the speech to at most `tokens` tokens and says whether that took anything.
    pub(crate) fn cap(&mut self, tokens: u64) -> bool {
        if self.tokens() <= tokens {
            return false;
        }
        self.ends.truncate(tokens as usize);
        self.text.truncate(self.ends.last().copied().unwrap_or(0));
        true
    }

    /// Ends the speech before the first of `stops` that it says, and returns that one.
    ///
    /// The tokens of the stop sequence itself were generated and stay counted.
    pub(crate) fn stop_at(&mut self, stops: &[String]) -> Option<String> {
        let found = stops
            .iter()
            .filter(|stop| !stop.is_empty())
            .filter_map(|stop| {
                let start = self.text.find(stop.as_str())?;
                Some((start, stop.clone()))
            });
        let (start, stop) = found.min_by_key(|(start, _)| *start)?;
        let last = self.ends.iter().position(|end| *end >= start + stop.len());
        self.ends
            .truncate(last.map_or(self.ends.len(), |last| last + 1));
        for end in &mut self.ends {
            *end = (*end).min(start);
        }
        self.text.truncate(start);
        Some(stop)
    }

    /// Cuts the speech into deltas of one to seven tokens.
    pub(crate) fn deltas(&self, draw: &mut Draw) -> Vec<Delta> {
        let mut deltas: Vec<Delta> = Vec::new();
        let (mut token, mut start) = (0, 0);
        while token < self.ends.len() {
            let next = (token + draw.between(1, 7) as usize).min(self.ends.len());
            let end = self.ends[next - 1];
            let tokens = (next - token) as u64;
            match deltas.last_mut() {
                Some(last) if start == end => last.tokens += tokens,
                _ => deltas.push(Delta {
                    text: self.text[start..end].to_owned(),
                    tokens,
                }),
            }
            (token, start) = (next, end);
        }
        deltas
    }

    fn add_word(&mut self, draw: &mut Draw) {
        if !self.text.is_empty() {
            self.text.push_str(match draw.below(24) {
                0 => ".\n\n",
                1 => ". ",
                2 => ", ",
                _ => " ",
            });
        }
        self.text
            .push_str(WORDS[draw.below(WORDS.len() as u64) as usize]);
    }

    /// Returns the end of the token that begins at `start` and should end at `target`.
    fn boundary(&self, start: usize, target: usize) -> usize {
        let end = self
            .text
            .ceil_char_boundary(target.max(start + 1).min(self.text.len()));
        end.min(self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speech_has_the_tokens_it_was_asked_for_and_its_deltas_add_up() {
        for seed in 0..200 {
            let mut draw = Draw::new(seed);
            let asked = draw.length(150, 1_200);
            let speech = Speech::say(&mut draw, asked);
            assert_eq!(speech.tokens(), asked);
            assert!(speech.text().len() as u64 >= asked);
            assert_eq!(*speech.ends.last().expect("at least 1"), speech.text.len());
            let deltas = speech.deltas(&mut draw);
            assert_eq!(deltas.iter().map(|delta| delta.tokens).sum::<u64>(), asked);
            let text: String = deltas.iter().map(|delta| delta.text.as_str()).collect();
            assert_eq!(text, speech.text());
        }
    }

    #[test]
    fn a_stop_sequence_is_hidden_but_its_tokens_count() {
        let mut speech = Speech {
            text: "one STOP two".into(),
            ends: vec![3, 6, 8, 12],
        };
        assert_eq!(
            speech.stop_at(&["two".into(), "STOP".into()]),
            Some("STOP".into())
        );
        assert_eq!((speech.text(), speech.tokens()), ("one ", 3));
        let text: String = speech
            .deltas(&mut Draw::new(1))
            .into_iter()
            .map(|d| d.text)
            .collect();
        assert_eq!(text, "one ");
    }

    #[test]
    fn a_cap_cuts_to_the_token() {
        let mut speech = Speech::say(&mut Draw::new(5), 100);
        assert!(!speech.cap(100));
        assert!(speech.cap(17));
        assert_eq!(speech.tokens(), 17);
        assert!(speech.cap(0) && speech.text().is_empty());
    }
}
