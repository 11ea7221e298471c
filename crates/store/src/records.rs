//! Records: the audit trail, searchable. Filled from the spool's outbox by a thread of its own, each row exactly once:
//! what was shipped is remembered in the same transaction as the events, and only then leaves the outbox.

use crate::change::Lazy;
use crate::event::{Event, decode};
use crate::queue::Alert;
use crate::schema::{Readers, io_error, migrate, open_writer};
use crate::spool::Shared;
use crate::writer::{Request, now};
use mail::{AuditId, Time};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde_json::Value;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

const STEPS: &[&str] = &["
    CREATE TABLE event (
        seq     INTEGER PRIMARY KEY,
        id      INTEGER NOT NULL,         -- Audit ID
        at_ms   INTEGER NOT NULL,
        kind    TEXT NOT NULL,
        fields  TEXT NOT NULL             -- JSON
    ) STRICT;
    CREATE INDEX event_id ON event (id);
    CREATE INDEX event_at ON event (at_ms);

    CREATE TABLE mail (
        id          INTEGER PRIMARY KEY,  -- Audit ID
        at_ms       INTEGER NOT NULL,     -- first event
        sender      TEXT NOT NULL,
        recipients  TEXT NOT NULL,        -- one a line
        subject     TEXT NOT NULL,
        message_id  TEXT NOT NULL,
        client      TEXT NOT NULL,
        status      TEXT NOT NULL,        -- last
        words       TEXT NOT NULL         -- all that in lower case, for search
    ) STRICT;

    CREATE TABLE shipped (seq INTEGER NOT NULL) STRICT;
    INSERT INTO shipped VALUES (0);
"];

/// What to look for in the trail.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// An Audit ID, or a part of a Message-ID, address, domain, client address, subject or status. Case does not matter.
    pub term: Option<String>,
    /// Audit IDs given at this time or later.
    pub from: Option<Time>,
    /// Audit IDs given before this time.
    pub until: Option<Time>,
}

/// A message or connection of which the trail knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub id: AuditId,
    /// Its first event.
    pub at: Time,
    pub sender: String,
    pub recipients: Vec<String>,
    pub subject: String,
    pub message_id: String,
    pub client: String,
    /// The last one.
    pub status: String,
}

/// Opens the records; says how far the outbox has been shipped and the highest Audit ID in the trail.
pub(crate) fn open(path: &Path) -> rusqlite::Result<(Connection, i64, i64)> {
    let mut db = open_writer(path, 4096)?;
    migrate(&mut db, STEPS)?;
    let shipped = db.query_row("SELECT seq FROM shipped", [], |row| row.get(0))?;
    let high = db.query_row("SELECT coalesce(max(id), 0) FROM event", [], |row| row.get(0))?;
    Ok((db, shipped, high))
}

/// Recipients kept for one mail: enough to find it, not to hold a mailing list.
const RECIPIENTS_MAX: usize = 1000;

/// Messages and connections that match, newest first.
pub(crate) fn search(db: &Connection, filter: &AuditFilter, limit: usize) -> rusqlite::Result<Vec<AuditEntry>> {
    let term = filter.term.as_deref().map(str::trim).unwrap_or_default();
    let id = term.parse::<AuditId>().ok().map(AuditId::to_i64);
    let first = filter.from.map_or(0, |from| AuditId::new(from.ms(), 0, 0).to_i64());
    let last = filter.until.map_or(i64::MAX, |until| AuditId::new(until.ms(), 0, 0).to_i64());
    let (condition, word) = if id.is_some() {
        ("id = ?4", String::new())
    } else {
        ("(?5 = '' OR instr(words, ?5) > 0) AND ?4 IS NULL", term.to_lowercase())
    };
    db.prepare_cached(&format!(
        "SELECT id, at_ms, sender, recipients, subject, message_id, client, status FROM mail
         WHERE id >= ?1 AND id < ?2 AND {condition} AND ?5 = ?5 ORDER BY id DESC LIMIT ?3"
    ))?
    .query_map(params![first, last, limit as i64, id, word], entry)?
    .collect()
}

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    let recipients: String = row.get(3)?;
    Ok(AuditEntry {
        id: audit_id(row, 0)?,
        at: Time(row.get(1)?),
        sender: row.get(2)?,
        recipients: recipients.lines().map(str::to_owned).collect(),
        subject: row.get(4)?,
        message_id: row.get(5)?,
        client: row.get(6)?,
        status: row.get(7)?,
    })
}

fn audit_id(row: &Row<'_>, column: usize) -> rusqlite::Result<AuditId> {
    let raw = row.get(column)?;
    AuditId::from_i64(raw).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, raw))
}

/// All events of one Audit ID, in the order in which they were committed.
pub(crate) fn show(db: &Connection, id: AuditId) -> rusqlite::Result<Vec<Event>> {
    db.prepare_cached("SELECT id, at_ms, kind, fields FROM event WHERE id = ? ORDER BY seq")?
        .query_map([id.to_i64()], |row| {
            let fields: String = row.get(3)?;
            Ok(Event {
                id: audit_id(row, 0)?,
                at: Time(row.get(1)?),
                kind: row.get(2)?,
                fields: serde_json::from_str(&fields).unwrap_or(Value::String(fields)),
            })
        })?
        .collect()
}

