//! Outcome: what an attempt came to, written to the store: gone, later, or returned to the sender.
//!
//! The order is the promise: a bounce is durable before the message that it speaks of is let go.

use crate::clock::now;
use crate::core::{Core, InForce};
use crate::diagnose;
use crate::receive::deliveries;
use decide::loops::Deed;
use decide::outcome::Outcome;
use decide::retry::{self, Next};
use mail::report::{self, Action, Report};
use mail::{
    Actor, Attempt, Envelope, Finding, Hop, Notify, Origin, Recipient, ReversePath, Severity, Status, Time, header_end,
    status,
};
use serde_json::{Value, json};
use std::sync::Arc;
use store::{Delivery, Event, Settle};

/// A message this long is returned whole if the sender asked for it (RET=FULL), else its header only.
const RETURN_WHOLE_MAX: u64 = 65_536;
/// Of a longer message's header, so much is returned.
const RETURN_HEADER_MAX: usize = 32_768;

/// One recipient's fate in an attempt.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(crate) recipient: Recipient,
    pub(crate) outcome: Option<Outcome>,
    /// What the last host said that passed it on to the next.
    pub(crate) last: Option<mail::Failure>,
    pub(crate) host: String,
    /// The next hop offers DSN and reports to the sender itself.
    pub(crate) dsn_passed_on: bool,
    /// Invalid, and the domain's setting says to drop it without a word.
    pub(crate) dropped: bool,
}

impl Fate {
    pub(crate) fn of(recipient: Recipient) -> Fate {
        Fate { recipient, outcome: None, last: None, host: String::new(), dsn_passed_on: false, dropped: false }
    }
}

/// What remains of a delivery, beside its recipients: kept in the row as JSON.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Extra {
    /// Delay notices sent.
    #[serde(default)]
    pub(crate) notices: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<Attempt>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) finding: Option<Finding>,
    /// What differs from the last good delivery to this domain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) changed: Vec<String>,
    /// The message came back for these recipients, while others get it: they are reported on and not tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) came_back: Option<Status>,
}

impl Extra {
    pub(crate) fn of(value: &Value) -> Extra {
        serde_json::from_value(value.clone()).unwrap_or_default()
    }

    /// The finding alone: attempts are long.
    pub(crate) fn finding_in(value: &Value) -> Option<Finding> {
        serde_json::from_value(value.get("finding")?.clone()).ok()
    }

    pub(crate) fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// What the queue counts it under.
    pub(crate) fn cause(&self, lane: &str) -> Option<Box<store::Cause>> {
        let finding = self.finding.as_ref()?;
        let object = match finding.actor {
            // One cause here concerns all destinations.
            Actor::OurSettings | Actor::OurNetwork | Actor::OurReputation | Actor::OurDns => String::new(),
            _ => {
                let tried = self.attempt.as_ref().and_then(|attempt| attempt.tries.last());
                tried.map_or_else(|| lane.to_owned(), |tried| tried.host.clone())
            }
        };
        let detail = json!({ "finding": finding, "changed": self.changed });
        Some(Box::new(store::Cause { cause: finding.cause.to_string(), object, detail, at: now() }))
    }
}

