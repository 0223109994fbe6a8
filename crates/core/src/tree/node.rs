//! One budget inside the arena: what it is allowed, what it carries, what is derived of both.

use std::collections::HashMap;

use crate::amount::{Amount, Resource, Timestamp};
use crate::id::BudgetId;
use crate::level::{Level, Levels, Thresholds};
use crate::terms::{Claim, Limits, State, Terms};
use crate::tree::window::Windowed;
use crate::window::Window;

/// The credits with which everybody enters an auction.
pub(crate) const CREDITS: i64 = 10_000;

#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, not the states of one"
)]
pub(crate) struct Node {
    pub(crate) name: Box<str>,
    pub(crate) parent: Option<BudgetId>,
    pub(crate) depth: u8,
    /// For each name the child that bears it, the newest.
    pub(crate) children: HashMap<Box<str>, BudgetId>,
    /// Released children whose names newer ones bear.
    pub(crate) former: Vec<BudgetId>,
    pub(crate) terms: Terms,
    pub(crate) allocated: Timestamp,

    // What its parent's sharing decided.
    /// What ordinary calls may commit of what is shared; nothing where it is not divided.
    pub(crate) share: Limits,
    /// What it will have spent when it is done, as last predicted.
    pub(crate) need: Limits,
    /// Borrowed from siblings, less what is lent to them.
    pub(crate) loaned: Amount,
    /// Whether its guarantee went back to the parent because it made no call for a while.
    pub(crate) reclaimed: bool,
    /// What its last call that found no room would hold; nothing once one is granted.
    pub(crate) waiting: Amount,
    /// When it was last asked for a hold; `None` before the first time.
    pub(crate) called: Option<Timestamp>,
    /// When its children's shares were last divided.
    pub(crate) divided: Option<Timestamp>,
    /// When its surplus was last sold to its children.
    pub(crate) sold: Option<Timestamp>,
    /// What it may pay in its parent's auctions.
    pub(crate) credits: i64,
    /// What its children paid and what did not divide evenly among them.
    pub(crate) undivided: i64,

    // Derived of the terms, here and above.
    /// Limits with what is borrowed and carried over, `i64::MAX` where there is none.
    pub(crate) cap: Amount,
    /// What ordinary calls may use of `cap`, the share aside.
    pub(crate) unreserved: Amount,
    /// What ordinary calls may use of `cap` now: `unreserved`, or the share if that is less.
    pub(crate) ordinary: Amount,
    /// What the parent keeps for this budget.
    pub(crate) claim: Amount,
    /// The outermost budget on the path that is not open.
    pub(crate) shut: Option<(BudgetId, State)>,
    /// The earliest deadline on the path.
    pub(crate) deadline: Option<Timestamp>,
    /// The tightest per-call limits on the path.
    pub(crate) per_call: Limits,
    /// Where its levels begin.
    pub(crate) levels_begin: Levels,
    /// Whether the rate of its calls is limited, here or above.
    pub(crate) rated: bool,

    // What happened.
    /// Spent by calls of this budget itself.
    pub(crate) own_spent: Amount,
    /// Held by open calls of this budget itself.
    pub(crate) own_held: Amount,
    /// Spent here and below.
    pub(crate) spent: Amount,
    /// Held here and below.
    pub(crate) held: Amount,
    /// Which part of all that belongs to the present window.
    pub(crate) window: Windowed,
    /// Own committed of this window plus, for each child, the larger of its claim and its load.
    pub(crate) load: Amount,
    /// The load if every open hold were voided.
    pub(crate) floor: Amount,
    /// By how much settlements ever took the load over the limit.
    pub(crate) overrun: Amount,
    /// By how much the load exceeded the limit when the limit was last changed.
    pub(crate) deficit: Amount,
    /// Open holds here and below.
    pub(crate) open: u32,
    /// The most of them at once lately, before it was Orange.
    pub(crate) most_open: u32,

    pub(crate) levels: [Level; Resource::COUNT],
    pub(crate) elapsed_level: Level,
    /// For each resource, the spent amounts below which and from which its level moves.
    pub(crate) level_span: [(i64, i64); Resource::COUNT],
    /// Whether a call of this very budget settled while its level was below Red.
    pub(crate) spent_before_red: bool,
    /// Whether its one automatic wrap-up call was granted.
    pub(crate) finalized: bool,
}

/// What a budget takes from those above it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Inherited {
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) per_call: Limits,
    pub(crate) shut: Option<(BudgetId, State)>,
    pub(crate) levels_begin: Levels,
    pub(crate) rated: bool,
    /// The parent's window; `None` for the root.
    pub(crate) window: Option<Window>,
}

impl Node {
    pub(crate) fn new(name: &str, parent: Option<(BudgetId, &Node)>, at: Timestamp) -> Node {
        Node {
            name: name.into(),
            parent: parent.map(|(id, _)| id),
            depth: parent.map_or(1, |(_, node)| node.depth + 1),
            children: HashMap::new(),
            former: Vec::new(),
            terms: Terms::default(),
            allocated: at,
            share: Limits::NONE,
            need: Limits::NONE,
            loaned: Amount::ZERO,
            reclaimed: false,
            waiting: Amount::ZERO,
            called: None,
            divided: None,
            sold: None,
            credits: CREDITS,
            undivided: 0,
            unreserved: Limits::NONE.or(i64::MAX),
            shut: None,
            window: Windowed::default(),
            cap: Limits::NONE.or(i64::MAX),
            ordinary: Limits::NONE.or(i64::MAX),
            claim: Amount::ZERO,
            deadline: None,
            per_call: Limits::NONE,
            levels_begin: Levels::default(),
            rated: false,
            own_spent: Amount::ZERO,
            own_held: Amount::ZERO,
            spent: Amount::ZERO,
            held: Amount::ZERO,
            load: Amount::ZERO,
            floor: Amount::ZERO,
            overrun: Amount::ZERO,
            deficit: Amount::ZERO,
            open: 0,
            most_open: 0,
            levels: [Level::Green; Resource::COUNT],
            elapsed_level: Level::Green,
            level_span: [(i64::MIN, i64::MAX); Resource::COUNT],
            spent_before_red: false,
            finalized: false,
        }
    }

