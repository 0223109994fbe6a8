//! What `fisc run` was told, resolved: every amount read, every policy decided.

use std::time::Duration;

use fisc::{
    Claim, Durability, Level, Limits, Money, Permille, Resource, Terms, TimeUs, TokenCounting,
};
use fisc_gateway::config::ceiling::ceiling;
use fisc_gateway::{Action, Measures, NoticeForm, Policy, Provider, UnknownPrice};
use fisc_llm::{PicoUsdPerToken, PriceBook};

use crate::amounts::{
    AmountError, BudgetSpec, Limit, LimitsSpec, PlaceSpec, parse_budget, parse_cost,
    parse_duration, parse_path, parse_time, parse_tokens,
};
use crate::args::{DurabilityArg, NoticeArg, OnLimit, RunArgs, UnknownPriceArg};
use crate::env_file;
use crate::failure::Failure;
use crate::wiring::parse_upstream;

/// The name of a run's own budget.
pub(super) const ROOT: &str = "run";

/// What is kept of every limit for one last call of each agent.
const FINALIZE_RESERVE: Permille = Permille(50);

/// How long calls wait for an answer where nothing else is said: shorter than clients wait, which
/// is 10 minutes for the official SDKs.
const ASK: Duration = Duration::from_mins(9);

/// What a run was told.
pub(super) struct Plan {
    /// The agent whose calls name none, its names joined by `.`.
    pub(super) agent: String,
    /// The terms of the run's own budget.
    pub(super) root: Terms,
    /// The budgets below it, by their names from it down.
    pub(super) budgets: Vec<(Vec<String>, Terms)>,
    /// Which tokens count, if anything said it.
    pub(super) counting: Option<TokenCounting>,
    pub(super) durability: Durability,
    pub(super) policy: Policy,
    pub(super) grace: Duration,
    pub(super) upstreams: Vec<(Provider, String)>,
    pub(super) env_file: Vec<(String, String)>,
    overlay: Option<String>,
    prices_version: String,
}

// === impl Plan ===

impl Plan {
    pub(super) fn resolve(args: &RunArgs) -> Result<Plan, Failure> {
        let specs = args
            .budgets
            .iter()
            .map(|text| parse_budget(text).map_err(|error| Failure::amount("--budget", &error)));
        let specs: Vec<BudgetSpec> = specs.collect::<Result<_, _>>()?;
        let own = own_limits(args)?;
        let counting = counting(&own, &specs)?;
        let reserve = match args.on_limit {
            OnLimit::Finalize => FINALIZE_RESERVE,
            OnLimit::Stop | OnLimit::Ask | OnLimit::Observe => Permille(0),
        };
        let budgets = specs
            .iter()
            .map(|spec| (spec.path.clone(), placed(spec, reserve)));
        let agent = named("--agent", parse_path(&args.agent))?;
        let upstreams = args.upstream.iter().map(|text| {
            parse_upstream(text)
                .map_err(|error| Failure::usage(error.to_string()).hint(error.hint()))
        });
        let overlay = args.prices.as_ref().map(|path| {
            std::fs::read_to_string(path).map_err(|error| {
                Failure::configuration(format!("cannot read {}: {error}", path.display()))
            })
        });
        let mut plan = Plan {
            agent: agent.join("."),
            root: Terms {
                sharing: args.share.into(),
                observed: args.on_limit == OnLimit::Observe,
                ..terms(&own, reserve)
            },
            budgets: budgets.collect(),
            counting,
            durability: durability(args.durability),
            policy: policy(args)?,
            grace: duration("--grace", &args.grace)?,
            upstreams: upstreams.collect::<Result<_, _>>()?,
            env_file: read_env_file(args)?,
            overlay: overlay.transpose()?,
            prices_version: String::new(),
        };
        plan.price_book()?
            .version()
            .clone_into(&mut plan.prices_version);
        Ok(plan)
    }

    /// Returns the prices: the catalogue's, and the user's before them.
    pub(super) fn price_book(&self) -> Result<PriceBook, Failure> {
        match &self.overlay {
            None => Ok(PriceBook::builtin()),
            Some(overlay) => PriceBook::with_overlay(overlay)
                .map_err(|error| Failure::configuration(format!("--prices: {error}"))),
        }
    }

    pub(super) fn prices_version(&self) -> &str {
        &self.prices_version
    }
}

fn own_limits(args: &RunArgs) -> Result<LimitsSpec, Failure> {
    let cost = args
        .cost
        .as_deref()
        .map(|text| named("--cost", parse_cost(text)));
    let tokens = args
        .tokens
        .as_deref()
        .map(|text| named("--tokens", parse_tokens(text)));
    let time = args
        .time
        .as_deref()
        .map(|text| named("--time", parse_time(text)));
    let active = args.active_time.as_deref();
    let active_time = active.map(|text| named("--active-time", parse_time(text)));
    Ok(LimitsSpec {
        cost: cost.transpose()?.map(Limit::At),
        tokens: tokens.transpose()?.map(Limit::At),
        time: time.transpose()?.map(Limit::At),
        active_time: active_time.transpose()?.map(Limit::At),
    })
}

/// Finds the one way in which tokens count: amounts of different countings do not add up.
fn counting(own: &LimitsSpec, specs: &[BudgetSpec]) -> Result<Option<TokenCounting>, Failure> {
    let mut found: Option<TokenCounting> = None;
    let all = std::iter::once(own).chain(specs.iter().map(|spec| &spec.limits));
    let limits = all.filter_map(|limits| at(limits.tokens));
    let needs = specs.iter().filter_map(|spec| spec.place.need_tokens);
    for counting in limits.chain(needs).filter_map(|amount| amount.counting) {
        if found.is_some_and(|other| other != counting) {
            let failure = Failure::usage("tokens are counted in two ways");
            return Err(failure.hint("use the same of fresh:, total:, in: and out: everywhere"));
        }
        found = Some(counting);
    }
    Ok(found)
}

