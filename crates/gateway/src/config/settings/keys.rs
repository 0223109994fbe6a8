//! The keys as configured: names, hashes, and the budgets that they stand for.

use std::collections::HashSet;

use super::{BudgetSettings, Context};
use crate::config::error::nearest;
use crate::config::{ConfigError, KeyConfig, Text};
use crate::proxy::identify::{KEY_PREFIX, Keyring, VirtualKey};
use crate::secret::{SecretHash, check_strength};

const HASH_HINT: &str = "make a secret with `openssl rand -hex 32` and hash it with \
     `printf %s SECRET | sha256sum`";

/// Resolves the keys; at least one is needed, since nobody is served without.
pub(super) fn resolve(
    context: &Context<'_>,
    keys: &[KeyConfig],
    budgets: &[BudgetSettings],
) -> Result<Keyring, ConfigError> {
    let mut keyring = Keyring::new();
    let mut names = HashSet::new();
    for key in keys {
        let id = id(context, &key.name)?;
        if !names.insert(id.clone()) {
            return Err(context.error(key.name.span(), "a second key of this name"));
        }
        let root = budget(context, &key.budget, budgets)?;
        let hash = hash(context, key)?;
        let virtual_key = VirtualKey { id, hash, root };
        keyring = if key.owner {
            keyring.with_owner_key(virtual_key)
        } else {
            keyring.with_key(virtual_key)
        };
    }
    if keyring.is_empty() {
        let error = context.missing("no key, so nobody could call");
        return Err(error.with_hint("add [[key]] with name, budget and secret_hash"));
    }
    Ok(keyring)
}

fn id(context: &Context<'_>, name: &Text) -> Result<String, ConfigError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let valid = (1..=64).contains(&name.get_ref().len()) && name.get_ref().chars().all(plain);
    if valid {
        return Ok(name.get_ref().clone());
    }
    let error = context.error(name.span(), "not the name of a key");
    Err(error.with_hint("use letters, digits, - and _; callers send sk-fisc-NAME.SECRET"))
}

fn budget(
    context: &Context<'_>,
    path: &Text,
    budgets: &[BudgetSettings],
) -> Result<String, ConfigError> {
    if budgets.iter().any(|budget| budget.path == *path.get_ref()) {
        return Ok(path.get_ref().clone());
    }
    let known: Vec<&str> = budgets.iter().map(|budget| budget.path.as_str()).collect();
    let error = context.error(path.span(), "no budget has this path");
    Err(match nearest(path.get_ref(), &known) {
        Some(near) => error.with_hint(format!("did you mean `{near}`?")),
        None => error.with_hint(format!("budgets: {}", known.join(", "))),
    })
}

fn hash(context: &Context<'_>, key: &KeyConfig) -> Result<SecretHash, ConfigError> {
    match (&key.secret_hash, &key.secret_env) {
        (Some(text), None) => {
            // Not shown when it is no hash: it may be the secret itself.
            let place = text.span().start..text.span().start;
            let hash = SecretHash::parse(text.get_ref()).ok_or_else(|| {
                let error = context.error(place, "not a SHA-256 hash of 64 hexadecimal digits");
                error.with_hint(HASH_HINT)
            })?;
            if hash.is_well_known() {
                let error = context.error(text.span(), "the hash of a well-known default");
                return Err(error.with_hint(HASH_HINT));
            }
            Ok(hash)
        }
        (None, Some(name)) => {
            let value = context.variable(name)?;
            let whole = format!("{KEY_PREFIX}{}.", key.name.get_ref());
            let secret = value.strip_prefix(&whole).unwrap_or(&value);
            check_strength(secret).map_err(|why| {
                let error = context.error(name.span(), why.to_string());
                error.with_hint("make one with `openssl rand -hex 32`")
            })?;
            Ok(SecretHash::of(secret))
        }
        (Some(_), Some(name)) => Err(context.error(
            name.span(),
            "both secret_hash and secret_env; leave one out",
        )),
        (None, None) => {
            let error = context.error(key.name.span(), "the key has no secret");
            Err(error.with_hint("add secret_hash = \"sha256:…\" or secret_env = \"VARIABLE\""))
        }
    }
}
