//! The simulator from outside, on invented agents only.

mod picture;
mod policies;
mod report;
