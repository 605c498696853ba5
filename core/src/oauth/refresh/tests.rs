//! Refreshes on a simulated machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::config::{EnvView, Locations};
use crate::host::sim::{START_MS, Sim, json_answer};
use crate::host::{HttpAnswer, HttpFailure, HttpFailureKind};
use crate::oauth::claims::{short, token_of};
use crate::profiles::{FileStore, StoreOptions};

const ID: &str = "p:1";
const HOUR: u64 = 3_600_000;

/// A machine with agents, a provider `p`, and one refresher, as one process has it.
struct World {
    sim: Sim,
    host: Host,
    tree: Value,
    refresher: Refresher,
}

impl World {
    fn new() -> Self {
        Self::with(json!({}))
    }

    fn with(oauth: Value) -> Self {
        let sim = Sim::new();
        sim.env("HOME", "/home/u").dir("/s", 0o700);
        let mut tree = json!({"oauth": {"providers": {"p": {
            "tokenUrl": "https://idp.test/token",
            "clientId": "c",
            "login": false,
            "accountId": [{"token": "access", "path": ["account"]}],
            "externalCli": ["codex-cli"],
        }}}});
        if let (Some(slot), Value::Object(more)) = (tree["oauth"].as_object_mut(), oauth) {
            slot.extend(more);
        }
        let host = sim.host();
        let refresher = Refresher::new(host.clone());
        Self {
            sim,
            host,
            tree,
            refresher,
        }
    }

    /// The same machine after the process was replaced by another one.
    fn restarted(self) -> Self {
        let refresher = Refresher::new(self.host.clone());
        Self { refresher, ..self }
    }

    fn scene(&self) -> Scene {
        let env = EnvView::new(self.host.env.vars().clone());
        let state = Some(Path::new("/s"));
        let places = Locations::find(&self.host, &env, None, state, &mut Vec::new());
        Scene::read(&self.tree, &env, &places, &|_| None)
    }

    fn path(agent: &str) -> PathBuf {
        PathBuf::from(format!("/s/agents/{agent}/agent/auth-profiles.json"))
    }

    fn put(&self, agent: &str, credential: &Value) -> &Self {
        let text = json!({"version": 1, "profiles": {ID: credential}}).to_string();
        self.sim.file(Self::path(agent), text, 0o600);
        self
    }

    fn stored(&self, agent: &str) -> Value {
        let text = self.sim.text(Self::path(agent)).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["profiles"][ID].clone()
    }

    fn want(&self, agent: &str, want: Want) -> Result<Fresh> {
        let folder = Self::path(agent).parent().unwrap().to_owned();
        let owner = FileStore::new(self.host.clone(), agent, folder, StoreOptions::default());
        let job = Job {
            owner: &owner,
            profile_id: ID,
            want,
            wait: Duration::from_secs(20),
        };
        self.refresher.ensure(&self.scene(), &job)
    }

    fn valid(&self) -> Result<Fresh> {
        self.want("main", Want::Valid(0))
    }

    fn requests(&self) -> usize {
        self.sim.requests().len()
    }

    fn leftovers(&self) -> Vec<String> {
        let paths = self.sim.paths().into_iter();
        let names = paths.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
        names
            .filter(|name| name.starts_with(".auth-") || name.ends_with(".lock"))
            .collect()
    }
}

fn expired() -> Value {
    json!({"type": "oauth", "provider": "p", "access": "A1", "refresh": "R1",
        "expires": START_MS - 1, "accountId": "acct-1", "extra": true})
}

fn soon() -> Value {
    let mut value = expired();
    value["expires"] = json!(START_MS + 60_000);
    value
}

fn answer(access: &str, refresh: &str) -> String {
    json!({"access_token": access, "refresh_token": refresh, "expires_in": 3600}).to_string()
}

fn dead(kind: HttpFailureKind) -> std::result::Result<HttpAnswer, HttpFailure> {
    Err(HttpFailure::new(kind, "x"))
}

fn refresh_digest_of(token: &str) -> String {
    crate::oauth::claims::refresh_digest("p", &SecretText::new(token.to_owned()))
}

