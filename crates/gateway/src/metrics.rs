//! Metrics: counters and gauges in Prometheus' text form.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct ByListener {
    pub(crate) listener: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct ByCode {
    pub(crate) listener: &'static str,
    pub(crate) code: u16,
}

#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) connections: Family<ByListener, Gauge>,
    pub(crate) accepted: Family<ByListener, Counter>,
    pub(crate) refused: Family<ByCode, Counter>,
    pub(crate) delivered: Counter,
    pub(crate) deferred: Counter,
    pub(crate) bounced: Counter,
    pub(crate) couriers: Gauge,
    pub(crate) queued: Gauge,
    pub(crate) held: Gauge,
    pub(crate) disk_free: Gauge,
    pub(crate) audit_behind: Gauge,
    pub(crate) identity_problems: Gauge,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("gatepost"),
            connections: Family::default(),
            accepted: Family::default(),
            refused: Family::default(),
            delivered: Counter::default(),
            deferred: Counter::default(),
            bounced: Counter::default(),
            couriers: Gauge::default(),
            queued: Gauge::default(),
            held: Gauge::default(),
            disk_free: Gauge::default(),
            audit_behind: Gauge::default(),
            identity_problems: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("connections", "Open connections of clients", metrics.connections.clone());
        registry.register("messages_accepted", "Messages acknowledged with 250", metrics.accepted.clone());
        registry.register("refusals", "Replies of class 4 and 5 to clients", metrics.refused.clone());
        registry.register("recipients_delivered", "Recipients handed to a next hop", metrics.delivered.clone());
        registry.register("recipients_deferred", "Recipients put off by a failed attempt", metrics.deferred.clone());
        registry.register("recipients_bounced", "Recipients given up", metrics.bounced.clone());
        registry.register("delivery_connections", "Open connections to next hops", metrics.couriers.clone());
        registry.register("queue_deliveries", "Deliveries in the queue", metrics.queued.clone());
        registry.register("queue_held", "Deliveries held", metrics.held.clone());
        registry.register("disk_free_bytes", "Free space on the data folder's disk", metrics.disk_free.clone());
        registry.register("audit_behind", "Commits that are not in the audit trail yet", metrics.audit_behind.clone());
        let help = "Problems that the last identity check found";
        registry.register("identity_problems", help, metrics.identity_problems.clone());
        metrics
    }
}

impl Metrics {
    /// All of them, in the OpenMetrics text form.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
