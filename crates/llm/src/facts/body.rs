//! The members of a request's body, each met once.

use std::borrow::Cow;
use std::ops::Range;

use super::content::Content;
use super::names::Names;
use super::places::{OptionsPlace, Places, Slot};
use super::prefix::PrefixHash;
use super::{CHOICES_MAX, FactsError, InputShape, Prefix, RequestFacts, SEARCHES_DEFAULT};
use crate::json::{self, Key, Kind, Reader};
use crate::wire::Wire;

const PLACE: &str = "the body";

/// Members on whose value money depends.
const BILLING: &[&str] = &[
    "audio",
    "cache_control",
    "container",
    "context_management",
    "conversation",
    "data_sources",
    "functions",
    "inference_geo",
    "max_completion_tokens",
    "max_tokens",
    "mcp_servers",
    "messages",
    "modalities",
    "model",
    "models",
    "n",
    "output_config",
    "plugins",
    "prediction",
    "previous_response_id",
    "prompt",
    "reasoning_effort",
    "search_parameters",
    "service_tier",
    "speed",
    "stream",
    "stream_options",
    "system",
    "thinking",
    "tools",
    "web_search_options",
];

/// Members that add nothing to the prompt, so that prefixes are equal whatever they say. What is
/// unknown may add to it.
const OUTSIDE_PROMPT: &[&[u8]] = &[
    b"frequency_penalty",
    b"logit_bias",
    b"logprobs",
    b"metadata",
    b"min_p",
    b"presence_penalty",
    b"prompt_cache_key",
    b"prompt_cache_retention",
    b"repetition_penalty",
    b"safety_identifier",
    b"seed",
    b"stop",
    b"stop_sequences",
    b"store",
    b"temperature",
    b"top_k",
    b"top_logprobs",
    b"top_p",
    b"user",
];

/// What is known of a body while it is being read.
struct Body<'a> {
    reader: Reader<'a>,
    wire: Wire,
    model: Option<Cow<'a, str>>,
    stream: bool,
    output_cap: Option<u64>,
    thinking: u64,
    choices: u64,
    include_usage: Option<bool>,
    service_tier: Option<Cow<'a, str>>,
    input: InputShape,
    places: Places,
    /// Spans of the members that stand before the messages in the prompt.
    head: Vec<Range<usize>>,
    messages: Vec<Range<usize>>,
    /// Cache marks.
    cuts: Vec<Range<usize>>,
}

/// Reads the facts of a body.
pub(super) fn read(wire: Wire, bytes: &[u8]) -> Result<RequestFacts<'_>, FactsError> {
    if let Err(error) = std::str::from_utf8(bytes) {
        return Err(FactsError::NotUtf8 {
            at: error.valid_up_to(),
        });
    }
    let mut body = Body {
        reader: Reader::new(bytes),
        wire,
        model: None,
        stream: false,
        output_cap: None,
        thinking: 0,
        choices: 1,
        include_usage: None,
        service_tier: None,
        input: InputShape {
            body_bytes: bytes.len() as u64,
            ..InputShape::default()
        },
        places: Places::default(),
        head: Vec::new(),
        messages: Vec::new(),
        cuts: Vec::new(),
    };
    body.read()?;
    body.finish(bytes)
}

// === impl Body ===

impl<'a> Body<'a> {
    fn read(&mut self) -> Result<(), FactsError> {
        if self.reader.kind()? != Kind::Object {
            return Err(FactsError::NotAnObject);
        }
        self.places.open = self.reader.open_object()?;
        let mut names = Names::new(BILLING, PLACE);
        let mut first = true;
        while let Some(key) = self.reader.key(&mut first)? {
            let name = names.meet(&key.text)?;
            let kind = self.reader.kind()?;
            self.member(name, &key, kind)?;
            if in_head(name, &key) {
                // What is unknown may be a new way to ask for tools.
                self.input.hidden_prompt |= !matches!(name, "system" | "thinking");
                self.head.push(key.text.at()..self.reader.offset());
            }
        }
        self.reader.end()?;
        Ok(())
    }

    fn member(&mut self, name: &'static str, key: &Key<'a>, kind: Kind) -> Result<(), FactsError> {
        match name {
            "model" => self.model(kind),
            "stream" => {
                self.stream = self.flag(name, PLACE, kind)?.unwrap_or(false);
                Ok(())
            }
            "max_tokens" | "max_completion_tokens" => self.output_cap(name, kind),
            "thinking" => self.thinking(kind),
            "n" => self.choices(kind),
            "stream_options" => self.stream_options(kind),
            "service_tier" => self.service_tier(kind),
            "messages" => {
                self.messages = self.content().messages(kind)?;
                Ok(())
            }
            "system" => {
                self.content().content(kind)?;
                // What it shows stays: the prompt's head is cached.
                self.places.images.clear();
                Ok(())
            }
            "tools" => {
                self.content().tools(kind)?;
                self.places.tools_member = Some(self.reader.member(key));
                Ok(())
            }
            "reasoning_effort" if kind == Kind::String => self.effort(),
            "output_config" if kind == Kind::Object => self.output_config(),
            "cache_control" => self.content().cache_control(key, kind),
            _ => {
                self.presence(name, kind)?;
                if matches!(name, "web_search_options" | "search_parameters") {
                    let member = self.reader.member(key);
                    self.places.search_members.push(member);
                }
                Ok(())
            }
        }
    }

