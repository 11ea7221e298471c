//! Spool: the store as everybody else sees it.

use crate::accounts::Accounts;
use crate::alarms::Alarms;
use crate::change::Lazy;
use crate::content::{Content, Loaded, Part, damaged};
use crate::disk::Disk;
use crate::draft::{Draft, Prepared};
use crate::event::Event;
use crate::incident::{self, Incident, IncidentCursor, IncidentHead};
use crate::limits::{Budget, Limits, Room};
use crate::memory::{self, Remembered};
use crate::open::{OpenError, aside, import, open};
use crate::order::{self, Order, Selection};
use crate::page::{self, Page, PageOf};
use crate::queue::{Alert, Delivery, LaneDue, QueueEntry, Settle, Stored, Usage};
use crate::records::{self, AuditCursor, AuditEntry, AuditFilter, AuditPage, CauseCount, Signal, Stat, Step};
use crate::refused::{Refused, closed};
use crate::schema::{Readers, io_error};
use crate::segment::{Place, Shelf};
use crate::settings::{Settings, Version};
use crate::writer::{CommitReply, Request, now};
use mail::{AuditId, Time};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::oneshot;

/// The store. Clones are the same store; the last one (and the last draft) closes it and waits for its threads.
/// What is not `async` reads from the disk and may block for a moment.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

/// A draft on its way to the syncer.
pub(crate) type Spilled = (Box<Prepared>, CommitReply);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) folder: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) budget: Arc<Budget>,
    pub(crate) room: Room,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) readers: Readers,
    pub(crate) audit: Readers,
    pub(crate) settings: Settings,
    pub(crate) accounts: Accounts,
    pub(crate) alarms: Alarms,
    pub(crate) shared: Arc<Shared>,
    /// `None` only while closing.
    pub(crate) requests: Option<Sender<Request>>,
    pub(crate) own: Option<Sender<Spilled>>,
    /// Shipper, syncer, writer: in the order in which they must end.
    pub(crate) threads: Vec<JoinHandle<()>>,
    pub(crate) _lock: File,
}

/// Counts and alerts that the threads keep and everybody reads.
#[derive(Debug)]
pub(crate) struct Shared {
    lanes: Mutex<HashMap<String, u64>>,
    held: AtomicI64,
    high: AtomicI64,
    alerts: Mutex<VecDeque<Alert>>,
    pub(crate) signal: Signal,
}

/// Alerts kept in memory; the set-aside list itself is on disk.
const ALERTS_MAX: usize = 1000;
/// How long a reader of the trail waits for what was just committed.
const CATCH_UP: Duration = Duration::from_secs(2);
/// The same for a page, which says how old its data is.
const CATCH_UP_PAGE: Duration = Duration::from_millis(20);
/// Entries read at a time for an export.
const EXPORT_PAGE: usize = 1000;

impl Store {
    /// Opens the store in `folder`, creating or migrating it. Contents are not read: a long queue opens quickly.
    /// What a crash left unfinished is removed, what is damaged is set aside and told by [`Store::alerts`].
    pub fn open(folder: &Path, limits: Limits) -> Result<Store, OpenError> {
        Store::open_on(folder, limits, Disk::Real)
    }

    /// The same on a disk that may fail on order, for tests.
    pub fn open_on(folder: &Path, limits: Limits, disk: Disk) -> Result<Store, OpenError> {
        open(folder, limits, disk)
    }

    pub(crate) fn new(inner: Inner) -> Store {
        Store { inner: Arc::new(inner) }
    }

    /// Begins a message.
    pub fn draft(&self, id: AuditId) -> Draft {
        Draft::new(id, self.inner.clone())
    }

    /// The data folder.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Whether there is disk space for new mail. Cheap: the answer is at most some hundred ms old.
    pub fn room(&self) -> Result<(), Refused> {
        self.inner.room.check()
    }

    /// Keeps so many octets of the disk free from now on.
    pub fn keep_free(&self, reserve: u64) {
        self.inner.room.keep(reserve);
    }

