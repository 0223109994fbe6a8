//! One budget inside the arena: what it is allowed, what it carries, what is derived of both.

use std::collections::HashMap;

use crate::amount::{Amount, Resource, Timestamp};
use crate::id::BudgetId;
use crate::level::{Level, Thresholds};
use crate::terms::{Claim, Limits, Terms};

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: Box<str>,
    pub(crate) parent: Option<BudgetId>,
    pub(crate) depth: u8,
    pub(crate) children: HashMap<Box<str>, BudgetId>,
    pub(crate) terms: Terms,
    pub(crate) allocated: Timestamp,

    // Derived of the terms, here and above.
    /// Limits, with `i64::MAX` where there is none.
    pub(crate) cap: Amount,
    /// What ordinary calls may use of `cap`.
    pub(crate) ordinary: Amount,
    /// What the parent keeps for this budget.
    pub(crate) claim: Amount,
    /// The earliest deadline on the path.
    pub(crate) deadline: Option<Timestamp>,
    /// The tightest per-call limits on the path.
    pub(crate) per_call: Limits,

    // What happened.
    /// Spent by calls of this budget itself.
    pub(crate) own_spent: Amount,
    /// Held by open calls of this budget itself.
    pub(crate) own_held: Amount,
    /// Spent here and below.
    pub(crate) spent: Amount,
    /// Held here and below.
    pub(crate) held: Amount,
    /// Own committed plus, for each child, the larger of its claim and its load.
    pub(crate) load: Amount,
    /// The load if every open hold were voided.
    pub(crate) floor: Amount,
    /// By how much settlements ever took the load over the limit.
    pub(crate) overrun: Amount,
    /// By how much the load exceeded the limit when the limit was last changed.
    pub(crate) deficit: Amount,
    /// Open holds here and below.
    pub(crate) open: u32,

    pub(crate) levels: [Level; Resource::COUNT],
    pub(crate) elapsed_level: Level,
    /// For each resource, the spent amounts below which and from which its level moves.
    pub(crate) level_span: [(i64, i64); Resource::COUNT],
    /// Whether a call of this very budget settled while its level was below Red.
    pub(crate) spent_before_red: bool,
    /// Whether its one automatic wrap-up call was granted.
    pub(crate) finalized: bool,
}

impl Node {
    pub(crate) fn new(name: &str, parent: Option<(BudgetId, &Node)>, at: Timestamp) -> Node {
        Node {
            name: name.into(),
            parent: parent.map(|(id, _)| id),
            depth: parent.map_or(1, |(_, node)| node.depth + 1),
            children: HashMap::new(),
            terms: Terms::default(),
            allocated: at,
            cap: Limits::NONE.or(i64::MAX),
            ordinary: Limits::NONE.or(i64::MAX),
            claim: Amount::ZERO,
            deadline: None,
            per_call: Limits::NONE,
            own_spent: Amount::ZERO,
            own_held: Amount::ZERO,
            spent: Amount::ZERO,
            held: Amount::ZERO,
            load: Amount::ZERO,
            floor: Amount::ZERO,
            overrun: Amount::ZERO,
            deficit: Amount::ZERO,
            open: 0,
            levels: [Level::Green; Resource::COUNT],
            elapsed_level: Level::Green,
            level_span: [(i64::MIN, i64::MAX); Resource::COUNT],
            spent_before_red: false,
            finalized: false,
        }
    }

    /// Sets the terms and everything that follows of them for this node alone.
    pub(crate) fn set_terms(&mut self, terms: Terms, parent: Option<(Option<Timestamp>, Limits)>) {
        self.terms = terms;
        self.cap = terms.limits.or(i64::MAX);
        self.ordinary = self.cap;
        for resource in Resource::ALL {
            if let Some(limit) = terms.limits.get(resource) {
                self.ordinary.set(resource, limit - terms.reserve.of(limit));
            }
        }
        self.claim = match terms.claim {
            Claim::Nothing => Amount::ZERO,
            Claim::Guarantee(amount) => amount,
            Claim::Limit => terms.limits.or(0),
        };
        let (parent_deadline, parent_per_call) = parent.unwrap_or((None, Limits::NONE));
        let own_deadline = terms.elapsed.map(|span| self.allocated.after(span));
        self.deadline = match (own_deadline, parent_deadline) {
            (Some(own), Some(above)) => Some(own.min(above)),
            (own, above) => own.or(above),
        };
        self.per_call = terms.per_call.tightest(&parent_per_call);
    }

    /// Recomputes between which spent amounts the level of a resource stays as it is.
    pub(crate) fn set_level_span(&mut self, resource: Resource, thresholds: Thresholds) {
        let level = self.levels[resource.index()];
        let span = match self.terms.limits.get(resource) {
            None if level == Level::Green => (i64::MIN, i64::MAX),
            // The limit was just removed: whatever is spent, the level has to fall.
            None => (i64::MAX, i64::MAX),
            // With nothing to spend, Black is where it stays.
            Some(0) if level == Level::Black => (i64::MIN, i64::MAX),
            Some(0) => (i64::MIN, i64::MIN),
            Some(limit) => (
                thresholds.ends(level, limit),
                level
                    .up()
                    .map_or(i64::MAX, |up| thresholds.begins(up, limit)),
            ),
        };
        self.level_span[resource.index()] = span;
    }
}
