//! Error events inside a stream that began well: providers send them instead of a status.

use bytes::Bytes;

/// Looks through the lines of an event stream as they pass.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// A line that has not ended yet.
    begun: Vec<u8>,
    /// The event that is being described is an error.
    is_error: bool,
    error: Option<String>,
}

impl Events {
    /// Looks at the next bytes.
    pub(super) fn pass(&mut self, data: &Bytes) {
        if self.error.is_some() {
            return;
        }
        let mut lines = data.split(|byte| *byte == b'\n');
        let last = lines.next_back().unwrap_or_default();
        for line in lines {
            if self.begun.is_empty() {
                self.line(line);
            } else {
                let mut whole = std::mem::take(&mut self.begun);
                extend(&mut whole, line);
                self.line(&whole);
            }
        }
        extend(&mut self.begun, last);
    }

    /// The data of the first error event.
    pub(super) fn into_error(self) -> Option<String> {
        self.error
    }

    fn line(&mut self, line: &[u8]) {
        let line = line.trim_ascii();
        if line.is_empty() {
            self.is_error = false;
        } else if let Some(name) = line.strip_prefix(b"event:") {
            self.is_error = name.trim_ascii() == b"error";
        } else if let Some(data) = line.strip_prefix(b"data:") {
            let data = data.trim_ascii();
            if self.is_error || BEGINNINGS.iter().any(|error| data.starts_with(error)) {
                self.error = Some(String::from_utf8_lossy(data).into_owned());
            }
        }
    }
}

/// Lines of text are cut at this length; errors are short.
fn extend(line: &mut Vec<u8>, more: &[u8]) {
    let room = LONGEST.saturating_sub(line.len());
    line.extend_from_slice(more.get(..room).unwrap_or(more));
}

const LONGEST: usize = 8 * 1024;
/// How data begins that is an error without an event name.
const BEGINNINGS: [&[u8]; 4] = [
    b"{\"error\":{",
    b"{\"error\": {",
    b"{\"type\":\"error\"",
    b"{\"type\": \"error\"",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn error_in(parts: &[&'static str]) -> Option<String> {
        let mut events = Events::default();
        for part in parts {
            events.pass(&Bytes::from_static(part.as_bytes()));
        }
        events.into_error()
    }

    #[test]
    fn errors_are_found_however_the_stream_is_cut() {
        let anthropic = "event: message_start\ndata: {\"type\":\"message_start\"}\n\n\
            event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\"}}\n\n";
        let expected = "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\"}}";
        assert_eq!(error_in(&[anthropic]).as_deref(), Some(expected));
        for cut in 1..anthropic.len() {
            let (a, b) = anthropic.split_at(cut);
            assert_eq!(error_in(&[a, b]).as_deref(), Some(expected), "cut at {cut}");
        }
        let openai = "data: {\"id\":1}\n\ndata: {\"error\":{\"code\":\"x\"}}\r\n\r\n";
        assert_eq!(
            error_in(&[openai]).as_deref(),
            Some("{\"error\":{\"code\":\"x\"}}")
        );
    }

    #[test]
    fn words_of_models_are_no_errors() {
        let said = "data: {\"delta\":\"event: error {\\\"error\\\":{\"}\n\ndata: [DONE]\n\n";
        assert_eq!(error_in(&[said]), None);
        assert_eq!(error_in(&["event: error\n\ndata: {}\n\n"]), None);
        let long = Bytes::from(vec![b'x'; 3 * LONGEST]);
        let mut events = Events::default();
        events.pass(&long);
        events.pass(&long);
        assert!(events.begun.len() <= LONGEST);
    }
}
