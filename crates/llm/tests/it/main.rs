//! The protocol knowledge from outside: golden fixtures for each wire and trap, and properties.

mod calls;
mod corpus;
mod golden;
mod laws;
mod properties;
mod streams;
