//! Change: what one transaction does to the tables of the spool, and to the counts beside them.

use crate::draft::{Body, Prepared};
use crate::event::{Encoded, Event};
use crate::incident;
use crate::memory::{self, Remembered};
use crate::order::Action;
use crate::queue::{Outcome, Settle, State};
use mail::{AuditId, Recipient, Time};
use rusqlite::{Connection, OptionalExtension, Result, params};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;

/// A change that need not be on disk before somebody is answered. It rides on the next commit.
#[derive(Debug)]
pub(crate) enum Lazy {
    Settle(Settle),
    Record(Vec<Event>),
    SetAside {
        id: AuditId,
        at: Time,
        why: String,
    },
    /// Outbox rows up to this are in the records.
    Shipped(i64),
    Remember(Vec<Remembered>),
    /// What has expired by then, and what is over so many rows.
    Forget(Time, usize),
}

/// An order for some deliveries.
#[derive(Debug)]
pub(crate) struct Apply {
    pub(crate) keys: Vec<(AuditId, u32)>,
    pub(crate) action: Arc<Action>,
    pub(crate) by: Arc<str>,
    pub(crate) at: Time,
}

/// One transaction's work, and what it means once committed.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    db: &'a Connection,
    pub(crate) effect: Effect,
    events: Encoded,
}

/// What is to be counted after COMMIT, and not if it fails.
#[derive(Debug, Default)]
pub(crate) struct Effect {
    pub(crate) lanes: HashMap<String, i64>,
    pub(crate) held: i64,
    /// Segments with one more message each.
    pub(crate) live: Vec<u64>,
    /// Segments with one message less each.
    pub(crate) dead: Vec<u64>,
    /// The outbox row that was written.
    pub(crate) outbox: Option<i64>,
    pub(crate) high: i64,
}

