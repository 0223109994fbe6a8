//! The house style holds, and each rule sees a planted offender.

use std::collections::BTreeSet;

use xtask::tidy::{Rule, Source, architecture, code, size, words};

const SHIPPED: &str = "crates/core/src/tree.rs";
const TESTS: &str = "crates/core/src/tree/tests.rs";

/// Expects `rule` to find nothing in the file.
#[track_caller]
fn passes(rule: Rule, path: &str, text: &str) {
    let complaints = rule(&Source::new(path, text));
    assert_eq!(complaints, Vec::<String>::new());
}

/// Expects `rule` to complain once, in a text that holds `said`.
#[track_caller]
fn caught(rule: Rule, path: &str, text: &str, said: &str) {
    let complaints = rule(&Source::new(path, text));
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(complaints[0].contains(said), "{complaints:?}");
}

fn statements(count: usize) -> String {
    "    step();\n".repeat(count)
}

#[test]
fn the_tree_is_tidy() {
    crate::pass(xtask::tidy::check(&xtask::root()));
}

#[test]
fn a_long_file_is_caught_and_its_tests_do_not_count() {
    let tests = format!(
        "#[cfg(test)]\nmod tests {{\n{}}}\n",
        "    const A: u8 = b'{';\n".repeat(300)
    );
    passes(
        size::file_length,
        SHIPPED,
        &format!("{}{tests}", "//\n".repeat(500)),
    );
    caught(
        size::file_length,
        SHIPPED,
        &format!("{}{tests}", "//\n".repeat(501)),
        "501 lines",
    );
    passes(size::file_length, TESTS, &"//\n".repeat(900));
    passes(size::file_length, "docs/guide.md", &"a\n".repeat(900));
}

#[test]
fn a_long_function_is_caught() {
    let with_body = |lines| format!("//!\n\nfn long(x: [u8; 2]) {{\n{}}}\n", statements(lines));
    passes(size::function_length, SHIPPED, &with_body(68));
    passes(size::function_length, TESTS, &with_body(90));
    caught(
        size::function_length,
        SHIPPED,
        &with_body(69),
        "tree.rs:3: a function of 71 lines",
    );
}

#[test]
fn braces_in_text_do_not_end_a_function() {
    let tricks = concat!(
        "    let a = \"}\\\"}\"; // }\n",
        "    let b = r#\"}\"}\"#; /* } /* } */ } */\n",
        "    let c = ('}', '\\'', b'}', b\"}\");\n",
        "    let d: &'static str = \"\";\n",
    );
    let text = format!("fn f<'a>() {{\n{tricks}{}}}\n", statements(70));
    caught(size::function_length, SHIPPED, &text, "76 lines");
    let text = format!(
        "trait T {{\n    fn f();\n{}}}\n",
        "    const A: u8;\n".repeat(80)
    );
    passes(size::function_length, SHIPPED, &text);
}

#[test]
fn a_wide_line_is_caught_unless_it_is_a_url() {
    passes(size::line_length, SHIPPED, &"é".repeat(100));
    caught(size::line_length, SHIPPED, &"x".repeat(101), "101 columns");
    passes(
        size::line_length,
        SHIPPED,
        &format!("// https://example.com/{}", "x".repeat(100)),
    );
    passes(size::line_length, "README.md", &"x".repeat(200));
}

#[test]
fn a_file_without_a_purpose_is_caught() {
    passes(code::opens_with_its_purpose, SHIPPED, "//! The tree.\n");
    passes(
        code::opens_with_its_purpose,
        SHIPPED,
        "#![doc = include_str!(\"guide.md\")]\n",
    );
    caught(
        code::opens_with_its_purpose,
        SHIPPED,
        "use std::fmt;\n",
        "opens without",
    );
    caught(code::opens_with_its_purpose, TESTS, "", "opens without");
}

#[test]
fn mod_rs_is_caught() {
    passes(code::no_mod_rs, SHIPPED, "");
    caught(code::no_mod_rs, "crates/core/src/tree/mod.rs", "", "mod.rs");
}

#[test]
fn leftovers_are_caught() {
    caught(
        code::no_leftovers,
        SHIPPED,
        concat!("// TO", "DO: later\n"),
        "tree.rs:1: ",
    );
    caught(
        code::no_leftovers,
        "docs/a.md",
        concat!("a FIX", "ME."),
        "do it",
    );
    passes(
        code::no_leftovers,
        SHIPPED,
        concat!("const METO", "DO: u8 = 0;"),
    );
}

