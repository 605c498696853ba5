//! Names of model providers: one normal form for every spelling.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Other spellings of provider ids.
const ALIASES: &[(&str, &str)] = &[
    ("aws-bedrock", "amazon-bedrock"),
    ("bedrock", "amazon-bedrock"),
    ("bytedance", "volcengine"),
    ("doubao", "volcengine"),
    ("kimi-code", "kimi"),
    ("kimi-coding", "kimi"),
    ("opencode-go-auth", "opencode-go"),
    ("opencode-zen", "opencode"),
    ("z-ai", "zai"),
    ("z.ai", "zai"),
];

/// Plans that share the credentials of a base provider.
const PLANS: &[(&str, &str)] = &[
    ("byteplus-plan", "byteplus"),
    ("volcengine-plan", "volcengine"),
];

/// Aliases beyond the built-in ones, from the settings.
pub(crate) type Aliases = BTreeMap<String, String>;

/// The normal form of a provider id: trimmed, lower case, aliases replaced.
pub(crate) fn normalise_provider<'a>(id: &'a str, aliases: &'a Aliases) -> Cow<'a, str> {
    let trimmed = id.trim();
    let lower = if trimmed.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(trimmed.to_ascii_lowercase())
    } else {
        Cow::Borrowed(trimmed)
    };
    if let Some(target) = aliases.get(&*lower) {
        return Cow::Borrowed(target.as_str());
    }
    find(ALIASES, &lower).map_or(lower, Cow::Borrowed)
}

/// The provider whose credentials are used: as [`normalise_provider`], with plans replaced by
/// their base provider.
pub(crate) fn auth_provider<'a>(id: &'a str, aliases: &'a Aliases) -> Cow<'a, str> {
    let normal = normalise_provider(id, aliases);
    find(PLANS, &normal).map_or(normal, Cow::Borrowed)
}

/// The entry among those keyed by provider: the literal normal form first, then the first key in
/// file order that normalises to it, then the same for the provider whose credentials are used.
pub(crate) fn provider_entry<'a, T>(
    entries: &(impl Iterator<Item = (&'a str, T)> + Clone),
    provider: &str,
    aliases: &Aliases,
) -> Option<T> {
    let by = |wanted: &str| {
        let literal = entries.clone().find(|(key, _)| *key == wanted);
        literal.or_else(|| {
            entries
                .clone()
                .find(|(key, _)| normalise_provider(key, aliases) == wanted)
        })
    };
    let found = by(&normalise_provider(provider, aliases));
    found
        .or_else(|| by(&auth_provider(provider, aliases)))
        .map(|(_, value)| value)
}

fn find(table: &[(&str, &'static str)], id: &str) -> Option<&'static str> {
    table
        .iter()
        .find(|(from, _)| *from == id)
        .map(|(_, to)| *to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn or_1_spellings_meet_in_one_form() {
        let mut aliases = Aliases::new();
        aliases.insert("my-llm".to_owned(), "openai".to_owned());
        for (id, normal, auth) in [
            (" Anthropic ", "anthropic", "anthropic"),
            ("Z.AI", "zai", "zai"),
            ("z-ai", "zai", "zai"),
            ("kimi-code", "kimi", "kimi"),
            ("bedrock", "amazon-bedrock", "amazon-bedrock"),
            ("volcengine-plan", "volcengine-plan", "volcengine"),
            ("byteplus-plan", "byteplus-plan", "byteplus"),
            ("doubao", "volcengine", "volcengine"),
            ("opencode-go-auth", "opencode-go", "opencode-go"),
            ("My-LLM", "openai", "openai"),
            ("", "", ""),
        ] {
            assert_eq!(normalise_provider(id, &aliases), normal, "{id}");
            assert_eq!(auth_provider(id, &aliases), auth, "{id}");
        }
    }

    #[test]
    fn or_2_keys_are_found_whatever_their_spelling() {
        let entries = [("Z.AI", 1), ("zai", 2), ("volcengine", 3), ("Bedrock", 4)];
        let aliases = Aliases::new();
        let entry = |id| provider_entry(&entries.into_iter(), id, &aliases);
        assert_eq!(entry("z-ai"), Some(2));
        assert_eq!(entry("volcengine-plan"), Some(3));
        assert_eq!(entry("amazon-bedrock"), Some(4));
        assert_eq!(entry("openai"), None);
    }
}
