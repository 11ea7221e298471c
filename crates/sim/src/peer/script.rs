//! A peer's script: one line for each word that it treats in its own way.

use std::{net::SocketAddr, str::FromStr};

use super::act::Act;
use crate::{Complaint, When, glob};

/// What a peer offers in EHLO unless `ehlo caps` says otherwise.
const CAPS: [&str; 5] = ["PIPELINING", "SIZE 10485760", "ENHANCEDSTATUSCODES", "8BITMIME", "DSN"];

/// How a peer behaves. Parse it from text; an empty text is a well-behaved peer. See `docs/book/scenarios.md`.
#[derive(Debug, Clone)]
pub struct Script {
    pub(super) presence: Presence,
    /// The peer's own name: in its banner, its EHLO reply and its certificate.
    pub(super) hostname: Option<String>,
    pub(super) caps: Vec<String>,
    pub(super) tls: Tls,
    pub(super) certificate: CertificateKind,
    pub(super) user: Option<(String, String)>,
    pub(super) connections_max: Option<usize>,
    pub(super) relays: Vec<Relay>,
    pub(super) rules: Vec<Rule>,
}

/// Does anything listen at the address?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Listens,
    /// No listener: connections are refused.
    Refuses,
    /// A listener whose backlog is full: connections get no answer.
    BlackHole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tls {
    Absent,
    Offered,
    /// STARTTLS is answered with 220, then comes no TLS.
    Garbage,
    /// TLS from the first byte, as on port 465.
    Implicit,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CertificateKind {
    Good,
    Expired,
    /// For another name than the peer's own.
    Named(String),
}

/// Sends accepted messages on; only those with a matching recipient.
#[derive(Debug, Clone)]
pub(super) struct Relay {
    pub(super) recipients: String,
    pub(super) to: SocketAddr,
}

/// `VERB [PATTERN] [helo=P] [source=P] [sender=P] [tls=yes|no] [#N] ACTION`
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) verb: Verb,
    conditions: Vec<(Condition, String)>,
    pub(super) when: When,
    pub(super) act: Act,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Banner,
    Helo,
    Ehlo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// While the content is coming in.
    Body,
    /// The final dot (or BDAT LAST).
    Dot,
    Rset,
    Noop,
    Quit,
    /// Every other command.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Subject,
    Helo,
    Source,
    Sender,
    Tls,
}

/// What the conditions of a rule are held against.
#[derive(Debug)]
pub(super) struct Situation<'a> {
    pub(super) verb: Verb,
    /// The address of MAIL or RCPT, the name of EHLO.
    pub(super) subject: &'a str,
    pub(super) helo: &'a str,
    pub(super) source: &'a str,
    pub(super) sender: &'a str,
    pub(super) tls: bool,
}

impl Script {
    /// Names the peer, unless the script has a `hostname` line.
    pub fn named(mut self, hostname: &str) -> Self {
        self.hostname.get_or_insert_with(|| hostname.to_owned());
        self
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match (word, rest) {
            ("refuse", "") => self.presence = Presence::Refuses,
            ("blackhole", "") => self.presence = Presence::BlackHole,
            ("hostname", name) if !name.is_empty() => self.hostname = Some(name.to_owned()),
            ("connections", number) => {
                self.connections_max = Some(number.parse().map_err(|_| "connections needs a number")?)
            }
            ("relay", to) => self.relays.push(Relay::parse(to)?),
            ("user", pair) => {
                let (name, password) = pair.split_once(' ').ok_or("user needs a name and a password")?;
                self.user = Some((name.to_owned(), password.trim().to_owned()));
            }
            ("tls", "implicit") => self.tls = Tls::Implicit,
            ("certificate", kind) => self.certificate = CertificateKind::parse(kind)?,
            ("starttls", "garbage") => self.tls = Tls::Garbage,
            ("starttls", "") => self.tls = Tls::Offered,
            ("starttls", kind) if CertificateKind::parse(kind).is_ok() => {
                self.tls = Tls::Offered;
                self.certificate = CertificateKind::parse(kind)?;
            }
            ("ehlo", caps) if caps.split_whitespace().next() == Some("caps") => self.caps(&caps["caps".len()..]),
            _ => {
                let rule = Rule::parse(word, rest)?;
                if rule.verb == Verb::StartTls && self.tls == Tls::Absent {
                    self.tls = Tls::Offered;
                }
                self.rules.push(rule);
            }
        }
        Ok(())
    }

