//! The tree of budgets as configured, flattened with parents before their children.

mod acts;
mod fit;
mod window;

use std::collections::BTreeMap;
use std::ops::Range;

use fisc::{Claim, Lendable, Limits, Permille, Sharing, State, Terms, TokenCounting, Weight};
use fisc_core::{Amount, MAX_DEPTH, Resource, Tokens, Tree, check_name};
use toml::Spanned;

use super::{BudgetSettings, Context};
use crate::config::amounts::{self, TokenAmount};
use crate::config::{
    AmountsConfig, BudgetConfig, ConfigError, GuaranteeConfig, ShareConfig, SharingConfig, Text,
};
use crate::policy::Measures;

/// What is kept for wrapping up, of every limit, where nothing else is said.
const RESERVE: Permille = Permille(50);

/// The budgets resolved so far, and what counts as a token in all of them.
#[derive(Default)]
struct Resolved {
    budgets: Vec<BudgetSettings>,
    counting: Option<TokenCounting>,
    /// The same tree with nothing spent, which judges what fits.
    tree: Tree,
}

/// Resolves the tree.
pub(super) fn resolve(
    context: &Context<'_>,
    roots: &BTreeMap<Text, BudgetConfig>,
) -> Result<(Vec<BudgetSettings>, TokenCounting), ConfigError> {
    let mut ordered = written_order(roots);
    let Some((root, config)) = ordered.next() else {
        let error = context.missing("no budget, so nothing would be limited");
        return Err(error.with_hint("add one: [budget.team] with cost = \"100\""));
    };
    if let Some((second, _)) = ordered.next() {
        let error = context.error(second.span(), "a second root; one ledger has one");
        let hint = format!(
            "put it below the first: [budget.{}.children.{}]",
            root.get_ref(),
            second.get_ref()
        );
        return Err(error.with_hint(hint));
    }
    let mut resolved = Resolved::default();
    resolved.add(context, (None, None), root, config)?;
    Ok((resolved.budgets, resolved.counting.unwrap_or_default()))
}

// === impl Resolved ===

impl Resolved {
    fn add(
        &mut self,
        context: &Context<'_>,
        (parent, above): (Option<&BudgetSettings>, Option<&Measures>),
        name: &Text,
        config: &BudgetConfig,
    ) -> Result<(), ConfigError> {
        check_name(name.get_ref()).map_err(|why| context.error(name.span(), why.to_string()))?;
        let path = match parent {
            None => name.get_ref().clone(),
            Some(parent) => format!("{}/{}", parent.path, name.get_ref()),
        };
        if path.split('/').count() > MAX_DEPTH {
            let message = format!("deeper than {MAX_DEPTH} budgets");
            return Err(context.error(name.span(), message));
        }
        let measures = acts::measures(context, config, above)?;
        let asks = measures
            .as_ref()
            .or(above)
            .is_some_and(|all| all.ask.is_some());
        let mut terms = self.terms(context, config, parent.map(|parent| &parent.terms))?;
        if asks && config.reserve.is_none() {
            // Nobody has to wrap up unless the owner says no.
            terms.reserve = Permille(0);
        }
        fit::allocate(&mut self.tree, context, &path, (name, config), terms)?;
        let mut newcomers = match &config.newcomers {
            Some(newcomers) => self.newcomers(context, newcomers, &terms)?,
            None => Terms::default(),
        };
        let own_reserve = |own: &BudgetConfig| own.reserve.is_some();
        if asks && !(config.newcomers.as_ref()).is_some_and(|own| own_reserve(own.get_ref())) {
            newcomers.reserve = Permille(0);
        }
        let settings = BudgetSettings {
            path,
            terms,
            newcomers,
            measures,
        };
        self.budgets.push(settings.clone());
        for (name, child) in written_order(&config.children) {
            let above = settings.measures.as_ref().or(above);
            self.add(context, (Some(&settings), above), name, child)?;
        }
        Ok(())
    }

