//! The tap gives the same events however a stream is cut.
#![no_main]

#[path = "../../crates/llm/tests/it/laws/plain.rs"]
mod plain;
#[path = "../../crates/llm/tests/it/laws/tap.rs"]
mod tap;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tap::hold(bytes));
