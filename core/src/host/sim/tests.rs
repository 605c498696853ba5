use super::*;

fn request(program: &str) -> RunRequest {
    RunRequest {
        program: PathBuf::from(program),
        arg0: program.to_owned(),
        args: Vec::new(),
        env: BTreeMap::new(),
        current_dir: PathBuf::from("/"),
        stdin: Vec::new(),
        timeout: Duration::from_millis(5000),
        silence: Duration::from_millis(2000),
        max_output: 100,
        cancel: crate::host::Cancel::default(),
    }
}

#[test]
fn the_clock_moves_when_told_and_when_sleeping() {
    let sim = Sim::new();
    let clock = sim.host().clock;
    assert_eq!(
        (clock.now_ms(), clock.monotonic()),
        (START_MS, Duration::ZERO)
    );
    clock.sleep(Duration::from_secs(3600));
    sim.advance(Duration::from_micros(1500));
    assert_eq!(clock.now_ms(), START_MS + 3_600_001);
    assert_eq!(clock.monotonic(), Duration::from_micros(3_600_001_500));
    sim.set_now_ms(7);
    assert_eq!((clock.now_ms(), clock.monotonic().as_secs()), (7, 3600));
}

#[test]
fn a_host_keeps_the_environment_it_was_made_with() {
    let sim = Sim::new();
    sim.env("A", "1")
        .env("B", "2")
        .unset_env("B")
        .account_home("/home/u")
        .current_dir("/work");
    let host = sim.host();
    sim.env("A", "changed").uid(0);
    let value = |host: &Host, name: &str| host.env.vars().get(name).map(|value| value.to_string());
    assert_eq!(value(&host, "A").as_deref(), Some("1"));
    assert_eq!(value(&host, "B"), None);
    assert_eq!(value(&sim.host(), "A").as_deref(), Some("changed"));
    assert_eq!(host.env.account_home(), Some(PathBuf::from("/home/u")));
    assert_eq!(host.env.current_dir(), Path::new("/work"));
    assert_eq!(host.env.effective_uid(), START_UID);
    assert_eq!(sim.host().env.effective_uid(), 0);
}

#[test]
fn changes_show_in_the_facts() {
    let sim = Sim::new();
    sim.file("/a/file", "one", 0o600);
    sim.hard_link("/a/file", "/b").unwrap();
    let first = sim.meta("/a/file").unwrap();
    assert_eq!((first.links, first.uid, first.mode), (2, START_UID, 0o600));
    sim.file("/a/file", "three", 0o640);
    let second = sim.meta("/b").unwrap();
    assert_eq!(
        (second.inode, second.len, second.mode),
        (first.inode, 5, 0o640)
    );
    assert!(second.modified_ns > first.modified_ns);
    sim.owner("/b", 0).mode("/b", 0o444);
    let third = sim.meta("/a/file").unwrap();
    assert_eq!(
        (third.uid, third.mode, third.modified_ns),
        (0, 0o444, second.modified_ns)
    );
    assert!(third.changed_ns > second.changed_ns);
    sim.host()
        .files
        .write_atomic(Path::new("/b"), b"x", 0o600)
        .unwrap();
    assert_eq!(sim.meta("/a/file").unwrap().links, 1);
    assert_ne!(sim.meta("/b").unwrap().inode, first.inode);
    assert_eq!(
        (sim.text("/a/file").as_deref(), sim.text("b").as_deref()),
        (Some("three"), Some("x"))
    );
    assert_eq!(sim.paths(), ["/a", "/a/file", "/b"].map(PathBuf::from));
    sim.remove("/a");
    assert_eq!(sim.paths(), [PathBuf::from("/b")]);
    assert!(sim.hard_link("/absent", "/c").is_err());
}

#[test]
fn every_kind_can_be_made() {
    let sim = Sim::new();
    sim.special("/fifo", FileKind::Fifo)
        .special("/socket", FileKind::Socket)
        .special("/zero", FileKind::Device)
        .dir("/folder", 0o1777)
        .symlink("/link", "folder");
    let files = sim.host().files;
    for (path, kind) in [
        ("/fifo", FileKind::Fifo),
        ("/socket", FileKind::Socket),
        ("/zero", FileKind::Device),
        ("/folder", FileKind::Directory),
        ("/link", FileKind::Symlink),
    ] {
        assert_eq!(files.lstat(Path::new(path)).unwrap().kind, kind);
    }
    assert_eq!(files.stat(Path::new("/link")).unwrap().mode, 0o1777);
    let read = |path: &str| files.open(Path::new(path))?.read_to_limit(10);
    assert_eq!(**read("/fifo").unwrap().unwrap(), *b"");
    assert_eq!(read("/zero").unwrap(), None);
    assert!(read("/socket").is_err());
}

