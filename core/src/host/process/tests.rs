use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;
use crate::host::Cancel;

/// Bound on how late things may be on a busy machine, far below every wait that would be wrong.
const LATE: Duration = Duration::from_millis(900);

fn shell(script: &str) -> RunRequest {
    RunRequest {
        program: PathBuf::from("/bin/sh"),
        arg0: "sh".to_owned(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: BTreeMap::from([(
            "PATH".to_owned(),
            Zeroizing::new("/usr/bin:/bin".to_owned()),
        )]),
        current_dir: PathBuf::from("/"),
        stdin: Vec::new(),
        timeout: Duration::from_secs(20),
        silence: Duration::from_secs(20),
        max_output: 1 << 20,
        cancel: Cancel::default(),
    }
}

fn run(request: &RunRequest) -> Result<RunOutput, RunError> {
    RealProcesses::default().run(request)
}

/// Exit state, standard output and standard error as text.
fn texts(output: &RunOutput) -> (ExitState, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.exit, text(&output.stdout), text(&output.stderr))
}

/// The error of a run in a folder of its own, how long it took, and the pids that the script
/// wrote to the file `pids`, which are all dead.
fn stopped(mut request: RunRequest) -> (RunError, Duration) {
    let folder = TempDir::new().unwrap();
    request.current_dir = folder.path().to_path_buf();
    let start = Instant::now();
    let error = run(&request).unwrap_err();
    let elapsed = start.elapsed();
    assert_dead(folder.path());
    (error, elapsed)
}