    /// `+X` adds and `-X` takes away; any other word makes the list anew.
    fn caps(&mut self, words: &str) {
        let words: Vec<&str> = words.split_whitespace().collect();
        if !words.iter().all(|word| word.starts_with(['+', '-'])) || words.is_empty() {
            self.caps.clear();
        }
        for word in words {
            let keyword = word.trim_start_matches(['+', '-']).replace('=', " ");
            self.caps.retain(|cap| cap.split(' ').next() != keyword.split(' ').next());
            if !word.starts_with('-') {
                self.caps.push(keyword);
            }
        }
    }
}

impl Default for Script {
    fn default() -> Self {
        Self {
            presence: Presence::Listens,
            hostname: None,
            caps: CAPS.map(str::to_owned).to_vec(),
            tls: Tls::Absent,
            certificate: CertificateKind::Good,
            user: None,
            connections_max: None,
            relays: Vec::new(),
            rules: Vec::new(),
        }
    }
}

impl FromStr for Script {
    type Err = Complaint;

    fn from_str(text: &str) -> Result<Self, Complaint> {
        let mut script = Self::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                script.line(line).map_err(|what| Complaint::new(at + 1, what))?;
            }
        }
        Ok(script)
    }
}

impl Relay {
    /// `[RECIPIENT] ADDRESS:PORT`
    fn parse(text: &str) -> Result<Self, String> {
        let (recipients, to) = text.rsplit_once(char::is_whitespace).unwrap_or(("*", text));
        let to = to.parse().map_err(|_| format!("\"{to}\" is no ADDRESS:PORT"))?;
        Ok(Self { recipients: recipients.trim().to_owned(), to })
    }
}

impl CertificateKind {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(' ').unwrap_or((text, "")) {
            ("expired", "") => Ok(Self::Expired),
            ("name", name) if !name.is_empty() => Ok(Self::Named(name.trim().to_owned())),
            _ => Err(format!("\"{text}\" is no certificate: expected `expired` or `name OTHER.NAME`")),
        }
    }
}

impl Rule {
    fn parse(verb: &str, mut rest: &str) -> Result<Self, String> {
        let verb = Verb::parse(verb).ok_or_else(|| format!("\"{verb}\" is neither a verb nor a setting of a peer"))?;
        let mut rule = Self { verb, conditions: Vec::new(), when: When::Always, act: Act::USUAL };
        loop {
            let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            if word.is_empty() || Act::begins(word) {
                break;
            }
            match When::parse(word) {
                Some(when) => rule.when = when,
                None => rule.conditions.push(condition(verb, word)?),
            }
            rest = after.trim_start();
        }
        rule.act = Act::parse(rest)?;
        let body_can_not_reply =
            verb == Verb::Body && rule.act.then == super::act::Then::Stay && rule.act.delay.is_zero();
        if body_can_not_reply {
            return Err(
                "in the middle of the content only delay, close, reset, silence and halfclose make sense".to_owned()
            );
        }
        Ok(rule)
    }

    /// Do the conditions hold? The number is counted by whoever asks.
    pub(super) fn concerns(&self, situation: &Situation) -> bool {
        self.verb == situation.verb
            && self.conditions.iter().all(|(condition, pattern)| condition.holds(pattern, situation))
    }
}

fn condition(verb: Verb, word: &str) -> Result<(Condition, String), String> {
    let condition = match word.split_once('=') {
        Some(("helo", pattern)) => (Condition::Helo, pattern),
        Some(("source", pattern)) => (Condition::Source, pattern),
        Some(("sender", pattern)) => (Condition::Sender, pattern),
        Some(("tls", pattern @ ("yes" | "no"))) => (Condition::Tls, pattern),
        _ if matches!(verb, Verb::Mail | Verb::Rcpt | Verb::Ehlo | Verb::Helo | Verb::Other) => {
            (Condition::Subject, word)
        }
        _ => return Err(format!("\"{word}\" is neither a condition nor an action")),
    };
    Ok((condition.0, condition.1.to_owned()))
}

