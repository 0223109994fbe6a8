//! Terms as the journal keeps them: one line of `key=value` pairs, stable across versions.
//!
//! Unknown keys are an error: a ledger of a later version must not be read as if what it says
//! of a limit were not there.

use fisc_core::{Amount, Claim, Limits, Permille, Resource, Terms, TimeUs};

/// Writes terms as one line; reading gives the same terms back.
pub(crate) fn write(terms: &Terms) -> String {
    let mut pairs = Vec::new();
    push_limits(&mut pairs, "", &terms.limits);
    if let Some(elapsed) = terms.elapsed {
        pairs.push(format!("elapsed={}", elapsed.0));
    }
    match terms.claim {
        Claim::Nothing => {}
        Claim::Limit => pairs.push("claim=limit".to_owned()),
        Claim::Guarantee(amount) => {
            let [tokens, cost, time] = amount.raw();
            pairs.push(format!("guarantee={tokens},{cost},{time}"));
        }
    }
    if terms.reserve != Permille(0) {
        pairs.push(format!("reserve={}", terms.reserve.0));
    }
    push_limits(&mut pairs, "per_call.", &terms.per_call);
    pairs.join(" ")
}

/// Reads terms as a ledger keeps them; an error names the pair that cannot be read.
pub fn read(text: &str) -> Result<Terms, String> {
    let mut terms = Terms::default();
    for pair in text.split_whitespace() {
        read_pair(&mut terms, pair).ok_or_else(|| pair.to_owned())?;
    }
    Ok(terms)
}

fn push_limits(pairs: &mut Vec<String>, prefix: &str, limits: &Limits) {
    for resource in Resource::ALL {
        if let Some(limit) = limits.get(resource) {
            pairs.push(format!("{prefix}{resource}={limit}"));
        }
    }
}

fn read_pair(terms: &mut Terms, pair: &str) -> Option<()> {
    let (key, value) = pair.split_once('=')?;
    match key {
        "elapsed" => terms.elapsed = Some(TimeUs(value.parse().ok()?)),
        "claim" if value == "limit" => terms.claim = Claim::Limit,
        "guarantee" => terms.claim = Claim::Guarantee(read_amount(value)?),
        "reserve" => terms.reserve = Permille(value.parse().ok()?),
        _ => match key.strip_prefix("per_call.") {
            Some(name) => read_limit(&mut terms.per_call, name, value)?,
            None => read_limit(&mut terms.limits, key, value)?,
        },
    }
    Some(())
}

fn read_limit(limits: &mut Limits, name: &str, value: &str) -> Option<()> {
    let resource = Resource::ALL
        .into_iter()
        .find(|resource| resource.name() == name)?;
    *limits = limits.with(resource, Some(value.parse().ok()?));
    Some(())
}

fn read_amount(value: &str) -> Option<Amount> {
    let mut raw = [0i64; Resource::COUNT];
    let mut parts = value.split(',');
    for units in &mut raw {
        *units = parts.next()?.parse().ok()?;
    }
    parts.next().is_none().then(|| Amount::from_raw(raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_survive_the_journal() {
        let all = Terms {
            limits: Limits::NONE
                .with(Resource::Tokens, Some(5))
                .with(Resource::Cost, Some(0))
                .with(Resource::Time, Some(i64::MAX)),
            elapsed: Some(TimeUs(7)),
            claim: Claim::Guarantee(Amount::from_raw([1, 2, 3])),
            reserve: Permille(50),
            per_call: Limits::NONE.with(Resource::Cost, Some(9)),
        };
        let carved = Terms {
            claim: Claim::Limit,
            ..all
        };
        for terms in [Terms::default(), all, carved] {
            assert_eq!(read(&write(&terms)), Ok(terms));
        }
    }

    #[test]
    fn what_a_later_version_wrote_is_not_ignored() {
        assert_eq!(
            read("tokens=5 window=daily"),
            Err("window=daily".to_owned())
        );
        assert_eq!(read("guarantee=1,2"), Err("guarantee=1,2".to_owned()));
    }
}
