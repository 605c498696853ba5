//! Reloads under load: no request is lost, none mixes two generations.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::support::{
    Answer, Arrived, Gateway, Nginx, PATIENCE, Place, Request, Upstream, wait_for,
};

/// One provider of models, three secrets with the same number: two from a file, one from a
/// program.
const SECTIONS: &str = r#"
  secrets: {
    providers: {
      files: { source: "file", path: "DIR/secrets.json" },
      program: {
        source: "exec", command: "DIR/bin/resolver", passEnv: ["PATH"], jsonOnly: false,
      },
    },
  },
  models: {
    providers: {
      paired: {
        baseUrl: "UPSTREAM",
        apiKey: { source: "file", provider: "files", id: "/key" },
        headers: {
          "x-of-file": { source: "file", provider: "files", id: "/header" },
          "x-of-program": { source: "exec", provider: "program", id: "value" },
        },
      },
    },
  },
"#;

struct World {
    place: Place,
    upstream: Upstream,
    gateway: Gateway,
    nginx: Nginx,
    /// Reloads so far.
    reloads: AtomicUsize,
}

impl World {
    fn new() -> Self {
        let (place, upstream) = (Place::new(), Upstream::start());
        place.configure(&SECTIONS.replace("UPSTREAM", &upstream.base_url()));
        place.script("bin/resolver", "#!/bin/sh\nexec cat DIR/number\n");
        change(&place, 0);
        let gateway = Gateway::start(&place, &[]);
        let nginx = Nginx::start(&place, &gateway);
        Self {
            place,
            upstream,
            gateway,
            nginx,
            reloads: AtomicUsize::new(0),
        }
    }

    fn ask(&self) -> Answer {
        self.ask_at("chat")
    }

    fn ask_at(&self, place: &str) -> Answer {
        Request::post(&format!("/proxy/paired/v1/{place}"), "{}")
            .session("nick")
            .send(self.nginx.front())
    }

    fn reload_by_request(&self) -> Answer {
        let answer = Request::post("/_auth/reload", "")
            .session("nick")
            .send(self.nginx.front());
        self.outcome();
        answer
    }

    /// By SIGHUP; whether it was accepted.
    fn reload_by_signal(&self) -> bool {
        let before = self.logged(ACCEPTED);
        self.gateway.signal("HUP");
        self.outcome();
        self.logged(ACCEPTED) > before
    }

    /// Waits until the log tells how one more reload ended.
    fn outcome(&self) {
        let reloads = self.reloads.fetch_add(1, Ordering::SeqCst) + 1;
        wait_for("the reload", || {
            let logged = self.logged(ACCEPTED) + self.logged(REFUSED);
            assert!(logged <= reloads, "more reloads than asked for");
            (logged == reloads).then_some(())
        });
    }

    fn logged(&self, text: &str) -> usize {
        self.gateway.stderr().matches(text).count()
    }

    /// The readiness of the gateway, asked from its own machine.
    fn readiness(&self) -> (u16, serde_json::Value) {
        let answer = Request::get("/readyz").send(self.gateway.way());
        (answer.status, answer.json()["failing"].clone())
    }
}

