//! What a budget is to be allowed, as callers ask for it, in the words of the configuration.

use fisc::{
    Claim, Fisc, Freezer, Lendable, Limits, Period, Permille, Resource, Sharing, Terms, TimeUs,
    Weight, Window, Zone, zone_exists,
};
use fisc_core::Amount;
use serde::Deserialize;
use utoipa::ToSchema;

use super::problem::{Kind, Problem};
use super::wire::{AmountText, CostText, ShareText, TimeText, TokensText, given};
use crate::config::amounts;

/// A budget to allocate.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AllocateRequest {
    /// Makes the request idempotent, as the header `Idempotency-Key` does.
    pub(super) id: Option<String>,
    /// The path of the new budget, names joined by `/`, beginning with that of your own root.
    #[schema(example = "run/researcher")]
    pub(super) path: String,
    /// The most that it may cost in dollars.
    pub(super) cost: Option<CostText>,
    /// The most tokens.
    pub(super) tokens: Option<TokensText>,
    /// The longest sum of the durations of calls.
    pub(super) active_time: Option<TimeText>,
    /// How long it may be used from now on.
    pub(super) time: Option<TimeText>,
    /// The most that a single call may hold.
    pub(super) per_call: Option<AmountText>,
    /// The most that its calls may spend a minute, however much is left.
    pub(super) rate_per_minute: Option<AmountText>,
    /// The last part of every limit, kept for wrapping up; none when left out.
    pub(super) reserve: Option<ShareText>,
    /// `static` carves the limits out of the parent's.
    #[serde(default)]
    pub(super) share: ShareChoice,
    /// What the parent keeps for it, whatever its siblings do.
    pub(super) guarantee: Option<GuaranteeText>,
    /// How its own children share what it has.
    #[serde(default)]
    pub(super) sharing: SharingChoice,
    /// How much it counts beside its siblings; 1 when left out.
    #[schema(minimum = 1)]
    pub(super) weight: Option<u16>,
    /// What it will have spent when it is done.
    pub(super) need: Option<AmountText>,
    /// The share of its surplus that siblings may borrow; 50% when left out.
    pub(super) lendable: Option<ShareText>,
    /// When what it spent counts anew: `daily`, `weekly`, `monthly`, or a span such as
    /// `24h rolling`.
    #[schema(example = "daily")]
    pub(super) window: Option<String>,
    /// Whose midnight counts; UTC when left out.
    #[schema(example = "Europe/Vilnius")]
    pub(super) time_zone: Option<String>,
    /// The share of the limit that unused room may add to the next window.
    pub(super) roll_over: Option<ShareText>,
    /// Releases the budget once nobody used its token for so long and nothing runs.
    pub(super) keep_alive: Option<TimeText>,
}

/// What to change of a budget: what is left out stays as it is, `null` takes a limit away.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "left out and null are two things")]
pub(super) struct ChangeRequest {
    /// The most that it may cost in dollars.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<CostText>)]
    pub(super) cost: Option<Option<CostText>>,
    /// The most tokens.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<TokensText>)]
    pub(super) tokens: Option<Option<TokensText>>,
    /// The longest sum of the durations of calls.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<TimeText>)]
    pub(super) active_time: Option<Option<TimeText>>,
    /// How long it may be used since it was allocated.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<TimeText>)]
    pub(super) time: Option<Option<TimeText>>,
    /// The most that a single call may hold.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<AmountText>)]
    pub(super) per_call: Option<Option<AmountText>>,
    /// The most that its calls may spend a minute, however much is left.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<AmountText>)]
    pub(super) rate_per_minute: Option<Option<AmountText>>,
    /// `frozen` stops it for now, `open` lets it go on.
    pub(super) state: Option<StateChoice>,
    /// How its own children share what it has.
    pub(super) sharing: Option<SharingChoice>,
    /// How much it counts beside its siblings.
    #[schema(minimum = 1)]
    pub(super) weight: Option<u16>,
    /// What it will have spent when it is done.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<AmountText>)]
    pub(super) need: Option<Option<AmountText>>,
    /// The share of its surplus that siblings may borrow.
    pub(super) lendable: Option<ShareText>,
}

