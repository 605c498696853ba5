//! Resolving references that nobody placed: for tools.

use std::collections::{BTreeSet, HashMap};

use super::activate::secret_of;
use super::collect::Content;
use super::failure::{ActivationFailure, Failure, Fault, Scope};
use super::provider::{Found, Settings};
use super::reference::SecretRef;
use super::resolve::{ExecMode, Resolver, Stop};
use super::value::Resolved;
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
        let resolver = Resolver {
            host,
            env: &self.source.env,
            home: &self.source.places.home,
            state_dir: &self.source.places.state,
            providers: &self.providers,
            stop: stop.clone(),
            // One that fails says nothing about the others.
            exec: ExecMode::Always,
        };
        let asked: Vec<Asked> = labels.iter().map(|label| ask(&resolver, label)).collect();
        let batch: BTreeSet<&SecretRef> = asked
            .iter()
            .filter_map(|asked| match asked {
                Asked::Batch(reference) => Some(reference),
                Asked::Answered(_) => None,
            })
            .collect();
        let mut resolution = resolver.resolve(batch.iter().copied(), false);
        let mut failed: HashMap<String, Failure> = HashMap::new();
        for failure in std::mem::take(&mut resolution.failures) {
            let refs = failure.refs.clone();
            failed.extend(refs.into_iter().map(|label| (label, failure.clone())));
        }
        let one = |asked: Asked| match asked {
            Asked::Answered(answer) => answer,
            Asked::Batch(reference) => match resolution.values.get(&reference) {
                Some(value) => secret_of(value).ok_or_else(|| {
                    let message = format!("{reference} is not a text or an object");
                    Error::new(Code::SecretRefValueType, message)
                }),
                None => Err(unresolved(failed.get(reference.label()).cloned())),
            },
        };
        asked.into_iter().map(one).collect()
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

/// A label on its way: variables are answered at once, the others wait for their provider.
enum Asked {
    Answered(Result<SecretValue>),
    Batch(SecretRef),
}

fn ask(resolver: &Resolver<'_>, label: &str) -> Asked {
    let Some((source, alias, id)) = SecretRef::parts(label) else {
        let message = "references are written source:provider:id";
        return Asked::Answered(Err(Error::new(Code::SecretRefInvalid, message)));
    };
    let value = match resolver.providers.find(source, alias) {
        Ok(Found::BuiltInEnv) => resolver.variable(alias, None, id),
        Ok(Found::Declared(Settings::Env(settings))) => {
            resolver.variable(alias, Some(settings), id)
        }
        Ok(Found::Declared(_)) => return Asked::Batch(SecretRef::new(source, alias, id)),
        Err(fault) => return Asked::Answered(Err(failure(fault, Scope::Provider, label))),
    };
    Asked::Answered(match value {
        Ok(Resolved::Text(text)) => Ok(SecretValue {
            text,
            is_json: false,
        }),
        Ok(_) => Err(Error::new(
            Code::SecretRefValueType,
            "a variable is always a text",
        )),
        Err(fault) => Err(failure(fault, Scope::Ref, label)),
    })
}

fn failure(fault: Fault, scope: Scope, label: &str) -> Error {
    let failure = fault.failure(scope, SecretRef::parse(label).as_ref());
    unresolved(Some(Failure {
        refs: vec![label.to_owned()],
        ..failure
    }))
}

fn unresolved(failure: Option<Failure>) -> Error {
    let output = failure
        .as_ref()
        .and_then(|failure| failure.program_output.clone());
    ActivationFailure {
        failures: failure.into_iter().collect(),
        ..ActivationFailure::default()
    }
    .into_error()
    .with_program_output(output)
}
