//! Walk: the keys of deliveries in the order of a page, a batch at a time, each batch behind the one before. What a batch costs does
//! not grow with the queue.

use super::{By, Cursor, Sort, by};
use crate::order::{self, Selection};
use mail::{AuditId, Time};
use rusqlite::types::Value as Sql;
use rusqlite::{CachedStatement, Connection, Result, Row, params, params_from_iter};
use serde_json::json;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

/// Keys fetched at once where the page's own number was not enough.
pub(super) const KEYS: usize = 500;
/// Keys of one lane fetched at once: one, then twice as many each time up to this.
const OF_LANE: usize = 64;
/// Finding a lane's first key costs about as much as passing by so many rows of its index.
const SEEK: u64 = 4;

/// The last millisecond of which an Audit ID can be: 42 bits.
const TIME_MAX: i64 = (1 << 42) - 1;

/// A place in the order of a page.
pub(super) struct Key {
    pub(super) at: Cursor,
    /// No: the row does not match, as far as SQL can tell.
    pub(super) may_fit: bool,
}

/// The next keys. `more`: others may follow.
pub(super) struct Keys {
    pub(super) keys: Vec<Key>,
    pub(super) more: bool,
}

/// How the keys of a page are found.
pub(super) struct Walk<'a> {
    selection: &'a Selection,
    sort: Sort,
    by: By,
    /// Lanes whose keys are merged, for [`Sort::Next`]; empty: the whole index is read.
    lanes: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    pub(super) fn of(selection: &'a Selection, sort: Sort, lanes: &'a HashMap<String, u64>) -> Walk<'a> {
        let is_held = !selection.is_queued();
        // What is held has no next attempt: its age is its order.
        let sort = if sort == Sort::Next && is_held { Sort::Oldest } else { sort };
        let mut wanted: Vec<&str> = match selection.lanes.as_slice() {
            [] => lanes.keys().map(String::as_str).collect(),
            named => named.iter().map(String::as_str).filter(|lane| lanes.contains_key(*lane)).collect(),
        };
        // Neighbours in the index lie on the same pages.
        wanted.sort_unstable();
        let rows: u64 = wanted.iter().filter_map(|lane| lanes.get(*lane)).sum();
        let merged = sort == Sort::Next && wanted.len() as u64 * SEEK <= rows.max(SEEK);
        Walk { selection, sort, by: by(selection, lanes), lanes: if merged { wanted } else { Vec::new() } }
    }

    /// The next `count` keys behind a cursor.
    pub(super) fn keys(&self, db: &Connection, after: Option<Cursor>, count: usize) -> Result<Keys> {
        match self.sort {
            Sort::Oldest | Sort::Newest if self.by == By::Table => self.by_age(db, after, count, None),
            Sort::Oldest | Sort::Newest => self.by_age_in_lanes(db, after, count, None),
            Sort::Next if !self.lanes.is_empty() => by_next(db, &self.lanes, after, count),
            Sort::Next => self.by_next_in_all(db, after, count),
            Sort::Expiry { mail, bounces } => self.by_expiry(db, after, count, (mail, bounces)),
            Sort::Attempts => by_attempts(db, after, count),
            Sort::Largest => largest(db, after, count),
        }
    }

    /// In the table's own order, or that of an index of part of it. `bounces`: only bounces, or only what is none.
    fn by_age(&self, db: &Connection, after: Option<Cursor>, count: usize, bounces: Option<bool>) -> Result<Keys> {
        let states = self.selection.states(None);
        let (mut range, mut bounds) = self.selection.range(None, &states);
        let (mut filter, mut values) = self.selection.filter(&states);
        let mut hint = self.selection.index();
        match bounces {
            // What is held is few, too.
            Some(true) if self.selection.is_queued() => {
                hint = "INDEXED BY delivery_bounce";
                range.push("sender = '<>'");
            }
            Some(true) => filter.push("sender = '<>'"),
            Some(false) => filter.push("sender <> '<>'"),
            None => {}
        }
        let newest = self.sort == Sort::Newest;
        if let Some(after) = after {
            range.push(if newest { "(message, n) < (?, ?)" } else { "(message, n) > (?, ?)" });
            bounds.extend([Sql::from(after.id.to_i64()), i64::from(after.n).into()]);
        }
        let order = if newest { "message DESC, n DESC" } else { "message, n" };
        let range = if range.is_empty() { "1".to_owned() } else { range.join(" AND ") };
        let sql = format!(
            "SELECT 0, message, n, {} FROM delivery {hint} WHERE {range} ORDER BY {order} LIMIT {count}",
            filter.join(" AND ")
        );
        values.extend(bounds);
        let keys = db.prepare(&sql)?.query_map(params_from_iter(values), key)?.collect::<Result<Vec<Key>>>()?;
        Ok(Keys { more: keys.len() == count, keys })
    }

    /// The rows of a few lanes, sorted. `bounces` as there.
    fn by_age_in_lanes(
        &self,
        db: &Connection,
        after: Option<Cursor>,
        count: usize,
        bounces: Option<bool>,
    ) -> Result<Keys> {
        let (order, behind) = match self.sort {
            Sort::Newest => ("message DESC, n DESC", "<"),
            _ => ("message, n", ">"),
        };
        let fits = match bounces {
            Some(true) => "(SELECT sender = '<>' FROM delivery WHERE message = key.message AND n = key.n)",
            Some(false) => "(SELECT sender <> '<>' FROM delivery WHERE message = key.message AND n = key.n)",
            None => "1",
        };
        let sql = format!(
            "SELECT 0, message, n, {fits} FROM (
                SELECT message, n FROM delivery INDEXED BY delivery_due
                WHERE lane IN (SELECT value FROM json_each(?1)) AND (?2 IS NULL OR (message, n) {behind} (?2, ?3))
                ORDER BY {order} LIMIT ?4) AS key"
        );
        let (id, n) = (after.map(|after| after.id.to_i64()), after.map(|after| after.n));
        let lanes = json!(self.selection.lanes).to_string();
        let keys: Vec<Key> =
            db.prepare_cached(&sql)?.query_map(params![lanes, id, n, count as i64], key)?.collect::<Result<_>>()?;
        Ok(Keys { more: keys.len() == count, keys })
    }

    /// The index of lanes holds the time as well: all of it is read, about a microsecond a row.
    fn by_next_in_all(&self, db: &Connection, after: Option<Cursor>, count: usize) -> Result<Keys> {
        let sql = "SELECT next_ms, message, n, 1 FROM delivery INDEXED BY delivery_due
             WHERE (?5 = '[]' OR lane IN (SELECT value FROM json_each(?5)))
                AND (?1 IS NULL OR (next_ms, message, n) > (?1, ?2, ?3))
             ORDER BY next_ms, message, n LIMIT ?4";
        let (value, id, n) = parts(after);
        let lanes = json!(self.selection.lanes).to_string();
        let keys: Vec<Key> = db
            .prepare_cached(sql)?
            .query_map(params![value, id, n, count as i64, lanes], key)?
            .collect::<Result<_>>()?;
        Ok(Keys { more: keys.len() == count, keys })
    }

    /// Mail and bounces each stand in the order of their age: two walks, merged.
    fn by_expiry(
        &self,
        db: &Connection,
        after: Option<Cursor>,
        count: usize,
        (mail, bounces): (Duration, Duration),
    ) -> Result<Keys> {
        let walk = |after, bounces| match self.by {
            By::Table => self.by_age(db, after, count, Some(bounces)),
            By::Lanes => self.by_age_in_lanes(db, after, count, Some(bounces)),
        };
        let mut mails = walk(behind(after, mail), false)?;
        let mut returns = walk(behind(after, bounces), true)?;
        let more = mails.more || returns.more;
        // Behind the end of a walk that goes on, the other knows nothing.
        let mut end = None;
        for (walk, lifetime) in [(&mut mails, mail), (&mut returns, bounces)] {
            for key in &mut walk.keys {
                key.at.value = (Time(key.at.id.ms()) + lifetime).ms();
            }
            let last = walk.keys.last().filter(|_| walk.more).map(|key| key.at);
            end = [end, last].into_iter().flatten().min();
        }
        let mut keys = mails.keys;
        keys.append(&mut returns.keys);
        keys.sort_unstable_by_key(|key| key.at);
        keys.retain(|key| end.is_none_or(|end| key.at <= end));
        Ok(Keys { more, keys })
    }
}

