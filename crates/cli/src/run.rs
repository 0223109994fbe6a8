//! `fisc run`: a program under a budget, from its wiring to its report.

mod plan;
mod status;
mod watch;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fisc::{Budget, Fisc, Options, Terms, TimeUs, Timestamp};
use fisc_gateway::{Credential, Gateway, Keyring, Parts, Secret, Upstream};
use fisc_rehearsal::Rehearsal;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use self::plan::{Plan, ROOT};
use self::watch::Watch;
use crate::args::{KeysArg, RunArgs};
use crate::exit::{self, Conclusion, Facts, Outcome};
use crate::failure::Failure;
use crate::home::{Home, Past};
use crate::report::{self, Ended, LimitingRow, Names};
use crate::supervise::{Ending, Supervision, supervise};
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

/// Runs a program under a budget and returns the exit code.
pub(crate) async fn run(args: &RunArgs) -> Result<u8, Failure> {
    let plan = Plan::resolve(args)?;
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
    let done = run.carry_out(args).await;
    if let Err(failure) = &done {
        run.keep_end(Outcome::Failed, failure.code(), None);
    }
    done
}

// === impl Run ===

impl Run {
    async fn carry_out(&self, args: &RunArgs) -> Result<u8, Failure> {
        self.allocate().await?;
        let rehearsal = start_rehearsal(args)?;
        let listener = bind(args.port).await?;
        let secret = Secret::generate().map_err(|error| Failure::internal(error.to_string()))?;
        let wiring = self.wire(args, &listener, &secret, rehearsal.as_ref())?;
        let gateway = self.start_gateway(args, listener, &secret, &wiring)?;
        let watch = Watch::start(args, self.fisc.clone(), Arc::clone(&gateway), &self.id);
        let concluded = self.supervise(args, wiring, watch, gateway).await;
        if let Some(rehearsal) = rehearsal {
            rehearsal.shutdown().await;
        }
        concluded
    }

    async fn allocate(&self) -> Result<(), Failure> {
        self.fisc.allocate(ROOT, self.plan.root).await?;
        for (path, terms) in &self.plan.budgets {
            self.allocate_path(path, *terms).await?;
        }
        self.keep(Names::RUN, &self.id);
        self.keep(Names::STARTED, &self.started.0.to_string());
        self.keep(Names::PRICES, self.plan.prices_version());
        Ok(())
    }

