//! What is common to the two rules about our own address without a reverse name.

use crate::diagnose::face::{self, Known, Reverse};
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case};
use mail::dns::Question;
use mail::{Actor, Confidence, Finding, HostTry, Reply, Retry, Severity, Stage};
use std::net::IpAddr;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// A refusal that may be about our reverse name: by its words, or because it quotes our address and names no other reason.
pub(super) fn refusal<'a>(case: &Case<'a>) -> Option<(&'a HostTry, Stage, &'a Reply, Confidence)> {
    if let Some((tried, stage, reply)) = case.refusal_about(Topic::ReverseDns) {
        // Several topics: the words are not plain.
        let sure = words::topics(reply).first() == Some(&Topic::ReverseDns);
        return Some((tried, stage, reply, if sure { Confidence::Proven } else { Confidence::Likely }));
    }
    // Without a reason, but with our IPv6 address: the usual one. IPv4 addresses are quoted for anything.
    case.refusals().into_iter().find_map(|(tried, stage, reply)| {
        let source = tried.source.filter(IpAddr::is_ipv6)?.to_string();
        let unexplained = words::topics(reply).is_empty() && words::quotes(reply, &source);
        unexplained.then_some((tried, stage, reply, Confidence::Possible))
    })
}

/// At which command, for a sentence.
pub(super) fn at(stage: Stage) -> String {
    match stage {
        Stage::Connect | Stage::Banner => "at connect".to_owned(),
        Stage::FinalReply => "after the content".to_owned(),
        stage => format!("at {stage}"),
    }
}

pub(super) fn find_in(case: &Case<'_>, family: Family, cause: &'static str) -> Answer {
    let Some((tried, stage, reply, confidence)) = refusal(case) else { return Answer::No };
    let Some(source) = face::seen_as(case, tried, Some(reply)) else { return Answer::No };
    if source.is_ipv6() != (family == Family::V6) {
        return Answer::No;
    }
    // Mail that leaves from the wrong address is a cause of its own, and says more.
    let other = match face::stands_for_another(case, tried, source) {
        Known::Yes(Some(_)) => return Answer::No,
        Known::Ask(experiments) => experiments,
        Known::Yes(None) | Known::Never => Vec::new(),
    };
    let facts = match face::reverse(case, source) {
        Known::Yes((Reverse::None, facts)) => facts,
        Known::Ask(experiments) => return Answer::Ask(experiments.into_iter().chain(other).collect()),
        Known::Yes(_) | Known::Never => return Answer::No,
    };
    if !other.is_empty() {
        return Answer::Ask(other);
    }
    let v4 = (family == Family::V6).then(|| v4_source(case)).flatten();
    let v4_names = match v4.map(|v4| face::answer(case, Question::reverse(v4))) {
        Some(Known::Ask(experiments)) => return Answer::Ask(experiments),
        Some(Known::Yes(answer)) => answer.names(),
        _ => Vec::new(),
    };
    let (host, missing) = (&tried.host, face::ptr_absence(case, source));
    let mut sentence =
        format!("{host} refused {} because the source {source} has no PTR record ({missing})", at(stage));
    if let (Some(v4), Some(name)) = (v4, v4_names.first()) {
        sentence.push_str(&format!("; the IPv4 source {v4} has one ({name})"));
    }
    let took = case.tries().iter().find(|tried| crate::diagnose::delivered(tried));
    let mut finding = Finding::new(cause, Actor::OurDns, "").confidence(confidence);
    if let Some(took) = took {
        sentence.push_str(&format!(
            "; the message went to {} from {}",
            took.address,
            took.source.map_or("another".to_owned(), |source| source.to_string())
        ));
        finding = finding.severity(Severity::Warning).retry(Retry::NotNeeded);
    }
    finding.sentence = sentence + ".";
    finding.evidence.push(format!("{host} [{}] {}: {reply}", tried.address, at(stage)));
    finding.evidence.extend(facts);
    if let Some(v4) = v4 {
        finding.evidence.push(format!(
            "PTR of {v4}: {}",
            if v4_names.is_empty() { "none".to_owned() } else { v4_names.join(", ") }
        ));
    }
    let name = &tried.ehlo;
    let finding = finding
        .disproof(format!("a PTR record of {source} in public DNS whose name has the address {source}"))
        .fix(format!(
            "Have the holder of {source} (the provider) set `{}. PTR {name}.`, and publish `{name}. {} {source}`.",
            Question::reverse(source).name,
            if source.is_ipv4() { "A" } else { "AAAA" }
        ));
    match family {
        Family::V6 => finding
            .fix("Or let deliveries leave from an address that has a PTR record: [[delivery.source]] address = \"…\".")
            .fix("Or prefer IPv4: delivery.address_family = \"ipv4-first\", or \"ipv4\" alone."),
        Family::V4 => finding,
    }
    .into()
}

