//! Page: a piece of the queue in an order of one's choice, whatever the queue's length.
//!
//! A page begins behind a cursor and ends when it is full or its time is up; what matches next is found by asking again.
//! So a rare match in a million rows costs several short looks and never a long one.

use crate::order::{self, Selection};
use crate::queue::{QueueEntry, State};
use mail::AuditId;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Result, params, params_from_iter};
use serde_json::json;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// In what order deliveries come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By the age of the message: those that expire first come first.
    #[default]
    Oldest,
    Newest,
    /// By their next attempt, the soonest first; held ones last.
    Next,
    /// The most attempts first; what was never tried is left out.
    Attempts,
    /// The largest first; content that lies in the spool's own rows (up to 16 KiB) is left out.
    Largest,
}

/// Where a page ended: the value that it is sorted by (0 where that is the age), and the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub value: i64,
    pub id: AuditId,
    pub n: u32,
}

/// What a page asks for.
#[derive(Clone, Copy, Debug)]
pub struct PageOf {
    pub sort: Sort,
    pub limit: usize,
    pub after: Option<Cursor>,
    /// It ends after so long, with what was found until then.
    pub time: Duration,
}

/// A piece of the queue.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub entries: Vec<QueueEntry>,
    /// Where to go on; `None`: that was all.
    pub next: Option<Cursor>,
    /// Rows looked at.
    pub looked: u64,
}

/// Keys fetched at once where rows are found by an index.
const KEYS: usize = 500;
/// Rows between two looks at the clock.
const CLOCK: u64 = 64;

/// How the rows of some lanes are found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Not by lane.
    Table,
    /// They are few: gathered by the index of lanes and sorted.
    Lanes,
}

pub(crate) fn page(db: &Connection, selection: &Selection, of: &PageOf, lanes: &HashMap<String, u64>) -> Result<Page> {
    let until = Instant::now() + of.time;
    let narrowed = selection.with_lanes(lanes);
    let selection = narrowed.as_ref().unwrap_or(selection);
    if selection.leads_nowhere() {
        return Ok(Page::default());
    }
    match of.sort {
        Sort::Oldest | Sort::Newest if by(selection, lanes) == By::Table => by_age(db, selection, of, until),
        _ => by_keys(db, selection, of, until),
    }
}

/// Sorting all rows of the lanes costs about half a microsecond each, passing by rows of other lanes about four: with `n` of
/// `all` rows in the lanes, fifty are found among `50 × all / n`.
pub(crate) fn by(selection: &Selection, lanes: &HashMap<String, u64>) -> By {
    if selection.lanes.is_empty() || selection.cause.is_some() {
        return By::Table;
    }
    let all: u64 = lanes.values().sum();
    let n: u64 = selection.lanes.iter().filter_map(|lane| lanes.get(lane)).sum();
    if n.saturating_mul(n) < all.saturating_mul(400) { By::Lanes } else { By::Table }
}

/// The table's own order.
fn by_age(db: &Connection, selection: &Selection, of: &PageOf, until: Instant) -> Result<Page> {
    let (terms, mut values) = selection.sql(None, &selection.states(None));
    let mut terms = in_table_order(&terms);
    let newest = of.sort == Sort::Newest;
    if let Some(after) = of.after {
        terms.push_str(if newest { " AND (message, n) < (?, ?)" } else { " AND (message, n) > (?, ?)" });
        values.extend([Sql::from(after.id.to_i64()), i64::from(after.n).into()]);
    }
    let order = if newest { "message DESC, n DESC" } else { "message, n" };
    let hint = selection.index();
    let sql = format!("SELECT {} FROM delivery {hint} WHERE {terms} ORDER BY {order}", order::COLUMNS);
    let mut statement = db.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut page = Page::default();
    while let Some(row) = rows.next()? {
        page.looked += 1;
        let here = Cursor { value: 0, id: order::id(row.get(0)?), n: row.get(1)? };
        if let Some(entry) = order::entry(db, row, selection)? {
            page.entries.push(entry);
        }
        if page.entries.len() >= of.limit || page.looked.is_multiple_of(CLOCK) && Instant::now() > until {
            page.next = Some(here);
            break;
        }
    }
    Ok(page)
}

