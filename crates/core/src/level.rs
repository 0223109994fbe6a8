//! How far a budget is used up: five levels, from spent and limit.

use crate::amount::Resource;
use crate::terms::Permille;

/// How far a budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// Below half: continue.
    #[default]
    Green,
    /// From half on: warn.
    Yellow,
    /// From three quarters on: throttle.
    Orange,
    /// From 90 % on: degrade.
    Red,
    /// From 95 % on: stop.
    Black,
}

/// Where each level above Green begins, as a share of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thresholds(pub [Permille; 4]);

/// Where levels begin at one budget, by what is measured; what is not said is as above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Levels([Option<Thresholds>; Levels::COUNT]);

/// How far a level must be left behind before it is left: two points of a hundred.
const HYSTERESIS: Permille = Permille(20);

// === impl Level ===

impl Level {
    /// Every level, from Green to Black.
    pub const ALL: [Level; 5] = [
        Level::Green,
        Level::Yellow,
        Level::Orange,
        Level::Red,
        Level::Black,
    ];

    /// Returns the level's name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Green => "green",
            Level::Yellow => "yellow",
            Level::Orange => "orange",
            Level::Red => "red",
            Level::Black => "black",
        }
    }

    /// Returns the level one step up, or `None` at Black.
    pub fn up(self) -> Option<Level> {
        Level::ALL.get(self as usize + 1).copied()
    }

    /// Returns the level one step down, or `None` at Green.
    pub fn down(self) -> Option<Level> {
        (self as usize)
            .checked_sub(1)
            .map(|index| Level::ALL[index])
    }
}

// === impl Levels ===

impl Levels {
    /// Every resource, and elapsed time last.
    const COUNT: usize = Resource::COUNT + 1;

    /// The same thresholds for everything.
    pub const fn all(thresholds: Thresholds) -> Levels {
        Levels([Some(thresholds); Levels::COUNT])
    }

    /// Returns where the levels of a resource begin, or of elapsed time for `None`.
    pub fn get(&self, resource: Option<Resource>) -> Option<Thresholds> {
        self.0[Levels::index(resource)]
    }

    /// Returns the same with the levels of one resource, or of elapsed time, replaced.
    #[must_use]
    pub fn with(mut self, resource: Option<Resource>, thresholds: Option<Thresholds>) -> Levels {
        self.0[Levels::index(resource)] = thresholds;
        self
    }

    /// Returns these, and where they say nothing those `above`.
    #[must_use]
    pub fn or(&self, above: &Levels) -> Levels {
        Levels(std::array::from_fn(|i| self.0[i].or(above.0[i])))
    }

    /// Says whether each level begins within the limit and none before the one below it.
    pub fn is_ordered(&self) -> bool {
        let all = self.0.iter().flatten();
        all.into_iter().all(|Thresholds(begins)| {
            begins.is_sorted() && begins.iter().all(|begin| *begin <= Permille::ONE)
        })
    }

    fn index(resource: Option<Resource>) -> usize {
        resource.map_or(Resource::COUNT, Resource::index)
    }
}

// === impl Thresholds ===

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds([Permille(500), Permille(750), Permille(900), Permille(950)])
    }
}

impl Thresholds {
    /// Moves `level` one step towards where `spent` of `limit` stands, or returns `None` when
    /// it stands right. Called until it returns `None`, so that skipped levels fire in order.
    pub fn step(&self, level: Level, spent: i64, limit: i64) -> Option<Level> {
        if limit == 0 {
            return level.up();
        }
        if let Some(up) = level.up()
            && spent >= self.begins(up, limit)
        {
            return Some(up);
        }
        let down = level.down()?;
        (spent < self.ends(level, limit)).then_some(down)
    }

    /// Returns the spent amount at which `level` begins.
    pub fn begins(&self, level: Level, limit: i64) -> i64 {
        match (level as usize).checked_sub(1) {
            Some(index) => self.0[index].of_ceil(limit),
            None => i64::MIN,
        }
    }

    /// Returns the spent amount below which `level` is left downwards.
    pub fn ends(&self, level: Level, limit: i64) -> i64 {
        match (level as usize).checked_sub(1) {
            Some(index) => Permille(self.0[index].0.saturating_sub(HYSTERESIS.0)).of_ceil(limit),
            None => i64::MIN,
        }
    }
}
