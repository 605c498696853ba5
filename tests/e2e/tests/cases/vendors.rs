//! The command lines of 1Password and Vault, configured as their recipes say, against stand-ins
//! that are found through symbolic links as Homebrew makes them.

use crate::support::{Gateway, Nginx, Place, Request, Upstream};

const SECTIONS: &str = r#"
  secrets: {
    providers: {
      onepassword_openai: {
        source: "exec",
        command: "DIR/homebrew/bin/op",
        allowSymlinkCommand: true,
        trustedDirs: ["DIR/homebrew"],
        args: ["read", "op://Personal/OpenClaw QA API Key/password"],
      },
      vault_openai: {
        source: "exec",
        command: "DIR/homebrew/bin/vault",
        allowSymlinkCommand: true,
        args: ["kv", "get", "-field=OPENAI_API_KEY", "secret/openclaw"],
        passEnv: ["VAULT_ADDR", "VAULT_TOKEN"],
      },
    },
  },
  models: {
    providers: {
      openai: {
        baseUrl: "UPSTREAM",
        apiKey: { source: "exec", provider: "onepassword_openai", id: "value" },
      },
      backup: {
        baseUrl: "UPSTREAM",
        apiKey: { source: "exec", provider: "vault_openai", id: "value" },
      },
    },
  },
"#;

/// Behaves like `op read`: signed in when its configuration is below `HOME`.
const OP: &str = r#"#!/bin/sh
if [ ! -f "$HOME/.config/op/config" ]; then
  echo "[ERROR] 2026/01/01 00:00:00 You are not currently signed in. Please run \`op signin\`" >&2
  exit 1
fi
if [ "$#" = 2 ] && [ "$1" = read ] && [ "$2" = "op://Personal/OpenClaw QA API Key/password" ]; then
  echo sk-from-1password
else
  echo "[ERROR] 2026/01/01 00:00:00 could not read secret '$2': item not found" >&2
  exit 1
fi
"#;

/// Behaves like `vault kv get -field`: the value without a line feed.
const VAULT: &str = r#"#!/bin/sh
if [ -z "$VAULT_ADDR" ]; then
  echo 'Get "https://127.0.0.1:8200/v1/secret": dial tcp 127.0.0.1:8200: connect: connection refused' >&2
  exit 2
fi
if [ -z "$VAULT_TOKEN" ]; then
  printf 'Error making API request.\n\nCode: 403. Errors:\n\n* permission denied\n' >&2
  exit 2
fi
if [ "$*" = "kv get -field=OPENAI_API_KEY secret/openclaw" ]; then
  printf %s sk-from-vault
else
  echo "No value found at secret/data/openclaw" >&2
  exit 2
fi
"#;

const SIGNED_IN: &[(&str, &str)] = &[
    ("VAULT_ADDR", "https://vault.example:8200"),
    ("VAULT_TOKEN", "hvs.token"),
];

fn place(upstream: &Upstream) -> Place {
    let place = Place::new();
    place.configure(&SECTIONS.replace("UPSTREAM", &upstream.base_url()));
    place.script("homebrew/Caskroom/1password-cli/2.30.0/op", OP);
    place.link("homebrew/bin/op", "../Caskroom/1password-cli/2.30.0/op");
    place.script("homebrew/Cellar/vault/1.18.0/bin/vault", VAULT);
    place.link("homebrew/bin/vault", "../Cellar/vault/1.18.0/bin/vault");
    place.write("home/.config/op/config", "{}");
    place
}

#[test]
fn recipes_work_as_written() {
    let upstream = Upstream::start();
    let place = place(&upstream);
    let gateway = Gateway::start(&place, SIGNED_IN);
    let nginx = Nginx::start(&place, &gateway);
    for (provider, key) in [
        ("openai", "Bearer sk-from-1password"),
        ("backup", "Bearer sk-from-vault"),
    ] {
        let answer = Request::post(&format!("/proxy/{provider}/v1/chat"), "{}")
            .session("nick")
            .send(nginx.front());
        assert_eq!(answer.status, 200, "{provider}: {answer:?}");
        assert_eq!(upstream.take_one().header("authorization"), Some(key));
    }
}

#[test]
fn start_says_what_a_program_that_is_not_signed_in_needs() {
    let upstream = Upstream::start();
    let place = place(&upstream);
    place.remove("home/.config/op/config");
    let ended = Gateway::refuse(&place, &[("VAULT_ADDR", "https://vault.example:8200")]);
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    for part in [
        "secret_provider_exit",
        "onepassword_openai",
        "1Password CLI is not signed in for this process",
        "OP_SERVICE_ACCOUNT_TOKEN",
        "vault_openai",
        "check that VAULT_TOKEN is set and listed in passEnv",
        "not set in the environment: VAULT_TOKEN",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {ended:#?}");
    }
    assert!(
        !ended.stderr.contains("op signin"),
        "the program's own words are not shown: {ended:#?}"
    );
    assert_eq!(ended.stdout, "");
}

#[test]
fn links_are_followed_only_when_the_settings_say_so() {
    let upstream = Upstream::start();
    let place = place(&upstream);
    for (from, to, part) in [
        ("allowSymlinkCommand: true,", "", "allowSymlinkCommand"),
        (
            "[\"DIR/homebrew\"]",
            "[\"DIR/homebrew/bin\"]",
            "trustedDirs",
        ),
    ] {
        let sections = SECTIONS.replacen(from, to, 1);
        place.configure(&sections.replace("UPSTREAM", &upstream.base_url()));
        let ended = Gateway::refuse(&place, SIGNED_IN);
        assert_eq!(ended.code, Some(4), "{ended:#?}");
        for part in ["secret_provider_path_insecure", part] {
            assert!(ended.stderr.contains(part), "{part}: {ended:#?}");
        }
        assert!(!ended.stderr.contains("vault_openai"), "{ended:#?}");
    }
}
