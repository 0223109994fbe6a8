//! Terms as the journal keeps them: one line of `key=value` pairs, stable across versions.
//!
//! Unknown keys are an error: a ledger of a later version must not be read as if what it says
//! of a limit were not there.

use fisc_core::sharing::Sharing;
use fisc_core::{
    Amount, BudgetId, Claim, Freezer, Kept, Lendable, Levels, Limits, Period, Permille, Resource,
    Span, State, Terms, Thresholds, TimeUs, Timestamp, Weight, Window, Zone,
};

/// What a journal keeps of a budget beside its terms, on the same line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Standing {
    /// What the tree decided about it.
    pub(crate) kept: Kept,
    /// To whom it owes what.
    pub(crate) debts: Vec<(BudgetId, Amount)>,
}

/// Writes terms and what the tree decided beside them as one line.
pub(crate) fn write_standing(terms: &Terms, standing: &Standing) -> String {
    let Standing { kept, debts } = standing;
    let mut pairs = vec![write(terms)];
    let mut push = |key: &str, amount: Amount| {
        if amount != Amount::ZERO {
            pairs.push(format!("{key}={}", amount_text(amount)));
        }
    };
    push("now.loaned", kept.loaned);
    push("now.past", kept.past_spent);
    push("now.carried", kept.carried);
    if let Some(span) = kept.window {
        pairs.push(format!("now.window={},{}", span.start.0, span.end.0));
    }
    for (key, credits) in [("credits", kept.credits), ("undivided", kept.undivided)] {
        if credits != 0 {
            pairs.push(format!("now.{key}={credits}"));
        }
    }
    if kept.finalized {
        pairs.push("now.finalized=yes".to_owned());
    }
    for (lender, amount) in debts {
        pairs.push(format!("now.owes={}:{}", lender.0, amount_text(*amount)));
    }
    pairs.retain(|pair| !pair.is_empty());
    pairs.join(" ")
}

/// Reads what [`write_standing`] wrote beside the terms; an error names the pair that cannot be
/// read.
pub(crate) fn read_standing(text: &str) -> Result<Standing, String> {
    let mut standing = Standing::default();
    for pair in text.split_whitespace() {
        if let Some(own) = pair.strip_prefix("now.") {
            read_own(&mut standing, own).ok_or_else(|| pair.to_owned())?;
        }
    }
    Ok(standing)
}

/// Writes terms as one line; reading gives the same terms back.
pub fn write(terms: &Terms) -> String {
    let mut pairs = Vec::new();
    push_limits(&mut pairs, "", &terms.limits);
    if let Some(elapsed) = terms.elapsed {
        pairs.push(format!("elapsed={}", elapsed.0));
    }
    match terms.claim {
        // The tree fixes an automatic guarantee before it is written.
        Claim::Nothing | Claim::Automatic => {}
        Claim::Limit => pairs.push("claim=limit".to_owned()),
        Claim::Guarantee(amount) => {
            pairs.push(format!("guarantee={}", amount_text(amount)));
        }
    }
    if terms.reserve != Permille(0) {
        pairs.push(format!("reserve={}", terms.reserve.0));
    }
    push_limits(&mut pairs, "per_call.", &terms.per_call);
    push_limits(&mut pairs, "need.", &terms.need);
    push_sharing(&mut pairs, terms);
    push_limits(&mut pairs, "rate.", &terms.rate);
    push_levels(&mut pairs, &terms.levels);
    if terms.observed {
        pairs.push("observed=yes".to_owned());
    }
    pairs.join(" ")
}

fn push_levels(pairs: &mut Vec<String>, levels: &Levels) {
    for (name, measured) in measured() {
        if let Some(Thresholds([yellow, orange, red, black])) = levels.get(measured) {
            let (yellow, orange, red, black) = (yellow.0, orange.0, red.0, black.0);
            pairs.push(format!("levels.{name}={yellow},{orange},{red},{black}"));
        }
    }
}

/// What levels are measured of, by name: every resource, and elapsed time.
fn measured() -> impl Iterator<Item = (&'static str, Option<Resource>)> {
    let resources = Resource::ALL.into_iter();
    let resources = resources.map(|resource| (resource.name(), Some(resource)));
    resources.chain([("elapsed", None)])
}

/// Writes what is not as it usually is.
fn push_sharing(pairs: &mut Vec<String>, terms: &Terms) {
    match terms.state {
        State::Open => {}
        State::Frozen => pairs.push("state=frozen".to_owned()),
        State::Released => pairs.push("state=released".to_owned()),
    }
    if let Some(Freezer { root, delegate }) = terms.frozen_by {
        let kind = if delegate { "delegate" } else { "owner" };
        pairs.push(format!("frozen_by={kind},{}", root.0));
    }
    if terms.sharing != Sharing::default() {
        pairs.push(format!("share={}", terms.sharing.name()));
    }
    if terms.weight != Weight::default() {
        pairs.push(format!("weight={}", terms.weight.0));
    }
    if terms.lendable != Lendable::default() {
        pairs.push(format!("lendable={}", terms.lendable.0.0));
    }
    match terms.window {
        Window::None => {}
        Window::Rolling(span) => pairs.push(format!("rolling={}", span.0)),
        Window::Calendar {
            period,
            zone,
            roll_over,
        } => {
            let (period, zone) = (period.name(), zone.name());
            pairs.push(format!("window={period},{},{zone}", roll_over.0));
        }
    }
}

