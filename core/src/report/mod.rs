//! Documents about a configuration, for people and scripts.

mod security;

pub use security::{SecurityOptions, SecurityReport, Verdict, security};
