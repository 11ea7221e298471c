//! Domain: a DNS name or an address literal, as it stands behind the `@` (RFC 5321 4.1.2, 4.1.3).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A domain in lower case, without a final dot; U-labels are kept as given (RFC 6531) and turned into A-labels by
/// [`Domain::ascii`] for DNS and for comparing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(String);

/// Why a text is not a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainError(pub String);

/// RFC 5321 4.5.3.1.2.
const DOMAIN_MAX: usize = 255;
/// RFC 1035 2.3.4.
const LABEL_MAX: usize = 63;

impl Domain {
    /// The text: lower case, no final dot, brackets kept for a literal.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address of a literal such as `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
    pub fn literal(&self) -> Option<IpAddr> {
        let inner = self.0.strip_prefix('[')?.strip_suffix(']')?;
        match inner.strip_prefix("ipv6:") {
            Some(v6) => v6.parse().ok().map(IpAddr::V6),
            None => inner.parse().ok().map(IpAddr::V4),
        }
    }

    /// The name with A-labels only (RFC 5890), as DNS wants it.
    pub fn ascii(&self) -> String {
        if self.0.is_ascii() {
            return self.0.clone();
        }
        idna::domain_to_ascii(&self.0).unwrap_or_else(|_| self.0.clone())
    }

    /// Whether this is `parent` or lies below it.
    pub fn is_within(&self, parent: &Domain) -> bool {
        self == parent || self.0.strip_suffix(parent.as_str()).is_some_and(|head| head.ends_with('.'))
    }

    /// The domain without its first label; `None` at the last label and for literals.
    pub fn parent(&self) -> Option<Domain> {
        if self.0.starts_with('[') {
            return None;
        }
        self.0.split_once('.').map(|(_, rest)| Domain(rest.to_owned()))
    }

    /// Whether it holds letters beyond ASCII, so that SMTPUTF8 is needed to say it.
    pub fn is_international(&self) -> bool {
        !self.0.is_ascii()
    }
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Domain, DomainError> {
        let wrong = |why: &str| Err(DomainError(format!("{text:?} is not a domain: {why}")));
        if text.starts_with('[') {
            let domain = Domain(text.to_ascii_lowercase());
            return if domain.literal().is_some() {
                Ok(domain)
            } else {
                wrong("not an address literal such as [192.0.2.1] or [IPv6:2001:db8::1]")
            };
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_lowercase();
        if let Some(why) = objection(&name) {
            return wrong(why);
        }
        let domain = Domain(name);
        if domain.is_international() {
            match idna::domain_to_ascii(&domain.0) {
                Err(_) => return wrong("it has no form in A-labels (RFC 5891)"),
                // Some characters stand for ASCII ones: U+FF0E for a dot, U+FF20 for an @.
                Ok(ascii) if objection(&ascii).is_some() => return wrong("its form in A-labels is no domain"),
                Ok(_) => {}
            }
        }
        Ok(domain)
    }
}

/// What is wrong with a name in lower case, without its final dot.
fn objection(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > DOMAIN_MAX {
        return Some("it is longer than 255 octets");
    }
    // Underscores are no host names but occur in the domains of real mail; refusing them helps nobody.
    let fits = |c: char| {
        c.is_ascii_alphanumeric() || c == '-' || c == '_' || (!c.is_ascii() && !c.is_control() && !c.is_whitespace())
    };
    name.split('.').find_map(|label| match label {
        "" => Some("it has an empty label"),
        _ if label.len() > LABEL_MAX && label.is_ascii() => Some("a label is longer than 63 octets"),
        _ if !label.chars().all(fits) => Some("only letters, digits and hyphens may stand in it"),
        _ if label.starts_with('-') || label.ends_with('-') => Some("a label begins or ends with a hyphen"),
        _ => None,
    })
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DomainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DomainError {}

impl Serialize for Domain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Domain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Domain, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> Domain {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_compared_in_lower_case_without_the_final_dot() {
        assert_eq!(domain("Mail.Example.TEST."), domain("mail.example.test"));
    }

    #[test]
    fn literals_give_their_address() {
        assert_eq!(domain("[192.0.2.1]").literal(), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(domain("[IPv6:2001:db8::1]").literal(), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(domain("example.test").literal(), None);
    }

    #[test]
    fn what_is_no_domain_is_refused_with_the_reason() {
        for wrong in ["", ".", "a..b", "-a.test", "a b.test", "[300.1.1.1]", "[::1]", "a\u{0}b"] {
            assert!(wrong.parse::<Domain>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn international_names_have_an_ascii_form() {
        assert_eq!(domain("Bücher.test").ascii(), "xn--bcher-kva.test");
    }

    #[test]
    fn characters_that_stand_for_ascii_ones_make_no_other_name() {
        assert_eq!(domain("mail\u{ff0e}b.test").ascii(), "mail.b.test");
        for wrong in ["b.test\u{ff0e}", "a\u{ff20}b.test", "a\u{2100}b.test", "\u{ff0d}a.test"] {
            assert!(wrong.parse::<Domain>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn within_means_at_a_dot() {
        assert!(domain("a.b.test").is_within(&domain("b.test")));
        assert!(!domain("ab.test").is_within(&domain("b.test")));
    }
}
