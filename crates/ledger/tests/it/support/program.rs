//! Random programs of entries that are always valid, and what they must add up to by definition:
//! the list of entries is the model, and every figure is a plain sum over it.

use std::collections::BTreeMap;

use fisc_core::{Amount, BudgetId, HoldId, TimeUs, Timestamp, TokenClass, Usage};
use fisc_ledger::{Entry, Facts, Filter, GroupBy, Outcome, Reader, RollupRow, Totals};

use super::{NOON, allocate, amount, id, label};

/// Makes entries that can follow, one for each random number it is given.
#[derive(Default)]
pub(crate) struct Program {
    pub(crate) done: Vec<(Timestamp, Entry)>,
    budgets: u32,
    open: Vec<(HoldId, BudgetId)>,
    doubtful: Vec<HoldId>,
    /// What ended holds are charged by now, which corrections may not take below zero.
    charged: Vec<(HoldId, Amount)>,
    holds: u128,
}

const OPERATIONS: [&str; 3] = ["plan", "search", "écrire \"tout\""];

// === impl Program ===

impl Program {
    /// Makes the next entry from a random number.
    pub(crate) fn step(&mut self, choice: u64) -> (Timestamp, Entry) {
        let at = Timestamp(NOON.0 + (choice >> 40) as i64 % 7_200_000_000);
        let entry = self.choose(choice);
        self.done.push((at, entry.clone()));
        (at, entry)
    }

    fn choose(&mut self, choice: u64) -> Entry {
        let (kind, pick) = (choice % 16, (choice >> 8) as usize);
        let some = amount(pick as i64 % 997, pick as i64 % 100_003, pick as i64 % 13);
        match kind {
            _ if self.budgets == 0 => self.allocate(None),
            0 => self.allocate(Some(pick as u32 % self.budgets)),
            1 => Entry::Terms {
                budget: BudgetId(pick as u32 % self.budgets),
                terms: format!("cost={}", pick % 1_000),
            },
            2 if !self.open.is_empty() => Entry::Extend {
                id: self.open[pick % self.open.len()].0,
                by: some,
            },
            3..=7 if !self.open.is_empty() => {
                let (id, _) = self.open.swap_remove(pick % self.open.len());
                self.charged.push((id, some));
                let overrun = if pick % 5 == 0 { some } else { Amount::ZERO };
                Entry::Settle {
                    id,
                    amount: some,
                    overrun,
                    facts: Box::new(facts(choice)),
                }
            }
            8 if !self.open.is_empty() => {
                let (id, _) = self.open.swap_remove(pick % self.open.len());
                self.charged.push((id, Amount::ZERO));
                Entry::Void {
                    id,
                    reason: "refused by \u{1F512} upstream".to_owned(),
                }
            }
            9 if !self.open.is_empty() => {
                let (id, _) = self.open.swap_remove(pick % self.open.len());
                self.charged.push((id, some));
                self.doubtful.push(id);
                Entry::Doubt { id, charged: some }
            }
            10 if !self.doubtful.is_empty() => {
                let id = self.doubtful.swap_remove(pick % self.doubtful.len());
                self.correct(id, pick, choice)
            }
            11 if !self.charged.is_empty() => {
                let (id, _) = self.charged[pick % self.charged.len()];
                self.doubtful.retain(|doubtful| *doubtful != id);
                self.correct(id, pick, choice)
            }
            _ => {
                self.holds += 1;
                let (id, budget) = (id(self.holds), BudgetId(pick as u32 % self.budgets));
                self.open.push((id, budget));
                let call = label(OPERATIONS[pick % 3], 1 + pick as u32 % 2);
                Entry::Hold {
                    id,
                    budget,
                    amount: some,
                    call,
                }
            }
        }
    }

    fn allocate(&mut self, parent: Option<u32>) -> Entry {
        self.budgets += 1;
        allocate(self.budgets - 1, parent, &format!("agent-{}", self.budgets))
    }

    fn correct(&mut self, id: HoldId, pick: usize, choice: u64) -> Entry {
        let charge = self
            .charged
            .iter_mut()
            .find(|charge| charge.0 == id)
            .unwrap();
        let by = match pick % 3 {
            0 => amount(3, 70, 1),
            1 => Amount::ZERO.checked_sub(charge.1).unwrap(),
            _ => Amount::ZERO,
        };
        charge.1 = charge.1.checked_add(by).unwrap();
        let usage = pick.is_multiple_of(2).then(|| facts(choice).usage);
        Entry::Correct {
            id,
            by,
            usage,
            reason: "late evidence".to_owned(),
        }
    }
}

