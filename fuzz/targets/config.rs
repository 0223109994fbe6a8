//! A configuration of any text: read without a panic, and what is accepted is resolved.
#![no_main]

#[path = "../../crates/gateway/tests/it/laws/config.rs"]
mod config;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    config::hold(bytes);
});
