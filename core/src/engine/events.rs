//! What happened, for whoever asks.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::primary;
use crate::error::{Code, Error};
use crate::profiles::Notice;

/// Something that happened to an engine.
#[derive(Debug, Clone)]
pub struct Event {
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
}

const MOST: usize = 256;

impl EventQueue {
    pub(super) fn push(&mut self, event: Event) {
        log::debug!(target: "openclaw_auth::engine", "{}: {}", event.code, event.message);
        if self.events.len() == MOST {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    pub(super) fn drain(&mut self) -> Vec<Event> {
        self.events.drain(..).collect()
    }
}
