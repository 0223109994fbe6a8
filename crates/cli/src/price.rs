//! `fisc price`: what models cost, and whether a price file is right.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fisc::clock::{Clock, SystemClock};
use fisc_core::{Money, Timestamp, TokenClass};
use fisc_llm::{ListedModel, ModelPrice, Price, PriceBook, Source};

use crate::args::{PriceArgs, PriceCommand};
use crate::failure::Failure;

/// How alike two names are that may be taken for one another, from 0 to 1.
const ALIKE_MIN: f64 = 0.7;

/// How many names are suggested for one that is unknown.
const SUGGESTIONS_MAX: usize = 3;

/// Lists or shows prices, or checks a price file.
pub(crate) fn run(args: &PriceArgs) -> Result<u8, Failure> {
    match &args.command {
        PriceCommand::Ls {
            name,
            provider,
            prices,
        } => {
            let book = book(prices.as_ref())?;
            list(&book, provider.as_deref(), name.as_deref())
        }
        PriceCommand::Show {
            model,
            provider,
            prices,
        } => show(&book(prices.as_ref())?, provider.as_deref(), model),
        PriceCommand::Check { file } => {
            let book = read(file)?;
            println!("{} is fine: prices {}", file.display(), book.version());
            Ok(0)
        }
    }
}

fn book(prices: Option<&PathBuf>) -> Result<PriceBook, Failure> {
    prices.map_or_else(|| Ok(PriceBook::builtin()), |path| read(path))
}

fn read(path: &Path) -> Result<PriceBook, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::configuration(format!("cannot read {}: {error}", path.display()))
    })?;
    PriceBook::with_overlay(&text).map_err(|error| {
        Failure::configuration(format!("{}: {error}", path.display())).hint(error.hint())
    })
}

/// Lists models with their usual rates, those of a small context and no service tier.
fn list(book: &PriceBook, provider: Option<&str>, name: Option<&str>) -> Result<u8, Failure> {
    let now = SystemClock::default().now();
    let name = name.unwrap_or_default().to_lowercase();
    let asked = |listed: &ListedModel| {
        let sold = provider.is_none_or(|provider| listed.provider.as_deref() == Some(provider));
        sold && listed.model.to_lowercase().contains(&name)
    };
    let found: Vec<ListedModel> = book.models().into_iter().filter(asked).collect();
    let priced = |listed: &ListedModel| priced(book, listed, now);
    let written = write_list(&mut io::stdout().lock(), &found, priced);
    match written {
        // A reader that closed the pipe has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::internal(error.to_string()))
        }
        Ok(0) => Err(Failure::usage("no model with a price is called so")
            .hint("name a part of it, as in: fisc price ls gpt-4o")),
        _ => Ok(0),
    }
}

fn priced(book: &PriceBook, listed: &ListedModel, now: Timestamp) -> Option<[String; 4]> {
    let price = book.price(listed.provider.as_deref(), &listed.model, now);
    let price = price.known()?;
    let rates = &price.schedules().first()?.tiers.first()?.rates;
    let rate = |class| rates.get(class).usd_per_mtok();
    Some([
        rate(TokenClass::UncachedInput),
        rate(TokenClass::CacheRead),
        rate(TokenClass::Output),
        source(price).to_owned(),
    ])
}

/// Writes the models that have a price; returns how many.
fn write_list(
    out: &mut impl Write,
    models: &[ListedModel],
    priced: impl Fn(&ListedModel) -> Option<[String; 4]>,
) -> io::Result<usize> {
    let provider = |listed: &ListedModel| listed.provider.clone().unwrap_or_else(|| "-".into());
    let widest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
    let (wide, long) = (
        widest(&mut models.iter().map(|listed| provider(listed).len())).max("provider".len()),
        widest(&mut models.iter().map(|listed| listed.model.len())).max("model".len()),
    );
    let mut count = 0;
    for listed in models {
        let Some([input, cached, output, source]) = priced(listed) else {
            continue;
        };
        if count == 0 {
            writeln!(
                out,
                "{:<wide$}  {:<long$}  {:>9} {:>9} {:>9}  dollars per million tokens, from",
                "provider", "model", "input", "cached", "output"
            )?;
        }
        count += 1;
        let (provider, model) = (provider(listed), &listed.model);
        writeln!(
            out,
            "{provider:<wide$}  {model:<long$}  {input:>9} {cached:>9} {output:>9}  {source}"
        )?;
    }
    Ok(count)
}

fn unpriced(book: &PriceBook, model: &str) -> Failure {
    let own = "give it a price of your own: --prices FILE";
    let failure = Failure::usage(format!("{model} has no known price"));
    let near = near_names(book, model);
    if near.is_empty() {
        return failure.hint(format!("see fisc price ls, or {own}"));
    }
    failure.hint(format!("is it {}? Else {own}", near.join(" or ")))
}

/// Finds the names that are most like one that is unknown.
fn near_names(book: &PriceBook, unknown: &str) -> Vec<String> {
    let unknown = unknown.to_lowercase();
    let mut models: Vec<String> = book
        .models()
        .into_iter()
        .map(|listed| listed.model)
        .collect();
    models.sort();
    models.dedup();
    let alike = |model: &String| strsim::normalized_damerau_levenshtein(&unknown, model);
    let mut near: Vec<(f64, String)> = models
        .into_iter()
        .map(|model| (alike(&model), model))
        .filter(|(alike, _)| *alike >= ALIKE_MIN)
        .collect();
    near.sort_by(|one, other| other.0.total_cmp(&one.0));
    near.truncate(SUGGESTIONS_MAX);
    near.into_iter().map(|(_, model)| model).collect()
}

fn source(price: &ModelPrice) -> &'static str {
    match price.source() {
        Source::Builtin => "catalogue",
        Source::Overlay => "price file",
    }
}

fn show(book: &PriceBook, provider: Option<&str>, model: &str) -> Result<u8, Failure> {
    let Price::Known(price) = book.price(provider, model, SystemClock::default().now()) else {
        return Err(unpriced(book, model));
    };
    let source = source(&price);
    println!(
        "{} ({})   {source} {}",
        price.model(),
        price.provider().unwrap_or("-"),
        book.version()
    );
    for schedule in price.schedules() {
        for tier in &schedule.tiers {
            let above = match tier.above {
                0 => String::new(),
                tokens => format!(" above {tokens} input tokens"),
            };
            println!(" {}{above}, dollars per million tokens:", schedule.name);
            for class in TokenClass::ALL {
                let rate = tier.rates.get(class);
                if rate.pico() > 0 {
                    println!("   {:<15} {}", class.name(), rate.usd_per_mtok());
                }
            }
        }
    }
    show_fixed(&price);
    Ok(0)
}

fn show_fixed(price: &ModelPrice) {
    let fixed = [
        ("per call", price.per_call()),
        ("per second", price.per_second()),
        ("per search", price.per_search()),
    ];
    for (name, cost) in fixed {
        if cost > Money::ZERO {
            println!(" {name:<16} {cost}");
        }
    }
}
