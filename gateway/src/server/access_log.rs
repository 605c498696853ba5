//! The access log: one JSON line per request, written when its answer has ended.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openclaw_auth::Code;
use openclaw_auth::host::Clock;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::body::BodyFate;
use super::core_api::Identity;
use super::link::Busy;
use super::metrics::{Ended, Metrics};
use super::state::State;

/// Where the lines go.
pub(crate) struct AccessLog {
    clock: Arc<dyn Clock>,
    path: Option<PathBuf>,
    sink: Mutex<Sink>,
    /// Lines that are not written yet.
    pending: Mutex<Vec<u8>>,
    refusals: Mutex<Refusals>,
}

enum Sink {
    Stderr,
    File(File),
    #[cfg(test)]
    Memory(Vec<u8>),
}

impl AccessLog {
    /// Logs to a file that is appended to (created with mode 0600), or to standard error.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub(crate) fn open(clock: Arc<dyn Clock>, path: Option<PathBuf>) -> io::Result<Self> {
        let sink = match &path {
            Some(path) => Sink::File(append_to(path)?),
            None => Sink::Stderr,
        };
        Ok(Self {
            clock,
            path,
            sink: Mutex::new(sink),
            pending: Mutex::default(),
            refusals: Mutex::default(),
        })
    }

    /// A log that tests can read.
    #[cfg(test)]
    pub(crate) fn in_memory(clock: Arc<dyn Clock>) -> Self {
        let sink = Mutex::new(Sink::Memory(Vec::new()));
        Self {
            clock,
            path: None,
            sink,
            pending: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    /// What was written so far.
    #[cfg(test)]
    pub(crate) fn text(&self) -> String {
        self.flush();
        match &*self.sink.lock() {
            Sink::Memory(bytes) => String::from_utf8(bytes.clone()).unwrap(),
            _ => String::new(),
        }
    }

    /// Opens the file again, for programs that rotate logs by renaming.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened; the old one stays in use.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        if let Some(path) = &self.path {
            self.flush();
            *self.sink.lock() = Sink::File(append_to(path)?);
        }
        Ok(())
    }

    /// The time in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Writes how many denials were left out, once their second is over; at a stop, at once.
    pub(crate) fn summarise(&self, is_stopping: bool) {
        let now = self.clock.now_ms();
        let over = if is_stopping { u64::MAX } else { now / 1000 };
        let skipped = self.refusals.lock().take_skipped(over);
        for (code, skipped) in skipped {
            let mut line = String::new();
            summary(&mut line, now, code, skipped);
            self.write(line.as_bytes());
        }
    }

    fn finish(&self, record: &Record) {
        let now = self.clock.now_ms();
        let mut line = String::with_capacity(512);
        if record.denied
            && let Some(code) = record.code
        {
            let verdict = self.refusals.lock().admit(code, now / 1000);
            if let Some(skipped) = verdict.skipped_before {
                summary(&mut line, now, code, skipped);
            }
            if !verdict.shown {
                if !line.is_empty() {
                    self.write(line.as_bytes());
                }
                return;
            }
        }
        record.write(now, &mut line);
        self.write(line.as_bytes());
    }

    /// Keeps a line until the next [`AccessLog::flush`], or until there are many.
    fn write(&self, line: &[u8]) {
        let mut pending = self.pending.lock();
        pending.extend_from_slice(line);
        if pending.len() >= PENDING {
            let lines = std::mem::replace(&mut *pending, Vec::with_capacity(PENDING + ONE_LINE));
            // Other requests go on while these lines are written.
            drop(pending);
            self.write_out(&lines);
        }
    }

    /// Writes what is pending. The server does so ten times per second and at its end.
    pub(crate) fn flush(&self) {
        let lines = std::mem::take(&mut *self.pending.lock());
        self.write_out(&lines);
    }

    /// A log that cannot be written must not stop the gateway: the lines are lost.
    fn write_out(&self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let lost = match &mut *self.sink.lock() {
            Sink::Stderr => io::stderr().write_all(lines),
            Sink::File(file) => file.write_all(lines),
            #[cfg(test)]
            Sink::Memory(bytes) => bytes.write_all(lines),
        };
        if let Err(error) = lost {
            log::error!("the access log cannot be written: {}", error.kind());
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

/// A line in place of the denials that were left out.
fn summary(line: &mut String, now: u64, code: Code, skipped: u64) {
    let mut fields = Fields::begin(line);
    fields.number("ts", now);
    fields.text("level", "warn");
    fields.text("code", code.as_str());
    fields.number("suppressed", skipped);
    fields.end();
}

fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Bytes that are written without waiting for more.
const PENDING: usize = 16 * 1024;
/// Room for a line, roughly.
const ONE_LINE: usize = 512;

/// Denials per second and code that are logged one by one; the rest is counted.
const SHOWN_PER_SECOND: u32 = 20;

#[derive(Default)]
struct Refusals(HashMap<Code, Tally>);

#[derive(Default)]
struct Tally {
    second: u64,
    shown: u32,
    skipped: u64,
}

struct Verdict {
    shown: bool,
    skipped_before: Option<u64>,
}

impl Refusals {
    /// Takes what was left out before this second.
    fn take_skipped(&mut self, before: u64) -> Vec<(Code, u64)> {
        let over = self.0.iter_mut();
        over.filter(|(_, tally)| tally.second < before && tally.skipped > 0)
            .map(|(code, tally)| (*code, std::mem::take(&mut tally.skipped)))
            .collect()
    }

    fn admit(&mut self, code: Code, second: u64) -> Verdict {
        let tally = self.0.entry(code).or_default();
        let mut skipped_before = None;
        if tally.second != second {
            skipped_before = Some(tally.skipped).filter(|skipped| *skipped > 0);
            *tally = Tally {
                second,
                shown: 0,
                skipped: 0,
            };
        }
        let shown = tally.shown < SHOWN_PER_SECOND;
        if shown {
            tally.shown += 1;
        } else {
            tally.skipped += 1;
        }
        Verdict {
            shown,
            skipped_before,
        }
    }
}

/// What the log line of one request will say. Written when dropped.
pub(crate) struct Record {
    log: Arc<AccessLog>,
    metrics: Arc<Metrics>,
    started: Instant,
    route: &'static str,
    request_id: String,
    peer: IpAddr,
    verb: String,
    path: String,
    websocket: bool,
    caller: Option<Caller>,
    status: Option<u16>,
    code: Option<Code>,
    denied: bool,
    broken: bool,
    complete: bool,
    body: Option<Arc<BodyFate>>,
    bytes_out: u64,
    first_byte: Option<Duration>,
    provider: Option<String>,
    profile: Option<String>,
    attempts: u32,
    generation: u64,
    busy: Option<Busy>,
}

/// What the line says about the caller.
struct Caller {
    method: &'static str,
    user: Option<String>,
    client_ip: Option<IpAddr>,
}

/// What is known about a request when it arrives.
pub(crate) struct Arrival<'a> {
    /// Its id.
    pub(crate) request_id: String,
    /// Address of the transport peer.
    pub(crate) peer: IpAddr,
    /// Its method.
    pub(crate) verb: &'a str,
    /// Its path, without the query.
    pub(crate) path: &'a str,
    /// Whether it asks for a WebSocket.
    pub(crate) websocket: bool,
    /// The snapshot that answers it.
    pub(crate) generation: u64,
}

impl Record {
    /// Begins the record of a request.
    pub(crate) fn begin(state: &State, arrival: Arrival<'_>) -> Self {
        Self {
            log: Arc::clone(&state.log),
            metrics: Arc::clone(&state.metrics),
            started: Instant::now(),
            route: "other",
            request_id: arrival.request_id,
            peer: arrival.peer.to_canonical(),
            verb: beginning(arrival.verb, 20),
            path: beginning(arrival.path, 256),
            websocket: arrival.websocket,
            caller: None,
            status: None,
            code: None,
            denied: false,
            broken: false,
            complete: false,
            body: None,
            bytes_out: 0,
            first_byte: None,
            provider: None,
            profile: None,
            attempts: 0,
            generation: arrival.generation,
            busy: None,
        }
    }

    /// Keeps the connection marked as answering until the record is written.
    pub(crate) fn during(mut self, busy: Busy) -> Self {
        self.busy = Some(busy);
        self
    }

    /// The id of the request.
    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The template of the route that serves the request.
    pub(crate) fn routed(&mut self, template: &'static str) {
        self.route = template;
    }

    /// The caller was recognised.
    pub(crate) fn accepted(&mut self, identity: &Identity) {
        self.caller = Some(Caller {
            method: identity.method,
            user: identity.user.clone(),
            client_ip: identity.client_ip,
        });
    }

    /// The access rules refused the caller.
    pub(crate) fn refused(&mut self) {
        self.denied = true;
    }

    /// The request is forwarded to this provider, by the settings of a snapshot.
    pub(crate) fn forwarded(&mut self, provider: &str, generation: u64) {
        self.provider = Some(provider.to_owned());
        self.generation = generation;
    }

    /// The request is sent to the provider, perhaps again.
    pub(crate) fn attempting(&mut self) {
        self.attempts += 1;
    }

    /// The credential that served, by its name.
    pub(crate) fn served_by(&mut self, profile: &str) {
        self.profile = Some(profile.to_owned());
    }

    /// The provider began to answer.
    pub(crate) fn first_byte(&mut self) {
        self.first_byte = Some(self.started.elapsed());
    }

    /// The body of the request, whose bytes are counted while they arrive.
    pub(crate) fn receiving(&mut self, body: Arc<BodyFate>) {
        self.body = Some(body);
    }

    /// The answer is decided.
    pub(crate) fn answered(&mut self, status: u16, code: Option<Code>, has_body: bool) {
        self.status = Some(status);
        self.code = code;
        self.complete = !has_body;
    }

    /// A part of the answer's body went out.
    pub(crate) fn sent(&mut self, bytes: u64, ended: bool) {
        self.bytes_out += bytes;
        self.complete |= ended;
    }

    /// The answer broke off in the middle.
    pub(crate) fn broken(&mut self, code: Code) {
        self.code = Some(code);
        self.broken = true;
    }

    fn write(&self, now: u64, line: &mut String) {
        let code = match self.code {
            Some(code) => Some(code.as_str()),
            None => (!self.complete).then_some("aborted"),
        };
        let mut fields = Fields::begin(line);
        fields.number("ts", now);
        fields.text(
            "level",
            if self.denied || self.broken {
                "warn"
            } else {
                "info"
            },
        );
        fields.text("requestId", &self.request_id);
        fields.display("peer", &self.peer);
        if let Some(caller) = &self.caller {
            if let Some(ip) = &caller.client_ip {
                fields.display("clientIp", ip);
            }
            if let Some(user) = &caller.user {
                fields.text("user", user);
            }
            fields.text("method", caller.method);
        }
        fields.text("kind", if self.websocket { "websocket" } else { "http" });
        fields.text("verb", &self.verb);
        fields.text("path", &self.path);
        if let Some(status) = self.status {
            fields.number("status", u64::from(status));
        }
        if let Some(code) = code {
            fields.text("code", code);
        }
        fields.number("bytesIn", self.body.as_ref().map_or(0, |body| body.bytes()));
        fields.number("bytesOut", self.bytes_out);
        fields.number("ms", millis(self.started.elapsed()));
        if let Some(time) = self.first_byte {
            fields.number("ttfbMs", millis(time));
        }
        if let Some(provider) = &self.provider {
            fields.text("provider", provider);
            if let Some(profile) = &self.profile {
                fields.text("profile", profile);
            }
            fields.number("attempts", u64::from(self.attempts));
        }
        fields.number("generation", self.generation);
        fields.end();
    }
}

/// At most this many characters of a text.
fn beginning(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    text.chars().take(most).collect()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.complete
            && let Some(busy) = &mut self.busy
        {
            busy.complete();
        }
        self.metrics.ended(&Ended {
            route: self.route,
            status: self.status,
            code: self.code,
            is_complete: self.complete,
            took: self.started.elapsed(),
            upstream: self.provider.as_deref().map(|id| (id, self.first_byte)),
        });
        let log = Arc::clone(&self.log);
        log.finish(self);
    }
}

