//! The tree of budgets as configured, flattened with parents before their children.

use std::collections::BTreeMap;

use fisc::{Claim, Limits, Permille, Terms, TokenCounting};
use fisc_core::{Amount, MAX_DEPTH, Resource, Tokens, check_name};

use super::{BudgetSettings, Context};
use crate::config::amounts::{self, TokenAmount};
use crate::config::{AmountsConfig, BudgetConfig, ConfigError, ShareConfig, Text};

/// What is kept for wrapping up, of every limit, where nothing else is said.
const RESERVE: Permille = Permille(50);

/// The budgets resolved so far, and what counts as a token in all of them.
#[derive(Default)]
struct Resolved {
    budgets: Vec<BudgetSettings>,
    counting: Option<TokenCounting>,
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
    resolved.add(context, "", root, config)?;
    Ok((resolved.budgets, resolved.counting.unwrap_or_default()))
}

// === impl Resolved ===

impl Resolved {
    fn add(
        &mut self,
        context: &Context<'_>,
        parent: &str,
        name: &Text,
        config: &BudgetConfig,
    ) -> Result<(), ConfigError> {
        check_name(name.get_ref()).map_err(|why| context.error(name.span(), why.to_string()))?;
        let path = match parent {
            "" => name.get_ref().clone(),
            parent => format!("{parent}/{}", name.get_ref()),
        };
        if path.split('/').count() > MAX_DEPTH {
            let message = format!("deeper than {MAX_DEPTH} budgets");
            return Err(context.error(name.span(), message));
        }
        let terms = self.terms(context, config, parent.is_empty())?;
        self.budgets.push(BudgetSettings {
            path: path.clone(),
            terms,
        });
        for (name, child) in written_order(&config.children) {
            self.add(context, &path, name, child)?;
        }
        Ok(())
    }

    fn terms(
        &mut self,
        context: &Context<'_>,
        config: &BudgetConfig,
        is_root: bool,
    ) -> Result<Terms, ConfigError> {
        let limits = self.limits(context, [&config.tokens, &config.cost, &config.active_time])?;
        let per_call = match &config.per_call {
            Some(amounts) => self.amounts(context, amounts)?,
            None => Limits::NONE,
        };
        let reserve = match &config.reserve {
            Some(text) => share(context, text)?,
            None => RESERVE,
        };
        let elapsed = config
            .time
            .as_ref()
            .map(|text| context.time(text))
            .transpose()?;
        let claim = self.claim(context, config, &limits, is_root)?;
        Ok(Terms {
            limits,
            elapsed,
            claim,
            reserve,
            per_call,
            ..Terms::default()
        })
    }

    fn claim(
        &mut self,
        context: &Context<'_>,
        config: &BudgetConfig,
        limits: &Limits,
        is_root: bool,
    ) -> Result<Claim, ConfigError> {
        let is_static =
            |share: &&toml::Spanned<ShareConfig>| *share.get_ref() == ShareConfig::Static;
        let carved = config.share.as_ref().filter(is_static);
        let Some(place) = carved
            .map(toml::Spanned::span)
            .or_else(|| guarantee_place(config))
        else {
            return Ok(Claim::Nothing);
        };
        if is_root {
            return Err(context.error(place, "the root has no parent that could keep anything"));
        }
        match (carved, &config.guarantee) {
            (Some(_), Some(_)) => {
                let error = context.error(place, "both a static share and a guarantee");
                Err(error.with_hint("a static share keeps the whole limit; leave one out"))
            }
            (Some(_), None) if limits.is_none() => {
                let error = context.error(place, "a static share of no limit");
                Err(error.with_hint("add the limit to carve out: cost, tokens or active_time"))
            }
            (Some(_), None) => Ok(Claim::Limit),
            (None, Some(amounts)) => {
                let amount = self.amounts(context, amounts)?.or(0);
                let fits = |resource: &Resource| {
                    limits
                        .get(*resource)
                        .is_none_or(|limit| amount.get(*resource) <= limit)
                };
                if Resource::ALL.iter().all(fits) {
                    Ok(guaranteed(amount))
                } else {
                    Err(context.error(place, "the guarantee is larger than the limit"))
                }
            }
            (None, None) => Ok(Claim::Nothing),
        }
    }

    fn amounts(
        &mut self,
        context: &Context<'_>,
        amounts: &AmountsConfig,
    ) -> Result<Limits, ConfigError> {
        self.limits(
            context,
            [&amounts.tokens, &amounts.cost, &amounts.active_time],
        )
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

/// Returns where a guarantee's first amount stands.
fn guarantee_place(config: &BudgetConfig) -> Option<std::ops::Range<usize>> {
    let amounts = config.guarantee.as_ref()?;
    let given = [&amounts.cost, &amounts.tokens, &amounts.active_time];
    Some(given.into_iter().flatten().next().map_or(0..0, Text::span))
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
