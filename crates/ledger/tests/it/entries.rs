//! Every kind of entry goes in and comes out as it was, and moves what it should.

use fisc_core::{Amount, BudgetId, TokenClass, Usage};
use fisc_ledger::{
    Durability, Entry, Error, Facts, Filter, GroupBy, Journal, Kind, Note, Options, Outcome,
    Reader, Totals, verify,
};

use crate::support::{
    NOON, Scratch, all_entries, allocate, amount, facts, hold, id, label, root, settle,
};

/// Appends, closes, and returns a reader.
fn journal(scratch: &Scratch, entries: &[Entry]) -> Reader {
    let (journal, _) = Journal::open(scratch.options(Durability::Process)).unwrap();
    for entry in entries {
        journal.append(NOON, entry.clone()).wait().unwrap();
    }
    journal.close().unwrap();
    verify(&scratch.journal()).unwrap();
    Reader::open(&scratch.journal()).unwrap()
}

/// Says why the last of the entries is refused; the others must be kept.
#[track_caller]
fn refused(entries: &[Entry]) -> String {
    let scratch = Scratch::new("refused");
    let (journal, _) = Journal::open(scratch.options(Durability::Process)).unwrap();
    let mut results: Vec<_> = entries
        .iter()
        .map(|entry| journal.append(NOON, entry.clone()))
        .collect::<Vec<_>>()
        .into_iter()
        .map(fisc_ledger::Ticket::wait)
        .collect();
    let last = results.pop().unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let reason = last.expect_err("the entry is refused").reason.to_string();
    assert_eq!(journal.poisoned(), Some(reason.clone()));
    assert!(matches!(journal.close(), Err(Error::Poisoned(_))));
    let stored: Vec<_> = all_entries(&scratch.journal())
        .into_iter()
        .map(|row| row.entry)
        .collect();
    assert_eq!(stored, entries[..entries.len() - 1]);
    reason
}

fn every_kind() -> Vec<Entry> {
    let mut usage = Usage::default();
    for (class, tokens) in TokenClass::ALL.into_iter().zip(1..) {
        usage.set(class, tokens);
    }
    usage.set(TokenClass::Output, u64::MAX);
    usage.reasoning = 77;
    usage.units.searches = 2;
    let tags = vec![
        ("team".into(), "blau \"1\"\n".into()),
        ("team".into(), "".into()),
    ];
    let call = label("plan", 2);
    let facts = Facts {
        usage,
        tags,
        outcome: Outcome::Cut,
        estimated: true,
        ..facts(call, 0, 0)
    };
    vec![
        root(),
        allocate(7, Some(0), "worker"),
        Entry::Terms {
            budget: BudgetId(7),
            terms: "cost=7\n".to_owned(),
        },
        hold(1, amount(100, 1_000, 10)),
        Entry::Extend {
            id: id(1),
            by: amount(50, 500, 0),
        },
        Entry::Settle {
            id: id(1),
            amount: amount(200, 1_400, 12),
            overrun: amount(40, 0, 0),
            facts: Box::new(facts),
        },
        hold(2, amount(1, 2, 3)),
        Entry::Void {
            id: id(2),
            reason: "connection refused".to_owned(),
        },
        hold(3, amount(i64::MAX - 300, 9, 9)),
        Entry::Doubt {
            id: id(3),
            charged: amount(11, 12, 13),
        },
        Entry::Correct {
            id: id(3),
            by: amount(-11, -2, 5),
            usage: Some(Usage::default().with(TokenClass::CacheRead, 4)),
            reason: "invoice".to_owned(),
        },
        Entry::Correct {
            id: id(1),
            by: amount(0, -400, 0),
            usage: None,
            reason: String::new(),
        },
        Entry::Correct {
            id: id(2),
            by: amount(1, 1, 1),
            usage: None,
            reason: "late".to_owned(),
        },
    ]
}

