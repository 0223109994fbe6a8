//! What is done about calls as their budget is used up: level by level, resource by resource.
//!
//! The levels' actions add up: what is done from Orange on is done at Red too. Within a level
//! they are taken in the order in which they are written.

use std::fmt;
use std::time::Duration;

use fisc::{Level, Resource};

/// One thing that is done about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Its agent is told once how its budget stands, in that one request.
    Notice,
    /// Only half as many calls may be in flight as there were before.
    Halve,
    /// Calls start no faster than what is left allows until the deadline or the window's end.
    Pace,
    /// Its output is capped at what 95 % of such calls need.
    Shorten,
    /// It is declined if it is marked optional.
    Optional,
    /// The provider is not asked to search for it.
    Search,
    /// One answer is asked for where it wants several.
    Choices,
    /// A line of text stands in the place of its images.
    Images,
    /// Its model is asked to think little.
    Effort,
    /// A cheaper model serves it.
    Model,
    /// Its output is capped at so many tokens.
    Output(u64),
}

/// What is done at each level, for each resource and for elapsed time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actions([[Vec<Action>; Actions::LEVELS.len()]; Resource::COUNT + 1]);

/// Cheaper models by the names of dearer ones, where a `*` stands for any text; the first that
/// fits counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fallbacks(pub Vec<(String, String)>);

/// How an agent is told how its budget stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NoticeForm {
    /// By a line at the end of its last message.
    #[default]
    Message,
    /// In the provider's own way where it has one, else by a line.
    Native,
}

/// Everything that is done about calls of one budget and below.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measures {
    /// What is done at each level.
    pub actions: Actions,
    /// Which cheaper model serves for which.
    pub fallbacks: Fallbacks,
    /// How agents are told.
    pub notice: NoticeForm,
    /// How long calls for which nothing is left wait for the owner to decide whether they may go
    /// on; `None` is not at all.
    pub ask: Option<Duration>,
}

// === impl Action ===

impl Action {
    /// Every action that has no figure of its own.
    pub const NAMED: [Action; 10] = [
        Action::Notice,
        Action::Halve,
        Action::Pace,
        Action::Shorten,
        Action::Optional,
        Action::Search,
        Action::Choices,
        Action::Images,
        Action::Effort,
        Action::Model,
    ];

    /// Reads an action as it is written: a name, or `output:` and a number of tokens.
    pub fn parse(text: &str) -> Option<Action> {
        if let Some(tokens) = text.strip_prefix("output:") {
            return tokens
                .parse()
                .ok()
                .filter(|cap| *cap > 0)
                .map(Action::Output);
        }
        Action::NAMED
            .into_iter()
            .find(|action| action.to_string() == text)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Notice => "notice",
            Action::Halve => "halve",
            Action::Pace => "pace",
            Action::Shorten => "shorten",
            Action::Optional => "optional",
            Action::Search => "search",
            Action::Choices => "choices",
            Action::Images => "images",
            Action::Effort => "effort",
            Action::Model => "model",
            Action::Output(cap) => return write!(f, "output:{cap}"),
        })
    }
}

// === impl Actions ===

impl Actions {
    /// The levels that have actions. From Black on calls are stopped, whatever else is done.
    pub const LEVELS: [Level; 3] = [Level::Yellow, Level::Orange, Level::Red];

    /// Returns what is done at a level, the levels below it first.
    pub fn at(&self, level: Level, of: Option<Resource>) -> impl Iterator<Item = Action> {
        let table = &self.0[Actions::row(of)];
        let levels = Actions::LEVELS.iter().zip(table);
        let reached = levels.take_while(move |(begun, _)| **begun <= level);
        reached.flat_map(|(_, actions)| actions.iter().copied())
    }

    /// Sets what is done from a level on, for one resource or for elapsed time.
    pub fn set(&mut self, level: Level, of: Option<Resource>, actions: Vec<Action>) {
        if let Some(place) = Actions::LEVELS.iter().position(|begun| *begun == level) {
            self.0[Actions::row(of)][place] = actions;
        }
    }

    fn row(of: Option<Resource>) -> usize {
        of.map_or(Resource::COUNT, Resource::index)
    }
}

impl Default for Actions {
    /// What money or tokens are left is made to last by fewer, shorter and slower calls, then by
    /// cheaper ones. Time that runs out is not saved by waiting: calls only become shorter.
    fn default() -> Actions {
        let cheaper = [
            Action::Search,
            Action::Choices,
            Action::Effort,
            Action::Model,
        ];
        let stock = [
            vec![],
            vec![
                Action::Halve,
                Action::Pace,
                Action::Shorten,
                Action::Optional,
            ],
            cheaper.to_vec(),
        ];
        let time = [
            vec![],
            vec![Action::Shorten, Action::Optional],
            vec![Action::Effort],
        ];
        Actions([stock.clone(), stock, time.clone(), time])
    }
}

// === impl Fallbacks ===

impl Fallbacks {
    /// Returns the cheaper model for one, if any.
    pub fn find(&self, model: &str) -> Option<&str> {
        let fits = |(pattern, to): &&(String, String)| to != model && matches(pattern, model);
        self.0.iter().find(fits).map(|(_, to)| to.as_str())
    }
}

/// Says whether a text fits a pattern in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut left) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or("");
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_add_up_level_by_level() {
        let actions = Actions::default();
        let at = |level, of| -> Vec<String> {
            actions
                .at(level, of)
                .map(|action| action.to_string())
                .collect()
        };
        assert!(at(Level::Yellow, Some(Resource::Cost)).is_empty());
        let orange = ["halve", "pace", "shorten", "optional"];
        assert_eq!(at(Level::Orange, Some(Resource::Cost)), orange);
        let red = [&orange[..], &["search", "choices", "effort", "model"]].concat();
        assert_eq!(at(Level::Red, Some(Resource::Cost)), red);
        assert_eq!(at(Level::Black, Some(Resource::Cost)), red);
        assert_eq!(at(Level::Red, None), ["shorten", "optional", "effort"]);
    }

    #[test]
    fn every_action_is_read_as_it_is_written() {
        for action in Action::NAMED.into_iter().chain([Action::Output(300)]) {
            assert_eq!(Action::parse(&action.to_string()), Some(action));
        }
        for text in ["", "outputs", "output:", "output:0", "Model"] {
            assert_eq!(Action::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_pattern_that_fits_counts() {
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let fallbacks = Fallbacks(vec![
            pair("gpt-5-mini", "gpt-5-nano"),
            pair("gpt-5*", "gpt-5-mini"),
            pair("*opus*", "claude-haiku"),
        ]);
        assert_eq!(fallbacks.find("gpt-5-mini"), Some("gpt-5-nano"));
        assert_eq!(fallbacks.find("gpt-5.2"), Some("gpt-5-mini"));
        assert_eq!(fallbacks.find("claude-opus-5"), Some("claude-haiku"));
        assert_eq!(fallbacks.find("gpt-4o"), None);
        let itself = Fallbacks(vec![pair("*", "one")]);
        assert_eq!(itself.find("one"), None);
        for (pattern, text, fits) in [
            ("a*b*c", "abc", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("*", "", true),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
