//! Open: from a folder, whatever state a crash left it in, to a running store. No contents are read.

use crate::accounts::Accounts;
use crate::alarms::Alarms;
use crate::change::Lazy;
use crate::disk::Disk;
use crate::event::Event;
use crate::limits::{Budget, Limits, Room};
use crate::queue::Alert;
use crate::records::{self, Shipper, Told};
use crate::schema::{Readers, open_spool};
use crate::segment::{Damaged, Segments, Shelf, Wanted, tidy};
use crate::settings::Settings;
use crate::spool::{Inner, Shared, Store};
use crate::writer::{Request, Writer, now};
use mail::{AuditId, Time};
use rusqlite::{Connection, ErrorCode, params};
use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;

/// Why a store could not be opened: which file, what happened, what to do.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it open.
    Locked {
        path: PathBuf,
    },
    File {
        path: PathBuf,
        doing: &'static str,
        error: io::Error,
    },
    Database {
        path: PathBuf,
        error: rusqlite::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked { path } => {
                write!(
                    f,
                    "{}: another gatepost uses this data folder; stop it first, or give this one a folder of its own",
                    path.display()
                )
            }
            OpenError::File { path, doing, error } => {
                write!(
                    f,
                    "{}: {doing} failed: {error}; check that the folder belongs to the user that runs gatepost, and that its disk works and has room",
                    path.display()
                )
            }
            OpenError::Database { path, error } if is_damaged(error) => {
                write!(
                    f,
                    "{path}: {error}; the database is damaged: keep a copy of the whole folder, then bring back a backup, or save what can be saved with: sqlite3 {path} .recover | sqlite3 new.db",
                    path = path.display()
                )
            }
            OpenError::Database { path, error } => {
                write!(
                    f,
                    "{}: {error}; check that the folder belongs to the user that runs gatepost, and that its disk works and has room",
                    path.display()
                )
            }
        }
    }
}

impl std::error::Error for OpenError {}

fn is_damaged(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Opens or creates the store in `folder`.
pub(crate) fn open(folder: &Path, limits: Limits, disk: Disk) -> Result<Store, OpenError> {
    let contents = folder.join("segments");
    // Mail is nobody else's business.
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&contents)
        .map_err(at(&contents, "creating the folder"))?;
    let lock = lock(folder)?;
    let database = |name: &str| {
        let path = folder.join(name);
        move |error| OpenError::Database { path, error }
    };
    let settings = Settings::open(&folder.join("settings.db")).map_err(database("settings.db"))?;
    let accounts = Accounts::open(&folder.join("accounts.db")).map_err(database("accounts.db"))?;
    let alarms = Alarms::open(&folder.join("alarms.db")).map_err(database("alarms.db"))?;
    let (records, mut alerts) = open_records(folder)?;
    let db = open_spool(&folder.join("spool.db")).map_err(database("spool.db"))?;
    sync_folders(folder).map_err(at(folder, "syncing the folder"))?;

    let seen = survey(&db).map_err(database("spool.db"))?;
    let (damaged, next) = tidy(&contents, &seen.segments).map_err(at(&contents, "looking through the segments"))?;
    let lost = lost(&db, &damaged).map_err(database("spool.db"))?;
    alerts.extend(set_aside(&db).map_err(database("spool.db"))?);

    let (records, shipped, recorded) = records;
    let seq = seen.outbox.max(shipped);
    let high = seen.high.max(recorded);
    let shared = Arc::new(Shared::new(seen.lanes, seen.held, high, alerts));
    shared.signal.start(shipped, seq);
    let shelf = Shelf::new(contents, disk, next);
    let live = seen.segments.iter().map(|(number, wanted)| (*number, wanted.messages)).collect();
    let segments = Segments::new(shelf.clone(), limits.segment, live);
    let spool = folder.join("spool.db");
    let writer = Writer::new(spool.clone(), db, limits.row, shelf.clone(), segments, shared.clone(), seq + 1, high);
    let (requests, inbox) = mpsc::channel();
    let (own, spilled) = mpsc::channel();
    let shipper = Shipper { records, outbox: Readers::new(&spool), shared: shared.clone(), writer: requests.clone() };
    let syncer = Syncer { shelf: shelf.clone(), writer: requests.clone() };
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().name(name.to_owned()).spawn(work).map_err(at(folder, "starting a thread"))
    };
    let threads = [
        spawn("store-shipper", Box::new(move || shipper.run()))?,
        spawn("store-syncer", Box::new(move || syncer.run(&spilled)))?,
        spawn("store-writer", Box::new(move || writer.run(&inbox)))?,
    ];
    let store = Store::new(Inner {
        budget: Budget::new(limits.memory),
        room: Room::new(folder, limits.disk_reserve),
        readers: Readers::new(&spool),
        audit: Readers::new(&folder.join("records.db")),
        folder: folder.to_owned(),
        limits,
        shelf,
        settings,
        accounts,
        alarms,
        shared,
        requests: Some(requests),
        own: Some(own),
        threads: threads.into(),
        _lock: lock,
    });
    for (id, why) in lost {
        store.set_aside(id, &why);
    }
    Ok(store)
}

fn at(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |error| OpenError::File { path, doing, error }
}

pub(crate) fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(at(&path, "creating the lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(at(&path, "locking")(error)),
    }
}

