//! The MX names a host that has no address.

use crate::diagnose::{Answer, Case, rule};
use mail::dns::{Data, Kind};
use mail::{Actor, Confidence, Finding, Why};

rule! {
    /// MX target does not exist
    ///
    /// Every host that the domain's MX records name lacks an address: the name does not exist (NXDOMAIN) or has neither A nor
    /// AAAA (NODATA). A typing error in the zone, a host that was removed, or a missing final dot, after which the name server
    /// appends the zone's name once more (`mx.example.org.example.org`).
    ///
    /// The owner of the domain must correct the MX record. Until then no mail server can deliver there.
    "dns.mx_target_missing", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|attempt| attempt.tries.is_empty()) else { return Answer::No };
    let Some(mx) = case.dns(&attempt.domain, Kind::Mx) else { return Answer::No };
    let targets: Vec<&str> = mx
        .data()
        .filter_map(|data| if let Data::Mx { host, .. } = data { Some(host.as_str()) } else { None })
        .filter(|host| !host.is_empty())
        .collect();
    let is_missing = |host: &&str| {
        case.has_no_address(host)
            && attempt.dropped.iter().any(|dropped| dropped.host == **host && matches!(dropped.why, Why::NoAddress(_)))
    };
    let (Some(first), true) = (targets.first(), targets.iter().all(is_missing)) else { return Answer::No };
    let domain = &attempt.domain;
    let states = |host: &str| {
        let answer = case.dns(host, Kind::A)?;
        Some(if answer.outcome == mail::dns::Outcome::NoName {
            "does not exist (NXDOMAIN)"
        } else {
            "has no address (NODATA)"
        })
    };
    let doubled = targets.iter().find(|host| host.ends_with(&format!(".{domain}.{domain}")));
    let which = if targets.len() == 1 { "only MX".to_owned() } else { format!("{} MX hosts, such as", targets.len()) };
    let mut sentence = format!("{domain}'s {which} {first} {}", states(first).unwrap_or("has no address"));
    if doubled.is_some() {
        sentence.push_str("; the doubled zone name shows a missing final dot in the zone file");
    }
    let mut finding = Finding::new("dns.mx_target_missing", Actor::TheirDns, sentence + ".")
        .confidence(Confidence::Proven)
        .evidence(mx.summary())
        .disproof(format!("an A or AAAA record of {first} at the domain's own name servers"));
    for host in &targets {
        for kind in [Kind::A, Kind::Aaaa] {
            finding.evidence.extend(case.dns(host, kind).map(mail::dns::Answer::summary));
        }
    }
    let right = doubled.map(|host| host.trim_end_matches(&format!(".{domain}")).to_owned());
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
    fn a_lookup_that_failed_is_not_a_missing_address() {
        check(
            "to a@typo.test
             dns typo.test MX: 10 mx.typo.test
             dns mx.typo.test A: FAIL SERVFAIL
             dns mx.typo.test AAAA: NODATA
             dropped mx.typo.test - 10 unknown SERVFAIL",
            "unknown",
        );
    }
}
