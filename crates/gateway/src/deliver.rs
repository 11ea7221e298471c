//! Deliver: a courier takes the deliveries of one destination and carries them over one connection after another.

use crate::clock::now;
use crate::core::{Core, InForce};
use crate::outcome::{self, Fate};
use crate::queue::{AddressSeat, Contact, Key};
use crate::stream::Stream;
use crate::{dane, denial};
use decide::outcome::Outcome;
use decide::route::{self, Candidate, Hop, Plan, Route, Verdict, Way};
use decide::settings::{Host, InvalidRecipients, Timeouts, Tls};
use mail::{
    Attempt, Carried, Connect, Culprit, Domain, Dropped, End, Failure, HostTry, RcptSaid, Reflected, Reply, Stage,
    Time, TlsUse, Via, Why, status,
};
use rustls::pki_types::ServerName;
use smtp::client::{self, Capabilities, Client, Closed, Event, MessagePlan};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use store::Delivery;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Hosts tried in one attempt; the next attempt begins anew (Postfix: 5 addresses).
const HOSTS_MAX: usize = 10;
/// Rounds of questions: MX, then addresses.
const DNS_ROUNDS_MAX: usize = 4;
/// Content is read from disk and written to the socket in pieces of this size.
const PIECE: usize = 65_536;
/// Up to here a message leaves in one write with its envelope.
const SMALL: u64 = 65_536;
/// Recipients that a record names.
const NAMED_MAX: usize = 100;
/// Tries that a record holds: many transactions with one host are told by the first and the last ones.
const TRIES_MAX: usize = 20;
const HANDSHAKE_MAX: Duration = Duration::from_secs(60);
/// A peer that does not answer QUIT keeps nobody waiting.
const QUIT_MAX: Duration = Duration::from_secs(5);

/// An open connection to a next hop, after EHLO.
struct Link {
    client: Client,
    stream: Option<Stream>,
    buffer: Vec<u8>,
    tried: HostTry,
    offers: Capabilities,
    /// Whether the certificate must prove the peer's name, and by whose authority besides the system's.
    verify: bool,
    ca_file: Option<PathBuf>,
    sent: u32,
    /// Under which settings it was opened: they say from where, as whom, and with what TLS.
    settings_version: i64,
    /// By what the attempt that uses it found it, and the rule.
    way: (Via, String),
    /// Better hosts of that attempt that failed.
    failed_before: Vec<String>,
    /// When the last message ended.
    idle_since: Option<Time>,
    /// Of the message under way or just ended, in the order of the plan.
    recipients: Vec<String>,
    seat: AddressSeat,
}

/// What a recipient's last answer was.
#[derive(Clone, Debug)]
enum Answered {
    Reply(Stage, Reply),
    Failure(Failure),
}

/// How sending one message over a link ended.
struct Sent {
    /// For each pending recipient, in their order.
    answers: Vec<Answered>,
    /// The link cannot be used again: it failed.
    broken: Option<Failure>,
    /// The link cannot be used again, though the answers stand.
    closing: bool,
}

/// What came of carrying a message over a link.
struct Carry {
    /// The link cannot be used again.
    closing: bool,
    /// The peer took some recipients and hung up: it may take the others on a new connection.
    again: bool,
}

impl Answered {
    /// The peer took the message for this recipient.
    fn is_taken(&self) -> bool {
        matches!(self, Answered::Reply(Stage::FinalReply, reply) if reply.is_positive())
    }
}

impl Sent {
    /// Takes out the recipients (and their answers) that were beyond the peer's limit for one transaction. None, if nothing of
    /// the transaction was taken: then another one would be refused as well.
    fn over_the_limit(&mut self, batch: &mut Vec<usize>) -> Vec<usize> {
        if !self.answers.iter().any(Answered::is_taken) {
            return Vec::new();
        }
        let is_over = |answer: &Answered| matches!(answer, Answered::Reply(Stage::Rcpt, reply) if decide::outcome::is_recipient_limit(reply));
        let pairs = batch.drain(..).zip(std::mem::take(&mut self.answers));
        let (over, within): (Vec<_>, Vec<_>) = pairs.partition(|(_, answer)| is_over(answer));
        (*batch, self.answers) = within.into_iter().unzip();
        over.into_iter().map(|(at, _)| at).collect()
    }

    /// How it failed, if it did for anybody: the connection's failure, else the first refusal.
    fn failure(&self, host: &str) -> Option<Failure> {
        let refused = |answer: &Answered| match answer {
            Answered::Reply(_, reply) if reply.is_positive() => None,
            Answered::Reply(stage, reply) => Some(Failure::remote(*stage, host, reply)),
            Answered::Failure(failure) => Some(failure.clone()),
        };
        self.broken.clone().or_else(|| self.answers.iter().find_map(refused))
    }
}

/// The lane's plan: its domain's rule, or the hops that it was given instead (`domain>host:port,host:port`): by an
/// administrator, by `loop.answer`, or because they lie behind the content filter.
pub(crate) fn plan_of(in_force: &InForce, lane: &str) -> Plan {
    let (domain, detour) = lane.split_once('>').map_or((lane, None), |(domain, hop)| (domain, Some(hop)));
    let domain: Domain = domain.parse().unwrap_or_else(|_| in_force.hostname.clone());
    let mut plan = route::plan(&in_force.settings, &in_force.identity, &domain);
    if let Some(hops) = detour {
        plan.rule = decide::loops::detour_rule(&in_force.settings, &domain, hops);
        let hop = |(hop, preference)| Hop { preference, ..parse_hop(hop, in_force.settings.delivery.port) };
        plan.way = Way::Hops(hops.split(',').zip(0..).map(hop).collect());
    }
    plan
}

fn via(plan: &Plan, lane: &str) -> Via {
    match &plan.way {
        Way::Hops(_) if lane.contains('>') => Via::Detour,
        Way::Hops(_) => Via::NextHops,
        Way::Mx { .. } => Via::Mx,
        Way::RelayHost(_) => Via::RelayHost,
        Way::Refuse(_) => Via::Nowhere,
    }
}

