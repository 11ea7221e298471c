//! Questions put to DNS and what came back, with all that an explanation needs later.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// The record types that the gateway asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    A,
    Aaaa,
    Mx,
    Ptr,
    Txt,
    Cname,
    Ns,
    Soa,
    Tlsa,
}

impl Kind {
    /// As written in zone files.
    pub fn name(self) -> &'static str {
        match self {
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
            Kind::Mx => "MX",
            Kind::Ptr => "PTR",
            Kind::Txt => "TXT",
            Kind::Cname => "CNAME",
            Kind::Ns => "NS",
            Kind::Soa => "SOA",
            Kind::Tlsa => "TLSA",
        }
    }
}

/// One question: a name in A-labels without the final dot, and a type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Question {
    pub name: String,
    pub kind: Kind,
}

impl Question {
    /// A question; the name is put into lower case and loses its final dot.
    pub fn new(name: &str, kind: Kind) -> Question {
        Question { name: name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase(), kind }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind.name())
    }
}

/// The data of one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Data {
    Address(IpAddr),
    Mx { preference: u16, host: String },
    Name(String),
    Text(String),
    Tlsa { usage: u8, selector: u8, matching: u8, data: Vec<u8> },
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Data::Address(address) => write!(f, "{address}"),
            Data::Mx { preference, host } => write!(f, "{preference} {}", if host.is_empty() { "." } else { host }),
            Data::Name(name) => write!(f, "{name}"),
            Data::Text(text) => write!(f, "{text:?}"),
            Data::Tlsa { usage, selector, matching, data } => {
                write!(f, "{usage} {selector} {matching} ")?;
                data.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// One record of an answer. Of a CNAME chain all links are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    pub kind: Kind,
    /// Seconds.
    pub ttl: u32,
    pub data: Data,
}

/// What a question came to. `Failed` is not `NoName`: unknown is not "no".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Records of the type asked for, possibly behind CNAMEs.
    Found,
    /// The name exists, the type does not (NODATA).
    NoData,
    /// The name does not exist (NXDOMAIN).
    NoName,
    /// SERVFAIL, REFUSED, a timeout, an answer that cannot be read: nothing is known.
    Failed(String),
}

/// An answer, complete in itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub question: Question,
    pub outcome: Outcome,
    pub records: Vec<Record>,
    /// AD bit: a validating resolver vouches for the answer.
    pub authentic: bool,
    /// Extended DNS errors (RFC 8914), as `code text`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extended_errors: Vec<String>,
    /// Which server said so, as `address:port`; empty if none did.
    pub server: String,
    /// How long it took; 0 when it came out of the cache.
    pub elapsed_ms: u32,
    pub cached: bool,
}

impl Answer {
    /// An answer that failed before any server could speak.
    pub fn failed(question: Question, why: impl Into<String>) -> Answer {
        Answer::bare(question, Outcome::Failed(why.into()))
    }

    /// An answer without records or provenance; for tests and for names in /etc/hosts.
    pub fn bare(question: Question, outcome: Outcome) -> Answer {
        Answer {
            question,
            outcome,
            records: Vec::new(),
            authentic: false,
            extended_errors: Vec::new(),
            server: String::new(),
            elapsed_ms: 0,
            cached: false,
        }
    }

    /// The data of the type asked for, at the end of the CNAME chain.
    pub fn data(&self) -> impl Iterator<Item = &Data> {
        self.records.iter().filter(|record| record.kind == self.question.kind).map(|record| &record.data)
    }

    /// All addresses in the answer.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.data().filter_map(|data| if let Data::Address(address) = data { Some(*address) } else { None }).collect()
    }

    /// `mx.example.test A: 192.0.2.1, 192.0.2.2`, `… A: NXDOMAIN`.
    pub fn summary(&self) -> String {
        let found = match &self.outcome {
            Outcome::Found => self
                .records
                .iter()
                .map(|record| match record.kind {
                    Kind::Cname if self.question.kind != Kind::Cname => format!("CNAME {}", record.data),
                    _ => record.data.to_string(),
                })
                .collect::<Vec<_>>()
                .join(", "),
            Outcome::NoData => "NODATA".to_owned(),
            Outcome::NoName => "NXDOMAIN".to_owned(),
            Outcome::Failed(why) => format!("failed: {why}"),
        };
        format!("{}: {found}", self.question)
    }
}
