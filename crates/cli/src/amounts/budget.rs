//! Budgets of `-b/--budget PATH=SPEC`.

use fisc_core::{Money, TimeUs, Weight, check_name};

use super::{AmountError, TokenAmount, parse_cost, parse_duration, parse_time, parse_tokens};

const SPEC_HINT: &str = "write PATH=SPEC, as in team/writer=1.20 or \
                         team/writer=cost=1.20,tokens=50k,time=5m,active-time=1m,static";

/// A limit as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit<T> {
    /// `none`: as much as the budgets above allow.
    Unlimited,
    /// At most this; 0 denies everything.
    At(T),
}

/// The limits of one budget; what is `None` was not mentioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitsSpec {
    /// The cost.
    pub cost: Option<Limit<Money>>,
    /// The tokens, and which of them count if it was said.
    pub tokens: Option<Limit<TokenAmount>>,
    /// The wall-clock time.
    pub time: Option<Limit<TimeUs>>,
    /// The sum of the durations of calls.
    pub active_time: Option<Limit<TimeUs>>,
}

/// One `PATH=SPEC`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetSpec {
    /// The names from the run's own budget down; never empty.
    pub path: Vec<String>,
    /// Its limits.
    pub limits: LimitsSpec,
    /// How it shares with its siblings.
    pub place: PlaceSpec,
}

/// How a budget shares with its siblings; what is `None` was not mentioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlaceSpec {
    /// `static`: its limit is carved out of its parent's.
    pub is_static: bool,
    /// How much it counts.
    pub weight: Option<Weight>,
    /// The cost that it will have when it is done.
    pub need: Option<Money>,
    /// The tokens that it will have used when it is done.
    pub need_tokens: Option<TokenAmount>,
}

