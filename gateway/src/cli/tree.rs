//! The one table of commands. Parsing, dispatch, help, suggestions, completion and the manual page
//! all come from it.

use clap::{ArgMatches, Command};

use super::call::Call;
use super::output::Failed;

/// What a command ends with: its exit code, or why it could not be done.
pub(super) type Outcome = Result<u8, Failed>;

/// One word of the command line.
pub(super) struct Node {
    pub(super) name: &'static str,
    /// What it is for, in one line.
    pub(super) about: &'static str,
    /// Adds its options, arguments and notes.
    pub(super) build: fn(Command) -> Command,
    /// What it does. A word without this prints its help.
    pub(super) run: Option<fn(&Call<'_>) -> Outcome>,
    /// The words that may follow.
    pub(super) below: &'static [Self],
}

impl Node {
    /// The clap form of a word and everything below it.
    pub(super) fn command(&self) -> Command {
        let command = Command::new(self.name).about(self.about);
        let below = self.below.iter().map(Self::command);
        (self.build)(command).subcommands(below)
    }
}

/// The build of a word without options.
pub(super) fn plain(command: Command) -> Command {
    command
}

/// The words that were given, the last word's row and what clap read for it.
pub(super) struct Found<'m> {
    pub(super) words: Vec<&'static str>,
    pub(super) node: Option<&'static Node>,
    pub(super) matches: &'m ArgMatches,
}

/// Walks to the deepest word.
pub(super) fn find<'m>(tree: &'static [Node], matches: &'m ArgMatches) -> Found<'m> {
    let mut found = Found {
        words: Vec::new(),
        node: None,
        matches,
    };
    let mut below = tree;
    while let Some((name, inner)) = found.matches.subcommand()
        && let Some(node) = below.iter().find(|node| node.name == name)
    {
        found.words.push(node.name);
        found.node = Some(node);
        found.matches = inner;
        below = node.below;
    }
    found
}
