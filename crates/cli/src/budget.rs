//! `fisc budget`, `grant`, `freeze` and `thaw`: the budgets that a gateway serves.
//!
//! Everything goes through the gateway's API; which budgets may be seen and changed is decided
//! there, by the credential.

use fisc::Money;
use serde_json::{Map, Value, json};

use crate::amounts::{
    BudgetSpec, Limit, LimitsSpec, PlaceSpec, TokenAmount, parse_budget, parse_path,
};
use crate::args::{BudgetCommand, GrantArgs, PathArgs, ShareArg, SpecArgs};
use crate::exit;
use crate::failure::Failure;
use crate::remote::{self, Budget, Remote};
use crate::report::symbol;
use crate::wire;

const ROOT: &str = "/v1/budgets";

/// Does what the command line says and returns the exit code.
pub(crate) async fn run(command: &BudgetCommand) -> Result<u8, Failure> {
    match command {
        BudgetCommand::Ls { json } => list(*json).await,
        BudgetCommand::Show(args) => {
            let answer: Value = connect()?.get(&remote::at(&path(&args.path)?)).await?;
            show(&answer, args.json)
        }
        BudgetCommand::Allocate(args) => allocate(args).await,
        BudgetCommand::Set(args) => {
            let (path, body) = request(args)?;
            let answer: Value = connect()?.patch(&remote::at(&path), &body).await?;
            show(&answer, args.json)
        }
        BudgetCommand::Release(args) => {
            let place = format!("{}/release", remote::at(&path(&args.path)?));
            let answer: Value = connect()?.post(&place, &json!({})).await?;
            show(&answer, args.json)
        }
    }
}

/// Raises a budget's limits.
pub(crate) async fn grant(args: &GrantArgs) -> Result<u8, Failure> {
    let path = path(&args.path)?;
    let body = more("amount", &args.amount)?;
    let place = format!("{}/topup", remote::at(&path));
    let answer: Value = connect()?.post(&place, &Value::Object(body)).await?;
    show(&answer, args.json)
}

/// Reads how much more a budget gets, as the API reads it; `name` is what the text is called.
pub(crate) fn more(name: &str, text: &str) -> Result<Map<String, Value>, Failure> {
    let spec = more_limits(name, text)?;
    Ok(limits(&spec))
}

/// Reads how much more a budget gets.
pub(crate) fn more_limits(name: &str, text: &str) -> Result<LimitsSpec, Failure> {
    let more = text.trim_start_matches('+');
    let more = more.strip_suffix("usd").unwrap_or(more);
    let spec = parse_budget(&format!("it={more}"));
    let spec = spec.map_err(|_| {
        Failure::usage(format!("{name} {text:?} is no amount"))
            .hint("write +1usd, +0.50, +tokens=50k or +active-time=10m")
    })?;
    let limits = spec.limits;
    let unlimited = matches!(limits.cost, Some(Limit::Unlimited))
        || matches!(limits.tokens, Some(Limit::Unlimited))
        || matches!(limits.active_time, Some(Limit::Unlimited));
    if spec.place != PlaceSpec::default() || limits.time.is_some() || unlimited {
        return Err(Failure::usage(format!("{name} {text:?} cannot be added"))
            .hint("more can be given of cost, tokens and active-time"));
    }
    Ok(limits)
}

/// Stops a budget for now, or lets it go on.
pub(crate) async fn set_frozen(args: &PathArgs, frozen: bool) -> Result<u8, Failure> {
    let place = remote::at(&path(&args.path)?);
    let state = if frozen { "frozen" } else { "open" };
    let answer: Value = connect()?.patch(&place, &json!({ "state": state })).await?;
    show(&answer, args.json)
}

async fn list(as_json: bool) -> Result<u8, Failure> {
    let answer: Value = connect()?.get(ROOT).await?;
    if as_json {
        return Ok(print(&answer));
    }
    let budgets = answer.get("budgets").and_then(Value::as_array);
    for budget in budgets.into_iter().flatten() {
        println!("{}", line(budget)?);
    }
    Ok(exit::OK)
}

