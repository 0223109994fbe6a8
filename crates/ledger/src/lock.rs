//! One writing process per journal: an advisory lock on a file beside it, which also says who
//! holds it and, after a storage error, that the next opener must verify first.
//!
//! Readers take no lock. The file stays when the process ends; only the lock on it counts.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fisc_core::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::Error;

/// How much of a lock file is read: three short lines.
const LOCK_FILE_BYTES: usize = 4096;
const STOPPED: &str = "stopped ";

/// How often to try again to take a lock that only those hold, each for a moment, who ask whether
/// there is a writer.
const RETRIES: u32 = 100_000;

/// The lock, held until dropped.
pub(crate) struct Lock {
    file: Flock<File>,
    path: PathBuf,
    holder: String,
}

// === impl Lock ===

impl Lock {
    /// Takes the lock of the journal at `path` for this process.
    pub(crate) fn acquire(journal: &Path, now: Timestamp) -> Result<Lock, Error> {
        let path = beside(journal);
        let failed = |action| {
            let path = path.clone();
            move |source| Error::Io {
                action,
                path,
                source,
            }
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed("open"))?;
        let file = match lock_patiently(file, journal) {
            Ok(locked) => locked,
            Err((file, Errno::EWOULDBLOCK)) => {
                let holder = holder_of(&read(&file).unwrap_or_default());
                return Err(Error::Locked {
                    path: journal.to_owned(),
                    holder,
                });
            }
            Err((_, errno)) => return Err(failed("lock")(io::Error::from(errno))),
        };
        let stopped = stop_in(&read(&file).map_err(failed("read"))?);
        let holder = format!("pid {}\nsince {}\n", std::process::id(), utc(now));
        let lock = Lock { file, path, holder };
        lock.write(stopped.as_deref())?;
        Ok(lock)
    }

    /// Returns why the last writer stopped, if a storage error stopped it.
    pub(crate) fn stopped(&self) -> Result<Option<String>, Error> {
        read(&self.file)
            .map(|text| stop_in(&text))
            .map_err(|source| Error::Io {
                action: "read",
                path: self.path.clone(),
                source,
            })
    }

    /// Notes, as well as a failing disk allows, that the writer stopped and why; `None` clears it.
    pub(crate) fn write(&self, stopped: Option<&str>) -> Result<(), Error> {
        let mut text = self.holder.clone();
        if let Some(reason) = stopped {
            text.push_str(STOPPED);
            text.push_str(&reason.replace('\n', " "));
            text.push('\n');
        }
        let done = self.file.write_all_at(text.as_bytes(), 0);
        done.and_then(|()| self.file.set_len(text.len() as u64))
            .map_err(|source| Error::Io {
                action: "write",
                path: self.path.clone(),
                source,
            })
    }
}

/// Says whether a process has the journal at `path` open for writing.
pub(crate) fn is_held(journal: &Path) -> Result<bool, Error> {
    let path = beside(journal);
    let failed = |action| {
        let path = path.clone();
        move |source| Error::Io {
            action,
            path,
            source,
        }
    };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed("open")(error)),
    };
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(false),
        Err((_, Errno::EWOULDBLOCK)) => Ok(true),
        Err((_, errno)) => Err(failed("lock")(io::Error::from(errno))),
    }
}

/// Refuses file systems on which a write-ahead log is unsafe.
pub(crate) fn check_filesystem(journal: &Path) -> Result<(), Error> {
    let parent = match journal.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match network_filesystem(parent) {
        Some(kind) => Err(Error::NetworkFilesystem {
            path: journal.to_owned(),
            kind,
        }),
        None => Ok(()),
    }
}

/// Writes a time as people and programs read it: `2026-11-23T18:57:01Z`.
pub(crate) fn utc(at: Timestamp) -> String {
    let seconds = at.0.div_euclid(1_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Civil date from a day count, on a calendar whose year begins in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z",
        second % 60
    )
}

/// Takes the lock, or says that a writer has it. Who only asks for a writer shares the lock with
/// others who ask, which a writer never does: so the two are told apart, and the former waited for.
fn lock_patiently(mut file: File, journal: &Path) -> Result<Flock<File>, (File, Errno)> {
    for _ in 0..RETRIES {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Err((held, Errno::EWOULDBLOCK)) => file = held,
            other => return other,
        }
        if !matches!(is_held(journal), Ok(false)) {
            break;
        }
        std::thread::yield_now();
    }
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
}

fn beside(journal: &Path) -> PathBuf {
    let mut name = OsString::from(journal);
    name.push(".lock");
    PathBuf::from(name)
}

fn read(file: &File) -> io::Result<String> {
    let mut bytes = [0; LOCK_FILE_BYTES];
    let length = file.read_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

fn holder_of(text: &str) -> String {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    match (value("pid "), value("since ")) {
        (Some(pid), Some(since)) => format!("process {pid} (since {since})"),
        _ => "another process".to_owned(),
    }
}

fn stop_in(text: &str) -> Option<String> {
    text.lines()
        .find_map(|line| line.strip_prefix(STOPPED))
        .map(str::to_owned)
}

#[cfg(target_os = "linux")]
fn network_filesystem(directory: &Path) -> Option<&'static str> {
    use nix::sys::statfs::{NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, statfs};

    // `<linux/magic.h>`; the crate has only the oldest of the three.
    const CIFS_MAGIC: u64 = 0xff53_4d42;
    const SMB2_MAGIC: u64 = 0xfe53_4d42;

    let kind = statfs(directory).ok()?.filesystem_type();
    let magic = u64::from(kind.0 as u32);
    if kind == NFS_SUPER_MAGIC {
        Some("NFS")
    } else if kind == SMB_SUPER_MAGIC || magic == CIFS_MAGIC || magic == SMB2_MAGIC {
        Some("SMB")
    } else {
        None
    }
}

#[cfg(not(target_os = "linux"))]
fn network_filesystem(_directory: &Path) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_times_as_people_do() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_460_221, "2026-11-23T18:57:01Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(utc(Timestamp(seconds * 1_000_000)), text);
        }
    }
}
