//! Audit, plan and apply on whole installations: nothing is missed, nothing else is touched,
//! nothing is left half done.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail loudly and use the machine"
)]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use openclaw_auth::host::sim::{self, Sim};
use openclaw_auth::host::{FileMeta, Files, Host, OpenFile};
use openclaw_auth::{
    ApplyOptions, AuditOptions, AuditStatus, Engine, Error, Options, Plan, PlanBuilder, Registry,
};
use serde_json::{Value, json};

const STATE: &str = "/home/u/.openclaw";
const CONFIG: &str = "/home/u/.openclaw/openclaw.json";
const MODELS: &str = "/home/u/.openclaw/models.json5";
const STORE: &str = "/home/u/.openclaw/agents/main/agent/auth-profiles.json";
const OLD_STORE: &str = "/home/u/.openclaw/agents/main/agent/auth.json";
const ENV: &str = "/home/u/.openclaw/.env";

const CONFIG_TEXT: &str = r#"// Everything here is plain text.
{
  $include: "./models.json5", // the models
  gateway: { auth: { mode: "token", token: "plain-gateway-token-0001" } },
  channels: {
    telegram: {
      botToken: "plain-telegram-0002", // from BotFather
      accounts: { "a.b": { botToken: 'plain-account-0003' } },
    },
    googlechat: { serviceAccount: { type: "service_account", private_key: "plain-google-0004" } },
  },
  /* voice */
  talk: { apiKey: "plain-talk-0005", voice: "${VOICE}" },
}
"#;
const MODELS_TEXT: &str = r#"{
  "models": {
    "providers": {
      // main provider
      "openai": { "apiKey": "plain-openai-0006", "baseUrl": "https://x" }
    }
  }
}
"#;
const ENV_TEXT: &str =
    "# keys\nOPENAI_API_KEY=plain-openai-0006\nANTHROPIC_API_KEY=plain-openai-0006\nVOICE=v\n";

fn world() -> Sim {
    let sim = Sim::new();
    sim.env("HOME", "/home/u");
    sim.file(CONFIG, CONFIG_TEXT, 0o600);
    sim.file(MODELS, MODELS_TEXT, 0o600);
    sim.file(ENV, ENV_TEXT, 0o600);
    let store = json!({"version": 1, "profiles": {
        "openai:default": {"type": "api_key", "provider": "OpenAI", "key": "plain-profile-0007"},
        "xai:work": {"type": "token", "provider": "xai", "token": "plain-token-0008", "email": "e"},
        "openai:login": {"type": "oauth", "provider": "openai", "access": "a", "refresh": "r", "expires": 1},
    }});
    sim.file(STORE, store.to_string(), 0o600);
    let old = json!({"groq": {"type": "api_key", "key": "plain-old-0009"}, "x": {"type": "oauth"}});
    sim.file(OLD_STORE, old.to_string(), 0o600);
    let secrets = json!({
        "gateway": "plain-gateway-token-0001", "telegram": "plain-telegram-0002",
        "account": "plain-account-0003",
        "google": {"type": "service_account", "private_key": "plain-google-0004"},
        "talk": "plain-talk-0005", "openai": "plain-openai-0006", "xai": "plain-token-0008",
    });
    sim.file("/s/keys.json", secrets.to_string(), 0o600);
    sim
}

fn plan() -> Plan {
    let registry = Registry::new();
    let mut builder = PlanBuilder::new(&registry);
    builder.provider("vault", json!({"source": "file", "path": "/s/keys.json"}));
    for (path, id) in [
        ("gateway.auth.token", "gateway"),
        ("channels.telegram.botToken", "telegram"),
        ("channels.telegram.accounts[\"a.b\"].botToken", "account"),
        ("channels.googlechat.serviceAccount", "google"),
        ("talk.apiKey", "talk"),
        ("models.providers.openai.apiKey", "openai"),
    ] {
        builder.set(path, &format!("file:vault:/{id}")).unwrap();
    }
    builder
        .set_profile("main", "xai:work", "token", None, "file:vault:/xai")
        .unwrap();
    builder.build(0).unwrap()
}

fn options(host: Host) -> Options {
    Options::new().with_host(host)
}

fn apply(sim: &Sim, plan: &Plan) -> Result<Value, Error> {
    let report = options(sim.host()).apply(plan, ApplyOptions::default());
    report.map(|report| report.to_json())
}