#[test]
fn an_expired_token_is_refreshed_and_saved() {
    let world = World::new();
    world
        .put("main", &expired())
        .sim
        .answer_json(200, &answer("A2", "R2"));
    let fresh = world.valid().unwrap();
    assert_eq!(
        (fresh.access.expose(), fresh.source),
        ("A2", Source::Refreshed)
    );
    assert_eq!(fresh.account_id.as_deref(), Some("acct-1"));
    let digest = refresh_digest_of("R1");
    assert_eq!(
        world.stored("main"),
        json!({"type": "oauth", "provider": "p", "access": "A2", "refresh": "R2",
            "expires": START_MS + HOUR, "accountId": "acct-1", "extra": true,
            "oa": {"issuedAt": START_MS, "tokenHost": "idp.test", "lineage": [short(&digest)]}})
    );
    assert_eq!(world.leftovers(), [""; 0]);
    let sent = world.sim.requests();
    let body = String::from_utf8(sent[0].body.to_vec()).unwrap();
    assert_eq!(
        body,
        "grant_type=refresh_token&refresh_token=R1&client_id=c"
    );
    // A fresh token needs neither lock nor network.
    assert_eq!(world.valid().unwrap().source, Source::Stored);
    assert_eq!(world.requests(), 1);
}

#[test]
fn json_and_parameters_as_the_description_says() {
    let mut world = World::new();
    let more = json!({"tokenFormat": "json", "refreshParams": {"a": "b"}, "sendScopeOnRefresh": true,
        "scopes": ["x", "y"], "tokenHeaders": {"X-T": "1"}});
    let slot = world.tree["oauth"]["providers"]["p"]
        .as_object_mut()
        .unwrap();
    slot.extend(more.as_object().unwrap().clone());
    world
        .put("main", &expired())
        .sim
        .answer_json(200, &answer("A2", "R2"));
    world.valid().unwrap();
    let request = &world.sim.requests()[0];
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        body,
        json!({"grant_type": "refresh_token", "refresh_token": "R1", "client_id": "c",
            "scope": "x y", "a": "b"})
    );
    let headers: Vec<(&str, &str)> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert!(headers.contains(&("content-type", "application/json")));
    assert!(headers.contains(&("X-T", "1")));
}

#[test]
fn a_token_that_ends_soon_serves_when_the_provider_is_down() {
    let world = World::new();
    world.put("main", &soon());
    let fresh = world.valid().unwrap();
    assert_eq!(
        (fresh.access.expose(), fresh.source),
        ("A1", Source::Stored)
    );
    assert_eq!(fresh.warning.unwrap().code(), Code::OauthNetwork);
    assert_eq!(world.requests(), 1, "no retries while the token works");
    // Example 69a: left alone for 30 seconds.
    world.valid().unwrap();
    assert_eq!(world.requests(), 1);
    world.sim.advance(Duration::from_secs(30));
    world.sim.answer_json(200, &answer("A2", "R2"));
    assert_eq!(world.valid().unwrap().access.expose(), "A2");
}

#[test]
fn failures_are_tried_again_as_their_kind_allows() {
    for (kind, tries, code) in [
        (HttpFailureKind::NotSent, 3, Code::OauthNetwork),
        (HttpFailureKind::Tls, 1, Code::OauthTls),
        (HttpFailureKind::Unanswered, 2, Code::OauthTimeout),
    ] {
        let world = World::new();
        world.put("main", &expired());
        for _ in 0..5 {
            world.sim.answer(move |_| dead(kind));
        }
        let error = world.valid().unwrap_err();
        assert_eq!((error.code(), world.requests()), (code, tries), "{kind:?}");
        assert!(
            error
                .message()
                .starts_with("OAuth token refresh failed for p: "),
            "{error}"
        );
    }
    let world = World::new();
    world.put("main", &expired());
    world
        .sim
        .answer_json(503, "")
        .answer_json(503, "")
        .answer_json(200, &answer("A2", "R2"));
    assert_eq!(world.valid().unwrap().access.expose(), "A2", "example 54");

    let limited = |seconds: &'static str| {
        move |_: &crate::host::HttpRequest| {
            let mut answer = json_answer(429, "{}");
            answer
                .headers
                .push(("retry-after".to_owned(), seconds.to_owned()));
            Ok(answer)
        }
    };
    let world = World::new();
    world.put("main", &expired());
    world
        .sim
        .answer(limited("2"))
        .answer_json(200, &answer("A2", "R2"));
    let before = world.host.clock.monotonic();
    assert_eq!(world.valid().unwrap().access.expose(), "A2", "example 55");
    assert!(world.host.clock.monotonic() - before >= Duration::from_millis(1_600));

    let world = World::new();
    world.put("main", &expired());
    world.sim.answer(limited("60"));
    let error = world.valid().unwrap_err();
    assert_eq!(error.code(), Code::OauthProviderUnavailable, "example 56");
    assert_eq!(
        (error.retry_after_ms(), world.requests()),
        (Some(60_000), 1)
    );
}

