//! `openclaw-auth models`: models, their providers and credentials.

use super::args::agent;
use super::models_auth;
use super::tree::Node;

pub(super) const NODE: Node = Node {
    name: "models",
    about: "Models, their providers and credentials",
    build: |command| command.arg(agent()),
    run: None,
    below: &[models_auth::NODE],
};
