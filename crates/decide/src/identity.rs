//! The identity check: how this gateway looks from outside. Facts in, lines out: each with its state, the facts as they were
//! seen, and the exact record or setting to change.
//!
//! [`judge`] asks until it knows, as the checks of `validate.rs` do. A lookup that failed makes a line "not checked", never a
//! missing record: unknown is not no.

mod receiving;
mod reverse;
mod sending;
mod sources;
#[cfg(test)]
mod tests;

use crate::settings::Settings;
use mail::dns::{Answer, Kind, Outcome, Question};
use mail::{Actor, Certificate, Confidence, Connect, Domain, Finding, Identity, Listener, Retry, Severity, Time};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// What is looked at, in the order of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The MTA host name, and other EHLO names: whether they are names at all.
    HostName,
    /// Their addresses.
    Address,
    /// Which address mail leaves from.
    Source,
    /// The source's PTR record, forward-confirmed.
    ReverseName,
    /// EHLO name and reverse name beside each other.
    EhloName,
    Ipv6,
    Spf,
    BlockList,
    Port25,
    Mx,
    Listening,
    Certificate,
}

/// How a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Ok,
    /// Worth knowing; nothing is wrong.
    Note,
    /// It is not known; the line says why.
    NotChecked,
    /// Some receivers mind it.
    Warning,
    /// Mail is refused for it, or does not come.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub check: Check,
    /// The name, address, domain or listener.
    pub about: String,
    pub state: State,
    pub sentence: String,
    /// Facts, one each, as they were seen.
    pub evidence: Vec<String>,
    /// The record or setting to change.
    pub fix: Vec<String>,
    /// The same as a cause that has a page of its own (`gatepost explain`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<Finding>,
}

/// All that is known before DNS is asked.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub settings: &'a Settings,
    pub identity: &'a Identity,
    /// The MTA host name in force, or the one proposed.
    pub hostname: &'a Domain,
    /// The name is not in force yet: only what depends on it is looked at.
    pub proposed: bool,
    /// The address that the system would choose towards the Internet, for each family that has a way there.
    pub chosen: &'a [IpAddr],
    pub dns: &'a [Answer],
    /// Where SMTP is spoken. Empty: no gateway is running.
    pub listening: &'a [(Listener, SocketAddr)],
    pub shown: &'a [Shown],
    pub port25: &'a Outward,
    pub now: Time,
}

/// The certificate that a listener shows.
#[derive(Clone, Debug)]
pub struct Shown {
    pub listener: Listener,
    /// Verified for no name in particular; or why it cannot be used.
    pub certificate: Result<Certificate, String>,
    /// Made by the gateway itself, since the settings name none.
    pub own_making: bool,
}

/// Whether port 25 of others can be reached.
#[derive(Clone, Debug)]
pub enum Outward {
    /// Why not.
    NotTried(String),
    Tried(Vec<Reach>),
}

/// A connection to another mail server, in which nothing was said.
#[derive(Clone, Debug)]
pub struct Reach {
    pub domain: String,
    pub host: String,
    pub address: SocketAddr,
    pub connect: Connect,
}

/// An address that the outside sees mail come from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    address: IpAddr,
    /// The private address that NAT turns into it.
    inside: Option<IpAddr>,
    /// The name said in EHLO from there.
    ehlo: String,
}

/// What a look at the facts comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Judged {
    /// DNS must be asked this first.
    Ask(Vec<Question>),
    Lines(Vec<Line>),
}

/// Looks at everything.
pub fn judge(facts: &Facts<'_>) -> Judged {
    let dns = Dns { known: facts.dns, wanted: RefCell::default() };
    let (sources, mut lines) = sources::find(facts);
    let mut names = vec![facts.hostname.ascii()];
    if !facts.proposed {
        names.extend(sources.iter().map(|source| source.ehlo.clone()));
    }
    names.dedup();
    for name in &names {
        lines.push(reverse::host_name(facts, name));
        lines.push(reverse::address(facts, &dns, name, &sources));
    }
    for source in sources.iter().filter(|source| !facts.proposed || source.ehlo == facts.hostname.ascii()) {
        let (line, confirmed) = reverse::reverse_name(facts, &dns, source);
        lines.push(line);
        lines.extend(reverse::ehlo_name(&dns, source, &confirmed));
    }
    let (mx, hosts_here) = receiving::mx(facts, &dns);
    lines.extend(receiving::certificates(facts, &hosts_here));
    if !facts.proposed {
        lines.push(sources::ipv6(facts, &dns, &sources));
        lines.extend(sending::spf(facts, &dns, &sources));
        lines.extend(sending::block_lists(facts, &dns, &sources));
        lines.push(sending::port25(facts));
        lines.extend(mx);
        lines.extend(receiving::listening(facts));
    }
    let mut wanted = dns.wanted.into_inner();
    if !wanted.is_empty() {
        wanted.sort();
        wanted.dedup();
        return Judged::Ask(wanted);
    }
    lines.sort_by_key(|line| line.check);
    Judged::Lines(lines)
}

