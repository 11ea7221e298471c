//! Attempt: one try to deliver, as a record complete in itself, from which findings are made.

use crate::{End, Reply, Stage, Status, Time, dns};
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

/// What a TLS handshake said in the clear; numbers as on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TlsHello {
    /// What the client offered: highest version first (0x0303 is TLS 1.2), cipher suites, signature schemes, server name.
    pub versions: Vec<u16>,
    pub suites: Vec<u16>,
    pub signature_schemes: Vec<u16>,
    pub sni: Option<String>,
    /// What the server chose.
    pub version: Option<u16>,
    pub suite: Option<u16>,
    /// Of a DHE key exchange (RFC 5246 7.4.3): the prime's length in bits, and the scheme that signed it.
    pub dh_bits: Option<u32>,
    pub signature: Option<u16>,
    /// Alert of the other side: `(level, description)`.
    pub alert: Option<(u8, u8)>,
    /// Alert that we sent.
    pub our_alert: Option<(u8, u8)>,
    /// The other side's first octets, at most 32, if they were no TLS.
    pub not_tls: Vec<u8>,
    /// Of a server of ours: its certificate's key, `EC P-256`.
    pub own_key: String,
}

/// A certificate as far as it explains something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// DNS names of the subjectAltName (RFC 6125), else the common name.
    pub names: Vec<String>,
    pub not_before: Option<Time>,
    pub not_after: Option<Time>,
    pub issuer: String,
    /// Subject and issuer are the same.
    pub self_signed: bool,
    /// Octets of the DER, SHA-256, in hex.
    pub fingerprint: String,
    /// `EC P-256`, `RSA 2048`, `Ed25519`.
    pub key: String,
    /// What signed it: `sha256WithRSAEncryption`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub signature: String,
    /// What verification for the host that was called says against it; empty: nothing, or it was not verified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Distrust>,
}

/// One thing that speaks against a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distrust {
    /// Its time is over.
    Ended,
    /// Its time has not begun.
    NotYet,
    /// It is not for the name that was called.
    OtherName,
    /// No chain leads from it to an authority that is known here; the verifier's words.
    Untrusted(String),
    /// An algorithm or a key in the chain that is not accepted any more; the verifier's words.
    Weak(String),
}

/// How the TCP connection came about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Connect {
    #[default]
    NotTried,
    Made {
        ms: u32,
    },
    Refused,
    TimedOut {
        after_ms: u64,
    },
    NetworkUnreachable,
    HostUnreachable,
    Reset,
    /// The source address is not on this host (EADDRNOTAVAIL).
    NoSource,
    Failed(String),
}

/// What was answered for one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RcptSaid {
    pub recipient: String,
    pub reply: Reply,
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
    /// The transcript in short, while it is kept in the trail (see [`HostTry::fold`]).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub folded: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    #[serde(default)]
    pub connect: Connect,
    /// The greeting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub banner: Option<Reply>,
    /// Milliseconds from the connection to the greeting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub banner_ms: Option<u64>,
    /// The greeting carried a token of this gateway: we talk to ourselves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_token: bool,
    /// The answer to the first EHLO, good or bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greeted: Option<Reply>,
    /// EHLO was refused, HELO was taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub helo_only: bool,
    /// The answer to STARTTLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starttls: Option<Reply>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_hello: Option<TlsHello>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail_reply: Option<Reply>,
    /// At most a hundred that were taken and a hundred that were not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rcpt: Vec<RcptSaid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_reply: Option<Reply>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_reply: Option<Reply>,
    /// Octets of content given to the socket, and those that the peer's system had not acknowledged at the end (SIOCOUTQ).
    #[serde(default)]
    pub content_sent: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unacknowledged: Option<u64>,
    /// The connection had carried other messages; milliseconds of silence before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused_after_ms: Option<u64>,
    /// Our connections to this address when this one began, this one included.
    #[serde(default)]
    pub connections: u32,
    #[serde(default)]
    pub end: End,
}

impl HostTry {
    /// Makes what the trail keeps of a smooth delivery short, without losing any of it: each line of the transcript as
    /// `12<250 ok`, milliseconds since the start and who spoke; and `=` for extensions as the greeting lists them.
    pub fn fold(&mut self) {
        if self.transcript.iter().any(|said| said.text.contains('\n')) {
            return;
        }
        if self.greeted.as_ref().is_some_and(|greeted| greeted.lines.get(1..) == Some(self.capabilities.as_slice())) {
            self.capabilities.clear();
            self.folded.push_str("=\n");
        }
        for said in self.transcript.drain(..) {
            let mark = match said.speaker {
                Speaker::Server => '<',
                Speaker::Client => '>',
                Speaker::Note => '!',
            };
            self.folded.push_str(&(said.at.ms() - self.started.ms()).to_string());
            self.folded.push(mark);
            self.folded.push_str(&said.text);
            self.folded.push('\n');
        }
    }

    /// As it was before.
    pub fn unfold(&mut self) {
        for line in std::mem::take(&mut self.folded).split_terminator('\n') {
            if let ("=", Some(greeted)) = (line, &self.greeted) {
                self.capabilities = greeted.lines.iter().skip(1).cloned().collect();
                continue;
            }
            let Some(at) = line.find(['<', '>', '!']) else { continue };
            let speaker = match line.as_bytes()[at] {
                b'<' => Speaker::Server,
                b'>' => Speaker::Client,
                _ => Speaker::Note,
            };
            let ms: i64 = line[..at].parse().unwrap_or(0);
            let text = line[at + 1..].to_owned();
            self.transcript.push(Said { at: Time(self.started.ms() + ms), speaker, text });
        }
    }

