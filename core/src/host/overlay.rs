//! Files as they would be after a change that has not been made.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::{FileKind, FileMeta, Files, Host, OpenFile};

/// What files would contain, by path without symbolic links.
pub(crate) type Overlay = BTreeMap<PathBuf, Arc<Zeroizing<Vec<u8>>>>;

impl Host {
    /// The same world with other contents of some files. Nothing can be written through it.
    pub(crate) fn with_overlay(&self, overlay: Overlay) -> Self {
        let mut host = self.clone();
        host.files = Arc::new(OverlayFiles {
            uid: self.env.effective_uid(),
            base: Arc::clone(&self.files),
            overlay,
        });
        host
    }
}

struct OverlayFiles {
    base: Arc<dyn Files>,
    overlay: Overlay,
    uid: u32,
}

impl OverlayFiles {
    /// The content that takes the place of the file's own.
    fn content(&self, path: &Path) -> Option<&Arc<Zeroizing<Vec<u8>>>> {
        self.overlay.get(path).or_else(|| {
            let real = self.base.canonical(path).ok()?;
            self.overlay.get(&real)
        })
    }

    fn changed(&self, found: io::Result<FileMeta>, content: &[u8]) -> FileMeta {
        let len = u64::try_from(content.len()).unwrap_or(u64::MAX);
        let fresh = FileMeta {
            kind: FileKind::Regular,
            mode: 0o600,
            uid: self.uid,
            links: 1,
            len,
            device: 0,
            inode: 0,
            modified_ns: 0,
            changed_ns: 0,
        };
        FileMeta {
            len,
            ..found.unwrap_or(fresh)
        }
    }

    fn refused<T>() -> io::Result<T> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

impl Files for OverlayFiles {
    fn lstat(&self, path: &Path) -> io::Result<FileMeta> {
        let found = self.base.lstat(path);
        match (&found, self.content(path)) {
            (Ok(meta), _) if meta.kind == FileKind::Symlink => found,
            (_, Some(content)) => Ok(self.changed(found, content)),
            (_, None) => found,
        }
    }

    fn stat(&self, path: &Path) -> io::Result<FileMeta> {
        match self.content(path) {
            Some(content) => Ok(self.changed(self.base.stat(path), content)),
            None => self.base.stat(path),
        }
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        match self.base.canonical(path) {
            Err(_) if self.overlay.contains_key(path) => Ok(path.to_owned()),
            result => result,
        }
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.base.read_link(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        match self.overlay.get(path) {
            Some(content) => Ok(Box::new(OverlayFile {
                meta: self.changed(self.base.stat(path), content),
                content: Arc::clone(content),
            })),
            None => self.base.open(path),
        }
    }

    fn write_atomic_if(
        &self,
        _: &Path,
        _: &[u8],
        _: u32,
        _: &mut dyn FnMut() -> bool,
    ) -> io::Result<Option<FileMeta>> {
        Self::refused()
    }

    fn create_dir_all(&self, _: &Path, _: u32) -> io::Result<()> {
        Self::refused()
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        Self::refused()
    }

    fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.base.names(path)
    }
}

struct OverlayFile {
    meta: FileMeta,
    content: Arc<Zeroizing<Vec<u8>>>,
}

impl OpenFile for OverlayFile {
    fn meta(&self) -> io::Result<FileMeta> {
        Ok(self.meta)
    }

    fn read_to_limit(&mut self, limit: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let fits = u64::try_from(self.content.len()).is_ok_and(|len| len <= limit);
        Ok(fits.then(|| Zeroizing::clone(&self.content)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sim::Sim;

    #[test]
    fn changed_and_new_files_look_as_if_written() {
        let sim = Sim::new();
        sim.file("/d/old", "old", 0o640);
        sim.symlink("/d/link", "/d/old");
        let content = |text: &str| Arc::new(Zeroizing::new(text.as_bytes().to_vec()));
        let host = sim.host().with_overlay(Overlay::from([
            (PathBuf::from("/d/old"), content("changed")),
            (PathBuf::from("/d/new"), content("fresh")),
        ]));
        let files = &host.files;
        let real = files.canonical(Path::new("/d/link")).unwrap();
        let mut open = files.open(&real).unwrap();
        assert_eq!(open.meta().unwrap().mode, 0o640);
        assert_eq!(open.meta().unwrap().len, 7);
        assert_eq!(**open.read_to_limit(9).unwrap().unwrap(), *b"changed");
        assert!(open.read_to_limit(6).unwrap().is_none());
        assert_eq!(files.stat(Path::new("/d/link")).unwrap().len, 7);
        let new = Path::new("/d/new");
        assert_eq!(files.canonical(new).unwrap(), new);
        assert_eq!(files.lstat(new).unwrap().mode, 0o600);
        assert!(files.write_atomic(new, b"", 0o600).is_err());
        assert_eq!(sim.text("/d/old").unwrap(), "old");
    }
}
