//! One list of what callers rely on, held against the machine and the simulation.
#![cfg(unix)]
#![expect(
    clippy::disallowed_methods,
    reason = "the machine is prepared behind the traits"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use tempfile::TempDir;

use super::sim::{Sim, exited};
use super::*;

/// A place to try things, prepared by other means than the traits.
trait Place {
    fn host(&self) -> Host;
    fn path(&self, name: &str) -> PathBuf;
    fn file(&self, name: &str, content: &str, mode: u32);
    fn link(&self, name: &str, target: &str);
    fn script(&self, name: &str, body: &str, code: i32, stdout: &'static str);
}

struct RealPlace(TempDir);

impl Place for RealPlace {
    fn host(&self) -> Host {
        Host::real()
    }

    fn path(&self, name: &str) -> PathBuf {
        // Some systems put temporary folders behind a link.
        fs::canonicalize(self.0.path()).unwrap().join(name)
    }

    fn file(&self, name: &str, content: &str, mode: u32) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn link(&self, name: &str, target: &str) {
        symlink(target, self.path(name)).unwrap();
    }

    fn script(&self, name: &str, body: &str, _code: i32, _stdout: &'static str) {
        self.file(name, &format!("#!/bin/sh\n{body}\n"), 0o755);
    }
}

struct SimPlace(Sim);

impl Place for SimPlace {
    fn host(&self) -> Host {
        self.0.host()
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new("/place").join(name)
    }

    fn file(&self, name: &str, content: &str, mode: u32) {
        self.0.file(self.path(name), content, mode);
    }

    fn link(&self, name: &str, target: &str) {
        self.0.symlink(self.path(name), target);
    }

    fn script(&self, name: &str, _body: &str, code: i32, stdout: &'static str) {
        self.0
            .program(self.path(name), move |_| exited(code, stdout, ""));
    }
}

fn in_both(test: impl Fn(&dyn Place)) {
    test(&RealPlace(TempDir::new().unwrap()));
    test(&SimPlace(Sim::new()));
}

/// The kind of the error that must be there.
fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.err().expect("an error").kind()
}

#[test]
fn paths_lead_where_the_system_says() {
    in_both(|place| {
        place.file("a/file", "12345", 0o640);
        place.link("a/link", "file");
        place.link("up", "a/../a/link");
        place.link("folder", "a");
        place.link("loop", "loop");
        place.link("dangling", "a/absent");
        let files = place.host().files;
        for (name, expected) in [
            ("a/file", Ok("a/file")),
            ("a/link", Ok("a/file")),
            ("up", Ok("a/file")),
            ("folder/link", Ok("a/file")),
            ("folder/../up", Ok("a/file")),
            ("./a//./file", Ok("a/file")),
            ("folder", Ok("a")),
            ("absent", Err(io::ErrorKind::NotFound)),
            ("dangling", Err(io::ErrorKind::NotFound)),
            ("a/file/below", Err(io::ErrorKind::NotADirectory)),
            ("absent/../a", Err(io::ErrorKind::NotFound)),
        ] {
            let path = place.path(name);
            let canonical = files.canonical(&path).map_err(|error| error.kind());
            assert_eq!(canonical, expected.map(|name| place.path(name)), "{name}");
            let meta = files.stat(&path).map_err(|error| error.kind());
            assert_eq!(meta.map(|_| ()), expected.map(|_| ()), "{name}");
            if let Ok(name) = expected {
                assert_eq!(
                    meta,
                    files.lstat(&place.path(name)).map_err(|error| error.kind())
                );
            }
        }
        let meta = files.lstat(&place.path("folder/file")).unwrap();
        let facts = (meta.kind, meta.mode, meta.len, meta.links);
        assert_eq!(facts, (FileKind::Regular, 0o640, 5, 1));
        let meta = files.lstat(&place.path("up")).unwrap();
        assert_eq!((meta.kind, meta.len), (FileKind::Symlink, 11));
        assert_eq!(
            files.read_link(&place.path("up")).unwrap(),
            Path::new("a/../a/link")
        );
        assert_eq!(
            kind(files.read_link(&place.path("a"))),
            io::ErrorKind::InvalidInput
        );
        assert!(files.stat(&place.path("loop")).is_err());
        assert!(files.lstat(&place.path("loop")).is_ok());
    });
}

#[test]
fn opening_follows_no_link_at_the_end() {
    in_both(|place| {
        place.file("a/file", "12345", 0o600);
        place.link("link", "a/file");
        place.link("folder", "a");
        let files = place.host().files;
        assert!(files.open(&place.path("link")).is_err());
        assert!(files.open(&place.path("folder/file")).is_ok());
        assert_eq!(
            kind(files.open(&place.path("absent"))),
            io::ErrorKind::NotFound
        );
        let mut folder = files.open(&place.path("a")).unwrap();
        assert_eq!(folder.meta().unwrap().kind, FileKind::Directory);
        assert_eq!(kind(folder.read_to_limit(10)), io::ErrorKind::IsADirectory);
    });
}

#[test]
fn reading_stops_at_the_limit() {
    in_both(|place| {
        place.file("file", "12345", 0o600);
        place.file("empty", "", 0o600);
        let files = place.host().files;
        for (name, limit, expected) in [
            ("file", 0, None),
            ("file", 4, None),
            ("file", 5, Some("12345")),
            ("file", u64::MAX, Some("12345")),
            ("empty", 0, Some("")),
        ] {
            let mut file = files.open(&place.path(name)).unwrap();
            let read = file.read_to_limit(limit).unwrap();
            assert_eq!(
                read.as_ref().map(|bytes| &***bytes),
                expected.map(str::as_bytes)
            );
        }
    });
}

