//! Ctrl-C while a person is asked or a browser is waited for: the terminal is put back as it was,
//! and the program ends.

use std::io;
use std::sync::Once;
use std::sync::mpsc::{self, Sender};
use std::thread;

use super::output::print_to_stderr;
use crate::waiting;

/// Exit code after Ctrl-C.
pub(super) const INTERRUPTED: u8 = 130;

/// From now on Ctrl-C ends the program with a word and its exit code. Nothing is half written
/// then: files are replaced as a whole, or not.
pub(super) fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let terminal = terminal();
        let (ready, is_ready) = mpsc::channel();
        // Without the thread Ctrl-C ends the program as it always does.
        let started = thread::Builder::new()
            .name("interrupt".to_owned())
            .spawn(move || wait(&terminal, &ready));
        match started {
            // The question comes after the watch has begun, or has failed to.
            Ok(_) => is_ready.iter().next().unwrap_or_default(),
            Err(error) => log::debug!("Ctrl-C is not watched: {}", error.kind()),
        }
    });
}

fn wait(terminal: &Terminal, ready: &Sender<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let pressed = runtime.and_then(|runtime| runtime.block_on(pressed(ready)));
    if pressed.is_ok() {
        restore(terminal);
        waiting::erase();
        print_to_stderr("\nCancelled.");
        std::process::exit(i32::from(INTERRUPTED));
    }
}

/// Ends when Ctrl-C is pressed. Tells when it has begun to watch.
#[cfg(unix)]
async fn pressed(ready: &Sender<()>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut presses = signal(SignalKind::interrupt())?;
    // Nobody waits any more when it cannot be told.
    let _ = ready.send(());
    match presses.recv().await {
        Some(()) => Ok(()),
        None => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

#[cfg(not(unix))]
async fn pressed(ready: &Sender<()>) -> io::Result<()> {
    // Nobody waits any more when it cannot be told.
    let _ = ready.send(());
    tokio::signal::ctrl_c().await
}

#[cfg(unix)]
type Terminal = Option<rustix::termios::Termios>;
#[cfg(not(unix))]
type Terminal = ();

#[cfg(unix)]
fn terminal() -> Terminal {
    rustix::termios::tcgetattr(io::stdin()).ok()
}

#[cfg(not(unix))]
fn terminal() -> Terminal {}

/// The terminal shows nothing that is typed until this is dropped.
pub(super) struct Hidden {
    before: Terminal,
}

/// Hides what is typed. To be called before the question is shown: a quick paste would be seen
/// otherwise.
pub(super) fn hide() -> Hidden {
    let before = terminal();
    #[cfg(unix)]
    if let Some(before) = &before {
        let mut hidden = before.clone();
        hidden.local_modes.remove(rustix::termios::LocalModes::ECHO);
        restore(&Some(hidden));
    }
    Hidden { before }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        restore(&self.before);
    }
}

/// Turns the echo on again, should a secret have been asked for.
#[cfg(unix)]
fn restore(terminal: &Terminal) {
    use rustix::termios::{OptionalActions, tcsetattr};
    if let Some(terminal) = terminal
        && let Err(error) = tcsetattr(io::stdin(), OptionalActions::Now, terminal)
    {
        log::debug!("the terminal keeps its state: {}", error.kind());
    }
}

#[cfg(not(unix))]
fn restore((): &Terminal) {}
