//! `secrets plan` and `secrets configure`: write a plan for `secrets apply`. The first takes
//! options, the second asks when it is on a terminal.

use std::io::{self, BufRead, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction};
use openclaw_auth::{Code, Error, Plan, PlanBuilder, Registry, SecretRef, Target, TargetKind};

use super::targets::line_of;
use super::{Call, Failed, Node, file_of, print};
use crate::cli::args::{flag, path};
use crate::cli::output::{Layout, print_to_stderr};
use crate::cli::tree::Outcome;

/// Asks on a terminal.
pub(super) const NODE: Node = Node {
    name: "configure",
    about: "Write a plan for moving secrets; asks on a terminal",
    build: |command| command.after_help(EXAMPLE).args(arguments()),
    run: Some(run),
    below: &[],
};

/// Never asks.
pub(super) const PLAN: Node = Node {
    name: "plan",
    about: "Write a plan for moving secrets",
    build: |command| command.after_help(EXAMPLE).args(arguments()),
    run: Some(run_plan),
    below: &[],
};

fn arguments() -> Vec<Arg> {
    let several = |name, value, help| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .help(help)
            .action(ArgAction::Append)
    };
    vec![
        several(
            "set",
            "PATH=REF",
            "Put the reference source:provider:id at this path",
        ),
        several(
            "set-profile",
            "AGENT/ID.FIELD=REF",
            "Put it at the key or token of a stored profile",
        ),
        several(
            "provider",
            "ALIAS=JSON5",
            "Declare a secret provider; @FILE reads the settings from a file",
        ),
        several(
            "delete-provider",
            "ALIAS",
            "Remove the declaration of a secret provider",
        ),
        flag("no-scrub-env", "Leave copies in .env files"),
        flag("no-scrub-profiles", "Leave copies in stores of profiles"),
        flag("no-scrub-auth-json", "Leave copies in old auth.json files"),
        path("out", "FILE", "Write the plan there instead of printing it"),
    ]
}

fn run_plan(call: &Call<'_>) -> Outcome {
    let matches = call.matches();
    if !has_work(matches) {
        let message = "nothing to plan; give --set, --set-profile, --provider or --delete-provider";
        return Err(Failed::usage(Code::UsageError, message));
    }
    let registry = Registry::new();
    let mut builder = PlanBuilder::new(&registry);
    take_options(matches, call, &mut builder)?;
    finish(builder, file_of(call, "out"), call)
}

fn run(call: &Call<'_>) -> Outcome {
    let matches = call.matches();
    if has_work(matches) {
        return run_plan(call);
    }
    let mut candidates = call.options.targets(false).map_err(Failed::of_command)?;
    candidates
        .retain(|target| target.kind() == TargetKind::Plaintext && target.type_name().is_some());
    if candidates.is_empty() {
        print_to_stderr("No plain secret is left that a reference could take the call of.");
        return Ok(0);
    }
    let registry = Registry::new();
    let mut builder = PlanBuilder::new(&registry);
    take_options(matches, call, &mut builder)?;
    let is_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
    if !is_terminal {
        for target in &candidates {
            print_to_stderr(&Layout::of_stdout().wrap(&line_of(target), "    "));
        }
        let message = "which references to put there is a question, and there is no terminal";
        let error = Error::new(Code::NeedsTerminal, message);
        let hint = "openclaw-auth secrets configure --set PATH=SOURCE:PROVIDER:ID --out plan.json";
        return Err(Failed::of_command(error.with_hint(format!("`{hint}`"))));
    }
    let mut questions = Questions {
        answers: io::stdin().lock(),
        show: &|text: &str| print_to_stderr(&Layout::of_stdout().wrap(text, "  ")),
    };
    if !questions.ask(&candidates, &mut builder, call)? {
        print_to_stderr("Nothing was chosen; no plan was written.");
        return Ok(0);
    }
    let out = match file_of(call, "out") {
        Some(out) => out,
        None => match questions.answer("Write the plan to [secrets-plan.json]:")? {
            name if name.is_empty() => PathBuf::from("secrets-plan.json"),
            name => PathBuf::from(name),
        },
    };
    finish(builder, Some(out), call)
}

fn has_work(matches: &clap::ArgMatches) -> bool {
    ["set", "set-profile", "provider", "delete-provider"]
        .iter()
        .any(|name| matches.contains_id(name))
}

fn take_options(
    matches: &clap::ArgMatches,
    call: &Call<'_>,
    builder: &mut PlanBuilder<'_>,
) -> Result<(), Failed> {
    let all = |name: &str| matches.get_many::<String>(name).into_iter().flatten();
    let parted = |name: &'static str, text: &str| {
        let message = format!("--{name} needs NAME=VALUE");
        let parts = text.split_once('=');
        let parts = parts.map(|(left, right)| (left.trim().to_owned(), right.trim().to_owned()));
        parts.ok_or_else(|| Failed::usage(Code::UsageError, &message))
    };
    for text in all("provider") {
        let (alias, settings) = parted("provider", text)?;
        let settings = settings_of(&settings, call)?;
        let result = builder.provider_text(&alias, &settings);
        result.map_err(Failed::of_command)?;
    }
    for text in all("set") {
        let (path, label) = parted("set", text)?;
        builder.set(&path, &label).map_err(Failed::of_command)?;
    }
    for text in all("set-profile") {
        let (left, label) = parted("set-profile", text)?;
        let parts = left.split_once('/').and_then(|(agent, rest)| {
            let (id, field) = rest.rsplit_once('.')?;
            Some((agent, id, field))
        });
        let Some((agent, id, field)) = parts else {
            let message = "--set-profile needs AGENT/ID.FIELD=REF";
            return Err(Failed::usage(Code::UsageError, message));
        };
        let result = builder.set_profile(agent, id, field, provider_of(id), &label);
        result.map_err(Failed::of_command)?;
    }
    for alias in all("delete-provider") {
        builder.delete_provider(alias);
    }
    for (name, option) in [
        ("no-scrub-env", "scrubEnv"),
        ("no-scrub-profiles", "scrubAuthProfilesForProviderTargets"),
        ("no-scrub-auth-json", "scrubLegacyAuthJson"),
    ] {
        if matches.get_flag(name) {
            builder.option(option, false);
        }
    }
    Ok(())
}

