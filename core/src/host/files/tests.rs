use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;

/// Names in a folder, sorted, hidden ones too.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

fn read(path: &Path, limit: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    RealFiles.open(path)?.read_to_limit(limit)
}

#[test]
fn kinds_are_told_apart() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("regular"), "12345").unwrap();
    fs::hard_link(at("regular"), at("second")).unwrap();
    symlink("regular", at("link")).unwrap();
    fifo(&at("fifo"));
    let _listener = UnixListener::bind(at("socket")).unwrap();
    for (path, kind) in [
        (at("regular"), FileKind::Regular),
        (at("link"), FileKind::Symlink),
        (at("fifo"), FileKind::Fifo),
        (at("socket"), FileKind::Socket),
        (at("."), FileKind::Directory),
        (PathBuf::from("/dev/null"), FileKind::Device),
    ] {
        assert_eq!(RealFiles.lstat(&path).unwrap().kind, kind, "{path:?}");
    }
    let meta = RealFiles.stat(&at("link")).unwrap();
    assert_eq!((meta.kind, meta.len, meta.links), (FileKind::Regular, 5, 2));
    assert_eq!(meta, RealFiles.open(&at("second")).unwrap().meta().unwrap());
    assert_eq!(meta.uid, rustix::process::geteuid().as_raw());
    let age = std::time::SystemTime::now()
        .duration_since(fs::metadata(at("regular")).unwrap().modified().unwrap())
        .unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let stated = Duration::from_nanos(u64::try_from(meta.modified_ns).unwrap());
    assert!(
        now - stated < age + Duration::from_secs(5),
        "nanoseconds since 1970"
    );
}

#[test]
fn pipes_sockets_and_devices_do_not_hang() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fifo(&at("fifo"));
    let _listener = UnixListener::bind(at("socket")).unwrap();
    let start = Instant::now();

    let mut opened = RealFiles.open(&at("fifo")).unwrap();
    assert_eq!(opened.meta().unwrap().kind, FileKind::Fifo);
    assert_eq!(
        **opened.read_to_limit(10).unwrap().unwrap(),
        *b"",
        "nobody writes"
    );
    let _writer = fs::OpenOptions::new().write(true).open(at("fifo")).unwrap();
    assert_eq!(
        opened.read_to_limit(10).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );

    assert!(RealFiles.open(&at("socket")).is_err());
    assert_eq!(read(Path::new("/dev/zero"), 1 << 20).unwrap(), None);
    assert_eq!(**read(Path::new("/dev/null"), 10).unwrap().unwrap(), *b"");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[cfg(target_os = "linux")]
#[test]
fn files_that_hide_their_size_are_read_whole() {
    let cpu = read(Path::new("/proc/cpuinfo"), 1 << 20).unwrap().unwrap();
    assert_eq!(RealFiles.stat(Path::new("/proc/cpuinfo")).unwrap().len, 0);
    assert!(cpu.ends_with(b"\n"));
    assert!(!cpu.is_empty());
    let size = cpu.len() as u64;
    assert_eq!(read(Path::new("/proc/cpuinfo"), size / 2).unwrap(), None);
}

#[test]
fn memory_follows_the_size_and_the_limit() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, [7; 1000]).unwrap();
    assert_eq!(read(&path, u64::MAX).unwrap().unwrap().capacity(), 1001);
    // Sparse: a terabyte is refused without an attempt to read it.
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    let start = Instant::now();
    assert_eq!(read(&path, 1 << 20).unwrap(), None);
    assert!(start.elapsed() < Duration::from_millis(500));
}

#[test]
fn a_file_that_grows_while_it_is_open_is_checked_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "12345").unwrap();
    let mut opened = RealFiles.open(&path).unwrap();
    assert_eq!(opened.meta().unwrap().len, 5);
    fs::write(&path, "123456789").unwrap();
    assert_eq!(opened.read_to_limit(8).unwrap(), None);
}

#[test]
fn writing_sets_the_exact_mode_whatever_the_umask() {
    let folder = TempDir::new().unwrap();
    for mode in [0o600, 0o640, 0o666, 0o777, 0o400] {
        let path = folder.path().join(format!("{mode:o}"));
        RealFiles.write_atomic(&path, b"x", mode).unwrap();
        assert_eq!(RealFiles.lstat(&path).unwrap().mode, mode);
        RealFiles.write_atomic(&path, b"y", 0o600).unwrap();
        assert_eq!(RealFiles.lstat(&path).unwrap().mode, 0o600);
    }
}

#[test]
fn readers_see_the_old_or_the_new_content() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    let contents = [vec![b'a'; 100_000], vec![b'b'; 200_000]];
    RealFiles.write_atomic(&path, &contents[0], 0o600).unwrap();
    let writer = std::thread::spawn({
        let (path, contents) = (path.clone(), contents.clone());
        move || {
            for round in 1..60 {
                RealFiles
                    .write_atomic(&path, &contents[round % 2], 0o600)
                    .unwrap();
            }
        }
    });
    while !writer.is_finished() {
        let seen = read(&path, u64::MAX).unwrap().unwrap();
        assert!(
            contents.contains(&seen),
            "a mixture of {} bytes",
            seen.len()
        );
    }
    writer.join().unwrap();
    assert_eq!(names(folder.path()), ["file"]);
}

#[test]
fn failed_writes_leave_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    fs::write(at("folder/kept"), "x").unwrap();
    fifo(&at("fifo"));
    let before = names(folder.path());
    for path in [
        at("folder"),
        at("fifo"),
        at("absent/file"),
        at("folder/kept/below"),
    ] {
        assert!(
            RealFiles.write_atomic(&path, b"x", 0o600).is_err(),
            "{path:?}"
        );
    }
    assert_eq!(names(folder.path()), before);
    assert_eq!(names(&at("folder")), ["kept"]);
    assert_eq!(RealFiles.lstat(&at("fifo")).unwrap().kind, FileKind::Fifo);
    assert!(RealFiles.write_atomic(Path::new("/"), b"x", 0o600).is_err());
}

#[test]
fn root_keeps_the_owner_of_what_it_rewrites() {
    if rustix::process::geteuid().as_raw() != 0 {
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "x").unwrap();
    std::os::unix::fs::chown(&path, Some(1234), Some(2345)).unwrap();
    RealFiles.write_atomic(&path, b"y", 0o640).unwrap();
    let meta = fs::metadata(&path).unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode() & PERMISSIONS),
        (1234, 2345, 0o640)
    );
}

#[test]
fn new_folders_get_the_mode() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a/b");
    RealFiles.create_dir_all(&path, 0o700).unwrap();
    for folder in [path.parent().unwrap(), &path] {
        assert_eq!(RealFiles.lstat(folder).unwrap().mode, 0o700);
    }
}

#[test]
fn both_hosts_list_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().canonicalize().unwrap();
    for name in ["b", "a", "c.json"] {
        fs::write(real.join(name), "").unwrap();
    }
    fs::create_dir(real.join("sub")).unwrap();
    fs::write(real.join("sub/deeper"), "").unwrap();
    let sim = crate::host::sim::Sim::new();
    for name in ["b", "a", "c.json", "sub/deeper"] {
        sim.file(real.join(name), "", 0o600);
    }
    for host in [crate::host::Host::real(), sim.host()] {
        let mut names = host.files.names(&real).unwrap();
        names.sort();
        assert_eq!(names, ["a", "b", "c.json", "sub"]);
        let error = host.files.names(&real.join("a")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
        let error = host.files.names(&real.join("gone")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
