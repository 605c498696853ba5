//! Where to listen: from the settings to bound sockets.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use openclaw_auth::host::Files;
use openclaw_auth::{Code, Error};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::core_api::Snapshot;
use super::settings;
use super::tls::Tls;

/// The port when nothing names another one.
pub(crate) const DEFAULT_PORT: u16 = 18789;

/// What the command line and the environment say about the address.
#[derive(Debug, Clone, Default)]
pub(crate) struct BindOptions {
    /// Replaces `gateway.bind`.
    pub(crate) mode: Option<String>,
    /// A literal address; wins over every mode.
    pub(crate) host: Option<IpAddr>,
    /// Replaces `gateway.port`; 0 is any free port.
    pub(crate) port: Option<u16>,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The addresses, each on the same port.
    pub(crate) addresses: Vec<Wanted>,
    /// The port; 0 is any free one.
    pub(crate) port: u16,
    /// Where the metrics are, without credentials.
    pub(crate) metrics: Option<SocketAddr>,
}

/// One address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It must work.
    Required(IpAddr),
    /// It is left out where the machine does not have it.
    IfThere(IpAddr),
    /// Every IPv6 and IPv4 address with one socket; IPv4 alone where there is no IPv6.
    Everything,
}

impl Plan {
    /// Whether only programs on this machine can connect.
    pub(crate) fn is_loopback(&self) -> bool {
        self.addresses.iter().all(|wanted| match wanted {
            Wanted::Required(ip) | Wanted::IfThere(ip) => ip.to_canonical().is_loopback(),
            Wanted::Everything => false,
        })
    }

    /// The addresses by number.
    pub(crate) fn ips(&self) -> Vec<IpAddr> {
        let ip = |wanted: &Wanted| match wanted {
            Wanted::Required(ip) | Wanted::IfThere(ip) => *ip,
            Wanted::Everything => Ipv6Addr::UNSPECIFIED.into(),
        };
        self.addresses.iter().map(ip).collect()
    }
}

/// What the server listens on, and what led to it.
#[derive(Debug)]
pub(crate) struct Listening {
    /// What the command line said.
    pub(crate) options: BindOptions,
    /// The machine at that time.
    pub(crate) machine: Machine,
    /// The outcome.
    pub(crate) plan: Plan,
    /// TLS, unless it is off.
    pub(crate) tls: Option<Tls>,
}

impl Listening {
    /// Whether these settings would lead to the same listener.
    pub(crate) fn is_wanted_by(&self, snapshot: &dyn Snapshot) -> bool {
        let wanted = plan(&self.options, snapshot, self.machine);
        wanted.is_ok_and(|wanted| wanted == self.plan)
            && settings::wants_tls(snapshot) == self.tls.is_some()
    }
}

/// What the plan depends on beside settings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine {
    /// Whether this is a container.
    pub(crate) is_container: bool,
    /// The machine's address in a tailnet.
    pub(crate) tailnet: Option<Ipv4Addr>,
}

impl Machine {
    /// Looks at the real machine.
    pub(crate) fn look(files: &dyn Files) -> Self {
        let is_container = CONTAINER_MARKS
            .iter()
            .any(|mark| files.lstat(Path::new(mark)).is_ok());
        Self {
            is_container,
            tailnet: tailnet_address(),
        }
    }
}

/// Decides where to listen.
///
/// # Errors
///
/// `config_invalid_value` when the settings do not make sense, `bind_failed` when the machine
/// lacks what they ask for.
pub(crate) fn plan(
    options: &BindOptions,
    snapshot: &dyn Snapshot,
    machine: Machine,
) -> Result<Plan, Error> {
    let configured =
        settings::number(snapshot, "/gateway/port").and_then(|port| u16::try_from(port).ok());
    let port = options.port.or(configured).unwrap_or(DEFAULT_PORT);
    let has_auth = snapshot.auth_mode() != "none";
    let addresses = match options.host {
        Some(host) => vec![Wanted::Required(host)],
        None => {
            let mode = options.mode.as_deref();
            let mode = mode.or_else(|| settings::text(snapshot, "/gateway/bind"));
            addresses(mode.unwrap_or("loopback"), snapshot, machine, has_auth)?
        }
    };
    let plan = Plan {
        addresses,
        port,
        metrics: metrics_address(snapshot)?,
    };
    if !has_auth && !plan.is_loopback() {
        return Err(Error::new(
            Code::GatewayBindWithoutAuth,
            "gateway.bind: without authentication the gateway listens on loopback only",
        )
        .with_hint("Set gateway.auth.mode, or bind to loopback."));
    }
    Ok(plan)
}

