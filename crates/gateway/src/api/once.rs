//! Requests that are carried out once, however often they are sent.
//!
//! A client's id names one request of one credential for as long as the process remembers it.
//! Only what succeeded is remembered: after an error nothing was changed, and the same request
//! may succeed later. The answers hold no token; see [`super::Reply`].

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::problem::{Kind, Problem};
use super::{Call, Reply};

/// How many requests are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// The longest id, in bytes.
const ID_BYTES_MAX: usize = 128;

/// What was asked under an id, and what came of it.
#[derive(Debug, Clone)]
struct Record {
    asked: [u8; 32],
    reply: Reply,
}

/// Held while its request is carried out: who sends it again meanwhile waits for the answer.
type Slot = Arc<tokio::sync::Mutex<Option<Record>>>;

/// The requests that are remembered.
#[derive(Debug, Default)]
pub(super) struct Once(Mutex<Slots>);

#[derive(Debug, Default)]
struct Slots {
    by_id: HashMap<(String, String), Slot>,
    order: VecDeque<(String, String)>,
}

// === impl Once ===

impl Once {
    /// Carries a request out, unless it was already: then its answer is repeated. `id` is the one
    /// in its body, if any.
    pub(super) async fn run(
        &self,
        call: &Call,
        id: Option<&str>,
        carry_out: impl Future<Output = Result<Reply, Problem>>,
    ) -> Result<Reply, Problem> {
        let Some(id) = call.client_id(id)? else {
            return carry_out.await;
        };
        let asked = fingerprint(call);
        let slot = self.slot((call.caller.root().to_owned(), id));
        let mut record = slot.lock().await;
        match &*record {
            Some(done) if done.asked == asked => return Ok(done.reply.clone()),
            Some(_) => {
                let detail = "another request was carried out under this id";
                return Err(Problem::new(Kind::IdReused, detail));
            }
            None => {}
        }
        let reply = carry_out.await?;
        *record = Some(Record {
            asked,
            reply: reply.clone(),
        });
        Ok(reply)
    }

    fn slot(&self, key: (String, String)) -> Slot {
        // Nothing can panic in the middle of a change.
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.by_id.get(&key) {
            return Arc::clone(slot);
        }
        if slots.order.len() == REMEMBERED_MAX
            && let Some(oldest) = slots.order.pop_front()
        {
            slots.by_id.remove(&oldest);
        }
        let slot = Slot::default();
        slots.order.push_back(key.clone());
        slots.by_id.insert(key, Arc::clone(&slot));
        slot
    }
}

/// Says whether a client's id can be one: short and printable.
pub(super) fn is_id(id: &str) -> bool {
    let printable = |byte: u8| byte.is_ascii_graphic();
    (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(printable)
}

/// Hashes what is asked: what differs only in white space or in the order of members is the same.
fn fingerprint(call: &Call) -> [u8; 32] {
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(format!("{} {}\n{body}", call.method, call.path));
    hash.finalize().into()
}
