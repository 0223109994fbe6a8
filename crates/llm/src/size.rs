//! How much a call holds, and the output cap and time that make the hold a bound.
//!
//! Two tiers: the request's own cap (or the model's maximum), lowered where calls share what is
//! left to between an equal part of it and what 99 % of such calls need; and where an equal part
//! is less than that, what those need. What is left at the end of a budget is given whole to the
//! last call that is likely to end within it. Pure: no budget is read or changed.

use fisc_core::{Amount, Money, OutOfRange, Resource, TimeUs, TokenCounting, Tokens};

use crate::bound::InputBound;
use crate::models::Maximum;
use crate::prices::{CallBound, ModelPrice};

/// The least output that a cold start leaves a call, unless its own cap is lower, in tokens.
pub const OUTPUT_FLOOR: u64 = 64;
/// With other holds open, a class without samples waits for them rather than take less output
/// than this, in tokens.
const OUTPUT_DECENT: u64 = 1_536;
/// How far a call that shares goes from what it usually needs towards an equal part, both as
/// logarithms. A long call keeps its hold while many short ones come and go: at a whole part, few
/// of them hold most of what is left when it runs short, for output that hardly any call has.
const SHARED_POWER: f64 = 0.58;
/// Likewise for time: this part of the per-call limit.
const TIME_DECENT_PART: i64 = 4;
/// No request is held at more output than this per choice, in tokens: no model writes as much.
const OUTPUT_MAX: u64 = 10_000_000;

/// One call that asks for a hold.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// The model's price; `None` when no cost is to be held.
    pub price: Option<&'a ModelPrice>,
    /// Which tokens the budget counts.
    pub counting: TokenCounting,
    /// The most input tokens.
    pub input: InputBound,
    /// What else the request may use: choices, searches, cache writes, audio, service tier,
    /// output beyond the cap. Its `input`, `output` and `time` are filled in here.
    pub call: CallBound<'a>,
    /// The output cap of one choice as sent.
    pub asked_output: Option<u64>,
    /// The most that the model can write in one choice.
    pub model_output: Maximum,
    /// The output that 95 % of such calls stay below; `None` below the least number of samples.
    pub output_q95: Option<u64>,
    /// The output that 99 % of such calls stay below; `None` below the least number of samples.
    pub output_q99: Option<u64>,
    /// The least output worth a call; see [`OUTPUT_FLOOR`].
    pub output_floor: u64,
    /// The per-call limit of time.
    pub time_limit: TimeUs,
    /// The duration that 99 % of such calls stay below; `None` below the least number of samples.
    pub time_q99: Option<TimeUs>,
    /// The least time worth a call.
    pub time_floor: TimeUs,
    /// The time in which such a call is likely to be of use; `None` when unknown.
    pub time_likely: Option<TimeUs>,
    /// The most that a single call may hold; `i64::MAX` where that is not limited.
    pub per_call: Amount,
    /// How many other calls run within the same room.
    pub running: u64,
    /// How many others wait for it.
    pub siblings: u64,
    /// What one of them needs; zero when unknown.
    pub sibling_room: Amount,
}

/// How a call is sized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizing {
    /// It fits.
    Hold {
        /// What to hold: at most what is free, and at least what the call can be charged.
        amount: Amount,
        /// The cap of one choice to write into the forwarded request; `None` leaves it alone.
        output_cap: Option<u64>,
        /// When to end the call.
        time_cap: TimeUs,
        /// Whether the hold is a certain bound.
        bounded: bool,
    },
    /// It does not fit now, and can when other holds end.
    Wait {
        /// The least that it can do with.
        least: Amount,
        /// What it waits for while others run: at least that, and more than is free.
        wanted: Amount,
    },
    /// It cannot fit even when every open hold is voided.
    Never {
        /// The least that it can do with.
        least: Amount,
    },
}

/// Sizes a hold. `free` is what fits now and `idle` what would fit if every open hold were
/// voided; `i64::MAX` means unlimited.
pub fn size(ask: &Ask<'_>, free: &Amount, idle: &Amount) -> Sizing {
    let sizer = Sizer::new(ask, free, idle);
    for time in sizer.times().into_iter().flatten() {
        let Some(output) = sizer.output(time) else {
            continue;
        };
        if let Ok(amount) = ask.amount(output, time)
            && amount.fits(free)
            && amount.fits(&ask.per_call)
        {
            let output_cap = ask.written_cap(output);
            return Sizing::Hold {
                amount,
                output_cap,
                time_cap: time,
                bounded: ask.input.bounded,
            };
        }
    }
    let never = Amount::from_raw([i64::MAX; Resource::COUNT]);
    match ask.amount(sizer.least_output(), sizer.least_time()) {
        Ok(least) if least.fits(idle) && least.fits(&ask.per_call) => {
            let wanted = ask.amount(sizer.usual_output(), sizer.usual_time());
            Sizing::Wait {
                least,
                wanted: wanted.unwrap_or(never),
            }
        }
        least => Sizing::Never {
            least: least.unwrap_or(never),
        },
    }
}

