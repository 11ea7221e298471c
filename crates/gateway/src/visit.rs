//! Visit: the record of a client's connection while it goes on, and what of it stays in the audit trail.
//!
//! Good sessions leave nothing but their `accepted` events. One in which something was refused or that ended oddly is
//! kept whole, with its transcript and with findings, as one `visit` event.

use crate::clock::now;
use crate::core::{Core, InForce};
use crate::diagnose;
use mail::{
    AuditId, Deal, End, Greylisted, Listener, RcptSaid, Refusal, Reply, Said, ScanWord, Speaker, SpfResult, Stage,
    Time, Verified, Visit, status,
};
use serde_json::json;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Lines kept of the beginning of a conversation, and as many of its end; octets kept of each.
const LINES_MAX: usize = 100;
const OCTETS_MAX: usize = 16_384;
/// Refusals, transactions, recipients of one, and Audit IDs that a record names.
const REFUSALS_MAX: usize = 50;
const DEALS_MAX: usize = 20;
const RECIPIENTS_MAX: usize = 100;
const REFUSED_RECIPIENTS_MAX: usize = 20;
const VERIFIED_MAX: usize = 20;
const IDS_MAX: usize = 20;
const GREYLISTED_MAX: usize = 20;
/// Answers of DNS.
pub(crate) const ANSWERS_MAX: usize = 40;
/// The first octets of all that are kept.
const FIRST_MAX: usize = 64;

/// What is known of the connection so far.
#[derive(Debug)]
pub(crate) struct Diary {
    pub(crate) visit: Visit,
    /// Our greeting; empty: none was given.
    pub(crate) greeting: String,
    head: Lines,
    tail: Lines,
    /// Lines left out between head and tail.
    left_out: usize,
    /// Audit IDs that replies named.
    ids: Vec<AuditId>,
}

#[derive(Debug, Default)]
struct Lines {
    said: VecDeque<Said>,
    octets: usize,
}

impl Lines {
    fn is_full(&self) -> bool {
        self.said.len() >= LINES_MAX || self.octets >= OCTETS_MAX
    }

    fn push(&mut self, said: Said) {
        self.octets += said.text.len();
        self.said.push_back(said);
    }

    fn drop_first(&mut self) {
        if let Some(said) = self.said.pop_front() {
            self.octets -= said.text.len();
        }
    }
}

impl Diary {
    pub(crate) fn new(listener: Listener, local: SocketAddr, client: IpAddr) -> Diary {
        Diary {
            visit: Visit::new(listener, local, client, now()),
            greeting: String::new(),
            head: Lines::default(),
            tail: Lines::default(),
            left_out: 0,
            ids: Vec::new(),
        }
    }

    /// Octets came in before TLS and outside of content.
    pub(crate) fn read(&mut self, octets: &[u8]) {
        self.visit.reads += 1;
        self.visit.single_octet_reads += u32::from(octets.len() == 1);
        self.first(octets);
    }

    /// The first octets of all.
    pub(crate) fn first(&mut self, octets: &[u8]) {
        let room = FIRST_MAX - self.visit.first.len().min(FIRST_MAX);
        self.visit.first.extend_from_slice(&octets[..octets.len().min(room)]);
    }

    /// What came before the greeting.
    pub(crate) fn early(&mut self, octets: &[u8]) {
        self.first(octets);
        self.visit.early = octets.to_vec();
    }

    /// A line was said.
    pub(crate) fn said(&mut self, at: Time, speaker: Speaker, text: String) {
        self.visit.commands += u32::from(speaker == Speaker::Client);
        let said = Said { at, speaker, text };
        if !self.head.is_full() && self.tail.said.is_empty() {
            return self.head.push(said);
        }
        while self.tail.is_full() {
            self.tail.drop_first();
            self.left_out += 1;
        }
        self.tail.push(said);
    }

    /// Something was refused, with this Audit ID in the reply.
    pub(crate) fn refused(
        &mut self,
        id: AuditId,
        stage: Stage,
        reply: &Reply,
        why: Option<&str>,
        recipient: Option<String>,
        command: String,
    ) {
        self.concerns(id);
        if let (Some(recipient), Some(deal)) = (&recipient, self.visit.deals.last_mut())
            && !deal.content
            && deal.refused.len() < REFUSED_RECIPIENTS_MAX
        {
            deal.refused.push(RcptSaid { recipient: recipient.clone(), reply: reply.clone() });
        }
        if self.visit.refusals.len() < REFUSALS_MAX {
            let why = why.or_else(|| status::Kind::of(reply).map(|kind| kind.id)).unwrap_or_default().to_owned();
            let reply = reply.clone();
            self.visit.refusals.push(Refusal { at: now(), stage, reply, why, recipient, command, fault: None });
        }
    }

