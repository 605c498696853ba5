//! Changing single values of a JSON5 text: comments, order and layout of everything else stay
//! byte for byte.

use std::collections::HashMap;

use serde_json::Value;
use zeroize::Zeroizing;

use super::scan::{Span, scan, skip_blank};

/// A text that is being edited. It must be one that the parser accepts.
pub(crate) struct Editor {
    text: Zeroizing<String>,
}

/// Why a value cannot be edited, in a few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotEditable(pub(crate) &'static str);

/// Where a path stands, and what is around it.
struct Found {
    /// Every occurrence of the path; more than one when a key is repeated.
    spans: Vec<Span>,
    /// The nearest object above that exists: its depth and span.
    above: Option<(usize, Span)>,
    /// The members of that object (of its last occurrence), in order.
    members: Vec<Span>,
    /// Every key of the text is in quotes.
    quoted: bool,
}

impl Editor {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: Zeroizing::new(text.to_owned()),
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the text has a value at a path.
    pub(crate) fn contains(&self, path: &[String]) -> bool {
        !self.find(path).spans.is_empty()
    }

    /// How many segments of a path exist as objects or their members in this text.
    pub(crate) fn depth(&self, path: &[String]) -> usize {
        let found = self.find(path);
        match found.spans.is_empty() {
            true => found.above.map_or(0, |(depth, _)| depth),
            false => path.len(),
        }
    }

    /// The value at a path, as the parser reads it.
    pub(crate) fn value(&self, path: &[String]) -> Option<Value> {
        let span = *self.find(path).spans.last()?;
        let text = self.text.get(span.value..span.end)?;
        super::parse_json5(text).ok().map(|parsed| parsed.value)
    }

    /// Replaces the value at a path, or inserts it with the objects that are missing above it.
    pub(crate) fn set(&mut self, path: &[String], value: &Value) -> Result<(), NotEditable> {
        let found = self.find(path);
        match found.spans.as_slice() {
            [span] => {
                let text = render(value, found.quoted);
                self.splice(span.value, span.end, &text);
                Ok(())
            }
            [] => self.insert(path, value, &found),
            _ => Err(NotEditable("the key is repeated")),
        }
    }

    /// Replaces key and value of a member.
    pub(crate) fn replace_member(
        &mut self,
        path: &[String],
        key: &str,
        value: &Value,
    ) -> Result<(), NotEditable> {
        let found = self.find(path);
        let [span] = found.spans.as_slice() else {
            return Err(NotEditable("the key is repeated"));
        };
        let text = render(value, found.quoted);
        self.splice(span.value, span.end, &text);
        self.splice(span.start, span.key_end, &render_key(key, found.quoted));
        Ok(())
    }

    /// Takes a member out of its object. Comments around it stay.
    pub(crate) fn remove(&mut self, path: &[String]) -> Result<(), NotEditable> {
        let found = self.find(path);
        let [span] = found.spans.as_slice() else {
            return Err(NotEditable("the key is repeated"));
        };
        let siblings = match path.split_last() {
            Some((_, parent)) => self.members_of(parent),
            None => return Err(NotEditable("the top level cannot be removed")),
        };
        let after = skip_blank(&self.text, span.end);
        let has_comma = self.text.get(after..).is_some_and(|t| t.starts_with(','));
        let end = if has_comma { after + 1 } else { span.end };
        // What would be an empty line goes as well.
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.trim_end_matches([' ', '\t']);
        let tail = self.text.get(end..).unwrap_or_default();
        let blank = tail.trim_start_matches([' ', '\t']);
        let own_line = line.ends_with('\n') && blank.starts_with(['\n', '\r']);
        let (start, end) = match (own_line, line.is_empty()) {
            (true, _) => {
                let rest = blank.strip_prefix('\r').unwrap_or(blank);
                let rest = rest.strip_prefix('\n').unwrap_or(rest);
                (line.len(), self.text.len() - rest.len())
            }
            (false, false) if has_comma => (span.start, self.text.len() - blank.len()),
            _ => (span.start, end),
        };
        self.splice(start, end, "");
        if let ([_], Some((_, parent))) = (siblings.as_slice(), path.split_last()) {
            self.close_up(parent);
        }
        if has_comma {
            return Ok(());
        }
        // The member before it is the last one now.
        let previous = siblings
            .iter()
            .rev()
            .find(|member| member.end <= span.start);
        if let Some(previous) = previous {
            let comma = skip_blank(&self.text, previous.end);
            if self.text.get(comma..).is_some_and(|t| t.starts_with(',')) {
                self.splice(comma, comma + 1, "");
            }
        }
        Ok(())
    }