    /// Reads how hard the model is to think, as a word.
    fn effort(&mut self) -> Result<(), FactsError> {
        let text = self.reader.text()?;
        let high = matches!(text.plain(), b"medium" | b"high" | b"xhigh" | b"max");
        self.places.effort = high.then(|| text.at()..text.end());
        Ok(())
    }

    fn output_config(&mut self) -> Result<(), FactsError> {
        let open = self.reader.open_object()?;
        let mut names = Names::new(&["effort", "task_budget"], "`output_config`");
        let (mut empty, mut budgeted) = (true, false);
        let mut first = true;
        while let Some(key) = self.reader.key(&mut first)? {
            empty = false;
            let name = names.meet(&key.text)?;
            match (name, self.reader.kind()?) {
                ("effort", Kind::String) => self.effort()?,
                _ => self.reader.pass()?,
            }
            budgeted |= name == "task_budget";
        }
        self.places.output_config = Some(OptionsPlace::Lacks { open, empty }).filter(|_| !budgeted);
        self.places.budgeted |= budgeted;
        Ok(())
    }

    /// Members of which only the presence matters, and those that are not known.
    fn presence(&mut self, name: &str, kind: Kind) -> Result<(), FactsError> {
        let span = self.reader.skip()?;
        let raw = self.reader.slice(span);
        if !is_filled(raw, kind) {
            return Ok(());
        }
        match name {
            "container"
            | "conversation"
            | "data_sources"
            | "mcp_servers"
            | "plugins"
            | "previous_response_id"
            | "prompt" => self.input.opaque = true,
            // A compaction is a call of its own inside the call.
            "context_management" => self.input.opaque |= contains(raw, b"compact"),
            "web_search_options" | "search_parameters" => self.search(),
            "prediction" => self.input.predicted = true,
            "audio" => self.input.audio_out = true,
            "modalities" => self.input.audio_out |= contains(raw, b"audio"),
            _ => {}
        }
        Ok(())
    }

    fn search(&mut self) {
        self.input.opaque = true;
        self.input.searches_max = self.input.searches_max.saturating_add(SEARCHES_DEFAULT);
    }

    fn model(&mut self, kind: Kind) -> Result<(), FactsError> {
        let wrong = wrong_type("model", PLACE, "a string with the model's name");
        if kind != Kind::String {
            return Err(wrong);
        }
        let text = self.reader.text()?;
        self.places.model = text.at()..text.end();
        let model = text
            .decode()
            .filter(|model| !model.is_empty())
            .ok_or(wrong)?;
        self.model = Some(model);
        Ok(())
    }

    fn output_cap(&mut self, name: &'static str, kind: Kind) -> Result<(), FactsError> {
        let (cap, span) = self.count(name, "a whole number of tokens above 0", kind)?;
        let slot = Slot {
            span,
            null: cap.is_none(),
        };
        match name {
            "max_tokens" => self.places.max_tokens = Some(slot),
            _ => self.places.max_completion_tokens = Some(slot),
        }
        // Zero only fills a cache on Anthropic's wire; elsewhere some servers take it for no cap.
        if cap == Some(0) && self.wire != Wire::AnthropicMessages {
            return Err(wrong_type(name, PLACE, "a whole number of tokens above 0"));
        }
        self.output_cap = self.output_cap.max(cap);
        Ok(())
    }

    fn thinking(&mut self, kind: Kind) -> Result<(), FactsError> {
        if kind != Kind::Object {
            self.reader.pass()?;
            return Ok(());
        }
        self.reader.open_object()?;
        let mut names = Names::new(&["budget_tokens"], "`thinking`");
        let mut first = true;
        while let Some(key) = self.reader.key(&mut first)? {
            let known = !names.meet(&key.text)?.is_empty();
            let span = self.reader.skip()?;
            if known {
                // What is no whole number is the provider's to refuse.
                self.thinking = json::whole(self.reader.slice(span)).unwrap_or(0);
            }
        }
        Ok(())
    }

    fn choices(&mut self, kind: Kind) -> Result<(), FactsError> {
        const EXPECTED: &str = "a whole number from 1 to 128";
        let (count, span) = self.count("n", EXPECTED, kind)?;
        self.choices = count.unwrap_or(1);
        self.places.choices = (self.choices > 1).then_some(span);
        if (1..=CHOICES_MAX).contains(&self.choices) {
            Ok(())
        } else {
            Err(wrong_type("n", PLACE, EXPECTED))
        }
    }

    fn count(
        &mut self,
        name: &'static str,
        expected: &'static str,
        kind: Kind,
    ) -> Result<(Option<u64>, Range<usize>), FactsError> {
        let span = self.reader.skip()?;
        let count = match kind {
            Kind::Number => json::whole(self.reader.slice(span.clone())).ok(),
            _ => None,
        };
        if count.is_none() && kind != Kind::Null {
            return Err(wrong_type(name, PLACE, expected));
        }
        Ok((count, span))
    }

