//! Accounts: administrators, their sessions and API tokens, and what they did. A database of its own, so that a copy of
//! mail or settings holds no secrets. Only hashes of sessions and tokens are kept.

use crate::schema::{io_error, migrate, open_writer};
use mail::Time;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

pub(crate) const STEPS: &[&str] = &[
    "
    CREATE TABLE administrator (
        name    TEXT PRIMARY KEY,
        fields  TEXT NOT NULL             -- JSON
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE session (
        hash    TEXT PRIMARY KEY,         -- SHA-256 of what the browser holds
        name    TEXT NOT NULL,            -- the administrator
        fields  TEXT NOT NULL,            -- JSON
        created_ms INTEGER NOT NULL,
        seen_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_name ON session (name, seen_ms);

    CREATE TABLE token (
        hash    TEXT PRIMARY KEY,         -- SHA-256 of the token
        name    TEXT NOT NULL UNIQUE,
        fields  TEXT NOT NULL             -- JSON
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE act (
        seq     INTEGER PRIMARY KEY,
        at_ms   INTEGER NOT NULL,
        who     TEXT NOT NULL,
        place   TEXT NOT NULL,            -- from where
        what    TEXT NOT NULL,
        fields  TEXT NOT NULL             -- JSON
    ) STRICT;
",
    "
    CREATE TABLE failure (
        whose   TEXT PRIMARY KEY,         -- a name or an address, as the gateway writes it
        count   INTEGER NOT NULL,
        last_ms INTEGER NOT NULL,
        until_ms INTEGER NOT NULL         -- nothing is tried before
    ) STRICT, WITHOUT ROWID;
",
    crate::scanners::STEP,
];

/// Nobody has so many administrators; a mistake in a script may make them.
const ADMINISTRATORS_MAX: usize = 1000;
const TOKENS_MAX: i64 = 1000;
/// Of one administrator; a new one ends the one unused longest.
const SESSIONS_MAX: i64 = 50;
/// The oldest go. At 50 a day, more than five years.
const ACTS_MAX: i64 = 100_000;
/// A token's or session's last use is written no more often than this.
const SEEN_EVERY_MS: i64 = 60_000;

/// Somebody who may sign in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Administrator {
    pub name: String,
    pub role: String,
    /// Argon2id, in PHC form.
    pub password: String,
    /// The TOTP secret (RFC 6238), when a second factor is asked for.
    pub totp: Option<Vec<u8>>,
    /// The time step of the last code taken: none is taken twice.
    pub totp_step: u64,
    /// SHA-256 of the recovery codes not used yet.
    pub recovery: Vec<String>,
    pub disabled: bool,
    pub created: Time,
    pub signed_in: Option<Time>,
}

/// A browser that is signed in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    pub hash: String,
    /// The administrator's.
    pub name: String,
    pub created: Time,
    /// To the minute.
    pub seen: Time,
    pub address: String,
    pub agent: String,
}

/// A key for programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Token {
    pub hash: String,
    pub name: String,
    pub role: String,
    /// Who made it.
    pub by: String,
    /// Made on the command line, which needs the data folder: it stands on nobody's rights.
    pub apart: bool,
    pub created: Time,
    /// To the minute.
    pub used: Option<Time>,
    pub expires: Option<Time>,
}

/// Sign-ins that failed, of one name or from one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failures {
    pub whose: String,
    pub count: u32,
    pub last: Time,
    pub until: Time,
}

/// Something that an administrator did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    pub at: Time,
    pub who: String,
    /// Address, or "command line".
    pub place: String,
    pub what: String,
    pub fields: Value,
}

#[derive(Debug)]
pub struct Accounts {
    db: Mutex<Connection>,
}

impl Accounts {
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Accounts> {
        let mut db = open_writer(path, 4096)?;
        migrate(&mut db, STEPS)?;
        Ok(Accounts { db: Mutex::new(db) })
    }

    /// All, by name.
    pub fn administrators(&self) -> io::Result<Vec<Administrator>> {
        self.with(administrators)
    }

    pub fn administrator(&self, name: &str) -> io::Result<Option<Administrator>> {
        self.with(|db| {
            db.prepare_cached("SELECT fields FROM administrator WHERE name = ?")?.query_row([name], json).optional()
        })
    }

