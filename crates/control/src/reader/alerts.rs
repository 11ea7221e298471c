//! What administrators were told of.

use async_trait::async_trait;
use mail::Time;
use serde::Serialize;

use crate::Problem;

#[async_trait]
pub trait AlertReader: Send + Sync + 'static {
    /// Newest first.
    async fn alerts(&self, limit: usize) -> Result<Vec<Alert>, Problem>;
    /// Whom the settings name: addresses, and the webhook's host.
    fn alert_targets(&self) -> Vec<String>;
}

/// One thing that needed somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Alert {
    pub about: String,
    pub what: String,
    #[schema(value_type = i64)]
    pub began: Time,
    /// None: it still is.
    #[schema(value_type = Option<i64>)]
    pub ended: Option<Time>,
    /// Whom, and how it went.
    pub told: String,
}
