//! Which files and programs a provider may use: one list of steps, the first failing one decides.

use std::io;
use std::path::{Path, PathBuf};

use super::failure::Fault;
use super::provider::PathSettings;
use crate::config::expand_home;
use crate::error::Code;
use crate::host::{FileKind, FileMeta, Host, OpenFile};

/// The two kinds of path, and what differs between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathKind {
    File,
    Exec,
}

impl PathKind {
    /// The setting that holds the path.
    fn field(self) -> &'static str {
        match self {
            Self::File => "path",
            Self::Exec => "command",
        }
    }

    fn allow_symlink_field(self) -> &'static str {
        match self {
            Self::File => "allowSymlinkPath",
            Self::Exec => "allowSymlinkCommand",
        }
    }

    /// Permission bits that must not be set.
    fn forbidden_bits(self) -> u32 {
        match self {
            Self::File => 0o077,
            Self::Exec => 0o022,
        }
    }
}

/// A path that passed.
pub(super) struct Checked {
    /// With every symbolic link resolved.
    pub(super) effective: PathBuf,
    /// The open file, for secrets files: checked and read through one descriptor.
    pub(super) open: Option<Box<dyn OpenFile>>,
    /// `allowInsecurePath` skipped the checks of owner and permissions.
    pub(super) bypassed: bool,
}

/// Judges the path of one provider.
pub(super) struct PathPolicy<'a> {
    pub(super) host: &'a Host,
    pub(super) home: &'a Path,
    pub(super) alias: &'a str,
    pub(super) kind: PathKind,
    pub(super) settings: &'a PathSettings,
}