#[test]
fn modes_and_owners_decide_who_may_do_what() {
    let sim = Sim::new();
    sim.file("/own/secret", "s", 0o600)
        .file("/own/public", "p", 0o644);
    sim.dir("/closed", 0o700)
        .file("/closed/file", "c", 0o644)
        .file("/shared/theirs", "t", 0o644);
    sim.dir("/shared", 0o1777);
    let files = sim.host().files;
    let denied = |path: &str| {
        let opened = files.open(Path::new(path)).err().map(|error| error.kind());
        opened == Some(io::ErrorKind::PermissionDenied)
    };
    for (uid, expected) in [
        (START_UID, [false, false, false]),
        (1001, [true, false, true]),
        (0, [false, false, false]),
    ] {
        sim.uid(uid);
        assert_eq!(
            ["/own/secret", "/own/public", "/closed/file"].map(denied),
            expected,
            "{uid}"
        );
    }
    sim.uid(1001);
    let denied = Some(io::ErrorKind::PermissionDenied);
    let write = |path: &str| files.write_atomic(Path::new(path), b"x", 0o600);
    assert_eq!(write("/own/public").err().map(|error| error.kind()), denied);
    assert_eq!(
        write("/shared/theirs").err().map(|error| error.kind()),
        denied,
        "sticky"
    );
    write("/shared/mine").unwrap();
    assert_eq!(sim.meta("/shared/mine").unwrap().uid, 1001);
    let removed = files.remove_file(Path::new("/shared/theirs"));
    assert_eq!(removed.err().map(|error| error.kind()), denied);
    let made = files.create_dir_all(Path::new("/own/folder"), 0o700);
    assert_eq!(made.err().map(|error| error.kind()), denied);
    sim.uid(0);
    write("/shared/theirs").unwrap();
    assert_eq!(
        sim.meta("/shared/theirs").unwrap().uid,
        START_UID,
        "root keeps the owner"
    );
}

#[test]
fn failures_come_and_go_as_asked() {
    let sim = Sim::new();
    sim.file("/a/file", "x", 0o600).symlink("/link", "a/file");
    sim.fail("/a/file", io::ErrorKind::StorageFull);
    let files = sim.host().files;
    let full = Some(io::ErrorKind::StorageFull);
    for path in ["/a/file", "/link", "/a/../a/file"] {
        let path = Path::new(path);
        assert_eq!(
            files.stat(path).err().map(|error| error.kind()),
            full,
            "{path:?}"
        );
        let written = files.write_atomic(path, b"y", 0o600);
        assert_eq!(written.err().map(|error| error.kind()), full, "{path:?}");
    }
    assert_eq!(sim.text("/a/file").as_deref(), Some("x"));
    sim.heal("/a/file");
    files.write_atomic(Path::new("/link"), b"y", 0o600).unwrap();
    assert_eq!(sim.text("/a/file").as_deref(), Some("y"));
}

#[test]
fn programs_see_the_request_and_their_limits_hold() {
    let sim = Sim::new();
    let machine = sim.clone();
    sim.program("/bin/slow", move |request| {
        let duration: u64 = request.args.first().map_or(0, |arg| arg.parse().unwrap());
        machine.advance(Duration::from_millis(duration));
        exited(0, &request.arg0, "")
    });
    let processes = sim.host().processes;
    let run = |duration: &str, silence: u64| {
        let mut request = request("/bin/slow");
        request.args.push(duration.to_owned());
        request.silence = Duration::from_millis(silence);
        processes
            .run(&request)
            .map(|output| output.elapsed.as_millis())
    };
    assert_eq!(run("1999", 2000), Ok(1999));
    assert_eq!(run("2000", 2000), Err(RunError::Silent));
    assert_eq!(run("5000", 2000), Err(RunError::Timeout));
    assert_eq!(run("5000", 5000), Err(RunError::Timeout));
    assert_eq!(sim.runs().len(), 4);
    assert_eq!(sim.runs()[1].args, ["2000"]);

    let machine = sim.clone();
    sim.program("/bin/quits", move |request| {
        request.cancel.cancel();
        assert_eq!(machine.runs().len(), 5, "a program may look at the machine");
        exited(0, "", "")
    });
    assert_eq!(
        processes.run(&request("/bin/quits")).unwrap_err(),
        RunError::Cancelled
    );
    sim.program("/bin/fails", |_| Err(RunError::Spawn("EAGAIN".to_owned())));
    let busy = RunError::Spawn("EAGAIN".to_owned());
    assert_eq!(processes.run(&request("/bin/fails")).unwrap_err(), busy);
}

#[test]
fn programs_are_found_under_links_and_checked_for_permission() {
    let sim = Sim::new();
    sim.program("/opt/tool-1.2", |request| exited(0, &request.arg0, ""));
    sim.symlink("/bin/tool", "/opt/tool-1.2");
    let processes = sim.host().processes;
    assert_eq!(
        *processes.run(&request("/bin/tool")).unwrap().stdout,
        b"/bin/tool"
    );
    let denied = RunError::Spawn("EACCES".to_owned());
    sim.mode("/opt/tool-1.2", 0o700).uid(1001);
    assert_eq!(processes.run(&request("/bin/tool")).unwrap_err(), denied);
    sim.mode("/opt/tool-1.2", 0o600).uid(0);
    assert_eq!(processes.run(&request("/bin/tool")).unwrap_err(), denied);
    sim.symlink("/bin/loop", "loop");
    let endless = RunError::Spawn("ELOOP".to_owned());
    assert_eq!(processes.run(&request("/bin/loop")).unwrap_err(), endless);
}
