//! Which surfaces are active, who says so, and what is said about the others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail loudly and use the machine"
)]

use openclaw_auth::host::sim::{self, Sim};
use openclaw_auth::{Engine, Options, Registry, Result};
use serde_json::{Value, json};

const CONFIG: &str = "/home/u/.openclaw/openclaw.json";
const STORE: &str = "/home/u/.openclaw/agents/main/agent/auth-profiles.json";

fn world(config: &Value) -> Sim {
    let sim = Sim::new();
    sim.env("HOME", "/home/u").env("K", "value-of-k");
    sim.file(CONFIG, config.to_string(), 0o600);
    sim
}

fn open(sim: &Sim, registry: Registry) -> Result<Engine> {
    Engine::open(Options::new().with_host(sim.host()).registry(registry))
}

fn reference() -> Value {
    json!({"source": "env", "provider": "default", "id": "K"})
}

/// `active`, or the reason why not.
fn state(engine: &Engine, path: &str) -> String {
    let snapshot = engine.snapshot();
    let surfaces = snapshot.surfaces();
    let Some(surface) = surfaces.iter().find(|surface| surface.path() == path) else {
        return "no surface".to_owned();
    };
    surface.inactive_reason().unwrap_or("active").to_owned()
}

#[test]
fn a_host_adds_a_channel_of_its_own() {
    let config = |mode: &str| {
        json!({"channels": {"mychat": {
            "mode": mode, "hookSecret": reference(),
            "accounts": {
                "a": {"apiToken": "literal-token"},
                "b": {"apiToken": reference(), "tokenFile": "/t"},
                "c": {"apiToken": reference(), "enabled": false},
            },
        }}})
    };
    let mut registry = Registry::new();
    let rules = json!([
        { "id": "mychat.apiToken", "pattern": "channels.mychat.accounts.*.apiToken",
          "owner": "channel:mychat/{0}",
          "when": { "not": { "set": "channels.mychat.accounts.{0}.tokenFile" } },
          "inactiveReason": "tokenFile is used instead" },
        { "id": "mychat.hookSecret", "pattern": "channels.mychat.hookSecret",
          "owner": "channel:mychat/default",
          "when": { "equals": { "path": "channels.mychat.mode", "values": ["webhook"],
                                "default": "socket", "fold": true } } }
    ]);
    registry.add_rules(&rules).unwrap();
    let sim = world(&config("socket"));
    let engine = open(&sim, registry).unwrap();
    let secret = |path: &str| {
        engine
            .snapshot()
            .secret(path)
            .map(|s| s.expose().to_owned())
    };
    // The literal is a secret because the rule says so.
    assert_eq!(
        secret("channels.mychat.accounts.a.apiToken").unwrap(),
        "literal-token"
    );
    assert!(
        !engine
            .snapshot()
            .config_json()
            .to_string()
            .contains("literal-token")
    );
    let b = state(&engine, "channels.mychat.accounts.b.apiToken");
    assert_eq!(b, "tokenFile is used instead");
    let c = state(&engine, "channels.mychat.accounts.c.apiToken");
    assert_eq!(c, "channels.mychat.accounts.c.enabled is false");
    let hook = state(&engine, "channels.mychat.hookSecret");
    assert_eq!(hook, "channels.mychat.mode is \"socket\"");

    sim.file(CONFIG, config(" WebHook ").to_string(), 0o600);
    engine.reload().unwrap();
    assert_eq!(secret("channels.mychat.hookSecret").unwrap(), "value-of-k");
    let snapshot = engine.snapshot();
    let surfaces = snapshot.surfaces();
    let hook = surfaces
        .iter()
        .find(|s| s.path() == "channels.mychat.hookSecret");
    assert_eq!(hook.unwrap().owners(), ["channel:mychat/default"]);

    // The table belongs to the engine and may change.
    let mut registry = engine.registry();
    assert_eq!(registry.remove_rules("mychat."), 2);
    engine.set_registry(registry);
    engine.reload().unwrap();
    assert_eq!(
        state(&engine, "channels.mychat.accounts.a.apiToken"),
        "no surface"
    );
}

