//! The configuration resolved: every value read, checked and of its own type.
//!
//! Whether budgets fit into one another is judged as if nothing had been spent; what was, only the
//! books know. Nothing past this module sees the text of the file, the environment or a key in
//! the open.

mod budgets;
mod keys;
mod upstreams;
mod webhooks;

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fisc::{Durability, Terms, TokenCounting};
use fisc_core::{Money, TimeUs};
use fisc_llm::PicoUsdPerToken;
use toml::Spanned;

use super::ceiling::ceiling;
use super::error::Source;
use super::{
    Config, ConfigError, DurabilityConfig, Environment, OnDisconnectConfig, OnRunawayConfig, Text,
    UnknownPriceConfig, amounts,
};
use crate::alerts::Webhook;
use crate::policy::{Measures, OnDisconnect, OnRunaway, PATIENCE_MAX, Policy, UnknownPrice};
use crate::proxy::identify::Keyring;
use crate::secret::Secret;
use crate::upstream::Upstream;

const LISTEN: &str = "127.0.0.1:4141";
const LEDGER: &str = "fisc.db";

/// Everything that `serve` is told by its file.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Names, besides loopback's, under which requests may come.
    pub hosts: Vec<String>,
    /// When a hold or settlement counts as written.
    pub durability: Durability,
    /// The ledger file.
    pub ledger: PathBuf,
    /// Where calls go, at most one for each provider.
    pub upstreams: Vec<Upstream>,
    /// Which tokens count, for the whole tree.
    pub counting: TokenCounting,
    /// The budgets, parents before their children, the root first.
    pub budgets: Vec<BudgetSettings>,
    /// Who may call.
    pub keyring: Keyring,
    /// Prices that go before the catalogue's.
    pub price_overlay: Option<PathBuf>,
    /// What the owner decided about calls.
    pub policy: Policy,
    /// Who is told what happens.
    pub webhooks: Vec<Webhook>,
}

/// One budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetSettings {
    /// Its path, with `/` between names.
    pub path: String,
    /// What it is allowed.
    pub terms: Terms,
    /// What agents below it are allowed that nobody wrote down.
    pub newcomers: Terms,
    /// What is done about calls as it is used up; `None` is as at its parent.
    pub measures: Option<Measures>,
}

/// Where values are looked up while a configuration is resolved.
#[derive(Clone, Copy)]
struct Context<'a> {
    source: Source<'a>,
    directory: &'a Path,
    environment: Environment<'a>,
}

/// Resolves a configuration.
pub(super) fn resolve(
    config: &Config,
    source: Source<'_>,
    directory: &Path,
    environment: Environment<'_>,
) -> Result<Settings, ConfigError> {
    let context = Context {
        source,
        directory,
        environment,
    };
    let listen = context.listen(config.listen.as_ref())?;
    let (budgets, counting) = budgets::resolve(&context, &config.budget)?;
    let upstreams = upstreams::resolve(&context, &config.upstream)?;
    let keyring = keys::resolve(&context, &config.key, &budgets)?;
    let overlay = config
        .prices
        .as_ref()
        .and_then(|prices| prices.overlay.as_deref());
    let ledger = config
        .ledger
        .as_ref()
        .map_or(Path::new(LEDGER), |ledger| &ledger.path);
    Ok(Settings {
        listen,
        hosts: context.hosts(&config.hosts, listen)?,
        durability: match config.durability {
            DurabilityConfig::Full => Durability::Full,
            DurabilityConfig::Process => Durability::Process,
            DurabilityConfig::Async => Durability::Async,
        },
        ledger: directory.join(ledger),
        upstreams,
        counting,
        budgets,
        keyring,
        price_overlay: overlay.map(|path| directory.join(path)),
        policy: context.policy(config)?,
        webhooks: webhooks::resolve(&context, &config.webhook)?,
    })
}

// === impl Context ===

