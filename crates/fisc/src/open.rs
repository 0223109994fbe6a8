//! Opening a ledger: what it is opened with, and what a crash left behind.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fisc_core::{Thresholds, Timestamp, TokenCounting};
use fisc_ledger::{Durability, Entry, Journal, Note, Reader};

use crate::clock::{Clock, SystemClock};
use crate::engine::Engine;
use crate::error::Error;
use crate::foresight;
use crate::handle::Fisc;

/// The key under which a ledger keeps which tokens count in it.
pub const COUNTING_KEY: &str = "token_counting";

/// How a ledger is opened.
#[derive(Clone)]
pub struct Options {
    /// The ledger file; `None` keeps nothing beyond the process.
    pub path: Option<PathBuf>,
    /// When a hold or settlement counts as written.
    pub durability: Durability,
    /// Which tokens count as `tokens`, for the whole tree.
    pub counting: TokenCounting,
    /// Where levels begin.
    pub thresholds: Thresholds,
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Options {
            path: None,
            durability: Durability::Full,
            counting: TokenCounting::default(),
            thresholds: Thresholds::default(),
            clock: Arc::new(SystemClock::default()),
        }
    }
}

impl Options {
    /// Keeps the ledger in this file, which one process at a time may write.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Options {
        Options {
            path: Some(path.into()),
            ..Options::default()
        }
    }
}

// === impl Fisc ===

impl Fisc {
    /// Opens a ledger and rebuilds its tree. Holds that were open when the last process ended
    /// are in doubt: charged at the hold and listed by [`Fisc::in_doubt`].
    pub fn open(options: Options) -> Result<Fisc, Error> {
        let Options {
            path,
            durability,
            counting,
            thresholds,
            clock,
        } = options;
        let Some(path) = path else {
            return Ok(Fisc::assemble(
                Engine::new(thresholds),
                clock,
                counting,
                None,
            ));
        };
        let file = Some((path.clone(), durability));
        let options = fisc_ledger::Options::new(path.clone(), durability, clock.now());
        let (journal, recovered) = Journal::open(options)?;
        keep_counting(&journal, counting)?;
        let mut engine = Engine::recover(thresholds, journal, recovered, clock.now())?;
        if let Some(span) = engine.tree.longest_rolling() {
            let since = Timestamp(clock.now().0.saturating_sub(span.0));
            restore_recent(&mut engine, &Reader::open(&path)?, since)?;
        }
        let learned = Reader::open(&path)?.notes(foresight::NOTES)?;
        engine.foresight.restore(&learned);
        Ok(Fisc::assemble(engine, clock, counting, file))
    }

    /// Returns the ledger's file, to read beside its writer; `None` where nothing is kept beyond
    /// the process.
    pub fn ledger(&self) -> Option<&Path> {
        self.shared.file.as_ref().map(|(path, _)| path.as_path())
    }

    /// Returns the notes in the ledger's file whose keys begin with `prefix`, without it, oldest
    /// first; none where nothing is kept beyond the process.
    pub fn notes(&self, prefix: &str) -> Result<Vec<(String, String)>, Error> {
        match self.ledger() {
            Some(path) => Ok(Reader::open(path)?.notes(prefix)?),
            None => Ok(Vec::new()),
        }
    }

    /// Keeps a note, in order with what is written; nobody waits for it.
    pub fn note(&self, note: Note) {
        self.with_journal(|journal| drop(journal.note(note)));
    }

    /// Makes a tree that lives as long as the process, with default settings.
    pub fn in_memory() -> Fisc {
        let options = Options::default();
        Fisc::assemble(
            Engine::new(options.thresholds),
            options.clock,
            options.counting,
            None,
        )
    }
}

/// One ledger counts tokens in one way: amounts of different countings do not add up.
fn keep_counting(journal: &Journal, counting: TokenCounting) -> Result<(), Error> {
    match journal.meta(COUNTING_KEY) {
        Some(kept) if kept != counting.name() => Err(Error::OtherCounting {
            kept,
            asked: counting.name(),
        }),
        Some(_) => Ok(()),
        None => Ok(journal.set_meta(COUNTING_KEY, counting.name()).wait()?),
    }
}

/// How many entries are read at a time.
const PAGE: usize = 1_000;

/// Puts what was charged since some time into the rolling windows, at the time it was charged:
/// later than the calls began, so that nothing leaves a window too early.
fn restore_recent(engine: &mut Engine, reader: &Reader, since: Timestamp) -> Result<(), Error> {
    let mut seq = last_before(reader, since)?;
    loop {
        let page = reader.entries(seq, PAGE)?;
        for row in &page {
            let charged = match &row.entry {
                Entry::Settle { amount, .. } => *amount,
                Entry::Doubt { charged, .. } => *charged,
                Entry::Correct { by, .. } => *by,
                _ => continue,
            };
            engine.tree.restore_recent(row.budget, row.at, charged);
        }
        match page.last() {
            Some(last) => seq = last.seq,
            None => return Ok(()),
        }
    }
}

/// Finds the last entry that was written before some time; entries are in the order of time.
fn last_before(reader: &Reader, since: Timestamp) -> Result<u64, Error> {
    let (mut before, mut after) = (0u64, 1u64 << 48);
    while after - before > 1 {
        let middle = u64::midpoint(before, after);
        let next = reader.entries(middle - 1, 1)?;
        match next.first() {
            Some(row) if row.at < since => before = middle,
            _ => after = middle,
        }
    }
    Ok(before)
}
