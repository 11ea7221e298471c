//! Envelope: who sends to whom, and what both asked for (RFC 5321 2.3.1, RFC 3461).

use crate::{Address, AuditId, ReversePath};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What the content is made of, as MAIL's BODY says (RFC 6152, RFC 3030).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    #[default]
    SevenBit,
    EightBitMime,
    BinaryMime,
}

/// RET: how much of a message a failure report returns (RFC 3461 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ret {
    Full,
    Headers,
}

/// NOTIFY: when a recipient's fate is reported (RFC 3461 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    pub success: bool,
    pub failure: bool,
    pub delay: bool,
}

impl Notify {
    /// NOTIFY=NEVER.
    pub const NEVER: Notify = Notify { success: false, failure: false, delay: false };
    /// What holds without NOTIFY: failures, and delays at our choice (RFC 3461 4.1).
    pub const DEFAULT: Notify = Notify { success: false, failure: true, delay: true };

    /// As the parameter's value is written: `NEVER`, or a list such as `SUCCESS,FAILURE`.
    pub fn keyword(&self) -> String {
        let words = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let said: Vec<&str> = words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
        if said.is_empty() { "NEVER".to_owned() } else { said.join(",") }
    }
}

/// One RCPT TO.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    pub address: Address,
    /// `None`: the sender did not say; [`Notify::DEFAULT`] holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// ORCPT as given, `rfc822;user@example.test`, still in xtext (RFC 3461 4.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orcpt: Option<String>,
}

impl Recipient {
    /// A recipient for whom nothing special was asked.
    pub fn plain(address: Address) -> Recipient {
        Recipient { address, notify: None, orcpt: None }
    }
}

/// Which door the mail came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listener {
    Inbound,
    Outbound,
    Submission,
    /// Made here: bounces, delay notices, test messages.
    Internal,
}

impl Listener {
    /// The word for logs and settings.
    pub fn name(self) -> &'static str {
        match self {
            Listener::Inbound => "inbound",
            Listener::Outbound => "outbound",
            Listener::Submission => "submission",
            Listener::Internal => "internal",
        }
    }
}

/// Where a message came from: what the connection told us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub listener: Listener,
    /// Audit ID of the connection.
    pub connection: Option<AuditId>,
    pub client: Option<IpAddr>,
    pub helo: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
}

impl Origin {
    /// Of mail that the gateway makes itself.
    pub fn internal() -> Origin {
        Origin {
            listener: Listener::Internal,
            connection: None,
            client: None,
            helo: String::new(),
            user: None,
            tls: None,
        }
    }
}

/// The envelope without its recipients, who part ways in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    pub sender: ReversePath,
    #[serde(default)]
    pub body: Body,
    #[serde(default)]
    pub smtputf8: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ret: Option<Ret>,
    /// ENVID as given, still in xtext (RFC 3461 4.4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envid: Option<String>,
    pub origin: Origin,
}