    /// What DATA was answered with; `None` also when every recipient had been refused before: to a pipelined DATA a server then says that
    /// it has no recipients (RFC 2920 3.1), which is no refusal of its own.
    pub fn data_refusal(&self) -> Option<&Reply> {
        let echo = !self.rcpt.is_empty() && self.rcpt.iter().all(|said| !said.reply.is_positive());
        self.data_reply.as_ref().filter(|reply| !echo && reply.code >= 400)
    }

    /// Nothing has happened yet.
    pub fn new(host: impl Into<String>, address: IpAddr, port: u16, started: Time) -> HostTry {
        HostTry {
            host: host.into(),
            address,
            port,
            started,
            source: None,
            ehlo: String::new(),
            tls: None,
            capabilities: Vec::new(),
            transcript: Vec::new(),
            folded: String::new(),
            failure: None,
            connect: Connect::NotTried,
            banner: None,
            banner_ms: None,
            own_token: false,
            greeted: None,
            helo_only: false,
            starttls: None,
            tls_hello: None,
            certificate: None,
            mail_reply: None,
            rcpt: Vec::new(),
            data_reply: None,
            final_reply: None,
            content_sent: 0,
            unacknowledged: None,
            reused_after_ms: None,
            connections: 0,
            end: End::Open,
        }
    }
}

/// A host or an address that was not tried, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    pub host: String,
    pub address: Option<IpAddr>,
    pub preference: u16,
    pub why: Why,
}

/// Why a host or one of its addresses is not tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// This gateway itself; the text says by what it was known.
    Own(String),
    /// Its preference is not better than this gateway's own (RFC 5321 5.1).
    NotBetterThanOwn,
    /// Private, loopback or otherwise not on the Internet.
    Prohibited,
    /// The lookup failed: whether it has addresses is not known.
    Unknown(String),
    /// It has no address of the families in use, or does not exist.
    NoAddress(String),
    /// No host name: an address literal or something else that an MX record may not hold (RFC 5321 5.1).
    NoHostName,
    /// More hosts than are looked at.
    TooMany,
}

impl Dropped {
    /// `gw.corp.test [192.0.2.1]`
    pub fn place(&self) -> String {
        match self.address {
            Some(address) if address.to_string() != self.host => format!("{} [{address}]", self.host),
            _ => self.host.clone(),
        }
    }
}

/// `gw.corp.test [192.0.2.1] (preference 10): this gateway itself, known by its address`.
impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (preference {}): {}", self.place(), self.preference, self.why)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Own(by) => write!(f, "this gateway itself, known by {by}"),
            Why::NotBetterThanOwn => f.write_str("not better than this gateway itself"),
            Why::Prohibited => f.write_str("private or loopback address"),
            Why::Unknown(why) => write!(f, "lookup failed: {why}"),
            Why::NoAddress(why) => f.write_str(why),
            Why::NoHostName => f.write_str("no host name"),
            Why::TooMany => f.write_str("more hosts than are looked at"),
        }
    }
}

/// By what the hosts of an attempt were chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// The domain's MX records, or its address.
    #[default]
    Mx,
    /// Next hops that the settings give to one of our domains.
    NextHops,
    /// The relay host for all other mail.
    RelayHost,
    /// An administrator's detour.
    Detour,
    /// The settings give no way.
    Nowhere,
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
    #[serde(default)]
    pub via: Via,
    /// The domain whose route this was.
    #[serde(default)]
    pub domain: String,
    /// The domain is one of ours: a mail server behind takes its mail.
    #[serde(default)]
    pub local: bool,
    /// Empty for the null sender.
    #[serde(default)]
    pub sender: String,
    /// At most a hundred.
    #[serde(default)]
    pub recipients: Vec<String>,
    pub dns: Vec<dns::Answer>,
    /// Hosts that were left out, with the reason.
    pub dropped: Vec<Dropped>,
    /// What is odd about the route but not in the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The route led nowhere: no host was dialled because of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_route: Option<Status>,
    pub tries: Vec<HostTry>,
    /// Tries of a long attempt that are not recorded: they stood before the last one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tries_left_out: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_folded_comes_back_whole() {
        let said = |at: i64, speaker, text: &str| Said { at: Time(1000 + at), speaker, text: text.to_owned() };
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<String>>();
        let mut tried = HostTry::new("mx.test", "192.0.2.1".parse().unwrap(), 25, Time(1000));
        tried.transcript = vec![
            said(-1, Speaker::Server, "220 a < b > c ! d"),
            said(0, Speaker::Client, "EHLO x"),
            said(5, Speaker::Note, "TLS started"),
            said(7, Speaker::Server, ""),
        ];
        tried.greeted = Some(Reply { code: 250, enhanced: None, lines: lines(&["mx.test", "PIPELINING", "SIZE 1"]) });
        for capabilities in [&["PIPELINING", "SIZE 1"][..], &["PIPELINING"], &[]] {
            tried.capabilities = lines(capabilities);
            let mut folded = tried.clone();
            folded.fold();
            assert!(folded.transcript.is_empty() && folded.folded.contains("-1<220 a < b > c ! d\n0>EHLO x\n5!TLS"));
            folded.unfold();
            assert_eq!(folded, tried);
        }
        tried.transcript.push(said(9, Speaker::Server, "two\nlines"));
        let mut folded = tried.clone();
        folded.fold();
        assert_eq!(folded, tried);
    }
}