#[test]
fn every_kind_of_condition_decides_and_explains() {
    let config = json!({
        "x": {"secret": reference(), "on": {"enabled": true}, "off": {"enabled": false},
              "text": "t", "blank": " ", "mode": "B", "number": 5,
              "items": {"one": {"enabled": false}, "two": {"own": 1}},
              "account": {"mode": "a"}, "other": {}},
    });
    let expect = [
        (json!({"enabled": "x.on"}), None),
        (json!({"enabled": "x.off"}), Some("x.off.enabled is false")),
        (json!({"set": "x.text"}), None),
        (json!({"set": "x.blank"}), Some("x.blank is not configured")),
        (json!({"own": "x.blank"}), None),
        (json!({"own": "x.gone"}), Some("x.gone is missing")),
        (json!({"not": {"own": "x.blank"}}), Some("x.blank exists")),
        (
            json!({"not": {"set": "x.text"}}),
            Some("x.text is configured"),
        ),
        (json!({"not": {"enabled": "x.on"}}), Some("x.on is enabled")),
        (
            json!({"equals": {"path": "x.mode", "values": ["a", "b"], "fold": true}}),
            None,
        ),
        (
            json!({"equals": {"path": "x.mode", "values": ["b"]}}),
            Some("x.mode is \"B\""),
        ),
        (
            json!({"equals": {"path": "x.gone", "values": ["d"], "default": "d"}}),
            None,
        ),
        (
            json!({"equals": {"path": "x.gone", "values": ["d"], "default": "e"}}),
            Some("x.gone is not set, which means \"e\""),
        ),
        (json!({"equals": {"path": "x.number", "values": [5]}}), None),
        (
            json!({"effective": {"item": "x.account", "base": "x", "key": "mode", "values": ["a"]}}),
            None,
        ),
        (
            json!({"effective": {"item": "x.other", "base": "x", "key": "mode", "values": ["a"]}}),
            Some("x.mode is \"B\""),
        ),
        (json!({"env": "K"}), None),
        (json!({"env": "GONE"}), Some("GONE is not set")),
        (json!({"not": {"env": "K"}}), Some("K is set")),
        (
            json!({"inherited": {"over": "x.items.*", "lacks": "missing"}}),
            None,
        ),
        (
            json!({"inherited": {"over": "x.items.*", "itemWhen": {"enabled": "{item}"}, "lacks": "own"}}),
            Some("no enabled entry of x.items uses it"),
        ),
        (
            json!({"inherited": {"over": "x.gone[]", "lacks": "own", "emptyCounts": true}}),
            None,
        ),
        (
            json!({"inherited": {"over": "x.gone[]", "lacks": "own"}}),
            Some("no enabled entry of x.gone uses it"),
        ),
        (json!({"native": "yes"}), None),
        (json!({"native": "no"}), Some("the host says no")),
        (
            json!({"all": [{"env": "K"}, {"env": "ONE"}, {"env": "TWO"}]}),
            Some("ONE is not set"),
        ),
        (json!({"all": []}), None),
        (json!({"any": [{"env": "ONE"}, {"env": "K"}]}), None),
        (
            json!({"any": [{"env": "ONE"}, {"env": "TWO"}]}),
            Some("ONE is not set"),
        ),
        (
            json!({"not": {"any": [{"env": "ONE"}, {"set": "x.text"}]}}),
            Some("x.text is configured"),
        ),
        (json!({"not": {"all": [{"env": "ONE"}]}}), None),
        (
            json!({"not": {"not": {"env": "GONE"}}}),
            Some("GONE is not set"),
        ),
    ];
    let sim = world(&config);
    for (condition, reason) in expect {
        let mut registry = Registry::new();
        registry.predicate("yes", |facts| {
            assert_eq!(facts.path().to_string(), "x.secret");
            assert!(facts.env_is_set("K"));
            assert_eq!(facts.setting("x.text"), Some(&json!("t")));
            Ok(())
        });
        registry.predicate("no", |_| Err("the host says no".to_owned()));
        let rule = json!([{"id": "x", "pattern": "x.secret", "when": condition}]);
        registry.add_rules(&rule).unwrap();
        let engine = open(&sim, registry).unwrap();
        assert_eq!(
            state(&engine, "x.secret"),
            reason.unwrap_or("active"),
            "{condition}"
        );
    }
}

