//! Where keys and values stand in a JSON5 text. Runs only when a message needs a place, on texts
//! that the parser has accepted.

use std::collections::HashMap;

use super::MAX_DEPTH;

/// A place in a text: line and column, both from one; columns count Unicode scalar values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// The place of a byte offset. Line ends are those of JSON5: LF, CR, CRLF, U+2028 and U+2029.
pub(crate) fn place_at(text: &str, offset: usize) -> Place {
    let mut place = Place { line: 1, column: 1 };
    let mut chars = text
        .char_indices()
        .take_while(|(at, _)| *at < offset)
        .peekable();
    while let Some((_, c)) = chars.next() {
        match c {
            '\r' if chars.peek().is_some_and(|(_, next)| *next == '\n') => {}
            '\n' | '\r' | '\u{2028}' | '\u{2029}' => {
                place = Place {
                    line: place.line + 1,
                    column: 1,
                };
            }
            _ => place.column += 1,
        }
    }
    place
}

/// The places of the wanted paths: where the key starts, or the value for array items and the
/// root. Of a repeated key the last one counts, as it does for the value.
pub(crate) fn find_places(text: &str, wanted: &[&[String]]) -> Vec<Option<Place>> {
    let mut offsets: HashMap<&[String], Option<usize>> =
        wanted.iter().map(|path| (*path, None)).collect();
    scan(text, &mut |path, span| {
        if let Some(slot) = offsets.get_mut(path) {
            *slot = Some(span.start);
        }
    });
    let place = |path: &&[String]| offsets.get(path)?.map(|offset| place_at(text, offset));
    wanted.iter().map(place).collect()
}

/// Where one value stands in a text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Where its key starts, or the value itself for array items and the root.
    pub(super) start: usize,
    /// End of the key.
    pub(super) key_end: usize,
    pub(super) value: usize,
    pub(super) end: usize,
}

/// Visits every value, children before their parents, with its path.
pub(super) fn scan(text: &str, visit: &mut Visit<'_>) {
    let mut scanner = Scanner {
        text,
        at: 0,
        path: Vec::new(),
    };
    scanner.skip();
    let value = scanner.at;
    scanner.value(visit);
    let span = Span {
        start: value,
        key_end: value,
        value,
        end: scanner.at,
    };
    visit(&[], span);
}

/// The offset of the next thing after white space and comments.
pub(super) fn skip_blank(text: &str, at: usize) -> usize {
    let mut scanner = Scanner {
        text,
        at,
        path: Vec::new(),
    };
    scanner.skip();
    scanner.at
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    path: Vec<String>,
}

type Visit<'v> = dyn FnMut(&[String], Span) + 'v;

