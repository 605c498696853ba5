//! Files in memory.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::host::{FileKind, FileMeta, Files, Liveness, Locks, OpenFile, ProcessFacts};

use super::World;

/// Permission bits of one class of users.
const READ: u32 = 0o4;
const WRITE: u32 = 0o2;
pub(super) const EXECUTE: u32 = 0o1;
/// The folder bit under which only owners may remove and rename entries.
const STICKY: u32 = 0o1000;
const PERMISSIONS: u32 = 0o7777;
/// Longest chain of symbolic links that is followed, the same as in Linux.
const MAX_LINKS: usize = 40;
const ROOT: u64 = 1;
const DEVICE: u64 = 1;

/// Names and what they lead to. Nodes stay when their last name is gone, for those who have
/// them open.
pub(super) struct Disk {
    names: BTreeMap<PathBuf, u64>,
    nodes: BTreeMap<u64, Node>,
    /// Paths on which every access fails.
    pub(super) failures: BTreeMap<PathBuf, io::ErrorKind>,
}

/// A file of any kind.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) kind: FileKind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    content: Vec<u8>,
    /// What a symbolic link says.
    target: PathBuf,
    modified_ns: i128,
    pub(super) changed_ns: i128,
}

/// Where a path leads to.
pub(super) struct Place {
    /// Without links, as far as they were followed.
    pub(super) path: PathBuf,
    /// `None` when the last component does not exist.
    pub(super) inode: Option<u64>,
}

impl Default for Disk {
    fn default() -> Self {
        let mut root = Node::special(FileKind::Directory, 0o755);
        root.uid = super::START_UID;
        Self {
            names: BTreeMap::from([(PathBuf::from("/"), ROOT)]),
            nodes: BTreeMap::from([(ROOT, root)]),
            failures: BTreeMap::new(),
        }
    }
}

impl Node {
    pub(super) fn file(content: Vec<u8>, mode: u32) -> Self {
        Self {
            content,
            ..Self::special(FileKind::Regular, mode)
        }
    }

    pub(super) fn symlink(target: PathBuf) -> Self {
        Self {
            target,
            ..Self::special(FileKind::Symlink, 0o777)
        }
    }

    pub(super) fn special(kind: FileKind, mode: u32) -> Self {
        Self {
            kind,
            mode: mode & PERMISSIONS,
            uid: 0,
            content: Vec::new(),
            target: PathBuf::new(),
            modified_ns: 0,
            changed_ns: 0,
        }
    }

    /// The same node, belonging to a user since a point in time.
    fn made_by(self, uid: u32, now_ns: i128) -> Self {
        Self {
            uid,
            modified_ns: now_ns,
            changed_ns: now_ns,
            ..self
        }
    }

    pub(super) fn content(&self) -> Vec<u8> {
        self.content.clone()
    }

    /// Whether a user has a permission. There are no groups.
    pub(super) fn allows(&self, uid: u32, permission: u32) -> bool {
        let class = if self.uid == uid {
            self.mode >> 6
        } else {
            self.mode
        };
        uid == 0 || class & permission != 0
    }
}

impl Disk {
    /// What a name stands for, links not followed, permissions not asked.
    pub(super) fn inode(&self, path: &Path) -> Option<u64> {
        self.names.get(path).copied()
    }

    pub(super) fn node(&self, inode: u64) -> Option<&Node> {
        self.nodes.get(&inode)
    }

    pub(super) fn node_mut(&mut self, inode: u64) -> Option<&mut Node> {
        self.nodes.get_mut(&inode)
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.names
            .keys()
            .filter(|path| *path != Path::new("/"))
            .cloned()
            .collect()
    }

    pub(super) fn meta(&self, inode: u64) -> Option<FileMeta> {
        let node = self.node(inode)?;
        let len = match node.kind {
            FileKind::Symlink => node.target.as_os_str().len(),
            _ => node.content.len(),
        };
        Some(FileMeta {
            kind: node.kind,
            mode: node.mode,
            uid: node.uid,
            links: self.names.values().filter(|&&other| other == inode).count() as u64,
            len: len as u64,
            device: DEVICE,
            inode,
            modified_ns: node.modified_ns,
            changed_ns: node.changed_ns,
        })
    }