fn disk(sim: &Sim) -> BTreeMap<PathBuf, Option<String>> {
    let paths = sim.paths().into_iter();
    paths.map(|path| (path.clone(), sim.text(&path))).collect()
}

fn values(sim: &Sim) -> BTreeMap<String, String> {
    let engine = Engine::open(options(sim.host())).unwrap();
    let snapshot = engine.snapshot();
    let surfaces = snapshot.surfaces();
    let ready = surfaces.iter().filter(|surface| surface.is_ready());
    ready
        .map(|surface| {
            let path = surface.path().to_owned();
            let value = snapshot.secret(&path).unwrap().expose().to_owned();
            (path, value)
        })
        .collect()
}

#[test]
fn an_audit_finds_every_plain_secret_and_none_after_the_plan() {
    let sim = world();
    let before = values(&sim);
    let report = options(sim.host()).audit(AuditOptions::default());
    let found: Vec<(&str, &str)> = report
        .findings()
        .iter()
        .filter(|finding| finding.code().as_str() == "PLAINTEXT_FOUND")
        .map(|finding| (finding.file().to_str().unwrap(), finding.path()))
        .collect();
    assert_eq!(
        found,
        [
            (ENV, "$env.OPENAI_API_KEY"),
            (ENV, "$env.ANTHROPIC_API_KEY"),
            (STORE, "auth-profiles[main].profiles.openai:default.key"),
            (STORE, "auth-profiles[main].profiles.xai:work.token"),
            (MODELS, "models.providers.openai.apiKey"),
            (CONFIG, "gateway.auth.token"),
            (CONFIG, "channels.telegram.botToken"),
            (CONFIG, "channels.telegram.accounts[\"a.b\"].botToken"),
            (CONFIG, "channels.googlechat.serviceAccount"),
            (CONFIG, "talk.apiKey"),
        ]
    );
    let token = report
        .findings()
        .iter()
        .find(|f| f.path() == "gateway.auth.token");
    assert_eq!(token.unwrap().line_column(), Some((4, 37)));
    assert_eq!(report.exit_code(true, false, false), 1);
    let shown = format!("{report:?} {}", report.to_json());
    assert!(!shown.contains("plain-"), "{shown}");

    let report = apply(&sim, &plan()).unwrap();
    assert_eq!(
        report["changedFiles"],
        json!([CONFIG, MODELS, STORE, OLD_STORE, ENV])
    );
    let warnings = report["warnings"].as_array().unwrap();
    assert!(
        warnings[0].as_str().unwrap().contains("openai:login"),
        "{warnings:?}"
    );
    assert!(!report.to_string().contains("plain-"));

    // The same values, apart from the profile that was taken out.
    let after = values(&sim);
    for (path, value) in &before {
        assert_eq!(after.get(path), Some(value), "{path}");
    }
    assert_eq!(
        after["auth-profiles[main].profiles.xai:work.token"],
        "plain-token-0008"
    );

    // One variable is left: it belongs to a provider that was not part of the plan.
    let report = options(sim.host()).audit(AuditOptions::default());
    let left: Vec<&str> = report
        .findings()
        .iter()
        .filter(|finding| finding.code().as_str() == "PLAINTEXT_FOUND")
        .map(|finding| finding.path())
        .collect();
    assert_eq!(left, ["$env.ANTHROPIC_API_KEY"]);
    sim.file(ENV, "VOICE=v\n", 0o600);
    let report = options(sim.host()).audit(AuditOptions::default());
    // The OAuth login still takes precedence over the reference.
    assert_eq!(
        report.status(),
        AuditStatus::Findings,
        "{}",
        report.to_json()
    );
    assert_eq!(report.to_json()["summary"]["plaintextCount"], 0);
    assert_eq!(report.to_json()["summary"]["shadowedRefCount"], 1);
    assert_eq!(report.to_json()["summary"]["legacyResidueCount"], 1);
}

