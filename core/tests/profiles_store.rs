//! The profile store on a simulated machine: what is kept, what is written when, and what happens
//! when it cannot be read or written.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests stop when something is not as it should be"
)]

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use openclaw_auth::host::sim::Sim;
use openclaw_auth::{
    Clear, CredentialKind, Engine, Lease, LeaseRequest, NewCredential, Options, ProfileMaterial,
    Reason, RefreshFailure, RefreshRequest, Refreshed, Refresher, SecretText, Signal, Verdict,
};
use serde_json::{Value, json};

const AGENT: &str = "/home/user/.openclaw/agents/main/agent";
const STORE: &str = "/home/user/.openclaw/agents/main/agent/auth-profiles.json";
const T: u64 = 1_800_000_000_000;
const LIMITED: Signal<'_> = Signal {
    status: Some(429),
    code: None,
    kind: None,
    message: None,
    body: None,
    headers: &[],
    transport: None,
    provider: None,
    model: None,
    reason: None,
};

fn machine() -> Sim {
    let sim = Sim::new();
    sim.set_now_ms(T)
        .env("HOME", "/home/user")
        .dir("/home/user/.openclaw", 0o700);
    sim
}

fn with_store(store: &Value) -> Sim {
    let sim = machine();
    sim.file(
        STORE,
        serde_json::to_string_pretty(store).unwrap() + "\n",
        0o600,
    );
    sim
}

fn one_profile() -> Value {
    json!({"version": 1, "profiles": {"a:1": {"type": "api_key", "provider": "a", "key": "k"}}})
}

fn open(sim: &Sim, config: Value) -> Engine {
    Engine::open(Options::new().with_host(sim.host()).config_value(config)).unwrap()
}

fn lease(engine: &Engine) -> Lease {
    engine.lease(&for_provider("a")).unwrap()
}

fn for_provider(provider: &str) -> LeaseRequest<'_> {
    LeaseRequest {
        provider: Some(provider),
        ..LeaseRequest::default()
    }
}

fn stored(sim: &Sim) -> Value {
    serde_json::from_str(&sim.text(STORE).unwrap()).unwrap()
}

fn codes(engine: &Engine) -> Vec<&'static str> {
    engine
        .events()
        .iter()
        .map(|event| event.code().as_str())
        .collect()
}

fn key(id: &str, key: &str) -> NewCredential {
    NewCredential {
        id: id.to_owned(),
        provider: "A".to_owned(),
        kind: CredentialKind::ApiKey,
        material: ProfileMaterial::Inline(SecretText::new(key.to_owned())),
        expires: None,
        email: None,
        display_name: None,
        replace: false,
    }
}

#[test]
fn xd_1_unknown_data_survives_a_recorded_failure() {
    let text = "{\n  \"x\": 1.50,\n  \"version\": 1,\n  \"profiles\": {\n    \"z\": {\n      \"type\": \"zzz\"\n    },\n    \"a:1\": {\n      \"metadata\": {\n        \"n\": 12345678901234567890123\n      },\n      \"key\": \"k\",\n      \"provider\": \"a\",\n      \"type\": \"api_key\"\n    }\n  }\n}\n";
    let sim = machine();
    sim.file(STORE, text, 0o600);
    let engine = open(&sim, json!({}));
    let _ = lease(&engine).fail(&LIMITED).unwrap();
    let after = sim.text(STORE).unwrap();
    let unchanged = text.strip_suffix("\n}\n").unwrap();
    assert!(after.starts_with(unchanged), "{after}");
    assert!(after.contains("\"usageStats\""));
    assert_eq!(sim.meta(STORE).unwrap().mode, 0o600);
}

