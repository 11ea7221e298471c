//! A client's cipher suites do not fit the kind of our certificate.

use super::facts;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, TlsHello};

rule! {
    /// Certificate type and cipher suites do not fit
    ///
    /// The client's hello holds only cipher suites and signature schemes for certificates of one kind (RSA, say), and the
    /// listener's certificate is of the other (ECDSA). There is nothing in common, and the handshake ends with alert 40.
    ///
    /// Give the listener an RSA certificate, which every client knows, or have the client updated.
    "tls.cert_type_cipher_mismatch", find
}

/// TLS 1.2 suites that an ECDSA certificate signs (RFC 8422, RFC 5289, RFC 7251, RFC 7905).
fn wants_ecdsa(suite: u16) -> bool {
    matches!(suite, 0xC006..=0xC00A | 0xC023 | 0xC024 | 0xC02B | 0xC02C | 0xC072 | 0xC073 | 0xC086 | 0xC087 | 0xC0AC..=0xC0AF | 0xCCA9)
}

/// TLS 1.2 suites that an RSA certificate signs or decrypts; the usual ones.
fn wants_rsa(suite: u16) -> bool {
    matches!(
        suite,
        0x0001..=0x000A
            | 0x0015 | 0x0016 | 0x002F | 0x0033 | 0x0035 | 0x0039 | 0x003B..=0x003D | 0x0041 | 0x0045 | 0x0067 | 0x006B
            | 0x0084 | 0x0088 | 0x009C..=0x009F | 0xC010..=0xC014 | 0xC027 | 0xC028 | 0xC02F | 0xC030 | 0xC09C..=0xC0A3
            | 0xCCA8 | 0xCCAA
    )
}

/// Schemes (RFC 8446 4.2.3) of each kind.
fn is_ecdsa_scheme(scheme: u16) -> bool {
    matches!(scheme, 0x0203 | 0x0303 | 0x0403 | 0x0503 | 0x0603 | 0x0807 | 0x0808)
}

fn is_rsa_scheme(scheme: u16) -> bool {
    matches!(scheme, 0x0201 | 0x0301 | 0x0401 | 0x0501 | 0x0601 | 0x0804..=0x0806 | 0x0809..=0x080B)
}

/// `Some(kind)`: the client knows certificates of this kind only.
fn only(hello: &TlsHello) -> Option<&'static str> {
    let with_1_3 = hello.versions.contains(&0x0304);
    let suites = |wants: fn(u16) -> bool| hello.suites.iter().any(|suite| wants(*suite));
    let schemes = |is: fn(u16) -> bool| hello.signature_schemes.iter().any(|scheme| is(*scheme));
    let (ecdsa, rsa) = if with_1_3 {
        // TLS 1.3 suites say nothing of certificates, so that the schemes decide.
        (schemes(is_ecdsa_scheme), schemes(is_rsa_scheme))
    } else {
        let any_scheme = hello.signature_schemes.is_empty();
        (
            suites(wants_ecdsa) && (any_scheme || schemes(is_ecdsa_scheme)),
            suites(wants_rsa) && (any_scheme || schemes(is_rsa_scheme)),
        )
    };
    match (ecdsa, rsa) {
        (true, false) => Some("ECDSA"),
        (false, true) => Some("RSA"),
        _ => None,
    }
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let Some(hello) = &visit.tls_hello else { return Answer::No };
    let ours = match hello.own_key.split(' ').next() {
        Some("EC" | "Ed25519") => "ECDSA",
        Some("RSA") => "RSA",
        _ => return Answer::No,
    };
    let Some(theirs) = only(hello).filter(|theirs| *theirs != ours) else { return Answer::No };
    let client = visit.client;
    let sentence = format!(
        "Client {client} supports {theirs} certificates only, this gateway has only an {ours} certificate ({}): no common \
         cipher.",
        hello.own_key
    );
    let mut finding = Finding::new("tls.cert_type_cipher_mismatch", Actor::OurSettings, sentence)
        .confidence(Confidence::Proven)
        .disproof(format!("a ClientHello of {client} with a suite or scheme for {ours}"))
        .fix(format!(
            "Give listener.{}.certificate and key an {theirs} certificate, or have {client} updated.",
            visit.listener.name()
        ));
    finding.evidence = facts(hello);
    let hex = |list: &[u16]| list.iter().map(|number| format!("{number:04x}")).collect::<Vec<_>>().join(" ");
    finding
        .evidence(format!("suites offered: {}", hex(&hello.suites)))
        .evidence(format!("signature schemes offered: {}", hex(&hello.signature_schemes)))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{Scene, hello, scene};

    fn client(facts: &[&str]) -> Scene {
        let mut scene = scene("").visiting("127.0.1.10");
        facts.iter().for_each(|fact| hello(scene.hello_of_visit(), fact));
        scene
    }

    #[test]
    fn rsa_suites_do_not_fit_an_ecdsa_certificate() {
        client(&["versions 0303", "suites c02f c030", "our-alert 40", "own-key EC P-256"]).check(
            "tls.cert_type_cipher_mismatch: Client 127.0.1.10 supports RSA certificates only, this gateway has only an ECDSA \
             certificate (EC P-256): no common cipher.",
        );
    }

    #[test]
    fn suites_of_both_kinds_or_of_ours_are_not_it() {
        client(&["versions 0303", "suites c02f c02b", "our-alert 40", "own-key EC P-256"])
            .check("tls.handshake_failure");
        client(&["versions 0303", "suites c02f", "our-alert 40", "own-key RSA 2048"]).check("tls.handshake_failure");
        client(&["versions 0304 0303", "suites 1301 c02f", "schemes 0403 0804", "our-alert 40", "own-key EC P-256"])
            .check("tls.handshake_failure");
    }
}
