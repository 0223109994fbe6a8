//! The rehearsal seen from outside: what it says on both wires, and the truth it keeps.

mod anthropic;
mod client;
mod control;
mod faults;
mod openai;
mod team;
mod tokens;
