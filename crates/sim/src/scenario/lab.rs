//! The Internet around the gateway: the scripted DNS and all peers of a scenario, running.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use super::{PeerPart, Scenario, config, step::client_name};
use crate::{
    dns::{Server, Zone},
    peer::{Authority, Peer, Received, Script, name_for},
    proxy::{self, Proxy},
};

/// Running DNS and peers. They stop when it is dropped.
#[derive(Debug)]
pub struct Lab {
    dns: Server,
    peers: Vec<(PeerPart, Peer)>,
    _views: Vec<Server>,
    _proxies: Vec<Proxy>,
    /// The names of clients, peers and the gateway, for zones that do not speak of them.
    usual: Zone,
    zone: Zone,
}

impl Lab {
    /// Starts the DNS and every peer.
    pub async fn start(scenario: &Scenario) -> Result<Self, String> {
        let usual = usual(scenario)?;
        let zone = filled(&scenario.zone, &usual)?;
        let dns = Server::start(scenario.dns, zone.clone())
            .await
            .map_err(|error| format!("DNS at {}: {error}", scenario.dns))?;
        let mut lab = Self { dns, peers: Vec::new(), _views: Vec::new(), _proxies: Vec::new(), usual, zone };
        for part in &scenario.peers {
            let script = lab.script(&part.script, part.address)?;
            let peer =
                Peer::start(part.address, script).await.map_err(|error| format!("peer {}: {error}", part.name))?;
            lab.peers.push((part.clone(), peer));
        }
        for view in &scenario.views {
            let zone = filled(&view.zone, &lab.usual)?;
            let server = Server::start(view.address, zone).await;
            lab._views.push(server.map_err(|error| format!("DNS at {}: {error}", view.address))?);
        }
        for part in &scenario.proxies {
            let path = proxy::Path {
                source: part.source,
                rate: part.rate,
                delay: part.delay.0,
                swallow_over: part.swallow_over,
            };
            let proxy = Proxy::start(part.address, part.to, path)
                .await
                .map_err(|error| format!("proxy {}: {error}", part.address))?;
            lab._proxies.push(proxy);
        }
        Ok(lab)
    }

    pub fn dns(&self) -> &Server {
        &self.dns
    }

    /// Each peer with the name that steps call it.
    pub fn peers(&self) -> impl Iterator<Item = (&str, &Peer)> {
        self.peers.iter().map(|(part, peer)| (part.name.as_str(), peer))
    }

    /// A peer by name or by address.
    pub fn peer(&self, name: &str) -> Option<&Peer> {
        self.peers.iter().find(|(part, _)| part.name == name || part.address.to_string() == name).map(|(_, peer)| peer)
    }

    /// Everything that one peer, or all of them, accepted, oldest first.
    pub fn received(&self, peer: Option<&str>) -> Vec<Received> {
        let mut all: Vec<Received> = match peer {
            Some(name) => self.peer(name).map(Peer::received).unwrap_or_default(),
            None => self.peers.iter().flat_map(|(_, peer)| peer.received()).collect(),
        };
        all.sort_by_key(|received| received.at);
        all
    }

    /// Gives a peer another script.
    pub async fn set_peer(&mut self, name: &str, script: &str) -> Result<(), String> {
        let at = self.peers.iter().position(|(part, _)| part.name == name || part.address.to_string() == name);
        let Some(at) = at else { return Err(format!("no peer is called {name}")) };
        let script = self.script(script, self.peers[at].0.address)?;
        self.peers[at].1.replace(script).await.map_err(|error| format!("peer {name}: {error}"))
    }

    /// Puts another zone in place of the one so far.
    pub fn set_zone(&mut self, zone: &str) -> Result<(), String> {
        self.zone = filled(zone, &self.usual)?;
        self.dns.replace(self.zone.clone());
        Ok(())
    }

