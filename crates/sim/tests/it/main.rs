//! The simulator from outside, on invented agents only.

mod forecasts;
mod holds;
mod picture;
mod policies;
mod report;
