//! Memory: what a policy wants to remember of strangers until a time, such as greylisting. Small rows, read once at the start,
//! written beside other changes; losing the last ones costs a stranger another wait and nobody any mail.

use mail::Time;
use rusqlite::{Connection, Result, params};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    pub key: String,
    /// After this it may go.
    pub expires: Time,
    /// For whoever wrote it.
    pub value: String,
}

pub(crate) const STEP: &str = "
    CREATE TABLE memory (
        key         TEXT PRIMARY KEY,
        expires_ms  INTEGER NOT NULL,
        value       TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX memory_expires ON memory (expires_ms);
";

/// Rows that go in one change.
const FORGET_MAX: i64 = 10_000;

pub(crate) fn put(db: &Connection, rows: &[Remembered]) -> Result<()> {
    let mut insert = db.prepare_cached("INSERT OR REPLACE INTO memory (key, expires_ms, value) VALUES (?,?,?)")?;
    rows.iter().try_for_each(|row| insert.execute(params![row.key, row.expires.ms(), row.value]).map(drop))
}

/// Takes away what has expired, and what is over the limit: that which would go next.
pub(crate) fn forget(db: &Connection, at: Time, keep: usize) -> Result<()> {
    let count: i64 = db.prepare_cached("SELECT count(*) FROM memory")?.query_row([], |row| row.get(0))?;
    let over = (count - keep as i64).max(0);
    db.prepare_cached(
        "DELETE FROM memory WHERE key IN (SELECT key FROM memory WHERE expires_ms < ?1 ORDER BY expires_ms LIMIT ?2)
         OR key IN (SELECT key FROM memory ORDER BY expires_ms LIMIT min(?2, ?3))",
    )?
    .execute(params![at.ms(), FORGET_MAX, over])
    .map(drop)
}

/// What has not expired, at most `limit`, those first that last longest.
pub(crate) fn all(db: &Connection, at: Time, limit: usize) -> Result<Vec<Remembered>> {
    db.prepare_cached(
        "SELECT key, expires_ms, value FROM memory WHERE expires_ms >= ? ORDER BY expires_ms DESC LIMIT ?",
    )?
    .query_map(params![at.ms(), limit as i64], |row| {
        Ok(Remembered { key: row.get(0)?, expires: Time(row.get(1)?), value: row.get(2)? })
    })?
    .collect()
}
