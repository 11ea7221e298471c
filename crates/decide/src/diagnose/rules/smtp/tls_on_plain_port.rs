//! A client begins with TLS where plain SMTP is spoken.

use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding};

rule! {
    /// TLS on a plain port
    ///
    /// The client's first octets are a TLS handshake record (0x16 0x03): it uses implicit TLS (SMTPS) on a port that speaks plain
    /// SMTP and offers STARTTLS (RFC 3207).
    ///
    /// Set the client to STARTTLS, or to the port that begins with TLS. It is a wrong setting, not an attack.
    "smtp.tls_on_plain_port", find
}

/// `[Handshake, major version 3, minor version 0 to 4]` (RFC 8446 5.1).
fn is_hello(first: &[u8]) -> bool {
    matches!(first, [0x16, 0x03, 0..=4, ..])
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let octets = if visit.first.is_empty() { &visit.early } else { &visit.first };
    if !is_hello(octets) {
        return Answer::No;
    }
    let hex: Vec<String> = octets.iter().take(3).map(|octet| format!("{octet:02x}")).collect();
    let (client, port) = (visit.client, visit.local.port());
    let sentence = format!(
        "Client {client} began a TLS handshake directly (bytes {}) on port {port}, which needs plain SMTP and STARTTLS.",
        hex.join(" ")
    );
    let all: Vec<String> = octets.iter().take(16).map(|octet| format!("{octet:02x}")).collect();
    Finding::new("smtp.tls_on_plain_port", Actor::TheirHost, sentence)
        .confidence(Confidence::Proven)
        .evidence(format!("first octets from {client}: {}", all.join(" ")))
        .disproof(format!("EHLO or HELO as the first octets from {client}"))
        .fix(format!("Set {client} to STARTTLS on port {port} (connection security \"STARTTLS\", not \"SSL/TLS\")."))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::scene;

    #[test]
    fn a_handshake_record_is_named_by_its_octets() {
        let mut scene = scene("").visiting("127.0.1.10");
        scene.visit.as_mut().unwrap().first = vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01];
        scene.check(
            "smtp.tls_on_plain_port: Client 127.0.1.10 began a TLS handshake directly (bytes 16 03 01) on port 25, which needs \
             plain SMTP and STARTTLS.",
        );
    }

    #[test]
    fn other_octets_are_no_handshake() {
        for first in [&b"GET / HTTP/1.1"[..], b"\x16\x02\x01", b"EHLO x\r\n", b"\x16"] {
            let mut scene = scene("").visiting("127.0.1.10");
            scene.visit.as_mut().unwrap().first = first.to_vec();
            scene.check("unknown");
        }
    }
}
