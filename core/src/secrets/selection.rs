//! "One of several providers is used": web search and web fetch. Only the selected provider's
//! secret is needed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::activate::of_surface;
use super::collect::{Content, Judged};
use super::condition::{Context, is_enabled, is_set, plugin};
use super::failure::{Diagnostic, Failure};
use super::reference::{SecretRef, SecretSource};
use super::resolve::{Resolution, Resolver};
use super::value::Resolved;
use crate::config::Severity;
use crate::error::Code;
use crate::json::Path;
use crate::text::SecretText;

/// Providers of which one is used.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: &'static str,
    noun: &'static str,
    /// The setting that names the provider.
    selector: &'static str,
    /// The object that switches the feature.
    switch: &'static str,
    /// The object in a plugin's entry that holds its settings.
    section: &'static str,
    /// Rows of the surface table.
    pub(super) patterns: &'static [&'static str],
    candidates: &'static [Candidate],
    codes: Codes,
}

#[derive(Debug)]
struct Codes {
    fallback_used: Code,
    no_fallback: Code,
    unknown: Code,
    selected: Code,
}

/// One built-in provider of a group.
#[derive(Debug)]
struct Candidate {
    name: &'static str,
    plugin: &'static str,
    /// The setting in the plugin's section.
    key: &'static str,
    /// Variables that serve when nothing is configured.
    env: &'static [&'static str],
    /// Works without any credential.
    keyless: bool,
    /// References may only name the variables above.
    env_refs_only: bool,
}

const fn candidate(
    name: &'static str,
    plugin: &'static str,
    env: &'static [&'static str],
) -> Candidate {
    Candidate {
        name,
        plugin,
        key: "apiKey",
        env,
        keyless: false,
        env_refs_only: false,
    }
}

/// In the order in which they are tried.
pub(super) const GROUPS: &[Group] = &[
    Group {
        id: "web-search",
        noun: "web search provider",
        selector: "tools.web.search.provider",
        switch: "tools.web.search",
        section: "webSearch",
        patterns: &[
            "tools.web.search.apiKey",
            "tools.web.search.*.apiKey",
            "plugins.entries.*.config.webSearch.apiKey",
        ],
        candidates: &[
            candidate("brave", "brave", &["BRAVE_API_KEY"]),
            candidate("gemini", "google", &["GEMINI_API_KEY"]),
            candidate("grok", "xai", &["XAI_API_KEY"]),
            candidate("kimi", "moonshot", &["KIMI_API_KEY", "MOONSHOT_API_KEY"]),
            candidate(
                "perplexity",
                "perplexity",
                &["PERPLEXITY_API_KEY", "OPENROUTER_API_KEY"],
            ),
            candidate("firecrawl", "firecrawl", &["FIRECRAWL_API_KEY"]),
            candidate("exa", "exa", &["EXA_API_KEY"]),
            candidate("tavily", "tavily", &["TAVILY_API_KEY"]),
            Candidate {
                keyless: true,
                ..candidate("duckduckgo", "duckduckgo", &[])
            },
            Candidate {
                key: "baseUrl",
                ..candidate("searxng", "searxng", &["SEARXNG_BASE_URL"])
            },
        ],
        codes: Codes {
            fallback_used: Code::WebSearchKeyUnresolvedFallbackUsed,
            no_fallback: Code::WebSearchKeyUnresolvedNoFallback,
            unknown: Code::WebSearchProviderInvalidAutodetect,
            selected: Code::WebSearchAutodetectSelected,
        },
    },
    Group {
        id: "web-fetch",
        noun: "web fetch provider",
        selector: "tools.web.fetch.provider",
        switch: "tools.web.fetch",
        section: "webFetch",
        patterns: &[
            "tools.web.fetch.firecrawl.apiKey",
            "plugins.entries.*.config.webFetch.apiKey",
        ],
        candidates: &[Candidate {
            env_refs_only: true,
            ..candidate("firecrawl", "firecrawl", &["FIRECRAWL_API_KEY"])
        }],
        codes: Codes {
            fallback_used: Code::WebFetchProviderKeyUnresolvedFallbackUsed,
            no_fallback: Code::WebFetchProviderKeyUnresolvedNoFallback,
            unknown: Code::WebFetchProviderInvalidAutodetect,
            selected: Code::WebFetchAutodetectSelected,
        },
    },
];

/// The provider in use of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    group: &'static str,
    provider: String,
    origin: Option<&'static str>,
    env_var: Option<String>,
}

impl Selection {
    /// The group, such as `web-search`.
    pub fn group(&self) -> &str {
        self.group
    }

