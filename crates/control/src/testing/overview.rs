//! The dashboard's figures in the tests' world.

use super::{NOW, World};
use crate::Problem;
use crate::reader::{CauseTotal, Column, IdentityState, Oldest, Overview, OverviewReader, ScannerState, Span, Total};
use async_trait::async_trait;
use mail::Time;

#[async_trait]
impl OverviewReader for World {
    async fn overview(&self, span: Span) -> Result<Overview, Problem> {
        let (count, step_ms) = span.columns();
        let until = Time(NOW.ms() - NOW.ms() % step_ms + step_ms);
        let from = Time(until.ms() - count * step_ms);
        let column =
            |n: i64| Column { at: Time(from.ms() + n * step_ms), counts: [n as u64, 2, 3, 0, 1], octets: [0, 0] };
        let total = |outcome: &str, listener: &str, count| Total {
            outcome: outcome.to_owned(),
            listener: listener.to_owned(),
            count,
            octets: 5_000,
        };
        Ok(Overview {
            at: NOW,
            from,
            until,
            step_ms,
            columns: (0..count).map(column).collect(),
            totals: vec![
                total("accepted", "inbound", 1000),
                total("accepted", "outbound", 300),
                total("refused", "inbound", 40),
            ],
            causes: vec![CauseTotal { cause: "peer.greylisted".to_owned(), count: 17 }],
            oldest: Some(Oldest { id: "01K8Z6T3WQM2V".to_owned(), received: Time(NOW.ms() - 7_200_000) }),
            scanners: vec![ScannerState {
                name: "mx2.example.test".to_owned(),
                version: String::new(),
                state: "not asked".to_owned(),
            }],
            identity: Some(IdentityState { is_well: false, words: "1 problem".to_owned() }),
            behind: 3,
        })
    }
}
