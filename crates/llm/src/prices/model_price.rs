//! What one model costs, and the two questions asked of it: what did this usage cost, and what
//! may a call cost at most.
//!
//! All arithmetic is exact and checked, and rounds once. Where rates come from is not decided
//! here.

use fisc_core::{Money, OutOfRange, TimeUs, TokenClass, Usage};

use super::rate::{ONE_PPM, PicoUsdPerToken, Rounding, Sum, show_millionths};

/// Service tiers that mean the standard rates.
const STANDARD_TIERS: [&str; 3] = ["default", "standard", "standard_only"];
/// The service tier that leaves the choice to the provider, as naming none does: the customer's
/// project may have any as its default.
const AUTO_TIER: &str = "auto";

/// One rate per token class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates([PicoUsdPerToken; TokenClass::COUNT]);

/// Rates of a whole call whose input exceeds a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextTier {
    /// The tier applies when the call has more input tokens than this; 0 for the first tier.
    pub above: u64,
    /// The rates of every token of the call.
    pub rates: Rates,
}

/// The rates of one service tier, such as `standard` or `batch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The tier's name as requests and responses spell it.
    pub name: &'static str,
    /// At least one tier, the first above 0, thresholds strictly increasing.
    pub tiers: Vec<ContextTier>,
}

/// Where a price comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The built-in catalogue.
    Builtin,
    /// The owner's overlay, possibly on top of the catalogue.
    Overlay,
}

/// What one model costs, resolved at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPrice {
    pub(crate) model: String,
    pub(crate) provider: Option<String>,
    pub(crate) source: Source,
    pub(crate) schedules: Vec<Schedule>,
    pub(crate) per_call: Money,
    pub(crate) per_second: Money,
    pub(crate) per_search: Money,
    pub(crate) multiplier_ppm: i64,
    /// The provider may write to its cache without being asked, and bill it.
    pub(crate) caches_unasked: bool,
}

/// The most that one call may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of a request, all independent"
)]
pub struct CallBound<'a> {
    /// Input tokens of all classes.
    pub input: u64,
    /// Output tokens of one choice.
    pub output: u64,
    /// Output tokens that may be billed beyond the cap, such as rejected predictions.
    pub output_beyond: u64,
    /// Choices (`n`); 0 counts as 1.
    pub choices: u64,
    /// Web searches.
    pub searches: u64,
    /// The request asks for input to be written to a cache.
    pub cache_writes: bool,
    /// The request asks for a cache entry that lives an hour.
    pub cache_ttl_1h: bool,
    /// The input may hold audio.
    pub audio_in: bool,
    /// The input may hold images.
    pub images_in: bool,
    /// The output may hold audio.
    pub audio_out: bool,
    /// The service tier as the request names it; none and `auto` mean the dearest.
    pub service_tier: Option<&'a str>,
    /// How long the call may take.
    pub time: TimeUs,
    /// How many calls are billed, each with its per-call price; 0 counts as 1.
    pub calls: u64,
}

// === impl Rates ===

impl Rates {
    /// Returns the rate of a class.
    pub fn get(&self, class: TokenClass) -> PicoUsdPerToken {
        self.0[class.index()]
    }

    /// Sets the rate of a class.
    pub fn set(&mut self, class: TokenClass, rate: PicoUsdPerToken) {
        self.0[class.index()] = rate;
    }

    /// Says whether every class costs nothing.
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|rate| *rate == PicoUsdPerToken::ZERO)
    }
}

// === impl Schedule ===

impl Schedule {
    /// The name of the schedule that every price has.
    pub const STANDARD: &'static str = "standard";

    /// Returns the rates of a call with so many input tokens.
    pub fn rates(&self, input: u64) -> &Rates {
        let reached = self.tiers.iter().rev().find(|tier| input > tier.above);
        &reached.unwrap_or(&self.tiers[0]).rates
    }

    /// Returns the tiers that a call with at most so many input tokens can reach.
    fn reachable(&self, input: u64) -> impl Iterator<Item = &ContextTier> {
        let reachable =
            move |(index, tier): &(usize, &ContextTier)| *index == 0 || input > tier.above;
        self.tiers
            .iter()
            .enumerate()
            .filter(reachable)
            .map(|(_, tier)| tier)
    }
}

// === impl ModelPrice ===

impl ModelPrice {
    /// Returns the model's name in the catalogue, or as it was asked for.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Returns the provider whose price this is, where it is known.
    pub fn provider(&self) -> Option<&str> {
        self.provider.as_deref()
    }

    /// Says where the price comes from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Returns the schedules: `standard` first, then those of other service tiers.
    pub fn schedules(&self) -> &[Schedule] {
        &self.schedules
    }

    /// Returns the price of every call, whatever it uses.
    pub fn per_call(&self) -> Money {
        self.per_call
    }

    /// Returns the price of a second of the call's duration.
    pub fn per_second(&self) -> Money {
        self.per_second
    }

    /// Returns the price of one web search.
    pub fn per_search(&self) -> Money {
        self.per_search
    }

    /// Returns what every charge is multiplied by, as a decimal; `None` when by one.
    pub fn multiplier(&self) -> Option<String> {
        (self.multiplier_ppm != ONE_PPM).then(|| show_millionths(self.multiplier_ppm))
    }

    /// Says whether no call of the model can ever cost anything.
    pub fn is_free(&self) -> bool {
        let fees = [self.per_call, self.per_second, self.per_search];
        let mut tiers = self.schedules.iter().flat_map(|schedule| &schedule.tiers);
        fees.iter().all(|fee| *fee == Money::ZERO) && tiers.all(|tier| tier.rates.is_zero())
    }