    pub(crate) fn concerns(&mut self, id: AuditId) {
        if self.ids.len() < IDS_MAX && !self.ids.contains(&id) {
            self.ids.push(id);
        }
    }

    /// A transaction begins.
    pub(crate) fn deal(&mut self, sender: String) {
        self.visit.transactions += 1;
        if self.visit.deals.len() >= DEALS_MAX {
            self.visit.deals.remove(0);
        }
        self.visit.deals.push(Deal { sender, ..Deal::default() });
    }

    /// The transaction under way, or the last one.
    pub(crate) fn last(&mut self) -> Option<&mut Deal> {
        self.visit.deals.last_mut()
    }

    /// The server behind was asked about a recipient.
    pub(crate) fn verified(&mut self, verified: Verified) {
        if self.visit.verified.len() >= VERIFIED_MAX {
            self.visit.verified.remove(0);
        }
        self.visit.verified.push(verified);
    }

    /// What greylisting said.
    pub(crate) fn greylisted(&mut self, greylisted: Greylisted) {
        if let Some(deal) = self.last()
            && deal.greylist.len() < GREYLISTED_MAX
        {
            deal.greylist.push(greylisted);
        }
    }

    /// Answers of DNS that counted, as many as there is room for.
    pub(crate) fn looked_up(&mut self, answers: Vec<mail::dns::Answer>) {
        let room = ANSWERS_MAX.saturating_sub(self.visit.dns.len());
        self.visit.dns.extend(answers.into_iter().take(room));
    }

    pub(crate) fn accepted(&mut self, recipient: &mail::Address) {
        if let Some(deal) = self.last()
            && deal.accepted.len() < RECIPIENTS_MAX
        {
            deal.accepted.push(recipient.to_string());
        }
    }

    /// Whether the connection must be explained.
    fn is_odd(&self) -> bool {
        let visit = &self.visit;
        let in_transaction = visit.deals.last().is_some_and(|deal| deal.content && !deal.taken);
        let timed_out = matches!(visit.end, End::TimedOut { .. });
        !visit.refusals.is_empty()
            || !visit.returns.is_empty()
            || !visit.early.is_empty()
            || visit.reflected.is_some()
            || visit.deals.iter().any(|deal| deal.unanswered)
            || visit.scan.as_ref().is_some_and(|scan| scan.word != ScanWord::Clean || scan.gone_ms.is_some())
            || visit.lists.iter().any(|listing| listing.skipped_s > 0)
            || self.is_blind()
            || self.is_pool()
            || (in_transaction && !matches!(visit.end, End::Quit))
            || (timed_out && visit.taken == 0)
            || (visit.greeted.is_none() && visit.lasted_ms() > 1000)
    }

    /// SPF could not be read because our way to DNS is not well; a fault of the domain's own servers is theirs.
    fn is_blind(&self) -> bool {
        let unknown = |deal: &Deal| deal.spf.as_ref().is_some_and(|check| check.result == SpfResult::TempError);
        let is_ours = |answer: &mail::dns::Answer| {
            let silent = answer.trouble.is_some_and(mail::dns::Trouble::is_silence);
            !answer.is_known() && (silent || answer.tcp_trouble().is_some())
        };
        self.visit.deals.iter().any(unknown) && self.visit.dns.iter().any(is_ours)
    }

    /// The same mail comes from one address after the other.
    fn is_pool(&self) -> bool {
        self.visit.deals.iter().flat_map(|deal| &deal.greylist).any(|greylisted| greylisted.addresses.len() > 2)
    }

    /// Puts the record together.
    /// Commands said, about.
    fn commands(&self) -> usize {
        let kept = self.head.said.iter().chain(&self.tail.said);
        kept.filter(|said| said.speaker == Speaker::Client).count() + self.left_out / 2
    }

    fn close(mut self) -> (Visit, Vec<AuditId>) {
        let mut transcript: Vec<Said> = self.head.said.into();
        if self.left_out > 0 {
            let at = transcript.last().map_or(self.visit.ended, |said| said.at);
            let text = format!("{} lines are left out here", self.left_out);
            transcript.push(Said { at, speaker: Speaker::Note, text });
        }
        transcript.extend(self.tail.said);
        self.visit.transcript = transcript;
        hide_credentials(&mut self.visit.early);
        hide_credentials(&mut self.visit.first);
        (self.visit, self.ids)
    }
}

/// What comes behind AUTH is never kept.
fn hide_credentials(octets: &mut Vec<u8>) {
    let auth = octets.windows(4).position(|word| word.eq_ignore_ascii_case(b"AUTH"));
    if let Some(at) = auth {
        octets.truncate(at + 4);
    }
}

