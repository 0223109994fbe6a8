//! The command line as typed. What it means is resolved by each command.

mod served;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fisc::Sharing;

pub use self::served::{
    ApproveArgs, BudgetArgs, BudgetCommand, DenyArgs, GrantArgs, PathArgs, SpecArgs,
};

/// A budget for agents: tokens, time and money, held before every call and never overspent.
#[derive(Debug, Parser)]
#[command(name = "fisc", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "Examples:
  fisc demo                                            the 60-second tour, needs nothing
  fisc run --cost 2 --time 10m -- python my_agents.py  any program under a budget
  fisc run --rehearse --cost 0.10 -- ./my_agents       the same against a scripted provider
  fisc report                                          who spent what in the last run
  fisc serve --config fisc.toml                        a gateway for a team";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a program under a budget
    Run(Box<RunArgs>),
    /// Take the 60-second tour: a team of agents, one of which runs away
    Demo(DemoArgs),
    /// Serve budgets to many programs
    Serve(ServeArgs),
    /// Say how a budget stands; the exit code is its level
    Check(CheckArgs),
    /// Report who spent what
    Report(ReportArgs),
    /// Say where spending leads: an estimate
    Forecast(ForecastArgs),
    /// Look at and change the budgets that a gateway serves
    Budget(BudgetArgs),
    /// Give a budget more
    Grant(GrantArgs),
    /// Let calls of a budget that has run out go on: give it more
    Approve(ApproveArgs),
    /// Refuse the calls of a budget that has run out
    Deny(DenyArgs),
    /// Stop a budget for now: calls that run end as they would
    Freeze(PathArgs),
    /// Let a frozen budget go on
    Thaw(PathArgs),
    /// List holds in doubt after a crash, or end one
    Resolve(ResolveArgs),
    /// Check every entry of a ledger against its balances
    Verify(VerifyArgs),
    /// Show what models cost
    Price(PriceArgs),
    /// Serve the scripted provider, to rehearse against
    Rehearse(RehearseArgs),
    /// Compare ways of sharing on simulated teams
    Sim(crate::sim::SimArgs),
}

