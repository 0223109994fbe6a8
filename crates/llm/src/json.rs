//! A strict JSON reader that copies nothing and knows where everything stands.
//!
//! A general library hides what money depends on here: the place of each value (edits are
//! splices), names that come twice or in disguise, the spelling of numbers (`-0`, `1e400`), and a
//! limit of depth that also holds for what is skipped. It builds no tree: the caller asks for
//! what it needs, in the order of the text, in one pass and linear time.

mod text;

#[cfg(test)]
mod tests;

use std::ops::Range;

pub(crate) use text::Text;

/// How many arrays and objects may stand inside one another.
pub(crate) const DEPTH_MAX: u32 = 128;

/// Strings are mostly short: so many bytes are looked at one by one before a vector search.
const SHORT_STRING_BYTES: usize = 32;

/// Reads one JSON text from its start to its end.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
}

/// What a value is, told by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

/// The name of a member of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    /// The name as it is written.
    pub(crate) text: Text<'a>,
    /// Where the comma before the member stands; `None` for the first member.
    comma: Option<usize>,
}

/// What stands before a member or an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Separator {
    /// Nothing: it is the first.
    None,
    /// A comma at this offset.
    Comma(usize),
    /// The closing bracket instead.
    Closer,
}

/// Says why a text cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not JSON from this offset on.
    Syntax(usize),
    /// More than [`DEPTH_MAX`] containers inside one another at this offset.
    TooDeep(usize),
}

/// Says why a number is not a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotWhole {
    /// Has a minus sign, `-0` included.
    Negative,
    /// Has a fraction or an exponent.
    Fraction,
    /// At least 2⁶³.
    TooLarge,
}

