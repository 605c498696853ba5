//! A home folder of its own for each test, and the program in it.
#![allow(dead_code, reason = "not every test file needs everything")]

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A home folder.
pub(crate) struct Home {
    _folder: TempDir,
    pub(crate) path: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            path: folder.path().canonicalize().unwrap(),
            _folder: folder,
            env: BTreeMap::new(),
        }
    }

    /// Writes a file; folders that it makes are the owner's alone.
    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path.join(name);
        let mut folder = self.path.clone();
        for part in Path::new(name).parent().into_iter().flatten() {
            folder.push(part);
            if !folder.exists() {
                fs::create_dir(&folder).unwrap();
                fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
            }
        }
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_openclaw-auth"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", &self.path)
            .envs(&self.env)
            .current_dir(&self.path)
            .stdin(Stdio::null());
        command
    }

    /// Runs the program. No secret of a test may be shown, whatever happens.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let ended = Ended::of(&self.command(arguments).output().unwrap());
        let shown = format!("{}{}", ended.stdout, ended.stderr);
        assert!(
            !shown.contains("CANARY"),
            "{arguments:?} shows a secret: {shown}"
        );
        ended
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        let meta = fs::metadata(self.path.join(name)).unwrap();
        meta.permissions().mode() & 0o777
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path.join(name)).unwrap()
    }

    /// Every file below the folder.
    pub(crate) fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.path.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path.clone(), fs::read(path).unwrap());
                }
            }
        }
        found
    }
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// The one document on standard output.
    pub(crate) fn json(&self) -> Value {
        assert!(self.stdout.ends_with("}\n"), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// A text without the escape sequences of colours.
pub(crate) fn without_colour(text: &str) -> String {
    let mut plain = String::new();
    for (index, part) in text.split("\u{1b}[").enumerate() {
        match part.split_once('m') {
            Some((_, rest)) if index > 0 => plain.push_str(rest),
            _ => plain.push_str(part),
        }
    }
    plain
}