/// The connection is over: if it must be explained, its record goes into the audit trail with what it comes to.
pub(crate) async fn over(core: &Arc<Core>, in_force: &InForce, connection: AuditId, mut diary: Diary) {
    diary.visit.ended = now();
    diary.visit.reflected = core.loops.reflection(&diary.greeting);
    core.around.visit(&diary.visit, diary.commands());
    let answered = diary.visit.deals.last().filter(|deal| deal.taken && !deal.sender.is_empty());
    let is_exchange = answered.is_some_and(|deal| {
        deal.accepted.first().is_some_and(|recipient| core.around.is_exchange(&deal.sender, recipient))
    });
    let is_crowd = core.around.is_crowd(&diary.visit, &in_force.settings, &in_force.hostname.ascii());
    if !diary.is_odd() && !is_exchange && !is_crowd {
        return;
    }
    let (visit, mut ids) = diary.close();
    let findings = match in_force.settings.diagnosis.enabled {
        true => diagnose::of_visit(core, in_force, &visit).await,
        false => Vec::new(),
    };
    let who = concerned(&visit);
    if findings.iter().any(|finding| finding.cause == "net.snat_hides_clients") {
        core.around.nat(visit.client);
    }
    for finding in findings.iter().filter(|finding| finding.severity != mail::Severity::Info) {
        core.around.trouble(ids.first().copied().unwrap_or(connection), &who, Vec::new(), finding);
    }
    if ids.is_empty() {
        ids.push(connection);
    }
    // The trail of the pass before ends with a good delivery; that it came back belongs there.
    for back in &visit.returns {
        let fields = json!({
            "recipients": [back.recipient],
            "client": visit.client,
            "addresses": back.sent.iter().map(|sent| sent.address).collect::<Vec<_>>(),
            "status": status::LOOP.with(crate::loops::cycle(back, visit.client)).to_string(),
            "finding": findings.first(),
            "recorded_under": ids[0],
        });
        core.record(back.before, "returned", fields);
    }
    for (at, id) in ids.iter().enumerate() {
        let mut fields = json!({
            "connection": connection,
            "client": visit.client,
            "helo": visit.helo,
            "listener": visit.listener.name(),
            "finding": findings.first(),
        });
        // One record, under the first Audit ID; the others point to it.
        if at == 0 {
            fields["visit"] = json!(visit);
            fields["findings"] = json!(findings);
            fields["ids"] = json!(ids);
        } else {
            fields["recorded_under"] = json!(ids[0]);
        }
        core.record(*id, "visit", fields);
    }
}

/// Whom it concerns: the client, recipients that were refused, and those that were not.
fn concerned(visit: &Visit) -> Vec<String> {
    let refused = visit.refusals.iter().filter_map(|refusal| refusal.recipient.clone());
    let accepted = visit.deals.iter().flat_map(|deal| deal.accepted.iter().cloned());
    std::iter::once(visit.client.to_string()).chain(refused).chain(accepted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diary() -> Diary {
        Diary::new(Listener::Inbound, "127.0.0.1:25".parse().unwrap(), "127.0.0.9".parse().unwrap())
    }

    #[test]
    fn a_long_conversation_keeps_its_beginning_and_its_end() {
        let mut diary = diary();
        for n in 0..1000 {
            diary.said(Time(n), Speaker::Client, format!("NOOP {n}"));
        }
        let (visit, _) = diary.close();
        let text = |at: usize| visit.transcript[at].text.as_str();
        assert_eq!(visit.transcript.len(), 2 * LINES_MAX + 1);
        assert_eq!((text(0), text(99), text(100)), ("NOOP 0", "NOOP 99", "800 lines are left out here"));
        assert_eq!((text(101), text(200)), ("NOOP 900", "NOOP 999"));
        assert_eq!(visit.commands, 1000);
    }

    #[test]
    fn long_lines_are_bounded_as_well() {
        let mut diary = diary();
        for _ in 0..1000 {
            diary.said(Time(0), Speaker::Client, "x".repeat(500));
        }
        let (visit, _) = diary.close();
        let octets: usize = visit.transcript.iter().map(|said| said.text.len()).sum();
        assert!(octets < 2 * OCTETS_MAX + 2000, "{octets}");
    }

    #[test]
    fn credentials_said_too_early_are_not_kept() {
        let mut diary = diary();
        diary.early(b"EHLO x\r\nauth plain AGEAc2VjcmV0\r\n");
        let (visit, _) = diary.close();
        assert_eq!(visit.early, b"EHLO x\r\nauth");
        assert_eq!(visit.first, b"EHLO x\r\nauth");
    }

    #[test]
    fn a_good_session_leaves_no_record() {
        let mut diary = diary();
        diary.visit.greeted = Some(now());
        diary.deal("a@out.test".to_owned());
        diary.last().unwrap().content = true;
        diary.visit.end = End::Closed;
        assert!(diary.is_odd(), "vanished within its content");
        diary.last().unwrap().taken = true;
        assert!(!diary.is_odd());
    }
}