/// Sorts the fates, reports what must be reported, and lets the delivery go or lie until its next attempt.
pub(crate) async fn settle(core: &Arc<Core>, delivery: Delivery, fates: Vec<Fate>, attempt: Attempt) {
    let in_force = core.in_force();
    let changed = core.around.attempt(&attempt, delivery.message.size);
    let mut extra = Extra::of(&delivery.extra);
    let findings = match (&extra.came_back, in_force.settings.diagnosis.enabled) {
        // What its return came to is known from when it came in.
        (Some(_), _) => extra.finding.clone().into_iter().collect(),
        (None, true) => diagnose::of_attempt(core, &in_force, Some(&delivery.message), &attempt).await,
        (None, false) => Vec::new(),
    };
    let cause = Cause { findings, changed };
    cause.book(core, &delivery, &attempt);
    let mut delivered = Vec::new();
    let mut failed: Vec<(Recipient, Status)> = Vec::new();
    let mut put_off: Vec<(Recipient, Status)> = Vec::new();
    for fate in fates {
        match fate.outcome {
            Some(Outcome::Delivered) => delivered.push(Fate { outcome: Some(Outcome::Delivered), ..fate }),
            Some(Outcome::Bounce(status)) => failed.push((fate.recipient, status)),
            Some(Outcome::Retry(status)) => put_off.push((fate.recipient, status)),
            Some(Outcome::NextHost) | None => put_off.push((fate.recipient, status::NO_ROUTE.with(""))),
        }
    }
    let sender = &delivery.message.envelope.sender;
    let received = delivery.message.received;
    // A flush tries at once and changes neither the timetable nor the number of attempts left.
    let early = extra.attempt.as_ref().is_some_and(|last| {
        matches!(retry::next(&in_force.settings.retry, sender, delivery.attempts, received, last.ended), Next::At(planned) if planned > attempt.started)
    });
    let attempts = if early { delivery.attempts } else { delivery.attempts + 1 };
    let next = sooner(retry::next(&in_force.settings.retry, sender, attempts, received, now()), cause.first());
    let (looping, others): (Vec<_>, Vec<_>) =
        failed.into_iter().partition(|(_, status)| decide::outcome::is_loop(status));
    failed = others;
    let mut around = match Round::of(core, &in_force, &delivery, &attempt, &extra, cause.first(), looping) {
        // One row has one fate: the next attempt finds the loop again, and nothing else.
        Some(around) if around.deed != Deed::Refuse && !put_off.is_empty() => {
            put_off.extend(around.recipients);
            None
        }
        Some(around) if around.deed == Deed::Refuse => {
            failed.extend(around.recipients);
            None
        }
        around => around,
    };
    if next == Next::Expired {
        failed.extend(put_off.drain(..).map(|(recipient, last)| (recipient, expired(last))));
    }
    // What is true of one recipient must not be told of another.
    let (for_failed, for_put_off) = match (failed.is_empty(), put_off.is_empty()) {
        (false, false) => {
            (cause.without(core, &in_force, &attempt, &put_off), cause.without(core, &in_force, &attempt, &failed))
        }
        _ => (cause.clone(), cause.clone()),
    };
    let mut events = Vec::new();
    // Nobody asks for it afterwards.
    let is_smooth = failed.is_empty() && put_off.is_empty() && cause.findings.is_empty();
    let mut attempt = attempt;
    events.extend(delivered_events(core, &delivery, &delivered, &mut attempt, &cause, is_smooth));
    if let Some((_, status)) = failed.first() {
        let kind = if decide::outcome::is_loop(status) { "loop" } else { "bounced" };
        events.push(failure_event(core, kind, &delivery, &failed, &attempt, &for_failed));
        core.metrics.bounced.inc_by(failed.len() as u64);
    }
    let mut reported = report(core, &in_force, &delivery, &failed, for_failed.first(), Action::Failed, None).await;
    reported &= report_success(core, &in_force, &delivery, &delivered).await;
    if let Some(round) = around.take_if(|_| reported) {
        return round.settle(core, delivery, attempts, attempt, &cause, extra, events);
    }
    put_off.extend(around.map(|around| around.recipients).unwrap_or_default());
    let outcome = match next {
        // The report could not be stored: the message stays, and the report is tried again with it.
        _ if !reported => {
            put_off.extend(failed);
            later(put_off, delivery.attempts, now() + std::time::Duration::from_secs(60), &extra, &delivery.lane)
        }
        Next::At(time) if !put_off.is_empty() => {
            events.push(failure_event(core, "deferred", &delivery, &put_off, &attempt, &for_put_off));
            core.metrics.deferred.inc_by(put_off.len() as u64);
            notify_delay(core, &in_force, &delivery, &put_off, for_put_off.first(), &mut extra).await;
            extra.attempt = Some(attempt);
            extra.finding = for_put_off.first().cloned();
            extra.changed.clone_from(&cause.changed);
            later(put_off, attempts, time, &extra, &delivery.lane)
        }
        _ => store::Outcome::Gone,
    };
    write(core, &delivery, outcome, events);
}

/// To the disk. The courier goes on; only the queue's book must wait until the disk knows.
fn write(core: &Arc<Core>, delivery: &Delivery, outcome: store::Outcome, events: Vec<Event>) {
    let (next, elsewhere) = match &outcome {
        store::Outcome::Later { next, lane: None, .. } => (Some(*next), None),
        store::Outcome::Later { next, lane: Some(lane), .. } => (None, Some((lane.clone(), *next))),
        store::Outcome::Gone | store::Outcome::Held { .. } => (None, None),
    };
    let (lane, key) = (delivery.lane.clone(), delivery.key());
    let settled = core.store.settle(Settle { message: key.0, n: key.1, outcome, events });
    let core = core.clone();
    tokio::spawn(async move {
        if let Err(error) = settled.await {
            core.record(key.0, "alert", json!({ "what": format!("the result of a delivery could not be written, it may be repeated: {error}") }));
        }
        let next = if next.is_some() && core.queue.is_flushed(key) { flushed(&core, key).await.or(next) } else { next };
        core.queue.settled(&lane, key, next);
        if let Some((lane, due)) = elsewhere {
            core.queue.awaits(&core, &lane, due);
        }
    });
}

