//! Planted mutants: mistakes that would cost money, each with the test that must notice it.
//!
//! Each is planted in a copy of the tree and the named test is run there: a mutant that survives
//! is a complaint, and so is one whose place is gone (the code moved on: plant it anew). The copy
//! has a build folder of its own: cargo takes two trees of the same shape for one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Outcome;

/// A mistake and the test that must notice it.
struct Mutant {
    name: &'static str,
    file: &'static str,
    /// What stands there, exactly once.
    right: &'static str,
    wrong: &'static str,
    package: &'static str,
    test: &'static str,
}

const MUTANTS: [Mutant; 20] = [
    Mutant {
        name: "a released budget keeps what was kept for it",
        file: "crates/core/src/tree/node.rs",
        right: "_ if self.reclaimed || released => Amount::ZERO,",
        wrong: "_ if self.reclaimed => Amount::ZERO,",
        package: "fisc-core",
        test: "scenarios::release",
    },
    Mutant {
        name: "what calls hold is lent",
        file: "crates/core/src/tree/loan.rs",
        right: "committed: node.load.get(resource),",
        wrong: "committed: node.floor.get(resource),",
        package: "fisc-core",
        test: "scenarios::loans",
    },
    Mutant {
        name: "an auction sells guarantees",
        file: "crates/core/src/tree/share.rs",
        right: "guarantee: node.claim,",
        wrong: "guarantee: Amount::ZERO,",
        package: "fisc-core",
        test: "scenarios::auction",
    },
    Mutant {
        name: "an open hold settles into the new window",
        file: "crates/core/src/tree/window.rs",
        right: "let is_past = self.span.is_some_and(|span| opened < span.start);",
        wrong: "let is_past = self.span.is_some_and(|span| opened > span.end);",
        package: "fisc-core",
        test: "scenarios::windows",
    },
    Mutant {
        name: "a small call overtakes who waits",
        file: "crates/fisc/src/queue.rs",
        right: "first && !is_covered(tree, child, waiting.contended, amount)",
        wrong: "first && is_covered(tree, child, waiting.contended, amount)",
        package: "fisc",
        test: "waiting::who_gives_up_waiting_is_in_nobodys_way",
    },
    Mutant {
        name: "settle without compare-and-set",
        file: "crates/core/src/tree/settle.rs",
        right: "        self.holds.remove(&id);\n",
        wrong: "",
        package: "fisc-core",
        test: "scenarios::holds_end_once",
    },
    Mutant {
        name: "Anthropic usage summed",
        file: "crates/llm/src/report/usage.rs",
        right: "self.output = later.output.or(self.output);",
        wrong: "self.output = later.output.map_or(self.output, |more| {\n            \
                Some(more + self.output.unwrap_or(0))\n        });",
        package: "fisc-llm",
        test: "anthropic_usage_is_cumulative_never_summed",
    },
    Mutant {
        name: "hold not undone when an ancestor refuses",
        file: "crates/core/src/tree/admit.rs",
        right: "- sums[i].max(claims[i])\n                };\n            }\n            \
                next = node.parent;\n",
        wrong: "- sums[i].max(claims[i])\n                };\n            }\n            \
                next = None;\n",
        package: "fisc-core",
        test: "scenarios::admission",
    },
    Mutant {
        name: "missing drop guard of a hold",
        file: "crates/fisc/src/hold.rs",
        right: "        if self.ended {\n            return;\n",
        wrong: "        if self.ended || !self.ended {\n            return;\n",
        package: "fisc",
        test: "ends::a_hold_dropped_after_it_began_is_charged_what_it_held",
    },
    Mutant {
        name: "missing drop guard of a stream",
        file: "crates/gateway/src/proxy/meter/keeper.rs",
        right: "            drain(upstream, meter, call, stopped).await;\n",
        wrong: "            std::mem::forget((upstream, meter, call));\n",
        package: "fisc-gateway",
        test: "disconnects",
    },
    Mutant {
        name: "wrapping add",
        file: "crates/core/src/amount.rs",
        right: "self.combine(other, i64::checked_add)",
        wrong: "self.combine(other, |a, b| Some(a.wrapping_add(b)))",
        package: "fisc-core",
        test: "scenarios::out_of_range",
    },
    Mutant {
        name: "volatile hold",
        file: "crates/fisc/src/engine.rs",
        right: "        let call = asking.call.clone();\n        Ok(Ok(self.append(",
        wrong: "        if amount.is_non_negative() {\n            \
                return Ok(Ok(None));\n        }\n        \
                let call = asking.call.clone();\n        Ok(Ok(self.append(",
        package: "fisc",
        test: "recovery::an_open_hold_is_charged_in_doubt_and_can_be_resolved",
    },
    Mutant {
        name: "cached input held as if the cache were certain",
        file: "crates/llm/src/prices/model_price.rs",
        right: "            .map(|class| rates.get(*class))\n            .max()\n",
        wrong: "            .map(|class| rates.get(*class))\n            .min()\n",
        package: "fisc-llm",
        test: "hold_assumes_no_cache_hit",
    },
    Mutant {
        name: "calls that are slowed are not fewer at once",
        file: "crates/fisc/src/throttle.rs",
        right: "view.open >= (view.most_open / 2).max(1)",
        wrong: "view.open >= view.most_open.max(1)",
        package: "fisc",
        test: "half_of_what_was_in_flight_may_be",
    },
    Mutant {
        name: "what a call did cost does not slow the next",
        file: "crates/fisc/src/throttle.rs",
        right: "pace.rated[i].max(opened).after(more)",
        wrong: "pace.rated[i].max(opened)",
        package: "fisc",
        test: "who_is_throttled_waits_whatever_is_left",
    },
    Mutant {
        name: "a forecast raises a level to Black",
        file: "crates/fisc/src/foresight.rs",
        right: "view.levels[i].up().unwrap_or(Level::Red).min(Level::Red)",
        wrong: "view.levels[i].up().unwrap_or(Level::Black)",
        package: "fisc",
        test: "a_likely_overrun_acts_one_level_early_and_never_at_black",
    },
    Mutant {
        name: "what a provider refuses for a change is final",
        file: "crates/gateway/src/proxy/outgoing.rs",
        right: "if may_be_refused && FAULTS",
        wrong: "if false && may_be_refused && FAULTS",
        package: "fisc-gateway",
        test: "levels::what_a_provider_refuses_for_a_change_is_sent_again_as_it_came",
    },
    Mutant {
        name: "an approval is added twice",
        file: "crates/gateway/src/state/questions.rs",
        right: "if question.claimed || !question.is_open()",
        wrong: "if !question.is_open()",
        package: "fisc-gateway",
        test: "state::questions::tests::a_question_is_claimed_once",
    },
    Mutant {
        name: "what calls needed is forgotten at a restart",
        file: "crates/gateway/src/state/recall.rs",
        right: "learned.recall(&class, &lesson);",
        wrong: "",
        package: "fisc-gateway",
        test: "levels::what_calls_need_is_known_over_a_restart",
    },
    Mutant {
        name: "a program may approve of itself",
        file: "crates/cli/src/run/door.rs",
        right: "Some(Some(false)) => key,",
        wrong: "Some(_) => key,",
        package: "fisc-cli",
        test: "sdk::asks::a_program_cannot_approve_of_itself",
    },
];

