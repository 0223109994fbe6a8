//! After a storage error: the ledger is opened anew, and what it lacks is written again.
//!
//! A journal that failed to commit writes nothing any more, so that nothing can rest on what may
//! not be there; nothing new is admitted meanwhile. What the tree knows is newer than the file:
//! calls still run, and calls end. The stopped journal keeps what it was given, and the one that
//! is opened after it writes what is not in the file. So the tree stays as it is, and the ledger
//! becomes what the tree says.

use fisc_ledger::{Journal, Recovered};

use crate::engine::Engine;
use crate::error::Error;
use crate::handle::Fisc;

// === impl Fisc ===

impl Fisc {
    /// Opens the ledger anew if it stopped at a storage error, verifying all of it. Returns
    /// whether it did; an error means that the storage still fails, and to try again later.
    pub async fn reopen(&self) -> Result<bool, Error> {
        let Some((path, durability)) = self.shared.file.clone() else {
            return Ok(false);
        };
        if self.trouble().is_none() {
            return Ok(false);
        }
        let options = fisc_ledger::Options::new(path, durability, self.now());
        let opened = tokio::task::spawn_blocking(move || Journal::open(options)).await;
        let (journal, recovered) = match opened {
            Ok(opened) => opened?,
            Err(panicked) => return Err(Error::Ledger(panicked.to_string())),
        };
        self.shared.engine().go_on(journal, &recovered)?;
        self.shared.made_room();
        tracing::warn!("the ledger was opened anew after a storage error");
        Ok(true)
    }
}

// === impl Engine ===

impl Engine {
    /// Goes on with a journal that was opened after the one that stopped. Entries are appended
    /// under the same lock, so none can come in between.
    fn go_on(&mut self, journal: Journal, recovered: &Recovered) -> Result<(), Error> {
        if let Some(stopped) = &mut self.journal {
            journal.take_over(recovered, stopped)?;
            *stopped = journal;
        }
        Ok(())
    }
}
