//! Allocation: new budgets, changed terms, and rebuilding a tree from its journal.

use super::{Hold, Node, Tree, admit};
use crate::amount::{Amount, Resource, Timestamp};
use crate::event::Event;
use crate::id::{BudgetId, HoldId, check_name};
use crate::level::Level;
use crate::refusal::TreeError;
use crate::terms::{Claim, Terms};
use crate::tree::{MAX_CHILDREN, MAX_DEPTH};

/// A budget as a journal remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored<'a> {
    /// The id it was given; budgets are restored in the order of their ids.
    pub id: BudgetId,
    /// Its parent.
    pub parent: Option<BudgetId>,
    /// Its name.
    pub name: &'a str,
    /// Its terms as last changed.
    pub terms: Terms,
    /// When it was allocated.
    pub allocated: Timestamp,
    /// What its own calls spent.
    pub own_spent: Amount,
    /// By how much settlements took it over its limit.
    pub overrun: Amount,
}

// === impl Tree ===

impl Tree {
    /// Allocates a budget below `parent`, or the root when `parent` is `None`.
    ///
    /// Refuses a name that is taken or invalid, negative or contradictory terms, and a claim
    /// that does not fit what the parent has left.
    pub fn allocate(
        &mut self,
        now: Timestamp,
        parent: Option<BudgetId>,
        name: &str,
        terms: Terms,
        events: &mut Vec<Event>,
    ) -> Result<BudgetId, TreeError> {
        check_name(name)?;
        check_terms(&terms)?;
        self.check_place(parent, name)?;
        let id = BudgetId(u32::try_from(self.nodes.len()).map_err(|_| TreeError::OutOfRange)?);
        let node = self.new_node(name, parent, terms, now);
        if let Some(parent) = parent {
            admit::fits(self, parent, node.claim)?;
        }
        let claim = node.claim;
        self.insert(id, node, parent);
        if let Some(parent) = parent {
            self.shift(parent, Amount::ZERO, Amount::ZERO, claim, claim);
        }
        self.refresh_levels(id, events);
        Ok(id)
    }

    /// Changes what a budget is allowed. Limits may be lowered below what is spent: nothing
    /// fits then, and the deficit is recorded; open holds are honoured.
    pub fn set_terms(
        &mut self,
        id: BudgetId,
        terms: Terms,
        events: &mut Vec<Event>,
    ) -> Result<(), TreeError> {
        check_terms(&terms)?;
        let node = self
            .nodes
            .get(id.0 as usize)
            .ok_or(TreeError::UnknownBudget(id))?;
        let mut changed = node.clone();
        changed.set_terms(terms, self.inherited(node.parent));
        if let Some(parent) = node.parent {
            let growth = contribution(&changed).checked_sub(contribution(node))?;
            admit::fits(self, parent, growth.max(Amount::ZERO))?;
            let floor_before = node.floor.max(node.claim);
            let floor_growth = changed.floor.max(changed.claim).checked_sub(floor_before)?;
            self.shift(parent, Amount::ZERO, Amount::ZERO, growth, floor_growth);
        }
        changed.deficit = over(&changed);
        *self.node_mut(id) = changed;
        if terms.elapsed.is_some() && !self.timed.contains(&id) {
            self.timed.push(id);
        }
        self.inherit_below(id);
        self.refresh_levels(id, events);
        Ok(())
    }

    /// Puts back a budget that a journal remembers; no admission is decided again.
    pub fn restore(&mut self, row: &Restored<'_>) -> Result<(), TreeError> {
        if row.id.0 as usize != self.nodes.len() {
            return Err(TreeError::UnknownBudget(row.id));
        }
        self.check_place(row.parent, row.name)?;
        let mut node = self.new_node(row.name, row.parent, row.terms, row.allocated);
        node.overrun = row.overrun;
        let claim = node.claim;
        self.insert(row.id, node, row.parent);
        if let Some(parent) = row.parent {
            self.check_range(claim)?;
            self.shift(parent, Amount::ZERO, Amount::ZERO, claim, claim);
        }
        self.check_range(row.own_spent)?;
        self.book(row.id, row.own_spent, Amount::ZERO);
        self.node_mut(row.id).spent_before_red = row.own_spent != Amount::ZERO;
        self.excuse(row.id);
        self.refresh_levels(row.id, &mut Vec::new());
        Ok(())
    }

    /// Puts back a hold that was open; no admission is decided again.
    pub fn restore_hold(
        &mut self,
        opened: Timestamp,
        id: HoldId,
        budget: BudgetId,
        amount: Amount,
    ) -> Result<(), TreeError> {
        self.nodes
            .get(budget.0 as usize)
            .ok_or(TreeError::UnknownBudget(budget))?;
        if self.holds.contains_key(&id) {
            return Err(TreeError::Conflict(id));
        }
        self.check_range(amount)?;
        self.holds.insert(
            id,
            Hold {
                budget,
                amount,
                metered: Amount::ZERO,
                opened,
            },
        );
        self.book(budget, Amount::ZERO, amount);
        self.count_open(budget, 1);
        self.excuse(budget);
        Ok(())
    }

