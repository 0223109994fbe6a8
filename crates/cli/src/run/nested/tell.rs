//! What a run inside of another reports: its budgets, as the outer run's ledger has them. The
//! calls one by one stand in the outer run's own report.

use std::path::Path;

use fisc::Resource;
use serde_json::{Value, json};

use super::Nested;
use crate::args::RunArgs;
use crate::exit::Conclusion;
use crate::failure::Failure;
use crate::remote::Budget;
use crate::report::LimitingRow;
use crate::wire::{get, line};

// === impl Nested ===

impl Nested {
    /// Tells how the run ended, and returns its exit code.
    pub(super) fn tell(
        &self,
        args: &RunArgs,
        (conclusion, limiting): (Conclusion, Option<LimitingRow>),
        budgets: &[Budget],
    ) -> Result<u8, Failure> {
        let mut lines = vec![match &limiting {
            None => format!("{} {}", self.path, conclusion.outcome.name()),
            Some(LimitingRow { budget, resource }) => {
                let outcome = conclusion.outcome.name();
                format!("{} {outcome}: {budget} ran out of {resource}", self.path)
            }
        }];
        lines.extend(budgets.iter().map(line));
        match &args.report {
            None => lines.iter().for_each(|line| eprintln!("fisc ▸ {line}")),
            Some(path) => save(path, &format!("{}\n", lines.join("\n")))?,
        }
        if let Some(path) = &args.json {
            let report = json!({
                "run": crate::remote::set("FISC_RUN_ID"),
                "outcome": conclusion.outcome.name(),
                "exit_code": conclusion.code,
                "limiting": limiting.map(|LimitingRow { budget, resource }| {
                    json!({ "budget": budget, "resource": resource })
                }),
                "budgets": budgets.iter().map(row).collect::<Vec<_>>(),
            });
            save(path, &format!("{report:#}\n"))?;
        }
        Ok(conclusion.code)
    }
}

fn row(budget: &Budget) -> Value {
    let of = |resource, level: &str| {
        json!({
            "limit": get(&budget.limit, resource),
            "spent": get(&budget.spent, resource),
            "held": get(&budget.held, resource),
            "level": level,
        })
    };
    json!({
        "path": budget.path,
        "level": budget.level,
        "tokens": of(Resource::Tokens, &budget.levels.tokens),
        "cost": of(Resource::Cost, &budget.levels.cost),
        "active_time": of(Resource::Time, &budget.levels.active_time),
    })
}

fn save(path: &Path, text: &str) -> Result<(), Failure> {
    if path == Path::new("-") {
        print!("{text}");
        return Ok(());
    }
    std::fs::write(path, text)
        .map_err(|error| Failure::internal(format!("cannot write {}: {error}", path.display())))
}
