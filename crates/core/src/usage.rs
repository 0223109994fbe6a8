//! What a provider reported that a call used, in disjoint classes.
//!
//! Wires disagree on what includes what (cached input counts as prompt tokens on one and
//! not as input tokens on another); here every class is disjoint, so sums are sums.

/// A class of tokens that is priced apart from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenClass {
    /// Text input that was neither read from nor written to a cache.
    UncachedInput,
    /// Input read from the provider's cache.
    CacheRead,
    /// Input written to a cache that lives five minutes (or the provider's only kind).
    CacheWrite5m,
    /// Input written to a cache that lives an hour.
    CacheWrite1h,
    /// Audio input that was not cached.
    AudioInput,
    /// Image input that was not cached.
    ImageInput,
    /// Text output, hidden reasoning included.
    Output,
    /// Audio output.
    AudioOutput,
    /// Image output.
    ImageOutput,
}

/// A chargeable unit that is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Units {
    /// Web searches that the provider ran.
    pub searches: u64,
}

/// What one attempt used: tokens by disjoint class, and units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Usage {
    tokens: [u64; TokenClass::COUNT],
    /// The part of [`TokenClass::Output`] that was hidden reasoning; shown apart, never added.
    pub reasoning: u64,
    /// Chargeable units that are not tokens.
    pub units: Units,
}

/// Which tokens a budget counts as `tokens` (one setting for a whole tree).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TokenCounting {
    /// All input that was not read from a cache, cache writes included, plus output.
    #[default]
    Fresh,
    /// All input and all output.
    Total,
    /// All input.
    Input,
    /// All output.
    Output,
}

// === impl TokenClass ===

impl TokenClass {
    /// How many classes there are.
    pub const COUNT: usize = 9;
    /// Every class, in the order of their indices.
    pub const ALL: [TokenClass; TokenClass::COUNT] = [
        TokenClass::UncachedInput,
        TokenClass::CacheRead,
        TokenClass::CacheWrite5m,
        TokenClass::CacheWrite1h,
        TokenClass::AudioInput,
        TokenClass::ImageInput,
        TokenClass::Output,
        TokenClass::AudioOutput,
        TokenClass::ImageOutput,
    ];

    /// Returns the class's index into arrays of [`TokenClass::COUNT`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Returns the class's name in reports, price files and the journal.
    pub const fn name(self) -> &'static str {
        match self {
            TokenClass::UncachedInput => "input",
            TokenClass::CacheRead => "cache_read",
            TokenClass::CacheWrite5m => "cache_write_5m",
            TokenClass::CacheWrite1h => "cache_write_1h",
            TokenClass::AudioInput => "audio_input",
            TokenClass::ImageInput => "image_input",
            TokenClass::Output => "output",
            TokenClass::AudioOutput => "audio_output",
            TokenClass::ImageOutput => "image_output",
        }
    }

    /// Says whether the class is output.
    pub const fn is_output(self) -> bool {
        matches!(
            self,
            TokenClass::Output | TokenClass::AudioOutput | TokenClass::ImageOutput
        )
    }
}

// === impl Usage ===

impl Usage {
    /// Returns the tokens of one class.
    pub const fn get(&self, class: TokenClass) -> u64 {
        self.tokens[class.index()]
    }

    /// Sets the tokens of one class.
    pub fn set(&mut self, class: TokenClass, tokens: u64) {
        self.tokens[class.index()] = tokens;
    }

    /// Returns the same usage with the tokens of one class set.
    #[must_use]
    pub fn with(mut self, class: TokenClass, tokens: u64) -> Usage {
        self.set(class, tokens);
        self
    }

    /// Sums all classes of input.
    pub fn input(&self) -> u64 {
        self.sum(|class| !class.is_output())
    }

    /// Sums all classes of output.
    pub fn output(&self) -> u64 {
        self.sum(TokenClass::is_output)
    }

    /// Counts the tokens as a budget does; at most `i64::MAX`.
    pub fn count(&self, counting: TokenCounting) -> crate::Tokens {
        let count = match counting {
            TokenCounting::Fresh => self.sum(|class| class != TokenClass::CacheRead),
            TokenCounting::Total => self.sum(|_| true),
            TokenCounting::Input => self.input(),
            TokenCounting::Output => self.output(),
        };
        crate::Tokens(i64::try_from(count).unwrap_or(i64::MAX))
    }

    fn sum(&self, counts: impl Fn(TokenClass) -> bool) -> u64 {
        let of = |class: &TokenClass| if counts(*class) { self.get(*class) } else { 0 };
        TokenClass::ALL.iter().map(of).fold(0, u64::saturating_add)
    }
}

// === impl TokenCounting ===

impl TokenCounting {
    /// Returns the setting's name in configuration and reports.
    pub const fn name(self) -> &'static str {
        match self {
            TokenCounting::Fresh => "fresh",
            TokenCounting::Total => "total",
            TokenCounting::Input => "input",
            TokenCounting::Output => "output",
        }
    }
}
