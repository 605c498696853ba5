//! No command shows a secret: every source holds its own, and every stream is searched.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and use files, programs and clocks as users do"
)]

mod support;

use serde_json::json;
use support::Home;

/// Commands that read, and those that fail, in all their forms.
const LINES: &[&str] = &[
    "models status --check",
    "models status --json",
    "models status --allow-exec --json",
    "models auth list",
    "models auth list --json",
    "models auth order get --provider anthropic",
    "models auth add --provider anthropic --from-env ANTHROPIC_API_KEY",
    "models auth refresh --all",
    "models list --json",
    "model list --offline",
    "model status --offline",
    "doctor",
    "doctor --json --allow-exec",
    "doctor --fix --yes",
    "secrets audit --json --allow-exec",
    "secrets targets --all",
    "secrets test env:default:IN_DOTENV",
    "secrets test models.providers.file.apiKey",
    "security audit --json",
    "store check",
    "agents list",
    "gateway run --check",
    "__complete profiles",
    "models status --token sk-CANARY-line",
    "gateway --password=sk-CANARY-line",
];

#[test]
fn no_command_shows_a_secret() {
    for level in ["warn", "trace"] {
        let mut home = Home::new();
        home.write(
            "vault",
            "#!/bin/sh\necho sk-CANARY-exec-0123456789\n",
            0o700,
        );
        home.write("keys.json", r#"{"a": "sk-CANARY-file-0123456789"}"#, 0o600);
        home.write(
            ".openclaw/.env",
            "IN_DOTENV=sk-CANARY-dotenv-0123456789\n",
            0o600,
        );
        let config = json!({
            "gateway": {"auth": {"mode": "token", "token": "gw-CANARY-config-0123456789012"}},
            "secrets": {"providers": {
                "keys": {"source": "file", "path": home.path.join("keys.json"), "mode": "json"},
                "vault": {"source": "exec", "command": home.path.join("vault"), "jsonOnly": false},
            }},
            "models": {"providers": {
                "plain": {"apiKey": "sk-CANARY-plain-0123456789", "baseUrl": "https://a.example"},
                "file": {"apiKey": {"source": "file", "provider": "keys", "id": "/a"}},
                "exec": {"apiKey": {"source": "exec", "provider": "vault", "id": "a"}},
                "env": {"apiKey": "${IN_DOTENV}"},
            }},
        });
        home.write(".openclaw/openclaw.json", &config.to_string(), 0o600);
        let store = json!({"version": 1, "profiles": {
            "anthropic:k": {"type": "api_key", "provider": "anthropic", "key": "sk-CANARY-key-0123456789"},
            "anthropic:t": {"type": "token", "provider": "anthropic", "token": "tok-CANARY-0123456789"},
            "openai-codex:o": {"type": "oauth", "provider": "openai-codex", "accountId": "x",
                "access": "acc-CANARY-0123456789", "refresh": "ref-CANARY-0123456789",
                "expires": 4_000_000_000_000_u64},
            "odd": {"type": "odd", "key": "sk-CANARY-odd-0123456789"},
        }});
        let path = ".openclaw/agents/main/agent/auth-profiles.json";
        home.write(path, &store.to_string(), 0o600);
        let variables = [
            ("ANTHROPIC_API_KEY", "sk-CANARY-env-0123456789"),
            (
                "OPENAI_API_KEYS",
                "sk-CANARY-one-0123456789,sk-CANARY-two-0123456789",
            ),
            ("ANTHROPIC_OAUTH_TOKEN", "tok-CANARY-env-0123456789"),
        ];
        for (name, value) in variables {
            home.env.insert(name.to_owned(), value.to_owned());
        }
        home.env
            .insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
        for line in LINES {
            let mut words: Vec<&str> = line.split(' ').collect();
            words.extend(["--log-level", level]);
            // `run` looks for the secrets itself.
            let ended = home.run(&words);
            assert!(matches!(ended.code, Some(0..=4 | 64)), "{line}: {ended:?}");
        }
    }
}
