//! `openclaw-auth gateway`: the reference gateway.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, value_parser};
use openclaw_auth::access::{AuthMethod, Overrides};
use openclaw_auth::host::Host;
use openclaw_auth::{Code, Error, SecretText};

use super::args::{flag, option, path};
use super::call::Call;
use super::logger::LogFormat;
use super::output::{Failed, print};
use super::start_log;
use super::tree::{Node, Outcome};
use crate::server::{self, BindOptions, Ended, Launch, OpenRequest};

pub(super) const NODE: Node = Node {
    name: "gateway",
    about: "Run the reference gateway",
    build: |command| command.args(arguments()),
    run: Some(run),
    below: &[Node {
        name: "run",
        about: "Run the reference gateway",
        build: |command| command.args(arguments()),
        run: Some(run),
        below: &[],
    }],
};

fn run(call: &Call<'_>) -> Outcome {
    let matches = call.matches();
    let format = match call.text("log") {
        Some("json") => LogFormat::Json,
        _ => LogFormat::Text,
    };
    start_log(matches, log::LevelFilter::Info, format);
    refuse_and_notice(matches)?;
    let launch = launch(call).map_err(Failed::of_gateway)?;
    match server::run(launch, &call.host, &print).map_err(Failed::of_gateway)? {
        Ended::Normally => Ok(0),
        Ended::CutShort(signal) => Ok(128 + signal),
    }
}

fn arguments() -> Vec<Arg> {
    let mut arguments = vec![
        option("bind", "MODE", "Where to listen; replaces gateway.bind")
            .value_parser(["loopback", "lan", "custom", "auto", "tailnet"]),
        option(
            "host",
            "ADDR",
            "Listen on this IP address; wins over --bind",
        )
        .value_parser(value_parser!(IpAddr)),
        option("port", "N", "Port; 0 is any free one, which is printed")
            .value_parser(value_parser!(u16)),
        option("auth", "MODE", "Replaces gateway.auth.mode").value_parser([
            "none",
            "token",
            "password",
            "trusted-proxy",
        ]),
        path("token-file", "FILE", "File that holds the gateway's token"),
        path(
            "password-file",
            "FILE",
            "File that holds the gateway's password",
        ),
        option("log", "FORMAT", "Form of the log").value_parser(["text", "json"]),
        path(
            "access-log",
            "FILE",
            "Write the access log there instead of to standard error",
        ),
        flag("check", "Check configuration and secrets, then end"),
        flag(
            "demo",
            "Run on built-in settings with a built-in mock provider",
        ),
    ];
    arguments.extend(
        REFUSED
            .iter()
            .map(|(name, _, _)| Arg::new(*name).long(*name).num_args(0..=1).hide(true)),
    );
    arguments.extend(
        NO_EFFECT
            .iter()
            .map(|name| Arg::new(*name).long(*name).num_args(0..=1).hide(true)),
    );
    arguments
}

fn refuse_and_notice(matches: &ArgMatches) -> Result<(), Failed> {
    for (name, code, advice) in REFUSED {
        if was_given(matches, name) {
            return Err(Failed::usage(*code, advice));
        }
    }
    for name in NO_EFFECT.iter().filter(|name| was_given(matches, name)) {
        log::warn!("--{name} has no effect here");
    }
    Ok(())
}

fn was_given(matches: &ArgMatches, name: &str) -> bool {
    matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine)
}

fn launch(call: &Call<'_>) -> Result<Launch, Error> {
    let (matches, host) = (call.matches(), &call.host);
    let path = |name: &str| call.path(name);
    let text = |name: &str| call.text(name).map(str::to_owned);
    let secret = |name: &str| path(name).map(|path| read_secret(host, &path)).transpose();
    let port = match matches.get_one::<u16>("port") {
        Some(port) => Some(*port),
        None => port_of(host)?,
    };
    let access = Overrides {
        mode: text("auth").and_then(|word| AuthMethod::from_word(&word)),
        token: secret("token-file")?,
        password: secret("password-file")?,
        port,
    };
    Ok(Launch {
        open: OpenRequest {
            config: text("config").map(PathBuf::from),
            state_dir: call.named_state_dir(),
            access,
            ..OpenRequest::default()
        },
        bind: BindOptions {
            mode: text("bind"),
            host: matches.get_one::<IpAddr>("host").copied(),
            port,
        },
        access_log: path("access-log"),
        check: matches.get_flag("check"),
        demo: matches.get_flag("demo"),
    })
}

fn port_of(host: &Host) -> Result<Option<u16>, Error> {
    let Some(text) = host.env.vars().get(PORT_VARIABLE).map(|text| text.trim()) else {
        return Ok(None);
    };
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Error::new(
            Code::ConfigInvalidValue,
            format!("{PORT_VARIABLE}: not a port number"),
        )
    })
}

/// A secret from a file; blanks and line breaks around it do not belong to it.
fn read_secret(host: &Host, path: &Path) -> Result<SecretText, Error> {
    let failed = |reason: &str| {
        Error::new(
            Code::GatewayFileFailed,
            format!("{}: {reason}", path.display()),
        )
    };
    let read = host
        .files
        .open(path)
        .and_then(|mut file| file.read_to_limit(SECRET_LIMIT));
    let bytes = read
        .map_err(|error| failed(&error.kind().to_string()))?
        .ok_or_else(|| failed("too large for a secret"))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| failed("not UTF-8"))?
        .trim();
    if text.is_empty() {
        return Err(failed("holds no secret"));
    }
    Ok(SecretText::new(text.to_owned()))
}

const PORT_VARIABLE: &str = "OPENCLAW_GATEWAY_PORT";
const SECRET_LIMIT: u64 = 64 * 1024;

/// Options of OpenClaw that are dangerous here, and what to do instead.
const REFUSED: &[(&str, Code, &str)] = &[
    (
        "token",
        Code::SecretOnCommandLine,
        "--token would show the token to every user of this machine; use --token-file or a \
         reference in gateway.auth.token",
    ),
    (
        "password",
        Code::SecretOnCommandLine,
        "--password would show the password to every user of this machine; use --password-file \
         or a reference in gateway.auth.password",
    ),
    (
        "force",
        Code::UsageError,
        "--force is not supported; stop the program that uses the port yourself",
    ),
];

/// Options of OpenClaw that are accepted so that its scripts keep working.
const NO_EFFECT: &[&str] = &["verbose", "compact", "ws-log", "allow-unconfigured"];

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(line: &[&str]) -> ArgMatches {
        let line = [&["gateway"], line].concat();
        NODE.command().try_get_matches_from(line).unwrap()
    }

    #[test]
    fn secrets_on_the_command_line_are_refused() {
        for (line, code) in [
            (&["--token", "abc"][..], Code::SecretOnCommandLine),
            (&["--password=abc"], Code::SecretOnCommandLine),
            (&["--force"], Code::UsageError),
        ] {
            let failed = refuse_and_notice(&matches(line)).unwrap_err();
            assert_eq!((failed.error.code(), failed.exit), (code, 64), "{line:?}");
            assert!(!failed.error.message().contains("abc"));
        }
        assert!(refuse_and_notice(&matches(&["--verbose", "--ws-log", "full"])).is_ok());
    }
}
