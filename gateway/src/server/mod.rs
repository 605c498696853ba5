//! The reference gateway: a small real server in front of the engine.

mod access_log;
mod answer;
mod bind;
mod body;
mod checks;
mod command;
mod connection;
mod core_api;
mod demo;
mod failure;
mod lending;
mod limits;
mod link;
mod metrics;
mod pid_file;
pub(crate) mod probe;
mod proxy;
mod readiness;
mod reload;
mod reload_note;
mod routes;
mod session;
mod settings;
mod signals;
mod state;
mod status;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod watched;
mod watcher;
mod websocket;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openclaw_auth::host::Host;
use openclaw_auth::{Code, Error};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

pub(crate) use bind::BindOptions;
pub(crate) use core_api::OpenRequest;
pub(crate) use pid_file::path as pid_path;
pub(crate) use reload_note::path as reload_note_path;

use self::access_log::AccessLog;
use self::bind::{Listening, Machine, Plan};
use self::connection::{ACCEPT_PAUSE, Surroundings};
use self::core_api::Core;
use self::demo::Demo;
use self::limits::Limits;
use self::link::Link;
use self::pid_file::PidFile;
use self::reload_note::ReloadNote;
use self::settings::value;
use self::signals::{Asked, Signals};
use self::state::State;
use self::tls::Tls;

/// How to start the gateway.
#[derive(Default)]
pub(crate) struct Launch {
    /// Where the settings come from.
    pub(crate) open: OpenRequest,
    /// Where to listen.
    pub(crate) bind: BindOptions,
    /// File of the access log; standard error when absent.
    pub(crate) access_log: Option<PathBuf>,
    /// Only check everything, do not listen.
    pub(crate) check: bool,
    /// Built-in settings and a built-in provider.
    pub(crate) demo: bool,
}

/// How the gateway ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// As asked.
    Normally,
    /// A second signal cut the stop short; its number.
    CutShort(u8),
}

/// Runs the gateway until it is asked to stop. `print` shows a line to the user.
///
/// # Errors
///
/// Whatever keeps the gateway from starting; the class of the code says which part.
pub(crate) fn run(mut launch: Launch, host: &Host, print: &dyn Fn(&str)) -> Result<Ended, Error> {
    let demo = if launch.demo {
        Some(Demo::prepare(&mut launch)?)
    } else {
        None
    };
    let core = core_api::open(launch.open)?;
    reload::log_events(&*core);
    let snapshot = core.snapshot();
    let machine = Machine::look(&*host.files);
    let plan = bind::plan(&launch.bind, &*snapshot, machine)?;
    let tls = Tls::open(&*snapshot, host, &plan.ips())?;
    for notice in tls.iter().flat_map(Tls::notices) {
        log::warn!("{} ({})", notice.message, notice.code);
    }
    if launch.check {
        print(&format!(
            "configuration is fine: mode {}, port {}, generation {}",
            snapshot.auth_mode(),
            plan.port,
            snapshot.generation()
        ));
        return Ok(Ended::Normally);
    }
    drop(snapshot);
    let log = AccessLog::open(Arc::clone(&host.clock), launch.access_log)
        .map_err(|error| file_failed("access log", &error))?;
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let listening = Listening {
            options: launch.bind,
            machine,
            plan: plan.clone(),
            tls,
        };
        let state = State::new(core, Limits::default(), Arc::new(log), listening)?;
        serve(&state, plan, host, demo, print).await
    });
    // A blocked reload must not keep a stopped gateway alive.
    runtime.shutdown_timeout(match ended {
        Ok(Ended::Normally) => Duration::from_secs(1),
        _ => Duration::ZERO,
    });
    ended
}

fn runtime() -> Result<Runtime, Error> {
    Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("openclaw-auth")
        .enable_all()
        .build()
        .map_err(|error| system_failed("no runtime", &error))
}

async fn serve(
    state: &Arc<State>,
    mut plan: Plan,
    host: &Host,
    demo: Option<Demo>,
    print: &dyn Fn(&str),
) -> Result<Ended, Error> {
    let mut signals = Signals::new().map_err(|error| system_failed("no signals", &error))?;
    let listeners = match bind::listen(&plan).await {
        Err(error) if demo.as_ref().is_some_and(|demo| demo.any_port) => {
            log::info!("{}; taking another port", error.message());
            plan.port = 0;
            bind::listen(&plan).await?
        }
        bound => bound?,
    };
    let addresses: Vec<SocketAddr> = listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .collect();
    let (_pid_file, note) = match demo {
        Some(_) => (None, None),
        None => {
            let snapshot = state.core.snapshot();
            let note = ReloadNote::new(&host.files, snapshot.state_dir());
            let pid_file = PidFile::write(&host.files, snapshot.state_dir())?;
            (Some(pid_file), Some(Arc::new(note)))
        }
    };
    let (stop, stopping) = watch::channel(false);
    let (running, ended) = mpsc::channel(1);
    let around = Surroundings {
        state: Arc::clone(state),
        stop: stopping,
        running,
    };
    for listener in listeners {
        tokio::spawn(accept(listener, around.clone()));
    }
    let metrics = plan.metrics.map(bind::listen_for_metrics).transpose()?;
    let metrics_address = metrics
        .as_ref()
        .and_then(|listener| listener.local_addr().ok());
    if let Some(listener) = metrics {
        tokio::spawn(metrics::listen(listener, around.clone()));
    }
    tokio::spawn(keep_log(Arc::clone(&state.log)));
    tokio::spawn(keep_usage(Arc::clone(&state.core)));
    drop(around);
    announce(state, &addresses, print);
    if let Some(address) = metrics_address {
        print(&format!("metrics on http://{address}/metrics"));
    }
    if let Some(demo) = demo {
        demo.start(&addresses, Arc::clone(&host.clock), print)?;
    }
    tokio::spawn(watcher::watch(Arc::clone(state)));
    state.readiness.listening();

    while let Asked::Reload = signals.next().await {
        reload_by_signal(state, note.clone());
    }
    state.readiness.draining();
    state.core.cancel();
    // Connections that are gone already need no message.
    let _ = stop.send(true);
    let ended = drain(state, ended, &mut signals).await;
    state.log.summarise(true);
    state.log.flush();
    if ended == Ended::Normally {
        let core = Arc::clone(&state.core);
        // A panic in it would have been told already; the gateway stops in any case.
        let _ = tokio::task::spawn_blocking(move || core.flush(true)).await;
    }
    Ok(ended)
}

