//! What lies between callers and the writer thread: the queue, its numbering, and who waits.
//!
//! Every command gets a number under the queue's lock; the writer publishes the number up to
//! which all is durable. A ticket is that number and costs nothing until somebody waits for it.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::mem;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use fisc_core::{BudgetId, Timestamp};

use crate::entry::Entry;
use crate::error::Poisoned;
use crate::reader::EventRow;

/// How many commands at most are committed together: the gain flattens there, and a longer
/// transaction would only make the first of them wait.
pub(super) const BATCH_MAX: usize = 512;

/// How much longer a commit for which nobody waits is put off: what is queued meanwhile shares
/// its cost. Where calls wait, they would wait longer, and what is queued during one commit
/// shares the next one anyway.
const LINGER_UNAWAITED: Duration = Duration::from_millis(1);

/// How long refusals may stay uncounted while nothing else is written.
const REFUSALS_DELAY: Duration = Duration::from_millis(500);

/// How many different refusals wait at most before they are written.
const REFUSALS_MAX: usize = 1_024;

/// The reason given when the writer thread panicked.
pub(super) const PANICKED: &str = "its writer panicked";

/// What the writer is asked to do.
pub(super) enum Command {
    Entry {
        at: Timestamp,
        entry: Entry,
        /// Written in the same transaction.
        notes: Vec<Note>,
    },
    Meta {
        key: String,
        value: String,
    },
    Note(Note),
    Event(EventRow),
}

/// What the program above keeps under a key, or takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The key.
    pub key: String,
    /// What is kept; `None` takes it back.
    pub value: Option<String>,
}

/// What refusals are counted by.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct RefusalKey {
    pub(super) budget: BudgetId,
    pub(super) operation: Box<str>,
    pub(super) model: Box<str>,
    pub(super) reason: &'static str,
    pub(super) hour: i64,
}

/// What the writer takes at once.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) commands: VecDeque<Command>,
    pub(super) refusals: HashMap<RefusalKey, u64>,
}

/// A promise that one entry becomes durable. Dropping it loses nothing but the answer.
pub struct Ticket {
    shared: Arc<Shared>,
    number: u64,
}

/// Shared between the handle, its tickets and the writer.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    appended: AtomicU64,
    durable: AtomicU64,
    poisoned: OnceLock<Poisoned>,
    waiters: Mutex<Vec<(u64, Waker)>>,
    nobody_waits: bool,
}

#[derive(Default)]
struct Queue {
    waiting: Batch,
    /// The number of the last command that was queued.
    last: u64,
    writer_sleeps: bool,
    closing: bool,
    /// When the writer has stopped: the number of the last entry that it knew to be durable.
    committed: u64,
}

/// Wakes a thread that blocks in [`Ticket::wait`].
struct Unpark(Thread);

// === impl Ticket ===

impl Ticket {
    /// Waits until the entry is as durable as the journal was opened for.
    ///
    /// An error says that it may or may not be found after reopening.
    pub async fn durable(self) -> Result<(), Poisoned> {
        let mut registered = None;
        poll_fn(|context| self.poll(context, &mut registered)).await
    }

    /// Blocks the thread until the entry is durable; for code that is not async.
    pub fn wait(self) -> Result<(), Poisoned> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut durable = pin!(self.durable());
        loop {
            match durable.as_mut().poll(&mut context) {
                Poll::Ready(result) => return result,
                Poll::Pending => thread::park(),
            }
        }
    }

    fn poll(
        &self,
        context: &mut Context<'_>,
        registered: &mut Option<Waker>,
    ) -> Poll<Result<(), Poisoned>> {
        if let Some(result) = self.shared.outcome(self.number) {
            return Poll::Ready(result);
        }
        if registered
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()))
        {
            return Poll::Pending;
        }
        let mut waiters = lock(&self.shared.waiters);
        // The writer publishes before it takes this lock, so that nobody registers too late.
        if let Some(result) = self.shared.outcome(self.number) {
            return Poll::Ready(result);
        }
        waiters.push((self.number, context.waker().clone()));
        *registered = Some(context.waker().clone());
        Poll::Pending
    }
}

