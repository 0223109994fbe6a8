//! A gateway: built of settings, run in the background, watched and stopped by its owner.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fisc::{Amount, Answer, Fisc};
use fisc_llm::{Accuracy, PriceBook};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::alerts::{self, AlertCounts, Telling, Webhook};
use crate::policy::Policy;
use crate::proxy::identify::{Callers, Delegates, Hosts, Keyring};
use crate::server::Server;
use crate::state::{Limiting, NotApproved, Question, State};
use crate::upstream::{Upstream, client};

/// How often the levels of elapsed time are looked at.
const TICK: Duration = Duration::from_millis(200);

/// How often it is looked whether all holds have ended.
const REST_CHECK: Duration = Duration::from_millis(5);

/// How long calls may take to end once they are told to.
const ENDING_MAX: Duration = Duration::from_secs(2);

/// How long the last alerts may take to be delivered.
const ALERTS_MAX: Duration = Duration::from_secs(2);

/// How long to pause between two tries to open a ledger anew.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// What a gateway is built of.
pub struct Parts {
    /// Where to listen.
    pub listener: TcpListener,
    /// Names, besides loopback's, under which requests may come.
    pub hosts: Vec<String>,
    /// Who may call.
    pub keyring: Keyring,
    /// Where calls go, at most one for each provider.
    pub upstreams: Vec<Upstream>,
    /// What models cost.
    pub prices: PriceBook,
    /// What the owner decided about calls.
    pub policy: Policy,
    /// Who is told what happens.
    pub webhooks: Vec<Webhook>,
    /// Ledgers whose calls tell what such calls need, besides the own one.
    pub taught_by: Vec<PathBuf>,
}

/// A running gateway. Dropping it stops it at once; [`Gateway::shutdown`] drains it.
pub struct Gateway {
    state: Arc<State>,
    server: Server,
    ticker: Ticker,
    telling: Telling,
}

/// Moves the levels of elapsed time.
struct Ticker(JoinHandle<()>);

/// How much passed through a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Calls that were admitted.
    pub admitted: u64,
    /// Calls that were refused for good.
    pub refused: u64,
    /// Calls that wait for room now.
    pub waiting: u32,
}

/// Moves levels by the clock, ends what is over, and opens the ledger anew after a storage error.
async fn tick(state: Arc<State>) {
    let fisc = &state.fisc;
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        fisc.tick();
        state.questions.tick(fisc);
        state.api.tick(&state).await;
        if fisc.trouble().is_some() {
            tokio::time::sleep(REOPEN_PAUSE).await;
            if let Err(error) = fisc.reopen().await {
                tracing::error!(%error, "the ledger cannot be opened anew");
            }
        }
    }
}

// === impl Gateway ===

impl Gateway {
    /// Starts serving the budgets of `fisc`.
    pub fn start(parts: Parts, fisc: Fisc) -> io::Result<Gateway> {
        let Parts {
            listener,
            hosts,
            keyring,
            upstreams,
            prices,
            policy,
            webhooks,
            taught_by,
        } = parts;
        let hosts = Hosts::new(listener.local_addr()?.port(), hosts);
        let delegates = Delegates::new(fisc.clone());
        delegates.restore().map_err(io::Error::other)?;
        let callers = Callers::new(keyring, hosts, delegates);
        let state = State::new(fisc, callers, upstreams, client(), prices, policy, webhooks);
        state.api.restore(&state.fisc).map_err(io::Error::other)?;
        state.recall(&taught_by);
        let state = Arc::new(state);
        let server = Server::start(listener, Arc::clone(&state))?;
        let telling = alerts::start(&state);
        let ticker = tokio::spawn(tick(Arc::clone(&state)));
        Ok(Gateway {
            state,
            server,
            ticker: Ticker(ticker),
            telling,
        })
    }

    /// Returns the address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Returns how much passed so far.
    pub fn counts(&self) -> Counts {
        let traffic = &self.state.traffic;
        Counts {
            admitted: traffic.admitted(),
            refused: traffic.refused(),
            waiting: traffic.waiting(),
        }
    }

