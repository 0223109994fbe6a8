//! Requests that are carried out once, however often they are sent.
//!
//! A client's id names one request of one credential's budget. What was done under it is noted in
//! the ledger together with the change itself, so that neither is there without the other after
//! a crash; what the answer said is remembered as long as the process lives. Only what changed
//! something is remembered: after any other error the same request may succeed later. Neither
//! notes nor answers hold a token; see [`super::Reply`].

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use fisc::{BudgetId, Fisc, Note};
use fisc_core::Amount;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::problem::{Kind, Problem};
use super::{Call, Reply, budgets};
use crate::proxy::identify::DelegateNumber;

/// How many requests are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// The longest id, in bytes.
const ID_BYTES_MAX: usize = 128;

/// What the keys of notes begin with.
const NOTES: &str = "once/";

/// What a request did, enough to answer it again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Done {
    Allocated {
        budget: u32,
        delegate: DelegateNumber,
    },
    ToppedUp {
        budget: u32,
    },
    Lent {
        lender: String,
        borrower: String,
        lent: [i64; 3],
    },
}

/// By which a request says what it did, at the moment in which it does it.
#[derive(Clone)]
pub(super) struct Mark {
    /// The key of its note; `None` for a request without an id.
    key: Option<String>,
    /// The hash of what is asked, in digits.
    asked: String,
    done: Arc<OnceLock<Done>>,
}

/// What was asked under an id, and what came of it.
#[derive(Debug, Clone)]
struct Record {
    asked: String,
    answer: Answer,
}

#[derive(Debug, Clone)]
enum Answer {
    /// As it was given.
    Given(Reply),
    /// To be made of what was done.
    Of(Done),
}

/// A record as the ledger keeps it.
#[derive(Serialize, Deserialize)]
struct Kept {
    asked: String,
    done: Done,
}

/// Which request is meant: whose, and its id.
type Key = (BudgetId, String);

/// Held while its request is carried out: who sends it again meanwhile waits for the answer.
type Slot = Arc<tokio::sync::Mutex<Option<Record>>>;

/// The requests that are remembered.
#[derive(Debug, Default)]
pub(super) struct Once(Mutex<Slots>);

#[derive(Debug, Default)]
struct Slots {
    by_id: HashMap<Key, Slot>,
    order: VecDeque<Key>,
}

// === impl Once ===

impl Once {
    /// Takes up what the ledger keeps of an earlier life.
    pub(super) fn restore(&self, fisc: &Fisc) -> Result<(), fisc::Error> {
        for (place, note) in fisc.notes(NOTES)? {
            let Some((key, record)) = read(&place, &note) else {
                tracing::warn!(place, "the ledger keeps a request that cannot be read");
                continue;
            };
            let slot = self.slot(fisc, key);
            let free = slot.try_lock();
            *free.expect("nothing is served yet") = Some(record);
        }
        Ok(())
    }

    /// Carries a request out, unless it was already: then its answer is repeated. `id` is the one
    /// in its body, if any.
    pub(super) async fn run<F>(
        &self,
        call: &Call,
        id: Option<&str>,
        carry_out: impl FnOnce(Mark) -> F,
    ) -> Result<Reply, Problem>
    where
        F: Future<Output = Result<Reply, Problem>>,
    {
        let asked = fingerprint(call);
        let mut mark = Mark {
            key: None,
            asked: asked.clone(),
            done: Arc::default(),
        };
        let Some(id) = call.client_id(id)? else {
            return carry_out(mark).await;
        };
        let fisc = &call.state.fisc;
        let root = fisc.budget(call.caller.root());
        let key = (root.map_err(|error| call.problem(&error))?.id(), id);
        mark.key = Some(note_key(&key));
        let slot = self.slot(fisc, key);
        let mut record = slot.lock().await;
        match &*record {
            Some(former) if former.asked == asked => return former.answer.reply(call),
            Some(_) => {
                let detail = "another request was carried out under this id";
                return Err(Problem::new(Kind::IdReused, detail));
            }
            None => {}
        }
        let done = Arc::clone(&mark.done);
        let reply = carry_out(mark).await;
        // What is done is done, also when the disk did not say so: it may be written later.
        let answer = match (&reply, done.get()) {
            (Ok(reply), _) => Some(Answer::Given(reply.clone())),
            (Err(_), Some(done)) => Some(Answer::Of(done.clone())),
            (Err(_), None) => None,
        };
        *record = answer.map(|answer| Record { asked, answer });
        reply
    }

    fn slot(&self, fisc: &Fisc, key: Key) -> Slot {
        let mut slots = self.slots();
        if let Some(slot) = slots.by_id.get(&key) {
            return Arc::clone(slot);
        }
        if slots.order.len() == REMEMBERED_MAX
            && let Some(oldest) = slots.order.pop_front()
        {
            slots.by_id.remove(&oldest);
            fisc.note(Note {
                key: note_key(&oldest),
                value: None,
            });
        }
        let slot = Slot::default();
        slots.order.push_back(key.clone());
        slots.by_id.insert(key, Arc::clone(&slot));
        slot
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        // Nothing can panic in the middle of a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Mark ===

impl Mark {
    /// Says what was done, and returns what is to be noted with it.
    pub(super) fn note(&self, done: Done) -> Vec<Note> {
        let Some(key) = &self.key else {
            return Vec::new();
        };
        let asked = self.asked.clone();
        let kept = Kept { asked, done };
        let value = serde_json::to_string(&kept).expect("text and numbers are JSON");
        // A request does one thing.
        let _ = self.done.set(kept.done);
        vec![Note {
            key: key.clone(),
            value: Some(value),
        }]
    }
}

// === impl Answer ===

impl Answer {
    fn reply(&self, call: &Call) -> Result<Reply, Problem> {
        match self {
            Answer::Given(reply) => Ok(reply.clone()),
            Answer::Of(Done::Allocated { budget, delegate }) => {
                budgets::allocated_again(call, BudgetId(*budget), *delegate)
            }
            Answer::Of(Done::ToppedUp { budget }) => {
                budgets::topped_up_again(call, BudgetId(*budget))
            }
            Answer::Of(Done::Lent {
                lender,
                borrower,
                lent,
            }) => {
                let lent = Amount::from_raw(*lent);
                Ok(budgets::lent_again(lender, borrower, lent))
            }
        }
    }
}

/// Says whether a client's id can be one: short and printable.
pub(super) fn is_id(id: &str) -> bool {
    let printable = |byte: u8| byte.is_ascii_graphic();
    (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(printable)
}

fn note_key((root, id): &Key) -> String {
    format!("{NOTES}{}/{id}", root.0)
}

fn read(place: &str, note: &str) -> Option<(Key, Record)> {
    let (root, id) = place.split_once('/')?;
    let kept: Kept = serde_json::from_str(note).ok()?;
    let record = Record {
        asked: kept.asked,
        answer: Answer::Of(kept.done),
    };
    Some(((BudgetId(root.parse().ok()?), id.to_owned()), record))
}

/// Hashes what is asked: what differs only in white space or in the order of members is the same.
fn fingerprint(call: &Call) -> String {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let asked = format!("{} {}\n{body}", call.method, call.path);
    let digest = Sha256::digest(asked);
    digest.iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("a String takes everything");
        digits
    })
}
