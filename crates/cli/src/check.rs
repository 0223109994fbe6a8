//! `fisc check`: how a budget stands; the exit code is its level.

use fisc_core::{BudgetView, Level, Method, Resource};
use fisc_ledger::Reader;
use serde::Serialize;

use crate::args::CheckArgs;
use crate::exit;
use crate::failure::Failure;
use crate::home::Home;
use crate::report::{self, BudgetForecast, ForecastRow, Life, describe_resources, symbol};

/// What `check --json` says.
#[derive(Debug, Serialize)]
struct Checked {
    budget: String,
    level: &'static str,
    binding: String,
    spent: [i64; Resource::COUNT],
    held: [i64; Resource::COUNT],
    limit: [Option<i64>; Resource::COUNT],
    /// An estimate; `null` after fewer than four calls, or when nothing goes on.
    forecast: Option<BudgetForecast>,
}

/// Checks a budget and returns the exit code of its level.
pub(crate) fn run(args: &CheckArgs) -> Result<u8, Failure> {
    let ledger = Home::find()?.ledger(&args.ledger)?;
    let reader = Reader::open(&ledger)?;
    let life = Life::of(&ledger, &reader, None)?;
    let tree = report::tree(&reader, life.at)?;
    let found = match &args.path {
        Some(path) => tree.find(&path.replace('.', "/")),
        None => tree.root(),
    };
    let view = found.and_then(|id| tree.budget(id));
    let Some(view) = view else {
        let paths: Vec<String> = tree.budgets().map(|view| tree.path(view.id)).collect();
        let path = args.path.as_deref().unwrap_or("/");
        return Err(Failure::usage(format!("no budget has the path '{path}'"))
            .hint(format!("there are: {}", paths.join(", "))));
    };
    let (level, binding, _) = tree.binding_level(view.id);
    let (path, binding) = (tree.path(view.id), tree.path(binding));
    let forecast = if report::goes_on(&life) {
        let foresight = report::foresight(&reader, &tree)?;
        let ids = [view.id].into_iter();
        let row = ForecastRow::of(&foresight, &tree, life.at, Method::Fisc, ids);
        row.budgets.into_iter().next()
    } else {
        None
    };
    if args.json {
        print_json(&view, (path, binding), level, forecast)?;
    } else {
        println!(
            "{} {path} {} (by {binding})",
            symbol(level.name()),
            level.name()
        );
        for (name, _, said) in forecast.iter().flat_map(describe_resources) {
            println!("  forecast of {name} (estimated): {said}");
        }
    }
    Ok(match level {
        Level::Green => exit::OK,
        Level::Yellow => exit::LEVEL_YELLOW,
        Level::Orange => exit::LEVEL_ORANGE,
        Level::Red => exit::LEVEL_RED,
        Level::Black => exit::LEVEL_BLACK,
    })
}

fn print_json(
    view: &BudgetView<'_>,
    (budget, binding): (String, String),
    level: Level,
    forecast: Option<BudgetForecast>,
) -> Result<(), Failure> {
    let checked = Checked {
        budget,
        level: level.name(),
        binding,
        spent: view.spent.raw(),
        held: view.held.raw(),
        limit: Resource::ALL.map(|resource| view.terms.limits.get(resource)),
        forecast,
    };
    let text = serde_json::to_string_pretty(&checked);
    println!(
        "{}",
        text.map_err(|error| Failure::internal(error.to_string()))?
    );
    Ok(())
}
