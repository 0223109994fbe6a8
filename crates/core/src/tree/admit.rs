//! Admission, the hard cap: whether a hold fits at a budget and at every ancestor.

use super::{Hold, Node, Tree};
use crate::amount::{Amount, Resource, Timestamp};
use crate::event::Event;
use crate::id::{BudgetId, HoldId};
use crate::refusal::{Refusal, Shortfall, TreeError};
use crate::terms::State;
use crate::tree::view::Headroom;

/// Which part of a limit a call may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cap {
    /// All but the wrap-up reserve.
    Ordinary,
    /// All of it.
    Whole,
    /// All of it but what is shared out to siblings: for a call that runs already.
    Running,
}

/// Which sum decides: with the open holds, or as if they were voided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sum {
    Load,
    Floor,
}

// === impl Tree ===

impl Tree {
    /// Holds `amount` at `budget` and every ancestor, or at none.
    ///
    /// A call marked `finalize` may use the wrap-up reserve. So may, once, an ordinary call of
    /// a budget that spent before Red, when ordinary room has run out for good.
    ///
    /// The same id with the same terms again is the same hold; with other terms a conflict.
    pub fn hold(
        &mut self,
        now: Timestamp,
        id: HoldId,
        budget: BudgetId,
        amount: Amount,
        finalize: bool,
        events: &mut Vec<Event>,
    ) -> Result<Result<(), Refusal>, TreeError> {
        if let Some(open) = self.holds.get(&id) {
            let same = open.budget == budget && open.amount == amount;
            return if same {
                Ok(Ok(()))
            } else {
                Err(TreeError::Conflict(id))
            };
        }
        if self.ended.get(id).is_some() {
            return Err(TreeError::Conflict(id));
        }
        if !amount.is_non_negative() {
            return Err(TreeError::Negative);
        }
        self.nodes
            .get(budget.0 as usize)
            .ok_or(TreeError::UnknownBudget(budget))?;
        self.check_range(Some(budget), amount)?;
        self.count_call(now, budget);
        let mut decision = self.decide(now, budget, amount, finalize);
        if let Err(Refusal::NotNow(_)) = decision {
            self.set_waiting(budget, amount);
            if self.divide_on_block(now, budget, events) {
                decision = self.decide(now, budget, amount, finalize);
            }
        }
        match decision {
            Err(refusal) => return Ok(Err(refusal)),
            Ok(Cap::Ordinary) => {}
            Ok(Cap::Whole | Cap::Running) => {
                self.node_mut(budget).finalized |= !finalize;
                self.touched.push(budget);
                events.push(Event::Finalize { budget });
            }
        }
        self.set_waiting(budget, Amount::ZERO);
        // Should the clock be set back, the call is of the present window all the same.
        let opened = now.max(self.latest_window);
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
        Ok(Ok(()))
    }

    /// Adds `by` to an open hold at its budget and every ancestor, or at none. The whole limit
    /// may be used, though not what is shared out to siblings: the call is running, and ending it
    /// late costs more than its reserve. What a single call may hold bounds the sum.
    pub fn extend(
        &mut self,
        now: Timestamp,
        id: HoldId,
        by: Amount,
    ) -> Result<Result<(), Refusal>, TreeError> {
        let hold = *self.holds.get(&id).ok_or(TreeError::UnknownHold(id))?;
        if !by.is_non_negative() {
            return Err(TreeError::Negative);
        }
        self.check_range(Some(hold.budget), by)?;
        if self
            .node(hold.budget)
            .deadline
            .is_some_and(|deadline| now >= deadline)
        {
            return Ok(Err(Refusal::Deadline(hold.budget)));
        }
        let amount = hold.amount.checked_add(by)?;
        if let Err(refusal) = self.judge_extension(hold, by, amount) {
            return Ok(Err(refusal));
        }
        self.holds.insert(id, Hold { amount, ..hold });
        self.book(hold.budget, hold.opened, Amount::ZERO, by);
        Ok(Ok(()))
    }

    /// Returns how much a hold at `budget` could be: now, and if every open hold were voided.
    /// Unlimited resources are `i64::MAX`. A budget whose one automatic wrap-up call is still
    /// to come sees the reserve only when nothing else could ever fit.
    pub fn headroom(&self, budget: BudgetId, finalize: bool) -> Headroom {
        let cap = if finalize { Cap::Whole } else { Cap::Ordinary };
        let (idle, open) = self.shared_room(budget, cap);
        Headroom {
            now: self.room(budget, None, cap, Sum::Load),
            idle,
            per_call: self.node(budget).per_call.or(i64::MAX),
            deadline: self.node(budget).deadline,
            may_finalize: finalize || self.may_finalize(budget),
            wrap_up: finalize,
            acting: self.acting(budget),
            open,
        }
    }

