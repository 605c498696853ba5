//! One store, two programs: what is written here is read unchanged by the rules that OpenClaw
//! 2026.4 reads stores by, and the other way round.
//!
//! [`Reader`] is a model of those rules, kept apart from the library on purpose.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop when something is not as it should be"
)]

use std::time::Duration;

use openclaw_auth::host::sim::Sim;
use openclaw_auth::{
    CredentialKind, Engine, LeaseRequest, NewCredential, Options, ProfileMaterial, Reason,
    SecretRef, SecretText, Signal,
};
use serde_json::{Map, Value, json};

const STATE: &str = "/home/user/.openclaw";
const STORE: &str = "/home/user/.openclaw/agents/main/agent/auth-profiles.json";
const T: u64 = 1_800_000_000_000;

/// What OpenClaw 2026.4 makes of a store file.
struct Reader {
    profiles: Map<String, Value>,
    order: Map<String, Value>,
    last_good: Map<String, Value>,
    usage: Map<String, Value>,
    ignored: Vec<String>,
}

impl Reader {
    fn read(text: &str) -> Self {
        let mut root: Value = serde_json::from_str(text).unwrap();
        assert_eq!(root["version"], 1);
        let mut object = |key: &str| {
            root[key]
                .as_object_mut()
                .map(std::mem::take)
                .unwrap_or_default()
        };
        let mut ignored = Vec::new();
        let mut profiles = object("profiles");
        profiles.retain(|id, entry| {
            let kind = entry["type"].as_str().or(entry["mode"].as_str());
            let known = matches!(kind, Some("api_key" | "token" | "oauth"));
            let provider = entry["provider"]
                .as_str()
                .is_some_and(|p| !p.trim().is_empty());
            if !(known && provider) {
                ignored.push(id.clone());
            }
            known && provider
        });
        Self {
            profiles,
            order: object("order"),
            last_good: object("lastGood"),
            usage: object("usageStats"),
            ignored,
        }
    }

    fn unusable_until(&self, id: &str) -> u64 {
        let end = |key: &str| self.usage.get(id).and_then(|record| record[key].as_u64());
        end("cooldownUntil").max(end("disabledUntil")).unwrap_or(0)
    }

    /// Its order for a provider: the stored list, else by type and last use; profiles that cool
    /// down come last, the one that is free first before the others.
    fn order(&self, provider: &str, now: u64) -> Vec<String> {
        let explicit: Option<Vec<String>> = self.order.get(provider).map(|list| {
            let ids = list.as_array().unwrap().iter();
            ids.map(|id| id.as_str().unwrap().trim().to_owned())
                .collect()
        });
        let mut ids = explicit
            .clone()
            .unwrap_or_else(|| self.profiles.keys().cloned().collect());
        ids.retain(|id| {
            self.profiles
                .get(id)
                .is_some_and(|entry| entry["provider"] == provider)
        });
        let score = |id: &String| match self.profiles[id]["type"].as_str() {
            Some("oauth") => 0,
            Some("token") => 1,
            _ => 2,
        };
        let last_used = |id: &String| {
            self.usage
                .get(id)
                .and_then(|record| record["lastUsed"].as_u64())
                .unwrap_or(0)
        };
        let (mut free, mut cooling): (Vec<_>, Vec<_>) = ids
            .into_iter()
            .partition(|id| self.unusable_until(id) <= now);
        if explicit.is_none() {
            free.sort_by_key(|id| (score(id), last_used(id)));
        }
        cooling.sort_by_key(|id| self.unusable_until(id));
        free.into_iter().chain(cooling).collect()
    }
}

fn open(sim: &Sim) -> Engine {
    Engine::open(Options::new().with_host(sim.host()).config_value(json!({}))).unwrap()
}

fn machine(store: Option<&Value>) -> Sim {
    let sim = Sim::new();
    sim.set_now_ms(T)
        .env("HOME", "/home/user")
        .env("KEY", "from-env")
        .dir(STATE, 0o700);
    if let Some(store) = store {
        sim.file(STORE, format!("{store:#}\n"), 0o600);
    }
    sim
}

fn add(engine: &Engine, id: &str, kind: CredentialKind, material: ProfileMaterial) {
    let credential = NewCredential {
        id: id.to_owned(),
        provider: "a".to_owned(),
        kind,
        material,
        expires: (kind == CredentialKind::Token).then_some(T + 86_400_000),
        email: Some("me@example.com".to_owned()),
        display_name: None,
        replace: false,
    };
    engine.add_profile(None, &credential).unwrap();
}

fn fail(engine: &Engine, id: &str, model: Option<&str>, reason: Reason) {
    let request = LeaseRequest {
        provider: Some("a"),
        profile: Some(id),
        model,
        ..LeaseRequest::default()
    };
    let signal = Signal {
        reason: Some(reason),
        ..Signal::default()
    };
    let _ = engine.lease(&request).unwrap().fail(&signal).unwrap();
}

