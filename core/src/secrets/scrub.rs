//! The last line of defence: no known secret leaves in a message. In a healthy build it never
//! finds anything.

use serde_json::Value;

use super::failure::{Diagnostic, Failure};
use crate::text::SecretText;

/// Shorter texts occur by chance.
const SHORTEST: usize = 6;

/// Replaces known secrets in texts, and counts how often that was necessary.
pub(super) struct Scrubber<'a> {
    secrets: Vec<&'a SecretText>,
    pub(super) hits: usize,
}

impl<'a> Scrubber<'a> {
    pub(super) fn new(secrets: impl Iterator<Item = &'a SecretText>) -> Self {
        Self {
            secrets: secrets.filter(|secret| secret.len() >= SHORTEST).collect(),
            hits: 0,
        }
    }

    fn text(&mut self, text: &mut String) {
        for secret in &self.secrets {
            if text.contains(secret.expose()) {
                *text = text.replace(secret.expose(), "[secret]");
                self.hits += 1;
            }
        }
    }

    fn json(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.json(item)),
            Value::Object(map) => map.values_mut().for_each(|item| self.json(item)),
            _ => {}
        }
    }

    pub(super) fn failures(&mut self, failures: &mut [Failure]) {
        for failure in failures {
            self.text(&mut failure.message);
            failure.hint.iter_mut().for_each(|hint| self.text(hint));
            failure
                .details
                .values_mut()
                .for_each(|detail| self.json(detail));
        }
    }

    pub(super) fn diagnostics(&mut self, diagnostics: &mut [Diagnostic]) {
        for diagnostic in diagnostics {
            self.text(&mut diagnostic.message);
            diagnostic
                .details
                .values_mut()
                .for_each(|detail| self.json(detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Severity;
    use crate::error::Code;
    use crate::json::Path;

    #[test]
    fn a_leak_is_replaced_and_counted() {
        let secret = SecretText::new("sk-canary-1".to_owned());
        let short = SecretText::new("a".to_owned());
        let mut scrubber = Scrubber::new([&secret, &short].into_iter());
        let mut leak = [Diagnostic::new(
            Code::SecretsValueWhitespace,
            Severity::Warning,
            &Path::root(),
            "value sk-canary-1 has a blank",
        )];
        scrubber.diagnostics(&mut leak);
        assert_eq!(leak[0].message(), "value [secret] has a blank");
        assert_eq!(scrubber.hits, 1);
    }
}
