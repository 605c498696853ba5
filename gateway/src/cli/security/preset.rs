//! `security preset`: the settings of the gateway and of a proxy in front of it, ready to paste.
//!
//! The texts are data files. In them `<<name>>` stands for a value, and a line that begins with
//! `@name` is there only when that condition holds.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::{Arg, value_parser};
use openclaw_auth::Code;

use super::super::args::{flag, option};
use super::super::call::Call;
use super::super::output::{Failed, print};
use super::super::tree::{Node, Outcome};

/// A proxy whose configuration is known.
struct Preset {
    name: &'static str,
    about: &'static str,
    user_header: &'static str,
    required: &'static [&'static str],
    /// The header with the client's address, when it is not `X-Forwarded-For`.
    client_ip: Option<&'static str>,
    /// Whether the proxy can send a secret of its own.
    sends_secret: bool,
    file: &'static str,
    text: &'static str,
}

const PRESETS: &[Preset] = &[
    Preset {
        name: "apache",
        about: "Apache with mod_auth_openidc",
        user_header: "x-forwarded-user",
        required: &["x-forwarded-proto", "x-forwarded-host"],
        client_ip: None,
        sends_secret: true,
        file: "/etc/apache2/sites-available/openclaw.conf",
        text: include_str!("presets/apache.conf"),
    },
    Preset {
        name: "caddy",
        about: "Caddy with forward_auth, for example to oauth2-proxy",
        user_header: "x-forwarded-user",
        required: &["x-forwarded-proto", "x-forwarded-host"],
        client_ip: None,
        sends_secret: true,
        file: "/etc/caddy/Caddyfile",
        text: include_str!("presets/caddy.caddyfile"),
    },
    Preset {
        name: "cloudflare",
        about: "Cloudflare Access with cloudflared on this host",
        user_header: "cf-access-authenticated-user-email",
        required: &["cf-access-jwt-assertion", "x-forwarded-proto"],
        client_ip: Some("cf-connecting-ip"),
        sends_secret: false,
        file: "/etc/cloudflared/config.yml",
        text: include_str!("presets/cloudflare.yaml"),
    },
    Preset {
        name: "envoy",
        about: "Envoy with ext_authz, for example to oauth2-proxy",
        user_header: "x-forwarded-user",
        required: &["x-forwarded-proto", "x-request-id"],
        client_ip: None,
        sends_secret: true,
        file: "/etc/envoy/envoy.yaml",
        text: include_str!("presets/envoy.yaml"),
    },
    Preset {
        name: "haproxy",
        about: "HAProxy with an authentication step of your own",
        user_header: "x-forwarded-user",
        required: &["x-forwarded-proto", "x-forwarded-host"],
        client_ip: None,
        sends_secret: true,
        file: "/etc/haproxy/haproxy.cfg",
        text: include_str!("presets/haproxy.cfg"),
    },
    Preset {
        name: "nginx",
        about: "nginx with oauth2-proxy",
        user_header: "x-auth-request-email",
        required: &["x-forwarded-proto", "x-forwarded-host"],
        client_ip: None,
        sends_secret: true,
        file: "/etc/nginx/conf.d/openclaw.conf",
        text: include_str!("presets/nginx.conf"),
    },
    Preset {
        name: "pomerium",
        about: "Pomerium",
        user_header: "x-pomerium-claim-email",
        required: &["x-pomerium-jwt-assertion", "x-forwarded-proto"],
        client_ip: None,
        sends_secret: true,
        file: "/etc/pomerium/config.yaml",
        text: include_str!("presets/pomerium.yaml"),
    },
    Preset {
        name: "traefik",
        about: "Traefik with forward authentication",
        user_header: "x-forwarded-user",
        required: &["x-forwarded-proto", "x-forwarded-server"],
        client_ip: None,
        sends_secret: true,
        file: "/etc/traefik/traefik.yaml and /etc/traefik/openclaw.yaml",
        text: include_str!("presets/traefik.yaml"),
    },
];

pub(super) const NODE: Node = Node {
    name: "preset",
    about: "Print settings for the gateway behind a proxy, and for the proxy",
    build: |command| {
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        let list: Vec<String> = PRESETS
            .iter()
            .map(|preset| format!("  {:<12}{}", preset.name, preset.about))
            .collect();
        command
            .after_help(format!("Proxies:\n{}", list.join("\n")))
            .args([
                Arg::new("name")
                    .value_name("PROXY")
                    .required(true)
                    .value_parser(names)
                    .hide_possible_values(true)
                    .help("The proxy"),
                option("public-host", "HOST", "Host name that users open")
                    .default_value("claw.example.com"),
                option("proxy-ip", "IP", "Address from which the proxy connects")
                    .value_parser(value_parser!(IpAddr))
                    .default_value("127.0.0.1"),
                option("upstream", "IP:PORT", "Address of the gateway")
                    .value_parser(value_parser!(SocketAddr)),
                flag(
                    "secret",
                    "Let the proxy prove itself by a secret of its own",
                ),
            ])
    },
    run: Some(run),
    below: &[],
};