#[test]
fn the_hosts_word_wins_over_the_rules() {
    let config = json!({
        "messages": {"tts": {"providers": {"a": {"apiKey": reference()}}}},
        "tools": {"web": {"search": {"provider": "brave"}}},
        "hooks": {"token": {"source": "env", "provider": "default", "id": "K"}},
        "plugins": {"entries": {
            "brave": {"config": {"webSearch": {"apiKey": reference()}}},
            "tavily": {"config": {"webSearch": {"apiKey": reference()}}},
            "gone": {"config": {"thing": reference()}},
        }},
    });
    let sim = world(&config);
    let error = open(&sim, Registry::new()).unwrap_err();
    assert!(
        error
            .to_json()
            .to_string()
            .contains("secret_ref_unsupported_surface")
    );

    let mut registry = Registry::new();
    // A rule of the host lifts the list of places that take no references.
    registry
        .add_rules(&json!([{"id": "h", "pattern": "hooks.token"}]))
        .unwrap();
    let tts = "messages.tts.providers.*.apiKey";
    registry
        .deactivate(tts, "this build has no voice", None)
        .unwrap();
    registry.activate(tts, "but", None).unwrap();
    let tavily = "plugins.entries.tavily.config.webSearch.apiKey";
    registry
        .activate(tavily, "tavily tools are on", Some(&json!({"env": "K"})))
        .unwrap();
    registry
        .plugin_states(&json!({"brave": true, "tavily": null}))
        .unwrap();
    let engine = open(&sim, registry).unwrap();
    assert_eq!(state(&engine, "hooks.token"), "active");
    let voice = state(&engine, "messages.tts.providers.a.apiKey");
    assert_eq!(voice, "this build has no voice");
    assert_eq!(state(&engine, tavily), "active");
    let stale = state(&engine, "plugins.entries.gone.config.thing");
    assert_eq!(stale, "plugin gone is not loadable (stale entry)");
    let snapshot = engine.snapshot();
    assert_eq!(
        snapshot.selection("web-search").unwrap().provider(),
        "brave"
    );
}

#[test]
fn selection_tries_one_candidate_at_a_time() {
    let exec = |id: &str| json!({"source": "exec", "provider": id, "id": "k"});
    let entry = |id: &str| json!({"config": {"webSearch": {"apiKey": exec(id)}}});
    let config = json!({
        "secrets": {"providers": {
            "one": {"source": "exec", "command": "/s/one"},
            "two": {"source": "exec", "command": "/s/two"},
            "three": {"source": "exec", "command": "/s/three"},
        }},
        "tools": {"web": {"search": {}}},
        "plugins": {"entries": {
            "brave": entry("one"), "google": entry("two"), "xai": entry("three"),
        }},
    });
    let sim = world(&config);
    for (name, code) in [("one", 1), ("two", 0), ("three", 0)] {
        sim.file(format!("/s/{name}"), "", 0o700);
        sim.program(format!("/s/{name}"), move |_| sim::exited(code, "key", ""));
    }
    let engine = open(&sim, Registry::new()).unwrap();
    let snapshot = engine.snapshot();
    let selection = snapshot.selection("web-search").unwrap();
    assert_eq!(
        (selection.provider(), selection.origin()),
        ("gemini", Some("ref"))
    );
    let ran: Vec<String> = sim.runs().iter().map(|run| run.arg0.clone()).collect();
    assert_eq!(
        ran,
        ["/s/one", "/s/two"],
        "the program of a later candidate was started"
    );
    let path = "plugins.entries.xai.config.webSearch.apiKey";
    assert_eq!(
        state(&engine, path),
        "the web search provider is \"gemini\""
    );
}

