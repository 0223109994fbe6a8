//! Sharing: what siblings may commit of what their parent has, divided anew when one of them is
//! born, finishes or is blocked, and every few seconds; and the end of a budget, which gives
//! back what it did not use.

use super::grow::contribution;
use super::{Node, Tree};
use crate::amount::{Amount, Resource, TimeUs, Timestamp};
use crate::event::Event;
use crate::id::BudgetId;
use crate::refusal::TreeError;
use crate::sharing::auction::{self, Bid};
use crate::sharing::{self, Member, Sharing, Standing};
use crate::terms::{Claim, Limits, Permille, State};

/// How long a budget may make no call before what is kept for it may be reclaimed.
pub const IDLE: TimeUs = TimeUs(120_000_000);

/// The least time between two divisions that blocked calls cause.
const BLOCK_SPACING: TimeUs = TimeUs(50_000);

/// For how long an auction sells.
const SALE_PERIOD: TimeUs = TimeUs(10_000_000);

/// The largest automatic guarantee: this share of the parent's limit.
const AUTOMATIC: Permille = Permille(50);

// === impl Tree ===

impl Tree {
    /// Takes a new prediction of what a budget will have spent in total when it is done.
    pub fn expect(&mut self, id: BudgetId, need: Limits) -> Result<(), TreeError> {
        if !need.is_non_negative() {
            return Err(TreeError::Negative);
        }
        self.nodes
            .get_mut(id.0 as usize)
            .ok_or(TreeError::UnknownBudget(id))?
            .need = need;
        Ok(())
    }

    /// Divides what a budget has among its children anew, by its sharing. Under a pool nothing
    /// is divided, but guarantees of children that make no calls go back to it.
    ///
    /// Nobody's share falls below what it committed, and the shares never sum up to more than
    /// there is.
    pub fn rebalance(
        &mut self,
        now: Timestamp,
        parent: BudgetId,
        events: &mut Vec<Event>,
    ) -> Result<(), TreeError> {
        let node = self
            .nodes
            .get_mut(parent.0 as usize)
            .ok_or(TreeError::UnknownBudget(parent))?;
        node.divided = Some(now);
        let sharing = node.terms.sharing;
        let mut children: Vec<BudgetId> = node.all_children().collect();
        children.sort_unstable();
        self.reclaim_idle(now, &children);
        if sharing == Sharing::Pool {
            for child in children {
                self.set_share(child, None, events);
            }
            return Ok(());
        }
        let members: Vec<Member> = children.iter().map(|id| self.member(now, *id)).collect();
        let total = self.to_share(parent);
        let shares = if sharing == Sharing::Auction && self.is_sale_due(now, parent, &children) {
            self.sell(now, parent, total, &children, &members)
        } else {
            sharing::divide(sharing, total, &members)
        };
        for (child, share) in children.into_iter().zip(shares) {
            self.set_share(child, Some(share), events);
        }
        Ok(())
    }

    /// Returns the budgets whose children's shares or guarantees are divided by a control loop.
    pub fn shared_budgets(&self) -> impl Iterator<Item = BudgetId> {
        self.shared.iter().copied()
    }

    /// Ends a budget: nothing is admitted there and below any more, and what it did not use is
    /// its parent's again. Its calls must have ended.
    pub fn release(
        &mut self,
        now: Timestamp,
        id: BudgetId,
        events: &mut Vec<Event>,
    ) -> Result<(), TreeError> {
        let node = self
            .nodes
            .get(id.0 as usize)
            .ok_or(TreeError::UnknownBudget(id))?;
        if node.terms.state == State::Released {
            return Ok(());
        }
        if node.open > 0 {
            return Err(TreeError::CallsRunning(node.open));
        }
        let parent = node.parent;
        self.repay_all(id);
        let mut terms = self.node(id).terms;
        terms.state = State::Released;
        self.put_terms(id, terms);
        events.push(Event::Released { budget: id });
        self.refresh_caps(id, events);
        match parent {
            Some(parent) => self.rebalance(now, parent, events),
            None => Ok(()),
        }
    }

