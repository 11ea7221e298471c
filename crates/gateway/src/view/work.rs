//! Work: orders that were begun from a page, and how far they are. The page may be closed; the order goes on.

use super::View;
use control::{Account, Order, Work};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Orders remembered; the oldest that have ended are forgotten first.
const KEPT_MAX: usize = 200;

#[derive(Debug, Default)]
pub(crate) struct Works {
    book: Mutex<VecDeque<Arc<watch::Sender<Work>>>>,
}

impl Works {
    fn add(&self, by: &Account, order: &Order, dry_run: bool) -> Arc<watch::Sender<Work>> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        // From the clock, so that a page from before a restart does not show somebody else's order.
        let clock = u64::try_from(crate::clock::now().ms()).unwrap_or(0);
        let number = book.back().map_or(clock, |last| clock.max(last.borrow().number + 1));
        let (by, order) = (by.name.clone(), order.clone());
        let work = Work { number, by, order, dry_run, so_far: 0, done: None, problem: None };
        let entry = Arc::new(watch::Sender::new(work));
        book.push_back(entry.clone());
        if book.len() > KEPT_MAX
            && let Some(at) = book.iter().position(|entry| has_ended(&entry.borrow()))
        {
            book.remove(at);
        }
        entry
    }

    fn find(&self, number: u64) -> Option<Arc<watch::Sender<Work>>> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.iter().find(|entry| entry.borrow().number == number).cloned()
    }

    pub(crate) async fn work(&self, number: u64, ms: u64) -> Option<Work> {
        let mut changes = self.find(number)?.subscribe();
        let _ = tokio::time::timeout(Duration::from_millis(ms), changes.wait_for(has_ended)).await;
        let work = changes.borrow().clone();
        Some(work)
    }
}

fn has_ended(work: &Work) -> bool {
    work.done.is_some() || work.problem.is_some()
}

impl View {
    pub(crate) fn begin_work(&self, by: &Account, mut order: Order, dry_run: bool) -> u64 {
        if let (Order::Hold { which, why }, false) = (&mut order, dry_run)
            && which.ids.is_empty()
        {
            // By these words, and no others, the messages that it held are found for its undoing.
            *why = format!("{why} [order {}]", self.0.ids.next()).trim().to_owned();
        }
        let entry = self.1.add(by, &order, dry_run);
        let number = entry.borrow().number;
        let (view, by) = (View(self.0.clone(), self.1.clone(), self.2.clone(), self.3.clone()), by.clone());
        tokio::spawn(async move {
            let (progress, mut steps) = mpsc::unbounded_channel();
            let told = entry.clone();
            tokio::spawn(async move {
                while let Some(so_far) = steps.recv().await {
                    told.send_modify(|work| work.so_far = so_far);
                }
            });
            let ended = view.carry_out(&by, order, dry_run, progress).await;
            entry.send_modify(|work| match ended {
                Ok(done) => work.done = Some(done),
                Err(problem) => work.problem = Some(problem),
            });
        });
        number
    }
}