    /// The highest Audit ID that the store has seen: new ones must be higher.
    pub fn last_audit_id(&self) -> Option<AuditId> {
        AuditId::from_i64(self.inner.shared.high.load(Ordering::Relaxed)).filter(|id| id.to_i64() > 0)
    }

    /// How full the store is.
    pub fn usage(&self) -> Usage {
        let inner = &self.inner;
        Usage {
            queued: inner.shared.lanes().values().sum(),
            held: u64::try_from(inner.shared.held.load(Ordering::Relaxed)).unwrap_or(0),
            disk_free: inner.room.free().unwrap_or(0),
            disk_reserve: inner.room.reserve(),
            memory: inner.budget.used(),
            memory_max: inner.budget.max(),
        }
    }

    /// What an administrator must look at, newest first: messages set aside (those of earlier runs, too), failures.
    pub fn alerts(&self) -> Vec<Alert> {
        self.inner.shared.alerts().iter().cloned().collect()
    }

    /// Every lane with its first due time: a loose index scan, one step for each lane, not for each delivery.
    pub fn lanes(&self) -> io::Result<Vec<LaneDue>> {
        let dues: Vec<(String, i64)> = self.inner.readers.read(|db| {
            db.prepare_cached(
                "WITH RECURSIVE lanes (lane) AS (
                    SELECT (SELECT lane FROM delivery ORDER BY lane LIMIT 1)
                    UNION ALL
                    SELECT (SELECT lane FROM delivery WHERE lane > lanes.lane ORDER BY lane LIMIT 1) FROM lanes WHERE lanes.lane IS NOT NULL
                 )
                 SELECT lane, (SELECT next_ms FROM delivery WHERE delivery.lane = lanes.lane ORDER BY next_ms LIMIT 1)
                 FROM lanes WHERE lane IS NOT NULL",
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        })?;
        let counts = self.inner.shared.lanes();
        let lane = |(lane, due): (String, i64)| {
            // At least the one that was seen: the count may be of a moment later.
            let count = counts.get(&lane).copied().unwrap_or(1);
            LaneDue { lane, due: Time(due), count }
        };
        Ok(dues.into_iter().map(lane).collect())
    }

    /// Deliveries of a lane that are due at `now`, those due longest first, at most `limit`, without those in `except`
    /// (which are being delivered). A damaged one is set aside and left out.
    pub fn due(
        &self,
        lane: &str,
        now: Time,
        limit: usize,
        except: &HashSet<(AuditId, u32)>,
    ) -> io::Result<Vec<Delivery>> {
        let mut found = Vec::new();
        let mut bad = Vec::new();
        let mut failed = None;
        self.inner.readers.read(|db| {
            let mut keys =
                db.prepare_cached("SELECT message, n FROM delivery WHERE lane = ? AND next_ms <= ? ORDER BY next_ms")?;
            let mut rows = keys.query(params![lane, now.ms()])?;
            while found.len() < limit
                && let Some(row) = rows.next()?
            {
                let Some(id) = AuditId::from_i64(row.get(0)?) else { continue };
                let n: u32 = row.get(1)?;
                if except.contains(&(id, n)) {
                    continue;
                }
                match delivery(db, id, n) {
                    Ok(Some(delivery)) => found.push(delivery),
                    Ok(None) => {}
                    // serde_json calls a text that is cut short an unexpected end.
                    Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) => {
                        bad.push((id, error));
                    }
                    // A busy or failing disk says nothing about this row: the whole load comes again.
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            Ok(())
        })?;
        for (id, error) in bad {
            self.set_aside(id, &format!("its row cannot be read: {error}"));
        }
        if let Some(error) = failed.filter(|_| found.is_empty()) {
            return Err(error);
        }
        Ok(found)
    }

    /// One delivery. `None`: it is gone.
    pub fn delivery(&self, id: AuditId, n: u32) -> io::Result<Option<Delivery>> {
        self.inner.readers.read(|db| Ok(delivery(db, id, n)))?
    }

    /// A message's content. If it is damaged or missing, the message is set aside and this is an error
    /// (`InvalidData` or `NotFound`); `NotFound` without an alert is a message that is gone.
    pub fn content(&self, message: &Stored) -> io::Result<Content> {
        match message.place {
            Some(place) => self.content_of_segment(message, place),
            None => self.content_of_row(message),
        }
    }

    fn content_of_segment(&self, message: &Stored, place: Place) -> io::Result<Content> {
        let path = self.inner.shelf.path(place.segment);
        let missing = |what: String| {
            self.set_aside(message.id, &what);
            io::Error::new(io::ErrorKind::NotFound, what)
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) if !self.exists(message.id)? => return Err(gone(message.id)),
            Err(_) => return Err(missing(format!("its content is lost: {} is missing", path.display()))),
        };
        let length = file.metadata()?.len();
        if length < place.offset + message.size {
            return Err(missing(format!("its content is lost: {} is only {length} octets long", path.display())));
        }
        Ok(Content::File(Part::new(file, place.offset, message.size, message.crc)))
    }

