//! Mail leaves from an address of ours that SPF does not list, while it lists another.

use super::source::{self, Left};
use crate::diagnose::face::{self, Known};
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, rule};
use mail::dns::Question;
use mail::{Actor, Confidence, Finding, Retry, Severity};

rule! {
    /// Mail leaves from an address that SPF does not list
    ///
    /// The sender domain's SPF record lists an address of this host, but the connection left from another one. Most often with
    /// IPv6: the system chooses a temporary (privacy) address or another address of the same /64 as source, which changes from
    /// day to day, so that only part of the mail fails. It is the same with several IPv4 addresses.
    ///
    /// Known from the socket's own address and the SPF record, after a peer refused for SPF. Bind deliveries to the listed
    /// address with `[[delivery.source]]`, or list the other one (for IPv6, the whole prefix) and set its PTR record.
    "net.source_address_unexpected_v6", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(Left { tried, stage, reply, source, .. }) = source::refused(case) else { return Answer::No };
    if !words::topics(reply).contains(&Topic::Spf) {
        return Answer::No;
    }
    let policy = match source::policy(case, source) {
        Known::Yes(Some(policy)) if !policy.lists => policy,
        Known::Ask(experiments) => return Answer::Ask(experiments),
        Known::Yes(_) | Known::Never => return Answer::No,
    };
    if source.is_ipv4() {
        match face::stands_for_another(case, tried, source) {
            Known::Yes(Some(_)) => return Answer::No,
            Known::Ask(experiments) => return Answer::Ask(experiments),
            Known::Yes(None) | Known::Never => {}
        }
    }
    let own = case.identity.addresses.iter().chain(&case.settings.public_addresses);
    let Some(right) = own.map(std::net::IpAddr::to_canonical).find(|own| *own != source && policy.allows(*own)) else {
        return Answer::No;
    };
    let Some((_, domain)) = case.attempt().and_then(|attempt| attempt.sender.rsplit_once('@')) else {
        return Answer::No;
    };
    let only =
        if policy.entries.len() == 1 { format!("only {}", policy.entries[0]) } else { policy.entries.join(", ") };
    let sentence =
        format!("This delivery left from {source}, which the SPF record of {domain} does not list ({only}).");
    let mut finding =
        Finding::new("net.source_address_unexpected_v6", Actor::OurSettings, sentence).confidence(Confidence::Proven);
    if case.delivered() {
        finding = finding.severity(Severity::Warning).retry(Retry::NotNeeded);
    }
    let network = format!("{}{}", crate::spf::term(source), if source.is_ipv4() { "" } else { "/64" });
    finding
        .evidence(format!("{} [{}] at {stage}: {reply}", tried.host, tried.address))
        .evidence(format!(
            "address of our own end: {}",
            tried.source.map_or("unknown".to_owned(), |own| own.to_string())
        ))
        .evidence(format!("{domain} TXT: {}", policy.record))
        .evidence(format!("another address of this gateway, {right}, is listed"))
        .disproof(format!("{source} in the SPF record of {domain} in public DNS"))
        .fix(format!("Bind deliveries to {right}: [[delivery.source]] address = \"{right}\"."))
        .fix(format!(
            "Or add {network} to the SPF record of {domain} and set `{}. PTR {}.`",
            Question::reverse(source).name,
            tried.ehlo
        ))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    const REFUSED: &str = "to a@big.test
        dns gw.corp.test A: NXDOMAIN
        dns 3.0.0.127.in-addr.arpa PTR: NXDOMAIN
        try mx.big.test 127.0.0.11 from 127.0.0.3
          mail 550 5.7.23 SPF fail ip=127.0.0.3
          fail mail them 550 5.7.23 no";

    #[test]
    fn the_source_is_not_listed_and_another_address_is() {
        let scene = scene(&format!("{REFUSED}\ndns corp.test TXT: \"v=spf1 ip4:127.0.0.2 -all\"")).nothing_more();
        scene.check(
            "net.source_address_unexpected_v6: This delivery left from 127.0.0.3, which the SPF record of corp.test does not \
             list (only 127.0.0.2).",
        );
    }

    #[test]
    fn the_same_over_ipv6() {
        let mut scene = scene(
            "to a@big.test
             dns corp.test TXT: \"v=spf1 ip6:2001:db8::25 -all\"
             try mx.big.test 2001:db8:1::1 from 2001:db8::abcd
               mail 550 5.7.23 SPF validation failed
               fail mail them 550 5.7.23 no",
        );
        scene.identity.addresses = vec!["2001:db8::25".parse().unwrap(), "2001:db8::abcd".parse().unwrap()];
        scene.nothing_more().check("net.source_address_unexpected_v6");
    }

    #[test]
    fn a_listed_source_or_a_record_without_us_has_another_cause() {
        for record in ["v=spf1 ip4:127.0.0.0/29 -all", "v=spf1 ip4:192.0.2.1 -all", "v=spf1 exists:%{i}.x.test -all"] {
            let scene = scene(&format!("{REFUSED}\ndns corp.test TXT: \"{record}\"")).nothing_more();
            assert!(
                !scene.diagnose().findings.iter().any(|finding| finding.cause.starts_with("net.source_address")),
                "{record}"
            );
        }
        check(
            &format!("{}\ndns corp.test TXT: FAIL x", REFUSED.replace("5.7.23 SPF fail ip=127.0.0.3", "no")),
            "unknown",
        );
    }
}
