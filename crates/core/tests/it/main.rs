//! The integration tests of the core: scenario files, a model, threads.
#![forbid(unsafe_code)]

mod limits;
mod model;
mod random;
mod scenarios;
mod script;
mod threads;
