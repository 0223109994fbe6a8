//! `fisc resolve`: the holds whose end a crash left unknown, and how each did end.

use std::path::Path;

use fisc::{Amount, Fisc, HoldId, InDoubt, Options, TokenCounting};
use fisc_ledger::Reader;

use crate::amounts::{parse_cost, show_cost, show_count, show_tokens};
use crate::args::ResolveArgs;
use crate::failure::Failure;
use crate::home::Home;

/// Lists holds in doubt, or ends one.
pub(crate) async fn run(args: &ResolveArgs) -> Result<u8, Failure> {
    let ledger = Home::find()?.ledger(&args.ledger)?;
    let counting = counting(&Reader::open(&ledger)?)?;
    let Some(hold) = &args.hold else {
        take_over(&ledger, counting).await?;
        return list(&Reader::open(&ledger)?);
    };
    let id = HoldId::parse(hold).ok_or_else(|| {
        Failure::usage(format!("{hold:?} is no hold's id")).hint("see: fisc resolve")
    })?;
    let fisc = Fisc::open(Options {
        counting,
        ..Options::at(&ledger)
    })?;
    let doubt = fisc.in_doubt().into_iter().find(|doubt| doubt.id == id);
    let Some(doubt) = doubt else {
        return Err(Failure::usage(format!("hold {id} is not in doubt")).hint("see: fisc resolve"));
    };
    let actual = actual(args, &doubt)?;
    let resolved = fisc.resolve_doubt(id, actual, &args.reason).await?;
    println!(
        "hold {} was charged {}, now {}",
        id,
        cost(resolved.charged),
        cost(actual)
    );
    fisc.close().await?;
    Ok(0)
}

/// Puts the holds in doubt that a process left open when it died. One that still runs keeps its
/// ledger and its holds.
async fn take_over(ledger: &Path, counting: TokenCounting) -> Result<(), Failure> {
    let (open, _) = Reader::open(ledger)?.holds()?;
    if open.is_empty() {
        return Ok(());
    }
    let options = Options {
        counting,
        ..Options::at(ledger)
    };
    match Fisc::open(options) {
        Ok(fisc) => Ok(fisc.close().await?),
        Err(fisc::Error::Open(fisc_ledger::Error::Locked { .. })) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn actual(args: &ResolveArgs, doubt: &InDoubt) -> Result<Amount, Failure> {
    match &args.charge {
        _ if args.void => Ok(Amount::ZERO),
        Some(text) => {
            let cost = parse_cost(text).map_err(|error| Failure::amount("--charge", &error))?;
            // Nobody knows the tokens of a call that nobody saw the end of.
            Ok(Amount::new(
                doubt.charged.tokens(),
                cost,
                doubt.charged.time(),
            ))
        }
        None => Err(Failure::usage("nothing says how the call ended")
            .hint("add --charge COST, or --void when it was never billed")),
    }
}

fn list(reader: &Reader) -> Result<u8, Failure> {
    let (open, doubtful) = reader.holds()?;
    for doubt in &doubtful {
        let call = &doubt.hold.call;
        println!(
            "{}  {}  {}  {} {}",
            doubt.hold.id,
            cost(doubt.charged),
            show_tokens(doubt.charged.tokens()),
            call.operation,
            call.model,
        );
    }
    if doubtful.is_empty() {
        println!("no hold is in doubt");
    }
    if !open.is_empty() {
        let open = show_count(open.len() as u64, "hold", "holds");
        println!("{open} open, of calls that run");
    }
    Ok(0)
}

fn counting(reader: &Reader) -> Result<TokenCounting, Failure> {
    use TokenCounting::{Fresh, Input, Output, Total};
    let kept = reader.meta(fisc::COUNTING_KEY)?;
    let named = |counting: &TokenCounting| Some(counting.name()) == kept.as_deref();
    Ok([Fresh, Total, Input, Output]
        .into_iter()
        .find(named)
        .unwrap_or_default())
}

fn cost(amount: Amount) -> String {
    show_cost(amount.cost())
}