/// Terms that keep SQLite from finding rows by their lane, and sorting all of them whole.
pub(crate) fn in_table_order(terms: &str) -> String {
    terms.replace("lane IN ", "+lane IN ").replace("lane = ", "+lane = ")
}

/// By an index that holds no more than what is sorted by; each row is then looked up.
fn by_keys(db: &Connection, selection: &Selection, of: &PageOf, until: Instant) -> Result<Page> {
    let (terms, values) = selection.sql(None, &selection.states(None));
    let row = format!("SELECT {} FROM delivery WHERE message = ? AND n = ? AND {terms}", order::COLUMNS);
    let mut row = db.prepare(&row)?;
    let mut page = Page { next: of.after, ..Page::default() };
    loop {
        let (found, more) = keys(db, selection, of.sort, page.next)?;
        for key in &found {
            page.looked += 1;
            let mut all = vec![Sql::from(key.id.to_i64()), i64::from(key.n).into()];
            all.extend(values.iter().cloned());
            let mut rows = row.query(params_from_iter(all))?;
            if let Some(row) = rows.next()?
                && let Some(entry) = order::entry(db, row, selection)?
            {
                page.entries.push(entry);
            }
            page.next = Some(*key);
            if page.entries.len() >= of.limit || page.looked.is_multiple_of(CLOCK) && Instant::now() > until {
                return Ok(page);
            }
        }
        if !more {
            page.next = None;
            return Ok(page);
        }
    }
}

/// The next keys behind a cursor, and whether there may be more.
fn keys(db: &Connection, selection: &Selection, sort: Sort, after: Option<Cursor>) -> Result<(Vec<Cursor>, bool)> {
    let limit = KEYS as i64;
    let (value, id, n) = after.map_or((None, 0, 0), |after| (Some(after.value), after.id.to_i64(), after.n));
    let key = |row: &rusqlite::Row<'_>| Ok(Cursor { value: row.get(0)?, id: order::id(row.get(1)?), n: row.get(2)? });
    let keys: Result<Vec<Cursor>> = match sort {
        Sort::Largest => return largest(db, after),
        Sort::Attempts => db
            .prepare_cached(
                "SELECT attempts, message, n FROM delivery INDEXED BY delivery_attempts
                 WHERE attempts > 0 AND (?1 IS NULL OR attempts < ?1 OR attempts = ?1 AND (message, n) > (?2, ?3))
                 ORDER BY attempts DESC, message, n LIMIT ?4",
            )?
            .query_map(params![value, id, n, limit], key)?
            .collect(),
        Sort::Oldest => db
            .prepare_cached(
                "SELECT 0, message, n FROM delivery INDEXED BY delivery_due
                 WHERE lane IN (SELECT value FROM json_each(?5)) AND (?1 IS NULL OR (message, n) > (?2, ?3))
                 ORDER BY message, n LIMIT ?4",
            )?
            .query_map(params![value, id, n, limit, json!(selection.lanes).to_string()], key)?
            .collect(),
        Sort::Newest => db
            .prepare_cached(
                "SELECT 0, message, n FROM delivery INDEXED BY delivery_due
                 WHERE lane IN (SELECT value FROM json_each(?5)) AND (?1 IS NULL OR (message, n) < (?2, ?3))
                 ORDER BY message DESC, n DESC LIMIT ?4",
            )?
            .query_map(params![value, id, n, limit, json!(selection.lanes).to_string()], key)?
            .collect(),
        // The index of lanes holds the time as well: all of it is read, which takes a fifth of a second for a million.
        Sort::Next if selection.lanes.is_empty() => db
            .prepare_cached(
                "SELECT next_ms, message, n FROM delivery INDEXED BY delivery_due
                 WHERE ?1 IS NULL OR (next_ms, message, n) > (?1, ?2, ?3) ORDER BY next_ms, message, n LIMIT ?4",
            )?
            .query_map(params![value, id, n, limit], key)?
            .collect(),
        Sort::Next => db
            .prepare_cached(
                "SELECT next_ms, message, n FROM delivery INDEXED BY delivery_due
                 WHERE lane IN (SELECT value FROM json_each(?5)) AND (?1 IS NULL OR (next_ms, message, n) > (?1, ?2, ?3))
                 ORDER BY next_ms, message, n LIMIT ?4",
            )?
            .query_map(params![value, id, n, limit, json!(selection.lanes).to_string()], key)?
            .collect(),
    };
    keys.map(|keys| {
        let more = keys.len() == KEYS;
        (keys, more)
    })
}

