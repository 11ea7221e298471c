//! What the setup after the first start asks.

use crate::Problem;
use async_trait::async_trait;
use serde::Serialize;

#[async_trait]
pub trait SetupReader: Send + Sync + 'static {
    /// The settings document in force, as text.
    async fn document(&self) -> Result<String, Problem>;
    /// A file owns the settings (`settings_file` of gatepost.toml): they are changed there.
    fn is_owned_by_file(&self) -> bool;
    /// How a host name looks from outside, asked of DNS now.
    async fn look(&self, hostname: &str) -> Result<Vec<Looked>, Problem>;
}

/// One fact about a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// `good`, `info`, `plain` (not known), `warn`, `bad`.
    pub kind: &'static str,
    pub sentence: String,
    /// The record or setting to change.
    pub fix: Vec<String>,
}
