//! The simulator from outside, on invented agents only.

mod forecasts;
mod picture;
mod policies;
mod report;
