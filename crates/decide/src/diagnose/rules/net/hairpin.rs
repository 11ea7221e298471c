//! The host has our own public address, which cannot be reached from inside.

use super::{evidence, none_connected};
use crate::diagnose::{Answer, Case, Experiment, Result, connected, rule};
use mail::{Actor, Confidence, Finding, HostTry, Why};
use std::net::{IpAddr, SocketAddr};

rule! {
    /// Own public address not reachable from inside
    ///
    /// The mail host has a public address of this site (`public_addresses`), and connections to it from inside come to nothing:
    /// the router does not reflect them (NAT reflection, hairpin NAT). From outside the same service may well work.
    ///
    /// Give the domain a next hop with the server's inside address, enable NAT reflection on the router, or let the inside DNS
    /// answer with the inside address.
    "net.hairpin", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt() else { return Answer::No };
    let domain = &attempt.domain;
    let found = |host: &str, address: IpAddr| {
        Finding::new(
            "net.hairpin",
            Actor::OurNetwork,
            format!(
                "{host} is {address}, this site's own public NAT address, which is not reachable from inside (no NAT \
                 reflection): mail for {domain} cannot leave this way."
            ),
        )
        .confidence(Confidence::Likely)
        .evidence(format!("identity.public_addresses holds {address}"))
        .disproof(format!("a connection from this machine to {address} that succeeds"))
        .fix(format!("[[domain]] name = \"{domain}\", next_hops = [\"HOST\"]: the inside address of the server that holds its mail."))
        .fix("Or enable NAT reflection on the router, or let the inside DNS answer with the inside address.")
    };
    if attempt.tries.is_empty() {
        return match reflection(case) {
            Reflection::Silent { host, address } => found(&host, address)
                .evidence(format!("a connection from here to {address} is answered by nobody"))
                .into(),
            Reflection::Ask(probe) => Answer::Ask(vec![probe]),
            Reflection::Answers | Reflection::Unknown | Reflection::None => Answer::No,
        };
    }
    let Some(tries) = none_connected(case) else { return Answer::No };
    let is_ours = |tried: &&HostTry| case.settings.public_addresses.contains(&tried.address);
    let Some(tried) = tries.iter().find(is_ours) else { return Answer::No };
    let mut finding = found(&tried.host, tried.address);
    finding.evidence.extend(evidence(tries));
    finding.into()
}

/// What a public address of ours, at which mail would have come back, says when it is called from inside.
pub(in crate::diagnose::rules) enum Reflection {
    /// No host was left out for such an address.
    None,
    Ask(Experiment),
    /// Nobody answers: whose it is inside cannot be seen from here.
    Silent {
        host: String,
        address: IpAddr,
    },
    Answers,
    /// It was not looked at.
    Unknown,
}

pub(in crate::diagnose::rules) fn reflection(case: &Case<'_>) -> Reflection {
    let Some(attempt) = case.attempt() else { return Reflection::None };
    let public = |address: &IpAddr| {
        case.settings.public_addresses.contains(address)
            && !case.identity.listening.iter().any(|ours| ours.ip() == *address)
    };
    let own = attempt.dropped.iter().find_map(|dropped| {
        let address = dropped.address.filter(|address| matches!(dropped.why, Why::Own(_)) && public(address))?;
        Some((dropped.host.clone(), address))
    });
    let Some((host, address)) = own else { return Reflection::None };
    let probe = Experiment::Connect { address: SocketAddr::new(address, case.settings.delivery.port) };
    match case.look(&probe) {
        None => Reflection::Ask(probe),
        Some(Result::Talk(tried)) if connected(tried) => Reflection::Answers,
        Some(Result::Talk(_)) => Reflection::Silent { host, address },
        Some(_) => Reflection::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};
    use crate::diagnose::{Experiment, Result};
    use mail::{Connect, HostTry, Time};

    const SILENT: &str = "to a@second.test
         try mail.second.test 127.0.0.99
           timeout 30000
           fail connect path [internal] 450 4.4.1 connection timed out";

    #[test]
    fn our_own_public_address_does_not_answer_from_inside() {
        check(
            &format!("{SILENT}\nsettings\n[identity]\npublic_addresses = [\"127.0.0.99\"]"),
            "net.hairpin: mail.second.test is 127.0.0.99, this site's own public NAT address, which is not reachable from \
             inside (no NAT reflection): mail for second.test cannot leave this way.",
        );
    }

    /// Left out of the route, since it would lead back here.
    const DROPPED: &str = "to a@second.test
         dns second.test MX: 10 mail.second.test
         dns mail.second.test A: 203.0.113.9
         dropped mail.second.test 203.0.113.9 10 own its address
         no-route 554 5.4.6 mail loop
settings
[identity]
public_addresses = [\"203.0.113.9\"]";

    #[test]
    fn a_host_that_was_left_out_is_looked_at() {
        let probe = Experiment::Connect { address: "203.0.113.9:25".parse().unwrap() };
        let looked = |connect| {
            let mut tried = HostTry::new("203.0.113.9", "203.0.113.9".parse().unwrap(), 25, Time(0));
            tried.connect = connect;
            let scene = scene(DROPPED);
            scene.asks(&probe);
            scene.look(probe.clone(), Result::Talk(Box::new(tried)))
        };
        looked(Connect::TimedOut { after_ms: 2000 }).check(
            "net.hairpin: mail.second.test is 203.0.113.9, this site's own public NAT address, which is not reachable from \
             inside (no NAT reflection): mail for second.test cannot leave this way.",
        );
        looked(Connect::Made { ms: 1 }).check("loop.self.domain_not_local");
        scene(DROPPED).nothing_more().check("loop.self.domain_not_local");
    }

    #[test]
    fn another_address_is_another_matter() {
        check(&format!("{SILENT}\nsettings\n[identity]\npublic_addresses = [\"127.0.0.98\"]"), "net.timeout");
    }
}
