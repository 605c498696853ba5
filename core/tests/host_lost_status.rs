//! A host that ignores `SIGCHLD`: the kernel reaps its children and their status is lost, but
//! their output is not, and time limits hold. In its own file, because it runs itself again.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use openclaw_auth::host::{Cancel, ExitState, Host, RunError, RunRequest};

/// Set in the inner run, which has inherited the ignored signal.
const INNER: &str = "OPENCLAW_AUTH_TEST_IGNORES_SIGCHLD";

#[test]
fn output_survives_when_the_status_is_lost() {
    let host = Host::real();
    let mut request = RunRequest {
        program: PathBuf::from("/bin/sh"),
        arg0: "sh".to_owned(),
        args: vec!["-c".to_owned(), "printf answer; exit 3".to_owned()],
        env: BTreeMap::new(),
        current_dir: PathBuf::from("/"),
        stdin: Vec::new(),
        timeout: Duration::from_secs(60),
        silence: Duration::from_secs(60),
        max_output: 1 << 20,
        cancel: Cancel::default(),
    };
    if host.env.vars().contains_key(INNER) {
        for _ in 0..20 {
            let output = host.processes.run(&request).unwrap();
            assert_eq!(output.exit, ExitState::Lost);
            assert_eq!(*output.stdout, b"answer");
        }
        request.args[1] = "sleep 60 | sleep 60".to_owned();
        request.timeout = Duration::from_millis(100);
        let start = host.clock.monotonic();
        assert_eq!(host.processes.run(&request).unwrap_err(), RunError::Timeout);
        assert!(host.clock.monotonic() - start < Duration::from_millis(1100));
        return;
    }

    let myself = std::env::current_exe().unwrap().display().to_string();
    let test = "output_survives_when_the_status_is_lost".to_owned();
    request.program = PathBuf::from("/usr/bin/env");
    request.args = vec![
        "--ignore-signal=CHLD".to_owned(),
        myself,
        "--exact".to_owned(),
        test,
    ];
    request.env.insert(INNER.to_owned(), "1".to_owned().into());
    let output = host.processes.run(&request).unwrap();
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.exit, ExitState::Code(0), "{report}");
    assert!(report.contains("1 passed"), "{report}");
}