/// What a parent keeps for a child.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(untagged, expecting = "\"auto\" or amounts, as in {\"cost\": \"5\"}")]
pub(super) enum GuaranteeText {
    /// What keeps it from starving.
    Auto(Auto),
    /// This much.
    Amounts(AmountText),
}

/// The word `auto`.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Auto {
    /// The smaller of 5% and half of an equal part, as far as it fits.
    Auto,
}

/// Whether a budget's limits are carved out of its parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ShareChoice {
    /// They are its own, used or not.
    Static,
    /// They are caps on what it draws from its parent.
    #[default]
    Pool,
}

/// How children share what their parent has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SharingChoice {
    /// Whoever calls draws on what is there.
    #[default]
    Pool,
    /// The same for everybody.
    Equal,
    /// By need.
    Proportional,
    /// By weight.
    Priority,
    /// Max-min fair.
    Fair,
    /// A fair floor, the rest to whoever is nearest to its end.
    Dynamic,
    /// The surplus is sold to the highest bids.
    Auction,
}

/// Whether a budget is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StateChoice {
    /// Calls are admitted.
    Open,
    /// Nothing is admitted there and below.
    Frozen,
}

/// A change that is read and can be applied.
pub(super) struct Change {
    steps: Vec<Step>,
    /// Whether to freeze it, or to let it go on.
    frozen: Option<bool>,
}

type Step = Box<dyn FnOnce(&mut Terms) + Send>;

// === impl AllocateRequest ===

impl AllocateRequest {
    /// Returns the terms that are asked for.
    pub(super) fn terms(&self, fisc: &Fisc) -> Result<Terms, Problem> {
        let counting = fisc.counting();
        let limits = AmountText {
            cost: self.cost,
            tokens: self.tokens,
            active_time: self.active_time,
        };
        let of = |amount: &Option<AmountText>| match amount {
            Some(amount) => amount.limits(counting),
            None => Ok(Limits::NONE),
        };
        let mut terms = Terms {
            limits: limits.limits(counting)?,
            elapsed: self.time.map(|TimeText(time)| time),
            per_call: of(&self.per_call)?,
            rate: of(&self.rate_per_minute)?,
            need: of(&self.need)?,
            sharing: self.sharing.into(),
            weight: weight(self.weight)?,
            window: self.window()?,
            ..Terms::default()
        };
        if let Some(ShareText(reserve)) = self.reserve {
            terms.reserve = reserve;
        }
        if let Some(ShareText(lendable)) = self.lendable {
            terms.lendable = Lendable(lendable);
        }
        terms.claim = match (self.share, &self.guarantee) {
            (ShareChoice::Static, Some(_)) => {
                return Err(bad(
                    "a static share keeps the whole limit: leave guarantee out",
                ));
            }
            (ShareChoice::Static, None) => Claim::Limit,
            (ShareChoice::Pool, Some(GuaranteeText::Auto(Auto::Auto))) => Claim::Automatic,
            (ShareChoice::Pool, Some(GuaranteeText::Amounts(amount))) => {
                match amount.amount(counting)? {
                    Amount::ZERO => Claim::Nothing,
                    amount => Claim::Guarantee(amount),
                }
            }
            (ShareChoice::Pool, None) => Claim::Nothing,
        };
        Ok(terms)
    }

    fn window(&self) -> Result<Window, Problem> {
        let Some(text) = &self.window else {
            return match (&self.time_zone, self.roll_over) {
                (None, None) => Ok(Window::None),
                _ => Err(bad(
                    "time_zone and roll_over are of no use without a window",
                )),
            };
        };
        if let Some(period) = Period::named(text) {
            return Ok(Window::Calendar {
                period,
                zone: zone(self.time_zone.as_deref())?,
                roll_over: self.roll_over.map_or(Permille(0), |ShareText(share)| share),
            });
        }
        if self.time_zone.is_some() || self.roll_over.is_some() {
            return Err(bad("time_zone and roll_over need days, weeks or months"));
        }
        let hint = "write daily, weekly, monthly, or a span such as \"24h rolling\"";
        let span = text.strip_suffix(" rolling").map(amounts::parse_time);
        match span {
            Some(Ok(TimeUs(span))) if span > 0 => Ok(Window::Rolling(TimeUs(span))),
            _ => Err(bad(format!("{text:?} is no window; {hint}"))),
        }
    }
}

