//! The `.env` syntax, with the results of the `dotenv` module that OpenClaw uses.

use zeroize::Zeroizing;

/// One assignment of a `.env` text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) value: Zeroizing<String>,
    /// Line of the name, from one.
    pub(crate) line: usize,
    /// Number of lines that the assignment takes.
    pub(crate) lines: usize,
    /// The unquoted value ended at a `#` that had no blank before it.
    pub(crate) cut_at_hash: bool,
}

/// All assignments in order; lines that are none are ignored. Names are not filtered here.
pub(crate) fn parse(text: &str) -> Vec<Entry> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = Zeroizing::new(text.replace("\r\n", "\n").replace('\r', "\n"));
    let mut entries = Vec::new();
    let mut rest: &str = &text;
    let mut line = 1;
    while !rest.is_empty() {
        let start = rest;
        let mut found = false;
        rest = match assignment(rest) {
            Some((mut entry, after)) => {
                entry.line = line;
                entries.push(entry);
                found = true;
                after
            }
            None => rest.split_once('\n').map_or("", |(_, after)| after),
        };
        let used = start.len() - rest.len();
        let breaks = start.bytes().take(used).filter(|b| *b == b'\n').count();
        if let Some(entry) = entries.last_mut().filter(|_| found) {
            entry.lines = breaks.max(1);
        }
        line += breaks;
    }
    entries
}

/// Reads one assignment at the start of `text`; also returns what follows its line.
fn assignment(text: &str) -> Option<(Entry, &str)> {
    let text = text.trim_start_matches(is_blank);
    let text = match text.strip_prefix("export") {
        Some(rest) if rest.starts_with(is_blank) => rest.trim_start_matches(is_blank),
        _ => text,
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let (name, rest) = text.split_at_checked(text.find(|c| !is_name(c))?)?;
    if name.is_empty() {
        return None;
    }
    let rest = match rest.trim_start_matches(is_blank).strip_prefix('=') {
        Some(rest) => rest.trim_start_matches(is_blank),
        None => rest
            .strip_prefix(':')
            .filter(|rest| rest.starts_with(is_blank))?,
    };
    let rest = rest.trim_start_matches(is_blank);
    let (value, cut_at_hash, after) =
        quoted(rest).map_or_else(|| plain(rest), |(value, after)| (value, false, after));
    Some((
        Entry {
            name: name.to_owned(),
            value: Zeroizing::new(value),
            line: 0,
            lines: 1,
            cut_at_hash,
        },
        after,
    ))
}

/// A value in quotes that enclose it wholly: only blanks and a comment follow on its line.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| "\"'`".contains(*c))?;
    let body = text.strip_prefix(quote)?;
    let mut escaped = false;
    let end = body.find(|c| {
        let closes = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    })?;
    let (value, after) = body.split_at_checked(end)?;
    let after = after.strip_prefix(quote)?;
    let (tail, next) = after.split_once('\n').unwrap_or((after, ""));
    let tail = tail.trim_matches(is_blank);
    if !tail.is_empty() && !tail.starts_with('#') {
        return None;
    }
    Some((unescaped(quote, value), next))
}

/// The inside of quotes: only double quotes know escapes, and only two.
fn unescaped(quote: char, value: &str) -> String {
    match quote {
        '"' => value.replace("\\n", "\n").replace("\\r", "\r"),
        _ => value.to_owned(),
    }
}

/// A value without quotes: up to the end of the line or the first `#`, trimmed.
fn plain(text: &str) -> (String, bool, &str) {
    let (line, next) = text.split_once('\n').unwrap_or((text, ""));
    let value = line.split('#').next().unwrap_or_default();
    let cut = value.len() < line.len() && !value.is_empty() && !value.ends_with(is_blank);
    let value = value.trim();
    let inside = ['"', '\'', '`'].into_iter().find_map(|quote| {
        let inside = value.strip_prefix(quote)?.strip_suffix(quote)?;
        Some(unescaped(quote, inside))
    });
    (inside.unwrap_or_else(|| value.to_owned()), cut, next)
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::parse;

    #[test]
    fn values_and_lines() {
        let text = "\u{feff}# head\r\nA=b#c\n B : x\nexport C='m\nn' # t\nD=\"x\"y\nE=\nF: g # h\n";
        let entries: Vec<_> = parse(text)
            .into_iter()
            .map(|e| (e.name, e.value.to_string(), e.line, e.cut_at_hash))
            .collect();
        let expected = [
            ("A", "b", 2, true),
            ("C", "m\nn", 4, false),
            ("D", "\"x\"y", 6, false),
            ("E", "", 7, false),
            ("F", "g", 8, false),
        ];
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(n, v, l, c)| (n.to_owned(), v.to_owned(), l, c))
            .collect();
        assert_eq!(entries, expected);
    }

    proptest! {
        #[test]
        fn never_panics(text in "[A-B=:'\"`#\\\\ \n\r.x]{0,40}") {
            let _ = parse(&text);
        }
    }
}
