//! A host does not answer on IPv6, but does on IPv4.

use super::{dialled, evidence, how, tried_place};
use crate::diagnose::{Answer, Case, connected, organisation, rule};
use mail::{Actor, Confidence, Connect, Finding, HostTry, Retry, Severity};

rule! {
    /// IPv6 address of a host does not work
    ///
    /// All connections to a host's IPv6 addresses failed, and a connection to an IPv4 address of the same host came about:
    /// its service is not bound to IPv6, is filtered there, or the AAAA record is wrong. If no IPv6 destination at all answers,
    /// this site's own IPv6 path is broken.
    ///
    /// The host's owner removes the AAAA record or lets the server listen there. Mail goes over IPv4 meanwhile.
    "net.v6_path_broken", find
}

/// So many organisations must be silent on IPv6 before our own path is to blame.
const ELSEWHERE_MIN: usize = 2;

fn find(case: &Case<'_>) -> Answer {
    let tries = case.tries();
    // A family that cannot even begin here is no path.
    let is_path = |connect: &Connect| {
        !matches!(connect, Connect::NotTried | Connect::NoSource | Connect::NetworkUnreachable | Connect::Made { .. })
    };
    let is_dead = |tried: &&HostTry| tried.address.is_ipv6() && is_path(&tried.connect);
    let answers_v4 =
        |host: &str| tries.iter().find(|tried| tried.host == host && tried.address.is_ipv4() && connected(tried));
    let any_v6 =
        |host: &str| tries.iter().any(|tried| tried.host == host && tried.address.is_ipv6() && connected(tried));
    let Some((dead, alive)) = tries
        .iter()
        .filter(is_dead)
        .find_map(|dead| Some((dead, answers_v4(&dead.host).filter(|_| !any_v6(&dead.host))?)))
    else {
        return Answer::No;
    };
    let others: Vec<_> = dialled(case)
        .into_iter()
        .filter(|other| other.address.is_ipv6() && organisation(other.host) != organisation(&dead.host))
        .collect();
    let works = others.iter().any(|other| other.answered());
    let mut silent: Vec<&str> =
        others.iter().filter(|other| other.timed_out()).map(|other| organisation(other.host)).collect();
    silent.sort_unstable();
    silent.dedup();
    let through = case.went_through();
    let end = match through {
        Some(tried) if tried.address == alive.address => format!("delivered over {}", alive.address),
        Some(tried) => format!("delivered by {}", tried_place(tried)),
        None => format!("{} was reached", alive.address),
    };
    let ours = !works && silent.len() >= ELSEWHERE_MIN && matches!(dead.connect, Connect::TimedOut { .. });
    let (actor, sentence) = if ours {
        (
            Actor::OurNetwork,
            format!(
                "No IPv6 host answers: neither {} ({}) nor those of {} lately; this site's own IPv6 path is broken. Over \
                 IPv4: {end}.",
                tried_place(dead),
                how(&dead.connect),
                silent.join(", ")
            ),
        )
    } else {
        (
            Actor::TheirHost,
            format!(
                "{} does not answer on its IPv6 address {} ({}) but on IPv4; {end}.",
                dead.host,
                dead.address,
                how(&dead.connect)
            ),
        )
    };
    let finding = Finding::new("net.v6_path_broken", actor, sentence)
        .severity(Severity::Warning)
        .confidence(if works { Confidence::Proven } else { Confidence::Likely })
        .retry(if through.is_some() { Retry::NotNeeded } else { Retry::Helps { after_s: None } })
        .disproof(format!("a connection to {} port {} that succeeds", dead.address, dead.port));
    let mut finding = if ours {
        finding.fix("Mend this site's IPv6 route, or set delivery.address_family to ipv4 until then.")
    } else {
        finding.fix(format!(
            "The owner of {} lets the mail server listen on {}, or removes the AAAA record.",
            dead.host, dead.address
        ))
    };
    finding.evidence = evidence(tries);
    finding.evidence.push(format!("other IPv6 hosts lately: {}", if works { "answered" } else { "none answered" }));
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const DEAD: &str = "to a@v6dead.test
         try mx.v6dead.test ::1
           refused
           fail connect path [internal] 421 4.4.1 connection failed
         try mx.v6dead.test 127.0.0.11
           final 250 2.0.0 ok";

    #[test]
    fn ipv4_carries_the_mail() {
        check(
            DEAD,
            "net.v6_path_broken: mx.v6dead.test does not answer on its IPv6 address ::1 (refused) but on IPv4; delivered over \
             127.0.0.11.",
        );
    }

    #[test]
    fn many_silent_ipv6_hosts_are_our_own_path() {
        let silent = DEAD.replace("refused", "timeout 30000");
        let others = "\n seen a.test mx.a.test [2001:db8::1]:25 60 timeout 30000\n seen b.test mx.b.test [2001:db8::2]:25 60 timeout 30000";
        check(
            &format!("{silent}{others}"),
            "net.v6_path_broken: No IPv6 host answers: neither mx.v6dead.test (::1) (no answer within 30 s) nor those of a.test, b.test \
             lately; this site's own IPv6 path is broken. Over IPv4: delivered over 127.0.0.11.",
        );
        check(
            &format!("{silent}{others}\n seen c.test mx.c.test [2001:db8::3]:25 60 delivered"),
            "net.v6_path_broken: mx.v6dead.test does not answer on its IPv6 address ::1 (no answer within 30 s) but on IPv4; delivered \
             over 127.0.0.11.",
        );
    }

    #[test]
    fn no_ipv6_here_is_no_fault_of_the_host() {
        check(&DEAD.replace("refused", "unreachable"), "unknown");
    }
}
