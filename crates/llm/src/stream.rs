//! The meter of one streamed response: bytes pass, facts are taken.
//!
//! Decides nothing about money. Where usage was asked for behind the client's back it takes it
//! out again; where a stream has to end early it knows the wire's own words for that.

mod calls;
mod ending;
mod events;
mod relay;

use bytes::Bytes;
use fisc_core::Usage;

use self::events::Events;
use self::relay::Relay;
use crate::report::Reported;
use crate::sse::Tap;
use crate::wire::Wire;

/// Meters one stream, and hands on its bytes.
///
/// ```
/// # use bytes::Bytes;
/// # use fisc_llm::{StreamMeter, Wire};
/// let mut meter = StreamMeter::new(Wire::OpenAiChat, false);
/// let mut relay = Vec::new();
/// let chunk = Bytes::from_static(b"data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n");
/// let progress = meter.feed(chunk.clone(), &mut relay);
/// assert_eq!((progress.output_bytes, relay.concat()), (2, chunk.to_vec()));
/// ```
#[derive(Debug)]
pub struct StreamMeter {
    tap: Tap,
    events: Events,
    /// Present where the usage is to be stripped.
    strip: Option<Relay>,
    /// Whether the client asked for usage; `None` when that is to be told from the stream.
    usage_asked: Option<bool>,
}

/// What one chunk added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Whether the chunk holds the stream's last event or an error: settle before it is relayed.
    pub terminal: bool,
    /// Bytes of output in the events that the chunk completed.
    pub output_bytes: u64,
    /// How many such events there were.
    pub output_events: u64,
    /// How many of the last bytes given to the relay, with this chunk and those before it, belong
    /// to an event that is not complete; 0 for one too large to keep. A caller who may want to end
    /// the stream keeps them back until it is: no client can use half an event, and
    /// [`StreamMeter::ending`] cannot take it back.
    pub open_tail: u64,
}

// === impl StreamMeter ===

impl StreamMeter {
    /// Makes a meter for a stream from its first byte. With `strip_usage` the chunk that only
    /// carries usage, and `"usage":null` in the others, do not reach the client.
    pub fn new(wire: Wire, strip_usage: bool) -> StreamMeter {
        let strip = strip_usage && wire == Wire::OpenAiChat;
        StreamMeter {
            tap: Tap::new(),
            events: Events::new(wire),
            strip: strip.then(Relay::default),
            usage_asked: strip.then_some(false),
        }
    }

    /// Tells whether the client asked for usage, for [`StreamMeter::ending`]. Untold, it is taken
    /// to have asked when the stream mentions usage.
    #[must_use]
    pub fn usage_asked(mut self, asked: bool) -> StreamMeter {
        self.usage_asked = Some(asked && self.strip.is_none());
        self
    }

    /// Takes the next bytes from the provider and adds to `relay` what goes to the client.
    /// Nothing is kept back, unless usage is stripped: then an event that is not complete is.
    pub fn feed(&mut self, chunk: Bytes, relay: &mut Vec<Bytes>) -> Progress {
        let StreamMeter {
            tap, events, strip, ..
        } = self;
        events.start_chunk();
        let open_tail = if let Some(strip) = strip {
            let mut pass = strip.pass(&chunk, relay);
            tap.feed(&chunk, &mut |event| pass.edit(&event, events.take(&event)));
            pass.end(tap.open_event());
            0
        } else {
            tap.feed(&chunk, &mut |event| {
                events.take(&event);
            });
            relay.push(chunk);
            tap.open_event().map_or(0, |start| tap.offset() - start)
        };
        Progress {
            open_tail,
            ..events.progress()
        }
    }

    /// Ends the stream where the provider did: adds what was kept back to `relay`, and reads an
    /// event that was not ended, for its usage.
    pub fn finish(&mut self, relay: &mut Vec<Bytes>) -> Reported {
        let StreamMeter {
            tap, events, strip, ..
        } = self;
        events.start_chunk();
        if let Some(strip) = strip {
            let nothing = Bytes::new();
            let mut pass = strip.pass(&nothing, relay);
            tap.finish(&mut |event| pass.edit(&event, events.take(&event)));
            pass.end(None);
        } else {
            tap.finish(&mut |event| {
                events.take(&event);
            });
        }
        events.reported()
    }

    /// Returns what was reported so far.
    pub fn reported(&self) -> Reported {
        self.events.reported()
    }

    /// Says whether the wire's last event has come.
    pub fn is_done(&self) -> bool {
        self.events.is_done()
    }

    /// Returns what ends the stream validly after the events so far, as if the output cap had
    /// been met; empty when it has ended. Shows the usage reported so far.
    pub fn ending(&self) -> Bytes {
        let known = self.reported().usage.unwrap_or_default();
        self.ending_with(&known)
    }

    /// Like [`StreamMeter::ending`], but shows the client this usage, such as what it is charged.
    pub fn ending_with(&self, shown: &Usage) -> Bytes {
        let asked = self.usage_asked.unwrap_or(self.events.mentions_usage());
        let ending = ending::ending(&self.events, shown, asked);
        if ending.is_empty() {
            Bytes::new()
        } else {
            self.after_event(&ending)
        }
    }

    /// Returns the wire's event for an error within a stream.
    pub fn error_event(&self, message: &str, code: &str) -> Bytes {
        self.after_event(&ending::error(self.events.wire(), message, code))
    }

    /// Ends the line and the event of which a part was relayed, so that the next stands alone.
    fn after_event(&self, text: &str) -> Bytes {
        let kept_back = self.strip.is_some() && self.tap.open_event().is_some();
        let alone = kept_back || self.tap.is_between_events();
        Bytes::from([if alone { "" } else { "\n\n" }, text].concat())
    }
}
