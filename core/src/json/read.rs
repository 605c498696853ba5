//! Text to values: JSON5 for files that people write, strict JSON for files that programs write.

use std::cell::RefCell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::scan::{Place, place_at};
use super::{MAX_DEPTH, Path, depth};

/// Most values in one document.
const MAX_VALUES: usize = 1_000_000;
/// Most bytes in one string.
const MAX_STRING: usize = 1 << 20;
/// Keys that JavaScript programs treat specially.
const FORBIDDEN_KEYS: [&str; 3] = ["__proto__", "prototype", "constructor"];

/// Why a text could not be read. Never quotes the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemKind,
    pub(crate) place: Place,
    /// What was wrong, in fixed words.
    pub(crate) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    /// Not valid by the grammar.
    Syntax,
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// Something about a document that parsed: worth a warning, or refused by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    DuplicateKey,
    ForbiddenKey,
    NotFinite,
    StringTooLong,
    TooManyValues,
}

/// A document and what was noticed on the way.
pub(crate) struct Parsed {
    pub(crate) value: Value,
    pub(crate) findings: Vec<(Path, Finding)>,
}

/// Reads JSON5 (<https://spec.json5.org>). A leading byte order mark is the caller's to drop.
pub(crate) fn parse_json5(text: &str) -> Result<Parsed, Problem> {
    guarded(text, json5_to::<SHALLOW>, json5_to::<MAX_DEPTH>)
}

fn json5_to<const DEPTH: usize>(text: &str) -> Result<Parsed, Problem> {
    let parsed = json5::from_str::<Limited<DEPTH>>(text);
    parsed.map(|limited| limited.0).map_err(|error| {
        let at_end = error.code().is_none_or(is_end_of_input);
        let place = match error.position() {
            Some(at) if !at_end => Place {
                line: at.line + 1,
                column: at.column + 1,
            },
            _ => place_at(text, text.len()),
        };
        let message = match error.code() {
            Some(_) if at_end => "unexpected end of input".to_owned(),
            Some(code) => code.to_string(),
            None => "invalid JSON5".to_owned(),
        };
        Problem {
            kind: ProblemKind::Syntax,
            place,
            message,
        }
    })
}

/// Reads strict JSON (RFC 8259).
pub(crate) fn parse(text: &str) -> Result<Parsed, Problem> {
    guarded(text, json_to::<SHALLOW>, json_to::<MAX_DEPTH>)
}

fn json_to<const DEPTH: usize>(text: &str) -> Result<Parsed, Problem> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    // The depth is bounded already, and to the exact limit.
    deserializer.disable_recursion_limit();
    Limited::<DEPTH>::deserialize(&mut deserializer)
        .and_then(|parsed| deserializer.end().map(|()| parsed.0))
        .map_err(|error| Problem {
            kind: ProblemKind::Syntax,
            place: Place {
                line: error.line(),
                column: error.column(),
            },
            // The parser's own text may quote the document.
            message: if error.is_eof() {
                "unexpected end of input"
            } else {
                "invalid JSON"
            }
            .to_owned(),
        })
}

type Parser = fn(&str) -> Result<Parsed, Problem>;

/// Runs a parser that recurses, with the depth bounded and the stack sufficient: the caller's
/// thread may have a small one, so unusually deep documents get a thread of their own. Most are
/// shallow and are read in one pass; what that pass refuses, for whatever reason, is measured
/// first and read again.
fn guarded(text: &str, shallow: Parser, deep: Parser) -> Result<Parsed, Problem> {
    if let Ok(parsed) = shallow(text) {
        return Ok(parsed);
    }
    let depth = depth::measure(text, MAX_DEPTH).map_err(|offset| Problem {
        kind: ProblemKind::TooDeep,
        place: place_at(text, offset),
        message: format!("nested deeper than {MAX_DEPTH} levels"),
    })?;
    if depth <= SHALLOW {
        return deep(text);
    }
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().stack_size(DEEP_STACK);
        worker.spawn_scoped(scope, || deep(text)).ok()?.join().ok()
    })
    .unwrap_or_else(|| {
        Err(Problem {
            kind: ProblemKind::TooDeep,
            place: place_at(text, 0),
            message: format!("no thread could be started to read {depth} nested levels"),
        })
    })
}