    /// Returns what a usage costs, rounded half to even once on the sum.
    ///
    /// `service_tier` is the one that served the call, as its response says; one without a
    /// schedule of its own costs the standard rates. `time` is the call's duration and `calls`
    /// how many times the per-call price is due.
    pub fn charge(
        &self,
        usage: &Usage,
        service_tier: Option<&str>,
        time: TimeUs,
        calls: u64,
    ) -> Result<Money, OutOfRange> {
        self.charge_at(self.schedule(service_tier), usage, time, calls)
    }

    /// Returns what a usage costs at most when no response says which service tier served it;
    /// `asked` is the one that its request names.
    pub fn charge_untold(
        &self,
        usage: &Usage,
        asked: Option<&str>,
        time: TimeUs,
        calls: u64,
    ) -> Result<Money, OutOfRange> {
        let mut most = Money::ZERO;
        for schedule in self.possible_schedules(asked) {
            most = most.max(self.charge_at(schedule, usage, time, calls)?);
        }
        Ok(most)
    }

    /// Returns the most that a call within a bound can cost, rounded up.
    ///
    /// No cache hit is assumed; input is priced at the dearest class that the bound allows, in
    /// the dearest context tier that it can reach. A service tier is held at the dearer of its
    /// own rates and the standard ones (the provider may fall back); none, `auto` and unheard-of
    /// ones at the dearest of all.
    pub fn dearest(&self, bound: &CallBound<'_>) -> Result<Money, OutOfRange> {
        let (fixed, rate) = self.parts(bound)?;
        let output = bound
            .output
            .checked_mul(bound.choices.max(1))
            .ok_or(OutOfRange)?;
        fixed
            .tokens(output, rate)?
            .round(self.multiplier_ppm, Rounding::Up)
    }

    /// Returns the largest output cap of one choice with which [`ModelPrice::dearest`] is at most
    /// `money`, whatever `bound.output` says; `None` when not even a call without output is.
    pub fn output_within(&self, bound: &CallBound<'_>, money: Money) -> Option<u64> {
        let (fixed, rate) = self.parts(bound).ok()?;
        let step = Sum::ZERO.tokens(bound.choices.max(1), rate).ok()?;
        fixed.steps_within(step, self.multiplier_ppm, money)
    }

    fn charge_at(
        &self,
        schedule: &Schedule,
        usage: &Usage,
        time: TimeUs,
        calls: u64,
    ) -> Result<Money, OutOfRange> {
        let rates = schedule.rates(usage.input());
        let mut sum = self.fees(usage.units.searches, time, calls)?;
        for class in TokenClass::ALL {
            sum = sum.tokens(usage.get(class), rates.get(class))?;
        }
        sum.round(self.multiplier_ppm, Rounding::HalfEven)
    }

    fn schedule(&self, service_tier: Option<&str>) -> &Schedule {
        let named = |tier| self.schedules.iter().find(|schedule| schedule.name == tier);
        service_tier.and_then(named).unwrap_or(&self.schedules[0])
    }

    fn fees(&self, searches: u64, time: TimeUs, calls: u64) -> Result<Sum, OutOfRange> {
        Sum::ZERO
            .units(calls, self.per_call)?
            .units(searches, self.per_search)?
            .time(time.0, self.per_second)
    }

    /// Splits the dearest charge into all that does not depend on output, and the rate of output.
    fn parts(&self, bound: &CallBound<'_>) -> Result<(Sum, PicoUsdPerToken), OutOfRange> {
        let mut input = PicoUsdPerToken::ZERO;
        let mut output = PicoUsdPerToken::ZERO;
        for schedule in self.possible_schedules(bound.service_tier) {
            for tier in schedule.reachable(bound.input) {
                input = input.max(self.dearest_class(&tier.rates, bound, false));
                output = output.max(self.dearest_class(&tier.rates, bound, true));
            }
        }
        let fees = self.fees(bound.searches, bound.time, bound.calls.max(1))?;
        let fixed = fees
            .tokens(bound.input, input)?
            .tokens(bound.output_beyond, output)?;
        Ok((fixed, output))
    }

    fn possible_schedules<'s>(
        &'s self,
        service_tier: Option<&'s str>,
    ) -> impl Iterator<Item = &'s Schedule> {
        let certain = match service_tier {
            None | Some(AUTO_TIER) => false,
            Some(tier) => {
                STANDARD_TIERS.contains(&tier) || self.schedules.iter().any(|s| s.name == tier)
            }
        };
        self.schedules.iter().filter(move |schedule| {
            !certain || schedule.name == Schedule::STANDARD || service_tier == Some(schedule.name)
        })
    }

    fn dearest_class(&self, rates: &Rates, bound: &CallBound<'_>, output: bool) -> PicoUsdPerToken {
        let possible = |class: &&TokenClass| match class {
            TokenClass::CacheWrite5m => {
                bound.cache_writes || bound.cache_ttl_1h || self.caches_unasked
            }
            TokenClass::CacheWrite1h => bound.cache_ttl_1h,
            TokenClass::AudioInput => bound.audio_in,
            TokenClass::ImageInput => bound.images_in,
            TokenClass::AudioOutput => bound.audio_out,
            // A cache hit can only be dearer, in an odd price list, and never cheaper for certain;
            // and requests have no common way to exclude images from the output.
            TokenClass::UncachedInput
            | TokenClass::CacheRead
            | TokenClass::Output
            | TokenClass::ImageOutput => true,
        };
        let of_kind = TokenClass::ALL
            .iter()
            .filter(|class| class.is_output() == output);
        of_kind
            .filter(possible)
            .map(|class| rates.get(*class))
            .max()
            .unwrap_or_default()
    }
}
