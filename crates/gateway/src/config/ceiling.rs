//! The price that calls of models without a known one are charged: an owner's ceiling.

use std::fmt::Write;
use std::sync::Arc;

use fisc_core::Timestamp;
use fisc_llm::{ModelPrice, OverlayError, PicoUsdPerToken, PriceBook};

/// The name of the entry that holds the ceiling; no provider has such a model.
const MODEL: &str = "fisc-unpriced";
/// Classes of input, all charged at the same rate.
const INPUT: [&str; 6] = [
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "audio_input",
    "image_input",
];
/// Classes of output, all charged at the same rate.
const OUTPUT: [&str; 3] = ["output", "audio_output", "image_output"];

/// Makes a price of one rate for all input and one for all output.
///
/// # Errors
/// When the rates make no price.
pub fn ceiling(
    input: PicoUsdPerToken,
    output: PicoUsdPerToken,
) -> Result<Arc<ModelPrice>, OverlayError> {
    let mut overlay = format!("[[model]]\nmatch = \"{MODEL}\"\n");
    for (classes, rate) in [(&INPUT[..], input), (&OUTPUT[..], output)] {
        for class in classes {
            let _ = writeln!(overlay, "{class} = \"{}\"", rate.usd_per_mtok());
        }
    }
    let book = PriceBook::with_overlay(&overlay)?;
    let price = book.price(None, MODEL, Timestamp(0));
    Ok(Arc::clone(
        price
            .known()
            .expect("the overlay prices every class of the model"),
    ))
}