#[test]
fn xd_3_leftovers_of_dead_processes_go_and_others_stay() {
    let sim = with_store(&one_profile());
    sim.running(77, 1);
    for (name, age_s) in [
        ("99.aaaabbbbcccc", 7_200),
        ("77.aaaabbbbcccc", 7_200),
        ("98.aaaabbbbcccc", 60),
        ("lock.97.aaaabbbbcccc", 7_200),
    ] {
        sim.set_now_ms(T - age_s * 1_000);
        sim.file(
            format!("{AGENT}/.auth-profiles.json.{name}.tmp"),
            "x",
            0o600,
        );
    }
    sim.set_now_ms(T);
    let engine = open(&sim, json!({}));
    let _ = lease(&engine).fail(&LIMITED).unwrap();
    let left: Vec<String> = sim
        .paths()
        .iter()
        .filter_map(|path| {
            path.file_name()?
                .to_str()?
                .strip_suffix(".tmp")
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(
        left,
        [
            ".auth-profiles.json.77.aaaabbbbcccc",
            ".auth-profiles.json.98.aaaabbbbcccc"
        ]
    );
}

#[test]
fn xd_12_a_corrupt_store_is_an_error_and_left_alone() {
    let sim = machine();
    sim.file(STORE, "{\"version\": 1,\n \"profiles\": {\"a:1\"", 0o600)
        .env("A_API_KEY", "e");
    let engine = open(&sim, json!({}));
    let error = engine.lease(&for_provider("a")).unwrap_err();
    assert_eq!(error.code().as_str(), "store_corrupt");
    assert_eq!(error.details()["line"], 2);
    let error = engine.add_profile(None, &key("a:2", "k")).unwrap_err();
    assert_eq!(error.code().as_str(), "store_corrupt");
    assert!(sim.text(STORE).unwrap().ends_with("\"a:1\""));
    let lenient = open(&sim, json!({"routing": {"env_when_corrupt": true}}));
    assert_eq!(lease(&lenient).candidate_id(), "env:A_API_KEY");
    for (text, code) in [
        ("[]", "store_corrupt"),
        (
            "{\"openrouter\": {\"apiKey\": \"k\"}}",
            "store_legacy_shape",
        ),
    ] {
        sim.file(STORE, text, 0o600);
        let error = open(&sim, json!({})).lease(&for_provider("a")).unwrap_err();
        assert_eq!(error.code().as_str(), code);
        assert_eq!(sim.text(STORE).unwrap(), text);
    }
}

#[test]
fn xl_16_a_store_that_breaks_is_served_from_memory() {
    let sim = with_store(&one_profile());
    let engine = open(&sim, json!({}));
    drop(lease(&engine));
    sim.file(STORE, "{", 0o600);
    let held = lease(&engine);
    assert_eq!(held.candidate_id(), "a:1");
    let _ = held.fail(&LIMITED).unwrap();
    assert_eq!(
        engine
            .lease(&for_provider("a"))
            .unwrap_err()
            .code()
            .as_str(),
        "all_unavailable"
    );
    assert_eq!(sim.text(STORE).unwrap(), "{");
    let told = codes(&engine)
        .iter()
        .filter(|code| **code == "STORE_DEGRADED")
        .count();
    assert!(told >= 1);
    drop(engine.lease(&for_provider("a")));
    assert!(!codes(&engine).contains(&"STORE_DEGRADED"), "told again");
    // Once it can be read, what has been waiting is written.
    sim.file(STORE, one_profile().to_string(), 0o600);
    assert!(engine.flush());
    assert_eq!(
        stored(&sim)["usageStats"]["a:1"]["failureCounts"]["rate_limit"],
        1
    );
}

#[test]
fn xd_13_a_read_only_folder_lends_and_refuses_changes() {
    let sim = with_store(&one_profile());
    sim.mode(AGENT, 0o500);
    let engine = open(&sim, json!({}));
    let _ = lease(&engine).fail(&LIMITED).unwrap();
    assert!(
        engine.lease(&for_provider("a")).is_err(),
        "the window is in force in memory"
    );
    let error = engine
        .set_order(None, "a", Some(&["a:1".to_owned()]))
        .unwrap_err();
    assert_eq!(error.code().as_str(), "store_read_only");
    sim.mode(AGENT, 0o700)
        .env("OPENCLAW_AUTH_STORE_READONLY", "1");
    let engine = open(&sim, json!({}));
    let error = engine
        .set_order(None, "a", Some(&["a:1".to_owned()]))
        .unwrap_err();
    assert_eq!(error.code().as_str(), "store_read_only");
}

#[test]
fn full_disks_and_mounts_leave_the_old_store() {
    for (kind, code) in [
        (ErrorKind::StorageFull, "store_write_failed"),
        (ErrorKind::ResourceBusy, "store_not_replaceable"),
        (ErrorKind::CrossesDevices, "store_not_replaceable"),
    ] {
        let sim = with_store(&one_profile());
        let engine = open(&sim, json!({}));
        drop(lease(&engine));
        sim.fail(format!("{STORE}.lock"), kind);
        let error = engine.add_profile(None, &key("a:2", "k")).unwrap_err();
        assert_eq!(error.code().as_str(), code, "{kind}");
        sim.heal(format!("{STORE}.lock"));
        assert_eq!(stored(&sim), one_profile());
        engine.add_profile(None, &key("a:2", "k")).unwrap();
    }
}

#[test]
fn st_6_unreadable_large_and_open_stores() {
    let sim = with_store(&one_profile());
    sim.mode(STORE, 0o000);
    let error = open(&sim, json!({})).lease(&for_provider("a")).unwrap_err();
    assert_eq!(error.code().as_str(), "store_unreadable");
    sim.mode(STORE, 0o644);
    let engine = open(&sim, json!({}));
    drop(lease(&engine));
    assert!(codes(&engine).contains(&"STORE_OPEN_TO_OTHERS"));
    let strict = open(&sim, json!({"routing": {"strict_permissions": true}}));
    let error = strict.lease(&for_provider("a")).unwrap_err();
    assert_eq!(error.code().as_str(), "store_permissions");
    sim.file(STORE, vec![b' '; (16 << 20) + 1], 0o600);
    let error = open(&sim, json!({})).lease(&for_provider("a")).unwrap_err();
    assert_eq!(error.code().as_str(), "store_too_large");
}

#[test]
fn xd_14_and_st_5_a_migrated_folder_is_refused() {
    let sim = machine();
    sim.file(format!("{AGENT}/openclaw-agent.sqlite"), "x", 0o600);
    let engine = open(&sim, json!({}));
    let error = engine.lease(&for_provider("a")).unwrap_err();
    assert_eq!(error.code().as_str(), "store_sqlite_migrated");
    let error = engine.add_profile(None, &key("a:1", "k")).unwrap_err();
    assert_eq!(error.code().as_str(), "store_sqlite_migrated");
    assert_eq!(sim.text(STORE), None);
    let beside = open(&sim, json!({"routing": {"allow_beside_sqlite": true}}));
    beside.add_profile(None, &key("a:1", "k")).unwrap();
}

#[test]
fn xd_16_and_17_links_and_owners_stay() {
    let sim = machine();
    sim.file("/data/real.json", one_profile().to_string(), 0o600)
        .symlink(STORE, "/data/real.json");
    sim.uid(0);
    let engine = open(&sim, json!({}));
    engine.add_profile(None, &key("a:2", "k2")).unwrap();
    let link = sim.meta(STORE).unwrap();
    assert_eq!(link.kind, openclaw_auth::host::FileKind::Symlink);
    let real = sim.meta("/data/real.json").unwrap();
    assert_eq!((real.uid, real.mode), (1000, 0o600));
    assert!(stored(&sim)["profiles"]["a:2"].is_object());
}

#[test]
fn xd_18_and_us_11_ten_thousand_successes_in_ten_seconds_are_two_writes_at_most() {
    let sim = with_store(&one_profile());
    let engine = open(&sim, json!({}));
    let mut writes = 0;
    let mut inode = sim.meta(STORE).unwrap().inode;
    for _ in 0..10_000 {
        lease(&engine).succeed(&[]).unwrap();
        sim.advance(Duration::from_millis(1));
        let now = sim.meta(STORE).unwrap().inode;
        writes += usize::from(now != inode);
        inode = now;
    }
    assert!(engine.flush());
    assert!(writes <= 1, "{writes} writes before the last one");
    let store = stored(&sim);
    assert_eq!(store["usageStats"]["a:1"]["lastUsed"], T + 9_999);
    assert_eq!(store["lastGood"]["a"], "a:1");
}

#[test]
fn xd_19_and_26_and_st_9_orders_and_removals() {
    let mut store = one_profile();
    store["order"] = json!({"A": ["a:1"], "b": ["b:1", " b:1 ", 7]});
    let sim = with_store(&store);
    let engine = open(&sim, json!({}));
    engine
        .set_order(None, "a", Some(&["a:1".to_owned(), "a:1".to_owned()]))
        .unwrap();
    assert_eq!(
        stored(&sim)["order"],
        json!({"b": ["b:1", " b:1 ", 7], "a": ["a:1"]})
    );
    let before = sim.meta(STORE).unwrap();
    engine
        .set_order(None, "a", Some(&["a:1".to_owned()]))
        .unwrap();
    assert_eq!(sim.meta(STORE).unwrap(), before, "nothing to write");
    for (ids, code) in [
        (&["nope".to_owned()][..], "profile_not_found"),
        (&[][..], "invalid_argument"),
    ] {
        let error = engine.set_order(None, "a", Some(ids)).unwrap_err();
        assert_eq!(error.code().as_str(), code);
    }
    let error = engine
        .set_order(None, "b", Some(&["a:1".to_owned()]))
        .unwrap_err();
    assert_eq!(error.code().as_str(), "profile_provider_mismatch");

    let held = lease(&engine);
    engine.remove_profile(None, "a:1").unwrap();
    held.succeed(&[]).unwrap();
    assert!(engine.flush());
    assert_eq!(
        stored(&sim),
        json!({"version": 1, "profiles": {}, "order": {"b": ["b:1", " b:1 ", 7]}})
    );
    let error = engine.remove_profile(None, "a:1").unwrap_err();
    assert_eq!(error.code().as_str(), "profile_not_found");
}

#[test]
fn cc_4_usage_of_a_removed_profile_is_dropped() {
    let sim = with_store(&one_profile());
    let engine = open(&sim, json!({}));
    lease(&engine).succeed(&[]).unwrap();
    sim.file(
        STORE,
        json!({"version": 1, "profiles": {}}).to_string(),
        0o600,
    );
    assert!(engine.flush());
    assert_eq!(stored(&sim), json!({"version": 1, "profiles": {}}));
}

#[test]
fn profiles_are_added_once_and_replaced_on_demand() {
    let mut store = one_profile();
    store["usageStats"]["a:1"] =
        json!({"disabledUntil": T + 1_000_000, "disabledReason": "billing", "lastUsed": 7});
    store["profiles"]["a:1"]["metadata"] = json!({"kept": true});
    let sim = with_store(&store);
    let engine = open(&sim, json!({}));
    let error = engine.add_profile(None, &key("a:1", "k2")).unwrap_err();
    assert_eq!(error.code().as_str(), "profile_exists");
    engine
        .add_profile(
            None,
            &NewCredential {
                replace: true,
                ..key("a:1", "k2")
            },
        )
        .unwrap();
    let after = stored(&sim);
    assert_eq!(
        after["profiles"]["a:1"],
        json!({"type": "api_key", "provider": "a", "key": "k2", "metadata": {"kept": true}})
    );
    assert_eq!(after["usageStats"]["a:1"], json!({"lastUsed": 7}));
    assert_eq!(lease(&engine).credential().expose(), "k2");
}

#[test]
fn xd_20_and_st_14_credentials_of_older_releases_are_taken_over() {
    let sim = machine();
    sim.file(
        format!("{AGENT}/auth.json"),
        "{\"openrouter\": {\"apiKey\": \"k\", \"x\": 1}, \"bad\": 5}",
        0o600,
    );
    sim.file(
        "/home/user/.openclaw/credentials/oauth.json",
        "{\"anthropic\": {\"access\": \"a\", \"refresh\": \"r\", \"expires\": 5}, \"openrouter\": {\"access\": \"z\"}}",
        0o600,
    );
    let engine = open(&sim, json!({}));
    assert_eq!(
        engine
            .lease(&for_provider("openrouter"))
            .unwrap()
            .credential()
            .expose(),
        "k"
    );
    let store = stored(&sim);
    assert_eq!(
        store["profiles"]["openrouter:default"],
        json!({"type": "api_key", "provider": "openrouter", "apiKey": "k", "x": 1})
    );
    assert_eq!(store["profiles"]["anthropic:default"]["type"], "oauth");
    let names: Vec<String> = sim
        .paths()
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    assert!(
        names
            .iter()
            .any(|name| name.starts_with("auth.json.imported-"))
    );
    assert!(!names.contains(&"auth.json".to_owned()) && names.contains(&"oauth.json".to_owned()));
}

#[test]
fn xd_21_to_23_and_st_12_to_13_agents_are_isolated_unless_told_otherwise() {
    let agents = json!({"list": [{"id": "main"}, {"id": "Work"}]});
    let work = "/home/user/.openclaw/agents/work/agent/auth-profiles.json";
    for (mode, own, expected) in [
        ("none", false, None),
        ("shadow", false, Some(vec!["a:1"])),
        ("merge", false, Some(vec!["a:1"])),
        ("none", true, Some(vec!["a:w"])),
        ("shadow", true, Some(vec!["a:w"])),
        ("merge", true, Some(vec!["a:1", "a:w"])),
    ] {
        let sim = with_store(&one_profile());
        if own {
            let store = json!({"version": 1, "profiles": {"a:w": {"type": "api_key", "provider": "a", "key": "w"}}});
            sim.file(work, store.to_string(), 0o600);
        }
        let engine = open(
            &sim,
            json!({"agents": agents, "routing": {"inherit": mode}}),
        );
        let order = engine.profile_order(Some("work"), "a", None, None).unwrap();
        assert_eq!(order, expected.clone().unwrap_or_default(), "{mode} {own}");
        let request = LeaseRequest {
            agent: Some("Work"),
            ..for_provider("a")
        };
        let lease = engine.lease(&request);
        assert_eq!(lease.is_err(), expected.is_none());
        drop(lease);
        assert_eq!(sim.text(work).is_some(), own, "no file is made");
    }
    let sim = with_store(&one_profile());
    let engine = open(
        &sim,
        json!({"agents": agents, "routing": {"inherit": "shadow"}}),
    );
    let request = LeaseRequest {
        agent: Some("work"),
        ..for_provider("a")
    };
    let _ = engine.lease(&request).unwrap().fail(&LIMITED).unwrap();
    assert_eq!(stored(&sim)["usageStats"]["a:1"]["errorCount"], 1);
    let error = engine
        .lease(&LeaseRequest {
            agent: Some("nobody"),
            ..for_provider("a")
        })
        .unwrap_err();
    assert_eq!(error.code().as_str(), "unknown_agent");
}

#[test]
fn a_store_that_disappears_is_not_made_again_from_memory() {
    let sim = with_store(&one_profile());
    let engine = open(&sim, json!({}));
    let held = lease(&engine);
    sim.remove(STORE);
    let error = engine.lease(&for_provider("a")).unwrap_err();
    assert_eq!(error.code().as_str(), "no_credentials");
    assert!(codes(&engine).contains(&"STORE_DISAPPEARED"));
    let _ = held.fail(&LIMITED).unwrap();
    assert!(engine.flush());
    assert_eq!(sim.text(STORE), None);
    engine.add_profile(None, &key("a:2", "k2")).unwrap();
    assert_eq!(stored(&sim)["profiles"].as_object().unwrap().len(), 1);
}

#[test]
fn tr_10_and_st_10_what_another_process_writes_is_seen_at_once() {
    let mut store = one_profile();
    store["profiles"]["a:2"] = json!({"type": "api_key", "provider": "a", "key": "k2"});
    let sim = with_store(&store);
    let (p, q) = (open(&sim, json!({})), open(&sim, json!({})));
    let (of_p, of_q) = (lease(&p), lease(&q));
    assert_eq!((of_p.candidate_id(), of_q.candidate_id()), ("a:1", "a:1"));
    sim.advance(Duration::from_secs(1));
    let _ = of_p.fail(&LIMITED).unwrap();
    assert_eq!(lease(&q).candidate_id(), "a:2");
}

#[test]
fn xd_24_our_annotations_survive_a_rewrite_by_others() {
    let sim = with_store(&one_profile());
    let engine = open(&sim, json!({}));
    let _ = lease(&engine).fail(&LIMITED).unwrap();
    let mut store = stored(&sim);
    store["usageStats"]["a:1"]["errorCount"] = json!(9);
    sim.file(STORE, store.to_string(), 0o600)
        .advance(Duration::from_secs(35));
    let _ = lease(&engine).fail(&LIMITED).unwrap();
    let record = &stored(&sim)["usageStats"]["a:1"];
    assert_eq!(
        (&record["oa"]["cd"]["step"], &record["errorCount"]),
        (&json!(2), &json!(10))
    );
}

#[test]
fn a_clock_that_jumps_back_does_not_lock_anybody_out() {
    let mut store = one_profile();
    store["usageStats"]["a:1"] = json!({"cooldownUntil": T + 40 * 86_400_000, "cooldownReason": "auth", "lastUsed": T + 50 * 86_400_000});
    let sim = with_store(&store);
    let engine = open(&sim, json!({}));
    assert_eq!(lease(&engine).candidate_id(), "a:1");
    assert!(codes(&engine).contains(&"IMPLAUSIBLE_WINDOW"));
}

/// Gives tokens, or refuses, and counts how often it was asked.
struct Scripted {
    calls: AtomicUsize,
    answer: Result<&'static str, Reason>,
}

impl Refresher for Scripted {
    fn refresh(&self, request: &RefreshRequest) -> Result<Refreshed, RefreshFailure> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        assert!(request.refresh.is_some() && !format!("{request:?}").contains("secret-r"));
        match self.answer {
            Ok(access) => Ok(Refreshed {
                access: SecretText::new(access.to_owned()),
                expires: Some(T + 3_600_000),
            }),
            Err(reason) => Err(RefreshFailure {
                reason,
                message: "invalid_grant".to_owned(),
                busy: false,
            }),
        }
    }
}

fn with_oauth(
    expires: u64,
    answer: Option<Result<&'static str, Reason>>,
) -> (Sim, Engine, Arc<Scripted>) {
    let sim = with_store(&json!({"version": 1, "profiles": {
        "a:1": {"type": "oauth", "provider": "a", "access": "old", "refresh": "secret-r", "expires": expires},
        "a:2": {"type": "api_key", "provider": "a", "key": "k"},
    }}));
    let engine = open(&sim, json!({}));
    let scripted = Arc::new(Scripted {
        calls: AtomicUsize::new(0),
        answer: answer.unwrap_or(Ok("new")),
    });
    if answer.is_some() {
        engine.set_refresher(scripted.clone());
    }
    (sim, engine, scripted)
}

#[test]
fn ls_1_tokens_are_refreshed_before_they_run_out() {
    let (_, engine, scripted) = with_oauth(T + 59_999, Some(Ok("new")));
    assert_eq!(lease(&engine).credential().expose(), "new");
    assert_eq!(scripted.calls.load(Ordering::Relaxed), 1);
    let (_, engine, scripted) = with_oauth(T + 60_000, Some(Ok("new")));
    assert_eq!(lease(&engine).credential().expose(), "old");
    assert_eq!(scripted.calls.load(Ordering::Relaxed), 0);
}

#[test]
fn without_a_refresher_the_refusal_says_so() {
    let (_, engine, _) = with_oauth(T - 1, None);
    let held = lease(&engine);
    assert_eq!(
        (held.candidate_id(), held.skipped()[0].reason.as_str()),
        ("a:2", "refresh_unavailable")
    );
    let request = LeaseRequest {
        profile: Some("a:1"),
        ..for_provider("a")
    };
    assert_eq!(
        engine.lease(&request).unwrap_err().code().as_str(),
        "refresh_unavailable"
    );
    let (_, engine, _) = with_oauth(T + 10, None);
    let held = lease(&engine);
    assert_eq!(
        (held.credential().expose(), held.warning()),
        ("old", Some("expires_soon"))
    );
}

#[test]
fn xl_7_a_refused_refresh_disables_the_profile() {
    let (sim, engine, _) = with_oauth(T - 1, Some(Err(Reason::AuthPermanent)));
    let held = lease(&engine);
    assert_eq!(
        (held.candidate_id(), held.skipped()[0].reason.as_str()),
        ("a:2", "refresh_failed")
    );
    let record = &stored(&sim)["usageStats"]["a:1"];
    assert_eq!(
        (&record["disabledUntil"], &record["disabledReason"]),
        (&json!(T + 5 * 3_600_000), &json!("auth_permanent"))
    );
}

#[test]
fn tr_3_and_xl_8_a_rejected_token_is_renewed_once() {
    let rejected = Signal {
        status: Some(401),
        ..LIMITED
    };
    let next = |verdict: Verdict| match verdict {
        Verdict::Retry { lease, .. } => *lease,
        other => panic!("{other:?}"),
    };
    let (sim, engine, scripted) = with_oauth(T + 3_600_000, Some(Ok("new")));
    let renewed = next(lease(&engine).fail(&rejected).unwrap());
    assert_eq!(
        (renewed.candidate_id(), renewed.credential().expose()),
        ("a:1", "new")
    );
    assert!(
        stored(&sim).get("usageStats").is_none(),
        "nothing is recorded"
    );
    let other = next(renewed.fail(&rejected).unwrap());
    assert_eq!(other.candidate_id(), "a:2");
    assert_eq!(
        stored(&sim)["usageStats"]["a:1"]["cooldownUntil"],
        T + 30_000
    );
    assert_eq!(scripted.calls.load(Ordering::Relaxed), 1);

    let (sim, engine, scripted) = with_oauth(T + 3_600_000, Some(Ok("new")));
    let held = lease(&engine);
    let mut store = stored(&sim);
    store["profiles"]["a:1"]["access"] = json!("by-another");
    sim.file(STORE, store.to_string(), 0o600);
    let renewed = next(held.fail(&rejected).unwrap());
    assert_eq!(renewed.credential().expose(), "by-another");
    assert_eq!(scripted.calls.load(Ordering::Relaxed), 0);
}

#[test]
fn reports_by_id_and_forgotten_leases() {
    let sim = with_store(&one_profile());
    let engine = open(&sim, json!({"routing": {"lease_ttl_ms": 1000}}));
    let held = lease(&engine);
    engine.report_success(&held.id(), &[]).unwrap();
    assert_eq!(
        held.succeed(&[]).unwrap_err().code().as_str(),
        "lease_finished"
    );
    assert_eq!(
        engine
            .report_success(&held.id(), &[])
            .unwrap_err()
            .code()
            .as_str(),
        "lease_unknown"
    );
    assert_eq!(
        engine
            .report_failure("x", &LIMITED)
            .unwrap_err()
            .code()
            .as_str(),
        "lease_unknown"
    );
    let old = lease(&engine);
    sim.advance(Duration::from_secs(2));
    let new = lease(&engine);
    assert_eq!(engine.leases_out(), 1);
    assert!(old.succeed(&[]).is_err() && new.succeed(&[]).is_ok());
}

#[test]
fn a_used_up_limit_sorts_a_profile_last() {
    let mut store = one_profile();
    store["profiles"]["a:2"] = json!({"type": "api_key", "provider": "a", "key": "k2"});
    let sim = with_store(&store);
    let engine = open(&sim, json!({"auth": {"order": {"a": ["a:1", "a:2"]}}}));
    let headers = [
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "5s"),
    ];
    lease(&engine).succeed(&headers).unwrap();
    assert_eq!(lease(&engine).candidate_id(), "a:2");
    sim.advance(Duration::from_secs(6));
    assert_eq!(lease(&engine).candidate_id(), "a:1");
}

