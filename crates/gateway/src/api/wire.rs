//! Amounts on the API's wire: read as people write them, written as programs add them up.
//!
//! What comes in is text that the configuration reads too, exactly: `"0.25"` dollars, `"500k"`
//! tokens, `"10m"`; a number of tokens may be a number. What goes out are integers, with cost
//! as a decimal string besides.

use std::fmt;
use std::marker::PhantomData;

use fisc::{Amount, Limits, Permille, Resource, TimeUs};
use fisc_core::{Money, TokenCounting};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{Kind, Problem};
use crate::config::amounts::{self, TokenAmount};

/// A cost in dollars, as a decimal string.
#[derive(Debug, Clone, Copy, PartialEq, ToSchema)]
#[schema(value_type = String, example = "0.25")]
pub(super) struct CostText(Money);

/// A number of tokens: `500000`, `"500k"`, `"1.5M"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TokensText(TokenAmount);

/// A span of time: `"90s"`, `"10m"`, `"1h30m"`.
#[derive(Debug, Clone, Copy, PartialEq, ToSchema)]
#[schema(value_type = String, example = "10m")]
pub(super) struct TimeText(pub(super) TimeUs);

/// A share of a whole: `"5%"`.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(value_type = String, example = "5%")]
pub(super) struct ShareText(pub(super) Permille);

/// An amount of up to three resources; what is left out is nothing, or no limit.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AmountText {
    /// In dollars.
    pub(super) cost: Option<CostText>,
    /// As the tree counts tokens.
    pub(super) tokens: Option<TokensText>,
    /// The sum of the durations of calls.
    pub(super) active_time: Option<TimeText>,
}

/// An amount of each resource; `null` is no limit, or no such figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Figures {
    /// As the tree counts tokens.
    tokens: Option<i64>,
    /// In dollars, exactly.
    #[schema(example = "0.25")]
    cost_usd: Option<String>,
    /// In nano-dollars.
    #[schema(example = 250_000_000)]
    cost_nanousd: Option<i64>,
    /// Active time, in microseconds.
    time_us: Option<i64>,
}

/// A text that is read exactly; an error says how to write it.
trait Text: Sized {
    const EXPECTED: &'static str;

    fn read(text: &str) -> Result<Self, String>;

    fn of_integer(_number: u64) -> Option<Self> {
        None
    }
}

// === impl AmountText ===

impl AmountText {
    /// Returns it as limits, of those resources that are given.
    pub(super) fn limits(&self, counting: TokenCounting) -> Result<Limits, Problem> {
        let tokens = self.tokens.map(|tokens| tokens.count(counting));
        Ok(Limits::NONE
            .with(Resource::Tokens, tokens.transpose()?)
            .with(Resource::Cost, self.cost.map(CostText::units))
            .with(Resource::Time, self.active_time.map(TimeText::units)))
    }

    /// Returns it as an amount, nothing of what is not given.
    pub(super) fn amount(&self, counting: TokenCounting) -> Result<Amount, Problem> {
        Ok(self.limits(counting)?.or(0))
    }
}

// === impl the texts ===

impl CostText {
    pub(super) fn units(self) -> i64 {
        self.0.nanos()
    }
}

impl TokensText {
    /// Returns how many, which must be counted as the tree counts.
    pub(super) fn count(self, counting: TokenCounting) -> Result<i64, Problem> {
        let TokensText(given) = self;
        if given.counting.is_some_and(|own| own != counting) {
            let detail = format!("this tree counts {} tokens", counting.name());
            return Err(Problem::new(Kind::BadTerms, detail));
        }
        Ok(given.tokens.0)
    }
}

impl utoipa::PartialSchema for TokensText {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::schema::{Object, OneOfBuilder, Type};

        let text = Object::with_type(Type::String);
        let number = Object::with_type(Type::Integer);
        let either = OneOfBuilder::new().item(text).item(number);
        let meaning = "A number of tokens: 500000, \"500k\", \"1.5M\"";
        either.description(Some(meaning)).into()
    }
}

impl ToSchema for TokensText {}

impl TimeText {
    pub(super) fn units(self) -> i64 {
        self.0.0
    }
}

impl Text for CostText {
    const EXPECTED: &'static str = "dollars in a string, as in \"0.25\"";

    fn read(text: &str) -> Result<Self, String> {
        let money = text.parse::<Money>().map(CostText);
        money.map_err(|why| format!("cost {text:?}: {why}; {}", why.hint()))
    }
}

impl Text for TokensText {
    const EXPECTED: &'static str = "tokens, as in 500000 or \"500k\"";

