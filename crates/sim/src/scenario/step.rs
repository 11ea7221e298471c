//! The steps of a scenario: what is done, and what is waited for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Deserialize;

use super::PeerPart;
use crate::{Span, dns::Zone, peer::Script};

/// No step waits longer than this for one thing.
const WITHIN_MAX: Span = Span::seconds(150);
/// A sleep is a guess: a long one hides a missing `wait_…`.
const SLEEP_MAX: Span = Span::seconds(30);

/// One `[[step]]`. Each has exactly one of these words.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Send(Send),
    Talk(Talk),
    WaitDelivered(WaitDelivered),
    WaitQueue(WaitQueue),
    WaitLog(WaitLog),
    ExpectBounce(ExpectBounce),
    ExpectCopies(ExpectCopies),
    ExpectFinding(ExpectFinding),
    ExpectConnections(ExpectConnections),
    ExpectQuestions(ExpectQuestions),
    Run(Run),
    SetZone(SetZone),
    SetPeer(SetPeer),
    Restart(Nothing),
    Kill(Nothing),
    Sleep(Span),
}

/// `{}`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Sends a message to the gateway.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    #[serde(default)]
    pub from: String,
    pub to: OneOrMany,
    #[serde(default = "source_default")]
    pub source: IpAddr,
    /// `inbound`, `outbound`, `submission` or an ADDRESS:PORT.
    #[serde(default = "listener_default")]
    pub listener: String,
    pub helo: Option<String>,
    pub content: Option<String>,
    /// The content is filled up to about this many bytes.
    #[serde(default)]
    pub size: usize,
    /// So many messages, one after the other in one session.
    #[serde(default = "one")]
    pub times: usize,
    /// What the last reply begins with.
    #[serde(default = "accepted")]
    pub expect: String,
    #[serde(default)]
    pub expect_contains: OneOrMany,
}

/// A conversation line by line.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Talk {
    #[serde(default = "source_default")]
    pub source: IpAddr,
    #[serde(default = "listener_default")]
    pub listener: String,
    /// `C: line` is said, `S: 250` is the beginning of the reply that must come, `S: close` the end of the connection.
    pub lines: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitDelivered {
    /// All peers together, unless it is given.
    pub peer: Option<String>,
    /// Counts only messages to this address.
    pub recipient: Option<String>,
    #[serde(default = "one")]
    pub count: usize,
    /// What the last of these messages must contain.
    #[serde(default)]
    pub contains: OneOrMany,
    #[serde(default)]
    pub lacks: OneOrMany,
    #[serde(default = "within_default")]
    pub within: Span,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitQueue {
    pub recipient: String,
    /// `queued`, `held` or `gone`.
    pub state: Option<String>,
    #[serde(default)]
    pub status_contains: OneOrMany,
    #[serde(default)]
    pub status_lacks: OneOrMany,
    /// At least so many.
    #[serde(default)]
    pub attempts: u64,
    #[serde(default = "within_default")]
    pub within: Span,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitLog {
    /// Words that must stand in one line of the log.
    pub contains: OneOrMany,
    #[serde(default = "within_default")]
    pub within: Span,
}

/// A message with the null sender.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectBounce {
    pub to: String,
    pub peer: Option<String>,
    #[serde(default)]
    pub contains: OneOrMany,
    #[serde(default)]
    pub lacks: OneOrMany,
    #[serde(default = "within_default")]
    pub within: Span,
}

/// Exactly so many copies, no more and no fewer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectCopies {
    pub recipient: String,
    pub copies: usize,
    pub peer: Option<String>,
    #[serde(default = "within_default")]
    pub within: Span,
    /// How long to watch for one copy too many.
    #[serde(default = "settle_default")]
    pub settle: Span,
}

