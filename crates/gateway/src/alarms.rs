//! Alarms: tells administrators, by mail and by webhook, what needs them: once when it begins, once when it is over.

use crate::clock::now;
use crate::core::Core;
use crate::http::{self, Place, Trust};
use axum::http::{Request, header};
use control::Contact;
use decide::identity::State;
use decide::settings::{AlertKind, Alerts};
use mail::{Recipient, ReversePath, Time};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

const EVERY: Duration = Duration::from_secs(15);
/// What comes and goes is told once: it is over when it has been away for so long.
const OVER_MS: i64 = 5 * 60_000;
/// Whoever is told more in an hour reads none of it.
const TOLD_MAX: usize = 30;
const HOUR_MS: i64 = 3_600_000;
/// Incidents looked at; with more, one of them says enough.
const INCIDENTS_MAX: usize = 100;
/// A Scanner that is silent for less long may be starting anew.
const SILENT_MIN: Duration = Duration::from_secs(60);
const WEBHOOK_MAX: Duration = Duration::from_secs(15);
/// Characters of a subject; longer ones are folded, and cut by readers.
const SUBJECT_MAX: usize = 120;

/// Something that needs an administrator now.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    key: String,
    what: String,
    /// The page that shows it.
    page: &'static str,
}

/// What is told.
struct News<'a> {
    /// `begins`, `is over`, `test`.
    event: &'static str,
    key: &'a str,
    what: &'a str,
    page: &'a str,
    since: Time,
}

