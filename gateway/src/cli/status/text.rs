//! The report for people.

use openclaw_auth::report::short;
use serde_json::Value;

use super::super::call::Call;
use super::super::output::Layout;
use super::super::style::{Role, Style};
use super::super::table::{Cell, table};

/// The whole report.
pub(super) fn human(call: &Call<'_>, document: &Value) -> String {
    let view = View {
        call,
        document,
        layout: call.layout(),
        style: Style::stdout(),
    };
    let sections = [
        view.head(),
        view.overview(),
        view.profiles(),
        view.missing(),
        view.hints(),
        view.diagnostics(),
    ];
    let filled: Vec<&str> = sections
        .iter()
        .map(|section| section.trim_end())
        .filter(|section| !section.is_empty())
        .collect();
    filled.join("\n\n")
}

/// The last line of a check.
pub(super) fn verdict(document: &Value) -> String {
    let exit = document.pointer("/check/exitCode").and_then(Value::as_u64);
    let exit = exit.unwrap_or_default();
    let reasons = list(document, "/check/reasons");
    let messages: Vec<&str> = reasons
        .iter()
        .filter_map(|it| text(it, "message"))
        .collect();
    let line = match messages.is_empty() {
        true => format!("check: exit {exit}"),
        false => format!("check: exit {exit} - {}", messages.join("; ")),
    };
    Layout::of_stderr().wrap(&line, "  ")
}

struct View<'a> {
    call: &'a Call<'a>,
    document: &'a Value,
    layout: Layout,
    style: Style,
}

