//! No known authority vouches for the certificate, and a policy asks for one.

use super::{place, setting, shown, unverified};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Distrust, Finding};

rule! {
    /// Certificate of an unknown authority
    ///
    /// A policy (`tls = "verify"`) asks for a certificate that a known authority vouches for, and the peer's is self-signed, of an
    /// authority that this gateway does not know, or comes without its intermediate certificate.
    ///
    /// The peer's administrator installs the full chain; or add the authority's certificate to `delivery.ca_file`.
    "tls.cert_untrusted", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((tried, certificate)) = unverified(case) else { return Answer::No };
    let Some(attempt) = case.attempt() else { return Answer::No };
    let untrusted = |problem: &Distrust| if let Distrust::Untrusted(why) = problem { Some(why.clone()) } else { None };
    let Some(why) = certificate.problems.iter().find_map(untrusted) else { return Answer::No };
    let (host, domain) = (&tried.host, &attempt.domain);
    let what = if certificate.self_signed {
        "a self-signed certificate".to_owned()
    } else {
        format!("a certificate that no authority known here vouches for (issuer {})", certificate.issuer)
    };
    let sentence = format!("{} shows {what}; the local policy for {domain} asks for a verified one.", place(tried));
    Finding::new("tls.cert_untrusted", Actor::TheirHost, sentence)
        .confidence(Confidence::Proven)
        .evidence(shown(certificate))
        .evidence(why)
        .disproof(format!("a chain of {host} that leads to an authority of the system or of delivery.ca_file"))
        .fix(format!("If {host} is to be believed: add its authority's certificate to delivery.ca_file."))
        .fix(format!("The owner of {host} installs a certificate of a public authority, with its full chain."))
        .fix(format!("To deliver meanwhile without verification: {} with tls = \"require\".", setting(case)))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn an_unknown_authority_comes_after_dates_and_names() {
        let refused = "to a@dest.test
             try mx.dest.test 127.0.0.11
               tls TLSv1.3
               fail start-tls them [internal] 451 4.7.5 the peer's certificate is not verified
               cert mx.dest.test
               cert-dates -90 -1
               cert-problem untrusted unknown issuer";
        check(refused, "tls.cert_untrusted");
        check(&format!("{refused}\n cert-problem ended"), "tls.cert_expired");
    }
}