/// Runs until the gateway stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut stopping = core.stopping.subscribe();
    let (mut away, mut told) = (HashMap::new(), VecDeque::new());
    loop {
        let alerts = core.in_force().settings.alerts.clone();
        let asked = core.clone();
        let wanted = alerts.clone();
        let found = tokio::task::spawn_blocking(move || conditions(&asked, &wanted)).await.unwrap_or_default();
        round(&core, &alerts, &found, &mut away, &mut told).await;
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// What is wrong now, as far as the settings want to hear of it.
fn conditions(core: &Core, alerts: &Alerts) -> Vec<Condition> {
    let wants = |kind| alerts.about.contains(&kind);
    let mut found = Vec::new();
    if wants(AlertKind::Incidents) {
        for incident in core.store.incident_heads(INCIDENTS_MAX).unwrap_or_default() {
            let sentence = incident.detail["finding"]["sentence"].as_str().unwrap_or(&incident.cause).to_owned();
            let key = format!("incident {} {}", incident.cause, incident.object);
            let wait = if incident.count == 1 { "delivery waits" } else { "deliveries wait" };
            found.push(Condition { key, what: format!("{sentence} ({} {wait})", incident.count), page: "/" });
        }
    }
    let usage = core.store.usage();
    if wants(AlertKind::Queue) && usage.queued > u64::from(alerts.queue) {
        let what =
            format!("{} deliveries are in the queue, more than the {} of alerts.queue.", usage.queued, alerts.queue);
        found.push(Condition { key: "queue".to_owned(), what, page: "/queue" });
    }
    if wants(AlertKind::Disk) && core.store.room().is_err() {
        let what = format!(
            "The disk has {} MB left, less than queue.disk_reserve: new mail is deferred.",
            usage.disk_free / 1_000_000
        );
        found.push(Condition { key: "disk".to_owned(), what, page: "/" });
    }
    if wants(AlertKind::Identity) {
        let lines = core.desk.last().map(|report| report.lines).unwrap_or_default();
        for line in lines.into_iter().filter(|line| line.state == State::Problem) {
            let key = format!("identity {:?} {}", line.check, line.about);
            found.push(Condition { key, what: line.sentence, page: "/identity" });
        }
    }
    if wants(AlertKind::Scanners) {
        let now = now();
        for scanner in crate::view::scanners::all(core) {
            let (Some(since), Some(trouble)) = (scanner.silent_since, scanner.trouble) else { continue };
            // A restart is no news.
            if now.since(since) >= SILENT_MIN {
                let what =
                    format!("Scanner {} does not answer as it should: {}. {}", scanner.name, trouble.what, trouble.fix);
                found.push(Condition { key: format!("scanner {}", scanner.name), what, page: "/scanners" });
            }
        }
    }
    if wants(AlertKind::Certificates) {
        for shown in crate::view::certificates::all(core) {
            let serious = |note: &&control::Note| note.kind == "bad" || note.text.starts_with("It ends in");
            if let Some(note) = shown.notes.iter().find(serious) {
                let key = format!("certificate {}", shown.listener);
                let what = format!("The certificate of {}: {}", shown.listener, note.text);
                found.push(Condition { key, what, page: "/certificates" });
            }
        }
    }
    found
}

/// Begins what is new, ends what has been away for long enough.
async fn round(
    core: &Arc<Core>,
    alerts: &Alerts,
    found: &[Condition],
    away: &mut HashMap<String, Time>,
    told: &mut VecDeque<Time>,
) {
    let Ok(open) = tokio::task::block_in_place(|| core.store.alarms().current()) else { return };
    let now = now();
    for condition in found {
        away.remove(&condition.key);
        let begun = tokio::task::block_in_place(|| core.store.alarms().begin(&condition.key, &condition.what, now));
        if begun.is_ok_and(|begun| begun) {
            let Condition { key, what, page } = condition;
            tell(core, alerts, News { event: "begins", key, what, page, since: now }, told).await;
        }
    }
    for alarm in open.iter().filter(|alarm| found.iter().all(|condition| condition.key != alarm.key)) {
        let since = *away.entry(alarm.key.clone()).or_insert(now);
        if now.ms() - since.ms() < OVER_MS {
            continue;
        }
        away.remove(&alarm.key);
        if tokio::task::block_in_place(|| core.store.alarms().end(&alarm.key, since)).is_ok_and(|ended| ended) {
            let news =
                News { event: "is over", key: &alarm.key, what: &alarm.what, page: "/alerts", since: alarm.began };
            tell(core, alerts, news, told).await;
        }
    }
}

/// Tells everybody that the settings name, unless they were told too much within the hour.
async fn tell(core: &Arc<Core>, alerts: &Alerts, news: News<'_>, told: &mut VecDeque<Time>) {
    let now = now();
    while told.front().is_some_and(|at| now.ms() - at.ms() > HOUR_MS) {
        told.pop_front();
    }
    let how = if told.len() >= TOLD_MAX {
        format!("{}: not told, after {TOLD_MAX} within an hour", news.event)
    } else {
        told.push_back(now);
        send(core, alerts, &news).await
    };
    let _ = tokio::task::block_in_place(|| core.store.alarms().told(news.key, &how));
}

/// Sends it; gives in words whom, and how it went.
async fn send(core: &Arc<Core>, alerts: &Alerts, news: &News<'_>) -> String {
    let mut how = Vec::new();
    for to in &alerts.mail_to {
        let sent = mail_to(core, to, news).await;
        how.push(
            sent.map_or_else(|error| format!("mail to {to} failed: {error}"), |id| format!("mail to {to} ({id})")),
        );
    }
    if let Some(address) = &alerts.webhook {
        let sent = timeout(WEBHOOK_MAX, post(core, &address.0, &body(core, news))).await;
        how.push(match sent {
            Ok(Ok(code)) => format!("webhook answered {code}"),
            Ok(Err(error)) => format!("webhook failed: {error}"),
            Err(_) => format!("webhook failed: no answer within {} s", WEBHOOK_MAX.as_secs()),
        });
    }
    let whom = if how.is_empty() {
        "nobody, as alerts.mail_to and alerts.webhook are empty".to_owned()
    } else {
        how.join(", ")
    };
    format!("{}: {whom}", news.event)
}

/// A test: gives in words how it went.
pub(crate) async fn test(core: &Arc<Core>, by: &str) -> String {
    let what = format!("This is a test that {by} asked for. Alerts arrive here.");
    let alerts = core.in_force().settings.alerts.clone();
    send(core, &alerts, &News { event: "test", key: "test", what: &what, page: "/alerts", since: now() }).await
}

fn body(core: &Core, news: &News<'_>) -> Value {
    let base = core.accounts.address.get().cloned().unwrap_or_default();
    json!({ "gateway": core.in_force().hostname, "event": news.event, "about": news.key, "text": news.what,
            "since": news.since.rfc3339(), "page": format!("{base}{}", news.page) })
}

/// Through the same queue as all mail; from nobody, so that no report comes back for it.
async fn mail_to(core: &Arc<Core>, to: &mail::Address, news: &News<'_>) -> Result<mail::AuditId, String> {
    let (in_force, id) = (core.in_force(), core.ids.next());
    let text = message(
        &in_force.hostname.to_string(),
        &in_force.postmaster.to_string(),
        &id.to_string(),
        to,
        &body(core, news),
    );
    let fields = json!({ "sender": "<>", "recipients": [to.to_string()], "subject": subject(&in_force.hostname.to_string(), news.event, news.what), "listener": "internal", "status": "accepted" });
    let recipient = Recipient::plain(to.clone());
    let smtputf8 = to.is_international();
    crate::outcome::submit(core, &in_force, id, ReversePath::Null, recipient, text.as_bytes(), smtputf8, fields)
        .await?;
    Ok(id)
}

fn subject(host: &str, event: &str, what: &str) -> String {
    let plain = what.chars().map(|letter| if letter.is_ascii() && !letter.is_control() { letter } else { '?' });
    let what: String = plain.take(SUBJECT_MAX).collect();
    match event {
        "begins" => format!("[{host}] {what}"),
        _ => format!("[{host}] {event}: {what}"),
    }
}

fn message(host: &str, postmaster: &str, id: &str, to: &mail::Address, body: &Value) -> String {
    let said = |name: &str| body[name].as_str().unwrap_or_default();
    let (event, text) = (said("event"), said("text"));
    let date = now().rfc5322();
    let subject = subject(host, event, text);
    let lines = [
        format!("From: Gatepost <{postmaster}>"),
        format!("To: <{to}>"),
        format!("Subject: {subject}"),
        format!("Date: {date}"),
        format!("Message-ID: <{id}@{host}>"),
        "Auto-Submitted: auto-generated".to_owned(),
        "MIME-Version: 1.0".to_owned(),
        "Content-Type: text/plain; charset=utf-8".to_owned(),
        "Content-Transfer-Encoding: 8bit".to_owned(),
        String::new(),
        text.replace(['\r', '\n'], " "),
        String::new(),
        format!("Since: {}", said("since")),
        format!("See:   {}", said("page")),
        String::new(),
        "One message comes when something begins, one when it is over.".to_owned(),
        "What you hear of is set under alerts in the settings.".to_owned(),
    ];
    lines.join("\r\n") + "\r\n"
}

/// POST of JSON; gives the code of the answer.
async fn post(core: &Core, address: &str, body: &Value) -> Result<u16, String> {
    let place = Place::read(address)?;
    let request = Request::post(&place.path)
        .header(header::HOST, &place.authority)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("gatepost/", env!("CARGO_PKG_VERSION")))
        .body(axum::body::Body::from(body.to_string()))
        .map_err(|error| error.to_string())?;
    let opened = http::open(core, &place, Trust::Authorities, false, &mut Contact::default()).await;
    let (code, _) = http::say(opened.map_err(|trouble| trouble.what)?, request, 0).await?;
    if (200..300).contains(&code) { Ok(code) } else { Err(format!("it answered {code}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_one_line_of_ascii() {
        assert_eq!(subject("gw.test", "begins", "no\r\nBcc: x"), "[gw.test] no??Bcc: x");
        assert_eq!(subject("gw.test", "is over", "ü"), "[gw.test] is over: ?");
        assert!(subject("gw.test", "begins", &"x".repeat(500)).len() < 140);
    }

    #[test]
    fn a_message_says_what_since_when_and_where() {
        let body =
            json!({ "event": "begins", "text": "The disk is full.\r\n.", "since": "2026-11-25", "page": "http://gw/" });
        let text = message("gw.test", "pm@gw.test", "ID", &"a@b.test".parse().unwrap(), &body);
        let (head, rest) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains("Auto-Submitted: auto-generated") && head.contains("Subject: [gw.test] The disk is full.")
        );
        assert!(
            rest.starts_with("The disk is full.  .\r\n") && rest.contains("Since: 2026-11-25\r\nSee:   http://gw/"),
            "{rest}"
        );
    }
}
