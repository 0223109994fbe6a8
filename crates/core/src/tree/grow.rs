//! Allocation: new budgets, changed terms, and rebuilding a tree from its journal.

use super::node::{CREDITS, Inherited, same_window};
use super::{Hold, Node, Tree, admit};
use crate::amount::{Amount, Resource, TimeUs, Timestamp};
use crate::event::Event;
use crate::id::{BudgetId, HoldId, check_name};
use crate::level::{Level, Levels};
use crate::refusal::TreeError;
use crate::sharing::Sharing;
use crate::terms::{Claim, State, Terms};
use crate::tree::{MAX_CHILDREN, MAX_DEPTH};
use crate::window::{Span, Window};

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
    /// What the tree decided about it.
    pub kept: Kept,
}

/// What a tree decides about a budget by itself, and a journal must remember beside its terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Kept {
    /// Borrowed from siblings, less what is lent to them.
    pub loaned: Amount,
    /// The present window; `None` where there is none.
    pub window: Option<Span>,
    /// What was spent here and below in earlier windows.
    pub past_spent: Amount,
    /// Room that the last window left to this one.
    pub carried: Amount,
    /// Whether its one automatic wrap-up call was granted.
    pub finalized: bool,
    /// What it gained or lost in auctions, of the credits with which everybody enters.
    pub credits: i64,
    /// What its children paid in auctions and what did not divide evenly among them.
    pub undivided: i64,
}

// === impl Tree ===

