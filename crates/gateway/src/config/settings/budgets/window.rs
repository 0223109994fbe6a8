//! Windows as configured: when what a budget spent counts anew, and what then cannot be.

use fisc::{Claim, Period, Permille, Terms, TimeUs, Window, Zone, zone_exists};

use super::{claim_place, share};
use crate::config::error::nearest;
use crate::config::settings::Context;
use crate::config::{BudgetConfig, ConfigError, Text};

const NAMES: [&str; 4] = ["daily", "weekly", "monthly", "none"];
const HINT: &str = "write daily, weekly, monthly, a span such as \"24h rolling\", or none";

/// Resolves when what a budget spent counts anew. A budget that says nothing counts as its
/// parent does, unless it has a time of its own.
pub(super) fn resolve(
    context: &Context<'_>,
    config: &BudgetConfig,
    parent: Option<&Terms>,
) -> Result<Window, ConfigError> {
    let above = parent.map_or(Window::None, |parent| parent.window);
    let Some(text) = &config.window else {
        let stray = config.time_zone.as_ref().or(config.roll_over.as_ref());
        return match stray {
            Some(stray) => {
                let error = context.error(stray.span(), "of no use without a window");
                Err(error.with_hint("add window = \"daily\", \"weekly\" or \"monthly\""))
            }
            None if config.time.is_some() => Ok(Window::None),
            None => Ok(above),
        };
    };
    let window = written(context, config, text, above)?;
    if let (Some(time), false) = (&config.time, window.is_none()) {
        let error = context.error(
            time.span(),
            "a time that ends once, where spending counts anew",
        );
        return Err(error.with_hint("leave it out, or limit active_time"));
    }
    let shares = parent.is_some_and(|parent| parent.sharing != fisc::Sharing::Pool);
    if shares && window.is_none() && !above.is_none() {
        let error = context.error(text.span(), "its parent divides anew in every window");
        return Err(error.with_hint("leave window out, or share the parent's as a pool"));
    }
    Ok(window)
}

/// Refuses what would be kept for a budget out of another window than its own: nothing could be.
pub(super) fn check_claim(
    context: &Context<'_>,
    config: &BudgetConfig,
    claim: Claim,
    window: Window,
    parent: Option<&Terms>,
) -> Result<(), ConfigError> {
    let (Some(parent), Some(place)) = (parent, claim_place(config)) else {
        return Ok(());
    };
    if claim == Claim::Nothing || is_same(window, parent.window) {
        return Ok(());
    }
    let message = match window {
        Window::Rolling(_) => "nothing can be kept in a rolling window",
        _ => "nothing can be kept of another window than its parent's",
    };
    let error = context.error(place, message);
    Err(error.with_hint("give it the parent's window, or leave this out: its limit is a cap then"))
}

fn written(
    context: &Context<'_>,
    config: &BudgetConfig,
    text: &Text,
    above: Window,
) -> Result<Window, ConfigError> {
    if let Some(period) = Period::named(text.get_ref()) {
        return Ok(Window::Calendar {
            period,
            zone: zone(context, config.time_zone.as_ref(), above)?,
            roll_over: match &config.roll_over {
                Some(text) => share(context, text)?,
                None => Permille(0),
            },
        });
    }
    if let Some(stray) = config.time_zone.as_ref().or(config.roll_over.as_ref()) {
        let error = context.error(stray.span(), "of no use without days, weeks or months");
        return Err(error.with_hint("leave it out, or write window = \"daily\""));
    }
    if text.get_ref() == "none" {
        return Ok(Window::None);
    }
    let Some(span) = text.get_ref().strip_suffix(" rolling") else {
        let error = context.error(text.span(), "not a window");
        return Err(match nearest(text.get_ref(), &NAMES) {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error.with_hint(HINT),
        });
    };
    match crate::config::amounts::parse_time(span) {
        Ok(TimeUs(micros)) if micros > 0 => Ok(Window::Rolling(TimeUs(micros))),
        Ok(_) => Err(context.error(text.span(), "no time at all").with_hint(HINT)),
        Err(why) => {
            let error = context.error(text.span(), why.to_string());
            Err(error.with_hint(HINT))
        }
    }
}

fn zone(context: &Context<'_>, text: Option<&Text>, above: Window) -> Result<Zone, ConfigError> {
    let Some(text) = text else {
        return Ok(match above {
            Window::Calendar { zone, .. } => zone,
            _ => Zone::UTC,
        });
    };
    let zone = Zone::new(text.get_ref())
        .ok()
        .filter(|zone| zone_exists(*zone));
    zone.ok_or_else(|| {
        let error = context.error(text.span(), "no time zone has this name");
        error.with_hint("write a name of the IANA database: UTC, Europe/Vilnius")
    })
}

/// Says whether spending counts anew at the same instants.
fn is_same(one: Window, other: Window) -> bool {
    match (one, other) {
        (Window::None, Window::None) => true,
        (
            Window::Calendar { period, zone, .. },
            Window::Calendar {
                period: other_period,
                zone: other_zone,
                ..
            },
        ) => period == other_period && zone == other_zone,
        _ => false,
    }
}
