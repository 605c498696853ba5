//! Path patterns and the index that matches them: literal segments, `*` for any one key, and
//! `name[]` for any index of the list `name`.

use std::collections::HashMap;

/// One step of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Literal(String),
    AnyKey,
    AnyIndex,
}

/// Splits a pattern. Keys of a pattern contain no dots.
pub(super) fn steps(pattern: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in pattern.split('.') {
        match part.strip_suffix("[]") {
            _ if part == "*" => steps.push(Step::AnyKey),
            Some(name) => {
                steps.push(Step::Literal(name.to_owned()));
                steps.push(Step::AnyIndex);
            }
            None => steps.push(Step::Literal(part.to_owned())),
        }
    }
    steps
}

/// All patterns as one tree, so that a document is matched in one walk.
#[derive(Debug, Default)]
pub(super) struct PatternIndex {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    literal: HashMap<String, usize>,
    any_key: Option<usize>,
    any_index: Option<usize>,
    /// Numbers of the patterns that end here.
    ends: Vec<usize>,
}

/// Where in the tree a walk is: every pattern that still fits.
pub(super) type Position = Vec<usize>;

impl PatternIndex {
    /// The start of a walk, at the root of the document.
    pub(super) fn start() -> Position {
        vec![0]
    }

    /// Adds a pattern under a number.
    pub(super) fn add(&mut self, steps: &[Step], number: usize) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for step in steps {
            let fresh = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else {
                return;
            };
            let next = match step {
                Step::Literal(name) => *node.literal.entry(name.clone()).or_insert(fresh),
                Step::AnyKey => *node.any_key.get_or_insert(fresh),
                Step::AnyIndex => *node.any_index.get_or_insert(fresh),
            };
            if next == fresh {
                self.nodes.push(Node::default());
            }
            at = next;
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.ends.push(number);
        }
    }

    /// One step down to a key.
    pub(super) fn key(&self, position: &Position, key: &str) -> Position {
        let nodes = position.iter().filter_map(|at| self.nodes.get(*at));
        nodes
            .flat_map(|node| {
                node.literal
                    .get(key)
                    .copied()
                    .into_iter()
                    .chain(node.any_key)
            })
            .collect()
    }

    /// One step down to an index.
    pub(super) fn index(&self, position: &Position) -> Position {
        position
            .iter()
            .filter_map(|at| self.nodes.get(*at)?.any_index)
            .collect()
    }

    /// The lowest number of the patterns that end at a position.
    pub(super) fn first(&self, position: &Position) -> Option<usize> {
        self.ends(position).min()
    }

    /// The numbers of all patterns that end at a position.
    pub(super) fn ends<'a>(&'a self, position: &'a Position) -> impl Iterator<Item = usize> + 'a {
        let nodes = position.iter().filter_map(|at| self.nodes.get(*at));
        nodes.flat_map(|node| node.ends.iter().copied())
    }
}

/// Whether a pattern fits a path.
pub(super) fn fits(steps: &[Step], segments: &[String]) -> bool {
    steps.len() == segments.len()
        && steps
            .iter()
            .zip(segments)
            .all(|(step, segment)| match step {
                Step::Literal(text) => text == segment,
                Step::AnyKey => true,
                Step::AnyIndex => segment.bytes().all(|b| b.is_ascii_digit()),
            })
}

/// The segments of a path that the pattern's wildcards matched, in order.
pub(super) fn captures<'a>(steps: &[Step], segments: &'a [String]) -> Vec<&'a str> {
    steps
        .iter()
        .zip(segments)
        .filter(|(step, _)| !matches!(step, Step::Literal(_)))
        .map(|(_, text)| text.as_str())
        .collect()
}

/// Replaces `{0}`, `{1}`, … by captures.
pub(super) fn fill(text: &str, captures: &[&str]) -> String {
    if !text.contains('{') {
        return text.to_owned();
    }
    let mut filled = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let capture = after
            .split_once('}')
            .and_then(|(number, tail)| Some((captures.get(number.parse::<usize>().ok()?)?, tail)));
        match capture {
            Some((capture, tail)) => {
                filled.push_str(capture);
                rest = tail;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(index: &PatternIndex, path: &[&str]) -> Option<usize> {
        let mut at = PatternIndex::start();
        for segment in path {
            at = match segment.parse::<usize>() {
                Ok(_) => index.index(&at),
                Err(_) => index.key(&at, segment),
            };
        }
        index.first(&at)
    }

    #[test]
    fn patterns_match_exactly() {
        let mut index = PatternIndex::default();
        index.add(&steps("models.providers.*.apiKey"), 0);
        index.add(&steps("agents.list[].x.apiKey"), 1);
        index.add(&steps("models.providers.special.apiKey"), 2);
        assert_eq!(
            find(&index, &["models", "providers", "p", "apiKey"]),
            Some(0)
        );
        assert_eq!(
            find(&index, &["models", "providers", "special", "apiKey"]),
            Some(0)
        );
        assert_eq!(
            find(&index, &["agents", "list", "3", "x", "apiKey"]),
            Some(1)
        );
        assert_eq!(find(&index, &["models", "providers", "apiKey"]), None);
        assert_eq!(
            find(&index, &["models", "providers", "p", "apiKey", "x"]),
            None
        );
    }

    #[test]
    fn captures_fill_owners() {
        let path = ["agents", "list", "3", "x", "y"].map(str::to_owned);
        assert_eq!(captures(&steps("agents.list[].*.y"), &path), ["3", "x"]);
        assert_eq!(fill("a:{0}/{1}", &["3", "x"]), "a:3/x");
        assert_eq!(fill("{0}{agent}{9", &["{1}"]), "{1}{agent}{9");
        assert!(fits(&steps("agents.list[].*.y"), &path));
        assert!(!fits(&steps("agents.list[].*"), &path));
        assert!(!fits(&steps("agents.list[].x.z"), &path));
    }
}
