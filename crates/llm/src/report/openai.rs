//! One body or one streamed chunk of OpenAI chat completions.

use std::ops::Range;

use super::flaws::Flaws;
use super::usage::{self, Counts};
use crate::json::{Fault, Kind, Reader, Text};

/// What one chunk, or a whole body, says.
#[derive(Debug, Default)]
pub(crate) struct Chunk<'a> {
    pub(crate) id: Option<Text<'a>>,
    pub(crate) model: Option<Text<'a>>,
    pub(crate) service_tier: Option<Text<'a>>,
    /// The time of creation, as written.
    pub(crate) created: Option<&'a [u8]>,
    pub(crate) usage: Option<Counts>,
    /// The member `"usage":null` with a comma, to cut.
    pub(crate) usage_null: Option<Range<usize>>,
    /// Whether there is a list of choices, and it is empty.
    pub(crate) no_choices: bool,
    /// Bytes generated.
    pub(crate) output_bytes: u64,
    /// Whether a choice ends here.
    pub(crate) finishes: bool,
    pub(crate) error: bool,
}

/// One of the answers in a chunk.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Choice<'a> {
    pub(crate) index: u64,
    pub(crate) finish: Option<Text<'a>>,
    /// The last call of a function in it.
    pub(crate) call: Option<Call<'a>>,
}

/// What is new of the call of a function.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// Its number in the choice; `None` in the form that knows but one.
    pub(crate) number: Option<u64>,
    pub(crate) arguments: Option<Text<'a>>,
}

/// Reads a chunk or a body into `chunk`, which keeps what was read before a fault.
pub(crate) fn read<'a>(
    bytes: &'a [u8],
    chunk: &mut Chunk<'a>,
    flaws: &mut Flaws,
    on_choice: &mut dyn FnMut(&Choice<'a>),
) -> Result<(), Fault> {
    let mut reader = Reader::new(bytes);
    reader.open_object()?;
    let mut first = true;
    while let Some(key) = reader.key(&mut first)? {
        let kind = reader.kind()?;
        match (key.text.plain(), kind) {
            (b"id", Kind::String) => chunk.id = Some(reader.text()?),
            (b"model", Kind::String) => chunk.model = Some(reader.text()?),
            (b"service_tier", Kind::String) => chunk.service_tier = Some(reader.text()?),
            (b"created", Kind::Number) => chunk.created = Some(reader.number()?),
            (b"choices", Kind::Array) => choices(&mut reader, chunk, on_choice)?,
            (b"usage", Kind::Null) => {
                reader.pass()?;
                chunk.usage_null = Some(reader.member(&key));
            }
            (b"usage", _) => chunk.usage = read_usage(&mut reader, flaws)?,
            (b"error", kind) => {
                chunk.error |= kind != Kind::Null;
                reader.pass()?;
            }
            _ => reader.pass()?,
        }
    }
    reader.end()
}

fn choices<'a>(
    reader: &mut Reader<'a>,
    chunk: &mut Chunk<'a>,
    on_choice: &mut dyn FnMut(&Choice<'a>),
) -> Result<(), Fault> {
    reader.open_array()?;
    chunk.no_choices = true;
    let mut first = true;
    while reader.element(&mut first)? {
        chunk.no_choices = false;
        if reader.kind()? != Kind::Object {
            reader.pass()?;
            continue;
        }
        let choice = choice(reader, &mut chunk.output_bytes)?;
        chunk.finishes |= choice.finish.is_some();
        on_choice(&choice);
    }
    Ok(())
}

fn choice<'a>(reader: &mut Reader<'a>, output_bytes: &mut u64) -> Result<Choice<'a>, Fault> {
    reader.open_object()?;
    let mut choice = Choice::default();
    let mut first = true;
    while let Some(key) = reader.key(&mut first)? {
        match (key.text.plain(), reader.kind()?) {
            (b"index", Kind::Number) => {
                choice.index = crate::json::whole(reader.number()?).unwrap_or(0);
            }
            (b"finish_reason", Kind::String) => choice.finish = Some(reader.text()?),
            (b"delta" | b"message", Kind::Object) => {
                message(reader, output_bytes, &mut choice.call)?;
            }
            _ => reader.pass()?,
        }
    }
    Ok(choice)
}