impl Scanner<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Skips white space and comments.
    fn skip(&mut self) {
        while let Some(rest) = self.text.get(self.at..) {
            if rest.starts_with("//") {
                self.at += rest
                    .find(['\n', '\r', '\u{2028}', '\u{2029}'])
                    .unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                self.at += rest.find("*/").map_or(rest.len(), |end| end + 2);
            } else if self
                .peek()
                .is_some_and(|c| c.is_whitespace() || c == '\u{feff}')
            {
                self.bump();
            } else {
                return;
            }
        }
    }

    fn value(&mut self, visit: &mut Visit<'_>) {
        self.skip();
        match self.peek() {
            Some('{') if self.path.len() < MAX_DEPTH => self.object(visit),
            Some('[') if self.path.len() < MAX_DEPTH => self.array(visit),
            Some('"' | '\'') => drop(self.string()),
            _ => self.word(),
        }
    }

    fn object(&mut self, visit: &mut Visit<'_>) {
        self.bump();
        loop {
            self.skip();
            match self.peek() {
                Some('}') => {
                    self.bump();
                    return;
                }
                Some(',') => {
                    self.bump();
                }
                Some(_) => {
                    let start = self.at;
                    let key = self.key();
                    let key_end = self.at;
                    self.skip();
                    if self.bump() != Some(':') {
                        return;
                    }
                    self.path.push(key);
                    self.skip();
                    let value = self.at;
                    self.value(visit);
                    let span = Span {
                        start,
                        key_end,
                        value,
                        end: self.at,
                    };
                    visit(&self.path, span);
                    self.path.pop();
                }
                None => return,
            }
        }
    }

    fn array(&mut self, visit: &mut Visit<'_>) {
        self.bump();
        let mut index = 0usize;
        loop {
            self.skip();
            match self.peek() {
                Some(']') => {
                    self.bump();
                    return;
                }
                Some(',') => {
                    self.bump();
                    index += 1;
                }
                Some(_) => {
                    self.path.push(index.to_string());
                    let before = self.at;
                    self.value(visit);
                    let span = Span {
                        start: before,
                        key_end: before,
                        value: before,
                        end: self.at,
                    };
                    visit(&self.path, span);
                    self.path.pop();
                    if self.at == before {
                        return;
                    }
                }
                None => return,
            }
        }
    }

    fn key(&mut self) -> String {
        match self.peek() {
            Some('"' | '\'') => self.string(),
            _ => {
                let start = self.at;
                self.word();
                decode(self.text.get(start..self.at).unwrap_or_default())
            }
        }
    }

    /// Skips to the next character that ends an unquoted key, number or literal.
    fn word(&mut self) {
        while self
            .peek()
            .is_some_and(|c| !c.is_whitespace() && !",:{}[]/\u{feff}".contains(c))
        {
            self.bump();
        }
    }

    fn string(&mut self) -> String {
        let quote = self.bump();
        let start = self.at;
        while let Some(c) = self.bump() {
            if c == '\\' {
                self.bump();
            } else if Some(c) == quote {
                break;
            }
        }
        decode(
            self.text
                .get(start..self.at.saturating_sub(1))
                .unwrap_or_default(),
        )
    }
}

/// A key with its escapes undone, by the parser that reads the values.
fn decode(raw: &str) -> String {
    if !raw.contains('\\') {
        return raw.to_owned();
    }
    let quoted = format!("\"{}\"", raw.replace('"', "\\\""));
    json5::from_str(&quoted).unwrap_or_else(|_| raw.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, path: &[&str]) -> Option<(usize, usize)> {
        let path: Vec<String> = path.iter().map(|s| (*s).to_owned()).collect();
        find_places(text, &[&path])
            .pop()
            .unwrap()
            .map(|place| (place.line, place.column))
    }

    #[test]
    fn keys_and_items_are_found() {
        let text = "// head\n{\n  'a b': { c: [1, {d: \"x,y\"}, /* , */ 3], },\n  a: 1, a: 2, \\u0065: 0,\r\n  z: '}'}";
        for (path, expected) in [
            (&[][..], Some((2, 1))),
            (&["a b"], Some((3, 3))),
            (&["a b", "c"], Some((3, 12))),
            (&["a b", "c", "1"], Some((3, 19))),
            (&["a b", "c", "1", "d"], Some((3, 20))),
            (&["a b", "c", "2"], Some((3, 39))),
            (&["a"], Some((4, 9))),
            (&["e"], Some((4, 15))),
            (&["z"], Some((5, 3))),
            (&["nope"], None),
        ] {
            assert_eq!(find(text, path), expected, "{path:?}");
        }
    }

    #[test]
    fn broken_text_ends_the_scan() {
        for text in ["{a", "{a:", "[1,", "{'a", "]", "{a:1", "[}", "/*", "{a:/"] {
            let _ = find(text, &["a"]);
        }
    }

    #[test]
    fn columns_count_scalar_values() {
        assert_eq!(place_at("é\u{2028}ü x", 6), Place { line: 2, column: 2 });
        assert_eq!(place_at("a\r\nb", 3), Place { line: 2, column: 1 });
        assert_eq!(place_at("a\rb", 2), Place { line: 2, column: 1 });
    }
}
