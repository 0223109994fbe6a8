//! What can be seen of a tree without changing it.

use super::{Acting, Receipt, Tree};
use crate::amount::{Amount, Resource, Timestamp};
use crate::id::{BudgetId, HoldId};
use crate::level::Level;
use crate::terms::{Limits, Terms};
use crate::window::{Span, Window};

/// How much a hold at one budget could be. Unlimited resources are `i64::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Headroom {
    /// What an ordinary (or, if asked so, a finalize) call may hold now.
    pub now: Amount,
    /// What it may hold if every open hold were voided.
    pub idle: Amount,
    /// The most a single call may hold.
    pub per_call: Amount,
    /// The earliest deadline on the path.
    pub deadline: Option<Timestamp>,
    /// Whether this budget may still make a call from the wrap-up reserve.
    pub may_finalize: bool,
    /// Whether this is the room of a wrap-up call, the reserve included.
    pub wrap_up: bool,
    /// The level that acts on calls here.
    pub acting: Acting,
    /// Holds open at and below the budget on the path that leaves the least tokens or cost: calls
    /// that share one room. Where neither is limited, those at and below this budget.
    pub open: u32,
}

/// One budget as it stands.
#[derive(Debug, Clone, Copy)]
pub struct BudgetView<'a> {
    /// Its id.
    pub id: BudgetId,
    /// Its name, the last segment of its path.
    pub name: &'a str,
    /// Its parent.
    pub parent: Option<BudgetId>,
    /// Its depth; the root's is 1.
    pub depth: usize,
    /// What it is allowed.
    pub terms: &'a Terms,
    /// When it was allocated.
    pub allocated: Timestamp,
    /// The earliest deadline on its path.
    pub deadline: Option<Timestamp>,
    /// The tightest per-call limits on its path.
    pub per_call: Limits,
    /// Spent by its own calls, metered parts of running ones included.
    pub own_spent: Amount,
    /// Held by its own calls.
    pub own_held: Amount,
    /// Spent here and below.
    pub spent: Amount,
    /// Held here and below.
    pub held: Amount,
    /// Spent here and below by calls of the present window; all of it where there is none.
    pub window_spent: Amount,
    /// Committed in the present window, and what is kept for children beyond that.
    pub load: Amount,
    /// The present window, once it began.
    pub window: Option<Span>,
    /// Room that the last window left to this one.
    pub carried: Amount,
    /// What its parent's sharing lets its ordinary calls commit; unlimited where it does not
    /// say.
    pub share: Limits,
    /// What its parent keeps for it.
    pub claim: Amount,
    /// Borrowed from siblings, less what is lent to them.
    pub loaned: Amount,
    /// What it is predicted to have spent when it is done.
    pub need: Limits,
    /// By how much settlements ever took it over its limit.
    pub overrun: Amount,
    /// By how much it was over its limit when the limit was last changed.
    pub deficit: Amount,
    /// Holds open here and below.
    pub open: u32,
    /// The most of them at once lately, before it was Orange.
    pub most_open: u32,
    /// Whether the rate of its calls is limited, here or above.
    pub rated: bool,
    /// Its own level for each resource.
    pub levels: [Level; Resource::COUNT],
    /// Its own level of elapsed time.
    pub elapsed_level: Level,
}

/// One open hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldView {
    /// Its id.
    pub id: HoldId,
    /// The budget it was taken at.
    pub budget: BudgetId,
    /// What is held.
    pub amount: Amount,
    /// The part that is metered already.
    pub metered: Amount,
    /// When it was taken.
    pub opened: Timestamp,
}

// === impl BudgetView ===

impl BudgetView<'_> {
    /// Returns the resource of its worst level; the first that is limited where all are Green.
    pub fn worst(&self) -> Option<Resource> {
        let worst = self.level();
        if worst > Level::Green && self.elapsed_level == worst {
            return None;
        }
        let at = |resource: &Resource| {
            self.levels[resource.index()] == worst && self.terms.limits.get(*resource).is_some()
        };
        let limited = [Resource::Cost, Resource::Tokens, Resource::Time];
        limited.into_iter().find(at)
    }

    /// Returns the worst of its own levels.
    pub fn level(&self) -> Level {
        self.levels.into_iter().fold(self.elapsed_level, Level::max)
    }
}

