//! A configuration of any text: read without a panic, and what is accepted is resolved.
#![no_main]

mod config_laws;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| config_laws::hold(bytes));
