//! A peer's script: one line for each word that it treats in its own way.

use std::{net::SocketAddr, str::FromStr, time::Duration};

use super::{act::Act, tls::Replay};
use crate::{Complaint, Span, When, glob};

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
    pub(super) user: Option<User>,
    /// What AUTH offers.
    pub(super) mechanisms: String,
    pub(super) connections_max: Option<usize>,
    /// So many recipients for each message, and the reply to the next one.
    pub(super) recipients_max: Option<(usize, Act)>,
    /// How long a client may be silent, and what it is told then.
    pub(super) idle: Option<(Duration, Act)>,
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

/// `user NAME PASSWORD [tls]`
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: String,
    /// AUTH is offered inside TLS only.
    pub(super) needs_tls: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tls {
    Absent,
    Offered,
    /// A handshake that answers the ClientHello with these bytes, and then ends.
    Replay(Replay),
    /// Only this server name is served (the peer's own, if there is none); any other gets the alert unrecognized_name.
    Sni(Option<String>),
    /// STARTTLS is answered with 220, then comes no TLS.
    Garbage,
    /// TLS from the first byte, as on port 465.
    Implicit,
}

/// `[issued] [expired | future] [name X]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CertificateKind {
    /// By the lab's CA; else by itself.
    pub(super) issued: bool,
    pub(super) validity: Validity,
    /// For another name than the peer's own.
    pub(super) name: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Validity {
    #[default]
    Now,
    /// Ended on 2020-02-01.
    Expired,
    /// Begins on 2090-01-01.
    Future,
}

/// Sends accepted messages on; only those with a matching recipient.
#[derive(Debug, Clone)]
pub(super) struct Relay {
    pub(super) recipients: String,
    pub(super) to: SocketAddr,
    pub(super) how: How,
    /// `recipient=X`: to this address in place of the one it came for: a forward.
    pub(super) recipient: Option<String>,
    /// `sender=X`: with this envelope sender, also in place of the null sender.
    pub(super) sender: Option<String>,
    /// `delivered-to`: with a Delivered-To field for the recipient that it came for.
    pub(super) delivered_to: bool,
    /// `bare`: without a Received field, and without those that were there.
    pub(super) bare: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// `relay`: the same message goes on.
    On,
    /// `autoreply`: a new message goes to its sender, as from an out-of-office responder that knows nothing of RFC 3834.
    Answer,
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
    User,
    /// A parameter of MAIL or RCPT.
    With,
    /// The size that MAIL declares, or of the content, in octets.
    SizeOver,
    /// The longest line of the content in octets, without its CRLF.
    LineOver,
    /// Somewhere in the content.
    Has,
    /// A bare CR in the content.
    BareCr,
    Nul,
    EightBit,
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
    /// The user of AUTH; empty if there was none.
    pub(super) user: &'a str,
    /// The words after the address.
    pub(super) parameters: &'a [String],
    pub(super) content: &'a [u8],
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
            ("recipients", limit) => {
                let (number, reply) = limit.split_once(' ').unwrap_or((limit, "452 4.5.3 too many recipients"));
                let number = number.parse().map_err(|_| "recipients needs a number")?;
                self.recipients_max = Some((number, Act::parse(reply)?));
            }
            ("idle", limit) => {
                let (span, act) = limit.split_once(' ').unwrap_or((limit, "421 4.4.2 idle timeout then close"));
                self.idle = Some((span.parse::<Span>()?.0, Act::parse(act)?));
            }
            ("relay", to) => self.relays.push(Relay::parse(How::On, to)?),
            ("autoreply", to) => self.relays.push(Relay::parse(How::Answer, to)?),
            ("user", words) => self.user = Some(User::parse(words)?),
            ("mechanisms", names) if !names.is_empty() => self.mechanisms = names.to_owned(),
            ("tls", "implicit") => self.tls = Tls::Implicit,
            ("certificate", kind) => self.certificate = CertificateKind::parse(kind)?,
            ("starttls", "garbage") => self.tls = Tls::Garbage,
            ("starttls", "") => self.tls = Tls::Offered,
            ("starttls", "sni") => self.tls = Tls::Sni(None),
            ("starttls", name) if name.starts_with("sni ") => self.tls = Tls::Sni(Some(name[4..].trim().to_owned())),
            ("starttls", replay) if Replay::begins(replay) => self.tls = Tls::Replay(Replay::parse(replay)?),
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
            let keyword = word.trim_start_matches(['+', '-']).replacen('=', " ", 1);
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
            certificate: CertificateKind::default(),
            user: None,
            mechanisms: "PLAIN LOGIN".to_owned(),
            connections_max: None,
            recipients_max: None,
            idle: None,
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

impl Tls {
    /// Does EHLO say STARTTLS?
    pub(super) fn offered(&self) -> bool {
        !matches!(self, Self::Absent | Self::Implicit)
    }
}

impl User {
    fn parse(words: &str) -> Result<Self, String> {
        match words.split_whitespace().collect::<Vec<_>>()[..] {
            [name, password] => Ok(Self { name: name.to_owned(), password: password.to_owned(), needs_tls: false }),
            [name, password, "tls"] => {
                Ok(Self { name: name.to_owned(), password: password.to_owned(), needs_tls: true })
            }
            _ => Err("user needs a name and a password; `tls` may follow".to_owned()),
        }
    }
}

impl Relay {
    /// `[RECIPIENT] ADDRESS:PORT [recipient=X] [sender=X] [delivered-to] [bare]`
    fn parse(how: How, text: &str) -> Result<Self, String> {
        let mut relay = None;
        let mut recipients = "*";
        for word in text.split_whitespace() {
            let Some(relay) = relay.as_mut() else {
                match word.parse() {
                    Ok(to) => relay = Some(Self::plain(how, recipients, to)),
                    Err(_) if recipients == "*" => recipients = word,
                    Err(_) => return Err(format!("\"{word}\" is no ADDRESS:PORT")),
                }
                continue;
            };
            match word.split_once('=').unwrap_or((word, "")) {
                ("recipient", address) if !address.is_empty() => relay.recipient = Some(address.to_owned()),
                ("sender", address) => relay.sender = Some(address.trim_matches(['<', '>']).to_owned()),
                ("delivered-to", "") => relay.delivered_to = true,
                ("bare", "") => relay.bare = true,
                _ => return Err(format!("\"{word}\" is none of recipient=X, sender=X, delivered-to, bare")),
            }
        }
        relay.ok_or_else(|| format!("\"{text}\" names no ADDRESS:PORT"))
    }

