//! Records: the audit trail, searchable. Filled from the spool's outbox by a thread of its own, each row exactly once:
//! what was shipped is remembered in the same transaction as the events, and only then leaves the outbox.
//!
//! - `event`: all that happened, as it was told; by Audit ID for the page of one message
//! - `mail`: what is known of each Audit ID by its events so far; a row of every list
//! - `word_DAY`: the words by which mail of one day is found (full-text index, without the text); one table a day, so that
//!   the newest are looked through first and old ones go at once
//! - `fact`: what happened when, a few octets each: the messages behind every number
//! - `stat`: these numbers, by minute, hour and day

mod class;
mod facts;
mod search;
mod shipper;
mod told;
mod words;

pub use class::Class;
pub use facts::{CauseCount, Stat, Step};
pub use search::{AuditCursor, AuditEntry, AuditFilter, AuditPage};

pub(crate) use facts::{causes, stats};
pub(crate) use search::{find, page, search};
pub(crate) use shipper::{Shipper, Signal};
pub(crate) use told::Told;
use told::{Facts, Loose};

use crate::event::{Event, unpack};
use crate::schema::{io_error, migrate, open_writer};
use mail::{AuditId, Time};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde_json::Value;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::path::Path;

pub(crate) const STEPS: &[&str] = &[
    "
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
",
    // Events lie in the order of their time, nearly: those to be forgotten are the first ones, without an index.
    "
    DROP INDEX event_at;
    DROP TABLE mail;
    CREATE TABLE mail (
        id          INTEGER PRIMARY KEY,  -- Audit ID
        at_ms       INTEGER NOT NULL,     -- first event
        last_ms     INTEGER NOT NULL,     -- newest event that says something
        sender      TEXT NOT NULL,
        recipients  TEXT NOT NULL,        -- one a line
        subject     TEXT NOT NULL,
        message_id  TEXT NOT NULL,
        client      TEXT NOT NULL,
        helo        TEXT NOT NULL,
        door        INTEGER NOT NULL,     -- 0 none, 1 inbound, 2 outbound, 3 submission, 4 internal
        size        INTEGER NOT NULL,     -- octets
        related     INTEGER NOT NULL,     -- Audit ID of its connection, or of the message that a report is about; 0 none
        status      TEXT NOT NULL,        -- last
        trouble     TEXT NOT NULL,        -- last that was no success
        classes     INTEGER NOT NULL,     -- bits of all that happened to it
        cause       TEXT NOT NULL,        -- of the last finding
        finding     TEXT NOT NULL         -- its sentence
    ) STRICT;

    CREATE TABLE day (day INTEGER PRIMARY KEY) STRICT;  -- since 1970; has a table word_DAY

    CREATE TABLE cause (
        id          INTEGER PRIMARY KEY,
        name        TEXT NOT NULL UNIQUE
    ) STRICT;

    CREATE TABLE fact (
        class       INTEGER NOT NULL,
        at_ms       INTEGER NOT NULL,
        id          INTEGER NOT NULL,     -- Audit ID
        door        INTEGER NOT NULL,
        cause       INTEGER NOT NULL,     -- 0 none
        PRIMARY KEY (class, at_ms, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX fact_cause ON fact (cause, at_ms, id) WHERE cause <> 0;

    CREATE TABLE stat (
        span        INTEGER NOT NULL,     -- 0 minutes, 1 hours, 2 days
        slot_ms     INTEGER NOT NULL,     -- its beginning
        class       INTEGER NOT NULL,
        door        INTEGER NOT NULL,
        cause       INTEGER NOT NULL,
        count       INTEGER NOT NULL,
        octets      INTEGER NOT NULL,
        PRIMARY KEY (span, slot_ms, class, door, cause)
    ) STRICT, WITHOUT ROWID;

    -- Events from before all that, which are still to be looked at: behind seq, up to last.
    CREATE TABLE refill (seq INTEGER NOT NULL, last INTEGER NOT NULL) STRICT;
    INSERT INTO refill SELECT 0, coalesce(max(seq), 0) FROM event;
",
];

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;
/// Recipients kept for one mail: enough to find it, not to hold a mailing list.
const RECIPIENTS_MAX: usize = 1000;
/// Characters of a finding's sentence in lists.
const SENTENCE_MAX: usize = 400;

/// Opens the records; says how far the outbox has been shipped and the highest Audit ID in the trail.
pub(crate) fn open(path: &Path) -> rusqlite::Result<(Connection, i64, i64)> {
    let mut db = open_writer(path, 4096)?;
    db.pragma_update(None, "cache_size", -16_384)?;
    migrate(&mut db, STEPS)?;
    let shipped = db.query_row("SELECT seq FROM shipped", [], |row| row.get(0))?;
    let high = db.query_row("SELECT coalesce(max(id), 0) FROM event", [], |row| row.get(0))?;
    Ok((db, shipped, high))
}

/// All events of one Audit ID, in the order in which they were committed.
pub(crate) fn show(db: &Connection, id: AuditId) -> rusqlite::Result<Vec<Event>> {
    db.prepare_cached("SELECT id, at_ms, kind, fields FROM event WHERE id = ? ORDER BY seq")?
        .query_map([id.to_i64()], event)?
        .collect()
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let text: String = row.get(3)?;
    let mut fields = serde_json::from_str(&text).unwrap_or(Value::String(text));
    unpack(&mut fields);
    Ok(Event { id: audit_id(row, 0)?, at: Time(row.get(1)?), kind: row.get(2)?, fields })
}

fn audit_id(row: &Row<'_>, column: usize) -> rusqlite::Result<AuditId> {
    let raw = row.get(column)?;
    AuditId::from_i64(raw).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, raw))
}