    /// Writes `gatepost.toml` and `settings.toml` for a gateway in this lab.
    pub fn write_config(&self, scenario: &Scenario, folder: &Path) -> Result<(), String> {
        let write = |name: &str, text: &str| {
            std::fs::write(folder.join(name), text).map_err(|error| format!("{}: {error}", folder.join(name).display()))
        };
        let here = |text: &str| text.replace("{folder}", &folder.display().to_string());
        for (name, text) in &scenario.files {
            write(name, text)?;
        }
        let named = |text: &String| text.contains("{folder}");
        if named(&scenario.settings) || named(&scenario.host) || scenario.env.values().any(named) {
            let authority = Authority::get()?;
            let (ec, rsa) = (authority.issue("gw.corp.test", false)?, authority.issue("gw.corp.test", true)?);
            write("ca.pem", authority.certificate())?;
            write("gateway.pem", &ec.certificate)?;
            write("gateway.key", &ec.key)?;
            write("gateway-rsa.pem", &rsa.certificate)?;
            write("gateway-rsa.key", &rsa.key)?;
        }
        write("gatepost.toml", &config::host(&here(&scenario.host))?.to_string())?;
        let mut settings = config::settings(&here(&scenario.settings), self.dns.address());
        if !scenario.hosts.is_empty() {
            settings = config::with_hosts(&settings, &folder.join("hosts"));
        }
        write("settings.toml", &settings)
    }

    /// A peer is called as the zone calls its address.
    fn script(&self, text: &str, address: SocketAddr) -> Result<Script, String> {
        let script: Script = text.parse().map_err(|complaint| format!("script of {address}: {complaint}"))?;
        Ok(self.zone.name_of(address.ip()).map_or(script.clone(), |name| script.named(name)))
    }
}

fn filled(zone: &str, usual: &Zone) -> Result<Zone, String> {
    let mut zone: Zone = zone.parse().map_err(|complaint| format!("zone, {complaint}"))?;
    zone.fill(usual.clone());
    Ok(zone)
}

/// Clients, peers and the gateway have names that lead to their addresses and back, unless the zone speaks of them.
fn usual(scenario: &Scenario) -> Result<Zone, String> {
    let zone: Zone = scenario.zone.parse().map_err(|complaint| format!("zone, {complaint}"))?;
    let gateway = (IpAddr::from([127, 0, 0, 2]), "gw.corp.test".to_owned());
    // A greeting need not be a name at all ("[127.0.1.10]", "localhost"): then only the usual name leads back.
    let named = |(source, helo): (IpAddr, String)| {
        let name = if helo.contains('.') && !helo.starts_with('[') { helo } else { client_name(source) };
        (source, name)
    };
    let clients = scenario.steps.iter().filter_map(super::Step::client).map(named);
    let peers = scenario.peers.iter().map(|peer| {
        let address = peer.address.ip();
        (address, zone.name_of(address).map_or_else(|| name_for(address), str::to_owned))
    });
    let mut usual = Zone::default();
    for (address, name) in std::iter::once(gateway).chain(clients).chain(peers) {
        let kind = if address.is_ipv4() { "A" } else { "AAAA" };
        for line in [format!("{name} {kind} {address}"), format!("{} PTR {name}", reverse(address))] {
            // A name that no zone could hold is simply not listed: greeting with it may be what the scenario is about.
            if let Ok(line) = line.parse() {
                usual.fill(line);
            }
        }
    }
    Ok(usual)
}

/// RFC 1035 3.5 and RFC 3596 2.5.
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().flat_map(|byte| [byte >> 4, byte & 15]).rev();
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_reversed() {
        assert_eq!(reverse("127.0.1.10".parse().unwrap()), "10.1.0.127.in-addr.arpa");
        assert_eq!(reverse("::1".parse().unwrap()), format!("1.{}ip6.arpa", "0.".repeat(31)));
    }

    #[test]
    fn clients_have_names_unless_the_zone_speaks_of_them() {
        let scenario = |zone: &str| {
            let text =
                format!("zone = \"{zone}\"\n[[step]]\nsend = {{ to = \"a@corp.test\", helo = \"out.big.test\" }}");
            let scenario = Scenario::parse(&text).unwrap();
            filled(&scenario.zone, &usual(&scenario).unwrap()).unwrap()
        };
        assert!(scenario("").lists("10.1.0.127.in-addr.arpa"));
        assert_eq!(scenario("").name_of("127.0.1.10".parse().unwrap()), Some("out.big.test"));
        let peer = "[[peer]]\naddress = \"127.0.0.20:2525\"";
        let zone = usual(&Scenario::parse(peer).unwrap()).unwrap();
        assert_eq!(zone.name_of("127.0.0.20".parse().unwrap()), Some("peer-127-0-0-20.test"));
        assert!(zone.lists("20.0.0.127.in-addr.arpa"));
        assert_eq!(scenario("out.big.test TXT x").name_of("127.0.1.10".parse().unwrap()), None);
    }
}