#[test]
fn edits_leave_everything_else_as_it_was() {
    let sim = world();
    sim.mode(CONFIG, 0o644);
    sim.mode(ENV, 0o400);
    apply(&sim, &plan()).unwrap();
    let expected = r#"// Everything here is plain text.
{
  $include: "./models.json5", // the models
  gateway: { auth: { mode: "token", token: { source: "file", provider: "vault", id: "/gateway" } } },
  channels: {
    telegram: {
      botToken: { source: "file", provider: "vault", id: "/telegram" }, // from BotFather
      accounts: { "a.b": { botToken: { source: "file", provider: "vault", id: "/account" } } },
    },
    googlechat: { serviceAccountRef: { source: "file", provider: "vault", id: "/google" } },
  },
  /* voice */
  talk: { apiKey: { source: "file", provider: "vault", id: "/talk" }, voice: "${VOICE}" },
  secrets: { providers: { vault: { source: "file", path: "/s/keys.json" } } },
}
"#;
    assert_eq!(sim.text(CONFIG).unwrap(), expected);
    let expected = r#"{
  "models": {
    "providers": {
      // main provider
      "openai": { "apiKey": { "source": "file", "provider": "vault", "id": "/openai" }, "baseUrl": "https://x" }
    }
  }
}
"#;
    assert_eq!(sim.text(MODELS).unwrap(), expected);
    assert_eq!(
        sim.text(ENV).unwrap(),
        "# keys\nANTHROPIC_API_KEY=plain-openai-0006\nVOICE=v\n"
    );
    let store: Value = serde_json::from_str(&sim.text(STORE).unwrap()).unwrap();
    let profiles = json!({
        "openai:default": {"type": "api_key", "provider": "OpenAI"},
        "xai:work": {"type": "token", "provider": "xai", "email": "e",
                     "tokenRef": {"source": "file", "provider": "vault", "id": "/xai"}},
        "openai:login": {"type": "oauth", "provider": "openai", "access": "a", "refresh": "r", "expires": 1},
    });
    assert_eq!(store["profiles"], profiles);
    assert!(sim.text(STORE).unwrap().ends_with("}\n"));
    let old: Value = serde_json::from_str(&sim.text(OLD_STORE).unwrap()).unwrap();
    assert_eq!(old, json!({"x": {"type": "oauth"}}));
    for (path, mode) in [(CONFIG, 0o600), (ENV, 0o400), (STORE, 0o600)] {
        assert_eq!(sim.meta(path).unwrap().mode, mode, "{path}");
    }
    // Applying the same plan again changes nothing.
    let before = disk(&sim);
    assert_eq!(apply(&sim, &plan()).unwrap()["changed"], false);
    assert_eq!(disk(&sim), before);
}

/// The simulated files, until a number of writes is reached: then the process is dead.
struct Dying {
    base: Arc<dyn Files>,
    left: AtomicUsize,
    /// Only one write fails; the process lives on.
    once: bool,
}

impl Dying {
    fn host(sim: &Sim, left: usize, once: bool) -> Host {
        let mut host = sim.host();
        host.files = Arc::new(Self {
            base: Arc::clone(&host.files),
            left: AtomicUsize::new(left),
            once,
        });
        host
    }

    fn step(&self) -> io::Result<()> {
        let left = self.left.load(Ordering::SeqCst);
        match left {
            0 => {
                if self.once {
                    self.left.store(usize::MAX, Ordering::SeqCst);
                }
                Err(io::ErrorKind::StorageFull.into())
            }
            usize::MAX => Ok(()),
            _ => {
                self.left.store(left - 1, Ordering::SeqCst);
                Ok(())
            }
        }
    }
}

impl Files for Dying {
    fn lstat(&self, path: &Path) -> io::Result<FileMeta> {
        self.base.lstat(path)
    }
    fn stat(&self, path: &Path) -> io::Result<FileMeta> {
        self.base.stat(path)
    }
    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.base.canonical(path)
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.base.read_link(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        self.base.open(path)
    }
    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        self.base.names(folder)
    }
    fn write_atomic_if(
        &self,
        path: &Path,
        content: &[u8],
        mode: u32,
        ready: &mut dyn FnMut() -> bool,
    ) -> io::Result<Option<FileMeta>> {
        self.step()?;
        self.base.write_atomic_if(path, content, mode, ready)
    }
    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.step()?;
        self.base.create_dir_all(path, mode)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        self.base.remove_file(path)
    }
}

