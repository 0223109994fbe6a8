//! Pictures are written in the format that their name says.

use std::path::PathBuf;

use fisc_core::TimeUs;
use fisc_sim::{PlotError, Settings, plot, run, synthetic};

fn picture(name: &str) -> (PathBuf, Result<(), PlotError>) {
    let settings = Settings {
        sizes: vec![4],
        scarcities: vec![0.7],
        teams: 4,
        ..Settings::default()
    };
    let report = run(&settings, &synthetic(3, 20), &mut || TimeUs(0)).expect("valid settings");
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let drawn = plot(&report, &file);
    (file, drawn)
}

#[test]
fn an_svg_names_every_policy() {
    let (file, drawn) = picture("policies.svg");
    drawn.expect("drawn");
    let text = std::fs::read_to_string(file).expect("written");
    assert!(
        text.starts_with("<svg") || text.starts_with("<?xml"),
        "{}",
        &text[..80]
    );
    for name in ["dynamic", "fair", "pool", "auction", "static"] {
        assert!(text.contains(name), "{name}");
    }
}

#[test]
fn a_png_is_one() {
    let (file, drawn) = picture("policies.png");
    drawn.expect("drawn");
    let bytes = std::fs::read(file).expect("written");
    assert!(bytes.starts_with(b"\x89PNG"));
    assert!(bytes.len() > 10_000, "{} bytes", bytes.len());
}

#[test]
fn other_formats_are_refused() {
    let (_, drawn) = picture("policies.pdf");
    assert_eq!(
        drawn.expect_err("no such format").to_string(),
        "name the picture .svg or .png"
    );
}
