//! Steps about what peers and DNS have seen: deliveries, copies, bounces, connections, questions.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    runner::Stage,
    step::{ExpectBounce, ExpectConnections, ExpectCopies, ExpectQuestions, WaitDelivered},
    wording::{contains, lacks},
};
use crate::peer::Received;

const POLL: Duration = Duration::from_millis(50);

impl Stage {
    pub(super) async fn wait_delivered(&self, step: &WaitDelivered) -> Result<(), String> {
        let peer = step.peer.as_deref();
        let matching = || self.copies(peer, step.recipient.as_deref());
        let arrived = until(step.within.0, POLL, async || matching().len() >= step.count).await;
        let all = matching();
        let last = all.last().filter(|_| arrived);
        let Some(last) = last.or_else(|| all.last().filter(|_| step.count == 0)) else {
            let who = peer.unwrap_or("the peers");
            return if arrived {
                Ok(())
            } else {
                Err(format!("{who} got {} of {} messages within {}", all.len(), step.count, step.within))
            };
        };
        contains("the message", &last.text(), &step.contains)?;
        lacks("the message", &last.text(), &step.lacks)
    }

    pub(super) async fn expect_bounce(&self, step: &ExpectBounce) -> Result<(), String> {
        let bounce =
            || self.lab.received(step.peer.as_deref()).into_iter().find(|m| m.sender.is_empty() && m.is_to(&step.to));
        until(step.within.0, POLL, async || bounce().is_some()).await;
        let Some(bounce) = bounce() else { return Err(format!("no bounce to {} within {}", step.to, step.within)) };
        // A long line of a header may be folded (RFC 5322 2.2.3).
        let text = bounce.text();
        let text = format!("{text}\n{}", text.replace("\r\n ", " ").replace("\r\n\t", " "));
        contains("the bounce", &text, &step.contains)?;
        lacks("the bounce", &text, &step.lacks)
    }

    pub(super) async fn expect_copies(&self, step: &ExpectCopies) -> Result<(), String> {
        let count = || self.copies(step.peer.as_deref(), Some(&step.recipient)).len();
        until(step.within.0, POLL, async || count() >= step.copies).await;
        sleep(step.settle.0).await;
        let count = count();
        if count == step.copies {
            Ok(())
        } else {
            Err(format!("{count} copies for {}, not {}", step.recipient, step.copies))
        }
    }

    pub(super) fn expect_connections(&self, step: &ExpectConnections) -> Result<(), String> {
        let count = self.lab.peer(&step.peer).map(|peer| peer.connections()).unwrap_or_default();
        between(&format!("connections to {}", step.peer), count, step.at_least, step.at_most)
    }

    pub(super) fn expect_questions(&self, step: &ExpectQuestions) -> Result<(), String> {
        let count = self.lab.dns().count(&step.name, &step.kind);
        between(&format!("questions for {} {}", step.name, step.kind), count, step.at_least, step.at_most)
    }

    pub(super) fn copies(&self, peer: Option<&str>, recipient: Option<&str>) -> Vec<Received> {
        let wanted = |received: &Received| recipient.is_none_or(|recipient| received.is_to(recipient));
        self.lab.received(peer).into_iter().filter(wanted).collect()
    }
}

/// Polls until it holds; false if it did not within this time.
async fn until(within: Duration, pause: Duration, holds: impl AsyncFn() -> bool) -> bool {
    let deadline = Instant::now() + within;
    while !holds().await {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(pause).await;
    }
    true
}

fn between(what: &str, count: usize, at_least: usize, at_most: Option<usize>) -> Result<(), String> {
    if count < at_least {
        return Err(format!("{count} {what}, expected at least {at_least}"));
    }
    match at_most {
        Some(max) if count > max => Err(format!("{count} {what}, expected at most {max}")),
        _ => Ok(()),
    }
}
