//! Resolver: asks the configured recursive servers over UDP, over TCP when cut short, and keeps the whole answer.
//!
//! A stub of our own over hickory-proto's codec (docs/adr/0002): a diagnosis needs to know which server said what, with
//! which rcode, AD bit and extended error, and a library that answers "no records found" throws that away. For a diagnosis it
//! asks in other ways too ([`How`]); a delivery is never led by those.

mod hosts;
mod message;
mod wire;

use decide::diagnose::How;
use hosts::Hosts;
use mail::dns::{Answer, Kind, Negative, Outcome, Question, Trouble};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use wire::{UDP_PAYLOAD, Way};

/// Answers kept; when there are more, the cache starts anew.
const CACHE_MAX: usize = 20_000;
/// A failure is kept this long, so that a thousand messages to one domain ask once.
const FAILURE_TTL: Duration = Duration::from_secs(5);
/// RFC 2308 5: a negative answer without SOA should not be kept at all; a few seconds protect the server.
const NEGATIVE_TTL_MIN: u32 = 5;
/// Bounds on what a zone may ask for; RFC 2308 5 advises one to three hours for negative answers.
const TTL_MAX: u32 = 3600;
/// RFC 1034 has no number; eight is what other resolvers allow and more.
const CNAME_CHAIN_MAX: usize = 16;
/// How long it is remembered that a server answers for a zone only without EDNS.
const PLAIN_KEPT: Duration = Duration::from_secs(900);
const PLAIN_MAX: usize = 1000;
/// What a large buffer is, as resolvers announced before the flag day.
const BIG_PAYLOAD: u16 = 4096;
/// An experiment waits no longer than this for a server, whatever deliveries wait.
const EXPERIMENT_MAX: Duration = Duration::from_secs(3);
/// Levels walked up to find a zone's name servers; and name servers and addresses asked.
const LEVELS_MAX: usize = 8;
const AUTHORITIES_MAX: usize = 4;
/// Names kept of a row of failures.
const NAMES_MAX: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Resolver {
    cache: Mutex<HashMap<Question, Kept>>,
    hosts: Hosts,
    /// Servers that must be asked without EDNS for names below a domain, and until when.
    plain: Mutex<HashMap<(SocketAddr, String), Instant>>,
    health: Mutex<Vec<decide::diagnose::Resolver>>,
}

#[derive(Debug)]
struct Kept {
    since: Instant,
    lasting: Duration,
    answer: Answer,
}

/// Whom to ask and how long to wait for each.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) timeout: Duration,
    pub(crate) hosts_file: Option<PathBuf>,
}

impl Servers {
    /// From the settings, or from /etc/resolv.conf.
    pub(crate) fn of(dns: &decide::settings::Dns) -> Servers {
        let mut addresses = dns.servers.clone();
        if addresses.is_empty() {
            let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
            let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
            addresses = servers
                .filter_map(|server| server.trim().parse::<IpAddr>().ok())
                .map(|address| (address, 53).into())
                .collect();
        }
        Servers { addresses, timeout: dns.timeout, hosts_file: dns.hosts_file.clone() }
    }

    fn at(&self, addresses: Vec<SocketAddr>) -> Servers {
        Servers { addresses, timeout: self.timeout.min(EXPERIMENT_MAX), hosts_file: None }
    }
}

impl Resolver {
    /// The answer, from the hosts file if the name stands there, from the cache while its TTL lasts.
    pub(crate) async fn ask(&self, servers: &Servers, question: Question) -> Answer {
        if let Some(answer) = servers.hosts_file.as_ref().and_then(|file| self.hosts.answer(file, &question)) {
            return answer;
        }
        if let Some(answer) = self.cached(&question) {
            return answer;
        }
        self.ask_anew(servers, question).await
    }

    /// As [`Resolver::ask`], past the cache.
    pub(crate) async fn ask_again(&self, servers: &Servers, question: Question) -> Answer {
        match servers.hosts_file.as_ref().and_then(|file| self.hosts.answer(file, &question)) {
            Some(answer) => answer,
            None => self.ask_anew(servers, question).await,
        }
    }

