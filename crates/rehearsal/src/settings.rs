//! How a rehearsal is set up: where it listens, its seed, its pace, what goes wrong.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::faults::Faults;

/// How a rehearsal behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The address to listen on; port 0 takes a free one. Default: `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// The seed of everything that is invented. Default: 1.
    pub seed: u64,
    /// The wait before the first byte of an answer. Default: 50-200 ms.
    pub latency: Latency,
    /// The pause between writes of a stream. Default: 4 ms.
    pub gap: Duration,
    /// What goes wrong, and how often. Default: nothing.
    pub faults: Faults,
    /// A file to which every record is appended, twice: as it starts and as it ends.
    pub truth_file: Option<PathBuf>,
    /// The only key that is accepted. Default: any key, but one must be sent.
    pub require_key: Option<String>,
}

/// A range of waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// The shortest.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

/// A latency is not one number of milliseconds, nor two in order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the latency `{0}` is neither milliseconds, as in `80`, nor a range, as in `50-200`")]
pub struct LatencyError(String);

// === impl Settings ===

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            seed: 1,
            latency: Latency::millis(50, 200),
            gap: Duration::from_millis(4),
            faults: Faults::NONE,
            truth_file: None,
            require_key: None,
        }
    }
}

impl Settings {
    /// The default, but without any wait.
    pub fn instant() -> Settings {
        Settings {
            latency: Latency::NONE,
            gap: Duration::ZERO,
            ..Settings::default()
        }
    }
}

// === impl Latency ===

impl Latency {
    /// No wait at all.
    pub const NONE: Latency = Latency {
        min: Duration::ZERO,
        max: Duration::ZERO,
    };

    /// A range in milliseconds.
    pub const fn millis(min: u64, max: u64) -> Latency {
        Latency {
            min: Duration::from_millis(min),
            max: Duration::from_millis(max),
        }
    }
}

impl FromStr for Latency {
    type Err = LatencyError;

    /// Reads milliseconds: `80`, or `50-200`.
    fn from_str(text: &str) -> Result<Latency, LatencyError> {
        let wrong = || LatencyError(text.to_owned());
        let (min, max) = text.split_once('-').unwrap_or((text, text));
        let read = |number: &str| number.trim().parse::<u64>().map_err(|_| wrong());
        let (min, max) = (read(min)?, read(max)?);
        if min <= max {
            Ok(Latency::millis(min, max))
        } else {
            Err(wrong())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_one_number_or_two_in_order() {
        assert_eq!("50-200".parse(), Ok(Latency::millis(50, 200)));
        assert_eq!("0".parse(), Ok(Latency::NONE));
        for wrong in ["", "x", "200-50", "1-2-3"] {
            assert!(wrong.parse::<Latency>().is_err(), "{wrong}");
        }
    }
}