/// Whether a test connection may go there: not into our own networks, unless the settings say that mail may.
pub fn may_be_dialled(settings: &Settings, address: IpAddr) -> bool {
    crate::route::is_on_the_internet(address) || settings.delivery.allow_private_addresses.allow(address)
}

/// The worst of them.
pub fn worst(lines: &[Line]) -> State {
    lines.iter().map(|line| line.state).max().unwrap_or(State::Ok)
}

/// What is new since the last check. A line that could not be checked keeps the state that it had.
pub fn changes<'l>(before: &[Line], after: &'l [Line]) -> Vec<(Option<State>, &'l Line)> {
    let was = |line: &Line| {
        let same = |old: &&Line| old.check == line.check && old.about == line.about;
        before.iter().find(same).map(|old| old.state)
    };
    let news = after.iter().filter(|line| line.state != State::NotChecked).map(|line| (was(line), line));
    news.filter(|(was, line)| was.map_or(line.state >= State::Warning, |was| was != line.state)).collect()
}

/// What is kept for the next comparison: a line that could not be checked stands as it stood before.
pub fn remembered(before: &[Line], after: &[Line]) -> Vec<Line> {
    let same = |one: &Line, other: &Line| one.check == other.check && one.about == other.about;
    let known = |line: &Line| {
        let old = before.iter().find(|old| same(old, line)).filter(|_| line.state == State::NotChecked);
        old.unwrap_or(line).clone()
    };
    after.iter().map(known).collect()
}

impl Check {
    /// The words for people, and for settings that name a check.
    pub fn name(self) -> &'static str {
        match self {
            Check::HostName => "host name",
            Check::Address => "address",
            Check::Source => "source",
            Check::ReverseName => "reverse name",
            Check::EhloName => "EHLO name",
            Check::Ipv6 => "IPv6",
            Check::Spf => "SPF",
            Check::BlockList => "block list",
            Check::Port25 => "port 25",
            Check::Mx => "MX",
            Check::Listening => "listening",
            Check::Certificate => "certificate",
        }
    }
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Note => "note",
            State::NotChecked => "not checked",
            State::Warning => "warning",
            State::Problem => "problem",
        }
    }
}

/// `problem: reverse name: 203.0.113.5 has no PTR record (NXDOMAIN)`
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.state.name(), self.check.name(), self.sentence)
    }
}

impl Line {
    fn new(check: Check, about: impl Into<String>, state: State, sentence: impl Into<String>) -> Line {
        let (about, sentence) = (about.into(), sentence.into());
        Line { check, about, state, sentence, evidence: Vec::new(), fix: Vec::new(), finding: None }
    }

    fn seen(mut self, fact: impl Into<String>) -> Line {
        self.evidence.push(fact.into());
        self
    }

    fn answers(mut self, answers: &[&Answer]) -> Line {
        self.evidence.extend(answers.iter().map(|answer| answer.summary()));
        self
    }

    fn fix(mut self, step: impl Into<String>) -> Line {
        self.fix.push(step.into());
        self
    }

    fn disproof(&self) -> String {
        let about = &self.about;
        match self.check {
            Check::HostName | Check::Address => format!("an A or AAAA record of {about} at its own name servers"),
            Check::ReverseName => format!("a PTR record of {about} in public DNS whose name has that address"),
            Check::EhloName => "a refusal that names the difference of the two names as its reason".to_owned(),
            Check::BlockList => "the list's own web page, asked about the address".to_owned(),
            Check::Certificate => "another certificate in the handshake with the listener".to_owned(),
            Check::Port25 => "a connection to port 25 of another mail server that comes about".to_owned(),
            Check::Source | Check::Ipv6 | Check::Spf | Check::Mx | Check::Listening => {
                "the records as the outside sees them".to_owned()
            }
        }
    }

