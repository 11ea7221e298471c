//! How mail is doing: what the dashboard shows.

use crate::Problem;
use async_trait::async_trait;
use mail::Time;
use serde::{Deserialize, Serialize};

#[async_trait]
pub trait OverviewReader: Send + Sync + 'static {
    /// The figures of the last hour, day or thirty days.
    async fn overview(&self, span: Span) -> Result<Overview, Problem>;
}

/// How far back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    Hour,
    #[default]
    Day,
    Month,
}

/// Outcomes of which the dashboard has figures, in the words of the audit log's `outcome`.
pub const COUNTED: [&str; 5] = ["accepted", "refused", "delivered", "deferred", "bounced"];

/// How mail is doing. Each figure is the number of times that something happened from `from` to `until`; the audit log with the
/// same `outcome`, `listener`, `cause`, `from` and `until` shows the messages, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Overview {
    /// When this was read, in milliseconds since 1970; all times likewise.
    #[schema(value_type = i64)]
    pub at: Time,
    #[schema(value_type = i64)]
    pub from: Time,
    #[schema(value_type = i64)]
    pub until: Time,
    /// Width of a column.
    pub step_ms: i64,
    /// In order of time, those in which nothing happened as well.
    pub columns: Vec<Column>,
    /// Figures by outcome and listener, those that are not 0.
    pub totals: Vec<Total>,
    /// The causes found, the most frequent first.
    pub causes: Vec<CauseTotal>,
    /// The message that has been in the queue longest.
    pub oldest: Option<Oldest>,
    /// The Scanners of this gateway, as far as they are enrolled or named in its settings; `/api/v1/scanners` says more.
    pub scanners: Vec<ScannerState>,
    /// The last identity check.
    pub identity: Option<IdentityState>,
    /// Changes of the queue that are not counted yet.
    pub behind: u64,
}

/// One column of the charts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Column {
    /// Its beginning.
    #[schema(value_type = i64)]
    pub at: Time,
    /// In the order of `accepted`, `refused`, `delivered`, `deferred`, `bounced`.
    pub counts: [u64; 5],
    /// Octets of messages accepted and delivered.
    pub octets: [u64; 2],
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Total {
    pub outcome: String,
    /// Empty: it came by none.
    pub listener: String,
    pub count: u64,
    pub octets: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct CauseTotal {
    pub cause: String,
    pub count: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Oldest {
    /// Audit ID.
    pub id: String,
    #[schema(value_type = i64)]
    pub received: Time,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ScannerState {
    pub name: String,
    /// Empty: not known.
    pub version: String,
    pub state: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct IdentityState {
    pub is_well: bool,
    pub words: String,
}

impl Span {
    pub const ALL: [Span; 3] = [Span::Hour, Span::Day, Span::Month];

    /// As addresses write it.
    pub fn word(self) -> &'static str {
        match self {
            Span::Hour => "hour",
            Span::Day => "day",
            Span::Month => "month",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Span::Hour => "1 hour",
            Span::Day => "24 hours",
            Span::Month => "30 days",
        }
    }

    /// Columns, and the milliseconds of each.
    pub fn columns(self) -> (i64, i64) {
        match self {
            Span::Hour => (60, 60_000),
            Span::Day => (48, 1_800_000),
            Span::Month => (30, 86_400_000),
        }
    }
}

impl Overview {
    /// How often something happened, by all listeners or one.
    pub fn total(&self, outcome: &str, listener: Option<&str>) -> u64 {
        let fits =
            |total: &&Total| total.outcome == outcome && listener.is_none_or(|listener| total.listener == listener);
        self.totals.iter().filter(fits).map(|total| total.count).sum()
    }

    pub fn octets(&self, outcome: &str) -> u64 {
        self.totals.iter().filter(|total| total.outcome == outcome).map(|total| total.octets).sum()
    }
}
