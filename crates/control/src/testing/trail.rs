//! The audit trail of the tests' world: one message that was put off, and one refusal.

use super::{NOW, World};
use crate::Problem;
use crate::reader::{AuditFilter, AuditPage, AuditRow, Happening, Inside, Message, Part, TrailReader, Waiting};
use async_trait::async_trait;
use mail::{Actor, Attempt, Connect, Finding, HostTry, Listener, Said, Speaker, Time, Visit, dns};
use serde_json::{Value, json};

/// What a hostile sender puts into everything that it can.
const HOSTILE: &str = "<script>alert(1)</script><img src=x onerror=alert(1)>";
const ID: &str = "01K8Z6T3WQM2V";

#[async_trait]
impl TrailReader for World {
    async fn audit(&self, filter: &AuditFilter, _: usize, after: Option<&str>) -> Result<AuditPage, Problem> {
        if after.is_some() || filter.term == "nobody" {
            return Ok(AuditPage::default());
        }
        let refused = AuditRow {
            id: "01K8Z6T3WQM2W".to_owned(),
            at: NOW,
            last: NOW,
            client: "192.0.2.66".to_owned(),
            status: "550 5.7.1 relaying denied".to_owned(),
            outcomes: vec!["refused".to_owned(), "connection".to_owned()],
            cause: "policy.relaying_denied".to_owned(),
            finding: "192.0.2.66 is a stranger here".to_owned(),
            ..AuditRow::default()
        };
        Ok(AuditPage { rows: vec![row(), refused], next: Some("1.2".to_owned()), stopped_at: None })
    }

    async fn message(&self, id: &str) -> Result<Message, Problem> {
        if id != ID {
            return Err(Problem::Unknown { what: format!("nothing is known of {id}") });
        }
        let happening = |at: i64, kind: &str, fields: Value| Happening {
            id: ID.to_owned(),
            at: Time(NOW.ms() + at),
            kind: kind.to_owned(),
            fields,
        };
        let waiting = Waiting {
            recipients: vec!["bob@there.test".to_owned()],
            domain: "there.test".to_owned(),
            state: "queued".to_owned(),
            status: "451 4.7.1 [mx.there.test] come back later".to_owned(),
            attempts: 1,
            next: Some(Time(NOW.ms() + 900_000)),
            expires: Time(NOW.ms() + 5 * 86_400_000),
        };
        let part = |depth, kind: &str, name: &str| Part {
            depth,
            kind: kind.to_owned(),
            name: name.to_owned(),
            size: 1200,
            ..Part::default()
        };
        Ok(Message {
            row: row(),
            // As they were written down: the connection last, when it was over.
            events: vec![
                happening(
                    500,
                    "accepted",
                    json!({ "sender": "ann@corp.test", "recipients": ["bob@there.test"], "client": "192.0.2.7", "helo": "mail.corp.test", "subject": HOSTILE, "listener": "outbound", "status": "accepted", "user": "jane" }),
                ),
                happening(
                    2_000,
                    "deferred",
                    json!({ "recipients": ["bob@there.test"], "host": "mx.there.test", "status": "451 4.7.1 [mx.there.test] come back later", "attempt": attempt(), "finding": finding() }),
                ),
                happening(3_000, "visit", json!({ "visit": visit(), "client": "192.0.2.7" })),
            ],
            waiting: vec![waiting],
            inside: Some(Inside {
                header: format!("X-Secret: {HOSTILE}\r\nSubject: {HOSTILE}\r\n"),
                parts: vec![part(0, "multipart/mixed", ""), part(1, "text/html", HOSTILE)],
                is_cut: true,
            }),
            gateway: "mail.example.test (Gatepost 1.2.3)".to_owned(),
        })
    }

    fn audit_days(&self) -> u64 {
        30
    }
}

fn row() -> AuditRow {
    AuditRow {
        id: ID.to_owned(),
        at: NOW,
        last: Time(NOW.ms() + 2000),
        sender: "ann@corp.test".to_owned(),
        recipients: vec!["bob@there.test".to_owned()],
        subject: HOSTILE.to_owned(),
        message_id: "<1@corp.test>".to_owned(),
        client: "192.0.2.7".to_owned(),
        helo: "mail.corp.test".to_owned(),
        listener: "outbound".to_owned(),
        size: 4096,
        related: Some("01K8Z6T3WQM2A".to_owned()),
        status: "451 4.7.1 [mx.there.test] come back later".to_owned(),
        trouble: "451 4.7.1 [mx.there.test] come back later".to_owned(),
        outcomes: vec!["accepted".to_owned(), "deferred".to_owned()],
        cause: "peer.greylisted".to_owned(),
        finding: finding().sentence,
    }
}

fn finding() -> Finding {
    Finding::new("peer.greylisted", Actor::Nobody, "mx.there.test greylists: it takes mail at the second try")
        .evidence("451 4.7.1 come back later")
        .fix("Wait.")
        .disproof("the second try is refused as well")
}

fn said(at: i64, speaker: Speaker, text: &str) -> Said {
    Said { at: Time(NOW.ms() + at), speaker, text: text.to_owned() }
}

fn visit() -> Visit {
    let (local, client) = ("127.0.0.1:2526".parse().expect("an address"), "192.0.2.7".parse().expect("an address"));
    let mut visit = Visit::new(Listener::Outbound, local, client, NOW);
    visit.helo = "mail.corp.test".to_owned();
    visit.transcript = vec![
        said(100, Speaker::Server, "220 mail.example.test"),
        said(200, Speaker::Client, "AUTH PLAIN jane"),
        said(300, Speaker::Server, "250 2.0.0 hello there"),
    ];
    visit
}

fn attempt() -> Attempt {
    let answer = dns::Answer::bare(dns::Question::new("there.test", dns::Kind::Mx), dns::Outcome::NoData);
    let started = Time(NOW.ms() + 1000);
    let mut tried = HostTry::new("mx.there.test", "192.0.2.25".parse().expect("an address"), 25, started);
    tried.connect = Connect::Made { ms: 12 };
    tried.transcript = vec![
        said(1_500, Speaker::Client, "RCPT TO:<bob@there.test>"),
        said(1_600, Speaker::Server, "451 4.7.1 come back later"),
    ];
    Attempt {
        number: 1,
        started,
        ended: Time(NOW.ms() + 2000),
        settings_version: 7,
        rule: "MX".to_owned(),
        via: mail::Via::Mx,
        domain: "there.test".to_owned(),
        local: false,
        sender: "ann@corp.test".to_owned(),
        recipients: vec!["bob@there.test".to_owned()],
        dns: vec![answer],
        dropped: Vec::new(),
        notes: Vec::new(),
        no_route: None,
        tries: vec![tried],
        tries_left_out: 0,
    }
}
