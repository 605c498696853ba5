//! Signing in: through the browser, by pasting, or by what another program knows.

use std::io::BufRead as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use clap::Arg;
use openclaw_auth::{Code, Engine, Error, LoginDone, LoginFlow, LoginOptions, SecretText};
use serde_json::json;

use super::super::args::{duration, flag, json as json_flag, option};
use super::super::interrupt;
use super::super::output::{Failed, note, print, print_json, print_to_stderr};
use super::paste;
use super::{
    Call, Outcome, config_update, failed, name_in_config, profile_id, provider, replace,
    report_edit, span,
};

/// Methods of providers that differ from the others; the first is the default.
const METHODS: &[(&str, &[&str])] = &[
    ("openai-codex", &["oauth", "codex-cli"]),
    ("codex", &["oauth", "codex-cli"]),
    (
        "anthropic",
        &["api-key", "setup-token", "cli", "claude-cli"],
    ),
];
/// What a person may choose from when no provider is named.
const PROVIDERS: [(&str, &str); 2] = [
    ("openai-codex", "ChatGPT account, through the browser"),
    (
        "anthropic",
        "API key, setup-token, or the local claude program",
    ),
];
/// What each method does.
const ABOUT: &[(&str, &str)] = &[
    ("oauth", "sign in with the browser"),
    ("api-key", "paste an API key"),
    ("setup-token", "paste the output of `claude setup-token`"),
    ("token", "paste a bearer token"),
    ("cli", "let the local claude program serve the models"),
    ("claude-cli", "read the login of the claude program"),
    ("codex-cli", "read the login of the codex program"),
];
const OTHER_METHODS: &[&str] = &["oauth", "api-key", "token"];
const LISTEN: Duration = Duration::from_millis(200);

pub(super) fn arguments() -> Vec<Arg> {
    vec![
        provider(),
        option(
            "method",
            "METHOD",
            "How to sign in, such as oauth, cli, codex-cli",
        ),
        profile_id(),
        flag("set-default", "Make the provider's model the default one"),
        flag("browser", "Open a browser even on a remote machine").conflicts_with("no-browser"),
        flag("no-browser", "Only print the address"),
        duration(
            "timeout",
            "How long the browser is waited for, such as 5m",
            "s",
        ),
        replace(),
        config_update(),
        json_flag(),
    ]
}

/// `models auth login`.
pub(super) fn run(call: &Call<'_>) -> Outcome {
    let provider = which_provider(call)?;
    let methods = METHODS.iter().find(|(id, _)| *id == provider);
    let methods = methods.map_or(OTHER_METHODS, |(_, methods)| methods);
    let method = match call.text("method") {
        Some(method) if methods.contains(&method) => method.to_owned(),
        Some(method) => {
            let message = format!(
                "{provider} has no method \"{method}\"; methods: {}",
                methods.join(", ")
            );
            return Err(failed(Error::new(Code::UnknownMethod, message)));
        }
        None => which_method(call, methods)?,
    };
    match method.as_str() {
        "oauth" => sign_in(call, &provider),
        "cli" => claude_cli(call),
        "claude-cli" | "codex-cli" => link(call, &method),
        "setup-token" => paste::setup_token(call),
        "api-key" => paste::api_key_for(call, &provider),
        _ => paste::token_for(call, &provider),
    }
}

/// The provider that was named, or that a person chooses.
fn which_provider(call: &Call<'_>) -> Result<String, Failed> {
    if let Some(provider) = call.text("provider") {
        return Ok(provider.to_owned());
    }
    let known = PROVIDERS.map(|(id, about)| (id.to_owned(), about.to_owned()));
    let chosen = call.choose("Provider", &known)?.map(str::to_owned);
    chosen.ok_or_else(|| {
        let message = "--provider is missing, such as openai-codex or anthropic";
        Failed::usage(Code::UsageError, message)
    })
}

/// The method that a person chooses, or the first.
fn which_method(call: &Call<'_>, methods: &[&str]) -> Result<String, Failed> {
    let first = methods.first().copied().unwrap_or("oauth").to_owned();
    if methods.len() < 2 {
        return Ok(first);
    }
    let about = |method: &str| {
        let row = ABOUT.iter().find(|(known, _)| *known == method);
        row.map_or("", |(_, about)| about).to_owned()
    };
    let choices = methods
        .iter()
        .map(|method| ((*method).to_owned(), about(method)));
    let choices: Vec<_> = choices.collect();
    let chosen = call.choose("Method", &choices)?.map(str::to_owned);
    Ok(chosen.unwrap_or(first))
}

fn sign_in(call: &Call<'_>, provider: &str) -> Outcome {
    let engine = call.open()?;
    let mut options = LoginOptions::default();
    options.agent = call.text("agent").map(str::to_owned);
    options.profile_id = call.text("profile-id").map(str::to_owned);
    options.replace = call.flag("replace");
    options.timeout_ms = call.number("timeout");
    let mut flow = engine.oauth_begin(provider, options).map_err(failed)?;
    invite(call, &mut flow);
    let lines = pasted_lines();
    let done = await_answer(&engine, &mut flow, &lines).map_err(failed)?;
    finish(call, &engine, &done)
}

/// Shows the address, and opens it where a browser is likely.
fn invite(call: &Call<'_>, flow: &mut LoginFlow) {
    warn(flow);
    print_to_stderr(&format!(
        "Sign in to {} with this address:\n\n{}\n",
        flow.label(),
        flow.url()
    ));
    let remote = (flow.is_remote() || call.flag("no-browser")) && !call.flag("browser");
    if !remote {
        open_browser(flow.url());
    } else if let Some(address) = flow.addresses().first() {
        let port = address.port();
        print_to_stderr(&format!(
            "If the browser is on another machine, forward the port:\n  ssh -L {port}:127.0.0.1:{port} <host>"
        ));
    }
    interrupt::watch();
    print_to_stderr("Paste the address from the browser (or the code):");
}