fn parse_hop(text: &str, port: u16) -> Hop {
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Hop { host: Host::Addr(socket.ip()), port: socket.port(), preference: 0 };
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Hop { host: Host::Addr(address), port, preference: 0 };
    }
    let (name, port) =
        text.rsplit_once(':').map_or((text, port), |(name, number)| (name, number.parse().unwrap_or(port)));
    let name = name.parse().unwrap_or_else(|_| "invalid".parse().expect("a constant name is a domain"));
    Hop { host: Host::Name(name), port, preference: 0 }
}

/// What the lanes of one destination share.
pub(crate) fn destination_of(in_force: &InForce, lane: &str) -> String {
    route::destination(&plan_of(in_force, lane))
}

/// Whether the settings keep the mail of this lane's domain.
pub(crate) fn is_paused(in_force: &InForce, lane: &str) -> bool {
    let domain = lane.split('>').next().unwrap_or_default();
    in_force.settings.queue.paused.iter().any(|paused| paused.ascii() == domain)
}

/// Asks DNS what the plan needs, with the production code that `gatepost route` uses as well.
pub(crate) async fn find_route(core: &Core, in_force: &InForce, plan: &Plan) -> (Route, Vec<mail::dns::Answer>) {
    let (mut route, mut known) = look_up(core, in_force, plan, false).await;
    if denial::is_from_cache(plan, &route, &known) {
        (route, known) = look_up(core, in_force, plan, true).await;
    }
    denial::doubt(core, in_force, plan, &mut route, &known).await;
    dane::gate(core, in_force, plan, &mut route, &mut known).await;
    (route, known)
}

/// `anew`: past the answers that are kept.
async fn look_up(core: &Core, in_force: &InForce, plan: &Plan, anew: bool) -> (Route, Vec<mail::dns::Answer>) {
    let mut known = Vec::new();
    for _ in 0..DNS_ROUNDS_MAX {
        let questions = route::needs(plan, &in_force.identity, &known);
        if questions.is_empty() {
            break;
        }
        let ask = async |question| match anew {
            true => core.resolver.ask_again(&in_force.dns, question).await,
            false => core.resolver.ask(&in_force.dns, question).await,
        };
        let asks = questions.into_iter().map(ask);
        let answers = join_all(asks).await;
        for answer in &answers {
            crate::heard::tell("DNS", "", || crate::door::dns_line(answer));
        }
        known.extend(answers);
    }
    (route::resolve(plan, &in_force.identity, &known, rand::random()), known)
}

/// Waits for all futures at once, in this task; the results in the futures' order.
pub(crate) async fn join_all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, result) in waiting.iter_mut().filter(|(_, result)| result.is_none()) {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(cx) {
                *result = Some(value);
            }
        }
        let done = waiting.iter().all(|(_, result)| result.is_some());
        if done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, result)| result).collect()
}

/// Works until nothing is left for this destination.
pub(crate) async fn courier(core: Arc<Core>, destination: String) {
    let mut link: Option<Box<Link>> = None;
    while let Some(delivery) = core.queue.take(&core, &destination).await {
        let mut in_hand = InHand::new(&core, &destination, &delivery);
        match Box::pin(attempt(&core, &mut link, &delivery)).await {
            Some((fates, attempt)) => {
                in_hand.is_safe = true;
                let contact = contact(&attempt);
                outcome::settle(&core, delivery, fates, attempt).await;
                core.queue.attempted(&core, &destination, contact);
            }
            None => {
                in_hand.is_safe = true;
                quit(link.take()).await;
                return core.queue.give_back(&destination, &delivery);
            }
        }
    }
    quit(link).await;
}

/// The delivery in a courier's hands. Should the courier break down (a panic), its lane and its destination go on.
struct InHand {
    core: Arc<Core>,
    destination: String,
    lane: String,
    key: Key,
    is_safe: bool,
}

