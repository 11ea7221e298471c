//! Identity: what this gateway is, so that it knows itself when it meets itself.

use crate::Domain;
use std::net::{IpAddr, SocketAddr};

/// Names, addresses and listening sockets of this gateway and of its other Scanners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// MTA host names: the Scanners' own.
    pub names: Vec<Domain>,
    /// Interface addresses, declared public addresses (NAT, load balancer), other Scanners'.
    pub addresses: Vec<IpAddr>,
    /// Where it listens; an unspecified address stands for all own ones.
    pub listening: Vec<SocketAddr>,
    /// Names that this machine's hosts file gives to own addresses.
    pub hosts_file: Vec<Domain>,
    /// Where a greeting with this gateway's own token came from, lately: ourselves behind NAT or a load balancer.
    pub learned: Vec<SocketAddr>,
}

impl Identity {
    /// Whether the name is one of ours.
    pub fn is_name(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        self.names.iter().chain(&self.hosts_file).any(|own| own.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether the address is one of ours.
    pub fn is_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.addresses.iter().any(|own| own.to_canonical() == address)
    }

    /// Whether this gateway was met at this address and port, lately, behind an address that is not known as its own.
    pub fn is_learned(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        self.learned.iter().any(|own| own.ip().to_canonical() == address && own.port() == port)
    }

    /// Whether one of our own listeners answers at this address and port.
    pub fn listens_at(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        self.listening.iter().any(|socket| {
            socket.port() == port
                && (socket.ip().to_canonical() == address
                    || (socket.ip().is_unspecified() && (self.is_address(address) || address.is_loopback())))
        })
    }
}