/// The thread that ships.
#[derive(Debug)]
pub(crate) struct Shipper {
    pub(crate) records: Connection,
    pub(crate) outbox: Readers,
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Sender<Request>,
}

/// How long events gather before they are shipped, unless somebody wants to read: each shipment costs a sync.
const GATHER: Duration = Duration::from_millis(500);
/// Outbox rows in one shipment.
const ROWS: usize = 256;
/// Pause after a failure.
const AGAIN: Duration = Duration::from_secs(2);

/// What shipper and readers of the trail tell each other.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    state: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    /// Last outbox row committed, last one shipped, last one that a reader waits for.
    committed: i64,
    shipped: i64,
    wanted: i64,
    stop: bool,
}

impl Signal {
    pub(crate) fn start(&self, shipped: i64, committed: i64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.shipped, state.committed) = (shipped, committed);
    }

    pub(crate) fn committed(&self, seq: i64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = state.committed == state.shipped;
        state.committed = seq;
        if idle {
            self.changed.notify_all();
        }
    }

    pub(crate) fn stop(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.changed.notify_all();
    }

    /// Waits until everything committed so far is in the records, at most `limit`.
    pub(crate) fn catch_up(&self, limit: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let target = state.committed;
        state.wanted = target;
        self.changed.notify_all();
        let until = Instant::now() + limit;
        while state.shipped < target && !state.stop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn shipped(&self, seq: i64) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).shipped = seq;
        self.changed.notify_all();
    }

    /// Nobody should wait for a shipment that does not work.
    fn give_up(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.wanted = state.shipped;
    }

    /// Waits for something to ship, lets more gather, and gives the last row shipped. `None`: stop.
    fn next(&self, gather: Duration) -> Option<i64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.committed == state.shipped && !state.stop {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let until = Instant::now() + gather;
        while state.wanted <= state.shipped && !state.stop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        (!state.stop).then_some(state.shipped)
    }
}