#[test]
fn unwrap_is_caught_outside_tests() {
    caught(
        code::no_unwrap,
        SHIPPED,
        "fn f() {\n    g().unwrap();\n}\n",
        "tree.rs:2: unwrap()",
    );
    passes(
        code::no_unwrap,
        SHIPPED,
        "// never g().unwrap()\nlet a = \".unwrap()\";\n",
    );
    passes(code::no_unwrap, SHIPPED, "g().unwrap_or(0);\n");
    passes(
        code::no_unwrap,
        SHIPPED,
        "#[cfg(test)]\nmod tests {\n    g().unwrap();\n}\n",
    );
    caught(
        code::no_unwrap,
        SHIPPED,
        "#[cfg(test)]\nmod tests;\n\nmod b { g().unwrap(); }\n",
        ":4:",
    );
    passes(code::no_unwrap, TESTS, "g().unwrap();\n");
    passes(
        code::no_unwrap,
        "crates/core/tests/it/tree.rs",
        "g().unwrap();\n",
    );
}

#[test]
fn a_second_clock_is_caught() {
    caught(
        code::one_clock,
        SHIPPED,
        "let a = Instant::now();",
        "Instant::now",
    );
    caught(
        code::one_clock,
        SHIPPED,
        "let a = std::time::SystemTime::now();",
        "SystemTime::now",
    );
    passes(
        code::one_clock,
        "crates/fisc/src/clock.rs",
        "Instant::now()",
    );
    passes(
        code::one_clock,
        "crates/fisc/tests/it/clock.rs",
        "Instant::now()",
    );
}

#[test]
fn synonyms_are_caught_and_foreign_names_are_not() {
    caught(
        words::no_synonyms,
        SHIPPED,
        "let wallet = 1;",
        "wallet is banned, use budget",
    );
    caught(
        words::no_synonyms,
        SHIPPED,
        "fn quota_left() {}",
        "quota is banned",
    );
    caught(
        words::no_synonyms,
        SHIPPED,
        "struct TokenReservation;",
        "use hold",
    );
    caught(
        words::no_synonyms,
        "docs/a.md",
        "A Reservation, then.",
        "use hold",
    );
    passes(
        words::no_synonyms,
        SHIPPED,
        "\"insufficient_quota\", quotation",
    );
}

#[test]
fn places_are_caught() {
    caught(words::no_places, "docs/a.md", "see `/work/notes`", "/work/");
    caught(words::no_places, SHIPPED, "\"/root/.cache\"", "/root/");
    passes(
        words::no_places,
        SHIPPED,
        "\"org/root/agent\" and https://a.example/work/",
    );
    caught(
        words::no_places,
        "README.md",
        "from pypi.org",
        "host of a registry",
    );
}

/// The complaints about a document beside one crate of two modules.
fn architecture_complaints(text: &str) -> Vec<String> {
    let modules = BTreeSet::from(["money".to_owned(), "tree".to_owned()]);
    architecture::judge(text, &[("crates/core".to_owned(), modules)])
}

#[test]
fn a_complete_architecture_passes() {
    let text = "### `crates/core`: pure\n- **`money`** is integers. **`tree`** holds `x`.\n";
    assert_eq!(architecture_complaints(text), Vec::<String>::new());
    let text =
        "### `crates/core`\n**`money`, `tree`** are there, `aside` and **bold** are prose.\n";
    assert_eq!(architecture_complaints(text), Vec::<String>::new());
}

#[test]
fn an_incomplete_architecture_is_caught() {
    let cases = [
        ("# No code map\n", "no heading for `crates/core`"),
        (
            "### `crates/core`\n**`tree`** only.\n",
            "lacks its module `money`",
        ),
        (
            "### `crates/core`\n**`tree`, `money`, `gone`**\n",
            "has no module `gone`",
        ),
        (
            "### `crates/core`\n**`tree`, `money`**\n### `crates/gone`\n",
            "no crate `crates/gone`",
        ),
    ];
    for (text, said) in cases {
        let complaints = architecture_complaints(text);
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].contains(said), "{complaints:?}");
    }
}

#[test]
fn a_long_architecture_is_caught() {
    let text = format!(
        "### `crates/core`\n**`tree`, `money`**\n{}",
        "\n".repeat(300)
    );
    assert_eq!(architecture_complaints(&text).len(), 1);
}
