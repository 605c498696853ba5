//! The program itself.

use std::env;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::{Killed, Place, Way, wait_for};

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    running: Running,
}

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Gateway {
    /// Starts it on the place's configuration and waits until it listens.
    pub(crate) fn start(place: &Place, env: &[(&str, &str)]) -> Self {
        Self::start_with(place, env, &["--config", place.config().to_str().unwrap()])
    }

    /// Another command of the same program, on the place's installation.
    pub(crate) fn command(place: &Place) -> Command {
        let mut command = Command::new(program());
        command
            .env_clear()
            .env("HOME", place.path("home"))
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null());
        command
    }

    /// Starts it with these options and waits until it listens.
    pub(crate) fn start_with(place: &Place, env: &[(&str, &str)], options: &[&str]) -> Self {
        let mut running = Running::new(place, env, options);
        let address = wait_for("the gateway's address", || {
            if let Some(code) = running.code() {
                let ended = running.ended(code);
                panic!("the gateway did not start: {ended:#?}");
            }
            let stdout = running.stdout.text();
            let (_, rest) = stdout.split_once("listening on http://")?;
            rest.split_once('\n')?.0.parse().ok()
        });
        Self { address, running }
    }

    /// Runs it to its end, which must come by itself.
    pub(crate) fn run(place: &Place, env: &[(&str, &str)], options: &[&str]) -> Ended {
        let mut running = Running::new(place, env, options);
        let code = wait_for("the end of the program", || running.code());
        running.ended(code)
    }

    /// Runs it on the place's configuration to its end, which must come by itself.
    pub(crate) fn refuse(place: &Place, env: &[(&str, &str)]) -> Ended {
        Self::run(place, env, &["--config", place.config().to_str().unwrap()])
    }

    /// Around nginx.
    pub(crate) fn way(&self) -> Way {
        Way::to(self.address)
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.running.child.0.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(status.unwrap().success(), "kill -s {name}");
    }

    /// What it wrote to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        self.running.stdout.text()
    }

    /// What it wrote to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.running.stderr.text()
    }

    /// Asks it to stop and waits.
    pub(crate) fn stop(mut self) -> Ended {
        self.signal("TERM");
        let code = wait_for("the end of the gateway", || self.running.code());
        self.running.ended(code)
    }
}

struct Running {
    child: Killed,
    stdout: Transcript,
    stderr: Transcript,
}

impl Running {
    fn new(place: &Place, env: &[(&str, &str)], options: &[&str]) -> Self {
        std::fs::create_dir_all(place.path("home")).unwrap();
        let mut child = Gateway::command(place)
            .args(["gateway", "run", "--port", "0"])
            .args(options)
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdout: Transcript::of(child.stdout.take().unwrap()),
            stderr: Transcript::of(child.stderr.take().unwrap()),
            child: Killed(child),
        }
    }

    /// The exit code, once there is one; -1 for a signal.
    fn code(&mut self) -> Option<i32> {
        let status = self.child.0.try_wait().unwrap()?;
        Some(status.code().unwrap_or(-1))
    }

    fn ended(&mut self, code: i32) -> Ended {
        Ended {
            code: Some(code).filter(|code| *code >= 0),
            stdout: self.stdout.whole(),
            stderr: self.stderr.whole(),
        }
    }
}

/// What a program writes, collected while it runs.
struct Transcript {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Transcript {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let own = Arc::clone(&text);
        let reader = thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                own.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self {
            text,
            reader: Some(reader),
        }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Everything, after the program has ended.
    fn whole(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.text()
    }
}

/// `OPENCLAW_AUTH_BIN`, or the program in the folder that cargo built this test into.
fn program() -> PathBuf {
    if let Some(path) = env::var_os("OPENCLAW_AUTH_BIN") {
        return path.into();
    }
    let test = env::current_exe().unwrap();
    let path = test.parent().unwrap().with_file_name("openclaw-auth");
    assert!(
        path.is_file(),
        "{} is missing; build it first: cargo build -p openclaw-auth-gateway",
        path.display()
    );
    path
}
