//! Diagnosis on demand, while it is made.

use crate::Problem;
use async_trait::async_trait;
use mail::{Finding, Time};
use serde::Serialize;

#[async_trait]
pub trait DiagnoseReader: Send + Sync + 'static {
    /// Begins to look at an address, an Audit ID, or a client or sender; gives its number. `from`: the sender to greet with,
    /// empty for the postmaster.
    fn diagnose(&self, q: &str, from: &str) -> Result<u64, Problem>;
    /// What was seen after the first `seen` steps, after waiting at most `ms` for more. `None`: not known any more.
    async fn diagnosis(&self, number: u64, seen: usize, ms: u64) -> Option<Diagnosis>;
}

/// A diagnosis, finished or not.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Diagnosis {
    pub number: u64,
    /// What was asked.
    pub q: String,
    pub steps: Vec<Step>,
    /// Present when it is over.
    pub result: Option<Diagnosed>,
    /// Why there is no result.
    pub problem: Option<Problem>,
}

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Step {
    #[schema(value_type = i64)]
    pub at: Time,
    /// `DNS`, `connect`, `said`, `heard`, `experiment`, `note`.
    pub stage: String,
    /// The host that it is about, if it is about one.
    pub host: String,
    pub text: String,
}

/// What it came to.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Diagnosed {
    /// The cause first.
    #[schema(value_type = Vec<Object>)]
    pub findings: Vec<Finding>,
    /// Experiments that were not made, and why: the budget is spent, the settings forbid it.
    pub not_looked_at: Vec<String>,
    /// The attempt, visit or event that was looked at.
    #[schema(value_type = Object)]
    pub record: serde_json::Value,
}

impl Diagnosis {
    pub fn is_over(&self) -> bool {
        self.result.is_some() || self.problem.is_some()
    }
}
