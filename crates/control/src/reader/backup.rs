//! A backup to take away, and one to bring back.

use crate::{Account, Problem};
use async_trait::async_trait;
use axum::body::Bytes;
use mail::Time;
use serde::Serialize;
use tokio::sync::mpsc::Receiver;

#[async_trait]
pub trait BackupReader: Send + Sync + 'static {
    /// Settings and accounts of this moment, as one file; that it was taken is written down.
    async fn backup(&self, by: &Account) -> Result<Vec<u8>, Problem>;
    /// Takes a backup in, as its octets come, checks it whole and keeps it aside, in place of the one taken in before. Nothing is
    /// changed by it.
    async fn backup_take(&self, octets: Receiver<Bytes>) -> Result<TakenIn, Problem>;
    /// What was taken in, by its id.
    async fn backup_taken(&self, id: &str) -> Result<TakenIn, Problem>;
    /// Puts its accounts in place of those that there are. `keep`: whoever asks stays as they are.
    async fn backup_accounts(&self, by: &Account, id: &str, keep: bool) -> Result<(), Problem>;
}

/// A backup that is kept aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TakenIn {
    pub id: String,
    /// When it was made, in milliseconds since 1970.
    #[schema(value_type = i64)]
    pub made: Time,
    /// Of the gatepost that made it.
    pub version: String,
    /// The settings that were in force, in TOML.
    pub settings: String,
    /// Name and role; who could not sign in has the role `disabled`.
    pub administrators: Vec<(String, String)>,
    pub tokens: Vec<(String, String)>,
}
