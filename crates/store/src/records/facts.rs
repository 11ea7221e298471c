//! Facts and figures: what happened when, and how often, by minute, hour and day. Both are written with the events they
//! tell of, in one transaction: a number is the number of facts of its time, and they lead to their messages.

use super::told::{Facts, Loose, Told};
use super::{AuditEntry, Class, DAY_MS};
use mail::Time;
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use std::collections::HashMap;

/// Listeners by their number in the database; others are 0.
const DOORS: [&str; 5] = ["", "inbound", "outbound", "submission", "internal"];

/// Beginnings of the slots in `stat`, by their span.
const SPANS: [i64; 3] = [60_000, 3_600_000, DAY_MS];

pub(crate) fn door_number(name: &str) -> i64 {
    DOORS.iter().position(|door| *door == name).unwrap_or(0) as i64
}

pub(crate) fn door_name(number: i64) -> &'static str {
    usize::try_from(number).ok().and_then(|number| DOORS.get(number)).copied().unwrap_or_default()
}

/// The width of a chart's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Kept for three days.
    Minutes(u32),
    /// Kept as long as the trail.
    Hours(u32),
    /// Kept for two years.
    Days(u32),
}

impl Step {
    fn span(self) -> usize {
        match self {
            Step::Minutes(_) => 0,
            Step::Hours(_) => 1,
            Step::Days(_) => 2,
        }
    }

    /// Milliseconds.
    pub fn ms(self) -> i64 {
        let (Step::Minutes(count) | Step::Hours(count) | Step::Days(count)) = self;
        i64::from(count.max(1)) * SPANS[self.span()]
    }
}

/// How often something happened in one step of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The beginning of the step, a multiple of its width since 1970.
    pub at: Time,
    pub class: Class,
    /// Name of the listener by which the mail came; empty if it came by none.
    pub door: &'static str,
    pub count: u64,
    /// Octets of the messages, for those accepted and delivered.
    pub octets: u64,
}

/// How often a cause was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CauseCount {
    pub cause: String,
    pub class: Class,
    pub count: u64,
}

/// Numbers from the step that holds `from` to `until`, in order of time.
pub(crate) fn stats(db: &Connection, from: Time, until: Time, step: Step) -> rusqlite::Result<Vec<Stat>> {
    let first = from.ms() - from.ms().rem_euclid(step.ms());
    db.prepare_cached(
        "SELECT slot_ms - slot_ms % ?4 AS step, class, door, sum(count), sum(octets) FROM stat
         WHERE span = ?1 AND slot_ms >= ?2 AND slot_ms < ?3 GROUP BY step, class, door ORDER BY step, class, door",
    )?
    .query_map(params![step.span() as i64, first, until.ms(), step.ms()], |row| {
        let class = Class::from_number(row.get(1)?);
        let stat = |class| -> rusqlite::Result<Stat> {
            Ok(Stat {
                at: Time(row.get(0)?),
                class,
                door: door_name(row.get(2)?),
                count: row.get::<_, i64>(3)? as u64,
                octets: row.get::<_, i64>(4)? as u64,
            })
        };
        class.map(stat).transpose()
    })?
    .filter_map(Result::transpose)
    .collect()
}

/// Causes found from `from` to `until`, the most frequent first. `step` says how finely the ends are cut.
pub(crate) fn causes(
    db: &Connection,
    from: Time,
    until: Time,
    step: Step,
    limit: usize,
) -> rusqlite::Result<Vec<CauseCount>> {
    let first = from.ms() - from.ms().rem_euclid(SPANS[step.span()]);
    db.prepare_cached(
        "SELECT name, class, sum(count) AS n FROM stat JOIN cause ON cause.id = stat.cause
         WHERE span = ?1 AND slot_ms >= ?2 AND slot_ms < ?3 AND stat.cause <> 0
         GROUP BY stat.cause, class ORDER BY n DESC, name LIMIT ?4",
    )?
    .query_map(params![step.span() as i64, first, until.ms(), limit as i64], |row| {
        let class = Class::from_number(row.get(1)?).unwrap_or(Class::Notice);
        Ok(CauseCount { cause: row.get(0)?, class, count: row.get::<_, i64>(2)? as u64 })
    })?
    .collect()
}

/// The number of a cause; `None` if it was never found.
pub(crate) fn cause_number(db: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    db.prepare_cached("SELECT id FROM cause WHERE name = ?")?.query_row([name], |row| row.get(0)).optional()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    minute: i64,
    class: Class,
    door: i64,
    cause: i64,
}

/// What a shipment adds to the numbers.
#[derive(Debug, Default)]
pub(crate) struct Tally(HashMap<Key, (i64, i64)>);

impl Tally {
    /// Writes the facts of an event and counts them. One that is there already is not counted again.
    pub(crate) fn count(
        &mut self,
        db: &Transaction<'_>,
        event: &Told<'_>,
        facts: &Facts<'_>,
        classes: &[Class],
        entry: &AuditEntry,
    ) -> rusqlite::Result<()> {
        let cause = match &facts.finding {
            Loose::Finding { cause, .. } if !cause.is_empty() => cause_or_new(db, cause)?,
            _ => 0,
        };
        let door = door_number(facts.listener.text().unwrap_or(&entry.door));
        let mut insert =
            db.prepare_cached("INSERT OR IGNORE INTO fact (class, at_ms, id, door, cause) VALUES (?,?,?,?,?)")?;
        for &class in classes {
            let at = event.at.ms();
            if insert.execute(params![class.number(), at, event.id.to_i64(), door, cause])? == 0 {
                continue;
            }
            let octets = if matches!(class, Class::Accepted | Class::Delivered) { entry.size as i64 } else { 0 };
            let minute = at - at.rem_euclid(SPANS[0]);
            let sum = self.0.entry(Key { minute, class, door, cause }).or_default();
            *sum = (sum.0 + 1, sum.1.saturating_add(octets));
        }
        Ok(())
    }

    /// Rolled up at once: a shipment has few keys, and nothing is left to do later.
    pub(crate) fn write(self, db: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut add = db.prepare_cached(
            "INSERT INTO stat (span, slot_ms, class, door, cause, count, octets) VALUES (?,?,?,?,?,?,?)
             ON CONFLICT DO UPDATE SET count = count + excluded.count, octets = octets + excluded.octets",
        )?;
        for (key, (count, octets)) in self.0 {
            for (span, width) in (0i64..).zip(SPANS) {
                let slot = key.minute - key.minute.rem_euclid(width);
                add.execute(params![span, slot, key.class.number(), key.door, key.cause, count, octets])?;
            }
        }
        Ok(())
    }
}

fn cause_or_new(db: &Transaction<'_>, name: &str) -> rusqlite::Result<i64> {
    if let Some(number) = cause_number(db, name)? {
        return Ok(number);
    }
    db.prepare_cached("INSERT INTO cause (name) VALUES (?)")?.insert([name])
}
