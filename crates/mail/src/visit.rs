//! Visit: one client's connection to a listener, as a record from which findings are made.

use crate::{Address, AuditId, Listener, RcptSaid, Reply, Said, SpfCheck, Stage, Time, TlsHello, TlsUse, Via, dns};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// How a connection ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// It still lives, or went to another message.
    #[default]
    Open,
    /// QUIT was said and answered.
    Quit,
    /// We closed.
    Ours,
    /// The other side closed without QUIT.
    Closed,
    /// RST, or another error of the socket.
    Broken(String),
    /// The other side was silent for so long.
    TimedOut { waited_ms: u64 },
}

/// Whether the octets, from a first NUL on, look like UTF-16: nearly every second one is NUL, and no other. Some pairs are
/// needed to be sure; 32 octets are enough.
pub fn looks_like_utf16(octets: &[u8]) -> bool {
    const PAIRS_MIN: usize = 4;
    let pairs = octets.chunks_exact(2);
    let all = pairs.len();
    let fitting = pairs.filter(|pair| pair[0] == 0 && pair[1] != 0).count();
    all >= PAIRS_MIN && fitting * 4 >= all * 3
}

/// What is wrong with content that came in. Octets are counted from 0, at the start of the content as it would be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    BareCarriageReturn {
        line: u64,
        octet: u64,
    },
    BareLineFeed {
        line: u64,
        octet: u64,
    },
    /// `utf16`: what follows looks like UTF-16.
    Nul {
        line: u64,
        octet: u64,
        #[serde(default)]
        utf16: bool,
    },
    /// `octets`: the whole line, CRLF included; `line_max` likewise.
    LongLine {
        line: u64,
        octets: u64,
        line_max: u64,
    },
    /// `size`: as declared at MAIL, or as it came.
    TooLarge {
        size: u64,
        size_max: u64,
    },
}

/// Something that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub at: Time,
    pub stage: Stage,
    pub reply: Reply,
    /// The check or the status kind that refused, such as `relaying-denied`; empty if the protocol did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// The command as it came, without credentials.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// Of refused content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// One transaction of a visit: MAIL to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deal {
    /// Empty for the null sender.
    pub sender: String,
    /// Recipients that were accepted, at most a hundred.
    pub accepted: Vec<String>,
    /// Those that were refused, at most twenty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RcptSaid>,
    /// Reached DATA or BDAT.
    pub content: bool,
    /// Was answered 250 after its content.
    pub taken: bool,
    /// Octets of content.
    pub size: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message_id: String,
    /// Milliseconds from the end of the content to our answer.
    #[serde(default)]
    pub answer_ms: u64,
    /// The client had gone before our answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unanswered: bool,
    /// What SPF says of the sender, if it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spf: Option<Box<SpfCheck>>,
    /// Recipients for which greylisting was asked, and did not let the client pass as one long known; at most twenty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub greylist: Vec<Greylisted>,
}

/// What greylisting said of one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greylisted {
    pub recipient: String,
    /// What the client counts as: `domain:pool.test`, `192.0.2.0/24`.
    pub origin: String,
    /// Addresses from which mail of this sender came for this recipient within hours of its first deferral, in order, with this
    /// client's.
    pub addresses: Vec<IpAddr>,
    /// Seconds that it must still wait; absent: it passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_s: Option<u64>,
}

/// Why new mail could not be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    pub folder: String,
    /// Octets free, to stay free, and the largest message that may come.
    pub free: u64,
    pub reserve: u64,
    pub message_size: u64,
    /// Octets of the whole disk, and files that may still be made, if they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// The error of the system, if there was one: `No space left on device (os error 28)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One host that this gateway handed a message to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    pub message: AuditId,
    pub at: Time,
    pub host: String,
    pub address: IpAddr,
    pub port: u16,
    pub via: Via,
    /// The routing rule, in words.
    pub rule: String,
    /// As handed over, aliases replaced; at most twenty.
    pub recipients: Vec<String>,
    /// Better hosts that failed before it, each with its failure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_before: Vec<String>,
    /// It came back later.
    #[serde(default)]
    pub returned: bool,
}

/// A message that came back: it bears this gateway's own trace for the recipient that it comes for again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Return {
    /// As given now.
    pub recipient: String,
    /// What is known of the pass before: its Audit ID, when and by which listener it came in, how many passes it was.
    pub before: AuditId,
    pub taken: Time,
    pub listener: Listener,
    pub pass: u8,
    /// When it came back.
    pub at: Time,
    /// Where it went then, for this recipient. Empty: another Scanner's doing, or this one was started since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<Carried>,
    /// Where it went in passes before and after that one, oldest first: a ring of several addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_passes: Vec<Carried>,
    /// Delivered-To, X-Original-To and their like, newest first, at most twenty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delivered_to: Vec<String>,
    /// Hosts that the Received fields above our own name as `by`, newest first, at most twenty; each as
    /// `name (from helo [address])`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub between: Vec<String>,
    /// Recipients of the same domain that the same host took lately and that did not come back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stayed: Vec<String>,
    /// Other domains whose mail the same host took lately and did not return.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stayed_domains: Vec<String>,
}

