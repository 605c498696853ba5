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
pub use engine::{
    ApplyOptions, AuditOptions, Engine, Event, Options, PreflightReport, Proposal, RefResolver,
    ReloadReport, WatchStamp, WatchStep, Watcher,
};
pub use error::{Class, Code, CodeInfo, Error, Kind, Result};
pub use host::Host;
pub use json::Path;
pub use secrets::{
    ApplyReport, AuditReport, AuditStatus, Diagnostic, Failure, Finding, Origin, Plan, PlanBuilder,
    PredicateFacts, Progress, ProviderReport, Registry, Running, Scope, SecretRef, SecretSource,
    SecretValue, Selection,
};
pub use snapshot::{Snapshot, SurfaceInfo};
pub use text::{CText, REDACTED, SecretText, mask};

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
