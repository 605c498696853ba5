//! The list of keys that the environment holds for a provider.
//!
//! Sources by priority: `OPENCLAW_LIVE_<P>_KEY` alone; tokens that come before keys;
//! `<P>_API_KEYS`; `<P>_API_KEY`; `<P>_API_KEY_*`; further variables of the provider. `P` is a
//! prefix from the table, or the provider's id in capitals.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;

use foldhash::fast::RandomState;

use crate::config::{EnvView, Routing, auth_provider, normalise_provider};
use crate::text::{SecretText, clean_secret};

/// One key of the environment.
#[derive(Debug, Clone)]
pub(crate) struct EnvKey {
    /// `env:<VARIABLE>`, or `env:<VARIABLE>#<n>` for later elements of a list. Holds no secret.
    pub(crate) id: String,
    /// A bearer token of a subscription rather than an API key.
    pub(crate) is_token: bool,
    pub(crate) value: SecretText,
}

/// The keys of one provider, in the order they are tried.
#[derive(Debug, Clone, Default)]
pub(crate) struct EnvKeys {
    pub(crate) keys: Vec<EnvKey>,
    /// The keys are the live override, which replaces all others.
    pub(crate) is_live_override: bool,
    /// Variables that are named like keys and hold none.
    pub(crate) not_keys: Vec<String>,
}

/// Where a provider's keys are, beyond the prefix derived from its id.
struct Row {
    providers: &'static [&'static str],
    prefixes: &'static [&'static str],
    /// Tokens that come before all keys.
    tokens: &'static [&'static str],
    /// Lists read after `<P>_API_KEYS`.
    lists: &'static [&'static str],
    /// Variables that come last; the flag marks tokens.
    last: &'static [(&'static str, bool)],
}

const ROW: Row = Row {
    providers: &[],
    prefixes: &[],
    tokens: &[],
    lists: &[],
    last: &[],
};

const TABLE: &[Row] = &[
    Row {
        providers: &["anthropic"],
        tokens: &["ANTHROPIC_OAUTH_TOKEN"],
        lists: &["OPENCLAW_LIVE_ANTHROPIC_KEYS"],
        ..ROW
    },
    Row {
        providers: &["anthropic-openai"],
        prefixes: &["ANTHROPIC", "ANTHROPIC_OPENAI"],
        ..ROW
    },
    Row {
        providers: &["google", "google-vertex"],
        prefixes: &["GEMINI"],
        last: &[("GOOGLE_API_KEY", false)],
        ..ROW
    },
    Row {
        providers: &["amazon-bedrock"],
        last: &[("AWS_BEARER_TOKEN_BEDROCK", true)],
        ..ROW
    },
    Row {
        providers: &["chutes"],
        tokens: &["CHUTES_OAUTH_TOKEN"],
        ..ROW
    },
    Row {
        providers: &["fal"],
        last: &[("FAL_KEY", false)],
        ..ROW
    },
    Row {
        providers: &["github-copilot"],
        last: &[
            ("COPILOT_GITHUB_TOKEN", true),
            ("GH_TOKEN", true),
            ("GITHUB_TOKEN", true),
        ],
        ..ROW
    },
    Row {
        providers: &["huggingface"],
        last: &[("HUGGINGFACE_HUB_TOKEN", true), ("HF_TOKEN", true)],
        ..ROW
    },
    Row {
        providers: &["kimi"],
        prefixes: &["KIMI", "KIMICODE"],
        ..ROW
    },
    Row {
        providers: &["microsoft-foundry"],
        prefixes: &["AZURE_OPENAI", "MICROSOFT_FOUNDRY"],
        ..ROW
    },
    Row {
        providers: &["minimax"],
        last: &[("MINIMAX_CODE_PLAN_KEY", false)],
        ..ROW
    },
    Row {
        providers: &["minimax-cn"],
        prefixes: &["MINIMAX_CN", "MINIMAX"],
        ..ROW
    },
    Row {
        providers: &["minimax-portal"],
        prefixes: &["MINIMAX_PORTAL", "MINIMAX"],
        tokens: &["MINIMAX_OAUTH_TOKEN"],
        ..ROW
    },
    Row {
        providers: &["opencode", "opencode-go"],
        prefixes: &["OPENCODE", "OPENCODE_ZEN"],
        ..ROW
    },
    Row {
        providers: &["perplexity"],
        last: &[("OPENROUTER_API_KEY", false)],
        ..ROW
    },
    Row {
        providers: &["qwen-dashscope"],
        prefixes: &["DASHSCOPE", "QWEN_DASHSCOPE"],
        ..ROW
    },
    Row {
        providers: &["vercel-ai-gateway"],
        prefixes: &["AI_GATEWAY", "VERCEL_AI_GATEWAY"],
        ..ROW
    },
    Row {
        providers: &["volcengine"],
        prefixes: &["VOLCANO_ENGINE", "VOLCENGINE"],
        ..ROW
    },
    Row {
        providers: &["zai"],
        prefixes: &["ZAI", "Z_AI"],
        ..ROW
    },
];

