//! The queue for pages: rows, causes, domains, and what a next hop comes to.

use super::{View, field};
use crate::clock::now;
use crate::core::InForce;
use crate::outcome::Extra;
use crate::{deliver, door, explain};
use async_trait::async_trait;
use control::{Causes, HopCheck, Incident, PageOf, Problem, QueuePage, QueueSort, Queued, QueuedDomain, Selected};
use mail::{Finding, ReversePath, Time};
use serde_json::Value;
use std::time::Duration;
use store::{Cursor, IncidentCursor, QueueEntry, Sort, State};
use tokio::task::spawn_blocking;

/// How long one page looks for what matches; the next goes on from there.
const LOOK: Duration = Duration::from_millis(60);
/// Rows of one page.
const PAGE_MAX: usize = 500;
/// Incidents of one page.
const INCIDENTS_MAX: usize = 100;

#[async_trait]
impl control::QueueReader for View {
    async fn queue(&self, which: &Selected, of: &PageOf) -> Result<QueuePage, Problem> {
        let core = self.0.clone();
        let selection = super::chosen(which.clone())?.selection(&core);
        let of = store::PageOf {
            sort: sort(&core.in_force(), of.sort),
            limit: of.limit.clamp(1, PAGE_MAX),
            after: of.after.as_deref().map(cursor).transpose()?,
            time: LOOK,
        };
        let found = spawn_blocking(move || {
            let in_force = core.in_force();
            let page = core.store.page(&selection, &of)?;
            let messages = page.entries.iter().map(|entry| queued(&core, &in_force, entry)).collect();
            let next = page.next.map(|at| format!("{}.{}.{}", at.value, at.id, at.n));
            Ok(QueuePage { messages, next, looked: page.looked, queued: core.store.usage().queued })
        });
        found.await.map_err(failed)?.map_err(|error: std::io::Error| failed(error))
    }

    async fn causes(&self, limit: usize, after: Option<&str>) -> Result<Causes, Problem> {
        let core = self.0.clone();
        let after = after.map(incident_cursor).transpose()?;
        let read = move || {
            let (mut found, next) = explain::open_incidents(&core, limit.clamp(1, INCIDENTS_MAX), after.as_ref())?;
            if after.is_none() {
                found.extend(explain::past_incidents(&core)?);
            }
            let totals = core.store.causes().map_err(|error| error.to_string())?;
            Ok(Causes {
                incidents: found.iter().filter_map(incident).collect(),
                next: next.map(|at| format!("{}/{}/{}", at.count, at.cause, at.object)),
                open: totals.iter().map(|(_, _, incidents)| incidents).sum(),
                explained: totals.iter().map(|(_, deliveries, _)| deliveries).sum(),
            })
        };
        spawn_blocking(read).await.map_err(failed)?.map_err(|what| Problem::Failed { what })
    }

    async fn queued_domains(&self, skip: usize, limit: usize) -> Result<(Vec<QueuedDomain>, u64), Problem> {
        let core = self.0.clone();
        let found = spawn_blocking(move || {
            let mut lanes: Vec<(String, u64)> = core.store.lane_counts().into_iter().collect();
            let all = lanes.len() as u64;
            lanes.sort_unstable_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
            let lanes: Vec<_> = lanes.into_iter().skip(skip).take(limit).collect();
            let names: Vec<String> = lanes.iter().map(|(lane, _)| lane.clone()).collect();
            let dues = core.store.dues(&names)?;
            let in_force = core.in_force();
            let rows = lanes.into_iter().zip(dues).map(|((lane, count), due)| {
                let (domain, rerouted) = split(&lane);
                let down = core.queue.down(&lane).map(super::down);
                let paused = deliver::is_paused(&in_force, &lane);
                QueuedDomain { domain, rerouted, count, next_attempt: (due < Time::NEVER).then_some(due), paused, down }
            });
            Ok((rows.collect(), all))
        });
        found.await.map_err(failed)?.map_err(|error: std::io::Error| failed(error))
    }

