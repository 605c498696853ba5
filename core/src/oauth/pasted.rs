//! What people paste: the address from the browser, `code#state`, or the bare code.

use std::collections::BTreeMap;

use oauth2::url::{Url, form_urlencoded};

use super::provider::is_loopback;
use super::redact::redact;
use crate::error::{Code, Error, Result};
use crate::text::SecretText;

/// Longest bare code, in characters.
const MAX_CODE: usize = 4096;

/// What an answer is compared with.
pub(crate) struct Expected<'a> {
    pub(crate) redirect: &'a Url,
    pub(crate) authorize: &'a Url,
    pub(crate) state: &'a SecretText,
    pub(crate) issuer: Option<&'a str>,
}

/// Takes the authorization code out of pasted text.
///
/// # Errors
///
/// The `oauth_…` codes of a sign-in answer. `oauth_authorization_denied`,
/// `oauth_authorization_error` and `oauth_issuer_mismatch` end the sign-in; the others are
/// slips, and something else may be pasted.
pub(crate) fn code_from(text: &str, expected: &Expected<'_>) -> Result<SecretText> {
    let text = unwrap(text.trim());
    let wrapped = ["://", "code=", "error="]
        .iter()
        .any(|mark| text.contains(mark));
    let text: String = if wrapped {
        text.chars().filter(|c| !c.is_ascii_whitespace()).collect()
    } else {
        text.to_owned()
    };
    if text.is_empty() {
        return Err(unusable("nothing was pasted"));
    }
    if text.contains("://") {
        return code_of(&parameters_of_address(&text, expected)?, expected);
    }
    if text.starts_with('?') || text.contains("code=") || text.contains("error=") {
        return code_of(&parameters(text.trim_start_matches('?')), expected);
    }
    match text.split_once('#') {
        Some((code, "")) => bare(code),
        Some((code, state)) => {
            check_state(Some(state), expected)?;
            bare(code)
        }
        None => bare(&text),
    }
}

/// Parameters of an answer, each with all its values.
pub(crate) type Parameters = BTreeMap<String, Vec<String>>;

/// Reads a query string.
pub(crate) fn parameters(query: &str) -> Parameters {
    let mut all = Parameters::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        all.entry(name.into_owned())
            .or_default()
            .push(value.into_owned());
    }
    all
}

/// The code of an answer that came through the browser.
///
/// # Errors
///
/// As [`code_from`].
pub(crate) fn code_of(all: &Parameters, expected: &Expected<'_>) -> Result<SecretText> {
    let first = |name: &str| all.get(name)?.first().map(String::as_str);
    check_state(first("state"), expected)?;
    let issuer =
        first("iss").filter(|issuer| expected.issuer.is_some_and(|wanted| wanted != *issuer));
    if let Some(issuer) = issuer {
        let message = format!("the answer came from issuer \"{}\"", redact(issuer, &[]));
        return Err(Error::new(Code::OauthIssuerMismatch, message));
    }
    if let Some(error) = first("error") {
        return Err(reported(error, first("error_description")));
    }
    let codes = all.get("code").map(Vec::as_slice).unwrap_or_default();
    match codes {
        [first, rest @ ..] if rest.iter().any(|code| code != first) => {
            Err(unusable("the answer contains several authorization codes"))
        }
        [code, ..] if !code.is_empty() => Ok(SecretText::new(code.clone())),
        _ => Err(missing()),
    }
}

/// Compares the state in constant time.
pub(crate) fn check_state(state: Option<&str>, expected: &Expected<'_>) -> Result<()> {
    let Some(state) = state.filter(|state| !state.is_empty()) else {
        let message = "the answer belongs to a different sign-in (state is missing)";
        return Err(Error::new(Code::OauthStateMissing, message).retryable(true));
    };
    if &SecretText::new(state.to_owned()) == expected.state {
        return Ok(());
    }
    let message = "the answer belongs to a different sign-in (state differs)";
    Err(Error::new(Code::OauthStateMismatch, message).retryable(true))
}

fn reported(error: &str, description: Option<&str>) -> Error {
    let error = redact(error, &[]);
    let description = description
        .map(|text| redact(text, &[]))
        .filter(|text| !text.is_empty());
    if error == "access_denied" {
        let description = description.unwrap_or_else(|| "access denied".to_owned());
        let message = format!("the provider reports: {description}");
        return Error::new(Code::OauthAuthorizationDenied, message).retryable(true);
    }
    let description = description.map_or_else(String::new, |text| format!(": {text}"));
    let message = format!("the provider reports: {error}{description}");
    Error::new(Code::OauthAuthorizationError, message).with("error", error)
}

fn parameters_of_address(text: &str, expected: &Expected<'_>) -> Result<Parameters> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| unusable("that is not an address of the web"))?;
    let same_host = |other: &Url| {
        url.host_str() == other.host_str()
            && url.port_or_known_default() == other.port_or_known_default()
    };
    let at_redirect = same_host(expected.redirect) && url.path() == expected.redirect.path();
    if same_host(expected.authorize) && !at_redirect {
        return Err(unusable(
            "that is the sign-in page; paste the address shown after signing in",
        ));
    }
    if is_loopback(&url) && url.path() != expected.redirect.path() {
        return Err(unusable(
            "the path of the address is not the one that was asked for",
        ));
    }
    let in_query = parameters(url.query().unwrap_or_default());
    if in_query.contains_key("code") || in_query.contains_key("error") {
        return Ok(in_query);
    }
    let in_fragment = parameters(url.fragment().unwrap_or_default());
    let better = in_fragment.contains_key("code") || in_fragment.contains_key("error");
    Ok(if better { in_fragment } else { in_query })
}