/// By size: the index of segments holds it. The deliveries of one message stand together.
fn largest(db: &Connection, after: Option<Cursor>) -> Result<(Vec<Cursor>, bool)> {
    let mut numbers = db.prepare_cached("SELECT n FROM delivery WHERE message = ? AND n > ? ORDER BY n")?;
    let mut keys = Vec::new();
    let mut add = |value: i64, message: i64, behind: i64| -> Result<()> {
        for n in numbers.query_map([message, behind], |row| row.get(0))? {
            keys.push(Cursor { value, id: order::id(message), n: n? });
        }
        Ok(())
    };
    // A page may end amid the deliveries of a message.
    if let Some(after) = after {
        add(after.value, after.id.to_i64(), i64::from(after.n))?;
    }
    let mut messages = db.prepare_cached(
        "SELECT size, id FROM message INDEXED BY message_segment
         WHERE segment IS NOT NULL AND (?1 IS NULL OR size < ?1 OR size = ?1 AND id > ?2) ORDER BY size DESC, id LIMIT ?3",
    )?;
    let (value, id) = (after.map(|after| after.value), after.map_or(0, |after| after.id.to_i64()));
    let mut count = 0;
    for message in messages.query_map(params![value, id, KEYS as i64], |row| Ok((row.get(0)?, row.get(1)?)))? {
        let (size, message) = message?;
        count += 1;
        add(size, message, -1)?;
    }
    Ok((keys, count == KEYS))
}

impl Selection {
    /// With the lanes that its domain leads to, if it names one: they have an index. `None`: as it is.
    pub(crate) fn with_lanes(&self, lanes: &HashMap<String, u64>) -> Option<Selection> {
        let wanted: Vec<String> = match (&self.lane, &self.domain) {
            (Some(lane), _) => vec![lane.clone()],
            (None, Some(domain)) => {
                let domain =
                    domain.parse::<mail::Domain>().map_or_else(|_| domain.to_lowercase(), |domain| domain.ascii());
                let leads = |lane: &&String| lane.split('>').next() == Some(domain.as_str());
                lanes.keys().filter(leads).cloned().collect()
            }
            (None, None) => return None,
        };
        let of_both = |lane: &String| self.lanes.is_empty() || self.lanes.contains(lane);
        let mut lanes: Vec<String> = wanted.into_iter().filter(of_both).collect();
        if lanes.is_empty() {
            lanes.push(String::new());
        }
        Some(Selection { lanes, ..self.clone() })
    }

    /// No lane has this name.
    pub(crate) fn leads_nowhere(&self) -> bool {
        self.lanes == [String::new()]
    }

    /// The index that gives rows by their age.
    fn index(&self) -> &'static str {
        match (&self.cause, &self.object, self.state) {
            (Some(_), Some(_), _) => "INDEXED BY delivery_incident",
            (Some(_), None, _) => "INDEXED BY delivery_cause",
            // Few are held; among the others, the table's own order is the right one.
            (None, _, Some(State::Held)) => "INDEXED BY delivery_held",
            _ => "NOT INDEXED",
        }
    }
}
