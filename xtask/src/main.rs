//! The command line of the project's own chores; the work is in the library beside it.

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  tidy    check the house style of every file
  arrows  check which of our crates depends on which
  fmt     check that rustfmt would change nothing
  mutants [NAME]  plant mistakes that cost money; each must be noticed by its test
  bench   measure the gateway beside nginx; wants a quiet machine";

fn main() -> ExitCode {
    let root = xtask::root();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.first().map(String::as_str) {
        Some("tidy") => xtask::tidy::check(&root),
        Some("arrows") => xtask::arrows::check(&root),
        Some("fmt") => xtask::format::check(&root),
        Some("mutants") => xtask::mutants::check(&root, std::env::args().nth(2).as_deref()),
        Some("bench") => xtask::bench::run(&root, &words[1..]),
        _ => Err(vec![USAGE.to_owned()]),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(complaints) => {
            eprintln!("{}", complaints.join("\n"));
            ExitCode::FAILURE
        }
    }
}
