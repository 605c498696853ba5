//! `codes`: every stable code with its meaning and remedy.

use openclaw_auth::{Class, Code, CodeInfo, Kind};
use serde_json::{Value, json};

use super::args::json as json_flag;
use super::call::Call;
use super::output::{Failed, print, print_json};
use super::style::{Role, Style};
use super::table::{Cell, table};
use super::tree::{Node, Outcome};

pub(super) const NODE: Node = Node {
    name: "codes",
    about: "List every code of errors, events and findings",
    build: |command| {
        command.args([
            json_flag(),
            clap::Arg::new("code")
                .value_name("CODE")
                .help("Explain this code only"),
        ])
    },
    run: Some(run),
    below: &[],
};

fn run(call: &Call<'_>) -> Outcome {
    let wanted = call.text("code");
    let infos: Vec<&CodeInfo> = Code::ALL
        .iter()
        .filter(|info| wanted.is_none_or(|wanted| wanted.eq_ignore_ascii_case(info.text)))
        .collect();
    if let (Some(wanted), true) = (wanted, infos.is_empty()) {
        let near = openclaw_auth::suggestions(
            &wanted.to_lowercase(),
            Code::ALL.iter().map(|info| info.text),
        );
        let message = format!("there is no code '{wanted}'");
        let failed = Failed::usage(Code::UsageError, &message);
        return Err(match super::usage::meant(&near) {
            Some(meant) => failed.with_hint(meant),
            None => failed,
        });
    }
    if call.json() {
        let codes: Vec<Value> = infos.iter().map(|info| row(info)).collect();
        print_json(&json!({"schemaVersion": 1, "codes": codes}));
        return Ok(0);
    }
    let (layout, style) = (call.layout(), Style::stdout());
    let mut classes: Vec<Class> = infos.iter().map(|info| info.class).collect();
    classes.sort_unstable();
    classes.dedup();
    let blocks: Vec<String> = classes
        .into_iter()
        .map(|class| {
            let rows: Vec<Vec<Cell>> = infos
                .iter()
                .filter(|info| info.class == class)
                .map(|info| {
                    let text = format!("{} {}", info.meaning, info.remedy);
                    vec![Cell::of(Role::Accent, info.text), Cell::new(text)]
                })
                .collect();
            let title = style.paint(Role::Heading, class.as_str());
            format!("{title}\n{}", table(&rows, "  ", layout, style))
        })
        .collect();
    print(blocks.join("\n").trim_end());
    Ok(0)
}

fn row(info: &CodeInfo) -> Value {
    let kind = match info.kind {
        Kind::Failure => "failure",
        _ => "report",
    };
    json!({
        "code": info.text,
        "class": info.class.as_str(),
        "kind": kind,
        "meaning": info.meaning,
        "remedy": info.remedy,
    })
}