impl<'a> Change<'a> {
    pub(crate) fn new(db: &'a Connection) -> Change<'a> {
        Change { db, effect: Effect::default(), events: Encoded::default() }
    }

    /// A new message. Without deliveries only its events stay: nothing would ever take it out again.
    pub(crate) fn insert(&mut self, new: &Prepared) -> Result<()> {
        self.events.join(&new.events);
        if new.deliveries.is_empty() {
            return Ok(());
        }
        let place = new.place();
        let content = match &new.body {
            Body::Memory(loaded, None) => Some(&loaded[..]),
            _ => None,
        };
        self.db
            .prepare_cached("INSERT INTO message (id, received_ms, envelope, size, crc, segment, offset, content) VALUES (?,?,?,?,?,?,?,?)")?
            .execute(params![
                new.id.to_i64(),
                new.received.ms(),
                new.envelope_text,
                new.size as i64,
                new.crc,
                place.map(|place| place.segment as i64),
                place.map(|place| place.offset as i64),
                content,
            ])?;
        let mut insert = self.db.prepare_cached(
            "INSERT INTO delivery (message, n, lane, next_ms, state, attempts, sender, recipients, status, extra) VALUES (?,?,?,?,?,0,?,?,?,?)",
        )?;
        for (n, delivery) in (0i64..).zip(&new.deliveries) {
            let state = if delivery.held.is_some() { State::Held } else { State::Queued };
            let next = if delivery.held.is_some() { Time::NEVER } else { new.received };
            insert.execute(params![
                new.id.to_i64(),
                n,
                delivery.lane,
                next.ms(),
                state.to_sql(),
                new.sender,
                delivery.text,
                delivery.held.as_deref().unwrap_or_default(),
                delivery.extra.to_string()
            ])?;
            self.effect.count(&delivery.lane, 1);
            self.effect.held += i64::from(delivery.held.is_some());
            self.waits_for(new.id, u32::try_from(n).unwrap_or(u32::MAX), delivery.cause.as_deref())?;
        }
        self.effect.live.extend(place.map(|place| place.segment));
        Ok(())
    }

    /// Something that was waiting for a commit to ride on.
    pub(crate) fn lazy(&mut self, lazy: &Lazy) -> Result<()> {
        match lazy {
            Lazy::Settle(settle) => self.settle(settle),
            Lazy::Record(events) => {
                self.events.join(&Encoded::new(events));
                Ok(())
            }
            Lazy::SetAside { id, at, why } => self.set_aside(*id, *at, why),
            // The newest row stays: it remembers the sequence number and the highest Audit ID.
            Lazy::Shipped(seq) => self
                .db
                .prepare_cached("DELETE FROM outbox WHERE seq <= ? AND seq < (SELECT max(seq) FROM outbox)")?
                .execute([seq])
                .map(drop),
            Lazy::Remember(rows) => memory::put(self.db, rows),
            Lazy::Forget(at, keep) => memory::forget(self.db, *at, *keep),
        }
    }

    fn settle(&mut self, settle: &Settle) -> Result<()> {
        self.events.join(&Encoded::new(&settle.events));
        match &settle.outcome {
            Outcome::Gone => self.remove(settle.message, settle.n).map(drop),
            Outcome::Later { recipients, attempts, next, status, extra, lane, cause } => {
                let changed = self
                    .db
                    .prepare_cached(
                        "UPDATE delivery SET recipients = ?3, attempts = ?4, status = CASE state WHEN 0 THEN ?6 ELSE status END, extra = ?7, cause = ?8, object = ?9,
                         next_ms = CASE state WHEN 0 THEN ?5 ELSE next_ms END WHERE message = ?1 AND n = ?2",
                    )?
                    .execute(params![
                        settle.message.to_i64(),
                        settle.n,
                        text(recipients),
                        attempts,
                        next.ms(),
                        status,
                        extra.to_string(),
                        cause.as_ref().map(|cause| &cause.cause),
                        cause.as_ref().map(|cause| &cause.object)
                    ])?;
                if let Some(cause) = cause {
                    incident::tell(self.db, cause)?;
                }
                match lane {
                    Some(lane) if changed == 1 => self.reroute(settle.message, settle.n, lane, None).map(drop),
                    _ => Ok(()),
                }
            }
            Outcome::Held { recipients, attempts, status, extra, cause } => {
                let (message, n) = (settle.message.to_i64(), settle.n);
                let left = params![message, n, text(recipients), attempts, extra.to_string()];
                self.update(
                    "UPDATE delivery SET recipients = ?3, attempts = ?4, extra = ?5 WHERE message = ?1 AND n = ?2",
                    left,
                )?;
                // One that an administrator has held meanwhile is counted already.
                let held = self.update(
                    "UPDATE delivery SET state = 1, next_ms = ?3, status = ?4 WHERE message = ?1 AND n = ?2 AND state = 0",
                    params![message, n, Time::NEVER.ms(), status],
                )?;
                self.effect.held += i64::from(held);
                self.waits_for(settle.message, settle.n, cause.as_deref())
            }
        }
    }

    /// Counts what a delivery waits for.
    fn waits_for(&self, message: AuditId, n: u32, cause: Option<&incident::Cause>) -> Result<()> {
        let Some(cause) = cause else { return Ok(()) };
        self.update(
            "UPDATE delivery SET cause = ?3, object = ?4 WHERE message = ?1 AND n = ?2",
            params![message.to_i64(), n, cause.cause, cause.object],
        )?;
        incident::tell(self.db, cause)
    }

    /// Takes a delivery away, and its message if it was the last. Nothing happens if it is gone already.
    fn remove(&mut self, message: AuditId, n: u32) -> Result<bool> {
        // Not RETURNING: SQLite makes a table for what is returned, at each call.
        let known = self
            .db
            .prepare_cached("SELECT lane, state, cause, object FROM delivery WHERE message = ? AND n = ?")?
            .query_row(params![message.to_i64(), n], |row| {
                let cause = row.get::<_, Option<String>>(2)?.zip(row.get::<_, Option<String>>(3)?);
                Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, cause))
            })
            .optional()?;
        let Some((lane, state, cause)) = known else { return Ok(false) };
        self.update("DELETE FROM delivery WHERE message = ? AND n = ?", params![message.to_i64(), n])?;
        if let Some((cause, object)) = cause {
            incident::waits_less(self.db, &cause, &object, &lane)?;
        }
        self.effect.count(&lane, -1);
        self.effect.held -= i64::from(state != 0);
        // Asked, not counted in the message's row: to change a row is to write its content again.
        let others =
            self.db.prepare_cached("SELECT 1 FROM delivery WHERE message = ? LIMIT 1")?.exists([message.to_i64()])?;
        if !others {
            let segment: Option<Option<i64>> = self
                .db
                .prepare_cached("SELECT segment FROM message WHERE id = ?")?
                .query_row([message.to_i64()], |row| row.get(0))
                .optional()?;
            self.update("DELETE FROM message WHERE id = ?", [message.to_i64()])?;
            self.effect.dead.extend(segment.flatten().map(|segment| segment as u64));
            if state != 0 {
                self.db.prepare_cached("DELETE FROM set_aside WHERE message = ?")?.execute([message.to_i64()])?;
            }
        }
        Ok(true)
    }

    fn set_aside(&mut self, id: AuditId, at: Time, why: &str) -> Result<()> {
        self.db
            .prepare_cached(
                "INSERT OR IGNORE INTO set_aside (message, at_ms, why)
                 SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM delivery WHERE message = ?1)",
            )?
            .execute(params![id.to_i64(), at.ms(), why])?;
        let queued: i64 = self
            .db
            .prepare_cached("SELECT count(*) FROM delivery WHERE message = ? AND state = 0")?
            .query_row([id.to_i64()], |row| row.get(0))?;
        self.effect.held += queued;
        let status = format!("451 4.3.0 [internal] message set aside: {why}");
        self.db
            .prepare_cached("UPDATE delivery SET state = 2, next_ms = ?2, status = ?3 WHERE message = ?1")?
            .execute(params![id.to_i64(), Time::NEVER.ms(), status])?;
        let fields = json!({"why": why, "status": status});
        self.events.push(&Event { id, at, kind: "set-aside".to_owned(), fields });
        Ok(())
    }

    /// Carries out an order; how many deliveries it changed.
    pub(crate) fn apply(&mut self, apply: &Apply) -> Result<u64> {
        let mut changed = 0;
        for &(id, n) in &apply.keys {
            if self.act(id, n, apply)? {
                changed += 1;
                let event = apply.action.event(id, n, &apply.by, apply.at);
                self.events.push(&event);
            }
        }
        Ok(changed)
    }

    fn act(&mut self, id: AuditId, n: u32, apply: &Apply) -> Result<bool> {
        let (message, at) = (id.to_i64(), apply.at.ms());
        match &*apply.action {
            Action::Retry => self.update(
                "UPDATE delivery SET next_ms = min(next_ms, ?3) WHERE message = ?1 AND n = ?2 AND state = 0",
                params![message, n, at],
            ),
            Action::Hold { .. } => {
                let status = apply.action.status(&apply.by);
                let held = self.update(
                    "UPDATE delivery SET state = 1, next_ms = ?3, status = ?4 WHERE message = ?1 AND n = ?2 AND state = 0",
                    params![message, n, Time::NEVER.ms(), status],
                )?;
                self.effect.held += i64::from(held);
                Ok(held)
            }
            Action::Release => {
                let released = self.update(
                    "UPDATE delivery SET state = 0, next_ms = ?3 WHERE message = ?1 AND n = ?2 AND state <> 0",
                    params![message, n, at],
                )?;
                if released {
                    self.effect.held -= 1;
                    self.db.prepare_cached("DELETE FROM set_aside WHERE message = ?")?.execute([message])?;
                }
                Ok(released)
            }
            Action::Delete => self.remove(id, n),
            Action::Reroute { lane } => self.reroute(id, n, lane, Some(apply.at)),
        }
    }

    fn reroute(&mut self, id: AuditId, n: u32, lane: &str, due: Option<Time>) -> Result<bool> {
        let old: Option<String> = self
            .db
            .prepare_cached("SELECT lane FROM delivery WHERE message = ? AND n = ?")?
            .query_row(params![id.to_i64(), n], |row| row.get(0))
            .optional()?;
        let Some(old) = old else { return Ok(false) };
        self.effect.count(&old, -1);
        self.effect.count(lane, 1);
        self.update(
            "UPDATE delivery SET lane = ?3, next_ms = CASE WHEN state = 0 AND ?4 IS NOT NULL THEN min(next_ms, ?4) ELSE next_ms END WHERE message = ?1 AND n = ?2",
            params![id.to_i64(), n, lane, due.map(Time::ms)],
        )
    }

    fn update(&self, sql: &str, values: impl rusqlite::Params) -> Result<bool> {
        Ok(self.db.prepare_cached(sql)?.execute(values)? > 0)
    }

    /// Writes the events of all that, as one row, and ends the work.
    pub(crate) fn finish(mut self, next: i64, high: i64) -> Result<Effect> {
        self.effect.high = self.events.high.max(high);
        if !self.events.text.is_empty() || self.effect.high > high {
            self.db.prepare_cached("INSERT INTO outbox (seq, high, events) VALUES (?,?,?)")?.execute(params![
                next,
                self.effect.high,
                self.events.text
            ])?;
            self.effect.outbox = Some(next);
        }
        Ok(self.effect)
    }
}

impl Effect {
    fn count(&mut self, lane: &str, by: i64) {
        match self.lanes.get_mut(lane) {
            Some(count) => *count += by,
            None => drop(self.lanes.insert(lane.to_owned(), by)),
        }
    }
}

fn text(recipients: &[Recipient]) -> String {
    serde_json::to_string(recipients).unwrap_or_default()
}

/// Whether an order concerns deliveries in this state.
pub(crate) fn concerns(action: &Action, state: State) -> bool {
    match action {
        Action::Retry | Action::Hold { .. } => state == State::Queued,
        Action::Release => state != State::Queued,
        Action::Delete | Action::Reroute { .. } => true,
    }
}
