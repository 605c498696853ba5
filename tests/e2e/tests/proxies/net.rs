//! Namespaces: `gateway`, `proxy` between both, and `client`.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where the gateway listens.
pub(crate) const GATEWAY: &str = "10.99.0.1";
/// From where the proxy connects to the gateway.
pub(crate) const PROXY: &str = "10.99.0.2";
/// Where clients reach the proxy.
pub(crate) const FRONT: &str = "10.99.1.2";
/// The client.
pub(crate) const CLIENT: &str = "10.99.1.3";

/// A namespace of a [`Net`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Room {
    Gateway,
    Proxy,
    Client,
}

/// Three namespaces; removed when dropped.
pub(crate) struct Net {
    id: String,
}

impl Net {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let net = Self {
            id: format!("oca{}x{number}", std::process::id()),
        };
        for room in [Room::Gateway, Room::Proxy, Room::Client] {
            ip(&["netns", "add", &net.name(room)]);
            net.inside(room, &["link", "set", "lo", "up"]);
        }
        net.link(Room::Gateway, GATEWAY, PROXY, "gw");
        net.link(Room::Client, CLIENT, FRONT, "cl");
        net
    }

    /// Joins a room to the proxy's.
    fn link(&self, room: Room, here: &str, proxy: &str, device: &str) {
        let (far, name, other) = (
            format!("{device}p"),
            self.name(room),
            self.name(Room::Proxy),
        );
        let link = ["-n", &name, "link", "add", device, "type", "veth", "peer"];
        ip(&[&link[..], &["name", &far, "netns", &other]].concat());
        for (room, device, address) in [(room, device, here), (Room::Proxy, &far, proxy)] {
            self.inside(
                room,
                &["addr", "add", &format!("{address}/24"), "dev", device],
            );
            self.inside(room, &["link", "set", device, "up"]);
        }
    }

    fn inside(&self, room: Room, arguments: &[&str]) {
        ip(&[&["-n", &self.name(room)], arguments].concat());
    }

    fn name(&self, room: Room) -> String {
        format!("{}{room:?}", self.id)
    }

    /// A program that will run in a room.
    pub(crate) fn command(&self, room: Room, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(room), program]);
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for room in [Room::Gateway, Room::Proxy, Room::Client] {
            // What runs inside has ended; a failure here must not hide another.
            let _ = Command::new("ip")
                .args(["netns", "del", &self.name(room)])
                .status();
        }
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("ip (Debian package iproute2): {error}"));
    assert!(
        output.status.success(),
        "ip {arguments:?} (needs root): {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A running program; killed when dropped.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
