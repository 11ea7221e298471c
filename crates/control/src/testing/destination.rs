//! A destination in trouble, for tests.

use super::{NOW, World};
use crate::{
    AttemptSeen, Destination, DestinationHost, DestinationReader, DestinationRow, Down, Problem, Spread, StageTime,
    TlsSeen,
};
use async_trait::async_trait;
use mail::{Certificate, Time};
use std::time::Duration;

fn down() -> Down {
    let last_failure = "<i>timed out".to_owned();
    Down { since: Time(NOW.0 - 60_000), until: Time(NOW.0 + 60_000), last_failure }
}

fn spread() -> Spread {
    Spread { count: 7, median_ms: 12, p95_ms: 90 }
}

#[async_trait]
impl DestinationReader for World {
    async fn destinations(&self) -> Result<Vec<DestinationRow>, Problem> {
        Ok(vec![DestinationRow {
            name: "typo.test".to_owned(),
            tls: "offer".to_owned(),
            domains: vec!["typo.test".to_owned()],
            domain_count: 1,
            waiting: 1_200,
            failures: 4,
            down: Some(down()),
            tried: 7,
            delivered: 3,
            connect: Some(spread()),
            ..DestinationRow::default()
        }])
    }

    /// The route of `slow.test` is known after half a second.
    async fn destination(&self, domain: &str, dns: Duration) -> Result<Destination, Problem> {
        if domain.trim().is_empty() {
            return Err(Problem::Field { field: "domain".to_owned(), what: "not a domain".to_owned() });
        }
        let host = DestinationHost {
            host: "mx.typo.test".to_owned(),
            address: "192.0.2.1:25".to_owned(),
            preference: 10,
            connections: 1,
            learned_max: Some(2),
            learned_until: Some(Time(NOW.0 + 60_000)),
        };
        let certificate = Certificate {
            names: vec!["mx.typo.test".to_owned()],
            not_after: Some(Time(NOW.0 - 1)),
            ..Certificate::default()
        };
        let tls = TlsSeen {
            at: NOW,
            host: "mx.typo.test".to_owned(),
            version: "TLSv1.3".to_owned(),
            certificate: Some(certificate),
            ..TlsSeen::default()
        };
        let attempt = AttemptSeen {
            id: "01K8Z6T3WQM2V".to_owned(),
            at: NOW,
            good: false,
            host: "mx.typo.test [192.0.2.1]".to_owned(),
            status: "450 <b>later".to_owned(),
            finding: None,
        };
        let known = domain != "slow.test" || dns >= Duration::from_millis(500);
        Ok(Destination {
            domain: domain.to_owned(),
            rule: "route.other (settings line 4)".to_owned(),
            route_known: known,
            hosts: known.then_some(host).into_iter().collect(),
            down: Some(down()),
            stages: vec![StageTime { stage: "RCPT TO".to_owned(), time: spread() }],
            tls: Some(tls),
            attempts: vec![attempt],
            ..Destination::default()
        })
    }
}