    /// The answer to a question put in a special way. Nothing of it is kept for deliveries, but for [`How::DnsOnly`].
    pub(crate) async fn ask_as(&self, servers: &Servers, question: Question, how: How) -> Answer {
        let usual = Way::USUAL;
        let way = match how {
            How::Usual => return self.ask(servers, question).await,
            How::DnsOnly => return self.ask_anew(&servers.at(servers.addresses.clone()), question).await,
            How::HostsFile => return self.ask_hosts_file(servers, question),
            How::Authoritative => return self.ask_authorities(servers, question).await,
            How::At(server) => return self.in_turn(&servers.at(vec![server]), &question, usual).await,
            How::CheckingDisabled => Way { unchecked: true, ..usual },
            How::NoEdns => Way { edns: None, ..usual },
            How::BigEdns => Way { edns: Some(BIG_PAYLOAD), dnssec: true, ..usual },
            How::SmallEdns => Way { edns: Some(UDP_PAYLOAD), dnssec: true, ..usual },
            How::OverTcp => Way { tcp: true, ..usual },
        };
        self.in_turn(&servers.at(servers.addresses.clone()), &question, way).await
    }

    /// The names that a hosts file gives to addresses like these.
    pub(crate) fn names_of(&self, hosts_file: &Path, fits: impl Fn(IpAddr) -> bool) -> Vec<String> {
        self.hosts.names_of(hosts_file, fits)
    }

    /// An answer fresh from the servers, apart from what deliveries ask: nothing is kept, and nothing counts towards a
    /// server's health. Each is asked twice, the second time without EDNS.
    pub(crate) async fn ask_apart(&self, servers: &Servers, question: &Question) -> Answer {
        let servers = servers.at(servers.addresses.clone());
        let answer = self.in_turn(&servers, question, Way::USUAL).await;
        match answer.trouble {
            Some(trouble) if trouble != Trouble::NotAsked => {
                self.in_turn(&servers, question, Way { edns: None, ..Way::USUAL }).await
            }
            _ => answer,
        }
    }

    /// Forgets all answers: after a change of DNS settings.
    pub(crate) fn forget(&self) {
        lock(&self.cache).clear();
        lock(&self.plain).clear();
    }

    /// How each server has served deliveries since the start.
    pub(crate) fn health(&self) -> Vec<decide::diagnose::Resolver> {
        lock(&self.health).clone()
    }

    async fn ask_anew(&self, servers: &Servers, question: Question) -> Answer {
        let answer = self.usual(servers, &question).await;
        self.keep(&question, &answer);
        answer
    }

    fn ask_hosts_file(&self, servers: &Servers, question: Question) -> Answer {
        let Some(file) = &servers.hosts_file else {
            return not_asked(question, "no hosts file is used (dns.hosts_file)");
        };
        self.hosts.answer(file, &question).unwrap_or_else(|| {
            let nothing = Answer::bare(question, Outcome::NoName);
            Answer { server: file.display().to_string(), ..nothing }
        })
    }

    fn cached(&self, question: &Question) -> Option<Answer> {
        let cache = lock(&self.cache);
        let kept = cache.get(question)?;
        let age = kept.since.elapsed();
        if age >= kept.lasting {
            return None;
        }
        let aged = |negative: &Negative| Negative {
            left: negative.left.saturating_sub(u32::try_from(age.as_secs()).unwrap_or(u32::MAX)),
            ..negative.clone()
        };
        let negative = kept.answer.negative.as_ref().map(aged);
        Some(Answer { cached: true, elapsed_ms: 0, negative, ..kept.answer.clone() })
    }

    fn keep(&self, question: &Question, answer: &Answer) {
        let lasting = match answer.outcome {
            Outcome::Failed(_) => FAILURE_TTL,
            Outcome::Found => {
                seconds(answer.records.iter().map(|record| record.ttl).min().unwrap_or_default().min(TTL_MAX))
            }
            Outcome::NoData | Outcome::NoName => {
                let left = answer.negative.as_ref().map_or(0, |negative| negative.left);
                seconds(left.clamp(NEGATIVE_TTL_MIN, TTL_MAX))
            }
        };
        let mut cache = lock(&self.cache);
        if cache.len() >= CACHE_MAX {
            cache.clear();
        }
        cache.insert(question.clone(), Kept { since: Instant::now(), lasting, answer: answer.clone() });
    }

