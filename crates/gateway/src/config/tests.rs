//! Tests of the configuration: what is read, and how errors point.

mod acts;
mod docs;
mod sharing;

use std::collections::HashSet;
use std::time::Duration;

use fisc::{Claim, Durability, Permille, TimeUs, TokenCounting};
use fisc_core::{Amount, Money, Resource, TokenClass, Tokens};

use super::*;
use crate::policy::{OnDisconnect, OnRunaway, UnknownPrice};
use crate::routes::Provider;
use crate::upstream::Upstream;

const SECRET: &str = "3q2-7wAbCdEfGhIjKlMnOpQr";
const HASH: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// The least that is accepted, with a place for more on either side.
fn minimal(top: &str, more: &str) -> String {
    format!(
        "{top}\n[upstream.openai]\nurl = \"http://127.0.0.1:9\"\n[budget.team]\ncost = \"1\"\n\
         [[key]]\nname = \"ci\"\nbudget = \"team\"\nsecret_hash = \"{HASH}\"\n{more}"
    )
}

fn environment(name: &str) -> Option<String> {
    match name {
        "UNSET" => None,
        "EMPTY" => Some(" \n".to_owned()),
        "SHORT" => Some("hunter2".to_owned()),
        "DEFAULT" => Some("changeme".to_owned()),
        "WHOLE" => Some(format!("sk-fisc-ci.{SECRET}\n")),
        _ => Some(SECRET.to_owned()),
    }
}

fn read(text: &str) -> Result<Settings, ConfigError> {
    parse("fisc.toml", text, Path::new("/etc/fisc"), &environment)
}

/// Expects `text` to be refused where `^` points, with this message and something in the hint.
/// `text` holds `⟦` before the offending part.
#[track_caller]
fn refused(text: &str, message: &str, hint: &str) {
    let at = text.find('⟦').expect("a mark");
    let (line, column) = {
        let before = &text[..at];
        let line = before.matches('\n').count() + 1;
        (
            line,
            before
                .rsplit('\n')
                .next()
                .unwrap_or_default()
                .chars()
                .count()
                + 1,
        )
    };
    let error = read(&text.replacen('⟦', "", 1)).expect_err("must be refused");
    assert_eq!(
        (error.line(), error.column()),
        (Some(line), Some(column)),
        "{error}"
    );
    assert!(error.message().contains(message), "{error}");
    assert!(error.hint().unwrap_or_default().contains(hint), "{error}");
}

fn top(line: &str) -> String {
    minimal(line, "")
}

/// A configuration with more lines in its root budget.
fn in_budget(lines: &str) -> String {
    minimal("", "").replace("cost = \"1\"\n", &format!("{lines}\n"))
}

#[test]
fn every_example_is_accepted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut overlays = HashSet::new();
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("examples exist")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    // A price overlay is an example of another format; the file that names it comes first.
    files.sort_by_key(|path| path.file_name() != Some("fisc.toml".as_ref()));
    assert!(!files.is_empty());
    for file in files.iter().filter(|path| !path.ends_with("prices.toml")) {
        if overlays.contains(file) {
            continue;
        }
        let settings = load(file, &environment).unwrap_or_else(|error| panic!("{error}"));
        overlays.extend(settings.price_overlay);
    }
}

#[test]
fn what_is_left_out_has_safe_defaults() {
    let settings = read(&minimal("", "")).expect("accepted");
    assert_eq!(settings.listen.to_string(), "127.0.0.1:4141");
    assert_eq!(settings.durability, Durability::Full);
    assert_eq!(settings.ledger, Path::new("/etc/fisc/fisc.db"));
    assert_eq!(settings.counting, TokenCounting::Fresh);
    assert_eq!(settings.policy.patience, Duration::from_mins(1));
    assert_eq!(settings.policy.unknown_price, UnknownPrice::Deny);
    assert_eq!(settings.policy.on_disconnect, OnDisconnect::Drain);
    assert!(settings.upstreams[0].include_usage());
    let [team] = settings.budgets.as_slice() else {
        panic!("one budget")
    };
    assert_eq!(team.terms.reserve, Permille(50));
    assert_eq!(team.terms.limits.get(Resource::Cost), Some(1_000_000_000));
    assert_eq!(team.terms.limits.get(Resource::Tokens), None);
    assert_eq!(team.terms.claim, Claim::Nothing);
}

