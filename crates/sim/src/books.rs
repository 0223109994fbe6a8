//! The team's budget in the real tree. Agents are named by their place in the team.

use fisc_core::sharing::Sharing;
use fisc_core::{
    Amount, BudgetId, Claim, HoldId, Limits, Money, Refusal, Resource, Terms, Thresholds,
    Timestamp, Tree, Weight,
};

use crate::policy::Policy;
use crate::team::{Agent, Team};

/// The tree of one team under one policy.
pub(crate) struct Books {
    policy: Policy,
    tree: Tree,
    root: BudgetId,
    agents: Vec<BudgetId>,
    holds: u128,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It runs under this hold.
    Held(HoldId),
    /// It waits for room.
    Waits,
    /// There will never be room, whatever ends: a client is told so, and gives up.
    Refused,
}

const MESSAGE: &str = "the simulator asks nothing that the tree calls an error";

// === impl Books ===

impl Books {
    /// Opens a budget for the team and one for each agent, all at once: that an agent starts
    /// later does not make it unknown.
    pub(crate) fn open(policy: Policy, team: &Team) -> Books {
        let mut tree = Tree::new(Thresholds::default());
        let (start, mut events) = (Timestamp(0), Vec::new());
        let terms = Terms {
            limits: cost(team.budget.nanos()),
            sharing: policy.sharing().unwrap_or(Sharing::Pool),
            ..Terms::default()
        };
        let root = tree
            .allocate(start, None, "team", terms, &mut events)
            .expect(MESSAGE);
        let mut allocate = |(number, agent): (usize, &Agent)| {
            let name = format!("agent-{number}");
            let terms = terms_of(policy, team, agent);
            tree.allocate(start, Some(root), &name, terms, &mut events)
                .expect(MESSAGE)
        };
        let agents = team.agents.iter().enumerate().map(&mut allocate).collect();
        Books {
            policy,
            tree,
            root,
            agents,
            holds: 0,
        }
    }

    /// Holds what a call costs; what finds no room is remembered as waiting, and divided for.
    pub(crate) fn hold(&mut self, now: Timestamp, agent: usize, amount: Amount) -> Answer {
        let answer = self.try_hold(now, agent, amount);
        let short = !matches!(answer, Answer::Held(_));
        if self.policy == Policy::Loans && short && self.borrow(agent, amount) {
            return self.try_hold(now, agent, amount);
        }
        answer
    }

    fn try_hold(&mut self, now: Timestamp, agent: usize, amount: Amount) -> Answer {
        let id = HoldId(self.holds);
        let mut events = Vec::new();
        let held = self
            .tree
            .hold(now, id, self.agents[agent], amount, false, &mut events)
            .expect(MESSAGE);
        match held {
            Ok(()) => {
                self.holds += 1;
                Answer::Held(id)
            }
            Err(Refusal::NotNow(_)) => Answer::Waits,
            // Others may still come to lend.
            Err(_) if self.policy == Policy::Loans => Answer::Waits,
            Err(_) => Answer::Refused,
        }
    }

    /// Borrows what is missing to a call from those that have the most to lend; says whether
    /// it got anything.
    fn borrow(&mut self, agent: usize, amount: Amount) -> bool {
        let borrower = self.agents[agent];
        let mut missing = self.missing(borrower, amount);
        let mut lenders: Vec<(i64, BudgetId)> = (self.agents.iter())
            .filter(|lender| **lender != borrower)
            .map(|lender| (self.missing(*lender, Amount::ZERO), *lender))
            .collect();
        lenders.sort_unstable();
        let before = missing;
        for (_, lender) in lenders {
            if missing <= 0 {
                break;
            }
            let asked = Amount::from_raw([0, missing, 0]);
            let lent = self.tree.lend(lender, borrower, asked, &mut Vec::new());
            missing -= lent.map_or(0, |lent| lent.get(Resource::Cost));
        }
        missing < before
    }

