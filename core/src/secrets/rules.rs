//! The table of secret surfaces: which settings hold secrets, for whom, and when.

use std::collections::BTreeMap;

use super::channels;
use super::condition::{Condition, ITEM, Inherited, Native, Place, PluginStates, Predicate};
use super::pattern::{PatternIndex, Step, steps};
use super::registry::{Override, Registry};
use super::selection::{GROUPS, Group};

/// What a surface accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Text,
    TextOrObject,
}

/// What a pattern stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// The secret itself, or a reference to it.
    Secret,
    /// A reference that belongs to the key of this name beside it.
    ReferenceFor(String),
    /// References are refused here; texts are ordinary settings.
    Unsupported,
}

/// What a row is used for beyond resolving.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flags {
    /// A plan may put a reference here.
    pub(super) plan: bool,
    /// The audit reports plain text here.
    pub(super) audit: bool,
    /// Offered when a plan is written.
    pub(super) configure: bool,
    /// Line breaks are normal here.
    pub(super) multiline: bool,
    /// A profile with the same provider takes precedence over it.
    pub(super) shadow: bool,
    /// The last segment is a header name; plain texts count as secrets only under sensitive names.
    pub(super) header: bool,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            plan: true,
            audit: true,
            configure: true,
            multiline: false,
            shadow: false,
            header: false,
        }
    }
}

/// One row.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) pattern: String,
    pub(super) steps: Vec<Step>,
    pub(super) role: Role,
    /// With `{n}` for captures and `{agent}` for the id of the captured agent.
    pub(super) owner: String,
    /// `None`: only the ancestor rule.
    pub(super) condition: Option<Condition>,
    pub(super) ancestors: bool,
    /// What the host wants said when its condition does not hold.
    pub(super) inactive_reason: Option<String>,
    pub(super) expected: Expected,
    pub(super) flags: Flags,
    /// One of several providers is used; see `selection`.
    pub(super) group: Option<&'static Group>,
}

impl Rule {
    fn new(pattern: impl Into<String>, owner: &str) -> Self {
        let pattern = pattern.into();
        Self {
            id: pattern.clone(),
            steps: steps(&pattern),
            pattern,
            role: Role::Secret,
            owner: owner.to_owned(),
            condition: None,
            ancestors: true,
            inactive_reason: None,
            expected: Expected::Text,
            flags: Flags::default(),
            group: None,
        }
    }

    fn when(self, condition: Condition) -> Self {
        Self {
            condition: Some(condition),
            ..self
        }
    }

    fn native(self, native: Native) -> Self {
        self.when(Condition::Native(native))
    }

    fn multiline(mut self) -> Self {
        self.flags.multiline = true;
        self
    }

    fn header(mut self) -> Self {
        self.flags.header = true;
        self
    }

    fn shadow(mut self) -> Self {
        self.flags.shadow = true;
        self
    }

    /// Whether every owner and condition comes from the rules of channels.
    pub(super) fn is_channel(&self) -> bool {
        matches!(self.condition, Some(Condition::Native(Native::Channel)))
    }
}

const TLS: [&str; 4] = ["ca", "cert", "key", "passphrase"];
const SSH: [&str; 3] = ["identityData", "certificateData", "knownHostsData"];

/// References are refused at these places: the values are minted, rotated or session state.
const UNSUPPORTED: &[&str] = &[
    "commands.ownerDisplaySecret",
    "hooks.token",
    "hooks.gmail.pushToken",
    "hooks.mappings[].sessionKey",
    "channels.discord.threadBindings.webhookToken",
    "channels.discord.accounts.*.threadBindings.webhookToken",
    "channels.whatsapp.creds.json",
    "channels.whatsapp.accounts.*.creds.json",
];

