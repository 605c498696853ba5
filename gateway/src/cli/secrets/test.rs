//! `secrets test`: does one reference resolve?

use clap::Arg;
use openclaw_auth::{Code, Error, SecretRef};
use serde_json::json;

use super::{Call, Failed, Node, print};
use crate::cli::args::json;
use crate::cli::output::print_json;
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
    let bytes = value.map_err(Failed::of_command)?.text().expose().len();
    if matches.get_flag("json") {
        print_json(&json!({"ok": true, "ref": label, "bytes": bytes}));
    } else {
        print(&format!("ok ({bytes} bytes)"));
    }
    Ok(0)
}