fn addresses(
    mode: &str,
    snapshot: &dyn Snapshot,
    machine: Machine,
    has_auth: bool,
) -> Result<Vec<Wanted>, Error> {
    let loopback = Wanted::Required(Ipv4Addr::LOCALHOST.into());
    match mode {
        "auto" if machine.is_container && has_auth => {
            Ok(vec![Wanted::Required(Ipv4Addr::UNSPECIFIED.into())])
        }
        "loopback" | "auto" => Ok(vec![loopback, Wanted::IfThere(Ipv6Addr::LOCALHOST.into())]),
        "lan" => Ok(vec![Wanted::Everything]),
        "custom" => {
            let host = settings::text(snapshot, "/gateway/customBindHost").map(str::trim);
            let ip = host.and_then(|host| host.parse().ok()).ok_or_else(|| {
                Error::new(
                    Code::ConfigInvalidValue,
                    "gateway.customBindHost: an IPv4 or IPv6 address is needed",
                )
            })?;
            Ok(vec![Wanted::Required(ip)])
        }
        "tailnet" => match machine.tailnet {
            Some(ip) => Ok(vec![Wanted::Required(ip.into()), loopback]),
            None => Err(Error::new(
                Code::BindFailed,
                "gateway.bind: this machine has no tailnet address (100.64.0.0/10)",
            )),
        },
        _ => Err(Error::new(
            Code::ConfigInvalidValue,
            "gateway.bind: use loopback, lan, custom, auto or tailnet",
        )),
    }
}

/// `gateway.metrics.bind`.
fn metrics_address(snapshot: &dyn Snapshot) -> Result<Option<SocketAddr>, Error> {
    let Some(bind) = settings::value(snapshot, "/gateway/metrics/bind") else {
        return Ok(None);
    };
    let text = bind.as_str().unwrap_or_default().trim();
    let text = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    let address: Option<SocketAddr> = text.parse().ok();
    let address = address.filter(|address| address.ip().to_canonical().is_loopback());
    address.map(Some).ok_or_else(|| {
        Error::new(
            Code::ConfigInvalidValue,
            "gateway.metrics.bind: a loopback address with port is needed, such as 127.0.0.1:9464",
        )
    })
}

/// Binds the address of the metrics.
///
/// # Errors
///
/// `bind_failed`.
pub(crate) fn listen_for_metrics(address: SocketAddr) -> Result<TcpListener, Error> {
    bind(address.ip(), address.port()).map_err(|error| {
        Error::new(
            Code::BindFailed,
            format!("cannot listen for metrics on {address}: {}", error.kind()),
        )
    })
}

/// Binds every address of the plan, patiently when the port is in use.
///
/// # Errors
///
/// `bind_failed` when an address stays unavailable.
pub(crate) async fn listen(plan: &Plan) -> Result<Vec<TcpListener>, Error> {
    let mut attempt = 0;
    loop {
        let (address, error) = match bind_all(plan) {
            Ok(listeners) => return Ok(listeners),
            Err(failed) => failed,
        };
        if error.kind() != ErrorKind::AddrInUse || attempt == RETRIES {
            let mut failure = Error::new(
                Code::BindFailed,
                format!("cannot listen on {address}: {}", error.kind()),
            );
            if error.kind() == ErrorKind::AddrInUse {
                failure = failure.with_hint("Another gateway may already be running.");
            }
            return Err(failure.with("address", address.to_string()));
        }
        attempt += 1;
        // With a port of our choice the next attempt has another one.
        if plan.port != 0 {
            sleep(RETRY_PAUSE).await;
        }
    }
}

