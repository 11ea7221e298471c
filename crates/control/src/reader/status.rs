//! The gateway's state in a few figures.

use async_trait::async_trait;
use mail::Time;
use serde::Serialize;

#[async_trait]
pub trait StatusReader: Send + Sync + 'static {
    /// The gateway's clock.
    fn now(&self) -> Time;
    /// Metrics in Prometheus' text form.
    fn metrics(&self) -> String;
    /// Whether mail is accepted and delivered, and the figures behind it.
    fn health(&self) -> Health;
}

/// The gateway's state in a few figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Health {
    /// Mail is accepted: not draining, not stopping, disk above its reserve.
    pub accepting: bool,
    pub version: String,
    pub hostname: String,
    pub mode: String,
    pub settings_version: i64,
    /// Deliveries in the queue, and those of them that are held.
    pub queued: u64,
    pub held: u64,
    /// Bytes.
    pub disk_free: u64,
    pub disk_reserve: u64,
    /// What was set aside or went wrong, newest last.
    pub alerts: Vec<String>,
}
