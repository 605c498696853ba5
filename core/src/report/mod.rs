//! Documents about a configuration, for people and scripts.

mod security;

pub use security::{AccessNames, SecurityOptions, SecurityReport, Verdict, access_names, security};