    /// Puts a node at a literal path, making folders on the way. A node of the same kind is
    /// changed in place, another one replaced.
    pub(super) fn put(&mut self, path: &Path, node: Node, uid: u32, now_ns: i128) {
        let node = node.made_by(uid, now_ns);
        for parent in path.ancestors().skip(1) {
            if !self.names.contains_key(parent) {
                let folder = Node::special(FileKind::Directory, 0o755);
                self.add(parent, folder.made_by(uid, now_ns));
            }
        }
        let existing = self
            .inode(path)
            .and_then(|inode| self.nodes.get_mut(&inode));
        match existing {
            Some(old) if old.kind == node.kind => {
                *old = Node {
                    uid: old.uid,
                    ..node
                }
            }
            _ => self.add(path, node),
        }
    }

    /// Lets a path stand for a node.
    pub(super) fn link(&mut self, path: &Path, inode: u64) {
        self.names.insert(path.to_path_buf(), inode);
    }

    pub(super) fn remove_tree(&mut self, path: &Path) {
        self.names.retain(|name, _| !name.starts_with(path));
    }

    /// Puts a new node at a path.
    fn add(&mut self, path: &Path, node: Node) {
        let inode = self
            .nodes
            .last_key_value()
            .map_or(ROOT, |(last, _)| last + 1);
        self.nodes.insert(inode, node);
        self.link(path, inode);
    }

    /// Follows a path as the kernel does: component by component, links resolved where met, each
    /// folder searchable for the user. The last component may be missing; a link there is
    /// followed when `follow`.
    pub(super) fn walk(&self, path: &Path, follow: bool, uid: u32) -> io::Result<Place> {
        let mut rest = components(path);
        let mut place = Place {
            path: PathBuf::from("/"),
            inode: Some(ROOT),
        };
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            let folder = place.inode.and_then(|inode| self.node(inode));
            let folder = folder.ok_or(io::ErrorKind::NotFound)?;
            if folder.kind != FileKind::Directory {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            if !folder.allows(uid, EXECUTE) {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            let parent = place.path.clone();
            if name == ".." {
                place.path.pop();
            } else {
                place.path.push(name);
            }
            place.inode = self.inode(&place.path);
            let Some(node) = place.inode.and_then(|inode| self.node(inode)) else {
                continue;
            };
            if node.kind == FileKind::Symlink && (follow || !rest.is_empty()) {
                links += 1;
                if links > MAX_LINKS {
                    return Err(too_many_links());
                }
                let mut target = components(&node.target);
                target.append(&mut rest);
                rest = target;
                let start = if node.target.is_absolute() {
                    PathBuf::from("/")
                } else {
                    parent
                };
                place = Place {
                    inode: self.inode(&start),
                    path: start,
                };
            }
        }
        Ok(place)
    }

    /// Like [`Disk::walk`], with the failures that tests asked for.
    fn visit(&self, path: &Path, follow: bool, uid: u32) -> io::Result<Place> {
        self.check_failure(path)?;
        let place = self.walk(path, follow, uid)?;
        self.check_failure(&place.path)?;
        Ok(place)
    }

    /// Like [`Disk::visit`], to something that exists.
    fn find(&self, path: &Path, follow: bool, uid: u32) -> io::Result<(PathBuf, u64)> {
        let place = self.visit(path, follow, uid)?;
        Ok((place.path, place.inode.ok_or(io::ErrorKind::NotFound)?))
    }

    fn check_failure(&self, path: &Path) -> io::Result<()> {
        self.failures
            .get(path)
            .map_or(Ok(()), |kind| Err((*kind).into()))
    }

    /// Whether a user may put a regular file where a path leads.
    fn check_writable(&self, path: &Path, uid: u32) -> io::Result<()> {
        let place = self.visit(path, true, uid)?;
        let previous = place.inode.and_then(|inode| self.node(inode));
        if previous.is_some_and(|node| node.kind != FileKind::Regular) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.check_entry(&place.path, uid)
    }

    /// Whether a user may add, replace or remove the entry at a path without links.
    fn check_entry(&self, path: &Path, uid: u32) -> io::Result<()> {
        let folder = path.parent().and_then(|parent| self.inode(parent));
        let folder = folder
            .and_then(|inode| self.node(inode))
            .ok_or(io::ErrorKind::NotFound)?;
        let entry = self.inode(path).and_then(|inode| self.node(inode));
        let stuck = folder.mode & STICKY != 0
            && ![0, folder.uid].contains(&uid)
            && entry.is_some_and(|entry| entry.uid != uid);
        if folder.kind != FileKind::Directory {
            Err(io::ErrorKind::NotADirectory.into())
        } else if !folder.allows(uid, WRITE) || !folder.allows(uid, EXECUTE) || stuck {
            Err(io::ErrorKind::PermissionDenied.into())
        } else {
            Ok(())
        }
    }
}

/// The named steps of a path.
fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
        })
        .collect()
}

