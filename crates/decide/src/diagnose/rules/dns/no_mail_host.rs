//! The recipient's domain exists but has nowhere to deliver to.

use super::{absence, address_facts, by_mx};
use crate::diagnose::{Answer, Case, rule};
use mail::dns::{Kind, Outcome};
use mail::{Actor, Confidence, Finding};

rule! {
    /// Domain has no mail host
    ///
    /// The recipient's domain exists but has no MX record, and no A or AAAA record that could stand in for one (RFC 5321
    /// section 5.1). Often a name that is used for other things only, or mail service that was never set up, or a typing error.
    ///
    /// The sender checks the address; the owner of the domain publishes an MX record.
    "dns.no_mail_host", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = by_mx(case).filter(|attempt| attempt.tries.is_empty()) else { return Answer::No };
    let domain = &attempt.domain;
    let Some(mx) = case.dns(domain, Kind::Mx).filter(|mx| mx.outcome == Outcome::NoData) else { return Answer::No };
    let Some(lacks) = absence(case, domain) else { return Answer::No };
    // One family was asked for because the settings know no other: the other one may exist.
    let both = case.has_no_address(domain);
    let sentence = format!(
        "{domain} exists but has no MX record and {}: it has no mail host.",
        lacks.replace("does not exist", "no address")
    );
    let mut finding = Finding::new("dns.no_mail_host", Actor::TheirDns, sentence)
        .confidence(if both { Confidence::Proven } else { Confidence::Likely })
        .evidence(mx.summary())
        .disproof(format!("an MX, A or AAAA record of {domain} at its own name servers"));
    finding.evidence.extend(address_facts(case, domain));
    if !both {
        finding = finding.fix("Set delivery.address_family to \"any\", so that the other family is asked for as well.");
    }
    finding
        .fix(format!(
            "The sender checks the address; the owner of {domain} publishes `{domain}. MX 10 …` with a mail host."
        ))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_domain_without_any_record_for_mail() {
        check(
            "to a@web.test
             dns web.test MX: NODATA
             dns web.test A: NODATA
             dns web.test AAAA: NODATA
             dropped web.test - 0 no-address NODATA
             no-route 550 5.4.4 no MX, A or AAAA record",
            "dns.no_mail_host: web.test exists but has no MX record and has neither an A nor an AAAA record (NODATA): it has no \
             mail host.",
        );
    }

    #[test]
    fn a_failed_address_lookup_leaves_it_open() {
        check(
            "to a@web.test
             dns web.test MX: NODATA
             dns web.test A: FAIL 127.0.0.53:53 timed out
             dns web.test AAAA: NODATA
             dropped web.test - 0 unknown timed out
             no-route 421 4.4.4 failed",
            "dns.servfail",
        );
    }
}
