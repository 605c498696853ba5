//! A real nginx with a login in front of the gateway.

use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use super::server::Server;
use super::{Gateway, Killed, Place, Way, wait_for};

/// A running nginx; killed when dropped.
pub(crate) struct Nginx {
    _child: Killed,
    ports: Ports,
    _authenticator: Server,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    front: u16,
    lenient: u16,
    careless: u16,
}

impl Nginx {
    /// The address that clients have, as a balancer in front of nginx announces it.
    pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

    /// Starts it in front of this gateway and waits until it listens.
    pub(crate) fn start(place: &Place, gateway: &Gateway) -> Self {
        let authenticator = authenticator();
        // Somebody else may take a free port before nginx does.
        for _ in 0..TRIES {
            let ports = free_ports();
            let config = CONFIG
                .replace("GATEWAY", &gateway.address.to_string())
                .replace("AUTHENTICATOR", &authenticator.address.to_string())
                .replace("FRONT", &ports.front.to_string())
                .replace("LENIENT", &ports.lenient.to_string())
                .replace("CARELESS", &ports.careless.to_string());
            place.write("nginx/nginx.conf", &config);
            place.write("nginx/login.conf", LOGIN);
            let mut child = spawn(place);
            if is_listening(place, &mut child) {
                return Self {
                    _child: child,
                    ports,
                    _authenticator: authenticator,
                };
            }
            let log = place.text("nginx/error.log");
            assert!(log.contains("Address already in use"), "nginx: {log}");
            place.remove("nginx/error.log");
        }
        panic!("no free ports for nginx");
    }

    /// Set up as it should be: every header about identity is set or cleared.
    pub(crate) fn front(&self) -> Way {
        way(self.ports.front).announcing(Self::CLIENT)
    }

    /// Sets the identity, but lets other spellings of its name and `Connection` pass.
    pub(crate) fn lenient(&self) -> Way {
        way(self.ports.lenient)
    }

    /// Sets nothing: the identity that the client sends passes. Speaks HTTP/1.0 to the gateway,
    /// as nginx did by default for long.
    pub(crate) fn careless(&self) -> Way {
        way(self.ports.careless)
    }
}

fn spawn(place: &Place) -> Killed {
    let spawned = Command::new("nginx")
        .arg("-p")
        .arg(place.path("nginx"))
        .args(["-c", "nginx.conf", "-e", "error.log"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match spawned {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("nginx is not installed; on Debian: apt-get install nginx-light")
        }
        spawned => Killed(spawned.unwrap()),
    }
}

/// Whether nginx is up: its pid file comes after its sockets. If not, it has ended.
fn is_listening(place: &Place, child: &mut Killed) -> bool {
    let pid = place.path("nginx/nginx.pid");
    wait_for("nginx", || {
        if child.0.try_wait().unwrap().is_some() {
            return Some(false);
        }
        pid.exists().then_some(true)
    })
}

fn free_ports() -> Ports {
    // Held together, so that they differ.
    let held = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let [front, lenient, careless] = held.map(|socket| socket.local_addr().unwrap().port());
    Ports {
        front,
        lenient,
        careless,
    }
}

fn way(port: u16) -> Way {
    Way::to(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// Knows sessions by their cookie and says who they are, as a login proxy does.
fn authenticator() -> Server {
    Server::start(|request, stream| {
        let cookie = request.header("cookie").unwrap_or_default();
        let answer = match cookie.strip_prefix("session=") {
            Some("nameless") => "202 Accepted\r\n".to_owned(),
            Some(name) => format!("202 Accepted\r\nX-Auth-Request-Email: {name}@example.com\r\n"),
            None => "401 Unauthorized\r\n".to_owned(),
        };
        // nginx may have given up on it.
        let _ = write!(
            stream,
            "HTTP/1.1 {answer}Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
    })
}

const TRIES: usize = 10;

/// Paths are relative to the prefix. `FRONT` is the preset for nginx with a login proxy, behind a
/// balancer of connections; the other two are what the gateway must cope with.
const CONFIG: &str = r#"
daemon off;
master_process off;
pid nginx.pid;
error_log error.log info;
events { worker_connections 512; }
http {
  access_log access.log;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;

  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream gateway { server GATEWAY; keepalive 16; }
  upstream authenticator { server AUTHENTICATOR; }
  proxy_http_version 1.1;

  server {
    listen 127.0.0.1:FRONT proxy_protocol;
    set_real_ip_from 127.0.0.0/8;
    real_ip_header proxy_protocol;
    include login.conf;
    location / {
      auth_request /oauth2/auth;
      auth_request_set $email $upstream_http_x_auth_request_email;
      proxy_pass http://gateway;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-User $email;
      proxy_set_header X-Auth-Request-Email "";
      proxy_set_header Forwarded "";
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto https;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_read_timeout 600s;
    }
  }

  server {
    listen 127.0.0.1:LENIENT;
    underscores_in_headers on;
    ignore_invalid_headers off;
    include login.conf;
    location / {
      auth_request /oauth2/auth;
      auth_request_set $email $upstream_http_x_auth_request_email;
      proxy_pass http://gateway;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-User $email;
      proxy_set_header X-Forwarded-Proto https;
      proxy_set_header Connection $http_connection;
    }
  }

  server {
    listen 127.0.0.1:CARELESS;
    location / {
      proxy_pass http://gateway;
      proxy_http_version 1.0;
      proxy_set_header Host $host;
    }
  }
}
"#;

const LOGIN: &str = r#"
location = /oauth2/auth {
  internal;
  proxy_pass http://authenticator;
  proxy_pass_request_body off;
  proxy_set_header Content-Length "";
}
"#;
