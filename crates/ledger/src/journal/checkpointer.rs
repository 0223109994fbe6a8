//! Checkpoints beside the writer: the log moves into the database while commits go on.
//!
//! A checkpoint waits for the disk several times. Made between two commits it would hold up
//! every call that comes meanwhile; SQLite lets another connection make it. What is committed
//! during a pass stays in the log, which begins anew only once nothing is left: the writer
//! finishes that itself, when the log has grown long, and then little is left to move. A pass
//! that fails ends the writer, as its own errors do.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::writer::checkpoint;

/// How many frames the log may have before the writer sees to it that it begins anew: 128 MiB
/// under lasting load, after which the file keeps that size until the journal is closed.
const LOG_FRAMES_MAX: u64 = 32_768;

/// The thread that makes passes, and what it says of them. Dropping it waits for the pass that
/// is under way.
pub(super) struct Checkpointer {
    ask: Option<SyncSender<()>>,
    passes: Receiver<rusqlite::Result<u64>>,
    thread: Option<JoinHandle<()>>,
}

// === impl Checkpointer ===

impl Checkpointer {
    /// Starts the thread over a connection of its own.
    pub(super) fn start(connection: Connection) -> std::io::Result<Checkpointer> {
        // Of no capacity: a pass is asked for only while none is under way.
        let (ask, asked) = mpsc::sync_channel(0);
        let (tell, passes) = mpsc::channel();
        let make_passes = move || {
            // The writer empties the log at the end, or leaves it as it is after an error.
            let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
            for () in asked {
                let pass = checkpoint(&connection, "PASSIVE");
                let failed = pass.is_err();
                if tell.send(pass).is_err() || failed {
                    break;
                }
            }
        };
        let thread = thread::Builder::new()
            .name("fisc-checkpoint".to_owned())
            .spawn(make_passes)?;
        Ok(Checkpointer {
            ask: Some(ask),
            passes,
            thread: Some(thread),
        })
    }

    /// Asks for a pass, unless one is under way; waits for nothing.
    pub(super) fn ask(&self) {
        if let Some(ask) = &self.ask {
            let _ = ask.try_send(());
        }
    }

    /// Says whether a pass has ended since the last time and left a log that is too long, or
    /// that it failed.
    pub(super) fn left_too_much(&self) -> rusqlite::Result<bool> {
        match self.passes.try_recv() {
            Ok(pass) => Ok(pass? >= LOG_FRAMES_MAX),
            Err(_) => Ok(false),
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.ask = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
