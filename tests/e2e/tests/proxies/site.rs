//! A gateway, and a proxy in front of it, as a preset describes them.

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::net::{FRONT, GATEWAY, Killed, Net, PROXY, Room};

/// The proxy's secret.
pub(crate) const SECRET: &str = "proxy-secret-0123456789-0123456789";
/// How long a program may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running gateway with a place for a proxy before it.
pub(crate) struct Site {
    // Fields are dropped in this order: programs before their namespaces and files.
    running: Vec<Killed>,
    pub(crate) net: Net,
    folder: TempDir,
    preset: String,
}

impl Site {
    /// Starts the gateway on the settings that a preset prints.
    pub(crate) fn new(preset: &str) -> Self {
        Self::with(preset, &["--secret"])
    }

    /// The same with other options for the preset.
    pub(crate) fn with(preset: &str, options: &[&str]) -> Self {
        Self::at(preset, (PROXY, GATEWAY), options)
    }

    /// A gateway that a proxy on its own host would reach over loopback.
    pub(crate) fn on_one_host(preset: &str, options: &[&str]) -> Self {
        Self::at(preset, ("127.0.0.1", "127.0.0.1"), options)
    }

    fn at(preset: &str, (proxy, gateway): (&str, &str), options: &[&str]) -> Self {
        let mut site = Self {
            running: Vec::new(),
            net: Net::new(),
            folder: tempfile::tempdir().unwrap(),
            preset: String::new(),
        };
        // Proxies give up their privileges and must still find their files.
        fs::set_permissions(site.folder.path(), Permissions::from_mode(0o755)).unwrap();
        let upstream = format!("{gateway}:18789");
        let output = Command::new(program())
            .args(["security", "preset", preset, "--proxy-ip", proxy])
            .args(["--upstream", &upstream])
            .args(options)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "security preset {preset}: {output:?}"
        );
        site.preset = String::from_utf8(output.stdout).unwrap();
        site.certificate();
        site.gateway(&upstream);
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text_of(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        self.text_of(name)
    }

    /// The proxy's part of what the preset prints.
    pub(crate) fn printed(&self) -> String {
        let (_, proxy) = self.preset.split_once("\n# /etc/").unwrap();
        let (_, proxy) = proxy.split_once('\n').unwrap();
        format!("{proxy}\n")
    }

    /// The proxy's part with some texts replaced, each of which must be there.
    pub(crate) fn adapted(&self, replacements: &[(&str, &str)]) -> String {
        let mut text = self.printed();
        for (from, to) in replacements {
            assert!(text.contains(from), "{from:?} is not in\n{text}");
            text = text.replace(from, to);
        }
        text
    }

    /// Starts a program in the proxy's room and waits until it listens.
    pub(crate) fn start(&mut self, program: &str, arguments: &[&str], address: &str) {
        let log = fs::File::create(self.path("proxy.log")).unwrap();
        let mut command = self.net.command(Room::Proxy, program);
        command
            .args(arguments)
            .env("HOME", self.path("home"))
            .env("OPENCLAW_PROXY_SECRET", SECRET)
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("{program}: {error}"));
        self.running.push(Killed(child));
        self.wait(Room::Proxy, program, address);
    }

    /// Waits until the program that was started last listens.
    fn wait(&mut self, room: Room, program: &str, address: &str) {
        let deadline = Instant::now() + PATIENCE;
        let (host, port) = address.rsplit_once(':').unwrap();
        let script = format!("exec 3<>/dev/tcp/{host}/{port}");
        loop {
            let mut command = self.net.command(room, "bash");
            command.args(["-c", &script]).stderr(Stdio::null());
            if command.status().unwrap().success() {
                return;
            }
            let child = &mut self.running.last_mut().unwrap().0;
            let ended = child.try_wait().unwrap();
            let said = || {
                let log = fs::read_to_string(self.folder.path().join("proxy.log"));
                log.unwrap_or_default()
            };
            assert!(ended.is_none(), "{program} ended ({ended:?}):\n{}", said());
            assert!(
                Instant::now() < deadline,
                "{program} does not listen:\n{}",
                said()
            );
            sleep(Duration::from_millis(20));
        }
    }

    /// A double of oauth2-proxy: knows sessions by their cookie and says who they are.
    pub(crate) fn login_double(&mut self) {
        let config = self.write("login/nginx.conf", &nginx(LOGIN));
        let prefix = self.text_of("login");
        self.start("nginx", &["-p", &prefix, "-c", &config], "127.0.0.1:4180");
    }

    fn certificate(&self) {
        let (cert, key) = (self.text_of("cert.pem"), self.text_of("key.pem"));
        let output = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args(["-nodes", "-days", "2", "-subj", "/CN=claw.example.com"])
            .args(["-keyout", &key, "-out", &cert])
            .output()
            .unwrap_or_else(|error| panic!("openssl: {error}"));
        assert!(output.status.success(), "{output:?}");
        fs::set_permissions(self.path("key.pem"), Permissions::from_mode(0o644)).unwrap();
        let both = fs::read_to_string(&cert).unwrap() + &fs::read_to_string(&key).unwrap();
        self.write("both.pem", &both);
    }

    fn gateway(&mut self, address: &str) {
        let (json, _) = self.preset.split_once("\n# /etc/").unwrap();
        let (main, extension) = match json.split_once("\n// openclaw-auth.json5") {
            Some((main, rest)) => (main, rest.split_once('\n').map(|(_, text)| text)),
            None => (json, None),
        };
        let main = self.write("state/openclaw.json", main);
        if let Some(extension) = extension {
            self.write("state/openclaw-auth.json5", extension);
        }
        let log = fs::File::create(self.path("gateway.log")).unwrap();
        let mut command = self.net.command(Room::Gateway, program().to_str().unwrap());
        command
            .args(["gateway", "run", "--config", &main])
            .args(["--state-dir", &self.text_of("state")])
            .env("HOME", self.path("home"))
            .env("OPENCLAW_PROXY_SECRET", SECRET)
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        self.running.push(Killed(command.spawn().unwrap()));
        self.wait(Room::Gateway, "the gateway", address);
    }
}

/// A whole configuration of nginx around these servers.
pub(crate) fn nginx(servers: &str) -> String {
    format!("{NGINX}{servers}\n}}\n")
}

/// Where clients reach the proxy.
pub(crate) fn front() -> String {
    format!("{FRONT}:443")
}

/// `OPENCLAW_AUTH_BIN`, or the program in the folder that cargo built this test into.
pub(crate) fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("OPENCLAW_AUTH_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().with_file_name("openclaw-auth");
    assert!(
        path.is_file(),
        "{} is missing; build it first: cargo build -p openclaw-auth-gateway",
        path.display()
    );
    path
}

const NGINX: &str = "
daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
";

const LOGIN: &str = "
  map $cookie_session $email {
    nick nick@example.com;
    mallory mallory@example.com;
    default '';
  }
  map $cookie_session $known {
    nick 1;
    mallory 1;
    nameless 1;
    default 0;
  }
  server {
    listen 127.0.0.1:4180;
    location = /oauth2/sign_in { return 403 'sign in first'; }
    location = /oauth2/auth {
      if ($known = 0) { return 401; }
      add_header X-Auth-Request-Email $email always;
      return 202;
    }
    location / {
      if ($known = 0) { return 401; }
      add_header X-Auth-Request-Email $email always;
      return 200;
    }
  }
";
