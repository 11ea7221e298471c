//! Experiment: one more look at the world, asked for by a rule, made by the gateway. Never DATA.

use mail::dns::{Answer, Question};
use mail::{HostTry, Time, TlsHello};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// How to put a question to DNS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// As deliveries do.
    #[default]
    Usual,
    /// CD=1: do not validate (RFC 4035 3.2.2). For explanation only, never for delivery.
    CheckingDisabled,
    /// Without an OPT record.
    NoEdns,
    /// EDNS with a buffer of 4096 octets and DO=1.
    BigEdns,
    /// EDNS with a buffer of 1232 octets and DO=1.
    SmallEdns,
    OverTcp,
    /// Each authoritative server of the zone is asked without recursion; the first answer counts.
    Authoritative,
    /// This server, instead of the usual ones: another view of the world.
    At(SocketAddr),
    /// The hosts file of this machine alone.
    HostsFile,
    /// As deliveries do, but past the hosts file and past the cache.
    DnsOnly,
}

/// What to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Experiment {
    Ask {
        question: Question,
        how: How,
    },
    /// A TCP connection, closed at once.
    Connect {
        address: SocketAddr,
    },
    /// The start of an SMTP conversation, as far as asked, then QUIT.
    Greet {
        address: SocketAddr,
        /// Name of the peer, for its certificate and for the record.
        host: String,
        /// From this address instead of the usual one.
        source: Option<IpAddr>,
        /// With this name instead of the usual one.
        ehlo: Option<String>,
        /// STARTTLS if it is offered.
        tls: bool,
        /// MAIL FROM this (empty: the null sender), then RSET or RCPT.
        sender: Option<String>,
        /// RCPT TO this; needs a sender.
        recipient: Option<String>,
    },
    /// A TLS ClientHello as the first octets, as on port 465.
    TlsFirst {
        address: SocketAddr,
        host: String,
    },
}

impl Experiment {
    /// A question put as deliveries put it.
    pub fn ask(question: Question) -> Experiment {
        Experiment::Ask { question, how: How::Usual }
    }

    /// Whether it is a question put in the usual way.
    pub fn is_usual(&self) -> bool {
        matches!(self, Experiment::Ask { how: How::Usual, .. })
    }

    /// Where it connects to, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Experiment::Ask { .. } => None,
            Experiment::Connect { address }
            | Experiment::Greet { address, .. }
            | Experiment::TlsFirst { address, .. } => Some(*address),
        }
    }
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Result {
    Answer(Answer),
    /// Of Connect and Greet: how far it came. A Connect has no transcript.
    Talk(Box<HostTry>),
    Tls(Box<TlsHello>),
    /// The budget is spent, or the settings forbid it.
    NotMade(String),
}

/// An experiment that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    pub experiment: Experiment,
    pub at: Time,
    pub result: Result,
}
