//! Tests of who may call and under which name.

use fisc_core::{MAX_NAME_BYTES, NameError};
use hyper::header::{HeaderName, HeaderValue};

use super::*;
use crate::secret::{Secret, SecretHash};

const RUN: &str = "5f0c2d9e8b7a46134e5d6c7b8a990f1e";
const SECRET: &str = "Zm9vYmFyYmF6cXV4MTIzNDU2";

fn callers() -> Callers {
    let key = VirtualKey {
        id: "ci".to_owned(),
        hash: SecretHash::of(SECRET),
        root: "team/ci".to_owned(),
    };
    let keyring = Keyring::new()
        .with_run(&Secret::new(RUN), "main")
        .with_key(key);
    Callers::new(
        keyring,
        Hosts::new(4141, ["fisc.internal".to_owned(), "box:80".to_owned()]),
        Delegates::new(fisc::Fisc::in_memory()),
    )
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if !pairs.iter().any(|(name, _)| *name == "host") {
        headers.insert("host", HeaderValue::from_static("127.0.0.1:4141"));
    }
    for (name, value) in pairs {
        let name: HeaderName = name.parse().expect("a header name");
        headers.append(
            name,
            HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
        );
    }
    headers
}

fn identify(target: &str, pairs: &[(&str, &str)]) -> Result<Identity, IdentifyError> {
    let uri: Uri = target.parse().expect("a URI");
    callers().identify(&uri, &headers(pairs))
}

fn under_run(target: &str) -> String {
    format!("/r/{RUN}{target}")
}

fn key() -> String {
    format!("sk-fisc-ci.{SECRET}")
}

/// Returns `budget operation rest` of a caller that must be known.
#[track_caller]
fn seen(target: &str, pairs: &[(&str, &str)]) -> (String, String, String) {
    let identity = identify(target, pairs).expect("a known caller");
    (
        [vec![identity.root], identity.agent].concat().join("/"),
        identity.operation.unwrap_or_default(),
        identity.rest,
    )
}

#[track_caller]
fn check(target: &str, pairs: &[(&str, &str)], budget: &str, operation: &str, rest: &str) {
    let expected = (budget.to_owned(), operation.to_owned(), rest.to_owned());
    assert_eq!(seen(target, pairs), expected, "{target}");
}

#[test]
fn the_run_secret_authorizes_and_the_path_names() {
    for (path, budget, operation, rest) in [
        (
            "/a/researcher/v1/messages",
            "main/researcher",
            "",
            "/v1/messages",
        ),
        (
            "/a/researcher/plan/v1/messages",
            "main/researcher",
            "plan",
            "/v1/messages",
        ),
        (
            "/a/researcher/o/plan/v1/messages",
            "main/researcher",
            "plan",
            "/v1/messages",
        ),
        (
            "/a/x/o/messages/messages",
            "main/x",
            "messages",
            "/messages",
        ),
        (
            "/a/x/plan/chat/completions",
            "main/x",
            "plan",
            "/chat/completions",
        ),
        ("/a/x/chat/completions", "main/x", "", "/chat/completions"),
        ("/a/x/models/gpt-4o", "main/x", "", "/models/gpt-4o"),
        (
            "/a/team.researcher/v1/models",
            "main/team/researcher",
            "",
            "/v1/models",
        ),
        (
            "/a/r%C3%A9sum%C3%A9/v1/models",
            "main/r\u{e9}sum\u{e9}",
            "",
            "/v1/models",
        ),
        ("/a/x", "main/x", "", "/"),
        ("/a/x/", "main/x", "", "/"),
        ("/a/x/plan", "main/x", "plan", "/"),
        ("", "main", "", "/"),
        ("/v1/messages", "main", "", "/v1/messages"),
    ] {
        check(&under_run(path), &[], budget, operation, rest);
    }
}

#[test]
fn what_is_no_api_stays_in_the_path() {
    for (path, rest) in [
        ("/a/x/one/two/v1/messages", "/one/two/v1/messages"),
        ("/a/x//v1/messages", "//v1/messages"),
        ("/a/x/%2e%2e/v2x", "/%2e%2e/v2x"),
        ("/A/x/v1/messages", "/A/x/v1/messages"),
        ("//a/x/v1/messages", "//a/x/v1/messages"),
    ] {
        check(
            &under_run(path),
            &[],
            &seen(&under_run(path), &[]).0,
            "",
            rest,
        );
    }
}

