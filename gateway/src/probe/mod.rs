//! The active probe: finds out whether the proxy replaces what clients forge, and whether the
//! gateway can be reached around it. It sends GET requests and upgrades, one after the other, to
//! the addresses that were named and to no other.

mod client;
mod findings;
mod steps;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use openclaw_auth::access::{AuditFinding, AuditSeverity};
use tokio_rustls::rustls::RootCertStore;

use self::client::{Answer, Target};
use self::findings::Row;
use self::steps::{Outcome, Plan, STEPS, Step, WEBSOCKET_STEPS};
use crate::server::probe::NONCE_HEADER;

/// What to probe.
#[derive(Debug, Clone)]
pub(crate) struct Probe {
    /// Addresses of the gateway as users open it.
    pub(crate) urls: Vec<Uri>,
    /// Addresses of the gateway itself.
    pub(crate) direct: Vec<Uri>,
    /// The caller's login at the proxy, as header lines. Goes to `urls` only.
    pub(crate) login: Vec<(String, String)>,
    /// The user that the login belongs to.
    pub(crate) expect_user: Option<String>,
    /// Whether upgrades are tried too.
    pub(crate) websocket: bool,
    /// Who may have signed the certificates; the usual authorities when absent.
    pub(crate) roots: Option<Arc<RootCertStore>>,
    /// The longest time for one request.
    pub(crate) timeout: Duration,
    /// The header in which the proxy names the user.
    pub(crate) user_header: String,
    /// Headers that the gateway requires.
    pub(crate) required: Vec<String>,
    /// The header of the proxy's own secret.
    pub(crate) secret_header: Option<String>,
    /// 128 random bits in hexadecimal; left in the state folder, it makes the gateway tell more.
    pub(crate) nonce: String,
}

/// What the probe found out.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Sorted by the caller.
    pub(crate) findings: Vec<AuditFinding>,
    /// Steps that passed, in the order in which they were taken.
    pub(crate) passed: Vec<String>,
    /// Steps that showed nothing, with the reason.
    pub(crate) unsure: Vec<String>,
}

impl Probe {
    /// Takes every step.
    pub(crate) async fn run(&self) -> Found {
        let mut found = Found::default();
        for url in &self.urls {
            self.through_proxy(url, &mut found).await;
        }
        for url in &self.direct {
            self.around_proxy(url, &mut found).await;
        }
        found
    }

    fn plan(&self) -> Plan {
        Plan {
            user_header: self.user_header.clone(),
            required: self.required.clone(),
            secret_header: self.secret_header.clone(),
            nonce: self.nonce.clone(),
        }
    }

    fn target(&self, url: &Uri) -> Target {
        Target {
            uri: url.clone(),
            timeout: self.timeout,
            roots: self.roots.clone(),
        }
    }

    async fn through_proxy(&self, url: &Uri, found: &mut Found) {
        let target = self.target(url);
        let baseline = match self.ask(&target, &[], true, false).await {
            Ok(answer) => answer,
            Err(error) => {
                found.unsure.push(format!("{url}: {}", reason(&error)));
                return;
            }
        };
        let logged_in = baseline.is_accepted();
        if logged_in {
            self.check_identity(url, &baseline, found);
        } else {
            let why = match baseline.code() {
                Some(code) => format!("the gateway refuses the login with {code}"),
                None => format!("no login: the proxy answers {}", baseline.status),
            };
            found.unsure.push(format!("{url}: {why}"));
        }
        let plan = self.plan();
        let websocket = if self.websocket { WEBSOCKET_STEPS } else { &[] };
        // Without a login only the steps without one show anything.
        let steps = STEPS.iter().chain(websocket);
        for step in steps.filter(|step| logged_in || !step.login) {
            self.take(step, &plan, &target, found).await;
        }
        if url.scheme_str() == Some("https") {
            self.over_http_2(&plan, &target, logged_in, found).await;
        }
    }

    /// The steps again, for proxies that treat HTTP/2 in another way. Nothing is said about the
    /// steps when the proxy does not offer it.
    async fn over_http_2(&self, plan: &Plan, target: &Target, logged_in: bool, found: &mut Found) {
        let steps = STEPS.iter().filter(|step| step.http_2);
        for step in steps.filter(|step| logged_in || !step.login) {
            let forged = (step.lines)(plan);
            if forged.is_empty() {
                continue;
            }
            let lines = self.lines(&forged, step.login);
            let mut answer = target.get_http_2("/_auth/probe", &lines).await;
            if matches!(&answer, Ok(Some(answer)) if answer.code() == Some("not_found")) {
                answer = target.get_http_2("/_auth/whoami", &lines).await;
            }
            let answer = match answer {
                Ok(Some(answer)) => Ok(answer),
                Ok(None) => return,
                Err(error) => Err(error),
            };
            let name = format!("{}: {} {} over HTTP/2", target.uri, step.id, step.what);
            judge(step, plan, target, &name, answer, found);
        }
    }

