//! Windows at work: which part of what was spent and held counts in the present one, and how
//! the next one begins. Nothing is reset by a job: whoever asks the tree lets it roll first.

use std::collections::VecDeque;

use super::Tree;
use super::grow::unexplained;
use super::node::same_window;
use crate::amount::{Amount, Resource, TimeUs, Timestamp};
use crate::event::Event;
use crate::id::BudgetId;
use crate::window::{Calendar, Span, Window};

/// Into how many steps a rolling window is divided: what was spent leaves it within one step.
const STEPS: i64 = 64;

/// Which part of a budget's sums belongs to its present window. Without a window, all does.
#[derive(Debug, Clone, Default)]
pub(crate) struct Windowed {
    /// Whether its parent counts anew at other instants, so that nothing is kept for it there.
    pub(crate) apart: bool,
    /// The present window; `None` before the first, and where there are none.
    pub(crate) span: Option<Span>,
    /// Spent by calls that began in earlier windows.
    pub(crate) past_spent: Amount,
    /// Held by calls that began in earlier windows and still run.
    pub(crate) past_held: Amount,
    /// Room that the last window left to this one.
    pub(crate) carried: Amount,
    /// What was spent in each step of a rolling window, oldest first.
    steps: VecDeque<(Timestamp, Amount)>,
    /// The length of a step; 0 where the window does not roll.
    step: i64,
}

// === impl Windowed ===

impl Windowed {
    /// Changes the window. All that was spent `before` counts in the first calendar window, and
    /// nothing of it in a rolling one. Says whether that may change what counts.
    pub(crate) fn change(&mut self, from: Window, to: Window, apart: bool, before: Amount) -> bool {
        let stays = match (from, to) {
            (Window::Rolling(from), Window::Rolling(to)) => from == to,
            (from, to) => same_window(from, to),
        };
        let moved = !stays || apart != self.apart;
        self.apart = apart;
        if stays {
            return moved;
        }
        *self = Windowed {
            apart,
            ..Windowed::default()
        };
        if let Window::Rolling(TimeUs(span)) = to {
            self.step = (span / STEPS).max(1);
            // When it was spent is not known any more: it is as if it were long ago.
            self.past_spent = before;
            self.span = Some(Span {
                start: Timestamp(i64::MIN),
                end: Timestamp(i64::MIN),
            });
        }
        moved
    }

    /// Says whether a call that began at `opened` is of an earlier window.
    pub(crate) fn is_past(&self, opened: Timestamp) -> bool {
        self.step == 0 && self.span.is_some_and(|span| opened < span.start)
    }

    /// Books what a call that began at `opened` moved, and returns what of it counts in the
    /// present window: (spent, held). `before` is what was spent in all windows.
    ///
    /// What is taken back is taken from where it was booked, and from elsewhere only if a
    /// changed window moved it there: neither the present nor the past is ever negative.
    pub(crate) fn book(
        &mut self,
        opened: Timestamp,
        spent: Amount,
        held: Amount,
        before: Amount,
    ) -> (Amount, Amount) {
        let is_past = self.span.is_some_and(|span| opened < span.start);
        let mut counted = (Amount::ZERO, held);
        if is_past && self.step == 0 {
            self.past_held = self.past_held.saturating_add(held);
            counted.1 = Amount::ZERO;
        }
        for resource in Resource::ALL {
            let moved = spent.get(resource);
            let past = self.past_spent.get(resource);
            let least = if is_past {
                -past
            } else {
                past - before.get(resource)
            };
            let direct = moved.max(least);
            let rest = moved - direct;
            let (to_past, to_present) = if is_past {
                (direct, rest)
            } else {
                (rest, direct)
            };
            self.past_spent.set(resource, past + to_past);
            counted.0.set(resource, to_present);
            self.put_in_step(opened, resource, to_present);
        }
        counted
    }

    /// Books what counts in a rolling window in the step in which its call began; what that step
    /// has not got is taken back from the others.
    fn put_in_step(&mut self, opened: Timestamp, resource: Resource, units: i64) {
        if self.step == 0 || units == 0 {
            return;
        }
        let begins = Timestamp(opened.0 - opened.0.rem_euclid(self.step));
        let at = self.steps.partition_point(|(begun, _)| *begun < begins);
        if self.steps.get(at).is_none_or(|(begun, _)| *begun != begins) {
            self.steps.insert(at, (begins, Amount::ZERO));
        }
        let mut left = units;
        let others = (0..self.steps.len()).rev().filter(|other| *other != at);
        for index in std::iter::once(at).chain(others) {
            let sum = &mut self.steps[index].1;
            let put = left.max(-sum.get(resource));
            sum.set(resource, sum.get(resource) + put);
            left -= put;
            if left == 0 {
                break;
            }
        }
    }