fn bind_all(plan: &Plan) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let mut port = plan.port;
    let mut listeners = Vec::with_capacity(plan.addresses.len());
    for wanted in &plan.addresses {
        let (ip, bound) = match *wanted {
            Wanted::Required(ip) | Wanted::IfThere(ip) => (ip, bind(ip, port)),
            Wanted::Everything => (Ipv6Addr::UNSPECIFIED.into(), bind_everything(port)),
        };
        let address = SocketAddr::new(ip, port);
        match bound {
            Ok(listener) => {
                port = listener
                    .local_addr()
                    .map_err(|error| (address, error))?
                    .port();
                listeners.push(listener);
            }
            Err(error) if is_missing(&error) && matches!(wanted, Wanted::IfThere(_)) => {
                log::debug!("not listening on {ip}: {}", error.kind());
            }
            Err(error) => return Err((address, error)),
        }
    }
    Ok(listeners)
}

fn bind_everything(port: u16) -> io::Result<TcpListener> {
    match bind(Ipv6Addr::UNSPECIFIED.into(), port) {
        Err(error) if is_missing(&error) => bind(Ipv4Addr::UNSPECIFIED.into(), port),
        bound => bound,
    }
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() != ErrorKind::AddrInUse
}

fn bind(ip: IpAddr, port: u16) -> io::Result<TcpListener> {
    let address = SocketAddr::new(ip, port);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if ip.is_ipv6() {
        // The unspecified address stands for IPv4 too, whatever the system's default is.
        socket.set_only_v6(!ip.is_unspecified())?;
    }
    // On Windows the option means something else: sharing the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// The machine's own address towards a tailnet. Nothing is sent: connecting a datagram socket
/// only asks the routing table which address would be used.
fn tailnet_address() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((TAILNET_RESOLVER, 53)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) if is_tailnet(ip) => Some(ip),
        _ => None,
    }
}

/// 100.64.0.0/10 (RFC 6598).
fn is_tailnet(ip: Ipv4Addr) -> bool {
    let [first, second, ..] = ip.octets();
    first == 100 && (64..128).contains(&second)
}

