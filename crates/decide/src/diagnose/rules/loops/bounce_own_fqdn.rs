//! A report to an address at our own name leaves the house.

use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Reply, Retry, Stage, Via};

rule! {
    /// A report to the gateway's own name has nowhere to go
    ///
    /// Mail with the null sender, a report, was meant for an address at this gateway's own host name. That name is among no
    /// domains of the settings, so the report went out by the usual way and was refused. Nothing is ever reported about a
    /// report (RFC 5321 6.1): it is dropped and recorded as a double bounce.
    ///
    /// Take the own host name in: make it a domain with a next hop, or alias its addresses (root, postmaster) to a mailbox
    /// that somebody reads.
    "loop.bounce.own_fqdn", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|attempt| attempt.sender.is_empty() && !attempt.local) else {
        return Answer::No;
    };
    if !case.identity.is_name(&attempt.domain) {
        return Answer::No;
    }
    let refused: Vec<(&mail::HostTry, Stage, &Reply)> =
        case.refusals().into_iter().filter(|(_, _, reply)| reply.is_permanent()).collect();
    let Some((tried, stage, reply)) = refused.last() else { return Answer::No };
    let recipient = attempt.recipients.first().map_or(attempt.domain.as_str(), String::as_str);
    let host = if tried.host == tried.address.to_string() {
        tried.host.clone()
    } else {
        format!("{} ({})", tried.host, tried.address)
    };
    let way = if attempt.via == Via::RelayHost { "routed to the smart-host" } else { "routed to" };
    let domain = &attempt.domain;
    Finding::new(
        "loop.bounce.own_fqdn",
        Actor::OurSettings,
        format!(
            "A notification to {recipient} was {way} {host} because {domain}, this gateway's own name, is in no local table, \
             and it was rejected ({} {}); it is dropped as a double bounce.",
            reply.code,
            reply.status()
        ),
    )
    .confidence(Confidence::Proven)
    .retry(Retry::AfterFix)
    .evidence("the sender is null: a report, about which nothing is ever reported (RFC 5321 6.1)")
    .evidence(format!("{host} answered {reply} at {stage}"))
    .evidence(format!("{domain} is no domain of the settings; the way was {}", attempt.rule))
    .disproof(format!("a [[domain]] or alias of the settings that takes {recipient}"))
    .fix(format!("Take the own host name in: [[alias]] from = \"@{domain}\", to = [\"a mailbox that is read\"], or a [[domain]] with a next hop."))
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const REPORT: &str = "to root@gw.corp.test
        from
        via relay-host
        try smart.test 127.0.0.11
          rcpt root@gw.corp.test 550 5.1.1 no such user";

    #[test]
    fn a_report_to_our_own_name_is_a_double_bounce() {
        check(
            REPORT,
            "loop.bounce.own_fqdn: A notification to root@gw.corp.test was routed to the smart-host smart.test (127.0.0.11) \
             because gw.corp.test, this gateway's own name, is in no local table, and it was rejected (550 5.1.1); it is \
             dropped as a double bounce.",
        );
    }

    #[test]
    fn mail_with_a_sender_or_to_another_name_is_something_else() {
        for text in [REPORT.replace("from\n", "from s@corp.test\n"), REPORT.replace("gw.corp.test", "far.test")] {
            let found = crate::diagnose::testing::scene(&text).nothing_more().diagnose();
            assert!(found.findings.iter().all(|finding| finding.cause != "loop.bounce.own_fqdn"), "{found:?}");
        }
    }
}
