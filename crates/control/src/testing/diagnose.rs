//! Diagnoses for tests: number 7 is over, 8 is under way.

use super::{NOW, World};
use crate::{DiagnoseReader, Diagnosed, Diagnosis, Problem, Step};
use async_trait::async_trait;
use mail::Time;

#[async_trait]
impl DiagnoseReader for World {
    fn diagnose(&self, q: &str, _: &str) -> Result<u64, Problem> {
        if q.contains('<') {
            return Err(Problem::Field {
                field: "q".to_owned(),
                what: "neither an address nor an Audit ID".to_owned(),
            });
        }
        Ok(7)
    }

    async fn diagnosis(&self, number: u64, seen: usize, _: u64) -> Option<Diagnosis> {
        let step = |after: i64, stage: &str, text: &str| Step {
            at: Time(NOW.0 + after),
            stage: stage.to_owned(),
            host: "mx.typo.test".to_owned(),
            text: text.to_owned(),
        };
        let steps = [step(0, "DNS", "typo.test MX: 10 mx.typo.test"), step(35, "said", "<b>EHLO gw")];
        let result = Diagnosed {
            findings: vec![super::queue::finding()],
            not_looked_at: vec!["spent".to_owned()],
            record: serde_json::json!({ "attempt": { "rule": "route.other" } }),
        };
        let steps = steps.into_iter().skip(seen).collect();
        let q = "bob@typo.test".to_owned();
        (number == 7 || number == 8).then(|| Diagnosis {
            number,
            q,
            steps,
            result: (number == 7).then_some(result),
            problem: None,
        })
    }
}