/// A flush came while the attempt was under way, and its result has put off what was to be tried at once.
async fn flushed(core: &Core, key: crate::queue::Key) -> Option<Time> {
    let selection = store::Selection { ids: vec![key.0], ..store::Selection::default() };
    let order =
        store::Order { action: store::Action::Retry, selection, by: "flush".to_owned(), at: now(), dry_run: false };
    core.store.order(order, |_| {}).await.ok().map(|_| now())
}

/// Recipients whose mail would go round, and what is done about it.
struct Round {
    recipients: Vec<(Recipient, Status)>,
    deed: Deed,
}

impl Round {
    /// `None` if there are none. Tells the administrator, if it is for him to mend.
    fn of(
        core: &Core,
        in_force: &InForce,
        delivery: &Delivery,
        attempt: &Attempt,
        extra: &Extra,
        finding: Option<&Finding>,
        recipients: Vec<(Recipient, Status)>,
    ) -> Option<Round> {
        let (_, status) = recipients.first()?;
        if extra.came_back.is_some() {
            return Some(Round { recipients, deed: Deed::Refuse });
        }
        // Whoever publishes `MX 0 localhost` wants no mail: nobody here can do anything about it.
        if finding.is_some_and(|finding| finding.actor == Actor::TheirDns) {
            return Some(Round { recipients, deed: Deed::Refuse });
        }
        let deed = decide::loops::deed(&in_force.settings, &delivery.lane, false);
        let setting = decide::loops::setting(&in_force.settings, &attempt.domain, attempt.via);
        core.loops.alert(core, delivery.message.id, &status.text, &setting, &deed, finding);
        Some(Round { recipients, deed })
    }

    /// Holds the recipients, or sends them the other way.
    #[expect(clippy::too_many_arguments, reason = "what an attempt comes to")]
    fn settle(
        self,
        core: &Arc<Core>,
        delivery: Delivery,
        attempts: u32,
        attempt: Attempt,
        cause: &Cause,
        extra: Extra,
        mut events: Vec<Event>,
    ) {
        let text = self.recipients.first().map(|(_, status)| status.text.clone()).unwrap_or_default();
        let mut event = failure_event(core, "loop", &delivery, &self.recipients, &attempt, cause);
        event.fields["answer"] = json!(self.deed.name());
        events.push(event);
        let extra =
            Extra { attempt: Some(attempt), finding: cause.first().cloned(), changed: cause.changed.clone(), ..extra };
        let recipients: Vec<Recipient> = self.recipients.into_iter().map(|(recipient, _)| recipient).collect();
        let outcome = match self.deed {
            Deed::Reroute(lane) => store::Outcome::Later {
                recipients,
                attempts,
                next: now(),
                status: status::REROUTED.with(text).to_string(),
                extra: extra.to_value(),
                cause: extra.cause(&lane),
                lane: Some(lane),
            },
            Deed::Hold | Deed::Refuse => {
                let status = status::HELD.with(text).to_string();
                events.push(core.event(
                    delivery.message.id,
                    "held",
                    held_fields(&delivery.message.envelope.sender, &recipients, &status),
                ));
                store::Outcome::Held {
                    recipients,
                    attempts,
                    status,
                    extra: extra.to_value(),
                    cause: extra.cause(&delivery.lane),
                }
            }
        };
        write(core, &delivery, outcome, events);
    }
}

/// What holds mail says so in the log.
pub(crate) fn held_fields(sender: &ReversePath, recipients: &[Recipient], status: &str) -> Value {
    let recipients: Vec<String> = recipients.iter().map(|recipient| recipient.address.to_string()).collect();
    json!({ "sender": sender.to_string(), "recipients": recipients, "status": status })
}

/// Why an attempt came to what it came to.
#[derive(Clone)]
struct Cause {
    findings: Vec<Finding>,
    changed: Vec<String>,
}

impl Cause {
    fn first(&self) -> Option<&Finding> {
        self.findings.first()
    }