#[test]
fn a_death_at_any_step_leaves_whole_files_and_every_credential() {
    let before = disk(&world());
    let done = world();
    apply(&done, &plan()).unwrap();
    let after = disk(&done);
    let wanted = values(&world());
    let steps = before
        .iter()
        .filter(|(path, text)| after[*path] != **text)
        .count();
    assert_eq!(steps, 5);
    for step in 0..steps {
        let sim = world();
        let host = Dying::host(&sim, step, false);
        let error = options(host)
            .apply(&plan(), ApplyOptions::default())
            .unwrap_err();
        assert_eq!(error.code().as_str(), "plan_write_failed");
        let now = disk(&sim);
        assert_eq!(
            now.keys().collect::<Vec<_>>(),
            before.keys().collect::<Vec<_>>()
        );
        let mut changed = 0;
        for (path, text) in &now {
            assert!(
                *text == before[path] || *text == after[path],
                "{path:?} is half done"
            );
            changed += usize::from(*text != before[path]);
        }
        assert_eq!(changed, step, "step {step}");
        // The configuration and its include belong together and are both valid at every step.
        let values = values(&sim);
        for (path, value) in &wanted {
            assert_eq!(values.get(path), Some(value), "step {step}: {path}");
        }
    }
}

#[test]
fn a_write_that_fails_puts_everything_back() {
    let before = disk(&world());
    for step in 0..5 {
        let sim = world();
        let host = Dying::host(&sim, step, true);
        let error = options(host)
            .apply(&plan(), ApplyOptions::default())
            .unwrap_err();
        assert_eq!(error.code().as_str(), "plan_write_failed");
        assert_eq!(error.details()["notRestored"], json!([]));
        assert_eq!(disk(&sim), before, "step {step}");
    }
}

#[test]
fn nothing_is_written_when_the_result_would_not_work() {
    let sim = world();
    let before = disk(&sim);
    // A reference that does not resolve.
    sim.file("/s/keys.json", "{}", 0o600);
    let error = apply(&sim, &plan()).unwrap_err();
    assert_eq!(error.code().as_str(), "plan_preflight_failed");
    assert!(error.details()["failures"].as_array().unwrap().len() > 5);
    sim.file(
        "/s/keys.json",
        before[Path::new("/s/keys.json")].clone().unwrap(),
        0o600,
    );
    // Somebody else writes between reading and writing.
    let registry = Registry::new();
    let mut builder = PlanBuilder::new(&registry);
    builder.provider("x", json!({"source": "exec", "command": "/s/x"}));
    builder.set("talk.apiKey", "exec:x:k").unwrap();
    let plan = builder.build(0).unwrap();
    let other = sim.clone();
    sim.program("/s/x", move |_| {
        other.file(MODELS, MODELS_TEXT.replace("main", "other"), 0o600);
        other.file(CONFIG, CONFIG_TEXT.replace("voice", "noise"), 0o600);
        sim::exited(0, "value", "")
    });
    let mut consent = ApplyOptions::default();
    consent.allow_exec = true;
    let error = options(sim.host()).apply(&plan, consent).unwrap_err();
    assert_eq!(error.code().as_str(), "plan_conflict");
    assert_eq!(
        sim.text(CONFIG).unwrap(),
        CONFIG_TEXT.replace("voice", "noise")
    );
    // Without consent no program runs; a dry run only checks its path.
    let runs = sim.runs().len();
    let refused = options(sim.host()).apply(&plan, ApplyOptions::default());
    assert_eq!(
        refused.unwrap_err().code().as_str(),
        "plan_exec_consent_required"
    );
    let mut dry = ApplyOptions::default();
    dry.dry_run = true;
    let report = options(sim.host()).apply(&plan, dry).unwrap().to_json();
    assert_eq!(report["skippedExecRefs"], 1);
    assert_eq!(report["checks"]["resolvabilityComplete"], false);
    assert_eq!(sim.runs().len(), runs);
}

fn one(path: &str, label: &str) -> Plan {
    let registry = Registry::new();
    let mut builder = PlanBuilder::new(&registry);
    builder.set(path, label).unwrap();
    builder.build(0).unwrap()
}

