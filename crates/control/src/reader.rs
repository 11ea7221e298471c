//! Reader: all that pages may know. One file for each subject; the gateway implements them over its own data.

pub mod alerts;
pub mod backup;
pub mod certificates;
pub mod destination;
pub mod diagnose;
pub mod explain;
pub mod log;
pub mod overview;
pub mod queue;
pub mod settings;
pub mod setup;
pub mod status;
pub mod trail;

pub use alerts::{Alert, AlertReader};
pub use backup::{BackupReader, TakenIn};
pub use certificates::{CertificateReader, Examined, Kept, Note, Sent, Shown};
pub use destination::{
    AttemptSeen, Destination, DestinationHost, DestinationReader, DestinationRow, Spread, StageTime, TlsSeen,
};
pub use diagnose::{DiagnoseReader, Diagnosed, Diagnosis, Step};
pub use explain::{ExplainReader, Explained, FindingPage, ReplyPage, StatusPage};
pub use log::{LogAsked, LogFile, LogLine, LogPage, LogReader};
pub use overview::{
    COUNTED, CauseTotal, Column, IdentityState, Oldest, Overview, OverviewReader, ScannerState, Span, Total,
};
pub use queue::{Causes, Down, HopCheck, Incident, PageOf, QueuePage, QueueReader, QueueSort, Queued, QueuedDomain};
pub use settings::{Checked, Document, Looks, RouteTry, SettingsReader, Version};
pub use setup::{Looked, SetupReader};
pub use status::{Health, StatusReader};
pub use trail::{
    AuditFilter, AuditPage, AuditRow, Happening, Inside, LISTENERS, Message, OUTCOMES, Part, TrailReader, Waiting,
};

use serde::Serialize;

macro_rules! subjects {
    ($($reader:ident)*) => {
        /// All subjects together.
        pub trait Reader: $($reader +)* {}

        impl<T: $($reader +)*> Reader for T {}
    };
}

// Add a line.
subjects! {
    AlertReader
    BackupReader
    CertificateReader
    DestinationReader
    DiagnoseReader
    ExplainReader
    LogReader
    OverviewReader
    QueueReader
    SettingsReader
    SetupReader
    StatusReader
    TrailReader
}

/// Why a question has no answer, or an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(tag = "problem", rename_all = "kebab-case")]
pub enum Problem {
    /// What was asked for is not there.
    Unknown { what: String },
    /// What was typed is no good: the field, the reason, and what to do.
    Field { field: String, what: String },
    /// It does not fit what is there: another version came in force, a file owns the settings, it is the last of its kind.
    Conflict { what: String },
    /// The gateway could not: disk, DNS, another program.
    Failed { what: String },
}

impl Problem {
    pub fn what(&self) -> &str {
        match self {
            Problem::Unknown { what }
            | Problem::Field { what, .. }
            | Problem::Conflict { what }
            | Problem::Failed { what } => what,
        }
    }
}
