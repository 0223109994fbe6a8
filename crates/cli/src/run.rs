//! `fisc run`: a program under a budget, from its wiring to its report.

mod door;
mod end;
mod nested;
mod plan;
mod prompt;
mod status;
mod watch;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fisc::{Budget, Fisc, Options, Terms, TimeUs, Timestamp};
use fisc_gateway::{Credential, Gateway, Keyring, Parts, Secret, Upstream};
use fisc_rehearsal::Rehearsal;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use self::door::Door;
pub(crate) use self::door::NAME as DOOR;
use self::end::End;
use self::plan::{Plan, ROOT};
use self::watch::Watch;
use crate::amounts::show_count;
use crate::args::{KeysArg, OnLimit, RunArgs};
use crate::exit::{self, Conclusion, Facts};
use crate::failure::Failure;
use crate::home::Home;
use crate::report::{self, LimitingRow, Names};
use crate::supervise::{Ending, Signals, Supervision, supervise};
use crate::wiring::{self, Keys, UpstreamChoice, Wiring, WiringPlan};

/// How many orders to the supervisor may wait; it needs one.
const CONTROL_QUEUE: usize = 4;

/// A run that is set up.
struct Run {
    id: String,
    ledger: PathBuf,
    home: Home,
    fisc: Fisc,
    plan: Plan,
    started: Timestamp,
}

/// What authorizes the program under a run.
struct Secrets {
    /// In the base URLs of its calls.
    run: Secret,
    /// For the budget API, such as a run inside of this one asks.
    token: Secret,
    /// For who may change the run's own budget.
    owner: Secret,
}

/// Runs a program under a budget and returns the exit code.
pub(crate) async fn run(args: &RunArgs) -> Result<u8, Failure> {
    let plan = Plan::resolve(args)?;
    for (option, path) in [("--report", &args.report), ("--json", &args.json)] {
        if let Some(path) = path {
            report::check_writable(option, path)?;
        }
    }
    if let Some(outer) = nested::outer(args)? {
        return nested::run(args, plan, outer).await;
    }
    let home = Home::find()?;
    let (id, ledger) = home.new_run()?;
    let fisc = open(&plan, &ledger)?;
    let started = fisc.now();
    let run = Run {
        id,
        ledger,
        home,
        fisc,
        plan,
        started,
    };
    match run.carry_out(args).await {
        Ok(end) => Ok(run.finish(args, end).await),
        Err(failure) => {
            run.give_up(args, &failure).await;
            Err(failure)
        }
    }
}

// === impl Run ===

impl Run {
    async fn carry_out(&self, args: &RunArgs) -> Result<End, Failure> {
        self.allocate().await?;
        self.recall(args);
        let rehearsal = start_rehearsal(args)?;
        let listener = bind(args.port).await?;
        let secrets = Secrets {
            run: generate()?,
            token: generate()?,
            owner: generate()?,
        };
        let wiring = self.wire(args, &listener, &secrets, rehearsal.as_ref())?;
        let gateway = self.start_gateway(args, listener, &secrets, &wiring)?;
        let door = self.open_door(args, &gateway, secrets.owner);
        let watch = Watch::start(args, self.fisc.clone(), Arc::clone(&gateway), &self.id);
        let concluded = self.supervise(args, wiring, watch, gateway).await;
        drop(door);
        if let Some(rehearsal) = rehearsal {
            rehearsal.shutdown().await;
        }
        concluded
    }

    async fn allocate(&self) -> Result<(), Failure> {
        self.fisc.allocate(ROOT, self.plan.root).await?;
        for (path, terms) in &self.plan.budgets {
            let allocated = self.allocate_path(path, *terms).await;
            allocated.map_err(|error| match error {
                fisc::Error::Tree(why) => {
                    Failure::usage(format!("--budget {}: {why}", path.join("/")))
                        .hint("leave more above it, or keep less: static carves its limit out")
                }
                error => error.into(),
            })?;
        }
        self.keep(Names::RUN, &self.id);
        self.keep(Names::STARTED, &self.started.0.to_string());
        self.keep(Names::PRICES, self.plan.prices_version());
        Ok(())
    }

