//! Where mail goes, and how that is going.

use crate::{Down, Problem};
use async_trait::async_trait;
use mail::{Certificate, Finding, Time};
use serde::Serialize;
use std::time::Duration;

#[async_trait]
pub trait DestinationReader: Send + Sync + 'static {
    /// Destinations with mail or contact lately, those in trouble first, then the most mail.
    async fn destinations(&self) -> Result<Vec<DestinationRow>, Problem>;
    /// All about the way of one recipient domain, waiting so long for DNS; the lookup goes on for whoever asks next.
    async fn destination(&self, domain: &str, dns: Duration) -> Result<Destination, Problem>;
}

/// The same next hops, whose connections are shared.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct DestinationRow {
    /// Next hops, or the domain whose MX records name them.
    pub name: String,
    /// TLS on this way, as in the settings: `off`, `offer`, `require`, `verify`.
    pub tls: String,
    /// Some of the recipient domains that go this way, those with the most mail first.
    pub domains: Vec<String>,
    pub domain_count: u64,
    /// Deliveries in the queue.
    pub waiting: u64,
    /// Deliveries being attempted now.
    pub in_flight: u32,
    /// Open connections.
    pub connections: u32,
    /// Failures in a row since a host last talked.
    pub failures: u32,
    pub down: Option<Down>,
    /// Hosts tried within the hour, and those of them that took mail.
    pub tried: u64,
    pub delivered: u64,
    /// Of connecting within the hour, in milliseconds.
    pub connect: Option<Spread>,
}

/// A middle and a slow value, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Spread {
    pub count: u64,
    pub median_ms: u64,
    pub p95_ms: u64,
}

/// The way of one recipient domain.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Destination {
    pub domain: String,
    /// What its connections are shared by.
    pub name: String,
    /// The routing rule, with its line in the settings.
    pub rule: String,
    pub settings_version: i64,
    /// TLS on this way, as the settings say.
    pub tls_policy: String,
    /// DNS has said where to in time. Otherwise hosts, notes and verdict are not known, which does not mean that there are none.
    pub route_known: bool,
    /// Hosts in the order of trying.
    pub hosts: Vec<DestinationHost>,
    /// Hosts left out, with the reason.
    pub dropped: Vec<String>,
    /// What is odd about the route but not in the way.
    pub notes: Vec<String>,
    /// What DNS said, one line an answer.
    pub dns: Vec<String>,
    /// Why mail cannot be sent, if it cannot.
    pub verdict: Option<String>,
    pub waiting: u64,
    pub in_flight: u32,
    pub connections: u32,
    pub failures: u32,
    pub down: Option<Down>,
    /// The settings keep its mail.
    pub paused: bool,
    /// `delivery.connections_per_address` and `delivery.connections`.
    pub connections_per_address: u32,
    pub connections_max: u32,
    /// Times of the stages of recent attempts.
    pub stages: Vec<StageTime>,
    /// The newest conversation under TLS.
    pub tls: Option<TlsSeen>,
    /// Recent attempts, the newest first.
    pub attempts: Vec<AttemptSeen>,
    #[schema(value_type = Vec<Object>)]
    pub findings: Vec<Finding>,
}

/// One address of a destination.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct DestinationHost {
    pub host: String,
    /// With its port.
    pub address: String,
    pub preference: u16,
    /// Our connections to it now.
    pub connections: u32,
    /// It refused more than so many connections; it is given no more until then.
    pub learned_max: Option<u32>,
    #[schema(value_type = Option<i64>)]
    pub learned_until: Option<Time>,
}

/// How long one stage takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct StageTime {
    pub stage: String,
    pub time: Spread,
}

/// What a conversation under TLS showed.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct TlsSeen {
    #[schema(value_type = i64)]
    pub at: Time,
    pub host: String,
    pub version: String,
    pub cipher: String,
    /// What verifying the certificate would have said.
    pub unverified: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub certificate: Option<Certificate>,
}

/// One attempt.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct AttemptSeen {
    /// Audit ID of the message.
    pub id: String,
    #[schema(value_type = i64)]
    pub at: Time,
    pub good: bool,
    /// `host [address]`, of the last host tried.
    pub host: String,
    pub status: String,
    #[schema(value_type = Option<Object>)]
    pub finding: Option<Finding>,
}
