//! The log, read from its end, through the files that rotation left.

use crate::Problem;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

#[async_trait]
pub trait LogReader: Send + Sync + 'static {
    /// Lines that match, the newest last; looks backwards from `before` (absent: the end) for a bounded time, from file to file.
    async fn log(&self, asked: &LogAsked, before: Option<&str>, limit: usize) -> Result<LogPage, Problem>;
    /// Lines that match and were written behind octet `from`, after waiting at most `ms` for one.
    async fn log_after(&self, asked: &LogAsked, from: u64, ms: u64) -> Result<LogPage, Problem>;
    /// Octets of one of the files from `from` on; empty: that was its end.
    async fn log_octets(&self, file: &str, from: u64) -> Result<Vec<u8>, Problem>;
}

/// Which lines. An empty field is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, utoipa::IntoParams, utoipa::ToSchema)]
#[serde(default)]
pub struct LogAsked {
    /// `ML-DELIVERY`, or a part of a tag.
    pub tag: String,
    /// `info`, `notice`, `warning`.
    pub level: String,
    /// An Audit ID.
    pub id: String,
    /// A part of the line; case does not matter.
    pub text: String,
    /// `2026-11-25 14:00`, in the zone of the log itself.
    pub from: String,
    pub until: String,
}

/// A piece of the log.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct LogPage {
    pub lines: Vec<LogLine>,
    /// Look further back from here; absent: that was the beginning of the oldest file.
    pub before: Option<String>,
    /// Octet of the newest file behind the last that was looked at: for what is written later.
    pub end: u64,
    /// Octets looked at.
    pub looked: u64,
    /// The file that is written to, then those that rotation left, the newest first.
    pub files: Vec<LogFile>,
    /// Files that rotation compressed: they are not looked at.
    pub compressed: u64,
}

/// A file of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct LogFile {
    pub name: String,
    /// Octets.
    pub size: u64,
}

/// One line, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct LogLine {
    /// As the log writes it: local time with its zone.
    pub time: String,
    pub level: String,
    pub tag: String,
    /// Empty if there is none.
    pub audit_id: String,
    /// What follows.
    pub text: String,
}