/// Nesting that any thread's stack can take.
const SHALLOW: usize = 24;
/// Stack for documents nested up to [`MAX_DEPTH`], in bytes; an unoptimised build needs half.
const DEEP_STACK: usize = 4 << 20;

fn is_end_of_input(code: json5::ErrorCode) -> bool {
    use json5::ErrorCode as E;
    matches!(
        code,
        E::EofParsingArray
            | E::EofParsingBool
            | E::EofParsingComment
            | E::EofParsingEscapeSequence
            | E::EofParsingIdentifier
            | E::EofParsingNull
            | E::EofParsingNumber
            | E::EofParsingObject
            | E::EofParsingString
            | E::EofParsingValue
    )
}

/// A document that nests at most so deeply.
struct Limited<const DEPTH: usize>(Parsed);

impl<'de, const DEPTH: usize> Deserialize<'de> for Limited<DEPTH> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let notes = RefCell::new(Notes::default());
        let node = Node {
            notes: &notes,
            left: DEPTH,
        };
        let value = node.deserialize(deserializer)?;
        let findings = notes.into_inner().findings.into_iter();
        let upright = |(mut path, finding): (Vec<String>, Finding)| {
            path.reverse();
            (Path::new(path), finding)
        };
        Ok(Self(Parsed {
            value,
            findings: findings.map(upright).collect(),
        }))
    }
}

/// What is collected while reading: the parsers know neither duplicates nor limits. Paths grow
/// from their ends as the reader comes back up, so that documents without findings pay nothing.
#[derive(Default)]
struct Notes {
    values: usize,
    findings: Vec<(Vec<String>, Finding)>,
}

impl Notes {
    fn note(&mut self, finding: Finding) {
        self.findings.push((Vec::new(), finding));
    }

    fn count(&mut self) {
        self.values += 1;
        if self.values == MAX_VALUES + 1 {
            self.note(Finding::TooManyValues);
        }
    }

    /// Puts a segment before the paths of all findings since `before`. The number of values is a
    /// finding about the whole document.
    fn came_up(&mut self, before: usize, segment: impl Fn() -> String) {
        for (path, finding) in self.findings.iter_mut().skip(before) {
            if *finding != Finding::TooManyValues {
                path.push(segment());
            }
        }
    }
}

/// Reads one value. Never refuses: what is wrong goes into the notes, so that one pass finds all.
#[derive(Clone, Copy)]
struct Node<'a> {
    notes: &'a RefCell<Notes>,
    /// Levels that may still be opened.
    left: usize,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.notes.borrow_mut().count();
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or_else(
            || {
                self.notes.borrow_mut().note(Finding::NotFinite);
                Value::Null
            },
            Value::Number,
        ))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        if value.len() > MAX_STRING {
            self.notes.borrow_mut().note(Finding::StringTooLong);
        }
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut array = Vec::new();
        loop {
            let before = self.notes.borrow().findings.len();
            match items.next_element_seed(inside)? {
                Some(item) => array.push(item),
                None => return Ok(Value::Array(array)),
            }
            let index = array.len() - 1;
            self.notes
                .borrow_mut()
                .came_up(before, || index.to_string());
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut first = entries.next_key::<String>()?;
        // With arbitrary precision, serde_json hands a number over as a map of one private key.
        if first.as_deref() == Some(NUMBER_TOKEN) {
            let text: String = entries.next_value()?;
            return Ok(self.number(&text));
        }
        let inside = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = first.take() {
            let before = self.notes.borrow().findings.len();
            if FORBIDDEN_KEYS.contains(&key.as_str()) {
                self.notes.borrow_mut().note(Finding::ForbiddenKey);
            }
            let value = entries.next_value_seed(inside)?;
            let mut notes = self.notes.borrow_mut();
            notes.came_up(before, || key.clone());
            match map.entry(key) {
                Entry::Vacant(entry) => drop(entry.insert(value)),
                Entry::Occupied(mut entry) => {
                    notes
                        .findings
                        .push((vec![entry.key().clone()], Finding::DuplicateKey));
                    // The place of the first stays, the value of the last counts.
                    entry.insert(value);
                }
            }
            drop(notes);
            first = entries.next_key()?;
        }
        Ok(Value::Object(map))
    }
}