impl Tree {
    /// Allocates a budget below `parent`, or the root when `parent` is `None`.
    ///
    /// Refuses a name that is taken or invalid, negative or contradictory terms, and a claim
    /// that does not fit what the parent has left. The name of a released budget is free again:
    /// from then on it means the new one, and the old one is known by its id.
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
        let terms = self.settled_terms(parent, terms);
        let node = self.new_node(id, name, parent, terms, now);
        if let Some(parent) = parent {
            if let Some((shut, State::Released)) = self.node(parent).shut {
                return Err(TreeError::Released(shut));
            }
            admit::fits(self, parent, node.claim)?;
        }
        self.insert(id, node, parent);
        self.refresh_caps(id, events);
        if let Some(parent) = parent
            && self.node(parent).terms.sharing != Sharing::Pool
        {
            self.rebalance(now, parent, events)?;
        }
        Ok(id)
    }

    /// Changes what a budget is allowed. Limits may be lowered below what is spent: nothing
    /// fits then, and the deficit is recorded; open holds are honoured. What a raised limit
    /// gains repays the budget's debts first.
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
        if node.terms.state == State::Released {
            return Err(TreeError::Released(id));
        }
        let terms = match (terms.claim, node.terms.claim) {
            // It was fixed when the budget was allocated.
            (Claim::Automatic, claim @ Claim::Guarantee(_)) => Terms { claim, ..terms },
            (Claim::Automatic, _) => self.settled_terms(node.parent, terms),
            _ => terms,
        };
        let (parent, raised) = (node.parent, raise(&node.terms, &terms));
        let levels_moved = node.terms.levels != terms.levels;
        if let Some(parent) = parent {
            let mut changed = node.clone();
            changed.set_terms(id, terms, &self.inherited(Some(parent)));
            let growth = contribution(&changed).checked_sub(contribution(node))?;
            admit::fits(self, parent, growth.max(Amount::ZERO))?;
        }
        self.put_terms(id, terms);
        self.repay(id, raised);
        if terms.elapsed.is_some() && !self.timed.contains(&id) {
            self.timed.push(id);
        }
        self.note_window(id);
        self.note_sharing(id);
        if let Some(parent) = parent {
            self.note_sharing(parent);
        }
        self.refresh_caps(id, events);
        if levels_moved {
            self.refresh_below(id, events);
        }
        Ok(())
    }

    /// Moves the levels of all budgets below one to where they begin now.
    fn refresh_below(&mut self, id: BudgetId, events: &mut Vec<Event>) {
        let below = (0..self.nodes.len() as u32).map(BudgetId);
        let below: Vec<BudgetId> = below.filter(|below| self.is_within(*below, id)).collect();
        for budget in below {
            self.refresh_caps(budget, events);
        }
    }

    /// Puts back a budget that a journal remembers; no admission is decided again.
    pub fn restore(&mut self, row: &Restored<'_>) -> Result<(), TreeError> {
        if row.id.0 as usize != self.nodes.len() {
            return Err(TreeError::UnknownBudget(row.id));
        }
        self.check_place(row.parent, row.name)?;
        let mut node = self.new_node(row.id, row.name, row.parent, row.terms, row.allocated);
        node.overrun = row.overrun;
        node.loaned = row.kept.loaned;
        node.finalized = row.kept.finalized;
        node.credits = CREDITS.saturating_add(row.kept.credits).max(0);
        node.undivided = row.kept.undivided.max(0);
        node.window.carried = row.kept.carried;
        node.set_terms(row.id, row.terms, &self.inherited(row.parent));
        self.check_range(row.parent, node.claim)?;
        self.insert(row.id, node, row.parent);
        self.check_range(Some(row.id), row.own_spent)?;
        self.book(row.id, row.allocated, row.own_spent, Amount::ZERO);
        self.node_mut(row.id).spent_before_red = row.own_spent != Amount::ZERO;
        self.excuse(row.id);
        self.refresh_caps(row.id, &mut Vec::new());
        Ok(())
    }

    /// Puts back the windows that budgets were in, once all of them are restored: what was spent
    /// in earlier ones counts no more.
    pub fn restore_windows(&mut self, rows: impl Iterator<Item = (BudgetId, Kept)>) {
        for (id, kept) in rows {
            let Some(node) = self.nodes.get_mut(id.0 as usize) else {
                continue;
            };
            if let (Window::Calendar { .. }, Some(span)) = (node.terms.window, kept.window) {
                node.window.span = Some(span);
                node.window.past_spent = kept.past_spent.min(node.spent).max(Amount::ZERO);
            }
        }
        self.recompute_loads();
        for id in (0..self.nodes.len() as u32).map(BudgetId) {
            self.excuse(id);
            self.refresh_caps(id, &mut Vec::new());
        }
        self.set_next_roll();
    }

    /// Returns what a journal must remember of a budget beside its terms.
    pub fn kept(&self, id: BudgetId) -> Kept {
        let node = self.node(id);
        // What running calls have metered so far is spent here, and not in a journal.
        let metered = node
            .window
            .span
            .map_or(Amount::ZERO, |span| self.metered_before(id, span.start));
        let past = node.window.past_spent.checked_sub(metered);
        Kept {
            loaned: node.loaned,
            window: node.window.span,
            past_spent: past.map_or(Amount::ZERO, |past| past.max(Amount::ZERO)),
            carried: node.window.carried,
            finalized: node.finalized,
            credits: node.credits - CREDITS,
            undivided: node.undivided,
        }
    }

    /// Takes the budgets of which the tree changed by itself what a journal must remember.
    pub fn take_touched(&mut self) -> Vec<BudgetId> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        touched
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
        self.check_range(Some(budget), amount)?;
        self.holds.insert(
            id,
            Hold {
                budget,
                amount,
                metered: Amount::ZERO,
                opened,
            },
        );
        self.book(budget, opened, Amount::ZERO, amount);
        self.count_open(budget, 1);
        self.excuse(budget);
        Ok(())
    }

    /// Says whether new children may still be made here: not from Red on, nor beyond the
    /// bounds on depth and width. Unknown names are then metered on this budget.
    pub fn may_grow(&self, id: BudgetId) -> bool {
        let node = self.node(id);
        let room = (node.depth as usize) < MAX_DEPTH && !self.is_full(node);
        room && self.acting(id).level < Level::Red
    }

    /// Says whether a budget has all the children it may have; those whose work is done do not
    /// count.
    fn is_full(&self, node: &Node) -> bool {
        let lives = |child: &&BudgetId| self.node(**child).terms.state != State::Released;
        node.children.len() >= MAX_CHILDREN
            && node.children.values().filter(lives).count() >= MAX_CHILDREN
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
        let lives = |child: &&BudgetId| self.node(**child).terms.state != State::Released;
        if let Some(taken) = node.children.get(name).filter(lives) {
            return Err(TreeError::NameTaken(*taken));
        }
        if node.depth as usize >= MAX_DEPTH {
            return Err(TreeError::TooDeep);
        }
        if self.is_full(node) {
            return Err(TreeError::TooManyChildren);
        }
        Ok(())
    }

    /// Fixes what terms leave to the tree: an automatic guarantee, and the window of a budget
    /// whose parent divides what it has for a window.
    fn settled_terms(&self, parent: Option<BudgetId>, mut terms: Terms) -> Terms {
        let Some(parent) = parent else {
            if terms.claim == Claim::Automatic {
                terms.claim = Claim::Nothing;
            }
            return terms;
        };
        let above = &self.node(parent).terms;
        if terms.claim == Claim::Automatic {
            let guarantee = self.automatic_guarantee(parent);
            terms.claim = Claim::Guarantee(guarantee.min(terms.limits.or(i64::MAX)));
        }
        if terms.window.is_none() && terms.elapsed.is_none() && above.sharing != Sharing::Pool {
            terms.window = above.window;
        }
        terms
    }

    fn new_node(
        &self,
        id: BudgetId,
        name: &str,
        parent: Option<BudgetId>,
        terms: Terms,
        at: Timestamp,
    ) -> Node {
        let above = self.inherited(parent);
        let mut node = Node::new(name, parent.map(|id| (id, self.node(id))), at);
        let apart = (above.window).is_some_and(|window| !same_window(window, terms.window));
        node.window
            .change(Window::None, terms.window, apart, Amount::ZERO);
        node.set_terms(id, terms, &above);
        node
    }

    /// Puts a new budget into the arena, and what is kept for it on its parents' loads.
    fn insert(&mut self, id: BudgetId, node: Node, parent: Option<BudgetId>) {
        if node.terms.elapsed.is_some() {
            self.timed.push(id);
        }
        let name = node.name.clone();
        self.nodes.push(node);
        self.pass_up(id, (Amount::ZERO, Amount::ZERO));
        self.note_window(id);
        self.note_sharing(id);
        if let Some(parent) = parent {
            let parent_node = self.node_mut(parent);
            if let Some(former) = parent_node.children.insert(name, id) {
                parent_node.former.push(former);
            }
            self.note_sharing(parent);
        }
    }

    /// What a child takes from its parent.
    pub(super) fn inherited(&self, parent: Option<BudgetId>) -> Inherited {
        let at_root = || Inherited {
            levels_begin: Levels::all(self.thresholds),
            ..Inherited::default()
        };
        parent.map_or_else(at_root, |id| {
            let node = self.node(id);
            Inherited {
                deadline: node.deadline,
                per_call: node.per_call,
                shut: node.shut,
                levels_begin: node.levels_begin,
                rated: node.rated,
                window: Some(node.terms.window),
            }
        })
    }

    /// Puts terms in force, with all that follows here, above and below; nothing is checked.
    pub(super) fn put_terms(&mut self, id: BudgetId, terms: Terms) {
        let mut moved = self.put_own_terms(id, terms);
        let mut below: Vec<BudgetId> = self.node(id).all_children().collect();
        let mut next = 0;
        while let Some(child) = below.get(next).copied() {
            next += 1;
            moved |= self.put_own_terms(child, self.node(child).terms);
            below.extend(self.node(child).all_children());
        }
        if moved {
            self.recompute_loads();
        }
        for child in below {
            let node = self.node_mut(child);
            node.deficit = node.deficit.max(unexplained(node));
        }
        let mut next = self.node(id).parent;
        while let Some(above) = next {
            let node = self.node_mut(above);
            node.deficit = node.deficit.max(unexplained(node));
            next = node.parent;
        }
        let node = self.node_mut(id);
        node.deficit = over(node);
    }

    /// Puts the terms of one budget in force; says whether what counts in its windows changed,
    /// so that the loads must be summed up anew.
    fn put_own_terms(&mut self, id: BudgetId, terms: Terms) -> bool {
        let above = self.inherited(self.node(id).parent);
        let apart = (above.window).is_some_and(|window| !same_window(window, terms.window));
        let before = (contribution(self.node(id)), self.floor_contribution(id));
        let node = self.node_mut(id);
        let moved = node
            .window
            .change(node.terms.window, terms.window, apart, node.spent);
        node.set_terms(id, terms, &above);
        if !moved {
            self.pass_up(id, before);
        }
        moved
    }

    /// What a budget adds to its parent's floor.
    pub(super) fn floor_contribution(&self, id: BudgetId) -> Amount {
        let node = self.node(id);
        node.floor.max(node.claim)
    }

    /// Records on the whole path what the journal had already booked beyond limits and does not
    /// account for as overrun.
    fn excuse(&mut self, leaf: BudgetId) {
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = self.node_mut(id);
            node.deficit = unexplained(node);
            next = node.parent;
        }
    }
}