#[test]
fn everything_that_is_written_is_read() {
    let text = r#"
        listen = "10.0.0.5:80"
        hosts = ["fisc.internal", "localhost:8080"]
        durability = "async"
        hold = "1.5s"
        call_time = "2m"
        on_disconnect = "cancel"
        unknown_price = "estimate"
        estimate = { input = "15", output = "75" }
        [ledger]
        path = "/var/lib/fisc/l.db"
        [prices]
        overlay = "prices.toml"
        [upstream.openai]
        url = "http://127.0.0.1:11434/v1"
        include_usage = false
        cap_field = "max_completion_tokens"
        default_tier = "flex"
        [upstream.anthropic]
        url = "https://api.anthropic.com"
        key_env = "A_KEY"
        auth = "bearer"
        [budget.team]
        cost = "$100"
        tokens = "total:5M"
        time = "8h"
        active_time = "1h30m"
        reserve = "2.5%"
        per_call = { cost = "2.50", tokens = "total:100k", active_time = "5m" }
        [budget.team.children.zoe]
        guarantee = { cost = "10" }
        [budget.team.children.adam]
        cost = "0"
        share = "static"
        [budget.team.children.adam.children.deep]
        [[key]]
        name = "ci"
        budget = "team/adam/deep"
        secret_env = "WHOLE"
    "#;
    let settings = read(text).expect("accepted");
    assert_eq!(
        settings.hosts,
        ["fisc.internal", "localhost:8080", "10.0.0.5:80"]
    );
    assert_eq!(settings.durability, Durability::Async);
    assert_eq!(settings.policy.patience, Duration::from_millis(1500));
    assert_eq!(settings.policy.call_time, Duration::from_mins(2));
    assert_eq!(settings.policy.on_disconnect, OnDisconnect::Cancel);
    let UnknownPrice::Estimate(price) = &settings.policy.unknown_price else {
        panic!("estimate")
    };
    let rate = |class| price.schedules()[0].rates(0).get(class).usd_per_mtok();
    for class in TokenClass::ALL {
        let output = [
            TokenClass::Output,
            TokenClass::AudioOutput,
            TokenClass::ImageOutput,
        ];
        let expected = if output.contains(&class) {
            "75.00"
        } else {
            "15.00"
        };
        assert_eq!(rate(class), expected, "{class:?}");
    }
    assert_eq!(settings.ledger, Path::new("/var/lib/fisc/l.db"));
    assert_eq!(
        settings.price_overlay.as_deref(),
        Some(Path::new("/etc/fisc/prices.toml"))
    );
    let providers: Vec<_> = settings.upstreams.iter().map(Upstream::provider).collect();
    assert_eq!(providers, [Provider::OpenAi, Provider::Anthropic]);
    assert!(!settings.upstreams[0].include_usage());
    let tiers = settings.upstreams.iter().map(Upstream::default_tier);
    assert_eq!(tiers.collect::<Vec<_>>(), [Some("flex"), None]);
    assert_eq!(settings.counting, TokenCounting::Total);
    let paths: Vec<_> = settings
        .budgets
        .iter()
        .map(|budget| budget.path.as_str())
        .collect();
    assert_eq!(paths, ["team", "team/zoe", "team/adam", "team/adam/deep"]);
    let team = settings.budgets[0].terms;
    let all = Amount::new(
        Tokens(5_000_000),
        Money::from_nanos(100_000_000_000),
        TimeUs(5_400_000_000),
    );
    assert_eq!(team.limits.or(-1), all);
    assert_eq!(team.elapsed, Some(TimeUs(28_800_000_000)));
    assert_eq!(team.reserve, Permille(25));
    let call = Amount::new(
        Tokens(100_000),
        Money::from_nanos(2_500_000_000),
        TimeUs(300_000_000),
    );
    assert_eq!(team.per_call.or(-1), call);
    let ten = Amount::new(Tokens(0), Money::from_nanos(10_000_000_000), TimeUs(0));
    assert_eq!(settings.budgets[1].terms.claim, Claim::Guarantee(ten));
    assert_eq!(settings.budgets[2].terms.claim, Claim::Limit);
    assert_eq!(
        settings.budgets[2].terms.limits.get(Resource::Cost),
        Some(0)
    );
}