fn warn(flow: &mut LoginFlow) {
    for warning in flow.take_warnings() {
        note(&format!("warning: {warning}"));
    }
}

/// Whichever comes first: the browser, or a line that somebody pastes.
fn await_answer(
    engine: &Engine,
    flow: &mut LoginFlow,
    lines: &Receiver<SecretText>,
) -> openclaw_auth::Result<LoginDone> {
    loop {
        let arrived = flow.listen(LISTEN)?;
        warn(flow);
        let answer = arrived.or_else(|| lines.try_recv().ok());
        let Some(answer) = answer.filter(|answer| !answer.expose().trim().is_empty()) else {
            continue;
        };
        match engine.oauth_complete(flow, answer.expose()) {
            Err(error) if !flow.has_ended() => {
                print_to_stderr(&format!("{} ({})", error.message(), error.code()));
            }
            outcome => return outcome,
        }
    }
}

/// Lines of standard input, read beside the wait for the browser.
fn pasted_lines() -> Receiver<SecretText> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let sent = line
                .ok()
                .and_then(|line| send.send(SecretText::new(line)).ok());
            if sent.is_none() {
                return;
            }
        }
    });
    receive
}

/// Opens an address without a shell. That it fails only means that a person opens it.
#[expect(
    clippy::disallowed_methods,
    reason = "a browser outlives this program and has no limits to hold"
)]
fn open_browser(url: &str) {
    let named = std::env::var("BROWSER")
        .ok()
        .filter(|name| !name.trim().is_empty());
    let usual = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let started = Command::new(named.as_deref().unwrap_or(usual))
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Ok(mut browser) = started {
        thread::spawn(move || browser.wait());
    }
}

fn finish(call: &Call<'_>, engine: &Engine, done: &LoginDone) -> Outcome {
    let profile = (done.profile_id.as_str(), done.provider.as_str(), "oauth");
    let updated = name_in_config(call, engine, profile, done.email.as_deref());
    let set_default = call.flag("set-default");
    let model = done.default_model.as_deref();
    let is_set = match model {
        Some(model) if set_default => report_edit(engine.set_default_model(model)),
        _ => false,
    };
    if call.flag("json") {
        let mut document = done.to_json();
        if let Some(map) = document.as_object_mut() {
            map.insert("configUpdated".to_owned(), (updated || is_set).into());
            map.insert("defaultModelSet".to_owned(), is_set.into());
        }
        print_json(&document);
        return Ok(0);
    }
    let ends = done
        .expires
        .map(|at| span(at.saturating_sub(call.now_ms())));
    let ends = ends.map_or_else(String::new, |ends| format!(", expires in {ends}"));
    print(&format!(
        "Auth profile: {} ({}/oauth){ends}",
        done.profile_id, done.provider
    ));
    for code in &done.warnings {
        note(&format!("warning: {} ({code})", code.info().meaning));
    }
    match model {
        Some(model) if is_set => print(&format!("Default model: {model}")),
        Some(model) => print(&format!(
            "Default model available: {model} (use --set-default to apply)"
        )),
        None => {}
    }
    Ok(0)
}

/// A profile that reads the login of another program.
fn link(call: &Call<'_>, program: &str) -> Outcome {
    let engine = call.open()?;
    let done = engine
        .oauth_link(call.text("agent"), program)
        .map_err(failed)?;
    finish(call, &engine, &done)
}

/// Lets the local `claude` program serve the Anthropic models.
fn claude_cli(call: &Call<'_>) -> Outcome {
    let engine = call.open()?;
    let set_default = call.flag("set-default");
    let done = engine.use_claude_cli(set_default).map_err(failed)?;
    let edit = done.edit.clone();
    let by_hand = matches!(edit, openclaw_auth::ConfigEdit::ByHand { .. });
    let changed = report_edit(Ok(edit));
    if call.flag("json") {
        let backup = done.backup.as_ref().map(|path| path.display().to_string());
        let document = json!({
            "provider": "claude-cli",
            "defaultModel": done.default_model,
            "defaultModelSet": set_default && !by_hand,
            "configUpdated": changed,
            "backup": backup,
            "previousModel": done.previous,
        });
        print_json(&document);
        return Ok(u8::from(by_hand));
    }
    if by_hand {
        let message = "openclaw.json has to be changed by hand";
        return Err(failed(Error::new(Code::ConfigWriteFailed, message)));
    }
    if set_default {
        print(&format!("Default model: {}", done.default_model));
    } else {
        print(&format!(
            "Default model available: {} (use --set-default to apply)",
            done.default_model
        ));
    }
    if let Some(backup) = &done.backup {
        print(&format!("The file before is kept as {}", backup.display()));
    }
    if let (Some(previous), true) = (&done.previous, set_default) {
        print(&format!("To go back: openclaw-auth models set {previous}"));
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_leads_somewhere() {
        for methods in METHODS
            .iter()
            .map(|(_, methods)| *methods)
            .chain([OTHER_METHODS])
        {
            assert!(!methods.is_empty());
            for method in methods {
                assert!(
                    [
                        "oauth",
                        "cli",
                        "codex-cli",
                        "claude-cli",
                        "api-key",
                        "setup-token",
                        "token"
                    ]
                    .contains(method),
                    "{method}"
                );
            }
        }
    }
}