/// Where this gateway dialled and met itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reflected {
    pub host: String,
    pub address: IpAddr,
    pub port: u16,
    /// The domain whose mail it had.
    pub domain: String,
}

/// What a DNS block list says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListWord {
    /// It does not hold the client.
    #[default]
    Clean,
    Listed,
    /// It answers with a code that is an error, not a listing (127.255.255.0/24), or with no code of a list at all.
    Error,
    /// The lookup failed.
    NoAnswer,
    /// It was not asked, because it fails.
    Skipped,
}

/// What a DNS block list said of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listing {
    pub zone: String,
    pub word: ListWord,
    pub codes: Vec<IpAddr>,
    pub elapsed_ms: u32,
    /// This failure and those before it, without an answer between.
    pub failed_in_a_row: u32,
    /// From now on it is left out for so long, in seconds.
    pub skipped_s: u32,
}

/// Whether a server knows a recipient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    Yes,
    No,
    #[default]
    Undecided,
}

/// A recipient that the server behind was asked about during the session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verified {
    pub recipient: String,
    pub host: String,
    pub address: Option<IpAddr>,
    pub known: Known,
    pub reply: Option<Reply>,
    /// Asked for an earlier message.
    pub cached: bool,
}

impl Verified {
    /// Nobody was asked yet.
    pub fn of(recipient: &Address) -> Verified {
        Verified { recipient: recipient.to_string(), ..Verified::default() }
    }
}

/// What a content scanner says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScanWord {
    #[default]
    Clean,
    Found,
    /// It could not be asked.
    Failed,
}

/// A message's content was handed to the scanner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scan {
    /// `host:port`.
    pub address: String,
    pub word: ScanWord,
    /// What was found, or why it could not be asked.
    pub detail: String,
    pub ms: u64,
    /// It fails since then.
    pub since: Option<Time>,
    /// The message was taken though it was not scanned.
    pub unscanned: bool,
    /// The client went away after so many milliseconds, before the scanner had answered.
    pub gone_ms: Option<u64>,
}

/// One client's connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    pub listener: Listener,
    /// Our end.
    pub local: SocketAddr,
    /// The client, as PROXY protocol says if it is trusted.
    pub client: IpAddr,
    /// The TCP peer, if it is another: a load balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<IpAddr>,
    /// The settings ask this TCP peer for a PROXY protocol header.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_awaited: bool,
    pub started: Time,
    pub ended: Time,
    #[serde(default)]
    pub helo: String,
    #[serde(default)]
    pub extended: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsUse>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_hello: Option<TlsHello>,
    /// When the greeting left, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greeted: Option<Time>,
    /// What came before the greeting; at most 256 octets, lossless as text where it is text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub early: Vec<u8>,
    /// The first octets of all, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<u8>,
    /// Reads that brought exactly one octet, and reads in all, before TLS and content.
    #[serde(default)]
    pub single_octet_reads: u32,
    #[serde(default)]
    pub reads: u32,
    /// DNS questions put because of this client.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<dns::Answer>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
    /// The last ones, at most twenty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deals: Vec<Deal>,
    /// Messages that came back to this gateway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub returns: Vec<Return>,
    /// The client was this gateway itself, whose connection to this place ended here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reflected: Option<Reflected>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<Listing>,
    /// Of the last message that was scanned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan: Option<Scan>,
    /// At most twenty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verified: Vec<Verified>,
    /// Transactions in all, and messages taken.
    #[serde(default)]
    pub transactions: u32,
    #[serde(default)]
    pub taken: u32,
    /// Command lines said.
    #[serde(default)]
    pub commands: u32,
    #[serde(default)]
    pub transcript: Vec<Said>,
    #[serde(default)]
    pub end: End,
}

impl Visit {
    /// Nothing has been said yet.
    pub fn new(listener: Listener, local: SocketAddr, client: IpAddr, started: Time) -> Visit {
        Visit {
            listener,
            local,
            client,
            proxy: None,
            proxy_awaited: false,
            started,
            ended: started,
            helo: String::new(),
            extended: false,
            user: None,
            tls: None,
            tls_hello: None,
            greeted: None,
            early: Vec::new(),
            first: Vec::new(),
            single_octet_reads: 0,
            reads: 0,
            dns: Vec::new(),
            refusals: Vec::new(),
            deals: Vec::new(),
            returns: Vec::new(),
            reflected: None,
            storage: None,
            lists: Vec::new(),
            scan: None,
            verified: Vec::new(),
            transactions: 0,
            taken: 0,
            commands: 0,
            transcript: Vec::new(),
            end: End::Open,
        }
    }

    /// The last refusal of this kind.
    pub fn refused(&self, why: &str) -> Option<&Refusal> {
        self.refusals.iter().rev().find(|refusal| refusal.why == why)
    }

    /// Milliseconds that it lasted.
    pub fn lasted_ms(&self) -> u64 {
        u64::try_from(self.ended.ms() - self.started.ms()).unwrap_or(0)
    }
}
