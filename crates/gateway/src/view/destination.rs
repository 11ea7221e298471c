//! Destinations for pages: the queue's book of them, their route now, and their recent attempts from queue and trail.

use super::{View, field};
use crate::core::{Core, InForce};
use crate::outcome::Extra;
use crate::queue::Standing;
use crate::{deliver, door};
use async_trait::async_trait;
use control::{AttemptSeen, Destination, DestinationHost, DestinationRow, Problem, Spread, StageTime, TlsSeen};
use decide::diagnose::Seen;
use mail::{Attempt, AuditId, Connect, Domain, Finding, HostTry, Speaker};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{AuditFilter, Class, Selection};
use tokio::task::spawn_blocking;

/// Recipient domains looked at, those with the most mail: each must be asked for its route.
const LANES_MAX: usize = 2000;
const ROWS_MAX: usize = 200;
const DOMAINS_SHOWN: usize = 5;
/// Recent attempts of each kind: that wait, that were taken, that were put off.
const ATTEMPTS: usize = 10;
/// Nobody waits longer than that for DNS.
const DNS_WAIT: Duration = Duration::from_secs(4);
/// The page comes even if the trail is slow.
const TRAIL_WAIT: Duration = Duration::from_millis(700);
const FINDINGS_MAX: usize = 3;

#[async_trait]
impl control::DestinationReader for View {
    async fn destinations(&self) -> Result<Vec<DestinationRow>, Problem> {
        let core = self.0.clone();
        spawn_blocking(move || rows(&core)).await.map_err(failed)
    }

    async fn destination(&self, domain: &str, dns: Duration) -> Result<Destination, Problem> {
        let domain: Domain = field("domain", domain)?;
        let (core, in_force) = (&self.0, self.0.in_force());
        let lane = decide::route::lane(&domain);
        let plan = deliver::plan_of(&in_force, &lane);
        let name = deliver::destination_of(&in_force, &lane);
        let recent = {
            let (core, lane) = (core.clone(), lane.clone());
            spawn_blocking(move || recent(&core, &lane))
        };
        let lookup = {
            let (core, in_force, plan) = (core.clone(), in_force.clone(), plan.clone());
            tokio::spawn(async move { deliver::find_route(&core, &in_force, &plan).await })
        };
        let looked_up = tokio::time::timeout(dns.min(DNS_WAIT), lookup).await;
        let recent = recent.await.map_err(failed)?;
        let standing = core.queue.standings().remove(&name).unwrap_or_default();
        let delivery = &in_force.settings.delivery;
        let mut found = Destination {
            domain: domain.to_string(),
            name: split(&name).0,
            rule: plan.rule.clone(),
            settings_version: in_force.version,
            tls_policy: format!("{:?}", plan.tls).to_lowercase(),
            waiting: waiting(core, &lane),
            in_flight: standing.in_flight,
            connections: standing.couriers,
            failures: standing.failures,
            down: standing.down.map(super::down),
            paused: deliver::is_paused(&in_force, &lane),
            connections_per_address: delivery.connections_per_address,
            connections_max: delivery.connections,
            ..Destination::default()
        };
        match looked_up {
            Err(_) => {}
            Ok(Err(error)) => return Err(failed(error)),
            Ok(Ok((route, answers))) => {
                found.route_known = true;
                if let decide::route::Verdict::Failed(status) = &route.verdict {
                    found.verdict = Some(status.to_string());
                }
                found.hosts = route.candidates.iter().map(|candidate| host(core, candidate)).collect();
                found.dropped = route.dropped.iter().map(ToString::to_string).collect();
                found.notes.extend(route.notes);
                found.dns = answers.iter().map(door::dns_line).collect();
            }
        }
        tell(&mut found, recent);
        Ok(found)
    }
}

fn failed(error: impl std::fmt::Display) -> Problem {
    Problem::Failed { what: error.to_string() }
}

/// `0 192.0.2.25:25 tls offer` as its two parts, without the preferences, which people do not write.
fn split(name: &str) -> (String, String) {
    let (hops, tls) = name.rsplit_once(" tls ").unwrap_or((name, ""));
    let host = |hop: &str| match hop.split_once(' ') {
        Some((preference, host)) if preference.bytes().all(|byte| byte.is_ascii_digit()) => host.to_owned(),
        _ => hop.to_owned(),
    };
    (hops.split(", ").map(host).collect::<Vec<_>>().join(", "), tls.to_owned())
}

fn waiting(core: &Core, lane: &str) -> u64 {
    let counts = core.store.lane_counts();
    counts.iter().filter(|(name, _)| name.split('>').next() == Some(lane)).map(|(_, count)| count).sum()
}

