//! A Python with the official SDKs, made once and kept beside the build.
//!
//! The versions are pinned: the tests show what these clients do, not what tomorrow's will.
//! Packages come from wherever `pip` is set up to find them.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::target_folder;

/// What the environment holds, one requirement a line.
pub const REQUIREMENTS: &str = "openai==3.54.0\nanthropic==2.12.0\n";

/// Says why there is no Python environment, in words for whoever runs the tests.
#[derive(Debug)]
pub struct Missing(String);

// === impl Missing ===

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

/// Returns the interpreter of an environment that holds [`REQUIREMENTS`]. The first caller on a
/// machine makes it (about half a minute); others wait for it, in other processes too.
///
/// # Panics
/// When it cannot be made; the message says what to install.
#[track_caller]
pub fn environment() -> PathBuf {
    match try_environment() {
        Ok(python) => python,
        Err(missing) => panic!("{missing}"),
    }
}

/// Returns the command that runs one of the programs in this crate's `python` folder with
/// [`environment`]'s interpreter. It leaves no compiled files behind.
///
/// # Panics
/// When there is no such program, or no environment can be made.
#[track_caller]
pub fn command(name: &str) -> Command {
    let mut command = Command::new(environment());
    command
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(program(name));
    command
}

/// Returns the path of one of the programs in this crate's `python` folder.
///
/// # Panics
/// When there is no such program.
#[track_caller]
pub fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("python")
        .join(name);
    assert!(path.is_file(), "no Python program {name}");
    path
}

fn try_environment() -> Result<PathBuf, Missing> {
    let cache = target_folder().join("testkit");
    let describe = |what: &str, error: std::io::Error| {
        Missing(format!("cannot {what} in {}: {error}", cache.display()))
    };
    fs::create_dir_all(&cache).map_err(|error| describe("make a folder", error))?;
    let lock = File::create(cache.join("venv.lock")).map_err(|error| describe("write", error))?;
    // Held until the function returns, and by a dying process no longer than it lives.
    lock.lock()
        .map_err(|error| describe("lock a file", error))?;

    let folder = cache.join(format!("venv-{:016x}", hash(REQUIREMENTS.as_bytes())));
    let python = folder.join("bin").join("python");
    // Written last: a folder without it was left half made.
    let complete = folder.join("complete");
    if !complete.is_file() {
        make(&folder, &python)?;
        fs::write(&complete, REQUIREMENTS).map_err(|error| describe("write", error))?;
    }
    Ok(python)
}

fn make(folder: &Path, python: &Path) -> Result<(), Missing> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .map_err(|error| Missing(format!("cannot remove {}: {error}", folder.display())))?;
    }
    ensure_python()?;
    step(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let mut pip = Command::new(python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    step(pip.args(REQUIREMENTS.lines()))
}

/// Makes sure that `python3` can make environments; installs it where we may.
fn ensure_python() -> Result<(), Missing> {
    let check = || {
        let mut python = Command::new("python3");
        let code = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 9))";
        step(python.args(["-c", code]))
    };
    let Err(missing) = check() else { return Ok(()) };
    if !nix::unistd::Uid::effective().is_root() {
        let advice = "install Python 3.9 or newer with its venv module, for example \
                      `sudo apt-get install python3 python3-venv`";
        return Err(Missing(format!("{missing}\nhint: {advice}")));
    }
    step(Command::new("apt-get").args(["update", "--quiet"]))?;
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    step(install.args(["install", "--yes", "--quiet", "python3", "python3-venv"]))?;
    check()
}

/// Runs one command; what it printed is told only when it fails.
fn step(command: &mut Command) -> Result<(), Missing> {
    let ran = command.output();
    let output = ran.map_err(|error| Missing(format!("cannot run {command:?}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Err(Missing(format!(
        "{command:?} failed ({}):\n{said}",
        output.status
    )))
}

/// FNV-1a: names a folder, guards nothing.
fn hash(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}
