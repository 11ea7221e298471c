//! The MX names a host that has no address.

use super::{absence, address_facts, by_mx, listed, mx_records};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Severity, Why};

rule! {
    /// MX target does not exist
    ///
    /// Hosts that the domain's MX records name lack an address: the name does not exist (NXDOMAIN) or has neither A nor AAAA
    /// (NODATA). A typing error in the zone, a host that was removed, or a missing final dot, after which the name server
    /// appends the zone's name once more (`mx.example.org.example.org`). If this is so for every MX, no mail can be delivered;
    /// if another MX takes the mail, it is a warning.
    ///
    /// The owner of the domain must correct the MX record. Until then no mail server can deliver there.
    "dns.mx_target_missing", find
}

fn find(case: &Case<'_>) -> Answer {
    let (Some(attempt), Some((mx, records))) = (by_mx(case), mx_records(case)) else { return Answer::No };
    let domain = &attempt.domain;
    let targets: Vec<(u16, &str)> = records.into_iter().filter(|(_, host)| !host.is_empty()).collect();
    let is_missing = |host: &str| {
        attempt.dropped.iter().any(|dropped| dropped.host == host && matches!(dropped.why, Why::NoAddress(_)))
    };
    let missing: Vec<(u16, &str)> = targets.iter().copied().filter(|(_, host)| is_missing(host)).collect();
    let Some((preference, first)) = missing.first().copied() else { return Answer::No };
    let Some(lacks) = absence(case, first) else { return Answer::No };
    let doubled = missing.iter().map(|(_, host)| *host).find(|host| host.ends_with(&format!(".{domain}.{domain}")));
    let dot = if doubled.is_some() { "; the doubled zone name shows a missing final dot in the zone file" } else { "" };
    let all = missing.len() == targets.len();
    let finding = match case.went_through() {
        Some(took) if !all => {
            let sentence = format!(
                "{domain}'s MX {first} (preference {preference}) {lacks}{dot}; {} took the message instead.",
                took.host
            );
            Finding::new("dns.mx_target_missing", Actor::TheirDns, sentence)
                .severity(Severity::Warning)
                .retry(Retry::NotNeeded)
        }
        _ if all && attempt.tries.is_empty() => {
            let sentence = if missing.len() == 1 {
                format!("{domain}'s only MX {first} {lacks}{dot}.")
            } else {
                let names: Vec<&str> = missing.iter().map(|(_, host)| *host).collect();
                format!("None of {domain}'s MX hosts {} has an address: {first} {lacks}{dot}.", listed(&names))
            };
            Finding::new("dns.mx_target_missing", Actor::TheirDns, sentence)
        }
        _ => return Answer::No,
    };
    // Of one family only, because the settings want no other: the other one may exist.
    let is_known = missing.iter().all(|(_, host)| case.has_no_address(host));
    let mut finding = finding
        .confidence(if is_known { Confidence::Proven } else { Confidence::Likely })
        .evidence(mx.summary())
        .disproof(format!("an A or AAAA record of {first} at the domain's own name servers"));
    finding.evidence.extend(missing.iter().flat_map(|(_, host)| address_facts(case, host)));
    if !is_known {
        finding = finding.fix("Set delivery.address_family to \"any\", so that the other family is asked for as well.");
    }
    let right = doubled.and_then(|host| host.strip_suffix(&format!(".{domain}")));
    finding
        .fix(match right {
            Some(name) => format!("The owner of {domain} puts a final dot behind the name in the MX record: `{name}.`"),
            None => format!("The owner of {domain} corrects the MX record, or gives {first} an A or AAAA record."),
        })
        .fix(format!("To deliver meanwhile, if you know the right server: give {domain} a next hop of its own."))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_doubled_zone_name_is_a_missing_dot() {
        check(
            "to a@typo.test
             dns typo.test MX: 10 mx.typo.test.typo.test
             dns mx.typo.test.typo.test A: NXDOMAIN
             dns mx.typo.test.typo.test AAAA: NXDOMAIN
             dropped mx.typo.test.typo.test - 10 no-address NXDOMAIN",
            "dns.mx_target_missing: typo.test's only MX mx.typo.test.typo.test does not exist (NXDOMAIN); the doubled zone \
             name shows a missing final dot in the zone file.",
        );
    }

    #[test]
    fn several_hosts_without_address() {
        check(
            "to a@typo.test
             dns typo.test MX: 10 a.typo.test, 20 b.typo.test
             dns a.typo.test A: NODATA
             dns a.typo.test AAAA: NODATA
             dns b.typo.test A: NXDOMAIN
             dns b.typo.test AAAA: NXDOMAIN
             dropped a.typo.test - 10 no-address NODATA
             dropped b.typo.test - 20 no-address NXDOMAIN",
            "dns.mx_target_missing: None of typo.test's MX hosts a.typo.test and b.typo.test has an address: a.typo.test has \
             neither an A nor an AAAA record (NODATA).",
        );
    }

    #[test]
    fn a_missing_host_beside_one_that_took_the_mail_is_a_warning() {
        check(
            "to a@typo.test
             dns typo.test MX: 10 old.typo.test, 20 b.typo.test
             dns old.typo.test A: NXDOMAIN
             dns old.typo.test AAAA: NXDOMAIN
             dropped old.typo.test - 10 no-address NXDOMAIN
             try b.typo.test 127.0.0.11
               final 250 ok",
            "dns.mx_target_missing: typo.test's MX old.typo.test (preference 10) does not exist (NXDOMAIN); b.typo.test took the \
             message instead.",
        );
    }

    #[test]
    fn a_lookup_that_failed_is_not_a_missing_address() {
        check(
            "to a@typo.test
             dns typo.test MX: 10 mx.typo.test
             dns mx.typo.test A: FAIL SERVFAIL
             dns mx.typo.test AAAA: NODATA
             dropped mx.typo.test - 10 unknown SERVFAIL",
            "dns.servfail",
        );
    }
}
