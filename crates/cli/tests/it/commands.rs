//! The commands that look into ledgers and price lists, by all that they print.

mod ahead;
mod doubt;
mod endings;
mod foretold;
mod look;
mod past;
mod prices;
mod usage;

use fisc_testkit::http::{Answer, Client};
use fisc_testkit::process::Finished;
use serde_json::{Value, json};

use crate::sdk::{Provider, Served, World};

const SECRET: &str = "sk-fisc-me.5e0cf1b97a3d48d2b6a90c1f8e7d2435";
const SECRETS: &[(&str, &str)] = &[("MY_SECRET", SECRET), ("MY_KEY", "upstream-key")];

/// A gateway before a provider, with one budget of 1,000 output tokens.
struct Shop {
    world: World,
    gateway: Served,
    provider: Provider,
}

// === impl Shop ===

impl Shop {
    #[track_caller]
    fn open() -> Shop {
        let world = World::new();
        let provider = world.provider("1");
        let gateway = world.serve(&config(&provider), SECRETS);
        Shop {
            world,
            gateway,
            provider,
        }
    }

    /// Makes a call of exactly so many output tokens, by an agent named `clerk`.
    #[track_caller]
    fn call(&self, output: u64) -> Answer {
        self.call_with(&format!("[[rehearsal tokens={output}]] go"), output)
    }

    #[track_caller]
    fn call_with(&self, prompt: &str, cap: u64) -> Answer {
        block_on(send(&self.gateway, prompt, cap)).expect("an answer")
    }

    /// Runs a command on this ledger, beside the gateway.
    #[track_caller]
    fn done(&self, args: &[&str]) -> Finished {
        let ledger = self.ledger();
        self.world.done([args, &["--db", &ledger]].concat())
    }

    fn ledger(&self) -> String {
        ledger(&self.world)
    }
}

fn ledger(world: &World) -> String {
    world.dir.join("ledger.db").display().to_string()
}

fn config(provider: &Provider) -> String {
    format!(
        r#"
            hold = "1s"
            [ledger]
            path = "ledger.db"
            [upstream.openai]
            url = "{}"
            key_env = "MY_KEY"
            [budget.shop]
            tokens = "out:1000"
            cost = "5"
            reserve = "0%"
            [[key]]
            name = "me"
            budget = "shop"
            secret_env = "MY_SECRET"
        "#,
        provider.url,
    )
}

async fn send(
    gateway: &Served,
    prompt: &str,
    cap: u64,
) -> Result<Answer, fisc_testkit::http::Broken> {
    let address = gateway.url.trim_start_matches("http://");
    let client = Client::new(address.parse().expect("an address"));
    let body = json!({
        "model": "gpt-4o-mini",
        "max_tokens": cap,
        "messages": [{ "role": "user", "content": prompt }],
    });
    let bearer = format!("Bearer {SECRET}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("fisc-agent", "clerk"),
        ("fisc-op", "sell"),
        ("fisc-task", "stock-taking"),
    ];
    let path = "/v1/chat/completions";
    client.post_json(path, &headers, body.to_string()).await
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

#[track_caller]
fn parsed(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => panic!("no JSON ({error}): {text}"),
    }
}

/// Puts `#` for what differs from run to run: times, and the figures behind them.
fn without_times(text: &str) -> String {
    let timed = |line: &str| line.starts_with(" active time") || line.starts_with(" time");
    let lines = text.lines().map(|line| {
        if timed(line) {
            let name = line[..13].trim_end();
            format!("{name} #\n")
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}
