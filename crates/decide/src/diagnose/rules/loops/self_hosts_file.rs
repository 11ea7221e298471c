//! The hosts file of this machine hides a mail host's true address.

use super::own_host;
use crate::diagnose::{Answer, Case, Experiment, How, Result, rule};
use mail::dns::{self, Kind, Question};
use mail::{Actor, Confidence, Connect, Finding, Retry};
use std::net::IpAddr;

rule! {
    /// The hosts file hides the true address
    ///
    /// The hosts file of this machine gives a mail host a loopback address, such as the line `127.0.1.1 hostname` that
    /// distributions write; DNS gives it another one. The file counts first, so the mail was taken to an address where nothing
    /// listens, or where this machine meets itself.
    ///
    /// Remove the line from the hosts file, or set `dns.hosts_file` so that mail hosts are looked up in DNS only. If DNS
    /// leads to this gateway as well, its settings lack the domain.
    "loop.self.hosts_file", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|_| !case.delivered()) else { return Answer::No };
    let tried = attempt.tries.iter().find(|tried| {
        tried.address.is_loopback() && !matches!(tried.connect, Connect::Made { .. } | Connect::NotTried)
    });
    let host = match (tried, own_host(attempt)) {
        (Some(tried), _) => &tried.host,
        (None, Some(own)) if attempt.no_route.is_some() => &own.host,
        _ => return Answer::No,
    };
    if host.parse::<IpAddr>().is_ok() {
        return Answer::No;
    }
    let ask = |how| Experiment::Ask { question: Question::new(host, Kind::A), how };
    let (from_file, from_dns) = (ask(How::HostsFile), ask(How::DnsOnly));
    let recorded = case.dns(host, Kind::A).filter(|answer| answer.server.starts_with('/'));
    let unasked: Vec<Experiment> = [(&from_file, recorded.is_some()), (&from_dns, false)]
        .into_iter()
        .filter(|(ask, known)| !known && case.look(ask).is_none())
        .map(|(ask, _)| ask.clone())
        .collect();
    if !unasked.is_empty() {
        return Answer::Ask(unasked);
    }
    let looked = |ask: &Experiment| if let Some(Result::Answer(answer)) = case.look(ask) { Some(answer) } else { None };
    let (Some(file), Some(dns)) = (recorded.or_else(|| looked(&from_file)), looked(&from_dns)) else {
        return Answer::No;
    };
    let first = |answer: &dns::Answer| answer.addresses().into_iter().next();
    let (Some(hidden), Some(real)) = (first(file), first(dns)) else { return Answer::No };
    if hidden == real || !hidden.is_loopback() || dns.addresses().contains(&hidden) {
        return Answer::No;
    }
    let is_own = case.identity.is_address(real);
    let anyway = if is_own { ", and that address is this gateway anyway" } else { "" };
    let mut finding = Finding::new(
        "loop.self.hosts_file",
        Actor::OurSettings,
        format!(
            "{host} resolves to {hidden} from the local hosts file but to {real} in DNS; the hosts-file line hides the real \
             address{anyway}."
        ),
    )
    .confidence(Confidence::Proven)
    .retry(Retry::AfterFix)
    .evidence(format!("hosts file: {}", file.summary()))
    .evidence(format!("DNS: {}", dns.summary()))
    .disproof(format!("no line for {host} in the hosts file"))
    .fix(format!("Remove the line `{hidden} {host}` from the hosts file, or let mail hosts be looked up in DNS only (dns.hosts_file)."));
    if let Some(tried) = tried {
        finding.evidence.push(format!(
            "{} [{}]: {}",
            tried.host,
            tried.address,
            tried.failure.as_ref().map(ToString::to_string).unwrap_or_default()
        ));
    }
    if is_own && !attempt.local {
        finding = finding
            .fix(format!("Add {0} to the domains with its mailbox server: [[domain]] name = \"{0}\".", attempt.domain));
    }
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{Scene, answer, scene};
    use crate::diagnose::{Experiment, How, Result};

    fn looked(scene: Scene, how: How, text: &str) -> Scene {
        let answer = answer(text);
        scene.look(Experiment::Ask { question: answer.question.clone(), how }, Result::Answer(answer))
    }

    const REFUSED: &str = "to a@own.test
        dns own.test MX: 10 gw.own.test
        try gw.own.test 127.0.1.1
          refused
          fail connect path [internal] 421 4.4.1 connection refused";

    #[test]
    fn a_line_of_the_distribution_hides_the_address() {
        let scene = looked(scene(REFUSED), How::HostsFile, "gw.own.test A: 127.0.1.1");
        looked(scene, How::DnsOnly, "gw.own.test A: 127.0.0.2").check(
            "loop.self.hosts_file: gw.own.test resolves to 127.0.1.1 from the local hosts file but to 127.0.0.2 in DNS; the \
             hosts-file line hides the real address, and that address is this gateway anyway.",
        );
    }

    #[test]
    fn the_same_address_in_both_is_not_hidden() {
        let scene = looked(scene(REFUSED), How::HostsFile, "gw.own.test A: 127.0.1.1");
        looked(scene, How::DnsOnly, "gw.own.test A: 127.0.1.1").nothing_more().check("net.refused");
    }
}