    fn content_of_row(&self, message: &Stored) -> io::Result<Content> {
        let octets: Option<Option<Vec<u8>>> = self.inner.readers.read(|db| {
            db.prepare_cached("SELECT content FROM message WHERE id = ?")?
                .query_row([message.id.to_i64()], |row| row.get(0))
                .optional()
        })?;
        let octets = octets.ok_or_else(|| gone(message.id))?.unwrap_or_default();
        if octets.len() as u64 != message.size || crc32fast::hash(&octets) != message.crc {
            let what = "its content does not match its checksum";
            self.set_aside(message.id, what);
            return Err(damaged(format!("message {}: {what}", message.id)));
        }
        Ok(Content::Memory(Loaded::new(octets, None)))
    }

    fn exists(&self, id: AuditId) -> io::Result<bool> {
        self.inner.readers.read(|db| db.prepare_cached("SELECT 1 FROM message WHERE id = ?")?.exists([id.to_i64()]))
    }

    /// Takes a damaged message out of the queue without removing anything: its deliveries wait for an administrator,
    /// who may release or delete them. Everything else goes on.
    pub fn set_aside(&self, id: AuditId, why: &str) {
        self.inner.shared.alert(Alert { at: now(), message: Some(id), what: why.to_owned() });
        // A closing store finds the damage again when it is opened next.
        let _ = self.inner.send(Request::Lazy(aside(id, why), None));
    }