#[test]
fn selection_falls_back_to_variables_and_says_so() {
    let config = json!({"tools": {"web": {"search": {"provider": "kimi"}, "fetch": {}}}});
    let sim = world(&config);
    sim.env("MOONSHOT_API_KEY", "moon-key")
        .env("FIRECRAWL_API_KEY", "fire-key");
    let engine = open(&sim, Registry::new()).unwrap();
    let snapshot = engine.snapshot();
    let search = snapshot.selection("web-search").unwrap().to_json();
    let expected = json!({"group": "web-search", "provider": "kimi", "origin": "env", "envVar": "MOONSHOT_API_KEY"});
    assert_eq!(search, expected);
    let key = snapshot.secret("plugins.entries.moonshot.config.webSearch.apiKey");
    assert_eq!(key.unwrap().expose(), "moon-key");
    let fetch = snapshot.selection("web-fetch").unwrap();
    assert_eq!(
        (fetch.provider(), fetch.env_var()),
        ("firecrawl", Some("FIRECRAWL_API_KEY"))
    );
    // An unknown name is reported and then ignored.
    let config =
        json!({"tools": {"web": {"search": {"provider": "kimmi"}, "fetch": {"enabled": false}}}});
    sim.file(CONFIG, config.to_string(), 0o600);
    let report = engine.reload().unwrap();
    let codes: Vec<&str> = report
        .snapshot()
        .diagnostics()
        .iter()
        .map(|diagnostic| diagnostic.code().as_str())
        .collect();
    assert!(
        codes.contains(&"WEB_SEARCH_PROVIDER_INVALID_AUTODETECT"),
        "{codes:?}"
    );
    assert!(
        codes.contains(&"WEB_SEARCH_AUTODETECT_SELECTED"),
        "{codes:?}"
    );
    assert!(report.snapshot().selection("web-fetch").is_none());
}

#[test]
fn a_fetch_reference_may_only_name_its_own_variable() {
    let fetch = |id: &str| {
        json!({"tools": {"web": {"fetch": {"provider": "firecrawl", "firecrawl":
            {"apiKey": {"source": "env", "provider": "default", "id": id}}}}}})
    };
    let error = open(&world(&fetch("K")), Registry::new()).unwrap_err();
    let failure = &error.details()["failures"][0];
    assert_eq!(failure["code"], "secret_ref_policy_denied", "{failure}");
    assert_eq!(failure["details"]["group"], "web-fetch");
    let sim = world(&fetch("FIRECRAWL_API_KEY"));
    sim.env("FIRECRAWL_API_KEY", "fire-key");
    assert!(open(&sim, Registry::new()).is_ok());
}

