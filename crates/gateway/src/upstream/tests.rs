//! Tests of upstreams: URLs, credentials, and what passes.

use super::*;

fn upstream(provider: Provider, base: &str) -> Upstream {
    Upstream::new(provider, base, &Credential::Nothing).expect("a base URL")
}

fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

#[test]
fn the_version_is_never_doubled() {
    for (provider, base, path, url) in [
        (
            Provider::OpenAi,
            "https://h",
            "/v1/models",
            "https://h/v1/models",
        ),
        (
            Provider::OpenAi,
            "https://h/",
            "/v1/models",
            "https://h/v1/models",
        ),
        (
            Provider::OpenAi,
            "https://h/v1",
            "/v1/models",
            "https://h/v1/models",
        ),
        (
            Provider::OpenAi,
            "https://h/v1/",
            "/v1/models?a=1",
            "https://h/v1/models?a=1",
        ),
        (
            Provider::OpenAi,
            "https://h/api/v1",
            "/v1/models",
            "https://h/api/v1/models",
        ),
        (
            Provider::OpenAi,
            "https://h/api/paas/v4",
            "/v1/models",
            "https://h/api/paas/v4/models",
        ),
        (
            Provider::OpenAi,
            "http://127.0.0.1:9/r/s",
            "/v1/models",
            "http://127.0.0.1:9/r/s/models",
        ),
        (
            Provider::Anthropic,
            "https://h",
            "/v1/messages",
            "https://h/v1/messages",
        ),
        (
            Provider::Anthropic,
            "https://h/v1",
            "/v1/messages",
            "https://h/v1/messages",
        ),
        (
            Provider::Anthropic,
            "https://h/x/",
            "/v1/messages",
            "https://h/x/v1/messages",
        ),
        (
            Provider::Anthropic,
            "https://h/xv1",
            "/v1/messages",
            "https://h/xv1/v1/messages",
        ),
        (Provider::OpenAi, "https://h/v1", "/v1x", "https://h/v1/v1x"),
    ] {
        let uri = upstream(provider, base).uri(path).expect("a URI");
        assert_eq!(uri.to_string(), url, "{base}");
    }
}

#[test]
fn a_base_that_is_no_origin_is_refused() {
    for (base, error) in [
        ("api.openai.com", UpstreamError::NotAUrl),
        ("/v1", UpstreamError::NotAUrl),
        ("", UpstreamError::NotAUrl),
        ("https://", UpstreamError::NotAUrl),
        ("ftp://h", UpstreamError::Scheme),
        ("https://user:pass@h", UpstreamError::UserInfo),
        ("https://h/?key=1", UpstreamError::Query),
    ] {
        let made = Upstream::new(Provider::OpenAi, base, &Credential::Nothing);
        assert_eq!(made.expect_err(base), error, "{base}");
    }
}

#[test]
fn each_provider_gets_its_credential_in_its_own_header() {
    let key = || Secret::new("canary-1");
    for (provider, credential, name, value) in [
        (
            Provider::OpenAi,
            Credential::ApiKey(key()),
            "authorization",
            "Bearer canary-1",
        ),
        (
            Provider::OpenAi,
            Credential::Bearer(key()),
            "authorization",
            "Bearer canary-1",
        ),
        (
            Provider::Anthropic,
            Credential::ApiKey(key()),
            "x-api-key",
            "canary-1",
        ),
        (
            Provider::Anthropic,
            Credential::Bearer(key()),
            "authorization",
            "Bearer canary-1",
        ),
    ] {
        let upstream = Upstream::new(provider, "https://h", &credential).expect("valid");
        let sent = upstream.headers(&map(&[
            ("authorization", "Bearer mine"),
            ("x-api-key", "m"),
        ]));
        assert_eq!(sent[name], value);
        assert!(sent[name].is_sensitive());
        let credentials = sent
            .keys()
            .filter(|name| *name != "accept-encoding")
            .count();
        assert_eq!(credentials, 1, "{sent:?}");
        assert!(!format!("{upstream:?} {credential:?} {sent:?}").contains("canary"));
    }
}

