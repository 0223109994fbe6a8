//! Levels: how far each budget is used up, and which budget binds a call.

use super::{Node, Tree};
use crate::amount::{Resource, TimeUs, Timestamp};
use crate::event::Event;
use crate::id::BudgetId;
use crate::level::Level;

/// Which level acts on the calls of a budget, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Acting {
    /// The level.
    pub level: Level,
    /// The budget that it is of.
    pub budget: BudgetId,
    /// The resource, or `None` for elapsed time, and where all is Green.
    pub resource: Option<Resource>,
}

/// The resolution at which elapsed time is compared with its thresholds.
const ELAPSED_SCALE: i64 = 1_000_000;

// === impl Tree ===

impl Tree {
    /// Moves the levels of elapsed time; called by a timer, since no call need happen.
    pub fn tick(&mut self, now: Timestamp, events: &mut Vec<Event>) {
        for index in 0..self.timed.len() {
            let id = self.timed[index];
            let node = self.node(id);
            let passed = now.since(node.allocated).0;
            let share = match node.terms.elapsed {
                // The limit was removed: its level falls back to Green.
                None => 0,
                Some(TimeUs(0)) => ELAPSED_SCALE,
                Some(TimeUs(span)) => {
                    let scaled = i128::from(passed.min(span)) * i128::from(ELAPSED_SCALE);
                    (scaled / i128::from(span)) as i64
                }
            };
            let thresholds = node.thresholds(None);
            let node = self.node_mut(id);
            while let Some(to) = thresholds.step(node.elapsed_level, share, ELAPSED_SCALE) {
                let from = std::mem::replace(&mut node.elapsed_level, to);
                events.push(Event::LevelChanged {
                    budget: id,
                    resource: None,
                    from,
                    to,
                });
            }
        }
    }

    /// Returns when the elapsed time of a budget reaches a level, or `None` when nothing limits it.
    pub fn elapsed_begins(&self, id: BudgetId, level: Level) -> Option<Timestamp> {
        let node = self.nodes.get(id.0 as usize)?;
        let span = node.terms.elapsed?;
        let passed = self.thresholds.begins(level, span.0).max(0);
        Some(node.allocated.after(TimeUs(passed)))
    }

    /// Returns the level that binds calls of `leaf`, the budget it comes from, and the
    /// resource (`None` for elapsed time). An ancestor's level does not bind while the unspent
    /// claim of a budget below it covers the call.
    pub fn binding_level(&self, leaf: BudgetId) -> (Level, BudgetId, Option<Resource>) {
        let bound = self.worst_level(leaf, |_| true);
        (bound.level, bound.budget, bound.resource)
    }

    /// Returns the level that acts on calls of `leaf`: the one that binds them, but for budgets
    /// that only watch.
    pub fn acting(&self, leaf: BudgetId) -> Acting {
        self.worst_level(leaf, |node| !node.terms.observed)
    }

    /// Returns the worst level on the path of `leaf`, of the budgets that count.
    fn worst_level(&self, leaf: BudgetId, counts: impl Fn(&Node) -> bool) -> Acting {
        let mut worst = (Level::Green, leaf, None);
        let mut covered = [false; Resource::COUNT];
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = self.node(id);
            next = node.parent;
            if !counts(node) {
                continue;
            }
            if node.elapsed_level > worst.0 {
                worst = (node.elapsed_level, id, None);
            }
            for resource in Resource::ALL {
                let i = resource.index();
                if !covered[i] && node.levels[i] > worst.0 {
                    worst = (node.levels[i], id, Some(resource));
                }
                covered[i] |= node.load.get(resource) < node.claim.get(resource);
            }
        }
        let (level, budget, resource) = worst;
        Acting {
            level,
            budget,
            resource,
        }
    }

    /// Sets anew what calls may use of a budget, and moves its levels to where they then stand.
    pub(super) fn refresh_caps(&mut self, id: BudgetId, events: &mut Vec<Event>) {
        let node = self.node_mut(id);
        node.refresh_cap();
        for resource in Resource::ALL {
            node.set_level_span(resource);
        }
        self.refresh_path_levels(id, events);
    }

    /// Moves the levels of a path to where its spent amounts stand.
    pub(super) fn refresh_path_levels(&mut self, leaf: BudgetId, events: &mut Vec<Event>) {
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = self.node(id);
            next = node.parent;
            let spent = Resource::ALL.map(|resource| node.spent_now(resource));
            if !leaves_a_span(spent, &node.level_span) {
                continue;
            }
            for resource in Resource::ALL {
                self.refresh_level(id, resource, events);
            }
        }
    }

    fn refresh_level(&mut self, id: BudgetId, resource: Resource, events: &mut Vec<Event>) {
        let node = self.node_mut(id);
        let thresholds = node.thresholds(Some(resource));
        let index = resource.index();
        let limit = node.measure(resource);
        let spent = node.spent_now(resource);
        let step = |level: Level| match limit {
            Some(limit) => thresholds.step(level, spent, limit),
            None => level.down(),
        };
        while let Some(to) = step(node.levels[index]) {
            let from = std::mem::replace(&mut node.levels[index], to);
            events.push(Event::LevelChanged {
                budget: id,
                resource: Some(resource),
                from,
                to,
            });
        }
        node.set_level_span(resource);
    }
}

/// Says whether a spent amount has left the span in which its level stays.
fn leaves_a_span(spent: [i64; Resource::COUNT], spans: &[(i64, i64); Resource::COUNT]) -> bool {
    spans
        .iter()
        .zip(spent)
        .any(|((down, up), spent)| spent < *down || spent >= *up)
}