#[test]
fn every_kind_comes_back_as_it_went_in() {
    let scratch = Scratch::new("kinds");
    let entries = every_kind();
    assert!(
        Kind::ALL
            .iter()
            .all(|kind| entries.iter().any(|entry| entry.kind() == *kind))
    );
    let reader = journal(&scratch, &entries);
    let rows = reader.entries(0, usize::MAX).unwrap();
    let stored: Vec<_> = rows.iter().map(|row| row.entry.clone()).collect();
    assert_eq!(stored, entries);
    assert!(
        rows.iter()
            .zip(1..)
            .all(|(row, seq)| row.seq == seq && row.at == NOON)
    );

    let page = reader.entries(3, 2).unwrap();
    assert_eq!(page, rows[3..5]);
    let history: Vec<_> = reader
        .history(id(1))
        .unwrap()
        .iter()
        .map(|row| row.seq)
        .collect();
    assert_eq!(history, [4, 5, 6, 12]);
    assert_eq!(reader.history(id(99)).unwrap(), []);
}

#[test]
fn balances_are_what_the_entries_add_up_to() {
    let scratch = Scratch::new("balances");
    let reader = journal(&scratch, &every_kind());
    let budgets = reader.budgets().unwrap();
    let figures: Vec<_> = budgets
        .iter()
        .map(|row| (row.spent, row.held, row.overrun))
        .collect();
    let spent = amount(200 + 1, 1_400 - 400 + 10 + 1, 12 + 18 + 1);
    let nothing = Amount::ZERO;
    assert_eq!(
        figures,
        [
            (spent, nothing, amount(40, 0, 0)),
            (nothing, nothing, nothing)
        ]
    );
    assert_eq!(
        (&*budgets[1].name, &*budgets[1].terms),
        ("worker", "cost=7\n")
    );
    assert_eq!(budgets[1].parent, Some(BudgetId(0)));

    let total = reader
        .rollups(&Filter::default(), GroupBy::default())
        .unwrap();
    let [total] = &total[..] else {
        panic!("one total: {total:?}")
    };
    let Totals {
        calls,
        attempts,
        completed,
        voided,
        estimated,
        corrected,
        ..
    } = total.totals;
    assert_eq!(
        (calls, attempts, completed, voided, estimated, corrected),
        (2, 2, 0, 1, 1, 3)
    );
    assert_eq!(total.totals.amount, spent);
    assert_eq!(total.totals.excess, amount(50, 0, 2));
    assert_eq!(total.totals.in_doubt, 0);
    assert_eq!(total.totals.usage.get(TokenClass::CacheRead), 2 + 4);
    assert_eq!(total.totals.usage.reasoning, 77);
}

#[test]
fn rollups_are_told_apart_as_asked() {
    // All in the tables; all in the entries since.
    told_apart(1);
    told_apart(usize::MAX);
}