    /// Lets the steps go that lie a whole span before `now`; returns what they sum up to.
    fn expire(&mut self, now: Timestamp, span: i64) -> Amount {
        let start = Timestamp(now.0.saturating_sub(span));
        let mut gone = Amount::ZERO;
        while let Some((begun, sum)) = self.steps.front().copied()
            && begun.0.saturating_add(self.step) <= start.0
        {
            gone = gone.saturating_add(sum);
            self.steps.pop_front();
        }
        let floor = |at: i64| Timestamp(at - at.rem_euclid(self.step));
        self.span = Some(Span {
            start: floor(start.0),
            end: floor(now.0.saturating_add(self.step)),
        });
        self.past_spent = self.past_spent.saturating_add(gone);
        gone
    }
}

// === impl Tree ===

impl Tree {
    /// Says whether any budget counts anew from time to time.
    pub fn has_windows(&self) -> bool {
        !self.windowed.is_empty()
    }

    /// Returns the longest span of a rolling window, `None` where there is none.
    pub fn longest_rolling(&self) -> Option<TimeUs> {
        let spans = self.windowed.iter().map(|id| self.node(*id).terms.window);
        spans
            .filter_map(|window| match window {
                Window::Rolling(span) => Some(span),
                _ => None,
            })
            .max()
    }