fn assert_dead(folder: &Path) {
    let pids = fs::read_to_string(folder.join("pids")).unwrap();
    assert!(pids.lines().count() >= 1, "the script recorded no pid");
    let patience = Instant::now();
    while pids.lines().any(is_alive) {
        // The kernel takes a moment for those that nobody waits for.
        assert!(
            patience.elapsed() < Duration::from_secs(2),
            "left running: {pids:?}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// Zombies that only wait for the system to reap them do not count.
fn is_alive(pid: &str) -> bool {
    if !cfg!(target_os = "linux") {
        let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        return rustix::process::test_kill_process(pid).is_ok();
    }
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = stat.rsplit_once(')').unwrap().1.trim_start().chars().next();
    !matches!(state, Some('Z' | 'X'))
}

#[test]
fn ends_by_itself() {
    for (script, exit, stdout, stderr) in [
        ("true", ExitState::Code(0), "", ""),
        (
            "printf out; printf err >&2",
            ExitState::Code(0),
            "out",
            "err",
        ),
        ("printf out; exit 7", ExitState::Code(7), "out", ""),
        ("exit 255", ExitState::Code(255), "", ""),
        ("kill -TERM $$", ExitState::Signal(15), "", ""),
        ("printf x; kill -KILL $$", ExitState::Signal(9), "x", ""),
        ("cat", ExitState::Code(0), "", ""),
        (
            "exec >&- 2>&-; sleep 0.1; exit 3",
            ExitState::Code(3),
            "",
            "",
        ),
        (
            "printf a; sleep 0.05; printf b",
            ExitState::Code(0),
            "ab",
            "",
        ),
        // Signals stand at their defaults, so the program dies of a closed pipe.
        (
            "(sleep 0.05; echo x; echo y >&2) | true; echo z",
            ExitState::Code(0),
            "z\n",
            "",
        ),
    ] {
        let output = run(&shell(script)).unwrap();
        assert_eq!(
            texts(&output),
            (exit, stdout.to_owned(), stderr.to_owned()),
            "{script}"
        );
        assert!(output.elapsed < LATE, "{script}: {:?}", output.elapsed);
    }
}

#[test]
fn input_is_there_and_ends() {
    let mut request = shell("cat; cat >&2");
    request.stdin = b"{\"protocolVersion\":1}\n".to_vec();
    let output = run(&request).unwrap();
    let expected = (
        ExitState::Code(0),
        "{\"protocolVersion\":1}\n".to_owned(),
        String::new(),
    );
    assert_eq!(texts(&output), expected);

    request.stdin = vec![b'i'; 256 * 1024];
    request.args[1] = "wc -c".to_owned();
    assert_eq!(texts(&run(&request).unwrap()).1.trim(), "262144");
}

#[test]
fn large_input_unread_and_large_output_do_not_block_each_other() {
    let mut request = shell("head -c 1048576 /dev/zero | tr '\\0' x");
    request.stdin = vec![b'i'; 256 * 1024];
    let output = run(&request).unwrap();
    assert_eq!(output.exit, ExitState::Code(0));
    assert_eq!(output.stdout.len(), 1 << 20);
    assert!(output.stdout.iter().all(|byte| *byte == b'x'));
}

#[test]
fn output_at_the_limit_passes_and_one_byte_more_does_not() {
    let mut request = shell("printf 12345; printf 67890 >&2");
    request.max_output = 10;
    assert_eq!(run(&request).unwrap().stderr.len(), 5);
    request.max_output = 9;
    assert_eq!(run(&request).unwrap_err(), RunError::OutputLimit);
    request.max_output = 0;
    assert_eq!(run(&request).unwrap_err(), RunError::OutputLimit);
    request.args[1] = "true".to_owned();
    assert!(run(&request).is_ok());
}

#[test]
fn a_flood_is_stopped_early() {
    for flood in ["exec yes", "exec yes >&2", "yes & wait"] {
        let (error, elapsed) = stopped(shell(&format!("echo $$ > pids; {flood}")));
        assert_eq!(error, RunError::OutputLimit);
        assert!(elapsed < LATE, "{flood}: {elapsed:?}");
    }
}

#[test]
fn hanging_programs_are_killed_with_their_descendants() {
    for script in [
        "echo $$ > pids; exec sleep 60",
        "echo $$ > pids; trap '' TERM HUP INT; sleep 60 & echo $! >> pids; wait",
        "(trap '' TERM; echo $$ > pids; exec sleep 60) | cat",
        "exec >&- 2>&-; echo $$ > pids; sleep 60 & echo $! >> pids; wait",
        "echo $$ > pids; while :; do echo x; sleep 0.02; done",
    ] {
        let mut request = shell(script);
        request.timeout = Duration::from_millis(300);
        let (error, elapsed) = stopped(request);
        assert_eq!(error, RunError::Timeout, "{script}");
        assert!(
            elapsed >= Duration::from_millis(300),
            "{script}: {elapsed:?}"
        );
        assert!(
            elapsed < Duration::from_millis(1300),
            "{script}: {elapsed:?}"
        );
    }
}

#[test]
fn silence_is_measured_from_the_last_byte() {
    let mut request =
        shell("echo $$ > pids; for i in 1 2 3 4; do sleep 0.15; echo $i; done; sleep 60");
    request.silence = Duration::from_millis(500);
    let (error, elapsed) = stopped(request);
    assert_eq!(error, RunError::Silent);
    assert!(elapsed >= Duration::from_millis(1050), "{elapsed:?}");
    assert!(elapsed < Duration::from_millis(1100) + LATE, "{elapsed:?}");
}

#[test]
fn silence_as_long_as_the_time_limit_is_a_timeout() {
    let mut request = shell("echo $$ > pids; sleep 60");
    request.timeout = Duration::from_millis(200);
    request.silence = request.timeout;
    assert_eq!(stopped(request).0, RunError::Timeout);
}

#[test]
fn what_stays_in_the_background_is_neither_awaited_nor_killed() {
    let folder = TempDir::new().unwrap();
    let mut request = shell("sleep 60 & echo $! > pids; printf answer");
    request.current_dir = folder.path().to_path_buf();
    let output = run(&request).unwrap();
    assert_eq!(
        texts(&output),
        (ExitState::Code(0), "answer".to_owned(), String::new())
    );
    assert!(output.elapsed >= DRAIN, "{:?}", output.elapsed);
    assert!(output.elapsed < DRAIN + LATE, "{:?}", output.elapsed);

    let pid = fs::read_to_string(folder.path().join("pids")).unwrap();
    assert!(
        is_alive(pid.trim()),
        "a normal exit leaves background programs alone"
    );
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    assert_dead(folder.path());
}

#[cfg(target_os = "linux")]
#[test]
fn waiting_costs_next_to_no_processor_time() {
    let ticks_used = || {
        let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        // User and system time, in hundredths of a second; busy waiting would use 25 or more.
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    for script in ["sleep 0.4 &", "sleep 0.4", "exec >&- 2>&-; sleep 0.4"] {
        let before = ticks_used();
        run(&shell(script)).unwrap();
        assert!(ticks_used() - before < 8, "{script}");
    }
}

#[test]
fn late_output_of_descendants_still_counts() {
    let output = run(&shell("(sleep 0.1; printf late) & printf early-")).unwrap();
    assert_eq!(texts(&output).1, "early-late");
    assert!(
        output.elapsed < DRAIN,
        "the end of the pipe ends the wait: {:?}",
        output.elapsed
    );

    let (error, _) = stopped(shell("(sleep 0.05; exec yes) & echo $! > pids"));
    assert_eq!(
        error,
        RunError::OutputLimit,
        "the limit holds after the program has ended"
    );
}

#[test]
fn cancelling_kills_at_once() {
    let mut request = shell("echo $$ > pids; sleep 60 & echo $! >> pids; wait");
    let cancel = Cancel::default();
    request.cancel = cancel.clone();
    let canceller = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        cancel.cancel();
        Instant::now()
    });
    let folder = TempDir::new().unwrap();
    request.current_dir = folder.path().to_path_buf();
    assert_eq!(run(&request).unwrap_err(), RunError::Cancelled);
    let reaction = canceller.join().unwrap().elapsed();
    assert!(reaction < Duration::from_millis(400), "{reaction:?}");
    assert_dead(folder.path());
    assert_eq!(
        run(&request).unwrap_err(),
        RunError::Cancelled,
        "nothing is started afterwards"
    );
}

#[test]
fn the_child_gets_what_the_request_says_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let place = fs::canonicalize(folder.path()).unwrap();
    let mut request = shell("");
    request.program = PathBuf::from("/usr/bin/env");
    request.args = vec!["-0".to_owned()];
    request.env = [
        ("PATH", "/bin"),
        ("EMPTY", ""),
        ("LINES", "a\nb"),
        ("QUOTE", "'\"$x"),
    ]
    .map(|(name, value)| (name.to_owned(), Zeroizing::new(value.to_owned())))
    .into();
    let expected = "EMPTY=\0LINES=a\nb\0PATH=/bin\0QUOTE='\"$x\0";
    assert_eq!(texts(&run(&request).unwrap()).1, expected);
    request.env.clear();
    assert_eq!(texts(&run(&request).unwrap()).1, "");

    let mut request = shell("printf '%s|' \"$0\" \"$@\"; pwd");
    request.current_dir = place.clone();
    request
        .args
        .extend(["zero", "", "a b", "$HOME;"].map(str::to_owned));
    let expected = format!("zero||a b|$HOME;|{}\n", place.display());
    assert_eq!(texts(&run(&request).unwrap()).1, expected);
}

#[cfg(target_os = "linux")]
#[test]
fn the_child_has_its_own_group_name_and_no_foreign_descriptors() {
    let mut request = shell("");
    request.program = PathBuf::from("/bin/cat");
    request.arg0 = "configured-name".to_owned();
    request.args = vec!["/proc/self/cmdline".to_owned()];
    assert_eq!(
        texts(&run(&request).unwrap()).1,
        "configured-name\0/proc/self/cmdline\0"
    );

    request.args = vec!["/proc/self/stat".to_owned()];
    let stat = texts(&run(&request).unwrap()).1;
    let fields: Vec<&str> = stat.split_whitespace().collect();
    assert_eq!(fields[0], fields[4], "pid and process group");

    let kept = tempfile::Builder::new()
        .prefix("kept-by-the-host")
        .tempfile()
        .unwrap();
    request.program = PathBuf::from("/bin/ls");
    request.args = vec!["-l".to_owned(), "/proc/self/fd".to_owned()];
    request.stdin = b"x".to_vec();
    let listing = texts(&run(&request).unwrap()).1;
    drop(kept);
    assert_eq!(listing.matches("memfd:request").count(), 1, "{listing}");
    assert!(!listing.contains("kept-by-the-host"), "{listing}");
    assert!(!listing.contains("pidfd"), "{listing}");
}

#[test]
fn programs_that_cannot_start_say_why() {
    let folder = TempDir::new().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "no program").unwrap();
    let plain = text.clone();
    let noise = folder.path().join("noise");
    fs::write(&noise, "no program").unwrap();
    let script = folder.path().join("script");
    fs::write(&script, "#!/nonexistent/interpreter\n").unwrap();
    for path in [&noise, &script] {
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(path, executable).unwrap();
    }
    for (program, name) in [
        (folder.path().join("absent"), "ENOENT"),
        (script, "ENOENT"),
        (plain, "EACCES"),
        (folder.path().to_path_buf(), "EACCES"),
        (text.join("below"), "ENOTDIR"),
        (noise, "ENOEXEC"),
        (PathBuf::from("/bin/\0"), "EINVAL"),
    ] {
        let request = RunRequest {
            program: program.clone(),
            ..shell("true")
        };
        assert_eq!(
            run(&request).unwrap_err(),
            RunError::Spawn(name.to_owned()),
            "{program:?}"
        );
    }

    let mut request = shell("true");
    request.args.push("x".repeat(8 << 20));
    assert_eq!(
        run(&request).unwrap_err(),
        RunError::Spawn("E2BIG".to_owned())
    );
    let request = RunRequest {
        current_dir: folder.path().join("absent"),
        ..shell("true")
    };
    assert_eq!(
        run(&request).unwrap_err(),
        RunError::Spawn("ENOENT".to_owned())
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_program_that_is_being_written_is_tried_again_for_a_moment() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("script");
    fs::write(&path, "#!/bin/sh\necho done\n").unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let request = RunRequest {
        program: path.clone(),
        args: Vec::new(),
        ..shell("")
    };

    let writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    assert_eq!(
        run(&request).unwrap_err(),
        RunError::Spawn("ETXTBSY".to_owned())
    );
    let closer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        drop(writer);
    });
    assert_eq!(texts(&run(&request).unwrap()).1, "done\n");
    closer.join().unwrap();
}

