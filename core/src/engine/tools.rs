//! Audit and plans, for an installation that need not be able to open.

use std::sync::Arc;

use super::Options;
use crate::config::{self, Watched};
use crate::error::Result;
use crate::host::{Cancel, Host};
use crate::secrets::{
    self, Apply, ApplyReport, Audit, AuditReport, Loaded, Plan, Rules, SecretValue, Stop, Target,
};

/// How to audit.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct AuditOptions {
    /// Runs exec providers to check their references (default: only settings and paths are
    /// checked).
    pub allow_exec: bool,
}

/// How to apply a plan.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct ApplyOptions {
    /// Does everything except writing.
    pub dry_run: bool,
    /// Consents to running the programs that the plan names.
    pub allow_exec: bool,
}

impl Options {
    /// Looks through the files of this installation for plain secrets, references that do not
    /// resolve, and leftovers. Changes nothing. Blocks.
    pub fn audit(&self, audit: AuditOptions) -> AuditReport {
        let host = self.host();
        Audit {
            host: &host,
            read: self.read_options(),
            rules: Arc::new(Rules::new(&self.registry_copy())),
            allow_exec: audit.allow_exec,
            stop: self.stop(&host, &Cancel::default()),
        }
        .run()
    }

    /// Every place of this installation that holds a secret, sorted by path; with `empty` also
    /// places that could hold one. Resolves nothing. Blocks.
    ///
    /// # Errors
    ///
    /// Every problem of the configuration.
    pub fn targets(&self, empty: bool) -> Result<Vec<Target>> {
        let host = self.host();
        let source = config::read(&host, &self.read_options());
        let rules = Arc::new(Rules::new(&self.registry_copy()));
        let loaded = secrets::load(&host, source, rules, &mut Watched::new())?;
        Ok(loaded.targets(&host, empty))
    }

    /// Moves secrets to references as a plan says, and takes copies of them out of the places
    /// where they lie. Comments and layout of the configuration stay. Either every file is
    /// written or none. Blocks.
    ///
    /// # Errors
    ///
    /// `plan_invalid`, `plan_exec_consent_required`, `plan_preflight_failed`,
    /// `plan_target_not_editable`, `plan_conflict`, `plan_write_failed`, and the errors of
    /// reading the configuration.
    pub fn apply(&self, plan: &Plan, apply: ApplyOptions) -> Result<ApplyReport> {
        let host = self.host();
        Apply {
            host: &host,
            read: self.read_options(),
            rules: Arc::new(Rules::new(&self.registry_copy())),
            plan,
            dry_run: apply.dry_run,
            allow_exec: apply.allow_exec,
            stop: self.stop(&host, &Cancel::default()),
        }
        .run()
    }
}

/// Resolves single references with the providers and the environment of an installation, for
/// tools. Nothing is kept between calls.
#[derive(Debug)]
pub struct RefResolver {
    host: Host,
    loaded: Loaded,
    stop: Stop,
}

impl Options {
    /// Loads the configuration for resolving single references; nothing is resolved yet.
    ///
    /// # Errors
    ///
    /// Every problem of the configuration.
    pub fn resolver(&self) -> Result<RefResolver> {
        let host = self.host();
        let source = config::read(&host, &self.read_options());
        let rules = Arc::new(Rules::new(&self.registry_copy()));
        let loaded = secrets::load(&host, source, rules, &mut Watched::new())?;
        let stop = self.stop(&host, &Cancel::default());
        Ok(RefResolver { host, loaded, stop })
    }
}

impl RefResolver {
    /// Resolves references by their labels `source:provider:id`, in the order of the labels.
    /// Every provider is asked once. Blocks.
    pub fn resolve(&self, labels: &[&str]) -> Vec<Result<SecretValue>> {
        self.loaded.resolve_labels(&self.host, labels, &self.stop)
    }

    /// The reference at a path of the configuration, as a label.
    pub fn label_at(&self, path: &str) -> Option<String> {
        self.loaded.label_at(path)
    }
}
