//! A scenario: DNS, peers and settings around the real gateway, and what must happen, in one TOML file.

mod account;
mod config;
mod delivery;
mod evidence;
mod finding;
mod gateway;
mod lab;
mod outcome;
mod program;
mod queue;
mod runner;
mod score;
mod sending;
mod step;
mod wording;

use std::{net::SocketAddr, path::Path};

use serde::Deserialize;

pub use finding::Finding;
pub use lab::Lab;
pub use outcome::{Failure, Outcome};
pub use program::Program;
pub use runner::{run, run_through};
pub use score::{Mark, Score, Table};
pub use step::Step;

use crate::{Span, dns::Zone, peer::Script};

/// Where the scripted DNS listens unless the scenario says otherwise.
const DNS: &str = "127.0.0.53:5300";
/// A scenario that takes longer has failed.
const LIMIT: Span = Span::seconds(180);

/// A scenario as its file says it. See `docs/book/scenarios.md`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The name of the file without its ending, unless it is given.
    #[serde(default)]
    pub name: String,
    /// What it is about, for the reader.
    #[serde(default)]
    pub about: String,
    /// The failure that it plays, by a stable name.
    #[serde(default)]
    pub id: String,
    /// For the table of scores: `dns`, `tls`, …
    #[serde(default)]
    pub group: String,
    /// The id of the right finding.
    #[serde(default)]
    pub cause: String,
    /// Nothing is wrong in it: a finding would be a false alarm. Counts double.
    #[serde(default)]
    pub false_alarm: bool,
    /// Where the scripted DNS listens.
    #[serde(default = "dns_default")]
    pub dns: SocketAddr,
    #[serde(default)]
    pub zone: String,
    #[serde(default, rename = "peer")]
    pub peers: Vec<PeerPart>,
    /// Further DNS servers.
    #[serde(default, rename = "view")]
    pub views: Vec<ViewPart>,
    #[serde(default, rename = "proxy")]
    pub proxies: Vec<ProxyPart>,
    /// Environment variables of the gateway.
    #[serde(default)]
    pub env: std::collections::BTreeMap<String, String>,
    /// The gateway may start without being well: `/healthz` need not say 200.
    #[serde(default)]
    pub unwell: bool,
    /// A hosts file for the gateway.
    #[serde(default)]
    pub hosts: String,
    /// Files written beside the gateway's configuration, by name.
    #[serde(default)]
    pub files: std::collections::BTreeMap<String, String>,
    /// Goes over the `gatepost.toml` that the runner makes.
    #[serde(default)]
    pub host: String,
    /// The gateway's settings, a TOML document.
    #[serde(default)]
    pub settings: String,
    /// The longest that it may take.
    #[serde(default = "limit_default")]
    pub limit: Span,
    #[serde(default, rename = "step")]
    pub steps: Vec<Step>,
}

/// A scripted SMTP server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerPart {
    /// How steps call it; its address, unless it is given.
    #[serde(default)]
    pub name: String,
    pub address: SocketAddr,
    #[serde(default)]
    pub script: String,
}

/// Another DNS server: a public view beside an internal one, a domain's own name server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewPart {
    pub address: SocketAddr,
    #[serde(default)]
    pub zone: String,
}

/// A TCP forwarder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyPart {
    pub address: SocketAddr,
    pub to: SocketAddr,
    pub source: Option<std::net::IpAddr>,
    /// Octets a second.
    #[serde(default)]
    pub rate: usize,
    #[serde(default = "no_time")]
    pub delay: Span,
    #[serde(default)]
    pub swallow_over: usize,
}

fn no_time() -> Span {
    Span::seconds(0)
}

fn dns_default() -> SocketAddr {
    DNS.parse().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 53], 5300)))
}

fn limit_default() -> Span {
    LIMIT
}

impl Scenario {
    /// Reads and checks a file: its keys, its zone, its scripts, and that steps name peers that exist.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut scenario = Self::parse(&text).map_err(|what| format!("{}: {what}", path.display()))?;
        if scenario.name.is_empty() {
            scenario.name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        }
        Ok(scenario)
    }

    /// Like [`Self::read`], from text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut scenario: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if !scenario.hosts.is_empty() {
            scenario.files.insert("hosts".to_owned(), scenario.hosts.clone());
        }
        for step in &mut scenario.steps {
            if let Step::ExpectFinding(step) = step
                && step.cause.all().is_empty()
            {
                step.cause = step::OneOrMany::One(scenario.cause.clone());
            }
        }
        for peer in &mut scenario.peers {
            if peer.name.is_empty() {
                peer.name = peer.address.to_string();
            }
        }
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), String> {
        self.zone.parse::<Zone>().map_err(|complaint| format!("zone, {complaint}"))?;
        for view in &self.views {
            view.zone.parse::<Zone>().map_err(|complaint| format!("view {}, {complaint}", view.address))?;
        }
        for peer in &self.peers {
            peer.script.parse::<Script>().map_err(|complaint| format!("script of {}, {complaint}", peer.name))?;
        }
        config::check(&self.host).map_err(|what| format!("host: {what}"))?;
        for (at, step) in self.steps.iter().enumerate() {
            step.check(&self.peers).map_err(|what| format!("step {} ({}): {what}", at + 1, step.word()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_checked_before_it_runs() {
        let wrong = |text: &str| Scenario::parse(text).unwrap_err();
        assert!(wrong("zone = \"a.test A\"").contains("zone, line 1"));
        assert!(
            wrong("[[peer]]\naddress = \"127.0.0.11:2525\"\nscript = \"rcpt\"")
                .contains("script of 127.0.0.11:2525, line 1")
        );
        assert!(wrong("[[step]]\nwait_delivered = { peer = \"p9\" }").contains("no peer is called p9"));
        assert!(wrong("[[step]]\nfly = {}").contains("fly"));
        assert!(wrong("[[step]]\nsleep = \"2h\"").contains("sleep"));
        assert!(wrong("colour = 1").contains("colour"));
        assert!(wrong("host = \"data = \"").contains("host: "));
    }
}