    /// The selected provider.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Where its credential comes from: `literal`, `ref` or `env`; `None` when it needs none.
    pub fn origin(&self) -> Option<&str> {
        self.origin
    }

    /// The variable, when the credential comes from one without being configured.
    pub fn env_var(&self) -> Option<&str> {
        self.env_var.as_deref()
    }

    /// The JSON form of every language.
    pub fn to_json(&self) -> Value {
        json!({
            "group": self.group,
            "provider": self.provider,
            "origin": self.origin,
            "envVar": self.env_var,
        })
    }
}

/// A credential from a variable that nothing in the configuration names.
pub(super) struct FromEnv {
    pub(super) path: Path,
    pub(super) owner: String,
    pub(super) value: SecretText,
}

/// A provider that may be selected, with its surfaces in order of precedence.
struct Provider<'g> {
    name: String,
    place: Path,
    env: &'g [&'g str],
    keyless: bool,
    env_refs_only: bool,
    surfaces: Vec<usize>,
    /// A plain setting that needs no secret surface (a URL).
    is_configured: bool,
}

/// What a provider has to offer.
enum Offer {
    /// The number of the surface, and `literal` or `ref`.
    Configured(Option<usize>, &'static str),
    Variable(String, SecretText),
    /// The surface whose reference does not resolve, and why.
    Failed(usize, Vec<Failure>),
    /// Its program was not started, because the activation fails anyway.
    Gated(usize),
    Nothing,
}

/// Evaluates groups after everything else is resolved.
pub(super) struct Selecting<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) resolver: &'a Resolver<'a>,
    /// References of a template.
    pub(super) template_refs: &'a dyn Fn(&Content) -> Vec<SecretRef>,
    pub(super) failed_already: bool,
}

