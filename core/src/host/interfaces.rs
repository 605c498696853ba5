//! The network addresses of this machine.

use std::io;
use std::net::IpAddr;

/// The addresses of this machine's network interfaces.
pub trait Interfaces: Send + Sync {
    /// Every address of every interface, loopback included, in no particular order.
    ///
    /// # Errors
    ///
    /// When the system does not tell; `Unsupported` when it never will.
    fn addresses(&self) -> io::Result<Vec<IpAddr>>;
}

/// The interfaces of the machine this program runs on (`getifaddrs` and its counterparts).
#[derive(Debug, Clone, Copy, Default)]
pub struct RealInterfaces;

impl Interfaces for RealInterfaces {
    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        Ok(if_addrs::get_if_addrs()?
            .iter()
            .map(if_addrs::Interface::ip)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_loopback_address() {
        let addresses = RealInterfaces.addresses().unwrap();
        assert!(addresses.iter().any(IpAddr::is_loopback), "{addresses:?}");
    }
}
