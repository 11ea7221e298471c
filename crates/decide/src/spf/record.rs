//! An SPF record as written (RFC 7208 4.6, 5, 6): terms in order, each with its own text.

use super::macros::{self, Spec};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mail::SpfResult;

/// A record whose syntax is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub terms: Vec<Term>,
    pub redirect: Option<Spec>,
    pub exp: Option<Spec>,
}

/// A mechanism and its qualifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// As written, qualifier included.
    pub text: String,
    /// What a match comes to.
    pub result: SpfResult,
    pub mechanism: Mechanism,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mechanism {
    All,
    Include(Spec),
    /// The addresses of a host. Absent: of the domain itself.
    A(Option<Spec>, Prefixes),
    /// The addresses of a domain's MX hosts.
    Mx(Option<Spec>, Prefixes),
    Ptr(Option<Spec>),
    Ip(IpNet),
    Exists(Spec),
}

/// How many bits of an address count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefixes {
    pub v4: u8,
    pub v6: u8,
}

const WHOLE: Prefixes = Prefixes { v4: 32, v6: 128 };

/// Whether a TXT record is an SPF record of version 1 (RFC 7208 4.5).
pub fn is_record(text: &str) -> bool {
    let (version, rest) = text.split_at_checked(6).unwrap_or((text, ""));
    version.eq_ignore_ascii_case("v=spf1") && (rest.is_empty() || rest.starts_with(' '))
}

impl Record {
    /// Reads a record, or says what is wrong with it. An error anywhere spoils the whole (RFC 7208 4.6).
    pub fn read(text: &str) -> Result<Record, String> {
        let mut record = Record { terms: Vec::new(), redirect: None, exp: None };
        for term in text.split(' ').filter(|term| !term.is_empty()).skip(1) {
            let complain = |problem: String| format!("\"{term}\" {problem}");
            match modifier(term) {
                Some((name, value)) if name.eq_ignore_ascii_case("redirect") => {
                    let spec = macros::domain(value).map_err(complain)?;
                    if record.redirect.replace(spec).is_some() {
                        return Err("redirect= stands there twice".to_owned());
                    }
                }
                Some((name, value)) if name.eq_ignore_ascii_case("exp") => {
                    let spec = macros::domain(value).map_err(complain)?;
                    if record.exp.replace(spec).is_some() {
                        return Err("exp= stands there twice".to_owned());
                    }
                }
                // Unknown modifiers are for others (RFC 7208 6), but must be well-formed.
                Some((_, value)) => drop(macros::string(value).map_err(complain)?),
                None => record.terms.push(self::term(term).map_err(complain)?),
            }
        }
        Ok(record)
    }
}

/// `name=value`.
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    is_name.then_some((name, value))
}

fn term(text: &str) -> Result<Term, String> {
    let (result, rest) = match text.as_bytes().first() {
        Some(b'+') => (SpfResult::Pass, &text[1..]),
        Some(b'-') => (SpfResult::Fail, &text[1..]),
        Some(b'~') => (SpfResult::SoftFail, &text[1..]),
        Some(b'?') => (SpfResult::Neutral, &text[1..]),
        _ => (SpfResult::Pass, text),
    };
    let (name, rest) = rest.split_at(rest.find([':', '/']).unwrap_or(rest.len()));
    let mechanism = match name.to_ascii_lowercase().as_str() {
        "all" if rest.is_empty() => Mechanism::All,
        "all" => return Err("takes no argument".to_owned()),
        "include" => Mechanism::Include(required(rest)?),
        "exists" => Mechanism::Exists(required(rest)?),
        "ptr" => Mechanism::Ptr(optional(rest)?),
        "a" | "mx" => {
            let (rest, prefixes) = prefixes(rest)?;
            let spec = optional(rest)?;
            if name.eq_ignore_ascii_case("a") { Mechanism::A(spec, prefixes) } else { Mechanism::Mx(spec, prefixes) }
        }
        "ip4" => Mechanism::Ip(network(rest, true)?),
        "ip6" => Mechanism::Ip(network(rest, false)?),
        _ => return Err("is no term of SPF".to_owned()),
    };
    Ok(Term { text: text.to_owned(), result, mechanism })
}

fn required(rest: &str) -> Result<Spec, String> {
    optional(rest)?.ok_or_else(|| "needs a domain".to_owned())
}

/// Nothing, or `:domain`.
fn optional(rest: &str) -> Result<Option<Spec>, String> {
    match rest.strip_prefix(':') {
        Some(domain) => macros::domain(domain).map(Some),
        None if rest.is_empty() => Ok(None),
        None => Err("has what does not belong there".to_owned()),
    }
}

