//! Credentials for AI-agent gateways: configuration with secret references goes in, an immutable
//! snapshot of resolved secrets and access rules comes out.
#![forbid(unsafe_code)]

pub mod access;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod bench;
mod config;
mod date;
mod engine;
mod error;
pub mod host;
mod json;
mod keys;
mod oauth;
mod profiles;
pub mod report;
mod secrets;
mod sessions;
mod snapshot;
mod text;

pub use config::{EnvOrigin, EnvView, FallbackList, Issue, Locations, Probe, Severity};
pub use engine::{
    AddedAgent, ApplyOptions, Attempt, AuditOptions, ChatReply, ClaudeCliDone, ConfigEdit,
    ConfigUpdate, CopyAuth, DeletedAgent, Engine, Event, Exhausted, Lease, LeaseRequest, LoginDone,
    LoginOptions, ModelChoice, NewAgent, OauthToken, Options, PreflightReport, Proposal,
    RefResolver, RefreshFailure, RefreshRequest, Refreshed, Refresher, ReloadReport, StoreCheck,
    StoreFinding, StoreRepair, TokenLife, Verdict, WatchStamp, WatchStep, Watcher,
};
pub use error::{Class, Code, CodeInfo, Error, FailureScope, Kind, Reason, Result};
pub use host::Host;
pub use json::Path;
pub use keys::{Classification, Signal, Transport, env_variable};
pub use oauth::{
    LoginFlow, TokenProblem, check_setup_token, clean_pasted, parse_duration, profile_slug,
};
pub use profiles::{
    Clear, Eligibility, Kind as CredentialKind, NewCredential, OrderSource, ProfileMaterial,
};
pub use secrets::{
    ApplyReport, AuditReport, AuditStatus, Diagnostic, Failure, Finding, Origin, Plan, PlanBuilder,
    PredicateFacts, Progress, ProviderReport, Registry, Running, Scope, SecretRef, SecretSource,
    SecretValue, Selection, Target, TargetKind,
};
pub use sessions::{Directive, ModelRef, Pin, PinSource, SessionEntry};
pub use snapshot::{Snapshot, SurfaceInfo};
pub use text::{CText, REDACTED, SecretText, mask, suggestions};

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
