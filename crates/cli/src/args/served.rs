//! The command line of what is asked of a gateway that serves: `budget`, `grant`,
//! `approve`, `deny`, `freeze`, `thaw`.

use clap::{Args, Subcommand};

use super::ShareArg;

/// `fisc budget`.
#[derive(Debug, Args)]
#[command(after_help = SERVED)]
pub struct BudgetArgs {
    /// What to do
    #[command(subcommand)]
    pub command: BudgetCommand,
}

const SERVED: &str = "The gateway is FISC_URL; the credential is FISC_TOKEN, or in the file \
FISC_TOKEN_FILE:
a key of the gateway (one with owner = true changes its own budget too) or a budget's token.
Without FISC_URL it is the last run that was started with --on-limit ask, as its owner.";

/// What to do with budgets.
#[derive(Debug, Subcommand)]
pub enum BudgetCommand {
    /// List the budgets in sight
    Ls {
        /// Write JSON to standard output
        #[arg(long)]
        json: bool,
    },
    /// Show one budget
    Show(PathArgs),
    /// Allocate a budget below an existing one, and print its token
    Allocate(SpecArgs),
    /// Change a budget's limits, weight or need; none lifts a limit
    Set(SpecArgs),
    /// End a budget for good: what it did not use is its parent's
    Release(PathArgs),
}

/// A budget.
#[derive(Debug, Args)]
pub struct PathArgs {
    /// The budget, beginning with the root's name, such as team/researcher
    pub path: String,
    /// Write JSON to standard output
    #[arg(long)]
    pub json: bool,
}

/// A budget and what it is allowed.
#[derive(Debug, Args)]
pub struct SpecArgs {
    /// As in team/writer=1.20 or team/writer=tokens=50k,time=5m,static,weight=2,need=3
    #[arg(value_name = "PATH=SPEC")]
    pub spec: String,
    /// How its own agents share it
    #[arg(long, value_enum, value_name = "HOW")]
    pub share: Option<ShareArg>,
    /// Write JSON to standard output
    #[arg(long)]
    pub json: bool,
}

/// `fisc grant`.
#[derive(Debug, Args)]
#[command(after_help = SERVED)]
pub struct GrantArgs {
    /// The budget, beginning with the root's name, such as team/researcher
    pub path: String,
    /// How much more: +1usd, +0.50, +tokens=50k, +active-time=10m
    #[arg(value_name = "AMOUNT", allow_hyphen_values = true)]
    pub amount: String,
    /// Write JSON to standard output
    #[arg(long)]
    pub json: bool,
}

/// `fisc approve`.
#[derive(Debug, Args)]
#[command(after_help = SERVED)]
pub struct ApproveArgs {
    /// What is asked, such as q-1 [default: list all that is]
    pub request: Option<String>,
    /// How much more to give, as in 1usd or tokens=50k [default: what is offered]
    #[arg(long, value_name = "AMOUNT", requires = "request")]
    pub add: Option<String>,
    /// The run that asks, or its unique beginning
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// Write JSON to standard output
    #[arg(long)]
    pub json: bool,
}

/// `fisc deny`.
#[derive(Debug, Args)]
#[command(after_help = SERVED)]
pub struct DenyArgs {
    /// What is asked, such as q-1
    pub request: String,
    /// The run that asks, or its unique beginning
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// Write JSON to standard output
    #[arg(long)]
    pub json: bool,
}
