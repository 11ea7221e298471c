//! Attempt: one try to deliver, as a record complete in itself, from which findings are made.

use crate::{Reply, Stage, Status, Time, dns};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// Whose doing a failure is, as far as the failure alone can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Culprit {
    /// Our settings, disk or network.
    Us,
    /// The remote host or its DNS.
    Them,
    /// Something between us, or not known.
    Path,
}

/// What went wrong, with the deed and the culprit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub stage: Stage,
    pub culprit: Culprit,
    pub status: Status,
    /// The final dot was sent and no reply came: the peer may have the message.
    #[serde(default)]
    pub maybe_delivered: bool,
}

impl Failure {
    /// A failure whose status is already known.
    pub fn new(stage: Stage, culprit: Culprit, status: Status) -> Failure {
        Failure { stage, culprit, status, maybe_delivered: false }
    }

    /// What a remote host answered at a stage.
    pub fn remote(stage: Stage, host: &str, reply: &Reply) -> Failure {
        Failure::new(stage, Culprit::Them, Status::remote(host, reply))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.status, self.stage)
    }
}

/// Who said a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    Client,
    Server,
    /// Not a line: an event such as `TLS started`.
    Note,
}

/// One line of a conversation. Credentials are redacted and content is only counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    pub at: Time,
    pub speaker: Speaker,
    pub text: String,
}

/// What TLS came to in a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsUse {
    /// `TLSv1.3`.
    pub version: String,
    /// `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// What verifying the certificate would have said; opportunistic TLS goes on regardless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unverified: Option<String>,
}

/// One host (address and port) tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostTry {
    pub host: String,
    pub address: IpAddr,
    pub port: u16,
    pub started: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    #[serde(default)]
    pub ehlo: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsUse>,
    /// Extensions that the peer's EHLO reply listed.
    #[serde(default)]
    pub capabilities: Vec<String>,
    #[serde(default)]
    pub transcript: Vec<Said>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// One attempt of one delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub number: u32,
    pub started: Time,
    pub ended: Time,
    pub settings_version: i64,
    /// The routing rule that applied, in words.
    pub rule: String,
    pub dns: Vec<dns::Answer>,
    /// Hosts that were left out, with the reason.
    pub dropped: Vec<String>,
    pub tries: Vec<HostTry>,
}
