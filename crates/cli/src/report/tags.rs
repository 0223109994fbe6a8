//! What calls came to by the tags that their callers gave them.
//!
//! Roll-ups do not keep tags, so this reads every entry; it is done only when asked for. A call
//! with several tags counts under each of them.

use std::collections::BTreeMap;

use fisc_core::{Amount, HoldId, Usage};
use fisc_ledger::{Entry, EntryRow, Facts, Outcome, Reader};

use super::since::Since;
use super::{UsageRow, UseRow};
use crate::failure::Failure;

/// How many entries are read at once.
const PAGE: usize = 4_096;

/// Rows by tag; calls without one are under the empty text.
#[derive(Default)]
struct Sums(BTreeMap<String, UseRow>);

/// Returns a row for each tag, such as `task=write`, and one for the calls without any.
pub(super) fn gather(reader: &Reader, since: Option<Since>) -> Result<Vec<UseRow>, Failure> {
    let mut sums = Sums::default();
    let mut seq = 0;
    loop {
        let page = reader.entries(seq, PAGE)?;
        let Some(last) = page.last() else {
            return Ok(sums.0.into_values().map(UseRow::with_cost_shown).collect());
        };
        seq = last.seq;
        for row in &page {
            if since.is_none_or(|since| since.covers(row.at)) {
                sums.add(reader, row)?;
            }
        }
    }
}

/// Returns the tags of a call, and what was known of its usage before entry `seq`.
fn known(reader: &Reader, id: HoldId, seq: u64) -> Result<(Vec<String>, Usage), Failure> {
    let (mut named, mut usage) = (vec![String::new()], Usage::default());
    let history = reader.history(id)?;
    for row in history.iter().take_while(|row| row.seq < seq) {
        match &row.entry {
            Entry::Settle { facts, .. } => (named, usage) = (tags(facts), facts.usage),
            Entry::Correct {
                usage: Some(corrected),
                ..
            } => usage = *corrected,
            _ => {}
        }
    }
    Ok((named, usage))
}

fn tags(facts: &Facts) -> Vec<String> {
    if facts.tags.is_empty() {
        return vec![String::new()];
    }
    let named = |(key, value): &(_, _)| format!("{key}={value}");
    facts.tags.iter().map(named).collect()
}

// === impl Sums ===

impl Sums {
    fn add(&mut self, reader: &Reader, row: &EntryRow) -> Result<(), Failure> {
        match &row.entry {
            Entry::Settle { amount, facts, .. } => {
                for tag in tags(facts) {
                    let sum = self.of(tag);
                    sum.calls += u64::from(facts.call.attempt <= 1);
                    sum.attempts += 1;
                    sum.completed += u64::from(facts.outcome == Outcome::Completed);
                    sum.estimated += u64::from(facts.estimated);
                    charge(sum, *amount);
                    know(sum, &Usage::default(), &facts.usage);
                }
            }
            // Tags come with the settlement: nobody knows those of a call that has none.
            Entry::Doubt { charged, .. } => {
                let sum = self.of(String::new());
                sum.calls += 1;
                sum.attempts += 1;
                charge(sum, *charged);
            }
            Entry::Void { .. } => self.of(String::new()).calls += 1,
            Entry::Correct { id, by, usage, .. } => {
                let (named, before) = known(reader, *id, row.seq)?;
                for tag in named {
                    let sum = self.of(tag);
                    charge(sum, *by);
                    know(sum, &before, usage.as_ref().unwrap_or(&before));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn of(&mut self, tag: String) -> &mut UseRow {
        self.0.entry(tag).or_insert_with_key(|tag| UseRow {
            tag: Some(tag.clone()),
            ..UseRow::default()
        })
    }
}

fn charge(sum: &mut UseRow, amount: Amount) {
    sum.tokens = sum.tokens.saturating_add(amount.tokens().0);
    sum.cost_nanousd = sum.cost_nanousd.saturating_add(amount.cost().nanos());
    sum.time_us = sum.time_us.saturating_add(amount.time().0);
}

/// Replaces what was known of a call's usage by what is known now.
fn know(sum: &mut UseRow, before: &Usage, now: &Usage) {
    let (before, now) = (UsageRow::from(before), UsageRow::from(now));
    sum.usage = sum.usage.merge(&now, u64::saturating_add);
    sum.usage = sum.usage.merge(&before, u64::saturating_sub);
}
