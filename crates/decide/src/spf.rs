//! SPF (RFC 7208): may this address send for this domain? Pure: [`check`] asks until it knows, as the checks of
//! `validate.rs` do, and says which term decided, by which includes, and whose answers it counted.
//!
//! Own code, because `mail-auth`, the library at hand, brings a resolver of its own (144 crates) and returns neither the term
//! nor the includes nor the answers, which are what explanations are made of.

mod field;
mod macros;
mod record;

pub use field::{fields, is_forged};
pub use macros::Spec;
pub use record::{Mechanism, Prefixes, Record, Term, is_record};

use ipnet::IpNet;
use macros::Piece;
use mail::dns::{Answer, Data, Kind, Outcome, Question};
use mail::{SpfCheck, SpfLink, SpfResult, Time};
use std::net::IpAddr;

/// RFC 7208 4.6.4: terms that need DNS.
pub const LOOKUPS_MAX: u32 = 10;
/// RFC 7208 4.6.4: questions that come to nothing.
const VOID_MAX: u32 = 2;
/// RFC 7208 4.6.4: hosts of one `mx`, and names of a client.
const NAMES_MAX: usize = 10;
/// RFC 7208 7.3; what is longer loses its leftmost labels.
const NAME_MAX: usize = 253;

/// Who sends as whom.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    pub client: IpAddr,
    /// Whose record is looked at, in A-labels: the domain of MAIL FROM, or the EHLO name.
    pub domain: &'a str,
    /// Local part of MAIL FROM; empty: postmaster (RFC 7208 4.3).
    pub local: &'a str,
    pub helo: &'a str,
    /// Our own name, for explanations.
    pub receiver: &'a str,
    pub now: Time,
}

/// What an evaluation comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// DNS must be asked this first: what the next term needs, and further terms of the same record, so that they can be asked
    /// at the same time.
    Ask(Vec<Question>),
    Done(Box<SpfCheck>),
}

/// Evaluates; `answer` gives what is known of a question.
pub fn check<'k>(query: &Query<'_>, answer: &dyn Fn(&Question) -> Option<&'k Answer>) -> Step {
    let local = if query.local.is_empty() { "postmaster" } else { query.local };
    let mut run = Run {
        query,
        client: query.client.to_canonical(),
        sender: format!("{local}@{}", query.domain),
        local,
        answer,
        wanted: Vec::new(),
        asked: Vec::new(),
        path: Vec::new(),
        record: None,
        lookups: 0,
        voids: 0,
    };
    if !is_full_name(query.domain) {
        return run.done(SpfResult::None, format!("\"{}\" is no domain that could have a record", query.domain), None);
    }
    let (result, why, exp) = match run.host(query.domain) {
        Ok(Found { result, why, exp }) => (result, why, exp),
        Err(Stop::Wait) => return Step::Ask(run.wanted),
        Err(Stop::Temporary(why)) => (SpfResult::TempError, why, None),
        Err(Stop::Permanent(why)) => (SpfResult::PermError, why, None),
    };
    let explanation = match exp.filter(|_| result == SpfResult::Fail).map(|(spec, domain)| run.explain(&spec, &domain))
    {
        Some(Err(_)) => return Step::Ask(run.wanted),
        Some(Ok(text)) => text,
        None => None,
    };
    run.done(result, why, explanation)
}

/// The SPF record among the TXT records of an answer; `Err`: there are several (RFC 7208 4.5).
pub fn record_of(answer: &Answer) -> Result<Option<&str>, usize> {
    let texts = answer.data().filter_map(|data| if let Data::Text(text) = data { Some(text.as_str()) } else { None });
    let records: Vec<&str> = texts.filter(|text| is_record(text)).collect();
    match records.as_slice() {
        [] => Ok(None),
        [record] => Ok(Some(record)),
        several => Err(several.len()),
    }
}

/// The term that permits one address.
pub fn term(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => format!("ip4:{v4}"),
        IpAddr::V6(v6) => format!("ip6:{v6}"),
    }
}

/// The record that would let these addresses pass as well: they are put in front, where they cost no lookup.
pub fn with_addresses(record: Option<&str>, addresses: &[IpAddr]) -> String {
    let added: String = addresses.iter().map(|address| format!(" {}", term(*address))).collect();
    let rest = record.and_then(|record| record.get(6..)).map_or(" ~all".to_owned(), |rest| format!(" {}", rest.trim()));
    format!("v=spf1{added}{}", rest.trim_end())
}

