//! What keeps the gateway from starting is said at once, all of it.

use crate::support::{Gateway, Place, Upstream};

const SECTIONS: &str = r#"
  secrets: {
    providers: {
      files: { source: "file", path: "DIR/secrets.json" },
      program: { source: "exec", command: "DIR/bin/resolver", passEnv: ["PATH"] },
    },
  },
  models: {
    providers: {
      fine: { baseUrl: "UPSTREAM", apiKey: "${FINE_KEY}" },
      one: { baseUrl: "UPSTREAM", apiKey: { source: "env", provider: "default", id: "ONE_KEY" } },
      two: { baseUrl: "UPSTREAM", apiKey: "${TWO_KEY}" },
      three: { baseUrl: "UPSTREAM", apiKey: { source: "file", provider: "files", id: "/none" } },
      four: { baseUrl: "UPSTREAM", apiKey: { source: "exec", provider: "program", id: "value" } },
    },
  },
"#;

const RESOLVER: &str = "#!/bin/sh\n: > DIR/was-run\nprintf %s CANARY-of-the-program\n";

fn place(upstream: &Upstream) -> Place {
    let place = Place::new();
    place.configure(&SECTIONS.replace("UPSTREAM", &upstream.base_url()));
    place.write("secrets.json", r#"{"some":"CANARY-in-the-file"}"#);
    place.script("bin/resolver", RESOLVER);
    place
}

const FINE: (&str, &str) = ("FINE_KEY", "CANARY-in-the-environment");

#[test]
fn all_missing_secrets_are_listed_and_no_program_runs() {
    let upstream = Upstream::start();
    let place = place(&upstream);
    let ended = Gateway::refuse(&place, &[FINE, ("ONE_KEY", "  ")]);
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    for part in [
        "secret_unresolved",
        "models.providers.one.apiKey",
        "ONE_KEY",
        "models.providers.two.apiKey",
        "TWO_KEY",
        "models.providers.three.apiKey",
        "/none",
        "not attempted because of the failures above: exec:program:value",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {ended:#?}");
    }
    assert!(!ended.stderr.contains("providers.fine"), "{ended:#?}");
    assert!(
        !place.path("was-run").exists(),
        "no program runs for a start that has failed already"
    );
    assert!(!format!("{ended:?}").contains("CANARY"), "{ended:#?}");
    assert_eq!(ended.stdout, "", "nothing listened");
}

#[test]
fn start_works_once_everything_is_there() {
    let upstream = Upstream::start();
    let place = place(&upstream);
    place.write("secrets.json", r#"{"none":"CANARY-in-the-file"}"#);
    let env = [FINE, ("ONE_KEY", "CANARY-1"), ("TWO_KEY", "CANARY-2")];
    let ended = Gateway::start(&place, &env).stop();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(place.path("was-run").exists());
    assert!(!format!("{ended:?}").contains("CANARY"), "{ended:#?}");
}

#[test]
fn a_broken_configuration_ends_with_3() {
    let place = Place::new();
    place.write(Place::CONFIG, "{\n  models: }\n");
    let ended = Gateway::refuse(&place, &[]);
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    let place = "openclaw.json\n  line 2, column 11: ";
    assert!(ended.stderr.contains(place), "{ended:#?}");
}