    /// Takes out the blanks of an object or array in which nothing else is left.
    fn close_up(&mut self, path: &[String]) {
        let Some(around) = self.find(path).spans.last().copied() else {
            return;
        };
        let (start, end) = (around.value + 1, around.end.saturating_sub(1));
        let inside = self.text.get(start..end).unwrap_or_default();
        if !inside.is_empty() && inside.trim_matches(' ').is_empty() {
            self.splice(start, end, "");
        }
    }

    fn insert(&mut self, path: &[String], value: &Value, found: &Found) -> Result<(), NotEditable> {
        let Some((depth, object)) = found.above else {
            return Err(NotEditable("there is no object to put it into"));
        };
        if !self
            .text
            .get(object.value..)
            .is_some_and(|t| t.starts_with('{'))
        {
            return Err(NotEditable("the value above it is not an object"));
        }
        let Some((key, below)) = path.get(depth..).and_then(<[String]>::split_first) else {
            return Err(NotEditable("there is no object to put it into"));
        };
        let nested = below.iter().rev().fold(value.clone(), |inner, key| {
            Value::Object([(key.clone(), inner)].into_iter().collect())
        });
        let member = format!(
            "{}: {}",
            render_key(key, found.quoted),
            render(&nested, found.quoted)
        );
        self.insert_last(object, found.members.last().copied(), &member);
        Ok(())
    }

    /// Puts a value behind the last one of an array.
    pub(crate) fn push(&mut self, path: &[String], value: &Value) -> Result<(), NotEditable> {
        let found = self.find(path);
        let [array] = found.spans.as_slice() else {
            return Err(NotEditable("the key is repeated"));
        };
        let items = self.members_of(path);
        self.insert_last(*array, items.last().copied(), &render(value, found.quoted));
        Ok(())
    }

    /// Puts a text behind the last part of an object or array, laid out like that one.
    fn insert_last(&mut self, around: Span, last: Option<Span>, member: &str) {
        let Some(last) = last else {
            let at = around.value + 1;
            let inside = self.text.get(at..around.end.saturating_sub(1));
            let text = match inside.unwrap_or_default() {
                "" => format!(" {member} "),
                blank if blank.starts_with(char::is_whitespace) => format!(" {member}"),
                _ => format!(" {member} "),
            };
            return self.splice(at, at, &text);
        };
        let comma = skip_blank(&self.text, last.end);
        let has_comma = self.text.get(comma..).is_some_and(|t| t.starts_with(','));
        let after = if has_comma { comma + 1 } else { last.end };
        let ending = if has_comma { "," } else { "" };
        let line_end = self.end_of_line(after, around.end);
        match (self.indent_of(last.start), line_end) {
            (Some(indent), Some(at)) => {
                let text = format!("{}{indent}{member}{ending}", self.line_break());
                self.splice(at, at, &text);
                if !has_comma {
                    self.splice(last.end, last.end, ",");
                }
            }
            _ if has_comma => self.splice(after, after, &format!(" {member},")),
            _ => self.splice(last.end, last.end, &format!(", {member}")),
        }
    }

    fn find(&self, path: &[String]) -> Found {
        let mut found = Found {
            spans: Vec::new(),
            above: None,
            members: Vec::new(),
            quoted: true,
        };
        let mut keys = 0usize;
        let mut children: HashMap<usize, Vec<Span>> = HashMap::new();
        scan(&self.text, &mut |here, span| {
            if span.key_end > span.start {
                keys += 1;
                let key = self.text.get(span.start..span.key_end);
                found.quoted &= key.is_some_and(|key| key.starts_with('"'));
            }
            if here == path {
                found.spans.push(span);
            }
            if here.len() <= path.len()
                && here
                    .split_last()
                    .is_some_and(|(_, up)| path.starts_with(up))
            {
                children.entry(here.len() - 1).or_default().push(span);
            }
            // Parents come after their children, so the deepest one is met first.
            if here.len() < path.len() && path.starts_with(here) {
                let deeper = found.above.is_none_or(|(depth, _)| here.len() >= depth);
                if deeper {
                    found.above = Some((here.len(), span));
                }
            }
        });
        if let Some((depth, object)) = found.above {
            let members = children.remove(&depth).unwrap_or_default();
            let inside = |span: &Span| object.value < span.start && span.end <= object.end;
            found.members = members.into_iter().filter(inside).collect();
        }
        // A text without keys says nothing; unquoted is what people write.
        found.quoted &= keys > 0;
        found
    }