    /// Returns the guarantee of a child that declares none: the smaller of 5% of what `parent`
    /// has and half an equal part, as far as it fits.
    pub(super) fn automatic_guarantee(&self, parent: BudgetId) -> Amount {
        let node = self.node(parent);
        let siblings = node.children.len() as i64 + 1;
        let room = self.headroom(parent, true).now;
        let raw = Resource::ALL.map(|resource| match node.cap.get(resource) {
            i64::MAX => 0,
            cap => AUTOMATIC
                .of(cap)
                .min(cap / 2 / siblings)
                .min(room.get(resource)),
        });
        Amount::from_raw(raw)
    }

    /// Notes that calls come through a path, and gives back a guarantee that was reclaimed, as
    /// far as there is room for it.
    pub(super) fn count_call(&mut self, now: Timestamp, leaf: BudgetId) {
        if self.shared.is_empty() {
            return;
        }
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = self.node_mut(id);
            next = node.parent;
            node.called = node.called.max(Some(now));
            if node.reclaimed {
                self.give_back(id);
            }
        }
    }

    /// Notes that a call of a budget would need `least` and finds no room for it: its budget is
    /// not idle, and siblings may have more than they need. Says whether shares were divided
    /// anew, so that there may be room now.
    pub fn want(
        &mut self,
        now: Timestamp,
        leaf: BudgetId,
        least: Amount,
        events: &mut Vec<Event>,
    ) -> bool {
        self.count_call(now, leaf);
        self.set_waiting(leaf, least);
        self.divide_on_block(now, leaf, events)
    }

    /// Forgets that a call of a budget waits for room: it gave up.
    pub fn stop_waiting(&mut self, leaf: BudgetId) {
        self.set_waiting(leaf, Amount::ZERO);
    }

    /// Notes what a call that waits for room would hold; nothing when it got it.
    pub(super) fn set_waiting(&mut self, leaf: BudgetId, amount: Amount) {
        if self.shared.is_empty() {
            return;
        }
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = self.node_mut(id);
            next = node.parent;
            node.waiting = amount;
        }
    }

    /// A call does not fit now: divides anew wherever that may help, not more often than every
    /// [`BLOCK_SPACING`]. Says whether it did.
    pub(super) fn divide_on_block(
        &mut self,
        now: Timestamp,
        leaf: BudgetId,
        events: &mut Vec<Event>,
    ) -> bool {
        if self.shared.is_empty() {
            return false;
        }
        let mut divided = false;
        let mut next = Some(leaf);
        while let Some(id) = next {
            let node = self.node(id);
            next = node.parent;
            let lately = node
                .divided
                .is_some_and(|at| now.since(at) < BLOCK_SPACING && now >= at);
            if !lately && self.shared.binary_search(&id).is_ok() {
                divided |= self.rebalance(now, id, events).is_ok();
            }
        }
        divided
    }

    /// Says whether a period has passed since the last sale, or somebody new has bought nothing.
    fn is_sale_due(&self, now: Timestamp, parent: BudgetId, children: &[BudgetId]) -> bool {
        let passed = |sold: Timestamp| now.since(sold) >= SALE_PERIOD;
        let unsold = |id: &BudgetId| self.node(*id).share.is_none();
        self.node(parent).sold.is_none_or(passed) || children.iter().any(unsold)
    }

    /// Sells what is beyond commitments and guarantees for a period. What is paid is divided
    /// equally among all, so that the sum of credits stays.
    fn sell(
        &mut self,
        now: Timestamp,
        parent: BudgetId,
        total: Amount,
        children: &[BudgetId],
        members: &[Member],
    ) -> Vec<Amount> {
        let bid = |(id, member): (&BudgetId, &Member)| Bid {
            price: auction::bid(member, member.weight),
            credits: self.node(*id).credits,
        };
        let bids: Vec<Bid> = children.iter().zip(members).map(bid).collect();
        let before: Vec<i64> = bids.iter().map(|bid| bid.credits).collect();
        let sale = auction::auction(total, members, &bids);
        let mut pot = self.node(parent).undivided;
        for (id, paid) in children.iter().zip(&sale.paid) {
            self.node_mut(*id).credits -= paid;
            pot += paid;
        }
        let each = pot / children.len().max(1) as i64;
        for id in children {
            self.node_mut(*id).credits += each;
            pot -= each;
        }
        for (id, before) in children.iter().zip(before) {
            if self.node(*id).credits != before {
                self.touched.push(*id);
            }
        }
        let node = self.node_mut(parent);
        let undivided = std::mem::replace(&mut node.undivided, pot);
        node.sold = Some(now);
        if undivided != pot {
            self.touched.push(parent);
        }
        sale.shares
    }

    /// Remembers or forgets that a control loop has something to divide at a budget: shares, or
    /// guarantees that can be reclaimed.
    pub(super) fn note_sharing(&mut self, id: BudgetId) {
        let node = self.node(id);
        let guaranteed = |child: &BudgetId| {
            let terms = &self.node(*child).terms;
            matches!(terms.claim, Claim::Guarantee(_))
        };
        let has = node.terms.sharing != Sharing::Pool || node.children.values().any(guaranteed);
        match self.shared.binary_search(&id) {
            Err(at) if has => self.shared.insert(at, id),
            Ok(at) if !has => drop(self.shared.remove(at)),
            _ => {}
        }
    }

    /// What a budget's children may commit together: all but its reserve and its own calls.
    fn to_share(&self, parent: BudgetId) -> Amount {
        let node = self.node(parent);
        let raw = Resource::ALL.map(|resource| match node.ordinary.get(resource) {
            i64::MAX => i64::MAX,
            ordinary => {
                let of_children: i64 = (node.all_children())
                    .map(|child| self.node(child))
                    .filter(|child| !child.window.apart)
                    .map(|child| child.spent_now(resource) + child.held_now(resource))
                    .sum();
                let all = node.spent_now(resource) + node.held_now(resource);
                ordinary.saturating_sub((all - of_children).max(0)).max(0)
            }
        });
        Amount::from_raw(raw)
    }

    fn member(&self, now: Timestamp, id: BudgetId) -> Member {
        let node = self.node(id);
        let idle = is_idle(node, now);
        let standing = match node.terms.state {
            State::Released => Standing::Released,
            _ if idle => Standing::Idle,
            _ => Standing::Active,
        };
        let need = Resource::ALL
            .into_iter()
            .fold(node.terms.need, |need, resource| {
                match node.need.get(resource) {
                    Some(predicted) => need.with(resource, Some(predicted)),
                    None => need,
                }
            });
        Member {
            standing,
            weight: u32::from(node.terms.weight.0.max(1)),
            need,
            committed: node.load,
            waiting: node.waiting,
            guarantee: node.claim,
            limit: node.cap,
            share: (!node.share.is_none()).then(|| node.share.or(i64::MAX)),
            since: node.allocated,
        }
    }

    fn set_share(&mut self, id: BudgetId, share: Option<Amount>, events: &mut Vec<Event>) {
        let share = match share {
            None => Limits::NONE,
            Some(share) => Resource::ALL.into_iter().fold(Limits::NONE, |limits, r| {
                let units = share.get(r);
                limits.with(r, (units != i64::MAX).then_some(units))
            }),
        };
        if self.node(id).share != share {
            self.node_mut(id).share = share;
            self.refresh_caps(id, events);
        }
    }

    /// Takes guarantees back from children that made no call for [`IDLE`] and have none running.
    fn reclaim_idle(&mut self, now: Timestamp, children: &[BudgetId]) {
        for id in children {
            let node = self.node(*id);
            let guaranteed = matches!(node.terms.claim, Claim::Guarantee(_));
            if guaranteed && is_idle(node, now) && !node.reclaimed {
                self.node_mut(*id).reclaimed = true;
                self.put_terms(*id, self.node(*id).terms);
            }
        }
    }

    /// Gives a reclaimed guarantee back once all of it fits again.
    fn give_back(&mut self, id: BudgetId) {
        let node = self.node(id);
        let (Claim::Guarantee(amount), Some(parent)) = (node.terms.claim, node.parent) else {
            return;
        };
        let growth = contribution(node).max(amount.min(node.cap));
        let Ok(growth) = growth.checked_sub(contribution(node)) else {
            return;
        };
        if super::admit::fits(self, parent, growth).is_ok() {
            self.node_mut(id).reclaimed = false;
            self.put_terms(id, self.node(id).terms);
        }
    }
}

/// Says whether a budget made calls once, and none of late; one that has not begun is not idle.
fn is_idle(node: &Node, now: Timestamp) -> bool {
    let quiet = |called: Timestamp| now.since(called) >= IDLE;
    node.called.is_some_and(quiet) && node.open == 0 && node.waiting == Amount::ZERO
}