fn told_apart(tail_entries: usize) {
    let scratch = Scratch::new("groups");
    let hour = |hours: i64| fisc_core::Timestamp(NOON.0 + hours * 3_600_000_000);
    let (journal, _) = Journal::open(Options {
        tail_entries,
        ..scratch.options(Durability::Process)
    })
    .unwrap();
    let _ = journal.append(NOON, root());
    let _ = journal.append(NOON, allocate(1, Some(0), "worker"));
    for (number, budget, operation, at) in [
        (1, 0, "plan", 0),
        (2, 1, "plan", 0),
        (3, 1, "search", 0),
        (4, 1, "search", 2),
    ] {
        let (id, call) = (id(number), label(operation, 1));
        let budget = BudgetId(budget);
        let entry = Entry::Hold {
            id,
            budget,
            amount: amount(9, 9, 9),
            call: call.clone(),
        };
        let _ = journal.append(hour(at), entry);
        let facts = Box::new(facts(call, 10, 5));
        let (amount, overrun) = (amount(15, 1 << number, 0), Amount::ZERO);
        let _ = journal.append(
            hour(at),
            Entry::Settle {
                id,
                amount,
                overrun,
                facts,
            },
        );
    }
    journal.refuse(NOON, BudgetId(1), "plan", "gpt-5.2", "over_limit");
    journal.refuse(NOON, BudgetId(1), "plan", "gpt-5.2", "over_limit");
    journal.refuse(hour(2), BudgetId(0), "plan", "gpt-5.2", "frozen");
    journal.set_meta("all", "written").wait().unwrap();

    let reader = Reader::open(&scratch.journal()).unwrap();
    let costs = |filter: &Filter, by: GroupBy| -> Vec<i64> {
        let rows = reader.rollups(filter, by).unwrap();
        rows.iter()
            .map(|row| row.totals.amount.cost().nanos())
            .collect()
    };
    let all = Filter::default();
    let nothing = GroupBy::default();
    assert_eq!(costs(&all, nothing), [30]);
    assert_eq!(
        costs(
            &all,
            GroupBy {
                budget: true,
                ..nothing
            }
        ),
        [2, 28]
    );
    assert_eq!(
        costs(
            &all,
            GroupBy {
                operation: true,
                ..nothing
            }
        ),
        [6, 24]
    );
    assert_eq!(
        costs(
            &all,
            GroupBy {
                hour: true,
                ..nothing
            }
        ),
        [14, 16]
    );
    assert_eq!(
        costs(
            &all,
            GroupBy {
                model: true,
                provider: true,
                ..nothing
            }
        ),
        [30]
    );
    let worker = Filter {
        budgets: Some(vec![BudgetId(1)]),
        ..Filter::default()
    };
    assert_eq!(costs(&worker, nothing), [28]);
    let early = Filter {
        hour_before: Some(20_001),
        ..Filter::default()
    };
    assert_eq!(
        costs(
            &early,
            GroupBy {
                budget: true,
                operation: true,
                ..nothing
            }
        ),
        [2, 4, 8]
    );
    let nobody = Filter {
        budgets: Some(Vec::new()),
        ..Filter::default()
    };
    assert_eq!(costs(&nobody, nothing), [] as [i64; 0]);

    let refused = |filter: &Filter| -> Vec<_> {
        let rows = reader.refusals(filter).unwrap();
        rows.iter()
            .map(|row| (row.budget.0, row.reason.to_string(), row.refused))
            .collect()
    };
    let (over, frozen) = ("over_limit".to_owned(), "frozen".to_owned());
    assert_eq!(refused(&all), [(0, frozen, 1), (1, over.clone(), 2)]);
    assert_eq!(refused(&early), [(1, over, 2)]);
}

#[test]
fn what_cannot_follow_is_refused_and_stops_the_journal() {
    let some = amount(5, 5, 5);
    let begun = [root(), hold(1, some)];
    let with = |more: &[Entry]| [&begun, more].concat();
    let void = |number| Entry::Void {
        id: id(number),
        reason: String::new(),
    };
    let doubt = |number| Entry::Doubt {
        id: id(number),
        charged: some,
    };
    let correct = |number, by| Entry::Correct {
        id: id(number),
        by,
        usage: None,
        reason: String::new(),
    };
    let text = |number| id(number).to_string();
    for (entries, reason) in [
        (vec![hold(1, some)], "there is no budget 0".to_owned()),
        (
            vec![root(), root()],
            "budget 0 was allocated before".to_owned(),
        ),
        (
            vec![root(), allocate(1, Some(9), "a")],
            "there is no budget 9".to_owned(),
        ),
        (
            vec![root(), allocate(1, Some(0), "a"), allocate(2, Some(0), "a")],
            "a budget \"a\" was allocated there before".to_owned(),
        ),
        (
            with(&[hold(1, some)]),
            format!("hold {} was taken before", text(1)),
        ),
        (
            with(&[settle(1, some), settle(1, some)]),
            format!("hold {} is not open", text(1)),
        ),
        (
            with(&[settle(1, some), hold(1, some)]),
            format!("hold {} was taken before", text(1)),
        ),
        (
            with(&[void(1), settle(1, some)]),
            format!("hold {} is not open", text(1)),
        ),
        (
            with(&[doubt(1), settle(1, some)]),
            format!("hold {} is in doubt", text(1)),
        ),
        (
            with(&[settle(2, some)]),
            format!("hold {} is not open", text(2)),
        ),
        (
            with(&[correct(1, some)]),
            format!("hold {} is still open", text(1)),
        ),
        (
            with(&[correct(3, some)]),
            format!("there never was a hold {}", text(3)),
        ),
        (
            with(&[doubt(1), correct(1, amount(-6, 0, 0))]),
            "the balance of budget 0 would be negative".to_owned(),
        ),
        (
            with(&[hold(2, amount(i64::MAX, 0, 0))]),
            "the balance of budget 0 leaves its range".to_owned(),
        ),
    ] {
        assert_eq!(refused(&entries), reason);
    }
}

