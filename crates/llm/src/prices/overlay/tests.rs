//! Where price files are refused, and which entry wins. What an entry does to a price is tested
//! with the price book.

use super::*;
use crate::prices::name::candidates;

fn overlay(text: &str) -> Overlay {
    Overlay::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[track_caller]
fn refused(text: &str, line: usize, message: &str, hint: &str) {
    let error = Overlay::parse(text).expect_err(text);
    assert_eq!(error.line(), line, "{error}");
    assert!(error.to_string().contains(message), "{error}");
    assert!(error.hint().contains(hint), "{}", error.hint());
}

#[test]
fn says_where_it_is_wrong_and_how_to_mend_it() {
    let with = |line: &str| format!("[[model]]\nmatch = \"m\"\n{line}\n");
    refused(&with("input = 0.15"), 3, "expected a string", "quotes");
    refused(
        &with("input = \"0.0000001\""),
        3,
        "more than six decimals",
        "six",
    );
    refused(&with("input = \"-1\""), 3, "below zero", "at least");
    refused(&with("input = \"NaN\""), 3, "not a decimal number", "0.15");
    refused(&with("input = nan"), 3, "expected a string", "quotes");
    refused(&with("inptu = \"1\""), 3, "unknown field `inptu`", "keys");
    refused(&with("multiplier = \"0\""), 3, "free", "free = true");
    refused(&with("per_call = \".5\""), 3, "per_call", "0.50");
    refused(&with("max_output = 0"), 3, "max_output", "above 0");
    refused(
        &with("free = true\ninput = \"1\""),
        1,
        "free = true beside a price",
        "remove",
    );
    refused(&with(""), 1, "says nothing", "price");
    refused("[[model]]\nfree = true", 1, "missing field `match`", "keys");
    refused(
        "[[model]]\nmatch = \"a*b\"\nfree = true",
        2,
        "no model name",
        "llama-*",
    );
    let twice = "[[model]]\nmatch = \"m\"\nfree = true\n";
    refused(&twice.repeat(2), 4, "second entry", "one of the two");
}

#[test]
fn the_most_specific_entry_wins() {
    let overlay = overlay(
        "[[model]]\nmatch = \"*\"\nmax_output = 1\n\
         [[model]]\nmatch = \"llama-*\"\nmax_output = 2\n\
         [[model]]\nmatch = \"llama-3-*\"\nmax_output = 3\n\
         [[model]]\nmatch = \"LLAMA-3-8b\"\nmax_output = 4\n\
         [[model]]\nmatch = \"llama-3-8b\"\nprovider = \"mine\"\nmax_output = 5\n",
    );
    let found = |provider, model| {
        overlay
            .find(provider, &candidates(model))
            .and_then(|entry| entry.max_output)
    };
    assert_eq!(found(None, "other"), Some(1));
    assert_eq!(found(None, "llama-2"), Some(2));
    assert_eq!(found(None, "llama-3-70b"), Some(3));
    assert_eq!(found(None, "llama-3-8b"), Some(4));
    assert_eq!(found(Some("Mine"), "llama-3-8b"), Some(5));
    assert_eq!(found(None, "mine/llama-3-8b"), Some(5));
    assert_eq!(found(Some("yours"), "Llama-3-8B"), Some(4));
}
