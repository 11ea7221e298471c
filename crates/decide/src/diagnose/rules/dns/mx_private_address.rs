//! The MX leads to an address that is not on the Internet.

use super::{address_facts, by_mx, listed};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Attempt, Confidence, Dropped, Finding, Retry, Severity, Why};
use std::net::IpAddr;

rule! {
    /// MX leads to a private address
    ///
    /// A mail host of the domain has an A or AAAA record with an address that means something else, or nothing, outside its
    /// owner's network: private (RFC 1918, RFC 4193), shared (RFC 6598), link-local, loopback. Usually a record of an internal
    /// zone that got into the public one, or a dynamic DNS client that published every address of its machine. Such addresses
    /// are not dialled for MX records; other addresses of the same host are.
    ///
    /// The owner of the domain removes the record. If the host is on your own network on purpose, give the domain a next hop,
    /// or set `delivery.allow_private_addresses`.
    "dns.mx_private_address", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = by_mx(case) else { return Answer::No };
    let private: Vec<(&Dropped, IpAddr)> = attempt
        .dropped
        .iter()
        .filter(|dropped| dropped.why == Why::Prohibited)
        .filter_map(|dropped| Some((dropped, dropped.address?)))
        .collect();
    let Some((first, address)) = private.first() else { return Answer::No };
    let host = &first.host;
    let record = |address: &IpAddr| if address.is_ipv4() { "A" } else { "AAAA" };
    let finding = match case.went_through() {
        Some(took) => {
            let instead = if took.host == *host {
                format!("the {} record {}", record(&took.address), took.address)
            } else {
                format!("{} ({})", took.host, took.address)
            };
            let sentence = format!(
                "{host} has {} {address}, {} which cannot be reached across the Internet; delivery used {instead} instead.",
                record(address),
                sort(*address),
            );
            Finding::new("dns.mx_private_address", Actor::TheirDns, sentence)
                .severity(Severity::Warning)
                .retry(Retry::NotNeeded)
                .evidence(format!("{} [{}] took the message", took.host, took.address))
        }
        None if attempt.tries.is_empty() && attempt.no_route.is_some() && nothing_else(attempt) => {
            let all: Vec<String> =
                private.iter().map(|(dropped, address)| format!("{} {address}", at(attempt, dropped))).collect();
            let what = if attempt.domain == *host { "address" } else { "mail host's address" };
            let sentence = if let [one] = all.as_slice() {
                format!(
                    "The only address of {}'s mail host is {one}, {} which cannot be reached across the Internet.",
                    attempt.domain,
                    sort(*address)
                )
            } else {
                format!(
                    "Every {what} of {} is one which cannot be reached across the Internet: {}; {address} is {}.",
                    attempt.domain,
                    listed(&all),
                    sort(*address).trim_end_matches(',')
                )
            };
            Finding::new("dns.mx_private_address", Actor::TheirDns, sentence)
        }
        None => return Answer::No,
    };
    // A resolver inside may show a zone of ours as it is meant for inside.
    let confidence = if attempt.local { Confidence::Likely } else { Confidence::Proven };
    let mut finding = finding.confidence(confidence);
    finding.evidence.extend(address_facts(case, host));
    finding.evidence.extend(private.iter().map(|(dropped, _)| format!("not tried: {dropped}")));
    finding
        .disproof(format!(
            "an answer of {}'s own name servers, asked from elsewhere, without {address}",
            attempt.domain
        ))
        .fix(format!(
            "The owner of {} removes the record `{host}. {} {address}` from the public zone.",
            attempt.domain,
            record(address)
        ))
        .fix(format!(
            "If {address} is meant, because the host is on your own network: [[domain]] name = \"{}\", next_hops = \
             [\"{address}\"]; or delivery.allow_private_addresses = [\"{address}\"].",
            attempt.domain
        ))
        .into()
}

fn at(attempt: &Attempt, dropped: &Dropped) -> String {
    if dropped.host == attempt.domain { "its own".to_owned() } else { dropped.host.clone() }
}

/// What kind of address it is, with its article.
fn sort(address: IpAddr) -> &'static str {
    match address.to_canonical() {
        IpAddr::V4(v4) if v4.is_loopback() => "a loopback address",
        IpAddr::V4(v4) if v4.is_private() => "a private address (RFC 1918)",
        IpAddr::V4(v4) if v4.is_link_local() => "a link-local address",
        IpAddr::V4(v4) if v4.octets()[0] == 100 => "an address of shared space (RFC 6598)",
        IpAddr::V6(v6) if v6.is_loopback() => "a loopback address",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "a link-local address",
        IpAddr::V6(v6) if v6.is_unique_local() => "a private address (RFC 4193)",
        _ => "no address of a host,",
    }
}

fn nothing_else(attempt: &Attempt) -> bool {
    attempt.dropped.iter().all(|dropped| matches!(dropped.why, Why::Prohibited | Why::NoHostName | Why::NoAddress(_)))
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn the_other_family_carries_the_mail() {
        check(
            "to a@leak.test
             dns leak.test MX: 10 mx.leak.test
             dns mx.leak.test A: 127.0.0.11
             dns mx.leak.test AAAA: fe80::1
             dropped mx.leak.test fe80::1 10 prohibited
             try mx.leak.test 127.0.0.11
               final 250 ok",
            "dns.mx_private_address: mx.leak.test has AAAA fe80::1, a link-local address which cannot be reached across the \
             Internet; delivery used the A record 127.0.0.11 instead.",
        );
    }

    #[test]
    fn the_only_address_is_a_failure() {
        check(
            "to a@leak.test
             dns leak.test MX: 10 mx.leak.test
             dns mx.leak.test A: 10.1.2.3
             dropped mx.leak.test 10.1.2.3 10 prohibited
             no-route 551 5.4.6 private or loopback address",
            "dns.mx_private_address: The only address of leak.test's mail host is mx.leak.test 10.1.2.3, a private address \
             (RFC 1918) which cannot be reached across the Internet.",
        );
    }

    #[test]
    fn a_refusal_by_the_public_address_has_another_cause() {
        check(
            "to a@leak.test
             dns leak.test MX: 10 mx.leak.test
             dropped mx.leak.test fe80::1 10 prohibited
             try mx.leak.test 127.0.0.11
               final 554 no
               fail final-reply them 554 no",
            "unknown",
        );
    }

    #[test]
    fn a_lookup_that_failed_beside_it_may_still_give_an_address() {
        check(
            "to a@leak.test
             dns leak.test MX: 10 mx.leak.test
             dns mx.leak.test A: FAIL 127.0.0.53:53 answered SERVFAIL
             dropped mx.leak.test fe80::1 10 prohibited
             dropped mx.leak.test - 10 unknown mx.leak.test A: SERVFAIL
             no-route 421 4.4.4 failed",
            "dns.servfail",
        );
    }
}
