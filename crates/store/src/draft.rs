//! Draft: a message on its way in. Its commit is the only maker of [`Committed`], and that of the 250 after DATA.

use crate::content::{Content, Loaded, Part};
use crate::event::{Encoded, Event};
use crate::limits::{Charge, Limits};
use crate::queue::{Delivery, NewDelivery, Stored};
use crate::refused::Refused;
use crate::segment::{self, HEADER, Place, Shelf};
use crate::spool::Inner;
use crate::writer::Request;
use mail::{AuditId, Envelope, Recipient, Time};
use std::fs::File;
use std::io;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A message being received. Content lies in memory up to the limits, then in a file of its own (an own segment),
/// which is removed when the draft is dropped. Writing to that file may block for as long as the page cache does.
#[derive(Debug)]
pub struct Draft {
    id: AuditId,
    inner: Arc<Inner>,
    gathered: Gathered,
    length: u64,
    crc: crc32fast::Hasher,
    failed: Option<Refused>,
}

#[derive(Debug)]
enum Gathered {
    Memory { octets: Vec<u8>, charge: Charge },
    Spilled(Spill),
}

/// A file of its own; removed when dropped before it has been committed.
#[derive(Debug)]
pub(crate) struct Spill {
    pub(crate) number: u64,
    pub(crate) file: File,
    shelf: Arc<Shelf>,
    kept: bool,
}

impl Spill {
    /// Header and content on disk; the folder is the caller's to sync.
    pub(crate) fn sync(&self, id: AuditId, size: u64, crc: u32) -> io::Result<()> {
        self.shelf.disk.write_at(&self.file, &segment::header(id, size, crc), 0)?;
        self.shelf.disk.sync(&self.file, &self.shelf.path(self.number))
    }

    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        if !self.kept {
            // If it cannot be removed it is unreferenced, and goes when the store is opened next.
            let _ = self.shelf.remove(self.number);
        }
    }
}

impl Draft {
    pub(crate) fn new(id: AuditId, inner: Arc<Inner>) -> Draft {
        let gathered = Gathered::Memory { octets: Vec::new(), charge: inner.budget.charge() };
        Draft { id, inner, gathered, length: 0, crc: crc32fast::Hasher::new(), failed: None }
    }

    /// The message's Audit ID.
    pub fn id(&self) -> AuditId {
        self.id
    }

    /// Octets so far.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds content. After an error the draft cannot be committed any more; the rest may be written and is dropped.
    pub fn write(&mut self, octets: &[u8]) -> Result<(), Refused> {
        if let Some(failed) = &self.failed {
            return Err(failed.again());
        }
        self.crc.update(octets);
        self.add(octets).map_err(|error| {
            let refused = Refused::Failed(error);
            self.failed = Some(refused.again());
            refused
        })?;
        self.length += octets.len() as u64;
        Ok(())
    }

