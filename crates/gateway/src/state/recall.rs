//! What earlier calls needed, learned again from the ledger that has them: who starts anew need
//! not begin with nothing.
//!
//! The books are the only record: what is learned is kept nowhere else. Ratios and prefixes of
//! prompts do not come back, since no ledger keeps what was said.

use std::path::Path;

use fisc::{Error, Outcome, PastCall, past_calls};
use fisc_core::TokenClass;
use fisc_llm::{CallClass, Learner, Lesson};

/// How many of the latest entries are read: two and more a call.
const ENTRIES_MAX: usize = 20_000;

/// Teaches what the calls of a ledger needed; returns how many there were.
pub(crate) fn recall(learned: &mut Learner, ledger: &Path) -> Result<usize, Error> {
    let calls = past_calls(ledger, ENTRIES_MAX)?;
    let taught = calls.iter().filter(|call| teach(learned, call));
    Ok(taught.count())
}

/// Teaches from one call, if it tells what such calls need.
fn teach(learned: &mut Learner, call: &PastCall) -> bool {
    let PastCall {
        path,
        asked_model,
        facts,
    } = call;
    if facts.estimated || facts.outcome != Outcome::Completed {
        return false;
    }
    let class = CallClass {
        upstream: &facts.call.provider,
        model: asked_model,
        agent: path,
    };
    // How many choices a call asked for is not in the books: of several, what they need together
    // is taken for what each does. That errs upwards.
    let lesson = Lesson {
        input: facts.usage.input(),
        cached: facts.usage.get(TokenClass::CacheRead),
        output: facts.usage.output(),
        time: facts.duration,
        output_cut: cap(call).is_some_and(|cap| facts.usage.output() >= cap),
        expected_input: None,
    };
    learned.recall(&class, &lesson);
    true
}

/// Returns the cap on its output that was written for the budget's sake.
fn cap(call: &PastCall) -> Option<u64> {
    let tags = &call.facts.tags;
    let (_, changed) = tags.iter().find(|(name, _)| &**name == "changed")?;
    let mut parts = changed.rsplit(' ');
    let cap = parts.find_map(|part| part.strip_prefix("cap="))?;
    cap.parse().ok()
}
