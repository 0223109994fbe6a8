//! Every configuration that stands in the documentation.

use std::path::PathBuf;

use super::*;

/// The configurations of all pages: (page, text).
fn blocks(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).expect("a folder of the docs");
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            found.extend(blocks(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let page = std::fs::read_to_string(&path).expect("a page");
            let marks = page.match_indices("```toml\n");
            let starts = marks.map(|(at, mark)| &page[at + mark.len()..]);
            let block = |text: &str| text.split("```").next().unwrap_or_default().to_owned();
            let configs = starts.map(block).filter(|text| text.contains("[budget."));
            found.extend(configs.map(|text| (path.clone(), text)));
        }
    }
    found
}

/// Completes what shows budgets alone.
fn whole(text: &str) -> String {
    if text.contains("[upstream.") {
        return text.to_owned();
    }
    let (_, name) = text.split_once("[budget.").expect("as found");
    let root = name.split([']', '.']).next().unwrap_or_default();
    format!(
        "[upstream.openai]\nurl = \"http://127.0.0.1:9\"\n[[key]]\nname = \"ci\"\nbudget = \
         \"{root}\"\nsecret_hash = \"{HASH}\"\n{text}"
    )
}

#[test]
fn every_configuration_in_the_docs_is_accepted() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let blocks = blocks(&docs);
    assert!(blocks.len() >= 9, "{} are found", blocks.len());
    for (page, text) in blocks {
        let read = read(&whole(&text));
        read.unwrap_or_else(|error| panic!("{}: {error}\n{text}", page.display()));
    }
}

#[test]
fn the_guide_shows_the_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = |path: &str| std::fs::read_to_string(root.join(path)).expect("a file");
    let (guide, example) = (text("docs/guides/team.md"), text("examples/team.toml"));
    let (_, shown) = guide.split_once("```toml\n").expect("a block");
    let (shown, _) = shown.split_once("```").expect("its end");
    assert!(example.ends_with(shown), "they differ");
    let settings = read(shown).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(settings.budgets[0].newcomers.claim, Claim::Automatic);
}
