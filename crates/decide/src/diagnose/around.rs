//! Around: what else happened at this gateway lately, so that a failure can be told from a general one.

use mail::dns::Trouble;
use mail::{Connect, End, Reply, Stage, Time};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One host tried lately, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub at: Time,
    /// The recipients' domain.
    pub domain: String,
    pub host: String,
    pub address: IpAddr,
    pub port: u16,
    pub source: Option<IpAddr>,
    /// A next hop of the settings, not found by DNS.
    pub configured: bool,
    pub connect: Connect,
    pub banner: Option<String>,
    /// The name the peer calls itself by in its EHLO answer.
    pub name: Option<String>,
    pub capabilities: Vec<String>,
    pub delivered: bool,
    /// Where it failed, if it did, and the peer's words, if it said some.
    pub stage: Option<Stage>,
    pub reply: Option<Reply>,
    pub sender: String,
    pub size: u64,
    /// Octets of content that left, and milliseconds that the content took.
    pub content_sent: u64,
    pub content_ms: u64,
    /// The slowest answer to a command, in milliseconds.
    pub slowest_ms: u64,
    pub fingerprint: Option<String>,
    pub end: End,
    /// The time that the peer's own words show (banner), if they do.
    pub their_clock: Option<Time>,
}

/// One client's visit lately, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub started: Time,
    pub ended: Time,
    pub client: IpAddr,
    pub helo: String,
    /// Domain of the last MAIL FROM.
    pub sender_domain: String,
    /// Commands said.
    pub commands: u32,
    pub greeted: Option<Time>,
    pub refused: Option<Reply>,
    /// Messages taken.
    pub taken: u32,
    pub end: End,
    /// SMTP commands came as whole lines.
    pub whole_lines: bool,
    /// It logged in.
    #[serde(default)]
    pub authenticated: bool,
}

/// One message that came or went lately, in short: for loops and double copies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub at: Time,
    /// In: from this client. Out: to this peer.
    pub peer: IpAddr,
    pub incoming: bool,
    pub message_id: String,
    pub in_reply_to: String,
    pub sender: String,
    pub recipients: Vec<String>,
    pub auto_submitted: bool,
    pub size: u64,
}

/// What happened within the last hour, oldest first, bounded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Around {
    pub started: Option<Time>,
    pub seen: Vec<Seen>,
    pub calls: Vec<Call>,
    pub sent: Vec<Sent>,
    /// DNS: questions answered and failed since the start, by server (`address:port`).
    pub resolvers: Vec<Resolver>,
}

/// How a DNS server has served us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    pub server: String,
    pub answered: u64,
    pub failed: u64,
    pub failed_in_a_row: u64,
    pub last_failure: String,
    /// Questions since its last word of any kind, SERVFAIL included, that it left without any.
    #[serde(default)]
    pub silent_in_a_row: u64,
    /// What was wrong the last time.
    #[serde(default)]
    pub last_trouble: Option<Trouble>,
    /// Of the failures in a row: the names asked for, their last two labels, each once, at most eight.
    #[serde(default)]
    pub names_in_a_row: Vec<String>,
}

/// Whose host this is, as far as its name tells: the last two labels, or three below a registry such as co.uk. Hosts of one
/// organisation fail together; what hosts of several show together lies on our side.
pub fn organisation(host: &str) -> &str {
    if host.parse::<IpAddr>().is_ok() {
        return host;
    }
    let labels: Vec<&str> = host.trim_end_matches('.').split('.').collect();
    let registry =
        matches!(labels.as_slice(), [.., second, top] if labels.len() > 2 && top.len() == 2 && second.len() <= 3);
    let wanted = if registry { 3 } else { 2 };
    let length: usize = labels.iter().rev().take(wanted).map(|label| label.len() + 1).sum();
    let host = host.trim_end_matches('.');
    host.get(host.len().saturating_sub(length.saturating_sub(1))..).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::organisation;

    #[test]
    fn an_organisation_is_the_end_of_a_name() {
        for (host, expected) in [
            ("mx1.dest.test", "dest.test"),
            ("a.mx.dest.co.uk.", "dest.co.uk"),
            ("dest.de", "dest.de"),
            ("mx.ab.de", "mx.ab.de"),
            ("localhost", "localhost"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(organisation(host), expected);
        }
    }
}
