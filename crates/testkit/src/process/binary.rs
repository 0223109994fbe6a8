//! Where the product's binary is, and a build of it where there is none yet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The crates whose code is not in the product's binary.
const NOT_IN_THE_BINARY: &[&str] = &["testkit"];

/// Returns the path of the product's binary `name`, built with the profile of the running test.
/// Where it is missing or older than a source file it is built first, once.
///
/// # Panics
/// When it cannot be built.
#[track_caller]
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();

    let path = profile_folder().join(name);
    BUILT.get_or_init(|| {
        if is_older_than_its_sources(&path) {
            build(name);
        }
    });
    assert!(path.is_file(), "{} was not built", path.display());
    path
}

/// Returns the workspace's root.
pub fn workspace() -> &'static Path {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    folder
        .ancestors()
        .nth(2)
        .expect("this crate lies two folders below the root")
}

/// Returns cargo's target folder, where everything made by tests may be cached.
///
/// # Panics
/// When the running program was not built by cargo.
pub fn target_folder() -> PathBuf {
    let program = std::env::current_exe().expect("the running program has a path");
    let marked = |folder: &&Path| folder.join("CACHEDIR.TAG").is_file();
    let folder = program.ancestors().skip(1).find(marked);
    folder
        .expect("tests run from cargo's target folder")
        .to_owned()
}

/// Returns the folder of the running test's profile, for example `target/debug`.
///
/// # Panics
/// When the running program was not built by cargo.
pub fn profile_folder() -> PathBuf {
    let program = std::env::current_exe().expect("the running program has a path");
    let folder = program.parent().expect("a program lies in a folder");
    let is_inner = |name: &std::ffi::OsStr| name == "deps" || name == "examples";
    if folder.file_name().is_some_and(is_inner) {
        folder
            .parent()
            .expect("`deps` lies in the profile's folder")
            .to_owned()
    } else {
        folder.to_owned()
    }
}

fn build(name: &str) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let profile = profile_folder();
    let profile = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let built = Command::new(cargo)
        .current_dir(workspace())
        .args([
            "build",
            "--package",
            "fisc-cli",
            "--bin",
            name,
            "--profile",
            profile,
        ])
        .status()
        .expect("cargo runs");
    assert!(built.success(), "cargo cannot build the binary {name}");
}

fn is_older_than_its_sources(binary: &Path) -> bool {
    let Ok(made) = fs::metadata(binary).and_then(|data| data.modified()) else {
        return true;
    };
    let mut sources = vec![
        workspace().join("Cargo.toml"),
        workspace().join("Cargo.lock"),
    ];
    let crates = fs::read_dir(workspace().join("crates")).expect("the workspace has crates");
    for entry in crates.flatten() {
        if !NOT_IN_THE_BINARY
            .iter()
            .any(|skipped| entry.file_name() == *skipped)
        {
            sources.push(entry.path().join("Cargo.toml"));
            sources.push(entry.path().join("src"));
        }
    }
    sources
        .iter()
        .any(|source| newest(source).is_some_and(|changed| changed > made))
}

/// Returns when the file, or the newest file under the folder, was changed last.
fn newest(path: &Path) -> Option<SystemTime> {
    if path.is_dir() {
        let entries = fs::read_dir(path).ok()?;
        entries
            .flatten()
            .filter_map(|entry| newest(&entry.path()))
            .max()
    } else {
        fs::metadata(path).and_then(|data| data.modified()).ok()
    }
}
