//! `openclaw-auth security`: audit, probe and presets.

mod audit;
mod preset;
mod probe;
mod text;

use super::tree::{Node, plain};

pub(super) const NODE: Node = Node {
    name: "security",
    about: "Audit who may use the gateway, probe it, print proxy settings",
    build: plain,
    run: None,
    below: &[audit::NODE, preset::NODE, probe::NODE],
};
