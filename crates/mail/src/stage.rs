//! Stage: how far a conversation came.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The stages of an attempt, in their order. The same words stand in logs, statuses and pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Route,
    Dns,
    Connect,
    Banner,
    Ehlo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Body,
    FinalReply,
    Queue,
}

impl Stage {
    /// The word for people.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Route => "route",
            Stage::Dns => "DNS",
            Stage::Connect => "connect",
            Stage::Banner => "banner",
            Stage::Ehlo => "EHLO",
            Stage::StartTls => "STARTTLS",
            Stage::Auth => "AUTH",
            Stage::Mail => "MAIL FROM",
            Stage::Rcpt => "RCPT TO",
            Stage::Data => "DATA",
            Stage::Body => "BODY",
            Stage::FinalReply => "final reply",
            Stage::Queue => "queue",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
