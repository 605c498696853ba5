//! The least that a gateway must do: read a configuration, listen, answer. No library.
#![allow(
    clippy::disallowed_methods,
    reason = "the floor stands on nothing but the system"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(config), Some(port)) = (arguments.next(), arguments.next()) else {
        return Err(std::io::Error::other("usage: floor-server CONFIG PORT"));
    };
    let config = std::fs::read_to_string(config)?;
    let listener = TcpListener::bind(format!("127.0.0.1:{port}"))?;
    let body = format!("{{\"ok\":true,\"config\":{}}}", config.len());
    for stream in listener.incoming() {
        let mut stream = stream?;
        for line in BufReader::new(stream.try_clone()?).lines() {
            if line?.is_empty() {
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )?;
            }
        }
    }
    Ok(())
}
