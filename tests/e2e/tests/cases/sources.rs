//! Secrets from the environment, a JSON file and a resolver program at once.

use crate::support::{Gateway, Nginx, Place, Request, Upstream};

/// The three providers of secrets, one provider of models for each.
const SECTIONS: &str = r#"
  secrets: {
    providers: {
      default: { source: "env" },
      filemain: { source: "file", path: "DIR/secrets.json", mode: "json" },
      vault: {
        source: "exec",
        command: "DIR/bin/openclaw-vault-resolver",
        args: ["--profile", "prod"],
        passEnv: ["PATH", "VAULT_ADDR"],
        jsonOnly: true,
      },
    },
    defaults: { env: "default", file: "filemain", exec: "vault" },
  },
  models: {
    providers: {
      openai: {
        baseUrl: "UPSTREAM",
        api: "openai-completions",
        apiKey: { source: "env", provider: "default", id: "OPENAI_API_KEY" },
      },
      anthropic: {
        baseUrl: "UPSTREAM",
        api: "anthropic-messages",
        apiKey: { source: "file", provider: "filemain", id: "/providers/anthropic/apiKey" },
      },
      google: {
        baseUrl: "UPSTREAM",
        api: "google-generative-ai",
        apiKey: { source: "exec", provider: "vault", id: "providers/google/apiKey" },
      },
      mistral: {
        baseUrl: "UPSTREAM",
        apiKey: { source: "exec", provider: "vault", id: "providers/mistral/apiKey" },
      },
    },
  },
"#;

/// Speaks protocol version 1. Knows every id that begins with `providers/`, and writes down how
/// it was called.
const RESOLVER: &str = r#"#!/bin/sh
request=$(cat)
printf '%s|%s|%s\n' "$*" "$(env | sed 's/=.*//' | grep -v '^_$\|^PWD$\|^SHLVL$\|^OLDPWD$' | sort | tr '\n' ' ')" "$request" >> DIR/calls
[ "$VAULT_ADDR" = https://vault.example:8200 ] || exit 3
values= errors=
for id in $(printf '%s' "$request" | sed 's/.*"ids":\[\([^]]*\)\].*/\1/; s/"//g; s/,/ /g'); do
  case $id in
    providers/*) values="$values,\"$id\":\"key-of-$id\"" ;;
    *) errors="$errors,\"$id\":{\"code\":\"NOT_FOUND\"}" ;;
  esac
done
printf '{"protocolVersion":1,"values":{%s},"errors":{%s}}' "${values#,}" "${errors#,}"
"#;

const ENV: &[(&str, &str)] = &[
    ("OPENAI_API_KEY", "key-from-env"),
    ("VAULT_ADDR", "https://vault.example:8200"),
    ("UNRELATED_TOKEN", "not-for-the-resolver"),
];

fn place(upstream: &Upstream) -> Place {
    let place = Place::new();
    place.configure(&SECTIONS.replace("UPSTREAM", &upstream.base_url()));
    place.write(
        "secrets.json",
        r#"{"providers":{"anthropic":{"apiKey":"key-from-file"}}}"#,
    );
    place.script("bin/openclaw-vault-resolver", RESOLVER);
    place
}

#[test]
fn each_provider_gets_the_key_of_its_source() {
    let upstream = Upstream::start();
    let place = place(&upstream);
    let gateway = Gateway::start(&place, ENV);
    let nginx = Nginx::start(&place, &gateway);
    for (provider, header, key) in [
        ("openai", "authorization", "Bearer key-from-env"),
        ("anthropic", "x-api-key", "key-from-file"),
        ("google", "x-goog-api-key", "key-of-providers/google/apiKey"),
        (
            "mistral",
            "authorization",
            "Bearer key-of-providers/mistral/apiKey",
        ),
    ] {
        let answer = Request::post(&format!("/proxy/{provider}/v1/chat"), "{}")
            .session("nick")
            .send(nginx.front());
        assert_eq!(answer.status, 200, "{provider}: {answer:?}");
        let arrived = upstream.take_one();
        assert_eq!(arrived.header(header), Some(key), "{provider}");
        for other in ["authorization", "x-api-key", "x-goog-api-key"] {
            let has = arrived.header(other).is_some();
            assert_eq!(has, other == header, "{provider}: {other}");
        }
    }
    // One call for both ids, with the arguments and the environment that the settings say.
    assert_eq!(
        place.text("calls"),
        "--profile prod|PATH VAULT_ADDR |{\"protocolVersion\":1,\"provider\":\"vault\",\
         \"ids\":[\"providers/google/apiKey\",\"providers/mistral/apiKey\"]}\n"
    );
}

#[test]
fn a_check_resolves_all_three_without_listening() {
    let upstream = Upstream::start();
    let place = place(&upstream);
    let config = place.config();
    let options = ["--config", config.to_str().unwrap(), "--check"];
    let ended = Gateway::run(&place, ENV, &options);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stdout.contains("configuration is fine"), "{ended:#?}");
    assert!(!ended.stdout.contains("listening"), "{ended:#?}");
}
