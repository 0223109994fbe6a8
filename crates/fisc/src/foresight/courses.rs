//! The courses of spending, fed by every settlement: at the call's budget and at all above it.
//!
//! A settlement adds some numbers a budget and resource. How many budgets are followed is bounded;
//! beyond that, calls of budgets without a course of their own are followed above them.

use fisc_core::{Amount, BudgetId, Course, Resource, TimeUs, Timestamp, Tree};

/// The most budgets that are followed; a course takes up to 1.6 KB, a budget three of them.
const FOLLOWED_MAX: usize = 4_096;

/// The courses of one budget.
#[derive(Debug, Clone)]
pub(super) struct Trail {
    /// Since when what is in them counts.
    pub(super) since: Timestamp,
    /// For each resource of which something was spent.
    pub(super) courses: [Option<Course>; Resource::COUNT],
    /// Whether something came since it was judged.
    pub(super) is_new: bool,
    /// Where each resource was found to lead.
    pub(super) leads: [Leads; Resource::COUNT],
    /// What was said of each resource then.
    pub(super) said: [Option<Said>; Resource::COUNT],
}

/// What was last said of a resource.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    pub(super) at: Timestamp,
    pub(super) at_horizon: Option<i64>,
    pub(super) limit_in: Option<TimeUs>,
}

/// Where the spending of a resource leads, as it was last judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Leads {
    /// Not beyond the limit, as far as is known.
    #[default]
    Within,
    /// Likely beyond it.
    Beyond,
    /// Surely enough beyond it that the level acts one step early.
    Raised,
}

/// The courses of the budgets of a tree.
#[derive(Debug)]
pub(super) struct Courses {
    /// Nothing is known of what was spent before.
    begun: Timestamp,
    /// By the index of the budget.
    trails: Vec<Option<Box<Trail>>>,
    followed: usize,
}

// === impl Courses ===

impl Courses {
    /// Follows what is spent from some time on.
    pub(super) fn new(begun: Timestamp) -> Courses {
        Courses {
            begun,
            trails: Vec::new(),
            followed: 0,
        }
    }

    /// Adds a settled call to the courses of its budget and of all above it.
    pub(super) fn add(&mut self, tree: &Tree, now: Timestamp, budget: BudgetId, amount: Amount) {
        let (mut next, begun) = (Some(budget), self.begun);
        while let Some(id) = next {
            let Some((since, parent)) = tree.counts_since(id) else {
                return;
            };
            next = parent;
            if now < since {
                continue;
            }
            let is_leaf = id == budget && parent.is_some();
            if let Some(trail) = self.trail_mut(id, since, is_leaf) {
                trail.add(now, begun, amount);
            }
        }
    }

    pub(super) fn get(&self, id: BudgetId) -> Option<&Trail> {
        self.trails.get(id.0 as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: BudgetId) -> Option<&mut Trail> {
        self.trails.get_mut(id.0 as usize)?.as_deref_mut()
    }

    /// Forgets the courses of a budget, and returns them.
    pub(super) fn take(&mut self, id: BudgetId) -> Option<Trail> {
        let trail = self.trails.get_mut(id.0 as usize)?.take()?;
        self.followed -= 1;
        Some(*trail)
    }

    /// Returns the budgets that are followed, in their order, from one of them on and around.
    pub(super) fn from(&self, first: usize) -> impl Iterator<Item = BudgetId> {
        let count = self.trails.len();
        (0..count)
            .map(move |index| (first + index) % count)
            .filter(|index| self.trails[*index].is_some())
            .map(|index| BudgetId(index as u32))
    }

    fn trail_mut(&mut self, id: BudgetId, since: Timestamp, is_leaf: bool) -> Option<&mut Trail> {
        let index = id.0 as usize;
        if index >= self.trails.len() {
            self.trails.resize(index + 1, None);
        }
        let place = &mut self.trails[index];
        if place.is_none() {
            if is_leaf && self.followed >= FOLLOWED_MAX {
                return None;
            }
            self.followed += 1;
        }
        let trail = place.get_or_insert_with(|| Box::new(Trail::new(since)));
        if trail.since != since {
            trail.restart(since);
        }
        Some(trail)
    }
}

// === impl Trail ===

impl Trail {
    fn new(since: Timestamp) -> Trail {
        Trail {
            since,
            courses: [const { None }; Resource::COUNT],
            is_new: false,
            leads: [Leads::default(); Resource::COUNT],
            said: [None; Resource::COUNT],
        }
    }

    fn add(&mut self, now: Timestamp, begun: Timestamp, amount: Amount) {
        self.is_new = true;
        for (course, units) in self.courses.iter_mut().zip(amount.raw()) {
            match course {
                Some(course) => course.add(now, units),
                None if units > 0 => {
                    let mut first = Course::new(self.since.max(begun));
                    first.add(now, units);
                    *course = Some(first);
                }
                None => {}
            }
        }
    }

    /// Begins anew with a window. What was found stands until it is judged again.
    pub(super) fn restart(&mut self, since: Timestamp) {
        let leads = self.leads;
        *self = Trail {
            leads,
            ..Trail::new(since)
        };
    }

    /// Says whether anything was found to lead beyond its limit.
    pub(super) fn is_alarming(&self) -> bool {
        self.leads.iter().any(|leads| *leads > Leads::Within)
    }

    /// Returns for how many resources the level acts one step early.
    pub(super) fn raised(&self) -> usize {
        let raised = self.leads.iter().filter(|leads| **leads == Leads::Raised);
        raised.count()
    }
}