    fn members_of(&self, parent: &[String]) -> Vec<Span> {
        let mut members = Vec::new();
        scan(&self.text, &mut |here, span| {
            if here.split_last().is_some_and(|(_, up)| up == parent) {
                members.push(span);
            }
        });
        members
    }

    /// The white space before an offset, if nothing else stands on its line.
    fn indent_of(&self, at: usize) -> Option<String> {
        let before = self.text.get(..at)?;
        let line = before.rsplit_once('\n')?.1;
        line.chars()
            .all(|c| c == ' ' || c == '\t')
            .then(|| line.to_owned())
    }

    /// The end of the line, if only blanks and one comment come before it.
    fn end_of_line(&self, at: usize, limit: usize) -> Option<usize> {
        let rest = self.text.get(at..limit)?;
        let line = rest.split_once('\n')?.0;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let trimmed = line.trim_start();
        let block = trimmed.strip_prefix("/*").and_then(|t| t.split_once("*/"));
        let only_comment = trimmed.is_empty()
            || trimmed.starts_with("//")
            || block.is_some_and(|(_, after)| after.trim().is_empty());
        only_comment.then(|| at + line.len())
    }

    fn line_break(&self) -> &'static str {
        if self.text.contains("\r\n") {
            "\r\n"
        } else {
            "\n"
        }
    }

    /// Replaces a range; the old text is wiped.
    fn splice(&mut self, start: usize, end: usize, with: &str) {
        let mut text = Zeroizing::new(String::with_capacity(self.text.len() + with.len()));
        text.push_str(self.text.get(..start).unwrap_or_default());
        text.push_str(with);
        text.push_str(self.text.get(end..).unwrap_or_default());
        self.text = text;
    }
}

/// A value on one line.
fn render(value: &Value, quoted: bool) -> String {
    match value {
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let members: Vec<String> = map
                .iter()
                .map(|(key, value)| {
                    format!("{}: {}", render_key(key, quoted), render(value, quoted))
                })
                .collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| render(item, quoted)).collect();
            format!("[{}]", items.join(", "))
        }
        scalar => scalar.to_string(),
    }
}

