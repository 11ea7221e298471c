//! Scanners: other gateways whose state this Control Center shows and whose settings it changes. They lie in the accounts'
//! database; the token of each stands in a column of its own, which a backup leaves empty.

use crate::accounts::{Accounts, json, text};
use mail::Time;
use rusqlite::params;
use serde::{Deserialize, Serialize};
use std::io;

/// A third step of the accounts' database would follow this one.
pub(crate) const STEP: &str = "
    CREATE TABLE scanner (
        name    TEXT PRIMARY KEY,
        fields  TEXT NOT NULL,            -- JSON
        token   TEXT NOT NULL             -- opens that Scanner's API
    ) STRICT, WITHOUT ROWID;
";

/// One Control Center asks them all, every few seconds.
const SCANNERS_MAX: i64 = 100;

/// Another Scanner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scanner {
    pub name: String,
    /// Of its Control Center: `https://mx2.example.test:8025`.
    pub url: String,
    /// SHA-256 of the certificate that it must show, in hex. None: an authority that this machine knows vouches for it.
    pub pin: Option<String>,
    /// Who enrolled it.
    pub by: String,
    pub enrolled: Time,
    /// Empty: lost with a backup, to be given anew.
    #[serde(skip)]
    pub token: String,
}

impl Accounts {
    /// All, by name.
    pub fn scanners(&self) -> io::Result<Vec<Scanner>> {
        self.with(|db| {
            db.prepare_cached("SELECT fields, token FROM scanner ORDER BY name")?
                .query_map([], |row| Ok(Scanner { token: row.get(1)?, ..json(row)? }))?
                .collect()
        })
    }

    /// Adds one, or takes the place of the one of its name.
    pub fn scanner_put(&self, scanner: &Scanner) -> io::Result<()> {
        self.with(|db| {
            let others: i64 =
                db.query_row("SELECT count(*) FROM scanner WHERE name <> ?", [&scanner.name], |row| row.get(0))?;
            if others >= SCANNERS_MAX {
                return Ok(Err(io::Error::other(format!("there are {SCANNERS_MAX} Scanners already"))));
            }
            let row = params![scanner.name, text(scanner), scanner.token];
            db.execute("INSERT OR REPLACE INTO scanner (name, fields, token) VALUES (?,?,?)", row).map(|_| Ok(()))
        })?
    }

    /// Whether there was one of this name.
    pub fn scanner_remove(&self, name: &str) -> io::Result<bool> {
        self.with(|db| db.execute("DELETE FROM scanner WHERE name = ?", [name])).map(|count| count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scanner_is_kept_with_its_token_replaced_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts.db");
        let one = Scanner {
            name: "mx2".to_owned(),
            url: "https://mx2.test".to_owned(),
            token: "gp_1".to_owned(),
            ..Scanner::default()
        };
        Accounts::open(&path).unwrap().scanner_put(&one).unwrap();
        let accounts = Accounts::open(&path).unwrap();
        assert_eq!(accounts.scanners().unwrap(), std::slice::from_ref(&one));
        let other = Scanner { token: "gp_2".to_owned(), ..one };
        accounts.scanner_put(&other).unwrap();
        assert_eq!(accounts.scanners().unwrap(), [other]);
        assert!(accounts.scanner_remove("mx2").unwrap() && !accounts.scanner_remove("mx2").unwrap());
    }
}