    /// Returns how much an ordinary hold at `budget` could be now, as far as the budgets up to
    /// `top` decide; what lies above it is not looked at.
    pub fn room_within(&self, budget: BudgetId, top: BudgetId) -> Amount {
        self.room(budget, Some(top), Cap::Ordinary, Sum::Load)
    }

    /// Says whether the budget's one automatic wrap-up call is still to come.
    pub(super) fn may_finalize(&self, budget: BudgetId) -> bool {
        let node = self.node(budget);
        node.spent_before_red && !node.finalized
    }

    /// Says whether a hold would be refused now, and why, without taking it.
    pub fn judge(
        &self,
        now: Timestamp,
        budget: BudgetId,
        amount: Amount,
        finalize: bool,
    ) -> Result<(), Refusal> {
        self.decide(now, budget, amount, finalize).map(|_| ())
    }

    /// Decides on a hold, and says which part of the limits it needs.
    fn decide(
        &self,
        now: Timestamp,
        budget: BudgetId,
        amount: Amount,
        finalize: bool,
    ) -> Result<Cap, Refusal> {
        let node = self.node(budget);
        match node.shut {
            Some((shut, State::Frozen)) => return Err(Refusal::Frozen(shut)),
            Some((shut, _)) => return Err(Refusal::Released(shut)),
            None => {}
        }
        if node.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(Refusal::Deadline(budget));
        }
        if let Some(denied) = self.denied(budget, amount) {
            return Err(Refusal::Never(denied));
        }
        self.judge_size(budget, amount, amount)?;
        let Some(short) = self.shortfall(budget, amount, Cap::Ordinary, Sum::Load) else {
            return Ok(Cap::Ordinary);
        };
        if !finalize {
            let Some(never) = self.shortfall(budget, amount, Cap::Ordinary, Sum::Floor) else {
                return Err(Refusal::NotNow(short));
            };
            // Ordinary room has run out for good: this may be the agent's wrap-up call.
            if !self.may_finalize(budget) {
                return Err(Refusal::Never(never));
            }
        }
        let Some(short) = self.shortfall(budget, amount, Cap::Whole, Sum::Load) else {
            return Ok(Cap::Whole);
        };
        match self.shortfall(budget, amount, Cap::Whole, Sum::Floor) {
            None => Err(Refusal::NotNow(short)),
            Some(never) => Err(Refusal::Never(never)),
        }
    }

    fn judge_extension(&self, hold: Hold, by: Amount, amount: Amount) -> Result<(), Refusal> {
        self.judge_size(hold.budget, amount, by)?;
        let Some(short) = self.shortfall(hold.budget, by, Cap::Running, Sum::Load) else {
            return Ok(());
        };
        // With every hold voided, this one's own would have to fit anew.
        let anew = std::array::from_fn(|i| match by.raw()[i] {
            0 => 0,
            _ => amount.raw()[i] - hold.metered.raw()[i],
        });
        let anew = Amount::from_raw(anew);
        match self.shortfall(hold.budget, anew, Cap::Whole, Sum::Floor) {
            None => Err(Refusal::NotNow(short)),
            Some(never) => Err(Refusal::Never(never)),
        }
    }

    /// Finds a limit of 0 on the path: it denies everything, also what would not use any of it.
    fn denied(&self, leaf: BudgetId, amount: Amount) -> Option<Shortfall> {
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = self.node(id);
            let nothing = |resource: &Resource| node.enforced().get(*resource) == 0;
            if let Some(resource) = Resource::ALL.into_iter().find(nothing) {
                return Some(shortfall_at(node, id, resource, 0, amount));
            }
            next = node.parent;
        }
        None
    }

    /// Checks a call of `amount` against what a single one may hold, in the resources that it
    /// `asks` for.
    fn judge_size(&self, budget: BudgetId, amount: Amount, asks: Amount) -> Result<(), Refusal> {
        for resource in Resource::ALL {
            let needed = amount.get(resource);
            if let Some(limit) = self.node(budget).per_call.get(resource)
                && asks.get(resource) > 0
                && needed > limit
            {
                let short = Shortfall {
                    budget,
                    resource,
                    limit,
                    spent: 0,
                    held: 0,
                    needed,
                };
                return Err(Refusal::PerCall(short));
            }
        }
        Ok(())
    }

    /// Finds the first budget on the path where `amount` does not fit: where the load would
    /// grow beyond `cap`, or, though a claim covers the call, what is committed beyond the
    /// limit. The latter happens only where an overrun or a lowered limit left less than what
    /// is kept for children; the limit holds then too.
    fn shortfall(&self, leaf: BudgetId, amount: Amount, cap: Cap, sum: Sum) -> Option<Shortfall> {
        let asked = amount.raw();
        let mut moving = asked;
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = self.node(id);
            let (sums, limits) = (pick(node, sum).raw(), limits(node, cap, sum).raw());
            let (claims, whole) = (node.claim.raw(), node.enforced().raw());
            for resource in Resource::ALL {
                let i = resource.index();
                if asked[i] == 0 {
                    continue;
                }
                let after = sums[i].saturating_add(moving[i]);
                if moving[i] > 0 && after > limits[i] {
                    return Some(shortfall_at(node, id, resource, limits[i], amount));
                }
                let used = committed(node, sum, resource);
                if used.saturating_add(asked[i]) > whole[i] {
                    return Some(shortfall_at(node, id, resource, whole[i], amount));
                }
                moving[i] = if node.window.apart {
                    asked[i]
                } else {
                    after.max(claims[i]) - sums[i].max(claims[i])
                };
            }
            next = node.parent;
        }
        None
    }

    /// The largest hold that would fit if every open one were voided, and how many are open at the
    /// budget that decides so. Of budgets with as little room the highest decides, and of tokens
    /// and cost the one that more share: time is not used up faster by many.
    fn shared_room(&self, leaf: BudgetId, cap: Cap) -> (Amount, u32) {
        let mut least = [i64::MAX; Resource::COUNT];
        let mut open = [0; Resource::COUNT];
        let room = self.walk_room(leaf, None, cap, Sum::Floor, |node, resource, room| {
            let i = resource.index();
            if room <= least[i] {
                (least[i], open[i]) = (room, node.open);
            }
        });
        let shared = [Resource::Tokens, Resource::Cost]
            .into_iter()
            .filter(|resource| room.get(*resource) < i64::MAX)
            .map(|resource| open[resource.index()])
            .max();
        (room, shared.unwrap_or(self.node(leaf).open))
    }

    /// The largest hold that fits on the path up to `top`, or on the whole path.
    fn room(&self, leaf: BudgetId, top: Option<BudgetId>, cap: Cap, sum: Sum) -> Amount {
        self.walk_room(leaf, top, cap, sum, |_, _, _| {})
    }

    /// Likewise, and shows what each limited budget on the way has room for.
    fn walk_room(
        &self,
        leaf: BudgetId,
        top: Option<BudgetId>,
        cap: Cap,
        sum: Sum,
        mut see: impl FnMut(&Node, Resource, i64),
    ) -> Amount {
        let mut room = [i64::MAX; Resource::COUNT];
        let mut covered = [0i64; Resource::COUNT];
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = self.node(id);
            let (sums, limits) = (pick(node, sum).raw(), limits(node, cap, sum).raw());
            let claims = node.claim.raw();
            for resource in Resource::ALL {
                let i = resource.index();
                let free = limits[i].saturating_sub(sums[i]).max(0);
                if limits[i] != i64::MAX {
                    let whole = node.enforced().get(resource);
                    let uncommitted = whole.saturating_sub(committed(node, sum, resource)).max(0);
                    let here = covered[i].saturating_add(free).min(uncommitted);
                    see(node, resource, here);
                    room[i] = room[i].min(here);
                }
                covered[i] = covered[i].saturating_add((claims[i] - sums[i]).max(0));
            }
            next = node.parent.filter(|_| top != Some(id));
        }
        Amount::from_raw(room)
    }
}

