//! Order: the only way in which a page changes the world. Each is written down with who gave it.

use crate::{Account, Problem};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Which deliveries: all that is given must match. Nothing given: all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Selected {
    /// Audit IDs, or `AUDIT-ID:N` for one delivery of a message.
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
    /// What the finding is about, as an incident says it.
    pub object: Option<String>,
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
        /// Empty: back to the way that the settings say.
        hop: String,
    },
    /// A test message through the real path, from the postmaster.
    Send {
        to: String,
        subject: String,
        body: String,
    },
    /// A test alert to all whom the settings name.
    AlertTest,
    /// A whole settings document in TOML, as a new version.
    SettingsApply {
        text: String,
        comment: String,
        /// The version that it was made from: refused if another is in force by now.
        #[serde(default)]
        base: Option<i64>,
    },
    SettingsRollback {
        version: u64,
        /// The version that was in force when it was decided: refused if another is by now.
        #[serde(default)]
        base: Option<i64>,
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

/// An order that was begun, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Work {
    pub number: u64,
    /// Who began it.
    pub by: String,
    pub order: Order,
    pub dry_run: bool,
    /// Deliveries looked at or done so far.
    pub so_far: u64,
    /// How it ended; absent: it has not.
    pub done: Option<Done>,
    pub problem: Option<Problem>,
}

#[async_trait]
pub trait Orders: Send + Sync + 'static {
    /// Carries an order out. `dry_run`: says only what it would concern.
    async fn order(&self, by: &Account, order: Order, dry_run: bool) -> Result<Done, Problem>;
    /// Begins an order that may take long; it goes on whoever listens. Gives its number.
    fn begin(&self, by: &Account, order: Order, dry_run: bool) -> u64;
    /// How far it is, after waiting for its end for at most `ms`. `None`: too many orders ago, or before a restart.
    async fn work(&self, number: u64, ms: u64) -> Option<Work>;
}

impl Selected {
    /// Nothing given: everything.
    pub fn is_all(&self) -> bool {
        *self == Selected::default()
    }
}

impl Order {
    /// The word of the button.
    pub fn verb(&self) -> &'static str {
        match self {
            Order::Retry { .. } => "Retry",
            Order::Hold { .. } => "Hold",
            Order::Release { .. } => "Release",
            Order::Delete { .. } => "Delete",
            Order::Reroute { .. } => "Reroute",
            Order::Send { .. } | Order::AlertTest => "Send",
            Order::SettingsApply { .. } | Order::SettingsRollback { .. } => "Apply",
        }
    }

    /// The deliveries that it concerns, if it is about mail.
    pub fn which(&self) -> Option<&Selected> {
        match self {
            Order::Retry { which }
            | Order::Hold { which, .. }
            | Order::Release { which }
            | Order::Delete { which }
            | Order::Reroute { which, .. } => Some(which),
            Order::Send { .. } | Order::AlertTest | Order::SettingsApply { .. } | Order::SettingsRollback { .. } => {
                None
            }
        }
    }
}
