//! The name server denies a name that exists.

use super::{address_facts, by_mx};
use crate::diagnose::{Answer, Case, rule};
use mail::dns::{Kind, Outcome};
use mail::{Actor, Confidence, Finding, Retry, Severity};

rule! {
    /// Name server denies a name that exists
    ///
    /// Asked for the MX records of the domain, the DNS server answers NXDOMAIN, which says that the name does not exist at all;
    /// asked for its address, it gives one. NXDOMAIN speaks of the name, not of a record type (RFC 2308, RFC 8020): for a name
    /// without MX the answer must be NODATA. Servers built into container platforms and some home routers and load balancers do
    /// this. This gateway asks for the address before it believes the denial, and delivers there; many mail servers return
    /// the mail.
    ///
    /// Mend or replace the DNS server, or give the domain an MX record or a next hop.
    "dns.broken_nxdomain", find
}

fn find(case: &Case<'_>) -> Answer {
    let (Some(attempt), Some(took)) = (by_mx(case), case.went_through()) else { return Answer::No };
    let domain = &attempt.domain;
    let Some(mx) = case.dns(domain, Kind::Mx).filter(|mx| mx.outcome == Outcome::NoName) else { return Answer::No };
    let found = [Kind::A, Kind::Aaaa]
        .into_iter()
        .filter_map(|kind| case.dns(domain, kind))
        .find(|answer| answer.outcome == Outcome::Found && !answer.addresses().is_empty());
    let Some(found) = found else { return Answer::No };
    let one_server = mx.server == found.server;
    let server = if mx.server.is_empty() || !one_server { String::new() } else { format!(" {}", mx.server) };
    let sentence = format!(
        "The DNS server{server} says that {domain} does not exist (MX query: NXDOMAIN) and at once gives the {} record {} for \
         it; its negative answer is wrong (RFC 2308/8020), the implicit MX {} was used.",
        found.question.kind.name(),
        found.addresses()[0],
        took.address
    );
    let mut finding = Finding::new("dns.broken_nxdomain", Actor::OurNetwork, sentence)
        .severity(Severity::Warning)
        // Two servers may differ because one of them is behind.
        .confidence(if one_server { Confidence::Proven } else { Confidence::Likely })
        .retry(Retry::NotNeeded)
        .evidence(format!("{} (from {})", mx.summary(), mx.server));
    finding.evidence.extend(address_facts(case, domain));
    finding
        .disproof(format!("NXDOMAIN for {domain} A as well, or NODATA for {domain} MX, from the same server"))
        .fix("If the server is yours (Docker, Kubernetes, a router): update it, or set dns.servers to a resolver that answers NODATA.")
        .fix(format!(
            "If it only passes on what {domain}'s own name servers say, their owner mends them, or publishes an MX record."
        ))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_denied_name_with_an_address() {
        check(
            "to a@backend.test
             dns backend.test MX: NXDOMAIN
             dns backend.test A: 127.0.0.20
             dns backend.test AAAA: NXDOMAIN
             try backend.test 127.0.0.20
               final 250 ok",
            "dns.broken_nxdomain: The DNS server 127.0.0.53:53 says that backend.test does not exist (MX query: NXDOMAIN) and \
             at once gives the A record 127.0.0.20 for it; its negative answer is wrong (RFC 2308/8020), the implicit MX \
             127.0.0.20 was used.",
        );
    }

    #[test]
    fn nodata_is_right() {
        check(
            "to a@backend.test
             dns backend.test MX: NODATA
             dns backend.test A: 127.0.0.20
             try backend.test 127.0.0.20
               final 250 ok",
            "unknown",
        );
    }
}
