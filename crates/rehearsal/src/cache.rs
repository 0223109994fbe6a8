//! The providers' prompt caches: who pays less because a prefix was seen before.
//!
//! `OpenAI`'s is automatic, from 1,024 tokens, in steps of 128. Anthropic's is asked for with
//! `cache_control`: marked prefixes are written for five minutes or an hour, then read. Both
//! belong to a model. What a prefix is, is decided block by block.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::draw;
use crate::request::{Block, Lifetime};

/// Shorter prefixes are not cached by either provider.
const PREFIX_TOKENS_MIN: u64 = 1_024;
const STEP_TOKENS: u64 = 128;
const OPENAI_LIFETIME: Duration = Duration::from_mins(10);
/// Prefixes beyond this many make the cache forget all of them, to bound its memory.
const PREFIXES_MAX: usize = 500_000;

/// The prefixes that were seen, with the time at which each is forgotten.
#[derive(Debug, Default)]
pub(crate) struct PromptCache {
    prefixes: HashMap<u64, Instant>,
}

/// What a call reads from and writes to a cache, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CacheUse {
    pub(crate) read: u64,
    pub(crate) write_5m: u64,
    pub(crate) write_1h: u64,
}

struct Prefix {
    hash: u64,
    tokens: u64,
    mark: Option<Lifetime>,
}

// === impl PromptCache ===

impl PromptCache {
    /// Returns what an `OpenAI` call reads, and remembers its prefixes.
    pub(crate) fn automatic(&mut self, model: &str, blocks: &[Block], now: Instant) -> CacheUse {
        let prefixes = prefixes(model, blocks);
        let mut read = 0;
        for prefix in prefixes
            .iter()
            .filter(|prefix| prefix.tokens >= PREFIX_TOKENS_MIN)
        {
            if self.knows(prefix.hash, now) {
                read = prefix.tokens / STEP_TOKENS * STEP_TOKENS;
            }
            self.learn(prefix.hash, now + OPENAI_LIFETIME);
        }
        CacheUse {
            read,
            ..CacheUse::default()
        }
    }

    /// Returns what an Anthropic call reads and writes, and remembers its marked prefixes.
    pub(crate) fn marked(&mut self, model: &str, blocks: &[Block], now: Instant) -> CacheUse {
        let mut prefixes = prefixes(model, blocks);
        let last = prefixes.iter().rposition(|prefix| prefix.mark.is_some());
        prefixes.truncate(last.map_or(0, |last| last + 1));
        prefixes.retain(|prefix| prefix.tokens >= PREFIX_TOKENS_MIN);
        let mut cache = CacheUse::default();
        let known = prefixes
            .iter()
            .rposition(|prefix| self.knows(prefix.hash, now));
        if let Some(known) = known {
            cache.read = prefixes[known].tokens;
        }
        let mut done = cache.read;
        for prefix in &prefixes {
            let Some(lifetime) = prefix.mark else {
                continue;
            };
            let fresh = prefix.tokens.saturating_sub(done);
            match lifetime {
                Lifetime::FiveMinutes => cache.write_5m += fresh,
                Lifetime::Hour => cache.write_1h += fresh,
            }
            done += fresh;
            self.learn(prefix.hash, now + lifetime.duration());
        }
        cache
    }

    /// Forgets everything.
    pub(crate) fn reset(&mut self) {
        self.prefixes.clear();
    }

    fn knows(&self, hash: u64, now: Instant) -> bool {
        self.prefixes.get(&hash).is_some_and(|until| now < *until)
    }

    fn learn(&mut self, hash: u64, until: Instant) {
        if self.prefixes.len() >= PREFIXES_MAX {
            self.prefixes.clear();
        }
        self.prefixes.insert(hash, until);
    }
}

fn prefixes(model: &str, blocks: &[Block]) -> Vec<Prefix> {
    let (mut hash, mut tokens) = (draw::hash(0, model.as_bytes()), 0);
    let grow = |block: &Block| {
        hash = draw::mix(hash, block.hash);
        tokens += block.tokens;
        Prefix {
            hash,
            tokens,
            mark: block.mark,
        }
    };
    blocks.iter().map(grow).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(hash: u64, tokens: u64, mark: Option<Lifetime>) -> Block {
        Block { hash, tokens, mark }
    }

    #[test]
    fn an_automatic_cache_reads_whole_steps_of_a_seen_prefix() {
        let mut cache = PromptCache::default();
        let now = Instant::now();
        let first = [block(1, 1_000, None), block(2, 500, None)];
        assert_eq!(cache.automatic("m", &first, now).read, 0);
        let second = [
            block(1, 1_000, None),
            block(2, 500, None),
            block(3, 9, None),
        ];
        assert_eq!(cache.automatic("other", &second, now).read, 0);
        assert_eq!(cache.automatic("m", &second, now).read, 1_408);
        let other = [block(1, 1_000, None), block(4, 500, None)];
        assert_eq!(
            cache.automatic("m", &other, now).read,
            0,
            "1,000 are too few"
        );
        assert_eq!(
            cache.automatic("m", &first, now + OPENAI_LIFETIME * 2).read,
            0
        );
    }

    #[test]
    fn a_marked_cache_writes_then_reads() {
        use Lifetime::{FiveMinutes, Hour};

        let mut cache = PromptCache::default();
        let now = Instant::now();
        let blocks = [
            block(1, 2_000, Some(Hour)),
            block(2, 300, Some(FiveMinutes)),
            block(3, 50, None),
        ];
        let written = CacheUse {
            read: 0,
            write_5m: 300,
            write_1h: 2_000,
        };
        assert_eq!(cache.marked("m", &blocks, now), written);
        let read = CacheUse {
            read: 2_300,
            ..CacheUse::default()
        };
        assert_eq!(cache.marked("m", &blocks, now), read);
        let later = now + Duration::from_mins(6);
        let renewed = CacheUse {
            read: 2_000,
            write_5m: 300,
            write_1h: 0,
        };
        assert_eq!(cache.marked("m", &blocks, later), renewed);
        assert_eq!(
            cache.marked("m", &[block(1, 2_000, None)], now),
            CacheUse::default()
        );
    }
}