    fn check_identity(&self, url: &Uri, baseline: &Answer, found: &mut Found) {
        match &self.expect_user {
            Some(expected) if baseline.user() != Some(expected) => {
                let detail = "The gateway names another user than --expect-user.".to_owned();
                found
                    .findings
                    .push(finding(&findings::IDENTITY_UNEXPECTED, url, detail));
            }
            _ => found.passed.push(format!("{url}: V0 the login arrives")),
        }
    }

    async fn take(&self, step: &Step, plan: &Plan, target: &Target, found: &mut Found) {
        let url = &target.uri;
        let lines = (step.lines)(plan);
        let name = format!("{url}: {} {}", step.id, step.what);
        if lines.is_empty() && step.id != "V15" {
            found.passed.push(format!("{name} (nothing to forge)"));
            return;
        }
        let answer = self.ask(target, &lines, step.login, step.websocket).await;
        judge(step, plan, target, &name, answer, found);
    }

    async fn ask(
        &self,
        target: &Target,
        lines: &[(String, String)],
        login: bool,
        websocket: bool,
    ) -> io::Result<Answer> {
        if websocket {
            let mut all = match login {
                true => self.login.clone(),
                false => Vec::new(),
            };
            let upgrade = UPGRADE.iter();
            all.extend(upgrade.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
            all.extend_from_slice(lines);
            return target.get("/ws", &all).await;
        }
        let all = self.lines(lines, login);
        let answer = target.get("/_auth/probe", &all).await?;
        // A gateway that does not know the nonce still says who is asking.
        if answer.code() == Some("not_found") {
            return target.get("/_auth/whoami", &all).await;
        }
        Ok(answer)
    }

    /// The lines of a request for the probe's own route.
    fn lines(&self, forged: &[(String, String)], login: bool) -> Vec<(String, String)> {
        let login = if login { self.login.as_slice() } else { &[] };
        let nonce = (NONCE_HEADER.to_owned(), self.nonce.clone());
        let mut all = login.to_vec();
        all.push(nonce);
        all.extend_from_slice(forged);
        all
    }

    async fn around_proxy(&self, url: &Uri, found: &mut Found) {
        let target = self.target(url);
        let plain = match target.get("/_auth/whoami", &[]).await {
            // Nobody answers: that is what a firewall is for.
            Err(error) if error.kind() != io::ErrorKind::InvalidData => {
                found.passed.push(format!(
                    "{url}: D1 not reachable from here ({})",
                    reason(&error)
                ));
                return;
            }
            Err(_) => Answer::default(),
            Ok(answer) => answer,
        };
        let severity = match plain.is_accepted() {
            true => AuditSeverity::Critical,
            false => AuditSeverity::Warn,
        };
        let detail = format!(
            "D1 a plain request: The answer has status {}.",
            plain.status
        );
        let row = Row {
            severity,
            ..findings::DIRECT_REACHABLE
        };
        found.findings.push(finding(&row, url, detail));
        let mut lines = vec![(self.user_header.clone(), self.plan().forged())];
        let others = self
            .required
            .iter()
            .filter(|name| **name != self.user_header);
        lines.extend(others.map(|name| (name.clone(), "https".to_owned())));
        match target.get("/_auth/whoami", &lines).await {
            Ok(answer)
                if answer.is_accepted()
                    || answer.code() == Some("trusted_proxy_user_not_allowed") =>
            {
                let detail = "D2 a forged user around the proxy was judged as if it came from it.";
                let detail = detail.to_owned();
                found
                    .findings
                    .push(finding(&findings::DIRECT_IDENTITY, url, detail));
            }
            _ => found
                .passed
                .push(format!("{url}: D2 a forged user is refused")),
        }
    }
}

fn judge(
    step: &Step,
    plan: &Plan,
    target: &Target,
    name: &str,
    answer: io::Result<Answer>,
    found: &mut Found,
) {
    match answer {
        Err(error) => found.unsure.push(format!("{name}: {}", reason(&error))),
        Ok(answer) => match (step.judge)(plan, &answer) {
            Outcome::Passed => found.passed.push(name.to_owned()),
            Outcome::Unsure(why) => found.unsure.push(format!("{name}: {why}")),
            Outcome::Found(row, said) => {
                let url = &target.uri;
                let step = name.strip_prefix(&format!("{url}: ")).unwrap_or(name);
                found
                    .findings
                    .push(finding(row, url, format!("{step}: {said}")));
            }
        },
    }
}

fn finding(row: &Row, url: &Uri, detail: String) -> AuditFinding {
    AuditFinding::new(row.id, row.severity, row.title, detail, row.remediation)
        .at(url.to_string())
        .about(row.line)
}

/// Why a request got no answer, without anything that the other side said.
fn reason(error: &io::Error) -> String {
    error.kind().to_string()
}

/// What asks for a WebSocket (RFC 6455, section 4.1).
const UPGRADE: &[(&str, &str)] = &[
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];