/// Takes `/24`, `//64` or `/24//64` off the end.
fn prefixes(rest: &str) -> Result<(&str, Prefixes), String> {
    let (rest, v6) = match rest.rsplit_once("//") {
        Some((rest, digits)) if is_number(digits) => (rest, length(digits, WHOLE.v6)?),
        _ => (rest, WHOLE.v6),
    };
    match rest.rsplit_once('/') {
        Some((rest, digits)) if is_number(digits) && !rest.ends_with('/') => {
            Ok((rest, Prefixes { v4: length(digits, WHOLE.v4)?, v6 }))
        }
        _ => Ok((rest, Prefixes { v4: WHOLE.v4, v6 })),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// RFC 7208 12: no leading zeros.
fn length(digits: &str, max: u8) -> Result<u8, String> {
    let is_plain = is_number(digits) && (digits == "0" || !digits.starts_with('0'));
    let length = digits.parse::<u8>().ok().filter(|length| is_plain && *length <= max);
    length.ok_or_else(|| format!("has a wrong prefix length /{digits}"))
}

fn network(rest: &str, v4: bool) -> Result<IpNet, String> {
    let text = rest.strip_prefix(':').ok_or_else(|| "needs an address".to_owned())?;
    let (address, digits) = text.split_once('/').map_or((text, None), |(address, digits)| (address, Some(digits)));
    let max = if v4 { WHOLE.v4 } else { WHOLE.v6 };
    let length = digits.map_or(Ok(max), |digits| length(digits, max))?;
    let network = match v4 {
        true => address.parse().ok().and_then(|address| Ipv4Net::new(address, length).ok()).map(IpNet::V4),
        false => address.parse().ok().and_then(|address| Ipv6Net::new(address, length).ok()).map(IpNet::V6),
    };
    network.ok_or_else(|| format!("has no {} address", if v4 { "IPv4" } else { "IPv6" }))
}

#[cfg(test)]
mod tests {
    use super::{Record, is_record};

    #[track_caller]
    fn wrong(term: &str, why: &str) {
        assert_eq!(Record::read(&format!("v=spf1 {term}")).unwrap_err(), why);
    }

    #[track_caller]
    fn right(terms: &str) {
        Record::read(&format!("v=spf1 {terms}")).unwrap();
    }

    #[test]
    fn only_version_1_is_a_record() {
        assert!(is_record("v=spf1"));
        assert!(is_record("V=sPf1 -all"));
        assert!(!is_record("v=spf10 -all"));
        assert!(!is_record("v=spf1\t-all"));
        assert!(!is_record(" v=spf1 -all"));
        assert!(!is_record("v=spf2.0/pra -all"));
        assert!(!is_record("v=spfé"));
    }

    #[test]
    fn well_formed_terms() {
        right("  a   MX -All ");
        right("a/0 a//0 a/24//64 mx:x.test/32 mx//128 a:x.test. ptr ptr:x.test");
        right("a:foo:bar/baz.example.com a:8.8.8.8.com a:xn--zckzah.test");
        right("ip4:192.0.2.1 ip4:192.0.2.0/24 ip6:::1 ip6:2001:db8::/32 ip6:::ffff:192.0.2.1/96");
        right("exists:%{ir}.x.test include:%{d2} redirect=%{d} exp=e.%{o-}");
        right("moo.cow-far_out=man:dog/cat unknown= x=%%%_%-");
    }

    #[test]
    fn malformed_terms() {
        wrong("all.", "\"all.\" is no term of SPF");
        wrong("-all:x.test", "\"-all:x.test\" takes no argument");
        wrong("include", "\"include\" needs a domain");
        wrong("include:", "\"include:\" needs a domain");
        wrong("include:x.test/24", "\"include:x.test/24\" has a domain without a top-level name");
        wrong("exists:", "\"exists:\" needs a domain");
        wrong("ptr/0", "\"ptr/0\" has what does not belong there");
        wrong("a/", "\"a/\" has what does not belong there");
        wrong("a/33", "\"a/33\" has a wrong prefix length /33");
        wrong("a/032", "\"a/032\" has a wrong prefix length /032");
        wrong("mx//129", "\"mx//129\" has a wrong prefix length /129");
        wrong("a:x.test/", "\"a:x.test/\" has a domain without a top-level name");
        wrong("a:museum", "\"a:museum\" has a domain without a top-level name");
        wrong("a:museum.", "\"a:museum.\" has a domain without a top-level name");
        wrong("a:111.222.33.44", "\"a:111.222.33.44\" has a domain without a top-level name");
        wrong("a:x.-com", "\"a:x.-com\" has a domain without a top-level name");
        wrong("a:x\u{e9}.test", "\"a:x\u{e9}.test\" has characters that may not stand there");
        wrong("ip4", "\"ip4\" needs an address");
        wrong("ip4:1.2.3", "\"ip4:1.2.3\" has no IPv4 address");
        wrong("ip4:1.2.3.4//32", "\"ip4:1.2.3.4//32\" has a wrong prefix length //32");
        wrong("ip4:1.2.3.4/33", "\"ip4:1.2.3.4/33\" has a wrong prefix length /33");
        wrong("ip4:1.1.1.1:25", "\"ip4:1.1.1.1:25\" has no IPv4 address");
        wrong("ip6:1.2.3.4", "\"ip6:1.2.3.4\" has no IPv6 address");
        wrong("ipv4:1.2.3.4", "\"ipv4:1.2.3.4\" is no term of SPF");
        wrong("moo.cow/far_out=man", "\"moo.cow/far_out=man\" is no term of SPF");
        wrong("redirect=", "\"redirect=\" needs a domain");
        wrong("redirect=a.test redirect=b.test", "redirect= stands there twice");
        wrong("exp=a.test exp=b.test", "exp= stands there twice");
        wrong("exists:%{x}.test", "\"exists:%{x}.test\" has a macro that is none: %{x}");
        wrong("exists:%{c}.test", "\"exists:%{c}.test\" has a macro that is none: %{c}");
        wrong("exists:%{d0}.test", "\"exists:%{d0}.test\" has a macro that is none: %{d0}");
        wrong("exists:%d.test", "\"exists:%d.test\" has a % that begins no macro");
        wrong("exists:%{d.test", "\"exists:%{d.test\" has a % that begins no macro");
        wrong("a\tmx", "\"a\tmx\" is no term of SPF");
    }
}
