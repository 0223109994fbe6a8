//! Whether what a ledger is about still goes on: a process has it open, it ended, or its process
//! died and nobody said how it ended.

use std::path::Path;

use fisc::clock::{Clock, SystemClock};
use fisc_core::{TimeUs, Timestamp};
use fisc_ledger::Reader;

use super::gather::{Names, number};
use crate::failure::Failure;

/// The life of a ledger at the time of a look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    /// As of when its figures are.
    pub(crate) at: Timestamp,
    /// When its run started; nothing for a ledger that is served.
    pub(crate) started: Option<Timestamp>,
    /// How it goes on.
    pub(crate) state: State,
}

/// How a ledger goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// A process has it open.
    Runs,
    /// Its run ended.
    Ended,
    /// No process has it open, and nobody said that its run ended.
    Left,
}

/// What tells how long a run took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ElapsedFrom {
    /// The clock: now, or when it ended.
    Clock,
    /// Its entries, from the first to the last: nobody saw the end.
    Entries,
}

// === impl Life ===

impl Life {
    /// Looks at a ledger. `ended` goes before what the ledger says of the run's end.
    ///
    /// To be called before anything else is read: a writer that ends in between has then nothing
    /// open, while one asked for afterwards would leave open holds behind that it ended.
    pub(crate) fn of(
        path: &Path,
        reader: &Reader,
        ended: Option<Timestamp>,
    ) -> Result<Life, Failure> {
        let started = number(reader, Names::STARTED)?.map(Timestamp);
        let ended = match ended {
            Some(ended) => Some(ended),
            None => number(reader, Names::ENDED)?.map(Timestamp),
        };
        let now = || SystemClock::default().now();
        let (state, at) = match ended {
            Some(ended) => (State::Ended, ended),
            None if Reader::has_writer(path)? => (State::Runs, now()),
            // A served budget's time goes on while nobody serves it.
            None if started.is_none() => (State::Left, now()),
            None => {
                let last = reader.span()?.map(|(_, last)| last);
                (State::Left, last.unwrap_or_else(now))
            }
        };
        Ok(Life { at, started, state })
    }

    /// Returns how long the run took or takes so far, and what tells so; nothing where no run is.
    pub(crate) fn elapsed(
        &self,
        reader: &Reader,
    ) -> Result<Option<(TimeUs, ElapsedFrom)>, Failure> {
        let Some(started) = self.started else {
            return Ok(None);
        };
        if self.state != State::Left {
            return Ok(Some((self.at.since(started), ElapsedFrom::Clock)));
        }
        let span = reader.span()?;
        Ok(span.map(|(first, last)| (last.since(first), ElapsedFrom::Entries)))
    }
}

// === impl ElapsedFrom ===

impl ElapsedFrom {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            ElapsedFrom::Clock => "clock",
            ElapsedFrom::Entries => "entries",
        }
    }
}