/// The error of endless links; std has no stable name for its kind.
fn too_many_links() -> io::Error {
    #[cfg(unix)]
    return rustix::io::Errno::LOOP.into();
    #[cfg(not(unix))]
    return io::Error::other("too many levels of symbolic links");
}

pub(super) struct SimFiles(pub(super) Arc<World>);

impl SimFiles {
    /// The absolute path, and who asks.
    fn enter(&self, path: &Path) -> (PathBuf, u32) {
        let process = self.0.process.lock();
        (process.current_dir.join(path), process.uid)
    }

    fn look(&self, path: &Path, follow: bool) -> io::Result<FileMeta> {
        let (path, uid) = self.enter(path);
        let disk = self.0.disk.lock();
        let (_, inode) = disk.find(&path, follow, uid)?;
        disk.meta(inode)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Files for SimFiles {
    fn lstat(&self, path: &Path) -> io::Result<FileMeta> {
        self.look(path, false)
    }

    fn stat(&self, path: &Path) -> io::Result<FileMeta> {
        self.look(path, true)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        let (path, uid) = self.enter(path);
        Ok(self.0.disk.lock().find(&path, true, uid)?.0)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let (path, uid) = self.enter(path);
        let disk = self.0.disk.lock();
        let (_, inode) = disk.find(&path, false, uid)?;
        let node = disk
            .node(inode)
            .filter(|node| node.kind == FileKind::Symlink);
        node.map(|node| node.target.clone())
            .ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        let (path, uid) = self.enter(path);
        let disk = self.0.disk.lock();
        let (_, inode) = disk.find(&path, false, uid)?;
        let node = disk.node(inode).ok_or(io::ErrorKind::NotFound)?;
        match node.kind {
            FileKind::Symlink => Err(too_many_links()),
            _ if !node.allows(uid, READ) => Err(io::ErrorKind::PermissionDenied.into()),
            FileKind::Socket => Err(io::Error::other("a socket cannot be opened")),
            _ => Ok(Box::new(SimFile {
                world: Arc::clone(&self.0),
                inode,
                position: 0,
            })),
        }
    }

    fn write_atomic_if(
        &self,
        path: &Path,
        content: &[u8],
        mode: u32,
        ready: &mut dyn FnMut() -> bool,
    ) -> io::Result<Option<FileMeta>> {
        let (path, uid) = self.enter(path);
        self.0.disk.lock().check_writable(&path, uid)?;
        // Asked without holding the disk, because the answer looks at files.
        if !ready() {
            return Ok(None);
        }
        let now_ns = self.0.clock.stamp();
        let mut disk = self.0.disk.lock();
        let place = disk.visit(&path, true, uid)?;
        let previous = place.inode.and_then(|inode| disk.node(inode));
        // Only root can give files away.
        let owner = previous.filter(|_| uid == 0).map_or(uid, |node| node.uid);
        let node = Node::file(content.to_vec(), mode).made_by(owner, now_ns);
        disk.add(&place.path, node);
        let inode = disk.inode(&place.path);
        Ok(inode.and_then(|inode| disk.meta(inode)))
    }

    fn create_dir_all(&self, path: &Path, mode: u32) -> io::Result<()> {
        let (path, uid) = self.enter(path);
        let now_ns = self.0.clock.stamp();
        let mut disk = self.0.disk.lock();
        let mut folders: Vec<&Path> = path.ancestors().collect();
        folders.reverse();
        for folder in folders {
            let place = disk.visit(folder, true, uid)?;
            match place
                .inode
                .and_then(|inode| disk.node(inode))
                .map(|node| node.kind)
            {
                Some(FileKind::Directory) => {}
                Some(_) => return Err(io::ErrorKind::AlreadyExists.into()),
                None => {
                    disk.check_entry(&place.path, uid)?;
                    let node = Node::special(FileKind::Directory, mode);
                    disk.add(&place.path, node.made_by(uid, now_ns));
                }
            }
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let (path, uid) = self.enter(path);
        let mut disk = self.0.disk.lock();
        let (path, inode) = disk.find(&path, false, uid)?;
        if disk
            .node(inode)
            .is_some_and(|node| node.kind == FileKind::Directory)
        {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        disk.check_entry(&path, uid)?;
        disk.names.remove(&path);
        Ok(())
    }

    fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let (path, uid) = self.enter(path);
        let disk = self.0.disk.lock();
        let (folder, inode) = disk.find(&path, true, uid)?;
        let node = disk.node(inode).ok_or(io::ErrorKind::NotFound)?;
        if node.kind != FileKind::Directory {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        if !node.allows(uid, READ) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let inside = disk
            .names
            .keys()
            .filter(|name| name.parent() == Some(&folder));
        let names = inside.filter_map(|name| name.file_name().map(OsString::from));
        Ok(names.collect())
    }
}

/// An open file: its node, whatever happens to its name.
struct SimFile {
    world: Arc<World>,
    inode: u64,
    position: usize,
}

impl OpenFile for SimFile {
    fn meta(&self) -> io::Result<FileMeta> {
        self.world
            .disk
            .lock()
            .meta(self.inode)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read_to_limit(&mut self, limit: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let disk = self.world.disk.lock();
        let node = disk.node(self.inode).ok_or(io::ErrorKind::NotFound)?;
        match node.kind {
            FileKind::Device => Ok(None),
            FileKind::Directory => Err(io::ErrorKind::IsADirectory.into()),
            _ if node.content.len() as u64 > limit => Ok(None),
            _ => {
                let rest = node.content.get(self.position..).unwrap_or_default();
                self.position = node.content.len();
                Ok(Some(Zeroizing::new(rest.to_vec())))
            }
        }
    }
}

/// Locks on simulated files. The folder's lock is always free, because there is one process.
pub(super) struct SimLocks(pub(super) Arc<World>, pub(super) ProcessFacts);

impl SimLocks {
    fn enter(&self, path: &Path) -> (PathBuf, u32) {
        SimFiles(Arc::clone(&self.0)).enter(path)
    }
}

impl Locks for SimLocks {
    fn create_new(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let (path, uid) = self.enter(path);
        let now_ns = self.0.clock.stamp();
        let mut disk = self.0.disk.lock();
        let place = disk.visit(&path, false, uid)?;
        if place.inode.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.check_entry(&place.path, uid)?;
        disk.add(
            &place.path,
            Node::file(content.to_vec(), 0o644).made_by(uid, now_ns),
        );
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from, uid), (to, _)) = (self.enter(from), self.enter(to));
        let mut disk = self.0.disk.lock();
        let (from, inode) = disk.find(&from, false, uid)?;
        let to = disk.visit(&to, false, uid)?.path;
        disk.check_entry(&from, uid)?;
        disk.check_entry(&to, uid)?;
        disk.names.remove(&from);
        disk.link(&to, inode);
        Ok(())
    }

    fn hard_link(&self, existing: &Path, path: &Path) -> io::Result<()> {
        let ((existing, uid), (path, _)) = (self.enter(existing), self.enter(path));
        let mut disk = self.0.disk.lock();
        let (_, inode) = disk.find(&existing, false, uid)?;
        let place = disk.visit(&path, false, uid)?;
        if place.inode.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.check_entry(&place.path, uid)?;
        disk.link(&place.path, inode);
        Ok(())
    }

    fn try_folder(&self, folder: &Path) -> io::Result<Option<Box<dyn Send>>> {
        let (folder, uid) = self.enter(folder);
        self.0.disk.lock().find(&folder, true, uid)?;
        Ok(Some(Box::new(())))
    }

    fn this_process(&self) -> &ProcessFacts {
        &self.1
    }

    fn liveness(&self, pid: u32) -> Liveness {
        if pid == self.1.pid {
            return Liveness::Alive(self.1.start_ticks);
        }
        let running = self.0.running.lock();
        running
            .get(&pid)
            .map_or(Liveness::Dead, |ticks| Liveness::Alive(Some(*ticks)))
    }
}
