//! Bounded waiting for what other processes do.

use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::Duration;

/// Longer than anything here takes on a busy machine: 30 s.
const POLLS: u32 = 6_000;
const POLL: Duration = Duration::from_millis(5);

/// Polls until there is something.
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "another process gives no event to wait for"
)]
pub(crate) fn eventually<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    for _ in 0..POLLS {
        if let Some(found) = poll() {
            return found;
        }
        std::thread::sleep(POLL);
    }
    panic!("waited in vain for: {what}");
}

/// Waits for a child to end.
#[track_caller]
pub(crate) fn wait_for(what: &str, child: &mut Child) -> ExitStatus {
    eventually(what, || child.try_wait().expect("a child of this process"))
}

/// Says whether a process lives; one that ended but was not reaped does not.
pub(crate) fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
    let Ok(stat) = stat else { return false };
    let state = stat.rsplit_once(')').map(|(_, facts)| facts.trim_start());
    !state.is_some_and(|state| state.starts_with(['Z', 'X']))
}
