//! The inside view of DNS sends mail elsewhere than the public one.

use super::asked::{Asked, server, wanted};
use crate::diagnose::{Answer, Case, How, rule};
use mail::dns::{Answer as DnsAnswer, Data, Kind, Outcome, Question};
use mail::{Actor, Confidence, Finding, Via};
use std::net::IpAddr;

rule! {
    /// The internal DNS view sends mail elsewhere
    ///
    /// The resolver that this gateway asks serves an inside view: for this domain it gives another mail host than the Internet
    /// sees, such as a domain controller or the web server, and that host does not take the mail.
    ///
    /// It is known by asking a resolver that sees the public view (`dns.public_servers`); without one it cannot be told.
    ///
    /// Put the domain's public MX into the inside zone, give the gateway a resolver with the public view (`dns.servers`), or give
    /// the domain next hops of its own.
    "dns.split_view", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|attempt| attempt.via == Via::Mx && !case.delivered()) else {
        return Answer::No;
    };
    let Some(public) = case.settings.dns.public_servers.first() else { return Answer::No };
    let question = Question::new(&attempt.domain, Kind::Mx);
    let Some(inside) = case.dns(&attempt.domain, Kind::Mx).filter(|inside| inside.is_known()) else {
        return Answer::No;
    };
    let asked = Asked::of(case, &question, How::At(*public));
    let outside = match asked {
        Asked::Wanted(experiment) => return Answer::Ask(vec![experiment]),
        Asked::Answer(answer) if answer.outcome == Outcome::Found => answer,
        _ => return Answer::No,
    };
    let (here, there) = (hosts(inside), hosts(outside));
    if here == there || there.iter().all(String::is_empty) {
        return Answer::No;
    }
    let address = Asked::of(case, &Question::new(&there[0], Kind::A), How::At(*public));
    let missing = wanted([&address]);
    if !missing.is_empty() {
        return Answer::Ask(missing);
    }
    let (host, addresses) = target(case, &attempt.domain, &here);
    let outside_addresses = address.answer().map(DnsAnswer::addresses).unwrap_or_default();
    let refused = case.refusals().last().map(|(_, _, reply)| reply.to_string());
    let what = match (&refused, case.failed()) {
        (Some(_), _) => ", which does not accept mail for it".to_owned(),
        (None, Some(_)) => ", which cannot be reached".to_owned(),
        _ => String::new(),
    };
    let way = if here.is_empty() {
        format!("has no MX and sends {} to {host}", attempt.domain)
    } else {
        format!("sends {} to {host}", attempt.domain)
    };
    let sentence = format!(
        "The internal DNS view {way}{}{what}; the public MX is {}{}.",
        listed(&addresses),
        there[0],
        listed(&outside_addresses)
    );
    let is_inside = addresses.iter().any(|address| is_private(*address));
    let sure = refused.is_some() && (is_inside || here.iter().all(|host| !there.contains(host)));
    let mut finding = Finding::new("dns.split_view", Actor::OurDns, sentence)
        .confidence(if sure { Confidence::Proven } else { Confidence::Likely })
        .evidence(format!("inside view, {}: {}", server(&inside.server), inside.summary()))
        .evidence(format!("public view, {}: {}", server(&outside.server), outside.summary()))
        .disproof(format!("the same MX records of {} in both views", attempt.domain));
    finding.evidence.extend(address.answer().map(|answer| format!("public view: {}", answer.summary())));
    finding.evidence.extend(refused.map(|reply| format!("{host} answered {reply}")));
    finding
        .fix(format!("Put the public MX ({}) into the inside zone {}.", there.join(", "), attempt.domain))
        .fix(format!("Or have this gateway ask a resolver with the public view: dns.servers = [\"{public}\"]."))
        .fix(format!("Or give {} next hops of its own.", attempt.domain))
        .into()
}

/// Hosts of the MX records, the best first.
fn hosts(answer: &DnsAnswer) -> Vec<String> {
    let mx =
        |data: &Data| if let Data::Mx { preference, host } = data { Some((*preference, host.clone())) } else { None };
    let mut found: Vec<(u16, String)> = answer.data().filter_map(mx).collect();
    found.sort();
    found.into_iter().map(|(_, host)| host).collect()
}

/// Where the inside view led: the host tried last, else the first one named.
fn target(case: &Case<'_>, domain: &str, here: &[String]) -> (String, Vec<IpAddr>) {
    if let Some(tried) = case.last() {
        return (tried.host.clone(), vec![tried.address]);
    }
    let host = here.first().map_or(domain, String::as_str);
    (host.to_owned(), case.addresses(host))
}

fn listed(addresses: &[IpAddr]) -> String {
    if addresses.is_empty() {
        return String::new();
    }
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    format!(" ({})", texts.join(", "))
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    const INSIDE: &str = "to a@group.test
        dns group.test MX: 10 ad.group.test
        dns ad.group.test A: 127.0.0.31
        try ad.group.test 127.0.0.31
          rcpt a@group.test 550 5.7.1 relaying denied
          fail rcpt them 550 5.7.1 relaying denied
        ";
    const SETTINGS: &str = "\nsettings\n[dns]\npublic_servers = [\"127.0.0.54\"]";

    fn is_found(text: &str) -> bool {
        scene(text).diagnose().findings.iter().any(|finding| finding.cause == "dns.split_view")
    }

    #[test]
    fn both_views_are_named() {
        check(
            &format!(
                "{INSIDE}\nask at:127.0.0.54:53 group.test MX: 10 mx.cloud.test\nask at:127.0.0.54:53 mx.cloud.test A: 127.0.0.11{SETTINGS}"
            ),
            "dns.split_view: The internal DNS view sends group.test to ad.group.test (127.0.0.31), which does not accept mail for it; the \
             public MX is mx.cloud.test (127.0.0.11).",
        );
    }

    #[test]
    fn views_that_agree_or_cannot_be_asked_explain_nothing() {
        assert!(!is_found(&format!("{INSIDE}\nask at:127.0.0.54:53 group.test MX: 10 ad.group.test{SETTINGS}")));
        assert!(!is_found(&format!("{INSIDE}\nask at:127.0.0.54:53 group.test MX: FAIL x [udp timed-out]{SETTINGS}")));
        assert!(!is_found(&format!("{INSIDE}\nask at:127.0.0.54:53 group.test MX: NXDOMAIN{SETTINGS}")));
        assert!(!is_found(INSIDE), "no public resolver is known");
    }
}