/// An ask and the room for it.
struct Sizer<'a> {
    ask: &'a Ask<'a>,
    free: &'a Amount,
    idle: &'a Amount,
    /// The most output that is wanted and that a single call may hold.
    wanted: u64,
    floor: u64,
    time_limit: TimeUs,
}

// === impl Ask ===

impl Ask<'_> {
    /// Returns what a call with this output cap and time is held at.
    pub fn amount(&self, output: u64, time: TimeUs) -> Result<Amount, OutOfRange> {
        let bound = self.bound(output, time);
        let money = self
            .price
            .map_or(Ok(Money::ZERO), |price| price.dearest(&bound))?;
        let (fixed, per_output) = self.token_parts();
        let tokens = per_output
            .checked_mul(output)
            .and_then(|tokens| tokens.checked_add(fixed))
            .and_then(|tokens| i64::try_from(tokens).ok())
            .ok_or(OutOfRange)?;
        Ok(Amount::new(Tokens(tokens), money, time))
    }

    fn bound(&self, output: u64, time: TimeUs) -> CallBound<'_> {
        CallBound {
            input: self.input.tokens,
            output,
            time,
            ..self.call
        }
    }

    /// Returns the tokens that count whatever the cap is, and those per token of the cap.
    fn token_parts(&self) -> (u64, u64) {
        let (input, beyond) = (self.input.tokens, self.call.output_beyond);
        let choices = self.call.choices.max(1);
        match self.counting {
            TokenCounting::Fresh | TokenCounting::Total => (input.saturating_add(beyond), choices),
            TokenCounting::Input => (input, 0),
            TokenCounting::Output => (beyond, choices),
        }
    }

    fn wanted(&self) -> u64 {
        self.asked_output
            .unwrap_or(self.model_output.tokens())
            .min(OUTPUT_MAX)
    }

    fn floor(&self) -> u64 {
        self.output_floor.min(self.wanted())
    }

    fn time_floor(&self) -> TimeUs {
        self.time_floor.min(self.time_limit)
    }

    /// Returns the largest cap whose hold is within `room`, whatever is wanted.
    fn output_within(&self, room: &Amount, time: TimeUs) -> Option<u64> {
        let (fixed, per_output) = self.token_parts();
        let tokens = u64::try_from(room.get(Resource::Tokens)).ok()?;
        let tokens = tokens.checked_sub(fixed)?;
        let by_tokens = tokens.checked_div(per_output).unwrap_or(u64::MAX);
        let by_cost = match self.price {
            Some(price) => price.output_within(&self.bound(0, time), room.cost())?,
            None => u64::MAX,
        };
        Some(by_tokens.min(by_cost))
    }

    /// Returns the cap to write, unless the provider keeps to it without being told.
    fn written_cap(&self, output: u64) -> Option<u64> {
        let kept = match self.asked_output {
            Some(asked) => asked == output,
            None => self.model_output == Maximum::Known(output),
        };
        (!kept).then_some(output)
    }
}

// === impl Sizer ===