/// What one group adds to an activation.
#[derive(Default)]
pub(super) struct Selected {
    pub(super) selection: Option<Selection>,
    pub(super) from_env: Option<FromEnv>,
    pub(super) failures: Vec<Failure>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Selecting<'_> {
    /// Selects a provider, and marks every surface of the group as active or not.
    pub(super) fn run(
        &self,
        group: &'static Group,
        judged: &mut [Judged<'_>],
        resolution: &mut Resolution,
    ) -> Selected {
        let mut selected = Selected::default();
        let members: Vec<usize> = (0..judged.len())
            .filter(|index| {
                let judged = judged.get(*index);
                judged.is_some_and(|judged| judged.candidate_of == Some(group.id))
            })
            .collect();
        let switch = self.context.dotted(group.switch);
        let deactivate = |judged: &mut [Judged<'_>], reason: &str| {
            for index in &members {
                if let Some(judged) = judged.get_mut(*index) {
                    judged.candidate_of = None;
                    judged.active = Err(reason.to_owned());
                }
            }
        };
        if !is_enabled(switch) {
            deactivate(judged, &format!("{}.enabled is false", group.switch));
            return selected;
        }
        if switch.is_none() && members.is_empty() {
            return selected;
        }
        let options = self.options(group, &members, judged);
        let named = self.context.dotted(group.selector).and_then(Value::as_str);
        let named = named.map(|name| name.trim().to_lowercase());
        let named = named.filter(|name| !name.is_empty() && name != "auto");
        let explicit = options
            .iter()
            .find(|option| Some(option.name.as_str()) == named.as_deref());
        if let (Some(_), None) = (&named, explicit) {
            let message = format!("{} names no usable provider", group.selector);
            selected.note(
                group.codes.unknown,
                Severity::Warning,
                group.selector,
                message,
            );
        }
        let choice = match explicit {
            Some(option) => Some((option, self.offer(option, judged, resolution))),
            None => self.detect(&options, judged, resolution),
        };
        let Some((option, offer)) = choice else {
            deactivate(judged, &format!("no {} is usable", group.noun));
            return selected;
        };
        if explicit.is_none() && !matches!(offer, Offer::Failed(..) | Offer::Gated(_)) {
            let message = format!("{} \"{}\" was selected", group.noun, option.name);
            selected.note(
                group.codes.selected,
                Severity::Info,
                group.selector,
                message,
            );
        }
        deactivate(
            judged,
            &format!("the {} is \"{}\"", group.noun, option.name),
        );
        let owner = format!("{}:{}", group.id, option.name);
        let mut origin = None;
        let mut env_var = None;
        let mut activate = |index: usize, replacement: Option<SecretText>| {
            if let Some(judged) = judged.get_mut(index) {
                judged.active = Ok(());
                judged.owners = vec![owner.clone()];
                judged.replacement = replacement;
            }
        };
        match offer {
            Offer::Configured(index, kind) => {
                origin = Some(kind);
                if let Some(index) = index {
                    activate(index, None);
                }
            }
            Offer::Variable(name, value) => {
                origin = Some("env");
                match option.surfaces.first() {
                    Some(index) => {
                        let message = format!(
                            "the key of {} \"{}\" does not resolve; {name} is used",
                            group.noun, option.name
                        );
                        let place = option.place.to_string();
                        selected.note(
                            group.codes.fallback_used,
                            Severity::Warning,
                            &place,
                            message,
                        );
                        activate(*index, Some(value));
                    }
                    None => {
                        selected.from_env = Some(FromEnv {
                            path: option.place.clone(),
                            owner,
                            value,
                        });
                    }
                }
                env_var = Some(name);
            }
            Offer::Failed(index, failures) => {
                let message = format!(
                    "the key of {} \"{}\" does not resolve and no variable replaces it",
                    group.noun, option.name
                );
                let place = option.place.to_string();
                selected.note(group.codes.no_fallback, Severity::Warning, &place, message);
                activate(index, None);
                selected.failures = failures;
                for failure in &mut selected.failures {
                    let value = Value::from(group.id);
                    failure.details.insert("group".to_owned(), value);
                }
                return selected;
            }
            Offer::Gated(index) => {
                activate(index, None);
                return selected;
            }
            Offer::Nothing => {}
        }
        selected.selection = Some(Selection {
            group: group.id,
            provider: option.name.clone(),
            origin,
            env_var,
        });
        selected
    }

    /// The providers that may be selected, in the order in which they are tried.
    fn options<'g>(
        &self,
        group: &'g Group,
        members: &[usize],
        judged: &[Judged<'_>],
    ) -> Vec<Provider<'g>> {
        let usable = |index: &&usize| {
            judged
                .get(**index)
                .is_some_and(|judged| judged.active.is_ok())
        };
        let find = |path: &Path| {
            members
                .iter()
                .filter(usable)
                .copied()
                .find(|index| judged.get(*index).is_some_and(|j| j.surface.path == *path))
        };
        let legacy = |name: &str| group.switch_path().child(name).child("apiKey");
        let mut options = Vec::new();
        let mut used: BTreeSet<usize> = BTreeSet::new();
        for candidate in group.candidates {
            if plugin(self.context, candidate.plugin).is_err() {
                continue;
            }
            let place = group.place(candidate.plugin, candidate.key);
            let mut paths = vec![place.clone(), legacy(candidate.name)];
            if candidate.name == "brave" {
                paths.push(group.switch_path().child("apiKey"));
            }
            let surfaces: Vec<usize> = paths.iter().filter_map(find).collect();
            used.extend(&surfaces);
            let is_configured = surfaces.is_empty()
                && candidate.key != "apiKey"
                && is_set(self.context.at(place.segments()));
            options.push(Provider {
                name: candidate.name.to_owned(),
                place,
                env: candidate.env,
                keyless: candidate.keyless,
                env_refs_only: candidate.env_refs_only,
                surfaces,
                is_configured,
            });
        }
        let mut others: Vec<Provider<'g>> = Vec::new();
        for index in members.iter().filter(usable).filter(|i| !used.contains(i)) {
            let Some(judged) = judged.get(*index) else {
                continue;
            };
            let segments = judged.surface.path.segments();
            let name = match segments.first().map(String::as_str) {
                Some("plugins") => segments.get(2),
                _ => segments.get(3),
            };
            let known = |name: &String| {
                let listed = |c: &Candidate| c.plugin == name || c.name == name;
                group.candidates.iter().any(listed)
            };
            let Some(name) = name.filter(|name| !known(name)) else {
                continue;
            };
            others.push(Provider {
                name: name.to_lowercase(),
                place: judged.surface.path.clone(),
                env: &[],
                keyless: false,
                env_refs_only: false,
                surfaces: vec![*index],
                is_configured: false,
            });
        }
        others.sort_by(|a, b| a.name.cmp(&b.name));
        options.extend(others);
        options
    }

