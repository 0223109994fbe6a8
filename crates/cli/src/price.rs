//! `fisc price`: what models cost, and whether a price file is right.

use std::path::Path;

use fisc::clock::{Clock, SystemClock};
use fisc_core::{Money, TokenClass};
use fisc_llm::{ModelPrice, Price, PriceBook, Source};

use crate::args::{PriceArgs, PriceCommand};
use crate::failure::Failure;

/// Shows a price, or checks a price file.
pub(crate) fn run(args: &PriceArgs) -> Result<u8, Failure> {
    match &args.command {
        PriceCommand::Show {
            model,
            provider,
            prices,
        } => {
            let book = match prices {
                Some(path) => read(path)?,
                None => PriceBook::builtin(),
            };
            show(&book, provider.as_deref(), model)
        }
        PriceCommand::Check { file } => {
            let book = read(file)?;
            println!("{} is fine: prices {}", file.display(), book.version());
            Ok(0)
        }
    }
}

fn read(path: &Path) -> Result<PriceBook, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::configuration(format!("cannot read {}: {error}", path.display()))
    })?;
    PriceBook::with_overlay(&text).map_err(|error| {
        Failure::configuration(format!("{}: {error}", path.display())).hint(error.hint())
    })
}

fn show(book: &PriceBook, provider: Option<&str>, model: &str) -> Result<u8, Failure> {
    let Price::Known(price) = book.price(provider, model, SystemClock::default().now()) else {
        return Err(Failure::usage(format!("{model} has no known price"))
            .hint("look for a typing error, or give it a price of your own: --prices FILE"));
    };
    let source = match price.source() {
        Source::Builtin => "catalogue",
        Source::Overlay => "price file",
    };
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
