//! A folder of one test: home, state, secrets files and programs.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Removed with everything in it when dropped.
pub(crate) struct Place(TempDir);

impl Place {
    /// The configuration, in the usual state folder.
    pub(crate) const CONFIG: &str = "home/.openclaw/openclaw.json";

    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// A file that only its owner reads, replaced in one step. `DIR` becomes the folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        self.put(name, text, 0o600)
    }

    /// A program in sh. `DIR` becomes the folder.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        self.put(name, text, 0o755)
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// A symbolic link.
    pub(crate) fn link(&self, name: &str, target: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// The configuration: a gateway in trusted-proxy mode that reloads when it is asked to, and
    /// these sections.
    pub(crate) fn configure(&self, sections: &str) {
        self.write(Self::CONFIG, &format!("{{\n{GATEWAY}{sections}\n}}\n"));
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.path(Self::CONFIG)
    }

    fn put(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let fresh = path.with_extension("fresh");
        fs::write(&fresh, text.replace("DIR", &shown(self.0.path()))).unwrap();
        fs::set_permissions(&fresh, Permissions::from_mode(mode)).unwrap();
        fs::rename(&fresh, &path).unwrap();
        path
    }
}

fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

const GATEWAY: &str = r#"
  gateway: {
    bind: "loopback",
    reload: { mode: "off" },
    trustedProxies: ["127.0.0.1"],
    auth: {
      mode: "trusted-proxy",
      trustedProxy: {
        userHeader: "x-forwarded-user",
        requiredHeaders: ["x-forwarded-proto"],
        allowUsers: ["nick@example.com"],
      },
    },
  },
"#;
