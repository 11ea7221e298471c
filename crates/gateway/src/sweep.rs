//! Sweep: returns mail that has expired without an attempt being due, and keeps the gauges current.

use crate::clock::now;
use crate::core::Core;
use crate::outcome::{expired, report};
use decide::settings::Retry;
use mail::report::Action;
use mail::{Status, status};
use std::sync::Arc;
use std::time::Duration;
use store::{QueueEntry, Selection, Settle, State};

/// Expiry is counted in days; a minute is soon enough.
const EVERY: Duration = Duration::from_secs(60);
/// Expired deliveries handled in one round.
const ROUND: usize = 1000;

/// Audit events removed in one round: a busy gateway writes fewer in a minute than this.
const FORGET_ROUND: usize = 100_000;

/// Runs until the gateway stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut stopping = core.stopping.subscribe();
    loop {
        gauges(&core);
        expire(&core).await;
        forget(&core);
        core.greylist.sweep(&core, now());
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Puts the store's figures into the metrics.
pub(crate) fn gauges(core: &Core) {
    let usage = core.store.usage();
    let gauge = |figure: u64| i64::try_from(figure).unwrap_or(i64::MAX);
    core.metrics.queued.set(gauge(usage.queued));
    core.metrics.held.set(gauge(usage.held));
    core.metrics.disk_free.set(gauge(usage.disk_free));
    core.metrics.audit_behind.set(gauge(core.store.audit_behind()));
    core.metrics.identity_problems.set(i64::try_from(core.desk.problems()).unwrap_or(i64::MAX));
}

/// Lets go of audit events older than the settings keep them, a bounded number in one round.
fn forget(core: &Core) {
    let keep = core.in_force().settings.audit_keep;
    let before = mail::Time(now().ms() - i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
    let forgotten = tokio::task::block_in_place(|| core.store.audit_forget(before, FORGET_ROUND));
    if let Err(error) = forgotten {
        core.record(
            core.ids.next(),
            "alert",
            serde_json::json!({ "what": format!("old audit events could not be removed: {error}") }),
        );
    }
}

async fn expire(core: &Arc<Core>) {
    let retry = core.in_force().settings.retry.clone();
    let soonest = retry.expire.min(retry.expire_bounces);
    let selection = Selection {
        state: Some(State::Queued),
        before: Some(mail::Time(now().ms() - soonest.as_millis() as i64)),
        ..Selection::default()
    };
    let mut after = None;
    loop {
        let found = tokio::task::block_in_place(|| core.store.list(&selection, ROUND, after));
        let Some(entries) = found.ok().filter(|entries| !entries.is_empty()) else { return };
        after = entries.last().map(|entry| (entry.id, entry.n));
        for entry in entries {
            expire_one(core, &retry, entry).await;
        }
        if core.is_stopping() {
            return;
        }
    }
}

/// Whether it is being attempted just now is the queue's to say: an attempt that succeeds must not be followed by a bounce.
async fn expire_one(core: &Arc<Core>, retry: &Retry, entry: QueueEntry) {
    let is_bounce = matches!(entry.sender.as_str(), "" | "<>");
    let life = if is_bounce { retry.expire_bounces } else { retry.expire };
    let (lane, key, next) = (entry.lane.clone(), (entry.id, entry.n), entry.next);
    if now().since(entry.received) < life {
        return;
    }
    if let Some(claim) = core.queue.claim(core, &lane, key) {
        give_up(core, entry).await;
        drop(claim);
        // If its report could not be stored it is still there.
        core.queue.settled(&lane, key, Some(next));
    }
}

/// Returns one delivery to its sender.
async fn give_up(core: &Arc<Core>, entry: QueueEntry) {
    let in_force = core.in_force();
    let last = core.queue.down(&entry.lane).map_or_else(|| entry.status.clone(), |down| down.last_failure);
    let (id, n) = (entry.id, entry.n);
    let finding = crate::outcome::Extra::of(&entry.extra).finding;
    let Ok(Some(delivery)) = tokio::task::block_in_place(|| core.store.delivery(id, n)) else { return };
    let status: Status = if last.is_empty() { status::EXPIRED.with("it was never attempted") } else { expired(&last) };
    let failed: Vec<_> = delivery.recipients.iter().map(|recipient| (recipient.clone(), status.clone())).collect();
    if !report(core, &in_force, &delivery, &failed, finding.as_ref(), Action::Failed, None).await {
        return;
    }
    core.metrics.bounced.inc_by(failed.len() as u64);
    let recipients: Vec<String> = failed.iter().map(|(recipient, _)| recipient.address.to_string()).collect();
    let event = core.event(id, "bounced", serde_json::json!({ "sender": entry.sender.to_string(), "recipients": recipients, "status": status.to_string(), "finding": finding }));
    let _ = core.store.settle(Settle { message: id, n, outcome: store::Outcome::Gone, events: vec![event] }).await;
}