/// Prints the preset.
///
/// # Errors
///
/// A wrong combination of options.
fn run(call: &Call<'_>) -> Outcome {
    let matches = call.matches();
    let text = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let preset = PRESETS
        .iter()
        .find(|preset| Some(preset.name) == text("name"));
    let Some(preset) = preset else {
        return Err(Failed::usage(Code::UsageError, "no such preset"));
    };
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let values = Values {
        public_host: text("public-host").unwrap_or_default().to_owned(),
        proxy_ip: *matches.get_one::<IpAddr>("proxy-ip").unwrap_or(&loopback),
        upstream: matches.get_one::<SocketAddr>("upstream").copied(),
        secret: matches.get_flag("secret"),
    };
    print(&preset.document(&values)?);
    Ok(0)
}

/// What a preset is filled with.
struct Values {
    public_host: String,
    proxy_ip: IpAddr,
    upstream: Option<SocketAddr>,
    secret: bool,
}

impl Preset {
    fn document(&self, values: &Values) -> Result<String, Failed> {
        let usage = |message: &str| Failed::usage(Code::UsageError, message);
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if values.public_host.is_empty() || !values.public_host.chars().all(is_host) {
            return Err(usage("--public-host: not a host name"));
        }
        if values.secret && !self.sends_secret {
            return Err(usage(
                "--secret: this proxy cannot send a secret of its own",
            ));
        }
        let upstream = match values.upstream {
            Some(upstream) => upstream,
            None if values.proxy_ip.is_loopback() => (Ipv4Addr::LOCALHOST, DEFAULT_PORT).into(),
            None => {
                return Err(usage(
                    "--proxy-ip: a proxy on another host needs --upstream, the gateway's address",
                ));
            }
        };
        let filler = Filler {
            preset: self,
            values,
            upstream,
        };
        let mut parts = vec![
            format!("// openclaw.json: merge this in.\n{}", filler.fill(MAIN)),
            format!("# {}\n{}", self.file, filler.fill(self.text)),
        ];
        if filler.needs_extension() {
            let extension = filler.fill(EXTENSION);
            let note = format!(
                "// openclaw-auth.json5, beside it: settings that OpenClaw does not know.\n{extension}"
            );
            parts.insert(1, note);
        }
        Ok(parts.join("\n").trim_end().to_owned())
    }
}

struct Filler<'a> {
    preset: &'a Preset,
    values: &'a Values,
    upstream: SocketAddr,
}

impl Filler<'_> {
    fn holds(&self, condition: &str) -> bool {
        match condition {
            "client_ip" => self.preset.client_ip.is_some(),
            "custom" => !self.upstream.ip().is_loopback(),
            "loopback" => self.values.proxy_ip.is_loopback(),
            _ => self.values.secret,
        }
    }

    fn needs_extension(&self) -> bool {
        ["client_ip", "loopback", "secret"]
            .into_iter()
            .any(|condition| self.holds(condition))
    }

    fn fill(&self, text: &str) -> String {
        let kept = text
            .lines()
            .filter_map(|line| match line.strip_prefix('@') {
                None => Some(line),
                Some(rest) => {
                    let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_')?;
                    let (condition, line) = rest.split_at_checked(end)?;
                    self.holds(condition).then_some(line)
                }
            });
        let mut filled = String::new();
        for line in kept {
            filled.push_str(line);
            filled.push('\n');
        }
        let bind = if self.holds("custom") {
            "custom"
        } else {
            "loopback"
        };
        let quoted: Vec<String> = self
            .preset
            .required
            .iter()
            .map(|name| format!("\"{name}\""))
            .collect();
        let values = [
            ("bind", bind.to_owned()),
            (
                "client_ip_header",
                self.preset.client_ip.unwrap_or_default().to_owned(),
            ),
            ("gateway_host", self.upstream.ip().to_string()),
            ("gateway_port", self.upstream.port().to_string()),
            ("proxy_ip", self.values.proxy_ip.to_string()),
            ("public_host", self.values.public_host.clone()),
            ("required_headers", quoted.join(", ")),
            ("upstream", self.upstream.to_string()),
            ("user_header", self.preset.user_header.to_owned()),
        ];
        for (name, value) in values {
            filled = filled.replace(&format!("<<{name}>>"), &value);
        }
        filled
    }
}