/// Used by [`Store::audit_import`].
pub(crate) fn import(folder: &Path, events: impl IntoIterator<Item = Event>, chunk: usize) -> Result<u64, OpenError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder, "creating the folder"))?;
    let _lock = lock(folder)?;
    let path = folder.join("records.db");
    let failed = |error| OpenError::Database { path: path.clone(), error };
    let (mut db, shipped, _) = records::open(&path).map_err(failed)?;
    let mut events = events.into_iter();
    let mut count = 0;
    loop {
        let some: Vec<Event> = events.by_ref().take(chunk).collect();
        if some.is_empty() {
            return Ok(count);
        }
        count += some.len() as u64;
        let transaction = db.transaction().map_err(failed)?;
        records::add(&transaction, &some.iter().map(Told::of).collect::<Vec<_>>(), shipped).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
}

type Records = (Connection, i64, i64);

/// A damaged trail must not stop mail: it is put beside, and a new one begun.
fn open_records(folder: &Path) -> Result<(Records, Vec<Alert>), OpenError> {
    let path = folder.join("records.db");
    let failed = |error| OpenError::Database { path: path.clone(), error };
    match records::open(&path) {
        Ok(records) => Ok((records, Vec::new())),
        Err(error) if is_damaged(&error) => {
            let beside = format!("records.db.damaged-{}", now().ms());
            fs::rename(&path, folder.join(&beside)).map_err(at(&path, "putting the damaged file aside"))?;
            for rest in ["records.db-wal", "records.db-shm"] {
                // They belong to the damaged file; a new database would refuse them anyway.
                let _ = fs::remove_file(folder.join(rest));
            }
            let what =
                format!("the audit trail was damaged ({error}) and has been begun anew; the old one is {beside}");
            Ok((records::open(&path).map_err(failed)?, vec![Alert { at: now(), message: None, what }]))
        }
        Err(error) => Err(failed(error)),
    }
}

/// The names of all that was created so far, on disk.
fn sync_folders(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()?;
    let parent = folder.canonicalize()?.parent().map(Path::to_owned);
    parent.map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// What the spool holds, from its indexes alone.
struct Seen {
    lanes: HashMap<String, u64>,
    held: i64,
    segments: HashMap<u64, Wanted>,
    outbox: i64,
    high: i64,
}

fn survey(db: &Connection) -> rusqlite::Result<Seen> {
    let mut seen = Seen { lanes: HashMap::new(), held: 0, segments: HashMap::new(), outbox: 0, high: 0 };
    let mut lanes =
        db.prepare("SELECT lane, count(*), sum(next_ms = ?) FROM delivery INDEXED BY delivery_due GROUP BY lane")?;
    let mut rows = lanes.query([Time::NEVER.ms()])?;
    while let Some(row) = rows.next()? {
        seen.lanes.insert(row.get(0)?, row.get::<_, i64>(1)? as u64);
        seen.held += row.get::<_, i64>(2)?;
    }
    let mut segments = db.prepare(
        "SELECT segment, count(*), max(offset + size) FROM message WHERE segment IS NOT NULL GROUP BY segment",
    )?;
    let mut rows = segments.query([])?;
    while let Some(row) = rows.next()? {
        let wanted = Wanted { messages: row.get::<_, i64>(1)? as u64, length: row.get::<_, i64>(2)? as u64 };
        seen.segments.insert(row.get::<_, i64>(0)? as u64, wanted);
    }
    (seen.outbox, seen.high) = db.query_row(
        "SELECT coalesce(max(seq), 0), max(coalesce(max(high), 0), (SELECT coalesce(max(id), 0) FROM message)) FROM outbox",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(seen)
}

/// Messages whose content is not there any more.
fn lost(db: &Connection, damaged: &[Damaged]) -> rusqlite::Result<Vec<(AuditId, String)>> {
    let mut lost = Vec::new();
    let mut find = db.prepare(
        "SELECT id FROM message WHERE segment = ? AND offset + size > ? AND id NOT IN (SELECT message FROM set_aside)",
    )?;
    for file in damaged {
        let mut rows = find.query(params![file.segment as i64, file.length as i64])?;
        while let Some(row) = rows.next()? {
            lost.extend(AuditId::from_i64(row.get(0)?).map(|id| (id, format!("its content is lost: {}", file.what))));
        }
    }
    Ok(lost)
}

/// What was set aside before.
fn set_aside(db: &Connection) -> rusqlite::Result<Vec<Alert>> {
    db.prepare("SELECT message, at_ms, why FROM set_aside ORDER BY at_ms DESC LIMIT 1000")?
        .query_map([], |row| {
            let id = AuditId::from_i64(row.get(0)?);
            Ok(Alert { at: Time(row.get(1)?), message: id, what: row.get(2)? })
        })?
        .collect()
}

/// The thread that syncs own segments, so that one large message does not hold up many small ones.
struct Syncer {
    shelf: Arc<Shelf>,
    writer: mpsc::Sender<Request>,
}

impl Syncer {
    fn run(self, spilled: &mpsc::Receiver<crate::spool::Spilled>) {
        while let Ok((prepared, reply)) = spilled.recv() {
            let synced = prepared.sync_own().and_then(|()| self.shelf.disk.sync_folder(&self.shelf.folder));
            match synced {
                // If the writer is gone, so is the reply's other end.
                Ok(()) => drop(self.writer.send(Request::Commit(prepared, reply))),
                Err(error) => {
                    drop(prepared);
                    let _ = reply.send(Err(crate::Refused::Failed(error)));
                }
            }
        }
    }
}

/// Used by [`Store::set_aside`].
pub(crate) fn aside(id: AuditId, why: &str) -> Lazy {
    Lazy::SetAside { id, at: now(), why: why.to_owned() }
}
