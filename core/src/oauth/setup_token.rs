//! Pasted tokens: what they look like, how long they live, what their profile is called.

use crate::error::{Code, Error, Result};

/// How the setup-tokens of Anthropic begin, and how short they can be.
const PREFIX: &str = "sk-ant-oat01-";
const MIN_CHARS: usize = 80;
/// Longest duration that is accepted: ten years.
const MAX_MS: f64 = 3_650.0 * DAY_MS;
const DAY_MS: f64 = 86_400_000.0;

/// What a pasted text is instead of a setup-token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenProblem {
    /// Nothing was pasted.
    Empty,
    /// It does not begin as setup-tokens do.
    Prefix,
    /// A part is missing.
    TooShort,
    /// It holds characters that no token has.
    Characters,
}

impl TokenProblem {
    /// What to say.
    pub fn message(self) -> &'static str {
        match self {
            Self::Empty => "Required",
            Self::Prefix => "Expected token starting with sk-ant-oat01-",
            Self::TooShort => "Token looks too short; paste the full setup-token",
            Self::Characters => "Token contains unexpected characters",
        }
    }
}

/// A pasted secret without what terminals and mail programs put into it: line breaks, characters
/// beyond Latin-1, surrounding white space and one pair of quotes.
pub fn clean_pasted(text: &str) -> String {
    let clean: String = text
        .chars()
        .filter(|c| !matches!(c, '\r' | '\n' | '\u{2028}' | '\u{2029}') && *c <= '\u{ff}')
        .collect();
    let clean = clean.trim();
    for quote in ['"', '\'', '`'] {
        let inner = clean
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner.trim().to_owned();
        }
    }
    clean.to_owned()
}

/// Checks a setup-token and gives it back without the breaks that wrapping put into it.
///
/// # Errors
///
/// `oauth_setup_token_invalid`, with a hint when it is another kind of credential.
pub fn check_setup_token(text: &str) -> Result<String> {
    let token: String = clean_pasted(text)
        .chars()
        .filter(|c| !c.is_ascii_whitespace())
        .collect();
    let Some(problem) = problem_of(&token) else {
        return Ok(token);
    };
    let error = Error::new(Code::OauthSetupTokenInvalid, problem.message()).retryable(true);
    let hint = match problem {
        TokenProblem::Prefix if token.starts_with("sk-ant-api") => {
            "this is an API key; use `models auth paste-api-key`"
        }
        TokenProblem::Prefix if token.starts_with("sk-ant-ort") => "this is a refresh token",
        _ => return Err(error),
    };
    Err(error.with_hint(hint))
}

fn problem_of(token: &str) -> Option<TokenProblem> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match () {
        () if token.is_empty() => Some(TokenProblem::Empty),
        () if !token.starts_with(PREFIX) => Some(TokenProblem::Prefix),
        () if token.chars().count() < MIN_CHARS => Some(TokenProblem::TooShort),
        () if !token.chars().all(fine) => Some(TokenProblem::Characters),
        () => None,
    }
}

/// The name of a profile made of what a person calls it: `Work Laptop` becomes `work-laptop`, and
/// what has no letter or digit `default`.
pub fn profile_slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.to_lowercase().chars() {
        let fine = c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c);
        if fine {
            slug.push(c);
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
    match slug.trim_matches('-') {
        "" => "default".to_owned(),
        slug => slug.to_owned(),
    }
}

/// A duration such as `365d`, `12h`, `1d12h` or `1.5h`, in milliseconds. A bare number means
/// days. At most ten years.
///
/// # Errors
///
/// `invalid_argument`.
pub fn parse_duration(text: &str) -> Result<u64> {
    let error = || {
        let shown: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
        let message = format!("invalid duration: {shown} (use e.g. 365d, 12h, 90m)");
        Error::new(Code::InvalidArgument, message)
    };
    let lower = text.trim().to_ascii_lowercase();
    let mut rest = lower.as_str();
    let mut total = 0.0;
    let bare = rest.chars().all(|c| c.is_ascii_digit() || c == '.');
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| error())?;
        let end = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        total += number
            * match unit {
                "ms" => 1.0,
                "s" => 1e3,
                "m" => 6e4,
                "h" => 3.6e6,
                "d" => DAY_MS,
                "" if bare => DAY_MS,
                _ => return Err(error()),
            };
        rest = tail;
    }
    let total = f64::round(total);
    if total > 0.0 && total <= MAX_MS {
        Ok(total as u64)
    } else {
        Err(error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_70_to_74() {
        let token = |count: usize| format!("{PREFIX}{}", "x".repeat(count));
        assert_eq!(check_setup_token(&token(80)).unwrap(), token(80));
        assert_eq!(check_setup_token(&token(67)).unwrap().len(), 80);
        let wrapped = format!(" \"{} \n  {}\u{200b}\"\r\n", token(30), "x".repeat(50));
        assert_eq!(check_setup_token(&wrapped).unwrap(), token(80));
        for (text, words, hint) in [
            (String::new(), "Required", None),
            (token(66), "too short", None),
            (
                format!("sk-ant-api03-{}", "x".repeat(80)),
                "Expected token",
                Some("paste-api-key"),
            ),
            (
                format!("sk-ant-ort01-{}", "x".repeat(80)),
                "Expected token",
                Some("refresh token"),
            ),
            (format!("{}!", token(80)), "unexpected characters", None),
        ] {
            let error = check_setup_token(&text).unwrap_err();
            assert_eq!(error.code(), Code::OauthSetupTokenInvalid);
            assert!(error.message().contains(words), "{error}");
            assert_eq!(error.hint().is_some(), hint.is_some());
            assert!(hint.is_none_or(|hint| error.hint().unwrap().contains(hint)));
            assert!(!error.message().contains("xxx"));
        }
    }

    #[test]
    fn examples_75_to_77() {
        for (name, slug) in [
            ("Work Laptop", "work-laptop"),
            ("", "default"),
            ("---", "default"),
            ("Ünï code!!", "n-code"),
            ("a.b_c", "a.b_c"),
        ] {
            assert_eq!(profile_slug(name), slug, "{name}");
        }
    }

    #[test]
    fn examples_78_to_80() {
        for (text, ms) in [
            ("365d", 31_536_000_000),
            ("365", 31_536_000_000),
            ("12h", 43_200_000),
            ("90m", 5_400_000),
            ("1d12h", 129_600_000),
            ("1.5H", 5_400_000),
            ("250ms", 250),
        ] {
            assert_eq!(parse_duration(text).unwrap(), ms, "{text}");
        }
        for text in [
            "xyz", "1d 2h", "-3d", "0", "", "1..2h", "3651d", "1d5", "1w",
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.message().starts_with("invalid duration: "), "{text}");
        }
    }
}