    fn flag(
        &mut self,
        name: &'static str,
        place: &'static str,
        kind: Kind,
    ) -> Result<Option<bool>, FactsError> {
        match kind {
            Kind::Bool => Ok(Some(self.reader.boolean()?)),
            Kind::Null => {
                self.reader.pass()?;
                Ok(None)
            }
            _ => Err(wrong_type(name, place, "true or false")),
        }
    }

    fn stream_options(&mut self, kind: Kind) -> Result<(), FactsError> {
        const OPTIONS: &str = "`stream_options`";
        if kind == Kind::Null {
            self.places.stream_options = Some(OptionsPlace::Null(self.reader.skip()?));
            return Ok(());
        }
        if kind != Kind::Object {
            return Err(wrong_type("stream_options", PLACE, "an object"));
        }
        let open = self.reader.open_object()?;
        let mut names = Names::new(&["include_usage"], OPTIONS);
        let mut place = OptionsPlace::Lacks { open, empty: true };
        let mut first = true;
        while let Some(key) = self.reader.key(&mut first)? {
            if let OptionsPlace::Lacks { empty, .. } = &mut place {
                *empty = false;
            }
            if names.meet(&key.text)?.is_empty() {
                self.reader.pass()?;
                continue;
            }
            let kind = self.reader.kind()?;
            let start = self.reader.offset();
            self.include_usage = self.flag("include_usage", OPTIONS, kind)?;
            place = OptionsPlace::Has(start..self.reader.offset());
        }
        self.places.stream_options = Some(place);
        Ok(())
    }

    fn service_tier(&mut self, kind: Kind) -> Result<(), FactsError> {
        let wrong = wrong_type("service_tier", PLACE, "a string");
        match kind {
            Kind::String => {
                self.service_tier = Some(self.reader.text()?.decode().ok_or(wrong)?);
                Ok(())
            }
            Kind::Null => {
                self.reader.pass()?;
                Ok(())
            }
            _ => Err(wrong),
        }
    }

    fn content(&mut self) -> Content<'_, 'a> {
        Content {
            reader: &mut self.reader,
            input: &mut self.input,
            cuts: &mut self.cuts,
            places: &mut self.places,
        }
    }

    fn finish(mut self, bytes: &'a [u8]) -> Result<RequestFacts<'a>, FactsError> {
        let model = self.model.ok_or(FactsError::ModelMissing)?;
        if model.contains("-search-") && self.input.searches_max == 0 {
            self.input.opaque = true;
            self.input.searches_max = SEARCHES_DEFAULT;
        }
        let mut hash = PrefixHash::new(self.wire, &model, bytes, &self.cuts);
        for member in self.head {
            self.input.head_bytes += member.len() as u64;
            hash.add(member);
        }
        let end = self.messages.last().map_or(0, |last| last.end);
        self.input.messages = self.messages.len() as u64;
        self.input.prefixes.reserve_exact(self.messages.len() + 1);
        if let (1.., Some(first)) = (self.input.head_bytes, self.messages.first()) {
            self.input.prefixes.push(Prefix {
                hash: hash.so_far(),
                bytes_after: (end - first.start) as u64,
            });
        }
        for message in self.messages {
            let bytes_after = (end - message.end) as u64;
            hash.add(message);
            self.input.prefixes.push(Prefix {
                hash: hash.so_far(),
                bytes_after,
            });
        }
        Ok(RequestFacts {
            wire: self.wire,
            model,
            stream: self.stream,
            output_cap: self.output_cap,
            thinking: self.thinking,
            choices: self.choices,
            include_usage: self.include_usage,
            service_tier: self.service_tier,
            input: self.input,
            places: self.places,
        })
    }
}

/// Says whether a member may add to the prompt before the messages.
fn in_head(name: &str, key: &Key<'_>) -> bool {
    match name {
        "model"
        | "stream"
        | "max_tokens"
        | "max_completion_tokens"
        | "n"
        | "stream_options"
        | "service_tier"
        | "messages"
        | "cache_control" => false,
        "" => !OUTSIDE_PROMPT.contains(&key.text.plain()),
        _ => true,
    }
}

/// Makes the error for a member whose value is of the wrong kind.
pub(super) fn wrong_type(
    name: &'static str,
    place: &'static str,
    expected: &'static str,
) -> FactsError {
    FactsError::WrongType {
        name,
        place,
        expected,
    }
}

/// Says whether a value is more than `null`, `false` or an empty list.
fn is_filled(raw: &[u8], kind: Kind) -> bool {
    match kind {
        Kind::Null => false,
        Kind::Bool => raw == b"true",
        Kind::Array => !raw[1..raw.len() - 1].trim_ascii().is_empty(),
        Kind::String => raw.len() > 2,
        Kind::Object | Kind::Number => true,
    }
}

fn contains(raw: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(raw, word).is_some()
}
