//! What telling an agent its budget costs: a coding agent's session, its history longer call by
//! call, once told at each level and once never. Beside the tokens, the requests are compared as
//! the provider got them, byte by byte.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use fisc::core::{Amount, Money, Resource, TimeUs, Tokens};
use fisc::{Level, Terms};
use fisc_gateway::{Action, Actions, Credential, Measures, NoticeForm, Policy};
use fisc_rehearsal::Wire;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::agents::simple;
use crate::harness::{House, Plan, limited};
use crate::raw::{self, Beside};

const WIRES: [Wire; 2] = [Wire::OpenAi, Wire::Anthropic];
/// How many calls a session has.
const CALLS: usize = 36;
/// The most that telling an agent may add, in thousandths of all tokens.
const ADDED_MAX: u64 = 3;
/// What all may spend, in nano-dollars: a session is nothing beside it.
const LIMIT: i64 = 1_000_000_000_000;
/// Before which calls others spend how many thousandths of that, and the level after it.
const SPENDING: [(usize, i64, Level); 3] = [
    (9, 550, Level::Yellow),
    (18, 250, Level::Orange),
    (27, 120, Level::Red),
];

/// One session.
struct Session {
    /// The bodies as the provider got them.
    bodies: Vec<Vec<u8>>,
    /// What they were, read and generated, in tokens.
    tokens: u64,
    /// What the budget of Fisc paid of them: an estimate of what the notices added.
    own: u64,
    /// The input of the last call.
    last_input: u64,
}

/// A way to the provider that keeps what passes.
struct Recorder {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
    serving: JoinHandle<()>,
}

#[tokio::test]
async fn notices_are_cheap_rare_and_change_nothing_before_them() {
    for wire in WIRES {
        let (plain, told) = (session(wire, false).await, session(wire, true).await);
        assert_eq!((plain.bodies.len(), told.bodies.len()), (CALLS, CALLS));
        let mut places = Vec::new();
        for (number, (plain, told)) in plain.bodies.iter().zip(&told.bodies).enumerate() {
            if plain != told {
                places.push(number);
                check_notice(plain, told);
            }
        }
        // Once at each level, in the first call of it, and gone with the next.
        assert_eq!(places, SPENDING.map(|(call, ..)| call));
        let added = told.tokens - plain.tokens;
        let per_mille = added as f64 * 1_000.0 / told.tokens as f64;
        println!(
            "{wire:?}: {added} tokens of {} for notices, {per_mille:.2} per mille, paid as {}; \
             {} tokens of input at the end",
            told.tokens, told.own, told.last_input
        );
        assert!(told.own.abs_diff(added) * 2 <= added, "about: {}", told.own);
        assert!(added > 0, "they are read");
        assert!(added * 1_000 <= told.tokens * ADDED_MAX, "{per_mille}");
        assert!(
            (8_000..14_000).contains(&plain.last_input),
            "{}",
            plain.last_input
        );
    }
}

#[tokio::test]
async fn nobody_is_told_any_more_when_a_hundredth_of_the_budget_went_into_telling() {
    const TOKENS: i64 = 30_000;
    let mut policy = policy(true);
    let notice = vec![Action::Notice];
    let actions = &mut policy.usual.actions;
    actions.set(Level::Yellow, Some(Resource::Tokens), notice);
    let house = House::start(Plan {
        root: limited(Resource::Tokens, TOKENS),
        policy,
        ..Plan::default()
    })
    .await;
    let amount = Amount::new(Tokens(16_000), Money::ZERO, TimeUs(0));
    house.spend(amount).await;
    let mut told = 0;
    for agent in 0..30 {
        let path = house.path(Wire::OpenAi, &format!("agent-{agent}"));
        let body = simple("[[rehearsal tokens=9]] Is it?", Some(9), false);
        let answer = house.client.post_json(&path, &[], body).await;
        let answer = answer.expect("the gateway answers").ok();
        told += u32::from(answer.header("fisc-changed").is_some());
    }
    let own = house.status("run/fisc");
    let spent = own.spent.tokens().0;
    assert_eq!(own.terms.limits.get(Resource::Tokens), Some(TOKENS / 100));
    assert!(
        (TOKENS / 100 * 9 / 10..=TOKENS / 100).contains(&spent),
        "{spent}"
    );
    assert!((5..20).contains(&told), "{told} of 30, for {spent} tokens");
    house.check_books().await;
    house.stop().await;
}

