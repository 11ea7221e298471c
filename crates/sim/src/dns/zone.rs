//! The zone text: `owner TYPE data` lines, and `owner TYPE !WORD` lines that make the server misbehave.

use std::{str::FromStr, time::Duration};

use hickory_proto::rr::{RData, RecordType};

use super::record;
use crate::{Complaint, Span, When};

/// Everything that the scripted DNS knows. Parse it from text; see `docs/book/scenarios.md`.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    pub(super) rules: Vec<Rule>,
}

/// One line of a zone.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// Lower case, without the dot at its end; may begin with `*.`.
    pub(super) owner: String,
    /// `ANY` in the line of a word means every type.
    pub(super) kind: RecordType,
    pub(super) when: When,
    pub(super) what: What,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Data { ttl_s: u32, data: RData },
    Word(Word),
}

/// What the server does instead of, or along with, a plain answer.
#[derive(Debug, Clone)]
pub(super) enum Word {
    ServFail,
    NxDomain,
    NoData,
    Refused,
    Timeout,
    /// TC=1 and nothing else over UDP, the whole answer over TCP.
    Truncate,
    Delay(Duration),
    /// AD=1: "validated".
    Authentic,
    /// RFC 8914: an extended error code with its text.
    ExtendedError(u16, String),
}

impl Zone {
    /// Is there any line for this owner?
    pub fn lists(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.rules.iter().any(|rule| rule.owner == name)
    }

    /// The first name whose A or AAAA record holds this address; a wildcard is no name.
    pub fn name_of(&self, address: std::net::IpAddr) -> Option<&str> {
        let holds = |rule: &&Rule| match &rule.what {
            What::Data { data: RData::A(a), .. } => address == a.0,
            What::Data { data: RData::AAAA(a), .. } => address == a.0,
            _ => false,
        };
        self.rules.iter().filter(|rule| !rule.owner.starts_with('*')).find(holds).map(|rule| rule.owner.as_str())
    }

    /// Adds the lines of `other` for owners that have none here.
    pub fn fill(&mut self, other: Self) {
        let new: Vec<Rule> = other.rules.into_iter().filter(|rule| !self.lists(&rule.owner)).collect();
        self.rules.extend(new);
    }
}

impl FromStr for Zone {
    type Err = Complaint;

    fn from_str(text: &str) -> Result<Self, Complaint> {
        let mut rules = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let words = words(line).map_err(|what| Complaint::new(at + 1, what))?;
            if !words.is_empty() {
                rules.extend(rules_of(&words).map_err(|what| Complaint::new(at + 1, what))?);
            }
        }
        Ok(Self { rules })
    }
}

/// `owner [TTL] [IN] TYPE [#N] data…` or `owner TYPE [#N] !WORD…`; several words make several rules.
fn rules_of(words: &[String]) -> Result<Vec<Rule>, String> {
    let (owner, mut rest) = words.split_first().ok_or("no owner")?;
    record::name(owner)?;
    // Nothing is cached unless the line says so, so that query numbers mean what they say.
    let mut ttl_s = 0;
    while let Some((word, more)) = rest.split_first() {
        match word.parse() {
            Ok(ttl) => ttl_s = ttl,
            Err(_) if word == "IN" => {}
            Err(_) => break,
        }
        rest = more;
    }
    let (kind, mut rest) = rest.split_first().ok_or("expected `owner TYPE data`")?;
    let kind = kind_of(kind)?;
    let when = rest.first().and_then(|word| When::parse(word));
    if when.is_some() {
        rest = &rest[1..];
    }
    let what = match rest.first() {
        Some(word) if word.starts_with('!') => misbehaviour(rest)?.into_iter().map(What::Word).collect(),
        _ => vec![What::Data { ttl_s, data: record::parse(kind, rest)? }],
    };
    let owner = owner.trim_end_matches('.').to_ascii_lowercase();
    let rule = |what| Rule { owner: owner.clone(), kind, when: when.unwrap_or(When::Always), what };
    Ok(what.into_iter().map(rule).collect())
}

fn kind_of(word: &str) -> Result<RecordType, String> {
    if let Some(number) = word.strip_prefix("TYPE").and_then(|n| n.parse::<u16>().ok()) {
        return Ok(RecordType::from(number));
    }
    RecordType::from_str(&word.to_ascii_uppercase()).map_err(|_| format!("\"{word}\" is no record type"))
}

fn misbehaviour(words: &[String]) -> Result<Vec<Word>, String> {
    let mut found = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        found.push(match word.as_str() {
            "!SERVFAIL" => Word::ServFail,
            "!NXDOMAIN" => Word::NxDomain,
            "!NODATA" => Word::NoData,
            "!REFUSED" => Word::Refused,
            "!TIMEOUT" => Word::Timeout,
            "!TRUNCATE" => Word::Truncate,
            "!AD" => Word::Authentic,
            "!DELAY" => Word::Delay(words.next().ok_or("!DELAY needs a length of time")?.parse::<Span>()?.0),
            "!EDE" => {
                let code = words.next().and_then(|code| code.parse().ok()).ok_or("!EDE needs a number (RFC 8914)")?;
                Word::ExtendedError(code, words.by_ref().cloned().collect::<Vec<_>>().join(" "))
            }
            other => {
                return Err(format!(
                    "\"{other}\" is none of !SERVFAIL !NXDOMAIN !NODATA !REFUSED !TIMEOUT !TRUNCATE !DELAY !AD !EDE"
                ));
            }
        });
    }
    Ok(found)
}

/// Splits at blanks; double quotes hold a word together; `;` and a leading `#` or `//` begin a comment.
fn words(line: &str) -> Result<Vec<String>, String> {
    let line = line.trim();
    if line.starts_with('#') || line.starts_with("//") {
        return Ok(Vec::new());
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => word.get_or_insert_default().extend(characters.next()),
            ';' if !quoted => break,
            blank if blank.is_whitespace() && !quoted => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    if quoted {
        return Err("a quoted string does not end".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        text.parse::<Zone>().unwrap_err().to_string()
    }

    #[test]
    fn a_zone_is_lines_with_comments() {
        let zone: Zone =
            "; a comment\n# another\n\nA.test. MX 10 mx.a.test. ; the mail host\n*.w.test 60 IN A 127.0.0.1\n"
                .parse()
                .unwrap();
        assert_eq!(zone.rules.len(), 2);
        assert!(zone.lists("a.test.") && zone.lists("*.w.test") && !zone.lists("x.w.test"));
    }

    #[test]
    fn a_wrong_line_is_named_with_its_number() {
        assert!(complaint("a.test A 127.0.0.1\nb.test A 1.2.3").starts_with("line 2: "));
        assert!(complaint("a.test XYZ 1").contains("XYZ"));
        assert!(complaint("a.test A !NONSENSE").contains("!NONSENSE"));
        assert!(complaint("a.test TXT \"x").contains("quoted"));
        assert!(complaint("a.test A #1").contains("A can not have"));
        assert!(complaint("a.test A !DELAY 5").contains("length of time"));
    }

    #[test]
    fn quotes_keep_blanks_and_semicolons() {
        assert_eq!(words(r#"a TXT "v=spf1 -all; x" "b\"c""#).unwrap(), ["a", "TXT", "v=spf1 -all; x", "b\"c"]);
    }
}
