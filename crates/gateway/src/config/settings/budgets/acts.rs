//! Levels and actions as configured: where levels begin, and what is done about calls then.

use fisc::{Level, Levels, Permille, Resource, Thresholds};

use super::{Context, share};
use crate::config::{
    ActionsConfig, BeginsConfig, BudgetConfig, ConfigError, LevelsConfig, NoticeConfig,
    StepsConfig, Text,
};
use crate::policy::{Action, Actions, Fallbacks, Measures, NoticeForm};

/// Everything that has levels: resources, and elapsed time.
const MEASURED: [Option<Resource>; 4] = [
    Some(Resource::Tokens),
    Some(Resource::Cost),
    Some(Resource::Time),
    None,
];

/// Resolves where the levels of a budget begin; what it does not say is as at its parent.
pub(super) fn levels(
    context: &Context<'_>,
    config: Option<&LevelsConfig>,
) -> Result<Levels, ConfigError> {
    let Some(config) = config else {
        return Ok(Levels::default());
    };
    let mut levels = Levels::default();
    for measured in MEASURED {
        let own = config.own(measured).unwrap_or(&config.all);
        let (own, all) = (own.texts(), config.all.texts());
        let texts = std::array::from_fn(|level| own[level].or(all[level]));
        if texts.iter().all(Option::<&Text>::is_none) {
            continue;
        }
        let begins = thresholds(context, texts)?;
        levels = levels.with(measured, Some(begins));
    }
    Ok(levels)
}

fn thresholds(context: &Context<'_>, texts: [Option<&Text>; 4]) -> Result<Thresholds, ConfigError> {
    let Thresholds(mut begins) = Thresholds::default();
    let mut before = Permille(0);
    for (begin, text) in begins.iter_mut().zip(texts) {
        let Some(text) = text else {
            // What is not said makes way for what is.
            *begin = (*begin).max(before);
            before = *begin;
            continue;
        };
        *begin = share(context, text)?;
        if *begin < before {
            let error = context.error(text.span(), "begins before the level below it");
            return Err(error.with_hint("yellow, orange, red and black begin in this order"));
        }
        before = *begin;
    }
    Ok(Thresholds(begins))
}

/// Resolves what is done about calls of a budget; `None` when it says nothing of its own, so that
/// it is as above it. What it leaves out of what it says is as its parent has it.
pub(super) fn measures(
    context: &Context<'_>,
    config: &BudgetConfig,
    above: Option<&Measures>,
) -> Result<Option<Measures>, ConfigError> {
    let BudgetConfig {
        actions,
        fallback,
        notice,
        ask,
        ..
    } = config;
    if actions.is_none() && fallback.is_empty() && notice.is_none() && ask.is_none() {
        return Ok(None);
    }
    let mut measures = above.cloned().unwrap_or_default();
    if let Some(config) = actions {
        set_actions(context, config, &mut measures.actions)?;
    }
    if !fallback.is_empty() {
        let mut ordered: Vec<(&Text, &Text)> = fallback.iter().collect();
        ordered.sort_by_key(|(from, _)| from.span().start);
        let pair = |(from, to): (&Text, &Text)| (from.get_ref().clone(), to.get_ref().clone());
        measures.fallbacks = Fallbacks(ordered.into_iter().map(pair).collect());
    }
    match notice {
        Some(NoticeConfig::Message) => measures.notice = NoticeForm::Message,
        Some(NoticeConfig::Native) => measures.notice = NoticeForm::Native,
        None => {}
    }
    if let Some(text) = ask {
        let time = context.duration(text)?;
        measures.ask = (!time.is_zero()).then_some(time);
    }
    Ok(Some(measures))
}

fn set_actions(
    context: &Context<'_>,
    config: &ActionsConfig,
    actions: &mut Actions,
) -> Result<(), ConfigError> {
    for measured in MEASURED {
        let own = config.own(measured);
        // What is said of everything is meant for what can be saved; elapsed time cannot.
        let all = Some(&config.all).filter(|_| measured.is_some());
        for level in Actions::LEVELS {
            let of_own = own.and_then(|steps| steps.at(level));
            let Some(texts) = of_own.or(all.and_then(|steps| steps.at(level))) else {
                continue;
            };
            let read = |text: &Text| action(context, text);
            let parsed: Result<Vec<Action>, ConfigError> = texts.iter().map(read).collect();
            actions.set(level, measured, parsed?);
        }
    }
    Ok(())
}

fn action(context: &Context<'_>, text: &Text) -> Result<Action, ConfigError> {
    Action::parse(text.get_ref()).ok_or_else(|| {
        let names = Action::NAMED.map(|action| action.to_string()).join(", ");
        context
            .error(text.span(), "no such action")
            .with_hint(format!(
                "there are {names}, and output:1000 for a cap of 1000 tokens"
            ))
    })
}

// === impl BeginsConfig ===

impl BeginsConfig {
    fn texts(&self) -> [Option<&Text>; 4] {
        [&self.yellow, &self.orange, &self.red, &self.black].map(Option::as_ref)
    }
}

// === impl StepsConfig ===

impl StepsConfig {
    fn at(&self, level: Level) -> Option<&Vec<Text>> {
        match level {
            Level::Yellow => self.yellow.as_ref(),
            Level::Orange => self.orange.as_ref(),
            Level::Red => self.red.as_ref(),
            Level::Green | Level::Black => None,
        }
    }
}