    /// Changes the list of administrators as a whole, or not at all if `change` refuses. Who is gone from the list, is
    /// disabled or has another password or role than before has no session any more.
    pub fn change<T, E: From<io::Error>>(
        &self,
        change: impl FnOnce(&mut Vec<Administrator>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let before = administrators(&db).map_err(io_error)?;
        let mut after = before.clone();
        let answer = change(&mut after)?;
        if after.len() > ADMINISTRATORS_MAX {
            return Err(full(&format!("there are {ADMINISTRATORS_MAX} administrators already")).into());
        }
        let mut change = || {
            let transaction = db.transaction()?;
            write(&transaction, &before, &after)?;
            transaction.commit()
        };
        change().map_err(io_error)?;
        Ok(answer)
    }

    /// Puts these administrators and tokens in place of those that there are, all or none. Sessions end as in [`Accounts::change`].
    pub fn replace(&self, administrators: &[Administrator], tokens: &[Token]) -> io::Result<()> {
        let mut db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let mut replace = || {
            let before = self::administrators(&db)?;
            let transaction = db.transaction()?;
            write(&transaction, &before, administrators)?;
            transaction.execute("DELETE FROM token", [])?;
            for token in tokens {
                let row = params![token.hash, token.name, text(token)];
                transaction.execute("INSERT INTO token (hash, name, fields) VALUES (?,?,?)", row)?;
            }
            transaction.commit()
        };
        replace().map_err(io_error)
    }

    /// Adds a session.
    pub fn session_put(&self, session: &Session) -> io::Result<()> {
        self.with(|db| {
            db.execute(
                "INSERT INTO session (hash, name, fields, created_ms, seen_ms) VALUES (?,?,?,?,?)",
                params![session.hash, session.name, text(session), session.created.ms(), session.seen.ms()],
            )?;
            db.execute(
                "DELETE FROM session WHERE name = ?1 AND hash NOT IN
                    (SELECT hash FROM session WHERE name = ?1 ORDER BY seen_ms DESC LIMIT ?2)",
                params![session.name, SESSIONS_MAX],
            )
            .map(drop)
        })
    }

    /// The session and its administrator, if it began after `begun` and was seen after `seen`.
    pub fn session(&self, hash: &str, begun: Time, seen: Time) -> io::Result<Option<(Session, Administrator)>> {
        self.with(|db| {
            let found: Option<Session> = db
                .prepare_cached(
                    "SELECT fields, seen_ms FROM session WHERE hash = ? AND created_ms > ? AND seen_ms > ?",
                )?
                .query_row(params![hash, begun.ms(), seen.ms()], session)
                .optional()?;
            let Some(found) = found else { return Ok(None) };
            let owner: Option<Administrator> = db
                .prepare_cached("SELECT fields FROM administrator WHERE name = ?")?
                .query_row([&found.name], json)
                .optional()?;
            Ok(owner.filter(|owner| !owner.disabled).map(|owner| (found, owner)))
        })
    }

    /// Notes that a session is in use, to the minute.
    pub fn session_seen(&self, session: &Session, now: Time) -> io::Result<()> {
        if now.ms() - session.seen.ms() < SEEN_EVERY_MS {
            return Ok(());
        }
        let row = params![now.ms(), session.hash];
        self.with(|db| db.execute("UPDATE session SET seen_ms = ? WHERE hash = ?", row).map(drop))
    }

    /// Those of one administrator, or all; last seen first.
    pub fn sessions(&self, name: Option<&str>) -> io::Result<Vec<Session>> {
        self.with(|db| {
            db.prepare_cached(
                "SELECT fields, seen_ms FROM session WHERE ?1 IS NULL OR name = ?1 ORDER BY seen_ms DESC",
            )?
            .query_map([name], session)?
            .collect()
        })
    }

    /// Ends one session of an administrator; whether there was one.
    pub fn session_end(&self, name: &str, hash: &str) -> io::Result<bool> {
        self.with(|db| db.execute("DELETE FROM session WHERE name = ? AND hash = ?", [name, hash])).map(|n| n > 0)
    }

    /// Ends all of an administrator's but one; how many.
    pub fn sessions_end(&self, name: &str, but: &str) -> io::Result<usize> {
        self.with(|db| db.execute("DELETE FROM session WHERE name = ? AND hash <> ?", [name, but]))
    }

    /// Removes sessions begun before `begun` or not seen since `seen`.
    pub fn sessions_forget(&self, begun: Time, seen: Time) -> io::Result<usize> {
        self.with(|db| {
            db.execute("DELETE FROM session WHERE created_ms <= ? OR seen_ms <= ?", params![begun.ms(), seen.ms()])
        })
    }

    /// Adds a token; its name must be new.
    pub fn token_put(&self, token: &Token) -> io::Result<()> {
        self.with(|db| {
            let count: i64 = db.query_row("SELECT count(*) FROM token", [], |row| row.get(0))?;
            if count >= TOKENS_MAX {
                return Ok(Err(full(&format!("there are {TOKENS_MAX} tokens already"))));
            }
            let row = params![token.hash, token.name, text(token)];
            db.execute("INSERT INTO token (hash, name, fields) VALUES (?,?,?)", row).map(|_| Ok(()))
        })?
    }

    /// A token that has not expired, and who made it, as they are now.
    pub fn token(&self, hash: &str, now: Time) -> io::Result<Option<(Token, Option<Administrator>)>> {
        self.with(|db| {
            let found: Option<Token> =
                db.prepare_cached("SELECT fields FROM token WHERE hash = ?")?.query_row([hash], json).optional()?;
            let Some(token) = found.filter(|token| token.expires.is_none_or(|end| end > now)) else { return Ok(None) };
            let maker = db
                .prepare_cached("SELECT fields FROM administrator WHERE name = ?")?
                .query_row([&token.by], json)
                .optional()?;
            Ok(Some((token, maker)))
        })
    }

    /// Notes that a token is in use, to the minute.
    pub fn token_used(&self, token: &Token, now: Time) -> io::Result<()> {
        if token.used.is_some_and(|used| now.ms() - used.ms() < SEEN_EVERY_MS) {
            return Ok(());
        }
        let used = Token { used: Some(now), ..token.clone() };
        self.with(|db| db.execute("UPDATE token SET fields = ? WHERE hash = ?", [text(&used), used.hash]).map(drop))
    }

    /// All, by name.
    pub fn tokens(&self) -> io::Result<Vec<Token>> {
        self.with(|db| db.prepare_cached("SELECT fields FROM token ORDER BY name")?.query_map([], json)?.collect())
    }

    /// Whether there was one of this name.
    pub fn token_remove(&self, name: &str) -> io::Result<bool> {
        self.with(|db| db.execute("DELETE FROM token WHERE name = ?", [name])).map(|count| count > 0)
    }

    /// Keeps how often sign-ins failed, so that a restart is no way around waiting; forgets those of `gone`.
    pub fn failures_put(&self, failures: &[Failures], gone: &[String]) -> io::Result<()> {
        self.with(|db| {
            let transaction = db.unchecked_transaction()?;
            for whose in gone {
                transaction.execute("DELETE FROM failure WHERE whose = ?", [whose])?;
            }
            for Failures { whose, count, last, until } in failures {
                transaction.execute(
                    "INSERT OR REPLACE INTO failure (whose, count, last_ms, until_ms) VALUES (?,?,?,?)",
                    params![whose, count, last.ms(), until.ms()],
                )?;
            }
            transaction.commit()
        })
    }

    /// Removes those last counted before `old`, and gives the rest.
    pub fn failures(&self, old: Time) -> io::Result<Vec<Failures>> {
        self.with(|db| {
            db.execute("DELETE FROM failure WHERE last_ms < ?", [old.ms()])?;
            db.prepare_cached("SELECT whose, count, last_ms, until_ms FROM failure")?
                .query_map([], |row| {
                    let (last, until) = (Time(row.get(2)?), Time(row.get(3)?));
                    Ok(Failures { whose: row.get(0)?, count: row.get(1)?, last, until })
                })?
                .collect()
        })
    }

    /// Writes down what somebody did; durable on return.
    pub fn act(&self, act: &Act) -> io::Result<()> {
        self.with(|db| {
            db.prepare_cached("INSERT INTO act (at_ms, who, place, what, fields) VALUES (?,?,?,?,?)")?
                .execute(params![act.at.ms(), act.who, act.place, act.what, act.fields.to_string()])?;
            db.execute("DELETE FROM act WHERE seq <= ?", [db.last_insert_rowid() - ACTS_MAX]).map(drop)
        })
    }

    /// Newest first; `term` is looked for in all of it, case aside.
    pub fn acts(&self, term: &str, limit: usize) -> io::Result<Vec<Act>> {
        let like = format!("%{}%", term.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
        self.with(|db| {
            db.prepare_cached(
                "SELECT at_ms, who, place, what, fields FROM act
                 WHERE who || ' ' || place || ' ' || what || ' ' || fields LIKE ? ESCAPE '\\' ORDER BY seq DESC LIMIT ?",
            )?
            .query_map(params![like, limit as i64], |row| {
                let fields: String = row.get(4)?;
                Ok(Act {
                    at: Time(row.get(0)?),
                    who: row.get(1)?,
                    place: row.get(2)?,
                    what: row.get(3)?,
                    fields: serde_json::from_str(&fields).unwrap_or(Value::Null),
                })
            })?
            .collect()
        })
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> io::Result<T> {
        work(&self.db.lock().unwrap_or_else(PoisonError::into_inner)).map_err(io_error)
    }
}

/// As many as there may be.
fn full(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, what)
}

fn administrators(db: &Connection) -> rusqlite::Result<Vec<Administrator>> {
    db.prepare_cached("SELECT fields FROM administrator ORDER BY name")?.query_map([], json)?.collect()
}

fn write(transaction: &Connection, before: &[Administrator], after: &[Administrator]) -> rusqlite::Result<()> {
    for old in before {
        let new = after.iter().find(|new| new.name == old.name);
        if new.is_none() {
            transaction.execute("DELETE FROM administrator WHERE name = ?", [&old.name])?;
        }
        if !new.is_some_and(|new| new.password == old.password && new.role == old.role && !new.disabled) {
            transaction.execute("DELETE FROM session WHERE name = ?", [&old.name])?;
        }
    }
    for new in after.iter().filter(|new| !before.contains(new)) {
        transaction
            .execute("INSERT OR REPLACE INTO administrator (name, fields) VALUES (?,?)", [&new.name, &text(new)])?;
    }
    Ok(())
}

pub(crate) fn text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("text, numbers and lists are JSON")
}

pub(crate) fn json<T: for<'a> Deserialize<'a>>(row: &Row<'_>) -> rusqlite::Result<T> {
    let text: String = row.get(0)?;
    let wrong = |error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error));
    serde_json::from_str(&text).map_err(wrong)
}

fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    let session: Session = json(row)?;
    Ok(Session { seen: Time(row.get(1)?), ..session })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (tempfile::TempDir, Accounts) {
        let folder = tempfile::tempdir().unwrap();
        let accounts = Accounts::open(&folder.path().join("accounts.db")).unwrap();
        (folder, accounts)
    }

    fn person(name: &str) -> Administrator {
        Administrator { name: name.to_owned(), role: "full".to_owned(), ..Administrator::default() }
    }

    fn add(accounts: &Accounts, person: Administrator) {
        edit(accounts, |all| all.push(person));
    }

    fn edit(accounts: &Accounts, change: impl FnOnce(&mut Vec<Administrator>)) {
        accounts
            .change(|all| -> io::Result<()> {
                change(all);
                Ok(())
            })
            .unwrap();
    }

    fn session_of(name: &str, hash: &str, at: i64) -> Session {
        Session {
            hash: hash.to_owned(),
            name: name.to_owned(),
            created: Time(at),
            seen: Time(at),
            ..Session::default()
        }
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let (_folder, accounts) = open();
        add(&accounts, person("ann"));
        let refused = accounts.change(|all| -> io::Result<()> {
            all.clear();
            Err(io::Error::other("the last one"))
        });
        assert!(refused.is_err());
        assert_eq!(accounts.administrators().unwrap(), [person("ann")]);
    }

    #[test]
    fn a_session_ends_by_age_by_idleness_and_with_what_it_stands_on() {
        let (_folder, accounts) = open();
        add(&accounts, person("ann"));
        let found = |begun, seen, now| {
            let (session, _) = accounts.session("s", Time(begun), Time(seen)).unwrap()?;
            accounts.session_seen(&session, Time(now)).unwrap();
            Some(session.seen.ms())
        };
        accounts.session_put(&session_of("ann", "s", 1000)).unwrap();
        assert_eq!(found(999, 999, 1000), Some(1000));
        assert_eq!(found(1000, 999, 1000), None);
        assert_eq!(found(999, 1000, 1000), None);
        assert_eq!(found(999, 999, 100_000), Some(1000));
        assert_eq!(found(999, 50_000, 100_000), Some(100_000), "it was seen just now");
        for change in [
            (|person: &mut Administrator| person.password = "new".to_owned()) as fn(&mut Administrator),
            |person| person.role = "operator".to_owned(),
            |person| person.disabled = true,
        ] {
            edit(&accounts, |all| change(&mut all[0]));
            assert_eq!(found(999, 999, 1000), None);
            edit(&accounts, |all| all[0].disabled = false);
            accounts.session_put(&session_of("ann", "s", 1000)).unwrap();
        }
    }

    #[test]
    fn a_sign_in_elsewhere_ends_no_session() {
        let (_folder, accounts) = open();
        add(&accounts, person("ann"));
        accounts.session_put(&session_of("ann", "s", 1000)).unwrap();
        edit(&accounts, |all| all[0].signed_in = Some(Time(7)));
        assert_eq!(accounts.sessions(Some("ann")).unwrap().len(), 1);
    }

    #[test]
    fn what_is_put_in_place_ends_the_sessions_of_those_who_changed() {
        let (_folder, accounts) = open();
        let token = |name: &str| Token { hash: name.to_owned(), name: name.to_owned(), ..Token::default() };
        for name in ["ann", "bob", "cid"] {
            add(&accounts, person(name));
            accounts.session_put(&session_of(name, name, 1000)).unwrap();
        }
        accounts.token_put(&token("old")).unwrap();
        let bob = Administrator { password: "another".to_owned(), ..person("bob") };
        accounts.replace(&[person("ann"), bob, person("dan")], &[token("new")]).unwrap();
        let names: Vec<_> = accounts.administrators().unwrap().into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["ann", "bob", "dan"]);
        assert_eq!(accounts.sessions(None).unwrap().into_iter().map(|one| one.name).collect::<Vec<_>>(), ["ann"]);
        assert_eq!(accounts.tokens().unwrap(), [token("new")]);
    }

    #[test]
    fn sessions_of_one_administrator_are_bounded() {
        let (_folder, accounts) = open();
        for n in 0..60 {
            accounts.session_put(&session_of("ann", &format!("s{n}"), n)).unwrap();
        }
        let left = accounts.sessions(None).unwrap();
        assert_eq!((left.len(), left[0].hash.as_str(), left[49].hash.as_str()), (50, "s59", "s10"));
    }

    #[test]
    fn a_token_expires_and_its_name_is_its_own() {
        let (_folder, accounts) = open();
        let token =
            Token { hash: "h".to_owned(), name: "backup".to_owned(), expires: Some(Time(500)), ..Token::default() };
        accounts.token_put(&token).unwrap();
        assert_eq!(
            accounts.token_put(&Token { hash: "i".to_owned(), ..token }).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        let (token, maker) = accounts.token("h", Time(499)).unwrap().unwrap();
        assert_eq!(maker, None);
        accounts.token_used(&token, Time(499)).unwrap();
        assert!(accounts.token("h", Time(500)).unwrap().is_none());
        assert_eq!(accounts.tokens().unwrap()[0].used, Some(Time(499)));
        assert!(accounts.token_remove("backup").unwrap() && !accounts.token_remove("backup").unwrap());
    }

    #[test]
    fn failures_are_kept_until_they_are_old() {
        let (folder, accounts) = open();
        let of = |whose: &str, count, last| Failures {
            whose: whose.to_owned(),
            count,
            last: Time(last),
            until: Time(last + 60),
        };
        let all = [of("name ann", 4, 10), of("name ann", 5, 20), of("address ::1", 1, 5), of("name bob", 1, 30)];
        accounts.failures_put(&all, &[]).unwrap();
        accounts.failures_put(&[], &["name bob".to_owned()]).unwrap();
        drop(accounts);
        let accounts = Accounts::open(&folder.path().join("accounts.db")).unwrap();
        assert_eq!(accounts.failures(Time(6)).unwrap(), [of("name ann", 5, 20)]);
    }

    #[test]
    fn acts_are_found_by_any_of_their_words() {
        let (_folder, accounts) = open();
        for (n, what) in ["signed in", "delete 100% of mail"].into_iter().enumerate() {
            let fields = serde_json::json!({ "count": 3 });
            let act =
                Act { at: Time(n as i64), who: "ann".into(), place: "192.0.2.7".into(), what: what.into(), fields };
            accounts.act(&act).unwrap();
        }
        let found = |term| accounts.acts(term, 10).unwrap().into_iter().map(|act| act.what).collect::<Vec<_>>();
        assert_eq!(found(""), ["delete 100% of mail", "signed in"]);
        assert_eq!(found("0% of"), ["delete 100% of mail"]);
        assert_eq!(found("SIGNED"), ["signed in"]);
        assert!(found("_").is_empty());
    }
}