    fn terms(
        &mut self,
        context: &Context<'_>,
        config: &BudgetConfig,
        parent: Option<&Terms>,
    ) -> Result<Terms, ConfigError> {
        let limits = self.limits(context, [&config.tokens, &config.cost, &config.active_time])?;
        let per_call = self.amounts(context, config.per_call.as_ref())?;
        let need = self.amounts(context, config.need.as_ref())?;
        let rate = self.amounts(context, config.rate_per_minute.as_ref())?;
        let reserve = match &config.reserve {
            Some(text) => share(context, text)?,
            None => RESERVE,
        };
        let lendable = match &config.lendable {
            Some(text) => Lendable(share(context, text)?),
            None => Lendable::default(),
        };
        let elapsed = config
            .time
            .as_ref()
            .map(|text| context.time(text))
            .transpose()?;
        let window = window::resolve(context, config, parent)?;
        let claim = self.claim(context, config, &limits, parent)?;
        window::check_claim(context, config, claim, window, parent)?;
        Ok(Terms {
            limits,
            elapsed,
            claim,
            reserve,
            per_call,
            state: if config.frozen {
                State::Frozen
            } else {
                State::Open
            },
            frozen_by: None,
            sharing: sharing(config.sharing),
            weight: weight(context, config.weight.as_ref())?,
            need,
            lendable,
            window,
            levels: acts::levels(context, config.levels.as_ref())?,
            rate,
            observed: config.observe,
        })
    }

    /// Resolves what agents get that nobody wrote down. They appear while the system runs, so
    /// nothing may be promised to them that could not fit then.
    fn newcomers(
        &mut self,
        context: &Context<'_>,
        config: &Spanned<Box<BudgetConfig>>,
        parent: &Terms,
    ) -> Result<Terms, ConfigError> {
        let own = config.get_ref();
        let inner = own.newcomers.as_ref().map(Spanned::span);
        let below = written_order(&own.children).next();
        if let Some(place) = inner.or(below.map(|(name, _)| name.span())) {
            let error = context.error(place, "newcomers are agents, with nobody below them");
            return Err(error.with_hint("write budgets with children down: children.NAME"));
        }
        if let Some(ask) = &own.ask {
            let error = context.error(ask.span(), "newcomers ask as the budget above them does");
            return Err(error.with_hint("write ask beside newcomers, not in it"));
        }
        let terms = self.terms(context, own, Some(parent))?;
        if matches!(terms.claim, Claim::Limit | Claim::Guarantee(_)) {
            let place = claim_place(own).unwrap_or(config.span());
            let error = context.error(place, "nobody knows how many newcomers there will be");
            return Err(error.with_hint("write guarantee = \"auto\": as much as fits, and a limit"));
        }
        Ok(terms)
    }

    fn claim(
        &mut self,
        context: &Context<'_>,
        config: &BudgetConfig,
        limits: &Limits,
        parent: Option<&Terms>,
    ) -> Result<Claim, ConfigError> {
        let Some(place) = claim_place(config) else {
            return Ok(Claim::Nothing);
        };
        if parent.is_none() {
            return Err(context.error(place, "the root has no parent that could keep anything"));
        }
        let guarantee = config.guarantee.as_ref().map(Spanned::get_ref);
        match (is_static(config), guarantee) {
            (true, Some(_)) => {
                let error = context.error(place, "both a static share and a guarantee");
                Err(error.with_hint("a static share keeps the whole limit; leave one out"))
            }
            (true, None) if limits.is_none() => {
                let error = context.error(place, "a static share of no limit");
                Err(error.with_hint("add the limit to carve out: cost, tokens or active_time"))
            }
            (true, None) => Ok(Claim::Limit),
            (false, Some(GuaranteeConfig::Auto)) => Ok(Claim::Automatic),
            (false, Some(GuaranteeConfig::Amounts(amounts))) => {
                let amount = self.amounts(context, Some(amounts))?.or(0);
                if amount.fits(&limits.or(i64::MAX)) {
                    Ok(guaranteed(amount))
                } else {
                    Err(context.error(place, "the guarantee is larger than the limit"))
                }
            }
            (false, None) => Ok(Claim::Nothing),
        }
    }