    /// Why for all but these recipients: what was said of them is left out and the rules are asked anew.
    fn without(&self, core: &Core, in_force: &InForce, attempt: &Attempt, others: &[(Recipient, Status)]) -> Cause {
        if self.findings.is_empty() {
            return self.clone();
        }
        let others: Vec<String> = others.iter().map(|(recipient, _)| recipient.address.to_string()).collect();
        let mut attempt = attempt.clone();
        attempt.recipients.retain(|recipient| !others.contains(recipient));
        for tried in &mut attempt.tries {
            tried.rcpt.retain(|said| !others.contains(&said.recipient));
            let refused = tried.rcpt.iter().find(|said| !said.reply.is_positive());
            if tried.failure.as_ref().is_some_and(|failure| failure.stage == mail::Stage::Rcpt) {
                tried.failure = refused.map(|said| mail::Failure::remote(mail::Stage::Rcpt, &tried.host, &said.reply));
            }
        }
        Cause { findings: diagnose::of_record(core, in_force, &attempt), changed: self.changed.clone() }
    }

    /// For incidents. What is only worth knowing is none.
    fn book(&self, core: &Core, delivery: &Delivery, attempt: &Attempt) {
        let is_trouble = |finding: &&Finding| finding.severity != Severity::Info;
        for finding in self.findings.iter().filter(is_trouble) {
            core.around.trouble(delivery.message.id, &attempt.recipients, self.changed.clone(), finding);
        }
    }

    /// Into the fields of an event.
    fn tell(&self, fields: &mut Value) {
        tell(&self.findings, fields);
        if !self.changed.is_empty() {
            fields["changed"] = json!(self.changed);
        }
    }
}

/// Findings into the fields of an event: the first is the cause.
pub(crate) fn tell(findings: &[Finding], fields: &mut Value) {
    if let Some((first, others)) = findings.split_first() {
        fields["finding"] = json!(first);
        if !others.is_empty() {
            fields["findings"] = json!(others);
        }
    }
}

/// A peer that says when to come back is taken at its word, if that is before the timetable; not within half a minute.
fn sooner(next: Next, finding: Option<&Finding>) -> Next {
    let Some(mail::Retry::Helps { after_s: Some(seconds) }) = finding.map(|finding| &finding.retry) else {
        return next;
    };
    let wanted = now() + std::time::Duration::from_secs((*seconds).max(30));
    if let Next::At(planned) = next { Next::At(planned.min(wanted)) } else { next }
}

fn later(put_off: Vec<(Recipient, Status)>, attempts: u32, next: Time, extra: &Extra, lane: &str) -> store::Outcome {
    let status = put_off.first().map(|(_, status)| status.to_string()).unwrap_or_default();
    let recipients = put_off.into_iter().map(|(recipient, _)| recipient).collect();
    store::Outcome::Later {
        recipients,
        attempts,
        next,
        status,
        extra: extra.to_value(),
        lane: None,
        cause: extra.cause(lane),
    }
}

/// Always with the last real failure.
pub(crate) fn expired(last: impl std::fmt::Display) -> Status {
    status::EXPIRED.with(format!("last failure: {last}"))
}

fn delivered_events(
    core: &Core,
    delivery: &Delivery,
    delivered: &[Fate],
    attempt: &mut Attempt,
    cause: &Cause,
    is_smooth: bool,
) -> Option<Event> {
    let first = delivered.first()?;
    core.metrics.delivered.inc_by(delivered.len() as u64);
    let recipients: Vec<String> = delivered.iter().map(|fate| fate.recipient.address.to_string()).collect();
    let last = attempt.tries.last();
    let reply = last.and_then(|tried| tried.transcript.iter().rev().find(|said| said.speaker == mail::Speaker::Server));
    let mut fields = json!({
        "sender": delivery.message.envelope.sender.to_string(),
        "recipients": recipients,
        "host": first.host,
        "address": last.map(|tried| tried.address),
        "source": last.and_then(|tried| tried.source),
        "tls": last.and_then(|tried| tried.tls.as_ref()).map(|tls| format!("{} {}", tls.version, tls.cipher)),
        "route": attempt.rule,
        "attempt_number": attempt.number,
        "elapsed_ms": now().ms() - delivery.message.received.ms(),
        "status": if first.dropped { "dropped: not on the recipient list".to_owned() } else { reply.map(|said| said.text.clone()).unwrap_or_else(|| "delivered".to_owned()) },
    });
    if is_smooth {
        attempt.tries.iter_mut().for_each(mail::HostTry::fold);
    }
    fields["attempt"] = store::pack(attempt);
    cause.tell(&mut fields);
    Some(core.event(delivery.message.id, "delivered", fields))
}

