//! The handle: cheap to clone, safe to share, the only way to the engine.

use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fisc_core::{
    Acting, BudgetId, BudgetView, Headroom, HoldId, Level, Limits, Resource, Span, Terms, TimeUs,
    Timestamp, TokenCounting, Tree,
};
use fisc_ledger::{Durability, Journal, Note};
use tokio::sync::{Notify, watch};

use crate::clock::Clock;
use crate::engine::{Engine, InDoubt};
use crate::error::Error;
use crate::events::{self, Locked};
use crate::histogram::Histogram;

/// How long closing waits for running calls to end.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// A tree of budgets over a ledger.
#[derive(Clone)]
pub struct Fisc {
    pub(crate) shared: Arc<Shared>,
}

/// One budget of a tree.
#[derive(Clone)]
pub struct Budget {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: BudgetId,
}

/// How one budget stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetStatus {
    /// Its id.
    pub id: BudgetId,
    /// Its parent.
    pub parent: Option<BudgetId>,
    /// Its path, `root/team/agent`.
    pub path: String,
    /// What it is allowed.
    pub terms: Terms,
    /// When it was allocated.
    pub allocated: Timestamp,
    /// The earliest deadline on its path.
    pub deadline: Option<Timestamp>,
    /// Spent here and below.
    pub spent: fisc_core::Amount,
    /// Spent here and below in the present window; all of it where there is none.
    pub window_spent: fisc_core::Amount,
    /// The present window.
    pub window: Option<Span>,
    /// Room that the last window left to this one.
    pub carried: fisc_core::Amount,
    /// What its parent's sharing lets its ordinary calls commit, where it says so.
    pub share: Limits,
    /// What its parent keeps for it.
    pub claim: fisc_core::Amount,
    /// Borrowed from siblings, less what is lent to them.
    pub loaned: fisc_core::Amount,
    /// What it is predicted to have spent when it is done.
    pub need: Limits,
    /// Spent by its own calls.
    pub own_spent: fisc_core::Amount,
    /// Held here and below.
    pub held: fisc_core::Amount,
    /// By how much settlements ever took it over its limit.
    pub overrun: fisc_core::Amount,
    /// Holds open here and below.
    pub open: u32,
    /// Its own level of each resource, in the order of [`Resource::ALL`].
    pub levels: [Level; Resource::COUNT],
    /// Its own level of elapsed time.
    pub elapsed_level: Level,
    /// The level that binds its calls, and the path of the budget it comes from.
    pub binding: (Level, String),
}

/// Where the calls of one budget stand, as far as somebody may know who sees the tree from one of
/// the budgets above it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// How much an ordinary call could hold by the budgets in sight.
    pub free: fisc_core::Amount,
    /// The earliest deadline of the budgets in sight.
    pub deadline: Option<Timestamp>,
    /// The level that binds.
    pub level: Level,
    /// The path of the budget that it comes from; `None` when that is out of sight.
    pub binding: Option<String>,
}

pub(crate) struct Shared {
    engine: Mutex<Engine>,
    /// Told whenever room was returned or made.
    pub(crate) room: Notify,
    /// How many calls wait for room: while none does, nobody has to look who is first.
    pub(crate) waiting: AtomicUsize,
    /// The number of the last event.
    pub(crate) noted: watch::Sender<u64>,
    /// How long levels took to be acted upon.
    pub(crate) acted: Histogram,
    pub(crate) clock: Arc<dyn Clock>,
    counting: TokenCounting,
    /// The ledger's file, to open it anew after a storage error.
    pub(crate) file: Option<(PathBuf, Durability)>,
}

// === impl Fisc ===

impl Fisc {
    pub(crate) fn assemble(
        engine: Engine,
        clock: Arc<dyn Clock>,
        counting: TokenCounting,
        file: Option<(PathBuf, Durability)>,
    ) -> Fisc {
        let engine = Mutex::new(engine);
        Fisc {
            shared: Arc::new(Shared {
                engine,
                room: Notify::new(),
                waiting: AtomicUsize::new(0),
                noted: events::channel(),
                acted: Histogram::default(),
                clock,
                counting,
                file,
            }),
        }
    }

