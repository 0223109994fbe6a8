//! Where the owner of a run gets in from another terminal: a socket in the run's folder that
//! gives the owner's credential to whoever knocks, but not to the run's own processes.
//!
//! The credential could approve what the run itself asks for, so it never rests in a file: the
//! program runs as the same user and could read it. Who knocks is known from the kernel; this
//! process inherits every orphan of the run, so all of the run descends from it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use fisc_gateway::Secret;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::supervise::descends_from_this_process;

/// The socket, in the folder of the run.
pub(crate) const NAME: &str = "owner.sock";

/// How long nobody is let in after the system could not.
const PAUSE: Duration = Duration::from_millis(200);

/// A door that is open; closed when it is dropped.
pub(super) struct Door {
    path: PathBuf,
    task: JoinHandle<()>,
}

// === impl Door ===

impl Door {
    /// Opens the door of the run that is kept in `folder`.
    pub(super) fn open(folder: &Path, url: String, owner: Secret) -> std::io::Result<Door> {
        let path = folder.join(NAME);
        let listener = UnixListener::bind(&path)?;
        let task = tokio::spawn(async move {
            let key = json!({ "url": url, "token": owner.expose() }).to_string();
            loop {
                match listener.accept().await {
                    Ok((visitor, _)) => answer(visitor, &key).await,
                    // Without more descriptors nobody can knock for now.
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        });
        Ok(Door { path, task })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(mut visitor: UnixStream, key: &str) {
    let pid = visitor.peer_cred().ok().and_then(|who| who.pid());
    let told = match pid.map(descends_from_this_process) {
        Some(Some(false)) => key,
        Some(Some(true)) => r#"{"refused":"the run's own processes cannot decide for its owner"}"#,
        _ => r#"{"refused":"who asks cannot be told from the run's own processes here"}"#,
    };
    // A visitor that hung up is told nothing; the few bytes fit into the socket's buffer.
    let _ = visitor.write_all(told.as_bytes()).await;
}
