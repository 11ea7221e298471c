//! Writer: the one thread that changes the spool. It takes everything that waits and commits it at once (group commit):
//! content first, into a segment with one sync, then one transaction with one sync of the WAL.
//!
//! What must be durable before somebody is answered (drafts, orders) is committed as soon as the disk is free. What
//! need not be (a delivered message's removal, events) rides along, or goes after [`LAZY`] at the latest: a crash
//! before that repeats a delivery, and never loses one.
//!
//! When a commit fails, its drafts are refused, and what was waiting is kept for a next try. After a failure of the
//! storage the database is opened anew and no file is trusted that a sync failed on.

use crate::change::{Apply, Change, Effect, Lazy};
use crate::disk::Operation;
use crate::draft::{Body, Committed, Prepared};
use crate::queue::Alert;
use crate::refused::{Refused, again, closed};
use crate::schema::{io_error, is_storage, open_spool};
use crate::segment::{Segments, Shelf};
use crate::spool::Shared;
use mail::Time;
use rusqlite::{Connection, TransactionBehavior};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

/// How long a change that nobody waits for may stay unsynced.
pub(crate) const LAZY: Duration = Duration::from_millis(50);
/// Pause after a failure before what is waiting is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Tries of a waiting change that fails on its own account, not on a full disk.
const TRIES: u32 = 10;
/// Requests of one transaction: bounds how long the first of them waits.
const BATCH: usize = 512;
/// Changes that may wait for a broken disk; beyond it events are dropped, and told so. What became of mail never is.
const WAITING_MAX: usize = 100_000;
/// Octets of content in one transaction.
const BATCH_OCTETS: u64 = 32 << 20;
/// How long a batch waits for as many drafts as came last time. Without it, twenty clients split into two groups that
/// wait for each other's syncs.
const GATHER: Duration = Duration::from_micros(500);

pub(crate) type CommitReply = oneshot::Sender<Result<Committed, Refused>>;
pub(crate) type Reply<T> = oneshot::Sender<io::Result<T>>;

/// What the writer is asked to do.
#[derive(Debug)]
pub(crate) enum Request {
    Commit(Box<Prepared>, CommitReply),
    Apply(Apply, Reply<u64>),
    Lazy(Lazy, Option<Reply<()>>),
}

#[derive(Debug)]
struct Waiting {
    lazy: Lazy,
    reply: Option<Reply<()>>,
    tries: u32,
}

/// What must be committed now.
#[derive(Debug, Default)]
struct Urgent {
    drafts: Vec<(Box<Prepared>, CommitReply)>,
    orders: Vec<(Apply, Reply<u64>)>,
}

#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    db: Connection,
    /// Content up to this many octets lies in its row.
    row: u64,
    shelf: Arc<Shelf>,
    segments: Segments,
    shared: Arc<Shared>,
    /// Next outbox row, and the highest Audit ID in the outbox.
    next: i64,
    high: i64,
    waiting: Vec<Waiting>,
    /// When what waits must go.
    due: Option<Instant>,
    /// After a failure: what waits is tried one by one, so that it cannot spoil drafts.
    wary: bool,
    crowd: usize,
}

/// What a transaction did.
#[derive(Debug)]
struct Done {
    effect: Effect,
    /// Deliveries changed, for each order.
    changed: Vec<u64>,
}

impl Writer {
    #[expect(clippy::too_many_arguments, reason = "called once, at open")]
    pub(crate) fn new(
        path: PathBuf,
        db: Connection,
        row: u64,
        shelf: Arc<Shelf>,
        segments: Segments,
        shared: Arc<Shared>,
        next: i64,
        high: i64,
    ) -> Writer {
        Writer {
            path,
            db,
            row,
            shelf,
            segments,
            shared,
            next,
            high,
            waiting: Vec::new(),
            due: None,
            wary: false,
            crowd: 0,
        }
    }

    /// Until every sender is gone.
    pub(crate) fn run(mut self, requests: &Receiver<Request>) {
        while let Some(urgent) = self.gather(requests) {
            self.round(urgent);
        }
        if !self.wary {
            self.commit(Urgent::default());
        }
        self.retry();
        for waiting in self.waiting.drain(..) {
            answer(waiting.reply, Err(closed()));
        }
    }

