//! Tests of the route table.

use hyper::header::HeaderValue;

use super::*;

fn headers(names: &[&'static str]) -> HeaderMap {
    names
        .iter()
        .map(|name| (name.parse().expect("a name"), HeaderValue::from_static("x")))
        .collect()
}

fn kind(method: &Method, path: &str) -> RouteKind {
    route(method, path, None, &HeaderMap::new()).kind
}

#[test]
fn known_paths_and_their_aliases_are_metered() {
    for (path, provider, wire, upstream) in [
        (
            "/v1/chat/completions",
            Provider::OpenAi,
            Wire::OpenAiChat,
            "/v1/chat/completions",
        ),
        (
            "/chat/completions",
            Provider::OpenAi,
            Wire::OpenAiChat,
            "/v1/chat/completions",
        ),
        (
            "/v1/messages",
            Provider::Anthropic,
            Wire::AnthropicMessages,
            "/v1/messages",
        ),
        (
            "/messages",
            Provider::Anthropic,
            Wire::AnthropicMessages,
            "/v1/messages",
        ),
    ] {
        let found = route(&Method::POST, path, None, &HeaderMap::new());
        assert_eq!(found.kind, RouteKind::Metered(wire), "{path}");
        assert_eq!(
            (found.provider, found.upstream_path.as_str()),
            (provider, upstream)
        );
    }
}

#[test]
fn the_query_is_kept() {
    let found = route(
        &Method::POST,
        "/messages",
        Some("beta=true"),
        &HeaderMap::new(),
    );
    assert_eq!(found.upstream_path, "/v1/messages?beta=true");
    let found = route(&Method::GET, "/models", Some("limit=2"), &HeaderMap::new());
    assert_eq!(found.upstream_path, "/v1/models?limit=2");
}

#[test]
fn models_and_token_counts_are_free() {
    for path in [
        "/v1/models",
        "/models",
        "/v1/models/gpt-4o-mini",
        "/models/ft:gpt-4o:org::a1",
    ] {
        let found = route(&Method::GET, path, None, &HeaderMap::new());
        assert_eq!(
            (found.kind, found.provider),
            (RouteKind::Free, Provider::OpenAi),
            "{path}"
        );
        let found = route(&Method::GET, path, None, &headers(&["anthropic-version"]));
        assert_eq!(
            (found.kind, found.provider),
            (RouteKind::Free, Provider::Anthropic),
            "{path}"
        );
    }
    for path in ["/v1/messages/count_tokens", "/messages/count_tokens"] {
        let found = route(&Method::POST, path, None, &HeaderMap::new());
        assert_eq!(
            (found.kind, found.provider),
            (RouteKind::Free, Provider::Anthropic),
            "{path}"
        );
        assert_eq!(found.upstream_path, "/v1/messages/count_tokens");
    }
}

#[test]
fn a_probe_is_answered_here() {
    assert_eq!(kind(&Method::HEAD, "/"), RouteKind::Probe);
    assert_eq!(kind(&Method::GET, "/"), RouteKind::Probe);
    assert_eq!(kind(&Method::POST, "/"), RouteKind::Unmetered);
}

#[test]
fn what_is_not_in_the_table_is_not_served() {
    for (method, path) in [
        (Method::POST, "/v1/responses"),
        (Method::POST, "/v1/completions"),
        (Method::POST, "/v1/embeddings"),
        (Method::POST, "/v1/messages/batches"),
        (Method::POST, "/v1/messagesx"),
        (Method::POST, "/v1/chat/completions/x"),
        (Method::GET, "/v1/chat/completions"),
        (Method::PUT, "/v1/messages"),
        (Method::DELETE, "/v1/models/gpt-4o"),
        (Method::HEAD, "/v1/models"),
        (Method::GET, "/v1/models/a/b"),
        (Method::POST, "/v1/v1/messages"),
        (Method::POST, "/v2/messages"),
        (Method::POST, "/v1/models/gemini:generateContent"),
        (Method::OPTIONS, "/v1/messages"),
        (Method::POST, "/v1"),
    ] {
        assert_eq!(kind(&method, path), RouteKind::Unmetered, "{method} {path}");
    }
}

#[test]
fn a_confusing_path_is_never_served() {
    for path in [
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/./chat/completions",
        "/v1/x/../chat/completions",
        "/v1/chat/completions/",
        "/v1/chat/completions.",
        "/V1/Chat/Completions",
        "/Chat/completions",
        "/v1/chat%2fcompletions",
        "/v1/chat/%63ompletions",
        "/v1/%2e%2e/v1/messages",
        "/v1/messages;x=1",
        "/v1\\messages",
        "/v1/messages ",
        "v1/messages",
        "*",
        "",
        "/v1/models/..",
        "/v1/models/%2e%2e%2fchat%2fcompletions",
        "/Models",
        "/v1/m\u{e9}ssages",
    ] {
        for method in [Method::POST, Method::GET, Method::HEAD] {
            assert_eq!(kind(&method, path), RouteKind::Ambiguous, "{method} {path}");
        }
    }
}

#[test]
fn a_caller_is_answered_in_its_own_dialect() {
    assert_eq!(caller_provider("/x", &HeaderMap::new()), Provider::OpenAi);
    assert_eq!(
        caller_provider("/r/s/a/x/v1/messages", &HeaderMap::new()),
        Provider::Anthropic
    );
    assert_eq!(
        caller_provider("/x", &headers(&["x-api-key"])),
        Provider::Anthropic
    );
}
