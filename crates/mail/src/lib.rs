//! The nouns of mail, as the RFCs name them: addresses, envelopes, replies, statuses, attempts.
//!
//! Nothing here does anything: no clock, no socket, no disk, no randomness. Time is an argument.

mod address;
mod attempt;
mod audit_id;
pub mod dns;
mod domain;
mod envelope;
mod finding;
mod header;
pub mod hello;
mod identity;
mod received;
mod reply;
pub mod report;
mod spf;
mod stage;
pub mod status;
mod time;
mod visit;

pub use address::{Address, AddressError, ReversePath};
pub use attempt::{
    Attempt, Certificate, Connect, Culprit, Distrust, Dropped, Failure, HostTry, RcptSaid, Said, Speaker, TlsHello,
    TlsUse, Via, Why,
};
pub use audit_id::AuditId;
pub use domain::{Domain, DomainError};
pub use envelope::{Body, Envelope, Listener, Notify, Origin, Recipient, Ret};
pub use finding::{Actor, Confidence, Finding, Retry, Severity};
pub use header::{Field, Headers, header_end};
pub use identity::{Identity, Scanner};
pub use received::{Hop, received};
pub use reply::{Reply, ReplyError};
pub use spf::{SpfCheck, SpfLink, SpfResult};
pub use stage::Stage;
pub use status::{EnhancedStatus, Status};
pub use time::Time;
pub use visit::{
    Carried, Deal, End, Fault, Greylisted, Known, ListWord, Listing, Reflected, Refusal, Return, Scan, ScanWord,
    Storage, Verified, Visit, looks_like_utf16,
};
