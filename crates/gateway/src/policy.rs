//! What the owner decided about calls, beyond limits.

mod measures;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fisc::{BudgetId, Fisc, Terms};
use fisc_llm::ModelPrice;

pub use self::measures::{Action, Actions, Fallbacks, Measures, NoticeForm};

/// What happens to a call whose client went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDisconnect {
    /// Its answer is read to the end, so that the charge is what the provider reports.
    #[default]
    Drain,
    /// It is cancelled upstream, and charged an estimate that is never below what was relayed.
    Cancel,
}

/// What happens to a model that nobody priced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownPrice {
    /// Refused where cost is limited; elsewhere its cost is recorded as unknown.
    Deny,
    /// Charged at this ceiling, and marked as an estimate.
    Estimate(Arc<ModelPrice>),
    /// Charged nothing.
    Free,
}

/// What happens when an agent looks as if it ran away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRunaway {
    /// Nothing; nobody looks.
    Off,
    /// It is told.
    #[default]
    Tell,
    /// It is told, and the agent is acted upon as if its level were one higher, for a while.
    Raise,
}

/// What the owner decided about calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long a call may wait for room, at most a minute: no byte is sent meanwhile.
    pub patience: Duration,
    /// The longest a single call may run; held as active time.
    pub call_time: Duration,
    /// The smallest output cap that is still worth a call, in tokens.
    pub output_floor: u64,
    /// What happens to a call whose client went away.
    pub on_disconnect: OnDisconnect,
    /// What happens to a model that nobody priced.
    pub unknown_price: UnknownPrice,
    /// After how many final refusals in a row an agent whose budget has run out is refused
    /// without being judged anew, until there is more room; `None` for never.
    pub max_refusals: Option<u64>,
    /// What happens when an agent looks as if it ran away.
    pub on_runaway: OnRunaway,
    /// What agents are allowed that nobody wrote down, by the budget that they appear below;
    /// elsewhere they share what is there.
    pub newcomers: BTreeMap<BudgetId, Terms>,
    /// What is done about calls as their budget is used up: at these budgets and below, as far
    /// as one of those says nothing else. Elsewhere it is as usual.
    pub measures: BTreeMap<BudgetId, Measures>,
    /// What is done where nothing else is said.
    pub usual: Measures,
}

/// The longest that a call waits silently, whatever the owner says: clients time out.
pub(crate) const PATIENCE_MAX: Duration = Duration::from_mins(1);

// === impl Policy ===

impl Policy {
    /// Returns what is done about calls of a budget, given the budgets from it up to the root.
    pub(crate) fn measures(&self, path: impl IntoIterator<Item = BudgetId>) -> &Measures {
        let known = |id: BudgetId| self.measures.get(&id);
        path.into_iter().find_map(known).unwrap_or(&self.usual)
    }

    /// Says whether the owner of any budget may be asked whether calls may go on.
    pub(crate) fn asks(&self) -> bool {
        let mut all = self.measures.values().chain([&self.usual]);
        all.any(|measures| measures.ask.is_some())
    }

    /// Returns how long calls wait for their owner's decision once a budget has run out; `None`
    /// where it is not asked.
    pub(crate) fn asking_time(&self, fisc: &Fisc, budget: BudgetId) -> Option<Duration> {
        self.measures(fisc.lineage(budget)).ask
    }
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            patience: PATIENCE_MAX,
            call_time: Duration::from_mins(10),
            output_floor: 64,
            on_disconnect: OnDisconnect::default(),
            unknown_price: UnknownPrice::Deny,
            max_refusals: None,
            on_runaway: OnRunaway::default(),
            newcomers: BTreeMap::new(),
            measures: BTreeMap::new(),
            usual: Measures::default(),
        }
    }
}