// === impl Tree ===

impl Tree {
    /// Returns one budget, or `None` when there is none of that id.
    pub fn budget(&self, id: BudgetId) -> Option<BudgetView<'_>> {
        let node = self.nodes.get(id.0 as usize)?;
        Some(BudgetView {
            id,
            name: &node.name,
            parent: node.parent,
            depth: usize::from(node.depth),
            terms: &node.terms,
            allocated: node.allocated,
            deadline: node.deadline,
            per_call: node.per_call,
            own_spent: node.own_spent,
            own_held: node.own_held,
            spent: node.spent,
            held: node.held,
            window_spent: Amount::from_raw(Resource::ALL.map(|resource| node.spent_now(resource))),
            load: node.load,
            window: node.window.span,
            carried: node.window.carried,
            share: node.share,
            claim: node.claim,
            loaned: node.loaned,
            need: node.need,
            overrun: node.overrun,
            deficit: node.deficit,
            open: node.open,
            most_open: node.most_open,
            rated: node.rated,
            levels: node.levels,
            elapsed_level: node.elapsed_level,
        })
    }

    /// Returns since when what a budget spent counts against its limits, and its parent.
    pub fn counts_since(&self, id: BudgetId) -> Option<(Timestamp, Option<BudgetId>)> {
        let node = self.nodes.get(id.0 as usize)?;
        let since = match (node.terms.window, node.window.span) {
            (Window::Calendar { .. }, Some(span)) => span.start.max(node.allocated),
            _ => node.allocated,
        };
        Some((since, node.parent))
    }

    /// Returns every budget in the order of creation.
    pub fn budgets(&self) -> impl Iterator<Item = BudgetView<'_>> {
        (0..self.nodes.len() as u32).filter_map(|index| self.budget(BudgetId(index)))
    }

    /// Returns the child of that name.
    pub fn child(&self, parent: BudgetId, name: &str) -> Option<BudgetId> {
        self.nodes
            .get(parent.0 as usize)?
            .children
            .get(name)
            .copied()
    }

    /// Finds a budget by its path, segments separated by `/`; the root's name comes first.
    pub fn find(&self, path: &str) -> Option<BudgetId> {
        let mut segments = path.split('/');
        let root = self.root()?;
        if segments.next()? != &*self.node(root).name {
            return None;
        }
        segments.try_fold(root, |parent, name| self.child(parent, name))
    }

    /// Returns the path of a budget, `root/team/agent`.
    pub fn path(&self, id: BudgetId) -> String {
        let mut names = Vec::new();
        let mut next = self.nodes.get(id.0 as usize);
        while let Some(node) = next {
            names.push(&*node.name);
            next = node.parent.map(|parent| self.node(parent));
        }
        names.reverse();
        names.join("/")
    }

    /// Says whether `ancestor` lies on the path of `id`, itself included.
    pub fn is_within(&self, id: BudgetId, ancestor: BudgetId) -> bool {
        let mut next = Some(id);
        while let Some(at) = next {
            if at == ancestor {
                return true;
            }
            next = self.nodes.get(at.0 as usize).and_then(|node| node.parent);
        }
        false
    }

    /// Returns every open hold, in no particular order.
    pub fn holds(&self) -> impl Iterator<Item = HoldView> {
        self.holds.iter().map(|(id, hold)| HoldView {
            id: *id,
            budget: hold.budget,
            amount: hold.amount,
            metered: hold.metered,
            opened: hold.opened,
        })
    }

    /// Returns how a hold ended, if it ended lately.
    pub fn receipt(&self, id: HoldId) -> Option<Receipt> {
        self.ended.get(id).copied()
    }

    /// Returns one open hold.
    pub fn open_hold(&self, id: HoldId) -> Option<HoldView> {
        let hold = self.holds.get(&id)?;
        Some(HoldView {
            id,
            budget: hold.budget,
            amount: hold.amount,
            metered: hold.metered,
            opened: hold.opened,
        })
    }
}