impl InHand {
    fn new(core: &Arc<Core>, destination: &str, delivery: &Delivery) -> InHand {
        InHand {
            core: core.clone(),
            destination: destination.to_owned(),
            lane: delivery.lane.clone(),
            key: delivery.key(),
            is_safe: false,
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        if !self.is_safe {
            let fields = serde_json::json!({ "what": "a courier broke down; its delivery is tried again in a minute" });
            self.core.record(self.key.0, "alert", fields);
            self.core.queue.abandoned(&self.destination, &self.lane, self.key);
        }
    }
}

/// What the attempt says of the destination: a host spoke, none could be talked to, or none was dialled.
fn contact(attempt: &Attempt) -> Contact {
    fn unreachable(tried: &HostTry) -> Option<&Failure> {
        let early = |failure: &&Failure| {
            matches!(failure.stage, Stage::Connect | Stage::Banner | Stage::Ehlo | Stage::StartTls | Stage::Auth)
        };
        tried.failure.as_ref().filter(early)
    }
    let failures: Vec<&Failure> = attempt.tries.iter().filter_map(unreachable).collect();
    match failures.last() {
        _ if attempt.tries.is_empty() => Contact::None,
        Some(last) if failures.len() == attempt.tries.len() => Contact::Unreachable(last.status.to_string()),
        _ => Contact::Spoke,
    }
}

/// An attempt of which nothing has happened yet.
pub(crate) fn blank_attempt(in_force: &InForce, plan: &Plan, lane: &str) -> Attempt {
    Attempt {
        number: 1,
        started: now(),
        ended: now(),
        settings_version: in_force.version,
        rule: plan.rule.clone(),
        via: via(plan, lane),
        domain: plan.domain.ascii(),
        local: in_force.settings.local_domain(&plan.domain).is_some(),
        sender: String::new(),
        recipients: Vec::new(),
        dns: Vec::new(),
        dropped: Vec::new(),
        notes: Vec::new(),
        no_route: None,
        tries: Vec::new(),
        tries_left_out: 0,
    }
}

/// One attempt for all recipients of a delivery. `None`: every address has its limit of connections; not an attempt.
async fn attempt(core: &Arc<Core>, link: &mut Option<Box<Link>>, delivery: &Delivery) -> Option<(Vec<Fate>, Attempt)> {
    let in_force = core.in_force();
    let plan = plan_of(&in_force, &delivery.lane);
    let mut record = blank_attempt(&in_force, &plan, &delivery.lane);
    record.number = delivery.attempts + 1;
    record.sender = delivery.message.envelope.sender.address().map(ToString::to_string).unwrap_or_default();
    record.recipients =
        delivery.recipients.iter().take(NAMED_MAX).map(|recipient| recipient.address.to_string()).collect();
    let mut fates: Vec<Fate> = delivery.recipients.iter().map(|recipient| unlisted(&in_force, recipient)).collect();
    // It came back for these recipients: that was decided when it came in, and nothing is dialled.
    if let Some(status) = outcome::Extra::of(&delivery.extra).came_back {
        fates.iter_mut().for_each(|fate| fate.outcome = Some(Outcome::Bounce(status.clone())));
        record.no_route = Some(status);
        record.ended = now();
        return Some((fates, record));
    }
    let mut pending: Vec<usize> = (0..fates.len()).filter(|&at| fates[at].outcome.is_none()).collect();
    let recipients = pending.len();
    record.tries = core.queue.turned_away(delivery.key());
    // A connection that died while it was idle says nothing about this message: begin anew.
    if let Some(failure) = link.as_mut().and_then(|open| open.died_idle())
        && let Some(mut dead) = link.take()
    {
        dead.note_unsaid(&mut record, failure);
    }
    if link.as_ref().is_some_and(|open| open.is_outdated(&in_force)) {
        quit(link.take()).await;
    }
    if let Some(open) = link.as_mut().filter(|_| !pending.is_empty()) {
        open.way = (record.via, record.rule.clone());
        let carried = open.carry(core, &in_force, delivery, &mut fates, &mut pending, &mut record, false).await;
        if carried.closing {
            *link = None;
        }
    }
    if !pending.is_empty() {
        quit(link.take()).await;
        let (route, answers) = find_route(core, &in_force, &plan).await;
        record.dns = answers;
        record.dropped = route.dropped;
        record.notes = route.notes;
        if let Verdict::Failed(failure) = &route.verdict {
            record.no_route = Some(failure.clone());
            let outcome =
                if failure.is_permanent() { Outcome::Bounce(failure.clone()) } else { Outcome::Retry(failure.clone()) };
            pending.drain(..).for_each(|at| fates[at].outcome = Some(outcome.clone()));
        }
        let mut full = 0;
        let before = record.tries.len();
        let mut crowded = Vec::new();
        let mut candidates: VecDeque<&Candidate> = route.candidates.iter().take(HOSTS_MAX).collect();
        let mut own: Option<u16> = None;
        while let Some(candidate) = candidates.pop_front().filter(|_| !pending.is_empty()) {
            // RFC 5321 5.1: we ourselves, and every MX that is not better.
            if own.is_some_and(|own| candidate.preference >= own) && matches!(plan.way, Way::Mx { .. }) {
                record.dropped.push(Dropped {
                    host: candidate.host.clone(),
                    address: Some(candidate.address.ip()),
                    preference: candidate.preference,
                    why: Why::NotBetterThanOwn,
                });
                continue;
            }
            let has_ipv4 = candidates.iter().any(|other| other.address.is_ipv4());
            let opened = match connect(core, &in_force, &plan, candidate).await {
                Opened::InTheClear(tried, open) => {
                    record.tries.push(*tried);
                    Opened::Link(open)
                }
                other => other,
            };
            match opened {
                Opened::Full => full += 1,
                Opened::Own(tried) => {
                    own = Some(candidate.preference);
                    record.dropped.push(Dropped {
                        host: candidate.host.clone(),
                        address: Some(candidate.address.ip()),
                        preference: candidate.preference,
                        why: Why::Own("its greeting, which bears this gateway's own token".to_owned()),
                    });
                    record.tries.push(*tried);
                }
                Opened::Crowded(number, tried) => {
                    full += 1;
                    core.queue.crowded(delivery.key(), number, &tried);
                    crowded.push(*tried);
                }
                Opened::Failed(tried) => {
                    let failure = tried.failure.clone();
                    record.tries.push(*tried);
                    let Some(failure) = failure else { continue };
                    let answers = vec![Answered::Failure(failure); pending.len()];
                    take(&mut fates, &mut pending, answers, &candidate.host, false, false);
                }
                Opened::Link(mut open) | Opened::InTheClear(_, mut open) => {
                    open.failed_before = failed_hosts(record.tries.iter());
                    open.way = (record.via, record.rule.clone());
                    let other_family = candidate.address.is_ipv6() && has_ipv4;
                    let carried = open
                        .carry(core, &in_force, delivery, &mut fates, &mut pending, &mut record, other_family)
                        .await;
                    *link = (!carried.closing).then_some(open);
                    if carried.again {
                        candidates.push_front(candidate);
                    }
                }
            }
        }
        let is_untried = record.tries[before..].iter().all(|tried| tried.own_token) && pending.len() == recipients;
        if full > 0 && is_untried {
            return None;
        }
        record.tries.splice(before..before, crowded);
        for at in pending {
            if let (Some(preference), None) = (own, &fates[at].last) {
                fates[at].outcome = Some(only_ourselves(&plan, &record, preference));
                continue;
            }
            let none = || Failure::new(Stage::Route, Culprit::Us, status::NO_ROUTE.with(&plan.rule));
            let last = fates[at].last.clone().unwrap_or_else(none);
            fates[at].outcome = Some(several(&record, decide::outcome::exhausted(&last)));
        }
    }
    if link.as_ref().is_some_and(|open| open.sent >= in_force.settings.delivery.messages_per_connection.max(1)) {
        quit(link.take()).await;
    }
    record.ended = now();
    Some((fates, record))
}

/// Those of these hosts that failed, each with why.
fn failed_hosts<'a>(tries: impl Iterator<Item = &'a HostTry>) -> Vec<String> {
    let failed = |tried: &HostTry| {
        let failure = tried.failure.as_ref()?;
        Some(format!("{} [{}]: {}", tried.host, tried.address, failure.status))
    };
    tries.filter_map(failed).take(HOSTS_MAX).collect()
}

/// No host was left but ourselves. A better one whose address is not known now may still be there.
fn only_ourselves(plan: &Plan, record: &Attempt, preference: u16) -> Outcome {
    let unknown =
        record.dropped.iter().find(|dropped| dropped.preference < preference && matches!(dropped.why, Why::Unknown(_)));
    if let Some(unknown) = unknown {
        return Outcome::Retry(status::DNS_FAILED.with(unknown.to_string()));
    }
    let met = record.tries.iter().find(|tried| tried.own_token);
    let met = met.map(|tried| {
        let address = SocketAddr::new(tried.address, tried.port);
        if tried.host == tried.address.to_string() {
            address.to_string()
        } else {
            format!("{} [{address}]", tried.host)
        }
    });
    let met = met.unwrap_or_default();
    let domain = &plan.domain;
    Outcome::Bounce(status::LOOP.with(format!("{domain} → {met} ({}) → this gateway → {domain}", plan.rule)))
}

