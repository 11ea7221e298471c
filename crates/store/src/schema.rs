//! Schema of the spool, and how its database is opened.

use crate::content::damaged;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Each entry brings the database from the version of its index to the next. Never change one; add one.
const SPOOL: &[&str] = &[FIRST, crate::incident::STEP, PAGES, crate::memory::STEP, SORTED, crate::incident::STEP_GONE];

/// For pages of the queue. New mail is in neither: nothing is written for mail that goes straight through.
const PAGES: &str = "
    CREATE INDEX delivery_attempts ON delivery (attempts DESC, message, n) WHERE attempts > 0;
    CREATE INDEX delivery_held ON delivery (message, n) WHERE state <> 0;
";

/// For pages by size and by expiry. Only content with a place in a segment, and only bounces, pay for it.
const SORTED: &str = "
    CREATE INDEX message_size ON message (size DESC) WHERE segment IS NOT NULL;
    CREATE INDEX delivery_bounce ON delivery (message, n) WHERE sender = '<>';
";

const FIRST: &str = "
    CREATE TABLE message (
        id          INTEGER PRIMARY KEY,  -- Audit ID
        received_ms INTEGER NOT NULL,
        envelope    TEXT NOT NULL,        -- JSON
        size        INTEGER NOT NULL,     -- octets of content
        crc         INTEGER NOT NULL,     -- CRC-32 of content
        segment     INTEGER,              -- NULL: content lies in this row
        offset      INTEGER,              -- of its first octet in the segment
        content     BLOB                  -- last, so that reading the rest does not touch it
    ) STRICT;
    CREATE INDEX message_segment ON message (segment, offset, size) WHERE segment IS NOT NULL;

    CREATE TABLE delivery (
        message     INTEGER NOT NULL,
        n           INTEGER NOT NULL,
        lane        TEXT NOT NULL,
        next_ms     INTEGER NOT NULL,     -- 2^63-1 while held or set aside
        state       INTEGER NOT NULL,     -- 0 queued, 1 held, 2 set aside
        attempts    INTEGER NOT NULL,
        sender      TEXT NOT NULL,
        recipients  TEXT NOT NULL,        -- JSON
        status      TEXT NOT NULL,
        extra       TEXT NOT NULL,        -- JSON
        PRIMARY KEY (message, n)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX delivery_due ON delivery (lane, next_ms);

    CREATE TABLE set_aside (
        message     INTEGER PRIMARY KEY,
        at_ms       INTEGER NOT NULL,
        why         TEXT NOT NULL
    ) STRICT;

    CREATE TABLE outbox (
        seq         INTEGER PRIMARY KEY,  -- one row for each transaction; the newest row always stays
        high        INTEGER NOT NULL,     -- highest Audit ID so far
        events      BLOB NOT NULL         -- JSON objects with commas between
    ) STRICT;
";

#[cfg(test)]
pub(crate) fn spool_steps() -> &'static [&'static str] {
    SPOOL
}

/// Octets of a page of the spool. Measured with examples/load.rs (4 KiB mail, 20 clients, a shared and noisy machine,
/// 3 to 6 runs each): 4096 gave 2,700-6,900 messages/s, 8192 gave 4,700-6,900, 16384 gave 3,300-10,400, with about the
/// same CPU. What decided is the size of 100,000 queued messages: 836 MB with 8192, 562 MB with 16384, where three
/// messages share a page.
const PAGE_SIZE: u32 = 16_384;
/// Pages in the WAL before they are copied to the database: long enough that most mail is delivered, and its pages are
/// used anew, before they would have been copied.
const CHECKPOINT_PAGES: u32 = 2000;
/// Somebody looks into the database with another program: wait, do not fail.
const BUSY: Duration = Duration::from_secs(5);

/// Opens the spool for its one writer, creating or migrating it.
pub(crate) fn open_spool(path: &Path) -> rusqlite::Result<Connection> {
    let mut db = open_writer(path, PAGE_SIZE)?;
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    db.pragma_update(None, "cache_size", -16_384)?;
    migrate(&mut db, SPOOL)?;
    Ok(db)
}

/// WAL and FULL: a COMMIT that returned survives a power cut. Both are read back, because a database may refuse.
pub(crate) fn open_writer(path: &Path, page_size: u32) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(64);
    db.pragma_update(None, "page_size", page_size)?;
    let mode: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    db.pragma_update(None, "synchronous", "FULL")?;
    let synchronous: i64 = db.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    if mode != "wal" || synchronous != 2 {
        return Err(failure(
            ErrorCode::CannotOpen,
            format!("journal mode is {mode}, synchronous is {synchronous}; wal and 2 are needed"),
        ));
    }
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.pragma_update(None, "journal_size_limit", 64 << 20)?;
    Ok(db)
}

/// Runs the steps that the database has not seen. A database of a newer version is refused.
pub(crate) fn migrate(db: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let version: u32 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let version = version as usize;
    if version > steps.len() {
        let what = format!(
            "written by a newer gatepost (format {version}, this one knows {}): install that version again",
            steps.len()
        );
        return Err(failure(ErrorCode::CannotOpen, what));
    }
    let transaction = db.transaction()?;
    for step in &steps[version..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", steps.len() as u32)?;
    transaction.commit()
}

fn failure(code: ErrorCode, what: String) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error { code, extended_code: 0 }, Some(what))
}

/// Connections that only read, kept for the next reader. No mmap: a bad sector would then kill the process (SIGBUS)
/// instead of failing one read.
#[derive(Debug)]
pub(crate) struct Readers {
    path: std::path::PathBuf,
    idle: Mutex<Vec<Connection>>,
}

/// Idle connections kept; more readers at once are served all the same.
const IDLE_MAX: usize = 8;

impl Readers {
    pub(crate) fn new(path: &Path) -> Readers {
        Readers { path: path.to_owned(), idle: Mutex::default() }
    }

    /// Reads. A connection that failed is not used again.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> io::Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let db = idle.map_or_else(|| self.open(), Ok).map_err(io_error)?;
        let value = read(&db).map_err(io_error)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(db);
        }
        Ok(value)
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let db = Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        db.busy_timeout(BUSY)?;
        db.set_prepared_statement_cache_capacity(32);
        db.pragma_update(None, "temp_store", "MEMORY")?;
        db.pragma_update(None, "query_only", true)?;
        Ok(db)
    }
}

/// SQLite's error as the file error it is.
pub(crate) fn io_error(error: rusqlite::Error) -> io::Error {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => io::ErrorKind::StorageFull,
        Some(ErrorCode::ReadOnly) => io::ErrorKind::ReadOnlyFilesystem,
        Some(ErrorCode::ConstraintViolation) => io::ErrorKind::AlreadyExists,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            return damaged(format!("database is damaged: {error}"));
        }
        // What was read is not what was written: a value of another type or range.
        None if is_conversion(&error) => return damaged(format!("row is damaged: {error}")),
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error.to_string())
}

fn is_conversion(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
    )
}

/// Whether this is the storage's failure, which would meet every other change as well, and not that of one row.
pub(crate) fn is_storage(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::InvalidData)
}