/// Puts events into the trail; `last` is the outbox row that ends with them.
pub(crate) fn add(db: &Transaction<'_>, events: &[Told<'_>], last: i64) -> rusqlite::Result<()> {
    let mut insert = db.prepare_cached("INSERT INTO event (id, at_ms, kind, fields) VALUES (?,?,?,?)")?;
    for event in events {
        insert.execute(params![event.id.to_i64(), event.at.ms(), event.kind, event.fields])?;
    }
    index(db, events)?;
    db.prepare_cached("UPDATE shipped SET seq = ?")?.execute([last]).map(drop)
}

/// Looks at so many events that an older version wrote; false if there are none left.
pub(crate) fn refill(db: &Transaction<'_>, limit: usize) -> rusqlite::Result<bool> {
    let (seq, last): (i64, i64) =
        db.query_row("SELECT seq, last FROM refill", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut reached = None;
    let old: Vec<Told<'_>> = db
        .prepare_cached(
            "SELECT id, at_ms, kind, fields, seq FROM event WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
        )?
        .query_map(params![seq, last, limit as i64], |row| {
            reached = Some(row.get::<_, i64>(4)?);
            let (kind, fields): (String, String) = (row.get(2)?, row.get(3)?);
            Ok(Told { id: audit_id(row, 0)?, at: Time(row.get(1)?), kind: kind.into(), fields: fields.into() })
        })?
        .collect::<Result<_, _>>()?;
    let Some(seq) = reached else { return Ok(false) };
    index(db, &old)?;
    db.execute("UPDATE refill SET seq = ?", [seq])?;
    Ok(true)
}

/// What a shipment knows of one mail.
struct Touched {
    entry: AuditEntry,
    /// Its words as they lie in the index.
    before: Option<search::Columns>,
}

/// Learns from events: rows of lists, words, facts, numbers.
fn index(db: &Transaction<'_>, events: &[Told<'_>]) -> rusqlite::Result<()> {
    let mut touched: HashMap<AuditId, Touched> = HashMap::new();
    let mut tally = facts::Tally::default();
    for event in events {
        let Touched { entry, .. } = match touched.entry(event.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(known(db, event)?),
        };
        let facts = event.facts();
        let classes = Class::of(&event.kind, &facts);
        learn(entry, event, &facts, &classes);
        tally.count(db, event, &facts, &classes, entry)?;
    }
    // The full-text index takes rows in their order; each one out of order would make it write what it has gathered.
    let mut touched: Vec<Touched> = touched.into_values().collect();
    touched.sort_unstable_by_key(|touched| touched.entry.id);
    for Touched { entry, before } in &touched {
        search::keep(db, entry, before.as_ref())?;
    }
    tally.write(db)
}

/// What the trail knows of this mail so far.
fn known(db: &Transaction<'_>, event: &Told<'_>) -> rusqlite::Result<Touched> {
    let found = search::find(db, event.id).optional()?;
    let before = found.as_ref().map(search::Columns::of);
    Ok(Touched { entry: found.unwrap_or_else(|| AuditEntry::new(event.id, event.at)), before })
}

/// What is told later counts, whatever the order in which it is heard.
fn learn(mail: &mut AuditEntry, event: &Told<'_>, facts: &Facts<'_>, classes: &[Class]) {
    let is_news = event.at >= mail.last;
    mail.at = mail.at.min(event.at);
    for &class in classes {
        if !mail.classes.contains(&class) {
            mail.classes.push(class);
        }
    }
    let id = |fact: &Loose<'_>| fact.text().and_then(|text| text.parse().ok());
    for (place, fact) in [
        (&mut mail.sender, &facts.sender),
        (&mut mail.subject, &facts.subject),
        (&mut mail.message_id, &facts.message_id),
        (&mut mail.client, &facts.client),
        (&mut mail.helo, &facts.helo),
        (&mut mail.door, &facts.listener),
    ] {
        if let Some(text) = fact.text().filter(|_| is_news || place.is_empty()) {
            *place = one_line(text);
        }
    }
    for text in facts.recipient.texts().iter().chain(facts.recipients.texts()) {
        add_recipient(&mut mail.recipients, text);
    }
    if let Some(size) = facts.size.number() {
        mail.size = size;
    }
    let related = id(&facts.about).or_else(|| id(&facts.connection)).filter(|related| *related != mail.id);
    mail.related = mail.related.or(related);
    if !is_news {
        return;
    }
    mail.last = event.at;
    let status = facts.status.text().map(one_line);
    if let Some(status) = status.or_else(|| words_of(event, facts).filter(|_| mail.status.is_empty())) {
        if status.starts_with(['4', '5']) {
            mail.trouble.clone_from(&status);
        }
        mail.status = status;
    }
    if let Loose::Finding { cause, sentence } = &facts.finding {
        mail.cause = cause.to_string();
        mail.finding = sentence.chars().take(SENTENCE_MAX).collect();
    }
}

