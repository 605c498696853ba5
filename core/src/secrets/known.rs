//! Well-known variables of providers, and texts in generated files that are no secrets.

use std::collections::BTreeMap;

/// Variables that carry a provider's credential, the preferred one first. Same list as
/// OpenClaw 2026.4.
const PROVIDER_ENV: &[(&str, &[&str])] = &[
    ("anthropic", &["ANTHROPIC_API_KEY", "ANTHROPIC_OAUTH_TOKEN"]),
    ("anthropic-openai", &["ANTHROPIC_API_KEY"]),
    ("brave", &["BRAVE_API_KEY"]),
    ("byteplus", &["BYTEPLUS_API_KEY"]),
    ("cerebras", &["CEREBRAS_API_KEY"]),
    ("chutes", &["CHUTES_API_KEY", "CHUTES_OAUTH_TOKEN"]),
    ("cloudflare-ai-gateway", &["CLOUDFLARE_AI_GATEWAY_API_KEY"]),
    ("deepgram", &["DEEPGRAM_API_KEY"]),
    ("deepseek", &["DEEPSEEK_API_KEY"]),
    ("exa", &["EXA_API_KEY"]),
    ("fal", &["FAL_KEY"]),
    ("firecrawl", &["FIRECRAWL_API_KEY"]),
    (
        "github-copilot",
        &["COPILOT_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN"],
    ),
    ("google", &["GEMINI_API_KEY", "GOOGLE_API_KEY"]),
    ("groq", &["GROQ_API_KEY"]),
    ("huggingface", &["HUGGINGFACE_HUB_TOKEN", "HF_TOKEN"]),
    ("kilocode", &["KILOCODE_API_KEY"]),
    ("kimi", &["KIMI_API_KEY", "KIMICODE_API_KEY"]),
    ("litellm", &["LITELLM_API_KEY"]),
    ("microsoft-foundry", &["AZURE_OPENAI_API_KEY"]),
    ("minimax", &["MINIMAX_API_KEY"]),
    ("minimax-cn", &["MINIMAX_API_KEY"]),
    (
        "minimax-portal",
        &["MINIMAX_OAUTH_TOKEN", "MINIMAX_API_KEY"],
    ),
    ("mistral", &["MISTRAL_API_KEY"]),
    ("modelstudio", &["MODELSTUDIO_API_KEY"]),
    ("moonshot", &["MOONSHOT_API_KEY"]),
    ("nvidia", &["NVIDIA_API_KEY"]),
    ("ollama", &["OLLAMA_API_KEY"]),
    ("openai", &["OPENAI_API_KEY"]),
    ("opencode", &["OPENCODE_API_KEY", "OPENCODE_ZEN_API_KEY"]),
    ("opencode-go", &["OPENCODE_API_KEY", "OPENCODE_ZEN_API_KEY"]),
    ("openrouter", &["OPENROUTER_API_KEY"]),
    ("perplexity", &["PERPLEXITY_API_KEY", "OPENROUTER_API_KEY"]),
    ("qianfan", &["QIANFAN_API_KEY"]),
    ("qwen-dashscope", &["DASHSCOPE_API_KEY"]),
    ("sglang", &["SGLANG_API_KEY"]),
    ("synthetic", &["SYNTHETIC_API_KEY"]),
    ("tavily", &["TAVILY_API_KEY"]),
    ("together", &["TOGETHER_API_KEY"]),
    ("venice", &["VENICE_API_KEY"]),
    ("vercel-ai-gateway", &["AI_GATEWAY_API_KEY"]),
    ("vllm", &["VLLM_API_KEY"]),
    ("volcengine", &["VOLCANO_ENGINE_API_KEY"]),
    ("voyage", &["VOYAGE_API_KEY"]),
    ("xai", &["XAI_API_KEY"]),
    ("xiaomi", &["XIAOMI_API_KEY"]),
    ("zai", &["ZAI_API_KEY", "Z_AI_API_KEY"]),
    ("", &["MINIMAX_CODE_PLAN_KEY"]),
];

