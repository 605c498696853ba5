//! The recipes for command lines of secret stores, with the real programs and real keys.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{find, key_of, run, secrets};
use crate::support::{Gateway, Place, Upstream};

/// A place whose provider `openai` gets its key from this secret provider.
fn configure(place: &Place, upstream: &Upstream, recipe: &str) {
    let sections = SECTIONS.replace("RECIPE", recipe);
    place.configure(&sections.replace("UPSTREAM", &upstream.base_url()));
    fs::create_dir_all(place.path("home")).unwrap();
}

/// The gateway has the key; the audit says that everything is fine and runs the program for it.
fn works(place: &Place, upstream: &Upstream, env: &[(&str, &str)], key: &str) {
    let gateway = Gateway::start(place, env);
    assert_eq!(key_of("openai", &gateway, upstream), key);
    let audit = Gateway::command(place)
        .args([
            "secrets",
            "audit",
            "--allow-exec",
            "--check",
            "--require-complete",
        ])
        .envs(env.iter().copied())
        .output()
        .unwrap();
    assert_eq!(audit.status.code(), Some(0), "{audit:?}");
    let shown = format!("{audit:?}{}{}", gateway.stdout(), gateway.stderr());
    assert!(!shown.contains(key), "{shown}");
}

/// A key pair of age: the file with the secret half, and the public half.
fn age_key(place: &Place) -> (String, String) {
    let keygen = find("age-keygen");
    let text = run(place, &[], &[keygen.to_str().unwrap()], "");
    let public = text
        .lines()
        .find_map(|line| line.strip_prefix("# public key: "));
    let file = place.write("keys/age.txt", &text);
    (
        file.to_str().unwrap().to_owned(),
        public.unwrap().to_owned(),
    )
}

#[test]
fn sops_with_an_age_key() {
    let (place, upstream) = (Place::new(), Upstream::start());
    let (key_file, public) = age_key(&place);
    let sops = find("sops");
    let sops = sops.to_str().unwrap();
    let plain = r#"{"providers": {"openai": {"apiKey": "sk-from-sops"}}}"#;
    let plain = place.write("plain.json", plain);
    let encrypt = [sops, "--encrypt", "--age", &public, plain.to_str().unwrap()];
    let encrypted = run(&place, &[], &encrypt, "");
    assert!(!encrypted.contains("sk-from-sops"));
    place.remove("plain.json");
    place.write("secrets.enc.json", &encrypted);
    let recipe = r#"source: "exec", command: "THE-PROGRAM",
        args: ["-d", "--extract", '["providers"]["openai"]["apiKey"]', "DIR/secrets.enc.json"],
        passEnv: ["HOME", "SOPS_AGE_KEY_FILE"], jsonOnly: false, timeoutMs: 20000"#;
    configure(&place, &upstream, &recipe.replace("THE-PROGRAM", sops));
    works(
        &place,
        &upstream,
        &[("SOPS_AGE_KEY_FILE", &key_file)],
        "sk-from-sops",
    );

    // Without its key it fails, and the failure names what is missing.
    let ended = Gateway::refuse(&place, &[]);
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    for part in [
        "secret_provider_exit",
        "not set in the environment: SOPS_AGE_KEY_FILE",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {ended:#?}");
    }
}

#[test]
fn age_alone() {
    let (place, upstream) = (Place::new(), Upstream::start());
    let (key_file, public) = age_key(&place);
    let age = find("age");
    let age = age.to_str().unwrap();
    let encrypted = run(&place, &[], &[age, "-a", "-r", &public], "sk-from-age\n");
    place.write("openai.age", &encrypted);
    let recipe = r#"source: "exec", command: "THE-PROGRAM",
        args: ["-d", "-i", "KEY", "DIR/openai.age"], jsonOnly: false"#;
    let recipe = recipe.replace("THE-PROGRAM", age).replace("KEY", &key_file);
    configure(&place, &upstream, &recipe);
    works(&place, &upstream, &[], "sk-from-age");
}

#[test]
fn pass_with_a_gpg_key() {
    let (place, upstream) = (Place::new(), Upstream::start());
    let gnupg = place.path("gnupg");
    fs::create_dir_all(&gnupg).unwrap();
    fs::set_permissions(&gnupg, fs::Permissions::from_mode(0o700)).unwrap();
    let store = place.path("store");
    let env = [
        ("GNUPGHOME", gnupg.to_str().unwrap()),
        ("PASSWORD_STORE_DIR", store.to_str().unwrap()),
    ];
    let pass = find("pass");
    let pass = pass.to_str().unwrap();
    fs::create_dir_all(place.path("home")).unwrap();
    let _agent = Agent(gnupg.to_str().unwrap().to_owned());
    let generate = [
        "gpg",
        "--batch",
        "--passphrase",
        "",
        "--quick-generate-key",
        "t@example.com",
    ];
    run(&place, &env, &generate, "");
    run(&place, &env, &[pass, "init", "t@example.com"], "");
    run(
        &place,
        &env,
        &[pass, "insert", "-m", "openclaw/openai"],
        "sk-from-pass\n",
    );
    // With an escape, because places put their folder where `DIR` stands.
    let recipe = r#"source: "exec", command: "THE-PROGRAM", args: ["show", "openclaw/openai"],
        passEnv: ["HOME", "PATH", "GNUPGHOME", "PASSWORD_STORE_D\u0049R"], jsonOnly: false,
        timeoutMs: 20000"#;
    configure(&place, &upstream, &recipe.replace("THE-PROGRAM", pass));
    works(&place, &upstream, &env, "sk-from-pass");
}

/// The agent that gpg has left running for this folder; ended with the test.
struct Agent(String);

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = std::process::Command::new("gpgconf")
            .args(["--homedir", &self.0, "--kill", "all"])
            .status();
    }
}