#[test]
fn an_unknown_key_gets_a_suggestion() {
    refused(
        &top("⟦listne = \"x\""),
        "unknown field `listne`",
        "did you mean `listen`?",
    );
    refused(
        &in_budget("⟦coost = \"1\""),
        "unknown field `coost`",
        "did you mean `cost`?",
    );
    refused(
        &minimal("", "⟦secret = \"x\""),
        "unknown field `secret`",
        "",
    );
    refused(
        &minimal("", "").replace("url =", "⟦ulr ="),
        "unknown field `ulr`",
        "did you mean `url`?",
    );
    refused(
        &minimal("", "[⟦budgets.x]"),
        "unknown field `budgets`",
        "did you mean `budget`?",
    );
}

#[test]
fn an_unknown_choice_gets_a_suggestion() {
    for (line, wrong, meant) in [
        ("durability = ⟦\"ful\"", "ful", "full"),
        ("on_disconnect = ⟦\"drian\"", "drian", "drain"),
        ("unknown_price = ⟦\"estimat\"", "estimat", "estimate"),
    ] {
        let (message, hint) = (
            format!("unknown variant `{wrong}`"),
            format!("did you mean `{meant}`?"),
        );
        refused(&top(line), &message, &hint);
    }
    refused(
        &in_budget("share = ⟦\"statik\""),
        "unknown variant",
        "did you mean `static`?",
    );
}

#[test]
fn a_number_without_quotes_is_refused() {
    refused(&in_budget("cost = ⟦0.1"), "expected a string", "in quotes");
    refused(
        &in_budget("tokens = ⟦500000"),
        "expected a string",
        "in quotes",
    );
}

#[test]
fn a_wrong_amount_says_how_to_write_it() {
    for (line, message, hint) in [
        ("cost = ⟦\".50\"", "cannot start with '.'", "0.50"),
        ("cost = ⟦\"1e3\"", "not an amount of money", "2.50"),
        ("tokens = ⟦\"5x\"", "the unit is unknown", "500k"),
        (
            "tokens = ⟦\"all:5k\"",
            "nothing counts tokens that way",
            "total:500k",
        ),
        ("time = ⟦\"90\"", "the unit is missing", "90s"),
        ("active_time = ⟦\"1h30\"", "the unit is missing", "1h30m"),
        ("reserve = ⟦\"5\"", "the unit is missing", "5%"),
        ("reserve = ⟦\"101%\"", "more than 100%", "at most"),
        (
            "per_call = { cost = ⟦\"x\" }",
            "not an amount of money",
            "2.50",
        ),
    ] {
        refused(&in_budget(line), message, hint);
    }
    refused(&top("hold = ⟦\"61s\""), "at most 60s", "give up");
    refused(&top("call_time = ⟦\"0s\""), "needs some time", "");
    refused(
        &top("estimate = { input = ⟦\"1\", output = \"1\" }"),
        "of no use",
        "unknown_price",
    );
    let estimate = "unknown_price = \"estimate\"\nestimate = { input = \"1\", output = ⟦\"x\" }";
    refused(&top(estimate), "number", "decimal");
    refused(
        &top("unknown_price = ⟦\"estimate\""),
        "how much to charge",
        "estimate = ",
    );
}

#[test]
fn broken_toml_is_pointed_at() {
    let error = read("listen = \"127.0.0.1:1\"\ncost == 1\n").expect_err("refused");
    assert_eq!(error.line(), Some(2), "{error}");
    let error = read("listen = \"x").expect_err("refused");
    assert_eq!(error.line(), Some(1), "{error}");
}

#[test]
fn budgets_that_cannot_be_are_refused() {
    let child = |lines: &str| minimal("", &format!("[budget.team.children.a]\n{lines}"));
    refused(&child("share = ⟦\"static\""), "no limit", "add the limit");
    let both = "cost = \"1\"\nshare = ⟦\"static\"\nguarantee = { cost = \"1\" }";
    refused(
        &child(both),
        "both a static share and a guarantee",
        "leave one out",
    );
    let larger = "cost = \"1\"\nguarantee = { cost = ⟦\"2\" }";
    refused(&child(larger), "larger than the limit", "");
    refused(
        &child("tokens = \"5k\"\nper_call = { tokens = ⟦\"in:5k\" }"),
        "other tokens",
        "same",
    );
    refused(&in_budget("guarantee = { cost = ⟦\"1\" }"), "the root", "");
    refused(
        &minimal("", "[budget.⟦other]"),
        "a second root",
        "[budget.team.children.other]",
    );
    refused(
        &minimal("", "[budget.team.children.⟦\"a/b\"]"),
        "a name holds '/'",
        "",
    );
    let deep = "[budget.team.children.b.children.c.children.d.children.e.children.f.children.g\
                .children.h.children.⟦i]";
    refused(&minimal("", deep), "deeper than 8", "");
}