    fn plain(how: How, recipients: &str, to: SocketAddr) -> Self {
        Self {
            recipients: recipients.to_owned(),
            to,
            how,
            recipient: None,
            sender: None,
            delivered_to: false,
            bare: false,
        }
    }
}

impl CertificateKind {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("\"{text}\" is no certificate: expected `issued`, `expired` or `future`, `name OTHER.NAME`");
        let mut kind = Self::default();
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            match word {
                "issued" => kind.issued = true,
                "expired" => kind.validity = Validity::Expired,
                "future" => kind.validity = Validity::Future,
                "name" => kind.name = Some(words.next().ok_or_else(wrong)?.to_owned()),
                _ => return Err(wrong()),
            }
        }
        if kind == Self::default() { Err(wrong()) } else { Ok(kind) }
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
        Some(("user", pattern)) => (Condition::User, pattern),
        Some(("with", pattern)) if matches!(verb, Verb::Mail | Verb::Rcpt) => (Condition::With, pattern),
        Some(("has", pattern)) if verb == Verb::Dot => (Condition::Has, pattern),
        _ if word.starts_with("size>") && matches!(verb, Verb::Mail | Verb::Dot) => (Condition::SizeOver, &word[5..]),
        _ if word.starts_with("line>") && verb == Verb::Dot => (Condition::LineOver, &word[5..]),
        _ if verb == Verb::Dot && word == "bare-cr" => (Condition::BareCr, ""),
        _ if verb == Verb::Dot && word == "nul" => (Condition::Nul, ""),
        _ if verb == Verb::Dot && word == "8bit" => (Condition::EightBit, ""),
        _ if matches!(verb, Verb::Mail | Verb::Rcpt | Verb::Ehlo | Verb::Helo | Verb::Other) => {
            (Condition::Subject, word)
        }
        _ => return Err(format!("\"{word}\" is neither a condition nor an action")),
    };
    if matches!(condition.0, Condition::SizeOver | Condition::LineOver) && condition.1.parse::<usize>().is_err() {
        return Err(format!("\"{word}\" needs a number of octets"));
    }
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
            Self::User => match pattern {
                "no" => return situation.user.is_empty(),
                "yes" => return !situation.user.is_empty(),
                _ => situation.user,
            },
            Self::With => return situation.parameters.iter().any(|word| glob::matches(pattern, word)),
            Self::SizeOver => return situation.size() > pattern.parse().unwrap_or(usize::MAX),
            Self::LineOver => return longest_line(situation.content) > pattern.parse().unwrap_or(usize::MAX),
            Self::Has => {
                return glob::matches(&format!("*{pattern}*"), &String::from_utf8_lossy(situation.content));
            }
            Self::BareCr => return has_bare_cr(situation.content),
            Self::Nul => return situation.content.contains(&0),
            Self::EightBit => return !situation.content.is_ascii(),
        };
        // The null sender can be written as it is in MAIL.
        let pattern = if pattern == "<>" { "" } else { pattern };
        glob::matches(pattern, text)
    }
}

