//! Who uses the budget API, and what of the tree is in sight.
//!
//! Paths on the wire begin at the caller's own root: neither names nor figures above it are
//! told, nor can anything there be named. A budget out of sight and one that does not exist get
//! the same answer.

use super::problem::{Kind, Problem};
use crate::proxy::attempt::within;
use crate::proxy::identify::Grant;
use crate::secret::Secret;

/// What stands for every budget above the caller's root.
pub(super) const OUTER: &str = "an outer budget";

/// Who uses the API.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The whole path of the root of its subtree.
    root: String,
    /// How much of a whole path lies above the root's own name, in bytes.
    above: usize,
    /// Whether it may change the root itself too.
    owner: bool,
    /// What it presented.
    credential: Secret,
}

// === impl Caller ===

impl Caller {
    pub(super) fn new(grant: Grant) -> Caller {
        let above = grant.root.rfind('/').map_or(0, |at| at + 1);
        Caller {
            root: grant.root,
            above,
            owner: grant.owner,
            credential: grant.credential,
        }
    }

    /// Says whether it may change the root itself too.
    pub(super) fn is_owner(&self) -> bool {
        self.owner
    }

    /// Returns what it presented.
    pub(super) fn credential(&self) -> &Secret {
        &self.credential
    }

    /// Returns the whole path of its root.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// Returns a whole path as the caller writes it, or `None` when it is out of sight.
    pub(super) fn show(&self, path: &str) -> Option<String> {
        within(path, &self.root).then(|| path[self.above..].to_owned())
    }

    /// Returns the name of a budget for messages, which tell nothing of those out of sight.
    pub(super) fn name(&self, path: &str) -> String {
        self.show(path).unwrap_or_else(|| OUTER.to_owned())
    }

    /// Finds the whole path of what the caller wrote.
    pub(super) fn path(&self, shown: &str) -> Result<String, Problem> {
        let path = format!("{}{shown}", &self.root[..self.above]);
        if within(&path, &self.root) {
            Ok(path)
        } else {
            Err(Problem::unknown_budget(shown))
        }
    }

    /// Finds the whole path of a budget that is to be changed: for a delegate, one below its
    /// root, which it can neither widen nor end nor thaw.
    pub(super) fn path_to_change(&self, shown: &str) -> Result<String, Problem> {
        let path = self.path(shown)?;
        if path == self.root && !self.owner {
            let detail = "your credential stands for this budget; only who gave it may change it";
            return Err(Problem::new(Kind::OwnRoot, detail).with("budget", shown));
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(root: &str, owner: bool) -> Caller {
        Caller::new(Grant {
            root: root.to_owned(),
            owner,
            credential: Secret::new("of no use"),
        })
    }

    #[test]
    fn paths_begin_at_the_own_root() {
        let child = caller("org/team/a", false);
        assert_eq!(child.show("org/team/a").as_deref(), Some("a"));
        assert_eq!(child.show("org/team/a/x").as_deref(), Some("a/x"));
        assert_eq!(child.path("a/x").expect("below"), "org/team/a/x");
        for out_of_sight in ["org", "org/team", "org/team/ab", "org/team/b"] {
            assert_eq!(child.show(out_of_sight), None);
            assert_eq!(child.name(out_of_sight), OUTER);
        }
        for foreign in ["b", "ab", "org/team/a", "team/a", ""] {
            assert!(child.path(foreign).is_err(), "{foreign}");
        }
    }

    #[test]
    fn only_an_owner_changes_its_own_root() {
        assert!(caller("run/a", false).path_to_change("a").is_err());
        assert!(caller("run/a", false).path_to_change("a/x").is_ok());
        assert!(caller("run", true).path_to_change("run").is_ok());
    }
}
