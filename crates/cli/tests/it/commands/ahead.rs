//! Forecasts: only while something goes on, and never without a past.

use serde_json::{Value, json};

use super::{SECRETS, Shop, config, parsed};
use crate::sdk::World;

fn report(shop: &Shop) -> Value {
    parsed(&shop.done(&["report", "--json"]).success().stdout)
}

fn forecast_of<'a>(report: &'a Value, path: &str) -> &'a Value {
    let budgets = report["forecast"]["budgets"].as_array().expect("budgets");
    let found = budgets.iter().find(|row| row["path"] == path);
    found.unwrap_or_else(|| panic!("no forecast of {path}: {report}"))
}

#[test]
fn a_forecast_needs_a_past_and_a_present() {
    let shop = Shop::open();
    for _ in 0..3 {
        shop.call(10).ok();
    }
    let early = report(&shop)["forecast"].clone();
    assert_eq!(
        early,
        json!({ "method": "fisc", "estimated": true, "budgets": [] })
    );
    shop.call(10).ok();
    let now = report(&shop);
    for path in ["shop", "shop/clerk"] {
        let forecast = forecast_of(&now, path);
        assert_eq!(forecast["horizon_ms"], Value::Null);
        for resource in ["tokens", "cost", "active_time"] {
            assert_eq!(
                forecast[resource]["at_horizon"],
                Value::Null,
                "no horizon, no total"
            );
        }
    }
    let whole = forecast_of(&now, "shop");
    let limit_in = whole["tokens"]["limit_in_ms"].as_i64().expect("a time");
    // 40 of 1,000 tokens are spent: the rest takes 24 times as long as these did.
    assert!(limit_in > 0, "{whole}");
    assert_eq!(whole["active_time"]["limit_in_ms"], Value::Null, "no limit");
    assert_eq!(
        forecast_of(&now, "shop/clerk")["tokens"]["limit_in_ms"],
        Value::Null,
        "the limit is the shop's"
    );
    let text = shop.done(&["report"]).success().stdout;
    assert!(
        text.contains("\n forecast (fisc, estimated): limit in "),
        "{text}"
    );
    let Shop { world, gateway, .. } = shop;
    gateway.end();
    let db = super::ledger(&world);
    let over = parsed(
        &world
            .done(["report", "--json", "--db", &db])
            .success()
            .stdout,
    );
    assert_eq!(over["forecast"], Value::Null, "nothing goes on");
}

#[test]
fn a_deadline_is_the_horizon() {
    let world = World::new();
    let provider = world.provider("1");
    let timed = config(&provider).replace("reserve = \"0%\"", "reserve = \"0%\"\ntime = \"1h\"");
    let gateway = world.serve(&timed, SECRETS);
    let shop = Shop {
        world,
        gateway,
        provider,
    };
    for _ in 0..4 {
        shop.call(10).ok();
    }
    let report = report(&shop);
    let forecast = forecast_of(&report, "shop");
    let left = forecast["horizon_ms"].as_i64().expect("a horizon");
    assert!((1..=3_600_000).contains(&left), "{forecast}");
    let total = forecast["tokens"]["at_horizon"].as_i64().expect("a total");
    assert!(
        total > 40,
        "an hour at the rate of these seconds: {forecast}"
    );
    let text = shop.done(&["report"]).success().stdout;
    let said = text.lines().find(|line| line.contains(" tokens in "));
    let said = said.expect("a forecast of tokens");
    assert!(said.starts_with(" forecast (fisc, estimated): "), "{text}");
    assert!(said.contains(", limit in "), "{text}");
}