/// The IPv4 address that deliveries leave from, as far as it is known.
fn v4_source(case: &Case<'_>) -> Option<IpAddr> {
    let tried = case.tries().iter().filter_map(|tried| tried.source);
    let set = case.settings.delivery.sources.iter().map(|source| source.address);
    let lately = case.around.seen.iter().rev().filter_map(|seen| seen.source);
    let own = case.identity.addresses.iter().copied();
    tried.chain(set).chain(lately).chain(own).find(IpAddr::is_ipv4)
}

#[cfg(test)]
mod tests {
    use super::Question;
    use crate::diagnose::Experiment;
    use crate::diagnose::testing::{check, scene};

    const V6: &str = "to a@big.test
        dns big.test MX: 10 mx.big.test
        try mx.big.test ::1 from ::1
          rcpt a@big.test 250 ok
          final 550 5.7.25 The IP address sending this message ::1 does not have a PTR record
          fail final-reply them 550 5.7.25 no";
    const ROOT: &str = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa";

    #[test]
    fn an_ipv6_source_without_ptr() {
        scene(V6).asks(&Experiment::ask(Question::reverse("::1".parse().unwrap())));
        let facts = format!(
            "dns {ROOT} PTR: NXDOMAIN\ndns gw.corp.test AAAA: NXDOMAIN\ndns 2.0.0.127.in-addr.arpa PTR: gw.corp.test\n"
        );
        check(
            &format!("{facts}{V6}"),
            "dns.own_v6_no_ptr: mx.big.test refused after the content because the source ::1 has no PTR record (NXDOMAIN); the \
             IPv4 source 127.0.0.2 has one (gw.corp.test).",
        );
        let delivered = "\ntry mx.big.test 127.0.0.11\n final 250 ok";
        let scene = scene(&format!("{facts}{V6}{delivered}"));
        let found = scene.diagnose();
        assert!(found.first().is_some_and(|finding| finding.severity == super::Severity::Warning), "{found:?}");
    }

    #[test]
    fn a_confirmed_name_or_a_failed_lookup_is_no_missing_one() {
        let with = |facts: &str| scene(&format!("{facts}\n{V6}")).nothing_more();
        with(&format!("dns {ROOT} PTR: v6.corp.test\ndns v6.corp.test AAAA: ::1")).check("unknown");
        with(&format!("dns {ROOT} PTR: FAIL timed out")).check("unknown");
        scene(V6).nothing_more().check("unknown");
    }

    #[test]
    fn an_ipv4_source_without_ptr() {
        check(
            "to a@big.test
             dns 2.0.0.127.in-addr.arpa PTR: NXDOMAIN
             dns gw.corp.test A: 127.0.0.2
             try mx.big.test 127.0.0.11
               banner 554 5.7.25 no reverse DNS
               fail banner them 554 5.7.25 no",
            "dns.own_no_ptr: mx.big.test refused at connect because the source 127.0.0.2 has no PTR record (NXDOMAIN).",
        );
    }

    #[test]
    fn a_refusal_for_another_reason_has_nothing_to_do_with_it() {
        let refused = V6.replace("5.7.25", "5.7.1").replace(
            "The IP address sending this message ::1 does not have a PTR record",
            "Service unavailable; client host [::1] blocked using zen.dnsbl.test",
        );
        let facts = format!("dns {ROOT} PTR: NXDOMAIN\ndns gw.corp.test AAAA: NXDOMAIN\n");
        let scene = scene(&format!("{facts}{refused}")).nothing_more();
        assert!(!scene.diagnose().findings.iter().any(|finding| finding.cause == "dns.own_v6_no_ptr"));
    }
}
