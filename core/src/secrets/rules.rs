//! The table of secret surfaces: which settings hold secrets, for whom, and when.

use super::channels;
use super::condition::{Condition, Native};
use super::pattern::PatternIndex;

/// What a surface accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Text,
    TextOrObject,
}

/// What a pattern stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The secret itself, or a reference to it.
    Secret,
    /// A reference that belongs to the key of this name beside it.
    ReferenceFor(&'static str),
    /// References are refused here; texts are ordinary settings.
    Unsupported,
}

/// One row.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) pattern: String,
    pub(super) role: Role,
    /// With `{n}` for captures and `{agent}` for the id of the captured agent.
    pub(super) owner: &'static str,
    pub(super) condition: Condition,
    pub(super) ancestors: bool,
    pub(super) expected: Expected,
    /// Line breaks are normal here.
    pub(super) multiline: bool,
    /// The last segment is a header name; plain texts count as secrets only under sensitive names.
    pub(super) header: bool,
}

impl Rule {
    fn new(pattern: impl Into<String>, owner: &'static str) -> Self {
        Self {
            pattern: pattern.into(),
            role: Role::Secret,
            owner,
            condition: Condition::Always,
            ancestors: true,
            expected: Expected::Text,
            multiline: false,
            header: false,
        }
    }

    fn when(self, condition: Condition) -> Self {
        Self { condition, ..self }
    }

    fn native(self, native: Native) -> Self {
        self.when(Condition::Native(native))
    }

    fn multiline(self) -> Self {
        Self {
            multiline: true,
            ..self
        }
    }

    fn header(self) -> Self {
        Self {
            header: true,
            ..self
        }
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
        Rule::new("models.providers.*.apiKey", "provider:{0}"),
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
        .when(Condition::Inherited {
            over: "agents.list",
            enabled: &["memorySearch"],
            lacks: "memorySearch.remote.apiKey",
        }),
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
            ("serviceAccountRef", Role::ReferenceFor("serviceAccount")),
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

/// The rows with the index that finds them.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(super) rows: Vec<Rule>,
    pub(super) index: PatternIndex,
}

impl Rules {
    /// The built-in table.
    pub(crate) fn built_in() -> Self {
        let rows = built_in();
        let mut index = PatternIndex::default();
        for (number, rule) in rows.iter().enumerate() {
            index.add(&rule.pattern, number);
        }
        Self { rows, index }
    }
}
