//! The bank test: whatever clients do at once, every read adds up.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fisc::Durability;
use serde_json::{Value, json};

use super::{Someone, hold_id, nanos};
use crate::harness::{Books, House, Plan};

const CLIENTS: u64 = 16;
const OPERATIONS: u64 = 60;
const READERS: usize = 2;
/// Budgets that lend to each other, whose own limits nobody changes.
const SHARED: u64 = 6;
/// What a client moves at a time between the two budgets of its own, in nano-dollars.
const MOVED: i64 = 10_000_000;
/// The limit of each of these.
const OWN: i64 = 200_000_000;

/// One client.
struct Client {
    number: u64,
    someone: Someone,
    random: u64,
    holds: u64,
    /// Open holds: the path, the id, what is held.
    open: Vec<(Someone, String, String, i64)>,
    /// The limits of its own two budgets.
    own: [i64; 2],
    /// What it settled, in nano-dollars.
    settled: i64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_read_adds_up_whatever_sixteen_clients_do() {
    let plan = Plan {
        books: Books::File(Durability::Process),
        ..Plan::default()
    };
    let house = House::start(plan).await;
    let owner = Someone::owner(&house);
    owner.patch("/run", json!({ "cost": "6" })).await.ok();
    for number in 0..SHARED {
        let path = format!("run/shared{number}");
        owner
            .spawn(json!({ "path": path, "cost": "0.60", "lendable": "100%" }))
            .await;
    }
    for number in 0..CLIENTS {
        for side in ["l", "r"] {
            let path = format!("run/own{number}{side}");
            owner.spawn(json!({ "path": path, "cost": usd(OWN) })).await;
        }
    }
    let over = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicUsize::new(0));
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..READERS {
        let (owner, over, reads) = (owner.clone(), Arc::clone(&over), Arc::clone(&reads));
        readers.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                check_read(&owner.get("").await.ok().json());
                reads.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(Client::new(number, owner.clone()).work());
    }
    let settled: i64 = clients.join_all().await.into_iter().sum();
    over.store(true, Ordering::Relaxed);
    readers.join_all().await;
    let last = owner.get("").await.ok().json();
    check_read(&last);
    let root = &last["budgets"][0];
    assert_eq!((nanos(root, "spent"), nanos(root, "held")), (settled, 0));
    assert_eq!(own_limits(&last), CLIENTS as i64 * 2 * OWN);
    assert!(settled > 0 && reads.load(Ordering::Relaxed) > 10);
    house.check_books().await;
    house.stop().await;
}

// === impl Client ===

impl Client {
    fn new(number: u64, someone: Someone) -> Client {
        Client {
            number,
            someone,
            random: number + 1,
            holds: 0,
            open: Vec::new(),
            own: [OWN, OWN],
            settled: 0,
        }
    }

    /// Does whatever comes to its mind, ends what it began, and returns what it settled.
    async fn work(mut self) -> i64 {
        for operation in 0..OPERATIONS {
            match self.draw(8) {
                0..=2 => {
                    let path = match self.draw(3) {
                        0 => format!("run/own{}l", self.number),
                        _ => self.shared(),
                    };
                    let someone = self.someone.clone();
                    self.hold(&someone, &path).await;
                }
                3 | 4 => self.end_one().await,
                5 => self.lend().await,
                6 => self.move_own(operation).await,
                _ => self.use_a_child(operation).await,
            }
        }
        while !self.open.is_empty() {
            self.end_one().await;
        }
        self.settled
    }

    async fn hold(&mut self, someone: &Someone, path: &str) {
        self.holds += 1;
        let id = hold_id(self.number << 32 | self.holds);
        let amount = 1_000_000 + self.draw(60_000_000) as i64;
        let body = json!({ "id": id, "cost": usd(amount) });
        let answer = someone.post(&format!("/{path}/holds"), body).await;
        match answer.status {
            201 => self
                .open
                .push((someone.clone(), path.to_owned(), id, amount)),
            402 | 429 => {}
            status => panic!("a hold: {status} {}", answer.text()),
        }
    }

    async fn end_one(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let at = self.draw(self.open.len() as u64) as usize;
        let (someone, path, id, held) = self.open.swap_remove(at);
        let hold = format!("/{path}/holds/{id}");
        if self.draw(4) == 0 {
            someone.post(&format!("{hold}/void"), json!({})).await.ok();
            return;
        }
        let charged = self.draw(held as u64 + 1) as i64;
        // Sent twice, as by a client that heard no answer.
        for _ in 0..2 {
            let body = json!({ "cost": usd(charged) });
            someone.post(&format!("{hold}/settle"), body).await.ok();
        }
        self.settled += charged;
    }