#[tokio::test]
async fn anthropic_is_told_in_its_own_way_where_tokens_are_scarce() {
    const TOKENS: i64 = 40_000;
    let mut policy = policy(true);
    policy.usual.notice = NoticeForm::Native;
    let notice = vec![Action::Notice];
    let actions = &mut policy.usual.actions;
    actions.set(Level::Yellow, Some(Resource::Tokens), notice);
    let house = House::start(Plan {
        root: limited(Resource::Tokens, TOKENS),
        ..Plan::default()
    })
    .await;
    let recorder = Recorder::start(house.rehearsal.address()).await;
    let key = Credential::ApiKey(fisc_gateway::Secret::new("sk-recorded"));
    let mut beside = Beside::new(&house, &format!("http://{}", recorder.address), &key);
    beside.policy = policy;
    let gateway = beside.start(&house).await;
    let amount = Amount::new(Tokens(22_000), Money::ZERO, TimeUs(0));
    house.spend(amount).await;
    let plain = json!({ "model": "claude-sonnet-4-5", "max_tokens": 9,
        "messages": [{ "role": "user", "content": "[[rehearsal tokens=9]] Go on." }] });
    // With no such member, an empty one, one with others, and the caller's own budget.
    let configs = [
        (None, true),
        (Some(json!({})), true),
        (Some(json!({ "effort": "high" })), true),
        (
            Some(json!({ "task_budget": { "type": "tokens", "total": 30_000 } })),
            false,
        ),
    ];
    for (number, (config, native)) in configs.into_iter().enumerate() {
        let mut body = plain.clone();
        if let Some(config) = &config {
            body["output_config"] = config.clone();
        }
        let path = house.path(Wire::Anthropic, &format!("agent-{number}"));
        let headers = [("anthropic-beta", "their-own-2026-01-01")];
        let request = raw::post(&path, &headers, body.to_string().as_bytes());
        let seen = raw::exchange(gateway.addr(), &request).await;
        assert_eq!(seen.status, 200, "{}", seen.text());
        let told = seen.header("fisc-changed").unwrap_or_default();
        let form = if native {
            "notice=native"
        } else {
            "notice=yellow"
        };
        assert_eq!(told, form, "{config:?}");
        let sent = recorder.requests.lock().expect("no panic").pop();
        let sent = sent.expect("a request");
        let head = String::from_utf8_lossy(&sent).to_ascii_lowercase();
        let beta = head
            .lines()
            .find_map(|line| line.strip_prefix("anthropic-beta: "));
        let budget = if native {
            ",task-budgets-2026-03-13"
        } else {
            ""
        };
        assert_eq!(beta, Some(format!("their-own-2026-01-01{budget}").as_str()));
        let sent: Value = serde_json::from_slice(&body_of(&sent)).expect("JSON");
        if native {
            let mut expected = config.unwrap_or_else(|| json!({}));
            let left = sent["output_config"]["task_budget"]["remaining"].as_i64();
            assert!(
                left.is_some_and(|left| (17_000..=18_000).contains(&left)),
                "{sent}"
            );
            expected["task_budget"] =
                json!({ "type": "tokens", "total": TOKENS, "remaining": left });
            assert_eq!(sent["output_config"], expected);
            assert_eq!(sent["messages"], plain["messages"], "nothing else is said");
        } else {
            assert_eq!(Some(&sent["output_config"]), config.as_ref());
        }
    }
    gateway.shutdown(std::time::Duration::from_secs(1)).await;
    house.check_books().await;
    house.stop().await;
}

/// Checks that a body is another with a notice at the end of its last message.
#[track_caller]
fn check_notice(plain: &[u8], told: &[u8]) {
    let same = |(a, b): &(&u8, &u8)| a == b;
    let before = plain.iter().zip(told).take_while(same).count();
    let after = plain.iter().rev().zip(told.iter().rev());
    let after = after.take_while(same).count().min(plain.len() - before);
    assert_eq!(before + after, plain.len(), "nothing is taken out");
    let read = |body| serde_json::from_slice::<Value>(body).expect("JSON");
    let (plain, mut told) = (read(plain), read(told));
    let last = told["messages"]
        .as_array_mut()
        .expect("messages")
        .last_mut();
    let parts = last.expect("a message")["content"].as_array_mut();
    let notice = parts.expect("parts").pop().expect("a notice");
    assert_eq!(plain, told, "all else is as it was");
    let text = notice["text"].as_str().expect("a text");
    assert!(text.starts_with("[budget] "), "{text}");
    assert!(text.contains("% of your money is used, $"), "{text}");
}