/// Writes the members of one JSON object, then a line feed.
pub(crate) struct Fields<'a> {
    line: &'a mut String,
    is_first: bool,
}

impl<'a> Fields<'a> {
    /// Begins an object.
    pub(crate) fn begin(line: &'a mut String) -> Self {
        line.push('{');
        Self {
            line,
            is_first: true,
        }
    }

    /// A member that is a text.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.line.push('"');
        escape(self.line, value);
        self.line.push('"');
    }

    /// A member that is a number.
    pub(crate) fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        // Writing to a String cannot fail.
        let _ = write!(self.line, "{value}");
    }

    /// A member whose text form needs no escaping.
    fn display(&mut self, name: &str, value: &IpAddr) {
        self.name(name);
        // Writing to a String cannot fail.
        let _ = write!(self.line, "\"{value}\"");
    }

    /// A member that is true or false.
    pub(crate) fn flag(&mut self, name: &str, value: bool) {
        self.name(name);
        self.line.push_str(if value { "true" } else { "false" });
    }

    /// A member that is a text or null.
    pub(crate) fn optional_text(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.null(name),
        }
    }

    /// A member that is an address or null.
    pub(crate) fn optional_display(&mut self, name: &str, value: Option<&IpAddr>) {
        match value {
            Some(value) => self.display(name, value),
            None => self.null(name),
        }
    }

    fn null(&mut self, name: &str) {
        self.name(name);
        self.line.push_str("null");
    }

    /// Ends the object.
    pub(crate) fn close(self) {
        self.line.push('}');
    }

    /// Ends the object and the line.
    pub(crate) fn end(self) {
        self.line.push_str("}\n");
    }

    fn name(&mut self, name: &str) {
        if !self.is_first {
            self.line.push(',');
        }
        self.is_first = false;
        self.line.push('"');
        self.line.push_str(name);
        self.line.push_str("\":");
    }
}