#[test]
fn a_key_is_taken_wherever_sdks_put_it() {
    let key = key();
    let bearer = format!("Bearer {key}");
    for pair in [
        ("authorization", bearer.as_str()),
        (
            "authorization",
            &bearer.to_lowercase().replace(&key.to_lowercase(), &key),
        ),
        ("x-api-key", &key),
        ("x-goog-api-key", &key),
        ("api-key", &key),
    ] {
        check("/v1/messages", &[pair], "team/ci", "", "/v1/messages");
    }
    let identity = identify(&format!("/v1/messages?beta=true&key={key}&a=1"), &[]);
    assert_eq!(
        identity.expect("known").query.as_deref(),
        Some("beta=true&a=1")
    );
    let identity = identify(&format!("/v1/messages?%6bey={key}"), &[]);
    assert_eq!(identity.expect("known").query, None);
}

#[test]
fn a_key_is_found_beside_one_of_another_provider() {
    let pairs = [
        ("authorization", "Bearer sk-ant-oauth"),
        ("x-api-key", &key()),
    ];
    check("/v1/messages", &pairs, "team/ci", "", "/v1/messages");
}

#[test]
fn a_key_names_only_below_its_budget() {
    let key = key();
    check(
        "/a/worker/v1/messages",
        &[("x-api-key", &key)],
        "team/ci/worker",
        "",
        "/v1/messages",
    );
    let named = format!("{key}~team.worker~plan");
    check(
        "/v1/messages",
        &[("x-api-key", &named)],
        "team/ci/team/worker",
        "plan",
        "/v1/messages",
    );
    for name in [
        "..",
        "a..b",
        ".",
        "../main",
        "/main",
        "team/other",
        "a%2Fb",
        "%2e%2e",
        "",
    ] {
        let error = identify("/v1/messages", &[("x-api-key", &key), ("fisc-agent", name)]);
        assert!(
            matches!(error, Err(IdentifyError::Name { .. })),
            "{name} {error:?}"
        );
    }
}

#[test]
fn a_header_goes_before_the_path_and_the_path_before_the_key() {
    let named = format!("{}~k~ko", key());
    let (agent, operation) = (("fisc-agent", "h"), ("fisc-op", "ho"));
    let auth = ("x-api-key", named.as_str());
    check("/v1/messages", &[auth], "team/ci/k", "ko", "/v1/messages");
    check(
        "/a/p/v1/messages",
        &[auth],
        "team/ci/p",
        "ko",
        "/v1/messages",
    );
    check(
        "/a/p/po/v1/messages",
        &[auth],
        "team/ci/p",
        "po",
        "/v1/messages",
    );
    check(
        "/a/p/po/v1/messages",
        &[auth, agent],
        "team/ci/h",
        "po",
        "/v1/messages",
    );
    check(
        "/a/p/po/v1/messages",
        &[auth, agent, operation],
        "team/ci/h",
        "ho",
        "/v1/messages",
    );
}

#[test]
fn no_secret_no_service() {
    let other_run = RUN.replace('5', "6");
    let wrong = format!("sk-fisc-ci.{}", SECRET.replace('Z', "z"));
    let unknown = format!("sk-fisc-cj.{SECRET}");
    let tilde = format!("sk-fisc-ci.{}~{}", &SECRET[..10], &SECRET[10..]);
    for (path, pairs) in [
        ("/v1/messages".to_owned(), vec![]),
        ("/".to_owned(), vec![]),
        ("/a/x/v1/messages".to_owned(), vec![("fisc-agent", "main")]),
        (format!("/r/{other_run}/v1/messages"), vec![]),
        (format!("/r/{}/v1/messages", &RUN[..31]), vec![]),
        (format!("/r/{RUN}0/v1/messages"), vec![]),
        (format!("/R/{RUN}/v1/messages"), vec![]),
        (format!("//r/{RUN}/v1/messages"), vec![]),
        (format!("/x/r/{RUN}/v1/messages"), vec![]),
        ("/r//v1/messages".to_owned(), vec![]),
        (
            "/v1/messages".to_owned(),
            vec![("authorization", "Bearer sk-fisc-")],
        ),
        (
            "/v1/messages".to_owned(),
            vec![("authorization", "Bearer sk-fisc-ci")],
        ),
        (
            "/v1/messages".to_owned(),
            vec![("authorization", "Bearer sk-fisc-ci.")],
        ),
        (
            "/v1/messages".to_owned(),
            vec![("authorization", "Basic sk-fisc-ci.x")],
        ),
        ("/v1/messages".to_owned(), vec![("authorization", SECRET)]),
        ("/v1/messages".to_owned(), vec![("x-api-key", RUN)]),
        (
            "/v1/messages".to_owned(),
            vec![("x-api-key", wrong.as_str())],
        ),
        (
            "/v1/messages".to_owned(),
            vec![("x-api-key", unknown.as_str())],
        ),
        (
            "/v1/messages".to_owned(),
            vec![("x-api-key", tilde.as_str())],
        ),
    ] {
        assert_eq!(
            identify(&path, &pairs),
            Err(IdentifyError::NoSecret),
            "{path} {pairs:?}"
        );
    }
    let delegates = Delegates::new(fisc::Fisc::in_memory());
    let empty = Callers::new(Keyring::new(), Hosts::new(4141, []), delegates);
    let uri: Uri = "/r//v1".parse().expect("a URI");
    assert_eq!(
        empty.identify(&uri, &headers(&[])),
        Err(IdentifyError::NoSecret)
    );
}

