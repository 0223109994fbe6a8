//! Brings the budgets of a ledger to what the configuration says.
//!
//! What the file said at the last start is kept in the ledger. A budget about which it says the
//! same again is left as it is: what was granted, set or frozen while the gateway ran holds. One
//! about which it says something else gets the new terms. Budgets that the file does not name
//! are left alone.

use std::collections::BTreeMap;
use std::fmt::Write;

use fisc::core::TreeError;
use fisc::{Claim, Error, Fisc, State, Terms, read_terms, write_terms};
use fisc_gateway::config::BudgetSettings;

use crate::failure::Failure;

/// Where the ledger keeps what the configuration said of each budget, one a line.
const KEY: &str = "serve.budgets";

/// What the tree works out for itself, and the ledger's own text of terms leaves out.
const AUTOMATIC: &str = "auto ";

/// Brings every budget to its terms. Where one only fits once another has shrunk, that one goes
/// first.
pub(super) async fn apply(fisc: &Fisc, budgets: &[BudgetSettings]) -> Result<(), Failure> {
    let before = fisc.with_journal(|journal| journal.meta(KEY)).flatten();
    let before: BTreeMap<String, String> = before.as_deref().map(read).unwrap_or_default();
    let mut pending: Vec<&BudgetSettings> = budgets.iter().collect();
    while !pending.is_empty() {
        let mut waiting = Vec::new();
        let mut failure = None;
        for budget in &pending {
            let before = before.get(&budget.path).map(String::as_str);
            match apply_one(fisc, budget, before).await {
                Ok(()) => {}
                Err(error) if waits_for_others(&error) => {
                    failure.get_or_insert_with(|| cannot(budget, error));
                    waiting.push(*budget);
                }
                Err(error) => return Err(cannot(budget, error)),
            }
        }
        if let Some(failure) = failure.filter(|_| waiting.len() == pending.len()) {
            return Err(failure);
        }
        pending = waiting;
    }
    fisc.with_journal(|journal| drop(journal.set_meta(KEY, &written(budgets))));
    Ok(())
}

async fn apply_one(
    fisc: &Fisc,
    budget: &BudgetSettings,
    before: Option<&str>,
) -> Result<(), Error> {
    let BudgetSettings { path, terms, .. } = budget;
    let Ok(existing) = fisc.budget(path) else {
        return fisc.allocate(path, *terms).await.map(drop);
    };
    let Terms {
        state, frozen_by, ..
    } = existing.status().terms;
    if before == Some(&text(terms)) {
        return Ok(());
    }
    if state == State::Released {
        eprintln!("fisc ▸ warning: {path} was released and stays so; give it another name");
        return Ok(());
    }
    // Who froze or thawed it at run time is overruled only by a file that changed its mind.
    let said = before.map_or(State::Open, state_of);
    let (state, frozen_by) = if said == terms.state {
        (state, frozen_by)
    } else {
        (terms.state, None)
    };
    let terms = Terms {
        state,
        frozen_by,
        ..*terms
    };
    fisc.set_terms(existing.id(), terms).await
}

fn waits_for_others(error: &Error) -> bool {
    matches!(
        error,
        Error::Tree(TreeError::DoesNotFit(_)) | Error::UnknownPath(_)
    )
}

fn cannot(budget: &BudgetSettings, error: Error) -> Failure {
    match error {
        Error::Tree(why) => Failure::configuration(format!("budget {}: {why}", budget.path))
            .hint("the ledger knows what is spent already; leave its parent more, or ask for less"),
        error => error.into(),
    }
}

fn written(budgets: &[BudgetSettings]) -> String {
    budgets.iter().fold(String::new(), |mut lines, budget| {
        let BudgetSettings { path, terms, .. } = budget;
        writeln!(lines, "{path}\t{}", text(terms)).expect("a String takes everything");
        lines
    })
}

fn text(terms: &Terms) -> String {
    let prefix = match terms.claim {
        Claim::Automatic => AUTOMATIC,
        _ => "",
    };
    format!("{prefix}{}", write_terms(terms))
}

fn read(lines: &str) -> BTreeMap<String, String> {
    let pair = |line: &str| {
        let (path, text) = line.split_once('\t')?;
        Some((path.to_owned(), text.to_owned()))
    };
    lines.lines().filter_map(pair).collect()
}