/// Appends a text so that it can neither end the JSON string nor disturb a terminal.
fn escape(line: &mut String, text: &str) {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        line.push_str(text);
        return;
    }
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            c if is_disturbing(c) => {
                // Writing to a String cannot fail. All disturbing characters are in the BMP.
                let _ = write!(line, "\\u{:04x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
}

/// C0, C1, line and paragraph separators, and bidirectional controls.
fn is_disturbing(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_break_out_of_the_line() {
        for (text, escaped) in [
            ("plain-é", "plain-é"),
            ("a\"b\\c", "a\\\"b\\\\c"),
            ("\u{1b}[31m\r\n", "\\u001b[31m\\u000d\\u000a"),
            (
                "\u{85}\u{2028}\u{202e}\u{2066}",
                "\\u0085\\u2028\\u202e\\u2066",
            ),
        ] {
            let mut line = String::new();
            escape(&mut line, text);
            assert_eq!(line, escaped);
            let back: String = serde_json::from_str(&format!("\"{line}\"")).unwrap();
            assert_eq!(back, text);
        }
    }

    #[test]
    fn denials_are_thinned_out_per_second_and_code() {
        let mut refusals = Refusals::default();
        let shown = (0..50)
            .filter(|_| refusals.admit(Code::NotFound, 7).shown)
            .count();
        assert_eq!(shown, 20);
        assert!(
            refusals.admit(Code::Overloaded, 7).shown,
            "another code has its own count"
        );
        let next = refusals.admit(Code::NotFound, 8);
        assert!(next.shown);
        assert_eq!(next.skipped_before, Some(30));
        assert_eq!(refusals.admit(Code::NotFound, 9).skipped_before, None);
        for _ in 0..25 {
            refusals.admit(Code::NotFound, 10);
        }
        assert_eq!(refusals.take_skipped(10), []);
        assert_eq!(refusals.take_skipped(11), [(Code::NotFound, 5)]);
        assert_eq!(refusals.take_skipped(12), []);
    }
}