    /// Allocates the budget of that path; every budget above it must exist, except that the
    /// first allocation makes the root. Durable when it returns.
    pub async fn allocate(&self, path: &str, terms: Terms) -> Result<Budget, Error> {
        self.allocate_noted(path, terms, |_| Vec::new()).await
    }

    /// As [`Fisc::allocate`], with notes that are durable if and only if the budget is.
    pub async fn allocate_noted(
        &self,
        path: &str,
        terms: Terms,
        notes: impl FnOnce(BudgetId) -> Vec<Note>,
    ) -> Result<Budget, Error> {
        let (parent, name) = match path.rsplit_once('/') {
            Some((parent, name)) => (Some(self.id_of(parent)?), name),
            None => (None, path),
        };
        let (id, ticket) = {
            let mut engine = self.shared.engine();
            engine.allocate(self.now(), parent, name, terms, notes)?
        };
        if let Some(ticket) = ticket {
            ticket.durable().await?;
        }
        Ok(Budget {
            shared: Arc::clone(&self.shared),
            id,
        })
    }

    /// Changes what a budget is allowed, even below what it has spent. Durable when it returns.
    pub async fn set_terms(&self, id: BudgetId, terms: Terms) -> Result<(), Error> {
        self.change_terms(id, |old| *old = terms).await
    }

    /// Returns the budget of that path.
    pub fn budget(&self, path: &str) -> Result<Budget, Error> {
        let id = self.id_of(path)?;
        Ok(Budget {
            shared: Arc::clone(&self.shared),
            id,
        })
    }

    /// Returns the root, or `None` while nothing has been allocated.
    pub fn root(&self) -> Option<Budget> {
        let id = self.shared.engine().tree.root()?;
        Some(Budget {
            shared: Arc::clone(&self.shared),
            id,
        })
    }

    /// Returns the budget of an agent below `from`, making what is missing on the way with the
    /// terms that `newcomers` gives for children of a budget, or `None` for none now. Where the
    /// tree may not grow (from Red on, too deep, too wide), the nearest existing ancestor is
    /// returned: such calls are metered there. Never waits; what it makes is written in order
    /// before any hold that needs it.
    pub fn resolve_agent(
        &self,
        from: BudgetId,
        names: &[impl AsRef<str>],
        newcomers: impl Fn(BudgetId) -> Option<Terms>,
    ) -> Result<Budget, Error> {
        let now = self.now();
        let mut engine = self.shared.engine();
        let mut id = from;
        for name in names {
            let name = name.as_ref();
            id = match engine.tree.child(id, name) {
                Some(child) => child,
                None if engine.tree.may_grow(id) => {
                    let Some(terms) = newcomers(id) else { break };
                    let none = |_| Vec::new();
                    engine.allocate(now, Some(id), name, terms, none)?.0
                }
                None => break,
            };
        }
        Ok(Budget {
            shared: Arc::clone(&self.shared),
            id,
        })
    }

    /// Returns how every budget stands, in the order of creation.
    pub fn statuses(&self) -> Vec<BudgetStatus> {
        let engine = self.shared.engine();
        engine
            .tree
            .budgets()
            .map(|view| status(&engine.tree, &view))
            .collect()
    }

    /// Returns how one budget stands, or `None` when there is none of that id.
    pub fn status(&self, id: BudgetId) -> Option<BudgetStatus> {
        let engine = self.shared.engine();
        engine
            .tree
            .budget(id)
            .map(|view| status(&engine.tree, &view))
    }

