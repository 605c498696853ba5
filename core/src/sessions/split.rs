//! Taking `model@profile` apart. Both sides may contain `@`, `:` and `/`.

/// Splits a text into model and profile. `is_profile` says whether a profile of exactly this id
/// exists: then it is meant.
pub(crate) fn split_profile<'a>(
    text: &'a str,
    is_profile: &dyn Fn(&str) -> bool,
) -> (&'a str, Option<&'a str>) {
    let text = text.trim();
    let candidates: Vec<(&str, &str)> = text
        .match_indices('@')
        .filter_map(|(at, _)| Some((text.get(..at)?, text.get(at + 1..)?)))
        .filter(|(before, after)| {
            !before.is_empty() && !before.ends_with('/') && !after.trim().is_empty()
        })
        .collect();
    let known = candidates.iter().find(|(_, after)| is_profile(after));
    let found = known.or_else(|| {
        candidates
            .iter()
            .find(|(_, after)| is_profile_shaped(after))
    });
    match found.map(|(model, profile)| (model.trim(), profile.trim())) {
        Some((model, profile)) if !model.is_empty() && !profile.is_empty() => {
            (model, Some(profile))
        }
        _ => (text, None),
    }
}

/// Whether what follows an `@` can be a profile rather than a part of the model.
fn is_profile_shaped(after: &str) -> bool {
    let next = after.split('@').next().unwrap_or_default();
    if is_version(next.trim()) {
        return false;
    }
    // A slash belongs to a model, unless it follows the prefix of a provider.
    let Some((head, _)) = after.split_once('/') else {
        return true;
    };
    let prefix = head.split_once(':').map(|(prefix, _)| prefix.trim_start());
    prefix.is_some_and(|prefix| {
        !prefix.is_empty()
            && prefix
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    })
}

/// Dates, version numbers and the names of quantised weights.
fn is_version(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let dotted = |text: &str| text.split('.').all(digits);
    let date = text.len() == 8 && digits(&text);
    let marked = text.strip_prefix('v').is_some_and(dotted);
    let number = text.split(['-', '+']).next().unwrap_or_default();
    let release = number.contains('.') && dotted(number);
    date || marked || release || is_quantisation(&text)
}

/// `q8_0`, `iq3_xxs`, `4bit`, `fp16`, `bf16`, `int8`.
fn is_quantisation(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let tagged = text
        .strip_prefix('i')
        .unwrap_or(text)
        .strip_prefix('q')
        .is_some_and(|rest| {
            let (number, tail) = rest.split_once('_').unwrap_or((rest, ""));
            digits(number) && tail.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        });
    let bits = text
        .strip_suffix("bit")
        .is_some_and(|rest| digits(rest.trim_end_matches('-')));
    let typed = ["fp", "bf", "int"]
        .iter()
        .any(|kind| text.strip_prefix(kind).is_some_and(digits));
    tagged || bits || typed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn md_4_models_and_profiles_may_look_like_each_other() {
        for (text, model, profile) in [
            ("Opus@anthropic:work", "Opus", "anthropic:work"),
            (
                "openai/gpt-5@openai:me@example.com",
                "openai/gpt-5",
                "openai:me@example.com",
            ),
            (
                "flash@google-gemini-cli:test@gmail.com",
                "flash",
                "google-gemini-cli:test@gmail.com",
            ),
            (
                "opus@google:me+work@gmail.com",
                "opus",
                "google:me+work@gmail.com",
            ),
            (
                "vertex/claude-haiku-4-5@20251001",
                "vertex/claude-haiku-4-5@20251001",
                "-",
            ),
            (
                "vertex/claude-haiku-4-5@20251001@work",
                "vertex/claude-haiku-4-5@20251001",
                "work",
            ),
            ("opus@20250101", "opus", "20250101"),
            ("lmstudio/gemma@q8_0", "lmstudio/gemma@q8_0", "-"),
            ("lmstudio/gemma@4bit", "lmstudio/gemma@4bit", "-"),
            ("lmstudio/gemma@BF16", "lmstudio/gemma@BF16", "-"),
            (
                "lmstudio/gemma@iq3_xxs@work",
                "lmstudio/gemma@iq3_xxs",
                "work",
            ),
            ("provider/model@v1.2.3", "provider/model@v1.2.3", "-"),
            (
                "provider/model@1.0.0-beta.1",
                "provider/model@1.0.0-beta.1",
                "-",
            ),
            ("provider/model@1234", "provider/model", "1234"),
            ("openrouter/@preset/kimi", "openrouter/@preset/kimi", "-"),
            (
                "openrouter/@preset/kimi@work",
                "openrouter/@preset/kimi",
                "work",
            ),
            (
                "cf/@cf/openai/gpt-oss-20b@me",
                "cf/@cf/openai/gpt-oss-20b",
                "me",
            ),
            ("provider/foo@bar/baz", "provider/foo@bar/baz", "-"),
            ("gpt-5@openai:team/alpha", "gpt-5", "openai:team/alpha"),
            ("a/b@c@d", "a/b", "c@d"),
            ("model@123456789@p", "model", "123456789@p"),
            (" opus @ work ", "opus", "work"),
            ("opus@", "opus@", "-"),
            ("@anthropic:work", "@anthropic:work", "-"),
            ("", "", "-"),
        ] {
            let expected = (model, Some(profile).filter(|profile| *profile != "-"));
            assert_eq!(
                split_profile(text, &|id| id == "20250101"),
                expected,
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn both_sides_are_parts_of_the_text(text in "[a-z0-9@:/. é]{0,24}") {
            let (model, profile) = split_profile(&text, &|_| false);
            match profile {
                None => prop_assert_eq!(model, text.trim()),
                Some(profile) => {
                    prop_assert!(!model.is_empty() && !profile.is_empty());
                    prop_assert!(text.contains(model) && text.contains(profile));
                }
            }
        }
    }
}