impl Context<'_> {
    fn error(&self, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        self.source.error(span, message)
    }

    /// Makes an error about the file as a whole.
    fn missing(&self, message: &str) -> ConfigError {
        ConfigError::of_file(self.source.file, message)
    }

    fn listen(&self, text: Option<&Text>) -> Result<SocketAddr, ConfigError> {
        let Some(text) = text else {
            return Ok(LISTEN.parse().expect("the default is an address"));
        };
        text.get_ref().parse().map_err(|_| {
            let error = self.error(text.span(), "not an address to listen on");
            error.with_hint("write an IP address and a port: 127.0.0.1:4141")
        })
    }

    /// Returns the names to answer to. The listening address is one: a browser sends it only
    /// when the page itself was loaded from it, so it cannot be rebound.
    fn hosts(&self, texts: &[Text], listen: SocketAddr) -> Result<Vec<String>, ConfigError> {
        let mut hosts = Vec::with_capacity(texts.len() + 1);
        for text in texts {
            let name = text.get_ref();
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
            if name.is_empty() || !name.chars().all(plain) {
                let error = self.error(text.span(), "not the name of a host");
                return Err(error.with_hint("write a name without a scheme: fisc.internal"));
            }
            hosts.push(name.clone());
        }
        if !listen.ip().is_unspecified() && !listen.ip().is_loopback() {
            hosts.push(listen.to_string());
        }
        Ok(hosts)
    }

    fn policy(&self, config: &Config) -> Result<Policy, ConfigError> {
        let mut policy = Policy::default();
        if let Some(text) = &config.hold {
            policy.patience = self.duration(text)?;
            if policy.patience > PATIENCE_MAX {
                let error = self.error(text.span(), "a call may wait at most 60s");
                return Err(error.with_hint("clients give up on longer silent waits"));
            }
        }
        if let Some(text) = &config.call_time {
            policy.call_time = self.duration(text)?;
            if policy.call_time.is_zero() {
                return Err(self.error(text.span(), "a call needs some time"));
            }
        }
        policy.on_disconnect = match config.on_disconnect {
            OnDisconnectConfig::Drain => OnDisconnect::Drain,
            OnDisconnectConfig::Cancel => OnDisconnect::Cancel,
        };
        policy.on_runaway = match config.runaway {
            OnRunawayConfig::Off => OnRunaway::Off,
            OnRunawayConfig::Tell => OnRunaway::Tell,
            OnRunawayConfig::Raise => OnRunaway::Raise,
        };
        policy.unknown_price = self.unknown_price(config)?;
        Ok(policy)
    }

    fn unknown_price(&self, config: &Config) -> Result<UnknownPrice, ConfigError> {
        let choice = config
            .unknown_price
            .as_ref()
            .map(|choice| (choice.get_ref(), choice.span()));
        match (choice, &config.estimate) {
            (Some((UnknownPriceConfig::Estimate, _)), Some(estimate)) => {
                let (input, output) = (self.rate(&estimate.input)?, self.rate(&estimate.output)?);
                let price = ceiling(input, output).map_err(|why| {
                    self.error(estimate.input.span(), why.to_string())
                        .with_hint(why.hint())
                })?;
                Ok(UnknownPrice::Estimate(price))
            }
            (Some((UnknownPriceConfig::Estimate, span)), None) => {
                let error = self.error(span, "nothing says how much to charge");
                Err(error.with_hint(
                    "add dollars per million tokens: estimate = { input = \"15\", \
                     output = \"75\" }",
                ))
            }
            (_, Some(estimate)) => {
                let error = self.error(estimate.input.span(), "an estimate is of no use here");
                Err(error.with_hint("add unknown_price = \"estimate\""))
            }
            (Some((UnknownPriceConfig::Free, _)), None) => Ok(UnknownPrice::Free),
            (Some((UnknownPriceConfig::Deny, _)) | None, None) => Ok(UnknownPrice::Deny),
        }
    }

    fn money(&self, text: &Text) -> Result<Money, ConfigError> {
        let money = text.get_ref().parse::<Money>();
        money.map_err(|why| {
            self.error(text.span(), why.to_string())
                .with_hint(why.hint())
        })
    }

    fn rate(&self, text: &Text) -> Result<PicoUsdPerToken, ConfigError> {
        let rate = PicoUsdPerToken::from_usd_per_mtok(text.get_ref());
        rate.map_err(|why| {
            self.error(text.span(), why.to_string())
                .with_hint(why.hint())
        })
    }

    fn time(&self, text: &Text) -> Result<TimeUs, ConfigError> {
        let time = amounts::parse_time(text.get_ref());
        time.map_err(|why| {
            self.error(text.span(), why.to_string())
                .with_hint(why.time_hint())
        })
    }

    fn duration(&self, text: &Text) -> Result<Duration, ConfigError> {
        let TimeUs(micros) = self.time(text)?;
        Ok(Duration::from_micros(micros.unsigned_abs()))
    }

    /// Looks up a variable that must be set. A text that cannot name one is not shown: it may
    /// be the secret itself.
    fn variable(&self, name: &Text) -> Result<String, ConfigError> {
        let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if name.get_ref().is_empty() || !name.get_ref().chars().all(plain) {
            let start = name.span().start;
            let error = self.error(start..start, "not the name of an environment variable");
            return Err(error.with_hint("name the variable, as in OPENAI_API_KEY, not its value"));
        }
        let value = (self.environment)(name.get_ref()).map(|value| value.trim().to_owned());
        value.filter(|value| !value.is_empty()).ok_or_else(|| {
            let message = format!("the environment variable {} is not set", name.get_ref());
            self.error(name.span(), message)
                .with_hint("set it before you start fisc")
        })
    }

    /// Reads a secret from a variable or from a file, if either is named; `words` name the
    /// settings.
    fn secret(
        &self,
        named: (Option<&Text>, Option<&Spanned<PathBuf>>),
        words: [&str; 2],
    ) -> Result<Option<Secret>, ConfigError> {
        let [by_env, by_file] = words;
        match named {
            (None, None) => Ok(None),
            (Some(name), None) => self.variable(name).map(|text| Some(Secret::new(text))),
            (None, Some(path)) => {
                let file = self.directory.join(path.get_ref());
                let text = std::fs::read_to_string(file).map_err(|why| {
                    self.error(path.span(), format!("the key file cannot be read: {why}"))
                })?;
                match text.trim() {
                    "" => Err(self.error(path.span(), "the key file is empty")),
                    text => Ok(Some(Secret::new(text))),
                }
            }
            (Some(_), Some(path)) => {
                let message = format!("both {by_env} and {by_file}; leave one out");
                Err(self.error(path.span(), message))
            }
        }
    }
}
