//! `fisc forecast`: where the spending of budgets leads, by any method, while it goes on.

use std::path::PathBuf;

use fisc_core::{BudgetId, Method, Tree};
use fisc_ledger::Reader;

use crate::args::{ForecastArgs, LedgerArgs};
use crate::failure::Failure;
use crate::home::Home;
use crate::report::{self, ForecastRow, Life, ProfileRow, describe_resources};

/// What the ids of runs begin with.
const RUN_PREFIX: &str = "r-";

/// Prints the forecast of a run, or of a budget and of those below it.
pub(crate) fn run(args: &ForecastArgs) -> Result<(), Failure> {
    let (ledger, path) = find(args)?;
    let reader = Reader::open(&ledger)?;
    let life = Life::of(&ledger, &reader, None)?;
    let snapshot = reader.snapshot()?;
    let tree = report::tree(&reader, life.at)?;
    let top = top(&tree, path.as_deref())?;
    let method = Method::by_name(&args.method).unwrap_or_default();
    let all = tree.budgets().map(|view| view.id);
    let below = all.filter(|id| report::goes_on(&life) && tree.is_within(*id, top));
    let foresight = report::foresight(&reader, &tree)?;
    drop(snapshot);
    let row = ForecastRow::of(&foresight, &tree, life.at, method, below);
    if args.json {
        let text = serde_json::to_string_pretty(&row);
        let text = text.map_err(|error| Failure::internal(error.to_string()))?;
        println!("{text}");
    } else {
        print(&row, report::goes_on(&life));
    }
    Ok(())
}

/// Finds the ledger, and the path of the budget that is asked about.
fn find(args: &ForecastArgs) -> Result<(PathBuf, Option<String>), Failure> {
    let home = Home::find()?;
    let is_run = |what: &&String| args.db.is_none() && what.starts_with(RUN_PREFIX);
    let run = args.what.as_ref().filter(is_run).cloned();
    let path = match run {
        Some(_) => None,
        None => args.what.clone(),
    };
    let ledger = LedgerArgs {
        db: args.db.clone(),
        run,
    };
    Ok((home.ledger(&ledger)?, path))
}

fn top(tree: &Tree, path: Option<&str>) -> Result<BudgetId, Failure> {
    let found = match path {
        Some(path) => tree.find(&path.replace('.', "/")),
        None => tree.root(),
    };
    found.ok_or_else(|| {
        let paths: Vec<String> = tree.budgets().map(|view| tree.path(view.id)).collect();
        Failure::usage(format!("no budget has the path '{}'", path.unwrap_or("/")))
            .hint(format!("there are: {}", paths.join(", ")))
    })
}

fn print(row: &ForecastRow, goes_on: bool) {
    println!("── fisc forecast ── {}, estimated", row.method);
    if row.budgets.is_empty() {
        let why = if goes_on {
            "fewer than four calls have ended: nothing can be said yet"
        } else {
            "nothing goes on"
        };
        println!(" {why}");
    }
    for budget in &row.budgets {
        println!(" {}", budget.path);
        for (name, resource, said) in describe_resources(budget) {
            let profile = resource.profile.as_ref().map(describe_profile);
            println!("   {name}: {said}");
            let runs = match resource.earlier_runs {
                0 => String::new(),
                runs => format!(", {runs} earlier runs"),
            };
            let profile = profile.unwrap_or_default();
            println!("     from {} calls{profile}{runs}", resource.calls);
        }
    }
}

fn describe_profile(profile: &ProfileRow) -> String {
    let evidence = match profile.name {
        "exponential" => format!(": they grew {} times", profile.growth),
        "step" => format!(
            ": {} times from call {} on",
            profile.step, profile.step_after
        ),
        _ => String::new(),
    };
    format!(", {}{evidence}", profile.name)
}