/// Recipients that were accepted although the domain's list lacks them are settled here.
fn unlisted(in_force: &InForce, recipient: &mail::Recipient) -> Fate {
    let mut fate = Fate::of(recipient.clone());
    let domain = in_force.settings.local_domain(recipient.address.domain());
    let listed = decide::accept::is_known(&in_force.settings, &recipient.address);
    if let (false, Some(domain)) = (listed, domain) {
        let denied = status::NO_SUCH_RECIPIENT
            .with(format!("{} is not on the recipient list of {}", recipient.address, domain.name));
        fate.outcome = match domain.invalid_recipients {
            InvalidRecipients::Drop => Some(Outcome::Delivered),
            // The list changed after the mail came in, or this is what the administrator wants.
            InvalidRecipients::AcceptAndBounce | InvalidRecipients::Reject => Some(Outcome::Bounce(denied)),
        };
        fate.dropped = domain.invalid_recipients == InvalidRecipients::Drop;
    }
    fate
}

/// Books the outcomes of the pending recipients; those who need another host stay pending. `other_family`: this was our IPv6
/// address, and a host is left that we reach from the IPv4 one, which may have the name that this one lacks.
fn take(
    fates: &mut [Fate],
    pending: &mut Vec<usize>,
    answers: Vec<Answered>,
    host: &str,
    dsn: bool,
    other_family: bool,
) {
    let mut left = Vec::new();
    for (at, answer) in pending.drain(..).zip(answers) {
        let (outcome, failure) = match answer {
            Answered::Reply(stage, reply) => {
                (decide::outcome::of_reply(stage, &reply, host), Failure::remote(stage, host, &reply))
            }
            Answered::Failure(failure) => (decide::outcome::of_failure(&failure), failure),
        };
        let is_nameless = other_family && decide::outcome::is_about_reverse_dns(&failure);
        if outcome == Outcome::NextHost || (is_nameless && outcome != Outcome::Delivered) {
            fates[at].last = Some(failure);
            left.push(at);
            continue;
        }
        fates[at].outcome = Some(outcome);
        fates[at].host = host.to_owned();
        fates[at].dsn_passed_on = dsn;
    }
    *pending = left;
}

/// If several hosts could not be reached, the status names them all.
fn several(record: &Attempt, last: Outcome) -> Outcome {
    if matches!(last, Outcome::Bounce(_)) {
        return last;
    }
    // A connection that died while it was idle tells nothing.
    let tries = || record.tries.iter().filter(|tried| tried.reused_after_ms.is_none());
    let failures = failed_hosts(tries());
    let unreachable = |tried: &HostTry| tried.failure.as_ref().is_some_and(|failure| failure.stage <= Stage::Banner);
    if failures.len() > 1 && tries().all(unreachable) {
        return Outcome::Retry(status::NO_HOST_REACHED.with(failures.join("; ")));
    }
    last
}

enum Opened {
    Link(Box<Link>),
    /// TLS failed first; then it worked in the clear.
    InTheClear(Box<HostTry>, Box<Link>),
    Failed(Box<HostTry>),
    /// It is this gateway itself.
    Own(Box<HostTry>),
    /// The address has its limit of connections already.
    Full,
    /// It refused this connection, the so many-th, because of the others.
    Crowded(u32, Box<HostTry>),
}

/// Connects and speaks until the peer is ready for mail. When TLS is only offered and fails, once more in the clear.
async fn connect(core: &Arc<Core>, in_force: &InForce, plan: &Plan, candidate: &Candidate) -> Opened {
    let tls = plan.tls;
    let credentials = if let Way::RelayHost(relay) = &plan.way { relay.auth.as_ref() } else { None };
    let credentials = match credentials.map(|auth| (auth, std::fs::read_to_string(&auth.password_file))) {
        None => None,
        Some((auth, Ok(text))) => Some(client::Credentials {
            user: auth.user.clone(),
            password: text.lines().next().unwrap_or_default().to_owned(),
        }),
        Some((auth, Err(error))) => {
            let hint = crate::sandbox::hint(&auth.password_file);
            let why = status::AUTH_FAILED.with(format!("cannot read {}: {error}{hint}", auth.password_file.display()));
            let mut tried = blank(candidate);
            tried.failure = Some(Failure::new(Stage::Auth, Culprit::Us, why));
            return Opened::Failed(Box::new(tried));
        }
    };
    let first = Box::pin(open(core, in_force, plan, candidate, tls, credentials.clone())).await;
    match first {
        // A password never follows into the clear.
        Opened::Failed(tried)
            if tls == Tls::Offer
                && credentials.is_none()
                && tried.failure.as_ref().is_some_and(|failure| failure.stage == Stage::StartTls) =>
        {
            match Box::pin(open(core, in_force, plan, candidate, Tls::Off, credentials)).await {
                Opened::Link(open) => Opened::InTheClear(tried, open),
                _ => Opened::Failed(tried),
            }
        }
        other => other,
    }
}

fn blank(candidate: &Candidate) -> HostTry {
    HostTry::new(&candidate.host, candidate.address.ip(), candidate.address.port(), now())
}