#[test]
fn stores_of_all_agents_are_read_and_left_alone() {
    let profile = |kind: &str, key: &str, value: Value| json!({"version": 1, "profiles": {"p:x": {"type": kind, "provider": "P", key: value}}});
    let config = json!({
        "models": {"providers": {"p": {"enabled": true}}},
        "agents": {"list": [
            {"id": "work", "agentDir": "/work"},
            {"id": "Off", "enabled": false},
        ]},
    });
    let sim = world(&config);
    let main = profile("token", "token", json!("${K}")).to_string();
    sim.file(STORE, &main, 0o600);
    let work = profile("api_key", "key", json!({"source": "env", "id": "K"}));
    sim.file("/work/auth-profiles.json", work.to_string(), 0o600);
    let off = "/home/u/.openclaw/agents/off/agent/auth-profiles.json";
    sim.file(
        off,
        profile("api_key", "keyRef", reference()).to_string(),
        0o600,
    );
    let engine = open(&sim, Registry::new()).unwrap();
    let snapshot = engine.snapshot();
    for path in [
        "auth-profiles[main].profiles.p:x.token",
        "auth-profiles[work].profiles.p:x.key",
    ] {
        assert_eq!(snapshot.secret(path).unwrap().expose(), "value-of-k");
    }
    let reason = state(&engine, "auth-profiles[off].profiles.p:x.key");
    assert_eq!(reason, "agents.list.1.enabled is false");
    let codes = |engine: &Engine| -> Vec<String> {
        let snapshot = engine.snapshot();
        let all = snapshot.diagnostics().iter();
        all.map(|d| format!("{} {}", d.code(), d.path())).collect()
    };
    let legacy = "SECRETS_LEGACY_REF_FORM auth-profiles[work].profiles.p:x.key".to_owned();
    assert!(codes(&engine).contains(&legacy), "{:?}", codes(&engine));

    // A store that cannot be understood is reported and changes nothing else.
    sim.file(STORE, "{broken", 0o600);
    engine.reload().unwrap();
    assert!(codes(&engine).contains(&"SECRETS_STORE_SKIPPED auth-profiles[main]".to_owned()));
    assert_eq!(sim.text(STORE).unwrap(), "{broken");

    sim.file(STORE, &main, 0o600);
    let config = json!({"models": {"providers": {"p": {"enabled": false}}}});
    sim.file(CONFIG, config.to_string(), 0o600);
    engine.reload().unwrap();
    let reason = state(&engine, "auth-profiles[main].profiles.p:x.token");
    assert_eq!(reason, "models.providers.p.enabled is false");
    assert_eq!(sim.text(STORE).unwrap(), main);
}

#[test]
fn reasons_name_the_setting_that_decides() {
    let config = json!({
        "agents": {"defaults": {"sandbox": {"mode": "all", "ssh": {"identityData": reference()}}},
                   "list": [{"id": "a", "sandbox": {"backend": "ssh", "mode": "off",
                                                    "ssh": {"identityData": reference()}}}]},
        "channels": {"telegram": {"botToken": reference(), "accounts": {"a": {"botToken": "x"}}}},
        "gateway": {"auth": {"password": reference()}, "remote": {"token": reference()}},
        "cron": {"enabled": false, "webhookToken": reference()},
    });
    let engine = open(&world(&config), Registry::new()).unwrap();
    for (path, reason) in [
        (
            "agents.defaults.sandbox.ssh.identityData",
            "agents.defaults.sandbox.backend is \"docker\", not \"ssh\"",
        ),
        (
            "agents.list.0.sandbox.ssh.identityData",
            "agents.list.0.sandbox.mode is \"off\"",
        ),
        (
            "channels.telegram.botToken",
            "every enabled account of channels.telegram has its own botToken",
        ),
        (
            "gateway.auth.password",
            "gateway.remote.token is configured",
        ),
        ("cron.webhookToken", "cron.enabled is false"),
    ] {
        assert_eq!(state(&engine, path), reason, "{path}");
    }
    let snapshot = engine.snapshot();
    let gateway: Vec<String> = snapshot
        .diagnostics()
        .iter()
        .filter(|d| d.code().as_str() == "SECRETS_GATEWAY_AUTH_SURFACE")
        .map(|d| d.message().to_owned())
        .collect();
    assert_eq!(
        gateway,
        [
            "gateway.auth.password is inactive: gateway.remote.token is configured",
            "gateway.remote.token is active: gateway.auth.mode is not set",
        ]
    );
}

#[test]
fn a_provider_that_does_not_exist_is_no_fault_of_the_reference() {
    let options = Options::new()
        .config_value(json!({}))
        .env([("HOME", "/nonexistent")]);
    let resolver = options.resolver().unwrap();
    let labels = ["env:nobody:A", "env:default:A"];
    let scopes: Vec<Value> = resolver
        .resolve(&labels)
        .into_iter()
        .map(|answer| answer.unwrap_err().details()["failures"][0].clone())
        .map(|failure| json!([failure["scope"], failure["provider"], failure["refs"]]))
        .collect();
    assert_eq!(
        json!(scopes),
        json!([
            ["provider", "nobody", ["env:nobody:A"]],
            ["ref", "default", ["env:default:A"]],
        ])
    );
}
