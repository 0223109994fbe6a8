//! The project's checks on itself, run with all other tests.

mod arrows;
mod format;
mod mutants;
mod tidy;

/// Fails with one complaint a line.
#[track_caller]
fn pass(outcome: xtask::Outcome) {
    if let Err(complaints) = outcome {
        panic!("{} to mend:\n{}", complaints.len(), complaints.join("\n"));
    }
}