    fn read(text: &str) -> Result<Self, String> {
        let tokens = amounts::parse_tokens(text).map(TokensText);
        tokens.map_err(|why| format!("tokens {text:?}: {why}; {}", why.tokens_hint()))
    }

    fn of_integer(number: u64) -> Option<Self> {
        let tokens = fisc_core::Tokens(i64::try_from(number).ok()?);
        Some(TokensText(TokenAmount {
            counting: None,
            tokens,
        }))
    }
}

impl Text for TimeText {
    const EXPECTED: &'static str = "a span in a string, as in \"10m\"";

    fn read(text: &str) -> Result<Self, String> {
        let time = amounts::parse_time(text).map(TimeText);
        time.map_err(|why| format!("time {text:?}: {why}; {}", why.time_hint()))
    }
}

impl Text for ShareText {
    const EXPECTED: &'static str = "a share in a string, as in \"5%\"";

    fn read(text: &str) -> Result<Self, String> {
        let share = amounts::parse_share(text).map(ShareText);
        share.map_err(|why| format!("share {text:?}: {why}; {}", why.share_hint()))
    }
}

/// Reads a [`Text`].
struct TextVisitor<T>(PhantomData<T>);

impl<T: Text> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::read(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        let unexpected = de::Unexpected::Unsigned(number);
        T::of_integer(number).ok_or_else(|| E::invalid_type(unexpected, &self))
    }
}

macro_rules! read_as_text {
    ($($name:ty),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(TextVisitor(PhantomData))
            }
        }
    )*};
}

read_as_text!(CostText, TokensText, TimeText, ShareText);

/// Reads a field that may be `null` on purpose: `None` is left out, `Some(None)` is `null`.
#[expect(clippy::option_option, reason = "left out and null are two things")]
pub(super) fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

// === impl Figures ===

impl Figures {
    /// Writes figures of which `i64::MAX` is no limit.
    pub(super) fn limited(amount: Amount) -> Figures {
        let raw = amount
            .raw()
            .map(|units| (units < i64::MAX).then_some(units));
        Figures::of(|resource| raw[resource.index()])
    }

    fn of(units: impl Fn(Resource) -> Option<i64>) -> Figures {
        let cost = units(Resource::Cost);
        Figures {
            tokens: units(Resource::Tokens),
            cost_usd: cost.map(|nanos| Money::from_nanos(nanos).to_decimal()),
            cost_nanousd: cost,
            time_us: units(Resource::Time),
        }
    }
}

impl From<Amount> for Figures {
    fn from(amount: Amount) -> Figures {
        Figures::of(|resource| Some(amount.get(resource)))
    }
}

impl From<Limits> for Figures {
    fn from(limits: Limits) -> Figures {
        Figures::of(|resource| limits.get(resource))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(json: &str) -> Result<Limits, String> {
        let amount: AmountText = serde_json::from_str(json).map_err(|why| why.to_string())?;
        amount
            .limits(TokenCounting::Fresh)
            .map_err(|why| format!("{why:?}"))
    }

    #[test]
    fn amounts_are_read_as_the_configuration_reads_them() {
        let all = read(r#"{"cost": "0.25", "tokens": "500k", "active_time": "1h30m"}"#);
        let expected = Limits::NONE
            .with(Resource::Cost, Some(250_000_000))
            .with(Resource::Tokens, Some(500_000))
            .with(Resource::Time, Some(5_400_000_000));
        assert_eq!(all, Ok(expected));
        let number = read(r#"{"tokens": 500000}"#).expect("a number of tokens");
        assert_eq!(number.get(Resource::Tokens), Some(500_000));
    }

    #[test]
    fn what_is_no_exact_amount_is_refused_with_a_hint() {
        for (json, part) in [
            (r#"{"cost": 0.25}"#, "dollars in a string"),
            (r#"{"cost": "-1"}"#, "not an amount of money"),
            (r#"{"cost": "1e3"}"#, "not an amount of money"),
            (r#"{"tokens": -5}"#, "as in 500000"),
            (r#"{"tokens": 1.5}"#, "as in 500000"),
            (r#"{"tokens": "total:5"}"#, "counts fresh tokens"),
            (r#"{"active_time": 10}"#, "as in \\\"10m\\\""),
            (r#"{"costs": "1"}"#, "unknown field `costs`"),
            (r#"{"cost": "1", "cost": "2"}"#, "duplicate field `cost`"),
        ] {
            let error = read(json).expect_err(json).replace('"', "\\\"");
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
