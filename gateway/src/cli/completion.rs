//! `completion` and `man`: texts made from the table of commands.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction};
use clap_complete::{Shell, generate};
use openclaw_auth::report::{StatusOptions, doctor_checks};
use openclaw_auth::{Code, Error};
use serde_json::Value;

use super::args::{flag, option, yes};
use super::call::Call;
use super::output::{Failed, note, print};
use super::tree::{Node, Outcome};

pub(super) const NODE: Node = Node {
    name: "completion",
    about: "Print or install completion for a shell",
    build: |command| {
        command
            .args([
                option(
                    "shell",
                    "SHELL",
                    "bash, zsh, fish or powershell [default: $SHELL]",
                )
                .short('s')
                .value_parser(["bash", "zsh", "fish", "powershell"])
                .hide_possible_values(true),
                flag("install", "Add it to the start-up file of the shell").short('i'),
                flag(
                    "write-state",
                    "Write the scripts of all shells to the state folder",
                ),
                yes(),
            ])
            .after_help("Example:\n  source <(openclaw-auth completion --shell bash)")
    },
    run: Some(run),
    below: &[],
};

pub(super) const MAN: Node = Node {
    name: "man",
    about: "Print a manual page, for man -l",
    build: |command| {
        command
            .arg(
                Arg::new("words")
                    .value_name("COMMAND")
                    .action(ArgAction::Append)
                    .help("Words of the command [default: the whole program]"),
            )
            .after_help("Example:\n  openclaw-auth man models status | man -l -")
    },
    run: Some(man),
    below: &[],
};

/// Values for completion scripts.
pub(super) const VALUES: Node = Node {
    name: "__complete",
    about: "Print values for completion",
    build: |command| {
        let kinds = [
            "agents",
            "aliases",
            "checks",
            "codes",
            "models",
            "profiles",
            "providers",
        ];
        command.hide(true).args([
            Arg::new("kind")
                .required(true)
                .value_parser(kinds)
                .help("Which values"),
            Arg::new("prefix").help("How they begin"),
        ])
    },
    run: Some(values),
    below: &[],
};

const SHELLS: [(Shell, &str); 4] = [
    (Shell::Bash, "bash"),
    (Shell::Fish, "fish"),
    (Shell::PowerShell, "ps1"),
    (Shell::Zsh, "zsh"),
];

fn run(call: &Call<'_>) -> Outcome {
    let folder = call.options.locations().state.join("completions");
    if call.flag("write-state") {
        for (shell, _) in SHELLS {
            write_script(call, &folder, shell)?;
        }
        return Ok(0);
    }
    let shell = shell(call);
    if call.flag("install") {
        return install(call, &folder, shell);
    }
    print(script(shell).trim_end());
    Ok(0)
}

/// The shell that was named, or the one that is in use.
fn shell(call: &Call<'_>) -> Shell {
    let in_use = call.host.env.vars().get("SHELL");
    let in_use = in_use.and_then(|path| Path::new(path.as_str()).file_name()?.to_str());
    match call.text("shell").or(in_use) {
        Some("bash") => Shell::Bash,
        Some("fish") => Shell::Fish,
        Some("powershell" | "pwsh") => Shell::PowerShell,
        _ => Shell::Zsh,
    }
}

