//! The security report over simulated files: facts about modes, secrets and unresolved references.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::time::Duration;

use openclaw_auth::host::sim::{Sim, exited};
use openclaw_auth::report::{SecurityOptions, SecurityReport, Verdict, security};
use serde_json::Value;

const CANARY: &str = "canary-0123456789-0123456789";

fn sim(config: &str, mode: u32) -> Sim {
    let sim = Sim::new();
    sim.env("HOME", "/home/ana");
    sim.dir("/home/ana/.openclaw", 0o700);
    sim.file("/home/ana/.openclaw/openclaw.json", config, mode);
    sim
}

fn report(sim: &Sim) -> SecurityReport {
    security(&sim.host(), &SecurityOptions::default()).unwrap()
}

fn found(report: &SecurityReport) -> Vec<String> {
    let shown = |finding: &openclaw_auth::access::AuditFinding| {
        format!("{} {}", finding.check_id, finding.severity.as_str())
    };
    report.findings().iter().map(shown).collect()
}

#[test]
fn a_plain_token_in_an_open_file() {
    let config = format!(r#"{{gateway: {{auth: {{mode: "token", token: "{CANARY}"}}}}}}"#);
    let report = report(&sim(&config, 0o644));
    assert_eq!(
        found(&report),
        [
            "fs.config.perms_world_readable critical",
            "gateway.secret_in_config warn",
            "gateway.trusted_proxies_missing warn",
        ]
    );
    assert!(!report.to_json().to_string().contains("canary"));
    assert!(report.checklist().is_empty());
}

#[test]
fn the_document_has_the_members_of_openclaw() {
    let config = r#"{gateway: {auth: {mode: "none"}}}"#;
    let document = report(&sim(config, 0o600)).to_json();
    assert_eq!(document["ts"], 1_767_225_600_000_u64);
    assert_eq!(document["summary"]["critical"], 0);
    assert_eq!(document["summary"]["warn"], 3);
    let finding = &document["findings"][0];
    for member in ["checkId", "severity", "title", "message", "fixHint", "path"] {
        assert!(finding[member].is_string(), "{member}: {finding}");
    }
    assert_eq!(document["secretDiagnostics"], Value::Array(Vec::new()));
}

#[test]
fn what_does_not_resolve_is_told_and_nothing_is_run() {
    let config = r#"{
        secrets: {providers: {vault: {source: "exec", command: "/usr/bin/vault"}}},
        gateway: {auth: {mode: "token", token: {source: "exec", provider: "vault", id: "t"}}},
        models: {providers: {
            openai: {baseUrl: "https://api.example/v1", apiKey: "${NOT_SET_ANYWHERE}", models: []},
        }},
    }"#;
    let sim = sim(config, 0o600);
    sim.program("/usr/bin/vault", |_| exited(0, "{}", ""));
    let report = report(&sim);
    assert!(sim.runs().is_empty(), "the audit ran a program");
    let told: Vec<String> = report
        .secret_diagnostics()
        .iter()
        .map(|told| told["code"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(told, ["secret_ref_not_found", "SECRETS_EXEC_NOT_RUN"]);
    assert_eq!(found(&report), ["gateway.trusted_proxies_missing warn"]);
}

#[test]
fn the_same_configuration_gives_the_same_document() {
    let config = r#"{gateway: {bind: "lan", auth: {mode: "trusted-proxy",
        trustedProxy: {userHeader: "x-forwarded-user"}}, trustedProxies: ["10.0.0.0/8", "8.8.8.8"]}}"#;
    let sim = sim(config, 0o600);
    let first = report(&sim).to_json();
    assert_eq!(first, report(&sim).to_json());
    sim.advance(Duration::from_millis(1));
    assert_ne!(first["ts"], report(&sim).to_json()["ts"]);
}

#[test]
fn the_checklist_holds_only_what_settings_show() {
    let config = r#"{gateway: {
        trustedProxies: ["127.0.0.1"],
        auth: {mode: "trusted-proxy", trustedProxy: {
            userHeader: "x-claw-user", requiredHeaders: ["x-forwarded-proto"],
            allowUsers: ["nick@example.com"], allowLoopback: true,
            proxySecret: {value: "${PROXY_SECRET}"}}},
    }}"#;
    let sim = sim(config, 0o600);
    sim.env("PROXY_SECRET", CANARY);
    let lines = report(&sim).checklist();
    let verdicts: Vec<Verdict> = lines.iter().map(|(_, verdict, _)| *verdict).collect();
    assert_eq!(
        verdicts,
        [
            Verdict::Unknown,
            Verdict::Holds,
            Verdict::Unknown,
            Verdict::Holds,
            Verdict::Holds
        ]
    );
    let open = config.replace("\"nick@example.com\"", "");
    sim.file("/home/ana/.openclaw/openclaw.json", open, 0o600);
    let lines = report(&sim).checklist();
    let (_, verdict, ground) = lines.last().unwrap();
    assert_eq!(*verdict, Verdict::Fails);
    assert_eq!(ground, "gateway.trusted_proxy_no_allowlist");
}

#[test]
fn a_configuration_that_cannot_be_read_is_an_error() {
    let sim = sim("{gateway: ", 0o600);
    let error = security(&sim.host(), &SecurityOptions::default()).unwrap_err();
    assert_eq!(error.code().as_str(), "config_parse_error");
}
