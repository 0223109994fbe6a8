//! The protocol knowledge from outside: golden fixtures for each wire and trap, and properties.

mod golden;
mod properties;
mod streams;
