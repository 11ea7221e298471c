//! A queue for tests: one cause, one domain, one message.

use super::World;
use crate::{
    Causes, Down, HopCheck, Incident, PageOf, Problem, QueuePage, QueueReader, Queued, QueuedDomain, Selected,
};
use async_trait::async_trait;
use mail::{Actor, Finding, Time};

const NOW: i64 = super::NOW.0;

pub(super) fn finding() -> Finding {
    Finding::new(
        "dns.mx_target_missing",
        Actor::TheirDns,
        "typo.test's only MX mx.typo.test has no address <script>alert(1)</script>",
    )
    .evidence("mx.typo.test A: NXDOMAIN")
    .fix("Publish an address for mx.typo.test")
}

#[async_trait]
impl QueueReader for World {
    async fn queue(&self, _: &Selected, _: &PageOf) -> Result<QueuePage, Problem> {
        let message = Queued {
            key: "01K8Z6T3WQM2V:0".to_owned(),
            id: "01K8Z6T3WQM2V".to_owned(),
            sender: "ann@corp.test".to_owned(),
            recipients: vec!["bob@typo.test".to_owned()],
            domain: "typo.test".to_owned(),
            rerouted: None,
            state: "queued".to_owned(),
            status: "450 4.4.3 [internal] <img src=x onerror=alert(1)>".to_owned(),
            finding: Some(finding()),
            attempts: 3,
            next_attempt: Some(Time(NOW + 600_000)),
            down_until: None,
            received: Time(NOW - 7_200_000),
            expires: Time(NOW + 86_400_000),
            size: 4096,
        };
        Ok(QueuePage { messages: vec![message], next: Some("5.01K8Z6T3WQM2V.0".to_owned()), looked: 64, queued: 1_234 })
    }

    /// Two pages, of one incident each.
    async fn causes(&self, _: usize, after: Option<&str>) -> Result<Causes, Problem> {
        let mut incident = Incident {
            open: true,
            cause: "dns.mx_target_missing".to_owned(),
            object: "mx.typo.test".to_owned(),
            finding: finding(),
            count: 1_200,
            domains: vec!["typo.test".to_owned()],
            recipients: vec!["bob@typo.test".to_owned()],
            since: Some(Time(NOW - 7_200_000)),
            last: None,
            next_attempt: Some(Time(NOW + 600_000)),
            first_expiry: Some(Time(NOW + 86_400_000)),
            changed: vec!["settings: version 6 → 7".to_owned()],
            example: "01K8Z6T3WQM2V".to_owned(),
        };
        if after.is_some() {
            (incident.object, incident.count) = ("mx.other.test".to_owned(), 7);
        }
        let next = after.is_none().then(|| "1200/dns.mx_target_missing/mx.typo.test".to_owned());
        Ok(Causes { incidents: vec![incident], next, open: 2, explained: 1_207 })
    }

    async fn queued_domains(&self, _: usize, _: usize) -> Result<(Vec<QueuedDomain>, u64), Problem> {
        let down = Down {
            since: Time(NOW - 60_000),
            until: Time(NOW + 60_000),
            last_failure: "connection timed out".to_owned(),
        };
        let domain = QueuedDomain {
            domain: "typo.test".to_owned(),
            rerouted: None,
            count: 1_200,
            next_attempt: None,
            paused: true,
            down: Some(down),
        };
        Ok((vec![domain], 1))
    }

    async fn hop(&self, hop: &str) -> Result<HopCheck, Problem> {
        let problem = (hop == "ourselves.test").then(|| "ourselves.test is this gateway itself".to_owned());
        Ok(HopCheck { hosts: vec![hop.to_owned()], problem })
    }
}