    /// Reads what was written, from `offset` on; 0: there is no more.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.gathered {
            Gathered::Memory { octets, .. } => {
                let rest = usize::try_from(offset).ok().and_then(|at| octets.get(at..)).unwrap_or_default();
                let length = rest.len().min(buffer.len());
                buffer[..length].copy_from_slice(&rest[..length]);
                Ok(length)
            }
            Gathered::Spilled(spill) => {
                let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
                let length = left.min(buffer.len());
                std::os::unix::fs::FileExt::read_exact_at(&spill.file, &mut buffer[..length], HEADER + offset)?;
                Ok(length)
            }
        }
    }

    fn add(&mut self, more: &[u8]) -> io::Result<()> {
        if let Gathered::Memory { octets, charge } = &mut self.gathered {
            if fits(octets, charge, more.len(), &self.inner.limits) {
                octets.extend_from_slice(more);
                return Ok(());
            }
            self.gathered = Gathered::Spilled(spill(&self.inner.shelf, octets)?);
        }
        let Gathered::Spilled(spill) = &self.gathered else { return Ok(()) };
        self.inner.shelf.disk.write_at(&spill.file, more, HEADER + self.length)
    }

    /// Makes the message durable: content, envelope, deliveries and events, in one step with whatever else waits.
    /// When this returns `Ok`, no crash loses the message. `received` is also when the deliveries are due first. Without
    /// deliveries (every recipient dropped) only the events are kept. A commit goes on if it is not awaited any more.
    ///
    /// # Errors
    /// [`Refused`]: the message is not in the queue and must be answered with a 4xx. (After a failed COMMIT a crash
    /// may still bring it back; the client that tries again then causes a duplicate, never a loss.)
    pub async fn commit(
        self,
        envelope: Envelope,
        deliveries: Vec<NewDelivery>,
        received: Time,
        events: Vec<Event>,
    ) -> Result<Committed, Refused> {
        let inner = self.inner.clone();
        let prepared = Box::new(self.prepare(envelope, deliveries, received, &events)?);
        let (reply, answer) = oneshot::channel();
        let sent = if matches!(prepared.body, Body::Own(_)) {
            inner.sync_own(prepared, reply)
        } else {
            inner.send(Request::Commit(prepared, reply))
        };
        // The store must not be kept open by one who only waits for it.
        drop(inner);
        sent.map_err(Refused::Failed)?;
        answer.await.unwrap_or_else(|_| Err(Refused::closed()))
    }

    /// All that can be done without the writer: it has the fewest hands.
    fn prepare(
        self,
        envelope: Envelope,
        deliveries: Vec<NewDelivery>,
        received: Time,
        events: &[Event],
    ) -> Result<Prepared, Refused> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        self.inner.room.check()?;
        let json = |error: serde_json::Error| Refused::Failed(error.into());
        let body = match self.gathered {
            _ if deliveries.is_empty() => Body::Memory(Loaded::new(Vec::new(), None), None),
            Gathered::Spilled(spill) => Body::Own(spill),
            Gathered::Memory { octets, charge } => Body::Memory(Loaded::new(octets, Some(charge)), None),
        };
        let deliveries = deliveries.into_iter().map(|new| {
            let text = serde_json::to_string(&new.recipients)?;
            Ok(PreparedDelivery {
                lane: new.lane,
                recipients: new.recipients,
                text,
                held: new.held,
                extra: new.extra,
                cause: new.cause,
            })
        });
        let mut events = Encoded::new(events);
        events.high = events.high.max(self.id.to_i64());
        Ok(Prepared {
            id: self.id,
            received,
            envelope_text: serde_json::to_string(&envelope).map_err(json)?,
            sender: envelope.sender.to_string(),
            envelope: Arc::new(envelope),
            size: self.length,
            crc: self.crc.finalize(),
            body,
            deliveries: deliveries.collect::<Result<_, _>>().map_err(json)?,
            events,
        })
    }
}

/// Whether `more` octets may lie in memory; takes them from the budget. Small mail always may: a file and a sync for
/// each would cost more than the memory, which the number of connections bounds.
fn fits(octets: &mut Vec<u8>, charge: &mut Charge, more: usize, limits: &Limits) -> bool {
    let length = octets.len() + more;
    if length as u64 > limits.memory_draft.max(limits.row) {
        return false;
    }
    if length > octets.capacity() {
        let capacity = length.max(octets.capacity() * 2).max(4096);
        let small = length as u64 <= limits.row;
        if !charge.grow((capacity - octets.capacity()) as u64) && !small {
            return false;
        }
        octets.reserve_exact(capacity - octets.len());
    }
    true
}

fn spill(shelf: &Arc<Shelf>, octets: &[u8]) -> io::Result<Spill> {
    let (number, file) = shelf.create()?;
    let spill = Spill { number, file, shelf: shelf.clone(), kept: false };
    shelf.disk.write_at(&spill.file, octets, HEADER)?;
    Ok(spill)
}

