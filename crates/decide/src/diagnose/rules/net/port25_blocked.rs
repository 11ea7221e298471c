//! Outgoing port 25 is filtered on our side.

use super::{Dialled, dialled, none_connected};
use crate::diagnose::{Answer, Case, Experiment, Result, organisation, rule};
use mail::{Actor, Confidence, Connect, Finding, Time};
use std::net::SocketAddr;

rule! {
    /// Outgoing port 25 blocked
    ///
    /// Unrelated mail hosts give no answer on port 25, none has answered since, and the same hosts answer on another port
    /// (`diagnosis.submission_port`): something near this gateway drops outgoing SMTP. Hosting and access providers do so by
    /// default. One silent host alone is that host's matter.
    ///
    /// Ask the provider to open outgoing port 25, or send all mail by a relay host (`route.other`).
    "net.port25_blocked", find
}

/// Hosts of so many organisations must be silent; of two only if both are alive and nobody answered for a while.
const SILENT_MIN: usize = 3;
const QUIET_MS: i64 = 600_000;
/// Hosts probed on the other port.
const PROBES_MAX: usize = 3;

fn find(case: &Case<'_>) -> Answer {
    let (Some(attempt), Some(tries)) = (case.attempt(), none_connected(case)) else { return Answer::No };
    let Some(own) =
        tries.iter().find(|tried| tried.address.is_ipv4() && matches!(tried.connect, Connect::TimedOut { .. }))
    else {
        return Answer::No;
    };
    if attempt.via != mail::Via::Mx {
        return Answer::No;
    }
    let port = own.port;
    let all: Vec<Dialled<'_>> =
        dialled(case).into_iter().filter(|host| host.port == port && host.address.is_ipv4()).collect();
    let last_answer = all.iter().filter(|host| host.answered()).map(|host| host.ended).max();
    let silent = silent(case, &all, last_answer);
    let quiet = last_answer.is_none_or(|last| attempt.started.ms() - last.ms() > QUIET_MS);
    if silent.len() < 2 || (silent.len() < SILENT_MIN && !quiet) {
        return Answer::No;
    }
    let other = case.settings.diagnosis.submission_port;
    let probes: Vec<Experiment> = silent
        .iter()
        .take(PROBES_MAX)
        .map(|host| Experiment::Connect { address: SocketAddr::new(host.address, other) })
        .collect();
    if probes.iter().any(|probe| case.look(probe).is_none()) {
        return Answer::Ask(probes);
    }
    let made: Vec<&Connect> = probes
        .iter()
        .filter_map(|probe| if let Some(Result::Talk(tried)) = case.look(probe) { Some(&tried.connect) } else { None })
        .collect();
    let alive = made.iter().filter(|connect| matches!(connect, Connect::Made { .. } | Connect::Refused)).count();
    let confidence = match (silent.len(), alive, made.len()) {
        (SILENT_MIN.., 2.., _) => Confidence::Proven,
        (SILENT_MIN.., 1, _) => Confidence::Likely,
        (2, 2, _) => Confidence::Likely,
        // Nothing was probed. Clients that reach us show that the network itself works.
        (SILENT_MIN.., 0, 0) if came_in(case) => Confidence::Likely,
        (SILENT_MIN.., 0, 0) => Confidence::Possible,
        _ => return Answer::No,
    };
    let count = silent.len();
    let while_alive = match alive {
        0 => String::new(),
        _ if alive == made.len() => format!(", while their port {other} answers"),
        _ => format!(", while port {other} of {alive} of them answers"),
    };
    let names = silent.iter().take(5).map(Dialled::place).collect::<Vec<_>>().join(", ");
    let sentence = format!(
        "Port {port} is filtered on the way out: {count} of {count} unrelated mail hosts give no answer on port {port} \
         ({names}){while_alive}."
    );
    let mut finding = Finding::new("net.port25_blocked", Actor::OurNetwork, sentence)
        .confidence(confidence)
        .disproof(format!("a connection from this machine to port {port} of any of these hosts"))
        .fix(format!("Ask the hosting or access provider to open outgoing TCP port {port}; check your own firewall first."))
        .fix("Or send all mail by a relay host on port 587: route.other.next_hops = [\"RELAY:587\"], user and password_file.");
    finding.evidence = silent
        .iter()
        .take(10)
        .map(|host| format!("{} port {port}: {}", host.place(), super::how(host.connect)))
        .collect();
    for probe in &probes {
        if let (Some(address), Some(result)) = (probe.address(), case.look(probe)) {
            finding.evidence.push(match result {
                Result::Talk(tried) => format!("{address}: {}", super::how(&tried.connect)),
                Result::NotMade(why) => format!("{address}: not tried ({why})"),
                _ => continue,
            });
        }
    }
    finding.into()
}

