//! The demonstration keeps its promises, with the real curl.

use std::path::Path;
use std::process::Command;

use crate::support::{Gateway, Place, wait_for};

/// A step of the printed tour: what it says will happen, and the command.
struct Step {
    promise: String,
    command: String,
}

#[test]
fn every_printed_curl_line_does_what_the_text_says() {
    let place = Place::new();
    let gateway = Gateway::start_with(&place, &[], &["--demo"]);
    let tour = wait_for("the tour", || {
        Some(gateway.stdout()).filter(|text| text.contains("Stop with Ctrl-C"))
    });
    let steps = steps(&tour);
    assert_eq!(steps.len(), 4, "{tour}");
    // So that curl, run exactly as printed, also tells the status.
    place.write("home/.curlrc", "write-out = \"\\n%{http_code}\"\n");

    let mut answered = 0;
    for step in &steps {
        let (status, body) = curl(&place.path("home"), &step.command);
        if let Some((_, answer)) = step.promise.split_once("Answer: ") {
            let mut words = answer.split([' ', '.']);
            assert_eq!(words.next(), Some(status.as_str()), "{body}");
            let json: serde_json::Value = serde_json::from_str(&body).unwrap();
            match status.as_str() {
                "200" => assert_eq!(json["user"], "nick@example.com", "{body}"),
                _ => assert_eq!(json["error"]["code"].as_str(), words.next(), "{body}"),
            }
            answered += 1;
        } else {
            assert!(step.promise.contains("which key arrived"), "{tour}");
            assert_eq!(status, "200", "{body}");
            assert_eq!(spoken(&body), expected_speech(&tour), "{body}");
            assert!(body.trim_end().ends_with("data: [DONE]"), "{body}");
        }
    }
    assert_eq!(answered, 3, "{tour}");
    let ended = gateway.stop();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
}

/// The numbered steps of the tour; a command goes on after a backslash at the end of its line.
fn steps(tour: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in tour.lines() {
        let is_new = line.starts_with(|first: char| first.is_ascii_digit());
        if is_new {
            steps.push(Step {
                promise: line.to_owned(),
                command: String::new(),
            });
        } else if let Some(step) = steps.last_mut() {
            let goes_on = step.command.ends_with("\\\n");
            if goes_on || line.trim_start().starts_with("curl ") {
                step.command.push_str(line);
                step.command.push('\n');
            } else if step.command.is_empty() {
                step.promise.push(' ');
                step.promise.push_str(line.trim());
            }
        }
    }
    steps
}

/// Runs a command of the tour: status and body.
fn curl(home: &Path, command: &str) -> (String, String) {
    let output = Command::new("sh")
        .args(["-c", command])
        .env("HOME", home)
        .env_remove("CURL_HOME")
        .env_remove("XDG_CONFIG_HOME")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {error}");
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

/// The words of a streamed chat, put together.
fn spoken(events: &str) -> String {
    events
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str::<serde_json::Value>(data).ok())
        .filter_map(|event| {
            let content = &event["choices"][0]["delta"]["content"];
            content.as_str().map(str::to_owned)
        })
        .collect()
}

/// The provider names the key in the same masked form as the tour does.
fn expected_speech(tour: &str) -> String {
    let (_, rest) = tour.split_once('(').unwrap();
    let (key, _) = rest.split_once(',').unwrap();
    assert!(key.starts_with("demo-") && key.contains("..."), "{key}");
    format!(
        "Hello from the mock provider. The gateway sent me the key {key}. You did not have to \
         know it."
    )
}