    /// The first provider with a credential; else one that needs none; else the first whose
    /// credential fails.
    fn detect<'o, 'g>(
        &self,
        options: &'o [Provider<'g>],
        judged: &[Judged<'_>],
        resolution: &mut Resolution,
    ) -> Option<(&'o Provider<'g>, Offer)> {
        let mut failed = None;
        for option in options {
            match self.offer(option, judged, resolution) {
                Offer::Nothing => {}
                offer @ (Offer::Failed(..) | Offer::Gated(_)) => {
                    failed = failed.or(Some((option, offer)));
                }
                offer => return Some((option, offer)),
            }
        }
        let keyless = options.iter().find(|option| option.keyless);
        keyless.map(|option| (option, Offer::Nothing)).or(failed)
    }

    fn offer(
        &self,
        option: &Provider<'_>,
        judged: &[Judged<'_>],
        resolution: &mut Resolution,
    ) -> Offer {
        if option.is_configured {
            return Offer::Configured(None, "literal");
        }
        let mut bad = None;
        for index in &option.surfaces {
            let Some(judged) = judged.get(*index) else {
                continue;
            };
            let content = &judged.surface.content;
            let refs = match content {
                Content::Literal(_) => return Offer::Configured(Some(*index), "literal"),
                Content::Reference(reference) => vec![reference.clone()],
                Content::Template(_) => (self.template_refs)(content),
                _ => Vec::new(),
            };
            match self.resolve(option, judged, &refs, resolution) {
                Ok(true) => return Offer::Configured(Some(*index), "ref"),
                Ok(false) => bad = bad.or(Some(Offer::Gated(*index))),
                Err(failures) => bad = bad.or(Some(Offer::Failed(*index, failures))),
            }
        }
        let variable = option.env.iter().find_map(|name| {
            let value = self.context.env.non_blank(name)?;
            Some(Offer::Variable(
                (*name).to_owned(),
                SecretText::new(value.to_owned()),
            ))
        });
        variable.or(bad).unwrap_or(Offer::Nothing)
    }

    /// Resolves a candidate's references unless that has happened. `Ok(false)`: not tried.
    fn resolve(
        &self,
        option: &Provider<'_>,
        judged: &Judged<'_>,
        refs: &[SecretRef],
        resolution: &mut Resolution,
    ) -> Result<bool, Vec<Failure>> {
        if refs.is_empty() {
            let fault = judged.surface.content.fault(&judged.surface.path);
            return Err(fault
                .map(|fault| of_surface(judged, fault))
                .into_iter()
                .collect());
        }
        let allowed = |reference: &SecretRef| {
            reference.source() != SecretSource::Env || option.env.contains(&reference.id())
        };
        if let Some(other) = refs.iter().find(|r| option.env_refs_only && !allowed(r)) {
            let message = format!(
                "{}: the variable must be {}",
                judged.surface.path,
                option.env.join(" or ")
            );
            let fault = super::failure::Fault::new(Code::SecretRefPolicyDenied, message);
            let mut failure = fault
                .reason("allowlist")
                .failure(super::failure::Scope::Ref, Some(other));
            failure.refs = vec![other.to_string()];
            return Err(vec![failure]);
        }
        let known: Vec<Failure> = resolution
            .failures
            .iter()
            .filter(|failure| refs.iter().any(|r| failure.refs.contains(&r.to_string())))
            .cloned()
            .collect();
        if !known.is_empty() {
            return Err(known);
        }
        let missing: BTreeSet<SecretRef> = refs
            .iter()
            .filter(|reference| !resolution.values.contains_key(reference))
            .cloned()
            .collect();
        if missing.is_empty() {
            return Ok(true);
        }
        let bound_to_fail = self.failed_already || !resolution.failures.is_empty();
        let more = self.resolver.resolve(missing.iter(), bound_to_fail);
        let (failures, gated) = (more.failures, !more.not_attempted.is_empty());
        resolution.values.extend(more.values);
        resolution.not_attempted.extend(more.not_attempted);
        resolution.diagnostics.extend(more.diagnostics);
        resolution.add_reports(more.reports);
        match failures.is_empty() {
            true => Ok(!gated),
            false => Err(failures),
        }
    }
}

impl Group {
    fn switch_path(&self) -> Path {
        Path::new(self.switch.split('.'))
    }

    fn place(&self, plugin: &str, key: &str) -> Path {
        Path::new(["plugins", "entries", plugin, "config", self.section, key])
    }
}

impl Selected {
    fn note(&mut self, code: Code, severity: Severity, path: &str, message: String) {
        let path = Path::parse(path).unwrap_or_default();
        self.diagnostics
            .push(Diagnostic::new(code, severity, &path, message));
    }
}

/// Puts a variable's value in place of a reference that does not resolve.
pub(super) fn replaced(judged: &Judged<'_>) -> Option<Resolved> {
    judged.replacement.clone().map(Resolved::Text)
}
