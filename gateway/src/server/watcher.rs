//! Reloads by themselves: whoever changes a file that the settings depend on need not say so.

use std::sync::Arc;
use std::time::Duration;

use openclaw_auth::{WatchStep, Watcher};
use serde_json::Value;
use tokio::time::sleep;

use super::core_api::Snapshot;
use super::settings::{number, value};
use super::state::State;

/// Looks at the files for as long as the server runs. Start it once.
///
/// `gateway.reload.mode: "off"` stops the looking, `gateway.reload.debounceMs` is how long nothing
/// may have changed before a reload; both count from the reload that brings them.
pub(crate) async fn watch(state: Arc<State>) {
    let mut quiet = QUIET;
    let mut watcher = Watcher::new(quiet);
    let mut pause = INTERVAL;
    loop {
        sleep(pause).await;
        pause = INTERVAL;
        let snapshot = Arc::clone(&state.current().snapshot);
        if is_off(&*snapshot) {
            // What changes meanwhile counts when it is switched on again.
            watcher = Watcher::new(quiet);
            continue;
        }
        let wanted = quiet_of(&*snapshot);
        if wanted != quiet {
            quiet = wanted;
            watcher = Watcher::new(quiet);
        }
        drop(snapshot);
        // Files may lie on a slow network.
        let core = Arc::clone(&state.core);
        let looked = tokio::task::spawn_blocking(move || {
            let step = core.watch_step(&mut watcher);
            (watcher, step)
        });
        let Ok((looked, step)) = looked.await else {
            log::error!("files are no longer watched; send SIGHUP after changes");
            return;
        };
        watcher = looked;
        match step {
            WatchStep::Reload => {
                log::info!("files have changed");
                state.reloader.reload().await;
            }
            WatchStep::Wait(time) => pause = time.min(INTERVAL),
            _ => {}
        }
    }
}

fn is_off(snapshot: &dyn Snapshot) -> bool {
    value(snapshot, "/gateway/reload/mode").and_then(Value::as_str) == Some("off")
}

fn quiet_of(snapshot: &dyn Snapshot) -> Duration {
    number(snapshot, "/gateway/reload/debounceMs").map_or(QUIET, Duration::from_millis)
}

/// Time between two looks. With the default quiet time a change is in use within a second.
const INTERVAL: Duration = Duration::from_millis(400);
/// The default of `gateway.reload.debounceMs`.
const QUIET: Duration = Duration::from_millis(300);
