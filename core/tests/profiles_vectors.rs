//! The worked examples in `tests/vectors/profiles.json`, on a simulated machine.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests stop when something is not as it should be"
)]

use std::collections::HashMap;
use std::time::Duration;

use openclaw_auth::host::sim::Sim;
use openclaw_auth::{
    Classification, Clear, Directive, Engine, Error, Lease, LeaseRequest, Options, Reason,
    SessionEntry, Signal, Transport, Verdict,
};
use serde_json::{Value, json};

const VECTORS: &str = include_str!("../../tests/vectors/profiles.json");
const STORE: &str = "/home/user/.openclaw/agents/main/agent/auth-profiles.json";

#[test]
fn worked_examples() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let now = vectors["now"].as_u64().unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    let mut failures = Vec::new();
    for case in cases {
        let mut world = World::new(case, now);
        for (index, step) in case["steps"].as_array().unwrap().iter().enumerate() {
            if let Err(problem) = world.step(step) {
                failures.push(format!(
                    "{} step {index} {}: {problem}",
                    case["id"], step["op"]
                ));
                break;
            }
        }
    }
    assert!(cases.len() > 200);
    assert!(
        failures.is_empty(),
        "{} of {}\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

struct World {
    sim: Sim,
    engine: Engine,
    leases: HashMap<String, Lease>,
}

impl World {
    fn new(case: &Value, now: u64) -> Self {
        let sim = Sim::new();
        sim.set_now_ms(now)
            .env("HOME", "/home/user")
            .dir("/home/user/.openclaw", 0o700);
        for (name, value) in case["env"].as_object().into_iter().flatten() {
            sim.env(name, value.as_str().unwrap());
        }
        if let Some(store) = case.get("store") {
            sim.file(STORE, serde_json::to_string_pretty(store).unwrap(), 0o600);
        }
        let config = case.get("config").cloned().unwrap_or(json!({}));
        let options = Options::new().with_host(sim.host()).config_value(config);
        let engine =
            Engine::open(options).unwrap_or_else(|error| panic!("{}: {error}", case["id"]));
        // A store that another program writes while the engine is open: references in it that
        // nobody has resolved do not keep the engine from starting.
        if let Some(store) = case.get("storeLater") {
            sim.file(STORE, serde_json::to_string_pretty(store).unwrap(), 0o600);
        }
        Self {
            sim,
            engine,
            leases: HashMap::new(),
        }
    }

    fn step(&mut self, step: &Value) -> Result<(), String> {
        let text = |key: &str| step.get(key).and_then(Value::as_str);
        let expect = &step["expect"];
        match step["op"].as_str().unwrap() {
            "advance" => {
                self.sim
                    .advance(Duration::from_millis(step["ms"].as_u64().unwrap()));
                Ok(())
            }
            "flush" => check(self.engine.flush(), &true),
            "eligibility" => {
                let code = self.engine.eligibility(
                    None,
                    text("profile").unwrap(),
                    text("provider").unwrap(),
                );
                check(code.unwrap().as_str(), &expect.as_str().unwrap())
            }
            "order" => {
                let order = self.engine.profile_order(
                    None,
                    text("provider").unwrap(),
                    text("model"),
                    text("prefer"),
                );
                check(json!(order.unwrap()), expect)
            }
            "env" => {
                let found = self.engine.env_candidates(text("provider").unwrap());
                let found: Vec<String> = found
                    .iter()
                    .map(|(id, kind)| format!("{id} {}", kind.as_str()))
                    .collect();
                check(json!(found), expect)
            }
            "keys" => check(json!(self.keys(text("provider").unwrap())), expect),
            "classify" => {
                let now = self.sim.host().clock.now_ms();
                let found = signal(&step["signal"], |signal| Classification::of(signal, now));
                subset(expect, &found.to_json())
            }
            "lease" => self.lease(step),
            "fail" => self.fail(step),
            "succeed" => {
                let result = self.leases[text("on").unwrap()].succeed(&[]);
                match (result, expect.get("error")) {
                    (Ok(()), None) => Ok(()),
                    (Err(error), Some(code)) => check(json!(error.code().as_str()), code),
                    (result, wanted) => Err(format!("{result:?} instead of {wanted:?}")),
                }
            }
            "release" => {
                self.leases[text("on").unwrap()].release();
                Ok(())
            }
            "record" => {
                let store: Value = serde_json::from_str(&self.sim.text(STORE).unwrap()).unwrap();
                let record = &store["usageStats"][text("profile").unwrap()];
                subset(expect, record)
            }
            "events" => {
                let _ = self.engine.profile_order(None, "a", None, None);
                let events = self.engine.events();
                let codes: Vec<&str> = events.iter().map(|event| event.code().as_str()).collect();
                let missing = expect
                    .as_array()
                    .unwrap()
                    .iter()
                    .find(|code| !codes.contains(&code.as_str().unwrap()));
                missing.map_or(Ok(()), |code| Err(format!("no {code} in {codes:?}")))
            }
            "set_session" => {
                let entry = SessionEntry::from_json(&step["value"]);
                self.engine.set_session(text("session").unwrap(), entry);
                Ok(())
            }
            "session" => {
                let wanted = SessionEntry::from_json(expect).to_json();
                check(
                    self.engine.session(text("session").unwrap()).to_json(),
                    &wanted,
                )
            }
            "chat" => self.chat(step),
            "clear" => {
                let what = Clear::parse(text("what").unwrap()).unwrap();
                self.engine
                    .clear_cooldown(None, text("profile"), what)
                    .map_err(|error| error.to_string())
            }
            other => panic!("unknown step {other}"),
        }
    }

    /// Every key of a provider, as rotation finds them.
    fn keys(&self, provider: &str) -> Vec<String> {
        let request = LeaseRequest {
            provider: Some(provider),
            ..LeaseRequest::default()
        };
        let mut found = Vec::new();
        let mut next = self.engine.lease(&request).ok();
        while let Some(lease) = next.take() {
            found.push(lease.credential().expose().to_owned());
            let limited = Signal {
                status: Some(429),
                ..Signal::default()
            };
            if let Ok(Verdict::Retry { lease, .. }) = lease.fail(&limited) {
                next = Some(*lease);
            }
        }
        found
    }

    fn lease(&mut self, step: &Value) -> Result<(), String> {
        let text = |key: &str| step.get(key).and_then(Value::as_str);
        let models: Vec<&str> = step["models"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let request = LeaseRequest {
            provider: text("provider"),
            model: text("model"),
            models: &models,
            agent: text("agent"),
            session: text("session"),
            profile: text("profile"),
            new_session: step["new_session"] == true,
            compaction_count: step["compaction_count"].as_u64().unwrap_or(0),
            ..LeaseRequest::default()
        };
        let expect = &step["expect"];
        match (self.engine.lease(&request), expect.get("error")) {
            (Ok(lease), None) => {
                let result = expect_lease(expect, &lease);
                self.leases
                    .insert(text("as").unwrap_or("l").to_owned(), lease);
                result
            }
            (Err(error), Some(code)) => {
                check(json!(error.code().as_str()), code)?;
                expect_error(expect, &error)
            }
            (Ok(lease), Some(code)) => Err(format!("{} instead of {code}", lease.candidate_id())),
            (Err(error), None) => Err(format!("{}: {error}", error.code())),
        }
    }

    fn fail(&mut self, step: &Value) -> Result<(), String> {
        let on = step["on"].as_str().unwrap();
        let lease = &self.leases[on];
        let verdict = signal(&step["signal"], |signal| lease.fail(signal));
        let expect = &step["expect"];
        match verdict.map_err(|error| format!("{}: {error}", error.code()))? {
            Verdict::Retry { lease, .. } => {
                let result = match (expect.get("retry"), expect.get("exhausted")) {
                    (_, Some(wanted)) => {
                        Err(format!("{} instead of {wanted}", lease.candidate_id()))
                    }
                    (Some(Value::String(id)), _) => check(lease.candidate_id(), &id.as_str()),
                    _ => Ok(()),
                };
                let model = expect
                    .get("model")
                    .map_or(Ok(()), |model| check(json!(lease.model()), model));
                let switched = expect.get("switchedModel").map_or(Ok(()), |wanted| {
                    check(json!(lease.switched_model()), wanted)
                });
                self.leases.insert(on.to_owned(), *lease);
                result.and(model).and(switched)
            }
            Verdict::Exhausted(end) => {
                if let Some(wanted) = expect.get("retry") {
                    return Err(format!(
                        "{} instead of {wanted}: {}",
                        end.reason.as_str(),
                        end.message
                    ));
                }
                let found = json!({
                    "exhausted": end.reason.as_str(),
                    "retryable": end.retryable,
                    "attempts": end.attempts.iter().filter(|attempt| !attempt.skipped).count(),
                    "soonest": end.soonest_available_at,
                    "retryAfterMs": end.retry_after_ms,
                    "advice": end.advice(),
                    "lastStatus": end.last.status,
                    "lastMessage": end.last.message,
                });
                subset(expect, &found)
            }
            other => panic!("{other:?}"),
        }
    }

    fn chat(&self, step: &Value) -> Result<(), String> {
        let text = |key: &str| step.get(key).and_then(Value::as_str);
        let reply = self.engine.chat(
            text("session").unwrap(),
            None,
            text("message").unwrap(),
            text("shown"),
        );
        let expect = &step["expect"];
        match reply {
            Err(error) => {
                check(json!(error.code().as_str()), &expect["error"])?;
                check(json!(error.message()), &expect["message"])
            }
            Ok(None) => check(Value::Null, expect),
            Ok(Some(reply)) => {
                let name = match reply.directive {
                    Directive::List => "list",
                    Directive::Pick(_) => "pick",
                    Directive::Reset => "reset",
                    Directive::Select { .. } => "select",
                    Directive::Show => "show",
                    Directive::Status => "status",
                    _ => "other",
                };
                check(json!(name), &expect["directive"])?;
                if let Some(rest) = expect.get("rest") {
                    check(json!(reply.rest), rest)?;
                }
                let wanted = expect.get("session");
                wanted.map_or(Ok(()), |wanted| check(reply.session.to_json(), wanted))
            }
        }
    }
}

fn expect_lease(expect: &Value, lease: &Lease) -> Result<(), String> {
    let skipped: Vec<String> = lease
        .skipped()
        .iter()
        .map(|attempt| format!("{} {}", attempt.candidate_id, attempt.reason))
        .collect();
    let found = json!({
        "candidate": lease.candidate_id(),
        "credential": lease.credential().expose(),
        "kind": lease.kind().as_str(),
        "model": lease.model(),
        "probe": lease.is_probe(),
        "source": lease.source(),
        "warning": lease.warning(),
        "skipped": skipped,
    });
    subset(expect, &found)
}

fn expect_error(expect: &Value, error: &Error) -> Result<(), String> {
    let details = error.details();
    for (key, found) in [
        ("hint", json!(error.hint())),
        ("reason", json!(details.get("reason"))),
        ("reasonCode", json!(details.get("reasonCode"))),
        ("soonest", json!(details.get("soonestAvailableAt"))),
        ("retryAfterMs", json!(error.retry_after_ms())),
    ] {
        if let Some(wanted) = expect.get(key) {
            check(found, wanted)?;
        }
    }
    let part = expect
        .get("messageHas")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if error.message().contains(part) {
        Ok(())
    } else {
        Err(error.message().to_owned())
    }
}

fn signal<T>(value: &Value, with: impl FnOnce(&Signal<'_>) -> T) -> T {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let headers: Vec<(&str, &str)> = value["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    with(&Signal {
        status: value["status"]
            .as_u64()
            .map(|status| u16::try_from(status).unwrap()),
        code: text("code"),
        kind: text("kind"),
        message: text("message"),
        body: text("body"),
        headers: &headers,
        transport: text("transport").map(|text| Transport::parse(text).unwrap()),
        provider: text("provider"),
        model: text("model"),
        reason: text("reason").map(|text| Reason::parse(text).unwrap()),
    })
}

/// Whether everything that is expected is there; null stands for nothing.
fn subset(expect: &Value, found: &Value) -> Result<(), String> {
    match expect {
        Value::Object(map) => map.iter().try_for_each(|(key, wanted)| {
            subset(wanted, found.get(key).unwrap_or(&Value::Null))
                .map_err(|problem| format!("{key}: {problem}"))
        }),
        other => check(found.clone(), other),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "callers make the value on the spot"
)]
fn check<T: PartialEq + std::fmt::Debug>(found: T, wanted: &T) -> Result<(), String> {
    if found == *wanted {
        Ok(())
    } else {
        Err(format!("{found:?} instead of {wanted:?}"))
    }
}