#[test]
fn meta_is_kept() {
    let scratch = Scratch::new("meta");
    let (journal, recovered) = Journal::open(scratch.options(Durability::Process)).unwrap();
    assert_eq!(journal.meta("tree"), None);
    journal.set_meta("tree", "first").wait().unwrap();
    let _ = journal.set_meta("tree", "second");
    assert_eq!(journal.meta("tree").as_deref(), Some("second"));
    journal.close().unwrap();

    let reader = Reader::open(&scratch.journal()).unwrap();
    assert_eq!(reader.meta("tree").unwrap().as_deref(), Some("second"));
    assert_eq!(reader.journal_id().unwrap(), recovered.journal_id);
    let (journal, again) = Journal::open(scratch.options(Durability::Process)).unwrap();
    assert_eq!(journal.meta("tree").as_deref(), Some("second"));
    assert_eq!(
        (again.journal_id, again.clean, again.epoch),
        (recovered.journal_id, true, 2)
    );
}

#[test]
fn a_note_is_written_with_its_entry_or_not_at_all() {
    let scratch = Scratch::new("notes");
    let note = |key: &str, value: Option<&str>| Note {
        key: key.to_owned(),
        value: value.map(str::to_owned),
    };
    let (journal, _) = Journal::open(scratch.options(Durability::Process)).unwrap();
    let kept = vec![note("once/b", Some("1")), note("once/a", Some("2"))];
    let _ = journal.append_noted(NOON, allocate(0, None, "root"), kept);
    let _ = journal.note(note("lease/0", Some("3")));
    let _ = journal.note(note("once/b", Some("4")));
    let refused = vec![note("once/c", Some("5"))];
    let refused = journal.append_noted(NOON, allocate(0, None, "root"), refused);
    refused.wait().expect_err("the budget is there");
    drop(journal);
    let reader = Reader::open(&scratch.journal()).unwrap();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let found = reader.notes("once/").unwrap();
    assert_eq!(found, [pair("b", "4"), pair("a", "2")], "oldest first");
    assert_eq!(reader.notes("lease/").unwrap(), [pair("0", "3")]);

    let (journal, _) = Journal::open(scratch.options(Durability::Process)).unwrap();
    journal.note(note("once/b", None)).wait().unwrap();
    assert_eq!(reader.notes("once/").unwrap(), [pair("a", "2")]);
}

#[test]
fn the_name_of_a_released_budget_is_free() {
    let scratch = Scratch::new("names");
    let (journal, _) = Journal::open(scratch.options(Durability::Process)).unwrap();
    let released = Entry::Terms {
        budget: BudgetId(1),
        terms: "tokens=5 state=released now.carried=1,1,1".to_owned(),
    };
    for entry in [
        allocate(0, None, "root"),
        allocate(1, Some(0), "a"),
        released,
        allocate(2, Some(0), "a"),
    ] {
        let _ = journal.append(NOON, entry);
    }
    let again = journal.append(NOON, allocate(3, Some(0), "a"));
    again.wait().expect_err("the second one lives");
    drop(journal);
    let names = Reader::open(&scratch.journal()).unwrap().budgets().unwrap();
    let names: Vec<&str> = names.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["root", "a", "a"]);
    verify(&scratch.journal()).unwrap();
}
