//! Around: what happened at this gateway within the last hour, in short and bounded, so that one failure can be told from a
//! general one; and the findings of that time, for incidents.

use crate::clock::now;
use decide::Settings;
use decide::diagnose::strangers::{is_inside, stranger};
use decide::diagnose::{Around as Snapshot, Call, Seen, Sent};
use mail::{Attempt, AuditId, Finding, HostTry, Listener, Time, Visit};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

const HOUR_MS: i64 = 3_600_000;
/// Entries kept of each kind: enough to compare, little enough to copy for each case.
const KEPT_MAX: usize = 300;
/// Domains whose last good delivery is remembered.
const GOOD_MAX: usize = 2000;
/// Kinds of trouble remembered for incidents.
const TROUBLES_MAX: usize = 500;
/// Addresses inside of which it is remembered who came from there, and organisations of each.
const CROWDS_MAX: usize = 64;
const CROWD_MAX: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Around {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    started: Option<Time>,
    seen: VecDeque<Seen>,
    calls: VecDeque<Call>,
    sent: VecDeque<Sent>,
    good: HashMap<String, Good>,
    troubles: HashMap<String, Trouble>,
    /// Organisations whose servers came from an address inside.
    crowds: HashMap<IpAddr, Vec<String>>,
    /// Addresses of which it is known that they hide others.
    nats: HashMap<IpAddr, Time>,
}

/// The last delivery to a domain that went well: what differs from it later may be the reason.
#[derive(Clone, Debug)]
struct Good {
    at: Time,
    settings_version: i64,
    dns: Vec<(String, String)>,
    certificate: Option<String>,
}

/// One kind of trouble, as an incident shows it.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) first: Time,
    pub(crate) last: Time,
    pub(crate) count: u64,
    pub(crate) id: AuditId,
    pub(crate) who: Vec<String>,
    pub(crate) changed: Vec<String>,
    pub(crate) finding: Finding,
}

impl Around {
    /// Books an attempt: each host tried, and what differs from the last good one. Lines that say what changed come back.
    pub(crate) fn attempt(&self, attempt: &Attempt, size: u64) -> Vec<String> {
        let mut book = self.lock();
        book.started.get_or_insert(attempt.started);
        for tried in &attempt.tries {
            push(&mut book.seen, seen(attempt, tried, size));
        }
        let went_well = attempt.tries.iter().any(decide::diagnose::delivered);
        if !went_well {
            return book.good.get(&attempt.domain).map(|good| good.changes(attempt)).unwrap_or_default();
        }
        // A reused connection asked nothing: what was learned when it was opened still holds.
        if !attempt.dns.is_empty() || !book.good.contains_key(&attempt.domain) {
            if book.good.len() >= GOOD_MAX {
                book.good.clear();
            }
            book.good.insert(attempt.domain.clone(), Good::of(attempt));
        }
        Vec::new()
    }

    /// Books a client's visit, in which it said so many commands.
    pub(crate) fn visit(&self, visit: &Visit, commands: usize) {
        let last = visit.deals.last();
        let domain = last.and_then(|deal| deal.sender.rsplit_once('@')).map(|(_, domain)| domain.to_owned());
        let call = Call {
            started: visit.started,
            ended: visit.ended,
            client: visit.client,
            helo: visit.helo.clone(),
            sender_domain: domain.unwrap_or_default(),
            commands: u32::try_from(commands).unwrap_or(u32::MAX),
            greeted: visit.greeted,
            refused: visit.refusals.last().map(|refusal| refusal.reply.clone()),
            taken: u32::try_from(visit.deals.iter().filter(|deal| deal.taken).count()).unwrap_or(u32::MAX),
            end: visit.end.clone(),
            whole_lines: visit.single_octet_reads * 2 < visit.reads.max(1),
            authenticated: visit.user.is_some(),
        };
        push(&mut self.lock().calls, call);
    }

    /// Whether another organisation's mail server has come from an address where several cannot live. Asked of every session, so
    /// it costs nothing for addresses of the Internet, and each organisation counts once.
    pub(crate) fn is_crowd(&self, visit: &Visit, settings: &Settings, hostname: &str) -> bool {
        let is_candidate = is_inside(visit.client)
            || visit.listener == Listener::Outbound
            || settings.public_addresses.contains(&visit.client);
        if !is_candidate || visit.user.is_some() || visit.proxy.is_some() || visit.deals.is_empty() {
            return false;
        }
        let Some(owner) = stranger(settings, hostname, &visit.helo) else { return false };
        let mut book = self.lock();
        if book.crowds.len() >= CROWDS_MAX && !book.crowds.contains_key(&visit.client) {
            book.crowds.clear();
        }
        let crowd = book.crowds.entry(visit.client).or_default();
        let is_new = crowd.len() < CROWD_MAX && !crowd.iter().any(|known| known.eq_ignore_ascii_case(owner));
        if is_new {
            crowd.push(owner.to_owned());
        }
        // One is enough where its mail is relayed.
        let is_relayed = visit.listener == Listener::Outbound
            && visit.deals.iter().any(|deal| {
                let domain = deal.sender.rsplit('@').next().unwrap_or_default();
                deal.taken
                    && stranger(settings, hostname, domain).is_some_and(|sender| sender.eq_ignore_ascii_case(owner))
            });
        is_new && (crowd.len() > 1 || is_relayed)
    }

