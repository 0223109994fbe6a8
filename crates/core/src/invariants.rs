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
    past_held: Amount,
    kept: Amount,
    kept_idle: Amount,
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
        same(
            id,
            "past holds add up",
            node.window.past_held,
            sum.past_held,
        )?;
        let (load, floor) = loads(id, node, sum)?;
        same(id, "load adds up", node.load, load)?;
        same(id, "floor adds up", node.floor, floor)?;
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
    loans(tree)
}

/// Loans move limits between siblings: their sum stays what the owners set.
fn loans(tree: &Tree) -> Result<(), Violation> {
    for resource in Resource::ALL {
        let moved: i128 = (tree.nodes.iter())
            .map(|node| i128::from(node.loaned.get(resource)))
            .sum();
        let owed = tree
            .loans()
            .iter()
            .all(|loan| loan.amount.get(resource) >= 0);
        if moved != 0 || !owed {
            return Err(Violation {
                invariant: "loans move limits",
                budget: BudgetId(0),
                found: format!("{resource}: {moved} more lent than borrowed"),
            });
        }
    }
    Ok(())
}

/// What load and floor must be: what is spent and held in the present window, and what is kept
/// for children beyond that.
fn loads(budget: BudgetId, node: &Node, sum: &Sums) -> Result<(Amount, Amount), Violation> {
    let spent = minus(budget, sum.spent, node.window.past_spent)?;
    let held = minus(budget, sum.held, sum.past_held)?;
    let load = plus(budget, plus(budget, spent, held)?, sum.kept)?;
    Ok((load, plus(budget, spent, sum.kept_idle)?))
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
        // A budget that only watches refuses nothing.
        if !node.terms.observed && load > cap.saturating_add(excused) {
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
        let left = minus(hold.budget, hold.amount, hold.metered)?;
        let own = &mut sums[hold.budget.0 as usize];
        own.own_held = plus(hold.budget, own.own_held, left)?;
        own.open += 1;
        let mut next = Some(hold.budget);
        while let Some(id) = next {
            let node = &tree.nodes[id.0 as usize];
            next = node.parent;
            if node.window.is_past(hold.opened) {
                let sum = &mut sums[id.0 as usize];
                sum.past_held = plus(id, sum.past_held, left)?;
            }
        }
    }
    // Children come after their parents in the arena, so one pass backwards sums the tree.
    for index in (0..tree.nodes.len()).rev() {
        let (node, id) = (&tree.nodes[index], BudgetId(index as u32));
        let mut sum = sums[index];
        sum.spent = plus(id, sum.spent, node.own_spent)?;
        sum.held = plus(id, sum.held, sum.own_held)?;
        sums[index] = sum;
        let (load, floor) = loads(id, node, &sum)?;
        let Some(parent) = node.parent else { continue };
        let above = &mut sums[parent.0 as usize];
        above.spent = plus(id, above.spent, sum.spent)?;
        above.held = plus(id, above.held, sum.held)?;
        above.open += sum.open;
        if !node.window.apart {
            let spent = minus(id, sum.spent, node.window.past_spent)?;
            let committed = plus(id, spent, minus(id, sum.held, sum.past_held)?)?;
            let kept = minus(id, load.max(node.claim), committed)?;
            above.kept = plus(id, above.kept, kept)?;
            let kept_idle = minus(id, floor.max(node.claim), spent)?;
            above.kept_idle = plus(id, above.kept_idle, kept_idle)?;
        }
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
        invariant: "a part is within its whole",
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