    /// Waits for work and takes all there is. `None`: no more will come.
    fn gather(&mut self, requests: &Receiver<Request>) -> Option<Urgent> {
        let mut urgent = Urgent::default();
        match self.due {
            None => self.take(requests.recv().ok()?, &mut urgent),
            Some(due) => match requests.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(request) => self.take(request, &mut urgent),
                Err(RecvTimeoutError::Timeout) => return Some(urgent),
                Err(RecvTimeoutError::Disconnected) => return None,
            },
        }
        let until = Instant::now() + GATHER;
        let mut octets = 0;
        while urgent.drafts.len() + urgent.orders.len() < BATCH && !self.crowded() && octets < BATCH_OCTETS {
            let request = match requests.try_recv() {
                Ok(request) => request,
                Err(_) if urgent.drafts.is_empty() || urgent.drafts.len() >= self.crowd => break,
                Err(_) => match requests.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(request) => request,
                    Err(_) => break,
                },
            };
            octets += if let Request::Commit(new, _) = &request { new.size } else { 0 };
            self.take(request, &mut urgent);
        }
        self.crowd = urgent.drafts.len();
        Some(urgent)
    }

    fn take(&mut self, request: Request, urgent: &mut Urgent) {
        match request {
            Request::Commit(new, reply) => urgent.drafts.push((new, reply)),
            Request::Apply(apply, reply) => urgent.orders.push((apply, reply)),
            Request::Lazy(Lazy::Record(_), _) if self.waiting.len() >= WAITING_MAX => {
                self.alarm("events were dropped", &io::Error::other("too many changes wait for the disk"));
            }
            Request::Lazy(lazy, reply) => {
                self.due.get_or_insert_with(|| Instant::now() + LAZY);
                self.waiting.push(Waiting { lazy, reply, tries: 0 });
            }
        }
    }

    /// So much waits that it should go now.
    fn crowded(&self) -> bool {
        !self.wary && self.waiting.len() >= BATCH * 2
    }

    fn round(&mut self, urgent: Urgent) {
        let idle = urgent.drafts.is_empty() && urgent.orders.is_empty();
        let late = self.due.is_some_and(|due| Instant::now() >= due) || self.crowded();
        if idle && !late {
            return;
        }
        if self.wary {
            if !idle {
                self.commit(urgent);
            }
            if late {
                self.retry();
            }
            return;
        }
        self.commit(urgent);
    }

    /// Everything in one transaction; if a row is at fault, each request in its own.
    fn commit(&mut self, mut urgent: Urgent) {
        if let Err(error) = self.write_content(&mut urgent.drafts) {
            self.segments.abandon(false);
            self.alarm("new mail could not be written", &error);
            refuse(urgent.drafts.drain(..), &Refused::Failed(error));
        }
        let waiting = if self.wary { Vec::new() } else { std::mem::take(&mut self.waiting) };
        let error = match self.transact(&urgent, &waiting) {
            Ok(done) => {
                if !self.wary {
                    self.due = None;
                }
                return self.finish(done, urgent, waiting);
            }
            Err(error) => error,
        };
        self.recover(&error);
        self.waiting.splice(0..0, waiting);
        if is_storage(&error) || urgent.drafts.len() + urgent.orders.len() == 1 && self.wary {
            return give_up(urgent, error);
        }
        for draft in urgent.drafts {
            self.commit_alone(Urgent { drafts: vec![draft], orders: Vec::new() });
        }
        for order in urgent.orders {
            self.commit_alone(Urgent { drafts: Vec::new(), orders: vec![order] });
        }
    }

    fn commit_alone(&mut self, urgent: Urgent) {
        match self.transact(&urgent, &[]) {
            Ok(done) => self.finish(done, urgent, Vec::new()),
            Err(error) => {
                self.recover(&error);
                give_up(urgent, error);
            }
        }
    }

    /// What waits, one by one, after a failure. A full disk stops the try; what fails by itself is given up at last.
    fn retry(&mut self) {
        self.wary = false;
        self.due = None;
        let mut waiting = std::mem::take(&mut self.waiting).into_iter();
        while let Some(mut one) = waiting.next() {
            match self.transact(&Urgent::default(), std::slice::from_ref(&one)) {
                Ok(done) => self.finish(done, Urgent::default(), vec![one]),
                Err(error) => {
                    self.recover(&error);
                    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::ReadOnlyFilesystem);
                    one.tries += u32::from(!full);
                    if one.tries >= TRIES {
                        answer(one.reply, Err(error));
                    } else {
                        self.waiting.push(one);
                    }
                    if full {
                        self.waiting.extend(waiting.by_ref());
                    }
                }
            }
        }
    }

    /// Content that is too long for a row, into the segment, synced once for all.
    fn write_content(&mut self, drafts: &mut [(Box<Prepared>, CommitReply)]) -> io::Result<()> {
        for (new, _) in drafts.iter_mut() {
            if let Body::Memory(loaded, place) = &mut new.body
                && loaded.len() as u64 > self.row
            {
                *place = Some(self.segments.append(new.id, loaded, new.crc)?);
            }
        }
        self.segments.sync()
    }

    fn transact(&mut self, urgent: &Urgent, waiting: &[Waiting]) -> io::Result<Done> {
        let disk = &self.shelf.disk;
        if let Some(pages) = disk.take_pages_max() {
            self.db.pragma_update(None, "max_page_count", pages).map_err(io_error)?;
        }
        disk.call(Operation::Begin)?;
        // Dropped without a commit, the transaction rolls back.
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(io_error)?;
        let mut change = Change::new(&transaction);
        let done = (|| {
            for (new, _) in &urgent.drafts {
                change.insert(new)?;
            }
            let changed = urgent.orders.iter().map(|(apply, _)| change.apply(apply)).collect::<Result<_, _>>()?;
            for waiting in waiting {
                change.lazy(&waiting.lazy)?;
            }
            Ok(Done { effect: change.finish(self.next, self.high)?, changed })
        })();
        let done = done.map_err(io_error)?;
        disk.call(Operation::Commit)?;
        transaction.commit().map_err(io_error)?;
        Ok(done)
    }

    /// After COMMIT: counts, then answers.
    fn finish(&mut self, done: Done, urgent: Urgent, waiting: Vec<Waiting>) {
        let effect = done.effect;
        effect.live.iter().for_each(|segment| self.segments.live(*segment));
        effect.dead.iter().for_each(|segment| self.segments.dead(*segment));
        self.high = effect.high;
        self.next += i64::from(effect.outbox.is_some());
        self.shared.apply(effect);
        for (new, reply) in urgent.drafts {
            // Whoever asked may be gone; the message is in the queue all the same.
            let _ = reply.send(Ok(new.committed()));
        }
        for ((_, reply), changed) in urgent.orders.into_iter().zip(done.changed) {
            let _ = reply.send(Ok(changed));
        }
        for waiting in waiting {
            answer(waiting.reply, Ok(()));
        }
    }

    /// After a failed transaction.
    fn recover(&mut self, error: &io::Error) {
        self.wary = true;
        self.due = Some(Instant::now() + AGAIN);
        self.alarm("the spool could not be changed", error);
        if is_storage(error) {
            // A failed COMMIT may have reached the disk: its content must stay readable.
            self.segments.abandon(true);
            // A connection that cannot be had anew is no worse than the old one.
            if let Ok(db) = open_spool(&self.path) {
                self.db = db;
            }
        }
    }

    fn alarm(&self, what: &str, error: &io::Error) {
        self.shared.alert(Alert { at: now(), message: None, what: format!("{what}: {error}") });
    }
}

fn refuse(drafts: impl Iterator<Item = (Box<Prepared>, CommitReply)>, refused: &Refused) {
    for (new, reply) in drafts {
        drop(new);
        let _ = reply.send(Err(refused.again()));
    }
}

fn give_up(urgent: Urgent, error: io::Error) {
    for (_, reply) in urgent.orders {
        let _ = reply.send(Err(again(&error)));
    }
    refuse(urgent.drafts.into_iter(), &Refused::Failed(error));
}

fn answer(reply: Option<Reply<()>>, result: io::Result<()>) {
    if let Some(reply) = reply {
        let _ = reply.send(result);
    }
}

/// The clock, for alerts only: all other times are arguments.
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
