//! The recipient's domain does not exist.

use super::by_mx;
use crate::diagnose::{Answer, Case, rule};
use mail::dns::{Answer as DnsAnswer, Kind, Outcome};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// Domain does not exist
    ///
    /// DNS says that the recipient's domain does not exist (NXDOMAIN), for MX, A and AAAA alike. A typing error in the address,
    /// or a domain whose registration has ended. The message is returned at once: waiting does not help.
    ///
    /// The sender corrects the address. If the domain was made only now, resolvers may still remember that it did not exist.
    "dns.domain_missing", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = by_mx(case).filter(|attempt| attempt.tries.is_empty()) else { return Answer::No };
    let domain = &attempt.domain;
    let Some(mx) = case.dns(domain, Kind::Mx).filter(|mx| mx.outcome == Outcome::NoName) else { return Answer::No };
    let others: Vec<&DnsAnswer> = [Kind::A, Kind::Aaaa].into_iter().filter_map(|kind| case.dns(domain, kind)).collect();
    if others.iter().any(|answer| !matches!(answer.outcome, Outcome::NoName | Outcome::NoData)) {
        return Answer::No;
    }
    let kinds: Vec<&str> = std::iter::once(mx).chain(others.iter().copied()).map(|a| a.question.kind.name()).collect();
    let whom = attempt.recipients.first().map_or(String::new(), |first| format!(" ({first})"));
    let sentence =
        format!("The recipient's domain {domain}{whom} does not exist: DNS answers NXDOMAIN to {}.", kinds.join(", "));
    let actor = if attempt.local { Actor::OurDns } else { Actor::TheSender };
    let mut finding = Finding::new("dns.domain_missing", actor, sentence)
        .confidence(Confidence::Proven)
        .retry(Retry::Useless)
        .evidence(format!("{} (from {})", mx.summary(), mx.server));
    finding.evidence.extend(others.iter().map(|answer| answer.summary()));
    let finding = finding.disproof(format!("any record of {domain} at the name servers of the zone above it"));
    if attempt.local {
        finding
            .fix(format!(
                "{domain} is a local domain here: give it next hops, [[domain]] next_hops, instead of its MX."
            ))
            .into()
    } else {
        finding
            .fix(format!("The sender corrects the address, or asks the recipient whether {domain} is still in use."))
            .into()
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_domain_that_does_not_exist() {
        check(
            "to a@nosuch.test
             dns nosuch.test MX: NXDOMAIN
             dns nosuch.test A: NXDOMAIN
             dns nosuch.test AAAA: NXDOMAIN
             no-route 550 5.1.2 domain does not exist",
            "dns.domain_missing: The recipient's domain nosuch.test (a@nosuch.test) does not exist: DNS answers NXDOMAIN to \
             MX, A, AAAA.",
        );
    }

    #[test]
    fn a_failed_lookup_leaves_it_open() {
        check(
            "to a@nosuch.test
             dns nosuch.test MX: NXDOMAIN
             dns nosuch.test A: FAIL 127.0.0.53:53 answered SERVFAIL
             no-route 421 4.4.4 failed",
            "dns.servfail",
        );
    }
}
