//! What must survive a crash: the spool of queued mail, the audit trail and the settings. The only crate that touches the disk.
//!
//! A message comes in as a [`Draft`]; its commit makes content, envelope, deliveries and audit events durable in one
//! step and gives a [`Committed`], without which there is no 250. From then on it is a [`Delivery`] for each way its
//! recipients go, kept in a lane, found by [`Store::due`] and ended by [`Store::settle`].
//!
//! In the data folder:
//! - `spool.db`: the queue, with content of up to 16 KiB (SQLite, WAL, synchronous=FULL; see `schema`)
//! - `segments/`: longer content, written and synced before the spool refers to it (see `segment`)
//! - `records.db`: the audit trail, filled from the spool's outbox (see `records`); if it is lost, no mail is
//! - `settings.db`: every version of the settings
//! - `alarms.db`: what administrators were told of
//! - `accounts.db`: administrators, their sessions, tokens and acts; other Scanners
//! - `lock`: held by the one process that uses the folder
//!
//! Invariants:
//! - One thread changes the spool (`writer`); everybody else reads.
//! - What the spool refers to is on disk; what nothing refers to is removed when the store is opened.
//! - Audit events commit with the change they tell of, and reach the trail exactly once.
//! - What fails is refused or tried again, what is damaged is set aside and told; the rest goes on.

mod accounts;
mod alarms;
pub mod backup;
mod change;
mod content;
mod disk;
mod draft;
mod event;
mod incident;
mod limits;
mod memory;
mod open;
mod order;
mod page;
mod queue;
mod records;
mod refused;
mod scanners;
mod schema;
mod segment;
mod settings;
mod spool;
mod writer;

pub use accounts::{Accounts, Act, Administrator, Failures, Session, Token};
pub use alarms::{Alarm, Alarms};
pub use content::{Content, Loaded, Part};
pub use disk::{Disk, Faults, Operation};
pub use draft::{Committed, Draft};
pub use event::{Event, PACKED, pack, packed_text, unpack};
pub use incident::{Cause, Incident, IncidentCursor, IncidentHead};
pub use limits::Limits;
pub use memory::Remembered;
pub use open::OpenError;
pub use order::{Action, NO_CAUSE, Order, Selection};
pub use page::{Cursor, Page, PageOf, Sort};
pub use queue::{Alert, Delivery, LaneDue, NewDelivery, Outcome, QueueEntry, Settle, State, Stored, Usage};
pub use records::{AuditCursor, AuditEntry, AuditFilter, AuditPage, CauseCount, Class, Stat, Step};
pub use refused::Refused;
pub use scanners::Scanner;
pub use settings::{Version, stored as settings_text};
pub use spool::Store;