impl Condition {
    fn holds(self, pattern: &str, situation: &Situation) -> bool {
        let text = match self {
            Self::Subject => situation.subject,
            Self::Helo => situation.helo,
            Self::Source => situation.source,
            Self::Sender => situation.sender,
            Self::Tls => return (pattern == "yes") == situation.tls,
        };
        // The null sender can be written as it is in MAIL.
        let pattern = if pattern == "<>" { "" } else { pattern };
        glob::matches(pattern, text)
    }
}

impl Verb {
    /// The verb of a script line.
    fn parse(word: &str) -> Option<Self> {
        match word {
            "banner" => Some(Self::Banner),
            "dot" => Some(Self::Dot),
            "body" => Some(Self::Body),
            "other" => Some(Self::Other),
            _ => Some(Self::of_command(word)).filter(|verb| *verb != Self::Other),
        }
    }

    /// The verb of a command line that a client sent.
    pub(super) fn of_command(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "helo" => Self::Helo,
            "ehlo" => Self::Ehlo,
            "starttls" => Self::StartTls,
            "auth" => Self::Auth,
            "mail" => Self::Mail,
            "rcpt" => Self::Rcpt,
            "data" => Self::Data,
            "rset" => Self::Rset,
            "noop" => Self::Noop,
            "quit" => Self::Quit,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Script {
        text.parse().unwrap()
    }

    #[test]
    fn an_empty_script_is_a_well_behaved_peer() {
        let script = script("\n# nothing\n");
        assert_eq!(script.presence, Presence::Listens);
        assert!(script.rules.is_empty() && script.caps.contains(&"PIPELINING".to_owned()));
    }

    #[test]
    fn capabilities_are_replaced_or_changed() {
        assert_eq!(script("ehlo caps PIPELINING SIZE=1000").caps, ["PIPELINING", "SIZE 1000"]);
        let changed = script("ehlo caps +CHUNKING -DSN +SIZE=5").caps;
        assert!(changed.contains(&"CHUNKING".to_owned()) && changed.contains(&"SIZE 5".to_owned()));
        assert!(!changed.contains(&"DSN".to_owned()) && !changed.contains(&"SIZE 10485760".to_owned()));
        assert!(script("ehlo caps").caps.is_empty());
    }

    #[test]
    fn a_rule_holds_for_what_it_names() {
        let script = script("rcpt bad@x.test helo=*.test tls=no #1 550 5.1.1 no");
        let mut situation = Situation {
            verb: Verb::Rcpt,
            subject: "Bad@x.test",
            helo: "gw.test",
            source: "127.0.0.2",
            sender: "",
            tls: false,
        };
        assert!(script.rules[0].concerns(&situation));
        situation.tls = true;
        assert!(!script.rules[0].concerns(&situation));
        assert_eq!(script.rules[0].when, When::Only(1));
    }

    #[test]
    fn tls_is_offered_in_several_kinds() {
        assert_eq!(script("starttls expired").certificate, CertificateKind::Expired);
        assert_eq!(script("starttls name other.test").certificate, CertificateKind::Named("other.test".to_owned()));
        assert_eq!(script("starttls garbage").tls, Tls::Garbage);
        assert_eq!(script("starttls 454 4.7.0 not now").tls, Tls::Offered);
    }

    #[test]
    fn a_wrong_line_is_named_with_its_number() {
        for wrong in [
            "rcpt",
            "rcpt bad@x.test",
            "frobnicate 250",
            "relay x",
            "connections many",
            "data foo 250",
            "body 250 ok",
            "dot",
        ] {
            let complaint = format!("\n{wrong}").parse::<Script>().unwrap_err();
            assert_eq!(complaint.line, 2, "{wrong}");
        }
    }
}
