//! Credentials for AI-agent gateways: configuration with secret references goes in, an immutable
//! snapshot of resolved secrets and access rules comes out.
#![forbid(unsafe_code)]

pub mod access;
mod config;
mod engine;
mod error;
pub mod host;
mod json;
pub mod report;
mod secrets;
mod snapshot;
mod text;

pub use config::{EnvOrigin, EnvView, Issue, Locations, Severity};
pub use engine::{Engine, Event, Options, ReloadReport};
pub use error::{Class, Code, CodeInfo, Error, Kind, Result};
pub use host::Host;
pub use json::Path;
pub use secrets::{
    Diagnostic, Failure, Origin, ProviderReport, Scope, SecretRef, SecretSource, SecretValue,
};
pub use snapshot::{Snapshot, SurfaceInfo};
pub use text::{REDACTED, SecretText, mask};