fn failure_event(
    core: &Core,
    kind: &str,
    delivery: &Delivery,
    recipients: &[(Recipient, Status)],
    attempt: &Attempt,
    cause: &Cause,
) -> Event {
    let status = recipients.first().map(|(_, status)| status.to_string()).unwrap_or_default();
    let last = attempt.tries.last();
    let mut fields = json!({
        "sender": delivery.message.envelope.sender.to_string(),
        "recipients": recipients.iter().map(|(recipient, _)| recipient.address.to_string()).collect::<Vec<_>>(),
        "host": last.map(|tried| tried.host.clone()),
        "address": last.map(|tried| tried.address),
        "route": attempt.rule,
        "stage": last.and_then(|tried| tried.failure.as_ref()).map(|failure| failure.stage.name()),
        "attempt_number": attempt.number,
        "elapsed_ms": attempt.ended.since(attempt.started).as_millis() as u64,
        "status": status,
        "attempt": store::pack(attempt),
    });
    cause.tell(&mut fields);
    core.event(delivery.message.id, kind, fields)
}

/// A delay notice, if its time has come and the sender wants to know.
async fn notify_delay(
    core: &Arc<Core>,
    in_force: &InForce,
    delivery: &Delivery,
    put_off: &[(Recipient, Status)],
    finding: Option<&Finding>,
    extra: &mut Extra,
) {
    let due = retry::notice(
        &in_force.settings.retry,
        &delivery.message.envelope.sender,
        extra.notices,
        delivery.message.received,
    );
    if due.is_none_or(|due| due > now()) {
        return;
    }
    let until = retry::expiry(&in_force.settings.retry, &delivery.message.envelope.sender, delivery.message.received);
    if report(core, in_force, delivery, put_off, finding, Action::Delayed, Some(until)).await {
        extra.notices += 1;
    }
}

/// Success reports for those who asked and whose next hop will not report itself (RFC 3461 5.2.2).
async fn report_success(core: &Arc<Core>, in_force: &InForce, delivery: &Delivery, delivered: &[Fate]) -> bool {
    let wanted = delivered.iter().filter(|fate| {
        !fate.dsn_passed_on && !fate.dropped && fate.recipient.notify.is_some_and(|notify| notify.success)
    });
    let relayed: Vec<_> = wanted
        .map(|fate| {
            (
                fate.recipient.clone(),
                Status {
                    code: 250,
                    enhanced: mail::EnhancedStatus { class: 2, subject: 0, detail: 0 },
                    text: "handed to the next mail server".to_owned(),
                    host: Some(fate.host.clone()),
                },
            )
        })
        .collect();
    report(core, in_force, delivery, &relayed, None, Action::Relayed, None).await
}

/// Writes and commits a report to the sender about those recipients that want one. True unless storing it failed.
/// There is never a report for a null sender (RFC 5321 4.5.5).
pub(crate) async fn report(
    core: &Arc<Core>,
    in_force: &InForce,
    delivery: &Delivery,
    recipients: &[(Recipient, Status)],
    finding: Option<&Finding>,
    action: Action,
    until: Option<Time>,
) -> bool {
    let envelope = &delivery.message.envelope;
    let wants = |recipient: &Recipient| {
        let notify = recipient.notify.unwrap_or(Notify::DEFAULT);
        match action {
            Action::Failed => notify.failure,
            Action::Delayed => notify.delay,
            Action::Relayed | Action::Delivered => notify.success,
        }
    };
    let wanted = recipients.iter().filter(|(recipient, _)| wants(recipient));
    let fates: Vec<report::Fate> = wanted
        .map(|(recipient, status)| report::Fate {
            recipient: recipient.clone(),
            action,
            status: status.clone(),
            last_attempt: now(),
        })
        .collect();
    let ReversePath::Address(sender) = &envelope.sender else { return true };
    // The sender did not name this recipient and can do nothing: whoever wrote the alias can.
    let is_alias_fault = finding.is_some_and(|finding| finding.cause == "loop.self.pseudo_domain");
    let sender = if is_alias_fault { &in_force.postmaster } else { sender };
    if fates.is_empty() {
        return true;
    }
    let original = tokio::task::block_in_place(|| returned(core, delivery)).unwrap_or_default();
    // A binary message cannot stand in a report, which is made of lines; its header can.
    let is_binary = envelope.body == mail::Body::BinaryMime;
    let original = if is_binary { in_lines(&original) } else { original };
    let whole = !is_binary && original.len() as u64 == delivery.message.size && envelope.ret == Some(mail::Ret::Full);
    let original = if whole { &original[..] } else { &original[..header_end(&original).min(RETURN_HEADER_MAX)] };
    let (id, postmaster, to) = (core.ids.next(), in_force.postmaster.to_string(), sender.to_string());
    let text = report::write(&Report {
        reporting: &in_force.hostname,
        id,
        about: delivery.message.id,
        to: &to,
        postmaster: &postmaster,
        envid: envelope.envid.as_deref(),
        arrived: delivery.message.received,
        now: now(),
        until,
        fates: &fates,
        original,
        whole,
        smtputf8: envelope.smtputf8,
        finding,
    });
    let about = delivery.message.id;
    // Nothing is ever reported about a report.
    let to_sender = Recipient { notify: Some(Notify::NEVER), ..Recipient::plain(sender.clone()) };
    let fields = json!({ "sender": "", "recipients": [to], "subject": "delivery report", "about": about, "status": "accepted", "listener": "internal" });
    submit(core, in_force, id, ReversePath::Null, to_sender, &text, envelope.smtputf8, fields).await.is_ok()
}