    async fn hop(&self, hop: &str) -> Result<HopCheck, Problem> {
        door::check_hop(hop).map_err(|what| Problem::Field { field: "hop".to_owned(), what })?;
        let in_force = self.0.in_force();
        let plan = deliver::plan_of(&in_force, &format!("{}>{}", in_force.hostname.ascii(), hop.trim()));
        let (route, _) = deliver::find_route(&self.0, &in_force, &plan).await;
        let hosts =
            route.candidates.iter().map(|candidate| format!("{} [{}]", candidate.host, candidate.address)).collect();
        let problem = match &route.verdict {
            decide::route::Verdict::Failed(status) => Some(status.to_string()),
            decide::route::Verdict::Ok => {
                route.dropped.first().map(ToString::to_string).filter(|_| route.candidates.is_empty())
            }
        };
        Ok(HopCheck { hosts, problem })
    }
}

fn failed(error: impl std::fmt::Display) -> Problem {
    Problem::Failed { what: error.to_string() }
}

fn sort(in_force: &InForce, by: QueueSort) -> Sort {
    let retry = &in_force.settings.retry;
    match by {
        QueueSort::Oldest => Sort::Oldest,
        QueueSort::Newest => Sort::Newest,
        QueueSort::Next => Sort::Next,
        QueueSort::Expiry => Sort::Expiry { mail: retry.expire, bounces: retry.expire_bounces },
        QueueSort::Attempts => Sort::Attempts,
        QueueSort::Largest => Sort::Largest,
    }
}

/// `VALUE.AUDIT-ID.N`, as a page before gave it.
fn cursor(text: &str) -> Result<Cursor, Problem> {
    let mut parts = text.split('.');
    let mut part = || parts.next().unwrap_or_default();
    Ok(Cursor { value: field("after", part())?, id: field("after", part())?, n: field("after", part())? })
}

/// `COUNT/CAUSE/OBJECT`, as a page before gave it.
fn incident_cursor(text: &str) -> Result<IncidentCursor, Problem> {
    let mut parts = text.splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default();
    Ok(IncidentCursor { count: field("after", part())?, cause: part().to_owned(), object: part().to_owned() })
}

/// Domain and detour of a lane.
fn split(lane: &str) -> (String, Option<String>) {
    match lane.split_once('>') {
        Some((domain, hop)) => (domain.to_owned(), Some(hop.to_owned())),
        None => (lane.to_owned(), None),
    }
}

fn queued(core: &crate::core::Core, in_force: &InForce, entry: &QueueEntry) -> Queued {
    let (domain, rerouted) = split(&entry.lane);
    let sender = entry.sender.parse().map_or(ReversePath::Null, ReversePath::Address);
    Queued {
        key: format!("{}:{}", entry.id, entry.n),
        id: entry.id.to_string(),
        sender: sender.address().map(ToString::to_string).unwrap_or_default(),
        recipients: entry.recipients.iter().map(|recipient| recipient.address.to_string()).collect(),
        domain,
        rerouted,
        state: match entry.state {
            State::Queued => "queued",
            State::Held => "held",
            State::SetAside => "set-aside",
        }
        .to_owned(),
        status: door::status_of(core, entry),
        finding: Extra::finding_in(&entry.extra),
        attempts: entry.attempts,
        next_attempt: (entry.next < Time::NEVER).then_some(entry.next),
        down_until: core.queue.down(&entry.lane).map(|down| down.until).filter(|until| *until > now()),
        received: entry.received,
        expires: decide::retry::expiry(&in_force.settings.retry, &sender, entry.received),
        size: entry.size,
    }
}

fn incident(value: &Value) -> Option<Incident> {
    let finding: Finding = serde_json::from_value(value["finding"].clone()).ok()?;
    let texts = |name: &str| {
        value[name].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let time = |name: &str| super::time(value[name].as_str()?);
    Some(Incident {
        open: value["state"] == "open",
        cause: finding.cause.to_string(),
        object: value["object"].as_str().unwrap_or_default().to_owned(),
        count: value["count"].as_u64().unwrap_or(0),
        domains: texts("domains"),
        recipients: texts("recipients"),
        since: time("oldest").or_else(|| time("since")),
        last: time("last"),
        next_attempt: value["next_attempt_ms"].as_i64().filter(|ms| *ms < i64::MAX).map(Time),
        first_expiry: time("first_expiry"),
        changed: texts("changed"),
        example: value["id"].as_str().unwrap_or_default().to_owned(),
        finding,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let id: mail::AuditId = "01K8Z6T3WQM2V".parse().unwrap();
        let at = cursor(&format!("-5.{id}.7")).unwrap();
        assert_eq!(at, Cursor { value: -5, id, n: 7 });
        assert!(cursor("1.2").is_err() && cursor("").is_err());
    }
}