// === impl Unpark ===

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(nobody_waits: bool) -> Shared {
        Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            appended: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            poisoned: OnceLock::new(),
            waiters: Mutex::default(),
            nobody_waits,
        }
    }

    /// Queues a command. After the writer stopped, the ticket only says so, and the command waits
    /// for another writer.
    pub(super) fn push(shared: &Arc<Shared>, command: Command) -> Ticket {
        let mut queue = lock(&shared.queue);
        queue.last += 1;
        let number = queue.last;
        shared.appended.store(number, Ordering::Release);
        queue.waiting.commands.push_back(command);
        shared.wake_writer(queue);
        Ticket {
            shared: shared.clone(),
            number,
        }
    }

    pub(super) fn refuse(&self, key: RefusalKey) {
        let mut queue = lock(&self.queue);
        if self.poisoned.get().is_some() {
            return;
        }
        let refusals = &mut queue.waiting.refusals;
        let first = refusals.is_empty();
        *refusals.entry(key).or_default() += 1;
        // The first one starts the writer's clock; after that there is no hurry.
        if first || refusals.len() >= REFUSALS_MAX {
            self.wake_writer(queue);
        }
    }

    pub(super) fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.closing = true;
        self.wake_writer(queue);
    }

    /// Blocks until there is something to write and moves it into `batch`, which must be empty;
    /// returns false when the journal is closed and nothing is left.
    pub(super) fn take(&self, batch: &mut Batch) -> bool {
        let mut queue = lock(&self.queue);
        let (mut refusals_due, mut slept) = (false, false);
        loop {
            let refusals = queue.waiting.refusals.len();
            let due = refusals_due || queue.closing || refusals >= REFUSALS_MAX;
            if !queue.waiting.commands.is_empty() || (due && refusals > 0) {
                break;
            }
            if queue.closing {
                return false;
            }
            (queue.writer_sleeps, slept) = (true, true);
            if refusals == 0 {
                queue = self
                    .work
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            } else {
                let woken = self.work.wait_timeout(queue, REFUSALS_DELAY);
                let (guard, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
                refusals_due = timeout.timed_out();
                queue = guard;
            }
            queue.writer_sleeps = false;
        }
        if slept && self.nobody_waits && !queue.closing {
            // Nobody wakes a writer that does not sleep: this is over when the time is.
            let lingered = self.work.wait_timeout(queue, LINGER_UNAWAITED);
            queue = lingered.unwrap_or_else(PoisonError::into_inner).0;
        }
        mem::swap(&mut queue.waiting.refusals, &mut batch.refusals);
        if queue.waiting.commands.len() <= BATCH_MAX {
            mem::swap(&mut queue.waiting.commands, &mut batch.commands);
        } else {
            batch
                .commands
                .extend(queue.waiting.commands.drain(..BATCH_MAX));
        }
        true
    }

    /// Says that the next `count` commands are durable, and wakes who waits for them.
    pub(super) fn publish(&self, count: usize) {
        let durable = self.durable.load(Ordering::Relaxed) + count as u64;
        self.durable.store(durable, Ordering::Release);
        let mut waiters = lock(&self.waiters);
        let ready = waiters.extract_if(.., |(number, _)| *number <= durable);
        let ready: Vec<_> = ready.collect();
        drop(waiters);
        for (_, waker) in ready {
            waker.wake();
        }
    }

    /// Ends everything: every waiting and later ticket fails. What was to be written after entry
    /// `committed` is kept: `unwritten`, of which a part may be durable, and what is queued.
    pub(super) fn poison(&self, reason: &str, committed: u64, unwritten: VecDeque<Command>) {
        let mut queue = lock(&self.queue);
        // A second reason is a consequence of the first.
        let _ = self.poisoned.set(Poisoned {
            reason: reason.into(),
        });
        let later = mem::replace(&mut queue.waiting.commands, unwritten);
        queue.waiting.commands.extend(later);
        queue.waiting.refusals.clear();
        queue.committed = committed;
        drop(queue);
        let waiters = mem::take(&mut *lock(&self.waiters));
        for (_, waker) in waiters {
            waker.wake();
        }
    }

    /// Takes what was not known to be written when the writer stopped, and the number of the
    /// last entry that was.
    pub(super) fn take_unwritten(&self) -> (u64, VecDeque<Command>) {
        let mut queue = lock(&self.queue);
        let commands = mem::take(&mut queue.waiting.commands);
        (queue.committed, commands)
    }

    pub(super) fn poisoned(&self) -> Option<&Poisoned> {
        self.poisoned.get()
    }

    pub(super) fn backlog(&self) -> usize {
        let durable = self.durable.load(Ordering::Acquire);
        let appended = self.appended.load(Ordering::Acquire);
        usize::try_from(appended.saturating_sub(durable)).unwrap_or(usize::MAX)
    }

    /// Returns what is known about the command of this number, if anything yet.
    fn outcome(&self, number: u64) -> Option<Result<(), Poisoned>> {
        let poisoned = self.poisoned.get().cloned();
        if self.durable.load(Ordering::Acquire) >= number {
            return Some(Ok(()));
        }
        match poisoned {
            Some(poisoned) => Some(Err(poisoned)),
            None if self.nobody_waits => Some(Ok(())),
            None => None,
        }
    }

    fn wake_writer(&self, queue: MutexGuard<'_, Queue>) {
        let asleep = queue.writer_sleeps;
        drop(queue);
        if asleep {
            self.work.notify_one();
        }
    }
}

/// Nothing panics while it holds one of these locks, so what they guard is always whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
