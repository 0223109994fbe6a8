//! The webhooks as configured, with their secrets read from variables and files.

use fisc::Level;

use super::Context;
use crate::alerts::{AlertKind, Webhook, WebhookError};
use crate::config::error::nearest;
use crate::config::{ConfigError, Text, WebhookConfig};

/// Resolves the webhooks; there need be none.
pub(super) fn resolve(
    context: &Context<'_>,
    webhooks: &[WebhookConfig],
) -> Result<Vec<Webhook>, ConfigError> {
    let webhooks = webhooks.iter().map(|config| webhook(context, config));
    webhooks.collect()
}

fn webhook(context: &Context<'_>, config: &WebhookConfig) -> Result<Webhook, ConfigError> {
    let named = (config.secret_env.as_ref(), config.secret_file.as_ref());
    let secret = context.secret(named, ["secret_env", "secret_file"])?;
    let secret = secret.ok_or_else(|| {
        let error = context.error(config.url.span(), "the webhook has no secret to sign with");
        error.with_hint("make one with `openssl rand -hex 32` and name it with secret_env")
    })?;
    let webhook = Webhook::new(config.url.get_ref(), &secret, config.allow_private);
    let mut webhook = webhook.map_err(|why| {
        // A URL with a password in it is not shown.
        let span = config.url.span();
        let hidden = why == WebhookError::UserInfo;
        let place = if hidden { span.start..span.start } else { span };
        context.error(place, why.to_string())
    })?;
    if let Some(events) = &config.events {
        let kinds = events.iter().map(|event| kind(context, event));
        webhook = webhook.with_kinds(kinds.collect::<Result<Vec<_>, _>>()?);
    }
    if let Some(text) = &config.min_level {
        webhook = webhook.with_min_level(level(context, text)?);
    }
    let budgets = config.budgets.iter().map(|path| path.get_ref().clone());
    Ok(webhook.with_budgets(budgets))
}

fn kind(context: &Context<'_>, text: &Text) -> Result<AlertKind, ConfigError> {
    let names = AlertKind::ALL.map(AlertKind::name);
    AlertKind::parse(text.get_ref())
        .ok_or_else(|| unknown(context, text, "no such event", "events", &names))
}

fn level(context: &Context<'_>, text: &Text) -> Result<Level, ConfigError> {
    let names = Level::ALL.map(Level::name);
    let level = Level::ALL
        .into_iter()
        .find(|level| level.name() == text.get_ref());
    level.ok_or_else(|| unknown(context, text, "no such level", "levels", &names))
}

fn unknown(
    context: &Context<'_>,
    text: &Text,
    message: &str,
    all: &str,
    names: &[&str],
) -> ConfigError {
    let error = context.error(text.span(), message);
    error.with_hint(match nearest(text.get_ref(), names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{all}: {}", names.join(", ")),
    })
}
