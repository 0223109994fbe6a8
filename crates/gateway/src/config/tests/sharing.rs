//! How budgets share, and when what they spent counts anew.

use fisc::{Lendable, Limits, Period, Sharing, State, Terms, Weight, Window, Zone};

use super::*;

/// A configuration whose root has these lines, and whose only child has those.
fn family(root: &str, child: &str) -> String {
    let child = format!("[budget.team.children.a]\n{child}");
    in_budget(root) + &child
}

fn terms(text: &str) -> Vec<Terms> {
    let settings = read(text).unwrap_or_else(|error| panic!("{error}"));
    settings.budgets.iter().map(|budget| budget.terms).collect()
}

fn zone(name: &str) -> Zone {
    Zone::new(name).expect("a good name")
}

fn daily(name: &str) -> Window {
    Window::Calendar {
        period: Period::Daily,
        zone: zone(name),
        roll_over: Permille(0),
    }
}

#[test]
fn everything_about_sharing_is_read() {
    let text = r#"
        cost = "100"
        sharing = "dynamic"
        lendable = "20%"
        window = "weekly"
        time_zone = "Europe/Vilnius"
        roll_over = "25%"
        frozen = true
        newcomers = { guarantee = "auto", weight = 3, cost = "5" }
        [budget.team.children.a]
        weight = 2
        need = { cost = "7", tokens = "1M", active_time = "1h" }
        guarantee = "auto"
        [budget.team.children.b]
        window = "24h rolling"
    "#;
    let settings = read(&in_budget(text)).unwrap_or_else(|error| panic!("{error}"));
    let [team, a, b] = settings.budgets.as_slice() else {
        panic!("three budgets")
    };
    assert_eq!(team.terms.sharing, Sharing::Dynamic);
    assert_eq!(team.terms.lendable, Lendable(Permille(200)));
    assert_eq!(team.terms.state, State::Frozen);
    let week = Window::Calendar {
        period: Period::Weekly,
        zone: zone("Europe/Vilnius"),
        roll_over: Permille(250),
    };
    assert_eq!(team.terms.window, week);
    assert_eq!(a.terms.window, week, "a child counts as its parent does");
    assert_eq!(a.terms.weight, Weight(2));
    assert_eq!(a.terms.claim, Claim::Automatic);
    let need = Amount::new(
        Tokens(1_000_000),
        Money::from_nanos(7_000_000_000),
        TimeUs(3_600_000_000),
    );
    assert_eq!(a.terms.need.or(-1), need);
    assert_eq!(b.terms.window, Window::Rolling(TimeUs(86_400_000_000)));
    let newcomers = Terms {
        limits: Limits::NONE.with(Resource::Cost, Some(5_000_000_000)),
        claim: Claim::Automatic,
        reserve: Permille(50),
        weight: Weight(3),
        window: week,
        ..Terms::default()
    };
    assert_eq!(team.newcomers, newcomers);
    assert_eq!(a.newcomers, Terms::default());
}

#[test]
fn every_way_to_share_has_its_name() {
    for sharing in Sharing::ALL {
        let line = format!("cost = \"1\"\nsharing = \"{}\"", sharing.name());
        assert_eq!(terms(&in_budget(&line))[0].sharing, sharing);
    }
    let wrong = "sharing = ⟦\"dynamik\"";
    refused(&in_budget(wrong), "unknown variant", "`dynamic`");
}

#[test]
fn a_time_zone_comes_from_above() {
    let root = "cost = \"9\"\nwindow = \"daily\"\ntime_zone = \"Asia/Tokyo\"";
    let child = "window = \"daily\"\ncost = \"5\"\nshare = \"static\"";
    let [team, a] = terms(&family(root, child))[..] else {
        panic!("two budgets")
    };
    assert_eq!(
        (team.window, a.window),
        (daily("Asia/Tokyo"), daily("Asia/Tokyo"))
    );
    let alone = terms(&in_budget("cost = \"1\"\nwindow = \"daily\""))[0];
    assert_eq!(alone.window, daily("UTC"));
    // Wall-clock time goes on over midnight.
    let [_, timed] = terms(&family(root, "time = \"8h\""))[..] else {
        panic!("two budgets")
    };
    assert_eq!(timed.window, Window::None);
    let [_, lifelong] = terms(&family(root, "window = \"none\""))[..] else {
        panic!("two budgets")
    };
    assert_eq!(lifelong.window, Window::None);
}

