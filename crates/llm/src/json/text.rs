//! A JSON string as it is written, and what it says.

use std::borrow::Cow;

/// The inside of a JSON string, escapes untouched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    at: usize,
    raw: &'a [u8],
    escaped: bool,
}

impl<'a> Text<'a> {
    /// Takes what stands between the quotes; the reader has checked its escapes.
    pub(super) fn new(at: usize, raw: &'a [u8], escaped: bool) -> Text<'a> {
        Text { at, raw, escaped }
    }

    /// Returns the offset of the opening quote.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Returns the offset after the closing quote.
    pub(crate) fn end(&self) -> usize {
        self.at + self.raw.len() + 2
    }

    /// Says whether the string is written with escapes.
    pub(crate) fn is_escaped(&self) -> bool {
        self.escaped
    }

    /// Returns the bytes as written.
    pub(crate) fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Returns the bytes when they are written without escapes, else nothing: for names of
    /// members in responses, which no provider escapes.
    pub(crate) fn plain(&self) -> &'a [u8] {
        if self.escaped { b"" } else { self.raw }
    }

    /// Returns what the string says, or `None` when that is no text: a lone surrogate, or not
    /// UTF-8.
    pub(crate) fn decode(&self) -> Option<Cow<'a, str>> {
        let raw = std::str::from_utf8(self.raw).ok()?;
        if !self.escaped {
            return Some(Cow::Borrowed(raw));
        }
        let mut said = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some(backslash) = rest.find('\\') {
            said.push_str(&rest[..backslash]);
            let (character, length) = unescape(&rest.as_bytes()[backslash..])?;
            said.push(character);
            rest = &rest[backslash + length..];
        }
        said.push_str(rest);
        Some(Cow::Owned(said))
    }

    /// Returns how many bytes of UTF-8 the string says; a lone surrogate counts as 3.
    pub(crate) fn decoded_bytes(&self) -> u64 {
        if !self.escaped {
            return self.raw.len() as u64;
        }
        let mut bytes = 0;
        let mut rest = self.raw;
        while let Some(backslash) = memchr::memchr(b'\\', rest) {
            rest = &rest[backslash..];
            let (said, length) = match unescape(rest) {
                Some((character, length)) => (character.len_utf8(), length),
                None => (3, 6),
            };
            bytes += backslash + said;
            rest = &rest[length..];
        }
        (bytes + rest.len()) as u64
    }
}

/// Reads the escape at the start of `raw`: the character, and the bytes it took.
fn unescape(raw: &[u8]) -> Option<(char, usize)> {
    let character = match raw.get(1)? {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unescape_unicode(raw),
        other => char::from(*other),
    };
    Some((character, 2))
}

fn unescape_unicode(raw: &[u8]) -> Option<(char, usize)> {
    let unit = code_unit(raw)?;
    if !(0xd800..0xdc00).contains(&unit) {
        return char::from_u32(unit).map(|character| (character, 6));
    }
    let low = code_unit(raw.get(6..)?).filter(|low| (0xdc00..0xe000).contains(low))?;
    let point = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    char::from_u32(point).map(|character| (character, 12))
}

fn code_unit(raw: &[u8]) -> Option<u32> {
    let digits = raw.strip_prefix(b"\\u")?.get(..4)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