fn terms(spec: &LimitsSpec, reserve: Permille) -> Terms {
    Terms {
        limits: Limits::NONE
            .with(Resource::Cost, at(spec.cost).map(Money::nanos))
            .with(
                Resource::Tokens,
                at(spec.tokens).map(|amount| amount.tokens.0),
            )
            .with(Resource::Time, at(spec.active_time).map(|time| time.0)),
        elapsed: at(spec.time),
        reserve,
        ..Terms::default()
    }
}

/// Returns the terms of a budget below the run's own.
fn placed(spec: &BudgetSpec, reserve: Permille) -> Terms {
    let PlaceSpec {
        is_static,
        weight,
        need,
        need_tokens,
    } = spec.place;
    let claim = if is_static {
        Claim::Limit
    } else {
        Claim::Nothing
    };
    Terms {
        claim,
        weight: weight.unwrap_or_default(),
        need: Limits::NONE
            .with(Resource::Cost, need.map(Money::nanos))
            .with(Resource::Tokens, need_tokens.map(|need| need.tokens.0)),
        ..terms(&spec.limits, reserve)
    }
}

fn at<T>(limit: Option<Limit<T>>) -> Option<T> {
    match limit {
        Some(Limit::At(units)) => Some(units),
        Some(Limit::Unlimited) | None => None,
    }
}

fn policy(args: &RunArgs) -> Result<Policy, Failure> {
    let unknown_price = match (args.unknown_price, &args.estimate) {
        (Some(UnknownPriceArg::Estimate), Some(text)) => {
            let rate = PicoUsdPerToken::from_usd_per_mtok(text).map_err(|error| {
                Failure::usage(format!("--estimate: {error}")).hint(error.hint())
            })?;
            let ceiling = ceiling(rate, rate);
            let ceiling = ceiling.map_err(|error| Failure::usage(format!("--estimate: {error}")));
            UnknownPrice::Estimate(ceiling?)
        }
        (Some(UnknownPriceArg::Estimate), None) => {
            let failure = Failure::usage("--unknown-price estimate needs an estimate");
            return Err(failure.hint("add --estimate 75, the dollars per million tokens"));
        }
        (_, Some(_)) => {
            let failure = Failure::usage("--estimate is of no use here");
            return Err(failure.hint("add --unknown-price estimate"));
        }
        (Some(UnknownPriceArg::Free), None) => UnknownPrice::Free,
        (Some(UnknownPriceArg::Deny) | None, None) => UnknownPrice::Deny,
    };
    Ok(Policy {
        patience: duration("--hold", &args.hold)?,
        unknown_price,
        max_refusals: Some(args.max_refusals),
        usual: measures(args)?,
        ..Policy::default()
    })
}

/// Returns what is done about calls as the run's budget is used up.
fn measures(args: &RunArgs) -> Result<Measures, Failure> {
    let mut measures = Measures {
        ask: asking(args)?,
        ..Measures::default()
    };
    for text in &args.fallback_model {
        let pair = text.split_once('=');
        let Some((from, to)) = pair.filter(|(from, to)| !from.is_empty() && !to.is_empty()) else {
            let failure = Failure::usage(format!("--fallback-model: {text:?} names no two models"));
            return Err(failure.hint("write DEARER=CHEAPER, as in 'gpt-5*=gpt-5-mini'"));
        };
        (measures.fallbacks.0).push((from.to_owned(), to.to_owned()));
    }
    let Some(form) = args.notice else {
        return Ok(measures);
    };
    measures.notice = match form {
        NoticeArg::Message => NoticeForm::Message,
        NoticeArg::Native => NoticeForm::Native,
    };
    for resource in Resource::ALL.map(Some).into_iter().chain([None]) {
        let notice = vec![Action::Notice];
        measures.actions.set(Level::Yellow, resource, notice);
    }
    Ok(measures)
}

/// Returns how long calls wait for an answer when the run's budget has run out.
fn asking(args: &RunArgs) -> Result<Option<Duration>, Failure> {
    let text = match (args.on_limit, &args.ask) {
        (OnLimit::Ask, Some(text)) => text,
        (OnLimit::Ask, None) => return Ok(Some(ASK)),
        (_, None) => return Ok(None),
        (_, Some(_)) => {
            let failure = Failure::usage("--ask: nobody is asked");
            return Err(failure.hint("add --on-limit ask"));
        }
    };
    duration("--ask", text).map(Some)
}

fn read_env_file(args: &RunArgs) -> Result<Vec<(String, String)>, Failure> {
    let Some(path) = &args.env_file else {
        return Ok(Vec::new());
    };
    env_file::read(path)
        .map_err(|error| Failure::configuration(error.to_string()).hint(error.hint()))
}

fn durability(arg: DurabilityArg) -> Durability {
    match arg {
        DurabilityArg::Full => Durability::Full,
        DurabilityArg::Process => Durability::Process,
        DurabilityArg::Async => Durability::Async,
    }
}

fn duration(option: &str, text: &str) -> Result<Duration, Failure> {
    let TimeUs(micros) = named(option, parse_duration(text))?;
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

fn named<T>(option: &str, parsed: Result<T, AmountError>) -> Result<T, Failure> {
    parsed.map_err(|error| Failure::amount(option, &error))
}