#[test]
fn values_that_several_files_make_are_not_edited() {
    let sim = Sim::new();
    sim.env("HOME", "/home/u").env("K", "v");
    let path = "models.providers.p.apiKey";
    sim.file(
        CONFIG,
        "{ models: { $include: './m.json5', providers: { p: { apiKey: 'a' } } } }",
        0o600,
    );
    sim.file(
        format!("{STATE}/m.json5"),
        "{ providers: { p: { apiKey: 'b' } } }",
        0o600,
    );
    let error = apply(&sim, &one(path, "env:default:K")).unwrap_err();
    assert_eq!(error.code().as_str(), "plan_target_not_editable");
    assert_eq!(
        error.details()["files"],
        json!([CONFIG, format!("{STATE}/m.json5")])
    );
    // A repeated key.
    sim.file(
        CONFIG,
        "{ models: { providers: { p: { apiKey: 'a', apiKey: 'b' } } } }",
        0o600,
    );
    let error = apply(&sim, &one(path, "env:default:K")).unwrap_err();
    assert_eq!(error.code().as_str(), "plan_target_not_editable");
    // A new key goes where its neighbours are.
    sim.file(CONFIG, "{ models: { $include: './m.json5' } }", 0o600);
    apply(&sim, &one("models.providers.q.apiKey", "env:default:K")).unwrap();
    assert_eq!(
        sim.text(format!("{STATE}/m.json5")).unwrap(),
        "{ providers: { p: { apiKey: 'b' }, q: { apiKey: { source: \"env\", provider: \"default\", id: \"K\" } } } }"
    );
    assert!(
        options(sim.host())
            .config_text("{}")
            .apply(&one(path, "env:default:K"), ApplyOptions::default())
            .is_err()
    );
}

#[test]
fn links_stay_and_missing_files_are_made() {
    let sim = Sim::new();
    sim.env("HOME", "/home/u").env("K", "v");
    sim.file(
        "/dotfiles/openclaw.json",
        "{ talk: { apiKey: 'x' } }",
        0o600,
    );
    sim.symlink(CONFIG, "/dotfiles/openclaw.json");
    apply(&sim, &one("talk.apiKey", "env:default:K")).unwrap();
    let text = sim.text("/dotfiles/openclaw.json").unwrap();
    assert_eq!(
        text,
        "{ talk: { apiKey: { source: \"env\", provider: \"default\", id: \"K\" } } }"
    );
    assert_eq!(
        sim.meta(CONFIG).unwrap().kind,
        openclaw_auth::host::FileKind::Symlink
    );

    let sim = Sim::new();
    sim.env("HOME", "/home/u").env("K", "v");
    let registry = Registry::new();
    let mut builder = PlanBuilder::new(&registry);
    builder.set("talk.apiKey", "env:default:K").unwrap();
    builder
        .set_profile("Work", "a:b", "key", Some("a"), "env:default:K")
        .unwrap();
    apply(&sim, &builder.build(0).unwrap()).unwrap();
    let store = sim
        .text(format!("{STATE}/agents/work/agent/auth-profiles.json"))
        .unwrap();
    let store: Value = serde_json::from_str(&store).unwrap();
    assert_eq!(store["profiles"]["a:b"]["keyRef"]["id"], "K");
    assert_eq!(store["profiles"]["a:b"]["provider"], "a");
    assert_eq!(sim.meta(CONFIG).unwrap().mode, 0o600);
    assert!(
        sim.text(CONFIG)
            .unwrap()
            .starts_with("{ talk: { apiKey: { source:")
    );
}

#[test]
fn variables_that_something_reads_are_kept() {
    let run = |config: &str, program: bool| {
        let sim = Sim::new();
        sim.env("HOME", "/home/u");
        sim.file(CONFIG, config, 0o600);
        sim.file(ENV, "OPENAI_API_KEY=sk\n", 0o600);
        sim.file("/s/k", "sk", 0o600);
        if program {
            sim.file("/s/x", "", 0o700);
        }
        let registry = Registry::new();
        let mut builder = PlanBuilder::new(&registry);
        builder.provider(
            "f",
            json!({"source": "file", "path": "/s/k", "mode": "singleValue"}),
        );
        builder
            .set("models.providers.openai.apiKey", "file:f:value")
            .unwrap();
        apply(&sim, &builder.build(0).unwrap()).unwrap();
        sim.text(ENV).unwrap()
    };
    let config = |more: &str| {
        format!("{{ models: {{ providers: {{ openai: {{ apiKey: 'sk' }} }} }}, {more} }}")
    };
    assert_eq!(run(&config(""), false), "");
    for more in [
        "talk: { apiKey: '$OPENAI_API_KEY' }",
        "talk: { enabled: false, apiKey: 'Bearer ${OPENAI_API_KEY}' }",
        "mcp: { servers: { x: { env: { KEY: '${OPENAI_API_KEY}' } } } }",
        "secrets: { providers: { e: { source: 'env', allowlist: ['OPENAI_API_KEY'] } } }",
        "secrets: { providers: { x: { source: 'exec', command: '/s/x', passEnv: ['OPENAI_API_KEY'] } } }",
    ] {
        assert_eq!(run(&config(more), true), "OPENAI_API_KEY=sk\n", "{more}");
    }
}

