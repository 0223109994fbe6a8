//! Scores of single mechanisms on recorded or invented calls, beside the comparison of policies.

mod accuracy;
mod forecast;
mod holds;

pub use accuracy::{ForecastScore, ForecastSettings, MethodScore};
pub use forecast::score_forecast;
pub use holds::{CacheMode, HoldPolicy, HoldScore, HoldsError, HoldsScore, HoldsSettings};
pub use holds::{InputHeld, Loose, score_holds};