/// The built-in rows.
fn built_in() -> Vec<Rule> {
    let mut rules = vec![
        Rule::new("models.providers.*.apiKey", "provider:{0}").shadow(),
        Rule::new("models.providers.*.headers.*", "provider:{0}").header(),
        Rule::new("models.providers.*.request.auth.token", "provider:{0}"),
        Rule::new("models.providers.*.request.auth.value", "provider:{0}"),
        Rule::new("models.providers.*.request.headers.*", "provider:{0}").header(),
        Rule::new("oauth.providers.*.clientSecret", "oauth:{0}"),
        Rule::new("skills.entries.*.apiKey", "skill:{0}"),
        Rule::new("agents.list[].memorySearch.remote.apiKey", "memory:{agent}"),
        Rule::new(
            "agents.defaults.memorySearch.remote.apiKey",
            "memory:defaults",
        )
        .when(memory_search_inherited()),
        Rule::new("messages.tts.providers.*.apiKey", "tts:{0}"),
        Rule::new("talk.apiKey", "talk"),
        Rule::new("talk.providers.*.apiKey", "talk:{0}"),
        Rule::new("cron.webhookToken", "cron"),
        Rule::new(
            "gateway.auth.trustedProxy.proxySecret.value",
            "gateway:auth",
        ),
        Rule::new(
            "gateway.auth.trustedProxy.proxySecret.previousValue",
            "gateway:auth",
        ),
        Rule::new("plugins.entries.*.config.mcpServers.*.env.*", "plugin:{0}")
            .native(Native::PluginActive),
    ];
    for group in GROUPS {
        for pattern in group.patterns {
            let rule = Rule::new(*pattern, "");
            let rule = match pattern.starts_with("plugins.") {
                true => rule.native(Native::PluginActive),
                false => rule,
            };
            rules.push(Rule {
                group: Some(group),
                ..rule
            });
        }
    }
    for (pattern, owner) in [
        ("gateway.auth.token", "gateway:auth"),
        ("gateway.auth.password", "gateway:auth"),
        ("gateway.remote.token", "gateway:remote"),
        ("gateway.remote.password", "gateway:remote"),
    ] {
        let rule = Rule::new(pattern, owner).native(Native::GatewayAuth);
        rules.push(Rule {
            ancestors: false,
            ..rule
        });
    }
    for name in TLS {
        for base in ["request.tls", "request.proxy.tls"] {
            let pattern = format!("models.providers.*.{base}.{name}");
            rules.push(Rule::new(pattern, "provider:{0}").multiline());
        }
    }
    for name in SSH {
        rules.push(
            Rule::new(
                format!("agents.defaults.sandbox.ssh.{name}"),
                "sandbox-ssh:defaults",
            )
            .native(Native::SandboxSshDefaults)
            .multiline(),
        );
        rules.push(
            Rule::new(
                format!("agents.list[].sandbox.ssh.{name}"),
                "sandbox-ssh:{agent}",
            )
            .native(Native::SandboxSshAgent)
            .multiline(),
        );
    }
    for base in ["channels.*", "channels.*.accounts.*"] {
        let channel = |field: &str| Rule {
            ancestors: false,
            ..Rule::new(format!("{base}.{field}"), "").native(Native::Channel)
        };
        rules.extend(channels::FIELDS.iter().map(|field| channel(field)));
        for (field, role) in [
            ("serviceAccount", Role::Secret),
            (
                "serviceAccountRef",
                Role::ReferenceFor("serviceAccount".to_owned()),
            ),
        ] {
            rules.push(
                Rule {
                    role,
                    expected: Expected::TextOrObject,
                    ..channel(field)
                }
                .multiline(),
            );
        }
    }
    // First: where two rows fit one place, the lower number wins.
    let unsupported = |pattern: &&str| Rule {
        role: Role::Unsupported,
        ..Rule::new(*pattern, "")
    };
    rules.splice(0..0, UNSUPPORTED.iter().map(unsupported));
    rules
}

/// Some enabled agent searches its memory without a key of its own.
fn memory_search_inherited() -> Condition {
    let below = |key: &str| match key {
        "" => Place(vec![ITEM.to_owned()]),
        key => Place(vec![ITEM.to_owned(), key.to_owned()]),
    };
    Condition::Inherited(Box::new(Inherited {
        over: Place::of("agents.list"),
        item_when: Some(Condition::All(vec![
            Condition::Enabled(below("")),
            Condition::Enabled(below("memorySearch")),
        ])),
        lacks: ["memorySearch", "remote", "apiKey"]
            .map(str::to_owned)
            .to_vec(),
        empty_counts: true,
    }))
}

/// The table in use: the host's rows and the built-in ones, with the index that finds them.
pub(crate) struct Rules {
    pub(super) rows: Vec<Rule>,
    pub(super) index: PatternIndex,
    pub(super) activations: Vec<Override>,
    pub(super) vetoes: Vec<Override>,
    pub(super) plugins: Option<PluginStates>,
    pub(super) predicates: BTreeMap<String, Predicate>,
    pub(super) env_names: BTreeMap<String, Vec<String>>,
}

impl Rules {
    /// The built-in table with what a host adds. Where several rows fit one place, the lower
    /// number decides how the value is read, so the host's rows come first.
    pub(crate) fn new(registry: &Registry) -> Self {
        let mut rows = registry.rules.clone();
        rows.extend(built_in());
        let mut index = PatternIndex::default();
        for (number, rule) in rows.iter().enumerate() {
            index.add(&rule.steps, number);
        }
        Self {
            rows,
            index,
            activations: registry.activations.clone(),
            vetoes: registry.vetoes.clone(),
            plugins: registry.plugins.clone(),
            predicates: registry.predicates.clone(),
            env_names: registry.env_names.clone(),
        }
    }
}

/// Whether an id belongs to the built-in table.
pub(super) fn is_built_in(id: &str) -> bool {
    built_in().iter().any(|rule| rule.id == id)
}