#[test]
fn no_secret_shows_in_documents_and_debug_forms() {
    let mut store = one_profile();
    store["profiles"]["a:1"]["key"] = json!("sk-canary-0123456789");
    let sim = with_store(&store);
    sim.env("A_API_KEY", "sk-canary-env-123456");
    let engine = open(&sim, json!({}));
    let held = lease(&engine);
    let verdict = held
        .fail(&Signal {
            message: Some("bad sk-canary-0123456789"),
            ..LIMITED
        })
        .unwrap();
    let shown = format!(
        "{held:?} {} {verdict:?} {} {}",
        held.to_json(),
        engine.profiles_json(None, None).unwrap(),
        engine.order_json(None, "a").unwrap(),
    );
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains("sk...89"));
}

#[test]
fn a_store_cut_anywhere_is_refused_and_kept() {
    let mut store = one_profile();
    store["usageStats"]["a:1"] = json!({"lastUsed": 5, "errorCount": 1});
    let whole = serde_json::to_string_pretty(&store).unwrap();
    for end in 0..whole.len() {
        let sim = machine();
        let cut = whole.get(..end).unwrap();
        sim.file(STORE, cut, 0o600);
        let engine = open(&sim, json!({}));
        let error = engine.lease(&for_provider("a")).unwrap_err();
        assert_eq!(error.code().as_str(), "store_corrupt", "{end}");
        let error = engine.add_profile(None, &key("a:2", "k")).unwrap_err();
        assert_eq!(error.code().as_str(), "store_corrupt", "{end}");
        assert_eq!(sim.text(STORE).unwrap(), cut);
    }
}

