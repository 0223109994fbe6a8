//! The comparison as a picture. The only place that knows the plotting library.

use std::path::Path;
use std::{fs, io};

use kuva::backend::png::PngBackend;
use kuva::backend::svg::SvgBackend;
use kuva::plot::{BarPlot, ScatterPlot};
use kuva::render::figure::Figure;
use kuva::render::layout::Layout;
use kuva::render::plots::Plot;

use crate::report::{PolicyReport, Report};

/// Why a picture was not made.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// The name of the file says neither SVG nor PNG.
    #[error("name the picture .svg or .png")]
    Format,
    /// The library refused.
    #[error("cannot be drawn: {0}")]
    Draw(String),
    /// The file cannot be written.
    #[error("cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// One colour a policy, told apart by colour-blind readers too.
const COLORS: [&str; 9] = [
    "#0072b2", "#009e73", "#56b4e9", "#e69f00", "#cc79a7", "#d55e00", "#7f7f7f", "#000000",
    "#b8860b",
];

/// Draws a report to a file, in the format that its name says: work finished against fairness,
/// and what everybody used and left.
pub fn plot(report: &Report, file: &Path) -> Result<(), PlotError> {
    let extension = file.extension().and_then(|extension| extension.to_str());
    let scene = figure(report).render();
    match extension {
        Some("svg") => fs::write(file, SvgBackend::new().render_scene(&scene))?,
        Some("png") => {
            let drawn = PngBackend::new().with_scale(2.0).render_scene(&scene);
            fs::write(file, drawn.map_err(PlotError::Draw)?)?;
        }
        _ => return Err(PlotError::Format),
    }
    Ok(())
}

fn figure(report: &Report) -> Figure {
    let fairness = vec![Plot::Scatter(fairness(report))];
    let starved = vec![Plot::Bar(starved(report))];
    let least = |part: fn(&PolicyReport) -> f64| {
        let parts = report.policies.iter().map(part);
        parts.fold(1.0, f64::min)
    };
    let jain = least(|policy| policy.jain);
    let finished = least(|policy| policy.completed_vs_clairvoyant);
    let layouts = vec![
        Layout::auto_from_plots(&fairness)
            .with_title("Work finished, and how fairly")
            .with_x_label("fairness (Jain's index)")
            .with_y_label("finished / clairvoyant")
            .with_x_axis_min(((jain - 0.02) * 50.0).floor() / 50.0)
            .with_x_axis_max(1.02)
            .with_y_axis_min(((finished - 0.05) * 10.0).floor() / 10.0)
            .with_y_axis_max(1.0),
        Layout::auto_from_plots(&starved)
            .with_title("Starved agents")
            .with_y_label("percent")
            .with_x_tick_rotate(-45.0),
    ];
    Figure::new(1, 2)
        .with_plots(vec![fairness, starved])
        .with_layouts(layouts)
        .with_cell_size(620.0, 440.0)
}

fn fairness(report: &Report) -> ScatterPlot {
    let point = |policy: &PolicyReport| (policy.jain, policy.completed_vs_clairvoyant);
    ScatterPlot::new()
        .with_data(report.policies.iter().map(point))
        .with_colors(colors(report))
        .with_size(6.0)
        .with_labels(report.policies.iter().map(|policy| policy.policy.name()))
        .with_repel_labels()
}

fn starved(report: &Report) -> BarPlot {
    let bars = report.policies.iter().zip(colors(report));
    BarPlot::new().with_colored_bars(
        bars.map(|(policy, color)| (policy.policy.name(), policy.starved * 100.0, color)),
    )
}

fn colors(report: &Report) -> Vec<&'static str> {
    let policies = report.policies.iter();
    policies
        .zip(COLORS.iter().cycle())
        .map(|(_, color)| *color)
        .collect()
}