async fn open(
    core: &Arc<Core>,
    in_force: &InForce,
    plan: &Plan,
    candidate: &Candidate,
    tls: Tls,
    credentials: Option<client::Credentials>,
) -> Opened {
    let settings = &in_force.settings.delivery;
    let Some(seat) = core.queue.enter(core, candidate.address.ip(), settings.connections_per_address) else {
        return Opened::Full;
    };
    let mut tried = blank(candidate);
    let (source, ehlo) = source(in_force, candidate.address);
    tried.source = source;
    tried.ehlo = ehlo.clone();
    tried.connections = seat.number;
    let dialled = dial(candidate.address, source, settings.timeouts.connect).await;
    let milliseconds = u32::try_from(now().since(tried.started).as_millis()).unwrap_or(u32::MAX);
    let socket = match dialled {
        Ok(socket) => {
            tried.connect = Connect::Made { ms: milliseconds };
            socket
        }
        Err((connect, failure)) => {
            tried.connect = connect;
            tried.failure = Some(failure);
            return Opened::Failed(Box::new(tried));
        }
    };
    tried.source = socket.local_addr().ok().map(|local| local.ip());
    let options = client::Options {
        peer: candidate.host.clone(),
        ehlo,
        tls: match tls {
            Tls::Off => client::Tls::Off,
            Tls::Offer => client::Tls::Offer,
            Tls::Require | Tls::Verify => client::Tls::Require,
        },
        credentials,
    };
    let client = Client::new(options, now());
    let mut link = Link {
        client,
        stream: Some(Stream::Plain(socket)),
        buffer: vec![0; 4096],
        tried,
        offers: Capabilities::default(),
        verify: tls == Tls::Verify,
        ca_file: settings.ca_file.clone(),
        sent: 0,
        settings_version: in_force.version,
        way: (Via::Mx, String::new()),
        failed_before: Vec::new(),
        idle_since: None,
        recipients: Vec::new(),
        seat,
    };
    let ready = link.until_ready(core, &settings.timeouts).await;
    if link.is_own(core) {
        if let Some(greeting) = &link.client.heard().banner {
            let (address, port) = (candidate.address.ip(), candidate.address.port());
            let met = Reflected { host: candidate.host.clone(), address, port, domain: plan.domain.ascii() };
            core.loops.reflected(greeting, met);
        }
        core.loops.learn(candidate.address);
        core.renew_identity();
        let what = format!(
            "{} {} → this gateway: its greeting bears this gateway's own token",
            candidate.host, candidate.address
        );
        let failure = Failure::new(Stage::Banner, Culprit::Us, status::LOOP.with(what));
        return Opened::Own(Box::new(HostTry { own_token: true, ..link.facts(Some(failure)) }));
    }
    match ready {
        Ok(offers) => {
            link.offers = offers;
            Opened::Link(Box::new(link))
        }
        Err(failure) => {
            let others = core.queue.connections(candidate.address.ip()) > 1;
            let is_crowded = decide::outcome::is_connection_limit(&failure, others);
            let tried = Box::new(link.facts(Some(failure)));
            if is_crowded { Opened::Crowded(link.seat.number, tried) } else { Opened::Failed(tried) }
        }
    }
}

/// The source address for this peer, constant for each (greylists remember it), and the EHLO name that belongs to it.
pub(crate) fn source(in_force: &InForce, peer: SocketAddr) -> (Option<IpAddr>, String) {
    let fitting: Vec<_> =
        in_force.settings.delivery.sources.iter().filter(|source| source.address.is_ipv4() == peer.is_ipv4()).collect();
    let hostname = in_force.hostname.ascii();
    if fitting.is_empty() {
        return (None, hostname);
    }
    let number: usize = match peer.ip() {
        IpAddr::V4(address) => address.octets().iter().map(|&byte| usize::from(byte)).sum(),
        IpAddr::V6(address) => address.octets().iter().map(|&byte| usize::from(byte)).sum(),
    };
    let chosen = fitting[number % fitting.len()];
    (Some(chosen.address), chosen.ehlo.as_ref().map_or(hostname, Domain::ascii))
}

pub(crate) async fn dial(
    address: SocketAddr,
    source: Option<IpAddr>,
    limit: Duration,
) -> Result<TcpStream, (Connect, Failure)> {
    let failed = |error: io::Error| {
        let (connect, why) = match error.kind() {
            io::ErrorKind::ConnectionRefused => (Connect::Refused, "connection refused".to_owned()),
            io::ErrorKind::NetworkUnreachable => (Connect::NetworkUnreachable, "network unreachable".to_owned()),
            io::ErrorKind::HostUnreachable => (Connect::HostUnreachable, "host unreachable".to_owned()),
            io::ErrorKind::ConnectionReset => (Connect::Reset, "connection reset".to_owned()),
            // Linux says so of a source address that is not ours, and of a family without any address.
            io::ErrorKind::AddrNotAvailable => match source {
                Some(source) => (Connect::NoSource, format!("source address {source} is not on this host")),
                None => (Connect::NoSource, "this host has no address of that family".to_owned()),
            },
            _ => (Connect::Failed(error.to_string()), error.to_string()),
        };
        let culprit = if connect == Connect::NoSource { Culprit::Us } else { Culprit::Path };
        (connect, Failure::new(Stage::Connect, culprit, status::CONNECT_FAILED.with(format!("{address}: {why}"))))
    };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0)).map_err(failed)?;
    }
    let connected = timeout(limit, socket.connect(address)).await;
    let socket = connected.map_err(|_| {
        let why = status::CONNECT_TIMEOUT.with(format!("{address} did not answer within {} s", limit.as_secs_f32()));
        let after_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        (Connect::TimedOut { after_ms }, Failure::new(Stage::Connect, Culprit::Path, why))
    })?;
    let socket = socket.map_err(failed)?;
    let _ = socket.set_nodelay(true);
    Ok(socket)
}