    /// Returns where the calls of a budget stand, seen from the path `root` on: neither figures
    /// nor names of what lies above it. `None` when there are no such budgets.
    pub fn standing(&self, id: BudgetId, root: &str) -> Option<Standing> {
        let engine = self.shared.engine();
        let tree = &engine.tree;
        let root = tree.find(root)?;
        let mut deadline = None;
        let mut next = Some(id);
        while let Some(at) = next {
            let view = tree.budget(at)?;
            let own = view.terms.elapsed.map(|span| view.allocated.after(span));
            deadline = deadline.into_iter().chain(own).min();
            next = view.parent.filter(|_| at != root);
        }
        let (level, binding, _) = tree.binding_level(id);
        Some(Standing {
            free: tree.room_within(id, root),
            deadline,
            level,
            binding: tree.is_within(binding, root).then(|| tree.path(binding)),
        })
    }

    /// Returns how much the calls of a budget could hold, or `None` when there is none of that
    /// id.
    pub fn headroom(&self, id: BudgetId) -> Option<Headroom> {
        let engine = self.shared.engine();
        engine.tree.budget(id)?;
        Some(engine.headroom(id, false))
    }

    /// Returns how much a wrap-up call of a budget could hold, what is kept for that included; or
    /// `None` when there is none of that id.
    pub fn wrap_up_room(&self, id: BudgetId) -> Option<Headroom> {
        let engine = self.shared.engine();
        engine.tree.budget(id)?;
        Some(engine.headroom(id, true))
    }

    /// Returns a budget and those above it up to the root; nothing when there is none of that id.
    pub fn lineage(&self, id: BudgetId) -> Vec<BudgetId> {
        let engine = self.shared.engine();
        let above = |id: &BudgetId| engine.tree.budget(*id)?.parent;
        let first = engine.tree.budget(id).map(|view| view.id);
        std::iter::successors(first, above).collect()
    }

    /// Returns the path of a budget.
    pub fn path(&self, id: BudgetId) -> String {
        self.shared.engine().tree.path(id)
    }

    /// Returns the holds in doubt: their calls were running when a process ended badly.
    pub fn in_doubt(&self) -> Vec<InDoubt> {
        let mut all: Vec<InDoubt> = self.shared.engine().in_doubt.values().cloned().collect();
        all.sort_by_key(|doubt| doubt.id);
        all
    }

    /// Ends a doubt with what the call did cost after all (nothing, when it was never billed),
    /// as a correction. Durable when it returns.
    pub async fn resolve_doubt(
        &self,
        id: HoldId,
        actual: fisc_core::Amount,
        reason: &str,
    ) -> Result<InDoubt, Error> {
        let (doubt, ticket) = self
            .shared
            .engine()
            .resolve(self.now(), id, actual, reason)?;
        self.shared.made_room();
        if let Some(ticket) = ticket {
            ticket.durable().await?;
        }
        Ok(doubt)
    }

    /// Counts a refused call in the ledger's reports.
    pub fn count_refusal(
        &self,
        budget: BudgetId,
        operation: &str,
        model: &str,
        reason: &'static str,
    ) {
        if let Some(journal) = &self.shared.engine().journal {
            journal.refuse(self.now(), budget, operation, model, reason);
        }
    }

    /// Returns which tokens count as `tokens` in this tree.
    pub fn counting(&self) -> TokenCounting {
        self.shared.counting
    }

    /// Returns the wall-clock time by the clock of this tree.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Returns a reading of the clock that never goes back, for durations.
    pub fn ticks(&self) -> TimeUs {
        self.shared.clock.ticks()
    }

    /// Checks every invariant of the tree: for tests, and for whoever doubts. Takes time in
    /// proportion to budgets and open holds.
    pub fn check(&self) -> Result<(), fisc_core::invariants::Violation> {
        fisc_core::invariants::check(&self.shared.engine().tree)
    }

    /// Returns how many holds are open.
    pub fn open_holds(&self) -> usize {
        self.shared.engine().tree.open_holds()
    }