#[test]
fn files_of_other_programs_are_refused_and_kept() {
    let database = b"SQLite format 3\0\x10\0\x01\x01".as_slice();
    let utf_16 = b"\xff\xfe{\0}\0".as_slice();
    for content in [
        database,
        utf_16,
        b"\0\0\0\0",
        b"null",
        b"\"text\"",
        b"{}",
        b"{\"version\": 1, \"accounts\": {}}",
        b"{\"version\": 1, \"profiles\": [1]}",
        b"version: 1\nprofiles: {}\n",
    ] {
        let sim = machine();
        sim.file(STORE, content, 0o600);
        let engine = open(&sim, json!({}));
        for error in [
            engine.lease(&for_provider("a")).unwrap_err(),
            engine.add_profile(None, &key("a:2", "k")).unwrap_err(),
            engine.set_order(None, "a", None).unwrap_err(),
            engine.clear_cooldown(None, None, Clear::All).unwrap_err(),
            engine.remove_profile(None, "a:1").unwrap_err(),
        ] {
            assert_eq!(error.code().as_str(), "store_corrupt", "{content:?}");
        }
        assert_eq!(sim.content(STORE).unwrap(), content);
    }
}

#[test]
fn clocks_may_jump() {
    // Back, while a window is open: it lasts as long as the time that is missing, and no longer
    // than any window may.
    let sim = with_store(&one_profile());
    let engine = open(&sim, json!({}));
    let _ = lease(&engine).fail(&LIMITED).unwrap();
    sim.set_now_ms(T - 3_600_000);
    assert!(engine.lease(&for_provider("a")).is_err());
    sim.set_now_ms(T - 8 * 86_400_000);
    assert_eq!(lease(&engine).candidate_id(), "a:1", "8 days are no window");
    // Forward: over at once. Usage of the time before counts as usual.
    let sim = with_store(&one_profile());
    let engine = open(&sim, json!({}));
    let _ = lease(&engine).fail(&LIMITED).unwrap();
    sim.set_now_ms(T + 365 * 86_400_000);
    lease(&engine).succeed(&[]).unwrap();
    assert!(engine.flush());
    let record = &stored(&sim)["usageStats"]["a:1"];
    assert_eq!(record["lastUsed"], T + 365 * 86_400_000);
    assert_eq!(record["cooldownUntil"], Value::Null);
    // A lock from the future: that of a dead process is broken, that of a running one waited for.
    for (pid, code) in [(99, None), (77, Some("store_locked"))] {
        let sim = with_store(&one_profile());
        sim.running(77, 5);
        let lock = format!("{{\"pid\": {pid}, \"createdAt\": \"2100-01-01T00:00:00.000Z\"}}");
        sim.file(format!("{STORE}.lock"), lock, 0o644);
        let added = open(&sim, json!({})).add_profile(None, &key("a:2", "k"));
        assert_eq!(added.err().map(|error| error.code().as_str()), code);
    }
}

