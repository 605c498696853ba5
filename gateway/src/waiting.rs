//! Shows who is being waited for while secrets are resolved: one line that changes on a terminal,
//! a plain line now and then elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use openclaw_auth::host::{Clock, Host};
use openclaw_auth::{Progress, Running};

/// Shows the progress until dropped.
pub(crate) struct Waiting {
    /// Closed to end the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Waiting {
    /// Watches activations with this progress on this host.
    pub(crate) fn start(progress: Progress, host: &Host) -> Self {
        let vars = host.env.vars();
        let named = |name: &str| vars.get(name).map(|value| value.as_str());
        let display = Display {
            progress,
            clock: Arc::clone(&host.clock),
            is_terminal: io::stderr().is_terminal() && named("TERM") != Some("dumb"),
            frames: frames(["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(named)),
        };
        let (stop, stopped) = channel();
        // Without a thread nothing is shown; the work itself goes on.
        let thread = thread::Builder::new()
            .name("waiting".to_owned())
            .spawn(move || display.run(&stopped))
            .inspect_err(|error| log::debug!("no progress is shown: {}", error.kind()));
        Self {
            stop: Some(stop),
            thread: thread.ok(),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::debug!("the display of progress broke off");
        }
    }
}

/// Takes the changing line off the terminal, so that other text can be written.
pub(crate) fn erase() {
    if DRAWN.swap(false, Ordering::Relaxed) {
        write("\r\x1b[K");
    }
}

/// Whether the changing line is on the terminal.
static DRAWN: AtomicBool = AtomicBool::new(false);

struct Display {
    progress: Progress,
    clock: Arc<dyn Clock>,
    is_terminal: bool,
    frames: &'static [&'static str],
}

impl Display {
    fn run(&self, stopped: &Receiver<()>) {
        let mut frames = self.frames.iter().cycle();
        let mut next_line = FIRST_LINE;
        while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            let now = self.clock.monotonic();
            let running = self.progress.running();
            let Some(slowest) = running.first() else {
                next_line = FIRST_LINE;
                continue;
            };
            let waited = now.saturating_sub(slowest.since);
            let text = describe(slowest, self.progress.counts(), waited);
            if self.is_terminal && waited >= FIRST_FRAME {
                let frame = frames.next().copied().unwrap_or_default();
                DRAWN.store(true, Ordering::Relaxed);
                write(&format!("\r{frame} {text}\x1b[K"));
            } else if !self.is_terminal && waited >= next_line {
                next_line = waited + LINE_INTERVAL;
                write(&format!("waiting for {text}\n"));
            }
        }
        erase();
    }
}

/// The slowest provider, how far all of them are, and the time in seconds. Short enough for a
/// narrow terminal.
fn describe(slowest: &Running, (finished, expected): (usize, usize), waited: Duration) -> String {
    let alias: String = slowest.provider.chars().take(MAX_ALIAS).collect();
    let source = slowest.source.as_str();
    let seconds = waited.as_secs();
    match expected {
        0 | 1 => format!("{alias} ({source}) {seconds} s"),
        _ => format!("{finished}/{expected} providers, {alias} ({source}) {seconds} s"),
    }
}

fn frames(locale: Option<&str>) -> &'static [&'static str] {
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    match locale.contains("utf-8") || locale.contains("utf8") {
        true => &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"],
        false => &["-", "\\", "|", "/"],
    }
}

fn write(text: &str) {
    let mut err = io::stderr().lock();
    // There is no other place to complain.
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// At most ten frames a second.
const TICK: Duration = Duration::from_millis(100);
const FIRST_FRAME: Duration = Duration::from_millis(300);
const FIRST_LINE: Duration = Duration::from_secs(5);
const LINE_INTERVAL: Duration = Duration::from_secs(30);
const MAX_ALIAS: usize = 40;