    /// Says why nothing can be written, or `None` when all is well.
    pub fn trouble(&self) -> Option<String> {
        self.shared
            .engine()
            .journal
            .as_ref()
            .and_then(Journal::poisoned)
    }

    /// Runs a function over the ledger's journal, if there is one.
    pub fn with_journal<T>(&self, read: impl FnOnce(&Journal) -> T) -> Option<T> {
        self.shared.engine().journal.as_ref().map(read)
    }

    /// Writes out everything and closes the ledger. Nothing is admitted any more; calls that run
    /// have two seconds to end. What later ones settle is not written, so their holds are in
    /// doubt at the next opening.
    pub async fn close(self) -> Result<(), Error> {
        self.shared.engine().closed = true;
        // Whoever waits for room is refused now.
        self.shared.made_room();
        // Time is up or all have ended: either way it is closed.
        let _ = tokio::time::timeout(CLOSE_PATIENCE, self.shared.all_ended()).await;
        self.learn();
        let journal = self.shared.engine().journal.take();
        let Some(journal) = journal else {
            return Ok(());
        };
        let closed = tokio::task::spawn_blocking(move || journal.close()).await;
        match closed {
            Ok(result) => Ok(result?),
            Err(panicked) => Err(Error::Ledger(panicked.to_string())),
        }
    }

    fn id_of(&self, path: &str) -> Result<BudgetId, Error> {
        let found = self.shared.engine().tree.find(path);
        found.ok_or_else(|| Error::UnknownPath(path.to_owned()))
    }
}

// === impl Budget ===

impl Budget {
    /// Returns the budget's id in its tree.
    pub fn id(&self) -> BudgetId {
        self.id
    }

    /// Returns the budget's path.
    pub fn path(&self) -> String {
        self.shared.engine().tree.path(self.id)
    }

    /// Returns how much an ordinary call could hold.
    pub fn headroom(&self) -> Headroom {
        self.shared.engine().headroom(self.id, false)
    }

    /// Returns the level that acts on its calls, and where it comes from.
    pub fn acting(&self) -> Acting {
        self.shared.engine().acting(self.id)
    }

    /// Returns the level that binds its calls.
    pub fn level(&self) -> Level {
        self.shared.engine().tree.binding_level(self.id).0
    }

    /// Returns how the budget stands.
    pub fn status(&self) -> BudgetStatus {
        let engine = self.shared.engine();
        let view = engine
            .tree
            .budget(self.id)
            .expect("a handle is only made for a budget");
        status(&engine.tree, &view)
    }
}

// === impl Shared ===

impl Shared {
    /// Waits until no hold is open.
    async fn all_ended(&self) {
        loop {
            let ended = self.room.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.engine().tree.open_holds() == 0 {
                return;
            }
            ended.await;
        }
    }

    pub(crate) fn engine(&self) -> Locked<'_> {
        let engine = self.engine.lock();
        let engine = engine.expect("after a panic under this lock no figure can be trusted");
        let mut engine = Locked::new(engine, self);
        // Windows move by the clock alone: whoever looks or changes finds the present one.
        if engine.tree.has_windows() {
            engine.bring_to(self.clock.now());
        }
        engine
    }
}

fn status(tree: &Tree, view: &BudgetView<'_>) -> BudgetStatus {
    let (level, binding, _) = tree.binding_level(view.id);
    BudgetStatus {
        id: view.id,
        parent: view.parent,
        path: tree.path(view.id),
        terms: *view.terms,
        allocated: view.allocated,
        deadline: view.deadline,
        spent: view.spent,
        window_spent: view.window_spent,
        window: view.window,
        carried: view.carried,
        share: view.share,
        claim: view.claim,
        loaned: view.loaned,
        need: view.need,
        own_spent: view.own_spent,
        held: view.held,
        overrun: view.overrun,
        open: view.open,
        levels: view.levels,
        elapsed_level: view.elapsed_level,
        binding: (level, tree.path(binding)),
    }
}
