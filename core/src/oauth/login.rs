//! A stored OAuth credential, as this part reads and writes it. Unknown members stay.

use serde_json::{Map, Value, json};

use super::claims::{Claims, Identity, MAX_TIME_MS, refresh_digest, short};
use super::expiry::Validity;
use super::tokens::Tokens;
use crate::text::{SecretText, clean_secret};

/// Most ancestors that a credential remembers.
const MAX_LINEAGE: usize = 8;

/// A login of another program that a profile stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExternalLink {
    pub(crate) cli: String,
    pub(crate) path: Option<String>,
}

/// An `oauth` credential.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) provider: String,
    pub(crate) access: Option<SecretText>,
    pub(crate) refresh: Option<SecretText>,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) identity: Identity,
    pub(crate) client_id: Option<String>,
    pub(crate) issued_at_ms: Option<u64>,
    pub(crate) token_host: Option<String>,
    /// Short digests of the refresh tokens that this credential replaced, newest first.
    pub(crate) lineage: Vec<String>,
    pub(crate) external: Option<ExternalLink>,
}

impl Login {
    /// Reads a credential; `None` when it is not of type `oauth`.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let map = value.as_object()?;
        let text = |key: &str| map.get(key).and_then(Value::as_str);
        let kind = text("type").or_else(|| text("mode"));
        if kind.is_some_and(|kind| kind != "oauth") {
            return None;
        }
        let secret = |key: &str| {
            let text = clean_secret(text(key)?);
            (!text.is_empty()).then(|| SecretText::new(text.into_owned()))
        };
        let (access, refresh) = (secret("access"), secret("refresh"));
        if kind.is_none() && access.is_none() && refresh.is_none() {
            return None;
        }
        let named = |key: &str| {
            let text = text(key)?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        let ours = map.get("oa").and_then(Value::as_object);
        let ours = |key: &str| ours.and_then(|ours| ours.get(key));
        Some(Self {
            provider: text("provider")?.trim().to_lowercase(),
            access,
            refresh,
            expires_ms: map.get("expires").and_then(time_ms),
            identity: Identity {
                account_id: named("accountId"),
                email: named("email"),
            },
            client_id: named("clientId"),
            issued_at_ms: ours("issuedAt").and_then(time_ms),
            token_host: ours("tokenHost").and_then(Value::as_str).map(str::to_owned),
            lineage: lineage(ours("lineage")),
            external: ours("external")
                .or_else(|| map.get("external"))
                .and_then(external),
        })
    }

    /// The digest of the refresh token.
    pub(crate) fn digest(&self) -> Option<String> {
        let refresh = self.refresh.as_ref()?;
        Some(refresh_digest(&self.provider, refresh))
    }

    /// What is known about the life of the access token.
    pub(crate) fn validity(&self) -> Validity {
        let claims = self
            .access
            .as_ref()
            .map(|access| Claims::of(access.expose(), None));
        Validity {
            expires_ms: self.expires_ms,
            issued_at_ms: self.issued_at_ms,
            claimed_lifetime_ms: claims.and_then(|claims| claims.lifetime_ms()),
            has_refresh: self.refresh.is_some(),
        }
    }

    /// Whether this credential came out of refreshing the token with this digest, or still is it.
    pub(crate) fn descends_from(&self, digest: &str) -> bool {
        self.digest().as_deref() == Some(digest)
            || self
                .lineage
                .iter()
                .any(|ancestor| ancestor == short(digest))
    }
}

/// A credential after a refresh: everything as it was, with new tokens.
pub(crate) fn renewed(old: &Value, login: &Login, tokens: &Tokens, token_host: &str) -> Value {
    let mut map = old.as_object().cloned().unwrap_or_default();
    map.insert("access".to_owned(), tokens.access.expose().into());
    if let Some(refresh) = &tokens.refresh {
        map.insert("refresh".to_owned(), refresh.expose().into());
    }
    map.insert("expires".to_owned(), tokens.expires_ms.into());
    let mut lineage: Vec<String> = Vec::new();
    // A token that is not replaced is no ancestor.
    if tokens
        .refresh
        .as_ref()
        .is_some_and(|new| Some(new) != login.refresh.as_ref())
    {
        lineage.extend(login.digest().map(|digest| short(&digest).to_owned()));
    }
    lineage.extend(login.lineage.iter().cloned());
    lineage.truncate(MAX_LINEAGE);
    set_ours(&mut map, tokens, token_host, lineage);
    Value::Object(map)
}

