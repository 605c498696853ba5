//! Signing in and refreshing against a real OpenID provider that rotates refresh tokens and
//! revokes the login when one is used twice.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, and use files, programs and clocks as users do"
)]

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use openclaw_auth::{Code, Engine, LeaseRequest, LoginOptions, SecretText};
use openclaw_auth_oauth_tests::{
    Home, Idp, PROVIDER, browse, digest, noted, redirect_of, result_of, wait,
};
use serde_json::{Value, json};

const WORKER: &str = env!("CARGO_BIN_EXE_oauth-worker");
const ID: &str = "openai-codex:alice@example.com";

/// A provider, a state folder and an engine that has signed in.
fn signed_in() -> (Idp, Home, Engine) {
    let idp = Idp::start();
    let home = Home::new(&idp);
    let engine = home.engine();
    let done = home.sign_in(&engine, LoginOptions::default());
    assert_eq!(done.profile_id, ID);
    (idp, home, engine)
}

fn token(engine: &Engine, agent: &str) -> openclaw_auth::OauthToken {
    engine.oauth_token(Some(agent), ID, 0, false).unwrap()
}

fn refresh_token(home: &Home, agent: &str) -> String {
    home.profile(agent, ID)["refresh"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The stored login still works: the provider gives new tokens for it.
fn assert_alive(idp: &Idp, home: &Home) {
    idp.config(&json!({"accessTtl": 3600, "delayMs": 0, "delayAfterMs": 0, "times": 0}));
    home.expire("main", ID);
    let fresh = home.engine().oauth_token(None, ID, 0, true).unwrap();
    assert_eq!(fresh.source, "refreshed");
}

#[test]
fn t1_a_sign_in_through_the_browser() {
    let (idp, home, _) = signed_in();
    let stored = home.profile("main", ID);
    assert_eq!(stored["type"], "oauth");
    assert_eq!(stored["accountId"], "acct-alice");
    assert_eq!(stored["email"], "alice@example.com");
    assert_eq!(stored["oa"]["tokenHost"], format!("127.0.0.1:{}", idp.port));
    assert!(stored["refresh"].is_string() && stored["idToken"].is_null());
    let lives = stored["expires"].as_u64().unwrap() - stored["oa"]["issuedAt"].as_u64().unwrap();
    assert_eq!(lives, 3_600_000);
    assert_eq!(idp.stats()["code"], 1);
    assert_eq!(home.traces("main"), [""; 0]);
}

#[test]
fn t2_a_sign_in_by_pasting() {
    let idp = Idp::start();
    let home = Home::new(&idp);
    let engine = home.engine();
    for form in ["address", "code#state", "code"] {
        let mut flow = engine
            .oauth_begin(PROVIDER, LoginOptions::default())
            .unwrap();
        let address = redirect_of(&flow);
        let code = address
            .split("code=")
            .nth(1)
            .unwrap()
            .split('&')
            .next()
            .unwrap()
            .to_owned();
        let text = match form {
            "address" => address.replace("localhost", "127.0.0.1"),
            "code#state" => format!("{code}#{}", flow.state()),
            _ => code,
        };
        // A slip is no end of the sign-in: the next try may be right.
        engine.events();
        engine.oauth_complete(&mut flow, " ").unwrap_err();
        assert!(engine.events().is_empty(), "{form}");
        let done = engine.oauth_complete(&mut flow, &text).unwrap();
        assert_eq!(done.profile_id, ID, "{form}: the same person keeps the id");
        let told: Vec<_> = engine
            .events()
            .iter()
            .map(|event| event.code().as_str())
            .collect();
        assert_eq!(told, ["OAUTH_SIGNED_IN"], "{form}");
    }
    assert_eq!(home.profiles("main").as_object().unwrap().len(), 1);
}

#[test]
fn t4_a_denial_changes_nothing() {
    let (idp, home, engine) = signed_in();
    let before = std::fs::read(home.store("main")).unwrap();
    idp.config(&json!({"deny": true}));
    let mut flow = engine
        .oauth_begin(PROVIDER, LoginOptions::default())
        .unwrap();
    let browser = browse(&flow);
    let error = (0..100)
        .find_map(|_| flow.listen(Duration::from_millis(100)).err())
        .unwrap();
    assert_eq!(error.code(), Code::OauthAuthorizationDenied);
    let page = browser.join().unwrap();
    assert!(
        page.status == 400 && page.body.contains("End-User denied"),
        "{}",
        page.body
    );
    assert_eq!(std::fs::read(home.store("main")).unwrap(), before);
}

#[test]
fn a_code_works_once() {
    let (_idp, _home, engine) = signed_in();
    let mut flow = engine
        .oauth_begin(PROVIDER, LoginOptions::default())
        .unwrap();
    let address = redirect_of(&flow);
    engine.oauth_complete(&mut flow, &address).unwrap();
    let mut again = engine
        .oauth_begin(PROVIDER, LoginOptions::default())
        .unwrap();
    let code = address
        .split("code=")
        .nth(1)
        .unwrap()
        .split('&')
        .next()
        .unwrap();
    let error = engine.oauth_complete(&mut again, code).unwrap_err();
    assert_eq!(error.code(), Code::OauthExchangeRejected);
    assert!(
        error.message().contains("HTTP 400, invalid_grant"),
        "{error}"
    );
}

#[test]
fn t8_tokens_of_short_life_are_not_refreshed_on_every_call() {
    let (idp, home, engine) = signed_in();
    idp.config(&json!({"accessTtl": 5}));
    home.expire("main", ID);
    let start = Instant::now();
    for round in 0..50 {
        let token = token(&engine, "main");
        assert!(token.warning.is_none());
        let next = start + Duration::from_millis(240 * (round + 1));
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let refreshes = idp.refreshes();
    assert!(
        (2..=4).contains(&refreshes),
        "{refreshes} refreshes in 12 seconds"
    );
    assert_eq!(idp.revocations(), 0);
}

#[test]
fn t9_threads_share_one_refresh() {
    let (idp, home, engine) = signed_in();
    home.expire("main", ID);
    let engine = Arc::new(engine);
    let threads: Vec<_> = (0..32)
        .map(|_| {
            let engine = Arc::clone(&engine);
            thread::spawn(move || token(&engine, "main").access.expose().to_owned())
        })
        .collect();
    let tokens: BTreeSet<String> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert_eq!((tokens.len(), idp.refreshes()), (1, 1));
}

#[test]
fn leases_get_fresh_tokens() {
    let (idp, home, engine) = signed_in();
    home.expire("main", ID);
    let request = LeaseRequest {
        provider: Some(PROVIDER),
        ..LeaseRequest::default()
    };
    let lease = engine.lease(&request).unwrap();
    let stored = home.profile("main", ID);
    assert_eq!(Some(lease.credential().expose()), stored["access"].as_str());
    assert_eq!(lease.account_id(), Some("acct-alice"));
    assert_eq!(idp.refreshes(), 1);
    lease.succeed(&[]).unwrap();
    for _ in 0..20 {
        engine.lease(&request).unwrap().succeed(&[]).unwrap();
    }
    assert_eq!(idp.refreshes(), 1, "a valid token is not refreshed");
}

/// Twenty processes or agents that need the same expired token at once.
fn twenty(agents: &[String]) -> (Duration, u64, u64) {
    let (idp, home, engine) = signed_in();
    for agent in agents.iter().filter(|agent| *agent != "main") {
        home.copy_to(agent);
    }
    let before = refresh_token(&home, "main");
    for agent in agents.iter().collect::<BTreeSet<_>>() {
        home.expire(agent, ID);
    }
    drop(engine);
    let start = Instant::now();
    let workers: Vec<_> = agents
        .iter()
        .map(|agent| home.worker(WORKER, agent, ID).spawn().unwrap())
        .collect();
    let results: Vec<Value> = workers
        .into_iter()
        .map(|worker| result_of(&worker.wait_with_output().unwrap()))
        .collect();
    let took = start.elapsed();
    let tokens: BTreeSet<&str> = results
        .iter()
        .map(|result| {
            result["token"]
                .as_str()
                .unwrap_or_else(|| panic!("{result}"))
        })
        .collect();
    assert_eq!(tokens.len(), 1, "{results:?}");
    // The owner of the new token holds it; all others serve it.
    let holders: Vec<&String> = agents
        .iter()
        .filter(|agent| {
            digest(home.profile(agent, ID)["access"].as_str().unwrap()) == *tokens.first().unwrap()
        })
        .collect();
    assert!(!holders.is_empty());
    assert_ne!(refresh_token(&home, holders[0]), before);
    (took, idp.refreshes(), idp.revocations())
}

#[test]
fn t10_twenty_processes_cause_one_refresh() {
    let (took, refreshes, revocations) = twenty(&vec!["main".to_owned(); 20]);
    println!("20 processes: {took:?}");
    assert_eq!((refreshes, revocations), (1, 0));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn t11_twenty_agents_cause_one_refresh() {
    let agents: Vec<String> = (0..20)
        .map(|n| {
            if n == 0 {
                "main".to_owned()
            } else {
                format!("agent{n}")
            }
        })
        .collect();
    let (took, refreshes, revocations) = twenty(&agents);
    println!("20 agents: {took:?}");
    assert_eq!((refreshes, revocations), (1, 0));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn t12_separate_logins_are_refreshed_separately() {
    let (idp, home, engine) = signed_in();
    for (agent, account) in [("work", "alice"), ("home", "bob")] {
        std::fs::create_dir_all(home.store(agent).parent().unwrap()).unwrap();
        idp.config(&json!({"account": account}));
        let mut options = LoginOptions::default();
        options.agent = Some(agent.to_owned());
        options.profile_id = Some(ID.to_owned());
        home.sign_in(&engine, options);
    }
    for agent in ["main", "work", "home"] {
        home.expire(agent, ID);
        assert_eq!(token(&engine, agent).source, "refreshed", "{agent}");
    }
    assert_eq!((idp.refreshes(), idp.revocations()), (3, 0));
    assert_eq!(home.profile("home", ID)["accountId"], "acct-bob");
    assert_eq!(home.profile("work", ID)["accountId"], "acct-alice");
}

#[test]
fn t13_an_answer_that_never_comes() {
    let (idp, home, engine) = signed_in();
    home.expire("main", ID);
    idp.config(&json!({"dropAfterProcessing": 1}));
    let error = engine.oauth_token(None, ID, 0, false).unwrap_err();
    // The provider has processed the first request and takes the second for a theft.
    assert_eq!(error.code(), Code::OauthReauthRequired, "{error}");
    let intent = error.details()["intentFile"].as_str().unwrap();
    assert!(std::path::Path::new(intent).exists());
    assert!(error.hint().unwrap().contains("models auth login"));
    // Signing in again heals it.
    home.sign_in(&engine, LoginOptions::default());
    assert_alive(&idp, &home);
    assert_eq!(home.traces("main"), [""; 0]);
}

#[test]
fn t16_a_disk_that_fills_up_is_noticed_first() {
    let (idp, home, engine) = signed_in();
    home.expire("main", ID);
    let folder = home.store("main").parent().unwrap().to_owned();
    // Something that cannot be replaced stands where the intent goes.
    let hex = digest(ID);
    std::fs::create_dir(folder.join(format!(".auth-profiles.json.refresh.{hex}"))).unwrap();
    let error = engine.oauth_token(None, ID, 0, false).unwrap_err();
    assert_eq!(error.code(), Code::RefreshUnpersistable, "{error}");
    assert_eq!(idp.refreshes(), 0);
}

#[test]
fn t18_stale_locks_are_taken_over() {
    let (idp, home, engine) = signed_in();
    home.expire("main", ID);
    let lock = home.store("main").with_file_name("auth-profiles.json.lock");
    let mut child = Command::new("true").spawn().unwrap();
    let dead = child.id();
    child.wait().unwrap();
    let now = "2099-01-01T00:00:00.000Z";
    std::fs::write(
        &lock,
        format!("{{\"pid\": {dead}, \"createdAt\": \"{now}\"}}"),
    )
    .unwrap();
    let start = Instant::now();
    assert_eq!(token(&engine, "main").source, "refreshed");
    assert!(start.elapsed() < Duration::from_secs(1));
    // A process id that belongs to another process now.
    home.expire("main", ID);
    let this = std::process::id();
    let reused = format!("{{\"pid\": {this}, \"createdAt\": \"{now}\", \"starttime\": 1}}");
    std::fs::write(&lock, reused).unwrap();
    let start = Instant::now();
    assert_eq!(token(&engine, "main").source, "refreshed");
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(idp.refreshes(), 2);
}

#[test]
fn t19_a_lock_stays_young_while_the_provider_thinks() {
    let (idp, home, _) = signed_in();
    home.expire("main", ID);
    idp.config(&json!({"delayAfterMs": 34_000}));
    let settings = json!({
        "routing": {"refresh_wait_ms": 39_000},
        "oauth": {"providers": {PROVIDER: {"refresh": {"timeoutMs": 38_000}}}},
    });
    let waiters: Vec<_> = (0..2)
        .map(|_| {
            let engine = home.engine_with(settings.clone());
            thread::spawn(move || engine.oauth_token(None, ID, 0, false).unwrap())
        })
        .collect();
    // OpenClaw 2026.4 robs a lock whose file is older than 30 seconds, whoever holds it.
    let lock = home.store("main").with_file_name("auth-profiles.json.lock");
    let mut nonces = BTreeSet::new();
    let mut oldest = Duration::ZERO;
    while !waiters.iter().any(thread::JoinHandle::is_finished) {
        if let Ok(text) = std::fs::read_to_string(&lock) {
            let held: Value = serde_json::from_str(&text).unwrap_or_default();
            nonces.insert(held["nonce"].to_string());
            let written = std::fs::metadata(&lock).and_then(|meta| meta.modified());
            oldest = oldest.max(written.unwrap().elapsed().unwrap_or_default());
        }
        thread::sleep(Duration::from_millis(200));
    }
    let tokens: Vec<_> = waiters
        .into_iter()
        .map(|waiter| waiter.join().unwrap())
        .collect();
    assert_eq!(tokens[0].access, tokens[1].access);
    assert!(oldest < Duration::from_secs(10), "{oldest:?}");
    assert_eq!((idp.refreshes(), idp.revocations()), (1, 0));
    assert!(nonces.len() <= 2, "{nonces:?}");
}

#[test]
fn t20_a_revoked_login_serves_to_its_end_and_is_not_hammered() {
    let (idp, home, engine) = signed_in();
    idp.revoke(&refresh_token(&home, "main"));
    home.end_soon("main", ID);
    let served = token(&engine, "main");
    assert_eq!(served.source, "stored");
    assert_eq!(served.warning.unwrap().code(), Code::OauthReauthRequired);
    for _ in 0..10 {
        assert_eq!(token(&engine, "main").source, "stored");
    }
    home.expire("main", ID);
    for _ in 0..10 {
        let error = engine.oauth_token(None, ID, 0, false).unwrap_err();
        assert_eq!(error.details()["reason"], "invalid_grant");
    }
    let refused = idp.stats()["errors"].as_u64().unwrap();
    assert!(refused <= 2, "{refused} requests with a dead token");
}

#[test]
fn t21_a_provider_that_is_down() {
    let (idp, home, engine) = signed_in();
    home.end_soon("main", ID);
    idp.config(&json!({"status": 503, "times": 100}));
    for _ in 0..5 {
        let served = token(&engine, "main");
        assert_eq!(served.source, "stored");
    }
    assert_eq!(
        idp.stats()["faked"],
        1,
        "left alone after the first failure"
    );
    for (body, content_type, status) in [
        ("<html>oops</html>", "text/html", 200),
        ("{\"token_type\":\"bearer\"}", "application/json", 200),
        ("busy", "text/plain", 500),
    ] {
        home.expire("main", ID);
        idp.config(
            &json!({"status": status, "body": body, "contentType": content_type, "times": 1}),
        );
        let fresh = home.engine().oauth_token(None, ID, 0, false).unwrap();
        assert_eq!(fresh.source, "refreshed", "tried again after {body}");
    }
    home.expire("main", ID);
    idp.config(&json!({"omit": ["expires_in", "token_type"]}));
    let fresh = home.engine().oauth_token(None, ID, 0, false).unwrap();
    assert!(fresh.expires.is_some(), "by the claim of the token");
    assert_eq!(idp.revocations(), 0);
}

#[test]
fn t22_reports_of_one_refused_token_cause_one_refresh() {
    let (idp, home, engine) = signed_in();
    let refused = home.profile("main", ID)["access"]
        .as_str()
        .unwrap()
        .to_owned();
    let (engine, refused) = (Arc::new(engine), SecretText::new(refused));
    let threads: Vec<_> = (0..10)
        .map(|_| {
            let (engine, refused) = (Arc::clone(&engine), refused.clone());
            thread::spawn(move || {
                engine
                    .oauth_unauthorized(None, ID, &refused)
                    .unwrap()
                    .access
            })
        })
        .collect();
    for thread in threads {
        assert_ne!(thread.join().unwrap(), refused);
    }
    assert_eq!(idp.refreshes(), 1);
}

#[test]
fn slow_answers_are_awaited_by_everybody() {
    let (idp, home, _) = signed_in();
    home.expire("main", ID);
    idp.config(&json!({"delayAfterMs": 6_500}));
    let first = home.worker(WORKER, "main", ID).spawn().unwrap();
    thread::sleep(Duration::from_millis(500));
    // T17: somebody takes the lock of the store away in the middle, and one more comes.
    let lock = home.store("main").with_file_name("auth-profiles.json.lock");
    let held = std::fs::read_to_string(&lock).unwrap();
    assert!(held.contains("openclaw-auth"));
    std::fs::remove_file(&lock).unwrap();
    let second = home.worker(WORKER, "main", ID).spawn().unwrap();
    let results = [first, second].map(|worker| result_of(&worker.wait_with_output().unwrap()));
    assert_eq!(results[0]["token"], results[1]["token"], "{results:?}");
    assert_eq!((idp.refreshes(), idp.revocations()), (1, 0));
    assert_alive(&idp, &home);
}

#[test]
fn killed_at_every_step_a_login_is_never_lost() {
    let (idp, home, _) = signed_in();
    let mut steps = 0;
    let mut killed = 0;
    for step in 1..100 {
        home.expire("main", ID);
        let before = idp.refreshes();
        let output = home
            .worker(WORKER, "main", ID)
            .env("OAUTH_KILL_AT", step.to_string())
            .output()
            .unwrap();
        // The next process finds whatever state that left.
        let result = result_of(&home.worker(WORKER, "main", ID).output().unwrap());
        assert!(
            result["token"].is_string(),
            "killed at step {step}: {result}"
        );
        assert_eq!(idp.revocations(), 0, "killed at step {step}");
        assert!(
            idp.refreshes() - before <= 1,
            "killed at step {step}: spent twice"
        );
        if output.status.success() {
            steps = step;
            break;
        }
        killed += 1;
    }
    println!("killed at each of {killed} steps");
    assert!((5..60).contains(&steps), "{steps} steps");
    assert_alive(&idp, &home);
    let traces = home
        .traces("main")
        .into_iter()
        .filter(|name| !name.ends_with(".tmp"));
    assert_eq!(
        traces.collect::<Vec<_>>(),
        [""; 0],
        "what was left behind has been tidied up"
    );
}

#[test]
fn killed_at_any_moment_after_the_answer_a_login_survives() {
    let (_idp, home, engine) = signed_in();
    let mut lost = 0;
    let rounds: u64 = 40;
    for round in 0..rounds {
        home.expire("main", ID);
        let us = round * 150;
        let _ = home
            .worker(WORKER, "main", ID)
            .env("OAUTH_KILL_AFTER_ANSWER_US", us.to_string())
            .output()
            .unwrap();
        let result = result_of(&home.worker(WORKER, "main", ID).output().unwrap());
        if result["token"].is_null() {
            // Between the last byte of the answer and the first write lie microseconds.
            assert_eq!(
                result["error"]["details"]["reason"], "interrupted",
                "{result}"
            );
            lost += 1;
            home.sign_in(&engine, LoginOptions::default());
        }
    }
    println!("{lost} of {rounds} logins lost");
    // Without the note of the answer, every one of these would be lost.
    assert!(lost <= rounds / 10, "{lost} of {rounds}");
}

#[test]
fn t25_proxies_are_for_other_machines() {
    use std::io::{Read as _, Write as _};
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in proxy.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = [0; 1024];
            let mut text = String::new();
            while !text.ends_with("\r\n\r\n") {
                let count = stream.read(&mut bytes).unwrap();
                text.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
            record
                .lock()
                .unwrap()
                .push(text.lines().next().unwrap_or_default().to_owned());
            let _ = stream.write_all(b"HTTP/1.1 502 no\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let (idp, mut home, _) = signed_in();
    home.env.insert("HTTPS_PROXY".to_owned(), address.clone());
    home.env.insert("HTTP_PROXY".to_owned(), address);
    home.expire("main", ID);
    assert_eq!(token(&home.engine(), "main").source, "refreshed");
    assert!(
        seen.lock().unwrap().is_empty(),
        "this machine is reached directly"
    );

    let url = "OPENCLAW_AUTH_OAUTH_OPENAI_CODEX_TOKEN_URL";
    home.env
        .insert(url.to_owned(), "https://idp.invalid/token".to_owned());
    home.env.insert(
        "OPENCLAW_AUTH_OAUTH_ALLOW_ENDPOINT_CHANGE".to_owned(),
        "1".to_owned(),
    );
    home.expire("main", ID);
    let error = home.engine().oauth_token(None, ID, 0, false).unwrap_err();
    assert_eq!(error.code(), Code::OauthNetwork, "{error}");
    let requests = seen.lock().unwrap().clone();
    assert!(!requests.is_empty());
    assert!(
        requests
            .iter()
            .all(|line| line.starts_with("CONNECT idp.invalid:443 ")),
        "{requests:?}"
    );

    home.env
        .insert("NO_PROXY".to_owned(), "other.test, .invalid".to_owned());
    let count = requests.len();
    let error = home.engine().oauth_token(None, ID, 0, false).unwrap_err();
    assert_eq!(error.code(), Code::OauthNetwork, "{error}");
    assert_eq!(seen.lock().unwrap().len(), count, "named in NO_PROXY");
    assert_eq!(idp.revocations(), 0);
}

#[test]
fn t28_a_running_openclaw_is_waited_for_and_its_token_adopted() {
    let (idp, home, engine) = signed_in();
    home.expire("main", ID);
    // OpenClaw 2026.4 refreshes while it holds the lock of the store, and writes in place.
    let lock = home.store("main").with_file_name("auth-profiles.json.lock");
    let mut other = Command::new("sleep").arg("30").spawn().unwrap();
    let created = "2099-01-01T00:00:00.000Z";
    std::fs::write(
        &lock,
        format!("{{\"pid\": {}, \"createdAt\": \"{created}\"}}", other.id()),
    )
    .unwrap();
    let waiting = thread::spawn(move || token(&engine, "main"));
    thread::sleep(Duration::from_millis(700));
    home.change("main", ID, |credential| {
        credential["access"] = json!("theirs");
        credential["refresh"] = json!("theirs-too");
        credential["expires"] = json!(4_000_000_000_000_u64);
    });
    std::fs::remove_file(&lock).unwrap();
    let adopted = waiting.join().unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(
        (adopted.access.expose(), adopted.source.as_str()),
        ("theirs", "adopted")
    );
    assert_eq!(idp.refreshes(), 0);
}

#[test]
fn t26_no_secret_appears_anywhere() {
    let (idp, home, engine) = signed_in();
    let mut secrets: Vec<String> = Vec::new();
    let remember = |secrets: &mut Vec<String>| {
        let stored = home.profile("main", ID);
        for key in ["access", "refresh"] {
            secrets.push(stored[key].as_str().unwrap().to_owned());
        }
    };
    remember(&mut secrets);
    home.expire("main", ID);
    let mut shown = format!("{:?}", token(&engine, "main"));
    remember(&mut secrets);
    idp.revoke(&refresh_token(&home, "main"));
    home.expire("main", ID);
    let error = engine.oauth_token(None, ID, 0, false).unwrap_err();
    shown.push_str(&format!("{error:?} {error} {}", error.to_json()));
    let mut flow = engine
        .oauth_begin(PROVIDER, LoginOptions::default())
        .unwrap();
    let browser = browse(&flow);
    let address = wait(&mut flow);
    secrets.push(
        address
            .split("code=")
            .nth(1)
            .unwrap()
            .split('&')
            .next()
            .unwrap()
            .to_owned(),
    );
    let done = engine.oauth_complete(&mut flow, &address).unwrap();
    shown.push_str(&format!("{flow:?} {done:?} {}", done.to_json()));
    shown.push_str(&browser.join().unwrap().body);
    remember(&mut secrets);
    // What is logged is looked through when the provider ends, after every test.
    assert!(noted() > 0, "nothing is logged");
    assert!(secrets.len() >= 7);
    for secret in &secrets {
        let found = shown.find(secret.as_str()).map(|at| {
            let line = shown[..at].rfind('\n').map_or(0, |start| start + 1);
            shown[line..].chars().take(160).collect::<String>()
        });
        assert_eq!(found, None, "a secret is shown");
    }
}