    /// This address was found to hide clients.
    pub(crate) fn nat(&self, address: IpAddr) {
        let mut book = self.lock();
        if book.nats.len() >= CROWDS_MAX {
            book.nats.clear();
        }
        book.nats.insert(address, now());
    }

    /// Whether an address hides clients, as was found within a day.
    pub(crate) fn is_nat(&self, address: IpAddr) -> bool {
        self.lock().nats.get(&address).is_some_and(|at| at.ms() > now().ms() - 24 * HOUR_MS)
    }

    /// Books a message that came or went.
    pub(crate) fn message(&self, sent: Sent) {
        push(&mut self.lock().sent, sent);
    }

    /// Whether these two have just written to and fro so often that it may be machines: at every sixth message.
    pub(crate) fn is_exchange(&self, one: &str, other: &str) -> bool {
        const MESSAGES: usize = 6;
        let is = |sent: &Sent, from: &str, to: &str| {
            sent.sender.eq_ignore_ascii_case(from) && sent.recipients.iter().any(|known| known.eq_ignore_ascii_case(to))
        };
        let book = self.lock();
        let (there, back) =
            book.sent.iter().filter(|sent| !sent.in_reply_to.is_empty()).fold((0, 0), |(to, fro), sent| {
                (to + usize::from(is(sent, one, other)), fro + usize::from(is(sent, other, one)))
            });
        there > 1 && back > 1 && (there + back) % MESSAGES == 0
    }

