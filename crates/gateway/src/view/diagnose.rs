//! Diagnoses for pages: a few at once, each remembered with its steps for a while.

use super::View;
use crate::clock::now;
use crate::core::Core;
use crate::{door, explain, heard};
use async_trait::async_trait;
use control::{Diagnosed, Diagnosis, Problem, Step};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// At once: each may hold several connections open for seconds.
const AT_ONCE_MAX: usize = 4;
/// Remembered, the newest.
const KEPT_MAX: usize = 50;
/// Steps kept of one: about three conversations and forty questions to DNS.
const STEPS_MAX: usize = 500;
/// All of it together, whatever a resolver or a peer does.
const ALL_MAX: Duration = Duration::from_secs(40);

#[derive(Debug, Default)]
pub(crate) struct Diagnoses {
    book: Mutex<VecDeque<Arc<watch::Sender<Diagnosis>>>>,
}

impl Diagnoses {
    fn add(&self, q: &str) -> Result<(u64, Arc<watch::Sender<Diagnosis>>), Problem> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if book.iter().filter(|entry| !entry.borrow().is_over()).count() >= AT_ONCE_MAX {
            let what = format!("{AT_ONCE_MAX} diagnoses are under way already; ask again in a few seconds");
            return Err(Problem::Failed { what });
        }
        let clock = u64::try_from(now().ms()).unwrap_or(0);
        let number = book.back().map_or(clock, |last| clock.max(last.borrow().number + 1));
        let entry = Arc::new(watch::Sender::new(Diagnosis { number, q: q.to_owned(), ..Diagnosis::default() }));
        book.push_back(entry.clone());
        if book.len() > KEPT_MAX {
            book.pop_front();
        }
        Ok((number, entry))
    }

    fn find(&self, number: u64) -> Option<Arc<watch::Sender<Diagnosis>>> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.iter().find(|entry| entry.borrow().number == number).cloned()
    }
}

#[async_trait]
impl control::DiagnoseReader for View {
    fn diagnose(&self, q: &str, from: &str) -> Result<u64, Problem> {
        let question = question(q.trim(), from).map_err(|what| Problem::Field { field: "q".to_owned(), what })?;
        let (number, entry) = self.2.add(q.trim())?;
        tokio::spawn(make(self.0.clone(), question, entry));
        Ok(number)
    }

    async fn diagnosis(&self, number: u64, seen: usize, ms: u64) -> Option<Diagnosis> {
        let mut changes = self.2.find(number)?.subscribe();
        let is_new = |found: &Diagnosis| found.is_over() || found.steps.len() > seen;
        let _ = tokio::time::timeout(Duration::from_millis(ms), changes.wait_for(is_new)).await;
        let mut found = changes.borrow().clone();
        found.steps.drain(..seen.min(found.steps.len()));
        Some(found)
    }
}

/// An Audit ID, an address, or else whoever sends.
fn question(q: &str, from: &str) -> Result<door::Question, String> {
    let from = Some(from.to_owned()).filter(|from| !from.is_empty());
    let is_client = q.parse::<std::net::IpAddr>().is_ok() || q.parse::<mail::Domain>().is_ok() && !q.contains('@');
    match q.parse::<mail::AuditId>() {
        Ok(id) => Ok(door::Question::DiagnoseId { id }),
        Err(_) if is_client => Ok(door::Question::DiagnoseFrom { who: q.to_owned() }),
        Err(_) => explain::question(Some(q.to_owned()), from),
    }
}

async fn make(core: Arc<Core>, question: door::Question, entry: Arc<watch::Sender<Diagnosis>>) {
    let (listener, mut steps) = mpsc::unbounded_channel::<Step>();
    let told = entry.clone();
    let telling = tokio::spawn(async move {
        while let Some(step) = steps.recv().await {
            told.send_modify(|found| {
                if found.steps.len() < STEPS_MAX {
                    found.steps.push(step);
                }
            });
        }
    });
    let looking = async {
        match question {
            door::Question::DiagnoseId { id } => explain::id(&core, id).await,
            door::Question::DiagnoseFrom { who } => explain::from(&core, &who).await,
            door::Question::DiagnoseAddress { to, from } => explain::address(&core, &to, from.as_deref()).await,
            _ => Err("not a question about mail".to_owned()),
        }
    };
    let answer = tokio::time::timeout(ALL_MAX, Box::pin(heard::by(listener, looking))).await;
    // The listener is dropped with the work: all steps are in before the result is.
    let _ = telling.await;
    let answer = answer.unwrap_or_else(|_| Err(format!("it took more than {} s and was given up", ALL_MAX.as_secs())));
    entry.send_modify(|found| match answer {
        Ok(value) => found.result = Some(diagnosed(value)),
        Err(what) => found.problem = Some(Problem::Failed { what }),
    });
}

fn diagnosed(mut value: Value) -> Diagnosed {
    let first = serde_json::from_value(value["finding"].clone()).ok();
    let others: Vec<Value> = value["findings"].as_array().cloned().unwrap_or_default();
    let others = others.into_iter().filter_map(|finding| serde_json::from_value(finding).ok());
    let mut findings: Vec<mail::Finding> = Vec::new();
    for finding in first.into_iter().chain(others) {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    let not_looked_at = value["not_looked_at"].as_array().into_iter().flatten();
    let not_looked_at = not_looked_at.filter_map(Value::as_str).map(str::to_owned).collect();
    if let Some(fields) = value.as_object_mut() {
        for told in ["finding", "findings", "not_looked_at"] {
            fields.remove(told);
        }
    }
    Diagnosed { findings, not_looked_at, record: value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_what_it_looks_like() {
        let ask = |q: &str| question(q, "").map(|question| format!("{question:?}")).unwrap_or_default();
        assert!(ask("38GJ3X6RR0000").starts_with("DiagnoseId"));
        assert!(ask("bob@typo.test").starts_with("DiagnoseAddress"));
        assert!(ask("192.0.2.1").starts_with("DiagnoseFrom") && ask("mail.typo.test").starts_with("DiagnoseFrom"));
        assert!(question("two words", "").is_err() && question("", "").is_err());
    }

    #[test]
    fn no_more_than_a_few_are_made_at_once() {
        let book = Diagnoses::default();
        let entries: Vec<_> = (0..AT_ONCE_MAX).map(|_| book.add("a@b.test").unwrap().1).collect();
        assert!(book.add("a@b.test").is_err());
        entries[0].send_modify(|found| found.result = Some(Diagnosed::default()));
        let (number, _) = book.add("a@b.test").unwrap();
        assert!(number > entries[AT_ONCE_MAX - 1].borrow().number);
    }
}
