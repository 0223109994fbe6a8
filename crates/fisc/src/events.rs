//! What changes caused, numbered and told to whoever asks; and kept in the ledger, to be listed.
//!
//! Nobody takes an event away from anybody: each consumer remembers the number of the last one
//! that it saw. The last few thousand are kept; who comes later than that is told how many it
//! missed. No call waits for any of this, and none pays for it but one that caused an event.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

use fisc_core::{Amount, Event, Level, Resource, TimeUs, Timestamp};
use fisc_ledger::EventRow;
use tokio::sync::watch;

use crate::engine::Engine;
use crate::handle::{Fisc, Shared};
use crate::histogram::Histogram;

/// How many events are kept for whoever watches.
const KEPT_MAX: usize = 4096;

/// An event with its place among all events of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// Its number, from 1, without gaps.
    pub number: u64,
    /// When it happened.
    pub at: Timestamp,
    /// The same by [`Fisc::ticks`]: when the change was applied, or for elapsed time, when it
    /// was reached, however much later a timer looked.
    pub ticks: TimeUs,
    /// What happened.
    pub event: Event,
}

/// The last events, and how many there ever were.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    kept: VecDeque<Noted>,
    last: u64,
    /// When the timer looked at elapsed time: the last time but one, and the last time.
    looked: (Option<TimeUs>, Option<TimeUs>),
}

/// The engine, locked. What a change caused is noted before it is unlocked, and told after.
pub(crate) struct Locked<'a> {
    // Unlocked before anybody is told: fields are dropped in their order.
    guard: MutexGuard<'a, Engine>,
    tell: Tell<'a>,
}

/// Tells the number of the last event when it is dropped.
struct Tell<'a> {
    shared: &'a Shared,
    number: Option<u64>,
}

// === impl Fisc ===

impl Fisc {
    /// Returns the events after number `seen`, oldest first, and how many of them are missing
    /// because they were dropped before anybody asked. 0 has seen nothing; later, the number of
    /// the last one that was returned.
    pub fn events_since(&self, seen: u64) -> (Vec<Noted>, u64) {
        self.shared.engine().ring.since(seen)
    }

    /// Waits until there are events after number `seen`.
    pub async fn changed(&self, seen: u64) {
        let mut last = self.shared.noted.subscribe();
        // The sender lives as long as this handle.
        let _ = last.wait_for(|last| *last > seen).await;
    }

    /// Adds an event that somebody outside of the tree found: a forecast, a runaway.
    pub fn tell(&self, event: Event) {
        self.shared.engine().events.push(event);
    }

    /// Counts how long a level took to be acted upon, from its crossing until now. To be called
    /// by who acts on levels, and by nobody else; other events are not counted.
    pub fn acted(&self, noted: &Noted) {
        if let Event::LevelChanged { .. } = noted.event {
            let took = self.ticks().0 - noted.ticks.0;
            self.shared.acted.record(TimeUs(took));
        }
    }

    /// Returns how long levels took to be acted upon. Admission needs no time: it judges by the
    /// new level under the lock under which the level changed.
    pub fn responsiveness(&self) -> &Histogram {
        &self.shared.acted
    }
}

// === impl Engine ===

impl Engine {
    /// Numbers what the last changes caused, and keeps it. Returns the last number.
    fn note(&mut self, now: Timestamp, ticks: TimeUs) -> u64 {
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            let ticks = self.happened(&event, now, ticks);
            let noted = self.ring.push(now, ticks, event);
            if let (Some(journal), Some(detail)) = (&self.journal, detail(&event)) {
                let row = EventRow {
                    at: now,
                    number: noted,
                    budget: event.budget(),
                    kind: event.name().into(),
                    detail: detail.into(),
                };
                // Nobody waits for it: it is told, not booked.
                drop(journal.tell(row));
            }
        }
        self.events = events;
        self.ring.last
    }

    /// Says that the timer looked at elapsed time just now.
    pub(crate) fn looked(&mut self, ticks: TimeUs) {
        let (_, last) = self.ring.looked;
        self.ring.looked = (last, Some(ticks));
    }

    /// Returns when an event happened. A timer finds late what elapsed time crossed, but not
    /// before it looked the last time.
    fn happened(&self, event: &Event, now: Timestamp, ticks: TimeUs) -> TimeUs {
        let Event::LevelChanged {
            budget,
            resource: None,
            from,
            to,
        } = event
        else {
            return ticks;
        };
        let begins = self.tree.elapsed_begins(*budget, *to);
        let (Some(begins), Some(looked), true) = (begins, self.ring.looked.0, to > from) else {
            return ticks;
        };
        let late = now.since(begins).0.max(0);
        TimeUs((ticks.0 - late).max(looked.0).min(ticks.0))
    }
}

