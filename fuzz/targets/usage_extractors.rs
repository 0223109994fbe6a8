//! Usage of any bytes: no panic, no dependence on chunks, nothing lost for the client.
#![no_main]

#[path = "../../crates/llm/tests/it/laws/members.rs"]
mod members;
#[path = "../../crates/llm/tests/it/laws/plain.rs"]
mod plain;
#[path = "../../crates/llm/tests/it/laws/response.rs"]
mod response;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| response::hold(bytes));