impl Shipper {
    /// Until told to stop. A failure is told once, and tried again: meanwhile the outbox keeps everything.
    pub(crate) fn run(mut self) {
        let mut told = false;
        let mut pause = GATHER;
        while let Some(shipped) = self.shared.signal.next(pause) {
            match self.ship(shipped) {
                Ok((seq, more)) => {
                    told = false;
                    pause = if more { Duration::ZERO } else { GATHER };
                    self.shared.signal.shipped(seq);
                    // The writer is gone only at the end; then the rows leave the outbox after the next start.
                    let _ = self.writer.send(Request::Lazy(Lazy::Shipped(seq), None));
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        let what = format!("the audit trail could not be written; events wait in the spool: {error}");
                        self.shared.alert(Alert { at: now(), message: None, what });
                    }
                    self.shared.signal.give_up();
                    pause = AGAIN;
                }
            }
        }
    }

    /// Ships rows behind `shipped`; gives the last one, and whether there are more.
    fn ship(&mut self, shipped: i64) -> io::Result<(i64, bool)> {
        let rows: Vec<(i64, Vec<u8>)> = self.outbox.read(|db| {
            db.prepare_cached("SELECT seq, events FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?")?
                .query_map(params![shipped, ROWS as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        let last = rows.last().map_or(shipped, |(seq, _)| *seq);
        let events: Vec<Event> = rows.iter().flat_map(|(seq, text)| self.read(*seq, text)).collect();
        let transaction = self.records.transaction().map_err(io_error)?;
        add(&transaction, &events, last).map_err(io_error)?;
        transaction.commit().map_err(io_error)?;
        Ok((last, rows.len() == ROWS))
    }

    /// Only what we wrote ourselves lies here; a row that cannot be read all the same must not stop the others.
    fn read(&self, seq: i64, text: &[u8]) -> Vec<Event> {
        decode(text).unwrap_or_else(|error| {
            let what = format!("events of outbox row {seq} are damaged and left out of the audit trail: {error}");
            self.shared.alert(Alert { at: now(), message: None, what });
            Vec::new()
        })
    }
}

fn add(db: &Transaction<'_>, events: &[Event], last: i64) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached("INSERT INTO event (id, at_ms, kind, fields) VALUES (?,?,?,?)")?;
    let mut touched: HashMap<AuditId, AuditEntry> = HashMap::new();
    for event in events {
        insert.execute(params![event.id.to_i64(), event.at.ms(), event.kind, event.fields.to_string()])?;
        let entry = match touched.entry(event.id) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => new.insert(known(db, event)?),
        };
        learn(entry, &event.fields);
    }
    let mut replace = db.prepare_cached(
        "INSERT OR REPLACE INTO mail (id, at_ms, sender, recipients, subject, message_id, client, status, words) VALUES (?,?,?,?,?,?,?,?,?)",
    )?;
    for mail in touched.values() {
        let recipients = mail.recipients.join("\n");
        let words = [&mail.sender, &recipients, &mail.subject, &mail.message_id, &mail.client, &mail.status]
            .map(String::as_str)
            .join("\n")
            .to_lowercase();
        replace.execute(params![
            mail.id.to_i64(),
            mail.at.ms(),
            mail.sender,
            recipients,
            mail.subject,
            mail.message_id,
            mail.client,
            mail.status,
            words
        ])?;
    }
    db.prepare_cached("UPDATE shipped SET seq = ?")?.execute([last]).map(drop)
}

/// What the trail knows of this mail so far.
fn known(db: &Transaction<'_>, event: &Event) -> rusqlite::Result<AuditEntry> {
    let found = db
        .prepare_cached(
            "SELECT id, at_ms, sender, recipients, subject, message_id, client, status FROM mail WHERE id = ?",
        )?
        .query_row([event.id.to_i64()], entry)
        .optional()?;
    Ok(found.unwrap_or_else(|| AuditEntry {
        id: event.id,
        at: event.at,
        sender: String::new(),
        recipients: Vec::new(),
        subject: String::new(),
        message_id: String::new(),
        client: String::new(),
        status: String::new(),
    }))
}

fn learn(mail: &mut AuditEntry, fields: &Value) {
    let Some(fields) = fields.as_object() else { return };
    for (name, value) in fields {
        let place = match name.as_str() {
            "sender" => &mut mail.sender,
            "subject" => &mut mail.subject,
            "message_id" => &mut mail.message_id,
            "client" => &mut mail.client,
            "status" => &mut mail.status,
            "recipient" | "recipients" => {
                texts(value).for_each(|text| add_recipient(&mut mail.recipients, text));
                continue;
            }
            _ => continue,
        };
        if let Some(text) = value.as_str() {
            *place = text.replace('\n', " ");
        }
    }
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or(std::slice::from_ref(value));
    list.iter().filter_map(Value::as_str)
}

fn add_recipient(recipients: &mut Vec<String>, text: &str) {
    let text = text.replace('\n', " ");
    if recipients.len() < RECIPIENTS_MAX && !recipients.contains(&text) {
        recipients.push(text);
    }
}

/// Removes what is older than `before`, at most `limit` events; how many were removed.
pub(crate) fn forget(path: &Path, before: Time, limit: usize) -> io::Result<usize> {
    let forget = || {
        let db = open_writer(path, 4096)?;
        let id = AuditId::new(before.ms(), 0, 0).to_i64();
        db.execute(
            "DELETE FROM mail WHERE id IN (SELECT id FROM mail WHERE id < ? LIMIT ?)",
            params![id, limit as i64],
        )?;
        db.execute(
            "DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE at_ms < ? LIMIT ?)",
            params![before.ms(), limit as i64],
        )
    };
    forget().map_err(io_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(events: &[(u16, Value)], term: &str, found: &[u16]) {
        let folder = tempfile::tempdir().unwrap();
        let (mut db, ..) = open(&folder.path().join("records.db")).unwrap();
        let id = |n| AuditId::new(1000, 0, n);
        let events: Vec<Event> = events
            .iter()
            .map(|(n, fields)| Event { id: id(*n), at: Time(1), kind: "accept".into(), fields: fields.clone() })
            .collect();
        // Each event in a shipment of its own, so that entries are completed later.
        for event in events {
            let transaction = db.transaction().unwrap();
            add(&transaction, &[event], 1).unwrap();
            transaction.commit().unwrap();
        }
        let filter = AuditFilter { term: Some(term.to_owned()), ..AuditFilter::default() };
        let ids: Vec<AuditId> = search(&db, &filter, 10).unwrap().into_iter().map(|entry| entry.id).collect();
        assert_eq!(ids, found.iter().map(|n| id(*n)).collect::<Vec<_>>());
    }

    #[test]
    fn mail_is_found_by_any_of_its_words() {
        let events = [
            (
                1,
                json!({"sender": "Ann@corp.test", "recipients": ["bob@example.test", "eve@example.test"], "message_id": "<x1@corp.test>", "client": "192.0.2.7"}),
            ),
            (2, json!({"sender": "zoe@corp.test", "recipient": "tim@other.test", "subject": "Grüße"})),
            (1, json!({"status": "451 4.7.1 greylisted"})),
        ];
        check(&events, "ann@", &[1]);
        check(&events, "EVE@example.test", &[1]);
        check(&events, "x1@", &[1]);
        check(&events, "192.0.2.7", &[1]);
        check(&events, "greylisted", &[1]);
        check(&events, "GRÜSSE", &[]);
        check(&events, "grüße", &[2]);
        check(&events, "corp.test", &[2, 1]);
        check(&events, "", &[2, 1]);
        check(&events, &AuditId::new(1000, 0, 2).to_string(), &[2]);
    }
}
