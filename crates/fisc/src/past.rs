//! The latest calls of a ledger, for whoever learns from them what the next ones need.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use fisc_core::HoldId;
use fisc_ledger::{Entry, Facts, Reader};

use crate::engine::read_tree;
use crate::error::Error;

/// A call that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastCall {
    /// The path of its budget.
    pub path: String,
    /// The model that was asked for; the one that served is in the facts.
    pub asked_model: Arc<str>,
    /// What is known about it.
    pub facts: Box<Facts>,
}

/// Returns the calls that ended among the last so many entries of a ledger, in order; those that
/// began before them are left out.
///
/// # Errors
/// When the ledger cannot be read.
pub fn past_calls(ledger: &Path, entries: usize) -> Result<Vec<PastCall>, Error> {
    let reader = Reader::open(ledger)?;
    let rows = reader.latest(entries)?;
    let Some(last) = rows.last() else {
        return Ok(Vec::new());
    };
    let tree = read_tree(&reader.budgets()?, &[], last.at)?;
    let mut asked: HashMap<HoldId, Arc<str>> = HashMap::new();
    let mut calls = Vec::new();
    for row in rows {
        match row.entry {
            Entry::Hold { id, call, .. } => {
                asked.insert(id, call.model);
            }
            Entry::Settle { id, facts, .. } => {
                if let Some(asked_model) = asked.remove(&id) {
                    calls.push(PastCall {
                        path: tree.path(row.budget),
                        asked_model,
                        facts,
                    });
                }
            }
            _ => {}
        }
    }
    Ok(calls)
}
