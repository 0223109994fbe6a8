//! `kill -9` of a gateway under load, again and again: what was answered is in the books, what
//! was running is in doubt, and nothing reached the provider that the books do not know.
//!
//! 25 rounds by default; `FISC_KILLS=1000` for the campaign.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fisc_core::{HoldId, TokenClass, Usage};
use fisc_ledger::{Entry, Outcome, Reader};
use fisc_rehearsal::{Canonical, Latency, Rehearsal, Settings, State};
use fisc_testkit::http::Client;
use fisc_testkit::process::{Output, Running};
use fisc_testkit::temp;

const CLIENTS: usize = 16;
/// More log than one life writes: a start moves what the last one left into the database.
const LOG_BYTES_MAX: u64 = 32 * 1024 * 1024;
const SECRET: &str = "a-secret-for-the-kill-test-0123456789";

/// What the clients saw: the labels of calls whose end they were told.
type Seen = Arc<Mutex<HashSet<String>>>;

struct Campaign {
    directory: temp::Dir,
    ledger: PathBuf,
    seen: Seen,
    /// What the books say of each label so far.
    held: HashMap<HoldId, String>,
    settled: HashMap<String, (Usage, bool)>,
    open: HashSet<HoldId>,
    doubtful: HashSet<HoldId>,
    next_entry: u64,
    slowest_start: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_answered_is_lost_by_kill_9() {
    let rounds = std::env::var("FISC_KILLS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(25);
    let rehearsal = Rehearsal::start(Settings {
        latency: Latency::millis(1, 15),
        gap: Duration::from_millis(1),
        ..Settings::default()
    });
    let rehearsal = rehearsal.expect("the rehearsal starts");
    let mut campaign = Campaign::new(&rehearsal.url());
    for round in 0..rounds {
        campaign.round(round).await;
    }
    campaign.compare(&rehearsal);
    let gateway = campaign.start();
    drop(gateway);
    campaign.read_books();
    assert!(
        campaign.open.is_empty(),
        "every open hold is in doubt after a start"
    );
    let (open, doubtful) = Reader::open(&campaign.ledger)
        .expect("open")
        .holds()
        .expect("holds");
    let listed: HashSet<HoldId> = doubtful.iter().map(|doubt| doubt.hold.id).collect();
    assert_eq!(
        (open.len(), &listed),
        (0, &campaign.doubtful),
        "every doubt is listed"
    );
    let verified = fisc_ledger::verify(&campaign.ledger).expect("chain and balances agree");
    println!(
        "{rounds} kills: {} entries, {} calls answered and none lost, {} in doubt, \
         slowest start {:?}",
        verified.entries,
        campaign.seen.lock().expect("no panic").len(),
        listed.len(),
        campaign.slowest_start,
    );
    rehearsal.shutdown().await;
}

// === impl Campaign ===

impl Campaign {
    fn new(upstream: &str) -> Campaign {
        let directory = temp::Dir::new();
        let config = format!(
            "listen = \"127.0.0.1:0\"\ndurability = \"process\"\n[ledger]\npath = \"ledger.db\"\n\
             [upstream.openai]\nurl = \"{upstream}\"\nkey_env = \"KILL_KEY\"\n\
             [upstream.anthropic]\nurl = \"{upstream}\"\nkey_env = \"KILL_KEY\"\n\
             [budget.team]\ncost = \"100000\"\n\
             [[key]]\nname = \"load\"\nbudget = \"team\"\nsecret_env = \"KILL_SECRET\"\n"
        );
        directory.write("fisc.toml", &config);
        Campaign {
            ledger: directory.join("ledger.db"),
            directory,
            seen: Seen::default(),
            held: HashMap::new(),
            settled: HashMap::new(),
            open: HashSet::new(),
            doubtful: HashSet::new(),
            next_entry: 0,
            slowest_start: Duration::ZERO,
        }
    }

    /// Starts the gateway, loads it, kills it in the middle, and looks at what is left.
    async fn round(&mut self, round: usize) {
        let gateway = self.start();
        let address = address_of(&gateway);
        let load = (0..CLIENTS).map(|client| {
            let seen = Arc::clone(&self.seen);
            tokio::spawn(call_until_killed(address, round, client, seen))
        });
        let load: Vec<_> = load.collect();
        // Spread over the phases of calls: starts, streams, ends.
        tokio::time::sleep(Duration::from_millis(20 + (round as u64 * 37) % 110)).await;
        gateway.kill();
        for client in load {
            client.await.expect("no client panics");
        }
        self.read_books();
        if round.is_multiple_of(50) {
            fisc_ledger::verify(&self.ledger).expect("chain and balances agree");
        }
        let seen = self.seen.lock().expect("no panic");
        let lost: Vec<&String> = seen
            .iter()
            .filter(|label| !self.settled.contains_key(*label))
            .collect();
        assert!(lost.is_empty(), "answered and not in the books: {lost:?}");
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the start of a real process is timed"
    )]
    fn start(&mut self) -> Running {
        let begun = Instant::now();
        let gateway = Running::start(
            Command::new(env!("CARGO_BIN_EXE_fisc"))
                .args(["serve", "--config", "fisc.toml"])
                .current_dir(self.directory.path())
                .env("KILL_KEY", "upstream-key")
                .env("KILL_SECRET", SECRET),
        );
        address_of(&gateway);
        self.slowest_start = self.slowest_start.max(begun.elapsed());
        let log = std::fs::metadata(self.directory.join("ledger.db-wal"));
        let log = log.map_or(0, |file| file.len());
        assert!(
            log < LOG_BYTES_MAX,
            "the log has grown to {log} bytes over many kills"
        );
        gateway
    }

    /// Reads the entries that are new.
    fn read_books(&mut self) {
        let reader = Reader::open(&self.ledger).expect("the ledger is readable");
        loop {
            let rows = reader
                .entries(self.next_entry, 10_000)
                .expect("entries are readable");
            let Some(last) = rows.last() else { break };
            self.next_entry = last.seq;
            for row in rows {
                self.take(row.entry);
            }
        }
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Hold { id, call, .. } => {
                assert!(self.open.insert(id), "a hold is taken once");
                self.held.insert(id, call.operation.to_string());
            }
            Entry::Settle { id, facts, .. } => {
                assert!(self.open.remove(&id), "a hold ends once");
                let whole = facts.outcome == Outcome::Completed && !facts.estimated;
                let label = facts.call.operation.to_string();
                let before = self.settled.insert(label, (facts.usage, whole));
                assert!(before.is_none(), "a call is settled once");
            }
            Entry::Void { id, .. } => assert!(self.open.remove(&id), "a hold ends once"),
            Entry::Doubt { id, .. } => {
                assert!(self.open.remove(&id), "a hold ends once");
                self.doubtful.insert(id);
            }
            Entry::Allocate { .. }
            | Entry::Terms { .. }
            | Entry::Extend { .. }
            | Entry::Correct { .. } => {}
        }
    }