fn announce(state: &State, addresses: &[SocketAddr], print: &dyn Fn(&str)) {
    let snapshot = state.core.snapshot();
    let scheme = if state.tls().is_some() {
        "https"
    } else {
        "http"
    };
    let proxies = value(&*snapshot, "/gateway/trustedProxies")
        .and_then(serde_json::Value::as_array)
        .map_or(0, Vec::len);
    log::info!(
        "openclaw-auth {} started: mode {}, {proxies} trusted proxies, generation {}",
        env!("CARGO_PKG_VERSION"),
        snapshot.auth_mode(),
        snapshot.generation(),
    );
    for address in addresses {
        print(&format!("listening on {scheme}://{address}"));
    }
}

async fn accept(listener: TcpListener, mut around: Surroundings) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = connection::stopped(&mut around.stop) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let state = &around.state;
                let is_proxy = state
                    .current()
                    .snapshot
                    .is_trusted_proxy(peer.ip().to_canonical());
                let admission = state.connections.admit(peer.ip(), is_proxy, &state.limits);
                let (Some(admission), Ok(local)) = (admission, stream.local_addr()) else {
                    log::debug!("{} connections refused", state.connections.refused());
                    continue;
                };
                if let Err(error) = stream.set_nodelay(true) {
                    log::debug!("no delay: {}", error.kind());
                }
                let link = Link::new(peer, local, state.tls().is_some(), admission);
                tokio::spawn(connection::serve(stream, link, around.clone()));
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                log::warn!("connections cannot be accepted: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether accepting failed because this one peer went away.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

/// Writes the access log out ten times per second, and tells once per second about denials that
/// it left out. Goes on while the server stops.
async fn keep_log(log: Arc<AccessLog>) {
    for round in 0_u64.. {
        sleep(LOG_PAUSE).await;
        if round % 10 == 9 {
            log.summarise(false);
        }
        log.flush();
    }
}

/// Writes out what is known about the use of credentials, once it has waited long enough.
async fn keep_usage(core: Arc<dyn Core>) {
    loop {
        sleep(USAGE_PAUSE).await;
        let core = Arc::clone(&core);
        if tokio::task::spawn_blocking(move || core.flush(false))
            .await
            .is_err()
        {
            log::error!("usage is written by requests only from now on");
            return;
        }
    }
}

fn reload_by_signal(state: &Arc<State>, note: Option<Arc<ReloadNote>>) {
    if let Err(error) = state.log.reopen() {
        log::error!("the access log cannot be opened again: {}", error.kind());
    }
    let reloader = Arc::clone(&state.reloader);
    tokio::spawn(async move {
        let outcome = reloader.reload().await;
        if let Some(note) = note {
            note.write(&outcome);
        }
    });
}

/// Waits for the running requests, but not longer than the grace period or a second signal.
async fn drain(
    state: &State,
    mut ended: mpsc::Receiver<Infallible>,
    signals: &mut Signals,
) -> Ended {
    let grace = state.current().settings.shutdown_grace;
    log::info!("stopping: running requests have {} ms", grace.as_millis());
    let mut deadline = std::pin::pin!(sleep(grace));
    loop {
        tokio::select! {
            _ = ended.recv() => return Ended::Normally,
            () = deadline.as_mut() => {
                log::warn!("requests still running were cut off");
                return Ended::Normally;
            }
            asked = signals.next() => if let Asked::Stop(signal) = asked {
                return Ended::CutShort(signal);
            }
        }
    }
}

fn file_failed(what: &str, error: &io::Error) -> Error {
    Error::new(Code::GatewayFileFailed, format!("{what}: {}", error.kind()))
}

fn system_failed(what: &str, error: &io::Error) -> Error {
    Error::new(Code::InternalError, format!("{what}: {}", error.kind()))
}

/// How long lines of the access log wait for others.
const LOG_PAUSE: Duration = Duration::from_millis(100);
/// How often is looked whether usage has waited long enough.
const USAGE_PAUSE: Duration = Duration::from_secs(1);
const WORKERS: usize = 2;
/// One for each forwarded request, since all of them may wait for one refresh, and some for what
/// must go on meanwhile.
const BLOCKING_THREADS: usize = 256 + 16;
