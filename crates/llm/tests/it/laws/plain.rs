//! Streams of events read as the standard writes it: slowly, and plainly right.

/// Reads events as the standard's algorithm is written, all at once and by copies; but an event
/// that the stream's end cuts counts too.
pub(crate) fn plain_reading(stream: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut text = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let (mut events, mut name, mut data) = (Vec::new(), Vec::new(), None::<Vec<u8>>);
    while !text.is_empty() {
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let end = text.iter().position(is_end).unwrap_or(text.len());
        let line = &text[..end];
        let crlf = text[end..].starts_with(b"\r\n");
        text = text.get(end + 1 + usize::from(crlf)..).unwrap_or_default();
        if line.is_empty() {
            let name = std::mem::take(&mut name);
            events.extend(data.take().map(|data| (name, data)));
            continue;
        }
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"event" => name = value.to_vec(),
            b"data" => {
                let before = data.take().map(|mut data| {
                    data.push(b'\n');
                    data
                });
                data = Some([before.unwrap_or_default(), value.to_vec()].concat());
            }
            _ => {}
        }
    }
    events.extend(data.map(|data| (name, data)));
    events
}
