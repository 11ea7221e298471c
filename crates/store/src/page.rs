//! Page: a piece of the queue in an order of one's choice, whatever the queue's length.
//!
//! A page begins behind a cursor and ends when it is full or its time is up; what matches next is found by asking again.
//! So a rare match in a million rows costs several short looks and never a long one.

mod walk;

use crate::order::{self, NO_CAUSE, Selection};
use crate::queue::{QueueEntry, State};
use mail::AuditId;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, Result, params_from_iter};
use std::collections::HashMap;
use std::time::{Duration, Instant};
use walk::{KEYS, Walk};

/// In what order deliveries come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By the age of the message.
    #[default]
    Oldest,
    Newest,
    /// By their next attempt, the soonest first; held ones last.
    Next,
    /// Those first that are given up first: so long after they came, mail and bounces each.
    Expiry {
        mail: Duration,
        bounces: Duration,
    },
    /// The most attempts first; what was never tried is left out.
    Attempts,
    /// The largest first; content that lies in the spool's own rows (up to 16 KiB) is left out.
    Largest,
}

/// Where a page ended: the value that it is sorted by (0 where that is the age), and the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    let walk = Walk::of(selection, of.sort, lanes);
    let (terms, values) = selection.sql(None, &selection.states(None));
    let row = format!("SELECT {} FROM delivery WHERE message = ? AND n = ? AND {terms}", order::COLUMNS);
    let mut row = db.prepare(&row)?;
    let mut page = Page { next: of.after, ..Page::default() };
    // One more than is shown says whether there is more.
    let mut count = of.limit + 1;
    loop {
        let found = walk.keys(db, page.next, count)?;
        for key in &found.keys {
            page.looked += 1;
            if key.may_fit {
                let mut all = vec![Sql::from(key.at.id.to_i64()), i64::from(key.at.n).into()];
                all.extend(values.iter().cloned());
                if let Some(row) = row.query(params_from_iter(all))?.next()? {
                    page.entries.extend(order::entry(db, row, selection)?);
                }
            }
            page.next = Some(key.at);
            let is_last = !found.more && found.keys.last().is_some_and(|last| last.at == key.at);
            if page.entries.len() >= of.limit || page.looked.is_multiple_of(CLOCK) && Instant::now() > until {
                page.next = page.next.filter(|_| !is_last);
                return Ok(page);
            }
        }
        if !found.more {
            page.next = None;
            return Ok(page);
        }
        // What was found fitted too seldom: more at once, where finding any has a price of its own.
        count = KEYS.max(if of.sort == Sort::Next { lanes.len() / 4 } else { 0 });
    }
}

/// Sorting all rows of the lanes costs about half a microsecond each, passing by rows of other lanes about four: with `n` of
/// `all` rows in the lanes, fifty are found among `50 × all / n`.
pub(crate) fn by(selection: &Selection, lanes: &HashMap<String, u64>) -> By {
    if selection.lanes.is_empty() || selection.cause_index() {
        return By::Table;
    }
    let all: u64 = lanes.values().sum();
    let n: u64 = selection.lanes.iter().filter_map(|lane| lanes.get(lane)).sum();
    if n.saturating_mul(n) < all.saturating_mul(400) { By::Lanes } else { By::Table }
}

/// Terms that keep SQLite from finding rows by their lane, and sorting all of them whole.
pub(crate) fn in_table_order(terms: &str) -> String {
    terms.replace("lane IN ", "+lane IN ").replace("lane = ", "+lane = ")
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
    pub(super) fn index(&self) -> &'static str {
        match (self.cause_index(), &self.object, self.state) {
            (true, Some(_), _) => "INDEXED BY delivery_incident",
            (true, None, _) => "INDEXED BY delivery_cause",
            // Few are held; among the others, the table's own order is the right one.
            (false, _, Some(State::Held | State::SetAside)) => "INDEXED BY delivery_held",
            _ => "NOT INDEXED",
        }
    }

    /// Whether it may hold what is neither held nor set aside.
    fn is_queued(&self) -> bool {
        self.state.is_none_or(|state| state == State::Queued)
    }

    /// Whether the rows of its cause can be found by an index.
    fn cause_index(&self) -> bool {
        self.cause.as_ref().is_some_and(|cause| cause != NO_CAUSE)
    }
}