    /// Says whether new children may still be made here: not from Red on, nor beyond the
    /// bounds on depth and width. Unknown names are then metered on this budget.
    pub fn may_grow(&self, id: BudgetId) -> bool {
        let node = self.node(id);
        let room = (node.depth as usize) < MAX_DEPTH && node.children.len() < MAX_CHILDREN;
        room && self.binding_level(id).0 < Level::Red
    }

    fn check_place(&self, parent: Option<BudgetId>, name: &str) -> Result<(), TreeError> {
        let Some(parent) = parent else {
            return match self.root() {
                Some(root) => Err(TreeError::NameTaken(root)),
                None => Ok(()),
            };
        };
        let node = self
            .nodes
            .get(parent.0 as usize)
            .ok_or(TreeError::UnknownBudget(parent))?;
        if let Some(taken) = node.children.get(name) {
            return Err(TreeError::NameTaken(*taken));
        }
        if node.depth as usize >= MAX_DEPTH {
            return Err(TreeError::TooDeep);
        }
        if node.children.len() >= MAX_CHILDREN {
            return Err(TreeError::TooManyChildren);
        }
        Ok(())
    }

    fn new_node(&self, name: &str, parent: Option<BudgetId>, terms: Terms, at: Timestamp) -> Node {
        let mut node = Node::new(name, parent.map(|id| (id, self.node(id))), at);
        node.set_terms(terms, self.inherited(parent));
        node
    }

    fn insert(&mut self, id: BudgetId, node: Node, parent: Option<BudgetId>) {
        if let Some(parent) = parent {
            self.node_mut(parent).children.insert(node.name.clone(), id);
        }
        if node.terms.elapsed.is_some() {
            self.timed.push(id);
        }
        self.nodes.push(node);
    }

    /// Deadline and per-call limits that a child takes from its parent.
    fn inherited(
        &self,
        parent: Option<BudgetId>,
    ) -> Option<(Option<Timestamp>, crate::terms::Limits)> {
        parent.map(|id| (self.node(id).deadline, self.node(id).per_call))
    }

    /// Passes changed deadlines and per-call limits down.
    fn inherit_below(&mut self, id: BudgetId) {
        let mut queue: Vec<BudgetId> = self.node(id).children.values().copied().collect();
        while let Some(child) = queue.pop() {
            let inherited = self.inherited(self.node(child).parent);
            let terms = self.node(child).terms;
            self.node_mut(child).set_terms(terms, inherited);
            queue.extend(self.node(child).children.values().copied());
        }
    }

    /// Records on the whole path what the journal had already booked beyond limits and does not
    /// account for as overrun.
    fn excuse(&mut self, leaf: BudgetId) {
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = self.node_mut(id);
            let unexplained = std::array::from_fn(|i| {
                let (over, overrun) = (over(node).raw()[i], node.overrun.raw()[i]);
                over.saturating_sub(overrun).max(0)
            });
            node.deficit = Amount::from_raw(unexplained);
            next = node.parent;
        }
    }

    fn refresh_levels(&mut self, id: BudgetId, events: &mut Vec<Event>) {
        let thresholds = self.thresholds;
        for resource in Resource::ALL {
            self.node_mut(id).set_level_span(resource, thresholds);
        }
        self.refresh_path_levels(id, events);
    }
}

/// What a budget adds to its parent's load.
fn contribution(node: &Node) -> Amount {
    node.load.max(node.claim)
}

/// By how much a node's load exceeds its limit.
pub(super) fn over(node: &Node) -> Amount {
    let raw = std::array::from_fn(|i| {
        let (load, cap) = (node.load.raw()[i], node.cap.raw()[i]);
        load.saturating_sub(cap).max(0)
    });
    Amount::from_raw(raw)
}

fn check_terms(terms: &Terms) -> Result<(), TreeError> {
    let spans = terms.elapsed.is_none_or(|span| span.0 >= 0);
    let positive = terms.limits.is_non_negative() && terms.per_call.is_non_negative() && spans;
    if !positive || terms.reserve > crate::terms::Permille::ONE {
        return Err(TreeError::Negative);
    }
    match terms.claim {
        Claim::Guarantee(amount) if !amount.is_non_negative() => Err(TreeError::Negative),
        Claim::Guarantee(amount) if !amount.fits(&terms.limits.or(i64::MAX)) => {
            Err(TreeError::GuaranteeAboveLimit)
        }
        Claim::Limit if terms.limits.is_none() => Err(TreeError::StaticWithoutLimit),
        _ => Ok(()),
    }
}
