//! Audit and plans, for an installation that need not be able to open.

use std::sync::Arc;

use super::Options;
use crate::error::Result;
use crate::host::Cancel;
use crate::secrets::{Apply, ApplyReport, Audit, AuditReport, Plan, Rules, Stop, deadline};

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
            stop: self.stop(),
        }
        .run()
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
            stop: self.stop(),
        }
        .run()
    }

    fn stop(&self) -> Stop {
        Stop {
            deadline: deadline(&self.host(), self.deadline_ms()),
            cancel: Cancel::default(),
        }
    }
}