    /// As deliveries ask: each server in turn, twice round; the first that knows ends it. A server that was silent is asked
    /// without EDNS the second time: some firewalls swallow what has an OPT record (RFC 6891 7).
    async fn usual(&self, servers: &Servers, question: &Question) -> Answer {
        let mut course = Course::default();
        let mut last: Vec<(SocketAddr, Answer)> = Vec::new();
        for round in 0..2 {
            for server in &servers.addresses {
                let silent =
                    || last.iter().any(|(at, answer)| at == server && answer.trouble == Some(Trouble::TimedOut));
                let plain = self.is_plain(*server, question) || (round == 1 && silent());
                let edns = Way::USUAL.edns.filter(|_| !plain);
                let answer = self.or_without_edns(*server, servers.timeout, question, edns, &mut course).await;
                last.retain(|(at, _)| at != server);
                last.push((*server, answer));
                if last.last().is_some_and(|(_, answer)| answer.is_known()) {
                    break;
                }
            }
            if last.last().is_some_and(|(_, answer)| answer.is_known()) {
                break;
            }
        }
        for (server, answer) in &last {
            self.served(*server, question, answer);
        }
        course.end(question, last.pop().map(|(_, answer)| answer))
    }

    /// Asks a server; if it cannot read EDNS, at once without it (RFC 6891 7).
    async fn or_without_edns(
        &self,
        server: SocketAddr,
        limit: Duration,
        question: &Question,
        edns: Option<u16>,
        course: &mut Course,
    ) -> Answer {
        // With DO even resolvers older than RFC 6840 5.7 say what they validated, and whether DANE counts depends on that.
        let dnssec = matches!(question.kind, Kind::Mx | Kind::A | Kind::Aaaa | Kind::Tlsa);
        let mut way = Way { edns, dnssec, ..Way::USUAL };
        let mut answer = wire::ask(server, limit, question, way).await;
        course.note(&answer);
        if matches!(answer.trouble, Some(Trouble::FormErr | Trouble::NotImp)) && edns.is_some() {
            way.edns = None;
            answer = wire::ask(server, limit, question, way).await;
            course.note(&answer);
        }
        if answer.is_known() && answer.without_edns {
            self.is_plain_from_now_on(server, question);
        }
        answer
    }

    /// For an experiment: each server once, in this way and no other.
    async fn in_turn(&self, servers: &Servers, question: &Question, way: Way) -> Answer {
        let mut course = Course::default();
        let mut last = None;
        for server in &servers.addresses {
            let answer = wire::ask(*server, servers.timeout, question, way).await;
            course.note(&answer);
            let known = answer.is_known();
            last = Some(answer);
            if known {
                break;
            }
        }
        course.end(question, last)
    }

    /// Asks the name servers of the closest zone above the name, all at once and without recursion.
    async fn ask_authorities(&self, servers: &Servers, question: Question) -> Answer {
        let names = match self.name_servers(servers, &question).await {
            Ok(names) => names,
            Err(why) => return not_asked(question, why),
        };
        let usual = servers.at(servers.addresses.clone());
        let way = Way { unchecked: true, ..Way::USUAL };
        let mut addresses: Vec<IpAddr> = Vec::new();
        for kind in [Kind::A, Kind::Aaaa] {
            let questions: Vec<Question> = names.iter().map(|name| Question::new(name, kind)).collect();
            let asks = questions.iter().map(|question| self.in_turn(&usual, question, way));
            addresses.extend(crate::deliver::join_all(asks).await.iter().flat_map(Answer::addresses));
        }
        addresses.truncate(AUTHORITIES_MAX);
        if addresses.is_empty() {
            return not_asked(question, format!("the name servers {} have no addresses", names.join(", ")));
        }
        let way = Way { recursive: false, ..Way::USUAL };
        let at: Vec<Servers> = addresses.iter().map(|address| servers.at(vec![authority(servers, *address)])).collect();
        let answers = crate::deliver::join_all(at.iter().map(|at| self.in_turn(at, &question, way))).await;
        let known = answers.iter().position(Answer::is_known).unwrap_or_default();
        answers.into_iter().nth(known).unwrap_or_else(|| not_asked(question, "no name server was asked"))
    }

    /// The NS records of the closest enclosing zone. Not validated: a zone that fails to validate has name servers too.
    async fn name_servers(&self, servers: &Servers, question: &Question) -> Result<Vec<String>, String> {
        let servers = servers.at(servers.addresses.clone());
        let way = Way { unchecked: true, ..Way::USUAL };
        let mut failed = None;
        let mut rest = question.name.as_str();
        for _ in 0..LEVELS_MAX {
            let asked = Question::new(rest, Kind::Ns);
            let answer = self.in_turn(&servers, &asked, way).await;
            let of_zone = answer.records.iter().filter(|record| record.kind == Kind::Ns && record.name == asked.name);
            let names: Vec<String> = of_zone.map(|record| record.data.to_string()).take(AUTHORITIES_MAX).collect();
            if !names.is_empty() {
                return Ok(names);
            }
            if let Outcome::Failed(why) = answer.outcome {
                failed = Some(format!("{asked}: {why}"));
            }
            let Some((_, parent)) = rest.split_once('.') else { break };
            rest = parent;
        }
        Err(failed.unwrap_or_else(|| format!("no NS records were found at {} or above", question.name)))
    }