/// Plays a session.
async fn session(wire: Wire, notices: bool) -> Session {
    let house = House::start(Plan {
        root: Terms {
            reserve: fisc::Permille(0),
            ..limited(Resource::Cost, LIMIT)
        },
        ..Plan::default()
    })
    .await;
    let recorder = Recorder::start(house.rehearsal.address()).await;
    let key = Credential::ApiKey(fisc_gateway::Secret::new("sk-recorded"));
    let mut beside = Beside::new(&house, &format!("http://{}", recorder.address), &key);
    beside.policy = policy(notices);
    let gateway = beside.start(&house).await;
    let path = house.path(wire, "coder");
    for call in 0..CALLS {
        if let Some((_, part, level)) = SPENDING.iter().find(|(before, ..)| *before == call) {
            spend(&house, LIMIT / 1_000 * part).await;
            assert_eq!(house.root().level(), *level);
        }
        let body = body(wire, call).to_string();
        let seen = raw::exchange(gateway.addr(), &raw::post(&path, &[], body.as_bytes())).await;
        assert_eq!(seen.status, 200, "{}", seen.text());
        let changed = seen.header("fisc-changed").unwrap_or_default();
        let due = notices && SPENDING.iter().any(|(before, ..)| *before == call);
        assert_eq!(changed.contains("notice="), due, "{call}: {changed:?}");
    }
    house.check_books().await;
    let truth = house.truth().await;
    assert_eq!(truth.len(), CALLS);
    // What was added is paid by the budget of Fisc, and all adds up to what it did cost.
    let of = |path: &str| house.fisc.budget(path).map(|budget| budget.status().spent);
    let (coder, own) = (of("run/coder").expect("it called"), of("run/fisc"));
    let own = own.unwrap_or(Amount::ZERO);
    assert_eq!(own.cost().nanos() > 0, notices);
    let paid = coder.checked_add(own).expect("in range");
    assert_eq!(paid.tokens(), house.sum(&truth).tokens());
    let tokens = truth.iter().map(|record| {
        let usage = &record.canonical;
        usage.input_total() + usage.output_total()
    });
    let bodies = recorder.requests.lock().expect("no panic").clone();
    let session = Session {
        own: own.tokens().0.unsigned_abs(),
        bodies: bodies.iter().map(|request| body_of(request)).collect(),
        tokens: tokens.sum(),
        last_input: truth[CALLS - 1].canonical.input_total(),
    };
    gateway.shutdown(std::time::Duration::from_secs(1)).await;
    house.stop().await;
    session
}

/// Nothing but the notices is done.
fn policy(notices: bool) -> Policy {
    let mut actions = Actions::default();
    for level in Actions::LEVELS {
        actions.set(level, Some(Resource::Cost), vec![]);
    }
    if notices {
        actions.set(Level::Yellow, Some(Resource::Cost), vec![Action::Notice]);
    }
    Policy {
        usual: Measures {
            actions,
            ..Measures::default()
        },
        ..Policy::default()
    }
}

/// Lets others spend.
async fn spend(house: &House, nanos: i64) {
    let amount = Amount::new(Tokens(0), Money::from_nanos(nanos), TimeUs(0));
    house.spend(amount).await;
}

/// Writes the body of a session's call: what was said and done so far, and one more result.
fn body(wire: Wire, call: usize) -> Value {
    let mut messages = Vec::new();
    for turn in 0..=call {
        if turn > 0 {
            let said = format!("I read part {turn}. It calls the next one, so I look at that too.");
            messages.push(json!({ "role": "assistant", "content": said }));
        }
        messages.push(json!({ "role": "user", "content": [
            { "type": "text", "text": result(turn) },
            { "type": "text", "text": "[[rehearsal tokens=90]] Go on." },
        ]}));
    }
    let system = "You are a coding agent. You change as little as is needed. ".repeat(30);
    match wire {
        Wire::OpenAi => {
            messages.insert(0, json!({ "role": "system", "content": system }));
            json!({ "model": "gpt-4o-mini", "max_tokens": 400, "messages": messages })
        }
        Wire::Anthropic => json!({
            "model": "claude-sonnet-4-5", "max_tokens": 400, "messages": messages,
            "system": [
                { "type": "text", "text": system, "cache_control": { "type": "ephemeral" } },
            ],
        }),
    }
}

/// Returns what a tool said.
fn result(turn: usize) -> String {
    let line = |number| format!("{number:4} | let part_{turn}_{number} = read({number})?;\n");
    (0..18).map(line).collect()
}

/// Returns a request's body.
fn body_of(request: &[u8]) -> Vec<u8> {
    let head = request.windows(4).position(|four| four == b"\r\n\r\n");
    request[head.expect("a whole head") + 4..].to_vec()
}

// === impl Recorder ===

impl Recorder {
    async fn start(provider: SocketAddr) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let requests = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let kept = Arc::clone(&requests);
        let serving = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(pass(socket, provider, Arc::clone(&kept)));
            }
        });
        Recorder {
            address,
            requests,
            serving,
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Passes the requests of one connection, one by one, and their answers.
async fn pass(mut socket: TcpStream, provider: SocketAddr, kept: Arc<Mutex<Vec<Vec<u8>>>>) {
    // Whoever hangs up between requests is done.
    while socket.peek(&mut [0]).await.is_ok_and(|bytes| bytes > 0) {
        let request = raw::whole_request(&mut socket).await;
        let mut to_provider = raw::send(provider, &request).await;
        if !request.starts_with(b"POST /v1/messages/count_tokens") {
            kept.lock().expect("no panic").push(request);
        }
        let answer = raw::read_some(&mut to_provider, usize::MAX).await;
        if socket.write_all(&answer).await.is_err() {
            return;
        }
    }
}
