//! Server-sent events as they leave: framed, grouped into writes, paced, and cut.
//!
//! Networks do not respect events. Most events are written alone, but some share a write with
//! the next, and some are split over two, even inside a letter of several bytes.

use std::time::Duration;

use crate::draw::Draw;

/// A step of writing a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Hand over bytes, which carry so many visible output tokens.
    Write(bytes::Bytes, u64),
    /// Let what was written go out, then wait.
    Pause(Duration),
    /// Break the connection.
    Cut,
}

/// The events of a stream as they are put together.
pub(crate) struct Events {
    steps: Vec<Step>,
    pending: Vec<u8>,
    pending_tokens: u64,
    draw: Draw,
    gap: Duration,
    eol: &'static str,
    /// Deltas until the stream is cut.
    cut: Option<u64>,
    over: bool,
}

/// Wait so long before a cut, so that what was written before it goes out.
const BEFORE_CUT: Duration = Duration::from_millis(5);

// === impl Events ===

impl Events {
    /// Starts a stream that is cut after `cut` deltas, if at all.
    pub(crate) fn new(draw: Draw, gap: Duration, crlf: bool, cut: Option<u64>) -> Events {
        Events {
            steps: Vec::new(),
            pending: Vec::new(),
            pending_tokens: 0,
            draw,
            gap,
            eol: if crlf { "\r\n" } else { "\n" },
            cut,
            over: false,
        }
    }

    /// Adds an event that carries no output.
    pub(crate) fn event(&mut self, name: Option<&str>, data: &str) {
        self.add(name, data, 0);
    }

    /// Adds an event that carries output; the stream may be cut before it.
    pub(crate) fn delta(&mut self, name: Option<&str>, data: &str, tokens: u64) {
        match &mut self.cut {
            Some(0) => self.cut_now(),
            Some(left) => *left -= 1,
            None => {}
        }
        self.add(name, data, tokens);
    }

    /// Cuts a stream that had fewer deltas than were to be sent before the cut.
    pub(crate) fn end_of_deltas(&mut self) {
        if self.cut.is_some() {
            self.cut_now();
        }
    }

    /// Ends the stream here: nothing that is added later is sent.
    pub(crate) fn close(&mut self) {
        self.over = true;
    }

    /// Returns the steps.
    pub(crate) fn into_steps(mut self) -> Vec<Step> {
        self.flush();
        self.steps
    }

    fn add(&mut self, name: Option<&str>, data: &str, tokens: u64) {
        if self.over {
            return;
        }
        if let Some(name) = name {
            self.pending
                .extend([b"event: ", name.as_bytes(), self.eol.as_bytes()].concat());
        }
        let parts = [
            b"data: ",
            data.as_bytes(),
            self.eol.as_bytes(),
            self.eol.as_bytes(),
        ];
        self.pending.extend(parts.concat());
        self.pending_tokens += tokens;
        match self.draw.below(12) {
            0 => {}
            1 => self.split(),
            _ => self.flush(),
        }
    }

    fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        if !self.steps.is_empty() {
            self.steps.push(Step::Pause(self.gap));
        }
        let bytes = std::mem::take(&mut self.pending).into();
        self.steps
            .push(Step::Write(bytes, std::mem::take(&mut self.pending_tokens)));
    }

    /// Writes what is pending in two parts; its tokens count with the second.
    fn split(&mut self) {
        let at = self.draw.between(1, self.pending.len() as u64 - 1) as usize;
        let rest = self.pending.split_off(at);
        let tokens = std::mem::take(&mut self.pending_tokens);
        self.flush();
        // A real wait where there is any, or a fast reader would see one read all the same.
        self.steps.push(Step::Pause(self.gap / 2));
        self.steps.push(Step::Write(rest.into(), tokens));
    }

    fn cut_now(&mut self) {
        if !self.over {
            self.flush();
            self.steps.extend([Step::Pause(BEFORE_CUT), Step::Cut]);
            self.over = true;
        }
    }
}

/// Returns the steps of a body that is written at once, or cut in its middle.
pub(crate) fn whole(body: Vec<u8>, tokens: u64, cut: bool) -> Vec<Step> {
    let mut body = bytes::Bytes::from(body);
    if !cut {
        return vec![Step::Write(body, tokens)];
    }
    body.truncate(body.len() / 2);
    vec![Step::Write(body, 0), Step::Pause(BEFORE_CUT), Step::Cut]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(steps: &[Step]) -> (String, u64) {
        let (mut bytes, mut sum) = (Vec::new(), 0);
        for step in steps {
            if let Step::Write(part, tokens) = step {
                bytes.extend_from_slice(part);
                sum += tokens;
            }
        }
        (String::from_utf8(bytes).expect("whole again"), sum)
    }

    #[test]
    fn events_survive_however_they_are_written() {
        let (mut alone, mut shared, mut split) = (0, 0, 0);
        for seed in 0..50 {
            let mut events = Events::new(Draw::new(seed), Duration::ZERO, false, None);
            let mut expected = String::new();
            for index in 0..20 {
                let data = format!("{{\"é\":{index}}}");
                events.delta(Some("e"), &data, index);
                expected = expected + "event: e\ndata: " + &data + "\n\n";
            }
            let steps = events.into_steps();
            assert_eq!(text(&steps), (expected, 190));
            for step in &steps {
                let Step::Write(bytes, _) = step else {
                    continue;
                };
                match bytes.windows(2).filter(|two| two == b"\n\n").count() {
                    0 => split += 1,
                    1 => alone += 1,
                    _ => shared += 1,
                }
            }
        }
        assert!(
            alone > 300 && shared > 30 && split > 30,
            "{alone} {shared} {split}"
        );
    }

    #[test]
    fn a_cut_comes_after_exactly_so_many_deltas() {
        for (cut, deltas) in [(0, 0), (3, 3), (9, 5)] {
            let mut events = Events::new(Draw::new(1), Duration::ZERO, true, Some(cut));
            events.event(None, "start");
            (0..5).for_each(|_| events.delta(None, "d", 2));
            events.end_of_deltas();
            events.event(None, "end");
            let steps = events.into_steps();
            assert_eq!(steps.last(), Some(&Step::Cut));
            let expected = "data: start\r\n\r\n".to_owned() + &"data: d\r\n\r\n".repeat(deltas);
            assert_eq!(text(&steps), (expected, 2 * deltas as u64));
        }
    }
}
