//! Leases of callers that must not wait.
#![expect(
    clippy::unwrap_used,
    reason = "tests stop when something is not as it should be"
)]

use openclaw_auth::host::sim::Sim;
use openclaw_auth::{Code, Engine, LeaseRequest, Options};
use serde_json::{Value, json};

const NOW: u64 = 1_800_000_000_000;

fn engine(profiles: &Value, usage: &Value) -> Engine {
    let store = json!({"version": 1, "profiles": profiles, "usageStats": usage});
    let sim = Sim::new();
    sim.set_now_ms(NOW)
        .env("HOME", "/home/user")
        .dir("/home/user/.openclaw", 0o700)
        .file(
            "/home/user/.openclaw/agents/main/agent/auth-profiles.json",
            store.to_string(),
            0o600,
        );
    let options = Options::new().with_host(sim.host()).config_value(json!({}));
    Engine::open(options).unwrap()
}

fn codex(expires: u64) -> Value {
    json!({
        "openai-codex:a": {
            "type": "oauth", "provider": "openai-codex", "access": "at", "refresh": "rt",
            "expires": expires,
        },
        "openai-codex:b": {"type": "api_key", "provider": "openai-codex", "key": "sk-b"},
    })
}

fn without_waiting<'a>(provider: &'a str) -> LeaseRequest<'a> {
    LeaseRequest {
        provider: Some(provider),
        wait: false,
        ..LeaseRequest::default()
    }
}

#[test]
fn a_due_refresh_is_not_waited_for_and_no_other_credential_is_taken() {
    for expires in [NOW - 1, NOW + 1_000] {
        let engine = engine(&codex(expires), &json!({}));
        let error = engine.lease(&without_waiting("openai-codex")).unwrap_err();
        assert_eq!(error.code(), Code::WouldBlock, "{expires}");
        assert_eq!(engine.leases_out(), 0);
    }
}

#[test]
fn a_token_that_is_valid_for_long_is_lent_at_once() {
    let engine = engine(&codex(NOW + 86_400_000), &json!({}));
    let lease = engine.lease(&without_waiting("openai-codex")).unwrap();
    assert_eq!(lease.candidate_id(), "openai-codex:a");
}

#[test]
fn the_claim_of_a_trial_is_not_waited_for() {
    let profiles = json!({"a:1": {"type": "api_key", "provider": "a", "key": "sk-a"}});
    let usage = json!({"a:1": {
        "cooldownUntil": NOW + 600_000, "errorCount": 1, "lastFailureAt": NOW - 3_600_000,
    }});
    let engine = engine(&profiles, &usage);
    let error = engine.lease(&without_waiting("a")).unwrap_err();
    assert_eq!(error.code(), Code::WouldBlock);
    let unknown = engine.lease(&without_waiting("b")).unwrap_err();
    assert_eq!(unknown.code(), Code::NoCredentials);
}