fn bare(code: &str) -> Result<SecretText> {
    let token =
        code.starts_with("sk-") || (code.starts_with("eyJ") && code.matches('.').count() == 2);
    if token {
        return Err(unusable(
            "that is a token, not an authorization code; use `models auth paste-token`",
        ));
    }
    let fine = |c: char| !c.is_whitespace() && !"<>\"\\".contains(c);
    if (1..=MAX_CODE).contains(&code.chars().count()) && code.chars().all(fine) {
        return Ok(SecretText::new(code.to_owned()));
    }
    Err(unusable("that is no authorization code"))
}

fn unwrap(text: &str) -> &str {
    for (open, close) in [('<', '>'), ('"', '"'), ('\'', '\''), ('`', '`')] {
        let inner = text
            .strip_prefix(open)
            .and_then(|rest| rest.strip_suffix(close));
        if let Some(inner) = inner {
            return inner.trim();
        }
    }
    text
}

fn unusable(reason: &str) -> Error {
    Error::new(Code::OauthInputInvalid, reason).retryable(true)
}

fn missing() -> Error {
    let message = "the answer contains no authorization code";
    Error::new(Code::OauthCodeMissing, message).retryable(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, issuer: Option<&str>) -> Result<SecretText> {
        let expected = Expected {
            redirect: &Url::parse("http://localhost:1455/auth/callback").unwrap(),
            authorize: &Url::parse("https://auth.openai.com/oauth/authorize").unwrap(),
            state: &SecretText::new("S1".to_owned()),
            issuer,
        };
        code_from(text, &expected)
    }

    #[test]
    fn examples_9_to_29() {
        let at = "http://localhost:1455/auth/callback";
        let ok = |text: &str, code: &str| match read(text, None) {
            Ok(found) => assert_eq!(found.expose(), code, "{text}"),
            Err(error) => panic!("{text}: {error}"),
        };
        ok(&format!("{at}?code=abc&state=S1"), "abc");
        ok(
            "http://127.0.0.1:1455/auth/callback?code=abc&state=S1",
            "abc",
        );
        ok(&format!("  \"{at}?code=a%2Fb&state=S1\"  "), "a/b");
        ok(
            "http://localhost:1455/auth/call\nback?code=abc&state=S1",
            "abc",
        );
        ok(
            "https://name-1455.app.example.dev/auth/callback?code=abc&state=S1",
            "abc",
        );
        ok(&format!("{at}#code=abc&state=S1"), "abc");
        ok(&format!("<{at}?code=a&code=a&state=S1>"), "a");
        ok("code=abc&state=S1", "abc");
        ok("?code=abc&state=S1", "abc");
        ok("abc#S1", "abc");
        ok("abc#", "abc");
        ok("ac_9f3-Q_x.7", "ac_9f3-Q_x.7");

        let long = "x".repeat(MAX_CODE + 1);
        for (text, code, words) in [
            (
                format!("{at}?code=abc&state=S2"),
                Code::OauthStateMismatch,
                "different sign-in",
            ),
            (
                format!("{at}?code=abc"),
                Code::OauthStateMissing,
                "different sign-in",
            ),
            (
                "http://localhost:1455/other?code=abc&state=S1".to_owned(),
                Code::OauthInputInvalid,
                "path",
            ),
            (
                format!("{at}?error=access_denied&error_description=End-User+denied&state=S1"),
                Code::OauthAuthorizationDenied,
                "End-User denied",
            ),
            (
                format!(
                    "{at}?error=invalid_scope&error_description=The+requested+scope+is+invalid&state=S1"
                ),
                Code::OauthAuthorizationError,
                "invalid_scope",
            ),
            (
                format!("{at}?state=S1"),
                Code::OauthCodeMissing,
                "no authorization code",
            ),
            (
                "https://auth.openai.com/oauth/authorize?response_type=code&state=S1".to_owned(),
                Code::OauthInputInvalid,
                "sign-in page",
            ),
            ("abc#S2".to_owned(), Code::OauthStateMismatch, "different"),
            (String::new(), Code::OauthInputInvalid, "nothing was pasted"),
            (
                "sk-ant-oat01-xxxx".to_owned(),
                Code::OauthInputInvalid,
                "that is a token",
            ),
            (
                "eyJh.eyJi.c".to_owned(),
                Code::OauthInputInvalid,
                "that is a token",
            ),
            (
                format!("{at}?code=a&code=b&state=S1"),
                Code::OauthInputInvalid,
                "several",
            ),
            (
                "two words".to_owned(),
                Code::OauthInputInvalid,
                "no authorization code",
            ),
            (long, Code::OauthInputInvalid, "no authorization code"),
            (
                "ftp://x/?code=a&state=S1".to_owned(),
                Code::OauthInputInvalid,
                "web",
            ),
        ] {
            let error = read(&text, None).unwrap_err();
            assert_eq!(error.code(), code, "{text}");
            assert!(error.message().contains(words), "{text}: {error}");
            assert!(!error.message().contains("abc"), "{error}");
        }
        let evil = format!("{at}?code=abc&state=S1&iss=http%3A%2F%2Fevil.test");
        let error = read(&evil, Some("http://127.0.0.1:44510")).unwrap_err();
        assert_eq!(error.code(), Code::OauthIssuerMismatch);
        assert!(read(&evil, None).is_ok(), "no issuer is described");
    }
}
