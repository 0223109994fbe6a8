//! The configuration of `serve`, `fisc.toml`, as it is written.
//!
//! [`load`] reads a file into [`Settings`], which everything past this module works with. The
//! types of this file are only the shape of the text: every value keeps its place, so that what
//! [`settings`] finds wrong points at line and column. Secrets never stand in the file itself;
//! it names variables and files that hold them, or hashes.

pub mod amounts;
pub mod ceiling;
mod error;
mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use fisc::Resource;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use toml::Spanned;

pub use self::error::ConfigError;
use self::error::Source;
pub use self::settings::{BudgetSettings, Settings};

/// Looks an environment variable up.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A text and where it stands.
type Text = Spanned<String>;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    listen: Option<Text>,
    #[serde(default)]
    hosts: Vec<Text>,
    #[serde(default)]
    durability: DurabilityConfig,
    hold: Option<Text>,
    call_time: Option<Text>,
    #[serde(default)]
    on_disconnect: OnDisconnectConfig,
    #[serde(default)]
    unknown_price: Option<Spanned<UnknownPriceConfig>>,
    estimate: Option<EstimateConfig>,
    ledger: Option<LedgerConfig>,
    #[serde(default)]
    upstream: UpstreamsConfig,
    #[serde(default)]
    budget: BTreeMap<Text, BudgetConfig>,
    #[serde(default)]
    key: Vec<KeyConfig>,
    prices: Option<PricesConfig>,
    #[serde(default)]
    runaway: OnRunawayConfig,
    #[serde(default)]
    webhook: Vec<WebhookConfig>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DurabilityConfig {
    #[default]
    Full,
    Process,
    Async,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnDisconnectConfig {
    #[default]
    Drain,
    Cancel,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnRunawayConfig {
    Off,
    #[default]
    Tell,
    Raise,
}

/// Who is told what happens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookConfig {
    url: Text,
    secret_env: Option<Text>,
    secret_file: Option<Spanned<PathBuf>>,
    events: Option<Vec<Text>>,
    min_level: Option<Text>,
    #[serde(default)]
    budgets: Vec<Text>,
    #[serde(default)]
    allow_private: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UnknownPriceConfig {
    Deny,
    Estimate,
    Free,
}

/// Dollars per million tokens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EstimateConfig {
    input: Text,
    output: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerConfig {
    path: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PricesConfig {
    overlay: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct UpstreamsConfig {
    openai: Option<UpstreamConfig>,
    anthropic: Option<UpstreamConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UpstreamConfig {
    url: Text,
    key_env: Option<Text>,
    key_file: Option<Spanned<PathBuf>>,
    #[serde(default)]
    auth: AuthConfig,
    cap_field: Option<CapFieldConfig>,
    #[serde(default = "yes")]
    include_usage: bool,
    default_tier: Option<Text>,
}

/// Which header the provider's key goes in.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AuthConfig {
    /// The one that the provider's API keys go in.
    #[default]
    ApiKey,
    /// `Authorization: Bearer`.
    Bearer,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CapFieldConfig {
    MaxTokens,
    MaxCompletionTokens,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BudgetConfig {
    cost: Option<Text>,
    tokens: Option<Text>,
    time: Option<Text>,
    active_time: Option<Text>,
    reserve: Option<Text>,
    per_call: Option<AmountsConfig>,
    #[serde(default)]
    sharing: SharingConfig,
    share: Option<Spanned<ShareConfig>>,
    guarantee: Option<Spanned<GuaranteeConfig>>,
    weight: Option<Spanned<i64>>,
    need: Option<AmountsConfig>,
    lendable: Option<Text>,
    window: Option<Text>,
    time_zone: Option<Text>,
    roll_over: Option<Text>,
    #[serde(default)]
    frozen: bool,
    /// Whether it only watches.
    #[serde(default)]
    observe: bool,
    rate_per_minute: Option<AmountsConfig>,
    levels: Option<LevelsConfig>,
    actions: Option<ActionsConfig>,
    /// Cheaper models by the names of dearer ones.
    #[serde(default)]
    fallback: BTreeMap<Text, Text>,
    notice: Option<NoticeConfig>,
    /// How long its owner is waited for when it has run out.
    ask: Option<Text>,
    /// What agents get that nobody wrote down.
    newcomers: Option<Spanned<Box<BudgetConfig>>>,
    #[serde(default)]
    children: BTreeMap<Text, BudgetConfig>,
}

/// What is said of everything that has levels, and of one resource where that differs.
#[derive(Debug)]
struct PerResource<T> {
    all: T,
    cost: Option<T>,
    tokens: Option<T>,
    active_time: Option<T>,
    time: Option<T>,
}

/// Where levels begin.
type LevelsConfig = PerResource<BeginsConfig>;

/// What is done at each level.
type ActionsConfig = PerResource<StepsConfig>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LevelsText {
    yellow: Option<Text>,
    orange: Option<Text>,
    red: Option<Text>,
    black: Option<Text>,
    cost: Option<BeginsConfig>,
    tokens: Option<BeginsConfig>,
    active_time: Option<BeginsConfig>,
    time: Option<BeginsConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BeginsConfig {
    yellow: Option<Text>,
    orange: Option<Text>,
    red: Option<Text>,
    black: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionsText {
    yellow: Option<Vec<Text>>,
    orange: Option<Vec<Text>>,
    red: Option<Vec<Text>>,
    cost: Option<StepsConfig>,
    tokens: Option<StepsConfig>,
    active_time: Option<StepsConfig>,
    time: Option<StepsConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepsConfig {
    yellow: Option<Vec<Text>>,
    orange: Option<Vec<Text>>,
    red: Option<Vec<Text>>,
}

/// How agents are told how their budget stands.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum NoticeConfig {
    Message,
    Native,
}

/// How children share what the budget has.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SharingConfig {
    #[default]
    Pool,
    Equal,
    Proportional,
    Priority,
    Fair,
    Dynamic,
    Auction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ShareConfig {
    /// The limit is carved out of the parent's.
    Static,
    /// The parent's budget is shared; the limit is a cap.
    Pool,
}

/// What the parent keeps for a child.
#[derive(Debug)]
enum GuaranteeConfig {
    /// What keeps it from starving.
    Auto,
    Amounts(AmountsConfig),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AmountsConfig {
    cost: Option<Text>,
    tokens: Option<Text>,
    active_time: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyConfig {
    name: Text,
    budget: Text,
    secret_hash: Option<Text>,
    secret_env: Option<Text>,
    /// Whether it may change its own budget too, not only what is below.
    #[serde(default)]
    owner: bool,
}

/// Reads a configuration file and everything that it names. Relative paths in it start at the
/// file's own directory.
///
/// # Errors
/// When the file cannot be read or used; the error says where and how to mend it.
pub fn load(path: &Path, environment: Environment<'_>) -> Result<Settings, ConfigError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::of_file(&file, format!("cannot be read: {error}")))?;
    parse(
        &file,
        &text,
        path.parent().unwrap_or(Path::new("")),
        environment,
    )
}

/// Reads a configuration's text. `file` names it in errors, relative paths start at `directory`.
///
/// # Errors
/// As [`load`].
pub fn parse(
    file: &str,
    text: &str,
    directory: &Path,
    environment: Environment<'_>,
) -> Result<Settings, ConfigError> {
    let source = Source { file, text };
    let config: Config = toml::from_str(text).map_err(|error| source.toml(&error))?;
    settings::resolve(&config, source, directory, environment)
}

// === impl PerResource ===

impl<T> PerResource<T> {
    /// Returns what is said of one resource alone, or of elapsed time for `None`.
    fn own(&self, of: Option<Resource>) -> Option<&T> {
        match of {
            Some(Resource::Tokens) => self.tokens.as_ref(),
            Some(Resource::Cost) => self.cost.as_ref(),
            Some(Resource::Time) => self.active_time.as_ref(),
            None => self.time.as_ref(),
        }
    }
}

impl<'de> Deserialize<'de> for LevelsConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = LevelsText::deserialize(deserializer)?;
        Ok(PerResource {
            all: BeginsConfig {
                yellow: text.yellow,
                orange: text.orange,
                red: text.red,
                black: text.black,
            },
            cost: text.cost,
            tokens: text.tokens,
            active_time: text.active_time,
            time: text.time,
        })
    }
}

impl<'de> Deserialize<'de> for ActionsConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = ActionsText::deserialize(deserializer)?;
        Ok(PerResource {
            all: StepsConfig {
                yellow: text.yellow,
                orange: text.orange,
                red: text.red,
            },
            cost: text.cost,
            tokens: text.tokens,
            active_time: text.active_time,
            time: text.time,
        })
    }
}

// === impl Deserialize for GuaranteeConfig ===

impl<'de> Deserialize<'de> for GuaranteeConfig {
    /// Untagged, but amounts keep their places.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GuaranteeVisitor)
    }
}

struct GuaranteeVisitor;

impl<'de> Visitor<'de> for GuaranteeVisitor {
    type Value = GuaranteeConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"auto\" or amounts, as in { cost = \"5\" }")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<GuaranteeConfig, E> {
        match text {
            "auto" => Ok(GuaranteeConfig::Auto),
            _ => Err(E::unknown_variant(text, &["auto"])),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<GuaranteeConfig, A::Error> {
        AmountsConfig::deserialize(MapAccessDeserializer::new(map)).map(GuaranteeConfig::Amounts)
    }
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests;
