//! A domain without MX whose address takes no mail.

use super::{by_mx, listed};
use crate::diagnose::{Answer, Case, connected, rule};
use mail::dns::{Kind, Outcome};
use mail::{Actor, Confidence, Connect, Finding, HostTry};
use std::net::IpAddr;

rule! {
    /// Domain without MX: its address takes no mail
    ///
    /// The domain has no MX record, so mail goes to its own address (RFC 5321 section 5.1, the "implicit MX"). Nothing answers
    /// there on the SMTP port: the address belongs to a web server or to a parking page. Most often the address was mistyped
    /// (a parked look-alike of the domain that was meant).
    ///
    /// Known from the empty answer to the MX query and the failed connections. If connections to all other domains fail as well,
    /// this is not the cause: something on your side blocks the port. The sender checks the address.
    "dns.implicit_mx_web_host", find
}

/// So many other domains without an answer, and none with one, make it our own network.
const OTHERS_SILENT: usize = 2;

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = by_mx(case).filter(|attempt| !attempt.tries.is_empty()) else { return Answer::No };
    let domain = &attempt.domain;
    let Some(mx) = case.dns(domain, Kind::Mx) else { return Answer::No };
    if !matches!(mx.outcome, Outcome::NoData | Outcome::NoName)
        || !attempt.tries.iter().all(|tried| silent(tried, domain))
    {
        return Answer::No;
    }
    let addresses: Vec<IpAddr> = attempt.tries.iter().map(|tried| tried.address).collect();
    let was_a_mail_host =
        case.around.seen.iter().any(|seen| addresses.contains(&seen.address) && seen.banner.is_some());
    if was_a_mail_host || blocked_for_all(case, domain) {
        return Answer::No;
    }
    let last = &attempt.tries[attempt.tries.len() - 1];
    let how = if matches!(last.connect, Connect::Refused) { "refuses connections" } else { "does not answer" };
    let what = if addresses.len() == 1 { "its web address" } else { "none of its web addresses" };
    let verb = if addresses.len() == 1 { how } else { "answers" };
    let sentence = format!(
        "{domain} has no MX record, and {what} {} {verb} on port {}: the domain most likely has no mail service (mistyped?).",
        listed(&addresses),
        last.port
    );
    let mut finding = Finding::new("dns.implicit_mx_web_host", Actor::TheSender, sentence)
        .confidence(Confidence::Likely)
        .evidence(mx.summary());
    finding.evidence.extend(super::address_facts(case, domain));
    for tried in &attempt.tries {
        finding.evidence.extend(
            tried.failure.as_ref().map(|failure| format!("{}:{}: {}", tried.address, tried.port, failure.status)),
        );
    }
    if let Some(ok) = case.around.seen.iter().rev().find(|seen| seen.delivered && seen.domain != *domain) {
        let ago = (case.now.0 - ok.at.0).max(0) / 1000;
        finding
            .evidence
            .push(format!("{} [{}] took mail {ago} s ago: port {} is open on this side", ok.host, ok.address, ok.port));
    }
    finding
        .disproof(format!("an SMTP greeting of {} on port {}, or an MX record of {domain}", last.address, last.port))
        .fix(format!("The sender checks the spelling of {domain}."))
        .fix(format!("If {domain} should take mail, its owner publishes `{domain}. MX 10 …` with a mail host."))
        .into()
}

/// The domain's own address, and nobody spoke there.
fn silent(tried: &HostTry, domain: &str) -> bool {
    tried.host == domain
        && !connected(tried)
        && matches!(
            tried.connect,
            Connect::Refused | Connect::TimedOut { .. } | Connect::HostUnreachable | Connect::Reset
        )
}

/// Whether other domains are as silent, and nobody answers at all.
fn blocked_for_all(case: &Case<'_>, domain: &str) -> bool {
    let others = || case.around.seen.iter().filter(|seen| seen.domain != domain && !seen.configured);
    let mut silent: Vec<&str> = others()
        .filter(|seen| matches!(seen.connect, Connect::TimedOut { .. } | Connect::HostUnreachable))
        .map(|seen| seen.domain.as_str())
        .collect();
    silent.sort_unstable();
    silent.dedup();
    silent.len() >= OTHERS_SILENT && !others().any(|seen| matches!(seen.connect, Connect::Made { .. }))
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};
    use mail::{Connect, End};

    const SILENT: &str = "to a@exmaple.test
        dns exmaple.test MX: NODATA
        dns exmaple.test A: 127.0.0.30
        try exmaple.test 127.0.0.30
          timeout 30000
          fail connect path [internal] 450 4.4.1 connection timed out";

    #[test]
    fn a_parked_domain() {
        check(
            SILENT,
            "dns.implicit_mx_web_host: exmaple.test has no MX record, and its web address 127.0.0.30 does not answer on port 25: \
             the domain most likely has no mail service (mistyped?).",
        );
    }

    #[test]
    fn an_mx_that_does_not_answer_is_no_web_host() {
        check(&SILENT.replace("MX: NODATA", "MX: 0 exmaple.test"), "net.timeout");
    }

    #[test]
    fn where_nobody_answers_the_domain_is_not_to_blame() {
        let mut scene = scene(SILENT);
        for (domain, address) in [("a.test", "127.0.0.41"), ("b.test", "127.0.0.42")] {
            scene.around.seen.push(crate::diagnose::Seen {
                at: scene.now,
                domain: domain.to_owned(),
                host: format!("mx.{domain}"),
                address: address.parse().unwrap(),
                port: 25,
                source: None,
                configured: false,
                connect: Connect::TimedOut { after_ms: 30_000 },
                banner: None,
                name: None,
                capabilities: Vec::new(),
                delivered: false,
                stage: None,
                reply: None,
                sender: String::new(),
                size: 0,
                content_sent: 0,
                content_ms: 0,
                slowest_ms: 0,
                fingerprint: None,
                end: End::Open,
                their_clock: None,
            });
        }
        assert!(!scene.diagnose().findings.iter().any(|finding| finding.cause == "dns.implicit_mx_web_host"));
    }
}
