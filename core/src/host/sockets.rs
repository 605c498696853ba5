//! Listening sockets of the machine.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the access that the lint points to"
)]

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{Connection, Listener, Sockets};

/// How often waiting connections are looked for.
const POLL: Duration = Duration::from_millis(10);
/// How often one free port for all addresses is looked for.
const PORT_TRIES: u32 = 16;

/// The network of the machine.
pub(super) struct RealSockets;

impl Sockets for RealSockets {
    fn listen(&self, addresses: &[SocketAddr]) -> io::Result<Box<dyn Listener>> {
        let any_port = addresses.iter().any(|address| address.port() == 0);
        let mut tries = if any_port { PORT_TRIES } else { 1 };
        loop {
            match bind(addresses) {
                Ok(listener) => return Ok(Box::new(listener)),
                Err(error) if tries > 1 && error.kind() == io::ErrorKind::AddrInUse => tries -= 1,
                Err(error) => return Err(error),
            }
        }
    }
}

fn bind(addresses: &[SocketAddr]) -> io::Result<RealListener> {
    let mut bound = RealListener {
        sockets: Vec::new(),
        addresses: Vec::new(),
    };
    let mut missing = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for wanted in addresses {
        let mut address = *wanted;
        if address.port() == 0 {
            address.set_port(bound.addresses.first().map_or(0, SocketAddr::port));
        }
        let socket = match TcpListener::bind(address) {
            Ok(socket) => socket,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => {
                missing = error;
                continue;
            }
        };
        socket.set_nonblocking(true)?;
        bound.addresses.push(socket.local_addr()?);
        bound.sockets.push(socket);
    }
    if bound.sockets.is_empty() {
        return Err(missing);
    }
    Ok(bound)
}

struct RealListener {
    sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl Listener for RealListener {
    fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    fn accept(&self, timeout: Duration) -> io::Result<Option<Box<dyn Connection>>> {
        let start = Instant::now();
        loop {
            for socket in &self.sockets {
                match socket.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(false)?;
                        return Ok(Some(Box::new(stream)));
                    }
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::WouldBlock
                                | io::ErrorKind::ConnectionAborted
                                | io::ErrorKind::Interrupted
                        ) => {}
                    Err(error) => return Err(error),
                }
            }
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            thread::sleep(left.min(POLL));
        }
    }
}

impl Connection for TcpStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn both_families_share_one_port() {
        let loopback = ["127.0.0.1:0", "[::1]:0"].map(|text| text.parse().unwrap());
        let listener = RealSockets.listen(&loopback).unwrap();
        let port = listener.addresses()[0].port();
        assert!(listener.addresses().iter().all(|a| a.port() == port));
        assert!(
            listener
                .accept(Duration::from_millis(20))
                .unwrap()
                .is_none()
        );
        for address in listener.addresses() {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(b"x").unwrap();
            let mut server = listener.accept(Duration::from_secs(5)).unwrap().unwrap();
            server.set_timeout(Duration::from_secs(5)).unwrap();
            let mut byte = [0];
            server.read_exact(&mut byte).unwrap();
            assert_eq!(byte, *b"x");
        }
    }

    #[test]
    fn a_port_taken_in_one_family_is_taken() {
        let Ok(foreign) = TcpListener::bind("[::1]:0") else {
            return; // This machine has no IPv6.
        };
        let port = foreign.local_addr().unwrap().port();
        let both = [
            SocketAddr::from(([127, 0, 0, 1], port)),
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)),
        ];
        let error = RealSockets.listen(&both).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
