//! A run inside of a run: no gateway and no ledger of its own, but a budget below the outer one.
//!
//! It allocates the budget through the outer gateway, points its program there with a token that
//! stands for this budget alone, supervises as every run does, and gives back what was not used.
//! What is decided about calls (prices, keys, upstreams, waiting) is the outer run's.

mod tell;

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use fisc::clock::{Clock, SystemClock};
use fisc::{Resource, Terms, Timestamp};
use fisc_gateway::Secret;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::plan::Plan;
use super::{CONTROL_QUEUE, cannot_start, conclude};
use crate::args::{KeysArg, OnLimit, RunArgs};
use crate::exit::{Conclusion, Outcome};
use crate::failure::Failure;
use crate::remote::{self, Budget, Remote, Trouble};
use crate::report::LimitingRow;
use crate::supervise::{Control, StopReason, Supervision, supervise};
use crate::wire;
use crate::wiring::{self, Keys, WiringPlan};

/// How often the outer run is asked how the budget stands; a sign of life, too.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is asked whether the last calls have ended.
const END_LOOK: Duration = Duration::from_millis(50);
/// For how long the outer run may not answer before the program is ended.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// After how long without a sign of life the outer run takes the budget back.
const KEEP_ALIVE: &str = "60s";
/// How many budgets may have the same name before none is found.
const NAMES_MAX: u32 = 1000;

/// A run inside of another.
struct Nested {
    outer: Remote,
    /// The same gateway, by the token of the run's own budget.
    inner: Remote,
    /// The budget's path, as the outer run's token names it.
    path: String,
    plan: Plan,
}

#[derive(Deserialize)]
struct Allocated {
    token: String,
}

/// Returns the outer run, when this one is inside of another.
pub(super) fn outer(args: &RunArgs) -> Result<Option<Remote>, Failure> {
    let known = remote::set(remote::URL).is_some() && remote::set(remote::TOKEN).is_some();
    // A rehearsal spends nobody's money.
    if known && !args.rehearse {
        return Remote::from_environment().map(Some);
    }
    match args.parent {
        None => Ok(None),
        Some(_) => Err(Failure::usage("--parent: there is no run around this one")
            .hint("it is for a run inside of another, or with FISC_URL and FISC_TOKEN set")),
    }
}

/// Runs a program under a budget of the outer run and returns the exit code.
pub(super) async fn run(args: &RunArgs, plan: Plan, outer: Remote) -> Result<u8, Failure> {
    refuse_what_the_outer_decides(args)?;
    let known = outer.budgets().await.map_err(unreachable)?;
    let root = known.first().map(|budget| budget.path.clone());
    let root = root.ok_or_else(|| Failure::internal("the outer run shows no budget"))?;
    let parent = match &args.parent {
        None => root,
        Some(below) => {
            let names = crate::amounts::parse_path(below);
            let names = names.map_err(|error| Failure::amount("--parent", &error))?;
            format!("{root}/{}", names.join("/"))
        }
    };
    let (path, token) = allocate(&outer, &parent, args, &plan).await?;
    let inner = outer.with_token(Secret::new(token));
    let nested = Nested {
        outer,
        inner,
        path,
        plan,
    };
    let ended = nested.carry_out(args).await;
    let last = nested.release().await;
    match ended {
        Ok(conclusion) => nested.tell(args, conclusion, &last),
        Err(failure) => Err(failure),
    }
}

/// Allocates the run's budget below `parent`, with a name that is free there.
async fn allocate(
    outer: &Remote,
    parent: &str,
    args: &RunArgs,
    plan: &Plan,
) -> Result<(String, String), Failure> {
    let base = name_of(args);
    let mut body = wire::request(&plan.root, plan.counting);
    body.insert("keep_alive".to_owned(), json!(KEEP_ALIVE));
    for number in 1..=NAMES_MAX {
        let path = match number {
            1 => format!("{parent}/{base}"),
            _ => format!("{parent}/{base}-{number}"),
        };
        body.insert("path".to_owned(), json!(path));
        match outer
            .post("/v1/budgets", &Value::Object(body.clone()))
            .await
        {
            Ok(Allocated { token }) => return Ok((path, token)),
            Err(trouble) if trouble.is("name_taken") => {}
            Err(trouble) => return Err(unreachable(trouble)),
        }
    }
    Err(Failure::usage(format!(
        "{parent} has too many runs called {base}"
    )))
}