fn state_of(text: &str) -> State {
    let terms = text.strip_prefix(AUTOMATIC).unwrap_or(text);
    read_terms(terms).map_or(State::Open, |terms| terms.state)
}

#[cfg(test)]
mod tests {
    use fisc::{Amount, Limits, Money, Resource, TimeUs, Tokens};

    use super::*;

    fn cost(nanos: i64) -> Terms {
        Terms {
            limits: Limits::NONE.with(Resource::Cost, Some(nanos)),
            ..Terms::default()
        }
    }

    fn keeps(nanos: i64) -> Terms {
        let amount = Amount::new(Tokens(0), Money::from_nanos(nanos), TimeUs(0));
        Terms {
            claim: Claim::Guarantee(amount),
            ..Terms::default()
        }
    }

    fn file(budgets: &[(&str, Terms)]) -> Vec<BudgetSettings> {
        let settings = |(path, terms): &(&str, Terms)| BudgetSettings {
            path: (*path).to_owned(),
            terms: *terms,
            newcomers: Terms::default(),
            measures: None,
        };
        budgets.iter().map(settings).collect()
    }

    fn limit(fisc: &Fisc, path: &str) -> Option<i64> {
        let status = fisc.budget(path).expect("it is there").status();
        status.terms.limits.get(Resource::Cost)
    }

    fn ledger() -> (fisc_testkit::temp::Dir, Fisc) {
        let folder = fisc_testkit::temp::Dir::new();
        let options = fisc::Options::at(folder.join("ledger.db"));
        (folder, Fisc::open(options).expect("a ledger"))
    }

    #[tokio::test]
    async fn what_was_granted_holds_until_the_file_says_something_else() {
        let (_folder, fisc) = ledger();
        let same = file(&[("team", cost(10)), ("team/a", cost(5))]);
        apply(&fisc, &same).await.expect("it fits");
        let team = fisc.budget("team").expect("it is there").id();
        fisc.set_terms(team, cost(15)).await.expect("a grant");
        apply(&fisc, &same).await.expect("it fits");
        assert_eq!(limit(&fisc, "team"), Some(15));
        let other = file(&[("team", cost(20)), ("team/a", cost(5))]);
        apply(&fisc, &other).await.expect("it fits");
        assert_eq!(limit(&fisc, "team"), Some(20));
    }

    #[tokio::test]
    async fn frozen_at_run_time_stays_frozen() {
        let (_folder, fisc) = ledger();
        apply(&fisc, &file(&[("team", cost(10))]))
            .await
            .expect("it fits");
        let team = fisc.budget("team").expect("it is there");
        let state = |wanted| assert_eq!(team.status().terms.state, wanted);
        fisc.set_frozen(team.id(), true).await.expect("it freezes");
        apply(&fisc, &file(&[("team", cost(20))]))
            .await
            .expect("it fits");
        state(State::Frozen);
        let frozen = Terms {
            state: State::Frozen,
            ..cost(20)
        };
        apply(&fisc, &file(&[("team", frozen)]))
            .await
            .expect("it fits");
        apply(&fisc, &file(&[("team", cost(20))]))
            .await
            .expect("it fits");
        state(State::Open);
    }

    #[tokio::test]
    async fn guarantees_change_places() {
        let (_folder, fisc) = ledger();
        let of = |a, b| {
            file(&[
                ("team", cost(10)),
                ("team/a", keeps(a)),
                ("team/b", keeps(b)),
            ])
        };
        apply(&fisc, &of(8, 2)).await.expect("it fits");
        apply(&fisc, &of(2, 8)).await.expect("b waits for a");
        apply(&fisc, &of(7, 3)).await.expect("a waits for b");
        let error = apply(&fisc, &of(7, 4)).await.expect_err("11 of 10");
        assert!(error.to_string().contains("budget team/b: "), "{error}");
    }

    #[tokio::test]
    async fn a_released_budget_does_not_keep_the_rest_from_starting() {
        let (_folder, fisc) = ledger();
        apply(&fisc, &file(&[("team", cost(10)), ("team/a", cost(5))]))
            .await
            .expect("it fits");
        let a = fisc.budget("team/a").expect("it is there").id();
        fisc.release(a).await.expect("nothing runs");
        apply(&fisc, &file(&[("team", cost(9)), ("team/a", cost(6))]))
            .await
            .expect("a is left alone");
        assert_eq!(limit(&fisc, "team"), Some(9));
    }
}
