//! One `auth-profiles.json` used by OpenClaw and by us.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and use files"
)]

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use openclaw_auth::{
    CredentialKind, Engine, LeaseRequest, NewCredential, ProfileMaterial, SecretText, Signal,
    Verdict,
};
use openclaw_auth_openclaw_tests::{Home, OpenClaw};
use serde_json::{Map, Value, json};

const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis().try_into().unwrap()
}

fn key(id: &str, provider: &str, secret: &str) -> NewCredential {
    NewCredential {
        id: id.to_owned(),
        provider: provider.to_owned(),
        kind: CredentialKind::ApiKey,
        material: ProfileMaterial::Inline(SecretText::new(secret.to_owned())),
        expires: None,
        email: None,
        display_name: None,
        replace: false,
    }
}

fn file(home: &Home) -> Value {
    let text = fs::read(home.agent_dir().join("auth-profiles.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn order(engine: &Engine, provider: &str) -> Value {
    engine
        .profile_order(None, provider, None, None)
        .unwrap()
        .into()
}

#[test]
fn openclaw_reads_what_we_write() {
    let home = Home::default();
    let engine = home.engine().unwrap();
    for (id, secret) in [("openai:b", "sk-b"), ("openai:a", "sk-a")] {
        engine
            .add_profile(None, &key(id, "openai", secret))
            .unwrap();
    }
    let mut token = key("anthropic:work", "anthropic", "sk-ant-oat01-x");
    token.kind = CredentialKind::Token;
    token.expires = Some(now() + YEAR_MS);
    token.email = Some("a@example.com".to_owned());
    engine.add_profile(None, &token).unwrap();
    engine
        .set_order(
            None,
            "openai",
            Some(&["openai:b".to_owned(), "openai:a".to_owned()]),
        )
        .unwrap();
    let lease = engine
        .lease(&LeaseRequest {
            provider: Some("openai"),
            ..LeaseRequest::default()
        })
        .unwrap();
    let limited = Signal {
        status: Some(429),
        ..Signal::default()
    };
    let Verdict::Retry { lease: next, .. } = lease.fail(&limited).unwrap() else {
        panic!("a rate limit moves on");
    };
    assert_eq!(next.profile_id(), Some("openai:a"));
    next.release();
    assert!(engine.flush());

    let mut openclaw = OpenClaw::start(home.path());
    let store = openclaw
        .ask(&json!({"op": "store", "agentDir": home.agent_dir()}))
        .unwrap();
    let ours = file(&home);
    for part in ["version", "profiles", "order", "usageStats"] {
        assert_eq!(store[part], ours[part], "{part}");
    }
    assert!(store["usageStats"]["openai:b"]["cooldownUntil"].as_u64() > Some(now()));
    let theirs = openclaw
        .ask(&json!({"op": "order", "agentDir": home.agent_dir(), "config": {}, "provider": "openai"}))
        .unwrap();
    assert_eq!(
        theirs,
        json!(["openai:a", "openai:b"]),
        "the limited one comes last"
    );
    assert_eq!(theirs, order(&engine, "openai"));
}

#[test]
fn we_read_what_openclaw_writes_and_keep_it() {
    let home = Home::default();
    let mut openclaw = OpenClaw::start(home.path());
    let dir = home.agent_dir();
    let credentials = [
        (
            "openai:a",
            json!({"type": "api_key", "provider": "openai", "key": "sk-a", "metadata": {"team": "x"}}),
        ),
        (
            "openai:b",
            json!({"type": "api_key", "provider": "openai", "keyRef": {"source": "env", "provider": "default", "id": "B"}}),
        ),
        (
            "anthropic:t",
            json!({"type": "token", "provider": "anthropic", "token": "sk-ant-oat01-t", "expires": now() + YEAR_MS}),
        ),
        (
            "openai-codex:me",
            json!({"type": "oauth", "provider": "openai-codex", "access": "at", "refresh": "rt", "expires": now() + YEAR_MS, "accountId": "acc"}),
        ),
    ];
    for (id, credential) in &credentials {
        let put = json!({"op": "put", "agentDir": dir, "profileId": id, "credential": credential});
        assert_eq!(openclaw.ask(&put).unwrap(), true);
    }
    let mark = |op: &str, id: &str| json!({"op": op, "agentDir": dir, "profileId": id, "reason": "rate_limit"});
    openclaw.ask(&mark("used", "openai:b")).unwrap();
    openclaw.ask(&mark("failed", "openai:a")).unwrap();
    let before = file(&home);

    let mut home = home;
    home.set("B", "sk-b");
    let engine = home.engine().unwrap();
    for provider in ["openai", "anthropic", "openai-codex"] {
        let ask = json!({"op": "order", "agentDir": dir, "config": {}, "provider": provider});
        assert_eq!(
            order(&engine, provider),
            openclaw.ask(&ask).unwrap(),
            "{provider}"
        );
    }
    let lease = engine
        .lease(&LeaseRequest {
            provider: Some("openai"),
            ..LeaseRequest::default()
        })
        .unwrap();
    assert_eq!(
        lease.profile_id(),
        Some("openai:b"),
        "the other one cools down"
    );
    assert_eq!(lease.credential().expose(), "sk-b");
    lease.release();
    engine
        .add_profile(None, &key("openai:c", "openai", "sk-c"))
        .unwrap();
    let after = file(&home);
    for (id, credential) in &credentials {
        assert_eq!(after["profiles"][id], *credential, "{id}");
    }
    assert_eq!(after["usageStats"], before["usageStats"]);
}

#[test]
fn orders_are_those_of_openclaw() {
    let home = Home::default();
    let mut openclaw = OpenClaw::start(home.path());
    let mut random = Random(7);
    for round in 0..200 {
        let (store, config) = random.case();
        home.write(
            home.agent_dir().join("auth-profiles.json"),
            &store.to_string(),
            0o600,
        );
        home.write(".openclaw/openclaw.json", &config.to_string(), 0o600);
        let ask = json!({
            "op": "order", "agentDir": home.agent_dir(), "config": config, "provider": "openai",
        });
        let theirs = openclaw.ask(&ask).unwrap();
        let engine = home.engine().unwrap();
        assert_eq!(
            order(&engine, "openai"),
            theirs,
            "round {round}: {store} {config}"
        );
    }
}

#[test]
fn both_write_at_once_and_nothing_is_lost() {
    const EACH: usize = 40;
    let home = Arc::new(Home::default());
    home.engine()
        .unwrap()
        .add_profile(None, &key("x:first", "x", "k"))
        .unwrap();
    let mut writers = Vec::new();
    for writer in 0..2 {
        let theirs = Arc::clone(&home);
        writers.push(thread::spawn(move || {
            let mut openclaw = OpenClaw::start(theirs.path());
            for n in 0..EACH {
                let credential = json!({"type": "api_key", "provider": "x", "key": "k"});
                let id = format!("x:theirs-{writer}-{n}");
                let put = json!({
                    "op": "put", "agentDir": theirs.agent_dir(), "profileId": id,
                    "credential": credential,
                });
                assert_eq!(openclaw.ask(&put).unwrap(), true, "{id}");
            }
        }));
        let ours = Arc::clone(&home);
        writers.push(thread::spawn(move || {
            let engine = ours.engine().unwrap();
            for n in 0..EACH {
                let id = format!("x:ours-{writer}-{n}");
                engine.add_profile(None, &key(&id, "x", "k")).unwrap();
            }
        }));
    }
    for writer in writers {
        writer.join().unwrap();
    }
    let file = file(&home);
    assert_eq!(file["profiles"].as_object().unwrap().len(), 4 * EACH + 1);
}

#[test]
fn t28_the_lock_of_a_running_openclaw_is_awaited_and_its_token_adopted() {
    let home = Home::default();
    let dir = home.agent_dir();
    let id = "openai-codex:me";
    let login = |access: &str, refresh: &str, expires: u64| {
        json!({
            "type": "oauth", "provider": "openai-codex", "access": access, "refresh": refresh,
            "expires": expires, "accountId": "acc",
        })
    };
    let store = json!({"version": 1, "profiles": {id: login("old", "r1", now() - 1000)}});
    home.write(dir.join("auth-profiles.json"), &store.to_string(), 0o600);
    let mut openclaw = OpenClaw::start(home.path());
    openclaw
        .ask(&json!({"op": "store", "agentDir": dir}))
        .unwrap();
    let put = json!({
        "op": "putSlowly", "agentDir": dir, "profileId": id, "ms": 1500,
        "credential": login("new", "r2", now() + YEAR_MS),
    });
    let theirs = thread::spawn(move || openclaw.ask(&put));
    let lock = dir.join("auth-profiles.json.lock");
    while !lock.exists() {
        thread::yield_now();
    }
    let token = home
        .engine()
        .unwrap()
        .oauth_token(None, id, 0, false)
        .unwrap();
    assert_eq!(theirs.join().unwrap(), Ok(json!(true)));
    assert_eq!(
        (token.access.expose(), token.source.as_str()),
        ("new", "adopted")
    );
    assert_eq!(file(&home)["profiles"][id]["refresh"], "r2");
}

/// A small generator, the same on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A store of one provider's profiles and a configuration that speaks of them.
    fn case(&mut self) -> (Value, Value) {
        let names = [
            "openai:a",
            "openai:b",
            "openai:c",
            "openai:default",
            "openai:e",
        ];
        let (mut profiles, mut usage, mut declared) = (Map::new(), Map::new(), Map::new());
        let ids: Vec<_> = names.into_iter().filter(|_| !self.one_in(4)).collect();
        for id in &ids {
            let expires = match self.below(4) {
                0 => json!(now() - YEAR_MS),
                1 => json!(0),
                _ => json!(now() + YEAR_MS),
            };
            let (kind, credential) = match self.below(3) {
                0 => (
                    "api_key",
                    json!({"type": "api_key", "provider": "openai", "key": if self.one_in(5) { "" } else { "sk" }}),
                ),
                1 => (
                    "token",
                    json!({"type": "token", "provider": "openai", "token": "t", "expires": expires}),
                ),
                _ => (
                    "oauth",
                    json!({"type": "oauth", "provider": "openai", "access": "a", "refresh": "r", "expires": now() + YEAR_MS}),
                ),
            };
            profiles.insert((*id).to_owned(), credential);
            let mut stats = Map::new();
            if self.one_in(2) {
                stats.insert("lastUsed".into(), json!(1_700_000_000_000 + self.below(5)));
            }
            for window in ["cooldownUntil", "disabledUntil"] {
                match self.below(5) {
                    0 => stats.insert(
                        window.into(),
                        json!(now() + 60_000 + 60_000 * self.below(3)),
                    ),
                    1 => stats.insert(window.into(), json!(now() - 60_000)),
                    _ => None,
                };
            }
            if stats.contains_key("disabledUntil") {
                stats.insert("disabledReason".into(), json!("billing"));
            }
            if !stats.is_empty() {
                usage.insert((*id).to_owned(), stats.into());
            }
            if self.one_in(3) {
                let mode = if self.one_in(6) { "token" } else { kind };
                declared.insert(
                    (*id).to_owned(),
                    json!({"provider": "openai", "mode": mode}),
                );
            }
        }
        let mut store = json!({"version": 1, "profiles": profiles, "usageStats": usage});
        let mut config = json!({});
        let some = |random: &mut Self| {
            let mut list: Vec<_> = ids.iter().filter(|_| !random.one_in(3)).collect();
            if random.one_in(2) {
                list.reverse();
            }
            json!({"openai": list})
        };
        if self.one_in(4) {
            store["order"] = some(self);
        }
        if self.one_in(4) {
            config["auth"]["order"] = some(self);
        }
        if !declared.is_empty() {
            config["auth"]["profiles"] = declared.into();
        }
        (store, config)
    }
}