fn render_key(key: &str, quoted: bool) -> String {
    let plain = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '$')
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$');
    if plain && !quoted {
        key.to_owned()
    } else {
        Value::from(key).to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::json::{parse_json5, path::Path};

    fn path(text: &str) -> Vec<String> {
        Path::parse(text).unwrap().segments().to_vec()
    }

    fn set(text: &str, at: &str) -> String {
        let mut editor = Editor::new(text);
        match editor.set(&path(at), &json!({"id": "K"})) {
            Ok(()) => editor.text().to_owned(),
            Err(NotEditable(why)) => format!("no: {why}"),
        }
    }

    fn remove(text: &str, at: &str) -> String {
        let mut editor = Editor::new(text);
        editor.remove(&path(at)).unwrap();
        editor.text().to_owned()
    }

    #[test]
    fn values_are_replaced_in_place() {
        for (text, at, expected) in [
            (
                "{ a: 'x' /* c */, b: 1 }",
                "a",
                "{ a: { id: \"K\" } /* c */, b: 1 }",
            ),
            ("{\"a\":\"x\"}", "a", "{\"a\":{ \"id\": \"K\" }}"),
            ("{\"a\":\"x\", b: 1}", "a", "{\"a\":{ id: \"K\" }, b: 1}"),
            ("[1, {k: 2}]", "1.k", "[1, {k: { id: \"K\" }}]"),
            ("{a: 1, a: 2}", "a", "no: the key is repeated"),
        ] {
            assert_eq!(set(text, at), expected, "{text}");
        }
    }

    #[test]
    fn missing_members_go_to_the_end_in_the_style_around() {
        for (text, at, expected) in [
            ("{}", "a", "{ a: { id: \"K\" } }"),
            ("{ // c\n}", "a", "{ a: { id: \"K\" } // c\n}"),
            ("{ b: 1 }", "a.x", "{ b: 1, a: { x: { id: \"K\" } } }"),
            ("{ b: 1, }", "a", "{ b: 1, a: { id: \"K\" }, }"),
            (
                "{\"b\":{}}",
                "b.my-key",
                "{\"b\":{ \"my-key\": { \"id\": \"K\" } }}",
            ),
            (
                "{\n  b: 1, // one\n  c: 2 // two\n  // end\n}\n",
                "a",
                "{\n  b: 1, // one\n  c: 2, // two\n  a: { id: \"K\" }\n  // end\n}\n",
            ),
            (
                "{\r\n\tb: 1,\r\n}",
                "a",
                "{\r\n\tb: 1,\r\n\ta: { id: \"K\" },\r\n}",
            ),
            ("{\n  b: 1 }", "a", "{\n  b: 1, a: { id: \"K\" } }"),
            ("{ b: 1 }", "b.c", "no: the value above it is not an object"),
            ("[]", "a", "no: the value above it is not an object"),
        ] {
            assert_eq!(set(text, at), expected, "{text:?}");
        }
    }

    #[test]
    fn members_are_removed_with_their_comma() {
        for (text, at, expected) in [
            ("{ a: 1, b: 2 }", "a", "{ b: 2 }"),
            ("{ a: 1, b: 2 }", "b", "{ a: 1  }"),
            ("{\"a\":1,\"b\":2}", "b", "{\"a\":1}"),
            ("{ a: 1 }", "a", "{}"),
            ("{\n  a: 1,\n  b: 2,\n}", "b", "{\n  a: 1,\n}"),
            ("{\n  a: 1, // keep\n  b: 2\n}", "b", "{\n  a: 1 // keep\n}"),
            (
                "{\n  a: {x: 1},\n  // about c\n  c: 2\n}",
                "a.x",
                "{\n  a: {},\n  // about c\n  c: 2\n}",
            ),
        ] {
            assert_eq!(remove(text, at), expected, "{text:?}");
        }
    }

    #[test]
    fn renamed_members_keep_their_place() {
        let mut editor = Editor::new("{ a: 1, /* x */ b: {p: 'secret'}, c: 3 }");
        editor
            .replace_member(&path("b"), "bRef", &json!({"id": "K"}))
            .unwrap();
        assert_eq!(editor.text(), "{ a: 1, /* x */ bRef: { id: \"K\" }, c: 3 }");
    }

    proptest! {
        /// Whatever the layout, an edit changes the one value and nothing else.
        #[test]
        fn edits_change_one_value(
            gaps in prop::collection::vec(prop::sample::select(vec![
                "", " ", "\n", "\n  ", " /* , */ ", " // {\n ", "\t",
            ]), 16),
            trailing in any::<bool>(),
            which in 0usize..4,
        ) {
            let gap = |n: usize| gaps[n % gaps.len()];
            let text = format!(
                "{{{}a{}:{}1{},{}'b b'{}:{}{{c:[1,{}{{d:'}}'}}]{}}}{}{}}}",
                gap(0), gap(1), gap(2), gap(3), gap(4), gap(5), gap(6), gap(7), gap(8), gap(9),
                if trailing { "," } else { "" },
            );
            let before = parse_json5(&text).unwrap().value;
            let at = [&["a"][..], &["b b", "c", "1", "d"], &["b b", "new", "deep"], &["top"]][which];
            let at: Vec<String> = at.iter().map(|s| (*s).to_owned()).collect();
            let mut editor = Editor::new(&text);
            editor.set(&at, &json!("new")).unwrap();
            let after = parse_json5(editor.text()).unwrap().value;
            let mut expected = before.clone();
            match which {
                0 => expected["a"] = json!("new"),
                1 => expected["b b"]["c"][1]["d"] = json!("new"),
                2 => expected["b b"]["new"] = json!({"deep": "new"}),
                _ => expected["top"] = json!("new"),
            }
            prop_assert_eq!(after, expected, "{}", text);
            // And out again.
            if which >= 2 {
                let gone: Vec<String> = at.iter().take(if which == 2 { 2 } else { 1 }).cloned().collect();
                editor.remove(&gone).unwrap();
                prop_assert_eq!(parse_json5(editor.text()).unwrap().value, before, "{}", text);
            }
        }
    }
}
