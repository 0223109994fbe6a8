//! `fisc serve`: a gateway for a team, from a configuration file.

mod budgets;

use std::time::Duration;

use fisc::{Fisc, Options, Terms};
use fisc_gateway::config::{self, ConfigError, Settings};
use fisc_gateway::{Gateway, Parts};
use fisc_llm::PriceBook;
use tokio::net::TcpListener;

use crate::amounts::show_count;
use crate::args::ServeArgs;
use crate::failure::Failure;
use crate::report::Names;
use crate::supervise::Signals;

/// How long running calls may finish after a signal.
const GRACE: Duration = Duration::from_secs(30);

/// Serves until it is told to end.
pub(crate) async fn run(args: &ServeArgs) -> Result<u8, Failure> {
    let environment = |name: &str| std::env::var(name).ok();
    let settings = config::load(&args.config, &environment);
    let mut settings = settings.map_err(|error| cannot_use(args, &error))?;
    if let Some(listen) = args.listen {
        settings.listen = listen;
    }
    if let Some(db) = &args.db {
        settings.ledger.clone_from(db);
    }
    let prices = price_book(&settings)?;
    if args.check_config {
        let budgets = show_count(settings.budgets.len() as u64, "budget", "budgets");
        println!("{} is fine: {budgets}", args.config.display());
        return Ok(0);
    }
    let fisc = open(&settings).await?;
    // What recovery put in doubt is written with it, before anybody is served.
    let written = fisc.with_journal(|journal| {
        let ticket = journal.set_meta(Names::PRICES, prices.version());
        ticket.wait()
    });
    if let Some(Err(error)) = written {
        return Err(Failure::internal(error.to_string()));
    }
    for budget in &settings.budgets {
        let id = fisc.budget(&budget.path)?.id();
        if budget.newcomers != Terms::default() {
            settings.policy.newcomers.insert(id, budget.newcomers);
        }
        if let Some(measures) = &budget.measures {
            settings.policy.measures.insert(id, measures.clone());
        }
    }
    let gateway = start(settings, prices, fisc.clone()).await?;
    // Before anybody can know that it serves, and so end it.
    let signals = Signals::listen_for_end();
    let mut signals = signals.map_err(|error| Failure::internal(error.to_string()))?;
    println!("fisc serve   gateway http://{}", gateway.addr());
    signals.next().await;
    eprintln!("fisc ▸ ending: running calls may finish; a second signal cuts them");
    gateway.shutdown_after(signals.next_within(GRACE)).await;
    fisc.close().await?;
    Ok(0)
}

fn cannot_use(args: &ServeArgs, error: &ConfigError) -> Failure {
    let failure = Failure::configuration(error.to_string());
    if args.config.exists() {
        return failure;
    }
    failure.hint("name the file with --config or FISC_CONFIG")
}

async fn start(settings: Settings, prices: PriceBook, fisc: Fisc) -> Result<Gateway, Failure> {
    let listener = TcpListener::bind(settings.listen).await.map_err(|error| {
        Failure::configuration(format!("cannot listen on {}: {error}", settings.listen))
            .hint("choose another address with --listen, or end what listens there")
    })?;
    let parts = Parts {
        listener,
        hosts: settings.hosts,
        keyring: settings.keyring,
        upstreams: settings.upstreams,
        prices,
        policy: settings.policy,
        webhooks: settings.webhooks,
        taught_by: Vec::new(),
    };
    Gateway::start(parts, fisc).map_err(|error| Failure::internal(error.to_string()))
}

/// Opens the ledger and brings its budgets to what the configuration says.
async fn open(settings: &Settings) -> Result<Fisc, Failure> {
    let options = Options {
        durability: settings.durability,
        counting: settings.counting,
        ..Options::at(&settings.ledger)
    };
    let fisc = Fisc::open(options)?;
    budgets::apply(&fisc, &settings.budgets).await?;
    let doubts = fisc.in_doubt().len() as u64;
    if doubts > 0 {
        let ledger = settings.ledger.display();
        let doubts = show_count(doubts, "hold", "holds");
        eprintln!("fisc ▸ {doubts} in doubt; see: fisc resolve --db {ledger}");
    }
    Ok(fisc)
}

fn price_book(settings: &Settings) -> Result<PriceBook, Failure> {
    let Some(path) = &settings.price_overlay else {
        return Ok(PriceBook::builtin());
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::configuration(format!("cannot read {}: {error}", path.display()))
    })?;
    PriceBook::with_overlay(&text)
        .map_err(|error| Failure::configuration(format!("{}: {error}", path.display())))
}