/// Endings of `<P>_API_KEY_*` that say the variable is about a key, not a key.
const NOT_KEYS: &[&str] = &[
    "FILE",
    "PATH",
    "URL",
    "BASE_URL",
    "ENDPOINT",
    "HELPER",
    "CMD",
    "COMMAND",
    "ID",
    "NAME",
    "REF",
    "EXPIRES",
    "EXPIRES_AT",
    "TTL",
];

/// Providers whose variables have the names that their ids suggest.
const DERIVED: &[&str] = &[
    "azure-openai",
    "brave",
    "byteplus",
    "cerebras",
    "cloudflare-ai-gateway",
    "deepgram",
    "deepseek",
    "exa",
    "firecrawl",
    "groq",
    "kilocode",
    "litellm",
    "mistral",
    "modelstudio",
    "moonshot",
    "nvidia",
    "ollama",
    "openai",
    "openrouter",
    "qianfan",
    "sglang",
    "synthetic",
    "tavily",
    "together",
    "venice",
    "vllm",
    "voyage",
    "xai",
    "xiaomi",
];

/// Every provider that the table knows.
pub(crate) fn known_providers() -> impl Iterator<Item = &'static str> {
    let rows = TABLE.iter().flat_map(|row| row.providers.iter().copied());
    rows.chain(DERIVED.iter().copied())
}

/// The name of the variable to recommend to somebody who has no key for a provider.
pub(crate) fn first_variable(provider: &str, routing: &Routing) -> String {
    let (_, prefixes) = places(provider, routing);
    let prefix = prefixes.first().map_or("", String::as_str);
    format!("{prefix}_API_KEY")
}

/// The name of the variable that usually holds a provider's key, such as `OPENAI_API_KEY`.
pub fn env_variable(provider: &str) -> String {
    first_variable(provider, &Routing::default())
}

/// The table row of a provider and its prefixes.
fn places(provider: &str, routing: &Routing) -> (&'static Row, Vec<String>) {
    let normal = normalise_provider(provider, &routing.aliases);
    let auth = auth_provider(provider, &routing.aliases);
    let row_of = |id: &str| TABLE.iter().find(|row| row.providers.contains(&id));
    let row = row_of(&normal).or_else(|| row_of(&auth)).unwrap_or(&ROW);
    let own = routing
        .env_table
        .get(&*normal)
        .or_else(|| routing.env_table.get(&*auth));
    let prefixes = match own {
        Some(prefixes) => prefixes.clone(),
        None if row.prefixes.is_empty() => vec![derived_prefix(&auth)],
        None => row
            .prefixes
            .iter()
            .map(|prefix| (*prefix).to_owned())
            .collect(),
    };
    (row, prefixes)
}