    /// What a budget is short of for a call; negative where there is room left.
    fn missing(&self, id: BudgetId, amount: Amount) -> i64 {
        let view = self.tree.budget(id).expect(MESSAGE);
        let units = |amount: Amount| amount.get(Resource::Cost);
        let limit = view.terms.limits.get(Resource::Cost).unwrap_or(i64::MAX);
        let committed = units(view.spent) + units(view.held) + units(amount);
        committed - limit.saturating_add(units(view.loaned))
    }

    /// Settles a call.
    pub(crate) fn settle(&mut self, id: HoldId, amount: Amount) {
        let settled = self.tree.settle(id, amount, &mut Vec::new());
        settled.expect(MESSAGE);
    }

    /// Ends an agent's budget; what it does not use returns and is divided.
    pub(crate) fn release(&mut self, now: Timestamp, agent: usize) {
        if self.policy == Policy::Loans {
            // It stays, as a lender of all that it will not need.
            self.expect(agent, self.spent(agent));
        } else if self.policy != Policy::Static {
            let released = self.tree.release(now, self.agents[agent], &mut Vec::new());
            released.expect(MESSAGE);
        }
    }

    /// Tells the tree what an agent is now predicted to need.
    pub(crate) fn expect(&mut self, agent: usize, need: Money) {
        if self.policy.knows_estimates() {
            let predicted = self.tree.expect(self.agents[agent], cost(need.nanos()));
            predicted.expect(MESSAGE);
        }
    }

    /// Divides the budget anew; says whether any share changed.
    pub(crate) fn rebalance(&mut self, now: Timestamp) -> bool {
        let before = self.shares();
        let divided = self.tree.rebalance(now, self.root, &mut Vec::new());
        divided.expect(MESSAGE);
        before != self.shares()
    }

    /// Returns what is lent and not repaid.
    pub(crate) fn on_loan(&self) -> Money {
        let owed = self
            .tree
            .loans()
            .iter()
            .map(|loan| loan.amount.cost().nanos());
        Money::from_nanos(owed.sum())
    }

    /// Returns what an agent spent.
    pub(crate) fn spent(&self, agent: usize) -> Money {
        self.spent_at(self.agents[agent])
    }

    /// Returns what the whole team spent.
    pub(crate) fn spent_by_all(&self) -> Money {
        self.spent_at(self.root)
    }

    fn spent_at(&self, id: BudgetId) -> Money {
        self.tree.budget(id).expect(MESSAGE).spent.cost()
    }

    /// Checks what is always true of a tree.
    pub(crate) fn check(&self) {
        if let Err(violation) = fisc_core::invariants::check(&self.tree) {
            panic!("the tree is broken: {violation:?}");
        }
    }

    fn shares(&self) -> Vec<Limits> {
        let share = |id: &BudgetId| self.tree.budget(*id).expect(MESSAGE).share;
        self.agents.iter().map(share).collect()
    }
}

fn terms_of(policy: Policy, team: &Team, agent: &Agent) -> Terms {
    let equal = team.budget.nanos() / team.agents.len() as i64;
    let estimate = policy.knows_estimates().then_some(agent.estimate.nanos());
    let need = Limits::NONE.with(Resource::Cost, estimate);
    if matches!(policy, Policy::Static | Policy::Loans) {
        return Terms {
            limits: cost(equal),
            claim: Claim::Limit,
            need,
            ..Terms::default()
        };
    }
    // The default guarantee for a team whose size is known: 5 %, at most half an equal part.
    let guarantee = (equal / 2).min(team.budget.nanos() / 20);
    Terms {
        claim: Claim::Guarantee(Amount::from_raw([0, guarantee, 0])),
        weight: match policy {
            Policy::Priority => Weight(agent.weight),
            _ => Weight(1),
        },
        need,
        ..Terms::default()
    }
}

fn cost(units: i64) -> Limits {
    Limits::NONE.with(Resource::Cost, Some(units))
}