/// Commits a message that the gateway makes itself and queues it.
#[expect(clippy::too_many_arguments, reason = "an envelope in all but name")]
pub(crate) async fn submit(
    core: &Arc<Core>,
    in_force: &InForce,
    id: mail::AuditId,
    sender: ReversePath,
    to: Recipient,
    text: &[u8],
    smtputf8: bool,
    fields: Value,
) -> Result<(), String> {
    let envelope = Envelope {
        sender,
        body: if text.is_ascii() { mail::Body::SevenBit } else { mail::Body::EightBitMime },
        smtputf8,
        ret: None,
        envid: None,
        origin: Origin::internal(),
    };
    let address = to.address.to_string();
    let trace = mail::received(&Hop {
        origin: &envelope.origin,
        reverse_name: None,
        by: in_force.hostname.as_str(),
        id,
        extended: true,
        smtputf8,
        recipient: Some(&address),
        at: now(),
    });
    let mut draft = core.store.draft(id);
    let alert = |error: String| {
        core.record(id, "alert", json!({ "what": format!("a message of our own could not be stored: {error}") }));
        error
    };
    draft.write(trace.as_bytes()).and_then(|()| draft.write(text)).map_err(|refused| alert(refused.to_string()))?;
    let event = Event { id, at: now(), kind: "accepted".to_owned(), fields };
    let deliveries = deliveries(in_force, vec![to]);
    let reserved = core.queue.reserve(core, id, &deliveries);
    let committed = draft
        .commit(envelope, deliveries, now(), vec![event.clone()])
        .await
        .map_err(|refused| alert(refused.to_string()))?;
    core.log.write(&event);
    core.queue.enqueue(core, reserved, committed.into_deliveries());
    Ok(())
}

/// The header of a binary message without what no line may hold: NUL, bare CR, bare LF.
fn in_lines(content: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for field in mail::Headers::of(content) {
        lines.extend(field.raw.iter().filter(|byte| !matches!(byte, 0 | b'\r' | b'\n')));
        lines.extend_from_slice(b"\r\n");
    }
    lines
}

/// So much of the original as may be returned.
fn returned(core: &Core, delivery: &Delivery) -> std::io::Result<Vec<u8>> {
    let content = core.store.content(&delivery.message)?;
    let wanted = if content.len() <= RETURN_WHOLE_MAX { content.len() } else { RETURN_HEADER_MAX as u64 };
    let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(RETURN_HEADER_MAX)];
    let mut filled = 0;
    while filled < bytes.len() {
        match content.read_at(filled as u64, &mut bytes[filled..])? {
            0 => break,
            length => filled += length,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_header_is_returned_as_lines() {
        let content = b"Subject: a\0b\rc\r\nX: d\r\n\r\n\0\n";
        assert_eq!(in_lines(content), b"Subject: abc\r\nX: d\r\n");
    }

    #[test]
    fn an_expiry_quotes_the_last_failure() {
        assert!(expired(status::NO_BANNER.with("x closed")).text.contains("451 4.4.2 [internal] no banner: x closed"));
    }
}
