//! Colours and symbols. Colour never carries a meaning alone: every state also has a word.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use zeroize::Zeroizing;

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Accent,
    Error,
    Heading,
    Muted,
    Ok,
    Warning,
}

impl Role {
    /// The parameter of the escape sequence; 16-colour codes only.
    fn code(self) -> &'static str {
        match self {
            Self::Accent => "36",
            Self::Error => "31",
            Self::Heading => "1",
            Self::Muted => "90",
            Self::Ok => "32",
            Self::Warning => "33",
        }
    }

    /// The mark in front of a line of this kind.
    fn symbols(self) -> (&'static str, &'static str) {
        match self {
            Self::Ok => ("✓", "ok"),
            Self::Warning => ("!", "warn"),
            Self::Error => ("✗", "fail"),
            _ => ("•", "-"),
        }
    }
}

/// How one of the streams is written to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Style {
    colour: bool,
    symbols: bool,
}

impl Style {
    /// The style of standard output.
    pub(super) fn stdout() -> Self {
        DECIDED.get().map_or_else(Self::default, |(out, _)| *out)
    }

    /// The style of standard error.
    pub(super) fn stderr() -> Self {
        DECIDED.get().map_or_else(Self::default, |(_, err)| *err)
    }

    /// A text in the colour of its role.
    pub(super) fn paint(self, role: Role, text: &str) -> String {
        match self.colour && !text.is_empty() {
            true => format!("\x1b[{}m{text}\x1b[0m", role.code()),
            false => text.to_owned(),
        }
    }

    /// The mark of a role, in its colour: a symbol where the locale has one, else a word.
    pub(super) fn mark(self, role: Role) -> String {
        let (symbol, word) = role.symbols();
        self.paint(role, if self.symbols { symbol } else { word })
    }
}

/// Decides for both streams, once, from the environment.
pub(super) fn decide(vars: &BTreeMap<String, Zeroizing<String>>, no_color: bool) {
    let of = |is_terminal| style(vars, no_color, is_terminal);
    let styles = (
        of(io::stdout().is_terminal()),
        of(io::stderr().is_terminal()),
    );
    // Tests in one process decide more than once; the first counts.
    DECIDED.get_or_init(|| styles);
}

static DECIDED: OnceLock<(Style, Style)> = OnceLock::new();

fn style(vars: &BTreeMap<String, Zeroizing<String>>, no_color: bool, is_terminal: bool) -> Style {
    let set = |name: &str| vars.get(name).map(|value| value.as_str());
    let filled = |name: &str| set(name).filter(|value| !value.is_empty());
    let forced = filled("FORCE_COLOR").is_some_and(|value| value != "0");
    let usual = is_terminal && set("TERM") != Some("dumb") && filled("NO_COLOR").is_none();
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(filled);
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    Style {
        colour: !no_color && (forced || usual),
        symbols: locale.contains("utf-8") || locale.contains("utf8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_colour_and_symbols() {
        for (vars, no_color, is_terminal, colour, symbols) in [
            (&[][..], false, true, true, false),
            (&[], false, false, false, false),
            (&[], true, true, false, false),
            (&[("NO_COLOR", "1")], false, true, false, false),
            (&[("NO_COLOR", "")], false, true, true, false),
            (&[("TERM", "dumb")], false, true, false, false),
            (
                &[("FORCE_COLOR", "1"), ("NO_COLOR", "1")],
                false,
                false,
                true,
                false,
            ),
            (&[("FORCE_COLOR", "0")], false, false, false, false),
            (&[("LANG", "C.UTF-8")], false, false, false, true),
            (
                &[("LANG", "C.UTF-8"), ("LC_ALL", "C")],
                false,
                false,
                false,
                false,
            ),
        ] {
            let map = vars.iter().map(|(name, value): &(&str, &str)| {
                ((*name).to_owned(), Zeroizing::new((*value).to_owned()))
            });
            let expected = Style { colour, symbols };
            assert_eq!(
                style(&map.collect(), no_color, is_terminal),
                expected,
                "{vars:?}"
            );
        }
    }

    #[test]
    fn words_stand_beside_colours() {
        let plain = Style::default();
        assert_eq!(plain.mark(Role::Warning), "warn");
        let rich = Style {
            colour: true,
            symbols: true,
        };
        assert_eq!(rich.mark(Role::Error), "\x1b[31m✗\x1b[0m");
        assert_eq!(rich.paint(Role::Ok, ""), "");
    }
}