async fn allocate(args: &SpecArgs) -> Result<u8, Failure> {
    let (path, mut body) = request(args)?;
    body["path"] = json!(path);
    let answer: Value = connect()?.post(ROOT, &body).await?;
    if args.json {
        return Ok(print(&answer));
    }
    println!("{}", line(&answer["budget"])?);
    // What the agent needs in its environment, and nobody else.
    println!(
        "FISC_TOKEN={}",
        answer["token"].as_str().unwrap_or_default()
    );
    Ok(exit::OK)
}

fn connect() -> Result<Remote, Failure> {
    Remote::connect(None)
}

fn path(text: &str) -> Result<String, Failure> {
    let names = parse_path(text)
        .map_err(|error| Failure::usage(error.problem().to_owned()).hint(error.hint()))?;
    Ok(names.join("/"))
}

/// Writes a `PATH=SPEC` as the API reads it.
fn request(args: &SpecArgs) -> Result<(String, Value), Failure> {
    let spec = parse_budget(&args.spec);
    let spec = spec.map_err(|error| Failure::usage(error.problem()).hint(error.hint()))?;
    let BudgetSpec {
        path,
        limits: given,
        place,
    } = spec;
    let mut body = limits(&given);
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    if place.is_static {
        set("share", json!("static"));
    }
    if let Some(weight) = place.weight {
        set("weight", json!(weight.0));
    }
    let mut need = Map::new();
    if let Some(cost) = place.need {
        need.insert("cost".to_owned(), json!(cost.to_decimal()));
    }
    if let Some(count) = place.need_tokens {
        need.insert("tokens".to_owned(), tokens(count));
    }
    if !need.is_empty() {
        set("need", Value::Object(need));
    }
    if let Some(share) = args.share {
        set("sharing", json!(sharing(share)));
    }
    Ok((path.join("/"), Value::Object(body)))
}

fn limits(spec: &LimitsSpec) -> Map<String, Value> {
    let mut body = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    };
    let span = |time: fisc::TimeUs| json!(wire::span(time));
    set(
        "cost",
        spec.cost
            .map(|cost| or_null(cost, |cost: Money| json!(cost.to_decimal()))),
    );
    set("tokens", spec.tokens.map(|count| or_null(count, tokens)));
    set("time", spec.time.map(|time| or_null(time, span)));
    set(
        "active_time",
        spec.active_time.map(|time| or_null(time, span)),
    );
    body
}

fn or_null<T>(limit: Limit<T>, write: impl Fn(T) -> Value) -> Value {
    match limit {
        Limit::Unlimited => Value::Null,
        Limit::At(units) => write(units),
    }
}

fn tokens(amount: TokenAmount) -> Value {
    let prefix = amount.counting.map_or("", wire::prefix);
    json!(format!("{prefix}{}", amount.tokens.0))
}

fn sharing(arg: ShareArg) -> &'static str {
    fisc::Sharing::from(arg).name()
}

fn show(answer: &Value, as_json: bool) -> Result<u8, Failure> {
    if as_json {
        return Ok(print(answer));
    }
    println!("{}", line(answer)?);
    Ok(exit::OK)
}

/// Prints an answer as JSON.
pub(crate) fn print(answer: &Value) -> u8 {
    println!("{answer:#}");
    exit::OK
}

fn line(answer: &Value) -> Result<String, Failure> {
    let budget: Budget = serde_json::from_value(answer.clone())
        .map_err(|error| Failure::internal(format!("the gateway's answer: {error}")))?;
    let state = match budget.state.as_str() {
        "open" => String::new(),
        state => format!("  {state}"),
    };
    let sharing = match budget.sharing.as_str() {
        "pool" => String::new(),
        sharing => format!("  shared: {sharing}"),
    };
    let running = match budget.running {
        0 => String::new(),
        calls => format!("  {calls} in flight"),
    };
    let line = wire::line(&budget);
    Ok(format!(
        "{} {line}{running}{sharing}{state}",
        symbol(&budget.level)
    ))
}
