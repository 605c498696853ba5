//! What many runs of programs leave behind in the host: nothing. Alone in its file, because it
//! counts what belongs to the whole process.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use openclaw_auth::host::{Cancel, ExitState, Host, RunError, RunRequest};

#[test]
fn a_thousand_runs_leave_no_descriptor_thread_or_zombie() {
    let host = Host::real();
    let request = |program: &str, script: &str| RunRequest {
        program: PathBuf::from(program),
        arg0: "sh".to_owned(),
        args: vec!["-c".to_owned(), script.to_owned()],
        env: BTreeMap::new(),
        current_dir: PathBuf::from("/"),
        stdin: b"request\n".to_vec(),
        timeout: Duration::from_secs(20),
        silence: Duration::from_secs(20),
        max_output: 1000,
        cancel: Cancel::default(),
    };
    let good = request("/bin/sh", "echo x; echo y >&2");
    let flood = request("/bin/sh", "while :; do echo 0123456789; done");
    let absent = request("/nonexistent", "");
    let slow = RunRequest {
        timeout: Duration::from_millis(3),
        ..request("/bin/sh", "trap '' TERM; while :; do :; done")
    };

    // The test harness may open files of its own at first.
    host.processes.run(&good).unwrap();
    let count = |folder: &str| fs::read_dir(folder).unwrap().count();
    let before = (count("/proc/self/fd"), count("/proc/self/task"));
    for _ in 0..250 {
        assert_eq!(host.processes.run(&good).unwrap().exit, ExitState::Code(0));
        assert_eq!(
            host.processes.run(&flood).unwrap_err(),
            RunError::OutputLimit
        );
        assert_eq!(host.processes.run(&slow).unwrap_err(), RunError::Timeout);
        let missing = RunError::Spawn("ENOENT".to_owned());
        assert_eq!(host.processes.run(&absent).unwrap_err(), missing);
    }
    assert_eq!((count("/proc/self/fd"), count("/proc/self/task")), before);

    for task in fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path().join("children");
        let children = host.files.open(&path).unwrap().read_to_limit(1000).unwrap();
        assert_eq!(**children.unwrap(), *b"", "children left");
    }
}