/// An address that every tailnet routes.
const TAILNET_RESOLVER: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 100);
const CONTAINER_MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];
const RETRIES: u32 = 4;
const RETRY_PAUSE: Duration = Duration::from_millis(500);
const BACKLOG: i32 = 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::FakeSnapshot;
    use super::*;

    const BARE: Machine = Machine {
        is_container: false,
        tailnet: None,
    };
    const CONTAINER: Machine = Machine {
        is_container: true,
        tailnet: None,
    };
    const TAILNET: Machine = Machine {
        is_container: false,
        tailnet: Some(Ipv4Addr::new(100, 70, 1, 2)),
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn modes_and_addresses() {
        let loopback = vec![
            Wanted::Required(ip("127.0.0.1")),
            Wanted::IfThere(ip("::1")),
        ];
        for (gateway, mode, machine, expected) in [
            (json!({}), "token", BARE, Ok(loopback.clone())),
            (
                json!({"bind": "loopback"}),
                "none",
                BARE,
                Ok(loopback.clone()),
            ),
            (
                json!({"bind": "lan"}),
                "token",
                BARE,
                Ok(vec![Wanted::Everything]),
            ),
            (
                json!({"bind": "lan"}),
                "none",
                BARE,
                Err(Code::GatewayBindWithoutAuth),
            ),
            (json!({"bind": "auto"}), "token", BARE, Ok(loopback.clone())),
            (json!({"bind": "auto"}), "none", CONTAINER, Ok(loopback)),
            (
                json!({"bind": "auto"}),
                "token",
                CONTAINER,
                Ok(vec![Wanted::Required(ip("0.0.0.0"))]),
            ),
            (
                json!({"bind": "custom"}),
                "token",
                BARE,
                Err(Code::ConfigInvalidValue),
            ),
            (
                json!({"bind": "custom", "customBindHost": "gw.example"}),
                "token",
                BARE,
                Err(Code::ConfigInvalidValue),
            ),
            (
                json!({"bind": "custom", "customBindHost": "fd00::7"}),
                "token",
                BARE,
                Ok(vec![Wanted::Required(ip("fd00::7"))]),
            ),
            (
                json!({"bind": "custom", "customBindHost": "127.0.0.9"}),
                "none",
                BARE,
                Ok(vec![Wanted::Required(ip("127.0.0.9"))]),
            ),
            (
                json!({"bind": "tailnet"}),
                "token",
                BARE,
                Err(Code::BindFailed),
            ),
            (
                json!({"bind": "tailnet"}),
                "token",
                TAILNET,
                Ok(vec![
                    Wanted::Required(ip("100.70.1.2")),
                    Wanted::Required(ip("127.0.0.1")),
                ]),
            ),
            (
                json!({"bind": "everywhere"}),
                "token",
                BARE,
                Err(Code::ConfigInvalidValue),
            ),
        ] {
            let snapshot = FakeSnapshot::new(json!({"gateway": gateway.clone()})).mode(mode);
            let plan = plan(&BindOptions::default(), &snapshot, machine);
            let outcome = plan
                .map(|plan| plan.addresses)
                .map_err(|error| error.code());
            assert_eq!(outcome, expected, "{gateway} {mode}");
        }
    }

    #[test]
    fn options_win_over_settings() {
        let snapshot =
            FakeSnapshot::new(json!({"gateway": {"bind": "lan", "port": 7}})).mode("token");
        let plan_of = |options: &BindOptions| plan(options, &snapshot, BARE).unwrap();
        assert_eq!(plan_of(&BindOptions::default()).port, 7);
        let options = BindOptions {
            mode: Some("loopback".to_owned()),
            host: Some(ip("10.0.0.9")),
            port: Some(0),
        };
        let plan = plan_of(&options);
        assert_eq!(
            (plan.addresses, plan.port),
            (vec![Wanted::Required(ip("10.0.0.9"))], 0)
        );
        let snapshot = FakeSnapshot::new(json!({}));
        assert_eq!(
            super::plan(&BindOptions::default(), &snapshot, BARE)
                .unwrap()
                .port,
            18789
        );
    }

    #[test]
    fn metrics_are_for_this_machine_only() {
        for (bind, expected) in [
            (json!("127.0.0.1:9464"), Ok(Some("127.0.0.1:9464"))),
            (json!("localhost:0"), Ok(Some("127.0.0.1:0"))),
            (json!("[::1]:9464"), Ok(Some("[::1]:9464"))),
            (json!("0.0.0.0:9464"), Err(Code::ConfigInvalidValue)),
            (json!("192.0.2.1:9464"), Err(Code::ConfigInvalidValue)),
            (json!("gw.example:9464"), Err(Code::ConfigInvalidValue)),
            (json!("127.0.0.1"), Err(Code::ConfigInvalidValue)),
            (json!(9464), Err(Code::ConfigInvalidValue)),
        ] {
            let values = json!({"gateway": {"metrics": {"bind": bind}}});
            let plan = plan(&BindOptions::default(), &FakeSnapshot::new(values), BARE);
            let found = plan.map(|plan| plan.metrics).map_err(|error| error.code());
            let expected = expected.map(|text| text.map(|text| text.parse().unwrap()));
            assert_eq!(found, expected, "{bind}");
        }
    }

    #[test]
    fn tailnet_range() {
        for (text, expected) in [
            ("100.64.0.0", true),
            ("100.127.255.255", true),
            ("100.128.0.0", false),
            ("10.64.0.1", false),
        ] {
            assert_eq!(is_tailnet(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[tokio::test]
    async fn one_port_for_both_families_and_a_clear_refusal_when_taken() {
        let plan = Plan {
            addresses: vec![
                Wanted::Required(ip("127.0.0.1")),
                Wanted::IfThere(ip("::1")),
            ],
            port: 0,
            metrics: None,
        };
        let listeners = listen(&plan).await.unwrap();
        let ports: Vec<u16> = listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap().port())
            .collect();
        assert!(
            ports.iter().all(|port| *port == ports[0] && *port != 0),
            "{ports:?}"
        );

        tokio::time::pause();
        let taken = Plan {
            port: ports[0],
            ..plan
        };
        let error = listen(&taken).await.unwrap_err();
        assert_eq!(error.code(), Code::BindFailed);
        assert_eq!(
            error.hint(),
            Some("Another gateway may already be running.")
        );
    }
}
