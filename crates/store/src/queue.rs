//! The queue's nouns: what is stored, what is to be delivered, and what became of it.

use crate::Event;
use crate::content::Content;
use crate::incident::Cause;
use crate::segment::Place;
use mail::{AuditId, Envelope, Recipient, Time};
use serde_json::Value;
use std::sync::Arc;

/// A message in the spool, without its content.
#[derive(Clone, Debug)]
pub struct Stored {
    pub id: AuditId,
    pub received: Time,
    pub envelope: Arc<Envelope>,
    /// Octets of content.
    pub size: u64,
    pub(crate) crc: u32,
    /// `None`: in its row.
    pub(crate) place: Option<Place>,
}

/// Recipients of one message that go the same way together.
#[derive(Clone, Debug, Default)]
pub struct NewDelivery {
    /// Where they go: the key by which the queue is divided, such as `corp.test` or `[192.0.2.1]:25`.
    pub lane: String,
    pub recipients: Vec<Recipient>,
    /// It waits for a release from the start, with this status.
    pub held: Option<String>,
    /// What the deliverer wants to know at the first attempt.
    pub extra: Value,
    /// What it waits for.
    pub cause: Option<Box<Cause>>,
}

/// A delivery that is in the queue.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub message: Stored,
    /// Which delivery of the message, from 0.
    pub n: u32,
    pub lane: String,
    /// Those who have not got it yet.
    pub recipients: Vec<Recipient>,
    pub attempts: u32,
    pub next: Time,
    /// What the last attempt ended with, for people; empty before the first.
    pub status: String,
    /// What the deliverer wants to remember between attempts.
    pub extra: Value,
    /// Present when the delivery comes straight from a commit.
    pub content: Option<Content>,
}

impl Delivery {
    /// What names a delivery.
    pub fn key(&self) -> (AuditId, u32) {
        (self.message.id, self.n)
    }
}

/// What became of a delivery after an attempt.
#[derive(Clone, Debug)]
pub struct Settle {
    pub message: AuditId,
    pub n: u32,
    pub outcome: Outcome,
    pub events: Vec<Event>,
}

/// Gone, or to be tried again.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Every recipient has it, or has been reported on. The last delivery takes the message along.
    Gone,
    /// Some recipients are left. A hold that was ordered meanwhile stays.
    Later {
        recipients: Vec<Recipient>,
        attempts: u32,
        next: Time,
        status: String,
        extra: Value,
        /// Another way from now on; `None`: the same (or where an administrator moved it meanwhile).
        lane: Option<String>,
        /// Why, if it is known.
        cause: Option<Box<Cause>>,
    },
    /// Some recipients are left, and wait until somebody releases them.
    Held { recipients: Vec<Recipient>, attempts: u32, status: String, extra: Value, cause: Option<Box<Cause>> },
}

/// Whether a delivery may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    Queued,
    /// By an administrator or a rule; waits for a release.
    Held,
    /// Damaged on disk; kept for people to look at.
    SetAside,
}

impl State {
    pub(crate) fn to_sql(self) -> i64 {
        match self {
            State::Queued => 0,
            State::Held => 1,
            State::SetAside => 2,
        }
    }

    /// An unknown number comes from damage, too.
    pub(crate) fn from_sql(number: i64) -> State {
        match number {
            0 => State::Queued,
            1 => State::Held,
            _ => State::SetAside,
        }
    }
}

/// A lane with what waits in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneDue {
    pub lane: String,
    /// When its first delivery is due; [`Time::NEVER`] if all are held.
    pub due: Time,
    /// Deliveries, held ones included.
    pub count: u64,
}

/// A row of the queue, for pages and the command line.
#[derive(Clone, Debug)]
pub struct QueueEntry {
    pub id: AuditId,
    pub n: u32,
    pub lane: String,
    pub sender: String,
    /// Empty if the row is damaged.
    pub recipients: Vec<Recipient>,
    pub state: State,
    pub attempts: u32,
    pub next: Time,
    pub status: String,
    /// Id of the finding on the last attempt.
    pub cause: Option<String>,
    pub extra: Value,
    pub received: Time,
    /// Octets of content.
    pub size: u64,
}

/// How full the store is.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Deliveries in the queue, held ones included.
    pub queued: u64,
    /// Deliveries held or set aside.
    pub held: u64,
    /// Octets, as the file system says; 0 if it does not answer.
    pub disk_free: u64,
    pub disk_reserve: u64,
    /// Octets of content in memory.
    pub memory: u64,
    pub memory_max: u64,
}

/// Something an administrator must look at.
#[derive(Clone, Debug)]
pub struct Alert {
    pub at: Time,
    pub message: Option<AuditId>,
    pub what: String,
}