    /// Returns which budget stopped the agent that was stopped last: a call of it was refused
    /// because a budget has run out, or is smaller than the call and never served another, and
    /// none was admitted since. `None` when no agent is stopped.
    pub fn limiting(&self) -> Option<Limiting> {
        self.state.traffic.limiting()
    }

    /// Returns what the callers' own root has run out of, as the last call that was judged
    /// found; `None` when a call was admitted since.
    pub fn root_ran_out(&self) -> Option<Limiting> {
        self.state.traffic.root_ran_out()
    }

    /// Says whether nothing goes on but refusals: no call runs or waits, and of the agents that
    /// still call, each was refused [`Policy::max_refusals`] times in a row, or one was while
    /// the root has run out.
    pub fn only_refuses(&self) -> bool {
        let State {
            traffic,
            questions,
            fisc,
            ..
        } = &*self.state;
        let waits = |question: &Question| question.waiting > 0;
        !questions.open().iter().any(waits) && traffic.only_refuses(fisc.ticks())
    }

    /// Returns what the owners of budgets that have run out are asked, the oldest first.
    pub fn questions(&self) -> Vec<Question> {
        self.state.questions.open()
    }

    /// Raises the limits of the budget that a question is about, by its offer where no amount is
    /// named, and lets its calls go on. Returns what was added.
    ///
    /// # Errors
    /// When it is not open, or its limits cannot be raised by so much; nothing was changed then.
    pub async fn approve(&self, number: u64, more: Option<Amount>) -> Result<Amount, NotApproved> {
        let State {
            questions, fisc, ..
        } = &*self.state;
        questions.approve(fisc, number, more).await
    }

    /// Refuses the calls that wait for the answer to a question; says whether it was open.
    pub fn deny(&self, number: u64) -> bool {
        let State {
            questions, fisc, ..
        } = &*self.state;
        questions.answer(fisc, number, Answer::Denied)
    }

    /// Returns what became of the alerts that webhooks are told.
    pub fn alerts(&self) -> AlertCounts {
        self.state.alerts.counts()
    }

    /// Returns how well input was estimated before calls.
    pub fn accuracy(&self) -> Accuracy {
        self.state.learned().accuracy()
    }

    /// Stops accepting and lets running requests finish for `grace`; what runs then is ended in
    /// the words of its wire and charged what was seen of it. Returns when every hold has ended.
    pub async fn shutdown(self, grace: Duration) {
        self.shutdown_after(tokio::time::sleep(grace)).await;
    }

    /// As [`Gateway::shutdown`], with a grace that ends when the future does.
    pub async fn shutdown_after(self, grace: impl Future<Output = ()>) {
        let Gateway {
            state,
            mut server,
            ticker,
            telling,
        } = self;
        server.stop_accepting();
        // Nobody can answer them any more.
        state.questions.stop();
        if !rests(&state, &mut server, grace).await {
            state.stop();
            if !rests(&state, &mut server, tokio::time::sleep(ENDING_MAX)).await {
                server.abort().await;
            }
        }
        if !rests(&state, &mut server, tokio::time::sleep(ENDING_MAX)).await {
            tracing::warn!(holds = state.fisc.open_holds(), "holds are left open");
        }
        drop(ticker);
        state.alerts.drain(ALERTS_MAX).await;
        drop(telling);
    }
}

/// Waits until no connection and no hold is left, or until `limit`; says whether it came so.
async fn rests(state: &State, server: &mut Server, limit: impl Future<Output = ()>) -> bool {
    let rest = async {
        server.ended().await;
        // Nobody can end them over HTTP any more.
        state.api.stop();
        while state.fisc.open_holds() > 0 {
            tokio::time::sleep(REST_CHECK).await;
        }
    };
    tokio::select! {
        biased;
        () = rest => true,
        () = limit => false,
    }
}

// === impl Ticker ===

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.abort();
    }
}