/// Reads terms as a ledger keeps them; an error names the pair that cannot be read.
pub fn read(text: &str) -> Result<Terms, String> {
    let mut terms = Terms::default();
    let own = |pair: &&str| !pair.starts_with("now.");
    for pair in text.split_whitespace().filter(own) {
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
        "state" if value == "frozen" => terms.state = State::Frozen,
        "state" if value == "released" => terms.state = State::Released,
        "frozen_by" => terms.frozen_by = Some(read_freezer(value)?),
        "share" => terms.sharing = Sharing::named(value)?,
        "weight" => terms.weight = Weight(value.parse().ok()?),
        "lendable" => terms.lendable = Lendable(Permille(value.parse().ok()?)),
        "rolling" => terms.window = Window::Rolling(TimeUs(value.parse().ok()?)),
        "window" => terms.window = read_window(value)?,
        "observed" if value == "yes" => terms.observed = true,
        _ => match key.split_once('.') {
            Some(("per_call", name)) => read_limit(&mut terms.per_call, name, value)?,
            Some(("need", name)) => read_limit(&mut terms.need, name, value)?,
            Some(("rate", name)) => read_limit(&mut terms.rate, name, value)?,
            Some(("levels", name)) => read_levels(&mut terms.levels, name, value)?,
            _ => read_limit(&mut terms.limits, key, value)?,
        },
    }
    Some(())
}

fn read_own(standing: &mut Standing, pair: &str) -> Option<()> {
    let (key, value) = pair.split_once('=')?;
    let Standing { kept, debts } = standing;
    match key {
        "loaned" => kept.loaned = read_amount(value)?,
        "past" => kept.past_spent = read_amount(value)?,
        "carried" => kept.carried = read_amount(value)?,
        "window" => {
            let (start, end) = value.split_once(',')?;
            let (start, end) = (start.parse().ok()?, end.parse().ok()?);
            let (start, end) = (Timestamp(start), Timestamp(end));
            kept.window = Some(Span { start, end });
        }
        "finalized" if value == "yes" => kept.finalized = true,
        "credits" => kept.credits = value.parse().ok()?,
        "undivided" => kept.undivided = value.parse().ok()?,
        "owes" => {
            let (lender, amount) = value.split_once(':')?;
            debts.push((BudgetId(lender.parse().ok()?), read_amount(amount)?));
        }
        _ => return None,
    }
    Some(())
}

fn amount_text(amount: Amount) -> String {
    let [tokens, cost, time] = amount.raw();
    format!("{tokens},{cost},{time}")
}

fn read_freezer(value: &str) -> Option<Freezer> {
    let (kind, root) = value.split_once(',')?;
    let delegate = match kind {
        "delegate" => true,
        "owner" => false,
        _ => return None,
    };
    let root = BudgetId(root.parse().ok()?);
    Some(Freezer { root, delegate })
}

fn read_window(value: &str) -> Option<Window> {
    let mut parts = value.splitn(3, ',');
    let period = Period::named(parts.next()?)?;
    let roll_over = Permille(parts.next()?.parse().ok()?);
    let zone = Zone::new(parts.next()?).ok()?;
    Some(Window::Calendar {
        period,
        zone,
        roll_over,
    })
}

fn read_levels(levels: &mut Levels, name: &str, value: &str) -> Option<()> {
    let (_, of) = measured().find(|(known, _)| *known == name)?;
    let mut begins = [Permille(0); 4];
    let mut parts = value.split(',');
    for begin in &mut begins {
        *begin = Permille(parts.next()?.parse().ok()?);
    }
    *levels = levels.with(of, Some(Thresholds(begins)));
    parts.next().is_none().then_some(())
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
            state: State::Frozen,
            frozen_by: Some(Freezer {
                root: BudgetId(3),
                delegate: true,
            }),
            sharing: Sharing::Dynamic,
            weight: Weight(3),
            need: Limits::NONE.with(Resource::Tokens, Some(8)),
            lendable: Lendable(Permille(100)),
            window: Window::Calendar {
                period: Period::Weekly,
                zone: Zone::new("Europe/Vilnius").expect("a good name"),
                roll_over: Permille(250),
            },
            levels: Levels::default()
                .with(Some(Resource::Cost), Some(Thresholds::default()))
                .with(None, Some(Thresholds([Permille(1); 4]))),
            rate: Limits::NONE.with(Resource::Tokens, Some(60)),
            observed: true,
        };
        let carved = Terms {
            claim: Claim::Limit,
            state: State::Released,
            frozen_by: Some(Freezer::OWNER),
            window: Window::Rolling(TimeUs(9)),
            ..all
        };
        for terms in [Terms::default(), all, carved] {
            assert_eq!(read(&write(&terms)), Ok(terms));
        }
    }

    #[test]
    fn what_the_tree_decided_survives_the_journal() {
        let span = Span {
            start: Timestamp(-5),
            end: Timestamp(7),
        };
        let all = Standing {
            kept: Kept {
                loaned: Amount::from_raw([-1, 2, 3]),
                window: Some(span),
                past_spent: Amount::from_raw([4, 5, 6]),
                carried: Amount::from_raw([0, 0, 9]),
                finalized: true,
                credits: -120,
                undivided: 3,
            },
            debts: vec![(BudgetId(3), Amount::from_raw([1, 0, 0]))],
        };
        let terms = Terms {
            reserve: Permille(50),
            ..Terms::default()
        };
        for standing in [all, Standing::default()] {
            for terms in [terms, Terms::default()] {
                let text = write_standing(&terms, &standing);
                assert_eq!(read_standing(&text).as_ref(), Ok(&standing));
                assert_eq!(read(&text), Ok(terms));
            }
        }
        assert_eq!(
            read_standing("now.mood=good"),
            Err("now.mood=good".to_owned())
        );
    }

    #[test]
    fn what_a_later_version_wrote_is_not_ignored() {
        assert_eq!(
            read("tokens=5 season=spring"),
            Err("season=spring".to_owned())
        );
        assert_eq!(read("guarantee=1,2"), Err("guarantee=1,2".to_owned()));
    }
}
