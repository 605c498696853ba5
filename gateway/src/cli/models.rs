//! `openclaw-auth models`: models, their providers and credentials.

use super::args::{agent, flag};
use super::tree::Node;
use super::{models_auth, models_config, status};

pub(super) const NODE: Node = Node {
    name: "models",
    about: "Models, their providers and credentials; alone, the same as models status",
    build: |command| {
        command.args([
            agent(),
            flag("status-json", "The same as models status --json"),
            flag("status-plain", "The same as models status --plain").conflicts_with("status-json"),
        ])
    },
    run: Some(status::run),
    below: &[
        status::NODE,
        models_auth::NODE,
        models_config::LIST,
        models_config::SET,
        models_config::ALIASES,
        models_config::FALLBACKS,
        models_config::IMAGE_FALLBACKS,
    ],
};