    /// Allocates a budget, and what is missing above it without limits of its own.
    async fn allocate_path(&self, path: &[String], terms: Terms) -> Result<Budget, fisc::Error> {
        let mut full = ROOT.to_owned();
        for name in &path[..path.len() - 1] {
            full = format!("{full}/{name}");
            if self.fisc.budget(&full).is_err() {
                self.fisc.allocate(&full, Terms::default()).await?;
            }
        }
        full = format!("{full}/{}", path[path.len() - 1]);
        match self.fisc.budget(&full) {
            Ok(budget) => {
                self.fisc.set_terms(budget.id(), terms).await?;
                Ok(budget)
            }
            Err(_) => self.fisc.allocate(&full, terms).await,
        }
    }

    fn wire(
        &self,
        args: &RunArgs,
        listener: &TcpListener,
        secrets: &Secrets,
        rehearsal: Option<&Rehearsal>,
    ) -> Result<Wiring, Failure> {
        let addr = listener
            .local_addr()
            .map_err(|error| Failure::internal(error.to_string()))?;
        let mut upstreams = self.plan.upstreams.clone();
        if let Some(rehearsal) = rehearsal {
            upstreams = wiring::PROVIDERS
                .map(|provider| (provider, format!("{}/v1", rehearsal.url())))
                .to_vec();
        }
        let plan = WiringPlan {
            gateway: format!("http://{addr}"),
            run_secret: secrets.run.clone(),
            run_key: generate()?,
            agent: self.plan.agent.clone(),
            run_id: self.id.clone(),
            token: secrets.token.clone(),
            keys: match args.keys {
                KeysArg::Custody => Keys::Custody,
                KeysArg::Pass => Keys::Pass,
            },
            upstreams,
            env_file: self.plan.env_file.clone(),
        };
        let inherited = std::env::vars_os().collect();
        let wiring = wiring::wire(&inherited, &plan);
        let wiring =
            wiring.map_err(|error| Failure::configuration(error.to_string()).hint(error.hint()))?;
        for warning in &wiring.warnings {
            eprintln!("fisc ▸ warning: {warning}");
        }
        Ok(wiring)
    }

    fn start_gateway(
        &self,
        args: &RunArgs,
        listener: TcpListener,
        secrets: &Secrets,
        wiring: &Wiring,
    ) -> Result<Arc<Gateway>, Failure> {
        let upstreams = wiring.upstreams.iter().map(|to| upstream(args, wiring, to));
        let parts = Parts {
            listener,
            hosts: Vec::new(),
            keyring: Keyring::new()
                .with_run(&secrets.run, ROOT)
                .with_run(&secrets.token, ROOT)
                .with_owner(&secrets.owner, ROOT),
            upstreams: upstreams.collect::<Result<_, _>>()?,
            prices: self.plan.price_book()?,
            policy: self.plan.policy.clone(),
            webhooks: Vec::new(),
            taught_by: self.taught_by(args),
        };
        let gateway = Gateway::start(parts, self.fisc.clone());
        let gateway = gateway.map_err(|error| Failure::internal(error.to_string()))?;
        Ok(Arc::new(gateway))
    }

    /// Lets the run's owner in from elsewhere, where it is asked.
    fn open_door(&self, args: &RunArgs, gateway: &Gateway, owner: Secret) -> Option<Door> {
        if args.on_limit != OnLimit::Ask {
            return None;
        }
        let folder = self
            .ledger
            .parent()
            .expect("a ledger is in the run's folder");
        let opened = Door::open(folder, format!("http://{}", gateway.addr()), owner);
        let tell = |error| {
            eprintln!("fisc ▸ warning: fisc approve and fisc deny cannot reach this run: {error}");
        };
        opened.map_err(tell).ok()
    }

    async fn supervise(
        &self,
        args: &RunArgs,
        wiring: Wiring,
        mut watch: Watch,
        gateway: Arc<Gateway>,
    ) -> Result<End, Failure> {
        let (command, rest) = args.command.split_first().expect("clap asks for a command");
        let (control, orders) = mpsc::channel(CONTROL_QUEUE);
        watch.orders(control);
        let supervision = Supervision {
            command: command.clone(),
            args: rest.to_vec(),
            environment: wiring.changes.into_iter().collect(),
            deadline: self.time_left(),
            grace: self.plan.grace,
        };
        drop(wiring.keys);
        let ended = supervise(supervision, orders).await;
        // Nobody forwards signals any more: from here on they are for the drain.
        let signals = Signals::listen_for_end();
        watch.stop().await;
        let limiting = gateway.limiting();
        if let Some(gateway) = Arc::into_inner(gateway) {
            let hurried = ended.as_ref().is_ok_and(Ending::is_hurried);
            self.drain(gateway, hurried, signals).await;
        }
        let ending = match ended {
            Ok(ending) => ending,
            Err(error) => return Err(cannot_start(command, &error)),
        };
        let limiting = limiting.map(|limiting| LimitingRow {
            budget: limiting.budget,
            resource: limiting
                .resource
                .map_or("time", fisc::Resource::name)
                .to_owned(),
        });
        let conclusion = conclude(&ending, limiting.as_ref());
        Ok(End {
            conclusion,
            limiting,
        })
    }

