//! Carrying out a plan: project it on copies, try the result, then write everything or nothing.

mod project;
mod report;
mod scrub;
mod write;

use std::path::Path as FilePath;
use std::sync::Arc;

use serde_json::Value;
use zeroize::Zeroizing;

pub use report::ApplyReport;

use super::plan::{Plan, Problem, invalid};
use super::resolve::{ExecMode, Stop};
use super::rules::Rules;
use super::{ActivateOptions, Loaded, load};
use crate::config::{self, Input, ReadOptions, Watched};
use crate::error::{Code, Error, Result};
use crate::host::{Host, Overlay};
use project::Projection;

/// What applying a plan starts from.
pub(crate) struct Apply<'a> {
    pub(crate) host: &'a Host,
    pub(crate) read: ReadOptions,
    pub(crate) rules: Arc<Rules>,
    pub(crate) plan: &'a Plan,
    /// Everything except writing.
    pub(crate) dry_run: bool,
    pub(crate) allow_exec: bool,
    pub(crate) stop: Stop,
}

impl Apply<'_> {
    /// Applies the plan.
    pub(crate) fn run(&self) -> Result<ApplyReport> {
        if !self.dry_run && !self.allow_exec && self.plan.uses_exec() {
            let message = "the plan uses exec references or providers";
            return Err(Error::new(Code::PlanExecConsentRequired, message)
                .with_hint("check the plan and allow exec (--allow-exec)"));
        }
        if matches!(self.read.input, Input::Text(_) | Input::Value(_)) {
            let message = "plans are applied to files, not to a configuration given as text";
            return Err(Error::new(Code::InvalidArgument, message));
        }
        let mut projection = Projection::new(self)?;
        projection.configuration()?;
        projection.stores()?;
        projection.scrub_stores()?;
        let projected = self.load(&projection.overlay())?;
        self.check_providers(&projected)?;
        projection.migrated_before(&projected);
        projection.scrub_env(&projected)?;

        let world = self.host.with_overlay(projection.overlay());
        let projected = self.load(&projection.overlay())?;
        let exec = match (self.dry_run, self.allow_exec) {
            (true, false) => ExecMode::Check,
            _ => ExecMode::Always,
        };
        let options = ActivateOptions {
            exec,
            stop: self.stop.clone(),
            only: None,
        };
        let attempt = projected.attempt(&world, &options);
        let (refs_checked, skipped) = (attempt.by_ref.len(), attempt.unchecked.len());
        attempt
            .into_result()
            .map_err(|failure| preflight_failed(&failure.into_error()))?;
        let mut report = projection.report();
        report.dry_run = self.dry_run;
        report.refs_checked = refs_checked;
        report.skipped_exec_refs = skipped;
        if !self.dry_run {
            write::write_all(self.host, &projection.changes())?;
        }
        Ok(report)
    }

    /// The configuration as it would be.
    fn load(&self, overlay: &Overlay) -> Result<Loaded> {
        let world = self.host.with_overlay(overlay.clone());
        let source = config::read(&world, &self.read);
        load(&world, source, Arc::clone(&self.rules), &mut Watched::new())
            .map_err(|error| preflight_failed(&error))
    }

    /// Every target's provider must exist with the right source after the plan.
    fn check_providers(&self, projected: &Loaded) -> Result<()> {
        let missing = |(index, target): (usize, &super::plan::Target)| {
            let fault = projected
                .providers
                .find(target.reference.source(), target.reference.provider())
                .err()?;
            Some(Problem {
                target: Some(index),
                reason: "provider_missing",
                message: fault.message.clone(),
            })
        };
        let targets = self.plan.targets.iter().enumerate();
        let problems: Vec<Problem> = targets.filter_map(missing).collect();
        match problems.is_empty() {
            true => Ok(()),
            false => Err(invalid(problems)),
        }
    }
}

fn preflight_failed(error: &Error) -> Error {
    let message = format!("after the plan: {}", error.message());
    let mut failed = Error::new(Code::PlanPreflightFailed, message);
    for key in ["failures", "notAttempted", "issues", "text"] {
        if let Some(value) = error.details().get(key) {
            failed = failed.with(key, value.clone());
        }
    }
    match error.hint() {
        Some(hint) => failed.with_hint(hint),
        None => failed,
    }
}

/// The text of a file, if it is there and is UTF-8. Links are followed.
pub(super) fn read_text(host: &Host, file: &FilePath, limit: u64) -> Option<Zeroizing<String>> {
    let real = host.files.canonical(file).ok()?;
    let bytes = host.files.open(&real).ok()?.read_to_limit(limit).ok()??;
    let text = std::str::from_utf8(&bytes).ok()?;
    Some(Zeroizing::new(text.to_owned()))
}

/// A reference as it is written into files.
fn reference_json(reference: &super::SecretRef) -> Value {
    serde_json::json!({
        "source": reference.source().as_str(),
        "provider": reference.provider(),
        "id": reference.id(),
    })
}
