//! What is always true of a tree, written once: used by property tests, the simulator, debug
//! assertions and `fisc verify`.
//!
//! Everything is summed up anew from what calls did and what owners decided; nothing derived is
//! trusted.

use std::fmt;

use crate::amount::{Amount, Resource};
use crate::id::BudgetId;
use crate::tree::{Node, Tree};

/// Which invariant a tree breaks, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's short name, stable for metrics.
    pub invariant: &'static str,
    /// The budget at which it breaks.
    pub budget: BudgetId,
    /// What was found.
    pub found: String,
}

/// Sums that follow of the holds, own spending and claims alone.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    spent: Amount,
    held: Amount,
    own_held: Amount,
    load: Amount,
    floor: Amount,
    open: u32,
}

/// Checks every invariant of a tree and returns the first violation.
pub fn check(tree: &Tree) -> Result<(), Violation> {
    let sums = sum_up(tree)?;
    for (index, (node, sum)) in tree.nodes.iter().zip(&sums).enumerate() {
        let id = BudgetId(index as u32);
        same(id, "spent adds up", node.spent, sum.spent)?;
        same(id, "held adds up", node.held, sum.held)?;
        same(id, "own holds add up", node.own_held, sum.own_held)?;
        same(id, "load adds up", node.load, sum.load)?;
        same(id, "floor adds up", node.floor, sum.floor)?;
        if node.open != sum.open {
            let found = format!("{} open, {} holds", node.open, sum.open);
            return Err(Violation {
                invariant: "every hold ends once",
                budget: id,
                found,
            });
        }
        conservation(id, node)?;
    }
    Ok(())
}

/// Conservation: committed plus what is kept for children never exceeds the limit, except by
/// what a settlement or a lowered limit is on record for.
fn conservation(budget: BudgetId, node: &Node) -> Result<(), Violation> {
    for resource in Resource::ALL {
        let (load, cap) = (node.load.get(resource), node.cap.get(resource));
        let excused = node
            .overrun
            .get(resource)
            .saturating_add(node.deficit.get(resource));
        if load > cap.saturating_add(excused) {
            let found = format!("{resource}: load {load}, limit {cap}, on record {excused}");
            return Err(Violation {
                invariant: "conservation",
                budget,
                found,
            });
        }
    }
    let parts = [
        node.own_spent,
        node.own_held,
        node.spent,
        node.held,
        node.overrun,
    ];
    if parts.iter().all(Amount::is_non_negative) {
        return Ok(());
    }
    let found = format!("{parts:?}");
    Err(Violation {
        invariant: "nothing is negative",
        budget,
        found,
    })
}

fn sum_up(tree: &Tree) -> Result<Vec<Sums>, Violation> {
    let mut sums = vec![Sums::default(); tree.nodes.len()];
    for hold in tree.holds() {
        let own = &mut sums[hold.budget.0 as usize];
        let left = minus(hold.budget, hold.amount, hold.metered)?;
        own.own_held = plus(hold.budget, own.own_held, left)?;
        own.open += 1;
    }
    // Children come after their parents in the arena, so one pass backwards sums the tree.
    for index in (0..tree.nodes.len()).rev() {
        let (node, id) = (&tree.nodes[index], BudgetId(index as u32));
        let mut sum = sums[index];
        sum.spent = plus(id, sum.spent, node.own_spent)?;
        sum.held = plus(id, sum.held, sum.own_held)?;
        let own = plus(id, node.own_spent, sum.own_held)?;
        sum.load = plus(id, sum.load, own)?;
        sum.floor = plus(id, sum.floor, node.own_spent)?;
        sums[index] = sum;
        let Some(parent) = node.parent else { continue };
        let above = &mut sums[parent.0 as usize];
        above.spent = plus(id, above.spent, sum.spent)?;
        above.held = plus(id, above.held, sum.held)?;
        above.load = plus(id, above.load, sum.load.max(node.claim))?;
        above.floor = plus(id, above.floor, sum.floor.max(node.claim))?;
        above.open += sum.open;
    }
    Ok(sums)
}

fn same(
    budget: BudgetId,
    invariant: &'static str,
    kept: Amount,
    summed: Amount,
) -> Result<(), Violation> {
    if kept == summed {
        return Ok(());
    }
    Err(Violation {
        invariant,
        budget,
        found: format!("kept {kept:?}, summed {summed:?}"),
    })
}

fn plus(budget: BudgetId, left: Amount, right: Amount) -> Result<Amount, Violation> {
    let out_of_range = |_| Violation {
        invariant: "sums are in range",
        budget,
        found: format!("{left:?} and {right:?}"),
    };
    left.checked_add(right).map_err(out_of_range)
}

fn minus(budget: BudgetId, left: Amount, right: Amount) -> Result<Amount, Violation> {
    let negative = Violation {
        invariant: "metered is within the hold",
        budget,
        found: format!("{left:?} and {right:?}"),
    };
    match left.checked_sub(right) {
        Ok(rest) if rest.is_non_negative() => Ok(rest),
        _ => Err(negative),
    }
}

// === impl Violation ===

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation {
            invariant,
            budget,
            found,
        } = self;
        write!(
            f,
            "invariant broken at budget {}: {invariant}: {found}",
            budget.0
        )
    }
}

impl std::error::Error for Violation {}