impl Node<'_> {
    /// For the values inside of this one.
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, ..self }),
            None => Err(E::custom("nested too deeply")),
        }
    }

    fn number(self, text: &str) -> Value {
        let number = match text.parse::<f64>() {
            Ok(value) if value.is_finite() => text.parse::<Number>().ok(),
            _ => None,
        };
        number.map_or_else(
            || {
                self.notes.borrow_mut().note(Finding::NotFinite);
                Value::Null
            },
            Value::Number,
        )
    }
}

/// The private key of `serde_json` for numbers kept as text.
const NUMBER_TOKEN: &str = "$serde_json::private::Number";

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<(String, Finding)> {
        let parsed = parse_json5(text).unwrap();
        parsed
            .findings
            .into_iter()
            .map(|(path, finding)| (path.to_string(), finding))
            .collect()
    }

    #[test]
    fn json5_values() {
        let text = "// c\n{ 'a': .5, b: +1, c: 0x10, d: [1,2,], e: 'l\\\nm', f: null, g: true }";
        let value = parse_json5(text).unwrap().value;
        let expected = serde_json::json!({"a": 0.5, "b": 1, "c": 16, "d": [1, 2], "e": "lm", "f": null, "g": true});
        assert_eq!(value, expected);
    }

    #[test]
    fn problems_have_a_place_and_no_excerpt() {
        for (text, line, column) in [
            ("{a:1,\n  b: }", 2, 6),
            ("{a:1,\n", 2, 1),
            ("   ", 1, 4),
            ("", 1, 1),
            ("{a:1} x", 1, 7),
            ("{a:'sk-canary", 1, 14),
            ("{a: /* ", 1, 8),
            ("/", 1, 2),
        ] {
            let problem = parse_json5(text).err().unwrap();
            assert_eq!(
                (problem.place.line, problem.place.column),
                (line, column),
                "{text}"
            );
            assert!(!problem.message.contains("canary"));
        }
        let problem = parse("{\"k\": \"sk-canary\" oops}").err().unwrap();
        assert_eq!((problem.place.line, problem.place.column), (1, 19));
        assert_eq!(problem.message, "invalid JSON");
        assert_eq!(parse("{} {}").err().unwrap().kind, ProblemKind::Syntax);
    }

    #[test]
    fn what_the_parsers_miss_is_noted() {
        assert_eq!(
            findings("{a:1, b:{c:1, c:2}}"),
            [("b.c".to_owned(), Finding::DuplicateKey)]
        );
        assert_eq!(findings("{a: [1, NaN, -Infinity, 1e400]}").len(), 3);
        assert_eq!(
            findings("{'__proto__': {}}"),
            [("__proto__".to_owned(), Finding::ForbiddenKey)]
        );
        let long = format!("['{}']", "x".repeat(MAX_STRING + 1));
        assert_eq!(findings(&long), [("0".to_owned(), Finding::StringTooLong)]);
        assert!(findings("{a:1}").is_empty());
    }

    #[test]
    fn strict_json_keeps_numbers_as_written() {
        let parsed = parse("[18446744073709551616, 0.10, 1]").unwrap();
        assert_eq!(parsed.value.to_string(), "[18446744073709551616,0.10,1]");
        assert_eq!(parse("[1e999]").unwrap().findings.len(), 1);
        assert!(parse("{a: 1}").is_err());
    }

    #[test]
    fn hostile_nesting_does_not_overflow_a_small_stack() {
        // 256 KiB, the smallest stack of a worker thread in common hosts.
        let run = || {
            for (open, close) in [("[", "]"), ("{a:", "}")] {
                let fits = format!("{}1{}", open.repeat(MAX_DEPTH), close.repeat(MAX_DEPTH));
                assert!(parse_json5(&fits).is_ok());
                let bomb = open.repeat(1_000_000);
                assert_eq!(parse_json5(&bomb).err().unwrap().kind, ProblemKind::TooDeep);
                assert_eq!(parse(&bomb).err().unwrap().kind, ProblemKind::TooDeep);
            }
            let fits = format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
            assert!(parse(&fits).is_ok());
        };
        std::thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn(run)
            .unwrap()
            .join()
            .unwrap();
    }
}