    /// Lets the calls finish whose program has ended, unless the user is in a hurry: a signal
    /// cuts them.
    async fn drain(&self, gateway: Gateway, hurried: bool, signals: io::Result<Signals>) {
        let longest = if hurried {
            Duration::ZERO
        } else {
            self.plan.grace.min(watch::DRAIN_MAX)
        };
        let open = self.fisc.open_holds() as u64;
        if open > 0 && !hurried {
            let calls = show_count(open, "call", "calls");
            eprintln!("fisc ▸ {calls} may finish; ctrl-C cuts what runs");
        }
        match signals {
            Ok(mut signals) => gateway.shutdown_after(signals.next_within(longest)).await,
            Err(_) => gateway.shutdown(longest).await,
        }
    }

    /// The time that is left of the run's own, counted from its allocation.
    fn time_left(&self) -> Option<Duration> {
        let TimeUs(limit) = self.plan.root.elapsed?;
        let left = limit.saturating_sub(self.fisc.now().since(self.started).0);
        Some(Duration::from_micros(left.max(0).unsigned_abs()))
    }

    fn keep(&self, key: &str, value: &str) {
        self.fisc
            .with_journal(|journal| drop(journal.set_meta(key, value)));
    }
}

fn generate() -> Result<Secret, Failure> {
    Secret::generate().map_err(|error| Failure::internal(error.to_string()))
}

fn open(plan: &Plan, ledger: &Path) -> Result<Fisc, Failure> {
    let options = Options {
        durability: plan.durability,
        counting: plan.counting.unwrap_or_default(),
        ..Options::at(ledger)
    };
    Ok(Fisc::open(options)?)
}

async fn bind(port: u16) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    listener.map_err(|error| {
        Failure::configuration(format!("cannot listen on 127.0.0.1:{port}: {error}"))
            .hint("leave --port out to take a free one")
    })
}

fn start_rehearsal(args: &RunArgs) -> Result<Option<Rehearsal>, Failure> {
    if !args.rehearse {
        return Ok(None);
    }
    let rehearsal = Rehearsal::start(fisc_rehearsal::Settings::default());
    rehearsal
        .map(Some)
        .map_err(|error| Failure::internal(error.to_string()))
}

/// Makes an upstream with the key that the child would have used.
fn upstream(args: &RunArgs, wiring: &Wiring, to: &UpstreamChoice) -> Result<Upstream, Failure> {
    let credential = if args.rehearse {
        Credential::ApiKey(Secret::new("rehearsal"))
    } else {
        wiring.credential(to.provider)
    };
    Upstream::new(to.provider, &to.base, &credential).map_err(|error| {
        Failure::configuration(format!("the upstream of {}: {error}", to.provider.name()))
    })
}

fn cannot_start(command: &OsString, error: &io::Error) -> Failure {
    let code = exit::start_failure(error);
    let failure = Failure::internal(format!("cannot run {}: {error}", command.to_string_lossy()));
    let failure = failure.with_code(code);
    match code {
        exit::NOT_FOUND => failure.hint("look for a typing error, or write the program's path"),
        exit::NOT_EXECUTABLE => {
            failure.hint("name what runs it: fisc run -- python my_agents.py, or chmod +x")
        }
        _ => failure,
    }
}

fn conclude(ending: &Ending, limiting: Option<&LimitingRow>) -> Conclusion {
    let resource = limiting.map(|limiting| limiting.resource.as_str());
    let refused_for = resource.map(|name| match name {
        "tokens" => fisc::Resource::Tokens,
        "cost" => fisc::Resource::Cost,
        _ => fisc::Resource::Time,
    });
    exit::conclude(ending, Facts { refused_for })
}
