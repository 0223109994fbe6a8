//! A shell in a session of its own on a pseudo-terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::pty::openpty;

use crate::process::eventually;
use crate::subject::{Plan, Subject};

/// The session: what it shows, and a keyboard.
pub(crate) struct Session {
    pub(crate) subject: Subject,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

// === impl Session ===

impl Session {
    /// Starts `shell` with `script`, in which `$SUBJECT` runs the process under test.
    pub(crate) fn start(shell: &str, script: &str, plan: Plan) -> Session {
        let pty = openpty(None, None).expect("a pseudo-terminal");
        let terminal = File::from(pty.slave);
        let copy = || Stdio::from(terminal.try_clone().expect("a copy"));
        let mut subject = Subject::new(plan);
        let script = script.replace("$SUBJECT", &Subject::invocation());
        let mut command = Command::new("setsid");
        command.args(["--ctty", shell, "-c", &script]);
        subject.spawn(command.stdin(copy()).stdout(copy()).stderr(copy()));
        let keyboard = File::from(pty.master);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let (mut output, shown) = (keyboard.try_clone().expect("a copy"), Arc::clone(&screen));
        // Ends with an error when the last process has left the terminal.
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                shown
                    .lock()
                    .expect("a reader that did not panic")
                    .extend(&buffer[..count]);
            }
        });
        Session {
            subject,
            keyboard,
            screen,
        }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard
            .write_all(keys.as_bytes())
            .expect("an open terminal");
    }

    /// Waits for the text to be shown.
    pub(crate) fn shows(&self, text: &str) {
        eventually(text, || self.screen().contains(text).then_some(()));
    }

    pub(crate) fn screen(&self) -> String {
        let shown = self.screen.lock().expect("a reader that did not panic");
        String::from_utf8_lossy(&shown).into_owned()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the terminal showed:\n{}", self.screen());
        }
    }
}
