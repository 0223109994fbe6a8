//! Ids of holds: `UUIDv7`, so that they sort by time and need no coordination.

use fisc_core::{HoldId, Timestamp};

use crate::error::Error;

const VERSION_7: u128 = 0x7 << 76;
const VARIANT_RFC: u128 = 0b10 << 62;
const RANDOM_MASK: u128 = (0xFFF << 64) | ((1 << 62) - 1);

/// Makes a hold id: 48 bits of milliseconds, then 74 random bits (RFC 9562, section 5.7).
pub(crate) fn new(now: Timestamp) -> Result<HoldId, Error> {
    let mut random = [0u8; 16];
    getrandom::fill(&mut random).map_err(Error::NoRandomness)?;
    let milliseconds = (now.0 / 1000) as u128 & 0xFFFF_FFFF_FFFF;
    let random = u128::from_be_bytes(random) & RANDOM_MASK;
    Ok(HoldId(
        milliseconds << 80 | VERSION_7 | VARIANT_RFC | random,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuid_version_7_and_sort_by_time() {
        let early = new(Timestamp(1_700_000_000_000_000)).expect("randomness");
        let late = new(Timestamp(1_700_000_000_001_000)).expect("randomness");
        assert!(early < late);
        let text = early.to_string();
        assert_eq!((&text[14..15], text.len()), ("7", 36));
        assert!("89ab".contains(&text[19..20]), "{text}");
        assert_eq!(HoldId::parse(&text), Some(early));
    }
}
