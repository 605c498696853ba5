//! `openclaw-auth secrets`: references, their audit, and moving plain secrets to them.

mod apply;
mod audit;
mod configure;
mod reload;
mod targets;
mod test;

use std::path::PathBuf;

use super::call::Call;
use super::output::{Failed, print};
use super::tree::Node;

pub(super) const NODE: Node = Node {
    name: "secrets",
    about: "Look after secret references",
    build: super::tree::plain,
    run: None,
    below: &[
        apply::NODE,
        audit::NODE,
        configure::NODE,
        configure::PLAN,
        reload::NODE,
        targets::NODE,
        test::NODE,
    ],
};

fn file_of(call: &Call<'_>, name: &str) -> Option<PathBuf> {
    call.path(name)
}
