//! Levels and what is done at each, as configured.

use fisc::{Level, Levels, Permille, Resource, Thresholds};

use super::*;

fn begins(percent: [u16; 4]) -> Thresholds {
    Thresholds(percent.map(|percent| Permille(percent * 10)))
}

fn actions(budget: &BudgetSettings, level: Level, of: Option<Resource>) -> Vec<String> {
    let measures = budget.measures.as_ref().expect("measures of its own");
    let actions = measures.actions.at(level, of);
    actions.map(|action| action.to_string()).collect()
}

#[test]
fn levels_and_actions_are_read_and_inherited() {
    let text = in_budget(
        "cost = \"9\"\nobserve = true\nrate_per_minute = { cost = \"0.5\" }\n\
         levels = { yellow = \"60%\", cost = { red = \"80%\" } }\n\
         actions = { yellow = [\"notice\"], time = { red = [\"output:9\"] } }\n\
         fallback = { \"gpt-5*\" = \"gpt-5-mini\", \"*\" = \"gpt-5-nano\" }\n\
         [budget.team.children.writer]\nnotice = \"native\"\n\
         [budget.team.children.reader]\ncost = \"1\"\n",
    );
    let settings = read(&text).unwrap_or_else(|error| panic!("{error}"));
    let [team, writer, reader] = &settings.budgets[..] else {
        panic!("three budgets")
    };
    assert!(team.terms.observed && !writer.terms.observed);
    assert_eq!(team.terms.rate.get(Resource::Cost), Some(500_000_000));
    let levels = team.terms.levels;
    // What is not said of Orange makes way for nothing here; Black stays where it usually is.
    assert_eq!(
        levels.get(Some(Resource::Cost)),
        Some(begins([60, 75, 80, 95]))
    );
    assert_eq!(levels.get(None), Some(begins([60, 75, 90, 95])));
    assert_eq!(writer.terms.levels, Levels::default());
    let cost = Some(Resource::Cost);
    assert_eq!(actions(team, Level::Yellow, cost), ["notice"]);
    assert!(actions(team, Level::Yellow, None).is_empty());
    assert_eq!(
        actions(team, Level::Red, None),
        ["shorten", "optional", "output:9"]
    );
    // A child that says one thing has the rest as its parent; one that says nothing has no own.
    assert_eq!(actions(writer, Level::Yellow, cost), ["notice"]);
    let fallbacks = &writer.measures.as_ref().expect("its own").fallbacks;
    assert_eq!(fallbacks.find("gpt-5.2"), Some("gpt-5-mini"));
    assert_eq!(fallbacks.find("o9"), Some("gpt-5-nano"));
    assert_eq!(reader.measures, None);
}

#[test]
fn who_is_asked_keeps_nothing_for_wrapping_up() {
    let text = in_budget(
        "cost = \"9\"\nask = \"30m\"\n\
         [budget.team.children.writer]\ncost = \"1\"\n\
         [budget.team.children.careful]\ncost = \"1\"\nreserve = \"10%\"\n\
         [budget.team.children.reader]\ncost = \"1\"\nask = \"0s\"\n",
    );
    let settings = read(&text).unwrap_or_else(|error| panic!("{error}"));
    let ask = |budget: &BudgetSettings| budget.measures.as_ref().map(|measures| measures.ask);
    let half_an_hour = Some(Duration::from_mins(30));
    let reserve = |budget: &BudgetSettings| budget.terms.reserve;
    let [team, writer, careful, reader] = &settings.budgets[..] else {
        panic!("four budgets")
    };
    assert_eq!(
        (ask(team), reserve(team)),
        (Some(half_an_hour), Permille(0))
    );
    assert_eq!((ask(writer), reserve(writer)), (None, Permille(0)));
    assert_eq!((ask(careful), reserve(careful)), (None, Permille(100)));
    assert_eq!((ask(reader), reserve(reader)), (Some(None), Permille(50)));
    refused(
        &in_budget("cost = \"9\"\nnewcomers = { cost = \"1\", ask = ⟦\"5m\" }"),
        "newcomers ask as the budget above them does",
        "write ask beside newcomers",
    );
    refused(
        &in_budget("cost = \"9\"\nask = ⟦\"soon\""),
        "not a number of the expected form",
        "write time as 90s",
    );
}

#[test]
fn what_makes_no_sense_is_pointed_at() {
    refused(
        &in_budget("cost = \"9\"\nlevels = { orange = ⟦\"40%\", yellow = \"50%\" }"),
        "begins before the level below it",
        "yellow, orange, red and black begin in this order",
    );
    refused(
        &in_budget("cost = \"9\"\nactions = { red = [⟦\"panic\"] }"),
        "no such action",
        "there are notice, halve",
    );
}