#[test]
fn an_open_file_keeps_its_content_when_its_name_is_written() {
    in_both(|place| {
        place.file("file", "old", 0o600);
        let files = place.host().files;
        let mut opened = files.open(&place.path("file")).unwrap();
        let before = opened.meta().unwrap();
        files
            .write_atomic(&place.path("file"), b"new!", 0o640)
            .unwrap();
        let after = files.lstat(&place.path("file")).unwrap();
        assert_ne!(after.inode, before.inode);
        assert!(after.modified_ns >= before.modified_ns);
        assert_eq!((after.mode, after.len, after.uid), (0o640, 4, before.uid));
        assert_eq!(opened.meta().unwrap().links, 0);
        assert_eq!(**opened.read_to_limit(10).unwrap().unwrap(), *b"old");

        files.remove_file(&place.path("file")).unwrap();
        assert_eq!(
            kind(files.lstat(&place.path("file"))),
            io::ErrorKind::NotFound
        );
        assert_eq!(
            kind(files.remove_file(&place.path("file"))),
            io::ErrorKind::NotFound
        );
    });
}

#[test]
fn writing_goes_through_links() {
    in_both(|place| {
        place.file("a/file", "old", 0o600);
        place.link("a/near", "file");
        place.link("far", "a/near");
        place.link("a/new", "../created");
        place.link("loop", "loop");
        let files = place.host().files;
        let text = |name: &str| {
            let mut file = files.open(&place.path(name)).unwrap();
            String::from_utf8(file.read_to_limit(100).unwrap().unwrap().to_vec()).unwrap()
        };
        files
            .write_atomic(&place.path("far"), b"through", 0o600)
            .unwrap();
        assert_eq!(text("a/file"), "through");
        files
            .write_atomic(&place.path("a/new"), b"dangling", 0o600)
            .unwrap();
        assert_eq!(text("created"), "dangling");
        for name in ["far", "a/near", "a/new"] {
            assert_eq!(
                files.lstat(&place.path(name)).unwrap().kind,
                FileKind::Symlink,
                "{name}"
            );
        }
        assert!(
            files
                .write_atomic(&place.path("loop"), b"x", 0o600)
                .is_err()
        );
        assert_eq!(
            kind(files.write_atomic(&place.path("a"), b"x", 0o600)),
            io::ErrorKind::InvalidInput
        );
        let absent = files.write_atomic(&place.path("absent/file"), b"x", 0o600);
        assert_eq!(kind(absent), io::ErrorKind::NotFound);
    });
}

#[test]
fn folders_are_made_where_missing() {
    in_both(|place| {
        place.file("a/file", "x", 0o600);
        place.link("link", "a");
        let files = place.host().files;
        let before = files.lstat(&place.path("a")).unwrap().mode;
        files
            .create_dir_all(&place.path("link/b/c"), 0o700)
            .unwrap();
        files.create_dir_all(&place.path("a"), 0o700).unwrap();
        assert_eq!(files.lstat(&place.path("a")).unwrap().mode, before);
        for name in ["a/b", "a/b/c"] {
            let meta = files.lstat(&place.path(name)).unwrap();
            assert_eq!(
                (meta.kind, meta.mode),
                (FileKind::Directory, 0o700),
                "{name}"
            );
        }
        assert!(files.create_dir_all(&place.path("a/file"), 0o700).is_err());
        assert!(
            files
                .create_dir_all(&place.path("a/file/below"), 0o700)
                .is_err()
        );
        assert!(
            files.remove_file(&place.path("a/b")).is_err(),
            "folders are not files"
        );
    });
}

#[test]
fn programs_end_the_same_way() {
    in_both(|place| {
        place.script("good", "printf answer", 0, "answer");
        place.script("bad", "exit 3", 3, "");
        place.link("link", "good");
        place.file("plain", "", 0o644);
        place.file("noise", "no program", 0o755);
        let request = |name: &str| RunRequest {
            program: place.path(name),
            arg0: name.to_owned(),
            args: Vec::new(),
            env: BTreeMap::new(),
            current_dir: place.path(""),
            stdin: b"request".to_vec(),
            timeout: Duration::from_secs(20),
            silence: Duration::from_secs(20),
            max_output: 6,
            cancel: Cancel::default(),
        };
        let spawn = |name: &str| Err(RunError::Spawn(name.to_owned()));
        for (name, expected) in [
            ("good", Ok((ExitState::Code(0), "answer"))),
            ("link", Ok((ExitState::Code(0), "answer"))),
            ("bad", Ok((ExitState::Code(3), ""))),
            ("plain", spawn("EACCES")),
            ("noise", spawn("ENOEXEC")),
            (".", spawn("EACCES")),
            ("absent", spawn("ENOENT")),
            ("plain/below", spawn("ENOTDIR")),
        ] {
            let output = place.host().processes.run(&request(name));
            let output = output.map(|output| {
                (
                    output.exit,
                    String::from_utf8(output.stdout.to_vec()).unwrap(),
                )
            });
            let expected = expected.map(|(exit, stdout)| (exit, stdout.to_owned()));
            assert_eq!(output, expected, "{name}");
        }
        let mut limited = request("good");
        limited.max_output = 5;
        assert_eq!(
            place.host().processes.run(&limited).unwrap_err(),
            RunError::OutputLimit
        );
        limited.cancel.cancel();
        assert_eq!(
            place.host().processes.run(&limited).unwrap_err(),
            RunError::Cancelled
        );
    });
}
