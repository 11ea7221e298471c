//! What must survive a crash: the spool of queued mail, the audit trail and the settings. The only crate that touches the disk.
//!
//! API (being filled in; these signatures are meant to stay):
//! ```text
//! Store::open(folder: &Path, limits: Limits) -> Result<Store, OpenError>
//! store.alerts() -> Vec<Alert>                      // what was set aside, at open and since: {at, message: Option<AuditId>, what: String}
//! store.draft(id: AuditId) -> Draft
//! store.room() -> Result<(), Refused>               // cheap (cached): ask before MAIL FROM
//! store.last_audit_id() -> Option<AuditId>
//! store.usage() -> Usage { queued, held, disk_free, disk_reserve, memory, memory_max }
//! store.lanes() -> io::Result<Vec<LaneDue { lane: String, due: Time, count: u64 }>>
//! store.due(lane: &str, now: Time, limit: usize, except: &HashSet<(AuditId, u32)>) -> io::Result<Vec<Delivery>>
//! store.content(&Stored) -> io::Result<Content>     // blocking read
//! store.set_aside(id: AuditId, why: &str)           // damaged content found while sending
//! store.settle(Settle) -> impl Future<Output = io::Result<()>> + Send + 'static   // sent at the call, even if not awaited
//! store.record(Vec<Event>)                          // events that belong to no change (refusals, connections); within ~50 ms on disk
//! store.order(Order, progress: impl FnMut(u64) + Send + 'static) -> impl Future<Output = io::Result<u64>> + Send  // deliveries concerned
//! store.list(&Selection, limit: usize, after: Option<(AuditId, u32)>) -> io::Result<Vec<QueueEntry>>
//! store.settings_current() -> io::Result<Option<Version>>; settings_put(text, author, comment, now) -> io::Result<u64>;
//! store.settings_history() -> io::Result<Vec<Version /* text empty */>>; settings_version(n: u64) -> io::Result<Option<Version>>
//!     Version { number: u64, at: Time, author: String, comment: String, text: String }
//! store.audit_search(&AuditFilter { term: Option<String>, from: Option<Time>, until: Option<Time> }, limit) -> io::Result<Vec<AuditEntry>>
//!     AuditEntry { id, at: Time, sender: String, recipients: Vec<String>, subject: String, message_id: String, client: String, status: String }
//! store.audit_show(id: AuditId) -> io::Result<Vec<Event>>
//! Event { id: AuditId, at: Time, kind: String, fields: serde_json::Value }
//!     // fields named "sender", "recipients" (text or list), "recipient", "subject", "message_id", "client", "status" feed the searchable AuditEntry
//!
//! draft.write(&[u8]) -> Result<(), Refused>; draft.len() -> u64; draft.id()
//! draft.commit(envelope: Envelope, Vec<NewDelivery { lane: String, recipients: Vec<Recipient> }>, received: Time, Vec<Event>) -> Result<Committed, Refused>  (async)
//! Refused::{Full { free, reserve }, Failed(io::Error)}   // Display is for people; both are 4xx
//! Committed: id(), deliveries() -> &[Delivery], into_deliveries(); impl smtp::Durable
//!
//! Delivery { message: Stored, n: u32, lane: String, recipients: Vec<Recipient>, attempts: u32, next: Time, status: String, extra: serde_json::Value,
//!            content: Option<Content> /* in memory when it comes straight from a commit */ }   key() -> (AuditId, u32)
//! Stored { id: AuditId, received: Time, envelope: Arc<Envelope>, size: u64, .. }
//! Settle { message: AuditId, n: u32, outcome: Outcome, events: Vec<Event> }
//! Outcome::{Gone, Later { recipients, attempts, next, status, extra, lane: Option<String> /* Some = moved */ }}
//! Content::{Memory(..), File{..}}: len() -> u64, read_at(offset, &mut [u8]) -> io::Result<usize>, memory() -> Option<&[u8]>
//!
//! Order { action: Action, selection: Selection, by: String, at: Time, dry_run: bool }
//! Action::{Retry, Hold { why: String }, Release, Delete, Reroute { lane: String }}
//! Selection { ids: Vec<AuditId>, lane, sender, recipient, domain, text: Option<String>, state: Option<State>, before: Option<Time> }   // all given must match; Default = everything
//! State::{Queued, Held, SetAside}
//! QueueEntry { id, n, lane, sender, recipients: Vec<Recipient>, state, attempts, next, status, extra, received, size }
//! ```

mod change;
mod content;
mod disk;
mod draft;
mod event;
mod limits;
mod open;
mod order;
mod queue;
mod records;
mod refused;
mod schema;
mod segment;
mod settings;
mod spool;
mod writer;

pub use content::{Content, Loaded, Part};
pub use disk::{Disk, Faults, Operation};
pub use draft::{Committed, Draft};
pub use event::Event;
pub use limits::Limits;
pub use open::OpenError;
pub use order::{Action, Order, Selection};
pub use queue::{Alert, Delivery, LaneDue, NewDelivery, Outcome, QueueEntry, Settle, State, Stored, Usage};
pub use records::{AuditEntry, AuditFilter};
pub use refused::Refused;
pub use settings::Version;
pub use spool::Store;
