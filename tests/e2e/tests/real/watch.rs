//! A running gateway notices by itself what changes.

use std::time::{Duration, Instant};

use super::key_of;
use crate::support::{Gateway, Place, Request, Upstream, wait_for};

const SECTIONS: &str = r#"
  secrets: { providers: { files: { source: "file", path: "DIR/secrets.json" } } },
  models: { providers: {
    of_file: { baseUrl: "UPSTREAM", apiKey: { source: "file", provider: "files", id: "/key" } },
    of_env: { baseUrl: "UPSTREAM", apiKey: "${OF_ENV}" },
    of_include: { $include: "./include.json5" },
  } },
"#;

struct World {
    place: Place,
    upstream: Upstream,
    gateway: Gateway,
}

impl World {
    fn new() -> Self {
        let (place, upstream) = (Place::new(), Upstream::start());
        place.configure(&SECTIONS.replace("UPSTREAM", &upstream.base_url()));
        let text = place.text(Place::CONFIG);
        place.write(
            Place::CONFIG,
            &text.replace(r#"reload: { mode: "off" },"#, ""),
        );
        change(&place, &upstream, 0);
        let gateway = Gateway::start(&place, &[]);
        Self {
            place,
            upstream,
            gateway,
        }
    }

    /// Waits until the gateway has a new snapshot; the time since `start`.
    fn reaction(&self, generation: u64, start: Instant) -> Duration {
        let line = format!("reloaded, generation {generation}\n");
        wait_for("the reload", || {
            self.gateway.stderr().contains(&line).then_some(())
        });
        start.elapsed()
    }

    fn failing(&self) -> serde_json::Value {
        let answer = Request::get("/readyz").send(self.gateway.way());
        answer.json()["failing"].clone()
    }
}

fn change(place: &Place, upstream: &Upstream, number: usize) {
    for (name, text) in files(upstream, number) {
        place.write(name, &text);
    }
}

/// Files from which the gateway takes keys with this number.
fn files(upstream: &Upstream, number: usize) -> [(&'static str, String); 3] {
    let base = upstream.base_url();
    [
        ("secrets.json", format!(r#"{{"key": "of_file-{number}"}}"#)),
        ("home/.openclaw/.env", format!("OF_ENV=of_env-{number}\n")),
        (
            "home/.openclaw/include.json5",
            format!("{{ baseUrl: \"{base}\", apiKey: 'of_include-{number}' }}"),
        ),
    ]
}

#[test]
fn changed_files_are_in_use_within_a_second() {
    let world = World::new();
    let providers = ["of_file", "of_env", "of_include"];
    for provider in providers {
        let key = key_of(provider, &world.gateway, &world.upstream);
        assert_eq!(key, format!("{provider}-0"));
    }
    for (at, (name, text)) in files(&world.upstream, 1).into_iter().enumerate() {
        let start = Instant::now();
        world.place.write(name, &text);
        let generation = u64::try_from(at).unwrap() + 2;
        let reaction = world.reaction(generation, start);
        assert!(reaction < Duration::from_secs(1), "{name}: {reaction:?}");
        let provider = providers.get(at).unwrap();
        let key = key_of(provider, &world.gateway, &world.upstream);
        assert_eq!(key, format!("{provider}-1"));
    }
}

#[test]
fn a_broken_configuration_is_noticed_once_and_its_repair_too() {
    let world = World::new();
    let good = world.place.text(Place::CONFIG);
    let logged = |text: &str| world.gateway.stderr().matches(text).count();
    world.place.write(Place::CONFIG, "{ gateway: ");
    wait_for("the refusal", || {
        (logged("SECRETS_RELOADER_DEGRADED") == 1).then_some(())
    });
    assert_eq!(world.failing(), serde_json::json!(["secrets"]));
    assert!(
        world.gateway.stderr().contains("config_parse_error"),
        "{}",
        world.gateway.stderr()
    );
    assert_eq!(
        key_of("of_file", &world.gateway, &world.upstream),
        "of_file-0"
    );
    // The same broken file is not tried again and again.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(logged("reload refused"), 1);

    change(&world.place, &world.upstream, 1);
    world.place.write(Place::CONFIG, &good);
    let recovered = || (logged("SECRETS_RELOADER_RECOVERED") == 1).then_some(());
    wait_for("the recovery", recovered);
    wait_for("readiness", || {
        (world.failing() == serde_json::json!([])).then_some(())
    });
    assert_eq!(
        key_of("of_file", &world.gateway, &world.upstream),
        "of_file-1"
    );
}

#[test]
fn the_settings_decide_whether_and_when() {
    let world = World::new();
    let text = world.place.text(Place::CONFIG);
    let with = |reload: &str| {
        text.replace(
            "bind: \"loopback\",",
            &format!("bind: \"loopback\", {reload}"),
        )
    };
    let start = Instant::now();
    world
        .place
        .write(Place::CONFIG, &with("reload: { debounceMs: 1500 },"));
    assert!(
        world.reaction(2, start) < Duration::from_secs(1),
        "the old time counts"
    );
    let start = Instant::now();
    world
        .place
        .write(Place::CONFIG, &with("reload: { mode: \"off\" },"));
    assert!(world.reaction(3, start) >= Duration::from_millis(1500));
    change(&world.place, &world.upstream, 1);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(
        key_of("of_file", &world.gateway, &world.upstream),
        "of_file-0"
    );
    // Asking still works.
    let start = Instant::now();
    world.gateway.signal("HUP");
    world.reaction(4, start);
    assert_eq!(
        key_of("of_file", &world.gateway, &world.upstream),
        "of_file-1"
    );
}
