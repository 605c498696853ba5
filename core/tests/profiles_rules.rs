//! Rules of choosing, recording and falling back that no worked example shows.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests stop when something is not as it should be"
)]

use std::time::Duration;

use openclaw_auth::CredentialKind;
use openclaw_auth::host::sim::Sim;
use openclaw_auth::{
    Engine, Lease, LeaseRequest, NewCredential, Options, ProfileMaterial, SecretText, SessionEntry,
    Signal, Verdict,
};
use serde_json::{Value, json};

const STATE: &str = "/home/user/.openclaw";
const STORE: &str = "/home/user/.openclaw/agents/main/agent/auth-profiles.json";
const T: u64 = 1_800_000_000_000;

/// A machine with keys of these profiles.
fn machine(ids: &[&str]) -> Sim {
    let sim = Sim::new();
    sim.set_now_ms(T)
        .env("HOME", "/home/user")
        .dir(STATE, 0o700);
    let mut store = json!({"version": 1, "profiles": {}});
    for id in ids {
        let (provider, _) = id.split_once(':').unwrap();
        store["profiles"][id] =
            json!({"type": "api_key", "provider": provider, "key": format!("key of {id}")});
    }
    sim.file(STORE, format!("{store:#}\n"), 0o600);
    sim
}

fn open(sim: &Sim, config: Value) -> Engine {
    Engine::open(Options::new().with_host(sim.host()).config_value(config)).unwrap()
}

fn stored(sim: &Sim) -> Value {
    serde_json::from_str(&sim.text(STORE).unwrap()).unwrap()
}

fn of(provider: &str) -> LeaseRequest<'_> {
    LeaseRequest {
        provider: Some(provider),
        ..LeaseRequest::default()
    }
}

fn chain<'a>(models: &'a [&'a str]) -> LeaseRequest<'a> {
    LeaseRequest {
        models,
        ..LeaseRequest::default()
    }
}

fn status(status: u16) -> Signal<'static> {
    Signal {
        status: Some(status),
        ..Signal::default()
    }
}

fn next(verdict: Verdict) -> Lease {
    match verdict {
        Verdict::Retry { lease, .. } => *lease,
        other => panic!("{other:?}"),
    }
}