#[test]
fn a_wrong_run_secret_is_not_mended_by_a_key() {
    let path = format!("/r/{}/v1/messages", RUN.replace('5', "6"));
    assert_eq!(
        identify(&path, &[("x-api-key", &key())]),
        Err(IdentifyError::NoSecret)
    );
}

#[test]
fn origin_is_refused() {
    for origin in ["https://evil.example", "null", "http://127.0.0.1:4141", ""] {
        let error = identify(&under_run("/v1/messages"), &[("origin", origin)]);
        assert_eq!(error, Err(IdentifyError::Origin), "{origin}");
    }
}

#[test]
fn foreign_host_is_refused() {
    let target = under_run("/v1/messages");
    for host in [
        "evil.example",
        "evil.example:4141",
        "127.0.0.1:4142",
        "localhost.",
        "localhost.:4141",
        "",
        "127.0.0.1.evil.example",
        "127.0.0.1:",
        "[::1]:99",
        "::1",
        "::1:4141",
        "0.0.0.0:4141",
        "user@localhost:4141",
        "box",
        "box:81",
        "xfisc.internal",
        "2130706433:4141",
    ] {
        let error = identify(&target, &[("host", host)]);
        assert_eq!(error, Err(IdentifyError::ForeignHost), "{host}");
    }
    for host in [
        "127.0.0.1:4141",
        "127.0.0.1",
        "localhost",
        "LocalHost:4141",
        "[::1]",
        "[::1]:4141",
        "fisc.internal",
        "Fisc.Internal:8443",
        "box:80",
    ] {
        assert!(identify(&target, &[("host", host)]).is_ok(), "{host}");
    }
    let twice = [("host", "localhost"), ("host", "localhost")];
    assert_eq!(identify(&target, &twice), Err(IdentifyError::ForeignHost));
    let uri: Uri = target.parse().expect("a URI");
    let none = callers().identify(&uri, &HeaderMap::new());
    assert_eq!(none, Err(IdentifyError::ForeignHost));
}

#[test]
fn an_absolute_request_line_is_refused() {
    let target = format!("http://127.0.0.1:4141{}", under_run("/v1/messages"));
    assert_eq!(identify(&target, &[]), Err(IdentifyError::AbsoluteForm));
    assert_eq!(
        identify("api.openai.com:443", &[]),
        Err(IdentifyError::AbsoluteForm)
    );
}