    /// Names the cause; said last, since it takes sentence, evidence and fix as they are.
    fn because(mut self, cause: &'static str, actor: Actor, confidence: Confidence) -> Line {
        let mut finding = Finding::new(cause, actor, format!("{}.", self.sentence.trim_end_matches('.')))
            .confidence(confidence)
            .severity(match self.state {
                State::Problem => Severity::Failure,
                State::Warning => Severity::Warning,
                State::Ok | State::Note | State::NotChecked => Severity::Info,
            })
            .retry(if self.state >= State::Warning { Retry::AfterFix } else { Retry::NotNeeded })
            .disproof(self.disproof());
        finding.evidence.clone_from(&self.evidence);
        finding.fix.clone_from(&self.fix);
        self.finding = Some(finding);
        self
    }
}

/// What DNS has said, and what it must still be asked.
struct Dns<'a> {
    known: &'a [Answer],
    wanted: RefCell<Vec<Question>>,
}

impl<'a> Dns<'a> {
    /// The answer; a bare one that failed while the question is still to be put.
    fn ask(&self, question: Question) -> std::borrow::Cow<'a, Answer> {
        match self.known.iter().find(|answer| answer.question == question) {
            Some(answer) => std::borrow::Cow::Borrowed(answer),
            None => {
                self.wanted.borrow_mut().push(question.clone());
                std::borrow::Cow::Owned(Answer::failed(question, "not asked yet"))
            }
        }
    }

    fn known(&self, question: &Question) -> Option<&'a Answer> {
        self.known.iter().find(|answer| answer.question == *question)
    }

    fn want(&self, questions: Vec<Question>) {
        self.wanted.borrow_mut().extend(questions);
    }

    /// A and AAAA of a name.
    fn addresses(&self, name: &str) -> Addresses<'a> {
        let answers = [Kind::A, Kind::Aaaa].map(|kind| self.ask(Question::new(name, kind)));
        let all = answers.iter().flat_map(|answer| answer.addresses()).map(|address| address.to_canonical()).collect();
        Addresses { all, answers }
    }
}

/// The addresses of a name, and how they are known.
struct Addresses<'a> {
    all: Vec<IpAddr>,
    answers: [std::borrow::Cow<'a, Answer>; 2],
}

impl Addresses<'_> {
    fn answers(&self) -> Vec<&Answer> {
        self.answers.iter().map(AsRef::as_ref).collect()
    }

    /// The questions that failed, in words.
    fn failed(&self) -> Option<String> {
        let failed = self.answers.iter().filter(|answer| !answer.is_known());
        let words: Vec<String> = failed.map(|answer| answer.summary()).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }

    fn is_alias(&self) -> bool {
        self.answers.iter().any(|answer| answer.records.iter().any(|record| record.kind == Kind::Cname))
    }

    /// `NXDOMAIN` or `NODATA`.
    fn absence(&self) -> &'static str {
        absence(&self.answers[0])
    }
}

fn absence(answer: &Answer) -> &'static str {
    if answer.outcome == Outcome::NoName { "NXDOMAIN" } else { "NODATA" }
}

/// Whether mail could come from or go to it: on the Internet, or in a network that the settings declare to be theirs.
fn is_outside(facts: &Facts<'_>, address: IpAddr) -> bool {
    may_be_dialled(facts.settings, address)
}

/// The relay hosts by which all other mail leaves, if it does: then theirs is the face that the world sees.
fn relay_hosts(facts: &Facts<'_>) -> Option<String> {
    match &facts.settings.other.next_hops {
        crate::settings::NextHops::Mx => None,
        crate::settings::NextHops::Hops(hops) => {
            Some(hops.iter().map(|hop| hop.host.to_string()).collect::<Vec<_>>().join(", "))
        }
    }
}

/// What the gateway's own resolvers say may be a view from inside.
fn sure(facts: &Facts<'_>) -> Confidence {
    if facts.settings.dns.public_servers.is_empty() { Confidence::Likely } else { Confidence::Proven }
}

/// `gw.corp.test. A 203.0.113.5`
fn address_record(name: &str, address: IpAddr) -> String {
    format!("`{name}. {} {address}`", if address.is_ipv4() { "A" } else { "AAAA" })
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