#[test]
fn unknown_error_numbers_are_shown_as_numbers() {
    assert_eq!(errno_name(Some(99_999)), "errno 99999");
    assert_eq!(errno_name(None), "EINVAL");
}

#[test]
fn without_an_end_signal_the_end_is_noticed_by_looking() {
    let request = shell("printf out; exit 4");
    let mut waiting = Run::spawn(&request).unwrap();
    waiting.end_signal = None;
    waiting.wait(&request).unwrap();
    let output = waiting.finish();
    assert_eq!(
        texts(&output),
        (ExitState::Code(4), "out".to_owned(), String::new())
    );
    assert!(output.elapsed < LATE, "{:?}", output.elapsed);

    let mut request = shell("exec >&- 2>&-; exec sleep 60");
    request.timeout = Duration::from_millis(100);
    let mut waiting = Run::spawn(&request).unwrap();
    waiting.end_signal = None;
    assert_eq!(waiting.wait(&request).unwrap_err(), RunError::Timeout);
    assert!(waiting.kill().is_none());
}

#[test]
fn children_that_end_too_late_are_reaped_by_a_later_run() {
    let processes = RealProcesses::default();
    let child = Command::new("/bin/sleep").arg("0.2").spawn().unwrap();
    processes.unreaped.lock().push(child);
    processes.run(&shell("true")).unwrap();
    assert_eq!(processes.unreaped.lock().len(), 1);
    processes.run(&shell("sleep 0.4")).unwrap();
    processes.run(&shell("true")).unwrap();
    assert_eq!(processes.unreaped.lock().len(), 0);
}

#[test]
fn extreme_limits_do_not_overflow() {
    let mut request = shell("printf x");
    request.timeout = Duration::MAX;
    request.silence = Duration::MAX;
    request.max_output = u64::MAX;
    assert_eq!(texts(&run(&request).unwrap()).1, "x");
    request.timeout = Duration::ZERO;
    assert_eq!(run(&request).unwrap_err(), RunError::Timeout);
}