const DEFAULT_PORT: u16 = 18_789;
const MAIN: &str = include_str!("presets/openclaw.json5");
const EXTENSION: &str = include_str!("presets/openclaw-auth.json5");

#[cfg(test)]
mod tests {
    use openclaw_auth::access::AuditSeverity;
    use openclaw_auth::host::Host;
    use openclaw_auth::report::{SecurityOptions, security};
    use openclaw_auth::{Engine, Options};

    use super::*;

    fn values(secret: bool, remote: bool) -> Values {
        Values {
            public_host: "claw.example.com".to_owned(),
            proxy_ip: if remote { "10.0.0.1" } else { "127.0.0.1" }
                .parse()
                .unwrap(),
            upstream: remote.then(|| "10.0.0.5:18789".parse().unwrap()),
            secret,
        }
    }

    /// The printed parts: `openclaw.json`, `openclaw-auth.json5` (may be absent), the proxy's.
    fn parts(document: &str) -> (String, Option<String>, String) {
        let (json, proxy) = document.split_once("\n# /etc/").unwrap();
        let (main, extension) = match json.split_once("\n// openclaw-auth.json5") {
            Some((main, rest)) => {
                let (_, extension) = rest.split_once('\n').unwrap();
                (main, Some(extension.to_owned()))
            }
            None => (json, None),
        };
        (main.to_owned(), extension, proxy.to_owned())
    }

    #[expect(clippy::disallowed_methods, reason = "the test makes its own files")]
    fn write(folder: &std::path::Path, name: &str, text: &str) {
        std::fs::write(folder.join(name), text).unwrap();
    }

    #[test]
    fn every_preset_loads_and_the_audit_is_content() {
        for preset in PRESETS {
            for (secret, remote) in [(false, false), (true, false), (false, true), (true, true)] {
                if secret && !preset.sends_secret {
                    continue;
                }
                let case = format!("{} secret={secret} remote={remote}", preset.name);
                let document = preset.document(&values(secret, remote)).unwrap();
                let (main, extension, proxy) = parts(&document);
                for left in ["<<", ">>", "\n@"] {
                    assert!(!document.contains(left), "{case}: {left} is left");
                }
                assert_eq!(
                    secret,
                    proxy.to_lowercase().contains("openclaw-proxy-secret"),
                    "{case}"
                );

                let state = tempfile::tempdir().unwrap();
                let config = state.path().join("openclaw.json");
                write(state.path(), "openclaw.json", &main);
                if let Some(extension) = extension {
                    write(state.path(), "openclaw-auth.json5", &extension);
                }
                let secret_line = "OPENCLAW_PROXY_SECRET=0123456789-0123456789-0123456789\n";
                write(state.path(), ".env", secret_line);
                let options = Options::new()
                    .config_path(&config)
                    .state_dir(state.path())
                    .require_access(true);
                let engine = Engine::open(options).expect(&case);
                assert_eq!(engine.snapshot().access().mode().as_str(), "trusted-proxy");

                let mut audit = SecurityOptions::default();
                audit.config = Some(config);
                audit.state_dir = Some(state.path().to_owned());
                let report = security(&Host::real(), &audit).unwrap();
                let above: Vec<&str> = report
                    .findings()
                    .iter()
                    .filter(|finding| finding.severity != AuditSeverity::Info)
                    .map(|finding| finding.check_id)
                    // The folder of the test; and what only --secret can mend.
                    .filter(|id| !id.starts_with("fs."))
                    .filter(|id| secret || !id.ends_with("user_header_generic"))
                    .collect();
                let expected: &[&str] = match (secret, remote) {
                    (true, false) => &[],
                    (_, true) => &["gateway.exposed_bind", "gateway.tls_plain_exposed"],
                    (false, false) => &["gateway.trusted_proxy_allow_loopback"],
                };
                assert_eq!(above, expected, "{case}");
            }
        }
    }

    #[test]
    fn wrong_combinations_are_usage_errors() {
        let find = |name| PRESETS.iter().find(|preset| preset.name == name).unwrap();
        let cloudflare = find("cloudflare").document(&values(true, false));
        let no_upstream = Values {
            upstream: None,
            ..values(false, true)
        };
        let odd_host = Values {
            public_host: "a b".to_owned(),
            ..values(false, false)
        };
        for result in [
            cloudflare,
            find("nginx").document(&no_upstream),
            find("nginx").document(&odd_host),
        ] {
            assert_eq!(result.unwrap_err().exit, 64);
        }
    }
}
