//! The price that models without a known one are charged, as configured.

use std::sync::Arc;

use fisc::Timestamp;
use fisc_llm::{ModelPrice, PicoUsdPerToken, PriceBook};

use super::Context;
use crate::config::{ConfigError, EstimateConfig, Text};

/// The name of the entry that holds the ceiling; no provider has such a model.
const MODEL: &str = "fisc-unpriced";
/// Classes of input and output, all charged at the ceiling's rate of their side.
const INPUT: [&str; 6] =
    ["input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "image_input"];
const OUTPUT: [&str; 3] = ["output", "audio_output", "image_output"];

/// Makes the price from dollars per million tokens.
pub(super) fn ceiling(
    context: &Context<'_>,
    estimate: &EstimateConfig,
) -> Result<Arc<ModelPrice>, ConfigError> {
    let input = rate(context, &estimate.input)?;
    let output = rate(context, &estimate.output)?;
    let mut overlay = format!("[[model]]\nmatch = \"{MODEL}\"\n");
    for (classes, rate) in [(&INPUT[..], input), (&OUTPUT[..], output)] {
        for class in classes {
            overlay.push_str(&format!("{class} = \"{}\"\n", rate.usd_per_mtok()));
        }
    }
    let refused = |why: String| context.error(estimate.input.span(), why);
    let book = PriceBook::with_overlay(&overlay).map_err(|why| refused(why.to_string()))?;
    let price = book.price(None, MODEL, Timestamp(0));
    price.known().cloned().ok_or_else(|| refused("the estimate is no price".to_owned()))
}

fn rate(context: &Context<'_>, text: &Text) -> Result<PicoUsdPerToken, ConfigError> {
    PicoUsdPerToken::from_usd_per_mtok(text.get_ref())
        .map_err(|why| context.error(text.span(), why.to_string()).with_hint(why.hint()))
}