#[test]
fn what_is_written_here_is_read_there() {
    let sim = machine(None);
    let engine = open(&sim);
    let inline = |text: &str| ProfileMaterial::Inline(SecretText::new(text.to_owned()));
    let reference = SecretRef::parse("env:default:KEY").unwrap();
    add(&engine, "a:key", CredentialKind::ApiKey, inline("k"));
    add(
        &engine,
        "a:ref",
        CredentialKind::ApiKey,
        ProfileMaterial::Reference(reference),
    );
    add(&engine, "a:token", CredentialKind::Token, inline("t"));
    add(&engine, "a:out", CredentialKind::Token, inline("u"));
    let same = |engine: &Engine| {
        let theirs = Reader::read(&sim.text(STORE).unwrap());
        assert!(theirs.ignored.is_empty(), "{:?}", theirs.ignored);
        assert_eq!(theirs.profiles.len(), 4);
        let now = sim.host().clock.now_ms();
        let ours = engine.profile_order(None, "a", None, None).unwrap();
        assert_eq!(theirs.order("a", now), ours);
        theirs
    };
    sim.set_now_ms(T);
    let theirs = same(&open(&sim));
    assert_eq!(theirs.profiles["a:ref"]["keyRef"]["source"], "env");
    assert_eq!(theirs.profiles["a:token"]["expires"], T + 86_400_000);
    // Windows, of the whole credential and of one model.
    fail(&engine, "a:out", None, Reason::Billing);
    fail(&engine, "a:key", Some("m"), Reason::RateLimit);
    let theirs = same(&open(&sim));
    assert_eq!(theirs.usage["a:out"]["disabledUntil"], T + 5 * 3_600_000);
    assert_eq!(theirs.usage["a:out"]["disabledReason"], "billing");
    assert_eq!(theirs.usage["a:key"]["cooldownModel"], "m");
    assert_eq!(theirs.order("a", T).last().unwrap(), "a:out");
    // A success and an order.
    sim.advance(Duration::from_secs(60));
    let request = LeaseRequest {
        provider: Some("a"),
        profile: Some("a:token"),
        ..LeaseRequest::default()
    };
    engine.lease(&request).unwrap().succeed(&[]).unwrap();
    assert!(engine.flush());
    let theirs = same(&open(&sim));
    assert_eq!(theirs.last_good["a"], "a:token");
    assert_eq!(theirs.usage["a:token"]["lastUsed"], T + 60_000);
    engine
        .set_order(None, "a", Some(&["a:ref".to_owned(), "a:out".to_owned()]))
        .unwrap();
    assert_eq!(same(&open(&sim)).order("a", T), ["a:ref", "a:out"]);
}

#[test]
fn what_is_written_there_is_read_here() {
    let profiles = json!({
        "a:login": {"type": "oauth", "provider": "a", "access": "x", "refresh": "r", "expires": T + 3_600_000, "email": "me@example.com"},
        "a:manual": {"type": "token", "provider": "a", "token": "t", "expires": T + 3_600_000},
        "a:one": {"type": "api_key", "provider": "a", "key": "k1"},
        "a:two": {"type": "api_key", "provider": "a", "key": "k2", "metadata": {"note": "theirs"}},
    });
    for (name, order, usage) in [
        ("login", json!({}), json!({})),
        (
            "success",
            json!({}),
            json!({"a:one": {"lastUsed": T - 5, "errorCount": 0}, "a:login": {"lastUsed": T - 9}}),
        ),
        (
            "failure",
            json!({}),
            json!({"a:manual": {"errorCount": 2, "failureCounts": {"auth": 2}, "lastFailureAt": T - 1_000, "cooldownUntil": T + 59_000, "cooldownReason": "auth"}}),
        ),
        (
            "billing, with an order",
            json!({"a": ["a:two", "a:login", "a:one"]}),
            json!({"a:two": {"errorCount": 1, "failureCounts": {"billing": 1}, "lastFailureAt": T, "disabledUntil": T + 18_000_000, "disabledReason": "billing"},
                "a:login": {"cooldownUntil": T - 1, "errorCount": 1}}),
        ),
    ] {
        let store = json!({"version": 1, "profiles": profiles, "order": order,
            "lastGood": {"a": "a:one"}, "usageStats": usage});
        let sim = machine(Some(&store));
        let before = sim.text(STORE).unwrap();
        let engine = open(&sim);
        let theirs = Reader::read(&before);
        let ours = engine.profile_order(None, "a", None, None).unwrap();
        assert_eq!(ours, theirs.order("a", T), "{name}");
        let listed = engine.profiles_json(None, None).unwrap();
        assert_eq!(listed["rejected"], json!([]), "{name}");
        for profile in listed["profiles"].as_array().unwrap() {
            let until = theirs.unusable_until(profile["id"].as_str().unwrap());
            let wanted = Some(until).filter(|until| *until > T);
            assert_eq!(profile["unavailableUntil"], json!(wanted), "{name}");
        }
        assert_eq!(
            sim.text(STORE).unwrap(),
            before,
            "{name}: reading changes nothing"
        );
        // What we add leaves everything of theirs as it was.
        fail(&engine, "a:one", None, Reason::Auth);
        let after: Value = serde_json::from_str(&sim.text(STORE).unwrap()).unwrap();
        assert_eq!(after["profiles"], profiles, "{name}");
        assert_eq!(after["lastGood"], store["lastGood"], "{name}");
        assert_eq!(
            after["usageStats"]["a:two"], store["usageStats"]["a:two"],
            "{name}"
        );
    }
}