    async fn lend(&mut self) {
        let (lender, borrower) = (self.shared(), self.shared());
        let body = json!({ "borrower": borrower, "cost": usd(1 + self.draw(50_000_000) as i64) });
        let answer = self.someone.post(&format!("/{lender}/loans"), body).await;
        assert!([200, 409].contains(&answer.status), "{}", answer.text());
    }

    /// Lowers the limit of one of its own budgets, then raises the other's by as much.
    async fn move_own(&mut self, operation: u64) {
        let from = self.draw(2) as usize;
        if self.own[from] < MOVED {
            return;
        }
        let path = |at: usize| format!("/run/own{}{}", self.number, ["l", "r"][at]);
        self.own[from] -= MOVED;
        self.own[1 - from] += MOVED;
        let lowered = json!({ "cost": usd(self.own[from]) });
        self.someone.patch(&path(from), lowered).await.ok();
        let (id, raise) = (
            format!("m{}-{operation}", self.number),
            json!({ "cost": usd(MOVED) }),
        );
        let to = format!("{}/topup", path(1 - from));
        for _ in 0..2 {
            self.someone.post_once(&id, &to, raise.clone()).await.ok();
        }
    }

    /// Allocates a child of a shared budget, lets it spend, and releases it.
    async fn use_a_child(&mut self, operation: u64) {
        let parent = self.shared();
        let name = format!("c{}-{operation}", self.number);
        let path = format!("{parent}/{name}");
        let body = json!({ "path": path, "cost": "0.05", "guarantee": { "cost": "0.01" } });
        let answer = self.someone.post("", body).await;
        // It does not fit, or so many are not made at once.
        if matches!(answer.status, 409 | 429) {
            return;
        }
        assert_eq!(answer.status, 201, "{}", answer.text());
        let child = Someone {
            client: self.someone.client.clone(),
            credential: answer.json()["token"].as_str().expect("a token").to_owned(),
        };
        let before = self.open.len();
        self.hold(&child, &name).await;
        let release = format!("/{path}/release");
        let answer = self.someone.post(&release, json!({})).await;
        let running = self.open.len() > before;
        assert_eq!(
            answer.status,
            if running { 409 } else { 200 },
            "{}",
            answer.text()
        );
    }

    fn shared(&mut self) -> String {
        format!("run/shared{}", self.draw(SHARED))
    }

    /// Draws a number below `bound`: splitmix64.
    fn draw(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Checks the laws of one read.
#[track_caller]
fn check_read(read: &Value) {
    let budgets = read["budgets"].as_array().expect("a list");
    let mut below: HashMap<&str, (i64, i64)> = HashMap::new();
    let mut loaned = 0;
    for budget in budgets {
        loaned += nanos(budget, "loaned");
        if let Some(parent) = budget["parent"].as_str() {
            let sum = below.entry(parent).or_default();
            sum.0 += nanos(budget, "spent");
            sum.1 += nanos(budget, "held");
        }
    }
    assert_eq!(loaned, 0, "loans move limits");
    for budget in budgets {
        let path = budget["path"].as_str().expect("a path");
        let (spent, held) = (nanos(budget, "spent"), nanos(budget, "held"));
        let (spent_below, held_below) = below.get(path).copied().unwrap_or_default();
        let own = nanos(budget, "own_spent");
        assert_eq!(spent, own + spent_below, "{path}: spent adds up");
        assert!(
            held >= held_below,
            "{path}: held {held}, below {held_below}"
        );
        if path == "run" {
            assert_eq!(held, held_below, "nobody holds at the root itself");
        }
        // Those that their clients lower may be below what is committed.
        if !path.starts_with("run/own") {
            let limit = nanos(budget, "limit") + nanos(budget, "loaned");
            assert!(spent + held <= limit, "{path}: {spent} + {held} > {limit}");
        }
    }
    let (limits, all) = (own_limits(read), CLIENTS as i64 * 2 * OWN);
    let moving = CLIENTS as i64 * MOVED;
    assert!((all - moving..=all).contains(&limits), "{limits} of {all}");
}

/// Sums the limits of the clients' own budgets.
fn own_limits(read: &Value) -> i64 {
    let budgets = read["budgets"].as_array().expect("a list");
    let own = |budget: &&Value| {
        let path = budget["path"].as_str();
        path.is_some_and(|path| path.starts_with("run/own"))
    };
    budgets
        .iter()
        .filter(own)
        .map(|budget| nanos(budget, "limit"))
        .sum()
}

fn usd(nanos: i64) -> String {
    fisc::Money::from_nanos(nanos).to_decimal()
}