fn rows(core: &Core) -> Vec<DestinationRow> {
    let in_force = core.in_force();
    let mut lanes: Vec<(String, u64)> = core.store.lane_counts().into_iter().collect();
    lanes.sort_unstable_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
    lanes.truncate(LANES_MAX);
    let mut rows: HashMap<String, DestinationRow> = HashMap::new();
    let mut names: HashMap<String, String> = HashMap::new();
    for (lane, count) in &lanes {
        let row = row_of(&in_force, &mut rows, &mut names, lane);
        row.waiting += count;
        row.domain_count += 1;
        if row.domains.len() < DOMAINS_SHOWN {
            row.domains.push(lane.split('>').next().unwrap_or_default().to_owned());
        }
    }
    let mut connects: HashMap<String, Vec<u64>> = HashMap::new();
    for seen in &core.around.snapshot().seen {
        let row = row_of(&in_force, &mut rows, &mut names, &seen.domain);
        row.tried += 1;
        row.delivered += u64::from(seen.delivered);
        if row.domains.is_empty() {
            row.domains.push(seen.domain.clone());
            row.domain_count = 1;
        }
        connects.entry(names[&seen.domain].clone()).or_default().extend(connect_ms(seen));
    }
    for (name, standing) in core.queue.standings() {
        stand(rows.entry(name).or_default(), standing);
    }
    for (name, row) in &mut rows {
        (row.name, row.tls) = split(name);
        row.connect = connects.remove(name).and_then(|times| spread(&mut { times }));
    }
    let mut rows: Vec<DestinationRow> = rows.into_values().collect();
    rows.sort_unstable_by(|a, b| {
        (b.down.is_some(), b.failures > 0, b.waiting, &a.name).cmp(&(
            a.down.is_some(),
            a.failures > 0,
            a.waiting,
            &b.name,
        ))
    });
    rows.truncate(ROWS_MAX);
    rows
}

fn row_of<'a>(
    in_force: &InForce,
    rows: &'a mut HashMap<String, DestinationRow>,
    names: &mut HashMap<String, String>,
    lane: &str,
) -> &'a mut DestinationRow {
    let name = names.entry(lane.to_owned()).or_insert_with(|| deliver::destination_of(in_force, lane)).clone();
    rows.entry(name).or_default()
}

fn stand(row: &mut DestinationRow, standing: Standing) {
    row.in_flight = standing.in_flight;
    row.connections = standing.couriers;
    row.failures = standing.failures;
    row.down = standing.down.map(super::down);
}

fn connect_ms(seen: &Seen) -> Option<u64> {
    match seen.connect {
        Connect::Made { ms } => Some(u64::from(ms)),
        _ => None,
    }
}

/// Median and 95th percentile, by rank.
fn spread(times: &mut [u64]) -> Option<Spread> {
    times.sort_unstable();
    let rank = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied();
    Some(Spread { count: times.len() as u64, median_ms: rank(50)?, p95_ms: rank(95)? })
}

fn host(core: &Core, candidate: &decide::route::Candidate) -> DestinationHost {
    let learned = core.queue.learned(candidate.address.ip());
    DestinationHost {
        host: candidate.host.clone(),
        address: candidate.address.to_string(),
        preference: candidate.preference,
        connections: core.queue.connections(candidate.address.ip()),
        learned_max: learned.map(|(max, _)| max),
        learned_until: learned.map(|(_, until)| until),
    }
}

/// An attempt with what was found of it.
struct Recent {
    id: AuditId,
    attempt: Attempt,
    finding: Option<Finding>,
    status: String,
}

/// Attempts of the lane's domain: of messages that wait, and of those that the trail tells of.
fn recent(core: &Arc<Core>, lane: &str) -> Vec<Recent> {
    let until = Instant::now() + TRAIL_WAIT;
    let of = store::PageOf { sort: store::Sort::Newest, limit: ATTEMPTS, after: None, time: TRAIL_WAIT / 4 };
    let selection = Selection { domain: Some(lane.to_owned()), ..Selection::default() };
    let waiting = core.store.page(&selection, &of).map(|page| page.entries).unwrap_or_default();
    let mut found: BTreeMap<(i64, AuditId), Recent> = BTreeMap::new();
    let mut keep = |recent: Recent| {
        found.insert((recent.attempt.started.ms(), recent.id), recent);
    };
    for entry in waiting {
        let extra = Extra::of(&entry.extra);
        if let Some(attempt) = extra.attempt {
            keep(Recent { id: entry.id, attempt, finding: extra.finding, status: entry.status });
        }
    }
    for class in [Class::Delivered, Class::Deferred, Class::Bounced] {
        let filter = AuditFilter { recipient: Some(lane.to_owned()), class: Some(class), ..AuditFilter::default() };
        let entries = core.store.audit_page(&filter, ATTEMPTS, None).map(|page| page.entries).unwrap_or_default();
        for entry in entries {
            if Instant::now() > until {
                break;
            }
            for event in core.store.audit_show(entry.id).unwrap_or_default() {
                let attempt = event.fields.get("attempt").and_then(|attempt| Attempt::deserialize(attempt).ok());
                let Some(attempt) = attempt.filter(|attempt| attempt.domain == lane) else { continue };
                let finding = Extra::finding_in(&event.fields);
                let status = event.fields["status"].as_str().unwrap_or_default().to_owned();
                keep(Recent { id: event.id, attempt, finding, status });
            }
        }
    }
    found.into_values().rev().take(ATTEMPTS * 3).collect()
}

