//! Identity: looks at this gateway from outside, at the start, when settings or addresses change, daily and on demand; keeps the
//! last result. What the facts mean is `decide::identity`'s to say; here they are gathered.

use crate::clock::now;
use crate::core::{Core, InForce};
use crate::deliver::join_all;
use crate::probe;
use crate::resolve::Servers;
use decide::diagnose::{Experiment, Result as Seen};
use decide::identity::{Facts, Judged, Line, Outward, Reach, Shown, State, changes, judge, remembered, worst};
use decide::settings::Tls;
use mail::dns::{Answer, Data, Kind, Question};
use mail::{Connect, Distrust, Domain, Listener, Time};
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde_json::json;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// All questions of one check together; what is not answered by then is not known.
const ALL_MAX: Duration = Duration::from_secs(14);
/// Of that, for the mail servers to try; a connection has eight seconds more.
const FIND_MAX: Duration = Duration::from_secs(5);
/// Rounds of questions: an SPF record with includes needs some.
const ROUNDS_MAX: usize = 24;
/// Questions at a time.
const AT_ONCE: usize = 20;
const EVERY: Duration = Duration::from_secs(24 * 3600);
/// After a check in which DNS did not answer, as happens while a machine starts.
const SOON: Duration = Duration::from_secs(600);
/// Several settings and addresses often change within moments.
const SETTLE: Duration = Duration::from_secs(1);
/// Domains and hosts that are tried for port 25.
const DOMAINS_MAX: usize = 5;
const HOSTS_MAX: usize = 2;
/// Two root name servers (a.root-servers.net): addresses to which every way to the Internet leads. No packet goes there.
const FAR: [(&str, &str); 2] = [("0.0.0.0:0", "198.41.0.4:53"), ("[::]:0", "[2001:503:ba3e::2:30]:53")];

/// One look from outside.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    #[serde(serialize_with = "rfc3339")]
    pub(crate) time: Time,
    pub(crate) hostname: Domain,
    /// The name is not in force: only what depends on it was looked at.
    pub(crate) proposed: bool,
    pub(crate) settings_version: i64,
    /// The worst of the lines'.
    pub(crate) state: State,
    pub(crate) lines: Vec<Line>,
    /// Some questions got no answer.
    #[serde(skip)]
    unanswered: bool,
}

fn rfc3339<S: serde::Serializer>(time: &Time, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&time.rfc3339())
}

/// The last result, and what the next is compared with.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    last: Mutex<Option<Report>>,
    remembered: Mutex<Vec<Line>>,
    due: Notify,
}

impl Desk {
    pub(crate) fn last(&self) -> Option<Report> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something has changed that the outside sees.
    pub(crate) fn is_due(&self) {
        self.due.notify_one();
    }

    /// For `status`: `ok`, `2 problems, 1 warning: see gatepost identity`.
    pub(crate) fn summary(&self) -> String {
        let Some(report) = self.last() else { return "not checked yet".to_owned() };
        match counts(&report.lines, &[State::Problem, State::Warning]) {
            found if found.is_empty() => format!("ok, checked at {}", report.time.rfc3339()),
            found => format!("{found}: see `gatepost identity`"),
        }
    }

    /// The problems, for whoever watches the gateway's health.
    pub(crate) fn alerts(&self) -> Vec<String> {
        let lines = self.last().into_iter().flat_map(|report| report.lines);
        lines.filter(|line| line.state == State::Problem).map(|line| format!("identity: {}", line.sentence)).collect()
    }

    pub(crate) fn problems(&self) -> usize {
        self.alerts().len()
    }
}

/// `2 problems, 1 warning`
pub(crate) fn counts(lines: &[Line], states: &[State]) -> String {
    let of = |state: &State| match (lines.iter().filter(|line| line.state == *state).count(), state) {
        (0, _) => None,
        (1, state) => Some(format!("1 {}", state.name())),
        (count, State::Ok | State::NotChecked) => Some(format!("{count} {}", state.name())),
        (count, state) => Some(format!("{count} {}s", state.name())),
    };
    states.iter().filter_map(of).collect::<Vec<_>>().join(", ")
}

