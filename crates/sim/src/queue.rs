//! Whose waiting call is served first: the virtual token counter.
//!
//! Every agent's counter grows by what it is served. The smallest one goes first, so two agents
//! that both wait are served alike. Who comes back from a pause is lifted to the smallest
//! counter of those that are there: not calling earns no credit.

/// Counters of a team, and who waits.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    counters: Vec<i64>,
    present: Vec<bool>,
    waiting: Vec<bool>,
}

// === impl Queue ===

impl Queue {
    pub(crate) fn new(agents: usize) -> Queue {
        Queue {
            counters: vec![0; agents],
            present: vec![false; agents],
            waiting: vec![false; agents],
        }
    }

    /// An agent asks, after it was gone if it is not present.
    pub(crate) fn joins(&mut self, agent: usize) {
        if !self.present[agent] {
            let there = (0..self.counters.len()).filter(|other| self.present[*other]);
            let least = there.map(|other| self.counters[other]).min();
            let lifted = self.counters[agent].max(least.unwrap_or(0));
            self.counters[agent] = lifted;
            self.present[agent] = true;
        }
    }

    /// An agent will not ask again.
    pub(crate) fn leaves(&mut self, agent: usize) {
        self.present[agent] = false;
        self.waiting[agent] = false;
    }

    /// A call of an agent was served.
    pub(crate) fn served(&mut self, agent: usize, units: i64) {
        self.counters[agent] = self.counters[agent].saturating_add(units);
        self.waiting[agent] = false;
    }

    /// A call of an agent has to wait.
    pub(crate) fn waits(&mut self, agent: usize) {
        self.waiting[agent] = true;
    }

    /// Says whether a call of an agent waits.
    pub(crate) fn is_waiting(&self, agent: usize) -> bool {
        self.waiting[agent]
    }

    /// Returns who waits, in the order of service.
    pub(crate) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.waiting.len())
            .filter(|agent| self.waiting[*agent])
            .collect();
        order.sort_by_key(|agent| (self.counters[*agent], *agent));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_served_goes_first() {
        let mut queue = Queue::new(3);
        for agent in 0..3 {
            queue.joins(agent);
        }
        for agent in 0..3 {
            queue.served(agent, [30, 10, 20][agent]);
            queue.waits(agent);
        }
        assert_eq!(queue.order(), [1, 2, 0]);
        queue.served(1, 100);
        assert_eq!(queue.order(), [2, 0], "a served call waits no longer");
    }

    #[test]
    fn a_late_comer_is_lifted_and_earns_no_credit() {
        let mut queue = Queue::new(3);
        queue.joins(0);
        queue.served(0, 50);
        queue.joins(1);
        queue.served(1, 10);
        queue.joins(2);
        for agent in 0..3 {
            queue.waits(agent);
        }
        assert_eq!(queue.order(), [0, 2, 1], "both came in at 50");
        queue.leaves(0);
        assert_eq!(queue.order(), [2, 1]);
    }
}