// === impl ChangeRequest ===

impl ChangeRequest {
    /// Reads the change as a whole, before anything of it is applied.
    pub(super) fn change(self, fisc: &Fisc) -> Result<Change, Problem> {
        let counting = fisc.counting();
        let mut change = Change {
            steps: Vec::new(),
            frozen: self.state.map(|state| state == StateChoice::Frozen),
        };
        let tokens = self.tokens.map(|tokens| {
            let count = tokens.map(|tokens| tokens.count(counting));
            count.transpose()
        });
        change.limit(
            Resource::Cost,
            self.cost.map(|cost| cost.map(CostText::units)),
        );
        change.limit(Resource::Tokens, tokens.transpose()?);
        let time = self.active_time.map(|time| time.map(TimeText::units));
        change.limit(Resource::Time, time);
        if let Some(time) = self.time {
            let elapsed = time.map(|TimeText(time)| time);
            change.push(move |terms| terms.elapsed = elapsed);
        }
        if let Some(amount) = self.per_call {
            let per_call = amount.unwrap_or_default().limits(counting)?;
            change.push(move |terms| terms.per_call = per_call);
        }
        if let Some(amount) = self.rate_per_minute {
            let rate = amount.unwrap_or_default().limits(counting)?;
            change.push(move |terms| terms.rate = rate);
        }
        if let Some(amount) = self.need {
            let need = amount.unwrap_or_default().limits(counting)?;
            change.push(move |terms| terms.need = need);
        }
        if let Some(sharing) = self.sharing {
            change.push(move |terms| terms.sharing = sharing.into());
        }
        if self.weight.is_some() {
            let weight = weight(self.weight)?;
            change.push(move |terms| terms.weight = weight);
        }
        if let Some(ShareText(share)) = self.lendable {
            change.push(move |terms| terms.lendable = Lendable(share));
        }
        if change.steps.is_empty() && change.frozen.is_none() {
            return Err(bad("nothing to change"));
        }
        Ok(change)
    }
}

// === impl Change ===

impl Change {
    /// Applies it to terms as they are, in the name of `by`; says whether it did. Nothing is
    /// changed where somebody who stands above froze what is to be thawed.
    pub(super) fn apply(self, terms: &mut Terms, by: Freezer) -> bool {
        if self
            .frozen
            .is_some_and(|frozen| !terms.set_frozen(frozen, by))
        {
            return false;
        }
        for step in self.steps {
            step(terms);
        }
        true
    }

    fn push(&mut self, step: impl FnOnce(&mut Terms) + Send + 'static) {
        self.steps.push(Box::new(step));
    }

    #[expect(clippy::option_option, reason = "left out and no limit are two things")]
    fn limit(&mut self, resource: Resource, limit: Option<Option<i64>>) {
        if let Some(limit) = limit {
            self.push(move |terms| terms.limits = terms.limits.with(resource, limit));
        }
    }
}

// === conversions ===

impl From<SharingChoice> for Sharing {
    fn from(choice: SharingChoice) -> Sharing {
        match choice {
            SharingChoice::Pool => Sharing::Pool,
            SharingChoice::Equal => Sharing::Equal,
            SharingChoice::Proportional => Sharing::Proportional,
            SharingChoice::Priority => Sharing::Priority,
            SharingChoice::Fair => Sharing::Fair,
            SharingChoice::Dynamic => Sharing::Dynamic,
            SharingChoice::Auction => Sharing::Auction,
        }
    }
}

fn weight(weight: Option<u16>) -> Result<Weight, Problem> {
    match weight {
        Some(0) => Err(bad("a weight is at least 1")),
        Some(weight) => Ok(Weight(weight)),
        None => Ok(Weight::default()),
    }
}

fn zone(name: Option<&str>) -> Result<Zone, Problem> {
    let Some(name) = name else {
        return Ok(Zone::UTC);
    };
    let zone = Zone::new(name).ok().filter(|zone| zone_exists(*zone));
    zone.ok_or_else(|| bad(format!("no time zone is called {name:?}")))
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::BadTerms, detail)
}
