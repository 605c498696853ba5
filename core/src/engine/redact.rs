//! Texts made fit for logs: what the engine knows to be a secret is masked.

use std::collections::BTreeMap;

use super::Engine;
use crate::profiles::Material;
use crate::text::{SecretText, mask};

/// Shortest secret that is searched for, in bytes; shorter ones would hit ordinary words.
const MIN_SECRET: usize = 6;

impl Engine {
    /// The text with every known secret masked: those of the configuration, of the stores that
    /// were opened, keys of the environment that were lent, and everything that is lent now.
    /// Secrets shorter than six bytes are not searched for. For texts that go into logs.
    pub fn redact(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        for secret in self.known_secrets() {
            if shown.contains(secret.expose()) {
                shown = shown.replace(secret.expose(), &mask(secret.expose()));
            }
        }
        shown
    }

    /// The longest first, because one may be part of another.
    fn known_secrets(&self) -> Vec<SecretText> {
        let mut known: BTreeMap<usize, Vec<SecretText>> = BTreeMap::new();
        let mut add = |secret: &SecretText| {
            if secret.len() >= MIN_SECRET {
                known.entry(secret.len()).or_default().push(secret.clone());
            }
        };
        self.current.load().each_secret(&mut add);
        let overrides = &self.access.overrides;
        overrides.token.iter().for_each(&mut add);
        overrides.password.iter().for_each(&mut add);
        let routes = self.router.routes();
        for agent in self.router.opened_agents() {
            // A store that cannot be read now has no secrets that anybody could have seen here.
            let Ok(view) = self.router.view(&routes, &agent) else {
                continue;
            };
            for profile in &view.profiles {
                if let Material::Inline(secret) = &profile.credential.material {
                    add(secret);
                }
                profile.credential.refresh.iter().for_each(&mut add);
            }
        }
        self.router.each_lent_secret(&mut add);
        known.into_values().rev().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::host::sim::Sim;
    use crate::{Engine, LeaseRequest, Options};

    #[test]
    fn every_kind_of_secret_is_masked() {
        let sim = Sim::new();
        sim.env("HOME", "/home/user")
            .dir("/home/user/.openclaw", 0o700)
            .env("ACME_API_KEY", "env-secret-0123456789")
            .file(
                "/home/user/.openclaw/agents/main/agent/auth-profiles.json",
                json!({"version": 1, "profiles": {
                    "b:1": {"type": "api_key", "provider": "b", "key": "store-secret-0123456789"},
                }})
                .to_string(),
                0o600,
            );
        let config = json!({
            "gateway": {"auth": {"mode": "token", "token": "door-secret-0123456789abcdef0123"}},
            "models": {"providers": {
                "c": {"apiKey": "conf-secret-0123456789"},
                "d": {"apiKey": "conf-secret-0123456789-and-more"},
                "e": {"apiKey": "tiny"},
            }},
        });
        let options = Options::new().with_host(sim.host()).config_value(config);
        let engine = Engine::open(options).unwrap();
        for provider in ["acme", "b"] {
            let request = LeaseRequest {
                provider: Some(provider),
                ..LeaseRequest::default()
            };
            drop(engine.lease(&request).unwrap());
        }
        for (text, shown) in [
            ("sent env-secret-0123456789.", "sent en...89."),
            ("b: store-secret-0123456789", "b: st...89"),
            ("door-secret-0123456789abcdef0123", "door...0123"),
            ("conf-secret-0123456789-and-more", "con...ore"),
            ("\"conf-secret-0123456789\"", "\"co...89\""),
            ("a tiny thing", "a tiny thing"),
        ] {
            assert_eq!(engine.redact(text), shown);
        }
    }
}