/// Texts in generated catalogues that stand for something else than a secret.
const MARKERS: &[&str] = &[
    "minimax-oauth",
    "ollama-local",
    "custom-local",
    "gcp-vertex-credentials",
    "codex-app-server",
    "secretref-managed",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "FIREWORKS_API_KEY",
    "NOVITA_API_KEY",
    "AZURE_API_KEY",
];
const MARKER_STARTS: &[&str] = &["oauth:", "secretref-env:"];

/// A secret shortened for reports; what only stands for a secret is shown as it is.
pub(crate) fn shown(secret: &str) -> String {
    let no_more = BTreeMap::new();
    let names = KnownNames { more: &no_more };
    match names.is_marker(secret) {
        true => format!("marker({secret})"),
        false => crate::text::mask(secret),
    }
}

/// The table with what a host adds to it.
#[derive(Clone, Copy)]
pub(super) struct KnownNames<'a> {
    pub(super) more: &'a BTreeMap<String, Vec<String>>,
}

impl<'a> KnownNames<'a> {
    /// Whether a variable of this name usually carries a provider's credential.
    pub(super) fn is_secret(&self, name: &str) -> bool {
        let built_in = PROVIDER_ENV
            .iter()
            .flat_map(|(_, names)| names.iter().copied());
        let more = self.more.values().flatten().map(String::as_str);
        built_in.chain(more).any(|known| known == name)
    }

    /// The variables of one provider.
    pub(super) fn of(&self, provider: &str) -> Vec<&'a str> {
        let id = provider_id(provider);
        let built_in = PROVIDER_ENV
            .iter()
            .filter(|(known, _)| *known == id)
            .flat_map(|(_, names)| names.iter().copied());
        let more = self.more.get(&id).into_iter().flatten();
        built_in.chain(more.map(String::as_str)).collect()
    }

    /// Whether a text of a generated file is known not to be a secret.
    pub(super) fn is_marker(&self, text: &str) -> bool {
        MARKERS.contains(&text)
            || MARKER_STARTS.iter().any(|start| text.starts_with(start))
            || self.is_secret(text)
    }
}

/// Names of one provider under which profiles are stored.
const ALIASES: &[(&str, &str)] = &[
    ("z.ai", "zai"),
    ("z-ai", "zai"),
    ("opencode-zen", "opencode"),
    ("opencode-go-auth", "opencode-go"),
    ("kimi-code", "kimi"),
    ("kimi-coding", "kimi"),
    ("bedrock", "amazon-bedrock"),
    ("aws-bedrock", "amazon-bedrock"),
    ("bytedance", "volcengine"),
    ("doubao", "volcengine"),
    ("volcengine-plan", "volcengine"),
    ("byteplus-plan", "byteplus"),
];

/// The provider's id in the form in which ids are compared.
pub(super) fn provider_id(text: &str) -> String {
    let id = text.trim().to_lowercase();
    let alias = ALIASES.iter().find(|(alias, _)| *alias == id);
    alias.map_or(id, |(_, id)| (*id).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_markers() {
        let more = BTreeMap::from([("mine".to_owned(), vec!["MINE_KEY".to_owned()])]);
        let names = KnownNames { more: &more };
        assert!(names.is_secret("OPENAI_API_KEY") && names.is_secret("MINE_KEY"));
        assert!(!names.is_secret("OTHER"));
        assert_eq!(names.of(" Google "), ["GEMINI_API_KEY", "GOOGLE_API_KEY"]);
        assert_eq!(names.of("mine"), ["MINE_KEY"]);
        assert_eq!(
            names.of("kimi-coding"),
            ["KIMI_API_KEY", "KIMICODE_API_KEY"]
        );
        for marker in [
            "oauth:x",
            "secretref-managed",
            "XAI_API_KEY",
            "ollama-local",
        ] {
            assert!(names.is_marker(marker), "{marker}");
        }
        assert!(!names.is_marker("sk-1"));
    }
}
