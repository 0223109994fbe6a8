//! Tests of refusals: what each client sees.

use fisc_core::{BudgetId, Level, Money, TimeUs, Tokens};
use serde_json::{Value, json};

use super::*;

const ALL: [RefusalKind; 22] = [
    RefusalKind::BudgetFrozen,
    RefusalKind::BudgetReleased,
    RefusalKind::BudgetExhausted,
    RefusalKind::TimeOver,
    RefusalKind::RequestExceedsBudget,
    RefusalKind::RequestExceedsCallLimit,
    RefusalKind::BudgetReserved,
    RefusalKind::ModelUnpriced,
    RefusalKind::StoreUnavailable,
    RefusalKind::Unauthorized,
    RefusalKind::OriginRefused,
    RefusalKind::HostRefused,
    RefusalKind::BadName,
    RefusalKind::BadRequest,
    RefusalKind::UnmeteredPath,
    RefusalKind::TooLarge,
    RefusalKind::ContentEncoding,
    RefusalKind::SlowBody,
    RefusalKind::UpstreamUnreachable,
    RefusalKind::UpstreamBroken,
    RefusalKind::UpstreamTimeout,
    RefusalKind::ShuttingDown,
];

fn short(limit: i64, spent: i64, held: i64, needed: i64) -> Shortfall {
    let (budget, resource) = (BudgetId(3), Resource::Cost);
    Shortfall {
        budget,
        resource,
        limit,
        spent,
        held,
        needed,
    }
}

fn answer(refusal: Refusal, provider: Provider) -> (Response<Bytes>, Value) {
    let response = refusal.into_response(provider, "req-1");
    let body = serde_json::from_slice(response.body()).expect("valid JSON");
    (response, body)
}

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().expect("ASCII"))
}

#[test]
fn an_exhausted_budget_is_402_and_never_retried() {
    let cents = 10_000_000;
    let tree = fisc_core::Refusal::Never(short(120 * cents, 115 * cents, 5 * cents, 10 * cents));
    let refusal = Refusal::of_tree(&tree, Some("main/researcher".to_owned()));
    let (response, body) = answer(refusal, Provider::OpenAi);
    assert_eq!(response.status(), 402);
    assert_eq!(header(&response, "x-should-retry"), Some("false"));
    assert_eq!(header(&response, "retry-after"), None);
    assert_eq!(header(&response, "fisc-reason"), Some("budget_exhausted"));
    assert_eq!(header(&response, "fisc-budget"), Some("main/researcher"));
    assert_eq!(header(&response, "content-type"), Some("application/json"));
    assert_eq!(
        body,
        json!({ "error": {
            "message": "budget 'main/researcher' is exhausted: $1.15 of $1.20 used, $0.05 held \
                        by calls in flight, this call needs up to $0.10. Raise its cost limit; \
                        a retry cannot succeed",
            "type": "insufficient_quota",
            "code": "budget_exhausted",
            "param": null,
            "budget": {
                "path": "main/researcher", "resource": "cost", "unit": "nano_usd",
                "limit": 1_200_000_000, "spent": 1_150_000_000, "held": 50_000_000,
                "needed": 100_000_000,
            },
        }})
    );
}

#[test]
fn what_is_kept_for_wrapping_up_belongs_to_the_limit() {
    let limits = Limits::NONE.with(Resource::Cost, Some(1_200_000_000));
    let told = |tree| {
        let refusal = Refusal::of_tree(&tree, Some("main".to_owned()));
        let (_, body) = answer(refusal.with_whole_limit(&limits), Provider::OpenAi);
        (
            body["error"]["message"].as_str().expect("text").to_owned(),
            body["error"]["budget"].clone(),
        )
    };
    let (message, budget) = told(fisc_core::Refusal::Never(short(
        1_140_000_000,
        1_150_000_000,
        0,
        100_000_000,
    )));
    assert!(
        message.contains("$1.15 of $1.20 used, $0.06 kept for wrapping up, this call needs"),
        "{message}"
    );
    assert_eq!(
        (&budget["limit"], &budget["reserve"]),
        (&json!(1_200_000_000), &json!(60_000_000))
    );
    let (message, _) = told(fisc_core::Refusal::Never(short(
        1_140_000_000,
        0,
        0,
        1_150_000_000,
    )));
    assert!(
        message.contains("has in all ($1.20, $0.06 kept for wrapping up)"),
        "{message}"
    );
    let (message, budget) = told(fisc_core::Refusal::PerCall(short(
        100_000_000,
        0,
        0,
        150_000_000,
    )));
    assert!(message.contains("allows $0.10 for one call"), "{message}");
    assert_eq!(budget["limit"], 100_000_000);
}