/// Gives all secrets a new number.
fn change(place: &Place, number: usize) {
    place.write("number", &format!("key-{number}\n"));
    place.write(
        "secrets.json",
        &format!(r#"{{"key":"key-{number}","header":"key-{number}"}}"#),
    );
}

/// Makes the next reload fail, in one of several ways.
fn break_it(place: &Place, round: usize) {
    match round % 3 {
        0 => drop(place.write("secrets.json", r#"{"key":"key-broken","header":"#)),
        1 => drop(place.write("secrets.json", r#"{"key":"key-broken"}"#)),
        _ => place.remove("number"),
    }
}

/// The number that all secrets of a request have.
fn number(arrived: &Arrived) -> usize {
    let key = arrived.header("authorization").unwrap();
    let key = key.strip_prefix("Bearer ").unwrap();
    for other in ["x-of-file", "x-of-program"] {
        assert_eq!(arrived.header(other), Some(key), "mixed:\n{}", arrived.head);
    }
    key.strip_prefix("key-").unwrap().parse().unwrap()
}

#[test]
fn no_request_is_lost_or_mixed_while_secrets_change() {
    let world = World::new();
    let is_over = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    let mut seen = BTreeSet::new();
    let mut broken = 0;
    thread::scope(|scope| {
        // Ends the clients also when an assertion below fails.
        let _end = End(&is_over);
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let answer = world.ask();
                    assert_eq!(answer.status, 200, "a request was lost: {answer:?}");
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let more = |count: usize| {
            let before = answered.load(Ordering::SeqCst);
            wait_for("requests", || {
                (answered.load(Ordering::SeqCst) >= before + count).then_some(())
            });
        };
        more(CLIENTS);
        let mut current = 0;
        for round in 1..=ROUNDS {
            change(&world.place, round);
            if is_broken(round) {
                break_it(&world.place, broken);
                broken += 1;
            }
            let accepted = if round % 2 == 0 {
                world.reload_by_request().status == 200
            } else {
                world.reload_by_signal()
            };
            assert_eq!(accepted, !is_broken(round), "round {round}");
            if accepted {
                current = round;
            }
            // Requests that began before may still have the old number; this one begins now.
            let place = format!("after-round-{round}");
            assert_eq!(world.ask_at(&place).status, 200);
            more(2 * CLIENTS);
            let arrived = world.upstream.take();
            let own = arrived.iter().find(|own| own.path().ends_with(&place));
            assert_eq!(own.map(number), Some(current), "round {round}");
            seen.extend(arrived.iter().map(number));
        }
    });
    seen.extend(world.upstream.take().iter().map(number));
    let expected: BTreeSet<_> = (0..=ROUNDS).filter(|round| !is_broken(*round)).collect();
    assert_eq!(seen, expected);
    assert_eq!(world.logged("SECRETS_RELOADER_DEGRADED"), broken);
    assert_eq!(world.logged("SECRETS_RELOADER_RECOVERED"), broken);
    assert_eq!(broken, 6);
}

/// Both ways of asking for a reload meet broken files.
fn is_broken(round: usize) -> bool {
    round > 0 && round.is_multiple_of(5)
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_broken_file_degrades_until_it_is_repaired() {
    let world = World::new();
    let key = |expected: usize| {
        assert_eq!(world.ask().status, 200);
        assert_eq!(number(&world.upstream.take_one()), expected);
    };
    key(0);
    assert_eq!(world.readiness(), (200, json!([])));

    break_it(&world.place, 1);
    let refused = world.reload_by_request();
    assert_eq!(refused.status, 409, "{refused:?}");
    let body = refused.json();
    assert_eq!(body["reloaded"], false);
    assert_eq!(body["errors"][0]["code"], "secret_ref_not_found", "{body}");
    assert_eq!(
        body["errors"][0]["paths"][0], "models.providers.paired.headers.x-of-file",
        "{body}"
    );
    key(0);
    assert_eq!(world.readiness(), (503, json!(["secrets"])));
    let through_nginx = Request::get("/readyz").session("nick");
    let through_nginx = through_nginx.send(world.nginx.front());
    assert_eq!(through_nginx.json()["failing"], json!(["secrets"]));
    assert!(!world.reload_by_signal(), "still broken");

    change(&world.place, 1);
    key(0);
    let accepted = world.reload_by_request();
    assert_eq!(accepted.status, 200, "{accepted:?}");
    assert_eq!(accepted.json()["snapshot"], 2, "failures have no number");
    key(1);
    assert_eq!(world.readiness(), (200, json!([])));
    assert_eq!(world.logged("SECRETS_RELOADER_DEGRADED"), 1);
    assert_eq!(world.logged("SECRETS_RELOADER_RECOVERED"), 1);
}

#[test]
fn a_stream_outlives_the_reload_in_its_middle() {
    let world = World::new();
    let mut events = Request::post("/proxy/paired/v1/events", "{}")
        .session("nick")
        .open(world.nginx.front());
    assert!(events.reaches("data: one\n\n", PATIENCE));
    change(&world.place, 1);
    assert_eq!(world.reload_by_request().status, 200);
    world.upstream.release();
    assert_eq!(events.rest().body, "data: one\n\ndata: two\n\n");
    assert_eq!(number(&world.upstream.take_one()), 0);
}

const ACCEPTED: &str = "reloaded, generation";
const REFUSED: &str = "reload refused";
const CLIENTS: usize = 8;
const ROUNDS: usize = 32;
