//! What is journalled: the engine's changes, as facts. How they look on disk is in `body`.

use std::sync::Arc;

use fisc_core::{Amount, BudgetId, HoldId, TimeUs, Usage};

mod body;

pub(crate) use body::{Columns, decode, decode_label, encode, encode_label};

/// One change that the engine applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A budget was made.
    Allocate {
        /// Its id, new.
        budget: BudgetId,
        /// The budget above, none for the root.
        parent: Option<BudgetId>,
        /// Its name among its siblings.
        name: String,
        /// Its limits and policies, as text this crate does not read.
        terms: String,
    },
    /// A budget's limits or policies changed.
    Terms {
        /// The budget.
        budget: BudgetId,
        /// The new terms in full.
        terms: String,
    },
    /// A call took a hold.
    Hold {
        /// The hold, new.
        id: HoldId,
        /// The budget that pays.
        budget: BudgetId,
        /// What it may take.
        amount: Amount,
        /// What the call is.
        call: CallLabel,
    },
    /// An open hold grew.
    Extend {
        /// The hold.
        id: HoldId,
        /// By how much.
        by: Amount,
    },
    /// A call ended and is charged what it took.
    Settle {
        /// The hold, open until now.
        id: HoldId,
        /// The charge.
        amount: Amount,
        /// The part of the charge above the limit.
        overrun: Amount,
        /// What is known about the call.
        facts: Box<Facts>,
    },
    /// A hold ended without a charge: nothing was sent.
    Void {
        /// The hold, open until now.
        id: HoldId,
        /// Why.
        reason: String,
    },
    /// A hold was found open after a crash; it is charged until somebody knows better.
    Doubt {
        /// The hold, open until now.
        id: HoldId,
        /// The charge.
        charged: Amount,
    },
    /// A later fact about an ended hold; ends the doubt where there was one.
    Correct {
        /// The hold, ended or in doubt.
        id: HoldId,
        /// The change of the charge, signed.
        by: Amount,
        /// The usage as now known, replacing what was known.
        usage: Option<Usage>,
        /// Why.
        reason: String,
    },
}

/// What kind of entry one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// See [`Entry::Allocate`].
    Allocate,
    /// See [`Entry::Terms`].
    Terms,
    /// See [`Entry::Hold`].
    Hold,
    /// See [`Entry::Extend`].
    Extend,
    /// See [`Entry::Settle`].
    Settle,
    /// See [`Entry::Void`].
    Void,
    /// See [`Entry::Doubt`].
    Doubt,
    /// See [`Entry::Correct`].
    Correct,
}

/// What a call is, as far as known when it takes its hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallLabel {
    /// The operation's name.
    pub operation: Arc<str>,
    /// The model: as asked for in a hold, as answered in [`Facts`].
    pub model: Arc<str>,
    /// The provider.
    pub provider: Arc<str>,
    /// The price book's version that priced it.
    pub price_version: Arc<str>,
    /// Which attempt of its operation this is, from 1.
    pub attempt: u32,
    /// Whether the hold is a true upper bound of the charge.
    pub bounded: bool,
}

/// What is known about a call once it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The label as finally known.
    pub call: CallLabel,
    /// What it used.
    pub usage: Usage,
    /// Whether the usage, or part of it, is our estimate and not the provider's report.
    pub estimated: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub duration: TimeUs,
    /// The caller's own tags, and what was changed of its request.
    pub tags: Vec<(Arc<str>, Arc<str>)>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The provider answered in full.
    Completed,
    /// The provider refused or failed.
    UpstreamError,
    /// The provider's answer broke off.
    Broken,
    /// The client went away.
    ClientGone,
    /// Ended early by its budget.
    Cut,
    /// Ended by a deadline or a time limit.
    TimedOut,
    /// Nothing was sent.
    NeverSent,
}

// === impl Entry ===

impl Entry {
    /// Returns the entry's kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Entry::Allocate { .. } => Kind::Allocate,
            Entry::Terms { .. } => Kind::Terms,
            Entry::Hold { .. } => Kind::Hold,
            Entry::Extend { .. } => Kind::Extend,
            Entry::Settle { .. } => Kind::Settle,
            Entry::Void { .. } => Kind::Void,
            Entry::Doubt { .. } => Kind::Doubt,
            Entry::Correct { .. } => Kind::Correct,
        }
    }

    /// Returns the hold it is about, if it is about one.
    pub const fn hold(&self) -> Option<HoldId> {
        match self {
            Entry::Allocate { .. } | Entry::Terms { .. } => None,
            Entry::Hold { id, .. }
            | Entry::Extend { id, .. }
            | Entry::Settle { id, .. }
            | Entry::Void { id, .. }
            | Entry::Doubt { id, .. }
            | Entry::Correct { id, .. } => Some(*id),
        }
    }

    /// Returns the amount held, added, charged or corrected by.
    pub const fn amount(&self) -> Amount {
        match self {
            Entry::Hold { amount, .. } | Entry::Settle { amount, .. } => *amount,
            Entry::Extend { by, .. } | Entry::Correct { by, .. } => *by,
            Entry::Doubt { charged, .. } => *charged,
            Entry::Allocate { .. } | Entry::Terms { .. } | Entry::Void { .. } => Amount::ZERO,
        }
    }

    /// Returns the part of a charge above the limit.
    pub const fn overrun(&self) -> Amount {
        match self {
            Entry::Settle { overrun, .. } => *overrun,
            _ => Amount::ZERO,
        }
    }
}

// === impl Kind ===

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 8] = [
        Kind::Allocate,
        Kind::Terms,
        Kind::Hold,
        Kind::Extend,
        Kind::Settle,
        Kind::Void,
        Kind::Doubt,
        Kind::Correct,
    ];

    /// Returns the kind's name in the journal.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Allocate => "allocate",
            Kind::Terms => "terms",
            Kind::Hold => "hold",
            Kind::Extend => "extend",
            Kind::Settle => "settle",
            Kind::Void => "void",
            Kind::Doubt => "doubt",
            Kind::Correct => "correct",
        }
    }

    /// Reads what [`Kind::name`] writes.
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

// === impl Outcome ===

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 7] = [
        Outcome::Completed,
        Outcome::UpstreamError,
        Outcome::Broken,
        Outcome::ClientGone,
        Outcome::Cut,
        Outcome::TimedOut,
        Outcome::NeverSent,
    ];

    /// Returns the outcome's name in reports and the journal.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Completed => "completed",
            Outcome::UpstreamError => "upstream_error",
            Outcome::Broken => "broken",
            Outcome::ClientGone => "client_gone",
            Outcome::Cut => "cut",
            Outcome::TimedOut => "timed_out",
            Outcome::NeverSent => "never_sent",
        }
    }

    /// Reads what [`Outcome::name`] writes.
    pub fn parse(name: &str) -> Option<Outcome> {
        Outcome::ALL
            .into_iter()
            .find(|outcome| outcome.name() == name)
    }
}