impl Situation<'_> {
    /// RFC 1870: what MAIL declares; at the final dot, what came.
    fn size(&self) -> usize {
        let declared =
            self.parameters.iter().find_map(|word| word.to_ascii_uppercase().strip_prefix("SIZE=")?.parse().ok());
        if self.verb == Verb::Dot { self.content.len() } else { declared.unwrap_or(0) }
    }
}

fn longest_line(content: &[u8]) -> usize {
    content.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line).len()).max().unwrap_or(0)
}

fn has_bare_cr(content: &[u8]) -> bool {
    content.windows(2).any(|pair| pair[0] == b'\r' && pair[1] != b'\n')
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
            user: "",
            parameters: &[],
            content: b"",
        };
        assert!(script.rules[0].concerns(&situation));
        situation.tls = true;
        assert!(!script.rules[0].concerns(&situation));
        assert_eq!(script.rules[0].when, When::Only(1));
    }

    #[test]
    fn tls_is_offered_in_several_kinds() {
        assert_eq!(script("starttls expired").certificate.validity, Validity::Expired);
        assert_eq!(script("starttls name other.test").certificate.name.as_deref(), Some("other.test"));
        let issued = script("starttls issued future name *.hoster.test").certificate;
        assert!(issued.issued && issued.validity == Validity::Future);
        assert_eq!(issued.name.as_deref(), Some("*.hoster.test"));
        assert_eq!(script("starttls sni").tls, Tls::Sni(None));
        assert!(matches!(script("starttls alert 70").tls, Tls::Replay(_)));
        assert_eq!(script("starttls garbage").tls, Tls::Garbage);
        assert_eq!(script("starttls 454 4.7.0 not now").tls, Tls::Offered);
    }

    #[test]
    fn a_rule_can_look_at_the_content() {
        let script = script(
            "dot size>10 has=TEST*SPAM 554 5.7.1 no\ndot line>5 500 long\ndot bare-cr 550 cr\nmail with=SMTPUTF8 550 no",
        );
        let situation = |verb, content, parameters| Situation {
            verb,
            subject: "",
            helo: "",
            source: "",
            sender: "",
            tls: false,
            user: "",
            parameters,
            content,
        };
        let holds = |rule: usize, content| script.rules[rule].concerns(&situation(Verb::Dot, content, &[]));
        assert!(holds(0, b"a testing spam\r\n") && !holds(0, b"TESTSPAM") && !holds(0, b"nothing of the kind"));
        assert!(holds(1, b"a\r\n123456\r\n") && !holds(1, b"12345\r\n12345\r\n"));
        assert!(holds(2, b"10%\r20%\r\n") && !holds(2, b"10%\r\n20%\r\n"));
        assert!(script.rules[3].concerns(&situation(Verb::Mail, b"", &["SMTPUTF8".to_owned()])));
    }

    #[test]
    fn a_relay_can_change_what_it_sends_on() {
        let script =
            script("relay y@b.test 127.0.0.2:2525 recipient=x@a.test sender=<> delivered-to\nautoreply 127.0.0.2:2525");
        assert_eq!(script.relays[0].recipient.as_deref(), Some("x@a.test"));
        assert_eq!((script.relays[0].sender.as_deref(), script.relays[0].delivered_to), (Some(""), true));
        assert_eq!((script.relays[1].how, script.relays[1].recipients.as_str()), (How::Answer, "*"));
    }

    #[test]
    fn a_wrong_line_is_named_with_its_number() {
        for wrong in [
            "relay 127.0.0.2:2525 frob",
            "recipients many",
            "idle 5",
            "starttls alert",
            "starttls issued by",
            "dot size>x 552 no",
            "user gw",
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