#[test]
fn programs_in_python_and_sh() {
    let (place, upstream) = (Place::new(), Upstream::start());
    let python = format!("#!{}\n{PYTHON}", find("python3").display());
    place.script("bin/resolver", &python);
    place.script("bin/single", "#!/bin/sh\nexec cat DIR/single.txt\n");
    place.write("single.txt", "sk-from-sh\n");
    place.write(
        "vault.json",
        r#"{"providers/openai": "sk-from-python", "b": "sk-b"}"#,
    );
    let sections = r#"
      secrets: { providers: {
        vault: { source: "exec", command: "DIR/bin/resolver", args: ["DIR/vault.json"],
                 passEnv: ["HOME", "PATH"], jsonOnly: true, timeoutMs: 20000 },
        single: { source: "exec", command: "DIR/bin/single", passEnv: ["PATH"], jsonOnly: false },
      } },
      models: { providers: {
        openai: { baseUrl: "UPSTREAM",
                  apiKey: { source: "exec", provider: "vault", id: "providers/openai" } },
        b: { baseUrl: "UPSTREAM", apiKey: { source: "exec", provider: "vault", id: "b" } },
        c: { baseUrl: "UPSTREAM", apiKey: { source: "exec", provider: "single", id: "value" } },
      } },
    "#;
    place.configure(&sections.replace("UPSTREAM", &upstream.base_url()));
    let gateway = Gateway::start(&place, &[]);
    for (provider, key) in [
        ("openai", "sk-from-python"),
        ("b", "sk-b"),
        ("c", "sk-from-sh"),
    ] {
        assert_eq!(key_of(provider, &gateway, &upstream), key);
    }
    // One run for all ids of a provider.
    assert_eq!(place.text("vault.json.runs"), "2 ids\n");
    let unknown = secrets(&place, &["test", "exec:vault:nobody"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    let stderr = String::from_utf8(unknown.stderr).unwrap();
    assert!(
        stderr.contains("secret_ref_not_found") || stderr.contains("NOT_FOUND"),
        "{stderr}"
    );
    let known = secrets(&place, &["test", "exec:single:value"]);
    assert_eq!(String::from_utf8(known.stdout).unwrap(), "ok (10 bytes)\n");
}

const PYTHON: &str = r#"
import json, sys
want = json.load(sys.stdin)["ids"]
with open(sys.argv[1]) as file:
    known = json.load(file)
with open(sys.argv[1] + ".runs", "a") as runs:
    runs.write(f"{len(want)} ids\n")
reply = {"protocolVersion": 1, "values": {}, "errors": {}}
for name in want:
    if name in known:
        reply["values"][name] = known[name]
    else:
        reply["errors"][name] = {"code": "NOT_FOUND"}
json.dump(reply, sys.stdout)
"#;

const SECTIONS: &str = r#"
  secrets: { providers: { real: { RECIPE } } },
  models: { providers: { openai: {
    baseUrl: "UPSTREAM", apiKey: { source: "exec", provider: "real", id: "value" },
  } } },
"#;
