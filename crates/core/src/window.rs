//! Windows: when what a budget spent counts anew. Boundaries of calendar windows depend on a
//! time zone and come from outside, through [`Calendar`].

use std::fmt;

use crate::amount::{TimeUs, Timestamp};
use crate::terms::Permille;

/// The most bytes of a time zone's name that are kept.
const ZONE_BYTES: usize = 40;

/// When what a budget spent counts anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Window {
    /// Never: the limit is for the budget's whole life.
    #[default]
    None,
    /// What was spent within this span before now counts.
    Rolling(TimeUs),
    /// The limit is for each day, week or month of a time zone.
    Calendar {
        /// How long a window is.
        period: Period,
        /// Whose midnight counts.
        zone: Zone,
        /// The share of the limit that unused room may add to the next window.
        roll_over: Permille,
    },
}

/// How long a calendar window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// From midnight to midnight: 23 to 25 hours.
    Daily,
    /// From Monday to Monday.
    Weekly,
    /// From the first of a month to the first of the next.
    Monthly,
}

/// The name of a time zone, such as `Europe/Vilnius`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Zone {
    bytes: [u8; ZONE_BYTES],
    len: u8,
}

/// The name of a time zone is empty, too long, or not printable ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneError;

/// One window: from `start` to before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// Its first instant.
    pub start: Timestamp,
    /// The first instant of the next.
    pub end: Timestamp,
}

/// Tells where the windows of a time zone begin and end.
pub trait Calendar {
    /// Returns the window of that period and zone that contains `now`.
    fn span(&self, period: Period, zone: Zone, now: Timestamp) -> Span;
}

// === impl Window ===

impl Window {
    /// Says whether spending ever counts anew.
    pub const fn is_none(&self) -> bool {
        matches!(self, Window::None)
    }
}

// === impl Period ===

impl Period {
    /// Every period, the shortest first.
    pub const ALL: [Period; 3] = [Period::Daily, Period::Weekly, Period::Monthly];

    /// Returns the period of that name.
    pub fn named(name: &str) -> Option<Period> {
        Period::ALL.into_iter().find(|period| period.name() == name)
    }

    /// Returns the period's name in configurations and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Period::Daily => "daily",
            Period::Weekly => "weekly",
            Period::Monthly => "monthly",
        }
    }
}

// === impl Zone ===

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Zone = Zone {
        bytes: {
            let mut bytes = [0; ZONE_BYTES];
            (bytes[0], bytes[1], bytes[2]) = (b'U', b'T', b'C');
            bytes
        },
        len: 3,
    };

    /// Makes a zone of a name; whether there is such a zone, its user's calendar knows.
    pub fn new(name: &str) -> Result<Zone, ZoneError> {
        let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
        if name.is_empty() || name.len() > ZONE_BYTES || !printable {
            return Err(ZoneError);
        }
        let mut bytes = [0; ZONE_BYTES];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        let len = name.len() as u8;
        Ok(Zone { bytes, len })
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("it was made of a str")
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// === impl ZoneError ===

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a time zone is empty, too long, or not printable ASCII")
    }
}

impl std::error::Error for ZoneError {}