#[test]
fn a_thousand_successes_a_second_are_written_every_ten_seconds() {
    let sim = with_store(&one_profile());
    let engine = open(&sim, json!({}));
    let mut writes = 0;
    let mut known = sim.meta(STORE).unwrap();
    for _ in 0..35_000 {
        lease(&engine).succeed(&[]).unwrap();
        engine.flush_due();
        sim.advance(Duration::from_millis(1));
        let meta = sim.meta(STORE).unwrap();
        writes += u32::from(meta != known);
        known = meta;
    }
    assert_eq!(writes, 3, "at 10, 20 and 30 seconds");
}

#[test]
fn giving_up_opens_the_window_and_lends_nothing() {
    let sim = with_store(&one_profile());
    let engine = open(&sim, json!({}));
    let first = lease(&engine);
    assert!(first.classify(&LIMITED).rotates_keys);
    assert_eq!(engine.leases_out(), 1);
    assert!(first.give_up(&LIMITED).unwrap().rotates_keys);
    assert_eq!(engine.leases_out(), 0);
    assert_eq!(
        first.give_up(&LIMITED).unwrap_err().code().as_str(),
        "lease_finished"
    );
    let error = engine.lease(&for_provider("a")).unwrap_err();
    assert_eq!(error.code().as_str(), "all_unavailable");
    assert!(!stored(&sim)["usageStats"]["a:1"].is_null());
}
