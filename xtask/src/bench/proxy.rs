//! The proxies that are compared: nginx as the plain one, and the gateway at each durability.
//!
//! Each runs as a process of its own, on a core of its own where `taskset` can do that, so that
//! its CPU time is told apart from the load's.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::time::pause;
use super::wire::Mode;

/// The core of the proxy under test, and the core of load and upstream.
const PROXY_CORE: &str = "0";
const LOAD_CORE: &str = "1";

/// The caller's key at the gateway: of nobody, for a gateway that runs as long as the benchmark.
const SECRET: &str = "bench-4d1f0c6a9e7b2385";
pub(super) const KEY: &str = "sk-fisc-bench.bench-4d1f0c6a9e7b2385~researcher";

/// How often to look whether a proxy listens, and for how long.
const READY_POLL: Duration = Duration::from_millis(20);
const READY_POLLS_MAX: u32 = 500;

/// What a call goes through.
pub(super) struct Proxy {
    pub(super) name: &'static str,
    whole: SocketAddr,
    stream: SocketAddr,
    process: Option<Child>,
    /// The gateway's program and its ledger, to verify the books in the end.
    books: Option<(PathBuf, PathBuf)>,
}

// === impl Proxy ===

impl Proxy {
    /// Returns the way without any proxy.
    pub(super) fn direct(upstream: SocketAddr) -> Proxy {
        Proxy {
            name: "direct",
            whole: upstream,
            stream: upstream,
            process: None,
            books: None,
        }
    }

    /// Starts nginx as a reverse proxy and nothing else: one process, kept-alive connections to
    /// the upstream, no log; streams are passed on unbuffered.
    pub(super) fn nginx(directory: &Path, upstream: SocketAddr, pinned: bool) -> io::Result<Proxy> {
        let (whole, stream) = (free_address()?, free_address()?);
        let config = directory.join("nginx.conf");
        fs::write(&config, nginx_config(directory, upstream, whole, stream))?;
        let mut command = on_core(Path::new("nginx"), pinned);
        command.arg("-c").arg(&config).arg("-p").arg(directory);
        let process = command.stderr(Stdio::null()).spawn()?;
        wait_until_open(whole)?;
        Ok(Proxy {
            name: "nginx",
            whole,
            stream,
            process: Some(process),
            books: None,
        })
    }

    /// Starts the gateway over a new ledger, with a tree three budgets deep whose root limits
    /// tokens, cost and active time.
    pub(super) fn gateway(
        program: &Path,
        directory: &Path,
        upstream: SocketAddr,
        durability: &'static str,
        pinned: bool,
    ) -> io::Result<Proxy> {
        let directory = directory.join(durability);
        fs::create_dir_all(&directory)?;
        let config = directory.join("fisc.toml");
        fs::write(&config, gateway_config(upstream, durability))?;
        let mut command = on_core(program, pinned);
        command.arg("serve").arg("--config").arg(&config);
        command
            .env("BENCH_SECRET", SECRET)
            .env("BENCH_KEY", "upstream-key");
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let stdout = process.stdout.take().expect("it is piped");
        let mut said = String::new();
        BufReader::new(stdout).read_line(&mut said)?;
        let addr = said
            .trim()
            .rsplit("http://")
            .next()
            .and_then(|text| text.parse().ok());
        let addr: SocketAddr =
            addr.ok_or_else(|| io::Error::other(format!("the gateway said: {said:?}")))?;
        Ok(Proxy {
            name: durability,
            whole: addr,
            stream: addr,
            process: Some(process),
            books: Some((program.to_owned(), directory.join("fisc.db"))),
        })
    }

    /// Returns where calls of this mode go.
    pub(super) fn addr(&self, mode: Mode) -> SocketAddr {
        match mode {
            Mode::Whole => self.whole,
            Mode::Stream => self.stream,
        }
    }

    /// Returns the CPU time, user and system, that its process has used; zero without one.
    pub(super) fn cpu(&self, tick: Duration) -> Duration {
        let Some(process) = &self.process else {
            return Duration::ZERO;
        };
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap_or_default();
        // The program's name, in parentheses, may hold anything; after it come fields 3 and on.
        let fields = stat.rsplit(") ").next().unwrap_or_default();
        let fields: Vec<u32> = fields
            .split(' ')
            .skip(11)
            .take(2)
            .filter_map(|text| text.parse().ok())
            .collect();
        tick * fields.iter().sum()
    }

    /// Ends it in order, and verifies the gateway's books.
    pub(super) fn stop(mut self) -> io::Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        Command::new("kill")
            .arg(process.id().to_string())
            .status()?;
        process.wait()?;
        let Some((program, ledger)) = &self.books else {
            return Ok(());
        };
        let verified = Command::new(program).arg("verify").arg(ledger).output()?;
        if verified.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        Err(io::Error::other(format!(
            "the books of {} do not add up: {said}",
            self.name
        )))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Moves this process, and every thread that it starts from now on, to the core of the load;
/// says whether cores can be chosen here.
pub(super) fn pin_load() -> bool {
    let pid = std::process::id().to_string();
    let pinned = Command::new("taskset")
        .args(["-p", "-c", LOAD_CORE, &pid])
        .output();
    pinned.is_ok_and(|output| output.status.success())
}

fn on_core(program: &Path, pinned: bool) -> Command {
    if !pinned {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", PROXY_CORE]).arg(program);
    command
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn wait_until_open(addr: SocketAddr) -> io::Result<()> {
    for _ in 0..READY_POLLS_MAX {
        if TcpStream::connect(addr).is_ok() {
            return Ok(());
        }
        pause(READY_POLL);
    }
    Err(io::Error::other(format!("nothing listens on {addr}")))
}

fn nginx_config(
    directory: &Path,
    upstream: SocketAddr,
    whole: SocketAddr,
    stream: SocketAddr,
) -> String {
    let directory = directory.display();
    let server = |listen: SocketAddr, buffering: &str| {
        format!(
            "  server {{
    listen {listen};
    keepalive_requests 1000000000;
    location / {{
      proxy_pass http://upstream;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_buffering {buffering};
    }}
  }}
"
        )
    };
    format!(
        "daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  upstream upstream {{
    server {upstream};
    keepalive 1024;
    keepalive_requests 1000000000;
  }}
{}{}}}
",
        server(whole, "on"),
        server(stream, "off")
    )
}

fn gateway_config(upstream: SocketAddr, durability: &str) -> String {
    format!(
        r#"listen = "127.0.0.1:0"
durability = "{durability}"

[upstream.openai]
url = "http://{upstream}"
key_env = "BENCH_KEY"

[budget.org]
cost = "1000000"
tokens = "1000B"
active_time = "100000h"

[budget.org.children.team]
cost = "1000000"

[[key]]
name = "bench"
budget = "org/team"
secret_env = "BENCH_SECRET"
"#
    )
}