fn key(row: &Row<'_>) -> Result<Key> {
    let at = Cursor { value: row.get(0)?, id: order::id(row.get(1)?), n: row.get(2)? };
    Ok(Key { at, may_fit: row.get::<_, Option<bool>>(3)?.unwrap_or(false) })
}

/// A cursor as SQL takes it.
fn parts(after: Option<Cursor>) -> (Option<i64>, i64, u32) {
    after.map_or((None, 0, 0), |after| (Some(after.value), after.id.to_i64(), after.n))
}

/// A cursor of expiry as one of age, for what lives so long: what is not behind it by age, is not behind it by expiry.
fn behind(after: Option<Cursor>, lifetime: Duration) -> Option<Cursor> {
    let after = after?;
    let lifetime = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
    let ms = after.value.saturating_sub(lifetime);
    if after.id.ms() == ms {
        return Some(after);
    }
    // Of the same expiry, the smaller ID came first: that of the cursor is of a later millisecond, or of an earlier one.
    let from = if after.id.ms() > ms { ms.saturating_add(1) } else { ms };
    let before = AuditId::from_i64(AuditId::new(from.clamp(0, TIME_MAX), 0, 0).to_i64() - 1)?;
    Some(Cursor { value: 0, id: before, n: u32::MAX })
}