/// One silent host of each organisation, this attempt's first, whose silence began after the last answer of anybody. A host
/// of which another address answered is not silent.
fn silent<'a>(case: &Case<'_>, all: &[Dialled<'a>], last_answer: Option<Time>) -> Vec<Dialled<'a>> {
    let mut silent: Vec<Dialled<'a>> = Vec::new();
    for host in all.iter().filter(|host| host.timed_out() && last_answer.is_none_or(|last| host.began >= last)) {
        let is_known = silent.iter().any(|known| {
            known.address == host.address || organisation(known.host).eq_ignore_ascii_case(organisation(host.host))
        });
        if !is_known && !case.settings.public_addresses.contains(&host.address) {
            silent.push(*host);
        }
    }
    silent
}

fn came_in(case: &Case<'_>) -> bool {
    case.around.calls.iter().any(|call| !call.client.is_loopback())
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{Scene, check, scene};
    use crate::diagnose::{Experiment, Result};
    use mail::{Connect, HostTry, Time};

    const THIRD: &str = "to a@d3.test
         try mx.d3.test 127.0.0.43
           timeout 30000
           fail connect path [internal] 450 4.4.1 connection timed out
         seen d2.test mx.d2.test 127.0.0.42 40 timeout 30000";
    const FIRST: &str = "\n seen d1.test mx.d1.test 127.0.0.41 80 timeout 30000";

    fn probed(mut scene: Scene, connect: &Connect) -> Scene {
        for number in [43, 42, 41] {
            let address = format!("127.0.0.{number}:587").parse::<std::net::SocketAddr>().unwrap();
            let mut tried = HostTry::new(address.ip().to_string(), address.ip(), 587, Time(0));
            tried.connect = connect.clone();
            scene = scene.look(Experiment::Connect { address }, Result::Talk(Box::new(tried)));
        }
        scene
    }

    #[test]
    fn three_hosts_that_live_elsewhere_are_filtered_here() {
        let scene = scene(&format!("{THIRD}{FIRST}"));
        scene.asks(&Experiment::Connect { address: "127.0.0.43:587".parse().unwrap() });
        probed(scene, &Connect::Made { ms: 1 }).check(
            "net.port25_blocked: Port 25 is filtered on the way out: 3 of 3 unrelated mail hosts give no answer on port 25 \
             (mx.d3.test (127.0.0.43), mx.d2.test (127.0.0.42), mx.d1.test (127.0.0.41)), while their port 587 answers.",
        );
    }

    #[test]
    fn two_of_two_that_live_are_likely_it() {
        probed(scene(THIRD), &Connect::Refused).check("net.port25_blocked");
        scene(THIRD).nothing_more().check("net.timeout");
    }

    #[test]
    fn hosts_that_are_silent_on_every_port_are_dead_or_the_network_is() {
        probed(scene(&format!("{THIRD}{FIRST}")), &Connect::TimedOut { after_ms: 5000 }).check("net.timeout");
    }

    #[test]
    fn somebody_who_answered_meanwhile_shows_that_the_way_is_open() {
        let open = format!("{THIRD}{FIRST}\n seen ok.test mx.ok.test 127.0.0.11 1 delivered");
        probed(scene(&open), &Connect::Made { ms: 1 }).check("net.destination_filtered");
        let refused = format!("{THIRD}{FIRST}\n seen ok.test mx.ok.test 127.0.0.11 1 refused");
        check(&refused, "net.timeout");
    }

    #[test]
    fn hosts_of_one_organisation_count_once() {
        check(
            "to a@d1.test
             try mx1.hoster.test 127.0.0.41
               timeout 30000
             try mx2.hoster.test 127.0.0.42
               timeout 30000
             try mx3.hoster.test 127.0.0.43
               timeout 30000
               fail connect path [internal] 450 4.4.1 connection timed out",
            "net.timeout",
        );
    }
}
