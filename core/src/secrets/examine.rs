//! What can be told about the secrets of a configuration without starting a program, and without
//! failing.

use std::collections::{BTreeMap, BTreeSet};

use super::collect::{Content, judge};
use super::failure::{ActivationFailure, Failure};
use super::resolve::{Resolver, Stop};
use super::scrub::Scrubber;
use super::value::Resolved;
use super::{Loaded, SecretRef, SecretSource, text_of};
use crate::host::Host;
use crate::text::SecretText;

/// A secret as far as it is known.
#[derive(Debug, Clone)]
pub(crate) enum Known {
    /// It stands in the configuration.
    Literal(SecretText),
    /// It is a reference: with its value where that could be read.
    Reference(Option<SecretText>),
}

/// The outcome.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    /// By path; only texts.
    pub(crate) secrets: BTreeMap<String, Known>,
    /// Active references that do not resolve.
    pub(crate) failures: Vec<Failure>,
    /// Paths of active references that only a program could resolve.
    pub(crate) not_run: Vec<String>,
}

impl Loaded {
    /// Resolves what environment and files give.
    pub(crate) fn examine(&self, host: &Host) -> Examined {
        let source = &self.source;
        let judged = judge(
            &self.surfaces,
            &self.rules,
            &source.tree,
            &source.env,
            &mut Vec::new(),
        );
        let mut examined = Examined::default();
        let mut wanted: BTreeSet<SecretRef> = BTreeSet::new();
        for judged in judged.iter().filter(|judged| judged.active.is_ok()) {
            match &judged.surface.content {
                Content::Reference(reference) if reference.source == SecretSource::Exec => {
                    examined.not_run.push(judged.surface.path.to_string());
                }
                _ => self.want(judged, &mut wanted, &mut examined.failures),
            }
        }
        let resolver = Resolver {
            host,
            env: &source.env,
            home: &source.places.home,
            state_dir: &source.places.state,
            providers: &self.providers,
            stop: Stop::default(),
            exec_gate: true,
        };
        let mut resolution = resolver.resolve(&wanted, true);
        self.attribute(&judged, &mut resolution.failures);
        examined.failures.append(&mut resolution.failures);
        for judged in &judged {
            let known = match &judged.surface.content {
                Content::Literal(Resolved::Text(text)) => Known::Literal(text.clone()),
                Content::Reference(reference) => {
                    let value = resolution.values.get(reference).and_then(text_of);
                    Known::Reference(value.cloned())
                }
                Content::Template(parts) => {
                    let value = self.assemble(parts, &resolution);
                    Known::Reference(value.as_ref().and_then(text_of).cloned())
                }
                _ => continue,
            };
            let path = judged.surface.path.to_string();
            examined.secrets.insert(path, known);
        }
        let known = examined.secrets.values().filter_map(|known| match known {
            Known::Literal(text) => Some(text),
            Known::Reference(text) => text.as_ref(),
        });
        Scrubber::new(known).failures(&mut examined.failures);
        examined.failures = sorted(examined.failures);
        examined.not_run.sort();
        examined
    }
}

fn sorted(failures: Vec<Failure>) -> Vec<Failure> {
    let mut all = ActivationFailure {
        failures,
        not_attempted: Vec::new(),
        diagnostics: Vec::new(),
    };
    all.sort();
    all.failures
}
