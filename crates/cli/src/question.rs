//! `fisc approve` and `fisc deny`: what the owner of a budget that has run out is asked.

use fisc_core::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::args::{ApproveArgs, DenyArgs};
use crate::budget::{more, print};
use crate::exit;
use crate::failure::Failure;
use crate::remote::{Figures, Remote};
use crate::wire;

const ROOT: &str = "/v1/questions";

#[derive(Deserialize)]
struct List {
    questions: Vec<Question>,
}

/// A question, as the gateway tells it.
#[derive(Deserialize)]
struct Question {
    id: String,
    budget: String,
    resource: String,
    waiting: u64,
    lacks: Figures,
    offer: Figures,
    until_us: i64,
}

#[derive(Deserialize)]
struct Decided {
    budget: String,
    added: Option<Figures>,
}

/// Raises a budget that has run out, or lists what is asked.
pub(crate) async fn approve(args: &ApproveArgs) -> Result<u8, Failure> {
    let body = match &args.add {
        Some(amount) => Value::Object(more("--add", amount)?),
        None => json!({}),
    };
    let place = args.request.as_ref().map(|request| at(request, "approve"));
    let remote = Remote::connect(args.run.as_deref())?;
    let Some(place) = place.transpose()? else {
        return list(&remote, args.json).await;
    };
    let answer: Value = remote.post(&place, &body).await?;
    if args.json {
        return Ok(print(&answer));
    }
    let decided = read::<Decided>(&answer)?;
    let added = decided.added.map(|added| show(&added));
    let added = added.unwrap_or_default();
    println!("approved: {} may spend {added} more", decided.budget);
    Ok(exit::OK)
}

/// Refuses the calls that wait.
pub(crate) async fn deny(args: &DenyArgs) -> Result<u8, Failure> {
    let place = at(&args.request, "deny")?;
    let remote = Remote::connect(args.run.as_deref())?;
    let answer: Value = remote.post(&place, &json!({})).await?;
    if args.json {
        return Ok(print(&answer));
    }
    let decided = read::<Decided>(&answer)?;
    println!("denied: calls of {} are refused", decided.budget);
    Ok(exit::OK)
}

async fn list(remote: &Remote, as_json: bool) -> Result<u8, Failure> {
    let answer: Value = remote.get(ROOT).await?;
    if as_json {
        return Ok(print(&answer));
    }
    let List { questions } = read(&answer)?;
    if questions.is_empty() {
        println!("nothing is asked");
    }
    let now = jiff::Timestamp::now().as_microsecond();
    for question in questions {
        let left = Timestamp(question.until_us).since(Timestamp(now));
        println!(
            "{}  {}  out of {}: {} waiting, {} short, {} left to decide; approving adds {}",
            question.id,
            question.budget,
            question.resource,
            question.waiting,
            show(&question.lacks),
            crate::amounts::show_duration(fisc::TimeUs(left.0.max(0) / 1_000_000 * 1_000_000)),
            show(&question.offer),
        );
    }
    Ok(exit::OK)
}

fn show(figures: &Figures) -> String {
    wire::amount(|resource| wire::get(figures, resource).unwrap_or(0))
}

fn at(request: &str, act: &str) -> Result<String, Failure> {
    let number = request.strip_prefix("q-");
    if number.is_none_or(|number| number.parse::<u64>().is_err()) {
        return Err(Failure::usage(format!("{request:?} is no request"))
            .hint("write it as in q-1; fisc approve alone lists what is asked"));
    }
    Ok(format!("{ROOT}/{request}/{act}"))
}

fn read<'a, T: Deserialize<'a>>(answer: &'a Value) -> Result<T, Failure> {
    T::deserialize(answer)
        .map_err(|error| Failure::internal(format!("the gateway's answer: {error}")))
}