    /// Allocates a budget, and what is missing above it without limits of its own.
    async fn allocate_path(&self, path: &[String], terms: Terms) -> Result<Budget, Failure> {
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
            Err(_) => Ok(self.fisc.allocate(&full, terms).await?),
        }
    }

    fn wire(
        &self,
        args: &RunArgs,
        listener: &TcpListener,
        secret: &Secret,
        rehearsal: Option<&Rehearsal>,
    ) -> Result<Wiring, Failure> {
        let addr = listener
            .local_addr()
            .map_err(|error| Failure::internal(error.to_string()))?;
        let generate = || {
            let secret = Secret::generate();
            secret.map_err(|error| Failure::internal(error.to_string()))
        };
        let mut upstreams = self.plan.upstreams.clone();
        if let Some(rehearsal) = rehearsal {
            upstreams = wiring::PROVIDERS
                .map(|provider| (provider, format!("{}/v1", rehearsal.url())))
                .to_vec();
        }
        let plan = WiringPlan {
            gateway: format!("http://{addr}"),
            run_secret: secret.clone(),
            run_key: generate()?,
            agent: self.plan.agent.clone(),
            run_id: self.id.clone(),
            token: generate()?,
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
        secret: &Secret,
        wiring: &Wiring,
    ) -> Result<Arc<Gateway>, Failure> {
        let upstreams = wiring.upstreams.iter().map(|to| upstream(args, wiring, to));
        let parts = Parts {
            listener,
            hosts: Vec::new(),
            keyring: Keyring::new().with_run(secret, ROOT),
            upstreams: upstreams.collect::<Result<_, _>>()?,
            prices: self.plan.price_book()?,
            policy: self.plan.policy.clone(),
        };
        let gateway = Gateway::start(parts, self.fisc.clone());
        let gateway = gateway.map_err(|error| Failure::internal(error.to_string()))?;
        Ok(Arc::new(gateway))
    }

    async fn supervise(
        &self,
        args: &RunArgs,
        wiring: Wiring,
        mut watch: Watch,
        gateway: Arc<Gateway>,
    ) -> Result<u8, Failure> {
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
        watch.stop().await;
        let limiting = gateway.limiting();
        let seen = gateway.counts();
        if let Some(gateway) = Arc::into_inner(gateway) {
            gateway
                .shutdown(self.plan.grace.min(watch::DRAIN_MAX))
                .await;
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
        if seen.admitted + seen.refused == 0 {
            eprintln!(
                "fisc ▸ no metered call was seen: the program did not use the gateway's base URL"
            );
        }
        self.finish(args, conclusion, limiting).await?;
        Ok(conclusion.code)
    }

    /// Keeps how the run ended, writes its reports, and closes its ledger.
    async fn finish(
        &self,
        args: &RunArgs,
        conclusion: Conclusion,
        limiting: Option<LimitingRow>,
    ) -> Result<(), Failure> {
        let now = self.keep_end(conclusion.outcome, conclusion.code, limiting.as_ref());
        let spent = self
            .fisc
            .root()
            .map(|root| root.status().spent)
            .unwrap_or_default();
        self.fisc.clone().close().await?;
        let ended = Ended {
            outcome: conclusion.outcome.name().to_owned(),
            exit_code: conclusion.code,
            limiting,
            at: now,
        };
        let report = report::gather(&self.ledger, Some(&ended))?;
        let shown_elsewhere = args.report.is_some();
        if !shown_elsewhere {
            report::write_text(
                &mut std::io::stderr().lock(),
                &report,
                crate::args::ReportBy::Agent,
            )
            .map_err(|error| Failure::internal(error.to_string()))?;
        }
        for (path, json) in [(&args.report, false), (&args.json, true)] {
            if let Some(path) = path {
                report::save(path, &report, json)?;
            }
        }
        let past = Past {
            run: self.id.clone(),
            ended_s: now.0 / 1_000_000,
            command: base_name(&args.command[0]),
            outcome: ended.outcome,
            cost_nanousd: spent.cost().nanos(),
            tokens: spent.tokens().0,
            elapsed_ms: now.since(self.started).0 / 1000,
        };
        if let Err(error) = self.home.remember(&past) {
            eprintln!("fisc ▸ warning: the history was not written: {error}");
        }
        Ok(())
    }

    /// The time that is left of the run's own, counted from its allocation.
    fn time_left(&self) -> Option<std::time::Duration> {
        let TimeUs(limit) = self.plan.root.elapsed?;
        let left = limit.saturating_sub(self.fisc.now().since(self.started).0);
        Some(std::time::Duration::from_micros(left.max(0).unsigned_abs()))
    }

    /// Keeps in the ledger how the run ended, and returns when.
    fn keep_end(&self, outcome: Outcome, code: u8, limiting: Option<&LimitingRow>) -> Timestamp {
        let now = self.fisc.now();
        self.keep(Names::OUTCOME, outcome.name());
        self.keep(Names::EXIT_CODE, &code.to_string());
        self.keep(Names::ENDED, &now.0.to_string());
        if let Some(limiting) = limiting {
            self.keep(Names::LIMITING_BUDGET, &limiting.budget);
            self.keep(Names::LIMITING_RESOURCE, &limiting.resource);
        }
        now
    }

    fn keep(&self, key: &str, value: &str) {
        self.fisc
            .with_journal(|journal| drop(journal.set_meta(key, value)));
    }
}

fn open(plan: &Plan, ledger: &Path) -> Result<Fisc, Failure> {
    let options = Options {
        durability: plan.durability,
        counting: plan.counting,
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

fn cannot_start(command: &OsString, error: &std::io::Error) -> Failure {
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

fn base_name(command: &OsString) -> String {
    let name = Path::new(command).file_name().unwrap_or(command);
    name.to_string_lossy().into_owned()
}