    fn amounts(
        &mut self,
        context: &Context<'_>,
        amounts: Option<&AmountsConfig>,
    ) -> Result<Limits, ConfigError> {
        match amounts {
            Some(given) => self.limits(context, [&given.tokens, &given.cost, &given.active_time]),
            None => Ok(Limits::NONE),
        }
    }

    fn limits(
        &mut self,
        context: &Context<'_>,
        [tokens, cost, active_time]: [&Option<Text>; 3],
    ) -> Result<Limits, ConfigError> {
        let mut limits = Limits::NONE;
        if let Some(text) = tokens {
            let Tokens(count) = self.tokens(context, text)?;
            limits = limits.with(Resource::Tokens, Some(count));
        }
        if let Some(text) = cost {
            limits = limits.with(Resource::Cost, Some(context.money(text)?.nanos()));
        }
        if let Some(text) = active_time {
            limits = limits.with(Resource::Time, Some(context.time(text)?.0));
        }
        Ok(limits)
    }

    fn tokens(&mut self, context: &Context<'_>, text: &Text) -> Result<Tokens, ConfigError> {
        let TokenAmount { counting, tokens } =
            amounts::parse_tokens(text.get_ref()).map_err(|why| {
                context
                    .error(text.span(), why.to_string())
                    .with_hint(why.tokens_hint())
            })?;
        let counting = counting.unwrap_or_default();
        if *self.counting.get_or_insert(counting) != counting {
            let error = context.error(text.span(), "counts other tokens than a budget before it");
            return Err(error.with_hint("all budgets of a tree count the same tokens"));
        }
        Ok(tokens)
    }
}

fn guaranteed(amount: Amount) -> Claim {
    if amount == Amount::ZERO {
        Claim::Nothing
    } else {
        Claim::Guarantee(amount)
    }
}

fn is_static(config: &BudgetConfig) -> bool {
    let share = config.share.as_ref().map(Spanned::get_ref);
    share == Some(&ShareConfig::Static)
}

/// Returns where a static share or else a guarantee stands: its first amount, if it has any.
fn claim_place(config: &BudgetConfig) -> Option<Range<usize>> {
    if let Some(share) = config.share.as_ref().filter(|_| is_static(config)) {
        return Some(share.span());
    }
    let guarantee = config.guarantee.as_ref()?;
    let amount = match guarantee.get_ref() {
        GuaranteeConfig::Auto => None,
        GuaranteeConfig::Amounts(amounts) => {
            let given = [&amounts.cost, &amounts.tokens, &amounts.active_time];
            given.into_iter().flatten().next().map(Text::span)
        }
    };
    Some(amount.unwrap_or(guarantee.span()))
}

fn sharing(config: SharingConfig) -> Sharing {
    match config {
        SharingConfig::Pool => Sharing::Pool,
        SharingConfig::Equal => Sharing::Equal,
        SharingConfig::Proportional => Sharing::Proportional,
        SharingConfig::Priority => Sharing::Priority,
        SharingConfig::Fair => Sharing::Fair,
        SharingConfig::Dynamic => Sharing::Dynamic,
        SharingConfig::Auction => Sharing::Auction,
    }
}

fn weight(context: &Context<'_>, config: Option<&Spanned<i64>>) -> Result<Weight, ConfigError> {
    let Some(weight) = config else {
        return Ok(Weight::default());
    };
    if let Ok(units @ 1..) = u16::try_from(*weight.get_ref()) {
        return Ok(Weight(units));
    }
    let error = context.error(weight.span(), "no weight between 1 and 65535");
    Err(error.with_hint("a budget of weight 2 counts like two of weight 1"))
}

fn share(context: &Context<'_>, text: &Text) -> Result<Permille, ConfigError> {
    amounts::parse_share(text.get_ref()).map_err(|why| {
        context
            .error(text.span(), why.to_string())
            .with_hint(why.share_hint())
    })
}

/// Goes through budgets in the order of the file, so that they are allocated in it.
fn written_order(
    budgets: &BTreeMap<Text, BudgetConfig>,
) -> impl Iterator<Item = (&Text, &BudgetConfig)> {
    let mut ordered: Vec<_> = budgets.iter().collect();
    ordered.sort_by_key(|(name, _)| name.span().start);
    ordered.into_iter()
}