/// Each lane's keys stand by their time in the index: as many walks as lanes, merged.
fn by_next(db: &Connection, lanes: &[&str], after: Option<Cursor>, count: usize) -> Result<Keys> {
    let mut statement = db.prepare_cached(
        "SELECT next_ms, message, n, 1 FROM delivery INDEXED BY delivery_due
         WHERE lane = ?1 AND (next_ms, message, n) > (?2, ?3, ?4) ORDER BY next_ms, message, n LIMIT ?5",
    )?;
    let start = after.unwrap_or(Cursor { value: i64::MIN, id: AuditId::new(0, 0, 0), n: 0 });
    let mut waiting: Vec<(usize, VecDeque<Cursor>)> = Vec::with_capacity(lanes.len());
    let mut heads = BinaryHeap::with_capacity(lanes.len());
    for (which, lane) in lanes.iter().enumerate() {
        let mut first = of_lane(&mut statement, lane, start, 1)?;
        heads.extend(first.pop_front().map(|at| Reverse((at, which))));
        waiting.push((1, first));
    }
    let mut keys = Vec::with_capacity(count);
    while keys.len() < count
        && let Some(Reverse((at, which))) = heads.pop()
    {
        keys.push(Key { at, may_fit: true });
        let (size, of_this) = &mut waiting[which];
        if of_this.is_empty() {
            *size = (*size * 2).min(OF_LANE);
            *of_this = of_lane(&mut statement, lanes[which], at, *size)?;
        }
        heads.extend(of_this.pop_front().map(|at| Reverse((at, which))));
    }
    Ok(Keys { more: keys.len() == count, keys })
}

fn of_lane(statement: &mut CachedStatement<'_>, lane: &str, after: Cursor, count: usize) -> Result<VecDeque<Cursor>> {
    let rows = statement.query_map(params![lane, after.value, after.id.to_i64(), after.n, count as i64], key)?;
    rows.map(|row| row.map(|key| key.at)).collect()
}

/// The rest of those with as many attempts as the cursor, then those with fewer.
fn by_attempts(db: &Connection, after: Option<Cursor>, count: usize) -> Result<Keys> {
    let mut keys: Vec<Key> = Vec::new();
    if let Some(after) = after {
        let same = "SELECT attempts, message, n, 1 FROM delivery INDEXED BY delivery_attempts
             WHERE attempts > 0 AND attempts = ?1 AND (message, n) > (?2, ?3) ORDER BY message, n LIMIT ?4";
        let (value, id, n) = parts(Some(after));
        keys = db.prepare_cached(same)?.query_map(params![value, id, n, count as i64], key)?.collect::<Result<_>>()?;
    }
    let fewer = "SELECT attempts, message, n, 1 FROM delivery INDEXED BY delivery_attempts
         WHERE attempts > 0 AND attempts < ?1 ORDER BY attempts DESC, message, n LIMIT ?2";
    let below = after.map_or(i64::MAX, |after| after.value);
    let rest = (count - keys.len()) as i64;
    for key in db.prepare_cached(fewer)?.query_map(params![below, rest], key)? {
        keys.push(key?);
    }
    Ok(Keys { more: keys.len() == count, keys })
}

/// By the size of the message. The deliveries of one message stand together.
fn largest(db: &Connection, after: Option<Cursor>, count: usize) -> Result<Keys> {
    let message = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, -1));
    // Size, message, the delivery behind which to begin.
    let mut messages: Vec<(i64, i64, i64)> = Vec::new();
    if let Some(after) = after {
        // A page may end amid the deliveries of a message.
        messages.push((after.value, after.id.to_i64(), i64::from(after.n)));
        let same = "SELECT size, id FROM message INDEXED BY message_size
             WHERE segment IS NOT NULL AND size = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
        let (value, id, _) = parts(Some(after));
        for found in db.prepare_cached(same)?.query_map(params![value, id, count as i64], message)? {
            messages.push(found?);
        }
    }
    let smaller = "SELECT size, id FROM message INDEXED BY message_size
         WHERE segment IS NOT NULL AND size < ?1 ORDER BY size DESC, id LIMIT ?2";
    let below = after.map_or(i64::MAX, |after| after.value);
    let rest = count.saturating_sub(messages.len()) as i64;
    for found in db.prepare_cached(smaller)?.query_map([below, rest], message)? {
        messages.push(found?);
    }
    let mut numbers = db.prepare_cached("SELECT n FROM delivery WHERE message = ? AND n > ? ORDER BY n")?;
    let mut keys = Vec::new();
    for (value, message, behind) in &messages {
        for n in numbers.query_map([message, behind], |row| row.get(0))? {
            keys.push(Key { at: Cursor { value: *value, id: order::id(*message), n: n? }, may_fit: true });
        }
    }
    Ok(Keys { more: messages.len() >= count, keys })
}
