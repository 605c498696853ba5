//! Building blocks of the table of commands.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction};
use openclaw_auth::parse_duration;

/// An option with a value; the last one wins.
pub(super) fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        .overrides_with(name)
}

/// An option that may be repeated.
pub(super) fn several(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        .action(ArgAction::Append)
}

/// An option without a value.
pub(super) fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
        .overrides_with(name)
}

/// An option whose value is a path.
pub(super) fn path(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    option(name, value, help).value_parser(ValueParser::path_buf())
}

/// An option whose value is a duration, read as milliseconds. A bare number counts in this unit.
pub(super) fn duration(name: &'static str, help: &'static str, unit: &'static str) -> Arg {
    option(name, "DURATION", help).value_parser(move |text: &str| {
        let is_bare = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        let text = if is_bare {
            format!("{text}{unit}")
        } else {
            text.to_owned()
        };
        parse_duration(&text).map_err(|error| error.message().to_owned())
    })
}

/// `--json`.
pub(super) fn json() -> Arg {
    flag("json", "Print one JSON document")
}

/// `--plain`.
pub(super) fn plain() -> Arg {
    flag("plain", "Print values only, one per line").conflicts_with("json")
}

/// `--yes`.
pub(super) fn yes() -> Arg {
    flag("yes", "Do not ask for confirmation").short('y')
}

/// `--agent`, for a word and everything below it.
pub(super) fn agent() -> Arg {
    option(
        "agent",
        "ID",
        "Agent whose store is meant [default: the default agent]",
    )
    .global(true)
}
