//! The zone is signed, and whether it has TLSA records cannot be found out.

use super::asked::{recorded, server};
use crate::diagnose::{Answer, Case, rule};
use mail::dns::{Answer as DnsAnswer, Kind, Trouble};
use mail::{Actor, Confidence, Finding, Retry, Severity};

rule! {
    /// The TLSA lookup of a signed zone fails
    ///
    /// The addresses of the mail host are signed (AD=1), but the question for its TLSA record ends in SERVFAIL, NOTIMP or silence. A
    /// host whose TLSA record is hidden by an attacker looks just like that, so RFC 7672 2.1 has the mail wait: DANE can be
    /// neither used nor ruled out. In a zone that is not signed the same failure is of no account.
    ///
    /// Usual causes: a name server or load balancer that cannot answer for types it does not know, or a forwarder on this side that
    /// blocks them. Both must answer "there is none" with proof.
    "dns.tlsa_servfail", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt() else { return Answer::No };
    let failed = |answer: &&DnsAnswer| answer.question.kind == Kind::Tlsa && !answer.is_known();
    let signed = |answer: &DnsAnswer| {
        let host = host(answer)?;
        recorded(case).iter().find(|known| {
            known.authentic && known.question.name == host && matches!(known.question.kind, Kind::A | Kind::Aaaa)
        })
    };
    let Some((tlsa, addresses)) = recorded(case).iter().filter(failed).find_map(|tlsa| Some((tlsa, signed(tlsa)?)))
    else {
        return Answer::No;
    };
    let trouble = tlsa.trouble.map_or_else(|| "no answer".to_owned(), |trouble| trouble.to_string());
    let waits = if case.delivered() { "that host was left out" } else { "delivery waits" };
    let sentence = format!(
        "{} is DNSSEC-signed and the TLSA query for {} fails ({trouble}): DANE can not be ruled out, so {waits} (RFC 7672 section 2.1.2).",
        attempt.domain, tlsa.question.name
    );
    let ours = tlsa.trouble.is_some_and(Trouble::is_silence);
    Finding::new("dns.tlsa_servfail", if ours { Actor::OurNetwork } else { Actor::TheirDns }, sentence)
        .severity(if case.delivered() { Severity::Warning } else { Severity::Failure })
        .confidence(Confidence::Proven)
        .retry(if case.delivered() { Retry::NotNeeded } else { Retry::Helps { after_s: None } })
        .evidence(format!("{} [AD]", addresses.summary()))
        .evidence(format!("{} (from {})", tlsa.summary(), server(&tlsa.server)))
        .disproof(format!("an answer with records, or a proven \"there is none\", to {}", tlsa.question))
        .fix(format!(
            "The owner of {} has its name servers answer TLSA questions, so that their absence is provable.",
            host(tlsa).unwrap_or(&attempt.domain)
        ))
        .fix(format!("If other resolvers get an answer: repair the resolver or forwarder {}.", server(&tlsa.server)))
        .into()
}

/// `mx.signed.test` of `_25._tcp.mx.signed.test`.
fn host(tlsa: &DnsAnswer) -> Option<&str> {
    tlsa.question.name.splitn(3, '.').nth(2)
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    #[test]
    fn a_signed_zone_whose_tlsa_fails_waits() {
        check(
            "to a@signed.test
             dns signed.test MX: 10 mx.signed.test [AD]
             dns mx.signed.test A: 127.0.0.12 [AD]
             dns _25._tcp.mx.signed.test TLSA: FAIL SERVFAIL [udp serv-fail]",
            "dns.tlsa_servfail: signed.test is DNSSEC-signed and the TLSA query for _25._tcp.mx.signed.test fails (SERVFAIL): DANE can not \
             be ruled out, so delivery waits (RFC 7672 section 2.1.2).",
        );
    }

    #[test]
    fn an_unsigned_zone_is_never_the_case() {
        let plain = scene(
            "to a@plain.test
             dns plain.test MX: 10 mx.plain.test
             dns mx.plain.test A: 127.0.0.11
             dns _25._tcp.mx.plain.test TLSA: FAIL SERVFAIL [udp serv-fail]",
        );
        assert!(plain.diagnose().findings.iter().all(|finding| finding.cause != "dns.tlsa_servfail"));
    }
}
