//! Errors as data: a stable code, a class, one sentence, and structured details.

mod codes;
mod reason;

use std::fmt;

use serde_json::{Map, Value, json};

use crate::text::SecretText;

pub use codes::{Class, Code, CodeInfo, Kind};
pub(crate) use reason::Rotation;
pub use reason::{FailureScope, Reason};

/// What every fallible call of this library returns on failure.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure with a stable machine code.
///
/// Match on [`Error::code`] or [`Error::class`], never on the text. No part of an error, its
/// `Debug` form included, ever shows a secret; only [`Error::program_output`] may hold one. One
/// word wide; `Send + Sync`.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    message: String,
    hint: Option<String>,
    details: Map<String, Value>,
    retry_after_ms: Option<u64>,
    retryable: bool,
    program_output: Option<SecretText>,
}

impl Error {
    /// An error with a code and one sentence: lower case, no period, the place first.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            hint: None,
            details: Map::new(),
            retry_after_ms: None,
            retryable: false,
            program_output: None,
        }))
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds one structured detail. Values must not contain secrets.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.details.insert(key.to_owned(), value.into());
        self
    }

    /// Marks the failure as one that may go away by itself.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Adds what a program of a secrets provider wrote to its standard error.
    #[must_use]
    pub(crate) fn with_program_output(mut self, output: Option<SecretText>) -> Self {
        self.0.program_output = output;
        self
    }

    /// Says when a retry makes sense, in milliseconds from now.
    #[must_use]
    pub fn with_retry_after_ms(mut self, ms: u64) -> Self {
        self.0.retry_after_ms = Some(ms);
        self.0.retryable = true;
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The class of the code: which part of the library refused.
    pub fn class(&self) -> Class {
        self.0.code.info().class
    }

    /// One sentence for a person.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do about it, if that is not obvious.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Structured fields; the keys belonging to each code are listed in `docs/errors.md`.
    pub fn details(&self) -> &Map<String, Value> {
        &self.0.details
    }

    /// Whether trying again later may succeed.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Milliseconds to wait before a retry, when the failure says so.
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.0.retry_after_ms
    }

    /// What the program of a secrets provider wrote to its standard error. It may contain
    /// credentials: only for the terminal of an operator who asks for it, never for a log. Part of
    /// no message, `Debug` text or JSON.
    pub fn program_output(&self) -> Option<&SecretText> {
        self.0.program_output.as_ref()
    }

    /// The error as the JSON object that every language and `--json` output shows.
    pub fn to_json(&self) -> Value {
        json!({
            "code": self.code().as_str(),
            "class": self.class().as_str(),
            "message": self.message(),
            "hint": self.hint(),
            "retryable": self.is_retryable(),
            "retryAfterMs": self.retry_after_ms(),
            "details": self.details(),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.code().as_str())
            .field("message", &self.0.message)
            .field("hint", &self.0.hint)
            .field("details", &self.0.details)
            .finish()
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_is_one_word_and_thread_safe() {
        fn thread_safe<T: Send + Sync + 'static>() {}
        thread_safe::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn json_form_carries_code_class_and_details() {
        let error = Error::new(Code::ConfigNotFound, "/x: no such file")
            .with("file", "/x")
            .with_retry_after_ms(7);
        let value = error.to_json();
        assert_eq!(value["code"], "config_not_found");
        assert_eq!(value["class"], "config");
        assert_eq!(value["details"]["file"], "/x");
        assert_eq!(value["retryAfterMs"], 7);
        assert!(error.is_retryable());
    }
}