/// Adds up what a message, or what is new in it, says, and finds its last call of a function.
fn message<'a>(
    reader: &mut Reader<'a>,
    output_bytes: &mut u64,
    last_call: &mut Option<Call<'a>>,
) -> Result<(), Fault> {
    reader.open_object()?;
    // Some servers send the same reasoning under both names.
    let (mut reasoning, mut reasoning_content) = (0, 0);
    let mut first = true;
    while let Some(key) = reader.key(&mut first)? {
        match (key.text.plain(), reader.kind()?) {
            (b"content" | b"refusal", Kind::String) => {
                *output_bytes += reader.text()?.decoded_bytes();
            }
            (b"content", Kind::Array) => {
                reader.open_array()?;
                let mut first = true;
                while reader.element(&mut first)? {
                    generated(reader, output_bytes)?;
                }
            }
            (b"tool_calls", Kind::Array) => {
                reader.open_array()?;
                let mut first = true;
                while reader.element(&mut first)? {
                    let part = generated(reader, output_bytes)?;
                    *last_call = part.is_function.then_some(Call {
                        number: Some(part.index),
                        arguments: part.arguments,
                    });
                }
            }
            (b"function_call", Kind::Object) => {
                let arguments = generated(reader, output_bytes)?.arguments;
                *last_call = Some(Call {
                    number: None,
                    arguments,
                });
            }
            (b"audio", Kind::Object) => {
                generated(reader, output_bytes)?;
            }
            (b"reasoning", Kind::String) => reasoning = reader.text()?.decoded_bytes(),
            (b"reasoning_content", Kind::String) => {
                reasoning_content = reader.text()?.decoded_bytes();
            }
            _ => reader.pass()?,
        }
    }
    *output_bytes += reasoning.max(reasoning_content);
    Ok(())
}

/// What was found in a part of a message.
#[derive(Default)]
struct Part<'a> {
    index: u64,
    is_function: bool,
    arguments: Option<Text<'a>>,
}

/// Adds up what a part of a message, a call of a tool or a spoken answer says.
fn generated<'a>(reader: &mut Reader<'a>, output_bytes: &mut u64) -> Result<Part<'a>, Fault> {
    let mut part = Part::default();
    if reader.kind()? != Kind::Object {
        reader.pass()?;
        return Ok(part);
    }
    reader.open_object()?;
    let mut first = true;
    while let Some(key) = reader.key(&mut first)? {
        match (key.text.plain(), reader.kind()?) {
            (b"index", Kind::Number) => {
                part.index = crate::json::whole(reader.number()?).unwrap_or(0);
            }
            (b"arguments", Kind::String) => {
                let arguments = reader.text()?;
                *output_bytes += arguments.decoded_bytes();
                part.arguments = Some(arguments);
            }
            (b"text" | b"input" | b"transcript", Kind::String) => {
                *output_bytes += reader.text()?.decoded_bytes();
            }
            (b"function", Kind::Object) => {
                part.is_function = true;
                part.arguments = generated(reader, output_bytes)?.arguments;
            }
            (b"custom", Kind::Object) => {
                generated(reader, output_bytes)?;
            }
            _ => reader.pass()?,
        }
    }
    Ok(part)
}

fn read_usage(reader: &mut Reader<'_>, flaws: &mut Flaws) -> Result<Option<Counts>, Fault> {
    if !usage::open(reader, "usage", flaws)? {
        return Ok(None);
    }
    let mut counts = Counts::default();
    let mut first = true;
    while let Some(key) = reader.key(&mut first)? {
        match key.text.plain() {
            b"prompt_tokens" => counts.input = usage::count(reader, "prompt_tokens", flaws)?,
            b"completion_tokens" => {
                counts.output = usage::count(reader, "completion_tokens", flaws)?;
            }
            b"prompt_tokens_details" => prompt_details(reader, &mut counts, flaws)?,
            b"completion_tokens_details" => completion_details(reader, &mut counts, flaws)?,
            _ => reader.pass()?,
        }
    }
    Ok(Some(counts))
}

fn prompt_details(
    reader: &mut Reader<'_>,
    counts: &mut Counts,
    flaws: &mut Flaws,
) -> Result<(), Fault> {
    if !usage::open(reader, "prompt_tokens_details", flaws)? {
        return Ok(());
    }
    let mut first = true;
    while let Some(key) = reader.key(&mut first)? {
        let (field, count) = match key.text.plain() {
            b"cached_tokens" => ("cached_tokens", &mut counts.cache_read),
            b"cache_write_tokens" => ("cache_write_tokens", &mut counts.cache_write),
            b"audio_tokens" => ("prompt audio_tokens", &mut counts.audio_input),
            b"image_tokens" => ("prompt image_tokens", &mut counts.image_input),
            _ => {
                reader.pass()?;
                continue;
            }
        };
        *count = usage::count(reader, field, flaws)?;
    }
    Ok(())
}

fn completion_details(
    reader: &mut Reader<'_>,
    counts: &mut Counts,
    flaws: &mut Flaws,
) -> Result<(), Fault> {
    if !usage::open(reader, "completion_tokens_details", flaws)? {
        return Ok(());
    }
    let mut first = true;
    while let Some(key) = reader.key(&mut first)? {
        let (field, count) = match key.text.plain() {
            b"reasoning_tokens" => ("reasoning_tokens", &mut counts.reasoning),
            b"audio_tokens" => ("completion audio_tokens", &mut counts.audio_output),
            b"image_tokens" => ("completion image_tokens", &mut counts.image_output),
            _ => {
                reader.pass()?;
                continue;
            }
        };
        *count = usage::count(reader, field, flaws)?;
    }
    Ok(())
}