#[test]
fn a_key_that_breaks_a_header_is_refused() {
    let key = Credential::ApiKey(Secret::new("a\r\nx: y"));
    let made = Upstream::new(Provider::OpenAi, "https://h", &key);
    assert_eq!(made.expect_err("no header"), UpstreamError::Credential);
}

#[test]
fn the_run_secret_of_an_outer_gateway_does_not_show() {
    let upstream = upstream(Provider::OpenAi, "http://127.0.0.1:9/r/canary/a/x/v1");
    assert!(!format!("{upstream:?}").contains("canary"));
}

#[test]
fn hop_by_hop_and_credential_headers_end_here() {
    let sent = headers::to_upstream(
        &map(&[
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
            ("expect", "100-continue"),
            ("host", "127.0.0.1"),
            ("authorization", "Bearer sk-fisc-a.b"),
            ("x-api-key", "k"),
            ("x-goog-api-key", "k"),
            ("api-key", "k"),
            ("cookie", "a=b"),
            ("fisc-agent", "a"),
            ("fisc-anything", "a"),
            ("x-http-method-override", "PUT"),
            ("x-original-url", "/v1/x"),
            ("accept-encoding", "gzip, br"),
            ("traceparent", "00-1"),
            ("anthropic-version", "2023-06-01"),
            ("anthropic-beta", "one"),
            ("anthropic-beta", "two"),
            ("content-type", "application/json"),
        ]),
        false,
    );
    let mut names: Vec<_> = sent.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let kept = [
        "accept-encoding",
        "anthropic-beta",
        "anthropic-version",
        "content-type",
    ];
    assert_eq!(names, [&kept[..], &["traceparent"]].concat());
    assert_eq!(sent["accept-encoding"], "identity");
    assert_eq!(sent.get_all("anthropic-beta").iter().count(), 2);
}

#[test]
fn connection_cannot_strip_the_credential_we_add() {
    let key = Credential::ApiKey(Secret::new("canary-1"));
    let upstream = Upstream::new(Provider::OpenAi, "https://h", &key).expect("valid");
    let sent = upstream.headers(&map(&[("connection", "authorization")]));
    assert_eq!(sent["authorization"], "Bearer canary-1");
}

#[test]
fn passed_credentials_never_include_our_own_keys() {
    let upstream = Upstream::new(Provider::OpenAi, "https://h", &Credential::Caller);
    let upstream = upstream.expect("valid");
    let sent = upstream.headers(&map(&[
        ("authorization", "Bearer sk-real"),
        ("x-api-key", "sk-fisc-a.b"),
    ]));
    assert_eq!(sent["authorization"], "Bearer sk-real");
    assert!(sent["authorization"].is_sensitive());
    assert!(!sent.contains_key("x-api-key"));
}

#[test]
fn responses_bring_neither_cookies_nor_credentials_nor_our_headers() {
    let mut returned = map(&[
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("transfer-encoding", "chunked"),
        ("set-cookie", "a=b"),
        ("alt-svc", "h3"),
        ("x-api-key", "k"),
        ("fisc-budget", "forged"),
        ("access-control-allow-origin", "*"),
        ("content-type", "text/event-stream"),
        ("x-ratelimit-remaining-tokens", "1"),
        ("retry-after", "3"),
    ]);
    headers::to_client(&mut returned);
    let mut names: Vec<_> = returned.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "content-type",
            "retry-after",
            "x-ratelimit-remaining-tokens"
        ]
    );
}

#[tokio::test]
async fn the_client_is_built_without_a_process_wide_provider() {
    let client = client();
    let uri: Uri = "http://127.0.0.1:1/".parse().expect("a URI");
    assert!(
        client
            .get(uri)
            .await
            .expect_err("nobody listens on port 1")
            .is_connect()
    );
}