#[test]
fn what_does_not_fit_the_installation_is_refused() {
    let sim = world();
    let before = disk(&sim);
    let registry = Registry::new();
    let refused = |change: &dyn Fn(&mut PlanBuilder<'_>)| {
        let mut builder = PlanBuilder::new(&registry);
        change(&mut builder);
        let error = apply(&sim, &builder.build(0).unwrap()).unwrap_err();
        assert_eq!(error.code().as_str(), "plan_invalid", "{error:?}");
        error.details()["reason"].as_str().unwrap().to_owned()
    };
    let missing = refused(&|plan| plan.set("talk.apiKey", "file:nobody:/x").unwrap());
    assert_eq!(missing, "provider_missing");
    let kind = refused(&|plan| {
        plan.set_profile("main", "xai:work", "key", None, "env:default:K")
            .unwrap();
    });
    assert_eq!(kind, "profile_type");
    let provider = refused(&|plan| {
        plan.set_profile("main", "new:x", "key", None, "env:default:K")
            .unwrap();
    });
    assert_eq!(provider, "profile_provider");
    assert_eq!(disk(&sim), before);
}

#[test]
fn deleted_providers_leave_no_empty_section() {
    let sim = Sim::new();
    sim.env("HOME", "/home/u");
    let text = "{\n  secrets: {\n    providers: {\n      old: { source: 'env' },\n    },\n    defaults: {},\n  },\n}\n";
    sim.file(CONFIG, text, 0o600);
    let registry = Registry::new();
    let mut builder = PlanBuilder::new(&registry);
    builder.delete_provider("old");
    apply(&sim, &builder.build(0).unwrap()).unwrap();
    assert_eq!(
        sim.text(CONFIG).unwrap(),
        "{\n  secrets: {\n    defaults: {},\n  },\n}\n"
    );
}

#[test]
fn suspicions_and_foreign_files_are_part_of_the_audit() {
    let sim = Sim::new();
    sim.env("HOME", "/home/u").env("K", "v");
    let config = json!({
        "plugins": {"entries": {"x": {"config": {"clientSecret": "CANARY", "maxTokens": "5",
                                                  "apiToken": "${K}"}}}},
        "env": {"GROQ_API_KEY": "CANARY", "vars": {"XAI_API_KEY": "${K}", "OTHER": "CANARY"}},
        "secrets": {"providers": {"f": {"source": "file", "path": "/s/k", "allowInsecurePath": true}}},
        "models": {"providers": {"fact": {"apiKey": "$K"}}},
    });
    sim.file(CONFIG, config.to_string(), 0o600);
    let agent = format!("{STATE}/agents/gone/agent");
    let models = json!({"providers": {
        "a": {"apiKey": "CANARY", "headers": {"X-Api-Key": "CANARY", "X-Title": "t"}},
        "b": {"apiKey": {"source": "env", "provider": "default", "id": "K"}},
        "c": {"apiKey": "secretref-managed"}, "d": {"apiKey": "OPENAI_API_KEY"}, "fact": {"apiKey": "K"},
    }});
    sim.file(format!("{agent}/models.json"), models.to_string(), 0o600);
    sim.file(format!("{agent}/auth-profiles.json"), "nonsense", 0o600);
    let report = options(sim.host()).audit(AuditOptions::default());
    let found: Vec<String> = report
        .findings()
        .iter()
        .map(|finding| format!("{} {}", finding.code(), finding.path()))
        .collect();
    assert_eq!(
        found,
        [
            "REF_UNRESOLVED <root>",
            "PLAINTEXT_FOUND providers.a.apiKey",
            "PLAINTEXT_FOUND providers.a.headers.X-Api-Key",
            "REF_UNRESOLVED providers.b.apiKey",
            "PLAINTEXT_SUSPECTED plugins.entries.x.config.clientSecret",
            "PLAINTEXT_FOUND env.GROQ_API_KEY",
            "PROVIDER_UNUSED secrets.providers.f",
            "NOT_PORTABLE secrets.providers.f.allowInsecurePath",
        ]
        .map(str::to_owned),
        "{}",
        report.to_json()
    );
    let shown = format!("{report:?} {}", report.to_json());
    assert!(!shown.contains("CANARY"), "{shown}");
    assert!(
        report
            .summary_line()
            .starts_with("Secrets audit: unresolved. plaintext=3")
    );
}
