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
    /// A question only: whatever there is (RFC 8482).
    Any,
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
            Kind::Any => "ANY",
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

    /// The names of an address: PTR under in-addr.arpa (RFC 1035 3.5) or ip6.arpa (RFC 3596 2.5).
    pub fn reverse(address: IpAddr) -> Question {
        let name = match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(v6) => {
                let nibbles = v6.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
                nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
            }
        };
        Question { name, kind: Kind::Ptr }
    }

    /// A or AAAA of a name, whichever an address of this family would be found by.
    pub fn forward(name: &str, address: IpAddr) -> Question {
        Question::new(name, if address.to_canonical().is_ipv4() { Kind::A } else { Kind::Aaaa })
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "." } else { &self.name };
        write!(f, "{name} {}", self.kind.name())
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

/// Why a server's answer did not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// No server is known to ask, or the name cannot be asked for.
    NotAsked,
    /// The port is closed: ICMP over UDP, RST over TCP.
    NoListener,
    /// No way to the server's network or host.
    Unreachable,
    TimedOut,
    /// The connection broke, or another error of the socket.
    Broken,
    /// What came is no DNS message.
    Unreadable,
    /// TC=1: more follows over TCP.
    Truncated,
    FormErr,
    ServFail,
    NotImp,
    Refused,
    /// Another response code.
    OtherCode,
}

impl Trouble {
    /// Nothing at all came back from the server.
    pub fn is_silence(self) -> bool {
        matches!(self, Trouble::NoListener | Trouble::Unreachable | Trouble::TimedOut | Trouble::Broken)
    }
}

/// Nobody listens, no answer within the time, …
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trouble::NotAsked => "not asked",
            Trouble::NoListener => "connection refused",
            Trouble::Unreachable => "unreachable",
            Trouble::TimedOut => "time-out",
            Trouble::Broken => "connection broken",
            Trouble::Unreadable => "answer cannot be read",
            Trouble::Truncated => "truncated (TC=1)",
            Trouble::FormErr => "FORMERR",
            Trouble::ServFail => "SERVFAIL",
            Trouble::NotImp => "NOTIMP",
            Trouble::Refused => "REFUSED",
            Trouble::OtherCode => "another error",
        })
    }
}

/// A question put to one server that did not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// `address:port`.
    pub server: String,
    pub tcp: bool,
    /// The buffer size announced by EDNS; `None`: without OPT record.
    pub edns: Option<u16>,
    pub trouble: Trouble,
    pub ms: u32,
}

/// `127.0.0.53:53 over UDP with EDNS 1232: time-out after 5.0 s`.
impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = if self.tcp { "TCP" } else { "UDP" };
        let edns = self.edns.map_or("without EDNS".to_owned(), |size| format!("with EDNS {size}"));
        write!(f, "{} over {transport} {edns}: {}", self.server, self.trouble)?;
        if self.trouble == Trouble::TimedOut {
            write!(f, " after {}.{} s", self.ms / 1000, self.ms % 1000 / 100)?;
        }
        Ok(())
    }
}

/// How long a negative answer may be kept (RFC 2308 5), from the SOA record beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Negative {
    /// Owner of the SOA record: the zone that says so.
    pub zone: String,
    /// The SOA's minimum, in seconds.
    pub minimum: u32,
    /// Seconds that were left when the answer was read or taken from the cache. Less than the minimum: it is no fresh one.
    pub left: u32,
}

/// An answer, complete in itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub question: Question,
    pub outcome: Outcome,
    pub records: Vec<Record>,
    /// AD bit: a validating resolver vouches for the answer.
    pub authentic: bool,
    /// AA bit: it comes from the zone's own server.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub authoritative: bool,
    /// Extended DNS errors (RFC 8914), as `code text`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extended_errors: Vec<String>,
    /// Which server said so, as `address:port`; empty if none did.
    pub server: String,
    /// How long it took; 0 when it came out of the cache.
    pub elapsed_ms: u32,
    pub cached: bool,
    /// Of a failed one: what was wrong with the last server's answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// What did not do before, in order. Of a failed answer: all that was tried.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
    /// Asked without an OPT record, because with one no answer came.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_edns: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over_tcp: bool,
    /// Octets of the message.
    #[serde(default)]
    pub size: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative: Option<Negative>,
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
            authoritative: false,
            extended_errors: Vec::new(),
            server: String::new(),
            elapsed_ms: 0,
            cached: false,
            trouble: None,
            tried: Vec::new(),
            without_edns: false,
            over_tcp: false,
            size: 0,
            negative: None,
        }
    }

    /// The data of the type asked for, at the end of the CNAME chain.
    pub fn data(&self) -> impl Iterator<Item = &Data> {
        let any = self.question.kind == Kind::Any;
        self.records.iter().filter(move |record| any || record.kind == self.question.kind).map(|record| &record.data)
    }

    /// A server spoke, and it was neither an error nor silence.
    pub fn is_known(&self) -> bool {
        !matches!(self.outcome, Outcome::Failed(_))
    }

    /// The UDP answer was cut short and TCP did not do, by this trouble.
    pub fn tcp_trouble(&self) -> Option<&Tried> {
        self.tried.iter().rev().find(|tried| tried.tcp)
    }

    /// All names in the answer, of PTR, NS or CNAME records, without their final dots.
    pub fn names(&self) -> Vec<&str> {
        self.data()
            .filter_map(|data| if let Data::Name(name) = data { Some(name.trim_end_matches('.')) } else { None })
            .collect()
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

#[cfg(test)]
mod tests {
    use super::Question;

    #[test]
    fn an_address_has_a_name_in_the_reverse_zone() {
        let name = |address: &str| Question::reverse(address.parse().unwrap()).name;
        assert_eq!(name("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        assert_eq!(name("::ffff:192.0.2.1"), "1.2.0.192.in-addr.arpa");
        assert_eq!(
            name("2001:db8::567:89ab"),
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }
}
