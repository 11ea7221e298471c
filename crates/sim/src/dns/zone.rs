//! The zone text: `owner TYPE data` lines, and `owner TYPE !WORD` lines that make the server misbehave.

use std::{str::FromStr, time::Duration};

use hickory_proto::rr::{RData, RecordType};

use super::record;
use crate::{Complaint, Span, When};

/// Everything that the scripted DNS knows. Parse it from text; see `docs/book/scenarios.md`.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    pub(super) rules: Vec<Rule>,
    /// `$TCP refuse`: nobody listens on TCP.
    pub(super) tcp_refused: bool,
}

/// One line of a zone.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// Lower case, without the dot at its end; may begin with `*.`.
    pub(super) owner: String,
    /// `ANY` in the line of a word means every type.
    pub(super) kind: RecordType,
    pub(super) when: When,
    /// All must hold.
    pub(super) conditions: Vec<Condition>,
    pub(super) what: What,
}

/// Something about the question, apart from its name and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// `cd=yes`: checking disabled (RFC 4035 3.2.2).
    Cd(bool),
    /// `do=yes`: DNSSEC data are wanted (RFC 3225).
    Do(bool),
    /// `edns=yes`: the question has an OPT record.
    Edns(bool),
    /// `rd=yes`: recursion is desired, as from a stub; a diagnosis at an authoritative server asks without.
    Rd(bool),
    /// `via=tcp`
    Tcp(bool),
    /// `buffer>1232` and `buffer<=1232`: what the client says it takes over UDP; 512 without EDNS.
    BufferOver(u16, bool),
    /// `asked=ANY`: the type of the question itself. `ANY` in the place of the type stands for every type.
    Asked(RecordType),
}

/// What conditions are held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    pub(super) cd: bool,
    pub(super) dnssec: bool,
    pub(super) edns: bool,
    pub(super) rd: bool,
    pub(super) tcp: bool,
    pub(super) buffer: u16,
    pub(super) asked: RecordType,
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
    NotImp,
    FormErr,
    Timeout,
    /// Over TCP the connection is closed without an answer.
    Close,
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
        let mut zone = Self::default();
        for (at, line) in text.lines().enumerate() {
            let words = words(line).map_err(|what| Complaint::new(at + 1, what))?;
            match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                [] => {}
                ["$TCP", "refuse"] => zone.tcp_refused = true,
                [word, ..] if word.starts_with('$') => {
                    return Err(Complaint::new(at + 1, "the only line of this kind is `$TCP refuse`"));
                }
                _ => zone.rules.extend(rules_of(&words).map_err(|what| Complaint::new(at + 1, what))?),
            }
        }
        Ok(zone)
    }
}

/// `owner [TTL] [IN] TYPE [CONDITION…] [#N] data…` or `… !WORD…`; several words make several rules.
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
    let (mut when, mut conditions) = (None, Vec::new());
    while let Some((word, more)) = rest.split_first() {
        match (When::parse(word), Condition::parse(word)) {
            (Some(number), _) if when.is_none() => when = Some(number),
            (None, Some(condition)) => conditions.push(condition?),
            _ => break,
        }
        rest = more;
    }
    let what = match rest.first() {
        Some(word) if word.starts_with('!') => misbehaviour(rest)?.into_iter().map(What::Word).collect(),
        _ => vec![What::Data { ttl_s, data: record::parse(kind, rest)? }],
    };
    let owner = owner.trim_end_matches('.').to_ascii_lowercase();
    let rule = |what| Rule {
        owner: owner.clone(),
        kind,
        when: when.unwrap_or(When::Always),
        conditions: conditions.clone(),
        what,
    };
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
            "!NOTIMP" => Word::NotImp,
            "!FORMERR" => Word::FormErr,
            "!CLOSE" => Word::Close,
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
                    "\"{other}\" is none of !SERVFAIL !NXDOMAIN !NODATA !REFUSED !NOTIMP !FORMERR !TIMEOUT !CLOSE !TRUNCATE !DELAY !AD !EDE"
                ));
            }
        });
    }
    Ok(found)
}

impl Condition {
    /// None if the word is no condition at all; a TXT record may well have `x=y` as its data, in quotes or not.
    fn parse(word: &str) -> Option<Result<Self, String>> {
        if let Some(number) = word.strip_prefix("buffer>") {
            return Some(number.parse().map(|size| Self::BufferOver(size, true)).map_err(|_| no_number(word)));
        }
        if let Some(number) = word.strip_prefix("buffer<=") {
            return Some(number.parse().map(|size| Self::BufferOver(size, false)).map_err(|_| no_number(word)));
        }
        let (key, value) = word.split_once('=')?;
        let flag = value == "yes";
        match (key, value) {
            ("cd", "yes" | "no") => Some(Ok(Self::Cd(flag))),
            ("do", "yes" | "no") => Some(Ok(Self::Do(flag))),
            ("edns", "yes" | "no") => Some(Ok(Self::Edns(flag))),
            ("rd", "yes" | "no") => Some(Ok(Self::Rd(flag))),
            ("via", "tcp" | "udp") => Some(Ok(Self::Tcp(value == "tcp"))),
            ("asked", kind) => Some(kind_of(kind).map(Self::Asked)),
            _ => None,
        }
    }

    pub(super) fn holds(&self, question: &Circumstances) -> bool {
        match self {
            Self::Cd(wanted) => question.cd == *wanted,
            Self::Do(wanted) => question.dnssec == *wanted,
            Self::Edns(wanted) => question.edns == *wanted,
            Self::Rd(wanted) => question.rd == *wanted,
            Self::Tcp(wanted) => question.tcp == *wanted,
            Self::BufferOver(size, wanted) => (question.buffer > *size) == *wanted,
            Self::Asked(kind) => question.asked == *kind,
        }
    }
}

fn no_number(word: &str) -> String {
    format!("\"{word}\": expected a number of octets")
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
        assert!(complaint("a.test A buffer>x !TIMEOUT").contains("octets"));
        assert!(complaint("$ORIGIN test").contains("$TCP refuse"));
    }

    #[test]
    fn quotes_keep_blanks_and_semicolons() {
        assert_eq!(words(r#"a TXT "v=spf1 -all; x" "b\"c""#).unwrap(), ["a", "TXT", "v=spf1 -all; x", "b\"c"]);
    }
}
