//! Scanners: the other gateways that this Control Center knows: how they are, and the way to their APIs.

use crate::{Account, Problem, Role};
use async_trait::async_trait;
use mail::Time;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The other Scanners; the gateway asks them every few seconds and keeps what they said last.
#[async_trait]
pub trait Scanners: Send + Sync + 'static {
    /// How this gateway is, as it tells a Control Center that has enrolled it.
    async fn own(&self) -> Result<Report, Problem>;

    /// All that are enrolled, by name, as they were when they were asked last. Nobody waits for it.
    fn scanners(&self) -> Vec<Scanner>;

    /// Connects as it would be enrolled, up to the certificate: nothing is said and nothing is kept.
    async fn look(&self, url: &str) -> Contact;

    /// Asks an enrolled one now.
    async fn test(&self, name: &str) -> Result<Contact, Problem>;

    /// Enrols one, or changes one that is enrolled: kept only if the contact finds nothing in the way.
    async fn enrol(&self, by: &Account, wanted: Enrolment) -> Result<Contact, Problem>;

    async fn remove(&self, by: &Account, name: &str) -> Result<(), Problem>;

    /// A question or an order to one's API. The answer is whatever it says, with whatever code.
    async fn call(&self, by: &Account, name: &str, call: Call) -> Result<Answer, Trouble>;

    /// One code for the Control Center that is to enrol this gateway: address, fingerprint, and a new token of this name.
    async fn invite(&self, by: &Account, name: &str, role: Role) -> Result<String, Problem>;

    /// Writes down what was done on other Scanners.
    async fn act(&self, by: &Account, what: &str, fields: serde_json::Value);
}

/// How a Scanner says that it is. What an older one does not say is left at nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Report {
    /// Chance, new at each start: by it a gateway knows itself.
    pub instance: String,
    pub name: String,
    pub version: String,
    /// Its clock, in milliseconds since 1970.
    #[schema(value_type = i64)]
    pub at: Time,
    pub accepting: bool,
    /// MTA operation.
    pub mode: String,
    pub queued: u64,
    pub held: u64,
    /// When the message that waits longest came.
    #[schema(value_type = Option<i64>)]
    pub oldest: Option<Time>,
    /// Causes for which mail waits.
    pub incidents: u64,
    /// What the last identity check found; absent: none was made yet.
    pub identity_problems: Option<u64>,
    pub disk_free: u64,
    pub disk_reserve: u64,
    pub settings_version: i64,
    /// A file owns the settings: they cannot be changed by others.
    pub settings_of_file: bool,
    /// The same wherever the settings are the same, but for keys that belong to one host.
    pub settings_mark: String,
    /// What the token may do that asked.
    #[serde(default)]
    pub role: Option<Role>,
}

/// Another Scanner, as it was known last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Scanner {
    pub name: String,
    pub url: String,
    /// SHA-256 of its certificate, in hex; absent: authorities vouch for it, or it is on this machine.
    pub pin: Option<String>,
    pub by: String,
    #[schema(value_type = i64)]
    pub enrolled: Time,
    /// What it said last.
    pub report: Option<Report>,
    /// When it said that, by our clock.
    #[schema(value_type = Option<i64>)]
    pub heard: Option<Time>,
    /// It does not answer as it should, since when, and why.
    #[schema(value_type = Option<i64>)]
    pub silent_since: Option<Time>,
    pub trouble: Option<Trouble>,
    /// What is not in the way, but should be known: another version, another clock.
    pub notes: Vec<String>,
}

/// What somebody wants enrolled or changed.
#[derive(Clone, Debug, Default)]
pub struct Enrolment {
    /// Empty: as it calls itself.
    pub name: String,
    pub url: String,
    pub pin: Option<String>,
    /// None: the one that is known.
    pub token: Option<String>,
    /// One of this name is there already, and is changed.
    pub changes: bool,
}

/// What stands in the way to a Scanner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Trouble {
    pub stage: Stage,
    pub what: String,
    /// What to do.
    pub fix: String,
}

/// How far the way to a Scanner goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The address as it is written.
    Address,
    /// Its host name, in DNS.
    Name,
    /// The TCP connection.
    Connect,
    /// TLS, and whose certificate it is.
    Certificate,
    /// HTTP: does it answer.
    Answer,
    /// Whether the token opens it.
    Token,
    /// Whether it is another gateway that speaks as this one does.
    Gateway,
}

impl Stage {
    pub fn words(self) -> &'static str {
        match self {
            Stage::Address => "address",
            Stage::Name => "host name",
            Stage::Connect => "connection",
            Stage::Certificate => "certificate",
            Stage::Answer => "answer",
            Stage::Token => "token",
            Stage::Gateway => "gateway",
        }
    }
}

