//! Scores of single mechanisms on recorded or invented calls, beside the comparison of policies.

mod holds;

pub use holds::{CacheMode, HoldPolicy, HoldScore, HoldsError, HoldsScore, HoldsSettings};
pub use holds::{InputHeld, Loose, score_holds};