/// The credential of a sign-in.
pub(crate) fn fresh(
    provider: &str,
    identity: &Identity,
    tokens: &Tokens,
    token_host: &str,
) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("type".to_owned(), "oauth".into());
    map.insert("provider".to_owned(), provider.into());
    map.insert("access".to_owned(), tokens.access.expose().into());
    if let Some(refresh) = &tokens.refresh {
        map.insert("refresh".to_owned(), refresh.expose().into());
    }
    map.insert("expires".to_owned(), tokens.expires_ms.into());
    for (key, value) in [
        ("accountId", &identity.account_id),
        ("email", &identity.email),
    ] {
        if let Some(value) = value {
            map.insert(key.to_owned(), value.clone().into());
        }
    }
    set_ours(&mut map, tokens, token_host, Vec::new());
    map
}

fn set_ours(map: &mut Map<String, Value>, tokens: &Tokens, token_host: &str, lineage: Vec<String>) {
    let slot = map.entry("oa").or_insert(Value::Null);
    if !slot.is_object() {
        *slot = json!({});
    }
    if let Value::Object(ours) = slot {
        ours.insert("issuedAt".to_owned(), tokens.issued_at_ms.into());
        ours.insert("tokenHost".to_owned(), token_host.into());
        ours.insert("lineage".to_owned(), lineage.into());
    }
}

/// A moment in milliseconds since 1970; fractions, which OpenClaw 2026.4 writes, are cut off.
fn time_ms(value: &Value) -> Option<u64> {
    let ms = value.as_number()?.as_f64()?;
    (ms > 0.0 && ms <= MAX_TIME_MS).then_some(ms as u64)
}

fn lineage(value: Option<&Value>) -> Vec<String> {
    let list = value
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let texts = list.iter().filter_map(Value::as_str).map(str::to_owned);
    texts.take(MAX_LINEAGE).collect()
}

fn external(value: &Value) -> Option<ExternalLink> {
    Some(ExternalLink {
        cli: value.get("cli")?.as_str()?.to_owned(),
        path: value.get("path").and_then(Value::as_str).map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(refresh: Option<&str>) -> Tokens {
        Tokens {
            access: SecretText::new("A2".to_owned()),
            refresh: refresh.map(|text| SecretText::new(text.to_owned())),
            id_token: None,
            expires_ms: 9_000,
            issued_at_ms: 5_000,
            lifetime_assumed: false,
        }
    }

    #[test]
    fn a_refresh_keeps_what_it_does_not_know() {
        let old = json!({"type": "oauth", "provider": "p", "access": "A", "refresh": "R", "x": [1],
            "idToken": "I", "oa": {"y": 2, "lineage": ["a"]}});
        let login = Login::read(&old).unwrap();
        let new = renewed(&old, &login, &tokens(Some("R2")), "h:1");
        let digest = login.digest().unwrap();
        assert_eq!(
            new,
            json!({"type": "oauth", "provider": "p", "access": "A2", "refresh": "R2", "x": [1],
                "idToken": "I", "expires": 9000,
                "oa": {"y": 2, "lineage": [short(&digest), "a"], "issuedAt": 5000, "tokenHost": "h:1"}})
        );
        assert!(Login::read(&new).unwrap().descends_from(&digest));

        let kept = renewed(&old, &login, &tokens(None), "h:1");
        assert_eq!(kept.get("refresh"), Some(&json!("R")), "example 43");
        assert_eq!(Login::read(&kept).unwrap().lineage, ["a"]);
    }

    #[test]
    fn what_is_no_oauth_credential_is_not_read() {
        assert!(Login::read(&json!({"type": "token", "provider": "p", "token": "t"})).is_none());
        assert!(Login::read(&json!({"provider": "p", "key": "t"})).is_none());
        assert!(Login::read(&json!("x")).is_none());
        let alias = json!({"mode": "oauth", "provider": " P ", "access": " A\n",
            "expires": 1795363186135.9084, "oa": "odd"});
        let login = Login::read(&alias).unwrap();
        assert_eq!(
            (login.provider.as_str(), login.expires_ms),
            ("p", Some(1_795_363_186_135))
        );
        assert_eq!(login.access.unwrap().expose(), "A");
        for odd in [json!(0), json!(-1), json!("x"), json!(9e15)] {
            let value = json!({"type": "oauth", "provider": "p", "access": "A", "expires": odd});
            assert_eq!(Login::read(&value).unwrap().expires_ms, None, "{odd}");
        }
    }
}