/// What the gateway says about a message that it could not deliver.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectFinding {
    pub recipient: String,
    /// The id of the first finding: `peer.greylist`.
    pub cause: String,
    #[serde(default)]
    pub sentence_contains: OneOrMany,
    /// The naive answer, which must not be given.
    #[serde(default)]
    pub not_contains: OneOrMany,
    /// `queued`, `held` or `gone`.
    pub state: Option<String>,
    /// Copies that peers have got, exactly.
    pub copies: Option<usize>,
    #[serde(default = "within_default")]
    pub within: Span,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectConnections {
    pub peer: String,
    #[serde(default)]
    pub at_least: usize,
    pub at_most: Option<usize>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectQuestions {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub at_least: usize,
    pub at_most: Option<usize>,
}

/// The gateway's command line. `{id}` in an argument is the Audit ID of the last message sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    pub args: Vec<String>,
    #[serde(default)]
    pub expect_exit: i32,
    #[serde(default)]
    pub stdout_contains: OneOrMany,
    #[serde(default)]
    pub stdout_lacks: OneOrMany,
    #[serde(default)]
    pub stderr_contains: OneOrMany,
    #[serde(default = "within_default")]
    pub within: Span,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetZone {
    pub zone: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPeer {
    pub peer: String,
    #[serde(default)]
    pub script: String,
}

/// One text or a list of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub fn all(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Step {
    /// The word that the file has for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Send(_) => "send",
            Self::Talk(_) => "talk",
            Self::WaitDelivered(_) => "wait_delivered",
            Self::WaitQueue(_) => "wait_queue",
            Self::WaitLog(_) => "wait_log",
            Self::ExpectBounce(_) => "expect_bounce",
            Self::ExpectCopies(_) => "expect_copies",
            Self::ExpectFinding(_) => "expect_finding",
            Self::ExpectConnections(_) => "expect_connections",
            Self::ExpectQuestions(_) => "expect_questions",
            Self::Run(_) => "run",
            Self::SetZone(_) => "set_zone",
            Self::SetPeer(_) => "set_peer",
            Self::Restart(_) => "restart",
            Self::Kill(_) => "kill",
            Self::Sleep(_) => "sleep",
        }
    }

    /// The source address that a client of this step speaks from, and the name it gives.
    pub(super) fn client(&self) -> Option<(IpAddr, String)> {
        match self {
            Self::Send(step) => Some((step.source, step.helo.clone().unwrap_or_else(|| client_name(step.source)))),
            Self::Talk(step) => Some((step.source, client_name(step.source))),
            _ => None,
        }
    }

    pub(super) fn check(&self, peers: &[PeerPart]) -> Result<(), String> {
        let known = |name: &str| {
            let known = peers.iter().any(|peer| peer.name == name || peer.address.to_string() == name);
            if known { Ok(()) } else { Err(format!("no peer is called {name}")) }
        };
        let bounded = |within: Span| {
            if within <= WITHIN_MAX { Ok(()) } else { Err(format!("within {within}: at most {WITHIN_MAX}")) }
        };
        let state = |state: &Option<String>| match state.as_deref() {
            None | Some("queued" | "held" | "gone") => Ok(()),
            Some(other) => Err(format!("state \"{other}\" is none of queued, held, gone")),
        };
        match self {
            Self::Send(step) => listener(&step.listener),
            Self::Talk(step) => listener(&step.listener).and_then(|()| talk(&step.lines)),
            Self::WaitDelivered(step) => step.peer.as_deref().map_or(Ok(()), known).and(bounded(step.within)),
            Self::WaitQueue(step) => state(&step.state).and(bounded(step.within)),
            Self::WaitLog(step) => bounded(step.within),
            Self::ExpectBounce(step) => step.peer.as_deref().map_or(Ok(()), known).and(bounded(step.within)),
            Self::ExpectCopies(step) => {
                step.peer.as_deref().map_or(Ok(()), known).and(bounded(step.within)).and(bounded(step.settle))
            }
            Self::ExpectFinding(step) => state(&step.state).and(bounded(step.within)),
            Self::ExpectConnections(step) => known(&step.peer),
            Self::Run(step) => bounded(step.within),
            Self::SetZone(step) => step.zone.parse::<Zone>().map(drop).map_err(|complaint| complaint.to_string()),
            Self::SetPeer(step) => {
                known(&step.peer)?;
                step.script.parse::<Script>().map(drop).map_err(|complaint| complaint.to_string())
            }
            Self::Sleep(span) if *span > SLEEP_MAX => {
                Err(format!("a sleep is at most {SLEEP_MAX}: wait for something instead"))
            }
            Self::ExpectQuestions(_) | Self::Restart(_) | Self::Kill(_) | Self::Sleep(_) => Ok(()),
        }
    }
}

fn listener(name: &str) -> Result<(), String> {
    let known = matches!(name, "inbound" | "outbound" | "submission") || name.parse::<SocketAddr>().is_ok();
    if known {
        Ok(())
    } else {
        Err(format!("listener \"{name}\" is none of inbound, outbound, submission or an ADDRESS:PORT"))
    }
}

fn talk(lines: &[String]) -> Result<(), String> {
    match lines.iter().find(|line| !line.starts_with("C: ") && !line.starts_with("S: ")) {
        Some(line) => Err(format!("\"{line}\" begins neither with \"C: \" nor with \"S: \"")),
        None => Ok(()),
    }
}

/// `client-127-0-1-10.test`
pub(super) fn client_name(source: IpAddr) -> String {
    format!("client-{}.test", source.to_string().replace(['.', ':'], "-"))
}

fn source_default() -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 1, 10))
}

fn listener_default() -> String {
    "inbound".to_owned()
}

fn accepted() -> String {
    "250".to_owned()
}

fn one() -> usize {
    1
}

fn within_default() -> Span {
    Span::seconds(15)
}

fn settle_default() -> Span {
    Span::seconds(1)
}
