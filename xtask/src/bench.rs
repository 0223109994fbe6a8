//! The gateway beside a plain reverse proxy and beside none, in one run: `cargo xtask bench`.
//!
//! Same upstream, same load, one core for the proxy and one for everything else where there are
//! two. Figures of different machines, or of different runs, say little; ratios of one run do.
//! It measures and writes down; what the figures are held against is in
//! `docs/reference/performance.md`.

mod conditions;
mod load;
mod proxy;
mod report;
mod time;
mod upstream;
mod wire;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Outcome, cargo};

use conditions::Conditions;
use load::{Load, Measured};
use proxy::Proxy;
use report::{Figures, Report};
use wire::Mode;

/// The durabilities of the gateway that are compared, as its configuration names them.
const DURABILITIES: [&str; 3] = ["async", "process", "full"];

/// How it is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often everything is measured; the median counts.
    rounds: usize,
    /// How long one measurement lasts, and what runs before it.
    window: Duration,
    warm_up: Duration,
    /// The gateway's program, or `None` to build it.
    program: Option<PathBuf>,
    /// Only these proxies, besides the direct way and nginx.
    only: Vec<String>,
    /// Whether to write the tables into the document.
    write: bool,
}

/// Everything that is measured, ready to be called.
struct Bench {
    options: Options,
    conditions: Conditions,
    proxies: Vec<Proxy>,
}

/// Runs the benchmark as the words after `bench` say and prints its tables.
pub fn run(root: &Path, words: &[String]) -> Outcome {
    let options = Options::parse(words).map_err(|problem| vec![problem])?;
    measure(root, options).map_err(|error| vec![format!("bench: {error}")])
}

fn measure(root: &Path, options: Options) -> io::Result<()> {
    let directory = root.join("target").join("bench");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory)?;
    let program = match &options.program {
        Some(program) => program.clone(),
        None => build(root)?,
    };
    conditions::require_nginx()?;
    let write = options.write;
    let mut bench = Bench::start(options, &program, &directory)?;
    let measured = bench.measure();
    let conditions = bench.stop()?;
    let report = Report {
        conditions,
        modes: measured?,
    };
    println!("{report}");
    if write {
        report.write_into(&root.join("docs/reference/performance.md"))?;
    }
    Ok(())
}

/// Builds the gateway as it is released and returns its program.
fn build(root: &Path) -> io::Result<PathBuf> {
    let built = cargo()
        .current_dir(root)
        .args(["build", "--release", "--package", "fisc-cli"])
        .status()?;
    if built.success() {
        Ok(root.join("target/release/fisc"))
    } else {
        Err(io::Error::other("the gateway was not built"))
    }
}

// === impl Options ===

impl Options {
    /// Reads the words of the command line; the error says what may be said.
    fn parse(words: &[String]) -> Result<Options, String> {
        const USAGE: &str = "usage: cargo xtask bench [--quick] [--write] [--rounds N] \
                             [--program FILE] [--only async,process,full]";

        let mut options = Options {
            rounds: 5,
            window: Duration::from_secs(4),
            warm_up: Duration::from_secs(1),
            program: None,
            only: Vec::new(),
            write: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| USAGE.to_owned());
            match word.as_str() {
                "--quick" => (options.rounds, options.window) = (1, Duration::from_secs(2)),
                "--write" => options.write = true,
                "--rounds" => options.rounds = value()?.parse().map_err(|_| USAGE.to_owned())?,
                "--program" => options.program = Some(PathBuf::from(value()?)),
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                _ => return Err(USAGE.to_owned()),
            }
        }
        Ok(options)
    }

    fn wants(&self, durability: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == durability)
    }
}

// === impl Bench ===

impl Bench {
    fn start(options: Options, program: &Path, directory: &Path) -> io::Result<Bench> {
        let pinned = proxy::pin_load();
        let conditions = Conditions::gather(directory, pinned, &options)?;
        let upstream = upstream::start()?;
        let mut proxies = vec![
            Proxy::direct(upstream),
            Proxy::nginx(directory, upstream, pinned)?,
        ];
        for durability in DURABILITIES.into_iter().filter(|name| options.wants(name)) {
            let gateway = Proxy::gateway(program, directory, upstream, durability, pinned)?;
            proxies.push(gateway);
        }
        Ok(Bench {
            options,
            conditions,
            proxies,
        })
    }

    /// Stops everything and verifies the books; returns the conditions with those of the end.
    fn stop(self) -> io::Result<Conditions> {
        for proxy in self.proxies {
            proxy.stop()?;
        }
        Ok(self.conditions.ended())
    }

    fn measure(&mut self) -> io::Result<Vec<(Mode, f64, Vec<Figures>)>> {
        let mut modes = Vec::new();
        for mode in Mode::ALL {
            let mut figures: Vec<Figures> = self
                .proxies
                .iter()
                .map(|proxy| Figures::new(proxy.name))
                .collect();
            for round in 0..self.options.rounds {
                for (proxy, figures) in self.proxies.iter().zip(&mut figures) {
                    let (measured, cpu) = self.call(proxy, mode, None)?;
                    figures.saturated(&measured, cpu);
                    progress(mode, round, proxy.name, &measured, cpu);
                }
            }
            // Half of what the slowest proxy can do: then none of them queues.
            let slowest = figures.iter().skip(1).map(Figures::calls_per_second);
            let rate = slowest.fold(f64::INFINITY, f64::min) / 2.0;
            for round in 0..self.options.rounds {
                for (proxy, figures) in self.proxies.iter().zip(&mut figures) {
                    let (measured, cpu) = self.call(proxy, mode, Some(rate))?;
                    figures.at_rate(&measured, cpu);
                    progress(mode, round, proxy.name, &measured, cpu);
                }
            }
            modes.push((mode, rate, figures));
        }
        Ok(modes)
    }

    /// Measures one proxy once; returns the CPU time that it took meanwhile as well.
    fn call(
        &self,
        proxy: &Proxy,
        mode: Mode,
        rate: Option<f64>,
    ) -> io::Result<(Measured, Duration)> {
        let addr: SocketAddr = proxy.addr(mode);
        let request = wire::request(mode, addr, proxy::KEY);
        let load = Load {
            addr,
            request: &request,
            connections: mode.connections(),
            rate,
            warm_up: self.options.warm_up,
            window: self.options.window,
        };
        let mut edges = Vec::with_capacity(2);
        let measured = load.run(|| edges.push(proxy.cpu(self.conditions.tick)));
        let measured = measured.map_err(|error| {
            io::Error::other(format!("{}, {}: {error}", proxy.name, mode.name()))
        })?;
        Ok((measured, edges[1].saturating_sub(edges[0])))
    }
}

fn progress(mode: Mode, round: usize, name: &str, measured: &Measured, cpu: Duration) {
    let micros = |span: Duration| span.as_secs_f64() * 1e6;
    let seconds = measured.window.as_secs_f64();
    eprintln!(
        "{:13} {round} {name:8} {:7.0}/s, CPU {:5.0} us, p50 {:6.0} us, p99 {:6.0} us, {:3.0} %",
        mode.name(),
        measured.calls as f64 / seconds,
        micros(cpu) / measured.calls.max(1) as f64,
        micros(measured.whole.p50),
        micros(measured.whole.p99),
        cpu.as_secs_f64() / seconds * 100.0,
    );
}
