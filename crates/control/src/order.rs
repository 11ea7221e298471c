//! Order: the only way in which a page changes the world. Each is written down with who gave it.

use crate::{Account, Problem};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Which deliveries: all that is given must match. Nothing given: all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Selected {
    /// Audit IDs.
    pub ids: Vec<String>,
    pub sender: Option<String>,
    pub recipient: Option<String>,
    pub domain: Option<String>,
    /// Part of the status text.
    pub text: Option<String>,
    pub held: Option<bool>,
    pub older_than_ms: Option<u64>,
    /// `host[:port]`.
    pub next_hop: Option<String>,
    /// A finding's cause id.
    pub cause: Option<String>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    Retry {
        which: Selected,
    },
    Hold {
        which: Selected,
        why: String,
    },
    Release {
        which: Selected,
    },
    Delete {
        which: Selected,
    },
    Reroute {
        which: Selected,
        hop: String,
    },
    /// A test message through the real path, from the postmaster.
    Send {
        to: String,
        subject: String,
        body: String,
    },
    /// A whole settings document in TOML, as a new version.
    SettingsApply {
        text: String,
        comment: String,
    },
    SettingsRollback {
        version: u64,
    },
}

/// What an order did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Done {
    /// Deliveries concerned.
    pub count: u64,
    /// Audit ID of what was sent, or number of the new settings version.
    pub made: Option<String>,
    pub dry_run: bool,
}

#[async_trait]
pub trait Orders: Send + Sync + 'static {
    /// Carries an order out. `dry_run`: says only what it would concern.
    async fn order(&self, by: &Account, order: Order, dry_run: bool) -> Result<Done, Problem>;
}
