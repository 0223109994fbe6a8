//! The library as a program uses it: allocate, hold, settle; drop, crash, recover.

mod ends;
mod events;
mod foresight;
mod random;
mod recovery;
mod reopen;
mod responsive;
mod sharing;
mod waiting;

use fisc::{Amount, Limits, Money, Resource, Terms, TimeUs, Tokens};

/// Tokens alone.
fn tokens(count: i64) -> Amount {
    Amount::new(Tokens(count), Money::ZERO, TimeUs(0))
}

/// Terms that limit tokens alone.
fn limit(count: i64) -> Terms {
    Terms {
        limits: Limits::NONE.with(Resource::Tokens, Some(count)),
        ..Terms::default()
    }
}
