//! Keys from the environment, and what a provider's refusal says about a key.

mod classify;
mod env;

pub use classify::{Classification, Signal, Transport};
pub(crate) use classify::{Classifier, proactive_reset};
pub use env::env_variable;
pub(crate) use env::{EnvKeys, first_variable, known_providers};
