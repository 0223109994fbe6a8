//! What every request shares: the books, the prices, what was learned, the upstreams.

mod births;
pub(crate) mod questions;
mod recall;
mod traffic;
mod upkeep;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fisc::Fisc;
use fisc_llm::{Learner, PriceBook};
use tokio::sync::watch;

use crate::alerts::{Alerts, Webhook};
use crate::api::Api;
use crate::policy::Policy;
use crate::proxy::act::Told;
use crate::proxy::identify::Callers;
use crate::routes::Provider;
use crate::upstream::{Client, Upstream};

pub(crate) use self::births::Births;
pub(crate) use self::questions::{Asking, Questions, Verdict, Waiting};
pub use self::questions::{NotApproved, Question};
pub use self::traffic::Limiting;
pub(crate) use self::traffic::{Final, RanOut, Traffic};
pub(crate) use self::upkeep::{Paid, Upkeep};

/// What every request shares.
pub(crate) struct State {
    pub(crate) fisc: Fisc,
    pub(crate) callers: Callers,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) client: Client,
    pub(crate) prices: PriceBook,
    pub(crate) policy: Policy,
    pub(crate) traffic: Traffic,
    pub(crate) api: Api,
    /// Which agents were told how their budgets stand.
    pub(crate) told: Told,
    pub(crate) births: Births,
    /// The budget that pays what is added to calls.
    pub(crate) upkeep: Upkeep,
    /// What the owners of budgets are asked.
    pub(crate) questions: Questions,
    /// Whether any of them may be asked.
    pub(crate) asks: bool,
    pub(crate) alerts: Alerts,
    learned: Mutex<Learner>,
    stopped: watch::Sender<bool>,
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
        webhooks: Vec<Webhook>,
    ) -> State {
        State {
            fisc,
            callers,
            upstreams,
            client,
            prices,
            traffic: Traffic::new(policy.max_refusals),
            alerts: Alerts::new(webhooks, policy.on_runaway),
            asks: policy.asks(),
            policy,
            api: Api::default(),
            told: Told::default(),
            births: Births::default(),
            upkeep: Upkeep::default(),
            questions: Questions::default(),
            learned: Mutex::default(),
            stopped: watch::Sender::new(false),
        }
    }

    /// Learns again what earlier calls needed: those of other ledgers, and of the own one.
    pub(crate) fn recall(&self, others: &[PathBuf]) {
        let own = self.fisc.ledger().map(Path::to_path_buf);
        for ledger in others.iter().chain(&own) {
            match recall::recall(&mut self.learned(), ledger) {
                Ok(calls) => tracing::debug!(calls, ledger = %ledger.display(), "recalled"),
                // Estimates are worse without it; nothing rests on them.
                Err(error) => tracing::warn!(%error, "what earlier calls needed is not known"),
            }
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
        self.api.stop();
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