#[test]
fn anthropic_clients_get_a_billing_error() {
    let tree = fisc_core::Refusal::Never(short(10, 10, 0, 5));
    let refusal = Refusal::of_tree(&tree, Some("main".to_owned()));
    let (response, body) = answer(refusal, Provider::Anthropic);
    assert_eq!(response.status(), 402);
    assert_eq!(
        (&body["type"], &body["request_id"]),
        (&json!("error"), &json!("req-1"))
    );
    assert_eq!(body["error"]["type"], "billing_error");
    assert_eq!(body["error"]["details"]["error_code"], "budget_exhausted");
    assert_eq!(body["error"]["details"]["budget"]["spent"], 10);
    assert_eq!(header(&response, "request-id"), Some("req-1"));
}

#[test]
fn what_is_larger_than_the_budget_says_so() {
    let kind = |tree| Refusal::of_tree(&tree, None).kind;
    let never = |limit, needed| fisc_core::Refusal::Never(short(limit, 0, 0, needed));
    assert_eq!(kind(never(10, 11)), RefusalKind::RequestExceedsBudget);
    assert_eq!(kind(never(10, 10)), RefusalKind::BudgetExhausted);
    assert_eq!(kind(never(0, 10)), RefusalKind::BudgetExhausted);
    let per_call = fisc_core::Refusal::PerCall(short(10, 0, 0, 11));
    assert_eq!(kind(per_call), RefusalKind::RequestExceedsCallLimit);
    let deadline = fisc_core::Refusal::Deadline(BudgetId(0));
    assert_eq!(kind(deadline), RefusalKind::TimeOver);
}

#[test]
fn what_fits_later_is_429_with_a_short_wait() {
    let tree = fisc_core::Refusal::NotNow(short(100, 10, 90, 5));
    let refusal = Refusal::of_tree(&tree, Some("main".to_owned()));
    let (response, body) = answer(refusal, Provider::OpenAi);
    assert_eq!(response.status(), 429);
    assert_eq!(header(&response, "retry-after"), Some("5"));
    assert_eq!(header(&response, "retry-after-ms"), Some("5000"));
    assert_eq!(header(&response, "x-should-retry"), Some("true"));
    assert_eq!(body["error"]["code"], "budget_reserved");
    let message = body["error"]["message"].as_str().expect("text");
    assert!(message.contains("has no room right now"), "{message}");
    assert!(message.contains("Retry in 5 s"), "{message}");
}

#[test]
fn a_broken_ledger_is_503_for_at_most_5_s() {
    let refusal = Refusal::new(RefusalKind::StoreUnavailable);
    let (response, body) = answer(refusal, Provider::Anthropic);
    assert_eq!(response.status(), 503);
    assert_eq!(header(&response, "retry-after"), Some("2"));
    assert_eq!(
        body["error"]["details"]["error_code"],
        "budget_store_unavailable"
    );
}

#[test]
fn an_outer_budget_shows_neither_name_nor_figures() {
    let tree = fisc_core::Refusal::Never(short(987_654, 987_653, 0, 321));
    for provider in [Provider::OpenAi, Provider::Anthropic] {
        let (response, body) = answer(Refusal::of_tree(&tree, None), provider);
        let text = body.to_string();
        assert!(
            text.contains("an outer budget is exhausted. Ask its owner to raise it"),
            "{text}"
        );
        assert!(!text.contains("98765") && !text.contains("321"), "{text}");
        assert_eq!(header(&response, "fisc-budget"), Some("outer"));
    }
}

