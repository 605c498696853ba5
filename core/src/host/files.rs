//! Files and folders of a Unix machine.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the access that the lint points to"
)]

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::buffer::WipedBuffer;
use super::{FileKind, FileMeta, Files, OpenFile, Overwrite};

/// The permission bits among the bits of a mode.
const PERMISSIONS: u32 = 0o7777;
/// Longest chain of symbolic links that is followed, the same as in Linux.
const MAX_LINKS: usize = 40;
const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// The file system of the machine.
pub(super) struct RealFiles;

impl Files for RealFiles {
    fn lstat(&self, path: &Path) -> io::Result<FileMeta> {
        Ok(meta_of(&fs::symlink_metadata(path)?))
    }

    fn stat(&self, path: &Path) -> io::Result<FileMeta> {
        Ok(meta_of(&fs::metadata(path)?))
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        fs::read_link(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        // NOCTTY: opening a terminal must not make it the controlling one of a daemon.
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let descriptor =
            rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?;
        Ok(Box::new(RealFile(File::from(descriptor))))
    }

    fn write_atomic_if(
        &self,
        path: &Path,
        content: &[u8],
        mode: u32,
        ready: &mut dyn FnMut() -> bool,
    ) -> io::Result<Option<FileMeta>> {
        let target = link_target(path)?;
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(Errno::ISDIR.into());
        };
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        let previous = match fs::symlink_metadata(&target) {
            // A rename would put a file in the place of a device or pipe.
            Ok(meta) if !meta.is_file() => return Err(io::ErrorKind::InvalidInput.into()),
            Ok(meta) => Some(meta),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        // Opened before anything changes: a folder that cannot be synced is found out in time.
        let folder = File::open(parent)?;

        let mut prefix = OsString::from(".");
        prefix.push(name);
        // The process id lets leftovers of a killed process be told from files in use.
        prefix.push(format!(".{}.", std::process::id()));
        let mut temporary = tempfile::Builder::new()
            .prefix(&prefix)
            .rand_bytes(12)
            .suffix(".tmp")
            .permissions(Permissions::from_mode(mode & PERMISSIONS))
            .tempfile_in(parent)?;
        keep_owner(temporary.as_file(), previous.as_ref())?;
        // The umask may have taken bits away.
        if temporary.as_file().metadata()?.mode() & PERMISSIONS != mode & PERMISSIONS {
            temporary
                .as_file()
                .set_permissions(Permissions::from_mode(mode & PERMISSIONS))?;
        }
        temporary.write_all(content)?;
        temporary.as_file().sync_all()?;
        let meta = meta_of(&temporary.as_file().metadata()?);
        if !ready() {
            return Ok(None);
        }
        temporary.persist(&target).map_err(|error| error.error)?;
        sync_folder(&folder)?;
        Ok(Some(meta))
    }

    fn create_private(
        &self,
        path: &Path,
        content: &[u8],
        mode: u32,
    ) -> io::Result<Box<dyn Overwrite>> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode & PERMISSIONS)
            .open(path)?;
        let written = file.write_all(content).and_then(|()| file.sync_all());
        if let Err(error) = written {
            // A part of it is of no use; the cause is what counts.
            let _ = fs::remove_file(path);
            return Err(error);
        }
        Ok(Box::new(file))
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let entries = fs::read_dir(folder)?;
        entries.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(mode & PERMISSIONS)
            .create(path)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        // Opened first and never through a link: the mode goes to what was looked at.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?;
        File::from(opened).set_permissions(Permissions::from_mode(mode & PERMISSIONS))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// An open descriptor.
struct RealFile(File);

impl OpenFile for RealFile {
    fn meta(&self) -> io::Result<FileMeta> {
        Ok(meta_of(&self.0.metadata()?))
    }

    fn read_to_limit(&mut self, limit: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let meta = self.0.metadata()?;
        if meta.is_file() && meta.len() > limit {
            return Ok(None);
        }
        // One byte more than expected, so that the end is seen without growing. The stated size
        // is only a hint: the file may grow meanwhile, and /proc and devices state 0.
        let enough = meta.len().min(limit).saturating_add(1);
        let mut buffer = WipedBuffer::with_capacity(usize::try_from(enough).unwrap_or(0));
        while buffer.len() <= limit {
            let missing = limit.saturating_add(1).saturating_sub(buffer.len());
            if buffer.read_from(&self.0, missing)? == 0 {
                return Ok(Some(buffer.into_bytes()));
            }
        }
        Ok(None)
    }
}

impl Overwrite for File {
    fn overwrite(&self, content: &[u8]) -> io::Result<()> {
        self.write_all_at(content, 0)
    }
}

fn meta_of(meta: &Metadata) -> FileMeta {
    let kind = meta.file_type();
    let kind = match () {
        () if kind.is_file() => FileKind::Regular,
        () if kind.is_dir() => FileKind::Directory,
        () if kind.is_symlink() => FileKind::Symlink,
        () if kind.is_fifo() => FileKind::Fifo,
        () if kind.is_socket() => FileKind::Socket,
        () => FileKind::Device,
    };
    FileMeta {
        kind,
        mode: meta.mode() & PERMISSIONS,
        uid: meta.uid(),
        links: meta.nlink(),
        len: meta.len(),
        device: meta.dev(),
        inode: meta.ino(),
        modified_ns: i128::from(meta.mtime()) * NANOS_PER_SECOND + i128::from(meta.mtime_nsec()),
        changed_ns: i128::from(meta.ctime()) * NANOS_PER_SECOND + i128::from(meta.ctime_nsec()),
    }
}

/// Where writing to a path ends up. Unlike `canonicalize` it also answers for a link whose target
/// does not exist yet; links in the folders are left to the system.
fn link_target(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        match fs::read_link(&target) {
            Ok(next) => target = target.parent().unwrap_or(Path::new("/")).join(next),
            // EINVAL: not a link.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                return Ok(target);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(target),
            Err(error) => return Err(error),
        }
    }
    Err(Errno::LOOP.into())
}

/// Gives a new file the owner and group of the one it replaces, as far as this process may.
fn keep_owner(file: &File, previous: Option<&Metadata>) -> io::Result<()> {
    let Some(previous) = previous else {
        return Ok(());
    };
    let current = file.metadata()?;
    let uid = (current.uid() != previous.uid()).then(|| Uid::from_raw(previous.uid()));
    let gid = (current.gid() != previous.gid()).then(|| Gid::from_raw(previous.gid()));
    if uid.is_none() && gid.is_none() {
        return Ok(());
    }
    match rustix::fs::fchown(file, uid, gid) {
        // Only root may give files away; the file then belongs to whoever writes it.
        Err(Errno::PERM) => Ok(()),
        result => Ok(result?),
    }
}

/// Makes a rename durable.
fn sync_folder(folder: &File) -> io::Result<()> {
    match rustix::fs::fsync(folder) {
        // Some network file systems have no such thing for folders; the rename has happened.
        Err(Errno::INVAL | Errno::NOTSUP | Errno::NOSYS) => Ok(()),
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests;
