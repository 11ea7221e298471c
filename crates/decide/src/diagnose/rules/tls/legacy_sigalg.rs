//! The peer signs with SHA-1 or older.

use super::{aftermath, place, shown, unshaken, unverified, with_facts};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Distrust, Finding};

rule! {
    /// Signature algorithm too old
    ///
    /// The peer signs its key exchange with MD5 or SHA-1 (RFC 9155 forbids both), or, where certificates are verified, a
    /// certificate of its chain is signed so or has too short a key.
    ///
    /// The peer's administrator updates its TLS library, or has the certificate issued anew with SHA-256.
    "tls.legacy_sigalg", find
}

/// Signature and hash as one number (RFC 8446 4.2.3, RFC 5246 7.4.1.4.1).
fn hash(scheme: u16) -> Option<&'static str> {
    match scheme {
        0x0101..=0x0103 => Some("MD5"),
        0x0201..=0x0203 => Some("SHA-1"),
        _ => None,
    }
}

fn find(case: &Case<'_>) -> Answer {
    if let Some((tried, certificate)) = unverified(case) {
        let weak = |problem: &Distrust| if let Distrust::Weak(why) = problem { Some(why.clone()) } else { None };
        let Some(why) = certificate.problems.iter().find_map(weak) else { return Answer::No };
        let sentence = format!(
            "The certificate chain of {} is too weak ({}, {}), and the policy asks for a good one.",
            place(tried),
            certificate.signature,
            certificate.key
        );
        return Finding::new("tls.legacy_sigalg", Actor::TheirHost, sentence)
            .evidence(shown(certificate))
            .evidence(why)
            .disproof(format!("a chain of {} with SHA-256 and keys of 2048 bits or more throughout", tried.host))
            .fix(format!("The owner of {} has the certificate issued anew.", tried.host))
            .into();
    }
    let Some((tried, hello)) = unshaken(case) else { return Answer::No };
    let Some((scheme, hash)) = hello.signature.and_then(|scheme| Some((scheme, hash(scheme)?))) else {
        return Answer::No;
    };
    let host = &tried.host;
    let finding = aftermath(case, tried, |end| {
        let sentence = format!(
            "{} signs its key exchange with {hash} (scheme 0x{scheme:04x}), which this side does not accept{end}.",
            place(tried)
        );
        Finding::new("tls.legacy_sigalg", Actor::TheirHost, sentence)
    });
    with_facts(finding.confidence(Confidence::Proven), tried, hello)
        .disproof(format!("a ServerKeyExchange of {host} with a scheme of SHA-256 or better"))
        .fix(format!("The owner of {host} updates its TLS library or allows SHA-256 signatures."))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const FAILED: &str = "to a@sha1.test
         try mx.sha1.test 127.0.0.11
           fail start-tls path [internal] 451 4.7.5 TLS negotiation failed
           hello version 0303
           hello suite c013";

    #[test]
    fn the_scheme_is_named() {
        check(
            &format!("{FAILED}\n hello sig 0201"),
            "tls.legacy_sigalg: mx.sha1.test (127.0.0.11) signs its key exchange with SHA-1 (scheme 0x0201), which this side \
             does not accept; the message waits.",
        );
    }

    #[test]
    fn a_modern_scheme_is_not_it() {
        check(&format!("{FAILED}\n hello sig 0401"), "tls.handshake_failure");
    }
}