    fn is_plain(&self, server: SocketAddr, question: &Question) -> bool {
        let until = lock(&self.plain).get(&(server, domain(&question.name))).copied();
        until.is_some_and(|until| Instant::now() < until)
    }

    fn is_plain_from_now_on(&self, server: SocketAddr, question: &Question) {
        let mut plain = lock(&self.plain);
        if plain.len() >= PLAIN_MAX {
            plain.clear();
        }
        plain.entry((server, domain(&question.name))).or_insert_with(|| Instant::now() + PLAIN_KEPT);
    }

    fn served(&self, server: SocketAddr, question: &Question, answer: &Answer) {
        let mut health = lock(&self.health);
        let name = server.to_string();
        let at = health.iter().position(|known| known.server == name).unwrap_or_else(|| {
            health.push(decide::diagnose::Resolver { server: name, ..Default::default() });
            health.len() - 1
        });
        let known = &mut health[at];
        let (Outcome::Failed(why), Some(trouble)) = (&answer.outcome, answer.trouble) else {
            known.answered += 1;
            (known.failed_in_a_row, known.silent_in_a_row) = (0, 0);
            return known.names_in_a_row.clear();
        };
        known.failed += 1;
        known.failed_in_a_row += 1;
        known.silent_in_a_row = if trouble.is_silence() { known.silent_in_a_row + 1 } else { 0 };
        known.last_failure = format!("{question}: {why}");
        known.last_trouble = Some(trouble);
        let domain = domain(&question.name);
        if known.names_in_a_row.len() < NAMES_MAX && !known.names_in_a_row.contains(&domain) {
            known.names_in_a_row.push(domain);
        }
    }
}

/// What was tried on the way to one answer.
#[derive(Debug)]
struct Course {
    started: Instant,
    tried: Vec<mail::dns::Tried>,
    /// In words, each server's once.
    failed: Vec<String>,
}

impl Default for Course {
    fn default() -> Course {
        Course { started: Instant::now(), tried: Vec::new(), failed: Vec::new() }
    }
}

impl Course {
    fn note(&mut self, answer: &Answer) {
        self.tried.extend(answer.tried.iter().cloned());
        if let Outcome::Failed(why) = &answer.outcome {
            let reason = format!("{} {why}", answer.server);
            if !self.failed.contains(&reason) {
                self.failed.push(reason);
            }
        }
    }

    /// The last answer, with all that went before it.
    fn end(self, question: &Question, last: Option<Answer>) -> Answer {
        let Some(mut answer) = last else {
            return not_asked(
                question.clone(),
                "no DNS server is known: set dns.servers, or nameserver in /etc/resolv.conf",
            );
        };
        answer.elapsed_ms = wire::millis(self.started);
        answer.tried = self.tried;
        if let Outcome::Failed(why) = &mut answer.outcome {
            *why = self.failed.join("; ");
        }
        answer
    }
}

fn not_asked(question: Question, why: impl Into<String>) -> Answer {
    Answer { trouble: Some(Trouble::NotAsked), ..Answer::failed(question, why) }
}

/// Where a name server with this address is asked. On loopback, which the Internet's name servers never use, it may be one of
/// the servers that we were told of, at their port.
fn authority(servers: &Servers, address: IpAddr) -> SocketAddr {
    let told = servers.addresses.iter().find(|server| server.ip() == address);
    let local = servers.addresses.iter().find(|server| server.ip().is_loopback() && address.is_loopback());
    SocketAddr::new(address, told.or(local).map_or(53, SocketAddr::port))
}

/// The last two labels: near enough to what one operator runs.
fn domain(name: &str) -> String {
    let mut labels = name.rsplitn(3, '.');
    match (labels.next(), labels.next()) {
        (Some(top), Some(second)) => format!("{second}.{top}"),
        _ => name.to_owned(),
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

/// A panic elsewhere leaves at worst one entry undone.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