    /// A copy for the rules.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let book = self.lock();
        let since = now().ms() - HOUR_MS;
        Snapshot {
            started: book.started,
            seen: book.seen.iter().filter(|seen| seen.at.ms() >= since).cloned().collect(),
            calls: book.calls.iter().filter(|call| call.ended.ms() >= since).cloned().collect(),
            sent: book.sent.iter().filter(|sent| sent.at.ms() >= since).cloned().collect(),
            ..Snapshot::default()
        }
    }

    /// Books a finding for the list of incidents. True: it is the first of its kind within a day.
    pub(crate) fn trouble(&self, id: AuditId, who: &[String], changed: Vec<String>, finding: &Finding) -> bool {
        let mut book = self.lock();
        let at = now();
        if book.troubles.len() >= TROUBLES_MAX {
            book.troubles.retain(|_, trouble| trouble.last.ms() > at.ms() - 24 * HOUR_MS);
        }
        if book.troubles.len() >= TROUBLES_MAX {
            book.troubles.clear();
        }
        let key = format!("{} {}", finding.cause, finding.sentence);
        let is_new = !book.troubles.contains_key(&key);
        let trouble = book.troubles.entry(key).or_insert_with(|| Trouble {
            first: at,
            last: at,
            count: 0,
            id,
            who: Vec::new(),
            changed,
            finding: finding.clone(),
        });
        (trouble.last, trouble.id) = (at, id);
        trouble.count += 1;
        for name in who {
            if trouble.who.len() < 10 && !trouble.who.contains(name) {
                trouble.who.push(name.clone());
            }
        }
        is_new
    }

    /// What was found within a day, the newest first.
    pub(crate) fn troubles(&self) -> Vec<Trouble> {
        let since = now().ms() - 24 * HOUR_MS;
        let mut all: Vec<Trouble> =
            self.lock().troubles.values().filter(|trouble| trouble.last.ms() >= since).cloned().collect();
        all.sort_by_key(|trouble| std::cmp::Reverse(trouble.last));
        all
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push<T>(list: &mut VecDeque<T>, entry: T) {
    if list.len() >= KEPT_MAX {
        list.pop_front();
    }
    list.push_back(entry);
}

impl Good {
    fn of(attempt: &Attempt) -> Good {
        let dns = attempt.dns.iter().map(|answer| (answer.question.to_string(), answer.summary())).collect();
        let certificate = attempt.tries.iter().find_map(|tried| tried.certificate.as_ref());
        Good {
            at: attempt.ended,
            settings_version: attempt.settings_version,
            dns,
            certificate: certificate.map(|certificate| certificate.fingerprint.clone()),
        }
    }

    fn changes(&self, attempt: &Attempt) -> Vec<String> {
        let since = format!("since the last good delivery at {}", self.at.rfc3339());
        let mut changes = Vec::new();
        if self.settings_version != attempt.settings_version {
            changes.push(format!("settings: version {} → {} {since}", self.settings_version, attempt.settings_version));
        }
        for answer in &attempt.dns {
            let question = answer.question.to_string();
            let (before, after) = (self.dns.iter().find(|(asked, _)| *asked == question), answer.summary());
            if let Some((_, before)) = before.filter(|(_, before)| sorted(before) != sorted(&after)) {
                changes.push(format!("DNS: {before} → {after} {since}"));
            }
        }
        let certificate = attempt.tries.iter().find_map(|tried| tried.certificate.as_ref());
        if let (Some(before), Some(after)) = (&self.certificate, certificate)
            && *before != after.fingerprint
        {
            changes.push(format!("certificate of the peer: another one than {since}"));
        }
        changes
    }
}

/// Records come in any order.
fn sorted(summary: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = summary.split([' ', ',', ':']).filter(|part| !part.is_empty()).collect();
    parts.sort_unstable();
    parts
}

fn seen(attempt: &Attempt, tried: &HostTry, size: u64) -> Seen {
    // In the order of the conversation: 503 to a DATA that was said in one go with its recipients explains nothing.
    let refusal = [&tried.banner, &tried.mail_reply]
        .into_iter()
        .flatten()
        .chain(tried.rcpt.iter().map(|said| &said.reply))
        .chain(&tried.data_reply)
        .chain(&tried.final_reply)
        .find(|reply| reply.code >= 400);
    let times: Vec<i64> = tried.transcript.iter().map(|said| said.at.ms()).collect();
    let slowest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    let content = tried.data_reply.is_some() || tried.content_sent > 0;
    let content_ms =
        if content { times.last().zip(times.iter().rev().nth(1)).map_or(0, |(end, go)| end - go) } else { 0 };
    Seen {
        at: attempt.ended,
        domain: attempt.domain.clone(),
        host: tried.host.clone(),
        address: tried.address,
        port: tried.port,
        source: tried.source,
        configured: attempt.via != mail::Via::Mx,
        connect: tried.connect.clone(),
        banner: tried.banner.as_ref().map(|banner| format!("{} {}", banner.code, banner.text())),
        name: tried.greeted.as_ref().and_then(|reply| reply.text().split_whitespace().next().map(str::to_owned)),
        capabilities: tried.capabilities.clone(),
        delivered: decide::diagnose::delivered(tried),
        stage: tried.failure.as_ref().map(|failure| failure.stage),
        reply: refusal.cloned(),
        sender: attempt.sender.clone(),
        size,
        content_sent: tried.content_sent,
        content_ms: u64::try_from(content_ms).unwrap_or(0),
        slowest_ms: u64::try_from(slowest).unwrap_or(0),
        fingerprint: tried.certificate.as_ref().map(|certificate| certificate.fingerprint.clone()),
        end: tried.end.clone(),
        their_clock: tried.banner.as_ref().and_then(|banner| date_in(&banner.text())),
    }
}

/// The time of day that a greeting shows (`220 mx ESMTP Sendmail; Wed, 25 Nov 2026 10:00:00 +0000`).
fn date_in(text: &str) -> Option<Time> {
    const DAYS: [&str; 7] = ["Mon, ", "Tue, ", "Wed, ", "Thu, ", "Fri, ", "Sat, ", "Sun, "];
    let start = DAYS.iter().find_map(|day| text.find(day))?;
    let end = text[start..].find('(').map_or(text.len(), |end| start + end);
    let date = jiff::fmt::rfc2822::parse(text[start..end].trim()).ok()?;
    Some(Time(date.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_may_show_the_time() {
        let time = date_in("mx.dest.test ESMTP Sendmail 8.17; Wed, 25 Nov 2026 10:00:00 +0200 (EET)");
        assert_eq!(time.map(Time::rfc3339).as_deref(), Some("2026-11-25T08:00:00.000Z"));
        assert_eq!(date_in("mx.dest.test ESMTP"), None);
    }

    #[test]
    fn records_in_another_order_are_no_change() {
        assert_eq!(sorted("x.test A: 192.0.2.1, 192.0.2.2"), sorted("x.test A: 192.0.2.2, 192.0.2.1"));
        assert_ne!(sorted("x.test A: 192.0.2.1"), sorted("x.test A: 192.0.2.2"));
    }
}