impl PathPolicy<'_> {
    /// Runs all steps.
    pub(super) fn check(&self) -> Result<Checked, Fault> {
        let files = &self.host.files;
        let path = expand_home(&self.settings.path, self.home);
        if !path.is_absolute() {
            return Err(self.insecure(
                "not_absolute",
                format!("{} must be an absolute path", self.name()),
            ));
        }
        let own = files
            .lstat(&path)
            .map_err(|error| self.unreadable(&path, &error))?;
        let effective = self.effective(&path, own)?;
        let (meta, open) = self.facts(&effective)?;
        if meta.kind != FileKind::Regular {
            let kind = kind_name(meta.kind);
            let message = format!("{} is a {kind}, not a regular file", self.name());
            return Err(self
                .insecure("not_regular_file", message)
                .detail("kind", kind));
        }
        self.inside_trusted_dirs(&effective)?;
        if self.settings.allow_insecure {
            return Ok(Checked {
                effective,
                open,
                bypassed: true,
            });
        }
        self.permissions(&effective, meta)?;
        self.owner(meta)?;
        if self.kind == PathKind::Exec {
            self.ancestors(&effective)?;
            if meta.mode & 0o111 == 0 {
                let message = format!("{} is not executable", self.name());
                return Err(self
                    .insecure("not_executable", message)
                    .hint(format!("chmod u+x {}", effective.display())));
            }
        }
        Ok(Checked {
            effective,
            open,
            bypassed: false,
        })
    }

    /// The path with links resolved, if links are allowed.
    fn effective(&self, path: &Path, own: FileMeta) -> Result<PathBuf, Fault> {
        let files = &self.host.files;
        if own.kind == FileKind::Symlink && !self.settings.allow_symlink {
            let target = files.canonical(path).or_else(|_| files.read_link(path));
            let target = target
                .map(|target| target.display().to_string())
                .unwrap_or_default();
            let folder = Path::new(&target)
                .parent()
                .map(|folder| folder.display().to_string());
            let allow = self.kind.allow_symlink_field();
            let message = format!("{} is a symbolic link to {target}", self.name());
            return Err(self
                .insecure("symlink", message)
                .detail("target", target.clone())
                .hint(format!(
                    "set {allow}: true with trustedDirs: [\"{}\"], or use {target}",
                    folder.unwrap_or_default()
                )));
        }
        files.canonical(path).map_err(|error| {
            let message = format!(
                "{} leads to a file that cannot be reached ({})",
                self.name(),
                errno(&error)
            );
            self.insecure("symlink_target_unreadable", message)
        })
    }

    /// What the path leads to. Secrets files are opened, and judged by the open descriptor, so
    /// that nothing can be exchanged between the check and the reading.
    fn facts(&self, effective: &Path) -> Result<(FileMeta, Option<Box<dyn OpenFile>>), Fault> {
        let files = &self.host.files;
        let unreadable = |error: io::Error| self.unreadable(effective, &error);
        let meta = files.stat(effective).map_err(unreadable)?;
        if self.kind == PathKind::Exec || meta.kind != FileKind::Regular {
            return Ok((meta, None));
        }
        let open = files.open(effective).map_err(unreadable)?;
        Ok((open.meta().map_err(unreadable)?, Some(open)))
    }

    fn inside_trusted_dirs(&self, effective: &Path) -> Result<(), Fault> {
        let dirs = &self.settings.trusted_dirs;
        let inside = |dir: &String| {
            let dir = expand_home(dir, self.home);
            self.host
                .files
                .canonical(&dir)
                .is_ok_and(|dir| effective.starts_with(dir))
        };
        if dirs.is_empty() || dirs.iter().any(inside) {
            return Ok(());
        }
        let folder = effective
            .parent()
            .unwrap_or(effective)
            .display()
            .to_string();
        let message = format!(
            "{}: {} is not inside trustedDirs",
            self.name(),
            effective.display()
        );
        Err(self
            .insecure("outside_trusted_dirs", message)
            .hint(format!("add \"{folder}\" to trustedDirs")))
    }

    fn permissions(&self, effective: &Path, meta: FileMeta) -> Result<(), Fault> {
        let bad = meta.mode & self.kind.forbidden_bits();
        if bad == 0 {
            return Ok(());
        }
        let fix = format!("{:03o}", meta.mode & 0o777 & !self.kind.forbidden_bits());
        let message = format!(
            "{}: mode {:04o} lets other users in",
            self.name(),
            meta.mode & 0o7777
        );
        Err(self
            .insecure("too_open", message)
            .detail("mode", format!("{:04o}", meta.mode & 0o7777))
            .hint(format!("chmod {fix} {}", effective.display())))
    }

    fn owner(&self, meta: FileMeta) -> Result<(), Fault> {
        let current = self.host.env.effective_uid();
        if meta.uid == current || meta.uid == 0 {
            return Ok(());
        }
        let message = format!(
            "{}: owned by uid {}, must be {current} or root",
            self.name(),
            meta.uid
        );
        Err(self
            .insecure("owner", message)
            .detail("uid", meta.uid)
            .detail("expectedUid", current))
    }

    fn ancestors(&self, effective: &Path) -> Result<(), Fault> {
        for folder in effective.ancestors().skip(1) {
            let meta = self
                .host
                .files
                .stat(folder)
                .map_err(|error| self.unreadable(folder, &error))?;
            if meta.mode & 0o002 != 0 && meta.mode & 0o1000 == 0 {
                let message = format!(
                    "{}: every user can write to the folder {}",
                    self.name(),
                    folder.display()
                );
                return Err(self
                    .insecure("ancestor_world_writable", message)
                    .hint(format!("chmod o-w {}", folder.display())));
            }
        }
        Ok(())
    }

    fn name(&self) -> String {
        format!("secrets.providers.{}.{}", self.alias, self.kind.field())
    }

    fn insecure(&self, reason: &'static str, message: String) -> Fault {
        Fault::new(Code::SecretProviderPathInsecure, message).reason(reason)
    }

    fn unreadable(&self, path: &Path, error: &io::Error) -> Fault {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "not_found",
            io::ErrorKind::PermissionDenied => "permission_denied",
            _ => "io",
        };
        let message = format!(
            "{}: cannot read {} ({})",
            self.name(),
            path.display(),
            errno(error)
        );
        Fault::new(Code::SecretProviderUnreadable, message)
            .reason(reason)
            .retryable()
    }
}

/// The kind of an I/O error in words, without the path or number that the system adds.
fn errno(error: &io::Error) -> String {
    error.kind().to_string()
}

fn kind_name(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Device => "device",
        FileKind::Directory => "directory",
        FileKind::Fifo => "fifo",
        FileKind::Regular => "file",
        FileKind::Socket => "socket",
        FileKind::Symlink => "symlink",
    }
}