#[test]
fn a_key_needs_a_budget_and_a_good_secret() {
    let with = |from: &str, to: &str| minimal("", "").replace(from, to);
    refused(
        &with("budget = \"team\"", "budget = ⟦\"taem\""),
        "no budget",
        "did you mean `team`?",
    );
    refused(
        &with("budget = \"team\"", "budget = ⟦\"team/x/y\""),
        "no budget",
        "budgets: team",
    );
    refused(
        &with("name = \"ci\"", "name = ⟦\"a.b\""),
        "not the name of a key",
        "letters",
    );
    let hash = format!("secret_hash = \"{HASH}\"");
    refused(
        &with(&hash, "secret_hash = ⟦\"abc\""),
        "not a SHA-256",
        "openssl",
    );
    let known = "057ba03d6c44104863dc7361fe4578965d1887360f90a0895882e58a6248fc86";
    refused(
        &with(&hash, &format!("secret_hash = ⟦\"{known}\"")),
        "well-known",
        "openssl",
    );
    refused(
        &with(&hash, "secret_env = ⟦\"UNSET\""),
        "UNSET is not set",
        "set it",
    );
    refused(
        &with(&hash, "secret_env = ⟦\"EMPTY\""),
        "EMPTY is not set",
        "set it",
    );
    refused(
        &with(&hash, "secret_env = ⟦\"SHORT\""),
        "shorter than",
        "openssl",
    );
    refused(
        &with(&hash, "secret_env = ⟦\"DEFAULT\""),
        "well-known",
        "openssl",
    );
    refused(
        &with(&hash, "").replace("name = ", "name = ⟦"),
        "no secret",
        "secret_hash",
    );
    refused(
        &minimal("", "secret_env = ⟦\"GOOD\""),
        "both secret_hash",
        "",
    );
    let twice = format!("[[key]]\nname = ⟦\"ci\"\nbudget = \"team\"\nsecret_hash = \"{HASH}\"");
    refused(&minimal("", &twice), "a second key", "");
}

#[test]
fn a_default_tier_is_one_that_serves_calls() {
    let text = |tier: &str| {
        let upstream = "[upstream.openai]\nurl = \"http://127.0.0.1:9\"\n";
        let with_tier = format!("{upstream}default_tier = {tier}\n");
        minimal("", "").replace(upstream, &with_tier)
    };
    let settings = read(&text("\"default\"")).expect("accepted");
    assert_eq!(settings.upstreams[0].default_tier(), Some("default"));
    for open in ["⟦\"\"", "⟦\"auto\""] {
        refused(&text(open), "not the tier that calls are served at", "flex");
    }
}

#[test]
fn what_serves_or_limits_nothing_is_refused() {
    let without = |part: &str| {
        let text = minimal("", "");
        let start = text.find(part).expect("a part");
        let end = text[start + 1..]
            .find("\n[")
            .map_or(text.len(), |end| start + 1 + end);
        let error = read(&format!("{}{}", &text[..start], &text[end..])).expect_err("refused");
        assert!(error.hint().is_some(), "{error}");
        error.message().to_owned()
    };
    assert!(without("[upstream.openai]").contains("no upstream"));
    assert!(without("[budget.team]").contains("no budget"));
    assert!(without("[[key]]").contains("no key"));
}

#[test]
fn upstreams_are_checked() {
    let with = |lines: &str| minimal("", "").replace("url = \"http://127.0.0.1:9\"", lines);
    refused(&with("url = ⟦\"api.openai.com\""), "not a URL", "");
    refused(&with("url = ⟦\"https://u:p@h\""), "user or a password", "");
    refused(
        &with("url = \"https://h\"\nkey_env = ⟦\"UNSET\""),
        "not set",
        "",
    );
    refused(
        &with("url = \"https://h\"\nkey_file = ⟦\"/nonexistent/k\""),
        "cannot be read",
        "",
    );
    let both = "url = \"https://h\"\nkey_env = \"K\"\nkey_file = ⟦\"k\"";
    refused(&with(both), "both key_env and key_file", "");
    refused(
        &top("listen = ⟦\"localhost\""),
        "not an address",
        "127.0.0.1:4141",
    );
    refused(
        &top("hosts = [⟦\"http://h\"]"),
        "not the name of a host",
        "without a scheme",
    );
}