fn tell(found: &mut Destination, recent: Vec<Recent>) {
    let mut times: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
    for one in &recent {
        for tried in &one.attempt.tries {
            for (stage, ms) in stages(tried) {
                times.entry(stage).or_default().push(ms);
            }
        }
    }
    let stage = |(stage, mut times): (usize, Vec<u64>)| {
        Some(StageTime { stage: STAGES[stage].to_owned(), time: spread(&mut times)? })
    };
    found.stages = times.into_iter().filter_map(stage).collect();
    found.tls = recent.iter().find_map(|one| one.attempt.tries.iter().rev().find_map(tls));
    for finding in recent.iter().filter_map(|one| one.finding.as_ref()) {
        if found.findings.len() < FINDINGS_MAX && !found.findings.iter().any(|known| known.cause == finding.cause) {
            found.findings.push(finding.clone());
        }
    }
    found.attempts = recent.into_iter().map(seen).collect();
}

fn seen(one: Recent) -> AttemptSeen {
    let last = one.attempt.tries.last();
    AttemptSeen {
        id: one.id.to_string(),
        at: one.attempt.started,
        good: one.attempt.tries.iter().any(decide::diagnose::delivered),
        host: last.map(|tried| format!("{} [{}]", tried.host, tried.address)).unwrap_or_default(),
        status: one.status,
        finding: one.finding,
    }
}

fn tls(tried: &HostTry) -> Option<TlsSeen> {
    let tls = tried.tls.as_ref()?;
    Some(TlsSeen {
        at: tried.started,
        host: tried.host.clone(),
        version: tls.version.clone(),
        cipher: tls.cipher.clone(),
        unverified: tls.unverified.clone(),
        certificate: tried.certificate.clone(),
    })
}

const STAGES: [&str; 9] =
    ["connect", "banner", "EHLO", "STARTTLS", "AUTH", "MAIL FROM", "RCPT TO", "DATA", "final reply"];

/// How long each stage of a conversation took, as places in [`STAGES`]: from a command to its reply, commands sent together
/// each to its own.
fn stages(tried: &HostTry) -> Vec<(usize, u64)> {
    let mut found = Vec::new();
    if let Connect::Made { ms } = tried.connect {
        found.push((0, u64::from(ms)));
    }
    found.extend(tried.banner_ms.map(|ms| (1, ms)));
    let mut asked = VecDeque::new();
    for said in &tried.transcript {
        match said.speaker {
            Speaker::Client => {
                let verb = said.text.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
                let stage = match verb.as_str() {
                    "EHLO" | "HELO" => Some(2),
                    "STARTTLS" => Some(3),
                    "AUTH" => Some(4),
                    "MAIL" => Some(5),
                    "RCPT" => Some(6),
                    "DATA" => Some(7),
                    _ if said.text.starts_with('<') => Some(8),
                    _ => None,
                };
                asked.push_back((stage, said.at));
            }
            // The last line of a reply.
            Speaker::Server if said.text.as_bytes().get(3) != Some(&b'-') => {
                if let Some((Some(stage), from)) = asked.pop_front() {
                    found.push((stage, u64::try_from(said.at.since(from).as_millis()).unwrap_or(0)));
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::{Said, Time};

    #[test]
    fn each_command_is_timed_to_its_own_reply() {
        let mut tried = HostTry::new("mx.test", "192.0.2.1".parse().unwrap(), 25, Time(0));
        tried.connect = Connect::Made { ms: 7 };
        tried.banner_ms = Some(3);
        let lines = [
            (0, Speaker::Server, "220 mx.test"),
            (10, Speaker::Client, "EHLO gw.test"),
            (15, Speaker::Server, "250-mx.test"),
            (16, Speaker::Server, "250 PIPELINING"),
            (20, Speaker::Client, "MAIL FROM:<a@b.test>"),
            (20, Speaker::Client, "RCPT TO:<c@d.test>"),
            (20, Speaker::Client, "DATA"),
            (30, Speaker::Server, "250 ok"),
            (50, Speaker::Server, "250 ok"),
            (55, Speaker::Server, "354 go"),
            (90, Speaker::Client, "<5 bytes of content>"),
            (255, Speaker::Server, "250 taken"),
        ];
        tried.transcript =
            lines.map(|(at, speaker, text)| Said { at: Time(at), speaker, text: text.to_owned() }).into();
        assert_eq!(stages(&tried), [(0, 7), (1, 3), (2, 6), (5, 10), (6, 30), (7, 35), (8, 165)]);
    }

    #[test]
    fn spreads_are_ranks_of_what_was_measured() {
        assert_eq!(spread(&mut []), None);
        assert_eq!(spread(&mut [9]), Some(Spread { count: 1, median_ms: 9, p95_ms: 9 }));
        let mut hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(spread(&mut hundred), Some(Spread { count: 100, median_ms: 50, p95_ms: 95 }));
    }
}
