//! What happened, for whoever asks.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::primary;
use crate::error::{Code, Error};
use crate::profiles::Notice;

/// Something that happened to an engine.
#[derive(Debug, Clone)]
pub struct Event {
    seq: u64,
    dropped: u64,
    code: Code,
    at_ms: u64,
    generation: u64,
    message: String,
    error: Option<Value>,
    changed_owners: Vec<String>,
}

impl Event {
    fn new(code: Code, at_ms: u64, generation: u64, message: String) -> Self {
        Self {
            seq: 0,
            dropped: 0,
            code,
            at_ms,
            generation,
            message,
            error: None,
            changed_owners: Vec::new(),
        }
    }

    pub(super) fn activated(at_ms: u64) -> Self {
        Self::new(
            Code::SecretsActivated,
            at_ms,
            1,
            "secrets are active (generation 1)".to_owned(),
        )
    }

    pub(super) fn reloaded(at_ms: u64, generation: u64, changed_owners: Vec<String>) -> Self {
        let message = format!("secrets were reloaded (generation {generation})");
        Self {
            changed_owners,
            ..Self::new(Code::SecretsReloaded, at_ms, generation, message)
        }
    }

    pub(super) fn degraded(at_ms: u64, generation: u64, error: &Error) -> Self {
        let message = format!(
            "secrets reload failed, still using generation {generation}: {}",
            primary(error)
        );
        let error = Some(error.to_json());
        Self {
            error,
            ..Self::new(Code::SecretsReloaderDegraded, at_ms, generation, message)
        }
    }

    pub(super) fn recovered(at_ms: u64, generation: u64) -> Self {
        let message = format!("secrets are current again (generation {generation})");
        Self::new(Code::SecretsReloaderRecovered, at_ms, generation, message)
    }

    /// Something about profiles and routing.
    pub(super) fn noticed(at_ms: u64, generation: u64, notice: Notice) -> Self {
        Self {
            error: Some(notice.details).filter(|details| !details.is_null()),
            ..Self::new(notice.code, at_ms, generation, notice.message)
        }
    }

    /// The stable code, such as `SECRETS_RELOADED`.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Number of the event, from 1 up, without gaps; [`Event::dropped`] counts what is missing.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// How many events before this one were dropped because nobody took them.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How urgent it is, in the words of loggers: `info` or `warn`.
    pub fn level(&self) -> &'static str {
        match self.code {
            Code::SecretsReloaderDegraded
            | Code::OauthRefreshFailed
            | Code::OauthSignInFailed
            | Code::OauthTokensRescued => "warn",
            _ => "info",
        }
    }

    /// When, in milliseconds since 1970.
    pub fn at_ms(&self) -> u64 {
        self.at_ms
    }

    /// The generation in use after it.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// One sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The JSON form of every language.
    pub fn to_json(&self) -> Value {
        json!({
            "seq": self.seq,
            "dropped": self.dropped,
            "level": self.level(),
            "code": self.code.as_str(),
            "at": self.at_ms,
            "generation": self.generation,
            "message": self.message,
            "error": self.error,
            "changedOwners": self.changed_owners,
        })
    }
}

/// Events that nobody has taken yet; the oldest go first when there are too many.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    events: VecDeque<Event>,
    pushed: u64,
    /// Dropped since an event was last taken.
    dropped: u64,
}

const MOST: usize = 256;

impl EventQueue {
    pub(super) fn push(&mut self, mut event: Event) {
        log::debug!(target: "openclaw_auth::engine", "{}: {}", event.code, event.message);
        if self.events.len() == MOST {
            self.events.pop_front();
            self.dropped += 1;
        }
        self.pushed += 1;
        event.seq = self.pushed;
        self.events.push_back(event);
    }

    pub(super) fn take(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        let dropped = std::mem::take(&mut self.dropped);
        Some(Event { dropped, ..event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_events_are_dropped_and_counted() {
        let mut queue = EventQueue::default();
        for generation in 0..MOST as u64 + 3 {
            queue.push(Event::recovered(7, generation));
        }
        let first = queue.take().unwrap();
        assert_eq!(
            (first.seq(), first.dropped(), first.generation()),
            (4, 3, 3)
        );
        let second = queue.take().unwrap();
        assert_eq!((second.seq(), second.dropped()), (5, 0));
        assert_eq!(std::iter::from_fn(|| queue.take()).count(), MOST - 2);
        assert_eq!(first.to_json()["level"], "info");
    }
}
