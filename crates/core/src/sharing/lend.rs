//! What may be lent: pure bounds, in the raw units of one resource. Who owes whom is kept by
//! the tree.

use crate::terms::Permille;

/// How far a share may be lent and outgrown, as parts of the nominal share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lending {
    /// The part that others may use while it is not needed.
    pub lendable: Permille,
    /// The part that may be borrowed beyond it; `None` is unlimited.
    pub borrowing: Option<Permille>,
}

/// What one budget stands at when it is asked to lend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lender {
    /// Its limit.
    pub limit: i64,
    /// What it spent and holds.
    pub committed: i64,
    /// What it will have spent at most, as predicted; `None` is unknown.
    pub upper_need: Option<i64>,
    /// What nobody can take from it.
    pub guarantee: i64,
}

/// Between which bounds a share may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// What cannot be lent now.
    pub least: i64,
    /// What it may have with everything borrowed.
    pub most: i64,
}

/// Returns a share's part of `total`, rounded up: `shares` of `all_shares`.
pub const fn nominal(total: i64, shares: u32, all_shares: u32) -> i64 {
    let all = if all_shares == 0 { 1 } else { all_shares } as i128;
    ((total as i128 * shares as i128 + all - 1) / all) as i64
}

// === impl Lending ===

impl Lending {
    /// Returns how much of a nominal share may be lent.
    pub const fn lendable(&self, nominal: i64) -> i64 {
        rounded(self.lendable, nominal)
    }

    /// Returns how much may be borrowed beyond a nominal share.
    pub const fn borrowable(&self, nominal: i64) -> i64 {
        match self.borrowing {
            Some(part) => rounded(part, nominal),
            None => i64::MAX,
        }
    }

    /// Returns the bounds of a share when it is divided anew. Of the lendable part only what
    /// was not used at the `high_water` of the last period is lent.
    pub fn bounds(&self, nominal: i64, high_water: i64) -> Bounds {
        let kept = nominal - self.lendable(nominal);
        Bounds {
            least: kept.max(nominal.min(high_water)),
            most: nominal.saturating_add(self.borrowable(nominal)),
        }
    }
}

impl Default for Lending {
    /// Half may be lent, and any amount borrowed.
    fn default() -> Self {
        Lending {
            lendable: Permille(500),
            borrowing: None,
        }
    }
}

// === impl Lender ===

impl Lender {
    /// Returns how much it may lend: a part of what is neither spent nor held, nor expected to
    /// be needed at most, nor guaranteed. Without a prediction nothing is known to be surplus.
    pub fn offer(&self, lending: &Lending) -> i64 {
        let Some(upper_need) = self.upper_need else {
            return 0;
        };
        let kept = self.committed.max(upper_need).max(self.guarantee);
        lending.lendable.of(self.limit.saturating_sub(kept).max(0))
    }
}

const fn rounded(part: Permille, whole: i64) -> i64 {
    ((whole as i128 * part.0 as i128 + 500) / 1000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nominal_shares_follow_the_published_formula() {
        // Priority levels with 30, 40 and 245 of 315 shares of 600 seats, rounded up.
        let nominal_of = |shares| nominal(600, shares, 315);
        assert_eq!(
            [nominal_of(30), nominal_of(40), nominal_of(245)],
            [58, 77, 467]
        );
        assert_eq!(nominal(600, 1, 0), 600);
    }

    #[test]
    fn lendable_and_borrowing_limits_are_rounded_parts_of_the_nominal_share() {
        let lending = Lending {
            lendable: Permille(330),
            borrowing: Some(Permille(250)),
        };
        assert_eq!((lending.lendable(58), lending.borrowable(58)), (19, 15));
        let bounds = lending.bounds(58, 0);
        assert_eq!((bounds.least, bounds.most), (39, 73));
    }

    #[test]
    fn what_was_used_lately_is_not_lent() {
        let lending = Lending {
            lendable: Permille(900),
            borrowing: Some(Permille(0)),
        };
        let least = |high_water| lending.bounds(100, high_water).least;
        assert_eq!(
            [least(0), least(10), least(60), least(500)],
            [10, 10, 60, 100]
        );
        assert_eq!(lending.bounds(100, 500).most, 100);
    }

    #[test]
    fn only_unheld_surplus_over_the_upper_prediction_is_lent() {
        let lender = Lender {
            limit: 100,
            committed: 30,
            upper_need: Some(60),
            guarantee: 10,
        };
        let offer = |lender: Lender| lender.offer(&Lending::default());
        assert_eq!(offer(lender), 20);
        let held = Lender {
            committed: 90,
            ..lender
        };
        assert_eq!(offer(held), 5, "what is held is not surplus");
        let guarded = Lender {
            guarantee: 100,
            ..lender
        };
        assert_eq!(offer(guarded), 0);
        let unknown = Lender {
            upper_need: None,
            ..lender
        };
        assert_eq!(offer(unknown), 0);
    }
}