/// Runs until the gateway stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut stopping = core.stopping.subscribe();
    loop {
        let report = tokio::select! {
            report = check(&core, None) => report,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let pause = if report.unanswered { SOON } else { EVERY };
        let due = async {
            core.desk.due.notified().await;
            tokio::time::sleep(SETTLE).await;
        };
        tokio::select! {
            () = due => {}
            () = tokio::time::sleep(pause) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Looks now: at the gateway as it is, or at a name that it might have. Only the former is kept.
pub(crate) async fn check(core: &Arc<Core>, proposed: Option<Domain>) -> Report {
    let in_force = core.in_force();
    let until = Instant::now() + ALL_MAX;
    let hostname = proposed.as_ref().unwrap_or(&in_force.hostname);
    let chosen = chosen();
    let listening = core.doors();
    let shown = shown(core, &in_force, listening);
    let unknown = Outward::NotTried(String::new());
    let facts = Facts {
        settings: &in_force.settings,
        identity: &in_force.identity,
        hostname,
        proposed: proposed.is_some(),
        chosen: &chosen,
        dns: &[],
        listening,
        shown: &shown,
        port25: &unknown,
        now: now(),
    };
    let (known, port25) = tokio::join!(answers(core, &in_force, &facts, until), async {
        if proposed.is_some() { unknown.clone() } else { outward(core, &in_force).await }
    });
    let lines = match judge(&Facts { dns: &known, port25: &port25, ..facts }) {
        Judged::Lines(lines) => lines,
        // Not reached: there is an answer to every question by now, be it a failed one.
        Judged::Ask(_) => Vec::new(),
    };
    let report = Report {
        time: now(),
        hostname: hostname.clone(),
        proposed: proposed.is_some(),
        settings_version: in_force.version,
        state: worst(&lines),
        lines,
        unanswered: known.iter().any(|answer| !answer.is_known()),
    };
    if proposed.is_none() {
        keep(core, &report);
    }
    report
}

/// Answers to all that the check wants to know.
async fn answers(core: &Core, in_force: &InForce, facts: &Facts<'_>, until: Instant) -> Vec<Answer> {
    let mut known: Vec<Answer> = Vec::new();
    for round in 0.. {
        let Judged::Ask(questions) = judge(&Facts { dns: &known, ..facts.clone() }) else { break };
        // Questions that are not put any more count as failed, so that it comes to an end.
        let until = if round < ROUNDS_MAX { until } else { Instant::now() };
        known.extend(ask(core, in_force, questions, until).await);
    }
    known
}

/// Keeps the result, and tells what is new.
fn keep(core: &Core, report: &Report) {
    let desk = &core.desk;
    let mut before = desk.remembered.lock().unwrap_or_else(PoisonError::into_inner);
    for (was, line) in changes(&before, &report.lines) {
        let mut fields = json!({ "check": line.check.name(), "about": line.about, "was": was.map(State::name), "state": line.state.name(),
                                 "what": line.sentence, "fix": line.fix.first(), "finding": line.finding });
        let kind = if line.state == State::Problem {
            fields["what"] = json!(format!("identity: {}", line.sentence));
            "alert"
        } else {
            "identity"
        };
        core.record(core.ids.next(), kind, fields);
    }
    *before = remembered(&before, &report.lines);
    drop(before);
    *desk.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(report.clone());
}

/// The addresses that the system would choose towards the Internet.
fn chosen() -> Vec<IpAddr> {
    let local = |(from, to): (&str, &str)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_unspecified())
    };
    FAR.into_iter().filter_map(local).collect()
}

/// Asked as the outside would: past the hosts file and the cache, of resolvers that see the public Internet if some are named.
/// Block lists are asked as for clients: public resolvers get no answer from most of them.
async fn ask(core: &Core, in_force: &InForce, questions: Vec<Question>, until: Instant) -> Vec<Answer> {
    let settings = &in_force.settings;
    let outside = Servers { addresses: settings.dns.public_servers.clone(), ..in_force.dns.clone() };
    let outside = if outside.addresses.is_empty() { &in_force.dns } else { &outside };
    let zones: Vec<String> =
        settings.own_dnsbl.iter().chain(&settings.inbound.dnsbl).map(|zone| format!(".{}", zone.ascii())).collect();
    let one = |question: &Question| {
        let of_list = zones.iter().any(|zone| question.name.ends_with(zone));
        let (servers, question) = (if of_list { &in_force.dns } else { outside }, question.clone());
        async move {
            let asked = timeout_at(until, core.resolver.ask_apart(servers, &question)).await;
            asked.unwrap_or_else(|_| Answer::failed(question, format!("no answer within {} s", ALL_MAX.as_secs())))
        }
    };
    let mut answers = Vec::new();
    for some in questions.chunks(AT_ONCE) {
        answers.extend(join_all(some.iter().map(one)).await);
    }
    answers
}

/// The certificates of the listeners that there are.
fn shown(core: &Core, in_force: &InForce, listening: &[(Listener, SocketAddr)]) -> Vec<Shown> {
    let mut seen = HashSet::new();
    let roles = listening.iter().map(|(role, _)| *role).filter(|role| seen.insert(*role));
    let of = |role: Listener| {
        let door = in_force.settings.door(role).filter(|door| door.tls != Tls::Off)?;
        let name = in_force.hostname.ascii();
        let usable = core.certificates.server(door, in_force.hostname.as_str());
        let certificate = usable.map(|_| {
            let chain = core.certificates.chain(&door.certificate, in_force.hostname.as_str());
            let name = ServerName::try_from(name).unwrap_or(ServerName::IpAddress(IpAddr::from([0, 0, 0, 0]).into()));
            let mut facts = core.trust.judge(in_force.settings.delivery.ca_file.as_ref(), &chain, &name, now());
            // Which names it must have depends on the MX records.
            facts.problems.retain(|problem| *problem != Distrust::OtherName);
            facts
        });
        Some(Shown { listener: role, certificate, own_making: door.certificate.is_none() })
    };
    roles.filter_map(of).collect()
}

/// Whether port 25 of others is open: by what deliveries of the last hour saw, or by connections to the hosts of the domains that
/// the settings name. They count towards the budget of test connections, and nothing is said in them.
async fn outward(core: &Arc<Core>, in_force: &InForce) -> Outward {
    let settings = &in_force.settings;
    let mut tried = Vec::new();
    if settings.probe_domains.is_empty() {
        let seen = core.around.snapshot().seen;
        let of_mx = seen.iter().rev().filter(|seen| !seen.configured && seen.port == settings.delivery.port);
        for seen in of_mx.filter(|seen| seen.connect != Connect::NotTried) {
            let address = SocketAddr::new(seen.address, seen.port);
            if tried.len() < DOMAINS_MAX * HOSTS_MAX && !tried.iter().any(|reach: &Reach| reach.address == address) {
                let (domain, host) = (seen.domain.clone(), seen.host.clone());
                tried.push(Reach { domain, host, address, connect: seen.connect.clone() });
            }
        }
        if tried.is_empty() {
            return Outward::NotTried(
                "no mail went to another server within the last hour, and the settings name no domain to try"
                    .to_owned(),
            );
        }
        return Outward::Tried(tried);
    }
    let until = Instant::now() + FIND_MAX;
    let domains = settings.probe_domains.iter().take(DOMAINS_MAX);
    let found =
        join_all(domains.map(|domain| async move { (domain, hosts(core, in_force, domain, until).await) })).await;
    let mut why: Vec<String> = found.iter().filter_map(|(_, hosts)| hosts.clone().err()).collect();
    let hosts = found.into_iter().flat_map(|(domain, hosts)| {
        hosts.into_iter().flatten().map(move |(host, address)| (domain.ascii(), host, address))
    });
    let hosts: Vec<(String, String, SocketAddr)> = hosts.collect();
    let experiments: Vec<Experiment> =
        hosts.iter().map(|(_, _, address)| Experiment::Connect { address: *address }).collect();
    let looks = probe::look(core, in_force, &experiments).await;
    for ((domain, host, address), look) in hosts.into_iter().zip(looks) {
        match look.result {
            Seen::Talk(talk) => tried.push(Reach { domain, host, address, connect: talk.connect }),
            Seen::NotMade(reason) => why.push(reason),
            Seen::Answer(_) | Seen::Tls(_) => {}
        }
    }
    if tried.is_empty() { Outward::NotTried(why.join("; ")) } else { Outward::Tried(tried) }
}

/// The best MX hosts of a domain, each with one address that may be dialled.
async fn hosts(
    core: &Core,
    in_force: &InForce,
    domain: &Domain,
    until: Instant,
) -> Result<Vec<(String, SocketAddr)>, String> {
    let mx = ask(core, in_force, vec![Question::new(&domain.ascii(), Kind::Mx)], until).await;
    let mut names: Vec<(u16, String)> = mx
        .iter()
        .flat_map(Answer::data)
        .filter_map(
            |data| if let Data::Mx { preference, host } = data { Some((*preference, host.clone())) } else { None },
        )
        .filter(|(_, host)| !host.is_empty())
        .collect();
    names.sort();
    let mut found = Vec::new();
    for (_, name) in names.into_iter().take(HOSTS_MAX) {
        for kind in [Kind::A, Kind::Aaaa] {
            let answers = ask(core, in_force, vec![Question::new(&name, kind)], until).await;
            let mut addresses = answers.iter().flat_map(Answer::addresses);
            let fits = |address: &IpAddr| {
                decide::identity::may_be_dialled(&in_force.settings, *address)
                    && !in_force.identity.is_address(*address)
            };
            if let Some(address) = addresses.find(fits) {
                found.push((name, SocketAddr::new(address, in_force.settings.delivery.port)));
                break;
            }
        }
    }
    if found.is_empty() {
        let seen: Vec<String> = mx.iter().map(Answer::summary).collect();
        return Err(format!("no mail server of {domain} is known ({})", seen.join("; ")));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_of_which() {
        let line = |state: &str| -> Line {
            serde_json::from_value(
                json!({ "check": "mx", "about": "", "state": state, "sentence": "", "evidence": [], "fix": [] }),
            )
            .unwrap()
        };
        let lines = [line("problem"), line("problem"), line("warning"), line("not-checked"), line("not-checked")];
        assert_eq!(counts(&lines, &[State::Problem, State::Warning, State::Note]), "2 problems, 1 warning");
        assert_eq!(counts(&lines, &[State::NotChecked]), "2 not checked");
        assert_eq!(counts(&lines[..0], &[State::Problem]), "");
    }
}