impl View<'_> {
    fn head(&self) -> String {
        let top = |key: &str| text(self.document, key);
        let path = |key: &str| self.shown(top(key).unwrap_or_default());
        let joined = |key: &str| {
            let items = list(self.document, key);
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            (items.len(), items.join(", "))
        };
        let resolved = top("resolvedDefault").unwrap_or_default();
        let named = top("defaultModel").filter(|named| *named != resolved);
        let from = named.map_or_else(String::new, |named| format!(" (from {named})"));
        let mut rows = vec![
            ("Config".to_owned(), path("configPath")),
            (
                "Agent".to_owned(),
                format!(
                    "{} in {}",
                    top("agentId").unwrap_or_default(),
                    path("agentDir")
                ),
            ),
            ("Default".to_owned(), format!("{resolved}{from}")),
        ];
        let mut add = |name: &str, (count, items): (usize, String)| {
            if count > 0 {
                rows.push((format!("{name} ({count})"), items));
            }
        };
        add("Fallbacks", joined("/fallbacks"));
        let image = top("imageModel").map(|model| (1, model.to_owned()));
        let (count, fallbacks) = joined("/imageFallbacks");
        add("Image model", image.unwrap_or_default());
        add("Image fallbacks", (count, fallbacks));
        let aliases = self.document.get("aliases").and_then(Value::as_object);
        let aliases = aliases.into_iter().flatten();
        let aliases: Vec<String> = aliases
            .map(|(alias, model)| format!("{alias} -> {}", model.as_str().unwrap_or_default()))
            .collect();
        add("Aliases", (aliases.len(), aliases.join(", ")));
        add("Allowed", joined("/allowed"));
        let rows: Vec<Vec<Cell>> = rows
            .into_iter()
            .map(|(name, value)| vec![Cell::of(Role::Heading, name), Cell::new(value)])
            .collect();
        table(&rows, "", self.layout, self.style)
    }

    fn overview(&self) -> String {
        let auth = |key: &str| self.document.pointer(&format!("/auth/{key}"));
        let store = auth("storePath")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let inherit = auth("inherit").and_then(Value::as_str).unwrap_or("none");
        let mut line = format!("store {}", self.shown(store));
        if inherit != "none" {
            line.push_str(&format!(", inherits from main ({inherit})"));
        }
        let rows: Vec<Vec<Cell>> = list(self.document, "/auth/providers")
            .iter()
            .map(|provider| {
                vec![
                    Cell::of(Role::Accent, text(provider, "provider").unwrap_or_default()),
                    Cell::new(self.used(provider)),
                ]
            })
            .collect();
        if rows.is_empty() {
            return self.section("Credentials", &format!("  {line}\n  none\n"));
        }
        let body = table(&rows, "  ", self.layout, self.style);
        let line = self.layout.wrap(&format!("  {line}"), "    ");
        self.section("Credentials", &format!("{line}\n{body}"))
    }

    /// What a provider uses, and what else it has.
    fn used(&self, provider: &Value) -> String {
        let kind = provider.pointer("/effective/kind").and_then(Value::as_str);
        let detail = provider
            .pointer("/effective/detail")
            .and_then(Value::as_str);
        let detail = detail.unwrap_or_default();
        let source = |key: &str| {
            let source = provider.pointer(&format!("/{key}/source"));
            let source = source.and_then(Value::as_str).unwrap_or_default();
            source.split_once(": ").map_or(source, |(_, name)| name)
        };
        let mut parts = vec![match kind {
            Some("profiles") => {
                let id = provider
                    .pointer("/effective/profileId")
                    .and_then(Value::as_str);
                let owner = provider.pointer("/effective/owner").and_then(Value::as_str);
                let of = if owner == Some("main") {
                    " of main"
                } else {
                    ""
                };
                format!("profile {}{of}", id.unwrap_or_default())
            }
            Some("env") => format!("env {} {detail}", source("env")).replace("  ", " "),
            Some("models.json") => {
                format!("config {} {detail}", source("modelsJson")).replace("  ", " ")
            }
            _ => "nothing usable".to_owned(),
        }];
        let count = |key: &str| {
            provider
                .pointer(&format!("/profiles/{key}"))
                .and_then(Value::as_u64)
        };
        if let Some(count) = count("count").filter(|count| *count > 1) {
            parts.push(format!("{count} profiles"));
        }
        if kind == Some("profiles") && provider.get("env").is_some() {
            parts.push(format!("then env {}", source("env")));
        }
        let order = provider.pointer("/order/source").and_then(Value::as_str);
        if let Some(order) = order.filter(|order| matches!(*order, "stored" | "config")) {
            parts.push(format!("order: {order}"));
        }
        parts.join(", ")
    }

    fn profiles(&self) -> String {
        let windows = list(self.document, "/auth/unusableProfiles");
        let labels = list(self.document, "/auth/providers");
        let labels: Vec<&str> = labels
            .iter()
            .flat_map(|provider| list(provider, "/profiles/labels"))
            .filter_map(Value::as_str)
            .collect();
        let rows: Vec<Vec<Cell>> = list(self.document, "/auth/oauth/profiles")
            .iter()
            .map(|profile| {
                let id = text(profile, "profileId").unwrap_or_default();
                let mine = windows
                    .iter()
                    .filter(|it| text(it, "profileId") == Some(id));
                let (role, mut state) = state(profile);
                for window in mine {
                    state.push_str("; ");
                    state.push_str(&window_text(window));
                }
                let kind = text(profile, "type").unwrap_or_default().replace('_', " ");
                vec![
                    Cell::new(text(profile, "label").unwrap_or_default()),
                    Cell::of(Role::Muted, kind),
                    Cell::of(Role::Muted, secret_of(id, &labels)),
                    Cell::of(role, state),
                ]
            })
            .collect();
        self.section("Profiles", &table(&rows, "  ", self.layout, self.style))
    }

    fn missing(&self) -> String {
        let missing = list(self.document, "/auth/missingProvidersInUse");
        let rows: Vec<Vec<Cell>> = missing
            .iter()
            .filter_map(Value::as_str)
            .map(|provider| {
                let variable = openclaw_auth::env_variable(provider);
                let command = self
                    .call
                    .command_line(&format!("models auth add --provider {provider}"));
                vec![
                    Cell::of(Role::Error, provider),
                    Cell::new(format!("set {variable}, or `{command}`")),
                ]
            })
            .collect();
        self.section(
            "Missing credentials",
            &table(&rows, "  ", self.layout, self.style),
        )
    }

    fn hints(&self) -> String {
        let mut body = String::new();
        for hint in list(self.document, "/hints") {
            let message = text(hint, "message").unwrap_or_default();
            body.push_str(&self.layout.wrap(&format!("  {message}"), "    "));
            body.push('\n');
            if let Some(fix) = text(hint, "fix") {
                body.push_str(&self.layout.wrap(&format!("    `{fix}`"), "    "));
                body.push('\n');
            }
        }
        self.section("Hints", &body)
    }

    fn diagnostics(&self) -> String {
        let mut body = String::new();
        for row in list(self.document, "/diagnostics") {
            let severity = text(row, "severity").unwrap_or_default();
            if severity == "info" && text(row, "code") != Some("SECRETS_EXEC_NOT_RUN") {
                continue;
            }
            let message = text(row, "message").unwrap_or_default();
            let code = text(row, "code").unwrap_or_default();
            let line = format!("  {severity}: {message} ({code})");
            body.push_str(&self.layout.wrap(&line, "    "));
            body.push('\n');
        }
        self.section("Diagnostics", &body)
    }

    fn section(&self, title: &str, body: &str) -> String {
        match body.is_empty() {
            true => String::new(),
            false => format!("{}\n{body}", self.style.paint(Role::Heading, title)),
        }
    }

    fn shown(&self, path: &str) -> String {
        self.call.shown(std::path::Path::new(path))
    }
}