/// Checks that a child's claim of `amount` fits at `parent` and above.
pub(super) fn fits(tree: &Tree, parent: BudgetId, amount: Amount) -> Result<(), TreeError> {
    tree.check_range(Some(parent), amount)?;
    match tree.shortfall(parent, amount, Cap::Whole, Sum::Load) {
        Some(short) => Err(TreeError::DoesNotFit(short)),
        None => Ok(()),
    }
}

fn pick(node: &Node, sum: Sum) -> Amount {
    match sum {
        Sum::Load => node.load,
        Sum::Floor => node.floor,
    }
}

/// What calls below a budget commit of it in its window, whatever is kept for whom.
fn committed(node: &Node, sum: Sum, resource: Resource) -> i64 {
    match sum {
        Sum::Load => node
            .spent_now(resource)
            .saturating_add(node.held_now(resource)),
        Sum::Floor => node.spent_now(resource),
    }
}

/// A share moves with what the siblings do, so it says nothing about what could ever fit.
fn limits(node: &Node, cap: Cap, sum: Sum) -> Amount {
    if node.terms.observed {
        return node.enforced();
    }
    match (cap, sum) {
        (Cap::Ordinary, Sum::Load) => node.ordinary,
        (Cap::Ordinary, Sum::Floor) => node.unreserved,
        (Cap::Running, Sum::Load) => node.cap.min(node.share.or(i64::MAX)),
        (Cap::Whole | Cap::Running, _) => node.cap,
    }
}

fn shortfall_at(
    node: &Node,
    budget: BudgetId,
    resource: Resource,
    limit: i64,
    amount: Amount,
) -> Shortfall {
    Shortfall {
        budget,
        resource,
        limit,
        spent: node.spent_now(resource),
        held: node.held_now(resource),
        needed: amount.get(resource),
    }
}