/// `fisc run`.
#[derive(Debug, Args)]
#[command(
    after_help = "Amounts: cost 2, 0.05 or '$2.50' · tokens 500k, 1.5M (uncached input + \
output; total:, in:, out: count otherwise) · time 90s, 10m, 1h30m"
)]
pub struct RunArgs {
    /// Most money to spend
    #[arg(long, value_name = "C", help_heading = "Budget")]
    pub cost: Option<String>,
    /// Most tokens to use
    #[arg(long, value_name = "N", help_heading = "Budget")]
    pub tokens: Option<String>,
    /// Wall-clock time until the program is ended
    #[arg(long, value_name = "T", help_heading = "Budget")]
    pub time: Option<String>,
    /// Most time in calls, added up
    #[arg(long, value_name = "T", help_heading = "Budget")]
    pub active_time: Option<String>,
    /// A budget for one agent: researcher=1.20, team/writer=tokens=50k,static,weight=2,need=3
    #[arg(
        short,
        long = "budget",
        value_name = "PATH=SPEC",
        help_heading = "Budget"
    )]
    pub budgets: Vec<String>,
    /// In a run inside of another: the budget of the outer one to spend from [default: its own]
    #[arg(long, value_name = "PATH", help_heading = "Budget")]
    pub parent: Option<String>,
    /// How agents share the budget
    #[arg(
        long,
        value_enum,
        value_name = "HOW",
        default_value = "none",
        help_heading = "Budget"
    )]
    pub share: ShareArg,
    /// When the budget runs out: keep 5 % for one last call each, end the program, ask, or watch
    #[arg(long, value_enum, default_value = "finalize", help_heading = "Policy")]
    pub on_limit: OnLimit,
    /// With --on-limit ask: how long calls wait for the answer [default: 9m]
    #[arg(long, value_name = "DUR", help_heading = "Policy")]
    pub ask: Option<String>,
    /// From 90 % on, let model B serve calls of A (* for any text) where it costs less
    #[arg(long, value_name = "A=B", help_heading = "Policy")]
    pub fallback_model: Vec<String>,
    /// Tell agents once at 50, 75 and 90 % how much is left
    #[arg(long, value_enum, value_name = "FORM", help_heading = "Policy")]
    pub notice: Option<NoticeArg>,
    /// What a model without a known price does [default: deny under --cost, else free]
    #[arg(long, value_enum, value_name = "POLICY", help_heading = "Policy")]
    pub unknown_price: Option<UnknownPriceArg>,
    /// With --unknown-price estimate: dollars per million tokens
    #[arg(long, value_name = "C", help_heading = "Policy")]
    pub estimate: Option<String>,
    /// How long a call waits for room
    #[arg(
        long,
        value_name = "DUR",
        default_value = "60s",
        help_heading = "Policy"
    )]
    pub hold: String,
    /// Time between SIGTERM and SIGKILL
    #[arg(
        long,
        value_name = "DUR",
        default_value = "30s",
        help_heading = "Policy"
    )]
    pub grace: String,
    /// Refusals in a row after which an agent is cut off, and the program ended if only such go on
    #[arg(long, value_name = "N", default_value_t = 20, help_heading = "Policy",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub max_refusals: u64,
    /// A price file (TOML) that goes before the catalogue
    #[arg(long, value_name = "FILE", help_heading = "Policy")]
    pub prices: Option<PathBuf>,
    /// When a hold counts as written: full survives power loss, process a crash
    #[arg(long, value_enum, default_value = "full", help_heading = "Policy")]
    pub durability: DurabilityArg,
    /// Name of the agent whose calls name none
    #[arg(
        long,
        value_name = "NAME",
        default_value = "main",
        help_heading = "Wiring"
    )]
    pub agent: String,
    /// Where calls of a provider go instead, such as openai=http://localhost:8000/v1
    #[arg(long, value_name = "PROVIDER=URL", help_heading = "Wiring")]
    pub upstream: Vec<String>,
    /// Port of the gateway [default: a free one]
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        help_heading = "Wiring"
    )]
    pub port: u16,
    /// Whether the program gets worthless keys, or its own
    #[arg(long, value_enum, default_value = "custody", help_heading = "Wiring")]
    pub keys: KeysArg,
    /// Call a scripted provider instead of the real ones
    #[arg(long, help_heading = "Wiring")]
    pub rehearse: bool,
    /// A file of KEY=VALUE lines that join the environment
    #[arg(long, value_name = "FILE", help_heading = "Wiring")]
    pub env_file: Option<PathBuf>,
    /// Write the report to a file, or - for standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub report: Option<PathBuf>,
    /// Write the report as JSON to a file, or - for standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,
    /// The live status line
    #[arg(long, value_enum, default_value = "auto", help_heading = "Output")]
    pub status: StatusArg,
    /// The program and its arguments
    // No hyphen values: what looks like an option before the program is a mistyped one.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// How agents share a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShareArg {
    /// Whoever calls draws on what is there.
    None,
    /// The same for everybody.
    Equal,
    /// By declared or predicted need.
    Proportional,
    /// By weight.
    Priority,
    /// By weight, and nobody gets more while somebody with less wants more.
    Fair,
    /// A fair floor, the rest where it finishes most.
    Dynamic,
    /// What nobody is guaranteed goes to the highest bids.
    Auction,
}

/// What happens when the budget runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnLimit {
    /// Each agent gets one last call from a reserve of 5 %.
    Finalize,
    /// Nothing is kept back, and the program is ended.
    Stop,
    /// Calls wait until somebody decides: here at the terminal, or by fisc approve and deny.
    Ask,
    /// Nothing is refused: all is computed and reported.
    Observe,
}

/// How agents are told how their budgets stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NoticeArg {
    /// By a line at the end of a message.
    Message,
    /// In the provider's own way where it has one, else by a line.
    Native,
}

/// What a model without a known price does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UnknownPriceArg {
    /// It is refused.
    Deny,
    /// It is charged at --estimate.
    Estimate,
    /// It costs nothing.
    Free,
}

/// When a hold or settlement counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DurabilityArg {
    /// When the disk has it.
    Full,
    /// When the kernel has it.
    Process,
    /// At once.
    Async,
}

/// What becomes of provider keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeysArg {
    /// They stay with fisc.
    Custody,
    /// The program keeps them.
    Pass,
}

/// The live status line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusArg {
    /// On a terminal.
    Auto,
    /// Always, one line at a time.
    Line,
    /// Never.
    None,
}

/// `fisc demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Be the team itself, as the program under the budget
    #[arg(long, hide = true)]
    pub team: bool,
    /// Write the report as JSON to a file, or - for standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// `fisc serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration
    #[arg(
        long,
        value_name = "FILE",
        default_value = "fisc.toml",
        env = "FISC_CONFIG"
    )]
    pub config: PathBuf,
    /// Where to listen instead
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// The ledger file to use instead
    #[arg(long, value_name = "DB")]
    pub db: Option<PathBuf>,
    /// Check the configuration and stop
    #[arg(long)]
    pub check_config: bool,
}

/// A ledger to look at.
#[derive(Debug, Args)]
pub struct LedgerArgs {
    /// The ledger file instead of a run's
    #[arg(long, value_name = "DB")]
    pub db: Option<PathBuf>,
    /// The run, or its unique beginning [default: the last one]
    #[arg(long, value_name = "RUN", conflicts_with = "db")]
    pub run: Option<String>,
}