#[test]
fn st_1_the_state_directory_is_found() {
    let store = json!({"version": 1, "profiles": {"a:1": {"type": "api_key", "provider": "a", "key": "k"}}});
    for (vars, folders, expected) in [
        (
            &[("OPENCLAW_STATE_DIR", " ~/s ")][..],
            &["/home/user/.openclaw"][..],
            "/home/user/s",
        ),
        (&[], &["/home/user/.clawdbot"], "/home/user/.clawdbot"),
        (
            &[],
            &["/home/user/.clawdbot", "/home/user/.openclaw"],
            "/home/user/.openclaw",
        ),
        (&[("OPENCLAW_HOME", "/srv/oc")], &[], "/srv/oc/.openclaw"),
        (
            &[("OPENCLAW_HOME", "undefined")],
            &[],
            "/home/user/.openclaw",
        ),
    ] {
        let sim = Sim::new();
        sim.env("HOME", "/home/user");
        for (name, value) in vars {
            sim.env(name, value);
        }
        for folder in folders {
            sim.dir(folder, 0o700);
        }
        let path = format!("{expected}/agents/main/agent/auth-profiles.json");
        sim.file(&path, store.to_string(), 0o600);
        let document = open(&sim, json!({})).profiles_json(None, None).unwrap();
        assert_eq!(document["authStorePath"], path);
        assert_eq!(document["profiles"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn st_3_agent_directories() {
    let config = json!({"agents": {"list": [
        {"id": "Ops", "agentDir": "~/ops"}, {"id": "work", "default": true},
    ]}});
    let path = |sim: &Sim, agent: Option<&str>| {
        let document = open(sim, config.clone())
            .profiles_json(agent, None)
            .unwrap();
        document["authStorePath"].as_str().unwrap().to_owned()
    };
    let sim = machine(&[]);
    assert_eq!(
        path(&sim, None),
        format!("{STATE}/agents/work/agent/auth-profiles.json")
    );
    assert_eq!(path(&sim, Some("ops")), "/home/user/ops/auth-profiles.json");
    assert_eq!(path(&sim, Some("main")), STORE);
    sim.env("OPENCLAW_AGENT_DIR", "/elsewhere");
    let sole = open(&sim, json!({})).profiles_json(None, None).unwrap();
    assert_eq!(sole["authStorePath"], "/elsewhere/auth-profiles.json");
}

#[test]
fn env_6_variables_come_from_the_process_before_the_file() {
    let sim = machine(&[]);
    sim.env("A_API_KEY", "from-process").file(
        format!("{STATE}/.env"),
        "A_API_KEY=from-file\nA_API_KEY_1=second\n",
        0o600,
    );
    let engine = open(&sim, json!({}));
    let lease = engine.lease(&of("a")).unwrap();
    assert_eq!(lease.credential().expose(), "from-process");
    // Read at start and at reload, not per request.
    sim.file(format!("{STATE}/.env"), "A_API_KEY_1=third\n", 0o600);
    let second = next(lease.fail(&status(429)).unwrap());
    assert_eq!(second.credential().expose(), "second");
}

#[test]
fn or_11_and_li_8_choosing_changes_nothing_and_repeats_itself() {
    let ids = ["a:1", "a:2", "a:3"];
    let sim = machine(&ids);
    let before = (sim.text(STORE), sim.paths());
    for _ in 0..3 {
        let engine = open(&sim, json!({}));
        let order = engine.profile_order(None, "a", None, None).unwrap();
        assert_eq!(order, ids);
        assert_eq!(engine.profile_order(None, "a", None, None).unwrap(), order);
        let first = engine.lease(&of("a")).unwrap();
        assert_eq!(first.candidate_id(), "a:1");
    }
    assert_eq!((sim.text(STORE), sim.paths()), before);
}

#[test]
fn li_1_nothing_is_locked_while_a_lease_is_out() {
    let sim = machine(&["a:1"]);
    let engine = open(&sim, json!({}));
    let lease = engine.lease(&of("a")).unwrap();
    assert_eq!(sim.text(format!("{STORE}.lock")), None);
    let other = open(&sim, json!({}));
    other
        .set_order(None, "a", Some(&["a:1".to_owned()]))
        .unwrap();
    lease.succeed(&[]).unwrap();
    assert!(engine.flush());
    assert_eq!(sim.text(format!("{STORE}.lock")), None);
    assert_eq!(stored(&sim)["order"]["a"][0], "a:1");
}

#[test]
fn us_7_the_latest_reason_stands_and_an_account_window_names_no_model() {
    let sim = machine(&["a:1"]);
    let engine = open(&sim, json!({}));
    let request = LeaseRequest {
        model: Some("m"),
        profile: Some("a:1"),
        ..of("a")
    };
    let leases: Vec<Lease> = (0..3).map(|_| engine.lease(&request).unwrap()).collect();
    let mut reports = leases
        .iter()
        .zip([(429, "rate_limit", json!("m")), (401, "auth", Value::Null)]);
    for (lease, (code, reason, model)) in reports.by_ref() {
        let _ = lease.fail(&status(code)).unwrap();
        let record = &stored(&sim)["usageStats"]["a:1"];
        assert_eq!(
            (&record["cooldownReason"], &record["cooldownModel"]),
            (&json!(reason), &model)
        );
    }
}

#[test]
fn u_3_and_cc_3_usage_touches_its_own_record_and_credentials_their_own_profile() {
    let sim = machine(&["a:1", "a:2"]);
    let mut store = stored(&sim);
    store["order"] = json!({"b": ["b:1"]});
    store["usageStats"] = json!({"a:2": {"lastUsed": 7, "mine": [1]}});
    sim.file(STORE, store.to_string(), 0o600);
    let engine = open(&sim, json!({}));
    let one = LeaseRequest {
        profile: Some("a:1"),
        ..of("a")
    };
    let _ = engine.lease(&one).unwrap().fail(&status(429)).unwrap();
    let mut after = stored(&sim);
    assert!(after["usageStats"]["a:1"].take().is_object());
    after["usageStats"].as_object_mut().unwrap().remove("a:1");
    assert_eq!(after, store);
    let credential = NewCredential {
        id: "a:3".to_owned(),
        provider: "a".to_owned(),
        kind: CredentialKind::Token,
        material: ProfileMaterial::Inline(SecretText::new("t".to_owned())),
        expires: None,
        email: None,
        display_name: None,
        replace: false,
    };
    engine.add_profile(None, &credential).unwrap();
    let mut after = stored(&sim);
    after["profiles"].as_object_mut().unwrap().remove("a:3");
    after["usageStats"].as_object_mut().unwrap().remove("a:1");
    assert_eq!(after, store);
}

#[test]
fn pb_4_one_probe_per_candidate_in_all_processes() {
    let sim = machine(&["a:1"]);
    let (one, two) = (open(&sim, json!({})), open(&sim, json!({})));
    let _ = one.lease(&of("a")).unwrap().fail(&status(402)).unwrap();
    assert!(two.lease(&of("a")).is_err(), "two has seen the window");
    sim.advance(Duration::from_secs(601));
    let probe = one.lease(&of("a")).unwrap();
    assert!(probe.is_probe());
    assert_eq!(
        stored(&sim)["usageStats"]["a:1"]["oa"]["probeAt"],
        T + 601_000
    );
    for engine in [&one, &two] {
        assert_eq!(
            engine.lease(&of("a")).unwrap_err().code().as_str(),
            "all_unavailable"
        );
    }
    drop(probe);
    // The gap has to pass even though nothing was reported.
    assert!(one.lease(&of("a")).is_err());
    sim.advance(Duration::from_secs(601));
    assert!(two.lease(&of("a")).unwrap().is_probe());
}

#[test]
fn pn_6_a_pin_counts_only_where_its_provider_serves() {
    let sim = machine(&["a:1", "a:2", "b:1", "b:2"]);
    let engine = open(&sim, json!({}));
    let pinned = json!({"authProfileOverride": "a:2", "authProfileOverrideSource": "user"});
    engine.set_session("s", SessionEntry::from_json(&pinned));
    let models = ["a/m", "b/m"];
    let request = LeaseRequest {
        session: Some("s"),
        ..chain(&models)
    };
    let first = engine.lease(&request).unwrap();
    assert_eq!(first.candidate_id(), "a:2");
    let second = next(first.fail(&status(429)).unwrap());
    assert_eq!(
        (second.candidate_id(), second.switched_model()),
        ("b:1", true)
    );
    assert_eq!(engine.session("s").to_json(), pinned);
}

#[test]
fn mf_1_and_mf_6_primary_fallbacks_and_a_single_wish() {
    let sim = machine(&[]);
    let config = json!({"agents": {
        "defaults": {"model": {"primary": "a/p", "fallbacks": ["b/f"]}},
        "list": [
            {"id": "main"},
            {"id": "plain", "model": "c/own"},
            {"id": "alone", "model": {"primary": "c/own", "fallbacks": []}},
            {"id": "other", "model": {"fallbacks": ["d/f"]}},
        ],
    }});
    let engine = open(&sim, config);
    for (agent, expected) in [
        ("main", &["a/p", "b/f"][..]),
        ("plain", &["c/own", "b/f"]),
        ("alone", &["c/own"]),
        ("other", &["a/p", "d/f"]),
    ] {
        assert_eq!(
            engine.model_chain(Some(agent), None, None).unwrap(),
            expected,
            "{agent}"
        );
    }
    let sim = machine(&["a:1", "b:1"]);
    let engine = open(&sim, json!({}));
    let only = ["a/m"];
    let verdict = engine
        .lease(&chain(&only))
        .unwrap()
        .fail(&status(429))
        .unwrap();
    assert!(matches!(verdict, Verdict::Exhausted(_)), "{verdict:?}");
}

#[test]
fn mf_5_probes_wait_until_every_model_is_unavailable() {
    let sim = machine(&["a:1", "b:1"]);
    let mut store = stored(&sim);
    let disabled = |until: u64| json!({"disabledUntil": until, "disabledReason": "billing", "lastFailureAt": T - 700_000});
    store["usageStats"] = json!({"b:1": disabled(T + 60_000)});
    sim.file(STORE, store.to_string(), 0o600);
    let engine = open(&sim, json!({}));
    // A later model is not probed while an earlier one serves, nor when it fails.
    let models = ["a/m", "b/m"];
    let first = engine.lease(&chain(&models)).unwrap();
    assert_eq!(first.candidate_id(), "a:1");
    drop(first);
    store["usageStats"]["a:1"] = disabled(T + 90_000);
    sim.file(STORE, store.to_string(), 0o600);
    let probe = engine.lease(&chain(&models)).unwrap();
    assert!(probe.is_probe());
}

#[test]
fn mf_7_the_end_tells_every_attempt() {
    let sim = machine(&["a:1", "b:1"]);
    let engine = open(&sim, json!({}));
    let models = ["a/m", "b/n"];
    let busy = Signal {
        message: Some("slow down"),
        ..status(429)
    };
    let second = next(engine.lease(&chain(&models)).unwrap().fail(&busy).unwrap());
    let verdict = second
        .fail(&Signal {
            message: Some("no such key"),
            ..status(401)
        })
        .unwrap();
    let Verdict::Exhausted(end) = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(
        end.message,
        "All models failed (2): a/m: slow down (rate_limit) | b/n: no such key (auth)"
    );
    assert_eq!(end.soonest_available_at, Some(T + 30_000));
    let sole = engine
        .lease(&LeaseRequest {
            profile: Some("a:1"),
            ..of("a")
        })
        .unwrap();
    let Verdict::Exhausted(end) = sole.fail(&busy).unwrap() else {
        panic!("it goes on")
    };
    assert_eq!(end.message, "a: slow down");
}

#[test]
fn md_8_and_md_9_the_selector_and_the_status_show_what_can_be_used() {
    let sim = machine(&["a:1", "b:1"]);
    let config = json!({"agents": {"defaults": {
        "model": {"primary": "b/big"},
        "models": {"b/big": {"alias": "Big"}, "a/small": {}, "c/none": {}},
    }}});
    let engine = open(&sim, config);
    let held = engine
        .lease(&LeaseRequest {
            model: Some("small"),
            ..of("a")
        })
        .unwrap();
    let _ = held
        .fail(&Signal {
            headers: &[("retry-after", "240")],
            ..status(429)
        })
        .unwrap();
    let reply = engine
        .chat("s", None, "/model list", None)
        .unwrap()
        .unwrap();
    let wanted = json!([
        {"number": 1, "model": "a/small", "aliases": [], "availability": "cooling 4m", "current": false},
        {"number": 2, "model": "b/big", "aliases": ["Big"], "availability": "ok", "current": true},
        {"number": 3, "model": "c/none", "aliases": [], "availability": "missing", "current": false},
    ]);
    assert_eq!(reply.view["models"], wanted);
    let status = engine.profiles_json(None, Some("a")).unwrap();
    assert_eq!(
        status["profiles"][0]["models"]["small"]["until"],
        T + 240_000
    );
    assert!(!status.to_string().contains("key of"), "{status}");
}

#[test]
fn xe_21_and_el_9_oauth_and_references_do_not_start() {
    let sim = machine(&[]);
    let store = json!({"version": 1, "profiles": {
        "a:1": {"type": "api_key", "provider": "a", "keyRef": {"source": "env", "provider": "default", "id": "X"}},
        "a:2": {"type": "oauth", "provider": "a", "access": "${X}", "refresh": "r", "expires": T + 1},
    }});
    sim.file(STORE, store.to_string(), 0o600).env("X", "v");
    let config = json!({"auth": {"profiles": {"a:1": {"provider": "a", "mode": "oauth"}}}});
    let options = Options::new().with_host(sim.host()).config_value(config);
    let error = Engine::open(options).unwrap_err();
    let failures = error.details()["failures"].as_array().unwrap();
    let told: Vec<Value> = failures
        .iter()
        .map(|f| json!([f["code"], f["paths"]]))
        .collect();
    let code = "secret_ref_oauth_policy";
    assert_eq!(
        json!(told),
        json!([
            [code, ["auth-profiles[main].profiles.a:1.key"]],
            [code, ["auth-profiles[main].profiles.a:2.access"]],
        ])
    );
}
