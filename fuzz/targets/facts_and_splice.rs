//! A request's facts are what another parser reads, and an edit changes nothing else.
#![no_main]

#[path = "../../crates/llm/tests/it/laws/members.rs"]
mod members;
#[path = "../../crates/llm/tests/it/laws/request.rs"]
mod request;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| request::hold(bytes));
