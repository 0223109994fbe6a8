//! A tap on a stream of server-sent events: what passes is not touched, each event is seen.
//!
//! A library would own the stream and hand out copies; metering needs slices of what passes, the
//! place of each event, and a hard bound. Lines end at LF, CR or CR LF, wherever chunks are cut;
//! nothing is scanned twice; an event that lies within one chunk is not copied; one that is larger
//! than [`EVENT_BYTES_MAX`] passes unseen.

#[cfg(test)]
mod tests;

/// The largest event that is looked into, in bytes from its first field to its blank line.
pub const EVENT_BYTES_MAX: u64 = 4 << 20;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Watches one stream of events.
#[derive(Debug)]
pub struct Tap {
    /// The largest event that is looked into, in bytes.
    event_bytes_max: u64,
    /// Bytes of the stream before the chunk that is being fed.
    offset: u64,
    /// How much of a byte order mark has passed; `None` once the first line has begun.
    bom: Bom,
    /// The last byte was a CR that ended a line, so that a LF now belongs to it.
    after_cr: bool,
    /// The line that has begun, as far as it lies in earlier chunks.
    line: Vec<u8>,
    /// Where the line that has begun starts.
    line_start: u64,
    /// Whether any byte of a line has passed.
    in_line: bool,
    /// Whether that line is a comment, or part of an event that is too large: not kept.
    line_ignored: bool,
    event: OpenEvent,
}

/// One event of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'e> {
    /// The event's name; empty when it has none.
    pub name: &'e [u8],
    /// Its data, lines joined by LF; empty when the event was too large.
    pub data: &'e [u8],
    /// Offset in the stream of the event's first field.
    pub start: u64,
    /// Offset in the stream after the event's blank line. When that line ends with a CR that
    /// ends a chunk, a LF that follows is not counted.
    pub end: u64,
    /// Offset in the stream of the data when it is one line.
    pub data_at: Option<u64>,
    /// Whether the event was larger than the tap's limit.
    pub oversized: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bom {
    /// So many bytes of it were met, and none of anything else.
    Met(usize),
    Passed,
}

/// The event whose blank line has not come yet.
#[derive(Debug, Default)]
struct OpenEvent {
    /// Where its first field starts; `None` while it has none.
    start: Option<u64>,
    name: Vec<u8>,
    /// Data copied so far: lines of earlier chunks, or more than one line.
    data: Vec<u8>,
    data_lines: u32,
    data_at: u64,
    oversized: bool,
}

/// A part of a chunk.
type Piece = (usize, usize);

// === impl Tap ===

impl Tap {
    /// Makes a tap at the start of a stream.
    pub fn new() -> Tap {
        Tap::with_event_bytes_max(EVENT_BYTES_MAX)
    }

    /// Makes a tap at the start of a stream with another limit than [`EVENT_BYTES_MAX`].
    pub fn with_event_bytes_max(event_bytes_max: u64) -> Tap {
        Tap {
            event_bytes_max,
            offset: 0,
            bom: Bom::Met(0),
            after_cr: false,
            line: Vec::new(),
            line_start: 0,
            in_line: false,
            line_ignored: false,
            event: OpenEvent::default(),
        }
    }

