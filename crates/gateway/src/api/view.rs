//! How budgets stand, as the API tells it: nothing above the caller's root.

use std::collections::{HashMap, HashSet};

use fisc::{BudgetId, BudgetStatus, Fisc, Level, Loan, Resource, State, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::Caller;
use super::wire::Figures;

/// Every budget in sight.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BudgetList {
    /// When they stood so, in microseconds since 1970.
    at_us: i64,
    /// In the order in which they were allocated; your own root is the first.
    budgets: Vec<Budget>,
}

/// How one budget stands.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Budget {
    /// Its path, beginning with the name of your own root.
    path: String,
    /// The path of its parent, if that is in sight.
    parent: Option<String>,
    /// `open`, `frozen` or `released`.
    state: &'static str,
    /// The worst level that binds its calls: `green`, `yellow`, `orange`, `red` or `black`.
    level: &'static str,
    /// The budget that the level comes from; `an outer budget` above your own root.
    binding: String,
    /// Its own level of each resource.
    levels: Levels,
    /// How its children share what it has.
    sharing: &'static str,
    /// How much it counts beside its siblings.
    weight: u16,
    /// What it may spend; `null` is no limit. `loaned` and `carried` come on top.
    limit: Figures,
    /// What its calls may spend a minute; `null` is as much as there is.
    rate_per_minute: Figures,
    /// Spent here and below.
    spent: Figures,
    /// Spent here and below in the present window.
    window_spent: Figures,
    /// Spent by its own calls.
    own_spent: Figures,
    /// Held by open calls here and below.
    held: Figures,
    /// What a call may still hold, as far as the budgets in sight decide.
    free: Figures,
    /// What its parent's sharing lets it commit; `null` where it does not say.
    share: Figures,
    /// What its parent keeps for it.
    guarantee: Figures,
    /// Borrowed from siblings, less what is lent to them.
    loaned: Figures,
    /// What the last window left to this one.
    carried: Figures,
    /// What it is expected to have spent when it is done.
    need: Figures,
    /// By how much settlements took it over its limit.
    overrun: Figures,
    /// Calls that run here and below.
    running: u32,
    /// When it was allocated, in microseconds since 1970.
    allocated_at_us: i64,
    /// The earliest deadline on its path, as far as that is in sight.
    deadline_at_us: Option<i64>,
    /// The present window.
    window: Option<WindowSpan>,
    /// What it lent or borrowed and is not repaid yet.
    loans: Vec<LoanView>,
}

/// A window, from its start to before its end, in microseconds since 1970.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WindowSpan {
    start_us: i64,
    end_us: i64,
}

/// The level of each resource.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Levels {
    tokens: &'static str,
    cost: &'static str,
    active_time: &'static str,
    /// Of the time until the deadline.
    time: &'static str,
}

/// What one budget lent to a sibling.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LoanView {
    /// Whose limit fell.
    lender: String,
    /// Whose limit rose.
    borrower: String,
    /// What is still owed.
    amount: Figures,
}

// === impl BudgetList ===

impl BudgetList {
    /// Lists what a caller sees, all of one moment but `free`, `level` and `loans`.
    pub(super) fn of(fisc: &Fisc, caller: &Caller) -> BudgetList {
        let at_us = fisc.now().0;
        let statuses = fisc.statuses();
        let loans = fisc.loans();
        let paths: HashMap<BudgetId, &str> =
            statuses.iter().map(|s| (s.id, s.path.as_str())).collect();
        let budget = |status: &BudgetStatus| {
            let path = |id: BudgetId| paths.get(&id).copied().unwrap_or_default().to_owned();
            Budget::new(status, fisc, caller, &loans, path)
        };
        BudgetList {
            at_us,
            budgets: subtree(fisc, &statuses, caller.root())
                .into_iter()
                .map(budget)
                .collect(),
        }
    }
}

/// Returns the budget of that path, the newest that has it, and all below it. Former budgets of
/// a name are their parent's, so they are there when that is in sight.
pub(super) fn subtree<'a>(
    fisc: &Fisc,
    statuses: &'a [BudgetStatus],
    path: &str,
) -> Vec<&'a BudgetStatus> {
    let Ok(root) = fisc.budget(path) else {
        return Vec::new();
    };
    let mut inside = HashSet::from([root.id()]);
    // Parents come before their children.
    let below = statuses.iter().filter(|status| {
        let is_in = status.parent.is_some_and(|parent| inside.contains(&parent));
        (is_in && inside.insert(status.id)) || inside.contains(&status.id)
    });
    below.collect()
}

// === impl Budget ===

impl Budget {
    /// Shows one budget, which is in sight.
    pub(super) fn of(status: &BudgetStatus, fisc: &Fisc, caller: &Caller) -> Budget {
        Budget::new(status, fisc, caller, &fisc.loans(), |id| fisc.path(id))
    }

    fn new(
        status: &BudgetStatus,
        fisc: &Fisc,
        caller: &Caller,
        loans: &[Loan],
        path: impl Fn(BudgetId) -> String,
    ) -> Budget {
        let standing = fisc.standing(status.id, caller.root());
        let (free, deadline, level, binding) = match &standing {
            Some(at) => (at.free, at.deadline, at.level, at.binding.as_deref()),
            None => (fisc_core::Amount::ZERO, None, Level::Black, None),
        };
        let own = |loan: &&Loan| loan.lender == status.id || loan.borrower == status.id;
        let loan = |loan: &Loan| LoanView {
            lender: caller.name(&path(loan.lender)),
            borrower: caller.name(&path(loan.borrower)),
            amount: loan.amount.into(),
        };
        Budget {
            path: caller.name(&status.path),
            parent: status.parent.and_then(|parent| caller.show(&path(parent))),
            state: state(status.terms.state),
            level: level.name(),
            binding: caller.name(binding.unwrap_or_default()),
            levels: Levels::of(status),
            sharing: status.terms.sharing.name(),
            weight: status.terms.weight.0,
            limit: status.terms.limits.into(),
            rate_per_minute: status.terms.rate.into(),
            spent: status.spent.into(),
            window_spent: status.window_spent.into(),
            own_spent: status.own_spent.into(),
            held: status.held.into(),
            free: Figures::limited(free),
            share: status.share.into(),
            guarantee: status.claim.into(),
            loaned: status.loaned.into(),
            carried: status.carried.into(),
            need: need(status).into(),
            overrun: status.overrun.into(),
            running: status.open,
            allocated_at_us: status.allocated.0,
            deadline_at_us: deadline.map(|Timestamp(at)| at),
            window: status.window.map(|span| WindowSpan {
                start_us: span.start.0,
                end_us: span.end.0,
            }),
            loans: loans.iter().filter(own).map(loan).collect(),
        }
    }
}

// === impl Levels ===

impl Levels {
    fn of(status: &BudgetStatus) -> Levels {
        let of = |resource: Resource| status.levels[resource.index()].name();
        Levels {
            tokens: of(Resource::Tokens),
            cost: of(Resource::Cost),
            active_time: of(Resource::Time),
            time: status.elapsed_level.name(),
        }
    }
}

/// Returns what is predicted, else what its owner expects.
fn need(status: &BudgetStatus) -> fisc::Limits {
    let of = |resource| {
        let own = status.terms.need.get(resource);
        status.need.get(resource).or(own)
    };
    let with = |limits: fisc::Limits, resource| limits.with(resource, of(resource));
    Resource::ALL.into_iter().fold(fisc::Limits::NONE, with)
}

fn state(state: State) -> &'static str {
    match state {
        State::Open => "open",
        State::Frozen => "frozen",
        State::Released => "released",
    }
}
