//! What the tests of several crates share: programs, places, clients. Never shipped.
//!
//! Nothing here knows what a budget is: the test kit starts real processes, speaks plain HTTP
//! and makes Python environments, so that tests look at the product from outside. Its helpers
//! panic with a clear message where a test could do nothing but fail.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod http;
pub mod ports;
pub mod process;
pub mod python;
pub mod temp;