impl Link {
    /// Whether the peer hung up, or said something unasked (421, mostly), while the connection was idle. (In TLS, sending the
    /// next message shows it.)
    fn died_idle(&mut self) -> Option<Failure> {
        let Some(Stream::Plain(socket)) = &self.stream else { return None };
        match socket.try_read(&mut self.buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) => self.ended(End::Broken(error.to_string()), Closed::Error(error.to_string())),
            Ok(0) => self.ended(End::Closed, Closed::Eof),
            Ok(length) => self.client.receive(&self.buffer[..length], now()),
        }
        let mut events = std::iter::from_fn(|| self.client.next());
        let failure = events.find_map(|event| if let Event::Failed(failure) = event { Some(failure) } else { None });
        // Half a reply: no more is needed to know that this connection is not for us.
        let unasked = || Failure::new(Stage::Mail, Culprit::Them, status::CLOSED.with("unasked words while idle"));
        Some(failure.unwrap_or_else(unasked))
    }

    /// Carries the message to the pending recipients, in as many transactions as the peer's limit of recipients asks for. Those
    /// who need another host stay pending.
    #[expect(clippy::too_many_arguments, reason = "what an attempt consists of")]
    async fn carry(
        &mut self,
        core: &Arc<Core>,
        in_force: &InForce,
        delivery: &Delivery,
        fates: &mut [Fate],
        pending: &mut Vec<usize>,
        record: &mut Attempt,
        other_family: bool,
    ) -> Carry {
        let host = self.tried.host.clone();
        let is_reused = self.idle_since.is_some();
        let mut carry = Carry { closing: false, again: false };
        let mut left = Vec::new();
        let (mut unable, mut waiting) = self.by_ability(delivery, std::mem::take(pending));
        let (mut is_first, mut has_progressed) = (true, false);
        while !waiting.is_empty() && !carry.closing {
            // RFC 9422: what the peer announces; or what it has shown.
            let rest = waiting.split_off(waiting.len().min(self.offers.rcpt_max.unwrap_or(usize::MAX)));
            let mut batch = std::mem::replace(&mut waiting, rest);
            let mut sent = self.send(core, in_force, delivery, &batch).await;
            carry.closing = sent.closing;
            let is_early =
                sent.broken.as_ref().is_some_and(|failure| failure.stage <= Stage::Mail && !failure.maybe_delivered);
            // A connection that died while it was idle, or between two transactions, says nothing about these recipients.
            if is_early && (is_first && is_reused || has_progressed) {
                batch.iter().for_each(|&at| fates[at].last.clone_from(&sent.broken));
                self.note(record, sent.broken);
                waiting.splice(..0, batch);
                break;
            }
            is_first = false;
            let over = sent.over_the_limit(&mut batch);
            if !over.is_empty() {
                self.offers.rcpt_max = Some(batch.len().max(1));
            }
            has_progressed |= sent.answers.iter().any(Answered::is_taken);
            self.note(record, sent.failure(&host));
            take(fates, &mut batch, sent.answers, &host, self.offers.dsn, other_family);
            left.append(&mut batch);
            waiting.splice(..0, over);
        }
        carry.again = has_progressed && !waiting.is_empty();
        left.append(&mut waiting);
        if let Some(&first) = unable.first() {
            let lacking = |at: usize| {
                let what = format!("{host}, and {} needs it", delivery.recipients[at].address);
                Failure::new(Stage::Mail, Culprit::Them, status::NEEDS_SMTPUTF8.with(what))
            };
            let answers = unable.iter().map(|&at| Answered::Failure(lacking(at))).collect();
            self.note_unsaid(record, lacking(first));
            take(fates, &mut unable, answers, &host, false, false);
            left.append(&mut unable);
        }
        left.sort_unstable();
        *pending = left;
        carry
    }

    /// Recipients whose address this peer cannot take, for lack of SMTPUTF8, and the others: one must not stop the mail of all.
    fn by_ability(&self, delivery: &Delivery, pending: Vec<usize>) -> (Vec<usize>, Vec<usize>) {
        let is_beyond = |at: &usize| !self.offers.smtputf8 && delivery.recipients[*at].address.is_international();
        pending.into_iter().partition(is_beyond)
    }

    /// Whether the greeting is one of our own.
    fn is_own(&self, core: &Core) -> bool {
        self.client.heard().banner.as_ref().is_some_and(|banner| core.loops.is_own_greeting(banner))
    }

    /// Banner, EHLO, TLS, AUTH.
    async fn until_ready(&mut self, core: &Core, timeouts: &Timeouts) -> Result<Capabilities, Failure> {
        loop {
            match self.event(timeouts).await {
                Event::Ready(offers) => return Ok(offers),
                Event::StartTls => self.start_tls(core).await,
                Event::Failed(failure) => return Err(failure),
                Event::Quit => {
                    return Err(Failure::new(Stage::Ehlo, Culprit::Them, status::CLOSED.with(&self.tried.host)));
                }
                _ => {}
            }
        }
    }

    async fn start_tls(&mut self, core: &Core) {
        let Some(Ok(socket)) = self.stream.take().map(Stream::into_plain) else {
            return self.client.closed(Closed::TlsFailed("the connection is gone".to_owned()), now());
        };
        let name = ServerName::try_from(self.tried.host.trim_end_matches('.').to_owned())
            .unwrap_or(ServerName::IpAddress(self.tried.address.into()));
        let mut tls = match crate::tls::connect(core.client_tls.clone(), name.clone(), socket, HANDSHAKE_MAX).await {
            Ok(tls) => tls,
            Err(unshaken) => {
                self.tried.certificate = unshaken.overheard.certificate.as_deref().and_then(crate::certificate::facts);
                self.tried.tls_hello = Some(unshaken.overheard.hello);
                let end = match unshaken.error.kind() {
                    io::ErrorKind::TimedOut => End::TimedOut { waited_ms: HANDSHAKE_MAX.as_millis() as u64 },
                    io::ErrorKind::UnexpectedEof => End::Closed,
                    io::ErrorKind::InvalidData => End::Ours,
                    _ => End::Broken(unshaken.error.to_string()),
                };
                return self.ended(end, Closed::TlsFailed(unshaken.error.to_string()));
            }
        };
        let chain = tls.get_mut().1.peer_certificates().unwrap_or_default();
        let certificate = core.trust.judge(self.ca_file.as_ref(), chain, &name, now());
        let unverified = crate::certificate::words(&certificate, &name.to_str(), now());
        self.tried.certificate = Some(certificate);
        let stream = Stream::Client(Box::new(tls));
        let (version, cipher) = stream.tls().unwrap_or_default();
        self.tried.tls = Some(TlsUse { version, cipher, unverified: unverified.clone() });
        self.stream = Some(stream);
        match unverified.filter(|_| self.verify) {
            Some(why) => self.client.closed(Closed::Unverified(why), now()),
            None => self.client.tls_started(now()),
        }
    }

    /// Whether other settings are in force, or another name is said in EHLO, than when it was opened.
    fn is_outdated(&self, in_force: &InForce) -> bool {
        let peer = SocketAddr::new(self.tried.address, self.tried.port);
        self.settings_version != in_force.version || self.tried.ehlo != source(in_force, peer).1
    }

    /// Sends a message to the pending recipients.
    async fn send(&mut self, core: &Arc<Core>, in_force: &InForce, delivery: &Delivery, pending: &[usize]) -> Sent {
        let mut sent = self.converse(core, in_force, delivery, pending).await;
        self.idle_since = Some(now());
        sent.closing = sent.broken.is_some() || !self.client.is_idle();
        sent
    }

    async fn converse(&mut self, core: &Arc<Core>, in_force: &InForce, delivery: &Delivery, pending: &[usize]) -> Sent {
        let envelope = &delivery.message.envelope;
        let content = match &delivery.content {
            Some(content) => Ok(content.clone()),
            None => tokio::task::block_in_place(|| core.store.content(&delivery.message)),
        };
        let content = match content {
            Ok(content) => content,
            // The store has set it aside if it is damaged; a disk that fails for the moment is tried again.
            Err(error) => {
                let failure = Failure::new(Stage::Queue, Culprit::Us, status::CONTENT_LOST.with(error.to_string()));
                let answers = vec![Answered::Failure(failure); pending.len()];
                return Sent { answers, broken: None, closing: false };
            }
        };
        let plan = MessagePlan {
            sender: envelope.sender.clone(),
            recipients: pending.iter().map(|&at| delivery.recipients[at].clone()).collect(),
            body: envelope.body,
            // RFC 6531 3.6: a flag that nothing needs must not stop the mail at a peer without the extension.
            smtputf8: envelope.smtputf8 && (self.offers.smtputf8 || !has_ascii_header(&content)),
            size: delivery.message.size,
            ret: envelope.ret,
            envid: envelope.envid.clone(),
            // With the whole message in one write, a connection that died meanwhile would leave it open whether it was taken.
            small: delivery.message.size <= SMALL
                && self.idle_since.is_none_or(|since| now().since(since) < Duration::from_millis(500)),
        };
        self.sent += 1;
        core.loops.carry(self.carried(delivery, &plan));
        self.tried.reused_after_ms =
            self.idle_since.map(|since| u64::try_from(now().since(since).as_millis()).unwrap_or(u64::MAX));
        self.tried.started = if self.idle_since.is_some() { now() } else { self.tried.started };
        self.tried.content_sent = 0;
        self.recipients = plan.recipients.iter().map(|recipient| recipient.address.to_string()).collect();
        let mut replies: Vec<Option<Reply>> = vec![None; pending.len()];
        self.client.send(plan, now());
        loop {
            match self.event(&in_force.settings.delivery.timeouts).await {
                Event::Recipient(at, reply) => {
                    if let Some(place) = replies.get_mut(at) {
                        *place = Some(reply);
                    }
                }
                Event::GoAhead => {
                    if let Err(damaged) = self.give(&content, &in_force.settings.delivery.timeouts).await {
                        return self.damaged(core, delivery, pending, &damaged);
                    }
                }
                Event::Final(reply) => {
                    let each = |rcpt: &Option<Reply>| match rcpt {
                        Some(rcpt) if !rcpt.is_positive() => Answered::Reply(Stage::Rcpt, rcpt.clone()),
                        _ => Answered::Reply(Stage::FinalReply, reply.clone()),
                    };
                    return Sent { answers: replies.iter().map(each).collect(), broken: None, closing: false };
                }
                Event::NoRecipients => {
                    let none = Reply::new(451, "4.5.0", "no reply to RCPT");
                    let each = |rcpt: &Option<Reply>| {
                        Answered::Reply(Stage::Rcpt, rcpt.clone().unwrap_or_else(|| none.clone()))
                    };
                    return Sent { answers: replies.iter().map(each).collect(), broken: None, closing: false };
                }
                Event::Refused(failure) => {
                    return Sent {
                        answers: vec![Answered::Failure(failure); pending.len()],
                        broken: None,
                        closing: false,
                    };
                }
                Event::Failed(failure) => {
                    let each = |rcpt: &Option<Reply>| match rcpt {
                        Some(rcpt) if !rcpt.is_positive() => Answered::Reply(Stage::Rcpt, rcpt.clone()),
                        _ => Answered::Failure(failure.clone()),
                    };
                    return Sent { answers: replies.iter().map(each).collect(), broken: Some(failure), closing: true };
                }
                _ => {}
            }
        }
    }

    /// That this host is given the message now.
    fn carried(&self, delivery: &Delivery, plan: &MessagePlan) -> Carried {
        Carried {
            message: delivery.message.id,
            at: now(),
            host: self.tried.host.clone(),
            address: self.tried.address,
            port: self.tried.port,
            via: self.way.0,
            rule: self.way.1.clone(),
            recipients: plan.recipients.iter().take(20).map(|recipient| recipient.address.to_string()).collect(),
            failed_before: self.failed_before.clone(),
            returned: false,
        }
    }

    /// Our own disk lost the content, as its checksum or its absence shows: never end the transfer with half a message.
    fn damaged(&mut self, core: &Core, delivery: &Delivery, pending: &[usize], error: &io::Error) -> Sent {
        core.store.set_aside(delivery.message.id, &error.to_string());
        let lost = Failure::new(Stage::Queue, Culprit::Us, status::CONTENT_LOST.with(error.to_string()));
        Sent { answers: vec![Answered::Failure(lost.clone()); pending.len()], broken: Some(lost), closing: true }
    }

    /// The content, in pieces; a write that fails is told to the machine. An error: the content itself is damaged.
    async fn give(&mut self, content: &store::Content, timeouts: &Timeouts) -> io::Result<()> {
        if let Some(memory) = content.memory() {
            for piece in memory.chunks(PIECE) {
                self.client.content(piece, now());
                self.tried.content_sent += piece.len() as u64;
                // Small mail leaves in one write with its envelope, larger mail piece by piece: each has its own time.
                if memory.len() > PIECE && !self.flush(timeouts).await {
                    return Ok(());
                }
            }
        } else {
            let mut piece = vec![0; PIECE];
            let mut offset = 0;
            loop {
                match tokio::task::block_in_place(|| content.read_at(offset, &mut piece)) {
                    Ok(0) => break,
                    Ok(length) => {
                        offset += length as u64;
                        self.client.content(&piece[..length], now());
                        self.tried.content_sent += length as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(error),
                    Err(error) => {
                        self.client.closed(Closed::Error(format!("our own disk: {error}")), now());
                        return Ok(());
                    }
                }
                if !self.flush(timeouts).await {
                    return Ok(());
                }
            }
        }
        self.client.content_end(now());
        Ok(())
    }

    /// The machine's next event, moving bytes until there is one.
    async fn event(&mut self, timeouts: &Timeouts) -> Event {
        loop {
            if let Some(event) = self.client.next() {
                return event;
            }
            if !self.flush(timeouts).await {
                continue;
            }
            if let Some(event) = self.client.next() {
                return event;
            }
            let limit = limit(self.client.stage(), timeouts);
            let Some(stream) = &mut self.stream else {
                self.client.closed(Closed::Eof, now());
                continue;
            };
            match timeout(limit, stream.read(&mut self.buffer)).await {
                Ok(Ok(0)) => self.ended(End::Closed, Closed::Eof),
                Ok(Ok(length)) => self.client.receive(&self.buffer[..length], now()),
                Ok(Err(error)) => self.ended(End::Broken(error.to_string()), Closed::Error(error.to_string())),
                Err(_) => {
                    let waited_ms = limit.as_millis() as u64;
                    self.ended(End::TimedOut { waited_ms }, Closed::Timeout { waited_ms });
                }
            }
        }
    }

    /// Writes what the machine has to say. False: it failed, and the machine knows.
    async fn flush(&mut self, timeouts: &Timeouts) -> bool {
        let output = self.client.output();
        if output.is_empty() {
            return true;
        }
        let Some(stream) = &mut self.stream else { return false };
        let written = timeout(timeouts.block, async {
            stream.write_all(output).await?;
            stream.flush().await
        });
        let result = written.await;
        output.clear();
        let waited_ms = timeouts.block.as_millis() as u64;
        match result {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => self.ended(End::Broken(error.to_string()), Closed::SendFailed(error.to_string())),
            Err(_) => self.ended(End::TimedOut { waited_ms }, Closed::Timeout { waited_ms }),
        }
        false
    }

    /// The connection is gone: for the record, and for the machine.
    fn ended(&mut self, end: End, why: Closed) {
        if matches!((&end, self.client.stage()), (End::TimedOut { .. }, Stage::Body | Stage::FinalReply)) {
            self.tried.unacknowledged =
                self.stream.as_ref().and_then(|stream| crate::sendqueue::unacknowledged(stream.socket()));
        }
        self.tried.end = end;
        self.client.closed(why, now());
    }

    /// What is known of this host so far.
    fn facts(&mut self, failure: Option<Failure>) -> HostTry {
        let heard = self.client.heard();
        let rcpt = |(at, reply): &(usize, Reply)| {
            Some(RcptSaid { recipient: self.recipients.get(*at)?.clone(), reply: reply.clone() })
        };
        let mut tried = self.tried.clone();
        let connected = match tried.connect {
            Connect::Made { ms } if tried.reused_after_ms.is_none() => tried.started.ms() + i64::from(ms),
            _ => tried.started.ms(),
        };
        tried.banner_ms = heard.banner_at.map(|at| u64::try_from(at.ms() - connected).unwrap_or(0));
        tried.banner.clone_from(&heard.banner);
        tried.greeted.clone_from(&heard.greeted);
        tried.helo_only = heard.helo_only;
        tried.starttls.clone_from(&heard.starttls);
        tried.mail_reply.clone_from(&heard.mail);
        // Of a long list both kinds are of interest: where the refusals begin, and what they say.
        let (mut taken, mut refused) = (0, 0);
        let is_named = |said: &RcptSaid| {
            let count = if said.reply.is_positive() { &mut taken } else { &mut refused };
            *count += 1;
            *count <= NAMED_MAX
        };
        tried.rcpt = heard.recipients.iter().filter_map(rcpt).filter(is_named).collect();
        tried.data_reply.clone_from(&heard.data);
        tried.final_reply.clone_from(&heard.content);
        tried.capabilities.clone_from(&self.client.capabilities().lines);
        tried.transcript = self.client.take_transcript();
        tried.failure = failure;
        tried
    }

    /// Adds what was said since the last message to the record.
    fn note(&mut self, record: &mut Attempt, failure: Option<Failure>) {
        let tried = self.facts(failure);
        if record.tries.len() >= TRIES_MAX {
            record.tries.pop();
            record.tries_left_out += 1;
        }
        record.tries.push(tried);
    }

    /// Likewise, though nothing was said for this message.
    fn note_unsaid(&mut self, record: &mut Attempt, failure: Failure) {
        self.tried.reused_after_ms =
            self.idle_since.map(|since| u64::try_from(now().since(since).as_millis()).unwrap_or(u64::MAX));
        let tried = HostTry {
            mail_reply: None,
            rcpt: Vec::new(),
            data_reply: None,
            final_reply: None,
            content_sent: 0,
            ..self.facts(Some(failure))
        };
        record.tries.push(tried);
    }
}