/// `fisc check`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 green, 10 yellow, 11 orange, 12 red, 13 black")]
pub struct CheckArgs {
    /// The budget [default: the root]
    pub path: Option<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap shows the docs of the flattened fields")]
    pub ledger: LedgerArgs,
    /// Write JSON to standard output
    #[arg(long)]
    pub json: bool,
}

/// `fisc report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The run, or its unique beginning [default: the last one]
    pub run: Option<String>,
    /// The ledger file instead of a run's
    #[arg(long, value_name = "DB", conflicts_with = "run")]
    pub db: Option<PathBuf>,
    /// What to tell calls apart by
    #[arg(long, value_enum, default_value = "agent")]
    pub by: ReportBy,
    /// Only calls that ended since, by the hour: 90m, 24h, 7d, or a UTC date or time
    #[arg(long, value_name = "T")]
    pub since: Option<String>,
    /// Write JSON to standard output
    #[arg(long)]
    pub json: bool,
}

/// `fisc forecast`.
#[derive(Debug, Args)]
pub struct ForecastArgs {
    /// A run, or a budget of the last one [default: all of the last run's]
    #[arg(value_name = "RUN|PATH")]
    pub what: Option<String>,
    /// The ledger file instead of a run's
    #[arg(long, value_name = "DB")]
    pub db: Option<PathBuf>,
    /// How it is made
    #[arg(long, value_name = "M", default_value = "fisc",
        value_parser = ["fisc", "linear", "predict_linear", "ewma", "exponential"])]
    pub method: String,
    /// Write JSON to standard output
    #[arg(long)]
    pub json: bool,
}

/// What a report tells calls apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportBy {
    /// By agent.
    Agent,
    /// By agent and operation.
    Operation,
    /// By model.
    Model,
    /// By tag: fisc-task headers and trace ids. Reads every entry.
    Tag,
    /// By hour.
    Hour,
}

/// `fisc resolve`.
#[derive(Debug, Args)]
pub struct ResolveArgs {
    /// The hold; without one, all in doubt are listed
    pub hold: Option<String>,
    /// What the call did cost, in dollars
    #[arg(long, value_name = "C", conflicts_with = "void", requires = "hold")]
    pub charge: Option<String>,
    /// The call was never billed
    #[arg(long, requires = "hold")]
    pub void: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "resolved by hand")]
    pub reason: String,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap shows the docs of the flattened fields")]
    pub ledger: LedgerArgs,
}

/// `fisc verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The ledger file [default: the last run's]
    pub db: Option<PathBuf>,
}

/// `fisc price`.
#[derive(Debug, Args)]
pub struct PriceArgs {
    /// What to do
    #[command(subcommand)]
    pub command: PriceCommand,
}

/// What to do with prices.
#[derive(Debug, Subcommand)]
pub enum PriceCommand {
    /// List the models that have a price, with what a million tokens cost
    Ls {
        /// Only models whose name holds this
        name: Option<String>,
        /// Only those of this provider
        #[arg(long)]
        provider: Option<String>,
        /// A price file that goes before the catalogue
        #[arg(long, value_name = "FILE")]
        prices: Option<PathBuf>,
    },
    /// Show the rates of a model
    Show {
        /// The model
        model: String,
        /// Its provider
        #[arg(long)]
        provider: Option<String>,
        /// A price file that goes before the catalogue
        #[arg(long, value_name = "FILE")]
        prices: Option<PathBuf>,
    },
    /// Check a price file
    Check {
        /// The file (TOML)
        file: PathBuf,
    },
}

/// `fisc rehearse`.
#[derive(Debug, Args)]
pub struct RehearseArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The seed of everything that is invented
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// What goes wrong and how often, such as slow=0.1,cut=0.05,429=0.05
    #[arg(long, value_name = "SPEC", default_value = "")]
    pub faults: String,
    /// Milliseconds before the first byte, such as 80 or 50-200
    #[arg(long, value_name = "MS", default_value = "50-200")]
    pub latency: String,
    /// Append what was truly generated to a file (JSON lines)
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,
}

// === impl ShareArg ===

impl From<ShareArg> for Sharing {
    fn from(arg: ShareArg) -> Sharing {
        match arg {
            ShareArg::None => Sharing::Pool,
            ShareArg::Equal => Sharing::Equal,
            ShareArg::Proportional => Sharing::Proportional,
            ShareArg::Priority => Sharing::Priority,
            ShareArg::Fair => Sharing::Fair,
            ShareArg::Dynamic => Sharing::Dynamic,
            ShareArg::Auction => Sharing::Auction,
        }
    }
}