/// Names a run's budget after its program.
fn name_of(args: &RunArgs) -> String {
    let name = Path::new(&args.command[0]).file_name();
    let name = name.and_then(OsStr::to_str).unwrap_or("run");
    match fisc_core::check_name(name) {
        Ok(()) if !name.contains('.') => name.to_owned(),
        _ => "run".to_owned(),
    }
}

fn refuse_what_the_outer_decides(args: &RunArgs) -> Result<(), Failure> {
    let given = [
        ("--upstream", !args.upstream.is_empty()),
        ("--port", args.port != 0),
        ("--on-limit ask", args.on_limit == OnLimit::Ask),
        ("--prices", args.prices.is_some()),
        ("--unknown-price", args.unknown_price.is_some()),
        ("--estimate", args.estimate.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((option, _)) => {
            let message = format!("{option}: this run is inside of another, which decides that");
            Err(Failure::usage(message).hint("give it to the outer run"))
        }
    }
}

fn unreachable(trouble: Trouble) -> Failure {
    match trouble {
        Trouble::Gone(why) => Failure::configuration(format!(
            "this run is inside of another, which is gone: {why}"
        ))
        .hint("unset FISC_URL and FISC_TOKEN to start a run of its own"),
        problem @ Trouble::Problem(_) => problem.into(),
    }
}

// === impl Nested ===

impl Nested {
    async fn carry_out(
        &self,
        args: &RunArgs,
    ) -> Result<(Conclusion, Option<LimitingRow>), Failure> {
        for (names, terms) in &self.plan.budgets {
            self.allocate_below(names, terms).await?;
        }
        let changes = self.wire(args)?;
        let (control, orders) = mpsc::channel(CONTROL_QUEUE);
        let (command, rest) = args.command.split_first().expect("clap asks for a command");
        let supervision = Supervision {
            command: command.clone(),
            args: rest.to_vec(),
            environment: changes.into_iter().collect(),
            deadline: self.time_left().await,
            grace: self.plan.grace,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let watch = watch(self.inner_clone(), args.on_limit, control, stopped);
        let (ended, ()) = tokio::join!(
            async {
                let ended = supervise(supervision, orders).await;
                // The watch may have ended by itself.
                let _ = stop.send(());
                ended
            },
            watch
        );
        let ending = ended.map_err(|error| cannot_start(command, &error))?;
        let limiting = match self.inner.budgets().await {
            Ok(budgets) => budgets.first().and_then(limiting_of),
            Err(_) => None,
        };
        let limiting = limiting.map(|(budget, resource)| LimitingRow {
            budget: self.outer_path(&budget),
            resource: resource.to_owned(),
        });
        let conclusion = conclude(&ending, limiting.as_ref());
        let ran_out = matches!(conclusion.outcome, Outcome::Exhausted | Outcome::TimedOut);
        Ok((conclusion, limiting.filter(|_| ran_out)))
    }

    /// Allocates a budget of `--budget`, and what is missing above it.
    async fn allocate_below(&self, names: &[String], terms: &Terms) -> Result<(), Failure> {
        for depth in 1..=names.len() {
            let path = format!("{}/{}", self.path, names[..depth].join("/"));
            let terms = if depth == names.len() {
                *terms
            } else {
                Terms::default()
            };
            let mut body = wire::request(&terms, self.plan.counting);
            body.insert("path".to_owned(), json!(path));
            let done: Result<Value, Trouble> =
                self.outer.post("/v1/budgets", &Value::Object(body)).await;
            match done {
                Ok(_) => {}
                Err(trouble) if trouble.is("name_taken") && depth < names.len() => {}
                Err(trouble) => return Err(trouble.into()),
            }
        }
        Ok(())
    }

    fn wire(&self, args: &RunArgs) -> Result<wiring::Changes, Failure> {
        let secret = || {
            let secret = Secret::generate();
            secret.map_err(|error| Failure::internal(error.to_string()))
        };
        let plan = WiringPlan {
            gateway: self.outer.url().to_owned(),
            run_secret: self.inner.token().clone(),
            run_key: secret()?,
            agent: self.plan.agent.clone(),
            run_id: remote::set("FISC_RUN_ID").unwrap_or_default(),
            token: self.inner.token().clone(),
            keys: match args.keys {
                KeysArg::Custody => Keys::Custody,
                KeysArg::Pass => Keys::Pass,
            },
            upstreams: Vec::new(),
            env_file: self.plan.env_file.clone(),
        };
        let inherited = std::env::vars_os().collect();
        let wiring = wiring::wire(&inherited, &plan);
        let wiring =
            wiring.map_err(|error| Failure::configuration(error.to_string()).hint(error.hint()))?;
        Ok(wiring.changes)
    }

    /// The time until the earliest deadline of the budgets in sight.
    async fn time_left(&self) -> Option<Duration> {
        let own = self.plan.root.elapsed.map(|span| span.0);
        let standing = self.outer.budget(&self.path).await.ok();
        let ends = standing.and_then(|budget| budget.deadline_at_us);
        let Timestamp(now) = SystemClock::default().now();
        let outer = ends.map(|at| at.saturating_sub(now).max(0));
        let left = own.into_iter().chain(outer).min()?;
        Some(Duration::from_micros(left.unsigned_abs()))
    }

    /// Gives back what was not used, once the last calls have ended; returns how every budget
    /// of the run stood then.
    async fn release(&self) -> Vec<Budget> {
        let path = format!("{}/release", remote::at(&self.path));
        let patience = self.plan.grace.min(super::watch::DRAIN_MAX);
        let mut last = Vec::new();
        let release = async {
            loop {
                // As they stand before the release: after it nothing is left of any limit.
                let budgets = self.standing().await?;
                let running = budgets.first().is_some_and(|budget| budget.running > 0);
                last = budgets;
                if !running {
                    let done: Result<Value, Trouble> = self.outer.post(&path, &json!({})).await;
                    match done {
                        Err(trouble) if trouble.is("calls_running") => {}
                        done => return done,
                    }
                }
                tokio::time::sleep(END_LOOK).await;
            }
        };
        match tokio::time::timeout(patience, release).await {
            Ok(Ok(_)) => {}
            Ok(Err(trouble)) => {
                let failure = Failure::from(trouble);
                eprintln!("fisc ▸ warning: {} was not released: {failure}", self.path);
            }
            Err(_) => eprintln!(
                "fisc ▸ warning: calls of {} still run; it is released {KEEP_ALIVE} after they end",
                self.path
            ),
        }
        last
    }

    /// Returns how the run's budget and those below it stand.
    async fn standing(&self) -> Result<Vec<Budget>, Trouble> {
        let within = |budget: &Budget| {
            let rest = budget.path.strip_prefix(&self.path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mut budgets = self.outer.budgets().await?;
        budgets.retain(within);
        Ok(budgets)
    }

    /// Returns how the outer run's token names what the inner one names.
    fn outer_path(&self, inner: &str) -> String {
        let above = self.path.rfind('/').map_or(0, |at| at + 1);
        if inner.contains(' ') {
            inner.to_owned()
        } else {
            format!("{}{inner}", &self.path[..above])
        }
    }

    fn inner_clone(&self) -> Remote {
        self.inner.with_token(self.inner.token().clone())
    }
}

/// Looks after the budget until told to stop: ends the program when the run has run out and was
/// told to stop then, or when the outer run is gone.
async fn watch(
    inner: Remote,
    on_limit: OnLimit,
    control: mpsc::Sender<Control>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut silent = Duration::ZERO;
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let reason = if let Ok(budgets) = inner.budgets().await {
            silent = Duration::ZERO;
            let ran_out = budgets.first().and_then(limiting_of);
            let stops = on_limit == OnLimit::Stop;
            ran_out.filter(|_| stops).map(|(_, name)| {
                let found = Resource::ALL.into_iter().find(|own| own.name() == name);
                StopReason::Exhausted(found.unwrap_or(Resource::Time))
            })
        } else {
            silent += LOOK;
            (silent >= SILENCE_MAX).then_some(StopReason::GatewayFailed)
        };
        if let Some(reason) = reason {
            // A program that has ended needs no order.
            let _ = control.send(Control::Stop(reason)).await;
            let _ = stopped.await;
            return;
        }
    }
}

/// Returns which budget has run out of what for the calls of this one, if any has.
fn limiting_of(budget: &Budget) -> Option<(String, &'static str)> {
    let black = |level: &String| level == "black";
    let of = |name: &'static str| Some((budget.path.clone(), name));
    if black(&budget.levels.cost) || budget.free.cost_nanousd == Some(0) {
        of("cost")
    } else if black(&budget.levels.tokens) || budget.free.tokens == Some(0) {
        of("tokens")
    } else if black(&budget.levels.active_time) || budget.free.time_us == Some(0) {
        of("active_time")
    } else if black(&budget.levels.time) {
        of("time")
    } else {
        None
    }
}