    /// Compares the books with what the provider truly did.
    fn compare(&self, rehearsal: &Rehearsal) {
        let held: HashSet<&String> = self.held.values().collect();
        let mut compared = 0;
        for record in rehearsal.truth() {
            let label = record.label.as_ref().expect("every call is labelled");
            assert!(
                held.contains(label),
                "{label} reached the provider without a hold"
            );
            let Some((usage, whole)) = self.settled.get(label) else {
                continue;
            };
            if *whole && record.state == State::Ended {
                assert_eq!(
                    usage_of(&record.canonical),
                    without_reasoning(*usage),
                    "{label}"
                );
                compared += 1;
            }
        }
        assert!(compared > 0, "something was compared");
    }
}

async fn call_until_killed(address: std::net::SocketAddr, round: usize, client: usize, seen: Seen) {
    let http =
        Client::new(address).with_header("authorization", &format!("Bearer sk-fisc-load.{SECRET}"));
    for call in 0.. {
        let label = format!("r{round}c{client}n{call}");
        let stream = call % 2 == 0;
        let body = serde_json::json!({
            "model": "gpt-4o-mini", "user": label, "stream": stream, "max_tokens": 40,
            "messages": [{"role": "user", "content": format!("Say something about {label}.")}],
        });
        let path = format!("/a/agent{}/o/{label}/v1/chat/completions", client % 4);
        let answer = match http.post_streaming(&path, &[], body.to_string()).await {
            Ok(answer) => answer.whole().await,
            Err(_) => return,
        };
        let Ok(answer) = answer else { return };
        let ended = if stream {
            answer.text().contains("[DONE]")
        } else {
            true
        };
        if answer.status == 200 && ended {
            seen.lock().expect("no panic").insert(label);
        }
    }
}

fn address_of(gateway: &Running) -> std::net::SocketAddr {
    let line = gateway.wait_for_line(Output::Stdout, Duration::from_secs(30), |line| {
        line.contains("gateway http://")
    });
    let address = line
        .rsplit("http://")
        .next()
        .expect("the line names the address");
    address.trim().parse().expect("an address")
}

fn usage_of(truth: &Canonical) -> Usage {
    Usage::default()
        .with(TokenClass::UncachedInput, truth.input)
        .with(TokenClass::CacheRead, truth.cache_read)
        .with(TokenClass::CacheWrite5m, truth.cache_write_5m)
        .with(TokenClass::CacheWrite1h, truth.cache_write_1h)
        .with(TokenClass::Output, truth.output)
}

fn without_reasoning(mut usage: Usage) -> Usage {
    usage.reasoning = 0;
    usage
}
