//! Address: `local-part@domain` of an envelope (RFC 5321 4.1.2), and the reverse-path, which may be null.

use crate::Domain;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A mailbox. The local part keeps its case and is held unquoted; quotes come back when it is written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    local: String,
    domain: Domain,
}

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(pub String);

/// RFC 5321 4.5.3.1.1 says 64; real bounce addresses (VERP, SRS) are longer, so we take what a path can hold.
const LOCAL_MAX: usize = 255;

impl Address {
    /// From parts that are already known to be good, such as an alias' local part and a parsed domain.
    pub fn new(local: impl Into<String>, domain: Domain) -> Result<Address, AddressError> {
        let local = local.into();
        if local.is_empty() || local.len() > LOCAL_MAX || local.chars().any(char::is_control) {
            return Err(AddressError(format!("{local:?} is not a local part")));
        }
        Ok(Address { local, domain })
    }

    /// The local part without quotes, in its own case.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether saying it needs SMTPUTF8 (RFC 6531): a local part beyond ASCII. A domain alone could be said in
    /// A-labels, but rewriting an address is not ours, so it counts as well.
    pub fn is_international(&self) -> bool {
        !self.local.is_ascii() || self.domain.is_international()
    }

    /// For comparing recipients: local part and domain in lower case. RFC 5321 2.4 lets a local part be case
    /// sensitive, no mail system that administrators meet makes use of it.
    pub fn key(&self) -> String {
        format!("{}@{}", self.local.to_lowercase(), self.domain.ascii())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Takes `local@domain` without angle brackets.
    fn from_str(text: &str) -> Result<Address, AddressError> {
        let wrong = |why: &str| AddressError(format!("{text:?} is not an address: {why}"));
        let (local, domain) = if text.starts_with('"') {
            let (local, rest) = quoted(text).ok_or_else(|| wrong("the quoted local part does not end"))?;
            let domain = rest.strip_prefix('@').ok_or_else(|| wrong("no @ behind the quoted local part"))?;
            (local, domain)
        } else {
            let (local, domain) = text.split_once('@').ok_or_else(|| wrong("it has no @"))?;
            if !local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext)) {
                return Err(wrong("the local part is not a dot-string; quote it"));
            }
            (local.to_owned(), domain)
        };
        if local.is_empty() || local.len() > LOCAL_MAX {
            return Err(wrong("the local part is empty or longer than 255 octets"));
        }
        let domain = domain.parse().map_err(|error: crate::DomainError| wrong(&error.0))?;
        Ok(Address { local, domain })
    }
}

/// RFC 5322 3.2.3 atext, and RFC 6531 3.3: any character beyond ASCII that is not a control.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
}

/// The content of a quoted string at the start of `text` and what follows it (RFC 5321 4.1.2 Quoted-string).
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut content = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((content, &text[at + 1..])),
            '\\' => content.push(characters.next().filter(|(_, c)| !c.is_control())?.1),
            c if c.is_control() => return None,
            c => content.push(c),
        }
    }
    None
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext)) {
            return write!(f, "{}@{}", self.local, self.domain);
        }
        let escaped = self.local.replace('\\', "\\\\").replace('"', "\\\"");
        write!(f, "\"{escaped}\"@{}", self.domain)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddressError {}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The reverse-path of MAIL FROM: an address, or null for what must never be answered (RFC 5321 4.5.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    Null,
    Address(Address),
}

impl ReversePath {
    /// The address, unless null.
    pub fn address(&self) -> Option<&Address> {
        match self {
            ReversePath::Null => None,
            ReversePath::Address(address) => Some(address),
        }
    }

    /// Whether this is `<>`.
    pub fn is_null(&self) -> bool {
        matches!(self, ReversePath::Null)
    }
}

/// Without angle brackets; the null path is `<>`, so that it can be seen.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReversePath::Null => f.write_str("<>"),
            ReversePath::Address(address) => fmt::Display::fmt(address, f),
        }
    }
}

impl Serialize for ReversePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            ReversePath::Null => serializer.serialize_str(""),
            ReversePath::Address(address) => serializer.collect_str(address),
        }
    }
}

impl<'de> Deserialize<'de> for ReversePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ReversePath, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(ReversePath::Null);
        }
        text.parse().map(ReversePath::Address).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, written: &str) {
        match text.parse::<Address>() {
            Ok(address) => assert_eq!(address.to_string(), written),
            Err(error) => assert_eq!(format!("error: {error}"), written),
        }
    }

    #[test]
    fn addresses_are_written_as_they_must_be_said() {
        check("user@Example.TEST", "user@example.test");
        check("\"a b\"@x.test", "\"a b\"@x.test");
        check("\"plain\"@x.test", "plain@x.test");
        check("\"q\\\"uote\"@x.test", "\"q\\\"uote\"@x.test");
        check("user+tag@[192.0.2.1]", "user+tag@[192.0.2.1]");
        check("пример@x.test", "пример@x.test");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in [
            "",
            "a",
            "@x.test",
            "a@",
            "a..b@x.test",
            ".a@x.test",
            "a b@x.test",
            "\"a@x.test",
            "a@b@c.test",
            "a\r\n@x.test",
            "<a@x.test>",
        ] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_null_path_survives_json() {
        let text = serde_json::to_string(&ReversePath::Null).unwrap();
        assert_eq!(serde_json::from_str::<ReversePath>(&text).unwrap(), ReversePath::Null);
    }
}
