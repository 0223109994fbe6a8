//! What this process is to others: undumpable, a subreaper, a job of a shell; and who descends
//! from it.
//!
//! Reads `/proc`, so strays outside the child's group are found on Linux only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use nix::sys::signal::{Signal, killpg, raise};
use nix::unistd::{Pid, getpgrp, getpid};

/// How many ancestors a process has at most.
const ANCESTORS_MAX: usize = 1000;

/// The facts of one process that its `stat` file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: i32,
    /// Ended but not reaped.
    is_zombie: bool,
    parent: i32,
    group: i32,
    session: i32,
}

/// Makes this process unreadable for others of the same user and the heir of its descendants.
pub(super) fn shield_this_process() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        nix::sys::prctl::set_dumpable(false)?;
        nix::sys::prctl::set_child_subreaper(true)?;
    }
    Ok(())
}

/// Returns the ids of this process's children.
pub(super) fn children_of_this_process() -> BTreeSet<i32> {
    let own = getpid().as_raw();
    all()
        .into_iter()
        .filter(|process| process.parent == own)
        .map(|process| process.pid)
        .collect()
}

/// Returns the ids of the living processes that descend from this one other than through
/// `strangers`.
pub(super) fn descendants_of_this_process(strangers: &BTreeSet<i32>) -> Vec<i32> {
    descendants(&all(), getpid().as_raw(), strangers)
}

/// Says whether a process is this one or descends from it; `None` when nobody can tell.
pub(crate) fn descends_from_this_process(pid: i32) -> Option<bool> {
    let own = getpid().as_raw();
    let mut ancestor = pid;
    // Longer lines than that are a process that ends and another of its number.
    for _ in 0..ANCESTORS_MAX {
        if ancestor == own {
            return Some(true);
        }
        let process = read(ancestor)?;
        if process.parent <= 0 {
            return Some(false);
        }
        ancestor = process.parent;
    }
    None
}

/// Says whether a shell above is watching for stops of this process's job: the kernel's rule
/// that a group is not orphaned.
pub(super) fn has_job_control() -> bool {
    let Some(own) = read(getpid().as_raw()) else {
        return false;
    };
    let mut ancestor = own;
    while ancestor.group == own.group {
        match read(ancestor.parent) {
            Some(parent) => ancestor = parent,
            None => return false,
        }
    }
    ancestor.session == own.session
}

/// Stops this process and its whole group, as the terminal would.
pub(super) fn stop_own_group() {
    let _ = killpg(getpgrp(), Signal::SIGTSTP);
    // This process handles SIGTSTP, so it needs the one that cannot be handled.
    let _ = raise(Signal::SIGSTOP);
}

/// Returns the numbers of the signals that this process was started to ignore (`nohup`, `&` in
/// a script), as a mask with bit `n - 1` for signal `n`.
pub(super) fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// Says whether the process group exists.
pub(super) fn group_exists(group: Pid) -> bool {
    group.as_raw() > 0 && killpg(group, None) != Err(nix::errno::Errno::ESRCH)
}

fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(read).collect()
}

fn read(pid: i32) -> Option<Process> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads `pid (name) state ppid pgrp session …`; the name may hold anything, `)` included.
fn parse(pid: i32, stat: &str) -> Option<Process> {
    let (_, facts) = stat.rsplit_once(')')?;
    let mut facts = facts.split_ascii_whitespace();
    let state = facts.next()?;
    let mut number = || facts.next()?.parse().ok();
    Some(Process {
        pid,
        is_zombie: matches!(state, "Z" | "X"),
        parent: number()?,
        group: number()?,
        session: number()?,
    })
}

fn descendants(processes: &[Process], root: i32, strangers: &BTreeSet<i32>) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<&Process>> = BTreeMap::new();
    for process in processes {
        children.entry(process.parent).or_default().push(process);
    }
    let (mut found, mut open) = (Vec::new(), vec![root]);
    while let Some(parent) = open.pop() {
        // Removed as it is visited: the snapshot is not atomic, so it might hold a cycle.
        for child in children.remove(&parent).unwrap_or_default() {
            if strangers.contains(&child.pid) || child.pid == root {
                continue;
            }
            open.push(child.pid);
            if !child.is_zombie {
                found.push(child.pid);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_stat_line_with_any_name() {
        let process = parse(7, "7 (a) b (c) S 5 6 4 0 -1 4194304").expect("a stat line");
        assert_eq!(
            process,
            Process {
                pid: 7,
                is_zombie: false,
                parent: 5,
                group: 6,
                session: 4
            }
        );
        assert_eq!(parse(7, "7 (cut"), None);
        assert_eq!(parse(7, "7 (cut) S 5"), None);
    }

    #[test]
    fn descends_to_every_living_process_but_strangers() {
        let process = |pid, parent, is_zombie| Process {
            pid,
            is_zombie,
            parent,
            group: pid,
            session: pid,
        };
        let processes = [
            process(1, 0, false),
            process(10, 1, false),
            process(11, 10, false),
            process(12, 11, true),
            process(13, 12, false),
            process(20, 10, false),
            process(21, 20, false),
            process(30, 1, false),
        ];
        let mut found = descendants(&processes, 10, &BTreeSet::from([20]));
        found.sort_unstable();
        assert_eq!(found, [11, 13]);
    }

    #[test]
    fn knows_itself() {
        let own = read(getpid().as_raw()).expect("/proc tells of this process");
        assert_eq!(own.group, getpgrp().as_raw());
        assert!(group_exists(getpgrp()));
        assert!(!group_exists(Pid::from_raw(0)));
    }
}
