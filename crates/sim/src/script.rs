//! What an agent does, whatever its budget: its calls, one after the other.

use fisc_core::{Amount, Money, TimeUs, Tokens};

/// One call of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// How long the agent thinks before it, from the end of the call before.
    pub pause: TimeUs,
    /// How long it runs.
    pub duration: TimeUs,
    /// Tokens of input and output together.
    pub tokens: Tokens,
    /// Tokens of input, cached ones included.
    pub input: Tokens,
    /// Those of them that the provider had cached.
    pub cached: Tokens,
    /// Tokens of output, reasoning included.
    pub output: Tokens,
    /// What it costs.
    pub cost: Money,
}

/// The calls of one agent until its work is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// What it is called in its source.
    pub name: String,
    /// Its calls in order.
    pub calls: Vec<Call>,
}

// === impl Call ===

impl Call {
    /// Returns what the call takes of every resource.
    pub fn amount(&self) -> Amount {
        Amount::new(self.tokens, self.cost, self.duration)
    }
}

impl Script {
    /// Returns what all calls cost together.
    pub fn need(&self) -> Money {
        let sum = self
            .calls
            .iter()
            .fold(0i64, |sum, call| sum.saturating_add(call.cost.nanos()));
        Money::from_nanos(sum)
    }
}