/// Reads a number as written as a count below 2⁶³.
pub(crate) fn whole(raw: &[u8]) -> Result<u64, NotWhole> {
    if raw.first() == Some(&b'-') {
        return Err(NotWhole::Negative);
    }
    let mut count = 0u64;
    for byte in raw {
        if !byte.is_ascii_digit() {
            return Err(NotWhole::Fraction);
        }
        // Saturates rather than returns, so that 99999999999999999999.5 is told as a fraction.
        count = count
            .saturating_mul(10)
            .saturating_add(u64::from(byte - b'0'));
    }
    if count <= i64::MAX.unsigned_abs() {
        Ok(count)
    } else {
        Err(NotWhole::TooLarge)
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader {
            bytes,
            at: 0,
            depth: 0,
        }
    }

    /// Tells what the next value is, without reading it.
    pub(crate) fn kind(&mut self) -> Result<Kind, Fault> {
        self.space();
        match self.peek() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            _ => Err(self.fault()),
        }
    }

    /// Opens an object; its members are then read with [`Reader::key`] and a value each. Returns
    /// the offset after the brace.
    pub(crate) fn open_object(&mut self) -> Result<usize, Fault> {
        self.open(b'{')
    }

    /// Opens an array; its elements are then read with [`Reader::element`] and a value each.
    pub(crate) fn open_array(&mut self) -> Result<usize, Fault> {
        self.open(b'[')
    }

    /// Reads the next name of the open object, or its end. `first` starts as `true`.
    pub(crate) fn key(&mut self, first: &mut bool) -> Result<Option<Key<'a>>, Fault> {
        let comma = match self.separator(first, b'}')? {
            Separator::Closer => return Ok(None),
            Separator::None => None,
            Separator::Comma(at) => Some(at),
        };
        let text = self.name()?;
        Ok(Some(Key { text, comma }))
    }

    /// Says whether the open array has another element, or ends it. `first` starts as `true`.
    pub(crate) fn element(&mut self, first: &mut bool) -> Result<bool, Fault> {
        Ok(self.separator(first, b']')? != Separator::Closer)
    }

    /// Reads a string.
    pub(crate) fn text(&mut self) -> Result<Text<'a>, Fault> {
        self.space();
        self.string()
    }

    /// Reads a number, as written.
    pub(crate) fn number(&mut self) -> Result<&'a [u8], Fault> {
        self.space();
        let start = self.at;
        self.number_end()?;
        Ok(&self.bytes[start..self.at])
    }

    /// Reads `true` or `false`.
    pub(crate) fn boolean(&mut self) -> Result<bool, Fault> {
        self.space();
        let value = self.peek() == Some(b't');
        self.literal(if value { b"true" } else { b"false" })?;
        Ok(value)
    }

    /// Passes over any value.
    pub(crate) fn pass(&mut self) -> Result<(), Fault> {
        self.skip().map(drop)
    }

    /// Passes over any value and returns where it stood.
    pub(crate) fn skip(&mut self) -> Result<Range<usize>, Fault> {
        self.space();
        let start = self.at;
        // One bit for each container that is open within this value, 1 for an object.
        let mut objects = 0u128;
        let mut open = 0u32;
        loop {
            let Some(container) = self.skip_start()? else {
                if !self.skip_closers(&mut objects, &mut open)? {
                    return Ok(start..self.at);
                }
                continue;
            };
            open += 1;
            if self.depth + open > DEPTH_MAX {
                return Err(Fault::TooDeep(self.at));
            }
            let is_object = container == b'{';
            objects = objects << 1 | u128::from(is_object);
            self.space();
            let empty = self.peek() == Some(if is_object { b'}' } else { b']' });
            if empty {
                if !self.skip_closers(&mut objects, &mut open)? {
                    return Ok(start..self.at);
                }
            } else if is_object {
                self.name()?;
            }
        }
    }

    /// Checks that nothing but white space is left.
    pub(crate) fn end(&mut self) -> Result<(), Fault> {
        self.space();
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(self.fault())
        }
    }

    /// Returns a part of the text.
    pub(crate) fn slice(&self, span: Range<usize>) -> &'a [u8] {
        &self.bytes[span]
    }

    /// Returns the offset of the next byte to read.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    /// Returns what to cut so that the member just read was never there: the member and one of
    /// the commas beside it.
    pub(crate) fn member(&mut self, key: &Key<'_>) -> Range<usize> {
        let end = self.at;
        if let Some(comma) = key.comma {
            return comma..end;
        }
        self.space();
        let end = if self.peek() == Some(b',') {
            self.at + 1
        } else {
            end
        };
        key.text.at()..end
    }

    fn open(&mut self, bracket: u8) -> Result<usize, Fault> {
        self.space();
        if self.peek() != Some(bracket) {
            return Err(self.fault());
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Fault::TooDeep(self.at));
        }
        self.at += 1;
        Ok(self.at)
    }

    /// Passes what stands before a member or an element, or ends the container.
    fn separator(&mut self, first: &mut bool, closer: u8) -> Result<Separator, Fault> {
        self.space();
        let is_first = std::mem::replace(first, false);
        match self.peek() {
            Some(byte) if byte == closer => {
                self.at += 1;
                self.depth -= 1;
                Ok(Separator::Closer)
            }
            Some(b',') if !is_first => {
                self.at += 1;
                Ok(Separator::Comma(self.at - 1))
            }
            Some(_) if is_first => Ok(Separator::None),
            _ => Err(self.fault()),
        }
    }

    /// Passes a scalar, or the opening bracket of a container, which it returns.
    fn skip_start(&mut self) -> Result<Option<u8>, Fault> {
        match self.kind()? {
            Kind::Object | Kind::Array => {
                self.at += 1;
                return Ok(Some(self.bytes[self.at - 1]));
            }
            Kind::String => self.string().map(drop)?,
            Kind::Number => self.number_end()?,
            Kind::Bool => self.boolean().map(drop)?,
            Kind::Null => self.literal(b"null")?,
        }
        Ok(None)
    }

    /// After a value: passes closing brackets up to a comma, which it passes too. Returns `false`
    /// when the outermost container is closed.
    fn skip_closers(&mut self, objects: &mut u128, open: &mut u32) -> Result<bool, Fault> {
        while *open > 0 {
            self.space();
            let in_object = *objects & 1 == 1;
            match self.peek() {
                Some(b'}') if in_object => {}
                Some(b']') if !in_object => {}
                Some(b',') => {
                    self.at += 1;
                    if in_object {
                        self.name()?;
                    }
                    return Ok(true);
                }
                _ => return Err(self.fault()),
            }
            self.at += 1;
            *open -= 1;
            *objects >>= 1;
        }
        Ok(false)
    }

    /// Reads a name and the colon after it.
    fn name(&mut self) -> Result<Text<'a>, Fault> {
        self.space();
        let text = self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.fault());
        }
        self.at += 1;
        Ok(text)
    }

    fn string(&mut self) -> Result<Text<'a>, Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.fault());
        }
        let quote = self.at;
        self.at += 1;
        let mut escaped = false;
        loop {
            self.pass_plain()?;
            if self.bytes[self.at] == b'"' {
                break;
            }
            escaped = true;
            self.escape()?;
        }
        self.at += 1;
        Ok(Text::new(
            quote,
            &self.bytes[quote + 1..self.at - 1],
            escaped,
        ))
    }

    /// Passes what is neither a quote nor an escape.
    fn pass_plain(&mut self) -> Result<(), Fault> {
        let rest = &self.bytes[self.at..];
        for (passed, byte) in rest.iter().take(SHORT_STRING_BYTES).enumerate() {
            match byte {
                b'"' | b'\\' => {
                    self.at += passed;
                    return Ok(());
                }
                0..0x20 => return Err(Fault::Syntax(self.at + passed)),
                _ => {}
            }
        }
        let length = memchr::memchr2(b'"', b'\\', rest).ok_or(Fault::Syntax(self.bytes.len()))?;
        if rest[..length]
            .iter()
            .fold(u8::MAX, |least, byte| least.min(*byte))
            < 0x20
        {
            return Err(self.fault());
        }
        self.at += length;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let length = match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => 6,
            _ => return Err(self.fault()),
        };
        let digits = self
            .bytes
            .get(self.at + 2..self.at + length)
            .ok_or(self.fault())?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(self.fault());
        }
        self.at += length;
        Ok(())
    }

    fn number_end(&mut self) -> Result<(), Fault> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start {
            Ok(())
        } else {
            Err(self.fault())
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Fault> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.fault());
        }
        self.at += word.len();
        Ok(())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn fault(&self) -> Fault {
        Fault::Syntax(self.at)
    }
}
