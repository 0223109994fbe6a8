//! What is simulated.

use crate::policy::Policy;
use crate::script::Script;

/// What is simulated. A cell is one size of team at one scarcity.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Everything random follows from it.
    pub seed: u64,
    /// How many agents a team has, each at least 1.
    pub sizes: Vec<usize>,
    /// The budget as a part of what the team needs, each above 0.
    pub scarcities: Vec<f64>,
    /// How many teams there are at least, over all cells.
    pub teams: usize,
    /// Whether agents start at any time within ten minutes, not together.
    pub late_starters: bool,
    /// Whether one agent of each team needs ten times what its estimate and the budget assume.
    pub runaway: bool,
    /// What is compared.
    pub policies: Vec<Policy>,
}

/// Why settings cannot be simulated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// There is nothing to draw agents from.
    #[error("there are no agents to draw a team from")]
    NoAgents,
    /// A team without agents, or none at all.
    #[error("a team needs between 1 and {} agents", Settings::SIZE_MAX)]
    Size,
    /// A scarcity that is no part of a need, or none at all.
    #[error("a scarcity is a part of the need above 0 and up to 10, such as 0.8")]
    Scarcity,
    /// Nothing to compare.
    #[error("no policy is given")]
    NoPolicy,
}

// === impl Settings ===

impl Settings {
    /// The largest team: as many children as a budget may have.
    pub const SIZE_MAX: usize = fisc_core::MAX_CHILDREN;

    pub(crate) fn check(&self, scripts: &[Script]) -> Result<(), SettingsError> {
        if scripts.is_empty() {
            return Err(SettingsError::NoAgents);
        }
        let size_fits = |size: &usize| (1..=Settings::SIZE_MAX).contains(size);
        if self.sizes.is_empty() || !self.sizes.iter().all(size_fits) {
            return Err(SettingsError::Size);
        }
        let scarcity_fits = |part: &f64| *part > 0.0 && *part <= 10.0;
        if self.scarcities.is_empty() || !self.scarcities.iter().all(scarcity_fits) {
            return Err(SettingsError::Scarcity);
        }
        if self.policies.is_empty() {
            return Err(SettingsError::NoPolicy);
        }
        Ok(())
    }

    /// Returns how many teams each cell has.
    pub fn teams_per_cell(&self) -> usize {
        self.teams
            .div_ceil(self.sizes.len() * self.scarcities.len())
            .max(1)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            seed: 1,
            sizes: vec![5, 10, 20],
            scarcities: vec![0.6, 0.7, 0.8, 0.9],
            teams: 360,
            late_starters: false,
            runaway: false,
            policies: Policy::ALL.to_vec(),
        }
    }
}
