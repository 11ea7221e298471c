//! Alarms: what needed an administrator, since when, until when, and who was told. A small database of its own.

use crate::schema::{io_error, migrate, open_writer};
use mail::Time;
use rusqlite::{Connection, Row, params};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

const STEPS: &[&str] = &["
    CREATE TABLE alarm (
        seq      INTEGER PRIMARY KEY,
        key      TEXT NOT NULL,            -- what it is about; one is open at a time
        what     TEXT NOT NULL,
        began_ms INTEGER NOT NULL,
        ended_ms INTEGER,
        told     TEXT NOT NULL             -- whom, and how it went
    ) STRICT;
    CREATE UNIQUE INDEX alarm_open ON alarm (key) WHERE ended_ms IS NULL;
"];

/// The oldest that are over go.
const ALARMS_MAX: i64 = 10_000;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarm {
    pub key: String,
    /// The sentence that is told.
    pub what: String,
    pub began: Time,
    pub ended: Option<Time>,
    /// Whom, and how it went.
    pub told: String,
}

#[derive(Debug)]
pub struct Alarms {
    db: Mutex<Connection>,
}

impl Alarms {
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Alarms> {
        let mut db = open_writer(path, 4096)?;
        migrate(&mut db, STEPS)?;
        Ok(Alarms { db: Mutex::new(db) })
    }

    /// Those that are not over, oldest first.
    pub fn current(&self) -> io::Result<Vec<Alarm>> {
        self.list("WHERE ended_ms IS NULL ORDER BY seq LIMIT ?", ALARMS_MAX)
    }

    /// Newest first.
    pub fn history(&self, limit: usize) -> io::Result<Vec<Alarm>> {
        self.list("ORDER BY seq DESC LIMIT ?", limit as i64)
    }

    /// Begins one; false if one of this key is open already.
    pub fn begin(&self, key: &str, what: &str, at: Time) -> io::Result<bool> {
        self.with(|db| {
            let begun = db.execute(
                "INSERT OR IGNORE INTO alarm (key, what, began_ms, told) VALUES (?,?,?,'')",
                params![key, what, at.ms()],
            )?;
            db.execute(
                "DELETE FROM alarm WHERE seq <= (SELECT max(seq) FROM alarm) - ? AND ended_ms IS NOT NULL",
                [ALARMS_MAX],
            )?;
            Ok(begun > 0)
        })
    }

    /// Ends the open one of this key.
    pub fn end(&self, key: &str, at: Time) -> io::Result<bool> {
        self.with(|db| {
            db.execute("UPDATE alarm SET ended_ms = ? WHERE key = ? AND ended_ms IS NULL", params![at.ms(), key])
        })
        .map(|count| count > 0)
    }

    /// Adds to what was told about the newest of this key.
    pub fn told(&self, key: &str, how: &str) -> io::Result<()> {
        self.with(|db| {
            db.execute(
                "UPDATE alarm SET told = CASE told WHEN '' THEN ?1 ELSE told || '; ' || ?1 END
                 WHERE seq = (SELECT max(seq) FROM alarm WHERE key = ?2)",
                [how, key],
            )
            .map(drop)
        })
    }

    fn list(&self, which: &str, limit: i64) -> io::Result<Vec<Alarm>> {
        self.with(|db| {
            db.prepare_cached(&format!("SELECT key, what, began_ms, ended_ms, told FROM alarm {which}"))?
                .query_map([limit], alarm)?
                .collect()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> io::Result<T> {
        work(&self.db.lock().unwrap_or_else(PoisonError::into_inner)).map_err(io_error)
    }
}

fn alarm(row: &Row<'_>) -> rusqlite::Result<Alarm> {
    Ok(Alarm {
        key: row.get(0)?,
        what: row.get(1)?,
        began: Time(row.get(2)?),
        ended: row.get::<_, Option<i64>>(3)?.map(Time),
        told: row.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_open_once_and_begins_again_after_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let alarms = Alarms::open(&folder.path().join("alarms.db")).unwrap();
        assert!(alarms.begin("disk", "little room", Time(1)).unwrap());
        assert!(!alarms.begin("disk", "less room", Time(2)).unwrap());
        alarms.told("disk", "mail to a@b.test").unwrap();
        alarms.told("disk", "webhook: 200").unwrap();
        assert_eq!(alarms.current().unwrap()[0].told, "mail to a@b.test; webhook: 200");
        assert!(alarms.end("disk", Time(3)).unwrap() && !alarms.end("disk", Time(4)).unwrap());
        assert!(alarms.begin("disk", "again", Time(5)).unwrap());
        let all: Vec<_> = alarms.history(10).unwrap().into_iter().map(|alarm| (alarm.what, alarm.ended)).collect();
        assert_eq!(all, [("again".to_owned(), None), ("little room".to_owned(), Some(Time(3)))]);
    }
}