/// Why there is no result yet, or never one.
enum Stop {
    /// For answers.
    Wait,
    Temporary(String),
    Permanent(String),
}

/// What a domain's record comes to.
struct Found {
    result: SpfResult,
    why: String,
    exp: Option<(Spec, String)>,
}

struct Run<'q, 'k> {
    query: &'q Query<'q>,
    client: IpAddr,
    sender: String,
    local: &'q str,
    answer: &'q dyn Fn(&Question) -> Option<&'k Answer>,
    wanted: Vec<Question>,
    asked: Vec<Question>,
    path: Vec<SpfLink>,
    record: Option<String>,
    lookups: u32,
    voids: u32,
}

impl<'k> Run<'_, 'k> {
    fn done(self, result: SpfResult, why: String, explanation: Option<String>) -> Step {
        Step::Done(Box::new(SpfCheck {
            result,
            domain: self.query.domain.to_owned(),
            record: self.record,
            path: self.path,
            why,
            explanation,
            asked: self.asked,
            lookups: self.lookups,
        }))
    }

    /// check_host() (RFC 7208 4).
    fn host(&mut self, domain: &str) -> Result<Found, Stop> {
        let none = |why: String| Ok(Found { result: SpfResult::None, why, exp: None });
        if !is_full_name(domain) {
            return none(format!("\"{domain}\" is no domain that could have a record"));
        }
        let answer = self.ask(Question::new(domain, Kind::Txt))?;
        let text = match (&answer.outcome, record_of(answer)) {
            (Outcome::Failed(_), _) => return Err(Stop::Temporary(answer.summary())),
            (_, Err(count)) => return Err(Stop::Permanent(format!("{domain} has {count} SPF records"))),
            (Outcome::NoName, _) => return none(format!("{domain} does not exist")),
            (_, Ok(None)) => return none(format!("{domain} has no SPF record")),
            (_, Ok(Some(text))) => text,
        };
        self.record.get_or_insert_with(|| text.to_owned());
        let record =
            Record::read(text).map_err(|problem| Stop::Permanent(format!("the SPF record of {domain}: {problem}")))?;
        let waited = self.wanted.len();
        for term in &record.terms {
            self.path.push(SpfLink { domain: domain.to_owned(), term: term.text.clone() });
            match self.matches(&term.mechanism, domain) {
                Ok(false) | Err(Stop::Wait) => drop(self.path.pop()),
                // Whatever an earlier term comes to, nothing behind this one can matter.
                _ if self.wanted.len() > waited => return Err(Stop::Wait),
                Ok(true) => {
                    let exp = record.exp.map(|spec| (spec, domain.to_owned()));
                    return Ok(Found { result: term.result, why: String::new(), exp });
                }
                Err(stop) => return Err(stop),
            }
        }
        if let Some(redirect) = &record.redirect {
            return self.redirect(redirect, domain, waited);
        }
        if self.wanted.len() > waited {
            return Err(Stop::Wait);
        }
        let why = format!("no term of {domain} matches {}", self.client);
        Ok(Found { result: SpfResult::Neutral, why, exp: None })
    }

    /// RFC 7208 6.1.
    fn redirect(&mut self, spec: &Spec, domain: &str, waited: usize) -> Result<Found, Stop> {
        let outcome = self.follow(spec, domain);
        if self.wanted.len() > waited {
            return Err(Stop::Wait);
        }
        match outcome? {
            Found { result: SpfResult::None, why, .. } => {
                Err(Stop::Permanent(format!("{domain} redirects to a domain without a record: {why}")))
            }
            found => Ok(found),
        }
    }

    fn follow(&mut self, spec: &Spec, domain: &str) -> Result<Found, Stop> {
        self.count()?;
        let target = self.expand(spec, domain)?;
        self.path.push(SpfLink { domain: domain.to_owned(), term: format!("redirect={target}") });
        self.host(&target)
    }

    fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip(network) => Ok(network.contains(&self.client)),
            Mechanism::Include(spec) => self.include(spec, domain),
            Mechanism::A(spec, prefixes) => {
                self.count()?;
                let target = self.target(spec.as_ref(), domain)?;
                self.is_address_of(&target, *prefixes)
            }
            Mechanism::Mx(spec, prefixes) => self.is_mx(spec.as_ref(), domain, *prefixes),
            Mechanism::Ptr(spec) => self.is_called(spec.as_ref(), domain),
            Mechanism::Exists(spec) => {
                self.count()?;
                let name = self.expand(spec, domain)?;
                // Always A, whatever the client's family (RFC 7208 5.7).
                Ok(is_name(&name) && !self.look_up(Question::new(&name, Kind::A))?.addresses().is_empty())
            }
        }
    }

    /// RFC 7208 5.2.
    fn include(&mut self, spec: &Spec, domain: &str) -> Result<bool, Stop> {
        self.count()?;
        let target = self.expand(spec, domain)?;
        let kept = self.path.len();
        let found = self.host(&target)?;
        match found.result {
            SpfResult::Pass => Ok(true),
            SpfResult::None => {
                Err(Stop::Permanent(format!("{domain} includes a domain without a record: {}", found.why)))
            }
            _ => {
                self.path.truncate(kept);
                Ok(false)
            }
        }
    }

    fn is_address_of(&mut self, name: &str, prefixes: Prefixes) -> Result<bool, Stop> {
        if !is_name(name) {
            return Ok(false);
        }
        let client = self.client;
        let answer = self.look_up(Question::forward(name, client))?;
        Ok(answer.addresses().into_iter().any(|address| is_near(client, address, prefixes)))
    }

    /// RFC 7208 5.4. A domain without MX has no address here: the implicit MX does not count.
    fn is_mx(&mut self, spec: Option<&Spec>, domain: &str, prefixes: Prefixes) -> Result<bool, Stop> {
        self.count()?;
        let target = self.target(spec, domain)?;
        if !is_name(&target) {
            return Ok(false);
        }
        let answer = self.look_up(Question::new(&target, Kind::Mx))?;
        let mut hosts: Vec<(u16, &str)> = answer
            .data()
            .filter_map(|data| {
                if let Data::Mx { preference, host } = data { Some((*preference, host.as_str())) } else { None }
            })
            .collect();
        if hosts.len() > NAMES_MAX {
            return Err(Stop::Permanent(format!("{target} has {} MX hosts, {NAMES_MAX} are allowed", hosts.len())));
        }
        hosts.sort_unstable();
        let waited = self.wanted.len();
        for (_, host) in hosts {
            match self.is_address_of(host, prefixes) {
                Ok(false) | Err(Stop::Wait) => {}
                _ if self.wanted.len() > waited => return Err(Stop::Wait),
                other => return other,
            }
        }
        if self.wanted.len() > waited { Err(Stop::Wait) } else { Ok(false) }
    }

    /// RFC 7208 5.5. What goes wrong with DNS here does not match.
    fn is_called(&mut self, spec: Option<&Spec>, domain: &str) -> Result<bool, Stop> {
        self.count()?;
        let target = self.target(spec, domain)?.to_ascii_lowercase();
        let target = target.trim_end_matches('.');
        let names = self.client_names()?;
        Ok(names.iter().any(|name| is_within(name, target)))
    }

    /// Names of the client that lead back to it.
    fn client_names(&mut self) -> Result<Vec<String>, Stop> {
        let client = self.client;
        let answer = self.ask(Question::reverse(client))?;
        let waited = self.wanted.len();
        let mut confirmed = Vec::new();
        for name in answer.names().into_iter().take(NAMES_MAX).filter(|name| is_name(name)) {
            match self.ask(Question::forward(name, client)) {
                Ok(answer) if answer.addresses().iter().any(|address| address.to_canonical() == client) => {
                    confirmed.push(name.to_ascii_lowercase());
                }
                _ => {}
            }
        }
        if self.wanted.len() > waited { Err(Stop::Wait) } else { Ok(confirmed) }
    }

    fn target(&mut self, spec: Option<&Spec>, domain: &str) -> Result<String, Stop> {
        spec.map_or_else(|| Ok(domain.to_owned()), |spec| self.expand(spec, domain))
    }

    /// The name that a domain-spec stands for, cut down to a name's length from the left (RFC 7208 7.3).
    fn expand(&mut self, spec: &Spec, domain: &str) -> Result<String, Stop> {
        let text = self.text(spec, domain)?;
        let mut name = text.as_str();
        while name.len() > NAME_MAX {
            match name.split_once('.') {
                Some((_, rest)) => name = rest,
                None => break,
            }
        }
        Ok(name.to_owned())
    }

    fn text(&mut self, spec: &Spec, domain: &str) -> Result<String, Stop> {
        let mut text = String::new();
        for piece in &spec.0 {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Macro(one) => {
                    let value = self.value(one.letter, domain)?;
                    text.push_str(&one.transform(&value));
                }
            }
        }
        Ok(text)
    }

    /// RFC 7208 7.2.
    fn value(&mut self, letter: char, domain: &str) -> Result<String, Stop> {
        Ok(match letter {
            's' => self.sender.clone(),
            'l' => self.local.to_owned(),
            'o' => self.query.domain.to_owned(),
            'd' => domain.to_owned(),
            'i' => match self.client {
                IpAddr::V4(v4) => v4.to_string(),
                IpAddr::V6(v6) => {
                    let nibbles = v6.octets().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
                    nibbles.map(|nibble| format!("{nibble:x}")).collect::<Vec<_>>().join(".")
                }
            },
            'p' => {
                let names = self.client_names()?;
                let own = domain.to_ascii_lowercase();
                let best = names.iter().find(|name| **name == own);
                let best = best.or_else(|| names.iter().find(|name| is_within(name, &own))).or(names.first());
                best.cloned().unwrap_or_else(|| "unknown".to_owned())
            }
            'v' => if self.client.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            'h' => self.query.helo.to_owned(),
            'c' => self.client.to_string(),
            'r' => if self.query.receiver.is_empty() { "unknown" } else { self.query.receiver }.to_owned(),
            _ => (self.query.now.ms() / 1000).to_string(),
        })
    }

    /// The domain's own words about a failure; whatever goes wrong, there are none (RFC 7208 6.2). Err: answers are missing.
    fn explain(&mut self, spec: &Spec, domain: &str) -> Result<Option<String>, Stop> {
        let name = match self.expand(spec, domain) {
            Ok(name) if is_name(&name) => name,
            Err(Stop::Wait) => return Err(Stop::Wait),
            _ => return Ok(None),
        };
        let answer = self.ask(Question::new(&name, Kind::Txt))?;
        let mut texts = answer.data().filter_map(|data| if let Data::Text(text) = data { Some(text) } else { None });
        let (Some(text), None) = (texts.next(), texts.next()) else { return Ok(None) };
        let Ok(spec) = macros::explanation(text) else { return Ok(None) };
        match self.text(&spec, domain) {
            Ok(text) => Ok(Some(text).filter(|text| !text.is_empty())),
            Err(Stop::Wait) => Err(Stop::Wait),
            Err(_) => Ok(None),
        }
    }

    /// One more term that needs DNS.
    fn count(&mut self) -> Result<(), Stop> {
        self.lookups += 1;
        if self.lookups <= LOOKUPS_MAX {
            return Ok(());
        }
        Err(Stop::Permanent(format!("more than {LOOKUPS_MAX} terms need DNS, counting from {}", self.query.domain)))
    }

    /// The answer to a question whose failure is a failure of the whole, and whose nothing is counted.
    fn look_up(&mut self, question: Question) -> Result<&'k Answer, Stop> {
        let answer = self.ask(question)?;
        match &answer.outcome {
            Outcome::Failed(_) => return Err(Stop::Temporary(answer.summary())),
            Outcome::NoName | Outcome::NoData => self.voids += 1,
            Outcome::Found => {}
        }
        if self.voids > VOID_MAX {
            return Err(Stop::Permanent(format!(
                "more than {VOID_MAX} questions came to nothing, the last one {}",
                answer.summary()
            )));
        }
        Ok(answer)
    }

    fn ask(&mut self, question: Question) -> Result<&'k Answer, Stop> {
        let Some(answer) = (self.answer)(&question) else {
            if !self.wanted.contains(&question) {
                self.wanted.push(question);
            }
            return Err(Stop::Wait);
        };
        if !self.asked.contains(&question) {
            self.asked.push(question);
        }
        Ok(answer)
    }
}

/// Whether an address lies in the network of so many bits around another of the same family.
fn is_near(client: IpAddr, address: IpAddr, prefixes: Prefixes) -> bool {
    let address = address.to_canonical();
    let length = if address.is_ipv4() { prefixes.v4 } else { prefixes.v6 };
    IpNet::new(address, length).is_ok_and(|network| network.contains(&client))
}

/// The name itself, or one below.
fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

/// Whether DNS can be asked for it.
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= NAME_MAX && name.split('.').all(|label| (1..=63).contains(&label.len()))
}

/// A name of two labels or more, no address literal (RFC 7208 4.3).
fn is_full_name(name: &str) -> bool {
    is_name(name) && !name.starts_with('[') && name.trim_end_matches('.').contains('.')
}

#[cfg(test)]
mod tests;