/// A contact, stage by stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Contact {
    /// Name of the Scanner, once it is known.
    pub name: String,
    /// The stages that went well, and what each showed.
    pub went: Vec<Went>,
    /// SHA-256 of the certificate that was shown, in hex.
    pub fingerprint: Option<String>,
    /// Authorities that this machine knows vouch for that certificate.
    pub vouched: bool,
    pub trouble: Option<Trouble>,
    pub notes: Vec<String>,
}

/// A stage that went well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Went {
    pub stage: Stage,
    pub said: String,
}

/// A question to another Scanner's API.
#[derive(Clone, Debug)]
pub struct Call {
    /// GET, or POST if there is one.
    pub body: Option<serde_json::Value>,
    /// `/api/v1/…`
    pub path: String,
    /// The settings version that an order was made from.
    pub version: Option<i64>,
    pub patience: Duration,
}

impl Call {
    pub fn get(path: String) -> Call {
        Call { body: None, path, version: None, patience: PATIENCE }
    }

    pub fn post(path: &str, version: Option<i64>, body: serde_json::Value) -> Call {
        Call { body: Some(body), path: path.to_owned(), version, patience: PATIENCE }
    }
}

/// How long a page waits for another Scanner.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// What it said.
#[derive(Clone, Debug)]
pub struct Answer {
    pub code: u16,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Its state in a word or two, and how bad that is.
pub(crate) fn state(report: &Report) -> (&'static str, &'static str) {
    match (report.accepting, report.mode.as_str()) {
        (_, "drain") => ("warn", "drains: takes no mail"),
        (false, _) => ("bad", "does not accept mail"),
        (true, "pause-delivery") => ("warn", "accepts, delivery paused"),
        (true, _) => ("good", "accepts mail"),
    }
}

/// A certificate's fingerprint as people compare it.
pub(crate) fn spaced(fingerprint: &str) -> String {
    let letters: Vec<char> = fingerprint.to_ascii_uppercase().chars().collect();
    letters.chunks(2).map(|pair| pair.iter().collect::<String>()).collect::<Vec<_>>().join(":")
}

/// As people paste it: with colons or blanks, in any case. None: that is no SHA-256.
pub fn fingerprint(text: &str) -> Option<String> {
    let hex: String = text.chars().filter(|letter| !matches!(letter, ':' | ' ' | '\n' | '\r')).collect();
    let hex = hex.to_ascii_lowercase();
    (hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(hex)
}

/// What [`Scanners::invite`] gives, taken apart: address, fingerprint and token. Fragments are not sent by browsers, so even a
/// code that is pasted into an address line tells nobody its token.
pub fn invitation(code: &str) -> Option<Enrolment> {
    let (url, rest) = code.trim().split_once("/#")?;
    let mut wanted = Enrolment { url: url.to_owned(), ..Enrolment::default() };
    for (name, value) in rest.split('&').filter_map(|pair| pair.split_once('=')) {
        match name {
            "sha256" => wanted.pin = Some(fingerprint(value)?),
            "token" => wanted.token = Some(value.to_owned()),
            _ => {}
        }
    }
    wanted.token.is_some().then_some(wanted)
}

/// The code that [`invitation`] reads.
pub fn code(url: &str, pin: Option<&str>, token: &str) -> String {
    let pin = pin.map(|pin| format!("sha256={pin}&")).unwrap_or_default();
    format!("{url}/#{pin}token={token}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_says_address_certificate_and_token() {
        let pin = "ab".repeat(32);
        let read = invitation(&format!(" {}\n", code("https://gw2.test:8025", Some(&pin), "gp_1"))).unwrap();
        assert_eq!(
            (read.url.as_str(), read.pin, read.token.as_deref()),
            ("https://gw2.test:8025", Some(pin), Some("gp_1"))
        );
        let read = invitation(&code("http://127.0.0.1:1", None, "gp_1")).unwrap();
        assert_eq!((read.url.as_str(), read.pin), ("http://127.0.0.1:1", None));
        for wrong in ["", "https://gw2.test", "https://gw2.test/#sha256=ab&token=x", "https://gw2.test/#sha256="] {
            assert!(invitation(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_fingerprint_is_read_as_it_is_shown() {
        let plain = "0f".repeat(32);
        assert_eq!(fingerprint(&spaced(&plain)), Some(plain.clone()));
        assert_eq!(fingerprint(&plain[1..]), None);
        assert_eq!(fingerprint(&"zz".repeat(32)), None);
    }
}
