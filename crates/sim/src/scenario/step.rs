//! The steps of a scenario: what is done, and what is waited for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Deserialize;

use super::PeerPart;
use crate::{
    Span,
    dns::Zone,
    peer::{Script, unescape},
};

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
    ExpectNoAlarm(ExpectNoAlarm),
    ExpectConnections(ExpectConnections),
    ExpectQuestions(ExpectQuestions),
    Run(Run),
    SetZone(SetZone),
    SetPeer(SetPeer),
    SetSettings(SetSettings),
    Disk(Disk),
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
    /// Words after the address of MAIL: `SMTPUTF8`.
    #[serde(default)]
    pub parameters: String,
    /// `NAME PASSWORD` for AUTH PLAIN.
    pub auth: Option<String>,
    /// The content goes as it is: no dots doubled, line ends as they are.
    #[serde(default)]
    pub raw: bool,
    /// So many Received fields of as many hosts stand before the content.
    #[serde(default)]
    pub received: usize,
    /// How long to wait for the reply to the final dot, before the client goes away without it.
    pub patience: Option<Span>,
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
    /// Speak before the banner has come.
    #[serde(default)]
    pub early: bool,
    /// `C: line` is said, `S: 250` is the beginning of the reply that must come, `S: close` the end of the connection;
    /// further letters stand in `TALK`.
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

/// What the gateway says is the cause.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectFinding {
    /// About mail to this address.
    pub recipient: Option<String>,
    /// About this client, by its address.
    pub client: Option<String>,
    #[serde(default, rename = "where")]
    pub place: Place,
    /// The id of the first finding: `peer.greylist`; any of several; the scenario's `cause`, if it is left out.
    #[serde(default)]
    pub cause: OneOrMany,
    /// What the sentence must name.
    #[serde(default)]
    pub names: OneOrMany,
    #[serde(default)]
    pub sentence_contains: OneOrMany,
    /// The naive answer, which must not be given, in neither sentence nor status.
    #[serde(default)]
    pub naive: OneOrMany,
    #[serde(default)]
    pub not_contains: OneOrMany,
    /// `proven`, `likely` or `possible`.
    pub confidence: Option<String>,
    /// `failure`, `warning` or `info`.
    pub severity: Option<String>,
    /// `queued`, `held` or `gone`.
    pub state: Option<String>,
    /// Copies that peers have got, exactly.
    pub copies: Option<usize>,
    #[serde(default = "within_default")]
    pub within: Span,
}

/// Where a finding is looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The queue; else the audit trail; else the incidents: the first of them that has one.
    #[default]
    Any,
    Queue,
    Audit,
    Incidents,
    Identity,
}

/// No finding that says that something is wrong.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectNoAlarm {
    pub recipient: Option<String>,
    pub client: Option<String>,
    /// Only these causes would be alarms; any, if there are none.
    #[serde(default)]
    pub causes: OneOrMany,
    /// How long to watch.
    #[serde(default = "settle_default")]
    pub settle: Span,
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

/// Other settings from now on; the gateway is started again with them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetSettings {
    #[serde(default)]
    pub settings: String,
}

/// Can the gateway write?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disk {
    Ok,
    /// Every write that makes a file longer fails.
    Full,
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
            Self::ExpectNoAlarm(_) => "expect_no_alarm",
            Self::ExpectConnections(_) => "expect_connections",
            Self::ExpectQuestions(_) => "expect_questions",
            Self::Run(_) => "run",
            Self::SetZone(_) => "set_zone",
            Self::SetPeer(_) => "set_peer",
            Self::SetSettings(_) => "set_settings",
            Self::Disk(_) => "disk",
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

    /// Only looks: after such a step has failed, the next ones can still be judged.
    pub(super) fn looks(&self) -> bool {
        matches!(
            self,
            Self::WaitDelivered(_)
                | Self::WaitQueue(_)
                | Self::WaitLog(_)
                | Self::ExpectBounce(_)
                | Self::ExpectCopies(_)
                | Self::ExpectFinding(_)
                | Self::ExpectNoAlarm(_)
                | Self::ExpectConnections(_)
                | Self::ExpectQuestions(_)
        )
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
            Self::ExpectNoAlarm(step) => bounded(step.settle),
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
            Self::ExpectQuestions(_)
            | Self::SetSettings(_)
            | Self::Disk(_)
            | Self::Restart(_)
            | Self::Kill(_)
            | Self::Sleep(_) => Ok(()),
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

/// How the lines of a talk begin.
const TALK: [&str; 7] = ["C: ", "S: ", "B: ", "1: ", "W: ", "T: ", "X: "];

fn talk(lines: &[String]) -> Result<(), String> {
    for line in lines {
        let Some(kind) = TALK.iter().find(|kind| line.starts_with(**kind)) else {
            return Err(format!("\"{line}\" begins with none of {}", TALK.map(|kind| format!("\"{kind}\"")).join(" ")));
        };
        let said = &line[kind.len()..];
        match *kind {
            "B: " | "1: " => drop(unescape(said)?),
            "W: " => drop(said.parse::<Span>()?),
            "T: " if !matches!(said, "hello" | "starttls") => {
                return Err(format!("\"{line}\": expected T: hello or T: starttls"));
            }
            "X: " if !matches!(said, "close" | "reset") => {
                return Err(format!("\"{line}\": expected X: close or X: reset"));
            }
            _ => {}
        }
    }
    Ok(())
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