    /// Takes the next bytes of the stream and gives every event that they complete.
    pub fn feed(&mut self, chunk: &[u8], sink: &mut impl FnMut(Event<'_>)) {
        let mut at = self.pass_bom(chunk);
        // The event's only line of data so far, when it lies in this chunk and is not copied.
        let mut piece: Option<Piece> = None;
        while at < chunk.len() {
            if std::mem::take(&mut self.after_cr) && chunk[at] == b'\n' {
                at += 1;
                continue;
            }
            self.begin_line(chunk, at);
            let Some(length) = memchr::memchr2(b'\n', b'\r', &chunk[at..]) else {
                self.keep_line(&chunk[at..]);
                break;
            };
            let end = at + length;
            let mut next = end + 1;
            if chunk[end] == b'\r' {
                if chunk.get(next) == Some(&b'\n') {
                    next += 1;
                } else {
                    self.after_cr = next == chunk.len();
                }
            }
            self.end_line(chunk, (at, end), next, &mut piece, sink);
            at = next;
        }
        if let Some((from, to)) = piece {
            self.event.data.extend_from_slice(&chunk[from..to]);
        }
        self.offset += chunk.len() as u64;
        self.limit_event(self.offset);
    }

    /// Ends the stream: gives the event that was not ended by a blank line, if it has data.
    pub fn finish(&mut self, sink: &mut impl FnMut(Event<'_>)) {
        let mut piece = None;
        if self.in_line {
            self.end_line(&[], (0, 0), 0, &mut piece, sink);
        }
        self.dispatch(self.offset, None, sink);
    }

    /// Returns where the event starts that has begun and is not complete; a line that may become
    /// part of an event counts as begun. `None` between events, and within one that is too large.
    pub fn open_event(&self) -> Option<u64> {
        if self.event.oversized {
            return None;
        }
        let line = (self.in_line && !self.line_ignored).then_some(self.line_start);
        self.event.start.or(line)
    }

    /// Says whether an event that came next would stand alone: no line has begun, not even a
    /// comment, and no event, not even one that is too large.
    pub fn is_between_events(&self) -> bool {
        let mark_begun = matches!(self.bom, Bom::Met(1..));
        !self.in_line && self.event.start.is_none() && !mark_begun
    }

    /// Returns how many bytes of the stream were fed.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Passes a byte order mark at the start of the stream, however it is cut; returns how many
    /// bytes of the chunk it takes.
    fn pass_bom(&mut self, chunk: &[u8]) -> usize {
        let Bom::Met(met) = self.bom else { return 0 };
        let rest = &BOM[met..];
        let common = rest
            .iter()
            .zip(chunk)
            .take_while(|(expected, byte)| expected == byte)
            .count();
        if common == rest.len() || (common == chunk.len() && !chunk.is_empty()) {
            let whole = common == rest.len();
            self.bom = if whole {
                Bom::Passed
            } else {
                Bom::Met(met + common)
            };
            return common;
        }
        if chunk.is_empty() {
            return 0;
        }
        self.bom = Bom::Passed;
        if met > 0 {
            // It was no mark but the start of a line whose field nobody knows.
            self.in_line = true;
            self.line.extend_from_slice(&BOM[..met]);
        }
        0
    }

    fn begin_line(&mut self, chunk: &[u8], at: usize) {
        if self.in_line {
            return;
        }
        let ends_here = matches!(chunk[at], b'\n' | b'\r');
        self.in_line = !ends_here;
        self.line_start = self.offset + at as u64;
        self.line_ignored = chunk[at] == b':';
    }

    /// Keeps a part of a line that goes on in the next chunk.
    fn keep_line(&mut self, part: &[u8]) {
        if !self.line_ignored && !self.event.oversized {
            self.line.extend_from_slice(part);
        }
    }

    /// Ends a line of which `part` lies in this chunk; the next line starts at `next`.
    fn end_line(
        &mut self,
        chunk: &[u8],
        part: Piece,
        next: usize,
        piece: &mut Option<Piece>,
        sink: &mut impl FnMut(Event<'_>),
    ) {
        let was_in_line = std::mem::take(&mut self.in_line);
        let end = self.offset + next as u64;
        if !was_in_line {
            let data = piece.take().map(|(from, to)| &chunk[from..to]);
            // Without the blank line, of which a cut may hide the LF.
            self.limit_event(self.line_start);
            self.dispatch(end, data, sink);
            return;
        }
        if std::mem::take(&mut self.line_ignored) || self.event.oversized {
            self.line.clear();
            return;
        }
        if self.line.is_empty() {
            self.field_in_chunk(chunk, part, piece);
            return;
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(&chunk[part.0..part.1]);
        if let Some(from) = self.field(&line) {
            self.add_data(chunk, piece, &line[from..]);
            self.event.data_at = self.line_start + from as u64;
        }
        // Keeps the allocation, but not a huge one.
        line.clear();
        line.shrink_to(64 << 10);
        self.line = line;
    }

    /// Reads a field that lies within the chunk.
    fn field_in_chunk(&mut self, chunk: &[u8], (start, end): Piece, piece: &mut Option<Piece>) {
        let line = &chunk[start..end];
        let Some(from) = self.field(line) else { return };
        let first = self.event.data_lines == 0;
        self.event.data_at = self.line_start + from as u64;
        if first {
            self.event.data_lines = 1;
            *piece = Some((start + from, end));
        } else {
            self.add_data(chunk, piece, &line[from..]);
        }
    }

    /// Adds a line of data to those that are copied.
    fn add_data(&mut self, chunk: &[u8], piece: &mut Option<Piece>, value: &[u8]) {
        let event = &mut self.event;
        if let Some((from, to)) = piece.take() {
            event.data.extend_from_slice(&chunk[from..to]);
        }
        if event.data_lines > 0 {
            event.data.push(b'\n');
        }
        event.data.extend_from_slice(value);
        event.data_lines = event.data_lines.saturating_add(1);
    }

    /// Reads a line as a field. Returns where its value starts if it is data.
    fn field(&mut self, line: &[u8]) -> Option<usize> {
        self.event.start.get_or_insert(self.line_start);
        let colon = memchr::memchr(b':', line);
        let name = &line[..colon.unwrap_or(line.len())];
        let value = colon.map_or(line.len(), |colon| {
            colon + 1 + usize::from(line.get(colon + 1) == Some(&b' '))
        });
        match name {
            b"data" => return Some(value),
            b"event" => {
                self.event.name.clear();
                self.event.name.extend_from_slice(&line[value..]);
            }
            _ => {}
        }
        None
    }

    /// Gives the event that a blank line or the stream's end has ended.
    fn dispatch(&mut self, end: u64, data: Option<&[u8]>, sink: &mut impl FnMut(Event<'_>)) {
        let event = &mut self.event;
        let Some(start) = event.start.take() else {
            return;
        };
        if event.data_lines > 0 || event.oversized {
            sink(Event {
                name: if event.oversized { b"" } else { &event.name },
                data: if event.oversized {
                    b""
                } else {
                    data.unwrap_or(&event.data)
                },
                start,
                end,
                data_at: (event.data_lines == 1 && !event.oversized).then_some(event.data_at),
                oversized: event.oversized,
            });
        }
        event.name.clear();
        event.data.clear();
        event.data.shrink_to(64 << 10);
        event.data_lines = 0;
        event.oversized = false;
    }

    /// Lets go of an event that has grown too large by `end`.
    fn limit_event(&mut self, end: u64) {
        let line = (self.in_line && !self.line_ignored).then_some(self.line_start);
        let Some(start) = self.event.start.or(line) else {
            return;
        };
        if end - start > self.event_bytes_max {
            self.event.start = Some(start);
            self.event.oversized = true;
            self.event.name = Vec::new();
            self.event.data = Vec::new();
            self.line = Vec::new();
        }
    }
}

impl Default for Tap {
    fn default() -> Tap {
        Tap::new()
    }
}
