//! View: what the Control Center sees of this gateway, and the orders that it may give. One file for each subject.

mod accounts;
mod alerts;
mod backup;
pub(crate) mod certificates;
mod destination;
mod diagnose;
mod explain;
mod log;
mod overview;
mod queue;
pub(crate) mod scanners;
mod settings;
mod setup;
mod structure;
mod trail;
mod work;

use crate::core::Core;
use crate::door::{self, Question};
use crate::sweep;
use async_trait::async_trait;
use control::{Account, Center, Done, Health, Order, Orders, Problem, Selected, Work};
use diagnose::Diagnoses;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::mpsc;
use work::Works;

/// The running gateway, as the pages know it, and the orders and diagnoses that they began.
pub(crate) struct View(pub(crate) Arc<Core>, Arc<Works>, Arc<Diagnoses>, Arc<backup::Aside>);

/// What the router stands on.
pub(crate) fn center(core: &Arc<Core>) -> Center {
    let view = Arc::new(View(core.clone(), Arc::default(), Arc::default(), Arc::default()));
    Center { reader: view.clone(), orders: view.clone(), accounts: view.clone(), scanners: view }
}

impl control::StatusReader for View {
    fn now(&self) -> mail::Time {
        crate::clock::now()
    }

    fn metrics(&self) -> String {
        sweep::gauges(&self.0);
        self.0.metrics.text()
    }

    fn health(&self) -> Health {
        let (usage, in_force) = (self.0.store.usage(), self.0.in_force());
        let mode = in_force.settings.mode;
        Health {
            accepting: crate::scanners::is_accepting(&self.0),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: in_force.hostname.to_string(),
            mode: door::mode(mode).to_owned(),
            settings_version: in_force.version,
            queued: usage.queued,
            held: usage.held,
            disk_free: usage.disk_free,
            disk_reserve: usage.disk_reserve,
            alerts: self.0.store.alerts().into_iter().map(|alert| alert.what).chain(self.0.desk.alerts()).collect(),
        }
    }
}

impl View {
    #[allow(dead_code, reason = "for readers that ask what commands ask")]
    /// The same door that commands come in by.
    pub(crate) async fn ask(&self, question: Question) -> Result<Value, Problem> {
        self.ask_from("Control Center", question, mpsc::unbounded_channel().0).await
    }

    async fn ask_from(
        &self,
        place: &str,
        question: Question,
        progress: mpsc::UnboundedSender<u64>,
    ) -> Result<Value, Problem> {
        door::answer(&self.0, question, place, progress).await.map_err(|what| Problem::Failed { what })
    }

    async fn carry_out(
        &self,
        by: &Account,
        order: Order,
        dry_run: bool,
        progress: mpsc::UnboundedSender<u64>,
    ) -> Result<Done, Problem> {
        let place = by.from.clone();
        let by = crate::accounts::who(by);
        let author = by.clone();
        let act = |action, which| Ok(Question::Order { action, which: chosen(which)?, dry_run, by });
        let base = match order {
            Order::SettingsApply { base, .. } | Order::SettingsRollback { base, .. } => base,
            _ => None,
        };
        let question = match order {
            Order::Retry { which } => act(door::Deed::Retry, which)?,
            Order::Hold { which, why } => act(door::Deed::Hold { why }, which)?,
            Order::Release { which } => act(door::Deed::Release, which)?,
            Order::Delete { which } => act(door::Deed::Delete, which)?,
            Order::Reroute { which, hop } => act(door::Deed::Reroute { hop }, which)?,
            Order::Send { to, subject, body } => {
                Question::Send { from: None, to: field("to", &to)?, subject, body, by: author }
            }
            Order::AlertTest => Question::AlertTest { by: author },
            Order::SettingsApply { text, .. } if dry_run => Question::SettingsDiff { text },
            Order::SettingsApply { text, comment, base } => Question::SettingsApply { text, author, comment, base },
            Order::SettingsRollback { version, base } => Question::SettingsRollback { version, author, base },
        };
        let done = self.ask_from(&place, question, progress).await.map_err(|problem| match base {
            // Another version came between the look and the order: theirs to solve, no failure of the gateway.
            Some(base) if base != self.0.in_force().version => Problem::Conflict { what: problem.what().to_owned() },
            _ => problem,
        })?;
        let made = done
            .get("id")
            .or(done.get("version"))
            .or(done.get("how"))
            .map(|made| made.as_str().map_or_else(|| made.to_string(), str::to_owned));
        Ok(Done { count: done["count"].as_u64().unwrap_or(0), made, dry_run })
    }
}

#[async_trait]
impl Orders for View {
    async fn order(&self, by: &Account, order: Order, dry_run: bool) -> Result<Done, Problem> {
        self.carry_out(by, order, dry_run, mpsc::unbounded_channel().0).await
    }

    fn begin(&self, by: &Account, order: Order, dry_run: bool) -> u64 {
        self.begin_work(by, order, dry_run)
    }

    async fn work(&self, number: u64, ms: u64) -> Option<Work> {
        self.1.work(number, ms).await
    }
}

pub(crate) fn chosen(which: Selected) -> Result<door::Which, Problem> {
    let Selected { ids: named, sender, recipient, domain, text, held, older_than_ms, next_hop, cause, object } = which;
    let (mut ids, mut keys) = (Vec::new(), Vec::new());
    for name in &named {
        match name.split_once(':') {
            Some((id, n)) => keys.push((field("ids", id)?, field("ids", n)?)),
            None => ids.push(field("ids", name)?),
        }
    }
    // All that is given must match: messages beside single deliveries would match nothing.
    if !keys.is_empty() && !ids.is_empty() {
        let what = "name either messages or single deliveries (AUDIT-ID:N), not both".to_owned();
        return Err(Problem::Field { field: "ids".to_owned(), what });
    }
    Ok(door::Which { ids, keys, sender, recipient, domain, text, held, older_than_ms, next_hop, cause, object })
}

pub(crate) fn down(down: crate::queue::Down) -> control::Down {
    control::Down { since: down.since, until: down.until, last_failure: down.last_failure }
}

/// A time as answers write it.
pub(crate) fn time(text: &str) -> Option<mail::Time> {
    text.parse::<jiff::Timestamp>().ok().map(|time| mail::Time(time.as_millisecond()))
}

/// What was typed in a field, as what it must be.
pub(crate) fn field<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, Problem>
where
    T::Err: std::fmt::Display,
{
    text.trim()
        .parse()
        .map_err(|error: T::Err| Problem::Field { field: name.to_owned(), what: format!("{text:?}: {error}") })
}
