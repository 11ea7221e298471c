//! Shipper: the thread that brings events from the spool's outbox into the trail, each exactly once.

use crate::change::Lazy;
use crate::queue::Alert;
use crate::records::told::{Told, decode};
use crate::records::{add, refill};
use crate::schema::{Readers, io_error};
use crate::spool::Shared;
use crate::writer::{Request, now};
use rusqlite::{Connection, params};
use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The thread that ships.
#[derive(Debug)]
pub(crate) struct Shipper {
    pub(crate) records: Connection,
    pub(crate) outbox: Readers,
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Sender<Request>,
}

/// How long events gather before they are shipped, unless somebody wants to read: each shipment costs a sync.
const GATHER: Duration = Duration::from_millis(500);
/// Outbox rows in one shipment.
const ROWS: usize = 256;
/// Politeness of the thread, of nice(2), which on Linux is a thread's own: a third of a share while others want the processors.
const NICE: i32 = 5;
/// Old events looked at in one transaction.
const OLD_ROWS: usize = 500;
/// Pause after a failure.
const AGAIN: Duration = Duration::from_secs(2);

/// What shipper and readers of the trail tell each other.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    state: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    /// Last outbox row committed, last one shipped, last one that a reader waits for.
    committed: i64,
    shipped: i64,
    wanted: i64,
    stop: bool,
}

impl Signal {
    pub(crate) fn start(&self, shipped: i64, committed: i64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.shipped, state.committed) = (shipped, committed);
    }

    pub(crate) fn committed(&self, seq: i64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = state.committed == state.shipped;
        state.committed = seq;
        if idle {
            self.changed.notify_all();
        }
    }

    pub(crate) fn stop(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.changed.notify_all();
    }

    /// Waits until everything committed so far is in the records, at most `limit`.
    pub(crate) fn catch_up(&self, limit: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let target = state.committed;
        state.wanted = target;
        self.changed.notify_all();
        let until = Instant::now() + limit;
        while state.shipped < target && !state.stop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Rows committed and not shipped.
    pub(crate) fn behind(&self) -> u64 {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(state.committed - state.shipped).unwrap_or(0)
    }

    fn shipped(&self, seq: i64) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).shipped = seq;
        self.changed.notify_all();
    }

    /// Nobody should wait for a shipment that does not work.
    fn give_up(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.wanted = state.shipped;
    }

    /// Waits for something to ship, lets more gather, and gives the last row shipped. `is_busy`: there is other work, so
    /// this does not wait if nothing is to be shipped.
    fn next(&self, gather: Duration, is_busy: bool) -> Next {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.committed == state.shipped && !state.stop {
            if is_busy {
                return Next::Nothing;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let until = Instant::now() + gather;
        while state.wanted <= state.shipped && !state.stop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.stop { Next::Stop } else { Next::Ship(state.shipped) }
    }
}

/// What the shipper does next.
enum Next {
    /// What lies behind this row.
    Ship(i64),
    Nothing,
    Stop,
}

impl Shipper {
    /// Until told to stop. A failure is told once, and tried again: meanwhile the outbox keeps everything.
    pub(crate) fn run(mut self) {
        // Mail goes first: when the processors are busy the outbox grows, and is emptied afterwards. Refused, this is as it was.
        let _ = rustix::process::nice(NICE);
        let mut told = false;
        let mut pause = GATHER;
        let mut old_left = true;
        loop {
            let shipped = match self.shared.signal.next(pause, old_left) {
                Next::Ship(shipped) => shipped,
                Next::Nothing => {
                    // What cannot be looked at now will be after the next start.
                    old_left = self.refill().unwrap_or(false);
                    continue;
                }
                Next::Stop => return,
            };
            match self.ship(shipped) {
                Ok((seq, more)) => {
                    told = false;
                    pause = if more { Duration::ZERO } else { GATHER };
                    self.shared.signal.shipped(seq);
                    // The writer is gone only at the end; then the rows leave the outbox after the next start.
                    let _ = self.writer.send(Request::Lazy(Lazy::Shipped(seq), None));
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        let what = format!("the audit trail could not be written; events wait in the spool: {error}");
                        self.shared.alert(Alert { at: now(), message: None, what });
                    }
                    self.shared.signal.give_up();
                    pause = AGAIN;
                }
            }
        }
    }

    /// Some of the events that an older version wrote; whether there are more.
    fn refill(&mut self) -> rusqlite::Result<bool> {
        let transaction = self.records.transaction()?;
        let more = refill(&transaction, OLD_ROWS)?;
        transaction.commit()?;
        Ok(more)
    }

    /// Ships rows behind `shipped`; gives the last one, and whether there are more.
    fn ship(&mut self, shipped: i64) -> io::Result<(i64, bool)> {
        let rows: Vec<(i64, Vec<u8>)> = self.outbox.read(|db| {
            db.prepare_cached("SELECT seq, events FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?")?
                .query_map(params![shipped, ROWS as i64], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        let last = rows.last().map_or(shipped, |(seq, _)| *seq);
        let events: Vec<Told<'_>> = rows.iter().flat_map(|(seq, text)| self.read(*seq, text)).collect();
        let transaction = self.records.transaction().map_err(io_error)?;
        add(&transaction, &events, last).map_err(io_error)?;
        transaction.commit().map_err(io_error)?;
        Ok((last, rows.len() == ROWS))
    }

    /// Only what we wrote ourselves lies here; a row that cannot be read all the same must not stop the others.
    fn read<'a>(&self, seq: i64, text: &'a [u8]) -> Vec<Told<'a>> {
        decode(text).unwrap_or_else(|error| {
            let what = format!("events of outbox row {seq} are damaged and left out of the audit trail: {error}");
            self.shared.alert(Alert { at: now(), message: None, what });
            Vec::new()
        })
    }
}