    /// Every child there ever was, in no particular order.
    pub(crate) fn all_children(&self) -> impl Iterator<Item = BudgetId> {
        self.children.values().chain(&self.former).copied()
    }

    /// Sets the terms and everything that follows of them for this node alone.
    pub(crate) fn set_terms(&mut self, id: BudgetId, terms: Terms, above: &Inherited) {
        self.terms = terms;
        self.refresh_cap();
        let own = (terms.state != State::Open).then_some((id, terms.state));
        self.shut = match (above.shut, own) {
            // What is released for good says more than what is frozen for now.
            (Some((_, State::Frozen)), Some((_, State::Released))) => own,
            (above, own) => above.or(own),
        };
        let released = matches!(self.shut, Some((_, State::Released)));
        self.claim = match terms.claim {
            // Where the parent counts in other windows, nothing can be kept: it is a cap.
            _ if above
                .window
                .is_some_and(|window| !same_window(window, terms.window)) =>
            {
                Amount::ZERO
            }
            _ if self.reclaimed || released => Amount::ZERO,
            Claim::Nothing | Claim::Automatic => Amount::ZERO,
            Claim::Guarantee(amount) => amount.min(self.cap),
            Claim::Limit => limited(terms.limits, self.cap),
        };
        // Who only watches passes on no limit that would refuse a call.
        let own_deadline = (terms.elapsed)
            .filter(|_| !terms.observed)
            .map(|span| self.allocated.after(span));
        self.deadline = match (own_deadline, above.deadline) {
            (Some(own), Some(above)) => Some(own.min(above)),
            (own, above) => own.or(above),
        };
        self.per_call = if terms.observed {
            above.per_call
        } else {
            terms.per_call.tightest(&above.per_call)
        };
        self.levels_begin = terms.levels.or(&above.levels_begin);
        self.rated = above.rated || !terms.rate.is_none();
    }

    /// Sets what calls may use, of the limits, of what is borrowed and carried over, and of the
    /// share.
    pub(crate) fn refresh_cap(&mut self) {
        let more = self.loaned.saturating_add(self.window.carried);
        for resource in Resource::ALL {
            let (cap, unreserved) = match self.terms.limits.get(resource) {
                None => (i64::MAX, i64::MAX),
                Some(limit) => {
                    let cap = limit.saturating_add(more.get(resource)).max(0);
                    (cap, cap - self.terms.reserve.of(cap))
                }
            };
            let share = self.share.get(resource).unwrap_or(i64::MAX);
            self.cap.set(resource, cap);
            self.unreserved.set(resource, unreserved);
            self.ordinary.set(resource, unreserved.min(share));
        }
    }

    /// What calls can commit at most; everything where the budget only watches.
    pub(crate) fn enforced(&self) -> Amount {
        if self.terms.observed {
            return Limits::NONE.or(i64::MAX);
        }
        self.cap
    }

    /// Where the levels of a resource, or of elapsed time, begin.
    pub(crate) fn thresholds(&self, resource: Option<Resource>) -> Thresholds {
        self.levels_begin.get(resource).unwrap_or_default()
    }

    /// The worst of its own levels.
    pub(crate) fn level(&self) -> Level {
        self.levels.into_iter().fold(self.elapsed_level, Level::max)
    }

    /// What is spent here and below in the present window.
    pub(crate) fn spent_now(&self, resource: Resource) -> i64 {
        self.spent.get(resource) - self.window.past_spent.get(resource)
    }

    /// What is held here and below by calls of the present window.
    pub(crate) fn held_now(&self, resource: Resource) -> i64 {
        self.held.get(resource) - self.window.past_held.get(resource)
    }

    /// What levels are measured against; `None` where nothing is limited.
    pub(crate) fn measure(&self, resource: Resource) -> Option<i64> {
        match (self.terms.limits.get(resource), self.share.get(resource)) {
            (None, share) => share,
            (Some(_), share) => Some(self.cap.get(resource).min(share.unwrap_or(i64::MAX))),
        }
    }

    /// Recomputes between which spent amounts the level of a resource stays as it is.
    pub(crate) fn set_level_span(&mut self, resource: Resource) {
        let thresholds = self.thresholds(Some(resource));
        let level = self.levels[resource.index()];
        let span = match self.measure(resource) {
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

/// Says whether two budgets count anew at the same instants.
pub(crate) fn same_window(one: Window, other: Window) -> bool {
    match (one, other) {
        (Window::None, Window::None) => true,
        (
            Window::Calendar { period, zone, .. },
            Window::Calendar {
                period: other_period,
                zone: other_zone,
                ..
            },
        ) => period == other_period && zone == other_zone,
        _ => false,
    }
}

/// The cap where there is a limit, nothing where there is none.
fn limited(limits: Limits, cap: Amount) -> Amount {
    let raw = Resource::ALL.map(|resource| match limits.get(resource) {
        Some(_) => cap.get(resource),
        None => 0,
    });
    Amount::from_raw(raw)
}
