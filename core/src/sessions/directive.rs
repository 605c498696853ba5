//! The `/model` directive inside a message.

use super::split::split_profile;
use crate::error::{Code, Error, Result};

/// What a directive asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Directive {
    /// The compact list of models.
    List,
    /// The model with this number in the list, from 1.
    Pick(usize),
    /// Back to the default model.
    Reset,
    /// This model, and perhaps this profile.
    Select {
        /// Alias, model id or `provider/model`.
        model: String,
        /// Profile id.
        profile: Option<String>,
    },
    /// The current model and its use.
    Show,
    /// Everything about models and credentials.
    Status,
}

impl Directive {
    /// The stable text.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Pick(_) => "pick",
            Self::Reset => "reset",
            Self::Select { .. } => "select",
            Self::Show => "show",
            Self::Status => "status",
        }
    }
}

/// A directive and the message without it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) directive: Result<Directive>,
    pub(crate) rest: String,
}

/// The message of a profile without a model.
const NO_MODEL: &str = "Auth profile override requires a model selection.";

/// Finds the first directive of a message. `is_alias` says whether a word is the alias of a model
/// (lower case is asked for), `is_profile` whether a profile exists. `None`: there is no
/// directive.
pub(crate) fn find_directive(
    message: &str,
    is_alias: &dyn Fn(&str) -> bool,
    is_profile: &dyn Fn(&str) -> bool,
) -> Option<Found> {
    let commands: Vec<Command<'_>> = commands(message).collect();
    let is_model = |command: &&Command<'_>| command.name.eq_ignore_ascii_case("model");
    if let Some(command) = commands.iter().find(is_model) {
        let (argument, end) = argument(message, command.end);
        return Some(Found {
            directive: directive(&argument, is_profile),
            rest: without(message, command.start, end),
        });
    }
    let alias = commands
        .iter()
        .find(|command| is_alias(&command.name.to_lowercase()))?;
    Some(Found {
        directive: Ok(Directive::Select {
            model: alias.name.to_owned(),
            profile: None,
        }),
        rest: without(message, alias.start, skip_separator(message, alias.end)),
    })
}

/// `/name` between white space, with `:` allowed behind it.
struct Command<'a> {
    start: usize,
    name: &'a str,
    end: usize,
}

fn commands(message: &str) -> impl Iterator<Item = Command<'_>> {
    message.match_indices('/').filter_map(|(start, _)| {
        let before = message.get(..start)?.chars().next_back();
        if before.is_some_and(|c| !c.is_whitespace()) {
            return None;
        }
        let rest = message.get(start + 1..)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(length)?;
        let ends = after
            .chars()
            .next()
            .is_none_or(|c| c.is_whitespace() || c == ':');
        (ends && !name.is_empty()).then_some(Command {
            start,
            name,
            end: start + 1 + length,
        })
    })
}

/// A part of an argument.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Bare(String),
    Quoted(String),
}

/// The argument behind a command, and where it ends.
fn argument(message: &str, from: usize) -> (Vec<Piece>, usize) {
    let mut at = skip_separator(message, from);
    let mut pieces = Vec::new();
    while let Some(rest) = message.get(at..).filter(|rest| !rest.is_empty()) {
        if let Some((text, length)) = quoted(rest) {
            pieces.push(Piece::Quoted(text));
            at += length;
            continue;
        }
        let is_bare = |c: char| c.is_ascii_alphanumeric() || "_.:@/+~%=-".contains(c);
        let length = rest.find(|c| !is_bare(c)).unwrap_or(rest.len());
        let (Some(bare), Some(after)) = (rest.get(..length), rest.get(length..)) else {
            break;
        };
        if bare.is_empty() {
            break;
        }
        // The punctuation of a sentence is not part of a name.
        let ends = after.chars().next().is_none_or(char::is_whitespace);
        let trimmed = bare.strip_suffix(['.', ':']).filter(|_| ends);
        pieces.push(Piece::Bare(trimmed.unwrap_or(bare).to_owned()));
        at += length;
    }
    (pieces, at)
}

/// White space, one `:`, white space.
fn skip_separator(message: &str, from: usize) -> usize {
    let rest = message.get(from..).unwrap_or_default();
    let trimmed = rest.trim_start();
    let trimmed = trimmed.strip_prefix(':').unwrap_or(trimmed).trim_start();
    message.len() - trimmed.len()
}

/// A text in quotes at the start, with `\"` and `\\`, and how long it is with its quotes.
fn quoted(text: &str) -> Option<(String, usize)> {
    let mut inner = String::new();
    let mut chars = text.strip_prefix('"')?.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((inner, at + 2)),
            '\\' => match chars.next()? {
                (_, escaped @ ('"' | '\\')) => inner.push(escaped),
                (_, other) => inner.extend(['\\', other]),
            },
            other => inner.push(other),
        }
    }
    None
}