// === impl Ring ===

impl Ring {
    fn push(&mut self, at: Timestamp, ticks: TimeUs, event: Event) -> u64 {
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
        }
        self.last += 1;
        self.kept.push_back(Noted {
            number: self.last,
            at,
            ticks,
            event,
        });
        self.last
    }

    fn since(&self, seen: u64) -> (Vec<Noted>, u64) {
        let dropped = self.last - self.kept.len() as u64;
        let missed = dropped.saturating_sub(seen);
        let from = usize::try_from(seen.saturating_sub(dropped)).unwrap_or(usize::MAX);
        let news = self.kept.range(from.min(self.kept.len())..);
        (news.copied().collect(), missed)
    }
}

// === impl Locked ===

impl<'a> Locked<'a> {
    pub(crate) fn new(guard: MutexGuard<'a, Engine>, shared: &'a Shared) -> Locked<'a> {
        let tell = Tell {
            shared,
            number: None,
        };
        Locked { guard, tell }
    }
}

impl Deref for Locked<'_> {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.guard
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Engine {
        &mut self.guard
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // After a panic nobody trusts the tree; what it did is nothing to tell.
        if self.guard.events.is_empty() || std::thread::panicking() {
            return;
        }
        let clock = &self.tell.shared.clock;
        self.tell.number = Some(self.guard.note(clock.now(), clock.ticks()));
    }
}

// === impl Tell ===

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            // Others may have told a later one meanwhile.
            self.shared.noted.send_if_modified(|last| {
                let newer = number > *last;
                *last = number.max(*last);
                newer
            });
        }
    }
}

/// Makes the channel on which the number of the last event is told.
pub(crate) fn channel() -> watch::Sender<u64> {
    watch::Sender::new(0)
}

/// Writes what the ledger keeps of an event beside its kind and budget, as pairs `key=value`;
/// `None` for what the entries tell anyway.
fn detail(event: &Event) -> Option<String> {
    Some(match event {
        Event::LevelChanged {
            resource, from, to, ..
        } => {
            let resource = resource.map_or("elapsed", Resource::name);
            level(resource, *from, *to)
        }
        Event::Overrun { by, .. } => format!("by={}", amount(*by)),
        Event::Finalize { .. } | Event::Released { .. } => String::new(),
        Event::Lent {
            lender,
            amount: lent,
            ..
        } => format!("lender={} amount={}", lender.0, amount(*lent)),
        Event::Frozen { frozen, .. } => format!("frozen={}", if *frozen { "yes" } else { "no" }),
        Event::Forecast {
            resource,
            total,
            limit,
            raised,
            ..
        } => {
            let raised = if *raised { "yes" } else { "no" };
            let resource = resource.name();
            format!("resource={resource} total={total} limit={limit} raised={raised}")
        }
        Event::Runaway { sign, .. } => format!("sign={}", sign.name()),
        Event::Asked {
            resource, lacks, ..
        } => format!("resource={} lacks={lacks}", resource.name()),
        Event::Answered {
            resource, answer, ..
        } => format!("resource={} answer={}", resource.name(), answer.name()),
        // It is in the budget's terms.
        Event::WindowBegan { .. } => return None,
    })
}

fn level(resource: &str, from: Level, to: Level) -> String {
    format!("resource={resource} from={} to={}", from.name(), to.name())
}

fn amount(amount: Amount) -> String {
    let [tokens, cost, time] = amount.raw();
    format!("{tokens},{cost},{time}")
}
