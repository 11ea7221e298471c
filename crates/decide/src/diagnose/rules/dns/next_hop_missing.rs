//! A next hop of the settings is a name that DNS does not know.

use super::{absence, address_facts};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Via, Why};

rule! {
    /// Next hop does not exist
    ///
    /// The settings (or an administrator's detour) send this mail to a host by name, and DNS has no address for that name. A
    /// typing error in the settings, a server that was removed, or an internal name that the resolver in `dns.servers` does not
    /// know. The mail waits until the settings or DNS are put right.
    "dns.next_hop_missing", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|attempt| attempt.tries.is_empty()) else { return Answer::No };
    if !matches!(attempt.via, Via::NextHops | Via::RelayHost | Via::Detour) || attempt.dropped.is_empty() {
        return Answer::No;
    }
    if !attempt.dropped.iter().all(|dropped| matches!(dropped.why, Why::NoAddress(_))) {
        return Answer::No;
    }
    let host = &attempt.dropped[0].host;
    let Some(lacks) = absence(case, host) else { return Answer::No };
    let what = match attempt.via {
        Via::RelayHost => "relay host",
        _ => "next hop",
    };
    let sentence = format!("The {what} {host} for {} ({}) {lacks}.", attempt.domain, attempt.rule);
    let mut finding = Finding::new("dns.next_hop_missing", Actor::OurSettings, sentence)
        .confidence(Confidence::Proven)
        .disproof(format!("an A or AAAA record of {host}, asked of the resolvers in dns.servers"));
    finding.evidence = address_facts(case, host);
    finding
        .fix(format!("Correct the host name in {}, or write the server's address instead.", attempt.rule))
        .fix(format!(
            "If {host} is an internal name: set dns.servers to a resolver that knows it, or give it an A record."
        ))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_mistyped_relay_host() {
        check(
            "to a@x.test
             via relay-host
             dns realy.corp.test A: NXDOMAIN
             dns realy.corp.test AAAA: NXDOMAIN
             dropped realy.corp.test - 0 no-address NXDOMAIN
             no-route 421 4.4.4 next hop of route.other",
            "dns.next_hop_missing: The relay host realy.corp.test for x.test (route.other) does not exist (NXDOMAIN).",
        );
    }
}
