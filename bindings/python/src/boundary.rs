//! The only door between Python and the core: panics and errors become Python exceptions, other
//! threads run while a call waits, and engines from before a fork are refused.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use auth::{Code, Error, Result};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::convert::object;

/// Runs a call that takes microseconds.
pub(crate) fn quick<T>(py: Python<'_>, body: impl FnOnce() -> Result<T>) -> PyResult<T> {
    settle(py, fenced(body))
}

/// Runs a call that may wait for a lock or a file. Other Python threads run meanwhile.
pub(crate) fn detached<T: Send>(
    py: Python<'_>,
    body: impl FnOnce() -> Result<T> + Send,
) -> PyResult<T> {
    let outcome = py.detach(|| fenced(body));
    settle(py, outcome)
}

/// Runs a call that may wait for programs, the network or other processes. Other Python threads
/// run meanwhile, and Ctrl-C ends the wait: the call then goes on by itself, and what it brings is
/// thrown away.
pub(crate) fn waiting<T: Send + 'static>(
    py: Python<'_>,
    body: impl FnOnce() -> Result<T> + Send + 'static,
) -> PyResult<T> {
    let (sender, receiver) = sync_channel(1);
    let run = move || {
        // Nobody listens any more when the wait was interrupted.
        let _ = sender.send(fenced(body));
    };
    if let Err(error) = thread::Builder::new()
        .name("openclaw-auth".into())
        .spawn(run)
    {
        let message = format!("cannot start a thread: {}", error.kind());
        return Err(raised(py, &Error::new(Code::InternalError, message)));
    }
    // Behind a lock only because a receiver may not be shared between threads.
    let receiver = std::sync::Mutex::new(receiver);
    loop {
        let answer = py.detach(|| {
            let receiver = receiver
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            receiver.recv_timeout(SLICE)
        });
        match answer {
            Ok(outcome) => return settle(py, outcome),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => return settle(py, None),
        }
    }
}

/// How long a signal may have to wait.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

/// `None` is a panic. It has to end here, because `except Exception` does not catch what PyO3
/// would make of it.
fn fenced<T>(body: impl FnOnce() -> Result<T>) -> Option<Result<T>> {
    catch_unwind(AssertUnwindSafe(body)).ok()
}

fn settle<T>(py: Python<'_>, outcome: Option<Result<T>>) -> PyResult<T> {
    let defect = || Error::new(Code::Panic, "a defect inside the library was caught");
    match outcome {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(raised(py, &error)),
        None => Err(raised(py, &defect())),
    }
}

/// The Python exception of an error.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    static BUILD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let build = || -> PyResult<Py<PyAny>> {
        let build = py.import("openclaw_auth._errors")?.getattr("build")?;
        Ok(build.unbind())
    };
    let exception = BUILD.get_or_try_init(py, build).and_then(|build| {
        let details = object(py, &serde_json::Value::Object(error.details().clone()))?;
        build.bind(py).call1((
            error.code().as_str(),
            error.class().as_str(),
            error.message(),
            error.hint(),
            details,
            error.retry_after_ms(),
            error.is_retryable(),
        ))
    });
    match exception {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// The exception for a wrong argument.
pub(crate) fn invalid(py: Python<'_>, argument: &str, expected: &str) -> PyErr {
    let message = format!("`{argument}` must be {expected}");
    raised(
        py,
        &Error::new(Code::InvalidArgument, message).with("argument", argument),
    )
}

/// Counts the forks that this process has come out of as a child.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// Called in the child after every fork.
#[pyfunction]
pub(crate) fn after_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// When something was opened, in forks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Era(u64);

impl Era {
    pub(crate) fn now() -> Self {
        Self(FORKS.load(Ordering::Relaxed))
    }

    pub(crate) fn is_over(self) -> bool {
        self != Self::now()
    }

    /// Refuses what a parent process has opened: its threads are gone, and its locks may be held
    /// by nobody.
    pub(crate) fn check(self) -> Result<()> {
        match self.is_over() {
            false => Ok(()),
            true => Err(Error::new(
                Code::EngineAfterFork,
                "the engine was opened before this process was forked",
            )
            .with_hint("open the engine in the worker process")),
        }
    }
}

/// The error for what was closed.
pub(crate) fn closed(what: &str) -> Error {
    Error::new(Code::Closed, format!("the {what} is closed"))
}
