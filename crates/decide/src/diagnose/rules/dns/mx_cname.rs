//! The MX names an alias.

use super::{absence, address_facts, by_mx, canonical, mx_records};
use crate::diagnose::{Answer, Case, rule};
use mail::dns::Kind;
use mail::{Actor, Attempt, Confidence, Finding, Retry, Severity, Why};

rule! {
    /// MX is an alias (CNAME)
    ///
    /// The domain's MX record names a host that is a CNAME of another. RFC 2181 section 10.3 and RFC 5321 section 5.1 forbid
    /// that. This gateway follows the alias; stricter mail servers leave such an MX out, so that mail from some senders
    /// arrives and from others does not. If the alias leads to a name without an address, no mail arrives at all.
    ///
    /// Known from the answers to the A and AAAA queries, which begin with a CNAME. The owner of the domain puts the canonical
    /// name into the MX record.
    "dns.mx_cname", find
}

fn find(case: &Case<'_>) -> Answer {
    let (Some(attempt), Some((answer, records))) = (by_mx(case), mx_records(case)) else { return Answer::No };
    let mut aliases = records.iter().filter_map(|(preference, host)| Some((*preference, *host, target(case, host)?)));
    let Some((preference, alias, canonical)) = aliases.next() else { return Answer::No };
    let domain = &attempt.domain;
    let says = format!("{domain}'s MX {alias} is a CNAME to {canonical}, which RFC 2181 section 10.3 forbids");
    let finding = if case.went_through().is_some() {
        let sentence = format!("{says}; this gateway followed it and delivered, stricter senders refuse.");
        Finding::new("dns.mx_cname", Actor::TheirDns, sentence).severity(Severity::Warning).retry(Retry::NotNeeded)
    } else if attempt.tries.is_empty() && nothing_but_missing(attempt) {
        let Some(lacks) = absence(case, alias) else { return Answer::No };
        Finding::new(
            "dns.mx_cname",
            Actor::TheirDns,
            format!("{says}, and {canonical} {lacks}: no mail can be delivered."),
        )
    } else {
        return Answer::No;
    };
    let mut finding = finding
        .confidence(Confidence::Proven)
        .evidence(answer.summary())
        .disproof(format!("an A or AAAA record at {alias} itself, without a CNAME, at the domain's own name servers"));
    finding.evidence.extend(address_facts(case, alias));
    let is_failure = finding.severity == Severity::Failure;
    finding
        .fix(if is_failure {
            format!("The owner of {domain} names a host that has an A or AAAA record: `{domain}. MX {preference} …`, no alias.")
        } else {
            format!("The owner of {domain} puts the canonical name into the record: `{domain}. MX {preference} {canonical}.`")
        })
        .into()
}

fn target<'a>(case: &Case<'a>, host: &str) -> Option<&'a str> {
    [Kind::A, Kind::Aaaa].into_iter().filter_map(|kind| case.dns(host, kind)).find_map(canonical)
}

fn nothing_but_missing(attempt: &Attempt) -> bool {
    !attempt.dropped.is_empty()
        && attempt.dropped.iter().all(|dropped| matches!(dropped.why, Why::NoHostName | Why::NoAddress(_)))
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn an_alias_is_followed_and_told() {
        check(
            "to a@alias.test
             dns alias.test MX: 10 mail.alias.test
             dns mail.alias.test A: CNAME real.alias.test, 127.0.0.11
             try mail.alias.test 127.0.0.11
               final 250 ok",
            "dns.mx_cname: alias.test's MX mail.alias.test is a CNAME to real.alias.test, which RFC 2181 section 10.3 \
             forbids; this gateway followed it and delivered, stricter senders refuse.",
        );
    }

    #[test]
    fn an_alias_of_nothing_is_a_failure() {
        let mut scene = crate::diagnose::testing::scene(
            "to a@alias.test
             dns alias.test MX: 10 mail.alias.test
             dns mail.alias.test A: CNAME real.alias.test, 127.0.0.11
             dns mail.alias.test AAAA: CNAME real.alias.test, ::1
             dropped mail.alias.test - 10 no-address NXDOMAIN
             no-route 550 5.4.4 no MX",
        );
        for answer in &mut scene.attempt.dns[1..] {
            answer.records.truncate(1);
            answer.outcome = mail::dns::Outcome::NoName;
        }
        scene.check(
            "dns.mx_cname: alias.test's MX mail.alias.test is a CNAME to real.alias.test, which RFC 2181 section 10.3 \
             forbids, and real.alias.test does not exist (NXDOMAIN): no mail can be delivered.",
        );
    }

    #[test]
    fn it_is_no_cause_of_a_refusal() {
        check(
            "to a@alias.test
             dns alias.test MX: 10 mail.alias.test
             dns mail.alias.test A: CNAME real.alias.test, 127.0.0.11
             try mail.alias.test 127.0.0.11
               final 554 no
               fail final-reply them 554 no",
            "unknown",
        );
    }

    #[test]
    fn an_alias_of_the_domain_itself_is_allowed() {
        check(
            "to a@alias.test
             dns alias.test MX: CNAME other.test, 10 mx.other.test
             dns mx.other.test A: 127.0.0.11
             try mx.other.test 127.0.0.11
               final 250 ok",
            "unknown",
        );
    }
}