/// Checks that every mutant still has its one place, without planting any: code that moved on must
/// take its mutants along.
pub fn places(root: &Path) -> Outcome {
    let misplaced = |mutant: &Mutant| {
        let text = fs::read_to_string(root.join(mutant.file)).unwrap_or_default();
        let found = text.matches(mutant.right).count();
        let complaint = || {
            format!(
                "{}: its place is {found} times in {}",
                mutant.name, mutant.file
            )
        };
        (found != 1).then(complaint)
    };
    crate::outcome(MUTANTS.iter().filter_map(misplaced).collect())
}

/// Plants every mutant in turn, or only those whose name holds `only`.
pub fn check(root: &Path, only: Option<&str>) -> Outcome {
    let mut complaints = Vec::new();
    let chosen = MUTANTS
        .iter()
        .filter(|mutant| only.is_none_or(|part| mutant.name.contains(part)));
    for mutant in chosen {
        match mutant.is_killed(root) {
            Ok(true) => println!("killed: {} (by {})", mutant.name, mutant.test),
            Ok(false) => complaints.push(format!("survived: {} ({})", mutant.name, mutant.test)),
            Err(why) => complaints.push(format!("{}: {why}", mutant.name)),
        }
    }
    crate::outcome(complaints)
}

// === impl Mutant ===

impl Mutant {
    fn is_killed(&self, root: &Path) -> Result<bool, String> {
        let copy = copy(root)?;
        if !self.test_passes(root, &copy)? {
            return Err(format!("{} fails without the mutant", self.test));
        }
        self.plant(&copy)?;
        Ok(!self.test_passes(root, &copy)?)
    }

    fn plant(&self, copy: &Path) -> Result<(), String> {
        let file = copy.join(self.file);
        let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let found = text.matches(self.right).count();
        if found != 1 {
            return Err(format!("its place is {found} times in {}", self.file));
        }
        let mutated = text.replace(self.right, self.wrong);
        fs::write(&file, mutated).map_err(|error| error.to_string())
    }

    /// Runs the test; a copy that does not build is an error, not a kill.
    fn test_passes(&self, root: &Path, copy: &Path) -> Result<bool, String> {
        let test = |arguments: &[&str]| {
            let mut command: Command = crate::cargo();
            command
                .current_dir(copy)
                .env("CARGO_TARGET_DIR", root.join("target/mutants/build"))
                .args(["test", "--quiet", "--package", self.package])
                .args(arguments);
            command.output().map_err(|error| error.to_string())
        };
        let built = test(&["--no-run"])?;
        if !built.status.success() {
            return Err(format!(
                "it does not build:\n{}",
                String::from_utf8_lossy(&built.stderr)
            ));
        }
        let ran = test(&[self.test])?;
        let text = String::from_utf8_lossy(&ran.stdout).into_owned();
        if ran.status.success() && !text.contains(" passed") {
            return Err(format!("no test is named {}", self.test));
        }
        Ok(ran.status.success())
    }
}

/// Copies what git knows of into the build folder, anew each time.
fn copy(root: &Path) -> Result<PathBuf, String> {
    let copy = root.join("target/mutants/tree");
    let _ = fs::remove_dir_all(&copy);
    let listed = Command::new("git")
        .current_dir(root)
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "-z",
        ])
        .output()
        .map_err(|error| format!("git: {error}"))?;
    for name in String::from_utf8_lossy(&listed.stdout).split_terminator('\0') {
        let (from, to) = (root.join(name), copy.join(name));
        let folder = to.parent().ok_or("a file without a folder")?;
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        if from.is_file() {
            fs::copy(&from, &to).map_err(|error| format!("{name}: {error}"))?;
        }
    }
    Ok(copy)
}