#[test]
fn a_name_that_is_none_is_a_typed_error() {
    let long = "x".repeat(MAX_NAME_BYTES + 1);
    for (target, source) in [
        ("/a//v1/messages".to_owned(), NameError::Empty),
        ("/a/../v1/messages".to_owned(), NameError::Empty),
        (format!("/a/{long}/v1/messages"), NameError::TooLong),
        (
            "/a/a%20b/v1/messages".to_owned(),
            NameError::BadCharacter(' '),
        ),
        (
            "/a/a%2fb/v1/messages".to_owned(),
            NameError::BadCharacter('/'),
        ),
        (
            "/a/a%00/v1/messages".to_owned(),
            NameError::BadCharacter('\0'),
        ),
        (
            "/a/x/o/a.b/v1/messages".to_owned(),
            NameError::BadCharacter('.'),
        ),
        ("/a/x/o//v1/messages".to_owned(), NameError::Empty),
    ] {
        match identify(&under_run(&target), &[]) {
            Err(IdentifyError::Name { source: found, .. }) => assert_eq!(found, source, "{target}"),
            other => panic!("{target}: {other:?}"),
        }
    }
    for target in [
        "/a/%ff/v1/messages",
        "/a/%4/v1/messages",
        "/a/%zz/v1/messages",
    ] {
        let error = identify(&under_run(target), &[]);
        assert!(
            matches!(error, Err(IdentifyError::Encoding(_))),
            "{target} {error:?}"
        );
    }
    let twice = [("fisc-agent", "a"), ("fisc-agent", "b")];
    let error = identify(&under_run("/v1/messages"), &twice);
    assert_eq!(error, Err(IdentifyError::Repeated("fisc-agent")));
}

#[test]
fn agents_lie_at_most_eight_deep() {
    let names = |count: usize| vec!["a"; count].join(".");
    let target = |count| under_run(&format!("/a/{}/v1/messages", names(count)));
    assert_eq!(
        identify(&target(7), &[]).expect("eight in all").agent.len(),
        7
    );
    assert_eq!(
        identify(&target(8), &[]),
        Err(IdentifyError::TooDeep { depth: 9 })
    );
}

#[test]
fn names_are_judged_only_for_known_callers() {
    assert_eq!(
        identify("/a/../v1/messages", &[]),
        Err(IdentifyError::NoSecret)
    );
}

#[test]
fn task_and_trace_are_taken_along() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let pairs = [("fisc-task", "JIRA-42"), ("traceparent", parent)];
    let identity = identify(&under_run("/v1/messages"), &pairs).expect("known");
    assert_eq!(identity.task.as_deref(), Some("JIRA-42"));
    let trace = identity.trace.expect("a trace");
    assert_eq!(trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[test]
fn a_malformed_trace_is_ignored() {
    for parent in [
        "",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        assert_eq!(
            TraceId::of(&headers(&[("traceparent", parent)])),
            None,
            "{parent}"
        );
    }
    let newer = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-new";
    assert!(TraceId::of(&headers(&[("traceparent", newer)])).is_some());
}

#[test]
fn logs_show_no_secret() {
    let key = key();
    for (text, shown) in [
        (
            under_run("/a/x/v1/messages"),
            "/r/***/a/x/v1/messages".to_owned(),
        ),
        (format!("//r//{RUN}/v1"), "//r//***/v1".to_owned()),
        (format!("/R/{RUN}"), "/R/***".to_owned()),
        (format!("/%72/{RUN}/v1"), "/%72/***/v1".to_owned()),
        (format!("/v1/{key}"), "/v1/***".to_owned()),
        (format!("/v1?key={key}&a=1"), "/v1?key=***&a=1".to_owned()),
        ("/v1?%6Bey=AIza1&b".to_owned(), "/v1?%6Bey=***&b".to_owned()),
        (format!("/v1?other={key}"), "/v1?other=***".to_owned()),
        (format!("/v1?{key}"), "/v1?***".to_owned()),
        (
            "/v1/messages?beta=true".to_owned(),
            "/v1/messages?beta=true".to_owned(),
        ),
    ] {
        assert_eq!(scrub(&text), shown);
    }
}

#[test]
fn the_debug_form_shows_no_secret() {
    let text = format!("{:?}", callers());
    assert!(!text.contains(RUN) && !text.contains(SECRET), "{text}");
}

#[test]
fn every_unknown_caller_gets_the_same_401() {
    let refusal = |path: &str, pairs: &[(&str, &str)]| {
        let error = identify(path, pairs).expect_err("unknown");
        let response = Refusal::from(error).into_response(crate::routes::Provider::OpenAi, "id");
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["x-should-retry"], "false");
        format!("{response:?}")
    };
    let wrong = refusal("/v1/messages", &[("x-api-key", "sk-fisc-ci.wrong")]);
    let unknown = refusal("/v1/messages", &[("x-api-key", "sk-fisc-who.wrong")]);
    let missing = refusal("/v1/messages", &[]);
    let run = refusal("/r/wrong/v1/messages", &[]);
    assert!(wrong == unknown && unknown == missing && missing == run);
}