fn facts(choice: u64) -> Facts {
    let (outcome, bits) = (Outcome::ALL[choice as usize % 7], choice >> 3);
    let mut usage = Usage::default();
    for class in TokenClass::ALL {
        usage.set(class, (bits >> class.index()) % 50);
    }
    usage.reasoning = bits % 7;
    usage.units.searches = bits % 2;
    let call = label(OPERATIONS[bits as usize % 3], 1 + (bits % 2) as u32);
    let tags = if bits % 2 == 0 {
        vec![("team".into(), "blue".into())]
    } else {
        Vec::new()
    };
    let duration = TimeUs((bits % 1_000) as i64);
    Facts {
        call,
        usage,
        estimated: bits % 4 == 0,
        outcome,
        duration,
        tags,
    }
}

/// Compares a journal with what the entries say by definition.
#[track_caller]
pub(crate) fn check(done: &[(Timestamp, Entry)], reader: &Reader) {
    check_entries(done, reader);
    check_balances(done, reader);
    check_rollups(done, reader);
}

#[track_caller]
fn check_entries(done: &[(Timestamp, Entry)], reader: &Reader) {
    let stored = reader.entries(0, usize::MAX).unwrap();
    assert!(stored.iter().zip(1..).all(|(row, seq)| row.seq == seq));
    let stored: Vec<_> = stored.into_iter().map(|row| (row.at, row.entry)).collect();
    assert_eq!(stored, done);
}

#[track_caller]
fn check_balances(done: &[(Timestamp, Entry)], reader: &Reader) {
    let (open, in_doubt) = reader.holds().unwrap();
    let budgets = reader.budgets().unwrap();
    for row in &budgets {
        let (mut spent, mut held, mut overrun) = (Amount::ZERO, Amount::ZERO, Amount::ZERO);
        let add = |sum: &mut Amount, more: Amount| *sum = sum.checked_add(more).unwrap();
        for (_, entry) in done {
            let Some(id) = entry.hold() else { continue };
            if owner(done, id) != row.id {
                continue;
            }
            match entry {
                Entry::Hold { .. } | Entry::Extend { .. } if end(done, id).is_none() => {
                    add(&mut held, entry.amount());
                }
                Entry::Settle { .. } | Entry::Doubt { .. } | Entry::Correct { .. } => {
                    add(&mut spent, entry.amount());
                    add(&mut overrun, entry.overrun());
                }
                _ => {}
            }
        }
        assert_eq!(
            (row.spent, row.held, row.overrun),
            (spent, held, overrun),
            "{row:?}"
        );
    }
    let ids = |kind: fn(&Entry) -> bool| done.iter().filter(move |(_, entry)| kind(entry));
    let holds = ids(|entry| matches!(entry, Entry::Hold { .. }));
    let unended = holds.filter(|(_, entry)| end(done, entry.hold().unwrap()).is_none());
    assert_eq!(open.len(), unended.count());
    let doubts = ids(|entry| matches!(entry, Entry::Doubt { .. }));
    let unresolved = doubts.filter(|(_, entry)| {
        let corrects = |(_, later): &(_, Entry)| {
            matches!(later, Entry::Correct { id, .. } if Some(*id) == entry.hold())
        };
        !done.iter().any(corrects)
    });
    assert_eq!(in_doubt.len(), unresolved.count());
    let allocated = ids(|entry| matches!(entry, Entry::Allocate { .. }));
    assert_eq!(budgets.len(), allocated.count());
}