/// Whether the message's own header is ASCII; if that cannot be told, no.
fn has_ascii_header(content: &store::Content) -> bool {
    if let Some(memory) = content.memory() {
        return memory[..mail::header_end(memory)].is_ascii();
    }
    let mut start = vec![0; PIECE];
    let read = tokio::task::block_in_place(|| content.read_at(0, &mut start));
    read.is_ok_and(|length| start[..mail::header_end(&start[..length])].is_ascii())
}

/// How long each stage may take.
fn limit(stage: Stage, timeouts: &Timeouts) -> Duration {
    match stage {
        Stage::Route | Stage::Dns | Stage::Connect => timeouts.connect,
        Stage::Banner => timeouts.banner,
        Stage::Ehlo | Stage::StartTls | Stage::Auth => timeouts.ehlo,
        Stage::Mail => timeouts.mail,
        Stage::Rcpt => timeouts.rcpt,
        Stage::Data => timeouts.data,
        Stage::Body => timeouts.block,
        Stage::FinalReply | Stage::Queue => timeouts.final_reply,
    }
}

/// Says goodbye; nobody waits long for the answer.
async fn quit(link: Option<Box<Link>>) {
    let Some(mut link) = link else { return };
    link.client.quit(now());
    let output = std::mem::take(link.client.output());
    if let Some(stream) = &mut link.stream {
        let _ = timeout(QUIT_MAX, async {
            stream.write_all(&output).await?;
            let mut answer = [0; 512];
            let _ = stream.read(&mut answer).await?;
            stream.shutdown().await
        })
        .await;
    }
}
