//! Whatever a store holds and whatever providers answer: a chain of leases ends, lends nothing
//! twice, and gives exactly one verdict for each lease.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop when something is not as it should be"
)]

use std::time::Duration;

use openclaw_auth::host::sim::Sim;
use openclaw_auth::{Engine, LeaseRequest, Options, Signal, Verdict};
use proptest::prelude::*;
use serde_json::{Value, json};

const STORE: &str = "/home/user/.openclaw/agents/main/agent/auth-profiles.json";
const T: u64 = 1_800_000_000_000;

/// Kind, key and cooldown of one profile. Keys repeat, so that equal material turns up under
/// several ids.
fn profile() -> impl Strategy<Value = (u8, u8, i64)> {
    (0u8..4, 0u8..4, -60i64..60)
}

fn store(profiles: &[(u8, u8, i64)]) -> Value {
    let mut store = json!({"version": 1, "profiles": {}, "usageStats": {}});
    for (n, (kind, key, cooldown)) in profiles.iter().enumerate() {
        let provider = if n % 3 == 2 { "b" } else { "a" };
        let id = format!("{provider}:{n}");
        let key = format!("key-number-{key}");
        store["profiles"][&id] = match kind {
            0 => json!({"type": "api_key", "provider": provider, "key": key}),
            1 => json!({"type": "token", "provider": provider, "token": key}),
            2 => json!({"type": "token", "provider": provider, "token": key, "expires": T - 1}),
            _ => {
                json!({"type": "oauth", "provider": provider, "access": key, "expires": T + 600_000})
            }
        };
        let until = T.saturating_add_signed(cooldown * 1_000);
        store["usageStats"][&id] = json!({"cooldownUntil": until, "cooldownReason": "auth"});
    }
    store
}

const STATUSES: [u16; 12] = [400, 401, 402, 403, 404, 408, 410, 413, 429, 500, 503, 529];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]
    #[test]
    fn li_2_to_5_a_chain_always_ends_and_lends_nothing_twice(
        profiles in prop::collection::vec(profile(), 0..8),
        keys in 0usize..4,
        models in prop::collection::vec(prop::sample::select(vec!["a/m1", "a/m2", "b/m", "c/m"]), 0..5),
        answers in prop::collection::vec((0usize..STATUSES.len(), 0u64..40_000), 1..40),
        most in prop::option::of(1u64..12),
    ) {
        let sim = Sim::new();
        sim.set_now_ms(T).env("HOME", "/home/user").dir("/home/user/.openclaw", 0o700);
        sim.file(STORE, store(&profiles).to_string(), 0o600);
        for n in 0..keys {
            sim.env(&format!("A_API_KEY_{n}"), &format!("key-number-{}", n + 2));
        }
        let engine = Engine::open(Options::new().with_host(sim.host()).config_value(json!({}))).unwrap();
        let request = LeaseRequest {
            provider: models.is_empty().then_some("a"),
            models: &models,
            max_attempts: most,
            ..LeaseRequest::default()
        };
        let most = usize::try_from(most.unwrap_or(32)).unwrap();
        let mut lent: Vec<String> = Vec::new();
        let mut answers = answers.iter().cycle();
        let mut next = engine.lease(&request).ok();
        while let Some(lease) = next.take() {
            let model = lease.model().unwrap_or_default();
            let this = format!("{}/{model} {}", lease.provider(), lease.credential().expose());
            prop_assert!(!lent.contains(&this), "{this} was lent twice");
            lent.push(this);
            prop_assert!(lent.len() <= most, "{} leases", lent.len());
            let (status, pause) = answers.next().unwrap();
            sim.advance(Duration::from_millis(*pause));
            let signal = Signal { status: Some(STATUSES[*status]), ..Signal::default() };
            match lease.fail(&signal).unwrap() {
                Verdict::Retry { lease: following, .. } => next = Some(*following),
                Verdict::Exhausted(end) => {
                    let failed = end.attempts.iter().filter(|attempt| !attempt.skipped).count();
                    prop_assert_eq!(failed, lent.len(), "every attempt is told");
                    prop_assert_eq!(end.last.status, Some(STATUSES[*status]));
                }
                other => prop_assert!(false, "{other:?}"),
            }
            prop_assert_eq!(lease.succeed(&[]).unwrap_err().code().as_str(), "lease_finished");
        }
        prop_assert_eq!(engine.leases_out(), 0);
    }
}
