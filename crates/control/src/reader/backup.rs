//! A backup to take away.

use crate::{Account, Problem};
use async_trait::async_trait;

#[async_trait]
pub trait BackupReader: Send + Sync + 'static {
    /// Settings and accounts of this moment, as one file; that it was taken is written down.
    async fn backup(&self, by: &Account) -> Result<Vec<u8>, Problem>;
}
