//! The MX names an address where a host name must stand.

use super::{by_mx, listed, mx_records};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Severity, Why};
use std::net::IpAddr;

rule! {
    /// MX is an address, not a host name
    ///
    /// The domain's MX record holds an IP address. An MX must be a host name (RFC 1035 section 3.3.9, RFC 5321 section 5.1):
    /// name servers read `192.0.2.1` as a name in the top-level domain `1`, which does not exist. Some mail servers connect to
    /// the number all the same, this gateway and most others do not.
    ///
    /// Known from the answer to the MX query. The owner of the domain gives the address a name and puts that into the MX
    /// record.
    "dns.mx_ip_literal", find
}

fn find(case: &Case<'_>) -> Answer {
    let (Some(attempt), Some((answer, records))) = (by_mx(case), mx_records(case)) else { return Answer::No };
    let literals: Vec<(u16, IpAddr)> =
        records.iter().filter_map(|(preference, host)| Some((*preference, address(host)?))).collect();
    let Some((preference, literal)) = literals.first() else { return Answer::No };
    let domain = &attempt.domain;
    let numbers: Vec<IpAddr> = literals.iter().map(|(_, address)| *address).collect();
    let is = if numbers.len() == 1 { "target is the number" } else { "targets are the numbers" };
    let says = format!("{domain}'s MX {is} {}; an MX must be a host name (RFC 1035 section 3.3.9)", listed(&numbers));
    let finding = match case.went_through() {
        Some(took) => {
            Finding::new("dns.mx_ip_literal", Actor::TheirDns, format!("{says}, so {} was used instead.", took.host))
                .severity(Severity::Warning)
                .retry(Retry::NotNeeded)
        }
        None if attempt.tries.is_empty() && attempt.no_route.is_some() && nothing_else(attempt) => {
            Finding::new("dns.mx_ip_literal", Actor::TheirDns, format!("{says}, so no mail host can be found."))
        }
        None => return Answer::No,
    };
    finding
        .confidence(Confidence::Proven)
        .evidence(answer.summary())
        .disproof(format!("an MX record of {domain} that names a host, at the domain's own name servers"))
        .fix(format!(
            "The owner of {domain} names the host: `mail.{domain}. {} {literal}` and `{domain}. MX {preference} mail.{domain}.`",
            if literal.is_ipv4() { "A" } else { "AAAA" }
        ))
        .fix(format!("To deliver meanwhile: give {domain} a next hop of its own, [[domain]] next_hops = [\"{literal}\"]."))
        .into()
}

fn address(host: &str) -> Option<IpAddr> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok()
}

/// No other host that may yet be found: a failed lookup is another cause.
fn nothing_else(attempt: &mail::Attempt) -> bool {
    attempt.dropped.iter().all(|dropped| matches!(dropped.why, Why::NoHostName | Why::NoAddress(_)))
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_number_is_no_host_name() {
        check(
            "to a@ip.test
             dns ip.test MX: 20 127.0.0.11.
             dropped 127.0.0.11 - 20 no-host-name
             no-route 550 5.4.4 no MX, A or AAAA record",
            "dns.mx_ip_literal: ip.test's MX target is the number 127.0.0.11; an MX must be a host name (RFC 1035 section \
             3.3.9), so no mail host can be found.",
        );
    }

    #[test]
    fn with_another_host_it_is_a_warning() {
        check(
            "to a@ip.test
             dns ip.test MX: 10 127.0.0.11, 20 mx.ip.test
             dropped 127.0.0.11 - 10 no-host-name
             try mx.ip.test 127.0.0.12
               final 250 ok",
            "dns.mx_ip_literal: ip.test's MX target is the number 127.0.0.11; an MX must be a host name (RFC 1035 section \
             3.3.9), so mx.ip.test was used instead.",
        );
    }

    #[test]
    fn with_another_host_that_cannot_be_looked_up_it_is_not_the_cause() {
        check(
            "to a@ip.test
             dns ip.test MX: 10 127.0.0.11, 20 mx.ip.test
             dns mx.ip.test A: FAIL 127.0.0.53:53 answered SERVFAIL
             dropped 127.0.0.11 - 10 no-host-name
             dropped mx.ip.test - 20 unknown SERVFAIL
             no-route 421 4.4.4 failed",
            "dns.servfail",
        );
    }

    #[test]
    fn a_name_that_begins_with_a_number_is_a_name() {
        check(
            "to a@ip.test
             dns ip.test MX: 10 1.mx.ip.test
             try 1.mx.ip.test 127.0.0.12
               final 250 ok",
            "unknown",
        );
    }
}
