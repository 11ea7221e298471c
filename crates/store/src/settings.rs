//! Settings: every version of the one document, with author and time. A database of its own: small, seldom written,
//! and untouched by whatever happens to mail or records.

use crate::schema::{io_error, migrate, open_writer};
use mail::Time;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// One version of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// From 1.
    pub number: u64,
    pub at: Time,
    pub author: String,
    pub comment: String,
    /// The whole document; empty in a history.
    pub text: String,
}

pub(crate) const STEPS: &[&str] = &["
    CREATE TABLE settings (
        number  INTEGER PRIMARY KEY,
        at_ms   INTEGER NOT NULL,
        author  TEXT NOT NULL,
        comment TEXT NOT NULL,
        text    TEXT NOT NULL
    ) STRICT;
"];

#[derive(Debug)]
pub(crate) struct Settings {
    db: Mutex<Connection>,
}

impl Settings {
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Settings> {
        let mut db = open_writer(path, 4096)?;
        migrate(&mut db, STEPS)?;
        Ok(Settings { db: Mutex::new(db) })
    }

    /// Adds a version and gives its number; it is durable on return.
    pub(crate) fn put(&self, text: &str, author: &str, comment: &str, at: Time) -> io::Result<u64> {
        self.with(|db| {
            db.query_row(
                "INSERT INTO settings (at_ms, author, comment, text) VALUES (?,?,?,?) RETURNING number",
                params![at.ms(), author, comment, text],
                |row| row.get::<_, i64>(0),
            )
        })
        .map(|number| number as u64)
    }

    pub(crate) fn current(&self) -> io::Result<Option<Version>> {
        self.with(|db| {
            db.query_row(
                "SELECT number, at_ms, author, comment, text FROM settings ORDER BY number DESC LIMIT 1",
                [],
                version,
            )
            .optional()
        })
    }

    pub(crate) fn version(&self, number: u64) -> io::Result<Option<Version>> {
        self.with(|db| {
            db.query_row(
                "SELECT number, at_ms, author, comment, text FROM settings WHERE number = ?",
                [number as i64],
                version,
            )
            .optional()
        })
    }

    /// Newest first, without the texts.
    pub(crate) fn history(&self) -> io::Result<Vec<Version>> {
        self.with(|db| {
            db.prepare_cached("SELECT number, at_ms, author, comment, '' FROM settings ORDER BY number DESC")?
                .query_map([], version)?
                .collect()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> io::Result<T> {
        work(&self.db.lock().unwrap_or_else(PoisonError::into_inner)).map_err(io_error)
    }
}

/// The document in force in a data folder, read before the store is opened. `None`: none yet, or none that can be read.
pub fn stored(folder: &Path) -> Option<String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(folder.join("settings.db"), flags).ok()?;
    db.query_row("SELECT text FROM settings ORDER BY number DESC LIMIT 1", [], |row| row.get(0)).ok()
}

fn version(row: &Row<'_>) -> rusqlite::Result<Version> {
    Ok(Version {
        number: row.get::<_, i64>(0)? as u64,
        at: Time(row.get(1)?),
        author: row.get(2)?,
        comment: row.get(3)?,
        text: row.get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_stay_with_author_and_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.db");
        let settings = Settings::open(&path).unwrap();
        assert_eq!(settings.current().unwrap(), None);
        assert_eq!(settings.put("a = 1", "alice", "first", Time(5)).unwrap(), 1);
        assert_eq!(settings.put("a = 2", "bob", "", Time(6)).unwrap(), 2);
        drop(settings);
        let settings = Settings::open(&path).unwrap();
        assert_eq!(settings.current().unwrap().unwrap().text, "a = 2");
        assert_eq!(settings.version(1).unwrap().unwrap().author, "alice");
        assert_eq!(settings.version(9).unwrap(), None);
        let history = settings.history().unwrap();
        assert_eq!(
            history.iter().map(|version| (version.number, version.text.as_str())).collect::<Vec<_>>(),
            [(2, ""), (1, "")]
        );
    }
}