fn script(shell: Shell) -> String {
    let mut text = Vec::new();
    generate(shell, &mut super::command(), "openclaw-auth", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn script_path(folder: &Path, shell: Shell) -> PathBuf {
    let ending = SHELLS.iter().find(|(known, _)| *known == shell);
    let ending = ending.map_or("", |(_, ending)| ending);
    folder.join(format!("openclaw-auth.{ending}"))
}

fn write_script(call: &Call<'_>, folder: &Path, shell: Shell) -> Result<PathBuf, Failed> {
    let made = call.host.files.create_dir_all(folder, 0o700);
    made.map_err(|error| {
        let message = format!("{}: {}", folder.display(), error.kind());
        Failed::of_command(Error::new(Code::GatewayFileFailed, message))
    })?;
    let path = script_path(folder, shell);
    call.write(&path, &script(shell))?;
    Ok(path)
}

/// Writes the script and one block in the start-up file; the rest of that file stays.
fn install(call: &Call<'_>, folder: &Path, shell: Shell) -> Outcome {
    let home = call.options.locations().home;
    let exists = |path: &PathBuf| call.host.files.stat(path).is_ok();
    let start_up = match shell {
        Shell::Bash => {
            let usual = home.join(".bashrc");
            if exists(&usual) {
                usual
            } else {
                home.join(".bash_profile")
            }
        }
        Shell::Fish => home.join(".config/fish/config.fish"),
        Shell::Zsh => home.join(".zshrc"),
        _ => {
            let message = "add the printed script to your PowerShell profile yourself";
            return Err(Failed::usage(Code::UsageError, message));
        }
    };
    let shown = call.shown(&start_up);
    if !call.agrees(&format!("Add completion to {shown}?"), true)? {
        note("Nothing was changed.");
        return Ok(0);
    }
    let script = write_script(call, folder, shell)?;
    let before = match exists(&start_up) {
        true => call.read(&start_up, MAX_START_UP)?.to_string(),
        false => String::new(),
    };
    let after = with_block(&before, &block(&script, shell));
    if after != before {
        let mode = call
            .host
            .files
            .stat(&start_up)
            .map_or(0o644, |meta| meta.mode & 0o777);
        let written = call
            .host
            .files
            .write_atomic(&start_up, after.as_bytes(), mode);
        written.map_err(|error| {
            let message = format!("{shown}: {}", error.kind());
            Failed::of_command(Error::new(Code::GatewayFileFailed, message))
        })?;
    }
    print(&format!(
        "Completion is in {shown}; start a new shell to use it."
    ));
    Ok(0)
}

const MARK: &str = "# openclaw-auth completion";

fn block(script: &Path, shell: Shell) -> String {
    let path = script.display();
    let line = match shell {
        Shell::Fish => format!("test -f \"{path}\"; and source \"{path}\""),
        _ => format!("[ -f \"{path}\" ] && source \"{path}\""),
    };
    format!("{MARK}\n{line}\n")
}

/// A start-up file with this block, in the place of an older one.
fn with_block(before: &str, block: &str) -> String {
    let mut kept = String::new();
    let mut lines = before.lines();
    let mut replaced = false;
    while let Some(line) = lines.next() {
        if line.trim_end() == MARK && !replaced {
            lines.next();
            kept.push_str(block);
            replaced = true;
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    if !replaced {
        if !kept.is_empty() {
            kept.push('\n');
        }
        kept.push_str(block);
    }
    kept
}

/// The page of a command, or of the whole program.
fn man(call: &Call<'_>) -> Outcome {
    let words = call.list("words");
    let mut command = super::command();
    command.build();
    for word in &words {
        let below = command.find_subcommand(word).cloned();
        command = below.ok_or_else(|| {
            let message = format!("there is no command '{}'", words.join(" "));
            Failed::usage(Code::UsageError, &message)
        })?;
    }
    let mut page = Vec::new();
    let made = clap_mangen::Man::new(command).render(&mut page);
    made.map_err(|error| {
        let message = format!("the page cannot be made: {}", error.kind());
        Failed::of_command(Error::new(Code::InternalError, message))
    })?;
    print(String::from_utf8_lossy(&page).trim_end());
    Ok(0)
}

/// One value per line; nothing at all when the values cannot be found out.
fn values(call: &Call<'_>) -> Outcome {
    let prefix = call.text("prefix").unwrap_or_default();
    let mut found = match call.text("kind") {
        Some("checks") => doctor_checks().map(|check| check.id.to_owned()).collect(),
        Some("codes") => Code::ALL.iter().map(|info| info.text.to_owned()).collect(),
        Some(kind) => of_installation(call, kind).unwrap_or_default(),
        None => Vec::new(),
    };
    found.retain(|value| value.starts_with(prefix) && !value.contains(char::is_control));
    found.sort();
    found.dedup();
    if !found.is_empty() {
        print(&found.join("\n"));
    }
    Ok(0)
}

fn of_installation(call: &Call<'_>, kind: &str) -> Option<Vec<String>> {
    let options = call
        .options
        .clone()
        .tolerate_unresolved(true)
        .without_exec(true);
    let engine = openclaw_auth::Engine::open(options).ok()?;
    if kind == "agents" {
        return Some(engine.agents());
    }
    let mut wanted = StatusOptions::default();
    wanted.agent = call.agent().map(str::to_owned);
    let document = engine.status(&wanted).ok()?.to_json();
    let texts = |pointer: &str, key: &str| -> Vec<String> {
        let rows = document.pointer(pointer).and_then(Value::as_array);
        let rows = rows.into_iter().flatten();
        rows.filter_map(|row| Some(row.get(key)?.as_str()?.to_owned()))
            .collect()
    };
    Some(match kind {
        "aliases" => {
            let aliases = document.get("aliases").and_then(Value::as_object)?;
            aliases.keys().cloned().collect()
        }
        "models" => {
            let allowed = document.get("allowed").and_then(Value::as_array)?;
            let mut models: Vec<String> = allowed
                .iter()
                .filter_map(|key| key.as_str().map(str::to_owned))
                .collect();
            models.push(document.get("resolvedDefault")?.as_str()?.to_owned());
            models
        }
        "profiles" => texts("/auth/oauth/profiles", "profileId"),
        _ => texts("/auth/oauth/providers", "provider"),
    })
}

const MAX_START_UP: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_added_once_and_replaced_later() {
        let block = block(Path::new("/s/openclaw-auth.bash"), Shell::Bash);
        let once = with_block("alias a=b\n", &block);
        assert_eq!(once, format!("alias a=b\n\n{block}"));
        assert_eq!(with_block(&once, &block), once);
        let moved = block.replace("/s/", "/t/");
        assert_eq!(with_block(&once, &moved), format!("alias a=b\n\n{moved}"));
        assert_eq!(with_block("", &block), block);
    }

    #[test]
    fn every_word_of_the_table_is_in_every_script() {
        fn words(command: &clap::Command, found: &mut Vec<String>) {
            for below in command
                .get_subcommands()
                .filter(|below| !below.is_hide_set())
            {
                found.push(below.get_name().to_owned());
                words(below, found);
            }
        }
        let mut found = Vec::new();
        words(&super::super::command(), &mut found);
        for (shell, _) in SHELLS {
            let script = script(shell);
            for word in &found {
                assert!(script.contains(word.as_str()), "{shell}: {word}");
            }
        }
    }
}
