//! `secrets test`: does one reference resolve?

use clap::Arg;
use openclaw_auth::{Code, Error, SecretRef};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Call, Failed, Node, print};
use crate::cli::args::{flag, json};
use crate::cli::output::{print_json, print_to_stderr};
use crate::cli::tree::Outcome;

pub(super) const NODE: Node = Node {
    name: "test",
    about: "Resolve one reference; the value is never shown",
    build: |command| {
        command.args([
            Arg::new("what")
                .value_name("PATH|REF")
                .help("Path in the configuration, or source:provider:id")
                .required(true),
            flag(
                "show-stderr",
                "Also show what the provider's program wrote to standard error; it may hold secrets",
            ),
            json(),
        ])
    },
    run: Some(run),
    below: &[],
};

fn run(call: &Call<'_>) -> Outcome {
    let matches = call.matches();
    let what = matches.get_one::<String>("what").map_or("", String::as_str);
    let resolver = call.options.resolver().map_err(Failed::of_command)?;
    let label = match SecretRef::parse(what) {
        Some(_) => what.to_owned(),
        None => resolver.label_at(what).ok_or_else(|| {
            let message = format!("{what}: there is no reference at this path");
            let hint = "`openclaw-auth secrets targets` lists them.";
            Failed::of_command(Error::new(Code::SecretPathUnknown, message).with_hint(hint))
        })?,
    };
    let result = {
        let _waiting = call.waiting();
        resolver.resolve(&[&label]).pop()
    };
    let nothing = || Error::new(Code::InternalError, "the reference was not resolved");
    let value = result.unwrap_or_else(|| Err(nothing()));
    if let (true, Err(error)) = (matches.get_flag("show-stderr"), &value) {
        show_program_output(error);
    }
    let bytes = value.map_err(Failed::of_command)?.text().expose().len();
    if matches.get_flag("json") {
        print_json(&json!({"ok": true, "ref": label, "bytes": bytes}));
    } else {
        print(&format!("ok ({bytes} bytes)"));
    }
    Ok(0)
}

/// Prints the program's own words, without characters that steer a terminal.
fn show_program_output(error: &Error) {
    let Some(output) = error.program_output() else {
        print_to_stderr("The program wrote nothing to standard error.");
        return;
    };
    print_to_stderr("The program wrote to standard error:");
    for line in output.expose().lines() {
        let shown = Zeroizing::new(line.replace(|c: char| c.is_control() && c != '\t', " "));
        print_to_stderr(&shown);
    }
}
