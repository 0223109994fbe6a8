//! One body or one streamed event of Anthropic messages.

use super::flaws::{FlawKind, Flaws};
use super::usage::{self, Counts};
use crate::json::{Fault, Kind, Reader, Text};

/// What one event, or a whole body, says.
#[derive(Debug, Default)]
pub(crate) struct Event<'a> {
    /// `message`, `message_start`, `content_block_delta`, …
    pub(crate) kind: Option<Text<'a>>,
    pub(crate) id: Option<Text<'a>>,
    pub(crate) model: Option<Text<'a>>,
    pub(crate) service_tier: Option<Text<'a>>,
    /// Which block of content the event is about.
    pub(crate) index: Option<u64>,
    pub(crate) usage: Option<Counts>,
    pub(crate) stop_reason: Option<Text<'a>>,
    /// Whether a block starts whose input, the arguments of a tool, is yet to come.
    pub(crate) awaits_input: bool,
    /// What is new of a block's input.
    pub(crate) partial_json: Option<Text<'a>>,
    /// Bytes generated.
    pub(crate) output_bytes: u64,
    pub(crate) error: bool,
}

/// Reads an event or a body into `event`, which keeps what was read before a fault.
pub(crate) fn read<'a>(
    bytes: &'a [u8],
    event: &mut Event<'a>,
    flaws: &mut Flaws,
) -> Result<(), Fault> {
    let mut reader = Reader::new(bytes);
    members(&mut reader, event, flaws, true)?;
    reader.end()
}

/// Reads the members of an event, or of the message in `message_start`.
fn members<'a>(
    reader: &mut Reader<'a>,
    event: &mut Event<'a>,
    flaws: &mut Flaws,
    outermost: bool,
) -> Result<(), Fault> {
    reader.open_object()?;
    let mut first = true;
    while let Some(key) = reader.key(&mut first)? {
        match (key.text.plain(), reader.kind()?) {
            (b"type", Kind::String) if outermost => event.kind = Some(reader.text()?),
            (b"message", Kind::Object) if outermost => members(reader, event, flaws, false)?,
            (b"id", Kind::String) => event.id = Some(reader.text()?),
            (b"model", Kind::String) => event.model = Some(reader.text()?),
            (b"index", Kind::Number) => {
                event.index = crate::json::whole(reader.number()?).ok();
            }
            (b"stop_reason", Kind::String) => event.stop_reason = Some(reader.text()?),
            (b"usage", _) => read_usage(reader, event, flaws)?,
            (b"delta" | b"content_block", Kind::Object) => block(reader, event)?,
            (b"content", Kind::Array) => {
                reader.open_array()?;
                let mut first = true;
                while reader.element(&mut first)? {
                    match reader.kind()? {
                        Kind::Object => block(reader, event)?,
                        _ => reader.pass()?,
                    }
                }
            }
            (b"error", kind) => {
                event.error |= kind != Kind::Null;
                reader.pass()?;
            }
            _ => reader.pass()?,
        }
    }
    Ok(())
}

/// Adds up what a block of content, or what is new in it, says.
fn block<'a>(reader: &mut Reader<'a>, event: &mut Event<'a>) -> Result<(), Fault> {
    reader.open_object()?;
    let mut first = true;
    while let Some(key) = reader.key(&mut first)? {
        match (key.text.plain(), reader.kind()?) {
            (b"text" | b"thinking", Kind::String) => {
                event.output_bytes += reader.text()?.decoded_bytes();
            }
            (b"partial_json", Kind::String) => {
                let json = reader.text()?;
                event.output_bytes += json.decoded_bytes();
                event.partial_json = Some(json);
            }
            (b"stop_reason", Kind::String) => event.stop_reason = Some(reader.text()?),
            (b"input", Kind::Object) => {
                let arguments = reader.skip()?.len() as u64;
                // A block that starts says `{}`, before its arguments come.
                event.awaits_input = arguments <= 2;
                event.output_bytes += if arguments > 2 { arguments } else { 0 };
            }
            _ => reader.pass()?,
        }
    }
    Ok(())
}

fn read_usage<'a>(
    reader: &mut Reader<'a>,
    event: &mut Event<'a>,
    flaws: &mut Flaws,
) -> Result<(), Fault> {
    if !usage::open(reader, "usage", flaws)? {
        return Ok(());
    }
    let mut counts = Counts::default();
    let mut first = true;
    while let Some(key) = reader.key(&mut first)? {
        let (field, count) = match key.text.plain() {
            b"input_tokens" => ("input_tokens", &mut counts.input),
            b"output_tokens" => ("output_tokens", &mut counts.output),
            b"cache_read_input_tokens" => ("cache_read_input_tokens", &mut counts.cache_read),
            b"cache_creation_input_tokens" => {
                ("cache_creation_input_tokens", &mut counts.cache_write)
            }
            other => {
                usage_parts(reader, other, &mut counts, event, flaws)?;
                continue;
            }
        };
        *count = usage::count(reader, field, flaws)?;
    }
    event.usage = Some(counts);
    Ok(())
}

/// Reads the members of usage that are not counts themselves.
fn usage_parts<'a>(
    reader: &mut Reader<'a>,
    name: &[u8],
    counts: &mut Counts,
    event: &mut Event<'a>,
    flaws: &mut Flaws,
) -> Result<(), Fault> {
    let field = match (name, reader.kind()?) {
        (b"service_tier", Kind::String) => {
            event.service_tier = Some(reader.text()?);
            return Ok(());
        }
        (b"iterations", Kind::Array) => return iterations(reader, flaws),
        (b"cache_creation", _) => "cache_creation",
        (b"output_tokens_details", _) => "output_tokens_details",
        (b"server_tool_use", _) => "server_tool_use",
        _ => {
            reader.pass()?;
            return Ok(());
        }
    };
    if !usage::open(reader, field, flaws)? {
        return Ok(());
    }
    let mut first = true;
    while let Some(key) = reader.key(&mut first)? {
        let (field, count) = match key.text.plain() {
            b"ephemeral_5m_input_tokens" => {
                ("ephemeral_5m_input_tokens", &mut counts.cache_write_5m)
            }
            b"ephemeral_1h_input_tokens" => {
                ("ephemeral_1h_input_tokens", &mut counts.cache_write_1h)
            }
            b"thinking_tokens" => ("thinking_tokens", &mut counts.reasoning),
            b"web_search_requests" => ("web_search_requests", &mut counts.searches),
            _ => {
                reader.pass()?;
                continue;
            }
        };
        *count = usage::count(reader, field, flaws)?;
    }
    Ok(())
}

/// The totals leave out compactions, advisors and the like.
fn iterations(reader: &mut Reader<'_>, flaws: &mut Flaws) -> Result<(), Fault> {
    reader.open_array()?;
    let mut first = true;
    while reader.element(&mut first)? {
        if reader.kind()? != Kind::Object {
            reader.pass()?;
            continue;
        }
        reader.open_object()?;
        let mut first = true;
        while let Some(key) = reader.key(&mut first)? {
            let is_type = key.text.plain() == b"type" && reader.kind()? == Kind::String;
            let value = reader.skip()?;
            if is_type && reader.slice(value) != b"\"message\"" {
                flaws.add("iterations", FlawKind::NotCounted);
            }
        }
    }
    Ok(())
}