/// What a budget adds to its parent's load.
pub(super) fn contribution(node: &Node) -> Amount {
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

/// By how much a node's load exceeds its limit beyond what is on record as overrun.
pub(super) fn unexplained(node: &Node) -> Amount {
    let raw = std::array::from_fn(|i| {
        let (over, overrun) = (over(node).raw()[i], node.overrun.raw()[i]);
        over.saturating_sub(overrun).max(0)
    });
    Amount::from_raw(raw)
}

/// By how much new terms raise the limits.
fn raise(old: &Terms, new: &Terms) -> Amount {
    let raw =
        Resource::ALL.map(
            |resource| match (old.limits.get(resource), new.limits.get(resource)) {
                (Some(old), Some(new)) => (new - old).max(0),
                _ => 0,
            },
        );
    Amount::from_raw(raw)
}

fn check_terms(terms: &Terms) -> Result<(), TreeError> {
    let spans = terms.need.is_non_negative() && terms.elapsed.is_none_or(|span| span.0 >= 0);
    let positive = terms.limits.is_non_negative() && terms.per_call.is_non_negative() && spans;
    if !positive || terms.reserve > crate::terms::Permille::ONE {
        return Err(TreeError::Negative);
    }
    if !terms.rate.is_non_negative() {
        return Err(TreeError::Negative);
    }
    if !terms.levels.is_ordered() {
        return Err(TreeError::LevelsOutOfOrder);
    }
    if terms.elapsed.is_some() && !terms.window.is_none() {
        return Err(TreeError::ElapsedOnWindow);
    }
    if matches!(terms.window, Window::Rolling(TimeUs(span)) if span <= 0) {
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