#[test]
fn windows_that_cannot_be_are_refused() {
    for (lines, message, hint) in [
        (
            "window = ⟦\"dayly\"",
            "not a window",
            "did you mean `daily`?",
        ),
        (
            "window = ⟦\"every now and then\"",
            "not a window",
            "24h rolling",
        ),
        ("window = ⟦\"0s rolling\"", "no time at all", "24h rolling"),
        (
            "window = ⟦\"24 rolling\"",
            "the unit is missing",
            "24h rolling",
        ),
        (
            "window = \"daily\"\ntime_zone = ⟦\"Mars/Olympus\"",
            "no time zone has this name",
            "Europe/Vilnius",
        ),
        ("time_zone = ⟦\"UTC\"", "without a window", "daily"),
        ("roll_over = ⟦\"5%\"", "without a window", "daily"),
        (
            "window = \"24h rolling\"\nroll_over = ⟦\"5%\"",
            "without days, weeks or months",
            "leave it out",
        ),
        (
            "window = \"daily\"\nroll_over = ⟦\"500%\"",
            "more than 100%",
            "at most",
        ),
        (
            "window = \"daily\"\ntime = ⟦\"8h\"",
            "where spending counts anew",
            "active_time",
        ),
    ] {
        refused(&in_budget(lines), message, hint);
    }
}

#[test]
fn nothing_is_kept_of_another_window() {
    let root = "cost = \"9\"\nwindow = \"daily\"";
    for (child, message) in [
        (
            "cost = \"1\"\nwindow = \"weekly\"\nshare = ⟦\"static\"",
            "another window",
        ),
        (
            "window = \"daily\"\ntime_zone = \"Asia/Tokyo\"\nguarantee = { cost = ⟦\"1\" }",
            "another window",
        ),
        ("time = \"8h\"\nguarantee = ⟦\"auto\"", "another window"),
        (
            "window = \"24h rolling\"\nguarantee = { cost = ⟦\"1\" }",
            "rolling window",
        ),
    ] {
        refused(&family(root, child), message, "is a cap then");
    }
    let divided = format!("{root}\nsharing = \"equal\"");
    refused(
        &family(&divided, "window = ⟦\"none\""),
        "divides anew in every window",
        "leave window out",
    );
}

#[test]
fn what_is_kept_must_fit() {
    let two = |one: &str, other: &str| {
        let one = format!("[budget.team.children.a]\n{one}\n");
        let other = format!("[budget.team.children.b]\n{other}");
        in_budget("cost = \"40\"") + &one + &other
    };
    refused(
        &two(
            "cost = \"30\"\nshare = \"static\"",
            "guarantee = { cost = ⟦\"11\" }",
        ),
        "more than its parent has left",
        "cost of team: $10.00 of $40.00 left, $11.00 needed",
    );
    let deep = "guarantee = { cost = \"30\" }\n[budget.team.children.a.children.x]\n\
                cost = \"31\"\nshare = \"static\"";
    refused(
        &two(deep, "guarantee = { cost = ⟦\"10\" }"),
        "more than its parent has left",
        "$9.00 of $40.00",
    );
    terms(&two(
        "cost = \"30\"\nshare = \"static\"",
        "guarantee = \"auto\"",
    ));
    refused(&in_budget("guarantee = ⟦\"auto\""), "the root", "");
    refused(
        &family("", "guarantee = ⟦\"atuo\""),
        "unknown variant",
        "`auto`",
    );
    refused(
        &family("", "guarantee = { ⟦coost = \"1\" }"),
        "unknown field",
        "`cost`",
    );
}

#[test]
fn weights_are_whole_and_positive() {
    for weight in ["0", "-1", "65536"] {
        let child = format!("weight = ⟦{weight}");
        refused(&family("", &child), "no weight", "counts like two");
    }
    refused(&family("", "weight = ⟦1.5"), "floating point", "");
    refused(&family("", "lendable = ⟦\"half\""), "unit is missing", "5%");
}

#[test]
fn newcomers_are_promised_nothing_that_might_not_fit() {
    for (line, message) in [
        (
            "newcomers = { cost = \"1\", share = ⟦\"static\" }",
            "how many newcomers",
        ),
        (
            "newcomers = { guarantee = { cost = ⟦\"1\" } }",
            "how many newcomers",
        ),
    ] {
        refused(&in_budget(line), message, "auto");
    }
    refused(
        &in_budget("newcomers = { children = { ⟦x = {} } }"),
        "nobody below",
        "children.NAME",
    );
    refused(
        &in_budget("newcomers = { newcomers = ⟦{} }"),
        "nobody below",
        "children.NAME",
    );
}
