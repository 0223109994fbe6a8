//! Alerts: what happened to budgets, told to the log and to the owner's webhooks.
//!
//! One task takes the events of the tree in their order; it is the first to act on a level, so the
//! time from crossing to action is measured here. What it says goes into one bounded queue for each
//! webhook, from which another task delivers: nothing here holds up a call, however slow or dead a
//! receiver is.

mod address;
mod delivery;
mod message;
mod runaway;
mod sign;
mod webhook;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fisc::{Event, Fisc, Noted, Runaways, TimeUs, Timestamp};
use tokio::task::JoinSet;

pub use self::delivery::AlertCounts;
use self::delivery::Hook;
use self::message::{Alert, Instance};
pub use self::webhook::{AlertKind, Webhook, WebhookError};
use crate::policy::OnRunaway;
use crate::state::State;

/// How many models without a price are remembered, so that each is told once an hour.
const UNPRICED_MAX: usize = 256;

/// Microseconds in an hour.
const HOUR: i64 = 3_600_000_000;

/// How often it is looked whether all alerts were delivered.
const DRAIN_CHECK: Duration = Duration::from_millis(10);

/// Where alerts go, and what must be remembered in order not to repeat them.
pub(crate) struct Alerts {
    hooks: Vec<Arc<Hook>>,
    instance: Instance,
    /// In which hour a model without a price was told last.
    unpriced: Mutex<HashMap<String, i64>>,
    runaways: Mutex<Runaways>,
    on_runaway: OnRunaway,
}

/// The tasks that take events and deliver alerts. Dropping it ends them.
pub(crate) struct Telling(#[expect(dead_code, reason = "held for its drop")] JoinSet<()>);

// === impl Alerts ===

impl Alerts {
    pub(crate) fn new(webhooks: Vec<Webhook>, on_runaway: OnRunaway) -> Alerts {
        let hooks = webhooks.into_iter().map(Hook::new).map(Arc::new);
        Alerts {
            hooks: hooks.collect(),
            instance: Instance::new(),
            unpriced: Mutex::default(),
            runaways: Mutex::default(),
            on_runaway,
        }
    }

    /// Returns what became of alerts so far.
    pub(crate) fn counts(&self) -> AlertCounts {
        let counts = self.hooks.iter().map(|hook| hook.counts());
        counts.fold(AlertCounts::default(), AlertCounts::and)
    }

    /// Tells which model nobody priced, once an hour for each; `path` names the budget that called.
    pub(crate) fn unpriced(
        &self,
        provider: &str,
        model: &str,
        now: Timestamp,
        path: impl FnOnce() -> String,
    ) {
        let hour = now.0.div_euclid(HOUR);
        {
            let mut told = self.unpriced.lock().unwrap_or_else(PoisonError::into_inner);
            let name = format!("{provider}/{model}");
            if told.get(&name) == Some(&hour) {
                return;
            }
            if told.len() >= UNPRICED_MAX {
                told.retain(|_, last| *last == hour);
            }
            // Callers choose names: whoever invents more is not told of each.
            if told.len() >= UNPRICED_MAX {
                return;
            }
            told.insert(name, hour);
        }
        let path = path();
        tracing::warn!(budget = path, provider, model, "a model has no price");
        self.tell(&Alert::unpriced(now, path, provider, model));
    }

    /// Waits until all alerts were delivered or given up, or until `limit`.
    pub(crate) async fn drain(&self, limit: Duration) {
        let drained = async {
            while self.hooks.iter().any(|hook| hook.is_busy()) {
                tokio::time::sleep(DRAIN_CHECK).await;
            }
        };
        if tokio::time::timeout(limit, drained).await.is_err() {
            tracing::warn!("alerts are left that no webhook took");
        }
    }

    /// Tells of calls whose end is unknown since a process ended badly.
    fn in_doubt(&self, fisc: &Fisc) {
        let doubts = fisc.in_doubt();
        if doubts.is_empty() {
            return;
        }
        tracing::warn!(holds = doubts.len(), "holds are in doubt");
        let named = doubts
            .into_iter()
            .map(|doubt| (fisc.path(doubt.budget), doubt));
        let named: Vec<_> = named.collect();
        for hook in &self.hooks {
            let seen = named.iter().filter(|(path, _)| hook.webhook.sees(path));
            if let Some(alert) = Alert::in_doubt(fisc.now(), seen) {
                self.tell_one(hook, &alert);
            }
        }
    }

    /// Tells of an event.
    fn event(&self, fisc: &Fisc, noted: &Noted) {
        let path = fisc.path(noted.event.budget());
        log(&noted.event, &path);
        let named = |id| fisc.path(id);
        self.tell(&Alert::event(noted, path, named));
    }

    fn tell(&self, alert: &Alert) {
        for hook in &self.hooks {
            self.tell_one(hook, alert);
        }
    }

    fn tell_one(&self, hook: &Hook, alert: &Alert) {
        if hook.webhook.wants(alert) {
            hook.push(self.instance.message(alert));
        }
    }
}

/// Starts telling what happens from now on, and what was found at the start.
pub(crate) fn start(state: &Arc<State>) -> Telling {
    let mut tasks = JoinSet::new();
    for hook in &state.alerts.hooks {
        let (hook, state) = (Arc::clone(hook), Arc::clone(state));
        tasks.spawn(async move { hook.deliver(|| state.fisc.now()).await });
    }
    state.alerts.in_doubt(&state.fisc);
    // Now, not when the task first runs: what happens in between is acted upon.
    tasks.spawn(watch(Arc::clone(state), state.fisc.ticks()));
    Telling(tasks)
}

/// Takes events as they come.
async fn watch(state: Arc<State>, began: TimeUs) {
    let fisc = &state.fisc;
    let mut seen = 0;
    loop {
        fisc.changed(seen).await;
        let (news, missed) = fisc.events_since(seen);
        // Those of before could not be acted upon: nobody was there.
        let acted = news.iter().filter(|noted| noted.ticks >= began);
        acted.for_each(|noted| fisc.acted(noted));
        if missed > 0 {
            tracing::warn!(missed, "more happened than could be told");
            state.alerts.tell(&Alert::missed(fisc.now(), missed));
        }
        for noted in &news {
            state.alerts.event(fisc, noted);
            seen = noted.number;
        }
    }
}

fn log(event: &Event, path: &str) {
    match event {
        Event::LevelChanged {
            resource, from, to, ..
        } => {
            let resource = message::resource(*resource);
            let (from, to) = (from.name(), to.name());
            if to == "black" || to == "red" {
                tracing::warn!(budget = path, resource, from, to, "the level changed");
            } else {
                tracing::info!(budget = path, resource, from, to, "the level changed");
            }
        }
        Event::Overrun { .. } | Event::Forecast { .. } | Event::Runaway { .. } => {
            tracing::warn!(budget = path, ?event, "an event");
        }
        _ => tracing::info!(budget = path, ?event, "an event"),
    }
}