/// How a profile is doing, in words, and as what kind of news.
fn state(profile: &Value) -> (Role, String) {
    let status = text(profile, "status").unwrap_or_default();
    let remaining = profile.get("remainingMs").and_then(Value::as_i64);
    let when = remaining.map(|ms| match ms > 0 {
        true => format!("expires in {}", short(ms)),
        false => format!("expired {} ago", short(-ms)),
    });
    let renews = profile.get("refreshable").and_then(Value::as_bool) == Some(true);
    let reason = text(profile, "reasonCode");
    let (role, mut words) = match status {
        "ok" | "static" => (Role::Ok, "ok".to_owned()),
        "expiring" => (Role::Warning, "expiring".to_owned()),
        other => (Role::Error, other.to_owned()),
    };
    let coded = reason.filter(|reason| *reason != status);
    match (renews, remaining, when) {
        (true, Some(ms), Some(when)) if ms <= 0 && status == "ok" => {
            words.push_str(&format!(", access {when}, renews on next use"));
        }
        (true, _, Some(when)) if status == "ok" => {
            words.push_str(&format!(", access {when}, renews itself"));
        }
        (_, _, Some(when)) if status == "expired" && reason == Some("expired") => words = when,
        (_, _, Some(when)) => words.push_str(&format!(", {when}")),
        (_, _, None) => {}
    }
    if let Some(code) = coded {
        words.push_str(&format!(" [{code}]"));
    }
    if profile.get("excluded").and_then(Value::as_bool) == Some(true) {
        words.push_str(", left out by the order");
    }
    (role, words)
}

/// What keeps a profile from being used.
fn window_text(window: &Value) -> String {
    let kind = text(window, "kind").unwrap_or_default();
    let left = window
        .get("remainingMs")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    let mut words = format!("{kind} {}", short(left));
    let details: Vec<String> = [("reason", ""), ("model", "model ")]
        .into_iter()
        .filter_map(|(key, before)| Some(format!("{before}{}", text(window, key)?)))
        .collect();
    if !details.is_empty() {
        words.push_str(&format!(" ({})", details.join(", ")));
    }
    words
}

/// What is shown of the secret of a profile.
fn secret_of(id: &str, labels: &[&str]) -> String {
    let start = format!("{id}=");
    let label = labels.iter().find_map(|label| label.strip_prefix(&start));
    let label = label.unwrap_or_default();
    let label = label.split(" [").next().unwrap_or_default();
    let label = label.split(" (").next().unwrap_or_default();
    label.strip_prefix("token:").unwrap_or(label).to_owned()
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    let pointer = match pointer.starts_with('/') {
        true => pointer.to_owned(),
        false => format!("/{pointer}"),
    };
    let list = value.pointer(&pointer).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}
