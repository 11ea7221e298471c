//! An address has a reverse name that does not lead back to it: ours at a peer, or a client's here.

use super::own_reverse::{at, refusal};
use super::{client_refused, listed};
use crate::diagnose::face::{self, Known, Reverse};
use crate::diagnose::{Answer, Case, rule};
use mail::dns::Question;
use mail::{Actor, Confidence, Finding, Retry, Severity};
use std::net::IpAddr;

rule! {
    /// Reverse name does not lead back
    ///
    /// The address has a PTR record, but the name in it has no A or AAAA record with that address (it is not forward-confirmed).
    /// Usually the name was moved to another server, such as a content network, and the PTR record stayed behind.
    ///
    /// Outbound: a peer refuses this gateway for it; our own lookups of both directions show it. Inbound: this gateway refused a
    /// client, because `require_confirmed_reverse_name` asks for it. Make PTR and A or AAAA agree.
    "dns.fcrdns_mismatch", find
}

fn find(case: &Case<'_>) -> Answer {
    if case.visit().is_some() { inbound(case) } else { outbound(case) }
}

fn outbound(case: &Case<'_>) -> Answer {
    let Some((tried, stage, reply, confidence)) = refusal(case) else { return Answer::No };
    let Some(source) = face::seen_as(case, tried, Some(reply)) else { return Answer::No };
    let mut wanted = Vec::new();
    match face::stands_for_another(case, tried, source) {
        Known::Yes(Some(_)) => return Answer::No,
        Known::Ask(experiments) => wanted.extend(experiments),
        Known::Yes(None) | Known::Never => {}
    }
    let (names, facts) = match face::reverse(case, source) {
        Known::Yes((Reverse::Mismatch(names), facts)) if wanted.is_empty() => (names, facts),
        Known::Yes((Reverse::Mismatch(_), _)) => return Answer::Ask(wanted),
        Known::Ask(experiments) => return Answer::Ask(experiments.into_iter().chain(wanted).collect()),
        Known::Yes(_) | Known::Never => return Answer::No,
    };
    let (host, address) = (&tried.host, tried.address);
    let place = if *host == address.to_string() { host.clone() } else { format!("{host} ({address})") };
    let sentence = format!("{place} refuses {}: {}.", at(stage), mismatch(source, &names));
    let mut finding = Finding::new("dns.fcrdns_mismatch", Actor::OurDns, sentence).confidence(confidence);
    if case.delivered() {
        finding = finding.severity(Severity::Warning).retry(Retry::NotNeeded);
    }
    finding.evidence.push(format!("{host} [{address}] {}: {reply}", at(stage)));
    finding.evidence.extend(facts);
    let record = if source.is_ipv4() { "A" } else { "AAAA" };
    finding
        .disproof(format!("{source} among the {record} records of {} in public DNS", names[0].0))
        .fix(format!(
            "Have the holder of {source} (the provider) set its PTR record to the gateway's own name: `{}. PTR {}.`",
            Question::reverse(source).name,
            tried.ehlo
        ))
        .fix(format!("See to it that `{}. {record} {source}` exists.", tried.ehlo))
        .into()
}

fn inbound(case: &Case<'_>) -> Answer {
    let Some((visit, refused)) = client_refused(case, &["reverse-name-mismatch"]) else { return Answer::No };
    let client = visit.client.to_canonical();
    let (names, facts) = match face::reverse(case, client) {
        Known::Yes((Reverse::Mismatch(names), facts)) => (names, facts),
        Known::Ask(experiments) => return Answer::Ask(experiments),
        Known::Yes(_) | Known::Never => return Answer::No,
    };
    let sentence = format!(
        "Client {client} was refused ({}): {}; the policy \"require confirmed reverse name\" asks that it leads back.",
        refused.reply.code,
        mismatch(client, &names)
    );
    let mut finding = Finding::new("dns.fcrdns_mismatch", Actor::TheirDns, sentence).confidence(Confidence::Proven);
    finding.evidence.extend(facts);
    finding.evidence.push(format!("our answer {}: {}", at(refused.stage), refused.reply));
    finding
        .disproof(format!("{client} among the addresses of {}", names[0].0))
        .fix(format!("The operator of {client} makes its PTR record and the address record of {} agree.", names[0].0))
        .fix("If the client is one of yours, add its network to internal_hosts; or set require_confirmed_reverse_name = false.")
        .into()
}

/// `PTR of 192.0.2.1 is a.test, but a.test now resolves to 192.0.2.9`
fn mismatch(address: IpAddr, names: &[(&str, Vec<IpAddr>)]) -> String {
    let all: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    let each: Vec<String> = names
        .iter()
        .map(|(name, addresses)| {
            if addresses.is_empty() {
                format!("{name} has no {} record", if address.is_ipv4() { "A" } else { "AAAA" })
            } else {
                format!("{name} now resolves to {}", listed(addresses))
            }
        })
        .collect();
    format!("PTR of {address} is {}, but {}", listed(&all), listed(&each))
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    const REFUSED: &str = "to a@dest.test
        dns dest.test MX: 10 mx.dest.test
        dns 2.0.0.127.in-addr.arpa PTR: wiki.corp.test
        dns gw.corp.test A: NXDOMAIN
        dns wiki.corp.test A: 127.0.0.30
        try mx.dest.test 127.0.0.11
          banner 421 4.7.25 your reverse DNS does not resolve back
          fail banner them 421 4.7.25 no";

    #[test]
    fn our_name_moved_away() {
        check(
            REFUSED,
            "dns.fcrdns_mismatch: mx.dest.test (127.0.0.11) refuses at connect: PTR of 127.0.0.2 is wiki.corp.test, but \
             wiki.corp.test now resolves to 127.0.0.30.",
        );
    }

    #[test]
    fn our_name_vanished() {
        check(
            &REFUSED.replace("wiki.corp.test A: 127.0.0.30", "wiki.corp.test A: NXDOMAIN"),
            "dns.fcrdns_mismatch: mx.dest.test (127.0.0.11) refuses at connect: PTR of 127.0.0.2 is wiki.corp.test, but \
             wiki.corp.test has no A record.",
        );
    }

    #[test]
    fn a_name_that_leads_back_is_no_mismatch() {
        let confirmed = REFUSED.replace("A: 127.0.0.30", "A: 127.0.0.30, 127.0.0.2");
        scene(&confirmed).nothing_more().check("unknown");
    }

    #[test]
    fn a_failed_lookup_is_no_mismatch() {
        scene(&REFUSED.replace("A: 127.0.0.30", "A: FAIL timed out")).nothing_more().check("unknown");
        let bare = REFUSED.replace("dns wiki.corp.test A: 127.0.0.30", "");
        scene(&bare).nothing_more().check("unknown");
        scene(&bare).answer("wiki.corp.test A: 127.0.0.30").check("dns.fcrdns_mismatch");
    }
}