/// Settings as given, or from the file that `@` names.
fn settings_of(text: &str, call: &Call<'_>) -> Result<String, Failed> {
    match text.strip_prefix('@') {
        Some(file) => Ok(call.read(Path::new(file), MAX_SETTINGS)?.to_string()),
        None => Ok(text.to_owned()),
    }
}

/// The model provider of a profile that does not exist yet: ids begin with it.
fn provider_of(id: &str) -> Option<&str> {
    let (provider, _) = id.split_once(':')?;
    Some(provider).filter(|provider| !provider.is_empty())
}

fn finish(builder: PlanBuilder<'_>, out: Option<PathBuf>, call: &Call<'_>) -> Result<u8, Failed> {
    let now = call.host.clock.now_ms();
    let plan = builder.build(now).map_err(Failed::of_command)?;
    let text = format!("{:#}\n", plan.to_json());
    let Some(out) = out else {
        print(text.trim_end());
        return Ok(0);
    };
    call.write(&out, &text)?;
    print_to_stderr(&format!(
        "The plan is in {}. To try it, then to do it:",
        out.display()
    ));
    for step in next_steps(&plan, &out) {
        print_to_stderr(&format!("  {step}"));
    }
    Ok(0)
}

fn next_steps(plan: &Plan, out: &Path) -> [String; 2] {
    let exec = if plan.uses_exec() {
        " --allow-exec"
    } else {
        ""
    };
    let apply = format!("openclaw-auth secrets apply --from {}{exec}", out.display());
    [format!("{apply} --dry-run"), apply]
}

/// Questions and answers, line by line.
struct Questions<'a, R> {
    answers: R,
    show: &'a dyn Fn(&str),
}

impl<R: BufRead> Questions<'_, R> {
    /// Asks for a reference for each candidate, then for the providers that they need. Whether
    /// anything was chosen.
    fn ask(
        &mut self,
        candidates: &[Target],
        builder: &mut PlanBuilder<'_>,
        call: &Call<'_>,
    ) -> Result<bool, Failed> {
        (self.show)(&format!(
            "{} plain secret(s) can be moved.",
            candidates.len()
        ));
        (self.show)(
            "A reference is source:provider:id, such as env:default:OPENAI_API_KEY or \
                     file:vault:/openai. An empty answer leaves the secret where it is.",
        );
        let mut providers: Vec<SecretRef> = Vec::new();
        let mut chosen = false;
        for target in candidates {
            let reference = self.until(&format!("{}:", target.path()), |label| {
                set(builder, target, label)?;
                Ok(SecretRef::parse(label))
            })?;
            let Some(reference) = reference.flatten() else {
                continue;
            };
            chosen = true;
            let is_new = |known: &SecretRef| known.provider() != reference.provider();
            if reference.source().as_str() != "env" && providers.iter().all(is_new) {
                providers.push(reference);
            }
        }
        for reference in providers {
            let alias = reference.provider();
            let source = reference.source().as_str();
            let question = format!(
                "Settings of the {source} provider {alias}, JSON5 or @FILE; empty if it is \
                 declared already:"
            );
            self.until(&question, |settings| {
                let settings = settings_of(settings, call).map_err(|failed| failed.error)?;
                builder.provider_text(alias, &settings)
            })?;
        }
        Ok(chosen)
    }

    /// Asks until the answer is accepted; `None` for an empty one.
    fn until<T>(
        &mut self,
        question: &str,
        mut accept: impl FnMut(&str) -> Result<T, Error>,
    ) -> Result<Option<T>, Failed> {
        loop {
            let answer = self.answer(question)?;
            if answer.is_empty() {
                return Ok(None);
            }
            match accept(&answer) {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(error) => (self.show)(error.message()),
            }
        }
    }

    fn answer(&mut self, question: &str) -> Result<String, Failed> {
        (self.show)(question);
        let mut line = String::new();
        let read = io::Read::take(&mut self.answers, MAX_ANSWER).read_line(&mut line);
        match read {
            Ok(count) if count > 0 => Ok(line.trim().to_owned()),
            _ => {
                let message = "the input ended before every question was answered; nothing was \
                               written";
                let error = Error::new(Code::NeedsTerminal, message);
                Err(Failed::of_command(error))
            }
        }
    }
}

fn set(builder: &mut PlanBuilder<'_>, target: &Target, label: &str) -> Result<(), Error> {
    match target.profile() {
        Some((agent, id, field)) => builder.set_profile(agent, id, field, None, label),
        None => builder.set(target.path(), label),
    }
}

const EXAMPLE: &str = "Example:
  openclaw-auth secrets plan \\
    --set models.providers.openai.apiKey=file:vault:/openai \\
    --provider vault='{source: \"file\", path: \"~/secrets.json\"}' \\
    --out plan.json
  openclaw-auth secrets apply --from plan.json --dry-run";
const MAX_SETTINGS: u64 = 1 << 20;
const MAX_ANSWER: u64 = 64 << 10;