#[test]
fn a_refused_token_is_reported_once_and_not_sent_again() {
    for (status, body, reason, dead) in [
        (
            400,
            r#"{"error":"invalid_grant","error_description":"grant request is invalid"}"#,
            "invalid_grant",
            true,
        ),
        (
            401,
            r#"{"error":{"message":"already used","code":"refresh_token_reused"}}"#,
            "refresh_token_reused",
            true,
        ),
        (
            400,
            r#"{"error":"invalid_client"}"#,
            "client_rejected",
            false,
        ),
    ] {
        let world = World::new();
        world
            .put("main", &expired())
            .sim
            .answer_json(status, body)
            .answer_json(status, body);
        let error = world.valid().unwrap_err();
        assert_eq!(error.code(), Code::OauthReauthRequired);
        assert_eq!(error.details()["reason"], reason);
        assert_eq!(
            error.hint(),
            Some("openclaw-auth models auth login --provider p")
        );
        world.valid().unwrap_err();
        assert_eq!(world.requests(), if dead { 1 } else { 2 }, "{reason}");
        assert_eq!(world.leftovers(), [""; 0]);
        assert_eq!(world.stored("main"), expired());
    }
    // A new sign-in is not held back by the old token.
    let world = World::new();
    world
        .put("main", &expired())
        .sim
        .answer_json(400, r#"{"error":"invalid_grant"}"#);
    world.valid().unwrap_err();
    let mut again = expired();
    again["refresh"] = json!("R9");
    world
        .put("main", &again)
        .sim
        .answer_json(200, &answer("A10", "R10"));
    assert_eq!(world.valid().unwrap().access.expose(), "A10");
}

#[test]
fn what_others_store_meanwhile_is_adopted() {
    // During the request somebody signs in again, and the provider refuses the old token.
    let world = World::new();
    world.put("main", &expired());
    let sim = world.sim.clone();
    world.sim.answer(move |_| {
        let other = json!({"type": "oauth", "provider": "p", "access": "B1", "refresh": "S1",
            "expires": START_MS + HOUR, "accountId": "acct-1"});
        let text = json!({"version": 1, "profiles": {ID: other}}).to_string();
        sim.file(World::path("main"), text, 0o600);
        Ok(json_answer(400, r#"{"error":"invalid_grant"}"#))
    });
    let fresh = world.valid().unwrap();
    assert_eq!(
        (fresh.access.expose(), fresh.source),
        ("B1", Source::Adopted)
    );

    // The same, but the provider answers: the new sign-in stays.
    let world = World::new();
    world.put("main", &expired());
    let sim = world.sim.clone();
    world.sim.answer(move |_| {
        let other = json!({"type": "oauth", "provider": "p", "access": "B1", "refresh": "S1",
            "expires": START_MS + HOUR});
        let text = json!({"version": 1, "profiles": {ID: other}}).to_string();
        sim.file(World::path("main"), text, 0o600);
        Ok(json_answer(200, &answer("A2", "R2")))
    });
    assert_eq!(world.valid().unwrap().access.expose(), "B1");
    assert_eq!(world.stored("main")["refresh"], "S1");
}

#[test]
fn t11_a_copy_in_another_agent_serves_without_being_written() {
    let world = World::new();
    world.put("main", &expired()).put("work", &expired());
    world.sim.answer_json(200, &answer("A2", "R2"));
    assert_eq!(world.valid().unwrap().access.expose(), "A2");
    let before = world.sim.text(World::path("work"));
    for _ in 0..2 {
        let fresh = world.want("work", Want::Valid(0)).unwrap();
        assert_eq!((fresh.access.expose(), fresh.source), ("A2", Source::Peer));
    }
    assert_eq!(world.sim.text(World::path("work")), before);
    assert_eq!(world.requests(), 1);
    // Two refreshes later the lineage still tells.
    world.sim.advance(Duration::from_millis(2 * HOUR));
    world.sim.answer_json(200, &answer("A3", "R3"));
    assert_eq!(world.valid().unwrap().access.expose(), "A3");
    assert_eq!(
        world.want("work", Want::Valid(0)).unwrap().access.expose(),
        "A3"
    );
    assert_eq!(world.requests(), 2);
}

#[test]
fn t12_other_logins_are_left_alone() {
    let world = World::new();
    let mut other = expired();
    (other["refresh"], other["accountId"]) = (json!("Q1"), json!("acct-2"));
    let mut same = expired();
    same["refresh"] = json!("P1");
    world
        .put("main", &expired())
        .put("work", &other)
        .put("home", &same);
    world
        .sim
        .answer_json(200, &answer("A2", "R2"))
        .answer_json(200, &answer("B2", "Q2"));
    world.sim.answer_json(200, &answer("C2", "P2"));
    assert_eq!(world.valid().unwrap().access.expose(), "A2");
    assert_eq!(
        world.want("work", Want::Valid(0)).unwrap().access.expose(),
        "B2"
    );
    assert_eq!(
        world.want("home", Want::Valid(0)).unwrap().access.expose(),
        "C2"
    );
    assert_eq!(world.stored("work")["accountId"], "acct-2");
    assert_eq!(world.requests(), 3);
}

#[test]
fn t15_a_store_that_cannot_be_written_costs_no_token() {
    let world = World::new();
    world.put("main", &expired());
    let folder = World::path("main").parent().unwrap().to_owned();
    world.sim.mode(&folder, 0o500);
    let error = world.valid().unwrap_err();
    assert_eq!(error.code(), Code::RefreshUnpersistable, "{error}");
    assert!(
        error.message().ends_with("no refresh was attempted"),
        "{error}"
    );
    assert_eq!(world.requests(), 0);

    // The space for the answer is taken first.
    let world = World::new();
    world.put("main", &expired());
    let store = World::path("main");
    let intent = Journal::new(&world.host, &store, ID)
        .intent_path()
        .to_owned();
    world.sim.fail(&intent, std::io::ErrorKind::StorageFull);
    assert_eq!(
        world.valid().unwrap_err().code(),
        Code::RefreshUnpersistable
    );
    assert_eq!(world.requests(), 0);
}

#[test]
fn t16_a_failed_write_is_rescued_and_merged_later() {
    let world = World::new();
    world.put("main", &expired());
    let (sim, store) = (world.sim.clone(), World::path("main"));
    world.sim.answer(move |_| {
        sim.fail(&store, std::io::ErrorKind::StorageFull);
        Ok(json_answer(200, &answer("A2", "R2")))
    });
    let fresh = world.valid().unwrap();
    assert_eq!(fresh.access.expose(), "A2");
    let warning = fresh.warning.unwrap();
    assert_eq!(warning.code(), Code::OauthStoreWriteFailed);
    world.sim.heal(World::path("main"));
    // This process goes on with what it knows, and writes it when it can.
    assert_eq!(world.valid().unwrap().access.expose(), "A2");
    world.sim.advance(Duration::from_secs(5));
    assert_eq!(world.valid().unwrap().access.expose(), "A2");
    assert_eq!(world.stored("main")["refresh"], "R2");
    assert_eq!(world.leftovers(), [""; 0]);
    assert_eq!(world.requests(), 1);
}

#[test]
fn t16_another_process_merges_the_rescue_file() {
    let world = World::new();
    world.put("main", &expired());
    let (sim, store) = (world.sim.clone(), World::path("main"));
    world.sim.answer(move |_| {
        sim.fail(&store, std::io::ErrorKind::StorageFull);
        Ok(json_answer(200, &answer("A2", "R2")))
    });
    world.valid().unwrap();
    world.sim.heal(World::path("main"));
    let world = world.restarted();
    let fresh = world.valid().unwrap();
    assert_eq!(
        (fresh.access.expose(), fresh.source),
        ("A2", Source::Adopted)
    );
    assert_eq!(world.stored("main")["refresh"], "R2");
    assert_eq!((world.requests(), world.leftovers().len()), (1, 0));
}

#[test]
fn example_41_tokens_of_another_account_do_not_get_in() {
    let world = World::new();
    world.put("main", &expired());
    world
        .sim
        .answer_json(200, &answer(&token_of(r#"{"account":"acct-999"}"#), "R2"));
    let error = world.valid().unwrap_err();
    assert_eq!(error.code(), Code::OauthAccountMismatch);
    assert_eq!(world.stored("main"), expired());
    let rescue = error.details()["rescueFile"].as_str().unwrap().to_owned();
    assert!(world.sim.text(&rescue).unwrap().contains("acct-999"));
    // Nor later, out of the rescue file.
    world.sim.answer_json(400, r#"{"error":"invalid_grant"}"#);
    world.valid().unwrap_err();
    assert_eq!(world.stored("main"), expired());
    assert!(
        world.sim.text(&rescue).is_some(),
        "kept for a person to look at"
    );

    // Example 40: a token that says nothing contradicts nothing.
    let world = World::new();
    world
        .put("main", &expired())
        .sim
        .answer_json(200, &answer(&token_of("{}"), "R2"));
    world.valid().unwrap();
    assert_eq!(world.stored("main")["accountId"], "acct-1");
}

#[test]
fn t14_an_interrupted_refresh_is_named() {
    let world = World::new();
    world.put("main", &expired());
    let store = World::path("main");
    let journal = Journal::new(&world.host, &store, ID);
    let digest = refresh_digest_of("R1");
    journal.begin("p", &digest, 0).unwrap();
    let text = world.sim.text(journal.intent_path()).unwrap();
    // Another process, which is gone.
    let text = text.replace("\"pid\":4242", "\"pid\":77");
    world.sim.file(journal.intent_path(), text, 0o600);
    world.sim.answer_json(400, r#"{"error":"invalid_grant"}"#);
    let error = world.valid().unwrap_err();
    assert_eq!(error.details()["reason"], "interrupted");
    assert!(
        error.message().contains(".auth-profiles.json.refresh."),
        "{error}"
    );
    assert!(world.sim.text(journal.intent_path()).is_some());
}

#[test]
fn an_answer_that_had_arrived_is_not_lost() {
    let world = World::new();
    world.put("main", &expired());
    let store = World::path("main");
    let journal = Journal::new(&world.host, &store, ID);
    let intent = journal.begin("p", &refresh_digest_of("R1"), 0).unwrap();
    intent.answered(&json_answer(200, &answer("A2", "R2")));
    let text = world.sim.text(journal.intent_path()).unwrap();
    world.sim.file(
        journal.intent_path(),
        text.replace("\"pid\":4242", "\"pid\":77"),
        0o600,
    );
    let fresh = world.valid().unwrap();
    assert_eq!(
        (fresh.access.expose(), fresh.source),
        ("A2", Source::Adopted)
    );
    assert_eq!(world.stored("main")["refresh"], "R2");
    assert_eq!(world.requests(), 0);
    assert_eq!(world.leftovers(), [""; 0]);
}

#[test]
fn t13_an_unanswered_refresh_leaves_its_trace() {
    let world = World::new();
    world.put("main", &expired());
    world.sim.answer(|_| dead(HttpFailureKind::Unanswered));
    world.sim.answer_json(400, r#"{"error":"invalid_grant"}"#);
    let error = world.valid().unwrap_err();
    assert_eq!(error.code(), Code::OauthReauthRequired);
    let intent = error.details()["intentFile"].as_str().unwrap();
    assert!(world.sim.text(intent).is_some());
    assert_eq!(world.requests(), 2);
}

#[test]
fn t17_the_refresh_of_a_living_process_is_awaited() {
    let world = World::new();
    world.put("main", &expired());
    world.sim.running(77, 5);
    let store = World::path("main");
    let journal = Journal::new(&world.host, &store, ID);
    journal.begin("p", &refresh_digest_of("R1"), 0).unwrap();
    let text = world.sim.text(journal.intent_path()).unwrap();
    let text = text
        .replace("\"pid\":4242", "\"pid\":77")
        .replace("\"starttime\":1000", "\"starttime\":5");
    world.sim.file(journal.intent_path(), text, 0o600);
    let before = world.host.clock.monotonic();
    let error = world.valid().unwrap_err();
    assert_eq!(error.code(), Code::OauthRefreshContention);
    assert_eq!(world.requests(), 0);
    assert!(world.host.clock.monotonic() - before >= Duration::from_secs(39));
}

#[test]
fn t22_a_refused_access_token_is_replaced_once() {
    let world = World::new();
    let mut valid = expired();
    valid["expires"] = json!(START_MS + HOUR);
    world
        .put("main", &valid)
        .sim
        .answer_json(200, &answer("A2", "R2"));
    let refused = || Want::Other(SecretText::new("A1".to_owned()));
    assert_eq!(
        world.want("main", refused()).unwrap().source,
        Source::Refreshed
    );
    for _ in 0..9 {
        let fresh = world.want("main", refused()).unwrap();
        assert_eq!(
            (fresh.access.expose(), fresh.source),
            ("A2", Source::Stored)
        );
    }
    assert_eq!(world.requests(), 1);
}

#[test]
fn t23_a_token_of_another_program_is_not_spent() {
    let codex = |access: &str| json!({"tokens": {"access_token": access, "refresh_token": "R1", "account_id": "acct-1"}});
    let file = "/home/u/.codex/auth.json";
    let world = World::new();
    world.put("main", &expired());
    world
        .sim
        .file(file, codex(&token_of(r#"{"exp":1}"#)).to_string(), 0o600);
    let before = (world.sim.meta(file), world.sim.text(file));
    let error = world.valid().unwrap_err();
    assert_eq!(error.code(), Code::OauthSharedWithExternalCli);
    assert!(error.hint().unwrap().contains("run Codex CLI once"));
    assert_eq!(world.requests(), 0);
    // A newer access token of that program is used for this call, and not stored.
    let token = token_of(&format!("{{\"exp\":{}}}", (START_MS + HOUR) / 1000));
    world.sim.file(file, codex(&token).to_string(), 0o600);
    let fresh = world.valid().unwrap();
    assert_eq!(fresh.source, Source::External("codex-cli".to_owned()));
    assert_eq!(world.stored("main"), expired());
    assert_ne!(before.1, world.sim.text(file));

    let world = World::with(json!({"sharedRefresh": "allow"}));
    world
        .put("main", &expired())
        .sim
        .answer_json(200, &answer("A2", "R2"));
    world.sim.file(file, codex("x").to_string(), 0o600);
    assert_eq!(world.valid().unwrap().source, Source::Refreshed);
    assert_eq!(world.sim.text(file), Some(codex("x").to_string()));
}

#[test]
fn t24_a_linked_profile_reads_the_other_program() {
    let world = World::new();
    let link = json!({"type": "oauth", "provider": "openai-codex", "accountId": "acct-1",
        "oa": {"external": {"cli": "codex-cli"}}});
    world.put("main", &link);
    let file = "/home/u/.codex/auth.json";
    let login = |account: &str, end: u64| {
        let token = token_of(&format!("{{\"exp\":{}}}", end / 1000));
        json!({"tokens": {"access_token": token, "refresh_token": "X", "account_id": account}})
            .to_string()
    };
    assert_eq!(
        world.valid().unwrap_err().code(),
        Code::OauthExternalCliMissing
    );
    world
        .sim
        .file(file, login("acct-1", START_MS + HOUR), 0o600);
    let fresh = world.valid().unwrap();
    assert_eq!(fresh.source, Source::External("codex-cli".to_owned()));
    assert_eq!(fresh.account_id.as_deref(), Some("acct-1"));
    world
        .sim
        .file(file, login("acct-2", START_MS + HOUR), 0o600);
    assert_eq!(
        world.valid().unwrap_err().code(),
        Code::OauthExternalCliInvalid
    );
    world
        .sim
        .file(file, login("acct-1", START_MS - HOUR), 0o600);
    assert_eq!(
        world.valid().unwrap_err().code(),
        Code::OauthExternalCliExpired
    );
    assert_eq!(world.requests(), 0);
}

#[test]
fn tokens_go_only_where_they_came_from() {
    let world = World::new();
    let mut pinned = expired();
    pinned["oa"] = json!({"tokenHost": "other.test"});
    world.put("main", &pinned);
    let error = world.valid().unwrap_err();
    assert_eq!(error.code(), Code::OauthEndpointChanged);
    assert_eq!(world.requests(), 0);
    world
        .sim
        .env("OPENCLAW_AUTH_OAUTH_ALLOW_ENDPOINT_CHANGE", "1");
    let host = world.sim.host();
    let world = World {
        refresher: Refresher::new(host.clone()),
        host,
        ..world
    };
    world.sim.answer_json(200, &answer("A2", "R2"));
    world.valid().unwrap();
    assert_eq!(world.stored("main")["oa"]["tokenHost"], "idp.test");
}

#[test]
fn what_cannot_be_refreshed_says_why() {
    let world = World::new();
    let mut value = expired();
    value.as_object_mut().unwrap().remove("refresh");
    world.put("main", &value);
    assert_eq!(world.valid().unwrap_err().code(), Code::OauthRefreshMissing);
    value["provider"] = json!("unknown");
    value["refresh"] = json!("R");
    world.put("main", &value);
    assert_eq!(
        world.valid().unwrap_err().code(),
        Code::OauthUnknownProvider
    );
    world.put(
        "main",
        &json!({"type": "token", "provider": "p", "token": "t"}),
    );
    assert_eq!(world.valid().unwrap_err().code(), Code::ProfileNotFound);
    // Example 65: no end is known and there is no refresh token.
    world.put(
        "main",
        &json!({"type": "oauth", "provider": "p", "access": "A"}),
    );
    assert_eq!(world.valid().unwrap().access.expose(), "A");
}

#[test]
fn ls_2_a_busy_lock_names_its_holder_and_spares_a_working_token() {
    let world = World::new();
    world.put("main", &expired());
    world.sim.running(77, 5);
    let lock = "/s/agents/main/agent/auth-profiles.json.lock";
    world.sim.file(
        lock,
        "{\"pid\": 77, \"createdAt\": \"2026-01-01T00:00:00.000Z\"}",
        0o644,
    );
    // A living OpenClaw that never lets go is robbed after 30 seconds, as by its own kind.
    world.sim.answer_json(200, &answer("A2", "R2"));
    assert_eq!(world.valid().unwrap().access.expose(), "A2");

    let world = World::new();
    world.put("main", &soon());
    world.sim.running(77, 5);
    world.sim.file(
        lock,
        "{\"pid\": 77, \"createdAt\": \"2026-01-01T00:00:00.000Z\"}",
        0o644,
    );
    let fresh = world.valid().unwrap();
    assert_eq!(fresh.access.expose(), "A1");
    let warning = fresh.warning.unwrap();
    assert_eq!(warning.code(), Code::OauthRefreshContention);
    assert!(warning.message().contains("pid 77"), "{warning}");
}

#[test]
fn t9_threads_share_one_refresh() {
    let world = Arc::new(World::new());
    world.put("main", &expired()).sim.answer(|_| {
        std::thread::yield_now();
        Ok(json_answer(200, &answer("A2", "R2")))
    });
    let threads: Vec<_> = (0..32)
        .map(|_| {
            let world = Arc::clone(&world);
            std::thread::spawn(move || world.valid().unwrap().access.expose().to_owned())
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), "A2");
    }
    assert_eq!(world.requests(), 1);
}

#[test]
fn what_happens_is_noticed_without_tokens() {
    let world = World::new();
    world.put("main", &expired());
    world.sim.answer_json(200, &answer("A2", "R2"));
    world.valid().unwrap();
    let mut told = world.refresher.take_notices();
    world.put("main", &expired());
    world.sim.answer_json(400, r#"{"error":"invalid_grant"}"#);
    world.want("main", Want::Anyway).unwrap_err();
    told.append(&mut world.refresher.take_notices());
    let codes: Vec<&str> = told.iter().map(|notice| notice.code.as_str()).collect();
    assert_eq!(
        codes,
        [
            "OAUTH_REFRESH_STARTED",
            "OAUTH_REFRESHED",
            "OAUTH_REFRESH_STARTED",
            "OAUTH_REFRESH_FAILED"
        ]
    );
    let details = &told[3].details;
    assert_eq!(
        (
            &details["provider"],
            &details["profileId"],
            &details["reason"]
        ),
        (&json!("p"), &json!(ID), &json!("invalid_grant"))
    );
    let shown = format!("{told:?}");
    for token in ["A1", "A2", "R1", "R2"] {
        assert!(!shown.contains(token), "{shown}");
    }
}

#[test]
fn a_wrong_clock_is_named_when_a_good_token_is_refused() {
    for (date, expected) in [("Mon, 01 Jan 2001 00:00:00 GMT", true), ("", false)] {
        let world = World::new();
        world.put("main", &soon());
        let mut refused = json_answer(400, r#"{"error":"invalid_grant"}"#);
        if !date.is_empty() {
            refused.headers.push(("date".to_owned(), date.to_owned()));
        }
        world.sim.answer(move |_| Ok(refused.clone()));
        let other = Want::Other(SecretText::new("A1".to_owned()));
        let error = world.want("main", other).unwrap_err();
        assert_eq!(error.code(), Code::OauthReauthRequired);
        assert_eq!(error.details().contains_key("clockSkewMs"), expected);
        let hint = error.hint().unwrap_or_default();
        assert_eq!(hint.contains("clock"), expected, "{hint}");
    }
}