#[test]
fn hostile_names_stay_inside_their_strings() {
    let name = "a\"},\"x\":{\"\u{202e}\n\u{fc}%".to_owned();
    let facts = BudgetFacts::Own {
        path: name.clone(),
        short: None,
    };
    let refusal = Refusal::new(RefusalKind::TimeOver).with_budget(facts);
    let (response, body) = answer(refusal, Provider::OpenAi);
    assert_eq!(body["error"]["budget"]["path"], name);
    let encoded = "a\"},\"x\":{\"%E2%80%AE%0A%C3%BC%25";
    assert_eq!(header(&response, "fisc-budget"), Some(encoded));
}

#[test]
fn every_kind_has_a_code_of_its_own_and_no_final_refusal_invites_a_retry() {
    let mut codes = std::collections::HashSet::new();
    for kind in ALL {
        for provider in [Provider::OpenAi, Provider::Anthropic] {
            let (response, body) = answer(Refusal::new(kind), provider);
            assert!(body.to_string().contains(kind.row().code));
            assert!(!body["error"]["message"].as_str().expect("text").is_empty());
            let retry = header(&response, "x-should-retry") == Some("true");
            let temporary = [429, 502, 503].contains(&response.status().as_u16());
            assert_eq!(retry, temporary, "{kind:?}");
            assert_eq!(
                header(&response, "retry-after").is_some(),
                retry && response.status() != 502
            );
        }
        assert!(codes.insert(kind.row().code), "{kind:?}");
    }
}

#[test]
fn an_unread_body_closes_the_connection() {
    let closes = |kind| {
        let (response, _) = answer(Refusal::new(kind), Provider::OpenAi);
        header(&response, "connection") == Some("close")
    };
    assert!(closes(RefusalKind::TooLarge) && closes(RefusalKind::SlowBody));
    assert!(!closes(RefusalKind::BudgetExhausted));
}

#[test]
fn a_budget_that_its_owner_stopped_is_short_of_no_amount() {
    for (refused, code) in [
        (fisc_core::Refusal::Frozen(BudgetId(1)), "budget_frozen"),
        (fisc_core::Refusal::Released(BudgetId(1)), "budget_released"),
    ] {
        let refusal = Refusal::of_tree(&refused, Some("main/writer".to_owned()));
        let (response, body) = answer(refusal, Provider::OpenAi);
        assert_eq!(response.status(), 402);
        assert_eq!(header(&response, "fisc-reason"), Some(code));
        let budget = &body["error"]["budget"];
        assert_eq!(*budget, json!({ "path": "main/writer", "resource": null }));
    }
}

#[test]
fn an_unmetered_path_is_shown() {
    let refusal = Refusal::new(RefusalKind::UnmeteredPath).with_detail("POST /v1/responses");
    let (response, body) = answer(refusal, Provider::OpenAi);
    assert_eq!(response.status(), 404);
    let message = body["error"]["message"].as_str().expect("text");
    assert!(
        message.starts_with("POST /v1/responses is not metered"),
        "{message}"
    );
}

#[test]
fn answers_tell_where_the_budget_stands() {
    let mut headers = HeaderMap::new();
    let budget = BudgetHeaders {
        budget: Some("main/\u{e9}".to_owned()),
        level: Level::Orange,
        cost_free: Some(Money::from_nanos(290_000_000)),
        tokens_free: Some(Tokens(1200)),
        time_free: Some(TimeUs(1_999)),
        foreseen: fisc::Foreseen {
            cost: Some(Money::from_nanos(310_000_000)),
            limit_in: Some(TimeUs(61_999)),
        },
        cost: Some(Money::from_nanos(12_345)),
    };
    budget.write(&mut headers);
    let get = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!(get("fisc-budget"), Some("main/%C3%A9"));
    assert_eq!(get("fisc-level"), Some("orange"));
    assert_eq!(get("fisc-remaining-usd"), Some("0.29"));
    assert_eq!(get("fisc-remaining-tokens"), Some("1200"));
    assert_eq!(get("fisc-remaining-ms"), Some("1"));
    assert_eq!(get("fisc-forecast-usd"), Some("0.31"));
    assert_eq!(get("fisc-limit-in-ms"), Some("61"));
    assert_eq!(get("fisc-cost-usd"), Some("0.000012345"));
    headers.clear();
    BudgetHeaders::default().write(&mut headers);
    assert_eq!(headers.len(), 2);
    assert_eq!(headers["fisc-budget"], "outer");
}