/// Compares every roll-up row with sums over the entries that belong to it.
#[track_caller]
fn check_rollups(done: &[(Timestamp, Entry)], reader: &Reader) {
    let by = GroupBy {
        budget: true,
        operation: true,
        model: true,
        provider: true,
        hour: true,
    };
    let stored = reader.rollups(&Filter::default(), by).unwrap();
    let mut expected: BTreeMap<(u32, String, i64), [i128; 12]> = BTreeMap::new();
    for (at, entry) in done {
        let Some(id) = entry.hold() else { continue };
        let Some((ended_at, ended)) = end(done, id) else {
            continue;
        };
        let call = match (ended, taken(done, id)) {
            (Entry::Settle { facts, .. }, _) => &facts.call,
            (_, Entry::Hold { call, .. }) => call,
            _ => unreachable!(),
        };
        let key = (
            owner(done, id).0,
            call.operation.to_string(),
            ended_at.0 / 3_600_000_000,
        );
        let sums = expected.entry(key).or_default();
        let first = i128::from(call.attempt == 1);
        match entry {
            Entry::Settle { facts, .. } => {
                (sums[0], sums[1]) = (sums[0] + first, sums[1] + 1);
                sums[2] += i128::from(facts.outcome == Outcome::Completed);
                sums[3] += i128::from(facts.estimated);
                sums[11] += i128::from(facts.duration.0);
            }
            Entry::Void { .. } => (sums[0], sums[4]) = (sums[0] + first, sums[4] + 1),
            Entry::Doubt { .. } => (sums[0], sums[1]) = (sums[0] + first, sums[1] + 1),
            Entry::Correct { .. } => sums[5] += 1,
            _ => continue,
        }
        let _ = at;
        for (sum, units) in sums[6..9].iter_mut().zip(entry.amount().raw()) {
            *sum += i128::from(units);
        }
    }
    for (key, sums) in &mut expected {
        let usage = |pick: fn(&Usage) -> u64| usage_of(done, key, pick);
        (sums[9], sums[10]) = (usage(Usage::input), usage(Usage::output));
    }
    let figures = |row: &RollupRow| {
        let key = (
            row.budget.unwrap().0,
            row.operation.as_deref().unwrap().to_owned(),
        );
        ((key.0, key.1, row.hour.unwrap()), wide(&row.totals))
    };
    let stored: BTreeMap<_, _> = stored.iter().map(figures).collect();
    assert_eq!(stored, expected);
}

fn wide(totals: &Totals) -> [i128; 12] {
    let [tokens, cost, time] = totals.amount.raw().map(i128::from);
    let count = i128::from;
    [
        count(totals.calls),
        count(totals.attempts),
        count(totals.completed),
        count(totals.estimated),
        count(totals.voided),
        count(totals.corrected),
        tokens,
        cost,
        time,
        count(totals.usage.input()),
        count(totals.usage.output()),
        i128::from(totals.duration.0),
    ]
}

/// Sums, over the ended holds of one roll-up, the usage that was known last.
fn usage_of(
    done: &[(Timestamp, Entry)],
    (budget, operation, hour): &(u32, String, i64),
    pick: fn(&Usage) -> u64,
) -> i128 {
    let mut sum = 0;
    for (_, entry) in done {
        let Entry::Hold { id, call, .. } = entry else {
            continue;
        };
        let Some((at, ended)) = end(done, *id) else {
            continue;
        };
        let (call, mut usage) = match ended {
            Entry::Settle { facts, .. } => (&facts.call, facts.usage),
            _ => (call, Usage::default()),
        };
        for (_, later) in done {
            match later {
                Entry::Correct {
                    id: corrected,
                    usage: Some(now),
                    ..
                } if corrected == id => {
                    usage = *now;
                }
                _ => {}
            }
        }
        let here = (owner(done, *id).0, &*call.operation, at.0 / 3_600_000_000);
        if here == (*budget, operation, *hour) {
            sum += i128::from(pick(&usage));
        }
    }
    sum
}

fn taken(done: &[(Timestamp, Entry)], id: HoldId) -> &Entry {
    let takes = |entry: &&Entry| matches!(entry, Entry::Hold { id: taken, .. } if *taken == id);
    done.iter().map(|(_, entry)| entry).find(takes).unwrap()
}

fn owner(done: &[(Timestamp, Entry)], id: HoldId) -> BudgetId {
    match taken(done, id) {
        Entry::Hold { budget, .. } => *budget,
        _ => unreachable!(),
    }
}

fn end(done: &[(Timestamp, Entry)], id: HoldId) -> Option<&(Timestamp, Entry)> {
    let ends = |(_, entry): &&(Timestamp, Entry)| {
        let ending = matches!(
            entry,
            Entry::Settle { .. } | Entry::Void { .. } | Entry::Doubt { .. }
        );
        ending && entry.hold() == Some(id)
    };
    done.iter().find(ends)
}
