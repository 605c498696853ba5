//! What can be saved of a store that is not whole any more.

use serde_json::{Map, Value};

use super::document::Document;
use crate::json::measure;

/// Sections whose entries are saved one by one.
const SECTIONS: [&str; 4] = ["profiles", "order", "lastGood", "usageStats"];
/// Deepest value that is read.
const MAX_DEPTH: usize = 32;

/// Every complete entry before the first place that cannot be read. `None`: no profile is among
/// them.
pub(super) fn salvage(text: &str) -> Option<Document> {
    let mut rest = Rest(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut root = Map::new();
    rest.members(&mut |rest, key| {
        let is_section = SECTIONS.contains(&key);
        if is_section && rest.0.trim_start().starts_with('{') {
            let mut section = Map::new();
            let whole = rest.members(&mut |rest, id| {
                let value = rest.value()?;
                section.insert(id.to_owned(), value);
                Some(())
            });
            root.insert(key.to_owned(), Value::Object(section));
            return whole;
        }
        let value = rest.value()?;
        if !is_section {
            root.insert(key.to_owned(), value);
        }
        Some(())
    });
    let profiles = root.get("profiles").and_then(Value::as_object);
    profiles.filter(|profiles| !profiles.is_empty())?;
    Document::from_root(root)
}

/// What has not been read yet.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    /// Gives each key of an object to a function that reads its value. `None`: something could
    /// not be read.
    fn members(&mut self, each: &mut dyn FnMut(&mut Self, &str) -> Option<()>) -> Option<()> {
        self.skip('{')?;
        if self.skip('}').is_some() {
            return Some(());
        }
        loop {
            let Value::String(key) = self.value()? else {
                return None;
            };
            self.skip(':')?;
            each(self, &key)?;
            if self.skip(',').is_none() {
                return self.skip('}');
            }
        }
    }

    /// One complete value.
    fn value(&mut self) -> Option<Value> {
        let mut values = serde_json::Deserializer::from_str(self.0).into_iter::<Value>();
        let value = values.next()?.ok()?;
        let end = values.byte_offset();
        let (read, rest) = self.0.split_at_checked(end)?;
        measure(read, MAX_DEPTH).ok()?;
        // A number at the very end may have been longer.
        if rest.is_empty() && value.is_number() {
            return None;
        }
        self.0 = rest;
        Some(value)
    }

    fn skip(&mut self, c: char) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(c)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn complete_entries_before_the_damage_are_saved() {
        let whole = "{\"version\": 1, \"x\": [1], \"profiles\": {\"a\": {\"key\": \"k\"}, \"b\": {\"n\": 5}}, \"usageStats\": {\"a\": {\"lastUsed\": 7}}}";
        let ids = |text: &str| {
            let saved = salvage(text)?;
            let ids: Vec<String> = saved.profiles().map(|(id, _)| id.clone()).collect();
            Some(ids.join(","))
        };
        for (text, expected) in [
            (whole, Some("a,b")),
            (
                "{\"profiles\": {\"a\": {\"key\": \"k\"}, \"b\": {\"n\": 5",
                Some("a"),
            ),
            ("{\"profiles\": {\"a\": {\"key\": \"k\"}}}\0\0\0", Some("a")),
            (
                "{\"profiles\": {\"a\": {\"key\": \"k\"} \"b\": {}}}",
                Some("a"),
            ),
            ("{\"profiles\": {\"a\": {\"key\": \"k", None),
            ("{\"profiles\": {}}", None),
            ("", None),
            ("[1]", None),
        ] {
            assert_eq!(ids(text).as_deref(), expected, "{text}");
        }
        let saved = salvage(whole).unwrap();
        assert_eq!(
            saved.section("usageStats").unwrap()["a"],
            json!({"lastUsed": 7})
        );
        // However it is cut, nothing is made up and more text never saves less.
        let mut before = 0;
        for end in 0..whole.len() {
            let saved = salvage(whole.get(..end).unwrap());
            let count = saved.map_or(0, |saved| saved.profiles().count());
            assert!(count >= before, "{end}");
            before = count;
        }
    }
}
