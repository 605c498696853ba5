//! Paths into a document, in the two spellings people use.

use std::fmt;

use serde_json::Value;

/// A place inside a configuration: keys and array indexes from the root.
///
/// Text form: segments joined by dots, indexes as plain numbers
/// (`agents.list.0.memorySearch`). A segment that is empty or contains `.`, `[`, `]` or `"` is
/// written in brackets with JSON quoting: `models.providers["my.proxy"].apiKey`. The store of one
/// agent's auth profiles is the first segment `auth-profiles[<agent>]`, written as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Path(Vec<String>);

impl Path {
    /// The root.
    pub fn root() -> Self {
        Self::default()
    }

    /// A path of the given segments.
    pub fn new<S: Into<String>>(segments: impl IntoIterator<Item = S>) -> Self {
        Self(segments.into_iter().map(Into::into).collect())
    }

    /// Reads the text form, or a JSON Pointer (RFC 6901) when the text starts with `/`.
    /// `None` when the text is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::root());
        }
        if let Some(pointer) = text.strip_prefix('/') {
            return Some(Self::new(
                pointer
                    .split('/')
                    .map(|token| token.replace("~1", "/").replace("~0", "~")),
            ));
        }
        let mut segments = Vec::new();
        let mut rest = text;
        if let Some((store, tail)) = split_store(text) {
            segments.push(store.to_owned());
            if tail.is_empty() {
                return Some(Self(segments));
            }
            rest = if tail.starts_with('[') {
                tail
            } else {
                tail.strip_prefix('.')?
            };
        }
        loop {
            if let Some(quoted) = rest.strip_prefix('[') {
                let mut stream = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
                segments.push(stream.next()?.ok()?);
                rest = quoted.get(stream.byte_offset()..)?.strip_prefix(']')?;
            } else {
                let end = rest.find(['.', '[']).unwrap_or(rest.len());
                let (segment, tail) = rest.split_at_checked(end)?;
                if segment.is_empty() || segment.contains([']', '"']) {
                    return None;
                }
                segments.push(segment.to_owned());
                rest = tail;
            }
            if rest.is_empty() {
                return Some(Self(segments));
            }
            if !rest.starts_with('[') {
                rest = rest.strip_prefix('.')?;
            }
        }
    }

    /// The segments.
    pub fn segments(&self) -> &[String] {
        &self.0
    }

    /// This path with one more segment.
    #[must_use]
    pub fn child(&self, segment: impl Into<String>) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment.into());
        Self(segments)
    }

    pub(crate) fn push(&mut self, segment: impl Into<String>) {
        self.0.push(segment.into());
    }

    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            let is_store = || split_store(segment).is_some_and(|(_, rest)| rest.is_empty());
            if index == 0 && is_store() {
                f.write_str(segment)?;
            } else if segment.is_empty()
                || segment.contains(['.', '[', ']', '"'])
                || (index == 0 && segment.starts_with('/'))
            {
                write!(f, "[{}]", Value::String(segment.clone()))?;
            } else {
                let dot = if index == 0 { "" } else { "." };
                write!(f, "{dot}{segment}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({self})")
    }
}

/// Splits `auth-profiles[<agent>]` off the start of a text.
fn split_store(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix("auth-profiles[")?;
    let (agent, rest) = inside.split_once(']')?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if agent.is_empty() || !agent.bytes().all(plain) {
        return None;
    }
    let (store, _) = text.split_at_checked(text.len() - rest.len())?;
    Some((store, rest))
}

/// The value at a path, if there is one.
pub(crate) fn lookup<'a, S: AsRef<str>>(root: &'a Value, segments: &[S]) -> Option<&'a Value> {
    segments.iter().try_fold(root, |value, segment| {
        let segment = segment.as_ref();
        match value {
            Value::Object(map) => map.get(segment),
            Value::Array(items) => items.get(segment.parse::<usize>().ok()?),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Path;

    #[test]
    fn text_and_pointer_spellings() {
        for (text, segments, canonical) in [
            ("a.b.0.c", vec!["a", "b", "0", "c"], "a.b.0.c"),
            (
                "m[\"my.proxy\"].k",
                vec!["m", "my.proxy", "k"],
                "m[\"my.proxy\"].k",
            ),
            (
                "/m/my.proxy/k",
                vec!["m", "my.proxy", "k"],
                "m[\"my.proxy\"].k",
            ),
            ("/a~1b/~0c", vec!["a/b", "~c"], "a/b.~c"),
            ("a[\"\"]", vec!["a", ""], "a[\"\"]"),
            ("[\"x\"].y", vec!["x", "y"], "x.y"),
            ("openai:default", vec!["openai:default"], "openai:default"),
            ("", vec![], ""),
            (
                "auth-profiles[main].profiles.a:b.key",
                vec!["auth-profiles[main]", "profiles", "a:b", "key"],
                "auth-profiles[main].profiles.a:b.key",
            ),
            (
                "auth-profiles[\"x\"].k",
                vec!["auth-profiles", "x", "k"],
                "auth-profiles.x.k",
            ),
        ] {
            let path = Path::parse(text).unwrap();
            assert_eq!(path, Path::new(segments), "{text}");
            assert_eq!(path.to_string(), canonical);
        }
    }

    #[test]
    fn broken_spellings_are_refused() {
        for text in [
            "a..b",
            ".a",
            "a.",
            "a[b]",
            "a[\"b\"",
            "a[\"b\"]c",
            "a]b",
            "a\"b",
        ] {
            assert!(Path::parse(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn display_and_parse_round_trip(segments in prop::collection::vec(".{0,6}", 1..5)) {
            let path = Path::new(segments);
            prop_assert_eq!(Path::parse(&path.to_string()), Some(path));
        }

        #[test]
        fn parse_never_panics(text in ".{0,40}") {
            let _ = Path::parse(&text);
        }
    }
}