fn directive(pieces: &[Piece], is_profile: &dyn Fn(&str) -> bool) -> Result<Directive> {
    let (model, profile) = match pieces {
        [] => return Ok(Directive::Show),
        [
            Piece::Quoted(model),
            Piece::Bare(at),
            Piece::Quoted(profile),
        ] if at == "@" => (model.trim().to_owned(), Some(profile.trim().to_owned())),
        [Piece::Quoted(model), Piece::Bare(rest)] if rest.starts_with('@') => (
            model.trim().to_owned(),
            Some(rest.trim_start_matches('@').to_owned()),
        ),
        [Piece::Bare(start), Piece::Quoted(profile)] if start.ends_with('@') => (
            start.trim_end_matches('@').to_owned(),
            Some(profile.trim().to_owned()),
        ),
        pieces => {
            let whole: String = pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Bare(text) | Piece::Quoted(text) => text.as_str(),
                })
                .collect();
            let (model, profile) = split_profile(&whole, is_profile);
            (model.to_owned(), profile.map(str::to_owned))
        }
    };
    let profile = profile.filter(|profile| !profile.is_empty());
    let keyword = match model.to_ascii_lowercase().as_str() {
        "list" => Some(Directive::List),
        "status" => Some(Directive::Status),
        "default" => Some(Directive::Reset),
        _ => None,
    };
    let without_model = model.is_empty() || model.starts_with('@');
    if (keyword.is_some() && profile.is_some()) || without_model {
        return Err(Error::new(Code::DirectiveInvalid, NO_MODEL));
    }
    let number = model
        .parse()
        .ok()
        .filter(|_| model.bytes().all(|b| b.is_ascii_digit()));
    Ok(match (keyword, number, profile) {
        (Some(keyword), ..) => keyword,
        (None, Some(number), None) => Directive::Pick(number),
        (None, _, profile) => Directive::Select { model, profile },
    })
}

/// The message with a part of it replaced by one space, white space collapsed.
fn without(message: &str, start: usize, end: usize) -> String {
    let before = message.get(..start).unwrap_or_default();
    let after = message.get(end..).unwrap_or_default();
    let words = before.split_whitespace().chain(after.split_whitespace());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(message: &str) -> String {
        let found = find_directive(message, &|word| word == "opus", &|_| false);
        match found.map(|found| (found.directive, found.rest)) {
            None => "-".to_owned(),
            Some((Ok(Directive::Select { model, profile }), rest)) => {
                format!("{model}|{}|{rest}", profile.unwrap_or_default())
            }
            Some((Ok(other), rest)) => format!("{other:?}|{rest}"),
            Some((Err(error), rest)) => format!("{}|{rest}", error.message()),
        }
    }

    #[test]
    fn md_1_to_3_directives_in_messages() {
        for (message, expected) in [
            ("/model", "Show|"),
            ("/model list", "List|"),
            ("/MODEL Status", "Status|"),
            ("/model Opus@anthropic:work", "Opus|anthropic:work|"),
            ("please /model: sonnet thanks", "sonnet||please thanks"),
            ("/models", "-"),
            ("/modelx", "-"),
            ("a/model b", "-"),
            (
                "/model opus@google:me+work@gmail.com hi",
                "opus|google:me+work@gmail.com|hi",
            ),
            (
                "/model \"openai/gpt-5.4\"@\"openai:me work@x.io\"",
                "openai/gpt-5.4|openai:me work@x.io|",
            ),
            ("/model opus@\"a:b c\" hi", "opus|a:b c|hi"),
            ("/model \"my model\"@a:b", "my model|a:b|"),
            ("/model \" opus @ work \"", "opus|work|"),
            ("/model \"a\\\"b\"", "a\"b||"),
            (
                "/model list@anthropic:work",
                "Auth profile override requires a model selection.|",
            ),
            (
                "/model @anthropic:work",
                "Auth profile override requires a model selection.|",
            ),
            ("/model 3", "Pick(3)|"),
            ("/model default please", "Reset|please"),
            ("/opus hi", "opus||hi"),
            ("/OPUS: hi", "OPUS||hi"),
            ("hi /opus /model list", "List|hi /opus"),
            (
                "/model openrouter/moonshotai/kimi-k2",
                "openrouter/moonshotai/kimi-k2||",
            ),
            ("/model opus.", "opus||"),
            ("/model gpt-5.4", "gpt-5.4||"),
            ("/model   \n : sonnet", "sonnet||"),
            ("nothing", "-"),
        ] {
            assert_eq!(shown(message), expected, "{message}");
        }
    }

    proptest! {
        #[test]
        fn any_message_is_read(message in "[ /modelist@:\"\\\\é.\n]{0,40}") {
            let _ = shown(&message);
        }
    }
}
