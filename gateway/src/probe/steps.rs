//! The steps of the probe: what is sent, and what an answer shows. One row each.

use super::client::Answer;
use super::findings::{self, Row};

/// Names and values that the steps are made of.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// The header in which the proxy names the user.
    pub(super) user_header: String,
    pub(super) required: Vec<String>,
    /// The header of the proxy's own secret, where there is one.
    pub(super) secret_header: Option<String>,
    /// Random text that marks every forged value.
    pub(super) nonce: String,
}

impl Plan {
    /// A user that nobody is.
    pub(super) fn forged(&self) -> String {
        format!("probe-{}@invalid.example", self.nonce)
    }

    fn is_user(&self, header: Option<&str>) -> bool {
        header.is_some_and(|header| header.eq_ignore_ascii_case(&self.user_header))
    }

    /// Another spelling of the user header.
    fn alias(&self, marks: [char; 2]) -> String {
        let mut marks = marks.into_iter().cycle();
        let alias = self.user_header.chars().map(|c| match c {
            '-' => marks.next().unwrap_or('_'),
            other => other,
        });
        alias.collect()
    }
}

/// What a step shows.
pub(super) enum Outcome {
    Found(&'static Row, String),
    Passed,
    Unsure(&'static str),
}

/// A request and how its answer is judged.
pub(super) struct Step {
    pub(super) id: &'static str,
    pub(super) what: &'static str,
    /// Whether the caller's login goes along.
    pub(super) login: bool,
    /// Whether it asks for a WebSocket.
    pub(super) websocket: bool,
    /// Whether it makes sense over HTTP/2, which has no `Connection` lines and no upgrades.
    pub(super) http_2: bool,
    pub(super) lines: fn(&Plan) -> Vec<(String, String)>,
    pub(super) judge: fn(&Plan, &Answer) -> Outcome,
}

/// An address that no client of a real network has (RFC 5737).
const NOBODY: &str = "192.0.2.77";

/// The steps through the proxy.
pub(super) const STEPS: &[Step] = &[
    Step {
        id: "V1",
        what: "a forged user header",
        login: true,
        websocket: false,
        http_2: true,
        lines: |plan| vec![(plan.user_header.clone(), plan.forged())],
        judge: identity,
    },
    Step {
        id: "V2",
        what: "two forged user headers",
        login: true,
        websocket: false,
        http_2: true,
        lines: |plan| vec![(plan.user_header.clone(), plan.forged()); 2],
        judge: identity,
    },
    Step {
        id: "V3",
        what: "a forged user header after a blank one",
        login: true,
        websocket: false,
        http_2: true,
        lines: |plan| {
            let blank = (plan.user_header.clone(), String::new());
            vec![blank, (plan.user_header.clone(), plan.forged())]
        },
        judge: identity,
    },
    Step {
        id: "V4",
        what: "the user header spelled with _",
        login: true,
        websocket: false,
        http_2: true,
        lines: |plan| vec![(plan.alias(['_', '_']), plan.forged())],
        judge: alias,
    },
    Step {
        id: "V5",
        what: "the user header spelled with . ~ and !",
        login: true,
        websocket: false,
        http_2: true,
        lines: |plan| {
            let spellings = [['.', '.'], ['_', '-'], ['~', '!']];
            spellings
                .map(|marks| (plan.alias(marks), plan.forged()))
                .into()
        },
        judge: alias,
    },
    Step {
        id: "V6",
        what: "a Connection header that names the user header",
        login: true,
        websocket: false,
        http_2: false,
        lines: |plan| {
            let value = format!("close, {}", plan.user_header);
            vec![("Connection".to_owned(), value)]
        },
        judge: hop_by_hop,
    },
    Step {
        id: "V7",
        what: "forged required headers",
        login: true,
        websocket: false,
        http_2: true,
        lines: |plan| {
            let forge = |name: &String| (name.clone(), format!("probe-{}", plan.nonce));
            plan.required.iter().map(forge).collect()
        },
        judge: required,
    },
    Step {
        id: "V8",
        what: "a forged proxy secret",
        login: true,
        websocket: false,
        http_2: true,
        lines: |plan| {
            let forge = |name: &String| (name.clone(), format!("probe-{}", plan.nonce));
            plan.secret_header.iter().map(forge).collect()
        },
        judge: secret,
    },
    Step {
        id: "V9",
        what: "a forged X-Forwarded-For",
        login: true,
        websocket: false,
        http_2: true,
        lines: |_| vec![("X-Forwarded-For".to_owned(), NOBODY.to_owned())],
        judge: client_ip,
    },
    Step {
        id: "V10",
        what: "a forged X-Real-IP",
        login: true,
        websocket: false,
        http_2: true,
        lines: |_| vec![("X-Real-IP".to_owned(), NOBODY.to_owned())],
        judge: client_ip,
    },
    Step {
        id: "V11",
        what: "a forged Forwarded",
        login: true,
        websocket: false,
        http_2: true,
        lines: |_| vec![("Forwarded".to_owned(), format!("for={NOBODY}"))],
        judge: client_ip,
    },
    Step {
        id: "V12",
        what: "a forged X-Forwarded-Host",
        login: true,
        websocket: false,
        http_2: true,
        lines: |plan| {
            let host = format!("probe-{}.invalid.example", plan.nonce);
            vec![("X-Forwarded-Host".to_owned(), host)]
        },
        judge: forwarded,
    },
    Step {
        id: "V13",
        what: "a forged user header without a login",
        login: false,
        websocket: false,
        http_2: true,
        lines: |plan| vec![(plan.user_header.clone(), plan.forged())],
        judge: unauthenticated,
    },
];

/// The steps as WebSocket upgrades.
pub(super) const WEBSOCKET_STEPS: &[Step] = &[
    Step {
        id: "V14",
        what: "a forged user header on an upgrade",
        login: true,
        websocket: true,
        http_2: false,
        lines: |plan| vec![(plan.user_header.clone(), plan.forged())],
        judge: websocket_forged,
    },
    Step {
        id: "V14b",
        what: "a forged user header on an upgrade without a login",
        login: false,
        websocket: true,
        http_2: false,
        lines: |plan| vec![(plan.user_header.clone(), plan.forged())],
        judge: websocket_bypass,
    },
    Step {
        id: "V15",
        what: "an honest upgrade",
        login: true,
        websocket: true,
        http_2: false,
        lines: |_| Vec::new(),
        judge: websocket_identity,
    },
];

/// Whether a forged user got as far as the gateway's judgement.
fn is_forged(plan: &Plan, answer: &Answer) -> bool {
    let second_line = answer.code() == Some("trusted_proxy_ambiguous_header")
        && plan.is_user(answer.header())
        && answer.reason() == Some("repeated");
    let invalid = answer.code() == Some("trusted_proxy_user_invalid");
    let survived = answer.survivors().unwrap_or_default();
    answer.user() == Some(plan.forged().as_str())
        || answer.code() == Some("trusted_proxy_user_not_allowed")
        || second_line
        || invalid
        || survived.iter().any(|name| plan.is_user(Some(name)))
}

fn identity(plan: &Plan, answer: &Answer) -> Outcome {
    match is_forged(plan, answer) {
        true => found(&findings::IDENTITY_SURVIVED, plan, answer),
        false => settled(answer),
    }
}

/// What an answer without sign of the forged line is worth.
fn settled(answer: &Answer) -> Outcome {
    match (answer.is_accepted(), answer.status) {
        (true, _) => Outcome::Passed,
        // The proxy refuses such requests itself.
        (false, 400) if answer.code().is_none() => Outcome::Passed,
        _ => Outcome::Unsure("the answer does not show what arrived"),
    }
}

fn alias(plan: &Plan, answer: &Answer) -> Outcome {
    let denied =
        answer.code() == Some("trusted_proxy_ambiguous_header") && answer.reason() == Some("alias");
    if is_forged(plan, answer) && !denied {
        found(&findings::IDENTITY_SURVIVED, plan, answer)
    } else if denied {
        found(&findings::ALIAS_SURVIVED, plan, answer)
    } else {
        settled(answer)
    }
}

fn hop_by_hop(plan: &Plan, answer: &Answer) -> Outcome {
    let stripped = answer.code() == Some("trusted_proxy_user_missing")
        || answer.reason() == Some("hop_by_hop");
    match stripped {
        true => found(&findings::HOP_BY_HOP, plan, answer),
        false => settled(answer),
    }
}

fn required(plan: &Plan, answer: &Answer) -> Outcome {
    let is_required = |name: &str| {
        let mut required = plan.required.iter();
        required.any(|required| required.eq_ignore_ascii_case(name))
    };
    survived(plan, answer, &is_required, &findings::REQUIRED_SURVIVED)
}

fn secret(plan: &Plan, answer: &Answer) -> Outcome {
    let Some(secret) = &plan.secret_header else {
        return Outcome::Passed;
    };
    if answer.code() == Some("trusted_proxy_secret_mismatch") {
        return found(&findings::SECRET_SURVIVED, plan, answer);
    }
    // With the wrong secret nobody is let in.
    let is_secret = |name: &str| name.eq_ignore_ascii_case(secret);
    match answer.is_accepted() {
        true => Outcome::Passed,
        false => survived(plan, answer, &is_secret, &findings::SECRET_SURVIVED),
    }
}

fn forwarded(plan: &Plan, answer: &Answer) -> Outcome {
    let is_host = |name: &str| name.eq_ignore_ascii_case("x-forwarded-host");
    survived(plan, answer, &is_host, &findings::FORWARDED_SURVIVED)
}

/// Whether a header arrived as it was forged, or as a second line.
fn survived(
    plan: &Plan,
    answer: &Answer,
    is_wanted: &dyn Fn(&str) -> bool,
    row: &'static Row,
) -> Outcome {
    let second_line = answer.code() == Some("trusted_proxy_ambiguous_header")
        && answer.header().is_some_and(is_wanted);
    match answer.survivors() {
        _ if second_line => found(row, plan, answer),
        Some(names) if names.iter().any(|name| is_wanted(name)) => found(row, plan, answer),
        Some(_) => Outcome::Passed,
        None if answer.status == 400 && answer.code().is_none() => Outcome::Passed,
        None => Outcome::Unsure("the gateway does not tell; run the probe on its host"),
    }
}

fn client_ip(plan: &Plan, answer: &Answer) -> Outcome {
    match answer.client_ip() {
        Some(NOBODY) => found(&findings::CLIENT_IP_SPOOFABLE, plan, answer),
        _ => settled(answer),
    }
}

fn unauthenticated(plan: &Plan, answer: &Answer) -> Outcome {
    match answer.is_accepted() || is_forged(plan, answer) {
        true => found(&findings::UNAUTHENTICATED, plan, answer),
        false => Outcome::Passed,
    }
}

fn websocket_forged(plan: &Plan, answer: &Answer) -> Outcome {
    match is_forged(plan, answer) {
        true => found(&findings::WEBSOCKET_BYPASS, plan, answer),
        false => Outcome::Passed,
    }
}

fn websocket_bypass(plan: &Plan, answer: &Answer) -> Outcome {
    match answer.status == 101 || is_forged(plan, answer) {
        true => found(&findings::WEBSOCKET_BYPASS, plan, answer),
        false => Outcome::Passed,
    }
}

fn websocket_identity(plan: &Plan, answer: &Answer) -> Outcome {
    match answer.code() {
        Some("trusted_proxy_user_missing") => found(&findings::WEBSOCKET_IDENTITY, plan, answer),
        _ => Outcome::Passed,
    }
}

fn found(row: &'static Row, plan: &Plan, answer: &Answer) -> Outcome {
    let said = match (answer.code(), answer.user()) {
        (Some(code), _) => format!("The gateway refused with {code}."),
        (None, Some(user)) if user == plan.forged() => {
            "The gateway let the forged user in.".to_owned()
        }
        _ => format!("The answer has status {}.", answer.status),
    };
    Outcome::Found(row, said)
}
