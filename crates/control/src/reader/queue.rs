//! What waits, by cause, by domain, by message; and how much an order on it would concern.

use crate::{Problem, Selected};
use async_trait::async_trait;
use mail::{Finding, Time};
use serde::{Deserialize, Serialize};

#[async_trait]
pub trait QueueReader: Send + Sync + 'static {
    /// A piece of the queue.
    async fn queue(&self, which: &Selected, of: &PageOf) -> Result<QueuePage, Problem>;
    /// What waits, grouped by cause, the most first, from behind `next` of the page before; with the first page, what was refused
    /// within a day.
    async fn causes(&self, limit: usize, after: Option<&str>) -> Result<Causes, Problem>;
    /// Recipient domains with mail in the queue, the most first, and how many domains there are.
    async fn queued_domains(&self, skip: usize, limit: usize) -> Result<(Vec<QueuedDomain>, u64), Problem>;
    /// Where mail sent by this next hop would go, or why it would not.
    async fn hop(&self, hop: &str) -> Result<HopCheck, Problem>;
}

/// In what order messages come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QueueSort {
    /// By the age of the message.
    #[default]
    Oldest,
    Newest,
    /// By next attempt, the soonest first.
    Next,
    /// Those first that expire first.
    Expiry,
    /// The most attempts first, without those never tried.
    Attempts,
    /// The largest first, without those up to 16 KiB.
    Largest,
}

/// What a page of the queue asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageOf {
    pub sort: QueueSort,
    pub limit: usize,
    /// `next` of the page before.
    pub after: Option<String>,
}

/// A piece of the queue.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct QueuePage {
    pub messages: Vec<Queued>,
    /// Ask for what follows with this as `after`; absent: that was all. A page may end early: looking through a long queue
    /// takes several.
    pub next: Option<String>,
    /// Deliveries looked at.
    pub looked: u64,
    /// Deliveries in the whole queue.
    pub queued: u64,
}

/// One delivery: the recipients of one message in one domain.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Queued {
    /// `AUDIT-ID:N`, for `Selected.ids`.
    pub key: String,
    /// Audit ID.
    pub id: String,
    /// Empty: the null sender.
    pub sender: String,
    pub recipients: Vec<String>,
    pub domain: String,
    /// The next hop that an administrator gave it.
    pub rerouted: Option<String>,
    /// `queued`, `held`, or `set-aside` (damaged on disk).
    pub state: String,
    pub status: String,
    #[schema(value_type = Option<Object>)]
    pub finding: Option<Finding>,
    pub attempts: u32,
    /// Milliseconds since 1970, here and below; absent while held.
    #[schema(value_type = Option<i64>)]
    pub next_attempt: Option<Time>,
    /// Its destination is down until then.
    #[schema(value_type = Option<i64>)]
    pub down_until: Option<Time>,
    #[schema(value_type = i64)]
    pub received: Time,
    #[schema(value_type = i64)]
    pub expires: Time,
    /// Octets.
    pub size: u64,
}

/// A piece of the list of incidents.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Causes {
    pub incidents: Vec<Incident>,
    /// Ask for what follows with this as `after`; absent: that was all.
    pub next: Option<String>,
    /// Open incidents in all, and the deliveries that wait for them.
    pub open: u64,
    pub explained: u64,
}

/// Mail that waits, or was refused, for one cause.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Incident {
    /// Mail waits for it now; else it only refused or returned mail within a day.
    pub open: bool,
    pub cause: String,
    /// What the finding is about: a host, a destination; empty: all mail. One cause and object are one incident.
    pub object: String,
    #[schema(value_type = Object)]
    pub finding: Finding,
    /// Deliveries.
    pub count: u64,
    /// Some of its domains and recipients.
    pub domains: Vec<String>,
    pub recipients: Vec<String>,
    /// When the oldest of them came, or the first was refused.
    #[schema(value_type = Option<i64>)]
    pub since: Option<Time>,
    #[schema(value_type = Option<i64>)]
    pub last: Option<Time>,
    #[schema(value_type = Option<i64>)]
    pub next_attempt: Option<Time>,
    /// When the first of them expires.
    #[schema(value_type = Option<i64>)]
    pub first_expiry: Option<Time>,
    /// What differs from before it began.
    pub changed: Vec<String>,
    /// Audit ID of one of them.
    pub example: String,
}

/// A recipient domain with mail in the queue.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct QueuedDomain {
    pub domain: String,
    /// The next hop that an administrator gave this part of its mail.
    pub rerouted: Option<String>,
    /// Deliveries.
    pub count: u64,
    #[schema(value_type = Option<i64>)]
    pub next_attempt: Option<Time>,
    /// The settings keep its mail (`queue.paused`).
    pub paused: bool,
    pub down: Option<Down>,
}

/// A destination that failed repeatedly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Down {
    #[schema(value_type = i64)]
    pub since: Time,
    #[schema(value_type = i64)]
    pub until: Time,
    pub last_failure: String,
}

/// What a next hop comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct HopCheck {
    /// `host [address]:port` in the order of trying.
    pub hosts: Vec<String>,
    /// Why it would not work: its name has no address, it is this gateway itself.
    pub problem: Option<String>,
}