/// A draft ready for the writer.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) id: AuditId,
    pub(crate) received: Time,
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) envelope_text: String,
    pub(crate) sender: String,
    pub(crate) size: u64,
    pub(crate) crc: u32,
    pub(crate) body: Body,
    pub(crate) deliveries: Vec<PreparedDelivery>,
    pub(crate) events: Encoded,
}

#[derive(Debug)]
pub(crate) struct PreparedDelivery {
    pub(crate) lane: String,
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) text: String,
    pub(crate) held: Option<String>,
    pub(crate) extra: serde_json::Value,
    pub(crate) cause: Option<Box<crate::incident::Cause>>,
}

#[derive(Debug)]
pub(crate) enum Body {
    /// With its place in a shared segment, unless it goes into the row.
    Memory(Arc<Loaded>, Option<Place>),
    Own(Spill),
}

impl Prepared {
    /// An own segment's octets on disk.
    pub(crate) fn sync_own(&self) -> io::Result<()> {
        match &self.body {
            Body::Own(spill) => spill.sync(self.id, self.size, self.crc),
            Body::Memory(..) => Ok(()),
        }
    }

    pub(crate) fn place(&self) -> Option<Place> {
        match &self.body {
            Body::Memory(_, place) => *place,
            Body::Own(spill) => Some(Place { segment: spill.number, offset: HEADER }),
        }
    }

    /// Only the writer calls this, and only after COMMIT.
    pub(crate) fn committed(mut self) -> Committed {
        let place = self.place();
        if let Body::Own(spill) = &mut self.body {
            spill.keep();
        }
        let content = match &self.body {
            Body::Memory(loaded, _) => Some(Content::Memory(loaded.clone())),
            // If the file handle cannot be shared, the deliverer asks the store for the content.
            Body::Own(spill) => {
                spill.file.try_clone().ok().map(|file| Content::File(Part::new(file, HEADER, self.size, self.crc)))
            }
        };
        let message = Stored {
            id: self.id,
            received: self.received,
            envelope: self.envelope,
            size: self.size,
            crc: self.crc,
            place,
        };
        let deliveries = (0..).zip(self.deliveries).map(|(n, new)| Delivery {
            message: message.clone(),
            n,
            lane: new.lane,
            recipients: new.recipients,
            attempts: 0,
            next: if new.held.is_some() { Time::NEVER } else { self.received },
            status: new.held.unwrap_or_default(),
            extra: new.extra,
            content: content.clone(),
        });
        Committed { id: message.id, deliveries: deliveries.collect() }
    }
}

/// Proof that a message is durable, and its deliveries, with the content still in memory where it was.
#[derive(Debug)]
pub struct Committed {
    id: AuditId,
    deliveries: Vec<Delivery>,
}

impl Committed {
    /// The message's Audit ID.
    pub fn id(&self) -> AuditId {
        self.id
    }

    /// In the order in which they were given to the commit.
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// The deliveries to be tried at once: all but held ones.
    pub fn into_deliveries(self) -> Vec<Delivery> {
        self.deliveries.into_iter().filter(|delivery| delivery.next < Time::NEVER).collect()
    }
}

impl smtp::server::Durable for Committed {
    fn audit_id(&self) -> AuditId {
        self.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Budget;

    #[test]
    fn small_content_stays_in_memory_whatever_the_budget() {
        let limits = Limits { memory: 0, row: 100, memory_draft: 1000, ..Limits::default() };
        let mut charge = Budget::new(limits.memory).charge();
        assert!(fits(&mut Vec::new(), &mut charge, 100, &limits));
        assert!(!fits(&mut Vec::new(), &mut charge, 101, &limits));
    }

    #[test]
    fn long_content_leaves_memory_whatever_the_budget() {
        let limits = Limits { memory: 1 << 20, row: 100, memory_draft: 1000, ..Limits::default() };
        let mut charge = Budget::new(limits.memory).charge();
        assert!(fits(&mut Vec::new(), &mut charge, 1000, &limits));
        assert!(!fits(&mut Vec::new(), &mut charge, 1001, &limits));
    }
}
