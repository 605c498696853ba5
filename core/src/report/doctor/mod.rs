//! The report of `doctor`: everything that can be wrong with an installation, and safe repairs.

mod config;
mod credentials;
mod files;
mod gateway;
mod oauth;
mod place;
mod repair;
mod secrets;
mod store;
mod table;

use serde_json::{Map, Value, json};

use self::place::Place;
use self::repair::Repair;
pub use self::repair::RepairDone;
use self::table::{Check, Fix, Needs, TABLE};
use crate::config::Severity;
use crate::engine::{Engine, Options};
use crate::error::{Code, Error, Result};
use crate::text::suggestions;

/// What to examine.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct DoctorOptions {
    /// Only the store of this agent (default: all agents).
    pub agent: Option<String>,
    /// Only these checks (default: all).
    pub only: Vec<String>,
    /// Not these checks.
    pub skip: Vec<String>,
    /// Also contacts token endpoints and the running gateway (default: nobody is contacted).
    pub deep: bool,
    /// Runs exec providers (default: no program runs).
    pub allow_exec: bool,
}

/// Something that was found.
#[derive(Debug, Clone)]
pub struct DoctorFinding {
    check: &'static Check,
    severity: Severity,
    message: String,
    path: Option<String>,
    line_column: Option<(usize, usize)>,
    agent: Option<String>,
    provider: Option<String>,
    profile: Option<String>,
    hint: String,
    repair: Option<Repair>,
}

/// The report: one document, the same in every language.
#[derive(Debug, Clone)]
pub struct DoctorReport {
    findings: Vec<DoctorFinding>,
    /// Areas with a check that ran.
    areas: Vec<&'static str>,
    run: usize,
    skipped: usize,
    repairs: Option<Vec<RepairDone>>,
}

/// One check, for lists.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct DoctorCheck {
    /// Its stable id.
    pub id: &'static str,
    /// The part of an installation that it looks at.
    pub area: &'static str,
    /// How bad a finding usually is.
    pub severity: Severity,
    /// What it looks for.
    pub about: &'static str,
    /// `auto` (repaired without a question), `ask`, or empty.
    pub fix: &'static str,
}

/// Every check, in the order of the report.
pub fn doctor_checks() -> impl Iterator<Item = DoctorCheck> {
    TABLE.iter().map(|check| DoctorCheck {
        id: check.id,
        area: check.area,
        severity: check.severity,
        about: check.about,
        fix: check.fix.as_str(),
    })
}

impl Options {
    /// Examines an installation, which need not be able to open. Reads what is on disk; writes
    /// nothing, and contacts nobody unless the options say so. Blocks.
    ///
    /// # Errors
    ///
    /// `invalid_argument` for the id of a check that does not exist.
    pub fn doctor(&self, options: &DoctorOptions) -> Result<DoctorReport> {
        let chosen = chosen(options)?;
        let place = Place::of(self, options);
        let mut findings = Vec::new();
        let mut areas = Vec::new();
        let mut run = 0;
        for check in &chosen {
            let can = match check.needs {
                Needs::Nothing => true,
                Needs::Config => place.config_error().is_none(),
                Needs::Network => options.deep,
            };
            if can {
                run += 1;
                areas.push(check.area);
                findings.extend((check.find)(&place, check));
            }
        }
        Ok(DoctorReport {
            findings,
            areas,
            run,
            skipped: TABLE.len() - run,
            repairs: None,
        })
    }

    /// Examines an installation, and repairs what `agree` says yes to. It is asked once for each
    /// finding that can be repaired; [`DoctorFinding::asks`] says which need a person's consent.
    /// Nothing else is changed. Blocks.
    ///
    /// # Errors
    ///
    /// As [`Options::doctor`]. A repair that fails is part of the report.
    pub fn doctor_fix(
        &self,
        options: &DoctorOptions,
        agree: &mut dyn FnMut(&DoctorFinding) -> bool,
    ) -> Result<DoctorReport> {
        let before = self.doctor(options)?;
        let (agreed, declined): (Vec<_>, Vec<_>) = before
            .findings
            .iter()
            .filter(|finding| finding.repair.is_some())
            .partition(|finding| agree(finding));
        let mut repairs: Vec<RepairDone> = {
            let place = Place::of(self, options);
            repair::apply(&place, &agreed)
        };
        repairs.extend(declined.into_iter().map(RepairDone::skipped));
        let mut after = self.doctor(options)?;
        for (finding, done) in agreed.iter().zip(&mut repairs) {
            if after.findings.iter().any(|left| left.is_same(finding)) {
                done.still_there();
            }
        }
        after.repairs = Some(repairs);
        Ok(after)
    }
}

impl Engine {
    /// Examines the installation that this engine was opened from, as it is on disk now. See
    /// [`Options::doctor`].
    ///
    /// # Errors
    ///
    /// As [`Options::doctor`].
    pub fn doctor(&self, options: &DoctorOptions) -> Result<DoctorReport> {
        self.options_again().doctor(options)
    }

    /// Examines that installation and repairs it. See [`Options::doctor_fix`].
    ///
    /// # Errors
    ///
    /// As [`Options::doctor_fix`].
    pub fn doctor_fix(
        &self,
        options: &DoctorOptions,
        agree: &mut dyn FnMut(&DoctorFinding) -> bool,
    ) -> Result<DoctorReport> {
        self.options_again().doctor_fix(options, agree)
    }
}