impl<'a> Sizer<'a> {
    fn new(ask: &'a Ask<'a>, free: &'a Amount, idle: &'a Amount) -> Sizer<'a> {
        let single = ask.output_within(&ask.per_call, ask.time_floor());
        Sizer {
            ask,
            free,
            idle,
            wanted: ask.wanted().min(single.unwrap_or(u64::MAX)),
            floor: ask.floor(),
            time_limit: ask.time_limit.min(ask.per_call.time()),
        }
    }

    /// Returns the times to try, the best first. Only where time costs money is it worth to try
    /// a shorter one than the first that fits.
    fn times(&self) -> [Option<TimeUs>; 4] {
        let limit = self.time_limit;
        let least = self.least_time();
        let free = self.free.time();
        let mut times = [None; 4];
        if limit < least {
            return times;
        }
        if limit <= self.beside().time() {
            times[0] = Some(limit);
        }
        let usual = self.usual_time();
        let sampled = self.ask.time_q99.is_some();
        if sampled {
            times[1] = Some(usual).filter(|usual| *usual <= free);
        }
        let left = limit.min(free);
        if left >= least && ((!sampled && left >= usual) || self.alone()) {
            times[2] = Some(left);
        }
        let time_costs = self
            .ask
            .price
            .is_some_and(|price| price.per_second() > Money::ZERO);
        if time_costs {
            times[3] = Some(least).filter(|least| *least <= free);
            return times;
        }
        let first = times.into_iter().flatten().next();
        [first, None, None, None]
    }

    /// Returns the output cap of a call that takes this time, or `None` to wait.
    fn output(&self, time: TimeUs) -> Option<u64> {
        if self.wanted < self.floor {
            return None;
        }
        let usual = self.usual_output();
        let shared = self.shared(usual, time);
        if let Some(shared) = shared.filter(|shared| *shared >= usual) {
            return Some(shared);
        }
        if self.fits(usual, time, self.free) {
            return Some(usual);
        }
        // Nothing else is open, so waiting brings nothing: what is left is better used up.
        self.within(self.free, time)
            .filter(|left| self.alone() && *left >= self.least_output())
    }

    /// Returns the output with which a call does not wait for others to end: what 99 % of such
    /// calls need, or, where nothing is known of them, a decent one.
    fn usual_output(&self) -> u64 {
        match self.ask.output_q99 {
            Some(q99) => q99.max(self.floor).min(self.wanted),
            None => OUTPUT_DECENT.min(self.wanted).max(self.floor),
        }
    }

    /// Returns the time with which it does not wait, likewise.
    fn usual_time(&self) -> TimeUs {
        let usual = match self.ask.time_q99 {
            Some(q99) => TimeUs(q99.0.saturating_add(q99.0 / 4)),
            None => TimeUs(self.time_limit.0 / TIME_DECENT_PART),
        };
        usual.min(self.time_limit).max(self.least_time())
    }

    /// Returns the largest cap, up to the one wanted, whose hold is within `room`.
    fn within(&self, room: &Amount, time: TimeUs) -> Option<u64> {
        let within = self.ask.output_within(room, time)?;
        Some(within.min(self.wanted))
    }

    /// Returns the output of a call that shares the room: at most an equal part, with which every
    /// call here finds room, and less the more that is beyond the usual.
    fn shared(&self, usual: u64, time: TimeUs) -> Option<u64> {
        let beside = self.within(&self.beside_served(usual, time), time)?;
        let part = self.ask.output_within(&self.part(), time)?;
        if self.others() == 0 || part <= usual {
            return Some(beside.min(part));
        }
        let usual = usual.max(1) as f64;
        let lowered = usual * (part as f64 / usual).powf(SHARED_POWER);
        Some(beside.min(part).min(lowered as u64))
    }

    /// Returns how many other calls run here or wait.
    fn others(&self) -> u64 {
        self.ask.running.saturating_add(self.ask.siblings)
    }

    /// Returns an equal part of what all calls here share. What is unlimited stays so, and time is
    /// not divided: it is not used up faster by many.
    fn part(&self) -> Amount {
        let calls = i64::try_from(self.others()).unwrap_or(i64::MAX);
        let calls = calls.saturating_add(1);
        let mut part = *self.idle;
        for resource in [Resource::Tokens, Resource::Cost] {
            let idle = self.idle.get(resource);
            if idle < i64::MAX {
                part.set(resource, idle / calls);
            }
        }
        part
    }

    /// Returns the least output to wait for: with less, too many answers would be cut short for
    /// money well spent. A single call that may not have as much does with what it may.
    fn least_output(&self) -> u64 {
        let usual = self.ask.output_q99.and(self.ask.output_q95).unwrap_or(0);
        usual.min(self.wanted).max(self.floor)
    }

    /// Returns the least time to wait for, likewise.
    fn least_time(&self) -> TimeUs {
        let likely = self.ask.time_likely.unwrap_or(TimeUs(0));
        likely.min(self.time_limit).max(self.ask.time_floor())
    }

    fn fits(&self, output: u64, time: TimeUs, room: &Amount) -> bool {
        self.ask
            .amount(output, time)
            .is_ok_and(|amount| amount.fits(room))
    }

    /// Says whether no other hold is open where this one would be.
    fn alone(&self) -> bool {
        self.idle.fits(self.free)
    }

    /// Returns the tokens and cost that are free beside room for as many siblings as find it beside
    /// a usual call: to leave room for a part of one helps nobody. All of the time.
    fn beside_served(&self, usual: u64, time: TimeUs) -> Amount {
        let mut beside = *self.free;
        let Ok(usual) = self.ask.amount(usual, time) else {
            return beside;
        };
        let shares = |resource: &Resource| {
            self.free.get(*resource) < i64::MAX && self.ask.sibling_room.get(*resource) > 0
        };
        let shared = || {
            [Resource::Tokens, Resource::Cost]
                .into_iter()
                .filter(shares)
        };
        let served = shared()
            .map(|resource| {
                let free = self.free.get(resource).saturating_sub(usual.get(resource));
                free.max(0) / self.ask.sibling_room.get(resource)
            })
            .fold(
                i64::try_from(self.ask.siblings).unwrap_or(i64::MAX),
                i64::min,
            );
        for resource in shared() {
            let room = self.ask.sibling_room.get(resource).saturating_mul(served);
            beside.set(resource, self.free.get(resource).saturating_sub(room));
        }
        beside
    }

    /// Returns what is free beside room for all siblings; what is unlimited stays so.
    fn beside(&self) -> Amount {
        let siblings = i64::try_from(self.ask.siblings).unwrap_or(i64::MAX);
        let mut beside = *self.free;
        for resource in Resource::ALL {
            let (free, room) = (self.free.get(resource), self.ask.sibling_room.get(resource));
            if free < i64::MAX {
                beside.set(resource, free.saturating_sub(room.saturating_mul(siblings)));
            }
        }
        beside
    }
}

#[cfg(test)]
mod tests;
