//! A real OpenID provider on loopback, a person with a browser, and state folders to sign in to.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    reason = "this crate is tests only; a failure is meant to end them"
)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, Once};
use std::time::Duration;

use openclaw_auth::{Engine, LoginDone, LoginFlow, LoginOptions, Options};
use serde_json::{Value, json};

pub const PROVIDER: &str = "openai-codex";
pub const CLIENT: &str = "app_test_public";

/// The provider, ended on drop.
pub struct Idp {
    child: Child,
    pub port: u16,
}

impl Idp {
    pub fn start() -> Self {
        listen_to_the_log();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(
            folder.join("node_modules/oidc-provider").is_dir(),
            "run `npm ci` in {}",
            folder.display()
        );
        let mut child = Command::new("node")
            .arg("server.mjs")
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.find_map(|line| line.unwrap().strip_prefix("PORT ").map(str::to_owned));
        let port = line.expect("the provider listens").parse().unwrap();
        // Its log must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port }
    }

    pub fn config(&self, settings: &Value) {
        let answer = self.control("POST", "config", &settings.to_string());
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    pub fn stats(&self) -> Value {
        serde_json::from_str(&self.control("GET", "stats", "").body).unwrap()
    }

    /// Successful refreshes so far.
    pub fn refreshes(&self) -> u64 {
        self.stats()["refresh"].as_u64().unwrap()
    }

    /// How often a reuse has made the provider revoke a login.
    pub fn revocations(&self) -> u64 {
        self.stats()["revocations"].as_u64().unwrap()
    }

    /// Lets the provider forget a refresh token, as when somebody signs out.
    pub fn revoke(&self, token: &str) {
        let body = format!("token={token}&token_type_hint=refresh_token&client_id={CLIENT}");
        let headers = "Content-Type: application/x-www-form-urlencoded\r\n";
        let answer = self.send("POST", "/token/revocation", headers, &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    fn control(&self, method: &str, what: &str, body: &str) -> Answer {
        self.send(
            method,
            &format!("/__test/{what}"),
            "Content-Type: application/json\r\n",
            body,
        )
    }

    fn send(&self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        request(self.port, method, target, headers, body)
    }

    /// The environment that points the built-in provider here.
    pub fn env(&self) -> BTreeMap<String, String> {
        let base = format!("http://127.0.0.1:{}", self.port);
        let prefix = "OPENCLAW_AUTH_OAUTH_OPENAI_CODEX_";
        [
            ("ISSUER", base.clone()),
            ("AUTHORIZE_URL", format!("{base}/auth")),
            ("TOKEN_URL", format!("{base}/token")),
            ("CLIENT_ID", CLIENT.to_owned()),
            ("REDIRECT_PORTS", "0".to_owned()),
        ]
        .into_iter()
        .map(|(name, value)| (format!("{prefix}{name}"), value))
        .collect()
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        // T26: whatever a test did, nothing that was issued shows.
        let issued = (!std::thread::panicking()).then(|| self.control("GET", "issued", "").body);
        let _ = self.child.kill();
        let _ = self.child.wait();
        let Some(issued) = issued else { return };
        let issued: Vec<String> = serde_json::from_str(&issued).unwrap();
        let shown = SHOWN.lock().unwrap();
        for secret in issued {
            let line = shown.iter().find(|line| line.contains(&secret));
            let line = line.map(|line| line.chars().take(160).collect::<String>());
            assert_eq!(line, None, "a secret is shown");
        }
    }
}

/// Everything that was logged, and that programs have written.
static SHOWN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Notes what somebody could see.
pub fn note(text: impl Into<String>) {
    SHOWN.lock().unwrap().push(text.into());
}

/// How many texts were noted.
pub fn noted() -> usize {
    SHOWN.lock().unwrap().len()
}

fn listen_to_the_log() {
    struct Log;
    impl log::Log for Log {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            note(format!("{} {}", record.target(), record.args()));
        }
        fn flush(&self) {}
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Log).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// A state folder with its engine.
pub struct Home {
    pub folder: tempfile::TempDir,
    pub env: BTreeMap<String, String>,
}

impl Home {
    pub fn new(idp: &Idp) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut env = idp.env();
        env.insert("HOME".to_owned(), folder.path().display().to_string());
        Self { folder, env }
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn store(&self, agent: &str) -> PathBuf {
        self.state()
            .join("agents")
            .join(agent)
            .join("agent/auth-profiles.json")
    }

    pub fn engine(&self) -> Engine {
        self.engine_with(json!({"agents": {"list": [{"id": "main"}]}}))
    }

    pub fn engine_with(&self, config: Value) -> Engine {
        let options = Options::new()
            .config_value(config)
            .state_dir(self.state())
            .env(self.env.clone());
        Engine::open(options).unwrap()
    }

    /// Signs in through the browser and gives what was stored.
    pub fn sign_in(&self, engine: &Engine, options: LoginOptions) -> LoginDone {
        let mut flow = engine.oauth_begin(PROVIDER, options).unwrap();
        let browser = browse(&flow);
        let address = wait(&mut flow);
        let done = engine.oauth_complete(&mut flow, &address).unwrap();
        let answer = browser.join().unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        done
    }

    /// The stored credentials of an agent.
    pub fn profiles(&self, agent: &str) -> Value {
        let text = std::fs::read_to_string(self.store(agent)).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["profiles"].take()
    }

    pub fn profile(&self, agent: &str, id: &str) -> Value {
        self.profiles(agent)[id].clone()
    }

    /// Changes a stored credential by hand.
    pub fn change(&self, agent: &str, id: &str, change: impl FnOnce(&mut Value)) {
        let path = self.store(agent);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut tree: Value = serde_json::from_str(&text).unwrap();
        change(&mut tree["profiles"][id]);
        std::fs::write(&path, tree.to_string()).unwrap();
    }

    /// Lets the access token of a profile have run out.
    pub fn expire(&self, agent: &str, id: &str) {
        self.change(agent, id, |credential| {
            credential["expires"] = json!(1_000);
            credential["oa"].as_object_mut().unwrap().remove("issuedAt");
        });
    }

    /// Puts an hour's token half a minute before its end: it still works.
    pub fn end_soon(&self, agent: &str, id: &str) {
        self.change(agent, id, |credential| {
            let issued = credential["oa"]["issuedAt"].as_u64().unwrap();
            let end = credential["expires"].as_u64().unwrap();
            credential["oa"]["issuedAt"] = json!(issued - 3_570_000);
            credential["expires"] = json!(end - 3_570_000);
        });
    }

    /// Gives another agent a copy of the store.
    pub fn copy_to(&self, agent: &str) {
        let to = self.store(agent);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(self.store("main"), &to).unwrap();
    }

    /// A worker process for an agent's profile.
    pub fn worker(&self, worker: &str, agent: &str, id: &str) -> Command {
        let mut command = Command::new(worker);
        command
            .args([self.state().as_os_str(), agent.as_ref(), id.as_ref()])
            .env_clear()
            .envs(&self.env)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Files that a refresh leaves behind when it does not end well.
    pub fn traces(&self, agent: &str) -> Vec<String> {
        let folder = self.store(agent);
        let names = std::fs::read_dir(folder.parent().unwrap()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name != "auth-profiles.json").collect();
        names.sort();
        names
    }
}

/// Opens the address of a flow in a browser that clicks everything away.
pub fn browse(flow: &LoginFlow) -> std::thread::JoinHandle<Answer> {
    let url = flow.url().to_owned();
    std::thread::spawn(move || follow(&url))
}

/// Waits for the browser to come back.
pub fn wait(flow: &mut LoginFlow) -> String {
    for _ in 0..200 {
        if let Some(address) = flow.listen(Duration::from_millis(100)).unwrap() {
            return address.expose().to_owned();
        }
    }
    panic!("the browser does not come back");
}

/// Where a sign-in leads, without going there: the redirect address with the code.
pub fn redirect_of(flow: &LoginFlow) -> String {
    redirect_from(flow.url())
}

/// The same for an address that was printed.
pub fn redirect_from(url: &str) -> String {
    visit(url, |location| location.contains("/auth/callback?")).expect("a redirect elsewhere")
}

/// Signs in at an address and gives the last page.
pub fn visit_address(url: &str) -> Answer {
    follow(url)
}

/// The last page of a sign-in.
fn follow(url: &str) -> Answer {
    let last = visit(url, |location| location.contains("/auth/callback")).expect("a redirect back");
    let (host, target) = split(&last);
    let port = host.rsplit(':').next().unwrap().parse().unwrap();
    request(port, "GET", &target, "", "")
}

/// Follows redirects with cookies until one is wanted, and returns that one.
fn visit(url: &str, wanted: impl Fn(&str) -> bool) -> Option<String> {
    let mut cookies: BTreeMap<String, String> = BTreeMap::new();
    let mut url = url.to_owned();
    for _ in 0..20 {
        let (host, target) = split(&url);
        let port = host.rsplit(':').next()?.parse().ok()?;
        let jar: Vec<String> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let header = format!("Cookie: {}\r\n", jar.join("; "));
        let answer = request(port, "GET", &target, &header, "");
        for cookie in answer
            .headers
            .iter()
            .filter(|(name, _)| name == "set-cookie")
        {
            let pair = cookie.1.split(';').next()?;
            let (name, value) = pair.split_once('=')?;
            cookies.insert(name.to_owned(), value.to_owned());
        }
        let location = answer.headers.iter().find(|(name, _)| name == "location");
        let location = &location
            .unwrap_or_else(|| panic!("no way on: {}", answer.body))
            .1;
        let location = if location.starts_with('/') {
            format!("http://{host}{location}")
        } else {
            location.clone()
        };
        if wanted(&location) {
            return Some(location);
        }
        url = location;
    }
    None
}

/// Host with port, and the rest, of an address on this machine.
fn split(url: &str) -> (String, String) {
    let rest = url
        .strip_prefix("http://")
        .expect("plain http on this machine");
    let (host, target) = rest.split_once('/').unwrap_or((rest, ""));
    (host.to_owned(), format!("/{target}"))
}

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// One request to a port of this machine.
pub fn request(port: u16, method: &str, target: &str, headers: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    )
    .unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP answer");
    let mut lines = head.lines();
    let status = lines
        .next()
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let chunked = headers
        .iter()
        .any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked {
        unchunk(body)
    } else {
        body.to_owned()
    };
    Answer {
        status,
        headers,
        body,
    }
}

fn unchunk(body: &str) -> String {
    let mut text = String::new();
    let mut rest = body;
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        text.push_str(&tail[..size]);
        rest = &tail[size + 2..];
    }
    text
}

/// What a worker printed: the digest of its token, or its error.
pub fn result_of(output: &std::process::Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    note(text.as_str());
    note(String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(text.trim()).unwrap_or_else(|_| {
        panic!(
            "{text} {} {:?}",
            String::from_utf8_lossy(&output.stderr),
            output.status
        )
    })
}

/// What stands for a token in the output of workers.
pub fn digest(token: &str) -> String {
    use sha2::{Digest as _, Sha256};
    let hash = Sha256::digest(token.as_bytes());
    hash.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
