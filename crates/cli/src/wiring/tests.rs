//! What a wired child sees, by example.

use super::*;

const GATEWAY: &str = "http://127.0.0.1:40417";

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn plan() -> WiringPlan {
    WiringPlan {
        gateway: GATEWAY.to_owned(),
        run_secret: Secret::new("5ec3e7"),
        run_key: Secret::new("4a7d"),
        agent: "main".to_owned(),
        run_id: "r-1".to_owned(),
        token: Secret::new("70c3"),
        keys: Keys::Custody,
        upstreams: Vec::new(),
        env_file: Vec::new(),
    }
}

/// Applies the wiring as a spawn does, and returns what the child sees.
fn child(inherited: &Environment, wiring: &Wiring) -> BTreeMap<String, String> {
    let mut child = inherited.clone();
    for (name, value) in wiring.changes.clone() {
        match value {
            Some(value) => child.insert(name, value),
            None => child.remove(&name),
        };
    }
    let text = |text: OsString| text.into_string().expect("the tests' variables are text");
    child
        .into_iter()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

#[track_caller]
fn wired(inherited: &[(&str, &str)], plan: &WiringPlan) -> (BTreeMap<String, String>, Wiring) {
    let inherited = environment(inherited);
    let wiring = wire(&inherited, plan).expect("an environment that can be wired");
    (child(&inherited, &wiring), wiring)
}

fn bases(wiring: &Wiring) -> Vec<&str> {
    wiring
        .upstreams
        .iter()
        .map(|upstream| upstream.base.as_str())
        .collect()
}

#[test]
fn an_empty_environment_gets_urls_and_names_but_no_key() {
    let (child, wiring) = wired(&[], &plan());
    let root = "http://127.0.0.1:40417/r/5ec3e7/a/main";
    let versioned = format!("{root}/v1");
    let expected = [
        ("ANTHROPIC_API_BASE", root),
        ("ANTHROPIC_API_URL", root),
        ("ANTHROPIC_BASE_URL", root),
        ("ANTHROPIC_HOST", root),
        ("FISC_AGENT", "main"),
        ("FISC_RUN_ID", "r-1"),
        ("FISC_TOKEN", "70c3"),
        ("FISC_URL", GATEWAY),
        ("NO_PROXY", "127.0.0.1,localhost"),
        ("OPENAI_API_BASE", &versioned),
        ("OPENAI_BASE_URL", &versioned),
        ("OPENAI_HOST", root),
        ("no_proxy", "127.0.0.1,localhost"),
    ];
    let child: Vec<(&str, &str)> = child
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(child, expected);
    assert_eq!(
        bases(&wiring),
        ["https://api.openai.com/v1", "https://api.anthropic.com/v1"]
    );
    assert!(wiring.keys.is_empty() && wiring.warnings.is_empty());
}

#[test]
fn an_inherited_base_url_becomes_the_upstream() {
    for (variable, value, provider, base) in [
        (
            "OPENAI_BASE_URL",
            "https://x.example/api/v1/",
            0,
            "https://x.example/api/v1",
        ),
        ("OPENAI_BASE_URL", "http://x:8000", 0, "http://x:8000"),
        ("OPENAI_API_BASE", "http://x/openai", 0, "http://x/openai"),
        ("OPENAI_HOST", "http://x", 0, "http://x/v1"),
        (
            "ANTHROPIC_BASE_URL",
            "http://x/claude",
            1,
            "http://x/claude/v1",
        ),
        ("ANTHROPIC_BASE_URL", "http://x/v1", 1, "http://x/v1"),
        ("ANTHROPIC_HOST", " http://x/ ", 1, "http://x/v1"),
    ] {
        let (child, wiring) = wired(&[(variable, value)], &plan());
        assert_eq!(wiring.upstreams[provider].base, base, "{variable}={value}");
        assert_eq!(
            wiring.upstreams[provider].origin,
            Origin::Inherited(variable)
        );
        assert!(child[variable].starts_with(GATEWAY));
        assert!(wiring.warnings.is_empty(), "{:?}", wiring.warnings);
    }
    let (_, blank) = wired(&[("OPENAI_BASE_URL", " ")], &plan());
    assert_eq!(blank.upstreams[0].origin, Origin::Default);
}

#[test]
fn two_base_urls_that_differ_are_told_and_the_option_wins() {
    let inherited = [
        ("OPENAI_BASE_URL", "http://a/v1"),
        ("OPENAI_API_BASE", "http://b/pw/v1"),
    ];
    let (_, wiring) = wired(&inherited, &plan());
    assert_eq!(wiring.upstreams[0].base, "http://a/v1");
    let [warning] = wiring.warnings.as_slice() else {
        panic!("{:?}", wiring.warnings)
    };
    assert!(
        warning.starts_with("OPENAI_BASE_URL and OPENAI_API_BASE differ"),
        "{warning}"
    );
    assert!(!warning.contains("pw"), "{warning}");

    let same = [
        ("OPENAI_BASE_URL", "http://a/v1/"),
        ("OPENAI_HOST", "http://a"),
    ];
    assert!(wired(&same, &plan()).1.warnings.is_empty());

    let mut chosen = plan();
    chosen.upstreams = vec![parse_upstream("openai=http://c").expect("an upstream")];
    let (_, wiring) = wired(&inherited, &chosen);
    assert_eq!(wiring.upstreams[0].base, "http://c/v1");
    assert_eq!(wiring.upstreams[0].origin, Origin::Option);
    assert!(wiring.warnings.is_empty());
}

#[test]
fn real_keys_appear_nowhere_in_the_child() {
    let canaries = [
        ("OPENAI_API_KEY", "sk-proj-canary-openai"),
        ("OPENAI_ADMIN_KEY", "sk-admin-canary"),
        ("CODEX_API_KEY", "sk-canary-codex"),
        ("ANTHROPIC_API_KEY", "sk-ant-api03-canary"),
        ("ANTHROPIC_AUTH_TOKEN", " canary-token-anthropic\n"),
        ("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-canary"),
        // Copies under other names.
        ("MY_OPENAI", "sk-proj-canary-openai"),
        (
            "ANTHROPIC_CUSTOM_HEADERS",
            "x-team: a\nx-api-key: sk-ant-api03-canary\nx-b: c",
        ),
    ];
    let mut plan = plan();
    plan.env_file = vec![(
        "OPENAI_API_KEY".to_owned(),
        "sk-canary-from-the-file".to_owned(),
    )];
    let (child, wiring) = wired(&canaries, &plan);
    for (name, value) in &child {
        assert!(!value.contains("canary"), "{name}={value}");
    }
    assert!(!format!("{wiring:?}").contains("canary-"));
    assert_eq!(child["OPENAI_API_KEY"], "sk-fisc-4a7d");
    assert_eq!(child["ANTHROPIC_API_KEY"], "sk-ant-sk-fisc-4a7d");
    assert_eq!(
        child["ANTHROPIC_CUSTOM_HEADERS"],
        "x-team: a\nx-api-key: sk-ant-sk-fisc-4a7d\nx-b: c"
    );
    assert_eq!(child["OPENAI_AGENTS_DISABLE_TRACING"], "1");

    let real = |variable| {
        let found = wiring.keys.iter().find(|found| found.variable == variable);
        let found = found.expect("a credential");
        assert_eq!(child[variable], found.run_key.expose());
        (found.key.expose(), found.scheme)
    };
    assert_eq!(
        real("OPENAI_API_KEY"),
        ("sk-canary-from-the-file", Scheme::Bearer)
    );
    assert_eq!(
        real("ANTHROPIC_API_KEY"),
        ("sk-ant-api03-canary", Scheme::ApiKey)
    );
    assert_eq!(
        real("ANTHROPIC_AUTH_TOKEN"),
        ("canary-token-anthropic", Scheme::Bearer)
    );
    let used = |provider| format!("{:?}", wiring.credential(provider));
    assert_eq!(used(Provider::OpenAi), "Bearer(***)");
    assert_eq!(used(Provider::Anthropic), "Bearer(***)");
    let told = "ANTHROPIC_AUTH_TOKEN and ANTHROPIC_API_KEY are set; calls to anthropic are made \
                with ANTHROPIC_AUTH_TOKEN (unset it, or use --keys pass)";
    assert!(
        wiring.warnings.iter().any(|warning| warning == told),
        "{:?}",
        wiring.warnings
    );
    let mut run_keys: Vec<&str> = wiring
        .keys
        .iter()
        .map(|kept| kept.run_key.expose())
        .collect();
    run_keys.sort_unstable();
    run_keys.dedup();
    assert_eq!(run_keys.len(), 6);
}

#[test]
fn a_copy_of_a_key_under_another_name_is_exchanged_too() {
    let inherited = [
        ("OPENAI_API_KEY", "short"),
        ("COPY", "short"),
        ("TEXT", "a short text"),
    ];
    let (child, _) = wired(&inherited, &plan());
    assert_eq!(child["COPY"], "sk-fisc-4a7d");
    assert_eq!(child["TEXT"], "a short text");
}

#[test]
fn a_key_that_is_not_set_is_never_set() {
    let (child, wiring) = wired(
        &[("ANTHROPIC_API_KEY", "real"), ("OPENAI_API_KEY", "")],
        &plan(),
    );
    assert_eq!(child["OPENAI_API_KEY"], "");
    assert!(!child.contains_key("ANTHROPIC_AUTH_TOKEN"));
    assert!(!child.contains_key("OPENAI_AGENTS_DISABLE_TRACING"));
    assert_eq!(wiring.keys.len(), 1);
    assert!(matches!(
        wiring.credential(Provider::OpenAi),
        Credential::Caller
    ));
    let Credential::ApiKey(key) = wiring.credential(Provider::Anthropic) else {
        panic!("an API key goes in x-api-key")
    };
    assert_eq!(key.expose(), "real");
}

#[test]
fn passed_keys_stay() {
    let mut plan = plan();
    plan.keys = Keys::Pass;
    let (child, wiring) = wired(&[("OPENAI_API_KEY", "sk-real"), ("COPY", "sk-real")], &plan);
    assert_eq!(
        (child["OPENAI_API_KEY"].as_str(), child["COPY"].as_str()),
        ("sk-real", "sk-real")
    );
    assert!(wiring.keys.is_empty());
    assert!(!child.contains_key("OPENAI_AGENTS_DISABLE_TRACING"));
}

#[test]
fn loopback_joins_what_needs_no_proxy() {
    for (upper, lower, expected) in [
        (
            Some("corp.example"),
            None,
            "corp.example,127.0.0.1,localhost",
        ),
        (
            None,
            Some("corp.example, localhost"),
            "corp.example, localhost,127.0.0.1",
        ),
        (Some("*"), None, "*"),
        (Some(""), Some(""), "127.0.0.1,localhost"),
    ] {
        let named = [("NO_PROXY", upper), ("no_proxy", lower)];
        let set: Vec<(&str, &str)> = named
            .iter()
            .filter_map(|(name, value)| Some((*name, (*value)?)))
            .collect();
        let (child, _) = wired(&set, &plan());
        assert_eq!(
            (child["NO_PROXY"].as_str(), child["no_proxy"].as_str()),
            (expected, expected)
        );
    }
}

#[test]
fn the_env_file_joins_before_wiring() {
    let mut plan = plan();
    let file = [
        ("OPENAI_BASE_URL", "http://file/v1"),
        ("OTHER", "1"),
        ("OTHER", "2"),
    ];
    plan.env_file = file
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    let (child, wiring) = wired(&[("OPENAI_BASE_URL", "http://inherited/v1")], &plan);
    assert_eq!(child["OTHER"], "2");
    assert!(child["OPENAI_BASE_URL"].starts_with(GATEWAY));
    assert_eq!(wiring.upstreams[0].base, "http://file/v1");
}

#[test]
fn names_of_any_script_fit_a_url() {
    let mut plan = plan();
    plan.agent = "zespół.a@b".to_owned();
    let (child, _) = wired(&[], &plan);
    assert!(child["OPENAI_HOST"].ends_with("/a/zesp%C3%B3%C5%82.a@b"));
    assert_eq!(child["FISC_AGENT"], "zespół.a@b");
}

#[test]
fn what_is_not_metered_is_told() {
    let (child, wiring) = wired(&[("GEMINI_API_KEY", "g"), ("GROQ_API_KEY", "")], &plan());
    assert_eq!(child["GEMINI_API_KEY"], "g");
    let [warning] = wiring.warnings.as_slice() else {
        panic!("{:?}", wiring.warnings)
    };
    assert!(
        warning.starts_with("calls with GEMINI_API_KEY are not metered"),
        "{warning}"
    );
}

#[test]
fn what_cannot_be_wired_says_where_and_hides_the_value() {
    for (variable, value, error) in [
        (
            "OPENAI_BASE_URL",
            "canary.example/v1",
            "it does not start with https:// or http://",
        ),
        ("ANTHROPIC_HOST", "https:///canary", "it names no host"),
        (
            "OPENAI_API_BASE",
            "http://x/v1?key=canary",
            "it holds a query, which a base URL cannot",
        ),
        (
            "OPENAI_API_BASE",
            "http://x y/canary",
            "it holds white space",
        ),
    ] {
        let error_found = wire(&environment(&[(variable, value)]), &plan()).expect_err(value);
        assert_eq!(
            error_found.to_string(),
            format!("{variable} is no base URL: {error}")
        );
        assert!(error_found.hint().contains("--upstream"));
    }
    let error = wire(&environment(&[("OPENAI_API_KEY", "ca nary")]), &plan()).expect_err("a space");
    assert_eq!(
        error,
        WiringError::BadKey {
            variable: "OPENAI_API_KEY"
        }
    );
}

#[test]
fn reads_upstreams_of_the_command_line() {
    for (text, provider, base) in [
        (
            "openai=http://localhost:8000",
            Provider::OpenAi,
            "http://localhost:8000/v1",
        ),
        (
            "openai=http://localhost:8000/v1/",
            Provider::OpenAi,
            "http://localhost:8000/v1",
        ),
        (
            "openai=https://x/openai",
            Provider::OpenAi,
            "https://x/openai",
        ),
        (
            "anthropic=https://x/claude",
            Provider::Anthropic,
            "https://x/claude/v1",
        ),
        (
            "anthropic=https://x/v1",
            Provider::Anthropic,
            "https://x/v1",
        ),
    ] {
        assert_eq!(
            parse_upstream(text),
            Ok((provider, base.to_owned())),
            "{text}"
        );
    }
    let unknown = parse_upstream("opanai=http://x").expect_err("a typo");
    assert_eq!(unknown.to_string(), "\"opanai\" is no provider");
    assert!(unknown.hint().contains("openai or anthropic"));
    assert!(parse_upstream("openai").is_err());
}
