//! The value of `Strict-Transport-Security` (RFC 6797, section 6.1).

use crate::error::Code;

/// What a configured value means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hsts<'t> {
    /// The value to send; `None` for a blank one.
    pub(super) value: Option<&'t str>,
    /// Seconds for which browsers remember it; `None` for a blank value.
    pub(super) max_age: Option<u32>,
    /// What a reader should know about it.
    pub(super) warnings: Vec<Code>,
}

/// Checks a configured value.
///
/// # Errors
///
/// The code of the first fault.
pub(super) fn check(text: &str) -> Result<Hsts<'_>, Code> {
    let text = text.trim_matches([' ', '\t']);
    if text.is_empty() {
        return Ok(Hsts {
            value: None,
            max_age: None,
            warnings: vec![Code::HstsBlank],
        });
    }
    if !text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err(Code::HstsInvalidCharacters);
    }
    if text.contains(',') {
        return Err(Code::HstsSyntax);
    }
    let mut found = Directives::default();
    for directive in text
        .split(';')
        .map(str::trim)
        .filter(|directive| !directive.is_empty())
    {
        found.add(directive)?;
    }
    let max_age = found.max_age.ok_or(Code::HstsMaxAgeMissing)?;
    let preload_fails = found.preload && (!found.subdomains || max_age < ONE_YEAR);
    let warnings = [
        (found.unknown, Code::HstsUnknownDirective),
        (preload_fails, Code::HstsPreloadRequirements),
        (max_age == 0, Code::HstsDisables),
    ];
    let warnings = warnings
        .into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, code)| code)
        .collect();
    Ok(Hsts {
        value: Some(text),
        max_age: Some(max_age),
        warnings,
    })
}

/// What browsers' preload lists ask for, in seconds.
const ONE_YEAR: u32 = 31_536_000;

#[derive(Default)]
struct Directives {
    seen: Vec<String>,
    max_age: Option<u32>,
    subdomains: bool,
    preload: bool,
    unknown: bool,
}

impl Directives {
    fn add(&mut self, directive: &str) -> Result<(), Code> {
        let (name, value) = match directive.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim_start())),
            None => (directive, None),
        };
        if name.is_empty()
            || !name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        {
            return Err(Code::HstsSyntax);
        }
        let name = name.to_ascii_lowercase();
        match (name.as_str(), value) {
            ("max-age", value) => {
                let seconds = seconds(value.unwrap_or_default()).ok_or(Code::HstsMaxAgeInvalid)?;
                self.max_age.get_or_insert(seconds);
            }
            ("includesubdomains", None) => self.subdomains = true,
            ("preload", None) => self.preload = true,
            ("includesubdomains" | "preload", Some(_)) => return Err(Code::HstsSyntax),
            _ => self.unknown = true,
        }
        if self.seen.contains(&name) {
            return Err(Code::HstsDuplicateDirective);
        }
        self.seen.push(name);
        Ok(())
    }
}

fn seconds(value: &str) -> Option<u32> {
    let quoted = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let digits = quoted.unwrap_or(value);
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_and_warnings() {
        for (text, code) in [
            ("max-age", Code::HstsMaxAgeInvalid),
            ("max-age=\"1", Code::HstsMaxAgeInvalid),
            ("max-age=4294967296", Code::HstsMaxAgeInvalid),
            ("max-age=1;Max-Age=1", Code::HstsDuplicateDirective),
            ("max-age=1; x; X", Code::HstsDuplicateDirective),
            ("max-age=1; =2", Code::HstsSyntax),
            ("max-age=1; a b", Code::HstsSyntax),
            ("preload", Code::HstsMaxAgeMissing),
        ] {
            assert_eq!(check(text), Err(code), "{text}");
        }
        let hsts = check("preload; includeSubDomains; max-age=31536000;").unwrap();
        assert_eq!(hsts.warnings, []);
        let hsts = check("max-age=31535999; includeSubDomains; preload").unwrap();
        assert_eq!(hsts.warnings, [Code::HstsPreloadRequirements]);
        assert_eq!(
            check("max-age = 4294967295").unwrap().value,
            Some("max-age = 4294967295")
        );
    }
}
