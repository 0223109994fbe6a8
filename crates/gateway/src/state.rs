//! What every request shares: the books, the prices, what was learned, the upstreams.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fisc::{Fisc, Resource};
use fisc_llm::{Learner, PriceBook};
use tokio::sync::watch;

use crate::policy::Policy;
use crate::proxy::identify::Callers;
use crate::routes::Provider;
use crate::upstream::{Client, Upstream};

/// What every request shares.
pub(crate) struct State {
    pub(crate) fisc: Fisc,
    pub(crate) callers: Callers,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) client: Client,
    pub(crate) prices: PriceBook,
    pub(crate) policy: Policy,
    pub(crate) traffic: Traffic,
    learned: Mutex<Learner>,
    stopped: watch::Sender<bool>,
}

/// Counters of what passed, for whoever runs the gateway.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Calls that wait for room now.
    pub(crate) waiting: AtomicU32,
    /// Calls that were admitted.
    pub(crate) admitted: AtomicU64,
    /// Calls that were refused for good since the last one that was admitted.
    pub(crate) refused_in_a_row: AtomicU64,
    /// Calls that were refused for good.
    pub(crate) refused: AtomicU64,
    limiting: Mutex<Option<Limiting>>,
}

/// What stopped a call for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limiting {
    /// The path of the budget.
    pub budget: String,
    /// The resource, or `None` for elapsed time.
    pub resource: Option<Resource>,
}

// === impl State ===

impl State {
    pub(crate) fn new(
        fisc: Fisc,
        callers: Callers,
        upstreams: Vec<Upstream>,
        client: Client,
        prices: PriceBook,
        policy: Policy,
    ) -> State {
        State {
            fisc,
            callers,
            upstreams,
            client,
            prices,
            policy,
            traffic: Traffic::default(),
            learned: Mutex::default(),
            stopped: watch::Sender::new(false),
        }
    }

    /// Locks what was learned. Taken inside the engine's lock, so never the other way round.
    pub(crate) fn learned(&self) -> MutexGuard<'_, Learner> {
        // What is learned are estimates: one cut short by a panic is still an estimate.
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all calls that run.
    pub(crate) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Waits until all calls are to end.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopped = self.stopped.subscribe();
        async move {
            // The sender lives as long as the state, which outlives all calls.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        }
    }

    /// Returns where calls of a provider go.
    pub(crate) fn upstream(&self, provider: Provider) -> Option<&Upstream> {
        self.upstreams
            .iter()
            .find(|upstream| upstream.provider() == provider)
    }
}

// === impl Traffic ===

impl Traffic {
    pub(crate) fn count_admitted(&self) {
        self.admitted.fetch_add(1, Ordering::Relaxed);
        self.refused_in_a_row.store(0, Ordering::Relaxed);
    }

    /// Counts a call that was refused for good, and which budget did so, if one did.
    pub(crate) fn count_refused(&self, limiting: Option<Limiting>) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.refused_in_a_row.fetch_add(1, Ordering::Relaxed);
        if limiting.is_some() {
            *self.limiting.lock().unwrap_or_else(PoisonError::into_inner) = limiting;
        }
    }

    pub(crate) fn limiting(&self) -> Option<Limiting> {
        self.limiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
