//! Documents about a configuration, for people and scripts.

mod security;
mod status;

pub use security::{AccessNames, SecurityOptions, SecurityReport, Verdict, access_names, security};
pub use status::{StatusOptions, StatusReport, short};