/// What an event without a status says: an alert's sentence, an order, a new version of the settings. Reasons and comments
/// are left out: they are not for everybody who finds mail.
fn words_of(event: &Told<'_>, facts: &Facts<'_>) -> Option<String> {
    if !matches!(&*event.kind, "order" | "settings") {
        return facts.what.text().map(one_line);
    }
    let fields: serde_json::Value = serde_json::from_str(&event.fields).ok()?;
    let by = fields["by"].as_str().map(|by| format!(" by {by}")).unwrap_or_default();
    if event.kind == "settings" {
        return fields["version"].as_i64().map(|version| format!("settings version {version}{by}"));
    }
    // A hold's reason stands behind its name.
    let name = fields["order"].as_str()?.split(" {").next()?;
    let count = fields["count"].as_u64();
    let some = count.map(|count| format!(", {count} {}", if count == 1 { "delivery" } else { "deliveries" }));
    Some(format!("{name}{}{by}", some.unwrap_or_default()))
}

fn one_line(text: &str) -> String {
    text.replace('\n', " ")
}

fn add_recipient(recipients: &mut Vec<String>, text: &str) {
    let text = one_line(text);
    if recipients.len() < RECIPIENTS_MAX && !recipients.contains(&text) {
        recipients.push(text);
    }
}

/// Rows removed in one transaction: the shipper must not wait long for its turn.
const FORGET_CHUNK: usize = 2000;
/// Minutes are kept so long, for charts of the last day; hours as long as the trail; days so long.
const MINUTES_KEPT: i64 = 3 * DAY_MS;
const DAYS_KEPT: i64 = 800 * DAY_MS;

/// Removes what is older than `before`, at most `limit` events; how many were removed.
pub(crate) fn forget(path: &Path, before: Time, limit: usize) -> io::Result<usize> {
    let mut db = open_writer(path, 4096).map_err(io_error)?;
    forget_days(&mut db, before).map_err(io_error)?;
    let mut forgotten = 0;
    while forgotten < limit {
        let (events, is_all) = forget_some(&mut db, before, FORGET_CHUNK.min(limit - forgotten)).map_err(io_error)?;
        forgotten += events;
        if is_all {
            break;
        }
    }
    Ok(forgotten)
}

/// Words of whole days, and numbers.
fn forget_days(db: &mut Connection, before: Time) -> rusqlite::Result<()> {
    let days: Vec<i64> = db
        .prepare("SELECT day FROM day WHERE (day + 1) * ? <= ?")?
        .query_map([DAY_MS, before.ms()], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for day in days {
        let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        transaction.execute_batch(&format!("DROP TABLE IF EXISTS word_{day}"))?;
        transaction.execute("DELETE FROM day WHERE day = ?", [day])?;
        transaction.commit()?;
    }
    let newest: i64 =
        db.query_row("SELECT coalesce(max(slot_ms), 0) FROM stat WHERE span = 2", [], |row| row.get(0))?;
    for (span, keep) in [(0, newest - MINUTES_KEPT), (1, before.ms()), (2, newest - DAYS_KEPT)] {
        db.execute("DELETE FROM stat WHERE span = ? AND slot_ms < ?", [span, keep])?;
    }
    Ok(())
}

/// Events removed, and whether nothing is left to remove.
fn forget_some(db: &mut Connection, before: Time, limit: usize) -> rusqlite::Result<(usize, bool)> {
    let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let limit = limit as i64;
    let id = AuditId::new(before.ms(), 0, 0).to_i64();
    let mut gone = transaction
        .prepare_cached("DELETE FROM mail WHERE id IN (SELECT id FROM mail WHERE id < ? ORDER BY id LIMIT ?)")?
        .execute(params![id, limit])?;
    for class in Class::ALL {
        gone += transaction
            .prepare_cached(
                "DELETE FROM fact WHERE class = ?1 AND (at_ms, id) IN
                    (SELECT at_ms, id FROM fact WHERE class = ?1 AND at_ms < ?2 ORDER BY at_ms LIMIT ?3)",
            )?
            .execute(params![class.number(), before.ms(), limit])?;
    }
    let events = transaction
        .prepare_cached("DELETE FROM event WHERE at_ms < ?1 AND seq IN (SELECT seq FROM event ORDER BY seq LIMIT ?2)")?
        .execute(params![before.ms(), limit])?;
    transaction.commit()?;
    Ok((events, gone + events == 0))
}

#[cfg(test)]
mod tests;
