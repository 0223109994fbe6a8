//! Under which conditions was measured: a figure without them says nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::time::now;
use super::{Mode, Options, upstream, wire};

/// How many small writes are synced to see how long the disk takes for one.
const SYNCS: usize = 101;
const SYNC_BYTES: usize = 4096;

/// What a run rested on.
#[derive(Debug, Clone)]
pub(super) struct Conditions {
    /// One tick of the system's accounting of CPU time.
    pub(super) tick: Duration,
    lines: Vec<String>,
}

// === impl Conditions ===

impl Conditions {
    pub(super) fn gather(
        directory: &Path,
        pinned: bool,
        options: &Options,
    ) -> io::Result<Conditions> {
        let ticks = said("getconf", &["CLK_TCK"]);
        let ticks: f64 = ticks.parse().unwrap_or(100.0);
        let cores = std::thread::available_parallelism()?;
        let pinning = if pinned {
            "the proxy alone on core 0; load and upstream on core 1".to_owned()
        } else {
            format!("cores not pinned ({cores} to be had): proxy and load disturb each other")
        };
        let sync = sync_time(directory)?;
        let lines = vec![
            format!(
                "{}, Linux {}; {pinning}",
                processor(),
                said("uname", &["-r"])
            ),
            format!("{}; {}", nginx_version(), said("rustc", &["--version"])),
            format!(
                "a sync of {SYNC_BYTES} appended bytes takes {} us here",
                sync.as_micros()
            ),
            format!(
                "requests of 1 KiB, answers of 1 KiB or {} events of about 300 bytes, {} ms apart; \
                 {} and {} connections",
                wire::EVENTS,
                upstream::EVENT_PAUSE.as_millis(),
                Mode::Whole.connections(),
                Mode::Stream.connections(),
            ),
            format!(
                "medians of {} rounds of {} s each, after {} s of warming up",
                options.rounds,
                options.window.as_secs(),
                options.warm_up.as_secs()
            ),
            format!("load average before: {}", load_average()),
        ];
        let tick = Duration::from_secs_f64(1.0 / ticks);
        Ok(Conditions { tick, lines })
    }

    /// Adds what is only known in the end.
    pub(super) fn ended(mut self) -> Conditions {
        self.lines
            .push(format!("load average after: {}", load_average()));
        self
    }

    /// Returns them, a line each.
    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// Installs nginx where that can be done, or says that it is missing.
pub(super) fn require_nginx() -> io::Result<()> {
    if Command::new("nginx").arg("-v").output().is_ok() {
        return Ok(());
    }
    let missing = || io::Error::other("nginx is not installed, and could not be; install it");
    if said("id", &["-u"]) != "0" {
        return Err(missing());
    }
    let install = ["install", "--yes", "nginx-light"];
    let installed = Command::new("apt-get").args(install).output()?;
    if installed.status.success() {
        Ok(())
    } else {
        Err(missing())
    }
}

/// Returns the median time that the disk under `directory` takes for a small append.
fn sync_time(directory: &Path) -> io::Result<Duration> {
    let path = directory.join("sync");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[0; SYNC_BYTES])?;
        let before = now();
        file.sync_data()?;
        times.push(before.elapsed());
    }
    fs::remove_file(path)?;
    times.sort_unstable();
    Ok(times[SYNCS / 2])
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut models = text
        .lines()
        .filter_map(|line| line.strip_prefix("model name"));
    let model = models.next().and_then(|rest| rest.split_once(':'));
    model
        .map_or("an unknown processor", |(_, name)| name.trim())
        .to_owned()
}

fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn nginx_version() -> String {
    let output = Command::new("nginx").arg("-v").output();
    let text = output.map_or_else(|_| Vec::new(), |output| output.stderr);
    let text = String::from_utf8_lossy(&text);
    text.trim().trim_start_matches("nginx version: ").to_owned()
}

/// Returns what a program says on one line, or nothing.
fn said(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output();
    let text = output.map_or_else(|_| Vec::new(), |output| output.stdout);
    String::from_utf8_lossy(&text).trim().to_owned()
}