    /// Says whether a window may have ended by `now`, so that [`Tree::roll`] must be called
    /// before anything else is asked.
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.next_roll
    }

    /// Begins the windows that are due: what was spent before counts no more, and holds that are
    /// open settle into the window that they began in.
    pub fn roll(&mut self, now: Timestamp, calendar: &dyn Calendar, events: &mut Vec<Event>) {
        let due: Vec<BudgetId> = (self.windowed.iter().copied())
            .filter(|id| {
                let span = self.node(*id).window.span;
                span.is_none_or(|span| now >= span.end)
            })
            .collect();
        let mut changed = Vec::new();
        for id in &due {
            if self.begin_window(now, *id, calendar) {
                changed.push(*id);
            }
        }
        // Children come after their parents, so that backwards every child is right already.
        for id in changed.iter().rev() {
            self.recompute_path(*id);
        }
        for id in changed {
            self.refresh_caps(id, events);
            // What is kept for children may have counted on room that was carried over.
            let node = self.node_mut(id);
            node.deficit = unexplained(node);
            if !matches!(node.terms.window, Window::Rolling(_)) {
                self.touched.push(id);
            }
            let (span, carried) = (self.node(id).window.span, self.node(id).window.carried);
            if let Some(span) = span {
                events.push(Event::WindowBegan {
                    budget: id,
                    span,
                    carried,
                });
            }
        }
        self.set_next_roll();
    }

    /// Remembers or forgets that a budget has windows.
    pub(super) fn note_window(&mut self, id: BudgetId) {
        let has = !self.node(id).terms.window.is_none();
        match self.windowed.binary_search(&id) {
            Err(at) if has => self.windowed.insert(at, id),
            Ok(at) if !has => drop(self.windowed.remove(at)),
            _ => {}
        }
        self.set_next_roll();
    }

    /// Begins the next window of one budget; says whether any sum changed.
    fn begin_window(&mut self, now: Timestamp, id: BudgetId, calendar: &dyn Calendar) -> bool {
        let node = &mut self.nodes[id.0 as usize];
        match node.terms.window {
            Window::None => false,
            Window::Rolling(TimeUs(span)) => node.window.expire(now, span) != Amount::ZERO,
            Window::Calendar {
                period,
                zone,
                roll_over,
            } => {
                let mut carried = Amount::ZERO;
                for resource in Resource::ALL {
                    let cap = node.cap.get(resource);
                    let Some(limit) = node.terms.limits.get(resource) else {
                        continue;
                    };
                    let used = node
                        .spent_now(resource)
                        .saturating_add(node.held_now(resource));
                    let unused = cap.saturating_sub(used).max(0);
                    carried.set(resource, unused.min(roll_over.of(limit)));
                }
                let first = node.window.span.is_none();
                let span = calendar.span(period, zone, now);
                node.window.span = Some(span);
                if first {
                    // What was spent so far, if anything, is of this window; what calls hold
                    // that began earlier is not.
                    let held = self.held_before(id, span.start);
                    self.node_mut(id).window.past_held = held;
                    return true;
                }
                node.window.carried = carried;
                node.window.past_spent = node.spent;
                node.window.past_held = node.held;
                self.end_loans_of(id);
                true
            }
        }
    }

    /// What calls at a budget and below have metered that began before `start` and still run.
    pub(super) fn metered_before(&self, id: BudgetId, start: Timestamp) -> Amount {
        let early = (self.holds.values())
            .filter(|hold| hold.opened < start && hold.metered != Amount::ZERO)
            .filter(|hold| self.is_within(hold.budget, id));
        early.fold(Amount::ZERO, |sum, hold| sum.saturating_add(hold.metered))
    }

    /// What is held at a budget and below by calls that began before `start`.
    fn held_before(&self, id: BudgetId, start: Timestamp) -> Amount {
        let early = (self.holds.values())
            .filter(|hold| hold.opened < start && self.is_within(hold.budget, id));
        early.fold(Amount::ZERO, |sum, hold| {
            let left = hold.amount.checked_sub(hold.metered);
            sum.saturating_add(left.unwrap_or(Amount::ZERO))
        })
    }

    /// Sums up what counts at one budget: its window's committed and what is kept for children.
    fn recompute_load(&mut self, id: BudgetId) {
        let node = self.node(id);
        let (mut load, mut floor) = (Amount::ZERO, Amount::ZERO);
        for resource in Resource::ALL {
            let (mut kept, mut kept_idle) = (0i64, 0i64);
            for child in node.all_children() {
                let child = self.node(child);
                if child.window.apart {
                    continue;
                }
                let (claim, spent) = (child.claim.get(resource), child.spent_now(resource));
                let (load, floor) = (child.load.get(resource), child.floor.get(resource));
                let committed = spent + child.held_now(resource);
                kept = kept.saturating_add(load.max(claim) - committed);
                kept_idle = kept_idle.saturating_add(floor.max(claim) - spent);
            }
            let spent = node.spent_now(resource);
            let committed = spent + node.held_now(resource);
            load.set(resource, committed.saturating_add(kept));
            floor.set(resource, spent.saturating_add(kept_idle));
        }
        let node = self.node_mut(id);
        (node.load, node.floor) = (load, floor);
    }

    /// Puts what a call charged at `at` into the step of that time in every rolling window above
    /// its budget; it was restored as if it had been spent when the budget was allocated.
    pub fn restore_recent(&mut self, budget: BudgetId, at: Timestamp, amount: Amount) {
        let allocated = (self.nodes.get(budget.0 as usize)).map(|node| node.allocated);
        let mut next = allocated.and(Some(budget));
        while let Some(id) = next {
            let node = self.node_mut(id);
            next = node.parent;
            for resource in Resource::ALL {
                let units = amount.get(resource).min(node.spent.get(resource));
                let from = allocated.unwrap_or_default();
                node.window.put_in_step(from, resource, -units);
                node.window.put_in_step(at, resource, units);
            }
        }
    }

    /// Sums up all loads anew; children come after their parents in the arena.
    pub(super) fn recompute_loads(&mut self) {
        for index in (0..self.nodes.len() as u32).rev() {
            self.recompute_load(BudgetId(index));
        }
    }

    /// Sums up the loads of a path anew, where what was booked belongs to several windows.
    pub(super) fn recompute_path(&mut self, leaf: BudgetId) {
        let mut next = Some(leaf);
        while let Some(id) = next {
            self.recompute_load(id);
            next = self.node(id).parent;
        }
    }

    pub(super) fn set_next_roll(&mut self) {
        let ends = |id: &BudgetId| {
            let span = self.node(*id).window.span;
            span.map_or(Timestamp(i64::MIN), |span| span.end)
        };
        let next = self.windowed.iter().map(ends).min();
        self.next_roll = next.unwrap_or(Timestamp(i64::MAX));
        let starts = |id: &BudgetId| self.node(*id).window.span.map(|span| span.start);
        let latest = self.windowed.iter().filter_map(starts).max();
        self.latest_window = latest.unwrap_or(Timestamp(i64::MIN));
    }
}
