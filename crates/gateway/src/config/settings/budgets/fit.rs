//! Whether budgets fit into one another, judged by the tree itself while nothing is spent.

use fisc::{Money, Resource, Terms, TimeUs};
use fisc_core::{Shortfall, Timestamp, Tree, TreeError};

use super::claim_place;
use crate::config::settings::Context;
use crate::config::{BudgetConfig, ConfigError, Text};

/// Allocates a budget in a tree in which nothing is spent.
pub(super) fn allocate(
    tree: &mut Tree,
    context: &Context<'_>,
    path: &str,
    (name, config): (&Text, &BudgetConfig),
    terms: Terms,
) -> Result<(), ConfigError> {
    let parent = path
        .rsplit_once('/')
        .and_then(|(parent, _)| tree.find(parent));
    let done = tree.allocate(Timestamp(0), parent, name.get_ref(), terms, &mut Vec::new());
    let Err(why) = done else {
        return Ok(());
    };
    let place = claim_place(config).unwrap_or(name.span());
    let TreeError::DoesNotFit(short) = why else {
        return Err(context.error(place, why.to_string()));
    };
    let error = context.error(place, "more than its parent has left to keep");
    Err(error.with_hint(left(tree, &short)))
}

/// Says how much is left where it did not fit.
fn left(tree: &Tree, short: &Shortfall) -> String {
    let Shortfall {
        budget,
        resource,
        limit,
        needed,
        ..
    } = *short;
    let free = tree.headroom(budget, true).now.get(resource);
    let shown = |units| show(resource, units);
    format!(
        "{resource} of {}: {} of {} left, {} needed",
        tree.path(budget),
        shown(free),
        shown(limit),
        shown(needed)
    )
}

fn show(resource: Resource, units: i64) -> String {
    match resource {
        Resource::Tokens => units.to_string(),
        Resource::Cost => Money::from_nanos(units).to_string(),
        Resource::Time => format!("{} s", TimeUs(units).0 / 1_000_000),
    }
}
