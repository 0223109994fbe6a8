//! The simulator from outside, on invented agents only.

mod holds;
mod picture;
mod policies;
mod report;