/// Reads a path of names joined by `/` or `.`.
///
/// # Errors
/// When a name is missing or cannot name a budget.
pub fn parse_path(text: &str) -> Result<Vec<String>, AmountError> {
    let hint = "join names of letters, digits and _-~@:+ by '/', as in team/writer";
    let names: Vec<&str> = text.split(['/', '.']).collect();
    for name in &names {
        check_name(name)
            .map_err(|error| AmountError::new(format!("path {text:?}: {error}"), hint))?;
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// Reads `PATH=SPEC`, where SPEC is a list such as `1.20,tokens=50k,time=5m,active-time=1m`; a
/// bare amount is a cost, and `none` lifts a limit.
///
/// # Errors
/// When the path or an amount is wrong, or a resource is limited twice.
pub fn parse_budget(text: &str) -> Result<BudgetSpec, AmountError> {
    let Some((path, spec)) = text.split_once('=') else {
        return Err(AmountError::new(
            format!("budget {text:?}: there is no '='"),
            SPEC_HINT,
        ));
    };
    let within = |error: AmountError| AmountError {
        problem: format!("budget {text:?}: {}", error.problem),
        hint: error.hint,
    };
    let path = parse_path(path).map_err(within)?;
    let mut budget = BudgetSpec {
        path,
        limits: LimitsSpec::default(),
        place: PlaceSpec::default(),
    };
    for part in spec.split(',').map(str::trim) {
        let placed = place(&mut budget.place, part).map_err(within)?;
        if !placed {
            add(&mut budget.limits, part).map_err(within)?;
        }
    }
    let LimitsSpec {
        cost,
        tokens,
        active_time,
        ..
    } = budget.limits;
    let limited = matches!(cost, Some(Limit::At(_)))
        || matches!(tokens, Some(Limit::At(_)))
        || matches!(active_time, Some(Limit::At(_)));
    if budget.place.is_static && !limited {
        let error = AmountError::new("a static share of no limit", SPEC_HINT);
        return Err(within(error));
    }
    Ok(budget)
}

/// Takes what says how a budget shares; says whether it was that.
fn place(place: &mut PlaceSpec, part: &str) -> Result<bool, AmountError> {
    let twice = |name: &str| AmountError::new(format!("{name} is said twice"), "say it once");
    let (name, value) = match part.split_once('=') {
        Some((name, value)) => (name.trim(), value.trim()),
        None => (part, ""),
    };
    let again = match name {
        "static" if !part.contains('=') => std::mem::replace(&mut place.is_static, true),
        "weight" => place.weight.replace(weight(value)?).is_some(),
        "need" => place.need.replace(parse_cost(value)?).is_some(),
        "need-tokens" => place.need_tokens.replace(parse_tokens(value)?).is_some(),
        _ => return Ok(false),
    };
    if again { Err(twice(name)) } else { Ok(true) }
}

fn weight(text: &str) -> Result<Weight, AmountError> {
    match text.parse() {
        Ok(units @ 1..) => Ok(Weight(units)),
        _ => Err(AmountError::new(
            format!("weight {text:?}: not a whole number from 1 to 65535"),
            "a budget of weight 2 counts like two of weight 1",
        )),
    }
}

fn add(limits: &mut LimitsSpec, part: &str) -> Result<(), AmountError> {
    let (name, amount) = match part.split_once('=') {
        Some((name, amount)) => (name.trim(), amount.trim()),
        None => ("cost", part),
    };
    let is_bare = !part.contains('=');
    match name {
        "cost" if is_bare => set(&mut limits.cost, name, amount, bare_cost),
        "cost" => set(&mut limits.cost, name, amount, parse_cost),
        "tokens" => set(&mut limits.tokens, name, amount, parse_tokens),
        "time" => set(&mut limits.time, name, amount, parse_time),
        "active-time" => set(&mut limits.active_time, name, amount, parse_duration),
        _ => {
            let hint = "limit cost, tokens, time or active-time; say static, weight, need or \
                        need-tokens";
            Err(AmountError::new(
                format!("no resource is named {name:?}"),
                hint,
            ))
        }
    }
}

fn set<T>(
    limit: &mut Option<Limit<T>>,
    name: &str,
    amount: &str,
    parse: impl Fn(&str) -> Result<T, AmountError>,
) -> Result<(), AmountError> {
    if limit.is_some() {
        let hint = "name each resource once; a bare amount is a cost";
        return Err(AmountError::new(format!("{name} is limited twice"), hint));
    }
    *limit = Some(match amount {
        "none" => Limit::Unlimited,
        _ => Limit::At(parse(amount)?),
    });
    Ok(())
}

/// Reads a bare amount; one that was meant as something else gets the right hint.
fn bare_cost(text: &str) -> Result<Money, AmountError> {
    parse_cost(text).map_err(|error| {
        let meant = if text.is_empty() {
            SPEC_HINT.to_owned()
        } else if parse_tokens(text).is_ok() {
            format!("a bare amount is a cost; for tokens write tokens={text}")
        } else if parse_duration(text).is_ok() {
            format!("a bare amount is a cost; for time write time={text}")
        } else {
            error.hint().to_owned()
        };
        AmountError::new(error.problem(), meant)
    })
}

#[cfg(test)]
mod tests {
    use fisc_core::{TokenCounting, Tokens};

    use super::*;

    fn cost(nanos: i64) -> Limit<Money> {
        Limit::At(Money::from_nanos(nanos))
    }

    fn tokens(counting: Option<TokenCounting>, tokens: i64) -> Limit<TokenAmount> {
        let tokens = Tokens(tokens);
        Limit::At(TokenAmount { counting, tokens })
    }

    #[test]
    fn reads_every_resource() {
        let spec = "team.writer=1.20, tokens=total:50k,time=5m,active-time=1m";
        let budget = parse_budget(spec).expect("a budget");
        assert_eq!(budget.path, ["team", "writer"]);
        assert_eq!(
            budget.limits,
            LimitsSpec {
                cost: Some(cost(1_200_000_000)),
                tokens: Some(tokens(Some(TokenCounting::Total), 50_000)),
                time: Some(Limit::At(TimeUs(300_000_000))),
                active_time: Some(Limit::At(TimeUs(60_000_000))),
            }
        );
    }

    #[test]
    fn reads_how_it_shares() {
        let budget = parse_budget("a=2,static,weight=3,need=1.50,need-tokens=50k").expect("it is");
        assert_eq!(budget.limits.cost, Some(cost(2_000_000_000)));
        let place = PlaceSpec {
            is_static: true,
            weight: Some(Weight(3)),
            need: Some(Money::from_nanos(1_500_000_000)),
            need_tokens: Some(TokenAmount {
                counting: None,
                tokens: Tokens(50_000),
            }),
        };
        assert_eq!(budget.place, place);
        let alone = parse_budget("a=weight=2").expect("no limit is needed");
        assert_eq!(alone.limits, LimitsSpec::default());
    }

    #[test]
    fn zero_denies_and_none_lifts() {
        let zero = parse_budget("a=0,tokens=0,active-time=0")
            .expect("zeros")
            .limits;
        assert_eq!(zero.cost, Some(cost(0)));
        assert_eq!(zero.tokens, Some(tokens(None, 0)));
        assert_eq!(zero.active_time, Some(Limit::At(TimeUs(0))));
        let none = parse_budget("a=none,tokens=none,time=none")
            .expect("no limits")
            .limits;
        assert_eq!(none.cost, Some(Limit::Unlimited));
        assert_eq!(
            (none.tokens, none.time),
            (Some(Limit::Unlimited), Some(Limit::Unlimited))
        );
        assert_eq!(none.active_time, None);
        assert_eq!(
            parse_budget("a/b/c=cost=$2").expect("a cost").limits.cost,
            Some(cost(2_000_000_000))
        );
    }

    #[test]
    fn an_error_says_what_where_and_how_to_mend_it() {
        for (text, problem, hint) in [
            ("team", "there is no '='", "PATH=SPEC"),
            ("=1", "path \"\": a name is empty", "letters"),
            ("a//b=1", "path \"a//b\": a name is empty", "letters"),
            (
                "a b=1",
                "path \"a b\": a name holds ' '; use letters, digits and _-~@:+",
                "team/",
            ),
            ("a=", "cost \"\": not an amount of money", "PATH=SPEC"),
            (
                "a=500k",
                "cost \"500k\": not an amount of money",
                "tokens=500k",
            ),
            ("a=10s", "cost \"10s\": not an amount of money", "time=10s"),
            ("a=1,2", "cost is limited twice", "once"),
            ("a=1,cost=2", "cost is limited twice", "once"),
            ("a=static", "a static share of no limit", "static"),
            ("a=time=5m,static", "a static share of no limit", "static"),
            ("a=weight=1,weight=2", "weight is said twice", "once"),
            (
                "a=weight=0",
                "weight \"0\": not a whole number from 1 to 65535",
                "counts like two",
            ),
            ("a=need=x", "cost \"x\": not an amount of money", "2.50"),
            ("a=token=5", "no resource is named \"token\"", "tokens"),
            (
                "a=time=0s",
                "time \"0s\": no time at all, so it would be over at once",
                "90s",
            ),
            (
                "a=tokens=-1",
                "tokens \"-1\": not a number of the expected form",
                "500k",
            ),
            (
                "a=.50",
                "cost \".50\": an amount of money cannot start with '.' or '00'",
                "quote",
            ),
        ] {
            let error = parse_budget(text).expect_err(text);
            assert_eq!(error.problem(), format!("budget {text:?}: {problem}"));
            assert!(error.hint().contains(hint), "{text}: {}", error.hint());
        }
    }
}
