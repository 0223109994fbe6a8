//! Messages, their parts, and tools: what of the input the body shows, and what it only names.

use std::ops::Range;

use super::body::wrong_type;
use super::names::Names;
use super::places::{Places, Tail, ToolPlace};
use super::{FactsError, InputShape, SEARCHES_DEFAULT};
use crate::json::{self, Key, Kind, Reader, Text};

const MESSAGE: &str = "a message";
const PART: &str = "a part of a message";
const SOURCE: &str = "the source of a part";
const TOOL: &str = "a tool";
const CACHE_MARK: &str = "`cache_control`";

/// Walks the input of one body.
pub(super) struct Content<'r, 'a> {
    pub(super) reader: &'r mut Reader<'a>,
    pub(super) input: &'r mut InputShape,
    pub(super) cuts: &'r mut Vec<Range<usize>>,
    pub(super) places: &'r mut Places,
}

/// What one part of a message turned out to be.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent findings, no states"
)]
#[derive(Default)]
struct Part<'a> {
    kind: Option<Text<'a>>,
    /// Names content that the body does not show.
    remote: bool,
    /// The source shows text.
    text_source: bool,
    image: bool,
    file: bool,
    audio: bool,
}

// === impl Content ===

impl<'a> Content<'_, 'a> {
    /// Reads the list of messages and returns where each stands.
    pub(super) fn messages(&mut self, kind: Kind) -> Result<Vec<Range<usize>>, FactsError> {
        if kind != Kind::Array {
            return Err(wrong_type("messages", "the body", "a list of messages"));
        }
        self.reader.open_array()?;
        let mut messages = Vec::new();
        let mut first = true;
        while self.reader.element(&mut first)? {
            if self.reader.kind()? != Kind::Object {
                return Err(wrong_type("messages", "the body", "a list of objects"));
            }
            let start = self.reader.offset();
            self.message()?;
            messages.push(start..self.reader.offset());
        }
        Ok(messages)
    }

    /// Reads content: a text, a list of parts, or one part.
    pub(super) fn content(&mut self, kind: Kind) -> Result<(), FactsError> {
        match kind {
            Kind::Object => self.part(),
            Kind::Array => {
                self.reader.open_array()?;
                let mut first = true;
                while self.reader.element(&mut first)? {
                    match self.reader.kind()? {
                        Kind::Object => self.part()?,
                        _ => self.reader.pass()?,
                    }
                }
                Ok(())
            }
            _ => {
                self.reader.pass()?;
                Ok(())
            }
        }
    }

    /// Reads the list of tools.
    pub(super) fn tools(&mut self, kind: Kind) -> Result<(), FactsError> {
        if kind == Kind::Null {
            self.reader.pass()?;
            return Ok(());
        }
        if kind != Kind::Array {
            return Err(wrong_type("tools", "the body", "a list of tools"));
        }
        self.reader.open_array()?;
        let mut first = true;
        while self.reader.element(&mut first)? {
            match self.reader.kind()? {
                Kind::Object => {
                    let start = self.reader.offset();
                    let searches = self.tool()?;
                    let span = start..self.reader.offset();
                    self.places.tools.push(ToolPlace { span, searches });
                }
                _ => return Err(wrong_type("tools", "the body", "a list of objects")),
            }
        }
        Ok(())
    }

    /// Reads a mark that places a cache.
    pub(super) fn cache_control(&mut self, key: &Key<'a>, kind: Kind) -> Result<(), FactsError> {
        if kind == Kind::Object {
            self.input.cache_writes = true;
            self.reader.open_object()?;
            let mut names = Names::new(&["ttl"], CACHE_MARK);
            let mut first = true;
            while let Some(key) = self.reader.key(&mut first)? {
                let is_ttl = !names.meet(&key.text)?.is_empty();
                let value = self.reader.skip()?;
                // Whatever is not five minutes is taken for the dearer hour.
                let raw = self.reader.slice(value);
                self.input.cache_ttl_1h |= is_ttl && raw != b"\"5m\"" && raw != b"null";
            }
        } else {
            self.reader.pass()?;
        }
        self.cuts.push(self.reader.member(key));
        Ok(())
    }

    fn message(&mut self) -> Result<(), FactsError> {
        self.reader.open_object()?;
        let mut names = Names::new(&["role", "content", "audio", "cache_control"], MESSAGE);
        let mut first = true;
        self.places.tail = None;
        let mut answered = false;
        while let Some(key) = self.reader.key(&mut first)? {
            let name = names.meet(&key.text)?;
            let kind = self.reader.kind()?;
            match name {
                "role" if kind == Kind::String => {
                    answered = self.reader.text()?.plain() == b"assistant";
                }
                "content" => {
                    let start = self.reader.offset();
                    self.content(kind)?;
                    self.places.tail = Tail::of(kind, start..self.reader.offset());
                }
                "cache_control" => self.cache_control(&key, kind)?,
                _ => self.reader.pass()?,
            }
            // An earlier spoken answer, by its id.
            if name == "audio" && kind == Kind::Object {
                self.input.audio += 1;
                self.input.opaque = true;
            }
        }
        if answered {
            // What stands at its end is the beginning of the model's own answer.
            self.places.tail = None;
        }
        Ok(())
    }

    fn part(&mut self) -> Result<(), FactsError> {
        const NAMES: &[&str] = &[
            "type",
            "cache_control",
            "content",
            "file",
            "file_id",
            "image_url",
            "input_audio",
            "source",
        ];
        let start = self.reader.offset();
        self.reader.open_object()?;
        let mut names = Names::new(NAMES, PART);
        let mut part = Part::default();
        let mut first = true;
        while let Some(key) = self.reader.key(&mut first)? {
            let name = names.meet(&key.text)?;
            let kind = self.reader.kind()?;
            match name {
                "type" if kind == Kind::String => part.kind = Some(self.reader.text()?),
                "cache_control" => self.cache_control(&key, kind)?,
                "content" => self.content(kind)?,
                "file" | "image_url" | "input_audio" | "source" => {
                    self.source(kind, &mut part)?;
                    part.image |= name == "image_url" && kind != Kind::Null;
                    part.file |= name == "file" && kind != Kind::Null;
                    part.audio |= name == "input_audio" && kind != Kind::Null;
                }
                "file_id" => {
                    self.reader.pass()?;
                    part.remote |= kind != Kind::Null;
                }
                _ => self.reader.pass()?,
            }
        }
        let images = self.input.images;
        self.count_part(&part);
        if self.input.images > images {
            self.places.images.push(start..self.reader.offset());
        }
        Ok(())
    }

    /// Reads where a part's content comes from: an object, or a URL alone.
    fn source(&mut self, kind: Kind, part: &mut Part<'a>) -> Result<(), FactsError> {
        match kind {
            Kind::String => {
                part.remote |= is_remote(&self.reader.text()?);
                return Ok(());
            }
            Kind::Object => {
                self.reader.open_object()?;
            }
            _ => {
                self.reader.pass()?;
                return Ok(());
            }
        }
        let mut names = Names::new(&["type", "url", "file_id", "content"], SOURCE);
        let mut first = true;
        while let Some(key) = self.reader.key(&mut first)? {
            let name = names.meet(&key.text)?;
            let kind = self.reader.kind()?;
            match name {
                "type" if kind == Kind::String => {
                    let text = self.reader.text()?;
                    part.text_source = matches!(text.plain(), b"text" | b"content");
                    part.remote |= matches!(text.plain(), b"url" | b"file");
                }
                "url" if kind == Kind::String => part.remote |= is_remote(&self.reader.text()?),
                "content" => self.content(kind)?,
                _ => {
                    self.reader.pass()?;
                    part.remote |= name == "file_id" && kind != Kind::Null;
                }
            }
        }
        Ok(())
    }

    fn count_part(&mut self, part: &Part<'_>) {
        let kind = part.kind.map_or(&b""[..], |kind| kind.plain());
        let image = part.image || matches!(kind, b"image" | b"image_url" | b"input_image");
        let audio = part.audio || matches!(kind, b"audio" | b"input_audio");
        let document = matches!(
            kind,
            b"document" | b"input_file" | b"container_upload" | b"file"
        );
        let file = part.file || (document && !part.text_source);
        self.input.images += u64::from(image);
        self.input.audio += u64::from(audio);
        self.input.files += u64::from(file);
        let known = image || audio || document || file || is_shown(kind);
        self.input.opaque |= part.remote || !known;
    }

    /// Reads a tool and says whether it is a search that the provider runs.
    fn tool(&mut self) -> Result<bool, FactsError> {
        const SEARCHES: &str = "a whole number of searches";
        self.reader.open_object()?;
        let mut names = Names::new(&["type", "max_uses", "cache_control"], TOOL);
        let mut kind_text = None;
        let mut searches = SEARCHES_DEFAULT;
        let mut first = true;
        while let Some(key) = self.reader.key(&mut first)? {
            let name = names.meet(&key.text)?;
            let kind = self.reader.kind()?;
            match name {
                "type" if kind == Kind::String => kind_text = Some(self.reader.text()?),
                "type" if kind != Kind::Null => return Err(wrong_type(name, TOOL, "a string")),
                "max_uses" if kind == Kind::Number => {
                    searches = json::whole(self.reader.number()?)
                        .map_err(|_| wrong_type(name, TOOL, SEARCHES))?;
                }
                "max_uses" if kind != Kind::Null => {
                    return Err(wrong_type(name, TOOL, SEARCHES));
                }
                "cache_control" => self.cache_control(&key, kind)?,
                _ => self.reader.pass()?,
            }
        }
        Ok(self.count_tool(kind_text, searches))
    }

    fn count_tool(&mut self, kind: Option<Text<'_>>, searches: u64) -> bool {
        let Some(kind) = kind.map(|kind| kind.decode().unwrap_or_default()) else {
            return false;
        };
        if matches!(kind.as_ref(), "function" | "custom") {
            return false;
        }
        // The provider runs it, or describes it to the model in words that the body lacks.
        self.input.opaque = true;
        let is_search = kind.starts_with("web_search");
        if is_search {
            self.input.searches_max = self.input.searches_max.saturating_add(searches);
        }
        is_search
    }
}

/// Says whether a URL points elsewhere, rather than holding its content.
fn is_remote(url: &Text<'_>) -> bool {
    !url.raw().starts_with(b"data:")
}

/// Says whether a part of this type is all in the body.
fn is_shown(kind: &[u8]) -> bool {
    const SHOWN: &[&[u8]] = &[
        b"compaction",
        b"input_text",
        b"mcp_tool_use",
        b"output_text",
        b"redacted_thinking",
        b"refusal",
        b"server_tool_use",
        b"text",
        b"thinking",
        b"tool_reference",
        b"tool_use",
    ];
    SHOWN.contains(&kind) || kind.ends_with(b"_result") || kind.ends_with(b"_output")
}
