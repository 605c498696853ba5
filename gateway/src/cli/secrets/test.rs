//! `secrets test`: does one reference resolve?

use clap::{Arg, ArgMatches, Command};
use openclaw_auth::{Code, Error, SecretRef};
use serde_json::json;

use super::{Failed, Place, json_flag, print};
use crate::cli::output::print_json;

pub(super) fn command() -> Command {
    Command::new("test")
        .about("Resolve one reference; the value is never shown")
        .args([
            Arg::new("what")
                .value_name("PATH|REF")
                .help("Path in the configuration, or source:provider:id")
                .required(true),
            json_flag(),
        ])
}

pub(super) fn run(matches: &ArgMatches, place: &Place) -> Result<u8, Failed> {
    let what = matches.get_one::<String>("what").map_or("", String::as_str);
    let resolver = place.options.resolver().map_err(Failed::of_command)?;
    let label = match SecretRef::parse(what) {
        Some(_) => what.to_owned(),
        None => resolver.label_at(what).ok_or_else(|| {
            let message = format!("{what}: there is no reference at this path");
            let hint = "`openclaw-auth secrets targets` lists them.";
            Failed::of_command(Error::new(Code::SecretPathUnknown, message).with_hint(hint))
        })?,
    };
    let result = {
        let _waiting = place.waiting();
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