    /// Tells what became of a delivery. Sent at the call, awaited or not; resolves when it is committed, together with
    /// the next commit of new mail, after about 50 ms at the latest. It need not be on disk at once: a crash before
    /// that repeats the delivery, and loses nothing. While the disk is full it stays pending and is tried again: keep
    /// the delivery in `except` of [`Store::due`] until this resolves.
    pub fn settle(&self, outcome: Settle) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let (reply, answer) = oneshot::channel();
        let sent = self.inner.send(Request::Lazy(Lazy::Settle(outcome), Some(reply)));
        async move {
            sent?;
            answer.await.unwrap_or_else(|_| Err(closed()))
        }
    }

    /// Puts events into the trail that belong to no change, such as a refusal. On disk after about 50 ms.
    pub fn record(&self, events: Vec<Event>) {
        // A closing store takes no more events.
        let _ = self.inner.send(Request::Lazy(Lazy::Record(events), None));
    }

    /// Remembers for a policy. On disk after about 50 ms; the newest row of a key counts.
    pub fn remember(&self, rows: Vec<Remembered>) {
        let _ = self.inner.send(Request::Lazy(Lazy::Remember(rows), None));
    }

    /// Lets go of what has expired, and of what is over so many rows.
    pub fn forget_remembered(&self, at: Time, keep: usize) {
        let _ = self.inner.send(Request::Lazy(Lazy::Forget(at, keep), None));
    }

    /// All that is remembered and has not expired, at most `limit`.
    pub fn remembered(&self, at: Time, limit: usize) -> io::Result<Vec<Remembered>> {
        self.inner.readers.read(|db| memory::all(db, at, limit))
    }

    /// Carries out an order, or counts with `dry_run`; gives the number of deliveries. Works in chunks between other
    /// commits; `progress` hears the number done so far. Goes on if not awaited.
    pub fn order(
        &self,
        order: Order,
        progress: impl FnMut(u64) + Send + 'static,
    ) -> impl Future<Output = io::Result<u64>> + Send + 'static {
        let inner = self.inner.clone();
        let (reply, answer) = oneshot::channel();
        let started = thread::Builder::new().name("store-order".to_owned()).spawn(move || {
            let done = order::carry_out(&inner, order, progress);
            // Let go of the store before answering: whoever hears the answer may want to close it.
            drop(inner);
            let _ = reply.send(done);
        });
        async move {
            started?;
            answer.await.unwrap_or_else(|_| Err(closed()))
        }
    }

    /// Deliveries of a selection by Audit ID (oldest first), from behind `after`.
    pub fn list(
        &self,
        selection: &Selection,
        limit: usize,
        after: Option<(AuditId, u32)>,
    ) -> io::Result<Vec<QueueEntry>> {
        self.inner.readers.read(|db| order::list(db, selection, limit, after))
    }

    /// What waits for which cause, the largest group first, from behind `after`.
    pub fn incidents(&self, limit: usize, after: Option<&IncidentCursor>) -> io::Result<Vec<Incident>> {
        self.inner.readers.read(|db| incident::list(db, limit, after))
    }

    /// The largest incidents in short: a fraction of what [`Store::incidents`] costs.
    pub fn incident_heads(&self, limit: usize) -> io::Result<Vec<IncidentHead>> {
        self.inner.readers.read(|db| incident::heads(db, limit))
    }

    /// Whether mail waits for this cause with this sentence.
    pub fn incident_says(&self, cause: &str, sentence: &str) -> io::Result<bool> {
        self.inner.readers.read(|db| incident::is_said(db, cause, sentence))
    }

    /// Each cause for which mail waits, with its deliveries and its incidents, the largest first.
    pub fn causes(&self) -> io::Result<Vec<(String, u64, u64)>> {
        self.inner.readers.read(incident::causes)
    }

    /// A piece of a selection, in an order of one's choice and within a time: see [`PageOf`].
    pub fn page(&self, selection: &Selection, of: &PageOf) -> io::Result<Page> {
        let lanes = self.lane_counts();
        self.inner.readers.read(|db| page::page(db, selection, of, &lanes))
    }

    /// How many deliveries lie in each lane, held ones included; from memory.
    pub fn lane_counts(&self) -> HashMap<String, u64> {
        self.inner.shared.lanes().clone()
    }

    /// When each of these lanes is due, as in [`Store::lanes`].
    pub fn dues(&self, lanes: &[String]) -> io::Result<Vec<Time>> {
        self.inner.readers.read(|db| {
            let mut due = db.prepare_cached("SELECT min(next_ms) FROM delivery WHERE lane = ?")?;
            lanes
                .iter()
                .map(|lane| due.query_row([lane], |row| row.get::<_, Option<i64>>(0)))
                .map(|due| due.map(|due| due.map_or(Time::NEVER, Time)))
                .collect()
        })
    }

    /// One message of the queue.
    pub fn message(&self, id: AuditId) -> io::Result<Option<Stored>> {
        let row = self.inner.readers.read(|db| Ok(stored(db, id)))?;
        row.transpose().map_or(Ok(None), |stored| stored.map(Some))
    }

    /// Administrators and what belongs to them.
    pub fn accounts(&self) -> &Accounts {
        &self.inner.accounts
    }

    /// What administrators were told of.
    pub fn alarms(&self) -> &Alarms {
        &self.inner.alarms
    }

    /// The newest settings.
    pub fn settings_current(&self) -> io::Result<Option<Version>> {
        self.inner.settings.current()
    }

    /// Adds a version of the settings and gives its number; durable on return.
    pub fn settings_put(&self, text: &str, author: &str, comment: &str, now: Time) -> io::Result<u64> {
        self.inner.settings.put(text, author, comment, now)
    }

    /// All versions, newest first, without their texts.
    pub fn settings_history(&self) -> io::Result<Vec<Version>> {
        self.inner.settings.history()
    }

    /// One version.
    pub fn settings_version(&self, number: u64) -> io::Result<Option<Version>> {
        self.inner.settings.version(number)
    }

    /// Messages and connections in the trail that match, newest first. Knows everything committed before the call.
    pub fn audit_search(&self, filter: &AuditFilter, limit: usize) -> io::Result<Vec<AuditEntry>> {
        self.inner.shared.signal.catch_up(CATCH_UP);
        self.inner.audit.read(|db| records::search(db, filter, limit))
    }

    /// One page of that, behind `after`, within about a second. Does not wait long for what was just committed.
    pub fn audit_page(&self, filter: &AuditFilter, limit: usize, after: Option<AuditCursor>) -> io::Result<AuditPage> {
        self.inner.shared.signal.catch_up(CATCH_UP_PAGE);
        self.inner.audit.read(|db| records::page(db, filter, limit, after))
    }

    /// All of that, one by one, until `each` says false. Only a page of it is in memory, and no reader is kept open.
    pub fn audit_export(&self, filter: &AuditFilter, mut each: impl FnMut(AuditEntry) -> bool) -> io::Result<()> {
        self.inner.shared.signal.catch_up(CATCH_UP);
        let mut after = None;
        loop {
            let page = self.inner.audit.read(|db| records::page(db, filter, EXPORT_PAGE, after))?;
            for entry in page.entries {
                if !each(entry) {
                    return Ok(());
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Committed changes whose events are not in the trail yet.
    pub fn audit_behind(&self) -> u64 {
        self.inner.shared.signal.behind()
    }

    /// What the trail knows of one Audit ID, as a row of lists.
    pub fn audit_entry(&self, id: AuditId) -> io::Result<Option<AuditEntry>> {
        self.inner.audit.read(|db| records::find(db, id).optional())
    }

    /// How often what happened, from the step that holds `from` to `until`, in order of time.
    pub fn stats(&self, from: Time, until: Time, step: Step) -> io::Result<Vec<Stat>> {
        self.inner.audit.read(|db| records::stats(db, from, until, step))
    }

    /// The causes found in that time, the most frequent first.
    pub fn cause_counts(&self, from: Time, until: Time, step: Step, limit: usize) -> io::Result<Vec<CauseCount>> {
        self.inner.audit.read(|db| records::causes(db, from, until, step, limit))
    }

    /// The trail of one Audit ID, in order. Knows everything committed before the call.
    pub fn audit_show(&self, id: AuditId) -> io::Result<Vec<Event>> {
        self.inner.shared.signal.catch_up(CATCH_UP);
        self.inner.audit.read(|db| records::show(db, id))
    }

    /// The same for a page: does not wait long for what was just committed.
    pub fn audit_show_soon(&self, id: AuditId) -> io::Result<Vec<Event>> {
        self.inner.shared.signal.catch_up(CATCH_UP_PAGE);
        self.inner.audit.read(|db| records::show(db, id))
    }

    /// Puts events straight into the trail of a folder that no gateway uses, so many in one transaction; gives their
    /// number. For measurements, and for a trail that comes from elsewhere.
    pub fn audit_import(
        folder: &Path,
        events: impl IntoIterator<Item = Event>,
        chunk: usize,
    ) -> Result<u64, OpenError> {
        import(folder, events, chunk)
    }

    /// Removes events older than `before` from the trail, at most `limit`; gives how many. Repeat until 0.
    pub fn audit_forget(&self, before: Time, limit: usize) -> io::Result<usize> {
        records::forget(&self.inner.folder.join("records.db"), before, limit)
    }
}

fn gone(id: AuditId) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("message {id} is not in the queue any more"))
}

/// One delivery with its message. `None`: gone meanwhile.
fn delivery(db: &Connection, id: AuditId, n: u32) -> io::Result<Option<Delivery>> {
    let row = db
        .prepare_cached(
            "SELECT lane, recipients, attempts, next_ms, status, extra FROM delivery WHERE message = ? AND n = ?",
        )
        .and_then(|mut statement| {
            statement
                .query_row(params![id.to_i64(), n], |row| {
                    Ok((
                        row.get(0)?,
                        row.get::<_, String>(1)?,
                        row.get(2)?,
                        row.get(3)?,
                        row.get(4)?,
                        row.get::<_, String>(5)?,
                    ))
                })
                .optional()
        })
        .map_err(io_error)?;
    let Some((lane, recipients, attempts, next, status, extra)) = row else { return Ok(None) };
    let Some(message) = stored(db, id)? else { return Err(damaged("the message itself is missing".to_owned())) };
    Ok(Some(Delivery {
        message,
        n,
        lane,
        recipients: serde_json::from_str(&recipients)?,
        attempts,
        next: Time(next),
        status,
        extra: serde_json::from_str(&extra)?,
        content: None,
    }))
}

fn stored(db: &Connection, id: AuditId) -> io::Result<Option<Stored>> {
    let read = |row: &Row<'_>| -> rusqlite::Result<(String, MessageRow)> {
        let place = row.get::<_, Option<i64>>(4)?.zip(row.get::<_, Option<i64>>(5)?);
        let place = place.map(|(segment, offset)| Place { segment: segment as u64, offset: offset as u64 });
        Ok((row.get(1)?, (Time(row.get(0)?), row.get::<_, i64>(2)? as u64, row.get(3)?, place)))
    };
    let row = db
        .prepare_cached("SELECT received_ms, envelope, size, crc, segment, offset FROM message WHERE id = ?")
        .and_then(|mut statement| statement.query_row([id.to_i64()], read).optional())
        .map_err(io_error)?;
    let Some((envelope, (received, size, crc, place))) = row else { return Ok(None) };
    Ok(Some(Stored { id, received, envelope: Arc::new(serde_json::from_str(&envelope)?), size, crc, place }))
}

