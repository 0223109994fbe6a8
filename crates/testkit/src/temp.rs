//! Folders that live as long as a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A new, empty folder that is removed with all that is in it when dropped. A failing test
/// leaves it, so that one can look.
#[derive(Debug)]
pub struct Dir(PathBuf);

// === impl Dir ===

impl Dir {
    /// Makes a folder under the system's temporary folder.
    ///
    /// # Panics
    /// When no folder can be made there.
    #[track_caller]
    pub fn new() -> Dir {
        static MADE: AtomicU32 = AtomicU32::new(0);

        loop {
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let name = format!("fisc-test-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Dir(path),
                // A process of the same number left its folder here.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot make {}: {error}", path.display()),
            }
        }
    }

    /// Returns the folder's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of a file in the folder, which need not exist.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in the folder and returns its path.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[track_caller]
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, text).expect("a file in a fresh folder can be written");
        path
    }
}

impl Default for Dir {
    fn default() -> Dir {
        Dir::new()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for a look: {}", self.0.display());
        } else {
            // A file that is still open elsewhere is no reason to fail a test that passed.
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