fn derived_prefix(provider: &str) -> String {
    let upper = provider.chars().map(|c| c.to_ascii_uppercase());
    upper
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

impl EnvKeys {
    /// Collects the keys of a provider. Deterministic: the order does not depend on the order of
    /// the environment.
    pub(crate) fn collect(env: &EnvView, provider: &str, routing: &Routing) -> Self {
        let (row, prefixes) = places(provider, routing);
        let mut collector = Collector {
            env,
            seen: HashSet::default(),
            found: Self::default(),
        };
        let variable = |parts: [&str; 3]| parts.concat();
        for prefix in &prefixes {
            collector.single(&variable(["OPENCLAW_LIVE_", prefix, "_KEY"]), false);
            if !collector.found.keys.is_empty() {
                collector.found.is_live_override = true;
                return collector.found;
            }
        }
        for name in row.tokens {
            collector.single(name, true);
        }
        for prefix in &prefixes {
            collector.list(&variable([prefix, "_API_KEYS", ""]));
        }
        for name in row.lists {
            collector.list(name);
        }
        for prefix in &prefixes {
            collector.single(&variable([prefix, "_API_KEY", ""]), false);
        }
        for prefix in &prefixes {
            collector.numbered(&variable([prefix, "_API_KEY_", ""]));
        }
        for (name, is_token) in row.last {
            collector.single(name, *is_token);
        }
        collector.found
    }
}

struct Collector<'a> {
    env: &'a EnvView,
    seen: HashSet<SeenKey, RandomState>,
    found: EnvKeys,
}

/// A key that was found already; shares the buffer of the list.
#[derive(PartialEq, Eq)]
struct SeenKey(SecretText);

impl std::hash::Hash for SeenKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.expose().hash(state);
    }
}

impl std::borrow::Borrow<str> for SeenKey {
    fn borrow(&self) -> &str {
        self.0.expose()
    }
}

impl Collector<'_> {
    fn single(&mut self, name: &str, is_token: bool) {
        if let Some(value) = self.env.text(name) {
            self.add((name, 1), value.expose(), Some(value), is_token);
        }
    }

    /// Elements between white space, commas and semicolons.
    fn list(&mut self, name: &str) {
        let Some(value) = self.env.get(name) else {
            return;
        };
        let separator = |c: char| c.is_whitespace() || c == ',' || c == ';';
        let elements = value.split(separator).filter(|element| !element.is_empty());
        for (index, element) in elements.enumerate() {
            self.add((name, index + 1), element, None, false);
        }
    }

    /// All variables with a prefix: numbers first, by value, then the others by name.
    fn numbered(&mut self, prefix: &str) {
        let found = self.env.with_prefix(prefix);
        let mut found: Vec<_> = found
            .filter(|(name, _)| name.len() > prefix.len())
            .collect();
        found.sort_unstable_by(|(a, _), (b, _)| by_number(behind(a, prefix), behind(b, prefix)));
        self.seen.reserve(found.len());
        self.found.keys.reserve(found.len());
        for (name, value) in found {
            let suffix = behind(name, prefix);
            if NOT_KEYS
                .iter()
                .any(|word| word.eq_ignore_ascii_case(suffix))
            {
                self.found.not_keys.push(name.to_owned());
            } else {
                self.add((name, 1), value.expose(), Some(value), false);
            }
        }
    }

    /// Adds a key: `text`, which is the whole value of a variable when `whole` is there. Such a
    /// value is shared with the environment where nothing had to be cleaned off it.
    fn add(
        &mut self,
        (name, position): (&str, usize),
        text: &str,
        whole: Option<&SecretText>,
        is_token: bool,
    ) {
        let value = clean_secret(text);
        if value.is_empty() || self.seen.contains(&*value) {
            return;
        }
        if value.contains("://") {
            self.found.not_keys.push(name.to_owned());
            return;
        }
        let value = match (whole, value) {
            (Some(whole), Cow::Borrowed(clean)) if clean.len() == whole.len() => whole.clone(),
            (_, value) => SecretText::new(value.into_owned()),
        };
        self.seen.insert(SeenKey(value.clone()));
        let id = if position == 1 {
            ["env:", name].concat()
        } else {
            format!("env:{name}#{position}")
        };
        self.found.keys.push(EnvKey {
            id,
            is_token,
            value,
        });
    }
}

