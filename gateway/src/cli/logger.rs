//! The log for people: `log` records to standard error, as text or JSON lines.

use std::io::{self, Write as _};
use std::panic;

use log::{Level, LevelFilter, Log, Metadata, Record};
use serde_json::json;

use crate::waiting;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging. A second call changes the level only.
pub(super) fn start(level: LevelFilter, format: LogFormat) {
    log::set_max_level(level);
    // Somebody else's logger stays in place.
    let _ = log::set_boxed_logger(Box::new(Stderr(format)));
}

/// The level of an option's value.
pub(super) fn level(name: &str) -> LevelFilter {
    match name {
        "silent" => LevelFilter::Off,
        other => other.parse().unwrap_or(LevelFilter::Warn),
    }
}

/// Panics are told with their place only: a message could contain anything.
pub(super) fn quiet_panics() {
    panic::set_hook(Box::new(|info| match info.location() {
        Some(place) => log::error!("panic at {}:{}", place.file(), place.line()),
        None => log::error!("panic"),
    }));
}

struct Stderr(LogFormat);

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("openclaw_auth") || metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = record.level().as_str().to_ascii_lowercase();
        let message = record.args().to_string();
        let line = match self.0 {
            LogFormat::Text => format!("{level}: {}\n", printable(&message)),
            LogFormat::Json => {
                format!(
                    "{}\n",
                    json!({"level": level, "target": record.target(), "message": message})
                )
            }
        };
        waiting::erase();
        // There is no other place to complain.
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// A message without characters that could disturb a terminal.
fn printable(message: &str) -> String {
    message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