/// Received, size, CRC, place.
type MessageRow = (Time, u64, u32, Option<Place>);

impl Inner {
    pub(crate) fn send(&self, request: Request) -> io::Result<()> {
        self.requests.as_ref().and_then(|requests| requests.send(request).ok()).ok_or_else(closed)
    }

    /// Hands over a draft whose own segment is to be synced before it is committed.
    pub(crate) fn sync_own(&self, prepared: Box<Prepared>, reply: CommitReply) -> io::Result<()> {
        self.own.as_ref().and_then(|own| own.send((prepared, reply)).ok()).ok_or_else(closed)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.signal.stop();
        self.own = None;
        self.requests = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has told so; there is nothing left to do for it.
            let _ = thread.join();
        }
    }
}

impl Shared {
    pub(crate) fn new(lanes: HashMap<String, u64>, held: i64, high: i64, alerts: Vec<Alert>) -> Shared {
        Shared {
            lanes: Mutex::new(lanes),
            held: AtomicI64::new(held),
            high: AtomicI64::new(high),
            alerts: Mutex::new(alerts.into()),
            signal: Signal::default(),
        }
    }

    pub(crate) fn lanes(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alerts(&self) -> MutexGuard<'_, VecDeque<Alert>> {
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of something; the same message or failure only once in a row.
    pub(crate) fn alert(&self, alert: Alert) {
        let mut alerts = self.alerts();
        if alerts.front().is_some_and(|last| last.message == alert.message && last.what == alert.what) {
            return;
        }
        alerts.push_front(alert);
        alerts.truncate(ALERTS_MAX);
    }

    /// Counts what a transaction changed.
    pub(crate) fn apply(&self, effect: crate::change::Effect) {
        let mut lanes = self.lanes();
        for (lane, by) in effect.lanes {
            let count = lanes.get(&lane).copied().unwrap_or(0).saturating_add_signed(by);
            if count == 0 {
                lanes.remove(&lane);
            } else {
                lanes.insert(lane, count);
            }
        }
        drop(lanes);
        self.held.fetch_add(effect.held, Ordering::Relaxed);
        self.high.store(effect.high, Ordering::Relaxed);
        if let Some(seq) = effect.outbox {
            self.signal.committed(seq);
        }
    }
}