/// The checks that were asked for.
fn chosen(options: &DoctorOptions) -> Result<Vec<&'static Check>> {
    for named in options.only.iter().chain(&options.skip) {
        if !TABLE.iter().any(|check| check.id == named) {
            let near = suggestions(named, TABLE.iter().map(|check| check.id));
            let error = Error::new(
                Code::InvalidArgument,
                format!("there is no check \"{named}\""),
            );
            return Err(match near.as_slice() {
                [] => error,
                near => error.with_hint(format!("did you mean {}?", near.join(" or "))),
            });
        }
    }
    let is_in = |list: &[String], check: &Check| list.iter().any(|id| id == check.id);
    let wanted = |check: &&Check| {
        (options.only.is_empty() || is_in(&options.only, check)) && !is_in(&options.skip, check)
    };
    Ok(TABLE.iter().filter(wanted).collect())
}

impl DoctorFinding {
    fn new(check: &'static Check, message: impl Into<String>) -> Self {
        Self {
            check,
            severity: check.severity,
            message: message.into(),
            path: None,
            line_column: None,
            agent: None,
            provider: None,
            profile: None,
            hint: check.hint.to_owned(),
            repair: None,
        }
    }

    fn at(self, path: impl Into<String>) -> Self {
        Self {
            path: Some(path.into()),
            ..self
        }
    }

    fn of(self, agent: &str) -> Self {
        Self {
            agent: Some(agent.to_owned()),
            ..self
        }
    }

    fn about(self, provider: &str, profile: Option<&str>) -> Self {
        Self {
            provider: Some(provider.to_owned()),
            profile: profile.map(str::to_owned),
            ..self
        }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: hint.into(),
            ..self
        }
    }

    fn rated(self, severity: Severity) -> Self {
        Self { severity, ..self }
    }

    fn repaired_by(self, repair: Repair) -> Self {
        Self {
            repair: Some(repair),
            ..self
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        let key = |it: &Self| {
            let Self { path, agent, .. } = it;
            (it.check.id, path.clone(), agent.clone(), it.profile.clone())
        };
        key(self) == key(other)
    }

    /// The id of the check.
    pub fn check_id(&self) -> &'static str {
        self.check.id
    }

    /// The part of the installation.
    pub fn area(&self) -> &'static str {
        self.check.area
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// What was found, in one sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The file or setting.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// What to do about it.
    pub fn fix_hint(&self) -> &str {
        &self.hint
    }

    /// What a repair would do, when there is one.
    pub fn repair(&self) -> Option<String> {
        self.repair.as_ref().map(Repair::to_string)
    }

    /// Whether its repair needs the consent of a person.
    pub fn asks(&self) -> bool {
        self.check.fix == Fix::Ask
    }

    /// The JSON form of every language and `--json` output.
    pub fn to_json(&self) -> Value {
        let mut row = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                row.insert(key.to_owned(), value);
            }
        };
        let text = |text: &Option<String>| text.clone().map(Value::from);
        put("checkId", Some(self.check.id.into()));
        put("severity", Some(self.severity.as_str().into()));
        put("message", Some(self.message.clone().into()));
        put("path", text(&self.path));
        put("line", self.line_column.map(|(line, _)| line.into()));
        put("column", self.line_column.map(|(_, column)| column.into()));
        put("agentId", text(&self.agent));
        put("provider", text(&self.provider));
        put("profileId", text(&self.profile));
        let hint = Some(self.hint.clone()).filter(|hint| !hint.is_empty());
        put("fixHint", text(&hint));
        put("fixable", Some(self.repair.is_some().into()));
        Value::Object(row)
    }
}

impl DoctorReport {
    /// Whether nothing is an error.
    pub fn is_ok(&self) -> bool {
        self.count(Severity::Error) == 0
    }

    /// The findings, in the order of the checks.
    pub fn findings(&self) -> &[DoctorFinding] {
        &self.findings
    }

    /// How many findings are of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        let all = self.findings.iter();
        all.filter(|finding| finding.severity == severity).count()
    }

    /// Whether a check of a part of the installation ran.
    pub fn has_examined(&self, area: &str) -> bool {
        self.areas.contains(&area)
    }

    /// How many checks ran, and how many did not.
    pub fn checks(&self) -> (usize, usize) {
        (self.run, self.skipped)
    }

    /// What became of the repairs; `None` when nobody asked for any.
    pub fn repairs(&self) -> Option<&[RepairDone]> {
        self.repairs.as_deref()
    }

    /// The document.
    pub fn to_json(&self) -> Value {
        let findings = self.findings.iter().map(DoctorFinding::to_json);
        let mut document = json!({
            "schemaVersion": 1,
            "ok": self.is_ok(),
            "checksRun": self.run,
            "checksSkipped": self.skipped,
            "findings": findings.collect::<Vec<_>>(),
        });
        if let (Value::Object(map), Some(repairs)) = (&mut document, &self.repairs) {
            let repairs = repairs.iter().map(RepairDone::to_json);
            map.insert("fixes".to_owned(), repairs.collect());
        }
        document
    }
}