#[test]
fn errors_show_no_secret_that_was_written_into_the_file() {
    let canary = "sk-canary-0123456789";
    let plain = "canary0123456789abcdef";
    for text in [
        top(&format!("listen = \"{canary}\"")),
        top(&format!("durability = \"{canary}\"")),
        minimal("", &format!("secret_env = \"{canary}\"")),
        minimal("", "").replace(HASH, canary),
        minimal("", "").replace(HASH, plain),
        minimal("", "").replace("http://127.0.0.1:9", &format!("https://u:{plain}@h")),
        minimal("", "").replace("[budget", &format!("key = \"{canary}\"\n[budget")),
        minimal("", "").replace("[budget", &format!("key_env = \"{plain}\"\n[budget")),
        minimal("", "").replace("[budget", &format!("key_env = \"{plain}\n[budget")),
    ] {
        let error = read(&text).expect_err("refused").to_string();
        assert!(!error.contains("canary"), "{error}");
    }
    let settings = read(&minimal("", "").replace("[budget", "key_env = \"K\"\n[budget"));
    assert!(!format!("{settings:?}").contains(SECRET));
}

#[test]
fn an_error_reads_like_a_compiler_s() {
    let error = read(&in_budget("coost = \"1\""))
        .expect_err("refused")
        .to_string();
    let message = error.lines().next().unwrap_or_default();
    assert!(
        message.starts_with("fisc.toml:5:1: unknown field `coost`"),
        "{error}"
    );
    assert!(
        error.contains("\n  5 | coost\n  hint: did you mean `cost`?"),
        "{error}"
    );
}

#[test]
fn webhooks_are_read_and_need_a_secret() {
    let hook = |lines: &str| format!("[[webhook]]\nurl = \"https://hooks.example/a\"\n{lines}");
    let whole = hook(
        "secret_env = \"HOOK\"\nevents = [\"level\", \"in-doubt\"]\nmin_level = \"red\"\n\
         budgets = [\"team/*\"]",
    );
    let settings = read(&minimal("runaway = \"raise\"", &whole)).expect("accepted");
    assert_eq!(settings.policy.on_runaway, OnRunaway::Raise);
    let [webhook] = settings.webhooks.as_slice() else {
        panic!("one webhook")
    };
    let shown = format!("{webhook:?}");
    for part in ["[Level, InDoubt, Missed]", "Red", "[\"team/*\"]", "false"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let settings = read(&minimal("", "")).expect("accepted");
    assert!(settings.webhooks.is_empty());
    assert_eq!(settings.policy.on_runaway, OnRunaway::Tell);

    let refuse = |lines: &str, message: &str, hint: &str| {
        refused(&minimal("", lines), message, hint);
    };
    let unsigned = "[[webhook]]\nurl = ⟦\"https://hooks.example/a\"";
    refuse(unsigned, "no secret", "openssl rand");
    let secret = "secret_env = \"HOOK\"";
    for (url, message) in [
        ("ftp://hooks.example", "neither http nor https"),
        ("http://127.0.0.1:80/a", "allow_private"),
        ("http://[::1]/a", "allow_private"),
        ("https://me:canary@hooks.example/a", "a user or a password"),
    ] {
        let lines = format!("[[webhook]]\n{secret}\nurl = ⟦\"{url}\"");
        refuse(&lines, message, "");
    }
    let event = hook(&format!("{secret}\nevents = [\"level\", ⟦\"overun\"]"));
    refuse(&event, "no such event", "`overrun`");
    let level = hook(&format!("{secret}\nmin_level = ⟦\"purple\""));
    refuse(&level, "no such level", "green, yellow, orange, red, black");
    let short = "[[webhook]]\nsecret_env = \"SHORT\"\nurl = ⟦\"https://hooks.example/a\"";
    refuse(short, "shorter than 24 bytes", "");
    let both = hook("secret_env = \"HOOK\"\nsecret_file = ⟦\"hook.key\"");
    refuse(&both, "both secret_env and secret_file", "");
}
