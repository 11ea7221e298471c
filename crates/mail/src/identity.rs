//! Identity: what this gateway is, so that it knows itself when it meets itself.

use crate::Domain;
use std::net::{IpAddr, SocketAddr};

/// Names, addresses and listening sockets of this Scanner, and the other Scanners of its gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// This Scanner's MTA host name and the names that it says EHLO with.
    pub names: Vec<Domain>,
    /// This Scanner's interface addresses and the declared public addresses (NAT, load balancer).
    pub addresses: Vec<IpAddr>,
    /// The other Scanners: they have the same settings, so mail that comes to one of them comes back to this gateway.
    pub scanners: Vec<Scanner>,
    /// Where it listens; an unspecified address stands for all own ones.
    pub listening: Vec<SocketAddr>,
    /// Names that this machine's hosts file gives to own addresses.
    pub hosts_file: Vec<Domain>,
    /// Where a greeting with this gateway's own token came from, lately: ourselves behind NAT or a load balancer.
    pub learned: Vec<SocketAddr>,
}

/// Another Scanner of this gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanner {
    /// Its MTA host name.
    pub name: Domain,
    pub addresses: Vec<IpAddr>,
}

impl Identity {
    /// Whether the name is one of ours: this Scanner's, another's, or one that the hosts file gives to this machine.
    pub fn is_name(&self, name: &str) -> bool {
        self.is_mta_name(name) || self.hosts_file.iter().any(|own| is_same(own, name))
    }

    /// Whether the name is the MTA host name or an EHLO name of a Scanner. Those of the hosts file may stand for another
    /// program on this machine.
    pub fn is_mta_name(&self, name: &str) -> bool {
        self.names.iter().chain(self.scanners.iter().map(|scanner| &scanner.name)).any(|own| is_same(own, name))
    }

    /// Whether the address is one of ours, this Scanner's or another's.
    pub fn is_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.addresses.iter().any(|own| own.to_canonical() == address) || self.scanner_at(address).is_some()
    }

    /// The other Scanner that has this address.
    pub fn scanner_at(&self, address: IpAddr) -> Option<&Scanner> {
        let address = address.to_canonical();
        self.scanners.iter().find(|scanner| scanner.addresses.iter().any(|own| own.to_canonical() == address))
    }

    /// Whether this gateway was met at this address and port, lately, behind an address that is not known as its own.
    pub fn is_learned(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        self.learned.iter().any(|own| own.ip().to_canonical() == address && own.port() == port)
    }

    /// Whether one of our own listeners answers at this address and port. The other Scanners listen at the same ports.
    pub fn listens_at(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        self.listening.iter().any(|socket| {
            socket.port() == port
                && (socket.ip().to_canonical() == address
                    || self.scanner_at(address).is_some()
                    || (socket.ip().is_unspecified() && (self.is_address(address) || address.is_loopback())))
        })
    }
}

fn is_same(own: &Domain, name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    own.as_str().eq_ignore_ascii_case(name) || own.ascii().eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_scanner_is_known_by_name_address_and_port() {
        let identity = Identity {
            names: vec!["gw1.corp.test".parse().unwrap()],
            addresses: vec!["192.0.2.1".parse().unwrap()],
            scanners: vec![Scanner {
                name: "gw2.corp.test".parse().unwrap(),
                addresses: vec!["192.0.2.2".parse().unwrap(), "2001:db8::2".parse().unwrap()],
            }],
            listening: vec!["192.0.2.1:25".parse().unwrap()],
            hosts_file: vec!["backend.corp.test".parse().unwrap()],
            ..Identity::default()
        };
        assert!(identity.is_name("GW2.corp.test.") && identity.is_mta_name("gw2.corp.test"));
        assert!(identity.is_name("backend.corp.test") && !identity.is_mta_name("backend.corp.test"));
        assert!(!identity.is_name("gw3.corp.test"));
        let at = |address: &str, port| identity.listens_at(address.parse().unwrap(), port);
        assert!(at("192.0.2.2", 25) && at("::ffff:192.0.2.2", 25) && at("2001:db8::2", 25));
        assert!(!at("192.0.2.2", 2525), "no listener of ours has that port");
        assert!(!at("192.0.2.3", 25));
    }
}