/// What follows a prefix.
fn behind<'a>(name: &'a str, prefix: &str) -> &'a str {
    name.get(prefix.len()..).unwrap_or_default()
}

/// Digits before other texts; digits by value, whatever their length; ties and others by bytes.
fn by_number(a: &str, b: &str) -> Ordering {
    fn number(text: &str) -> Option<&str> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.trim_start_matches('0'))
    }
    match (number(a), number(b)) {
        (Some(x), Some(y)) => x.len().cmp(&y.len()).then(x.cmp(y)).then(a.cmp(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;

    fn env(vars: &[(&str, &str)]) -> EnvView {
        let vars = vars.iter();
        EnvView::new(
            vars.map(|(name, value)| ((*name).to_owned(), Zeroizing::new((*value).to_owned())))
                .collect::<BTreeMap<_, _>>(),
        )
    }

    fn shown(keys: &EnvKeys) -> Vec<String> {
        let keys = keys.keys.iter();
        keys.map(|key| {
            format!(
                "{}={}{}",
                key.id,
                key.value.expose(),
                if key.is_token { "!" } else { "" }
            )
        })
        .collect()
    }

    #[test]
    fn env_7_ids_name_the_variable_and_the_place_in_its_list() {
        let env = env(&[
            ("OPENAI_API_KEYS", "k1, k2;;k1 k3"),
            ("OPENAI_API_KEY", "k3"),
        ]);
        let keys = EnvKeys::collect(&env, "OpenAI", &Routing::default());
        assert_eq!(
            shown(&keys),
            [
                "env:OPENAI_API_KEYS=k1",
                "env:OPENAI_API_KEYS#2=k2",
                "env:OPENAI_API_KEYS#4=k3"
            ]
        );
        assert!(!format!("{keys:?}").contains("k2\""));
    }

    #[test]
    fn env_3_numbers_come_first_and_by_value() {
        let mut suffixes = ["10", "2", "b", "A", "01", "1", "00000000000000000000003"];
        suffixes.sort_by(|a, b| by_number(a, b));
        assert_eq!(
            suffixes,
            ["01", "1", "2", "00000000000000000000003", "10", "A", "b"]
        );
    }

    #[test]
    fn settings_add_prefixes_and_the_recommended_variable_follows() {
        let mut routing = Routing::default();
        routing.env_table.insert(
            "acme".to_owned(),
            vec!["ACME_PROD".to_owned(), "ACME".to_owned()],
        );
        let env = env(&[("ACME_API_KEY", "b"), ("ACME_PROD_API_KEY", "a")]);
        let keys = EnvKeys::collect(&env, "acme", &routing);
        assert_eq!(
            shown(&keys),
            ["env:ACME_PROD_API_KEY=a", "env:ACME_API_KEY=b"]
        );
        assert_eq!(first_variable("acme", &routing), "ACME_PROD_API_KEY");
        assert_eq!(first_variable("google-vertex", &routing), "GEMINI_API_KEY");
    }

    proptest! {
        #[test]
        fn lists_never_hold_blanks_or_repetitions(list in "[a-c ,;\t\u{2003}\n]{0,40}") {
            let env = env(&[("X_API_KEYS", &list), ("X_API_KEY", "a")]);
            let keys = EnvKeys::collect(&env, "x", &Routing::default());
            let values: Vec<&str> = keys.keys.iter().map(|key| key.value.expose()).collect();
            let unique: HashSet<&&str> = values.iter().collect();
            prop_assert_eq!(unique.len(), values.len());
            prop_assert!(values.iter().all(|value| value.bytes().all(|b| b.is_ascii_lowercase())));
            prop_assert!(values.contains(&"a"));
        }
    }
}
