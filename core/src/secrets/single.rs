//! Resolving references that nobody placed: for tools.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::activate::secret_of;
use super::collect::Content;
use super::failure::{ActivationFailure, Failure};
use super::reference::SecretRef;
use super::resolve::{ExecMode, Resolver, Stop};
use super::{Loaded, SecretValue};
use crate::error::{Code, Error, Result};
use crate::host::Host;
use crate::json::Path;

impl Loaded {
    /// Resolves labels, in their order.
    pub(crate) fn resolve_labels(
        &self,
        host: &Host,
        labels: &[&str],
        stop: &Stop,
    ) -> Vec<Result<SecretValue>> {
        let parsed: Vec<Option<SecretRef>> =
            labels.iter().map(|label| SecretRef::parse(label)).collect();
        let mut seen: HashSet<&SecretRef, RandomState> =
            HashSet::with_capacity_and_hasher(parsed.len(), RandomState::default());
        let mut wanted = Vec::with_capacity(parsed.len());
        wanted.extend(
            parsed
                .iter()
                .flatten()
                .filter(|reference| seen.insert(reference)),
        );
        let resolution = Resolver {
            host,
            env: &self.source.env,
            home: &self.source.places.home,
            state_dir: &self.source.places.state,
            providers: &self.providers,
            stop: stop.clone(),
            // One that fails says nothing about the others.
            exec: ExecMode::Always,
        }
        .resolve(wanted.iter().copied(), false);
        let mut failed: HashMap<&str, &Failure> = HashMap::new();
        for failure in &resolution.failures {
            failed.extend(failure.refs.iter().map(|label| (label.as_str(), failure)));
        }
        let one = |reference: &Option<SecretRef>| {
            let Some(reference) = reference else {
                let message = "references are written source:provider:id";
                return Err(Error::new(Code::SecretRefInvalid, message));
            };
            match resolution.values.get(reference) {
                Some(value) => secret_of(value).ok_or_else(|| {
                    let message = format!("{reference} is not a text or an object");
                    Error::new(Code::SecretRefValueType, message)
                }),
                None => Err(unresolved(failed.get(reference.label()).copied())),
            }
        };
        parsed.iter().map(one).collect()
    }

    /// The reference at a path of the configuration, as a label.
    pub(crate) fn label_at(&self, path: &str) -> Option<String> {
        let path = Path::parse(path)?;
        let surface = self.surfaces.iter().find(|surface| surface.path == path)?;
        match &surface.content {
            Content::Reference(reference) => Some(reference.to_string()),
            _ => None,
        }
    }
}

fn unresolved(failure: Option<&Failure>) -> Error {
    ActivationFailure {
        failures: failure.cloned().into_iter().collect(),
        ..ActivationFailure::default()
    }
    .into_error()
}
